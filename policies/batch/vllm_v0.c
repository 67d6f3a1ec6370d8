/* SPDX-License-Identifier: Apache-2.0
 *
 * vLLM V0, 0.2 - 0.6: a step is either a batch of whole prompts or a batch of decodes, prompts first;
 * 1 % of the blocks is kept free at admission; preemption by recomputation or by swapping, swapped
 * requests come back before any new prompt. Chunked prefill (0.6) mixes both.
 * Source: vllm core/scheduler.py _schedule at 0.3.3 (82091b864), _schedule_default and
 * _schedule_chunked_prefill at 0.6.1 (3fd2b0d21); core/block_manager_v1.py; config.py.
 * Not modelled: with num_scheduler_steps the tokens of a burst reach the client together, and a
 * finished request keeps its slot until the burst ends; delay_factor; beam search. */
#include "policies/batch/step.h"

enum { FIRST_MINOR = 2, MINOR_CHUNKED = 6, MINOR_PACKED = 4, LONG_CONTEXT_TOK = 32768 };

static const struct opt_choice version_choices[] = {
    {"0.2", "prompt batches are padded: limits on count * longest and on the padding"},
    {"0.3", "as 0.2"},
    {"0.4", "prompts are packed: limit on their sum"},
    {"0.5", "as 0.4"},
    {"0.6", "chunked prefill by default above 32768 tokens of context; multi-step"},
    {NULL, NULL},
};

enum preemption { PREEMPT_RECOMPUTE, PREEMPT_SWAP };
static const struct opt_choice preemption_choices[] = {
    {"recompute", "free the blocks and prefill again (default for single sequences)"},
    {"swap", "copy the blocks to host memory; recompute when that is full"},
    {NULL, NULL},
};

struct vllm_v0 {
    /* options */
    int64_t version, chunked_prefill, preemption_mode, max_num_batched_tokens, max_num_seqs;
    int64_t max_paddings, block_size, max_model_len, num_scheduler_steps;
    double watermark;
    bool prefix_caching;
    /* what they come to */
    bool chunked, padded;
    uint64_t budget_tok;
    uint32_t prompt_limit_tok; /* longer prompts are ignored */
    struct step_rules rules;
    /* state */
    uint32_t burst_pos; /* decode steps done since the scheduler last ran; 0 = it runs now */
};

#define ROW(field) .offset = offsetof(struct vllm_v0, field)
static const struct opt_row options[] = {
    {"version", OPT_CHOICE, ROW(version), 0, -1, "0.6", NULL, "vLLM version whose rules apply",
     version_choices},
    {"chunked_prefill", OPT_CHOICE, ROW(chunked_prefill), 0, -1, "auto", NULL,
     "mix prompt chunks with decodes (auto: 0.6 with more than 32768 tokens of context)",
     auto_switch_choices},
    {"preemption_mode", OPT_CHOICE, ROW(preemption_mode), 0, -1, "recompute", NULL,
     "what happens to a request that is pushed out", preemption_choices},
    {"max_num_batched_tokens", OPT_INT, ROW(max_num_batched_tokens), 0, 1 << 30, "0", "tok",
     "prompt tokens of a step; 0 = the larger of max_model_len and 2048, chunked: 512", NULL},
    {"max_num_seqs", OPT_INT, ROW(max_num_seqs), 1, 1 << 20, "256", "1", "most running requests", NULL},
    {"max_paddings", OPT_INT, ROW(max_paddings), 0, 1 << 30, "256", "tok",
     "padding tokens of a prompt batch (0.2 and 0.3)", NULL},
    {"block_size", OPT_INT, ROW(block_size), 1, 4096, "16", "tok", "tokens per KV block", NULL},
    {"watermark", OPT_DOUBLE, ROW(watermark), 0, 0.99, "0.01", "1",
     "share of the blocks that admission leaves free", NULL},
    {"max_model_len", OPT_INT, ROW(max_model_len), 0, 1 << 30, "0", "tok",
     "longest context; 0 = the model's limit", NULL},
    {"num_scheduler_steps", OPT_INT, ROW(num_scheduler_steps), 1, 1000, "1", "1",
     "decode steps per run of the scheduler (0.6)", NULL},
    {"prefix_caching", OPT_BOOL, ROW(prefix_caching), 0, -1, "off", NULL,
     "share KV blocks of equal prompt prefixes", NULL},
    OPT_END,
};
#undef ROW

