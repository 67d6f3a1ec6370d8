/* SPDX-License-Identifier: Apache-2.0
 *
 * vLLM V1, 0.13 - 0.19: one token budget per step, running requests first in order of admission, then
 * waiting ones, prompts in chunks, recompute preemption of the last admitted.
 * Source: vllm v1/core/sched/scheduler.py schedule() at v0.15.1 and at the main commits next to the
 * 0.15 - 0.19 branches; defaults from engine/arg_utils.py get_batch_defaults; section numbers in
 * comments are those of the project's notes on engines. */
#include <string.h>

#include "policies/batch/step.h"

enum { FIRST_MINOR = 13 }; /* index 0 of version_choices is 0.13 */

static const struct opt_choice version_choices[] = {
    {"0.13", "plain steps; a prompt is admitted when its first chunk fits"},
    {"0.14", "from here on async scheduling by default"},
    {"0.15", "as 0.14"},
    {"0.16", "as 0.14"},
    {"0.17", "as 0.14"},
    {"0.18", "as 0.14"},
    {"0.19", "a prompt is admitted only when all of it fits (scheduler_reserve_full_isl)"},
    {NULL, NULL},
};

enum usage { USAGE_SERVER, USAGE_OFFLINE };
static const struct opt_choice usage_choices[] = {
    {"server", "defaults of the OpenAI server"},
    {"offline", "defaults of the LLM class"},
    {NULL, NULL},
};

struct vllm_v1 {
    /* options */
    int64_t version, full_isl, async, usage;
    int64_t max_num_batched_tokens, max_num_seqs, block_size, long_prefill_threshold, max_model_len;
    bool prefix_caching, chunked_prefill;
    /* what they come to */
    uint32_t budget_tok, max_seqs, model_len_tok; /* model_len_tok 0 = unknown */
    bool gate_full;
    struct step_rules rules;
};

#define ROW(field) .offset = offsetof(struct vllm_v1, field)
static const struct opt_row options[] = {
    {"version", OPT_CHOICE, ROW(version), 0, -1, "0.19", NULL,
     "vLLM version whose rules apply", version_choices},
    {"full_isl", OPT_CHOICE, ROW(full_isl), 0, -1, "auto", NULL,
     "admit only when the whole prompt fits (scheduler_reserve_full_isl; auto: from 0.19)",
     auto_switch_choices},
    {"async", OPT_CHOICE, ROW(async), 0, -1, "auto", NULL,
     "async scheduling: a step is planned while the one before it runs (auto: from 0.14)",
     auto_switch_choices},
    {"usage", OPT_CHOICE, ROW(usage), 0, -1, "server", NULL,
     "front end whose default limits apply", usage_choices},
    {"max_num_batched_tokens", OPT_INT, ROW(max_num_batched_tokens), 0, 1 << 30, "0", "tok",
     "token budget of a step; 0 = vLLM's default for the GPU and front end", NULL},
    {"max_num_seqs", OPT_INT, ROW(max_num_seqs), 0, 1 << 20, "0", "1",
     "most running requests; 0 = vLLM's default for the GPU", NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "16", "tok", "tokens per KV block", NULL},
    {"prefix_caching", OPT_BOOL, ROW(prefix_caching), 0, -1, "on", NULL,
     "share KV blocks of equal prompt prefixes", NULL},
    {"chunked_prefill", OPT_BOOL, ROW(chunked_prefill), 0, -1, "on", NULL,
     "cut prompts at the budget; off: only whole prompts", NULL},
    {"long_prefill_token_threshold", OPT_INT, ROW(long_prefill_threshold), 0, 1 << 30, "0", "tok",
     "longest chunk of one prompt; 0 = no limit", NULL},
    {"max_model_len", OPT_INT, ROW(max_model_len), 0, 1 << 30, "0", "tok",
     "longest prompt that is accepted; 0 = the model's limit", NULL},
    OPT_END,
};
#undef ROW

/* Big GPUs: at least 70 GiB and no A100 (section 1.3). */
static bool is_big_gpu(const struct batcher_env *env)
{
    bool a100 = env->gpu_name && strcasestr(env->gpu_name, "a100");
    return env->gpu_mem_bytes >= 70.0 * 1024 * 1024 * 1024 && !a100;
}

/* Defaults and mutual limits as in get_batch_defaults and its caller. */
static void resolve_limits(struct vllm_v1 *b, const struct batcher_env *env)
{
    bool big = is_big_gpu(env);
    uint64_t tok = (uint64_t)b->max_num_batched_tokens, seqs = (uint64_t)b->max_num_seqs;
    bool default_tok = tok == 0;
    seqs = seqs ? seqs : (big ? 1024 : 256);
    if (default_tok) {
        tok = (big ? 8192 : 2048) * (b->usage == USAGE_OFFLINE ? (big ? 2 : 4) : 1);
    }
    if (default_tok && b->model_len_tok) {
        tok = tok < seqs * b->model_len_tok ? tok : seqs * b->model_len_tok;
        tok = !b->chunked_prefill && tok < b->model_len_tok ? b->model_len_tok : tok;
    }
    b->budget_tok = (uint32_t)tok;
    b->max_seqs = (uint32_t)(seqs < tok ? seqs : tok);
}

