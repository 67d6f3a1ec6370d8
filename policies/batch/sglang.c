/* SPDX-License-Identifier: Apache-2.0
 *
 * SGLang 0.4.6: prefill first and alone, one chunked prompt at a time, admission by an estimate of the
 * output still to come (new_token_ratio), retraction of those with the fewest tokens.
 * Source: sglang 0.4.6.post5 srt/managers/{scheduler,schedule_policy,schedule_batch}.py, PrefillAdder;
 * server_args.py; global_config.py.
 * Not modelled: prefix hits that end inside a page (with page_size 1 they are exact to a token, as
 * there); cache-aware orders of the queue, which are policies here; retracted requests go where the
 * policy puts them, not to the end of the queue. */
#include "policies/batch/step.h"

enum {
    CLIP_OUTPUT_TOK = 4096, /* CLIP_MAX_NEW_TOKENS_ESTIMATION */
    RETRACT_STEPS = 20,     /* retract_decode_steps */
    DECAY_STEPS = 600       /* default_new_token_ratio_decay_steps */
};
static const double INIT_RATIO = 0.7, MIN_RATIO_FACTOR = 0.14;

struct sglang {
    /* options */
    int64_t page_size, chunked_prefill_size, max_prefill_tokens, max_running_requests;
    int64_t max_model_len;
    double schedule_conservativeness;
    bool overlap, radix_cache, mixed_chunk;
    /* what they come to */
    uint32_t chunk_tok; /* 0 = no chunking */
    uint32_t context_tok;
    double init_ratio, min_ratio, decay;
    struct step_rules rules;
    /* state */
    double base_ratio;   /* before the decode steps below */
    uint64_t n_decayed;
    bool full;           /* batch_is_full: no try until a running request leaves */
    bool left;           /* one has, since the last decode step was made */
    uint32_t n_expected; /* running requests after the last plan */
    bool had_waiting;    /* somebody waited after it */
};

#define ROW(field) .offset = offsetof(struct sglang, field)
static const struct opt_row options[] = {
    {"page_size", OPT_INT, ROW(page_size), 1, 4096, "1", "tok", "tokens per KV page", NULL},
    {"chunked_prefill_size", OPT_INT, ROW(chunked_prefill_size), -1, 1 << 30, "0", "tok",
     "prompt tokens of a step; 0 = 8192, 2048 below 25 GB, 16384 above 180 GB; -1 = no chunks", NULL},
    {"max_prefill_tokens", OPT_INT, ROW(max_prefill_tokens), 1, 1 << 30, "16384", "tok",
     "new prompt tokens of a step; a single request may have more", NULL},
    {"max_running_requests", OPT_INT, ROW(max_running_requests), 0, 1 << 20, "0", "1",
     "0 = pool tokens / context length * 512, within 2048..4096", NULL},
    {"max_model_len", OPT_INT, ROW(max_model_len), 0, 1 << 30, "0", "tok",
     "context length; 0 = the model's limit", NULL},
    {"schedule_conservativeness", OPT_DOUBLE, ROW(schedule_conservativeness), 0, 10, "1", "1",
     "scales the share of the declared output that is reserved", NULL},
    {"overlap", OPT_BOOL, ROW(overlap), 0, -1, "on", NULL,
     "a step is planned while the one before it runs", NULL},
    {"radix_cache", OPT_BOOL, ROW(radix_cache), 0, -1, "on", NULL, "share equal prompt prefixes", NULL},
    {"mixed_chunk", OPT_BOOL, ROW(mixed_chunk), 0, -1, "off", NULL,
     "decodes ride along with prefill steps (enable_mixed_chunk)", NULL},
    OPT_END,
};
#undef ROW

static uint32_t default_chunk_tok(const struct batcher_env *env)
{
    const double mib = 1024.0 * 1024.0; /* as nvidia-smi counts */
    if (env->gpu_mem_bytes > 0 && env->gpu_mem_bytes < 25000 * mib) {
        return 2048;
    }
    return env->gpu_mem_bytes > 180000 * mib ? 16384 : 8192;
}

