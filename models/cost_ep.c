/* SPDX-License-Identifier: Apache-2.0
 *
 * `ep`: one of many alike ranks of expert parallelism. Attention is data-parallel: the batch of the run is the
 * batch of one rank. Routed experts are spread over the ranks, every rank having as busy a batch as this one;
 * tokens travel to their experts and back (dispatch and combine) in each MoE layer. What a rank computes is
 * taken from another cost model, but for the routed experts:
 *   - a rank holds (experts + redundant)/ranks of them and gets `imbalance` times its even share of
 *     (token, expert) pairs: the busiest rank is waited for;
 *   - dispatch sends a token in fp8 with a scale per 128 values, combine gets it back in 16 bit
 *     (DeepEP README), once per expert (low-latency kernels) or once per node and from there over NVLink
 *     (normal kernels, routing limited to 4 nodes: models/reach.h);
 *   - with overlap the batch is cut in two, and while one half computes the other travels (DeepSeek's
 *     dual batches, CloudMatrix's microbatches): the longer of both, but weights are read twice.
 * Bandwidths, where not given, are DeepEP's on H800 with 50 GB/s of network a GPU. */
#include <math.h>

#include "models/cost.h"
#include "models/llm.h"
#include "models/reach.h"

enum { KERNEL_LOW_LATENCY, KERNEL_NORMAL };

struct ep_state {
    /* options */
    const char *base_spec;
    int64_t ranks, redundant, kernel;
    bool overlap;
    double imbalance, dispatch_gb_s, combine_gb_s, floor_us;
    /* from init */
    const struct cost_ops *base;
    void *base_state;
    double experts, local, per_tok, moe_layers; /* of the layer, of this rank, of a token */
    double dispatch_s, combine_s;               /* per token and layer */
    double bytes_per_s;                         /* that a rank receives in dispatch */
};

static const struct opt_choice kernel_choices[] = {
    {"low-latency", "a copy of a token per expert"},
    {"normal", "a copy per node, at most 4"},
    {NULL, NULL},
};

static const struct opt_row ep_options[] = {
    {"base", OPT_STRING, offsetof(struct ep_state, base_spec), 0, 0, "roofline", NULL,
     "Cost model of what a rank computes, as in roofline{eff_gemm=0.7}.", NULL},
    {"ranks", OPT_INT, offsetof(struct ep_state, ranks), 1, 4096, "8", NULL,
     "GPUs that the experts of a layer are spread over.", NULL},
    {"redundant", OPT_INT, offsetof(struct ep_state, redundant), 0, 4096, "0", NULL,
     "Copies of hot experts on top.", NULL},
    {"imbalance", OPT_DOUBLE, offsetof(struct ep_state, imbalance), 1, 100, "1", "1",
     "Load of the busiest rank over the mean ('trace info --experts' and EPLB tell).", NULL},
    {"overlap", OPT_BOOL, offsetof(struct ep_state, overlap), 0, 0, "off", NULL,
     "Two half batches: one computes while the other travels.", NULL},
    {"kernel", OPT_CHOICE, offsetof(struct ep_state, kernel), 0, 0, "low-latency", NULL,
     "How tokens travel.", kernel_choices},
    {"dispatch_gb_s", OPT_DOUBLE, offsetof(struct ep_state, dispatch_gb_s), 0, 1e5, "0", "GB/s",
     "Bandwidth of a rank in dispatch; 0 = DeepEP's on H800.", NULL},
    {"combine_gb_s", OPT_DOUBLE, offsetof(struct ep_state, combine_gb_s), 0, 1e5, "0", "GB/s",
     "Bandwidth of a rank in combine; 0 = DeepEP's on H800.", NULL},
    {"floor_us", OPT_DOUBLE, offsetof(struct ep_state, floor_us), 0, 1e6, "20", "us",
     "No dispatch or combine is shorter; DeepEP publishes none for few tokens: a guess.", NULL},
    OPT_END,
};

/* DeepEP README, GB/s of its low-latency kernels by ranks, dispatch and combine of 128 tokens a rank. */
struct bandwidth {
    double ranks, dispatch, combine;
};
static const struct bandwidth low_latency[] = {{8, 98, 127}, {16, 63, 74},  {32, 48, 53},
                                               {64, 43, 46}, {128, 39, 39}, {256, 39, 40}};
