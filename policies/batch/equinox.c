/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine of Equinox (arXiv 2508.16646), which is said to have adaptive batching and stall-free
 * scheduling besides its policy. Their rules are not public; these are stand-ins, one switch each:
 *   adaptive    a request is admitted when the largest memory that the batch will need by the
 * output lengths that the policy expects fits the pool. Off: by the lengths that the requests
 * declare, as S-LoRA does (the look-ahead of lightllm-slora). Where answers outgrow what was
 * expected and memory runs out, the youngest request goes and is recomputed, and the share of the
 * pool that may be planned for falls by `backoff`; each admission gives `recover` of it back.
 *   stall_free  Sarathi's batches: all decodes, then prompts in chunks of what is left of the
 * budget. Off: prompts of admitted requests are computed whole and alone, and decodes wait. */
#include <math.h>
#include <stdlib.h>

#include "policies/batch/step.h"

struct need {
    int64_t held_tok, left_tok;
};

struct equinox {
    int64_t chunk_size, prefill_tok, max_num_seqs, block_size;
    bool adaptive, stall_free;
    double backoff, recover;
    double share; /* of the pool that may be planned for */
    struct arena *arena;
    struct need *need; /* of the batch, for the look-ahead */
    uint32_t cap;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct equinox, field)
static const struct opt_row options[] = {
    {"adaptive", OPT_BOOL, ROW(adaptive), 0, -1, "on", NULL,
     "admit by the output lengths that the policy expects, not by the declared limits", NULL},
    {"stall_free", OPT_BOOL, ROW(stall_free), 0, -1, "on", NULL,
     "prompts in chunks beside the decodes, not whole and alone", NULL},
    {"backoff", OPT_DOUBLE, ROW(backoff), 0.01, 1, "0.95", "1",
     "the share of the pool that is planned for shrinks by this when memory runs out", NULL},
    {"recover", OPT_DOUBLE, ROW(recover), 0, 1, "0.001", "1",
     "and grows by this with each admission", NULL},
    {"chunk_size", OPT_INT, ROW(chunk_size), 1, 1 << 30, "512", "tok",
     "tokens of a stall-free step (Sarathi: 512 for strict goals)", NULL},
    {"prefill_tokens", OPT_INT, ROW(prefill_tok), 1, 1 << 30, "8192", "tok",
     "prompt tokens of a step of prompts alone", NULL},
    {"max_num_seqs", OPT_INT, ROW(max_num_seqs), 1, 1 << 20, "1000", "1", "most running requests",
     NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "1", "tok", "tokens per KV block", NULL},
    OPT_END,
};
#undef ROW

static int equinox_init(void *st, struct batcher_env *env, struct err *e)
{
    struct equinox *b = st;
    (void)e;
    b->arena = env->arena;
    b->share = 1;
    b->rules = (struct step_rules){.decodes_first = true, .victim_by_arrival = true};
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_batched_tok = (uint32_t)(b->stall_free ? b->chunk_size : b->prefill_tok);
    env->traits->max_seqs = (uint32_t)b->max_num_seqs;
    return 0;
}

/* ---- the look-ahead ---- */

static int64_t left_tok(const struct equinox *b, struct engine *e, req_id r)
{
    int64_t all = b->adaptive ? eng_forecast(e, r) : eng_max_output(e, r);
    int64_t left = all - eng_planned_output(e, r) - 1;
    return left > 0 ? left : 0;
}

static int by_left(const void *x, const void *y)
{
    const struct need *a = x, *b = y;
    return a->left_tok < b->left_tok ? 1 : -(a->left_tok > b->left_tok);
}

/* Largest memory that n requests will need: when the i-th longest ends, i of them have grown by
 * what it had left, and the others are gone. */
static int64_t peak_tok(struct need *need, uint32_t n)
{
    int64_t held = 0, most = 0;
    qsort(need, n, sizeof *need, by_left);
    for (uint32_t i = 0; i < n; i++) {
        held += need[i].held_tok;
        int64_t at = held + need[i].left_tok * (i + 1);
        most = at > most ? at : most;
    }
    return most;
}

static bool reach(struct equinox *b, uint32_t n)
{
    if (n > b->cap) {
        b->need = arena_calloc(b->arena, 2 * (size_t)n, sizeof *b->need);
        b->cap = b->need ? 2 * n : 0;
    }
    return n <= b->cap;
}

static int64_t pool_tok(const struct engine *e)
{
    return (int64_t)(eng_kv_total(e) * eng_block_tok(e));
}

/* What a request wastes of its last block. */
static int64_t slack_tok(const struct engine *e)
{
    return eng_block_tok(e) - 1;
}