static int check_options(const struct vllm_v0 *b, struct err *e)
{
    int64_t minor = FIRST_MINOR + b->version;
    if (b->chunked && minor < MINOR_CHUNKED) {
        return err_set(e, SIM_E_CONFIG, "vllm-v0: chunked_prefill is modelled for version 0.6 only");
    }
    if (b->num_scheduler_steps > 1 && (b->chunked || minor < MINOR_CHUNKED)) {
        return err_set(e, SIM_E_CONFIG, "vllm-v0: num_scheduler_steps needs version 0.6 without "
                                        "chunked_prefill");
    }
    return 0;
}

static int vllm_v0_init(void *st, struct batcher_env *env, struct err *e)
{
    struct vllm_v0 *b = st;
    int64_t minor = FIRST_MINOR + b->version;
    uint32_t len = b->max_model_len ? (uint32_t)b->max_model_len : env->max_context_tok;
    b->chunked = auto_switch_is_on(b->chunked_prefill,
                                   minor >= MINOR_CHUNKED && len > LONG_CONTEXT_TOK);
    b->padded = minor < MINOR_PACKED;
    b->budget_tok = (uint64_t)b->max_num_batched_tokens;
    if (b->budget_tok == 0) {
        b->budget_tok = b->chunked ? 512 : len > 2048 ? len : 2048;
    }
    b->prompt_limit_tok = len ? len : UINT32_MAX;
    if (!b->chunked && len && b->budget_tok < len) {
        b->prompt_limit_tok = (uint32_t)b->budget_tok;
    }
    b->rules = (struct step_rules){.wants_free_block = true, .victim_by_arrival = true,
                                   .swap = b->preemption_mode == PREEMPT_SWAP};
    env->traits->block_tok = (uint32_t)b->block_size;
    env->traits->max_batched_tok = (uint32_t)b->budget_tok;
    env->traits->max_seqs = (uint32_t)b->max_num_seqs;
    env->traits->late_chunks = true;
    env->traits->spare_blk = 1; /* wants_free_block */
    env->traits->prefix_cache = b->prefix_caching;
    return check_options(b, e);
}

static uint64_t watermark_blk(const struct vllm_v0 *b, const struct engine *e)
{
    return (uint64_t)(b->watermark * (double)eng_kv_total(e));
}

/* Such a request is ignored for ever (FINISHED_IGNORED). */
static const char *vllm_v0_never_fits(void *st, struct engine *e, req_id r)
{
    const struct vllm_v0 *b = st;
    uint32_t ctx = eng_context(e, r);
    if (ctx > b->prompt_limit_tok) {
        return "prompt and output so far are longer than max_model_len or max_num_batched_tokens";
    }
    if (step_blocks(e, ctx) + watermark_blk(b, e) > eng_kv_total(e)) {
        return "prompt and output so far need more KV blocks than the pool has above its watermark";
    }
    return NULL;
}

/* ---- prompts ---- */
struct prompt_batch {
    uint64_t n, sum_tok, longest_tok;
};

static bool batch_takes(const struct vllm_v0 *b, const struct prompt_batch *p, uint32_t tok)
{
    uint64_t longest = tok > p->longest_tok ? tok : p->longest_tok;
    uint64_t padded = (p->n + 1) * longest;
    if (p->n == 0) {
        return true; /* prompt_limit_tok has been looked at */
    }
    if (!b->padded) {
        return p->sum_tok + tok <= b->budget_tok;
    }
    return padded <= b->budget_tok && padded - (p->sum_tok + tok) <= (uint64_t)b->max_paddings;
}