static int sglang_init(void *st, struct batcher_env *env, struct err *e)
{
    struct sglang *b = st;
    (void)e;
    b->context_tok = b->max_model_len ? (uint32_t)b->max_model_len : env->max_context_tok;
    b->chunk_tok = b->chunked_prefill_size > 0 ? (uint32_t)b->chunked_prefill_size : 0;
    if (b->chunked_prefill_size == 0) {
        b->chunk_tok = default_chunk_tok(env);
    }
    if (b->chunk_tok && b->chunk_tok < b->page_size) {
        return err_set(e, SIM_E_CONFIG, "sglang: chunked_prefill_size is smaller than page_size");
    }
    double init = INIT_RATIO * b->schedule_conservativeness;
    b->init_ratio = b->base_ratio = init < 1.0 ? init : 1.0;
    b->min_ratio = b->init_ratio * MIN_RATIO_FACTOR;
    b->decay = (b->init_ratio - b->min_ratio) / DECAY_STEPS;
    env->traits->block_tok = (uint32_t)b->page_size;
    env->traits->max_batched_tok = b->chunk_tok ? b->chunk_tok : (uint32_t)b->max_prefill_tokens;
    env->traits->max_seqs = (uint32_t)b->max_running_requests;
    env->traits->prefix_cache = b->radix_cache;
    env->traits->async_depth2 = b->overlap;
    return 0;
}

/* In closed form, so that a jump over k decode steps is exact. */
static double ratio(const struct sglang *b)
{
    double r = b->base_ratio - (double)b->n_decayed * b->decay;
    return r > b->min_ratio ? r : b->min_ratio;
}

static void ratio_set(struct sglang *b, double r)
{
    b->base_ratio = r;
    b->n_decayed = 0;
}

static uint64_t pool_tok(const struct engine *e)
{
    return eng_kv_total(e) * eng_block_tok(e);
}

static uint32_t max_running(const struct sglang *b, const struct engine *e)
{
    if (b->max_running_requests) {
        return (uint32_t)b->max_running_requests;
    }
    if (b->context_tok == 0) {
        return 4096;
    }
    uint64_t n = (uint64_t)((double)pool_tok(e) / b->context_tok * 512.0);
    return n < 2048 ? 2048 : n > 4096 ? 4096 : (uint32_t)n;
}

/* max_new_tokens, which the tokenizer manager cuts to what the pool could hold. */
static uint64_t max_new_tok(const struct engine *e, req_id r)
{
    uint64_t want = eng_max_output(e, r), prompt = eng_req(e, r)->prompt_tok, pool = pool_tok(e);
    uint64_t room = pool > prompt + 2 ? pool - prompt - 2 : 0;
    return want < room ? want : room;
}

static uint64_t clip(uint64_t tok)
{
    return tok < CLIP_OUTPUT_TOK ? tok : CLIP_OUTPUT_TOK;
}

static uint64_t to_come_tok(const struct engine *e, req_id r)
{
    uint64_t all = max_new_tok(e, r), out = eng_planned_output(e, r);
    return all > out ? all - out : 0;
}

/* ---- prefill ---- */
enum added { ADDED, NO_TOKEN, OTHER };

struct adder {
    struct engine *e;
    double reserved_tok;     /* of the running ones and of those added */
    int64_t input_tok;       /* left of max_prefill_tokens */
    int64_t chunk_tok;       /* left of chunked_prefill_size */
    bool chunks;
    uint32_t n;
};

static double left_in_pool(const struct adder *a)
{
    return (double)(eng_kv_free(a->e) * eng_block_tok(a->e)) - a->reserved_tok;
}

static struct adder adder_start(const struct sglang *b, struct engine *e)
{
    uint64_t sum = 0;
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        sum += eng_is_decoding(e, r) ? clip(to_come_tok(e, r)) : 0;
    }
    return (struct adder){.e = e, .reserved_tok = (double)sum * ratio(b), .chunks = b->chunk_tok > 0,
                          .input_tok = b->max_prefill_tokens, .chunk_tok = b->chunk_tok};
}

static void adder_took(struct adder *a, uint32_t tok, uint64_t output_tok)
{
    a->n++;
    a->input_tok -= tok;
    a->chunk_tok -= tok;
    a->reserved_tok += (double)output_tok;
}

/* The chunked prompt of the step before goes on first; false when memory is short. */
static bool adder_go_on(struct adder *a, req_id r)
{
    uint32_t left = eng_left_tok(a->e, r), tok = left;
    if (a->chunks && tok > a->chunk_tok) {
        tok = (uint32_t)(a->chunk_tok > 0 ? a->chunk_tok : 0);
    }
    if (tok == 0 || !eng_chunk(a->e, r, tok)) {
        return false;
    }
    adder_took(a, tok, tok == left ? clip(max_new_tok(a->e, r)) : 0);
    return true;
}

