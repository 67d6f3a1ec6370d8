/* SPDX-License-Identifier: Apache-2.0
 *
 * TensorRT-LLM: a capacity rule says who may hold KV, a token and a batch limit say who runs.
 * GUARANTEED_NO_EVICT reserves prompt and max_new_tokens for every request that starts;
 * MAX_UTILIZATION gives blocks for the next step only and pauses the last started when they run out.
 * Source: TensorRT-LLM cpp/tensorrt_llm/batch_manager/capacityScheduler.cpp (02a10fed0dbf),
 * microBatchScheduler.cpp (0a949d3128bf), tensorrt_llm/_torch/pyexecutor/scheduler.py (034fffb09006);
 * defaults from the performance tuning guide. tokens_per_block, max_batch_size and the overlap
 * scheduler's default could not be verified.
 * Not modelled: the postponement of a first chunk whose next block another request is computing;
 * EQUAL_PROGRESS chunking. */
#include "policies/batch/step.h"

enum capacity { NO_EVICT, MAX_UTILIZATION };
static const struct opt_choice capacity_choices[] = {
    {"guaranteed-no-evict", "reserve prompt and declared output; nobody is ever paused"},
    {"max-utilization", "blocks for the next step only; the last started is paused when short"},
    {NULL, NULL},
};

struct trtllm {
    int64_t capacity, max_num_tokens, max_batch_size, tokens_per_block;
    bool chunked_context, block_reuse, overlap;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct trtllm, field)
static const struct opt_row options[] = {
    {"capacity", OPT_CHOICE, ROW(capacity), 0, -1, "guaranteed-no-evict", NULL,
     "capacity scheduler policy", capacity_choices},
    {"max_num_tokens", OPT_INT, ROW(max_num_tokens), 1, 1 << 30, "8192", "tok", "tokens of a step", NULL},
    {"max_batch_size", OPT_INT, ROW(max_batch_size), 1, 1 << 20, "2048", "1", "most running requests",
     NULL},
    {"tokens_per_block", OPT_INT, ROW(tokens_per_block), 1, 4096, "32", "tok", "tokens per KV block",
     NULL},
    {"chunked_context", OPT_BOOL, ROW(chunked_context), 0, -1, "off", NULL,
     "cut prompts at the token limit, in whole blocks (enable_chunked_prefill)", NULL},
    {"block_reuse", OPT_BOOL, ROW(block_reuse), 0, -1, "on", NULL, "share equal prompt prefixes", NULL},
    {"overlap", OPT_BOOL, ROW(overlap), 0, -1, "on", NULL,
     "a step is planned while the one before it runs", NULL},
    OPT_END,
};
#undef ROW

static int trtllm_init(void *st, struct batcher_env *env, struct err *e)
{
    struct trtllm *b = st;
    (void)e;
    b->rules.chunk_unit_tok = (uint32_t)b->tokens_per_block;
    b->max_batch_size = b->max_batch_size < b->max_num_tokens ? b->max_batch_size : b->max_num_tokens;
    env->traits->block_tok = (uint32_t)b->tokens_per_block;
    env->traits->max_batched_tok = (uint32_t)b->max_num_tokens;
    env->traits->max_seqs = (uint32_t)b->max_batch_size;
    env->traits->prefix_cache = b->block_reuse;
    env->traits->async_depth2 = b->overlap;
    return 0;
}

/* Tokens to hold blocks for when r starts; 0 = what its chunk needs. */
static uint64_t reserve_tok(const struct trtllm *b, const struct engine *e, req_id r)
{
    uint64_t whole = (uint64_t)eng_req(e, r)->prompt_tok + eng_max_output(e, r);
    return b->capacity == NO_EVICT ? whole : 0;
}

static const char *trtllm_never_fits(void *st, struct engine *e, req_id r)
{
    const struct trtllm *b = st;
    uint64_t ctx = eng_context(e, r), hold = reserve_tok(b, e, r);
    if (step_blocks(e, hold > ctx ? hold : ctx) > eng_kv_total(e)) {
        return "the request needs more KV blocks than the pool has";
    }
    if (!b->chunked_context && ctx > (uint64_t)b->max_num_tokens) {
        return "the prompt is longer than max_num_tokens and chunked_context is off";
    }
    if (b->chunked_context && b->tokens_per_block > b->max_num_tokens &&
        ctx > (uint64_t)b->max_num_tokens) {
        return "the prompt is longer than max_num_tokens, which is less than one block";
    }
    return NULL;
}

static bool admit_one(const struct trtllm *b, struct step *s, req_id r)
{
    uint32_t left = eng_context(s->e, r) - eng_hit(s->e, r);
    uint32_t n = step_chunk_tok(s, left);
    if (n == 0 || (n < left && !b->chunked_context)) {
        return false;
    }
    if (!eng_admit(s->e, r, n, (uint32_t)reserve_tok(b, s->e, r))) {
        return false;
    }
    s->budget_tok -= n;
    return true;
}

static uint64_t trtllm_plan(void *st, struct engine *e)
{
    struct trtllm *b = st;
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = (uint64_t)b->max_num_tokens};
    bool all = step_running(&s);
    while (s.budget_tok > 0 && eng_n_running(e) < b->max_batch_size && !eng_preempted_now(e)) {
        req_id r = eng_pick(e);
        const char *why = r == REQ_NONE ? NULL : trtllm_never_fits(b, e, r);
        if (why) {
            eng_refuse(e, r, why);
        } else if (r == REQ_NONE || (!admit_one(b, &s, r) && !eng_pick_blocked(e, r))) {
            break;
        }
    }
    return step_horizon(e, all);
}

const struct batcher_ops batcher_trtllm = {
    .name = "trtllm",
    .summary = "TensorRT-LLM: guaranteed-no-evict or max-utilization, whole prompts or chunks",
    .source = "TensorRT-LLM batch_manager, 2025; performance tuning guide",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct trtllm),
    .options = options,
    .init = trtllm_init,
    .plan = trtllm_plan,
    .never_fits = trtllm_never_fits,
};