static bool blocks_allow(const struct vllm_v0 *b, struct engine *e, req_id r, uint32_t ctx)
{
    uint64_t kept = watermark_blk(b, e) + step_prefill_debt(e);
    return eng_kv_need(e, r, ctx) + kept <= eng_kv_free(e);
}

/* Its KV lies outside but for the last token: as if swapped in, it joins the decodes. */
static bool only_away(struct engine *e, req_id r)
{
    return eng_kept(e, r) > 0 && eng_context(e, r) - eng_hit(e, r) == 1;
}

static bool admit_whole(const struct vllm_v0 *b, struct engine *e, struct prompt_batch *p, req_id r)
{
    uint32_t ctx = eng_context(e, r);
    if (only_away(e, r)) {
        uint64_t kept = eng_decode_need(e) + 1 + watermark_blk(b, e); /* as swap_in does */
        bool roomy = eng_kv_need(e, r, ctx) + kept <= eng_kv_free(e);
        return (roomy || eng_n_running(e) == 0) && eng_admit(e, r, 1, 0);
    }
    if (!batch_takes(b, p, ctx) || !blocks_allow(b, e, r, ctx) ||
        !eng_admit(e, r, ctx - eng_hit(e, r), 0)) {
        return false;
    }
    p->n++;
    p->sum_tok += ctx;
    p->longest_tok = ctx > p->longest_tok ? ctx : p->longest_tok;
    return true;
}

/* Chunked: blocks for the whole prompt, tokens for the rest of the budget. */
static bool admit_chunk(const struct vllm_v0 *b, struct step *s, req_id r)
{
    uint32_t ctx = eng_context(s->e, r);
    uint32_t n = step_chunk_tok(s, ctx - eng_hit(s->e, r));
    if (n == 0 || !blocks_allow(b, s->e, r, ctx) || !eng_admit(s->e, r, n, 0)) {
        return false;
    }
    s->budget_tok -= n;
    return true;
}

/* Not in vLLM: policies that push out running requests for the pick get to do so, where that helps. */
static bool admit_one(struct vllm_v0 *b, struct step *s, struct prompt_batch *p, req_id r)
{
    if (!b->chunked && !only_away(s->e, r) && !batch_takes(b, p, eng_context(s->e, r))) {
        return false;
    }
    do {
        if (eng_n_running(s->e) < b->max_num_seqs &&
            (b->chunked ? admit_chunk(b, s, r) : admit_whole(b, s->e, p, r))) {
            return true;
        }
    } while (step_displace(s, r));
    return false;
}

/* New requests from the head of the queue; whole prompts only, unless chunked. How many prompts. */
static uint64_t admit(struct vllm_v0 *b, struct step *s)
{
    struct engine *e = s->e;
    struct prompt_batch batch = {0};
    while (eng_n_running(e) < b->max_num_seqs || eng_displaces(e)) {
        req_id r = eng_pick(e);
        if (r == REQ_NONE) {
            break;
        }
        const char *why = vllm_v0_never_fits(b, e, r);
        if (why) {
            eng_refuse(e, r, why);
        } else if (!admit_one(b, s, &batch, r) && !eng_pick_blocked(e, r)) {
            break;
        }
    }
    return batch.n;
}

/* Prompts whose beginning has been loaded from outside: as whole prompts, and before new ones. */
static uint64_t late_prompts(struct engine *e)
{
    uint64_t n = 0;
    for (req_id r = eng_first_prefilling(e), next; r != REQ_NONE; r = next) {
        next = eng_next_prefilling(e, r);
        n += eng_left_tok(e, r) > 1 && eng_chunk(e, r, eng_left_tok(e, r));
    }
    return n;
}

/* ---- decodes ---- */

/* Oldest first, while its blocks, one more, and the watermark stay free after all running ones took
 * theirs. An empty engine takes the first in any case: nothing would ever make more room. */