static bool will_fit(struct equinox *b, struct engine *e, req_id newcomer)
{
    uint32_t n = 0;
    if (!reach(b, eng_n_running(e) + 1)) {
        return false;
    }
    for (req_id r = eng_first_running(e); r != REQ_NONE; r = eng_next_running(e, r)) {
        b->need[n++] = (struct need){(int64_t)eng_context(e, r) + slack_tok(e), left_tok(b, e, r)};
    }
    b->need[n++] = (struct need){(int64_t)eng_context(e, newcomer) + 1 + slack_tok(e),
                                 left_tok(b, e, newcomer)};
    /* Expectations may be wrong: an empty engine takes what can run at all. */
    return (double)peak_tok(b->need, n) <= b->share * (double)pool_tok(e) ||
           (b->adaptive && n == 1);
}

static const char *equinox_never_fits(void *st, struct engine *e, req_id r)
{
    const struct equinox *b = st;
    int64_t left = b->adaptive ? 0 : (int64_t)eng_max_output(e, r) - eng_planned_output(e, r) - 1;
    if ((int64_t)eng_context(e, r) + 1 + slack_tok(e) + (left > 0 ? left : 0) > pool_tok(e)) {
        return b->adaptive ? "prompt and output so far need more KV than the pool has"
                           : "prompt and declared output need more KV than the pool has";
    }
    return NULL;
}

/* ---- steps ---- */

/* Tokens of `r` in this step; 0 = none now. Alone, a first prompt may be longer than the budget. */
static uint32_t first_tok(const struct equinox *b, struct step *s, req_id r)
{
    uint32_t all = eng_context(s->e, r) - eng_hit(s->e, r);
    if (b->stall_free) {
        return step_chunk_tok(s, all);
    }
    return all <= s->budget_tok || eng_plan_chunks(s->e) == 0 ? all : 0;
}

/* Blocks for the whole prompt must be there, and the batch must fit to its end. */
static bool admit_one(struct equinox *b, struct step *s, req_id r)
{
    uint32_t n = first_tok(b, s, r);
    uint64_t blk = eng_kv_need(s->e, r, eng_context(s->e, r)) + step_prefill_debt(s->e);
    if (n == 0 || blk > eng_kv_free(s->e) || !will_fit(b, s->e, r) || !eng_admit(s->e, r, n, 0)) {
        return false;
    }
    s->budget_tok -= n < s->budget_tok ? n : s->budget_tok;
    b->share = fmin(1, b->share + b->recover);
    return true;
}

/* Whether anybody waits who was refused for lack of memory, and may not be a step later. */
static bool admit(struct equinox *b, struct step *s)
{
    struct engine *e = s->e;
    while (s->budget_tok > 0 && eng_n_running(e) < b->max_num_seqs && !eng_preempted_now(e)) {
        req_id r = eng_pick(e);
        const char *why = r == REQ_NONE ? NULL : equinox_never_fits(b, e, r);
        if (r == REQ_NONE) {
            return false;
        }
        if (why) {
            eng_refuse(e, r, why);
        } else if (!admit_one(b, s, r) && !eng_pick_blocked(e, r)) {
            return true;
        }
    }
    return false;
}

static bool serve_running(struct equinox *b, struct step *s)
{
    bool all = step_running(s);
    b->share *= eng_preempted_now(s->e) ? b->backoff : 1;
    return all;
}

static uint64_t plan_stall_free(struct equinox *b, struct engine *e)
{
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = (uint64_t)b->chunk_size};
    bool all = serve_running(b, &s);
    return admit(b, &s) ? 1 : step_horizon(e, all);
}

/* A step of prompts if one can be made, else of decodes. */
static uint64_t plan_stalling(struct equinox *b, struct engine *e)
{
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = (uint64_t)b->prefill_tok};
    bool refused = admit(b, &s);
    if (eng_plan_chunks(e) > 0) {
        return 1;
    }
    s.budget_tok = UINT32_MAX;
    bool all = serve_running(b, &s);
    return refused ? 1 : step_horizon(e, all);
}

static uint64_t equinox_plan(void *st, struct engine *e)
{
    struct equinox *b = st;
    return b->stall_free ? plan_stall_free(b, e) : plan_stalling(b, e);
}

const struct batcher_ops batcher_equinox = {
    .name = "equinox",
    .summary =
        "Equinox: stall-free chunks, admission by the output lengths that the policy expects",
    .source = "Equinox, arXiv 2508.16646; rules are stand-ins",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct equinox),
    .options = options,
    .init = equinox_init,
    .plan = equinox_plan,
    .never_fits = equinox_never_fits,
};
