/* SPDX-License-Identifier: Apache-2.0
 *
 * Static (request-level) batching, as in FasterTransformer and as the baseline of Orca (OSDI'22,
 * section 2): a batch starts when the one before it has come to its end, and nobody joins in between.
 * Room for prompt and declared output is reserved. A request leaves when its own output is complete. */
#include "policies/batch/step.h"

struct fixed {
    int64_t batch_size, block_size;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct fixed, field)
static const struct opt_row options[] = {
    {"batch_size", OPT_INT, ROW(batch_size), 1, 1 << 20, "8", "1", "most requests in a batch", NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "1", "tok", "tokens per KV block", NULL},
    OPT_END,
};
#undef ROW

static int fixed_init(void *st, struct batcher_env *env, struct err *e)
{
    const struct fixed *b = st;
    (void)e;
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_seqs = (uint32_t)b->batch_size;
    return 0;
}

static uint64_t whole_tok(const struct engine *e, req_id r)
{
    return (uint64_t)eng_req(e, r)->prompt_tok + eng_max_output(e, r);
}

static const char *fixed_never_fits(void *st, struct engine *e, req_id r)
{
    (void)st;
    bool fits = step_blocks(e, whole_tok(e, r)) <= eng_kv_total(e);
    return fits ? NULL : "prompt and declared output need more tokens than the KV pool has";
}

static void start_batch(const struct fixed *b, struct engine *e)
{
    while (eng_n_running(e) < b->batch_size) {
        req_id r = eng_pick(e);
        if (r == REQ_NONE) {
            return;
        }
        const char *why = fixed_never_fits(NULL, e, r);
        uint32_t tok = eng_context(e, r) - eng_hit(e, r);
        if (why) {
            eng_refuse(e, r, why);
        } else if (!eng_admit(e, r, tok, (uint32_t)whole_tok(e, r)) && !eng_pick_blocked(e, r)) {
            return;
        }
    }
}

static uint64_t fixed_plan(void *st, struct engine *e)
{
    const struct fixed *b = st;
    if (eng_n_running(e) == 0) {
        start_batch(b, e);
        return 1;
    }
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = UINT32_MAX};
    return step_horizon(e, step_running(&s));
}

const struct batcher_ops batcher_static = {
    .name = "static",
    .summary = "static batching: a batch runs to its end before the next one starts",
    .source = "FasterTransformer; baseline of Orca (OSDI'22)",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct fixed),
    .options = options,
    .init = fixed_init,
    .plan = fixed_plan,
    .never_fits = fixed_never_fits,
};