static void swap_in(struct vllm_v0 *b, struct engine *e)
{
    req_id r = eng_first_swapped(e);
    while (r != REQ_NONE && eng_n_running(e) < b->max_num_seqs) {
        uint64_t need = step_blocks(e, eng_context(e, r)) + 1 + watermark_blk(b, e);
        bool roomy = eng_decode_need(e) + need <= eng_kv_free(e);
        if ((!roomy && eng_n_running(e) > 0) || !eng_swap_in(e, r)) {
            return;
        }
        r = eng_first_swapped(e);
    }
}

/* Steps for which a free block is left over for sure: in as many steps as a block has tokens nobody
 * takes more than one. After that the walk may push out somebody although the blocks suffice. */
static uint64_t roomy_steps(const struct engine *e)
{
    uint64_t n = eng_n_decoding(e), free = eng_kv_free(e);
    return n == 0 || free == 0 ? 1 : 1 + (free - 1) / n * eng_block_tok(e);
}

static uint64_t serve_running(struct engine *e, struct step *s)
{
    uint64_t again = step_horizon(e, step_running(s)), roomy = roomy_steps(e);
    return again < roomy ? again : roomy;
}

static uint64_t decode(struct vllm_v0 *b, struct engine *e, struct step *s)
{
    if (eng_n_swapped(e) > 0 && eng_decode_need(e) < eng_kv_free(e)) {
        swap_in(b, e);
    }
    return serve_running(e, s);
}

static uint64_t plan_chunked(struct vllm_v0 *b, struct engine *e)
{
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = b->budget_tok};
    uint64_t again = decode(b, e, &s);
    if (!eng_preempted_now(e) && s.budget_tok > 0) {
        admit(b, &s);
    }
    return eng_plan_chunks(e) ? 1 : again;
}

/* The scheduler runs at burst_pos 0 only. While nobody waits, or who waits has just been refused, the
 * runs in between change nothing either. */
static uint64_t vllm_v0_plan(void *st, struct engine *e)
{
    struct vllm_v0 *b = st;
    if (b->chunked) {
        return plan_chunked(b, e);
    }
    uint32_t burst = (uint32_t)b->num_scheduler_steps;
    b->burst_pos = eng_n_decoding(e) ? b->burst_pos : 0;
    bool runs = b->burst_pos == 0;
    struct step s = {.e = e, .rules = &b->rules, .budget_tok = UINT32_MAX};
    uint64_t prompts = late_prompts(e);
    if (runs && eng_n_swapped(e) == 0) {
        prompts += admit(b, &s);
    }
    if (prompts > 0 && eng_plan_chunks(e) > 0) {
        return 1;
    }
    uint64_t again = runs ? decode(b, e, &s) : serve_running(e, &s);
    uint32_t left = burst - b->burst_pos; /* steps until it runs again, this one included */
    b->burst_pos = (b->burst_pos + 1) % burst;
    bool settled = runs || eng_n_waiting(e) + eng_n_swapped(e) == 0;
    return settled || again < left ? again : left;
}

static void vllm_v0_skipped(void *st, struct engine *e, uint64_t k)
{
    struct vllm_v0 *b = st;
    (void)e;
    b->burst_pos = (uint32_t)((b->burst_pos + k) % (uint64_t)b->num_scheduler_steps);
}

const struct batcher_ops batcher_vllm_v0 = {
    .name = "vllm-v0",
    .summary = "vLLM V0: whole prompts first, 1 % watermark, recompute or swap; chunked in 0.6",
    .source = "vLLM 0.2-0.6, vllm/core/scheduler.py",
    .abi = BATCHER_ABI,
    .state_size = sizeof(struct vllm_v0),
    .options = options,
    .init = vllm_v0_init,
    .plan = vllm_v0_plan,
    .skipped = vllm_v0_skipped,
    .never_fits = vllm_v0_never_fits,
};