static int vllm_v1_init(void *st, struct batcher_env *env, struct err *e)
{
    struct vllm_v1 *b = st;
    (void)e;
    int64_t minor = FIRST_MINOR + b->version;
    b->model_len_tok = b->max_model_len ? (uint32_t)b->max_model_len : env->max_context_tok;
    resolve_limits(b, env);
    b->gate_full = auto_switch_is_on(b->full_isl, minor >= 19);
    b->rules.chunk_max_tok = (uint32_t)b->long_prefill_threshold;
    env->traits->late_chunks = true;
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_batched_tok = b->budget_tok;
    env->traits->max_seqs = b->max_seqs;
    env->traits->prefix_cache = b->prefix_caching;
    env->traits->null_block = true;
    env->traits->async_depth2 = auto_switch_is_on(b->async, minor >= 14);
    return 0;
}

/* What must go into one step without chunked prefill: the threshold cuts first (B5). */
static uint32_t uncut_tok(const struct vllm_v1 *b, uint32_t left_tok)
{
    uint32_t cap = b->rules.chunk_max_tok;
    return cap && cap < left_tok ? cap : left_tok;
}

/* NULL = it can run some day. Without this a request that outgrows the pool would be admitted, pushed
 * out by itself and admitted again for ever; vLLM refuses to start with such a max_model_len. */
static const char *vllm_v1_never_fits(void *st, struct engine *e, req_id r)
{
    const struct vllm_v1 *b = st;
    uint32_t ctx = eng_context(e, r);
    if (b->model_len_tok && eng_req(e, r)->prompt_tok > b->model_len_tok) {
        return "the prompt is longer than max_model_len";
    }
    if (step_blocks(e, ctx) > eng_kv_total(e)) {
        return "prompt and output so far need more KV blocks than the pool has";
    }
    if (!b->chunked_prefill && uncut_tok(b, ctx) > b->budget_tok) {
        return "the prompt is longer than max_num_batched_tokens and chunked prefill is off";
    }
    return NULL;
}

/* Phase B for one request (section 1.2 B3 - B8). */
static bool admit_one(const struct vllm_v1 *b, struct step *s, req_id r)
{
    uint32_t ctx = eng_context(s->e, r);
    uint32_t left = ctx - eng_hit(s->e, r);
    if (!b->chunked_prefill && uncut_tok(b, left) > s->budget_tok) {
        return false;
    }
    uint32_t n = step_chunk_tok(s, left);
    if (b->gate_full && eng_kv_need(s->e, r, ctx) > eng_kv_free(s->e)) {
        return false;
    }
    if (!eng_admit(s->e, r, n, 0)) {
        return false;
    }
    s->budget_tok -= n;
    return true;
}

/* Not in vLLM: policies that push out running requests for the pick get to do so. */
static bool admit_displacing(const struct vllm_v1 *b, struct step *s, req_id r)
{
    do {
        if (s->budget_tok > 0 && eng_n_running(s->e) < b->max_seqs && admit_one(b, s, r)) {
            return true;
        }
    } while (step_displace(s, r));
    return false;
}

static bool may_admit(const struct vllm_v1 *b, const struct step *s)
{
    return eng_displaces(s->e) || (s->budget_tok > 0 && eng_n_running(s->e) < b->max_seqs);
}

static void admit(struct vllm_v1 *b, struct step *s)
{
    while (may_admit(b, s)) {
        req_id r = eng_pick(s->e);
        if (r == REQ_NONE) {
            return;
        }
        const char *why = vllm_v1_never_fits(b, s->e, r);
        if (why) {
            eng_refuse(s->e, r, why);
        } else if (!admit_displacing(b, s, r) && !eng_pick_blocked(s->e, r)) {
            return;
        }
    }
}

/* Phase A, then phase B unless somebody was pushed out. What blocks the head of the queue (slots,
 * blocks, a budget full of decodes) only ends with a finish, so a step of decodes repeats itself. */
static uint64_t vllm_v1_plan(void *st, struct engine *e)
{
    struct vllm_v1 *b = st;
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = b->budget_tok};
    bool all = step_running(&s);
    if (!eng_preempted_now(e)) {
        admit(b, &s);
    }
    return step_horizon(e, all);
}

const struct batcher_ops batcher_vllm_v1 = {
    .name = "vllm-v1",
    .summary = "vLLM V1: token budget, running first, chunked prefill, recompute preemption",
    .source = "vLLM 0.13-0.19, vllm/v1/core/sched/scheduler.py",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct vllm_v1),
    .options = options,
    .init = vllm_v1_init,
    .plan = vllm_v1_plan,
    .never_fits = vllm_v1_never_fits,
};
