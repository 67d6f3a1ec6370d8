/* SPDX-License-Identifier: Apache-2.0
 *
 * LightLLM as in S-LoRA and in the VTC artifact: a prefill batch alone, then 10 decode steps, then a
 * try to form a new one before every further step until one forms; admission by a look-ahead over the
 * declared output lengths, so memory is never over-committed and nobody is pushed out.
 * Source: S-LoRA c1ddf4887 and VTC-artifact 192c2e201, slora/server/router/{manager,req_queue}.py
 * (_step, _init_cache_list, _can_add_new_req, generate_new_batch).
 *
 * The look-ahead. Running requests hold h_i tokens and have l_i to come; sorted by l descending, the
 * pool must hold max over i of l_i * i + (h_1 + ... + h_i). A decode step moves one token of each from
 * l to h and so leaves every running term K_i = l_i * i + H_i as it is. With K's running maxima kept, a
 * try costs a binary search instead of a sort, and the step at which a refused request will fit can be
 * told in advance. The artifact sorts at every try; the answers are the same. */
#include <string.h>

#include "policies/batch/step.h"

struct pair {
    int64_t held_tok, left_tok; /* as they were `decodes_done` == base */
    int64_t held_sum, term;     /* H_i, K_i */
    int64_t term_max;           /* over 1..i */
    int64_t after_max;          /* of K_j + l_j over j >= i: what it becomes behind one more request */
};

struct lookahead {
    struct pair *pair; /* sorted by left_tok, descending */
    uint32_t n, cap;
    uint64_t base;        /* decodes_done when the pairs were read */
    uint32_t *client_gen; /* [client] == gen: has a request among the pairs */
    uint32_t client_cap, gen, n_clients;
    bool valid;
};

struct lightllm {
    /* options */
    int64_t max_wait_tokens, batch_max_tokens, max_req_total_len, adapter_tok, running_max;
    double idle_poll_ms;
    /* state */
    struct arena *arena;
    struct lookahead ahead;
    uint32_t since_try;     /* decode steps since the last prefill, up to max_wait_tokens */
    uint32_t n_known;       /* running requests when the look-ahead was read */
    uint64_t decodes_done;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct lightllm, field)
static const struct opt_row options[] = {
    {"max_wait_tokens", OPT_INT, ROW(max_wait_tokens), 0, 1000000, "10", "1",
     "decode steps between a prefill and the next try", NULL},
    {"batch_max_tokens", OPT_INT, ROW(batch_max_tokens), 0, 1 << 30, "0", "tok",
     "prompt tokens in one prefill batch; 0 = the larger of pool/6 and max_req_total_len", NULL},
    {"max_req_total_len", OPT_INT, ROW(max_req_total_len), 1, 1 << 30, "3072", "tok",
     "lower bound of the default of batch_max_tokens", NULL},
    {"adapter_tok", OPT_INT, ROW(adapter_tok), 0, 1 << 20, "32", "tok",
     "pool tokens set aside for each client in the batch (4 x LoRA rank 8; 0 = no adapters)", NULL},
    {"running_max", OPT_INT, ROW(running_max), 1, 1 << 20, "1000", "1", "most running requests", NULL},
    {"idle_poll", OPT_DOUBLE, ROW(idle_poll_ms), 0, 10000, "10ms", "ms",
     "an idle engine looks for requests this often", NULL},
    OPT_END,
};
#undef ROW

static int lightllm_init(void *st, struct batcher_env *env, struct err *e)
{
    struct lightllm *b = st;
    (void)e;
    b->arena = env->arena;
    int64_t by_pool = env->kv_tok / 6;
    int64_t dflt = by_pool > b->max_req_total_len ? by_pool : b->max_req_total_len;
    env->traits->block_tok = 1;
    env->traits->max_batched_tok = (uint32_t)(b->batch_max_tokens ? b->batch_max_tokens : dflt);
    env->traits->max_seqs = (uint32_t)b->running_max;
    env->traits->idle_poll_ns = (sim_ns)(b->idle_poll_ms * 1e6);
    return 0;
}

static uint64_t batch_max(const struct lightllm *b, const struct engine *e)
{
    uint64_t by_pool = eng_kv_total(e) / 6, least = (uint64_t)b->max_req_total_len;
    if (b->batch_max_tokens) {
        return (uint64_t)b->batch_max_tokens;
    }
    return by_pool > least ? by_pool : least;
}

/* ---- the look-ahead ---- */
static bool grow_pairs(struct lookahead *a, struct arena *arena, uint32_t want)
{
    if (want <= a->cap) {
        return true;
    }
    uint32_t cap = want < 64 ? 64 : 2 * want;
    struct pair *p = arena_calloc(arena, cap, sizeof *p);
    if (!p) {
        return false;
    }
    if (a->n) {
        memcpy(p, a->pair, a->n * sizeof *p);
    }
    a->pair = p;
    a->cap = cap;
    return true;
}