/* The same of its normal kernels, 4096 tokens a rank: NVLink from EP8; the network from EP32, where 58 and 57 GB/s are
 * printed and a quarter of what is counted stays on its node. EP64 follows within 4 %, EP16 is 9 to 13 % slower. */
static const struct reach_rates normal_dispatch = {43.5e9, 153e9}, normal_combine = {42.75e9, 158e9};

#define RANKS_PER_NODE 8

/* Between two sizes by the logarithm of the ranks, beyond the ends as at the end. */
static struct bandwidth bandwidth_at(const struct bandwidth *b, size_t n, double ranks)
{
    size_t i = 0;

    if (ranks <= b[0].ranks) {
        return b[0];
    }
    while (i + 1 < n && b[i + 1].ranks <= ranks) {
        i++;
    }
    if (i + 1 == n) {
        return b[i];
    }
    double w = log(ranks / b[i].ranks) / log(b[i + 1].ranks / b[i].ranks);
    return (struct bandwidth){ranks, b[i].dispatch + w * (b[i + 1].dispatch - b[i].dispatch),
                              b[i].combine + w * (b[i + 1].combine - b[i].combine)};
}

static double or_else(double known, double assumed)
{
    return known > 0 ? known : assumed;
}

static struct reach reach_of(const struct ep_state *s)
{
    return (struct reach){.experts = s->experts, .per_tok = s->per_tok, .ranks = (double)s->ranks,
                          .per_node = RANKS_PER_NODE, .node_limit = 4};
}

/* Normal kernels at a bandwidth that was given: as DeepEP counts, nodes over the network, GPUs inside of one node. */
static void init_normal(struct ep_state *s, double dispatch, double combine)
{
    struct reach r = reach_of(s);
    struct reach_mean m = reach_mean(&r);
    double copies = s->ranks > RANKS_PER_NODE ? m.nodes : m.gpus;

    s->dispatch_s = s->dispatch_gb_s > 0 ? copies * dispatch / (1e9 * s->dispatch_gb_s)
                                         : reach_normal_s(&r, &normal_dispatch, dispatch);
    s->combine_s = s->combine_gb_s > 0 ? copies * combine / (1e9 * s->combine_gb_s)
                                       : reach_normal_s(&r, &normal_combine, combine);
    s->bytes_per_s = copies * dispatch / s->dispatch_s;
}

static void init_low_latency(struct ep_state *s, double dispatch, double combine)
{
    struct bandwidth b = bandwidth_at(low_latency, sizeof(low_latency) / sizeof(low_latency[0]), (double)s->ranks);

    s->bytes_per_s = 1e9 * or_else(s->dispatch_gb_s, b.dispatch);
    s->dispatch_s = s->per_tok * dispatch / s->bytes_per_s;
    s->combine_s = s->per_tok * combine / (1e9 * or_else(s->combine_gb_s, b.combine));
}

/* Bytes of one copy: fp8 with a 4-byte scale per 128 values; 16 bit. */
static void init_transfers(struct ep_state *s, double hidden)
{
    void (*init)(struct ep_state *, double, double) = s->kernel == KERNEL_NORMAL ? init_normal : init_low_latency;

    init(s, hidden * (1 + 4.0 / 128), hidden * 2);
}

static int check(const struct ep_state *s, const struct cost_env *env, struct err *e)
{
    if (!env->llm || env->llm->experts == 0) {
        return err_set(e, SIM_E_CONFIG, "ep needs a model with experts%s%s", env->llm ? ", which is not " : ": give --model",
                       env->llm ? env->llm->name : "");
    }
    if (env->tp != 1) {
        return err_set(e, SIM_E_CONFIG, "ep has data-parallel attention: tp has to be 1, not %u", env->tp);
    }
    if ((env->llm->experts + s->redundant) % s->ranks != 0) {
        return err_set(e, SIM_E_CONFIG, "ep: %u experts and %lld redundant ones cannot be spread evenly over %lld ranks",
                       env->llm->experts, (long long)s->redundant, (long long)s->ranks);
    }
    return 0;
}

