/* SPDX-License-Identifier: Apache-2.0
 *
 * `ep`: one of many alike ranks of expert parallelism. Attention is data-parallel: the batch of the run is the
 * batch of one rank. Routed experts are spread over the ranks, every rank having as busy a batch as this one;
 * tokens travel to their experts and back (dispatch and combine) in each MoE layer. What a rank computes is
 * taken from another cost model, but for the routed experts:
 *   - a rank holds (experts + redundant)/ranks of them and gets `imbalance` times its even share of
 *     (token, expert) pairs: the busiest rank is waited for;
 *   - with shared_ranks the shared experts are on ranks of their own, and a token travels to one of them, too;
 *   - dispatch sends a token in fp8 with a scale per 128 values, combine gets it back in 16 bit
 *     (DeepEP README), once per expert (low-latency kernels) or once per node and from there over NVLink
 *     (normal kernels, routing limited to 4 nodes: models/reach.h);
 *   - a transfer has a part that does not grow with its tokens (start_us), which the published bandwidths of a test of 128
 *     tokens contain;
 *   - with overlap the batch is cut in two, and weights are read twice. Either a half computes while the other travels
 *     (DeepSeek's dual batches): the longer of both. Or, with attn_cores, two streams share the chip: attention of a
 *     half on that share of the cores beside gate, dispatch, experts and combine of the other on the rest
 *     (CloudMatrix-Infer 4.2): arithmetic slows down by the share, memory and links do not;
 *   - with draft every sequence brings as many guessed tokens on top (multi-token prediction), each from one more MoE
 *     layer and LM head. The run still counts one token a step: divide by 1 + what is accepted.
 * Bandwidths, where not given, are DeepEP's on H800 with 50 GB/s of network a GPU. */
#include <math.h>

#include "models/cost.h"
#include "models/ep_transfers.h"
#include "models/gpu.h"
#include "models/llm.h"

enum { KERNEL_LOW_LATENCY, KERNEL_NORMAL };
enum { OVERLAP_OFF, OVERLAP_ON, OVERLAP_AUTO };

struct ep_state {
    /* options */
    const char *base_spec;
    int64_t ranks, redundant, shared_ranks, kernel, overlap, draft;
    double imbalance, dispatch_gb_s, combine_gb_s, floor_us, start_us, attn_cores, layer_us;
    /* from init: what a rank computes with all cores; the two streams' shares of them */
    const struct cost_ops *base;
    void *whole, *attn, *moe;
    double experts, local, per_tok, routed_ranks; /* of the layer, of this rank, of a token */
    int64_t layers, moe_layers;
    struct ep_transfers move;
};

static const struct opt_choice kernel_choices[] = {
    {"low-latency", "a copy of a token per expert"},
    {"normal", "a copy per node, at most 4"},
    {NULL, NULL},
};

static const struct opt_choice overlap_choices[] = {
    {"off", "one batch, transfers are waited for"},
    {"on", "two half batches"},
    {"auto", "whichever takes less time"},
    {NULL, NULL},
};

