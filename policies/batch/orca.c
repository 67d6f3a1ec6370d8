/* SPDX-License-Identifier: Apache-2.0
 *
 * Orca: iteration-level scheduling without paging. Whole prompts join the running batch at any step;
 * each request reserves room for its longest possible context, so nobody is ever pushed out.
 * Source: Orca (OSDI'22), as implemented for comparison in microsoft/sarathi-serve 96f991179,
 * sarathi/core/scheduler/orca_scheduler.py; the three reservations are those of the vLLM paper
 * (SOSP'23, section 6.1): Orca (Max), (Pow2), (Oracle). */
#include "policies/batch/step.h"

enum reserve { RESERVE_MAX, RESERVE_POW2, RESERVE_EXACT };
static const struct opt_choice reserve_choices[] = {
    {"max", "max_model_len tokens for every request"},
    {"pow2", "prompt and the declared output rounded up to a power of two"},
    {"exact", "prompt and the declared output (an oracle if the trace declares the true one)"},
    {NULL, NULL},
};

struct orca {
    int64_t max_num_seqs, block_size, max_model_len, reserve;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct orca, field)
static const struct opt_row options[] = {
    {"max_num_seqs", OPT_INT, ROW(max_num_seqs), 1, 1 << 20, "128", "1", "most running requests", NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "16", "tok", "tokens per KV block", NULL},
    {"max_model_len", OPT_INT, ROW(max_model_len), 0, 1 << 30, "0", "tok",
     "longest context; 0 = the model's limit", NULL},
    {"reserve", OPT_CHOICE, ROW(reserve), 0, -1, "max", NULL, "what a request reserves when it starts",
     reserve_choices},
    OPT_END,
};
#undef ROW

static int orca_init(void *st, struct batcher_env *env, struct err *e)
{
    struct orca *b = st;
    b->max_model_len = b->max_model_len ? b->max_model_len : env->max_context_tok;
    if (b->max_model_len == 0 && b->reserve == RESERVE_MAX) {
        return err_set(e, SIM_E_CONFIG, "orca: each request reserves the longest context, which this "
                                        "model does not state: set max_model_len");
    }
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_batched_tok = (uint32_t)b->max_model_len;
    env->traits->max_seqs = (uint32_t)b->max_num_seqs;
    return 0;
}

static uint64_t reserve_tok(const struct orca *b, const struct engine *e, req_id r)
{
    uint64_t out = eng_max_output(e, r), prompt = eng_req(e, r)->prompt_tok, pow2 = 1;
    while (b->reserve == RESERVE_POW2 && pow2 < out) {
        pow2 *= 2;
    }
    switch (b->reserve) {
    case RESERVE_MAX:
        return (uint64_t)b->max_model_len;
    case RESERVE_POW2:
        return prompt + pow2;
    default:
        return prompt + out;
    }
}

static const char *orca_never_fits(void *st, struct engine *e, req_id r)
{
    const struct orca *b = st;
    uint64_t whole = (uint64_t)eng_req(e, r)->prompt_tok + eng_max_output(e, r);
    if (b->max_model_len && whole > (uint64_t)b->max_model_len) {
        return "prompt and declared output are longer than max_model_len";
    }
    if (step_blocks(e, reserve_tok(b, e, r)) > eng_kv_total(e)) {
        return "its reservation needs more KV blocks than the pool has";
    }
    return NULL;
}

static uint64_t orca_plan(void *st, struct engine *e)
{
    struct orca *b = st;
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = UINT32_MAX};
    bool all = step_running(&s);
    while (eng_n_running(e) < b->max_num_seqs) {
        req_id r = eng_pick(e);
        if (r == REQ_NONE) {
            break;
        }
        const char *why = orca_never_fits(b, e, r);
        uint32_t tok = eng_context(e, r) - eng_hit(e, r);
        if (why) {
            eng_refuse(e, r, why);
        } else if (!eng_admit(e, r, tok, (uint32_t)reserve_tok(b, e, r)) && !eng_pick_blocked(e, r)) {
            break;
        }
    }
    return step_horizon(e, all);
}

const struct batcher_ops batcher_orca = {
    .name = "orca",
    .summary = "Orca: iteration-level batching, whole prompts, room reserved for the longest context",
    .source = "Orca (OSDI'22); microsoft/sarathi-serve 96f991179; vLLM paper section 6.1",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct orca),
    .options = options,
    .init = orca_init,
    .plan = orca_plan,
    .never_fits = orca_never_fits,
};