static enum added adder_state(const struct adder *a)
{
    if (left_in_pool(a) <= 0 || eng_kv_free(a->e) == 0) {
        return NO_TOKEN;
    }
    return a->input_tok <= 0 || (a->chunks && a->chunk_tok <= 0) ? OTHER : ADDED;
}

static enum added adder_add(struct adder *a, req_id r)
{
    uint32_t ctx = eng_context(a->e, r), hit = eng_hit(a->e, r), tok = ctx - hit;
    uint32_t page = eng_block_tok(a->e);
    uint64_t fresh = step_blocks(a->e, ctx) - hit / page; /* the rest of the need is hits to revive */
    double revived = (double)((eng_kv_need(a->e, r, ctx) - fresh) * page);
    double total = (double)tok + (double)clip(max_new_tok(a->e, r));
    if (total >= left_in_pool(a) || total > left_in_pool(a) - revived) {
        return NO_TOKEN;
    }
    if (tok > a->input_tok && a->n > 0) {
        return OTHER;
    }
    bool whole = !a->chunks || tok <= a->chunk_tok;
    if (!whole) {
        tok = a->chunk_tok > 0 ? (uint32_t)a->chunk_tok / page * page : 0;
        if (tok == 0) {
            return OTHER;
        }
    }
    if (!eng_admit(a->e, r, tok, 0)) {
        return NO_TOKEN;
    }
    adder_took(a, tok, whole ? clip(max_new_tok(a->e, r)) : 0);
    return ADDED;
}

/* Whether get_new_batch_prefill gets as far as looking at requests. */
static bool prefill_tries(struct sglang *b, struct engine *e, req_id chunked)
{
    if (chunked != REQ_NONE) {
        return true;
    }
    if (b->full || eng_n_waiting(e) == 0) {
        return false;
    }
    b->full = eng_n_running(e) >= max_running(b, e);
    return !b->full;
}

/* The rest of it. Sets `full` when slots or memory end it. */
static void prefill(struct sglang *b, struct adder *a, req_id chunked)
{
    struct engine *e = a->e;
    if (chunked != REQ_NONE && !adder_go_on(a, chunked)) {
        return;
    }
    for (req_id r = eng_pick(e); r != REQ_NONE; r = eng_pick(e)) {
        if (eng_n_running(e) >= max_running(b, e)) {
            b->full = true;
            return;
        }
        enum added how = adder_add(a, r);
        bool in = how == ADDED;
        how = in ? adder_state(a) : how;
        b->full |= how == NO_TOKEN;
        if (in ? how != ADDED : how == OTHER || !eng_pick_blocked(e, r)) {
            return;
        }
    }
}

/* ---- decode ---- */

/* Fewest output tokens first, of these the longest prompt (retract_decode sorts by both). */
static bool goes_before(const struct engine *e, req_id a, req_id b)
{
    uint32_t out_a = eng_planned_output(e, a), out_b = eng_planned_output(e, b);
    return out_a != out_b ? out_a < out_b : eng_req(e, a)->prompt_tok > eng_req(e, b)->prompt_tok;
}

static req_id retract_victim(struct engine *e)
{
    req_id v = eng_victim(e), best = REQ_NONE;
    if (v != eng_last_running(e) && v != REQ_NONE && eng_is_decoding(e, v)) {
        return v; /* the policy has an opinion */
    }
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        /* of equals the last: a stable sort, popped from its end */
        if (eng_is_decoding(e, r) && (best == REQ_NONE || !goes_before(e, best, r))) {
            best = r;
        }
    }
    return best;
}

/* New ratio: what the rest has made, and 20 more each, of what they may make. */
static void ratio_after_retract(struct sglang *b, const struct engine *e)
{
    uint64_t made = 0, may = 0;
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        if (eng_is_decoding(e, r)) {
            made += eng_planned_output(e, r) + RETRACT_STEPS;
            may += max_new_tok(e, r);
        }
    }
    double r = may > 0 ? (double)made / (double)may : 1.0;
    ratio_set(b, r < 1.0 ? r : 1.0);
}