static bool grow_clients(struct lookahead *a, struct arena *arena, uint32_t want)
{
    if (want <= a->client_cap) {
        return true;
    }
    uint32_t cap = want < 64 ? 64 : 2 * want;
    uint32_t *g = arena_calloc(arena, cap, sizeof *g);
    if (!g) {
        return false;
    }
    if (a->client_cap) {
        memcpy(g, a->client_gen, a->client_cap * sizeof *g);
    }
    a->client_gen = g;
    a->client_cap = cap;
    return true;
}

static bool has_client(const struct lookahead *a, uint32_t client)
{
    return client < a->client_cap && a->client_gen[client] == a->gen;
}

/* Number of pairs with more to come than left_tok; `age` decode steps have passed since base. */
static uint32_t rank_of(const struct lookahead *a, int64_t left_tok, int64_t age)
{
    uint32_t lo = 0, hi = a->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (a->pair[mid].left_tok - age > left_tok) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static void sum_up(struct lookahead *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        struct pair *p = &a->pair[i];
        p->held_sum = p->held_tok + (i ? p[-1].held_sum : 0);
        p->term = p->left_tok * (i + 1) + p->held_sum;
        p->term_max = i && p[-1].term_max > p->term ? p[-1].term_max : p->term;
    }
    for (uint32_t i = a->n; i-- > 0;) {
        struct pair *p = &a->pair[i];
        p->after_max = p->term + p->left_tok;
        if (i + 1 < a->n && p[1].after_max > p->after_max) {
            p->after_max = p[1].after_max;
        }
    }
}

/* Put in one more; sum_up() is due afterwards. */
static bool insert(struct lightllm *b, uint32_t client, int64_t held_tok, int64_t left_tok)
{
    struct lookahead *a = &b->ahead;
    if (!grow_pairs(a, b->arena, a->n + 1) || !grow_clients(a, b->arena, client + 1)) {
        return false;
    }
    int64_t age = (int64_t)(b->decodes_done - a->base);
    uint32_t at = rank_of(a, left_tok, age);
    memmove(a->pair + at + 1, a->pair + at, (a->n - at) * sizeof *a->pair);
    a->pair[at] = (struct pair){.held_tok = held_tok - age, .left_tok = left_tok + age};
    a->n++;
    a->n_clients += !has_client(a, client);
    a->client_gen[client] = a->gen;
    return true;
}

/* Read the running requests anew if they are not the ones that are known. */
static bool refresh(struct lightllm *b, struct engine *e)
{
    struct lookahead *a = &b->ahead;
    if (a->valid && b->n_known == eng_n_running(e)) {
        return true;
    }
    a->n = a->n_clients = 0;
    a->gen++;
    a->base = b->decodes_done;
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        int64_t left = (int64_t)eng_max_output(e, r) - eng_planned_output(e, r) - 1;
        if (!insert(b, eng_req(e, r)->client, eng_context(e, r), left > 0 ? left : 0)) {
            return false;
        }
    }
    sum_up(a);
    a->valid = true;
    b->n_known = eng_n_running(e);
    return true;
}

/* Peak need with one more request (held, left), `ahead` decode steps from now; the three ways to be
 * its maximum are a pair before it, itself, and a pair behind it. */
struct peak {
    int64_t before_tok, own_tok, after_tok;
};

static struct peak peak_with(const struct lightllm *b, int64_t held, int64_t left, int64_t ahead)
{
    const struct lookahead *a = &b->ahead;
    int64_t age = (int64_t)(b->decodes_done - a->base) + ahead;
    uint32_t at = rank_of(a, left, age);
    const struct pair *prev = at ? &a->pair[at - 1] : NULL;
    return (struct peak){
        .before_tok = prev ? prev->term_max : 0,
        .own_tok = left * (at + 1) + (prev ? prev->held_sum + at * age : 0) + held,
        .after_tok = at < a->n ? a->pair[at].after_max - age + held : 0,
    };
}

struct newcomer {
    uint32_t client;
    int64_t held_tok, left_tok, limit_tok;
};

static struct newcomer newcomer(const struct lightllm *b, const struct engine *e, req_id r)
{
    const struct req *q = eng_req(e, r);
    int64_t left = (int64_t)eng_max_output(e, r) - eng_planned_output(e, r) - 1;
    int64_t clients = b->ahead.n_clients + !has_client(&b->ahead, q->client);
    return (struct newcomer){
        .client = q->client,
        .held_tok = (int64_t)eng_context(e, r) + 1,
        .left_tok = left > 0 ? left : 0,
        .limit_tok = (int64_t)eng_kv_total(e) - b->adapter_tok * clients,
    };
}