static const struct opt_row ep_options[] = {
    {"base", OPT_STRING, offsetof(struct ep_state, base_spec), 0, 0, "roofline", NULL,
     "Cost model of what a rank computes, as in roofline{eff_gemm=0.7}.", NULL},
    {"ranks", OPT_INT, offsetof(struct ep_state, ranks), 1, 4096, "8", NULL,
     "GPUs that the experts of a layer are spread over.", NULL},
    {"redundant", OPT_INT, offsetof(struct ep_state, redundant), 0, 4096, "0", NULL,
     "Copies of hot experts on top.", NULL},
    {"shared_ranks", OPT_INT, offsetof(struct ep_state, shared_ranks), 0, 4095, "0", NULL,
     "Of the ranks, those that hold a shared expert and no routed one; 0 = it is on every rank.", NULL},
    {"imbalance", OPT_DOUBLE, offsetof(struct ep_state, imbalance), 1, 100, "1", "1",
     "Load of the busiest rank over the mean ('trace info --experts' and EPLB tell).", NULL},
    {"overlap", OPT_CHOICE, offsetof(struct ep_state, overlap), 0, 0, "off", NULL,
     "Two half batches: one computes while the other travels.", overlap_choices},
    {"attn_cores", OPT_DOUBLE, offsetof(struct ep_state, attn_cores), 0.01, 1, "1", "1",
     "Share of the cores that attention has while halves overlap, experts have the rest (CloudMatrix: 0.667); 1 = each "
     "has all in its turn.", NULL},
    {"kernel", OPT_CHOICE, offsetof(struct ep_state, kernel), 0, 0, "low-latency", NULL,
     "How tokens travel.", kernel_choices},
    {"dispatch_gb_s", OPT_DOUBLE, offsetof(struct ep_state, dispatch_gb_s), 0, 1e5, "0", "GB/s",
     "Bandwidth of a rank in dispatch; 0 = DeepEP's on H800.", NULL},
    {"combine_gb_s", OPT_DOUBLE, offsetof(struct ep_state, combine_gb_s), 0, 1e5, "0", "GB/s",
     "Bandwidth of a rank in combine; 0 = DeepEP's on H800.", NULL},
    {"floor_us", OPT_DOUBLE, offsetof(struct ep_state, floor_us), 0, 1e6, "20", "us",
     "No dispatch or combine is shorter; DeepEP publishes none for few tokens: a guess.", NULL},
    {"start_us", OPT_DOUBLE, offsetof(struct ep_state, start_us), 0, 1e6, "0", "us",
     "Part of a dispatch and of a combine that does not grow with the tokens. The bandwidths are those of 128 tokens a rank, start "
     "included.", NULL},
    {"layer_us", OPT_DOUBLE, offsetof(struct ep_state, layer_us), 0, 1e6, "0", "us",
     "Time of a layer's attention path beside its large kernels, of each half batch again.", NULL},
    {"draft", OPT_INT, offsetof(struct ep_state, draft), 0, 8, "0", "tok",
     "Tokens that multi-token prediction guesses ahead, computed with the sequence's own.", NULL},
    OPT_END,
};

/* ---- init ---- */

static int check(const struct ep_state *s, const struct cost_env *env, struct err *e)
{
    if (!env->llm || env->llm->experts == 0) {
        return err_set(e, SIM_E_CONFIG, "ep needs a model with experts%s%s", env->llm ? ", which is not " : ": give --model",
                       env->llm ? env->llm->name : "");
    }
    if (env->tp != 1) {
        return err_set(e, SIM_E_CONFIG, "ep has data-parallel attention: tp has to be 1, not %u", env->tp);
    }
    if (s->shared_ranks >= s->ranks || (s->shared_ranks > 0 && env->llm->shared_experts == 0)) {
        return err_set(e, SIM_E_CONFIG, "ep: shared_ranks %lld: fewer than the %lld ranks, of a model with shared experts",
                       (long long)s->shared_ranks, (long long)s->ranks);
    }
    if ((env->llm->experts + s->redundant) % (s->ranks - s->shared_ranks) != 0) {
        return err_set(e, SIM_E_CONFIG, "ep: %u experts and %lld redundant ones cannot be spread evenly over %lld ranks",
                       env->llm->experts, (long long)s->redundant, (long long)(s->ranks - s->shared_ranks));
    }
    return 0;
}

/* The base with a share of the cores: arithmetic that much slower, memory not. NULL and an error. */
static void *base_with(const struct ep_state *s, const struct cost_env *env, double cores, const char **ret_provenance, struct err *e)
{
    struct llm_shape *llm = arena_calloc(env->arena, 1, sizeof(*llm));
    struct gpu_profile *gpu = arena_calloc(env->arena, 1, sizeof(*gpu));
    struct cost_env own = *env;
    void *state = arena_calloc(env->arena, 1, s->base->state_size);

    if (!state || !llm || !gpu) {
        err_set(e, SIM_E_NOMEM, "out of memory");
        return NULL;
    }
    *llm = *env->llm;
    llm->layers += (uint32_t)s->draft;
    llm->shared_experts = s->shared_ranks ? 0 : llm->shared_experts;
    own.llm = llm;
    if (env->gpu) {
        *gpu = *env->gpu;
        gpu->flops_fp16 *= cores;
        gpu->flops_fp8 *= cores;
        gpu->flops_int8 *= cores;
        gpu->flops_fp4 *= cores;
        gpu->flops_fp32 *= cores;
        own.gpu = gpu;
    }
    if (opt_spec_apply(s->base_spec, s->base->options, state, env->arena, e) < 0) {
        err_wrap(e, "ep.base: ");
        return NULL;
    }
    if (s->base->init(state, &own, e) < 0) {
        return NULL;
    }
    *ret_provenance = own.provenance;
    return state;
}