/* At least one goes, more until 20 steps fit for the rest; the last decoding one stays if it can. */
static void retract(struct sglang *b, struct engine *e)
{
    do {
        uint32_t n = eng_n_decoding(e);
        req_id chunked = eng_first_prefilling(e);
        if (n == 1 && eng_decode_need(e) <= eng_kv_free(e)) {
            break;
        }
        eng_preempt(e, n == 1 && chunked != REQ_NONE ? chunked : retract_victim(e));
    } while (eng_n_decoding(e) > 0 && eng_kv_free(e) * eng_block_tok(e) <
                                          (uint64_t)RETRACT_STEPS * eng_n_decoding(e));
    ratio_after_retract(b, e);
    b->left = true;
}

static void leave_noted(struct sglang *b)
{
    b->full = b->full && !b->left;
    b->left = false;
}

/* update_running_batch. */
static void decode(struct sglang *b, struct engine *e)
{
    leave_noted(b);
    if (eng_decode_need(e) > eng_kv_free(e)) {
        retract(b, e);
        b->full = false;
    } else {
        b->n_decayed++;
    }
    eng_decode_all(e);
}

/* With mixed chunks the decodes are in the step before it is known whether a prefill comes, and count
 * against its limits. If none comes it is an ordinary decode step. */
static bool decode_ahead(const struct sglang *b, struct adder *a)
{
    uint32_t n = eng_n_decoding(a->e);
    if (!b->mixed_chunk || n == 0 || !eng_decode_all(a->e)) {
        return false;
    }
    a->input_tok -= n;
    a->chunk_tok -= n;
    return true;
}

static void look_around(struct sglang *b, const struct engine *e, req_id chunked)
{
    b->left |= eng_n_running(e) < b->n_expected;
    if (chunked != REQ_NONE || eng_n_running(e) == 0) {
        b->full = false; /* a chunk has just been done, or there is no batch */
    }
    if (eng_n_running(e) == 0 && !b->had_waiting) {
        ratio_set(b, b->init_ratio); /* the server has been idle */
    }
}

/* No prefill came of it. */
static void go_on(struct sglang *b, struct engine *e, req_id chunked, bool ahead)
{
    if (eng_n_decoding(e) == 0) {
        if (chunked != REQ_NONE && eng_n_running(e) == 1) {
            eng_preempt(e, chunked); /* alone, and its next chunk does not fit */
        }
    } else if (ahead) {
        leave_noted(b);
        b->n_decayed++;
    } else {
        decode(b, e);
    }
}

static uint64_t sglang_plan(void *st, struct engine *e)
{
    struct sglang *b = st;
    req_id chunked = eng_first_prefilling(e);
    bool ahead = false;
    look_around(b, e, chunked);
    if (prefill_tries(b, e, chunked)) {
        struct adder a = adder_start(b, e);
        ahead = decode_ahead(b, &a);
        prefill(b, &a, chunked);
    }
    if (eng_plan_chunks(e) == 0) {
        go_on(b, e, chunked, ahead);
    }
    b->n_expected = eng_n_running(e);
    b->had_waiting = eng_n_waiting(e) > 0;
    /* A try that failed set `full`, and that lasts until somebody leaves. */
    bool settled = eng_n_waiting(e) == 0 || b->full;
    return settled && eng_n_prefilling(e) == 0 ? step_horizon(e, true) : 1;
}

static void sglang_skipped(void *st, struct engine *e, uint64_t k)
{
    struct sglang *b = st;
    (void)e;
    b->n_decayed += k;
}

static const char *sglang_never_fits(void *st, struct engine *e, req_id r)
{
    const struct sglang *b = st;
    uint64_t ctx = eng_context(e, r), pool = pool_tok(e);
    if (b->context_tok && eng_req(e, r)->prompt_tok >= b->context_tok) {
        return "the prompt is not shorter than the context length";
    }
    if (ctx + clip(max_new_tok(e, r)) >= pool) {
        return "prompt and the output to come need more tokens than the KV pool has";
    }
    return NULL;
}

const struct batcher_ops batcher_sglang = {
    .name = "sglang",
    .summary = "SGLang: prefill first and alone, reserve by new_token_ratio, retraction",
    .source = "SGLang 0.4.6.post5, srt/managers/scheduler.py and schedule_policy.py",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct sglang),
    .options = options,
    .init = sglang_init,
    .plan = sglang_plan,
    .skipped = sglang_skipped,
    .never_fits = sglang_never_fits,
};