static int init_base(struct ep_state *s, struct cost_env *env, struct err *e)
{
    const char *name = opt_spec_name(s->base_spec, env->arena);

    s->base = name ? cost_find(name) : NULL;
    if (!s->base || !s->base->parts) {
        return err_set(e, SIM_E_CONFIG, "ep.base: '%s' is no cost model that knows layers (roofline does)", s->base_spec);
    }
    s->base_state = arena_calloc(env->arena, 1, s->base->state_size);
    if (!s->base_state) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (opt_spec_apply(s->base_spec, s->base->options, s->base_state, env->arena, e) < 0) {
        return err_wrap(e, "ep.base: ");
    }
    return s->base->init(s->base_state, env, e);
}

static int ep_init(void *state, struct cost_env *env, struct err *e)
{
    struct ep_state *s = state;

    if (check(s, env, e) < 0 || init_base(s, env, e) < 0) {
        return e->code;
    }
    s->experts = env->llm->experts;
    s->per_tok = env->llm->experts_per_tok;
    s->local = (s->experts + (double)s->redundant) / (double)s->ranks;
    s->moe_layers = llm_moe_layers(env->llm);
    init_transfers(s, env->llm->hidden);
    env->provenance = arena_printf(env->arena, "%s; experts over %lld ranks, %g a rank, busiest rank %g of the mean, %s",
                                   env->provenance, (long long)s->ranks, s->local, s->imbalance,
                                   s->overlap ? "transfers overlapped" : "transfers not overlapped");
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- an iteration ---- */

static double tokens_of(const struct batch_shape *b)
{
    return (double)b->prefill_tok + b->n_decode;
}

/* Experts of one layer on the busiest rank; all ranks bring the tokens of b. */
static double experts_s(const struct ep_state *s, const struct cost_expert *x, const struct batch_shape *b)
{
    double n = tokens_of(b);
    double miss = s->per_tok < s->experts ? pow(1 - s->per_tok / s->experts, n * (double)s->ranks) : 0;

    return cost_experts_s(x, or_else(b->spread.active, s->local * (1 - miss)),
                          n * s->per_tok * or_else(b->spread.load, s->imbalance), 1);
}

/* n tokens that fall as those of b do. */
static double transfer_s(const struct ep_state *s, const struct batch_shape *b, double n)
{
    double floor_s = n > 0 ? s->floor_us * 1e-6 : 0;

    n *= or_else(b->spread.arrive, s->imbalance) / or_else(b->spread.link, 1);
    return s->moe_layers * (fmax(n * s->dispatch_s, floor_s) + fmax(n * s->combine_s, floor_s));
}

static struct cost_affine compute(const struct ep_state *s, const struct batch_shape *b)
{
    struct cost_affine c;
    struct cost_parts p;

    s->base->iteration(s->base_state, b, &c);
    s->base->parts(s->base_state, b, &p);
    sim_wide more = (sim_wide)s->moe_layers * (cost_coef(experts_s(s, &p.expert, b)) - p.experts);
    cost_finish(&c, c.base + more, c.slope, c.valid);
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

static void ep_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct ep_state *s = state;
    struct cost_affine c = compute(s, b);

    if (s->overlap) {
        at_least(ret, &c, c.base + cut_in_two(s, b), 2 * (sim_wide)cost_ticks(transfer_s(s, b, tokens_of(b) / 2)));
    } else {
        cost_finish(ret, (sim_wide)c.base + cost_ticks(transfer_s(s, b, tokens_of(b))), c.slope, c.valid);
    }
}

static int ep_outside(const void *state, const struct batch_shape *b)
{
    const struct ep_state *s = state;

    return s->base->outside && s->base->outside(s->base_state, b);
}

static void ep_spread(const void *state, struct cost_spread *ret)
{
    const struct ep_state *s = state;

    *ret = (struct cost_spread){.ranks = (uint32_t)s->ranks, .redundant = (uint32_t)s->redundant,
                                .per_node = RANKS_PER_NODE,
                                .node_copies = s->kernel == KERNEL_NORMAL && s->ranks > RANKS_PER_NODE,
                                .imbalance = s->imbalance, .bytes_per_s = s->bytes_per_s};
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