static bool fits_after(const struct lightllm *b, const struct newcomer *c, int64_t ahead)
{
    struct peak p = peak_with(b, c->held_tok, c->left_tok, ahead);
    return p.before_tok < c->limit_tok && p.own_tok < c->limit_tok && p.after_tok < c->limit_tok;
}

/* A lower bound of the decode steps until a refused request fits if nobody finishes. What is behind
 * the newcomer only falls by one token per step, which allows to leap. */
static uint64_t steps_until_fit(const struct lightllm *b, const struct newcomer *c)
{
    int64_t t = 1;
    for (int i = 0; i < 32; i++) {
        struct peak p = peak_with(b, c->held_tok, c->left_tok, t);
        if (p.after_tok >= c->limit_tok) {
            t += p.after_tok - c->limit_tok + 1;
        } else if (p.before_tok >= c->limit_tok || p.own_tok >= c->limit_tok) {
            t++;
        } else {
            break;
        }
    }
    return (uint64_t)t;
}

/* ---- steps ---- */

/* Form a prefill batch. Returns for how many decode steps the same try would fail again. */
static uint64_t form(struct lightllm *b, struct engine *e)
{
    uint64_t horizon = UINT64_MAX, sum_tok = 0, max_tok = batch_max(b, e);
    if (eng_n_waiting(e) == 0 || !refresh(b, e)) {
        return horizon;
    }
    for (req_id r = eng_pick(e); r != REQ_NONE; r = eng_pick(e)) {
        struct newcomer c = newcomer(b, e, r);
        uint32_t tok = eng_context(e, r);
        bool fits = fits_after(b, &c, 0);
        bool room = eng_n_running(e) < b->running_max && sum_tok + tok <= max_tok;
        if (fits && room && eng_admit(e, r, tok - eng_hit(e, r), 0)) {
            sum_tok += tok;
            if (!insert(b, c.client, c.held_tok, c.left_tok)) {
                break;
            }
            sum_up(&b->ahead);
            b->ahead.valid = false; /* from its first token on it counts as a running one */
            continue;
        }
        uint64_t again = fits ? UINT64_MAX : steps_until_fit(b, &c);
        horizon = again < horizon ? again : horizon;
        if (!eng_pick_blocked(e, r)) {
            break;
        }
    }
    return horizon;
}

static void decode(struct lightllm *b, struct engine *e)
{
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = UINT32_MAX};
    /* The look-ahead leaves room for all; only a trace whose outputs outgrow what they declared can
     * make this push somebody out. */
    if (!step_running(&s) || eng_preempted_now(e)) {
        b->ahead.valid = false;
    }
    b->decodes_done++;
    b->since_try += b->since_try < b->max_wait_tokens;
}

static uint64_t lightllm_plan(void *st, struct engine *e)
{
    struct lightllm *b = st;
    bool idle = eng_n_decoding(e) == 0, tried = idle || b->since_try >= b->max_wait_tokens;
    uint64_t again = tried ? form(b, e) : (uint64_t)b->max_wait_tokens - b->since_try;
    if (eng_plan_chunks(e) > 0) {
        b->since_try = 0;
        return 1;
    }
    if (idle) {
        return 1;
    }
    decode(b, e);
    if (eng_n_waiting(e) == 0) {
        again = UINT64_MAX;
    }
    uint64_t steady = step_horizon(e, true);
    return again < steady ? again : steady;
}

static void lightllm_skipped(void *st, struct engine *e, uint64_t k)
{
    struct lightllm *b = st;
    (void)e;
    b->decodes_done += k;
    uint64_t n = b->since_try + k;
    b->since_try = (uint32_t)(n < (uint64_t)b->max_wait_tokens ? n : (uint64_t)b->max_wait_tokens);
}

static const char *lightllm_never_fits(void *st, struct engine *e, req_id r)
{
    const struct lightllm *b = st;
    uint32_t ctx = eng_context(e, r);
    uint64_t rest = (uint64_t)eng_max_output(e, r) - eng_planned_output(e, r);
    if (ctx > batch_max(b, e)) {
        return "the prompt is longer than batch_max_tokens";
    }
    if (ctx + rest + (uint64_t)b->adapter_tok >= eng_kv_total(e)) {
        return "prompt, declared output and adapter need more tokens than the KV pool has";
    }
    return NULL;
}

const struct batcher_ops batcher_lightllm_slora = {
    .name = "lightllm-slora",
    .summary = "S-LoRA / VTC artifact: prefill alone, a try every 10 decode steps, look-ahead memory",
    .source = "S-LoRA c1ddf4887, VTC-artifact 192c2e201, slora/server/router",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct lightllm),
    .options = options,
    .init = lightllm_init,
    .plan = lightllm_plan,
    .skipped = lightllm_skipped,
    .never_fits = lightllm_never_fits,
};