static int init_base(struct ep_state *s, struct cost_env *env, struct err *e)
{
    const char *name = opt_spec_name(s->base_spec, env->arena), *ignored;

    s->base = name ? cost_find(name) : NULL;
    if (!s->base || !s->base->parts) {
        return err_set(e, SIM_E_CONFIG, "ep.base: '%s' is no cost model that knows layers (roofline does)", s->base_spec);
    }
    s->whole = base_with(s, env, 1, &env->provenance, e);
    if (s->whole && s->attn_cores < 1) {
        s->attn = base_with(s, env, s->attn_cores, &ignored, e);
        s->moe = s->attn ? base_with(s, env, 1 - s->attn_cores, &ignored, e) : NULL;
    }
    return e->code;
}

static void init_transfers(struct ep_state *s, const struct llm_shape *m)
{
    s->move = (struct ep_transfers){
        .normal = s->kernel == KERNEL_NORMAL,
        .ranks = (double)s->ranks,
        .experts = s->experts,
        .copies = s->per_tok + (s->shared_ranks > 0),
        .hidden = m->hidden,
        .dispatch_gb_s = s->dispatch_gb_s,
        .combine_gb_s = s->combine_gb_s,
    };
    ep_transfers_init(&s->move);
}

static int ep_init(void *state, struct cost_env *env, struct err *e)
{
    static const char *const said[] = {"transfers not overlapped", "transfers overlapped", "transfers overlapped where it pays"};
    struct ep_state *s = state;

    if (check(s, env, e) < 0 || init_base(s, env, e) < 0) {
        return e->code;
    }
    s->experts = env->llm->experts;
    s->per_tok = env->llm->experts_per_tok;
    s->routed_ranks = (double)(s->ranks - s->shared_ranks);
    s->local = (s->experts + (double)s->redundant) / s->routed_ranks;
    s->layers = env->llm->layers + s->draft;
    s->moe_layers = llm_moe_layers(env->llm) + s->draft;
    init_transfers(s, env->llm);
    env->provenance = arena_printf(env->arena, "%s; experts over %lld ranks, %g a rank, busiest rank %g of the mean, %s",
                                   env->provenance, (long long)s->ranks, s->local, s->imbalance, said[s->overlap]);
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- an iteration ---- */

static double tokens_of(const struct batch_shape *b)
{
    return (double)b->prefill_tok + b->n_decode;
}

static double or_else(double known, double assumed)
{
    return known > 0 ? known : assumed;
}

/* Experts of one layer on the busiest rank; all ranks bring the tokens of b. A rank with a shared expert is no
 * exception: every token goes to one of those. */
static double experts_s(const struct ep_state *s, const struct cost_expert *x, const struct batch_shape *b)
{
    double n = tokens_of(b), ranks = (double)s->ranks;
    double miss = s->per_tok < s->experts ? pow(1 - s->per_tok / s->experts, n * ranks) : 0;
    double routed = n * s->per_tok * ranks / s->routed_ranks * or_else(b->spread.load, s->imbalance);
    double shared = s->shared_ranks ? n * ranks / (double)s->shared_ranks : 0;

    return cost_experts_s(x, or_else(b->spread.active, s->local * (1 - miss)), fmax(routed, shared), 1);
}

/* Tokens a rank at which DeepEP and CANN published their low-latency operators. */
#define TEST_TOK 128

/* One way; `token_s` of a token at the published size. */
static double one_way_s(const struct ep_state *s, double token_s, double n)
{
    double start_s = fmin(s->start_us * 1e-6, TEST_TOK * token_s);

    return n > 0 ? fmax(start_s + n * (token_s - start_s / TEST_TOK), s->floor_us * 1e-6) : 0;
}

/* Dispatch and combine of one layer, n tokens that fall as those of b do. */
static double transfer_s(const struct ep_state *s, const struct batch_shape *b, double n)
{
    n *= or_else(b->spread.arrive, s->imbalance) / or_else(b->spread.link, 1);
    return one_way_s(s, s->move.dispatch_s, n) + one_way_s(s, s->move.combine_s, n);
}

static sim_wide ticks(double seconds, int64_t times)
{
    return (sim_wide)times * cost_coef(seconds);
}

/* Without transfers. */
static struct cost_affine compute(const struct ep_state *s, const struct batch_shape *b)
{
    struct cost_affine c;
    struct cost_parts p;

    s->base->iteration(s->whole, b, &c);
    s->base->parts(s->whole, b, &p);
    sim_wide more = (sim_wide)s->moe_layers * (cost_coef(experts_s(s, &p.expert, b)) - p.experts);
    cost_finish(&c, c.base + more + (sim_wide)s->draft * p.back + ticks(s->layer_us * 1e-6, s->layers), c.slope, c.valid);
    return c;
}

/* Half of the tokens, no contexts: for what does not grow with them. */
static struct batch_shape half_of(const struct batch_shape *b)
{
    return (struct batch_shape){.n_decode = (b->n_decode + 1) / 2, .n_prefill = (b->n_prefill + 1) / 2,
                                .prefill_tok = (b->prefill_tok + 1) / 2,
                                .prefill_done = (b->prefill_done + 1) / 2, .spread = b->spread};
}

static struct batch_shape bare(const struct batch_shape *b)
{
    return (struct batch_shape){.n_decode = b->n_decode, .n_prefill = b->n_prefill,
                                .prefill_tok = b->prefill_tok, .prefill_done = b->prefill_done,
                                .spread = b->spread};
}

/* What two half batches compute on top of a whole one: weights are read twice. */
static sim_wide cut_in_two(const struct ep_state *s, const struct batch_shape *b)
{
    struct batch_shape half = half_of(b), whole = bare(b);
    sim_wide more = 2 * (sim_wide)compute(s, &half).base - compute(s, &whole).base;

    return more > 0 ? more : 0;
}

/* max(flat, line): flat up to the first k at which the line is not below it. */
static void at_least(struct cost_affine *ret, const struct cost_affine *c, sim_wide base, sim_wide flat)
{
    if (base >= flat) {
        cost_finish(ret, base, c->slope, c->valid);
    } else if (c->slope <= 0) {
        cost_finish(ret, flat, 0, c->valid);
    } else {
        sim_wide k = (flat - base + c->slope - 1) / c->slope;

        cost_finish(ret, flat, 0, k < (sim_wide)c->valid ? (uint64_t)k : c->valid);
    }
}

/* Attention of both halves, one after the other, on the attention stream's cores; contexts as those of the whole. */
static sim_wide attention_stream(const struct ep_state *s, const struct batch_shape *b, const struct cost_affine *c,
                                 const struct cost_parts *p)
{
    struct batch_shape half = half_of(b), whole = bare(b);
    struct cost_parts h, w;
    int64_t dense = s->layers - s->moe_layers;
    sim_wide rest = (sim_wide)p->front + p->back + dense * p->dense + s->moe_layers * ((sim_wide)p->shared + p->experts);

    s->base->parts(s->attn, &half, &h);
    s->base->parts(s->attn, &whole, &w);
    sim_wide cut = s->layers * (2 * (sim_wide)h.attn - w.attn);
    return c->base - rest + (cut > 0 ? cut : 0) + 2 * ticks(s->layer_us * 1e-6, s->layers);
}

/* Gate, dispatch, experts and combine of both halves, as if every layer had them: where they are the longer stream, attention of the few
 * dense layers, which nothing hides, counts as long as they do. */
static sim_wide expert_stream(const struct ep_state *s, const struct batch_shape *b)
{
    struct batch_shape half = half_of(b);
    struct cost_parts p;

    s->base->parts(s->moe, &half, &p);
    return 2 * (sim_wide)s->layers * p.shared +
           ticks(experts_s(s, &p.expert, &half) + transfer_s(s, b, tokens_of(b) / 2), 2 * s->layers);
}

static void two_streams(const struct ep_state *s, const struct batch_shape *b, struct cost_affine *ret)
{
    struct batch_shape half = half_of(b);
    struct cost_affine c;
    struct cost_parts p, h;

    s->base->iteration(s->attn, b, &c);
    s->base->parts(s->attn, b, &p);
    s->base->parts(s->attn, &half, &h);
    sim_wide around = (sim_wide)p.front + (1 + s->draft) * (sim_wide)p.back + 2 * (s->layers - s->moe_layers) * (sim_wide)h.dense;
    at_least(ret, &c, around + attention_stream(s, b, &c, &p), around + expert_stream(s, b));
}

static void dual_batches(const struct ep_state *s, const struct batch_shape *b, struct cost_affine *ret)
{
    struct cost_affine c = compute(s, b);

    at_least(ret, &c, c.base + cut_in_two(s, b), ticks(transfer_s(s, b, tokens_of(b) / 2), 2 * s->moe_layers));
}

static void one_batch(const struct ep_state *s, const struct batch_shape *b, struct cost_affine *ret)
{
    struct cost_affine c = compute(s, b);

    cost_finish(ret, (sim_wide)c.base + ticks(transfer_s(s, b, tokens_of(b)), s->moe_layers), c.slope, c.valid);
}

/* The lower of two lines, up to where they cross. */
static void shorter_of(struct cost_affine *ret, const struct cost_affine *x, const struct cost_affine *y)
{
    bool first = x->base != y->base ? x->base < y->base : x->slope <= y->slope;
    const struct cost_affine *lo = first ? x : y, *hi = first ? y : x;
    uint64_t valid = lo->valid < hi->valid ? lo->valid : hi->valid;

    if (hi->slope < lo->slope) {
        sim_wide k = ((sim_wide)hi->base - lo->base) / (lo->slope - hi->slope) + 1;
        valid = k < (sim_wide)valid ? (uint64_t)k : valid;
    }
    cost_finish(ret, lo->base, lo->slope, valid);
}

/* Every decode brings its guessed tokens, each with the context of the sequence. */
static struct batch_shape with_draft(const struct ep_state *s, const struct batch_shape *b)
{
    struct batch_shape ret = *b;
    uint32_t n = (uint32_t)(1 + s->draft);

    ret.n_decode *= n;
    ret.decode_ctx_tok *= n;
    ret.decode_ctx_sq *= n;
    return ret;
}

static void ep_iteration(const void *state, const struct batch_shape *batch, struct cost_affine *ret)
{
    const struct ep_state *s = state;
    struct batch_shape b = with_draft(s, batch);
    struct cost_affine whole, cut;

    if (s->overlap != OVERLAP_ON) {
        one_batch(s, &b, &whole);
    }
    if (s->overlap != OVERLAP_OFF) {
        (s->attn ? two_streams : dual_batches)(s, &b, &cut);
    }
    if (s->overlap == OVERLAP_AUTO) {
        shorter_of(ret, &whole, &cut);
    } else {
        *ret = s->overlap == OVERLAP_ON ? cut : whole;
    }
}

static int ep_outside(const void *state, const struct batch_shape *b)
{
    const struct ep_state *s = state;

    return s->base->outside && s->base->outside(s->whole, b);
}

static void ep_spread(const void *state, struct cost_spread *ret)
{
    const struct ep_state *s = state;

    *ret = (struct cost_spread){.ranks = (uint32_t)s->routed_ranks, .redundant = (uint32_t)s->redundant,
                                .per_node = EP_PER_NODE,
                                .node_copies = s->kernel == KERNEL_NORMAL && s->ranks > EP_PER_NODE,
                                .halves = s->overlap == OVERLAP_ON, .imbalance = s->imbalance, .bytes_per_s = s->move.bytes_per_s,
                                .shared_apart = s->shared_ranks > 0};
}

const struct cost_ops cost_ep = {
    .name = "ep",
    .summary = "one rank of expert parallelism: another model's layers, experts spread, dispatch and combine",
    .source = "DeepEP README; DeepSeek-V3 report 3.4; CloudMatrix-Infer, arXiv 2506.12708, section 4",
    .state_size = sizeof(struct ep_state),
    .options = ep_options,
    .init = ep_init,
    .iteration = ep_iteration,
    .outside = ep_outside,
    .spread = ep_spread,
};
