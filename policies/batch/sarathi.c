/* SPDX-License-Identifier: Apache-2.0
 *
 * Sarathi-Serve: stall-free batching. Every step: the decodes, then unfinished prefills, then new
 * requests, prompts cut at what is left of the chunk.
 * Source: microsoft/sarathi-serve 96f991179, sarathi/core/scheduler/sarathi_scheduler.py; paper
 * arXiv 2403.02310, algorithm 3; max batch 128 and chunks of 512 and 2048 as in its evaluation. */
#include "policies/batch/step.h"

struct sarathi {
    int64_t chunk_size, max_num_seqs, block_size;
    double watermark;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct sarathi, field)
static const struct opt_row options[] = {
    {"chunk_size", OPT_INT, ROW(chunk_size), 1, 1 << 30, "512", "tok",
     "tokens of a step (512 for strict, 2048 for relaxed goals in the paper)", NULL},
    {"max_num_seqs", OPT_INT, ROW(max_num_seqs), 1, 1 << 20, "128", "1", "most running requests", NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "16", "tok", "tokens per KV block", NULL},
    {"watermark", OPT_DOUBLE, ROW(watermark), 0, 0.99, "0.01", "1",
     "share of the blocks that admission leaves free", NULL},
    OPT_END,
};
#undef ROW

static int sarathi_init(void *st, struct batcher_env *env, struct err *e)
{
    struct sarathi *b = st;
    if (b->max_num_seqs > b->chunk_size) {
        return err_set(e, SIM_E_CONFIG, "sarathi: max_num_seqs %lld is more than chunk_size %lld: "
                       "the decodes alone would not fit into a step",
                       (long long)b->max_num_seqs, (long long)b->chunk_size);
    }
    b->rules = (struct step_rules){.decodes_first = true, .victim_by_arrival = true};
    env->traits->late_chunks = true;
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_batched_tok = (uint32_t)b->chunk_size;
    env->traits->max_seqs = (uint32_t)b->max_num_seqs;
    return 0;
}

static uint64_t watermark_blk(const struct sarathi *b, const struct engine *e)
{
    return (uint64_t)(b->watermark * (double)eng_kv_total(e));
}

static const char *sarathi_never_fits(void *st, struct engine *e, req_id r)
{
    const struct sarathi *b = st;
    if (step_blocks(e, eng_context(e, r)) + watermark_blk(b, e) > eng_kv_total(e)) {
        return "prompt and output so far need more KV blocks than the pool has above its watermark";
    }
    return NULL;
}

/* Blocks for the whole prompt must be there, tokens for its first chunk. */
static bool admit_one(const struct sarathi *b, struct step *s, req_id r)
{
    uint32_t ctx = eng_context(s->e, r);
    uint32_t n = step_chunk_tok(s, ctx - eng_hit(s->e, r));
    uint64_t kept = watermark_blk(b, s->e) + step_prefill_debt(s->e);
    if (eng_kv_need(s->e, r, ctx) + kept > eng_kv_free(s->e) || !eng_admit(s->e, r, n, 0)) {
        return false;
    }
    s->budget_tok -= n;
    return true;
}

static uint64_t sarathi_plan(void *st, struct engine *e)
{
    struct sarathi *b = st;
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = (uint64_t)b->chunk_size};
    bool all = step_running(&s);
    while (s.budget_tok > 0 && eng_n_running(e) < b->max_num_seqs && !eng_preempted_now(e)) {
        req_id r = eng_pick(e);
        const char *why = r == REQ_NONE ? NULL : sarathi_never_fits(b, e, r);
        if (why) {
            eng_refuse(e, r, why);
        } else if (r == REQ_NONE || (!admit_one(b, &s, r) && !eng_pick_blocked(e, r))) {
            break;
        }
    }
    return step_horizon(e, all);
}

const struct batcher_ops batcher_sarathi = {
    .name = "sarathi",
    .summary = "Sarathi-Serve: decodes first, prompts in chunks of what is left of the budget",
    .source = "microsoft/sarathi-serve 96f991179; arXiv 2403.02310",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct sarathi),
    .options = options,
    .init = sarathi_init,
    .plan = sarathi_plan,
    .never_fits = sarathi_never_fits,
};
