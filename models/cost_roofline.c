/* SPDX-License-Identifier: Apache-2.0
 *
 * `roofline`: iteration time from a model's shape and a GPU's datasheet. The kernels of a layer run one
 * after the other, so their times add; each takes the longer of its arithmetic and its memory traffic
 * at a share of the peak, and no less than a launch. What an iteration does:
 *   - projections and feed-forward: weights read once, 2 FLOPs per parameter and token; of the routed
 *     experts those that n tokens hit, E*(1 - (1 - k/E)^n) of E;
 *   - attention: over (query, key) pairs for prefill, over contexts for decode, KV read once;
 *   - norms, rotary embedding, activation, KV write: traffic of their inputs and outputs;
 *   - with tensor parallelism two all-reduces per layer: rings by the datasheet, or as they were measured;
 *   - LM head and sampling for decodes and for the chunks that end their prompt;
 *   - host time per iteration and per sequence.
 * Only decode attention grows from one iteration to the next, and it is max(launch, c*context) with
 * context capped by a sliding window: a flat piece, a slope, a flat piece. `c` is whole ticks, so a
 * fresh evaluation at k agrees with base + slope*k to the last tick. */
#include <math.h>
#include <string.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "models/measured.h"

/* Number of kernels whose launch is charged: qkv and output projection; gate-up and down; two norms,
 * rotary embedding, KV write, activation. */
#define PROJ_KERNELS  2
#define FFN_KERNELS   2
#define SMALL_KERNELS 5
/* Passes over fp32 logits in the sampler: convert, scale, arg-max or softmax. */
#define SAMPLE_PASSES 3
/* vLLM's largest CUDA graph at 256 or more sequences. */
#define GRAPH_TOP 512

enum { PAD_OFF, PAD_VLLM };

/* One kernel family over all layers, seconds: max(flop*n, weights + io*n, floor). */
struct family {
    double flop, weights, io, floor;
};

struct roofline_state {
    /* options */
    double eff_gemm, eff_attn, eff_mem, eff_kv, eff_link;
    double kernel_us, attn_us, allreduce_us, step_us, seq_us;
    int64_t graph_pad;
    const char *collectives;
    /* from init */
    struct family proj, ffn, shared, small, head;
    double expert_flop, expert_read, expert_io, expert_floor; /* per token, per distinct expert */
    double pair_flop, pair_io;            /* of one of a token's k experts */
    double experts, log_miss;             /* E, ln(1 - k/E) */
    double pair_s, pre_kv_s;              /* prefill attention: per pair; per context token */
    int64_t kv_tick;                      /* decode attention: per context token */
    int64_t attn_floor_tick;
    double comm_fix, comm_tok;
    const struct measured_curve *reduce; /* measured all-reduces; NULL = the two above */
    double reduces, reduce_bytes;        /* of a step, of a token */
    double step_s, seq_s;
    uint64_t window;
    uint32_t layers, dense_layers, moe_layers;
};

#define SHARE(field, text)                                                                         \
    {#field, OPT_DOUBLE, offsetof(struct roofline_state, field), 0, 1, "0", "1", text, NULL}
#define MICRO(field, dflt, text)                                                                   \
    {#field, OPT_DOUBLE, offsetof(struct roofline_state, field), 0, 1e6, dflt, "us", text, NULL}

static const struct opt_choice pad_choices[] = {
    {"off", "dense kernels see the true number of tokens"},
    {"vllm", "up to 512 tokens, padded to vLLM's capture sizes: 1, 2, 4, 8, 16 .. 256, 272 .. 512"},
    {NULL, NULL},
};

/* Shares and launch times: medians over aiconfigurator's kernel tables of A100, H100, H200, L40S and
 * RTX PRO 6000 (README.md); step and sequence: host time of vLLM. */
static const struct opt_row roofline_options[] = {
    SHARE(eff_gemm, "Share of peak FLOP/s in matrix products; 0 = as the GPU's profile says, else 0.8 (0.60 to 0.89 measured)."),
    SHARE(eff_attn, "Share of peak FLOP/s in attention; 0 = as the profile says, else 0.5 (0.40 to 0.51 at 2048 tokens)."),
    SHARE(eff_mem, "Share of memory bandwidth when weights are read; 0 = as the profile says, else 0.8 (0.69 to 0.92 measured)."),
    SHARE(eff_kv, "Share of memory bandwidth when KV is read; 0 = as the profile says, else 0.7 (0.60 to 0.90 measured)."),
    {"eff_link", OPT_DOUBLE, offsetof(struct roofline_state, eff_link), 0, 1, "0", "1",
     "Share of link bandwidth in all-reduces; 0 = 0.75 on NVLink, 0.6 on PCIe.", NULL},
    MICRO(kernel_us, "2", "Shortest time of a kernel inside a CUDA graph."),
    MICRO(attn_us, "10", "Shortest time of a layer's decode attention."),
    MICRO(allreduce_us, "0", "Latency of an all-reduce; 0 = 5 on NVLink, 3.4 per GPU on PCIe."),
    MICRO(step_us, "200", "Host time of an iteration that the GPU waits for."),
    MICRO(seq_us, "4", "Host time per sequence of an iteration."),
    {"graph_pad", OPT_CHOICE, offsetof(struct roofline_state, graph_pad), 0, 0, "off", NULL,
     "CUDA-graph padding of the token count.", pad_choices},
    {"collectives", OPT_STRING, offsetof(struct roofline_state, collectives), 0, -1, NULL, COST_FILE,
     "File with measured all-reduces ('steelyard fit --from nccl-tests'), in place of eff_link.", NULL},
    OPT_END,
};

/* ---- init ---- */

struct sizing {
    const struct llm_shape *m;
    double tp, layers, moe_layers;
    double flops, attn_flops, mem, kv_mem; /* per second, shares applied */
    double wbytes, act;                    /* bytes per weight, per activation element */
    double kernel_s;
};

/* A matrix product per layer: `params` weights, `wide` activation elements in and out per token. */
static struct family gemm(const struct sizing *z, double layers, double params, double wide,
                          double kernels)
{
    return (struct family){
        .flop = layers * 2 * params / z->tp / z->flops,
        .weights = layers * params * z->wbytes / z->tp / z->mem,
        .io = layers * wide * z->act / z->mem,
        .floor = layers > 0 ? layers * kernels * z->kernel_s : 0,
    };
}

/* Heads' outputs per token on one rank, all projections together. */
static double attn_width(const struct llm_shape *m, double tp)
{
    if (m->kv_lora_rank) {
        return m->heads * ((double)m->nope_head_dim + m->rope_head_dim + m->v_head_dim) / tp;
    }
    return m->head_dim * (2.0 * m->heads + 2.0 * m->kv_heads) / tp;
}

static void init_dense(struct roofline_state *s, const struct sizing *z)
{
    const struct llm_shape *m = z->m;
    struct llm_layer l = llm_layer(m);
    double h = m->hidden, mats = m->ffn_matrices;
    s->proj = gemm(z, z->layers, l.attn, 2 * h + attn_width(m, z->tp), PROJ_KERNELS);
    s->ffn = gemm(z, z->layers - z->moe_layers, l.ffn, 2 * h + mats * m->ffn / z->tp, FFN_KERNELS);
    double shared = m->shared_experts;
    s->shared = gemm(z, z->moe_layers, shared * l.expert + l.router * z->tp,
                     h + m->experts + (shared > 0 ? h + mats * shared * m->moe_ffn / z->tp : 0),
                     1 + (shared > 0 ? FFN_KERNELS : 0));
}

static void init_experts(struct roofline_state *s, const struct sizing *z)
{
    const struct llm_shape *m = z->m;
    struct llm_layer l = llm_layer(m);
    s->experts = m->experts;
    if (m->experts == 0) {
        return;
    }
    double k = m->experts_per_tok;
    s->log_miss = k < m->experts ? log1p(-k / m->experts) : -1000; /* every expert is hit */
    s->expert_flop = z->moe_layers * 2 * k * l.expert / z->tp / z->flops;
    s->expert_read = z->moe_layers * l.expert * z->wbytes / z->tp / z->mem;
    s->expert_io = z->moe_layers * k * (2.0 * m->hidden + m->ffn_matrices * m->moe_ffn / z->tp) *
                   z->act / z->mem;
    s->expert_floor = z->moe_layers * FFN_KERNELS * z->kernel_s;
    s->pair_flop = s->expert_flop / k;
    s->pair_io = s->expert_io / k;
}

/* Elementwise kernels, elements in and out per token: two norms with the residual (4 hidden each),
 * rotary embedding in place, KV write, gated activation. */
static void init_small(struct roofline_state *s, const struct sizing *z)
{
    const struct llm_shape *m = z->m;
    double ffn_wide = m->experts ? (double)m->moe_ffn * (m->experts_per_tok + m->shared_experts) : m->ffn;
    double wide = 8.0 * m->hidden + 2 * attn_width(m, z->tp) + m->ffn_matrices * ffn_wide / z->tp;
    s->small = (struct family){
        .io = z->layers * wide * z->act / z->mem,
        .floor = z->layers * SMALL_KERNELS * z->kernel_s,
    };
}

static void init_head(struct roofline_state *s, const struct sizing *z, double flops16)
{
    double params = (double)z->m->vocab * z->m->hidden;
    s->head = (struct family){
        .flop = 2 * params / z->tp / flops16,
        .weights = params * fmax(z->wbytes, 2) / z->tp / z->mem,
        .io = z->m->vocab * (z->act + SAMPLE_PASSES * 4.0) / z->mem,
        .floor = 2 * z->kernel_s,
    };
}

/* FLOPs of one query against one key, per layer and rank. In decode DeepSeek's heads attend to the
 * latent itself (the up-projections are absorbed into query and output). */
static double pair_flops(const struct llm_shape *m, bool decode)
{
    if (m->kv_lora_rank && decode) {
        return 2.0 * m->heads * (2.0 * m->kv_lora_rank + m->rope_head_dim);
    }
    if (m->kv_lora_rank) {
        return 2.0 * m->heads * ((double)m->nope_head_dim + m->rope_head_dim + m->v_head_dim);
    }
    return 4.0 * m->heads * m->head_dim;
}

static void init_attention(struct roofline_state *s, const struct sizing *z)
{
    const struct llm_shape *m = z->m;
    double kv_s = llm_kv_bytes_per_tok_rank(m, (uint32_t)z->tp) / z->kv_mem;
    double decode_s = z->layers * pair_flops(m, true) / z->tp / z->attn_flops;
    s->pair_s = z->layers * pair_flops(m, false) / z->tp / z->attn_flops;
    s->pre_kv_s = kv_s;
    s->kv_tick = cost_coef(fmax(kv_s, decode_s));
    s->attn_floor_tick = cost_coef(z->layers * s->attn_us * 1e-6);
    s->window = m->sliding_window_tok;
}

/* Ring: 2(n-1)/n of the message crosses each link (moe-pcie notes: H100 T = latency + that / 350 GB/s). */
static void init_comm(struct roofline_state *s, const struct sizing *z, const struct cost_env *env)
{
    const struct gpu_profile *g = env->gpu;
    if (z->tp < 2) {
        return;
    }
    bool known = env->ring_bytes_per_s > 0;
    bool nvlink = known ? env->ring_nvlink : g->nvlink_bytes_per_s > 0;
    /* GB/s per lane and direction after encoding: generation 1..2 8b/10b, 3..5 128b/130b, 6.. FLIT. */
    static const double lane[] = {0, 0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9, 15.13e9};
    double raw = nvlink ? g->nvlink_bytes_per_s : lane[g->pcie_gen & 7] * g->pcie_lanes;
    raw = known ? env->ring_bytes_per_s : raw;
    double share = s->eff_link > 0 ? s->eff_link : nvlink ? 0.75 : 0.6;
    double lat = s->allreduce_us > 0 ? s->allreduce_us * 1e-6 : nvlink ? 5e-6 : 3.4e-6 * z->tp;
    s->comm_fix = 2 * z->layers * lat;
    s->comm_tok = 2 * z->layers * 2 * (z->tp - 1) / z->tp * z->m->hidden * z->act / (raw * share);
}

static int init_measured(struct roofline_state *s, const struct sizing *z, struct cost_env *env, struct err *e)
{
    struct measured m;
    if (z->tp < 2 || !s->collectives || !s->collectives[0]) {
        return 0;
    }
    if (measured_load(&m, s->collectives, env->arena, e) < 0) {
        return e->code;
    }
    s->reduce = measured_find(&m, "all_reduce", env->tp, 1);
    if (!s->reduce) {
        const char *there = measured_ranks(&m, "all_reduce", 1, env->arena);
        if (there && strcmp(there, "none") == 0) {
            return err_set(e, SIM_E_CONFIG, "roofline.collectives: %s has no measured all_reduce on one node (steelyard fit --from "
                           "nccl-tests --op all_reduce writes one)", s->collectives);
        }
        return err_set(e, SIM_E_CONFIG, "%s: no all_reduce of %u ranks on one node was measured (of ranks: %s)", s->collectives,
                       env->tp, there ? there : "?");
    }
    s->reduces = 2 * z->layers;
    s->reduce_bytes = z->m->hidden * z->act;
    return 0;
}

static double share(double said, double published, double otherwise)
{
    return said > 0 ? said : published > 0 ? published : otherwise;
}

static void init_shares(struct roofline_state *s, const struct gpu_profile *g)
{
    s->eff_gemm = share(s->eff_gemm, g->share_gemm, 0.8);
    s->eff_attn = share(s->eff_attn, g->share_attn, 0.5);
    s->eff_mem = share(s->eff_mem, g->share_mem, 0.8);
    s->eff_kv = share(s->eff_kv, g->share_kv, 0.7);
}

static int check_env(const struct cost_env *env, struct err *e)
{
    if (!env->llm || !env->gpu) {
        return err_set(e, SIM_E_CONFIG, "roofline needs a model and a GPU: give %s",
                       env->llm ? "--gpu" : env->gpu ? "--model" : "--model and --gpu");
    }
    if (env->tp == 0 || (env->llm->heads % env->tp) != 0) {
        return err_set(e, SIM_E_CONFIG,
                       "tensor-parallel degree %u does not divide the %u attention heads of %s",
                       env->tp, env->llm->heads, env->llm->name);
    }
    return 0;
}

static int roofline_init(void *state, struct cost_env *env, struct err *e)
{
    struct roofline_state *s = state;
    int rc = check_env(env, e);
    if (rc < 0) {
        return rc;
    }
    const struct llm_shape *m = env->llm;
    const struct gpu_profile *g = env->gpu;
    init_shares(s, g);
    double act = m->weight_dtype == DTYPE_FP32 ? 4 : 2;
    enum dtype act_type = m->weight_dtype == DTYPE_FP32 ? DTYPE_FP32 : DTYPE_FP16;
    struct sizing z = {
        .m = m, .tp = env->tp, .layers = m->layers, .moe_layers = llm_moe_layers(m),
        .flops = gpu_flops(g, m->weight_dtype) * s->eff_gemm,
        .attn_flops = gpu_flops(g, act_type) * s->eff_attn,
        .mem = g->hbm_bytes_per_s * s->eff_mem,
        .kv_mem = g->hbm_bytes_per_s * s->eff_kv,
        .wbytes = dtype_bytes(m->weight_dtype), .act = act, .kernel_s = s->kernel_us * 1e-6,
    };
    init_dense(s, &z);
    init_experts(s, &z);
    init_small(s, &z);
    init_head(s, &z, gpu_flops(g, act_type) * s->eff_gemm);
    init_attention(s, &z);
    init_comm(s, &z, env);
    if (init_measured(s, &z, env, e) < 0) {
        return e->code;
    }
    s->layers = m->layers;
    s->moe_layers = llm_moe_layers(m);
    s->dense_layers = s->layers - s->moe_layers;
    s->step_s = s->step_us * 1e-6;
    s->seq_s = s->seq_us * 1e-6;
    env->provenance = arena_printf(env->arena, "roofline: %s (%s, KV %s) on %u x %s, shares of peak "
                                   "%g gemm, %g attention, %g memory, %g KV",
                                   m->name, dtype_name(m->weight_dtype), dtype_name(m->kv_dtype),
                                   env->tp, g->full_name, s->eff_gemm, s->eff_attn, s->eff_mem,
                                   s->eff_kv);
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- an iteration ---- */

/* Not fmax: that is a library call, for NaN's sake. */
static inline double longer(double a, double b)
{
    return a > b ? a : b;
}

static inline double shorter(double a, double b)
{
    return a < b ? a : b;
}

static double family_s(const struct family *f, double n)
{
    double mem = f->weights + f->io * n;
    return longer(longer(f->flop * n, mem), f->floor);
}

static double expert_s(const struct roofline_state *s, double n)
{
    if (s->experts < 1) {
        return 0;
    }
    double hit = s->experts * -expm1(n * s->log_miss);
    double mem = s->expert_read * hit + s->expert_io * n;
    return longer(longer(s->expert_flop * n, mem), s->expert_floor);
}

static uint64_t padded(uint64_t n)
{
    if (n > GRAPH_TOP || n <= 2) {
        return n;
    }
    if (n <= 8) {
        return n <= 4 ? 4 : 8;
    }
    return n <= 256 ? (n + 7) & ~7ull : (n + 15) & ~15ull;
}

static double tokens_run(const struct roofline_state *s, const struct batch_shape *b)
{
    uint64_t tok = b->prefill_tok + b->n_decode;
    return (double)(s->graph_pad == PAD_VLLM ? padded(tok) : tok);
}

static double comm_s(const struct roofline_state *s, double n)
{
    return s->reduce ? s->reduces * measured_us(s->reduce, n * s->reduce_bytes) * 1e-6 : s->comm_fix + s->comm_tok * n;
}

/* Everything that does not grow with the contexts. */
static double dense_s(const struct roofline_state *s, const struct batch_shape *b)
{
    double n = tokens_run(s, b);
    double rows = (double)b->n_decode + b->prefill_done;
    double t = family_s(&s->proj, n) + family_s(&s->ffn, n) + family_s(&s->shared, n) +
               family_s(&s->small, n) + expert_s(s, n) + comm_s(s, n);
    if (rows > 0) {
        t += family_s(&s->head, rows);
    }
    return t + s->step_s + s->seq_s * ((double)b->n_decode + b->n_prefill);
}

/* With a window a query sees at most `window` keys. */
static double prefill_attn_s(const struct roofline_state *s, const struct batch_shape *b)
{
    double pairs = (double)b->prefill_pairs, ctx = (double)b->prefill_ctx_tok;
    if (s->window) {
        pairs = shorter(pairs, (double)b->prefill_tok * (double)s->window);
        ctx = shorter(ctx, (double)b->prefill_tok + (double)b->n_prefill * (double)s->window);
    }
    return longer(s->pair_s * pairs, s->pre_kv_s * ctx);
}

/* Smallest k >= 1 with ctx + n*k > last, for ctx <= last. */
static uint64_t steps_past(uint64_t ctx, uint64_t n, uint64_t last)
{
    return (last - ctx) / n + 1;
}

struct line {
    sim_wide base, slope;
    uint64_t valid;
};

/* max(floor, kv_tick * min(ctx, n*window)) as a line in k, ctx growing by n. */
static struct line decode_attn(const struct roofline_state *s, const struct batch_shape *b)
{
    struct line l = {s->attn_floor_tick, 0, UINT64_MAX};
    uint64_t n = b->n_decode, ctx = b->decode_ctx_tok;
    uint64_t cap = s->window ? n * s->window : UINT64_MAX;
    uint64_t flat = s->kv_tick > 0 ? (uint64_t)(s->attn_floor_tick / s->kv_tick) : UINT64_MAX;
    if (n == 0 || flat >= cap) {
        return l;
    }
    if (ctx <= flat) {
        l.valid = steps_past(ctx, n, flat);
    } else if (ctx <= cap) {
        l = (struct line){(sim_wide)s->kv_tick * ctx, (sim_wide)s->kv_tick * n,
                          s->window ? steps_past(ctx, n, cap) : UINT64_MAX};
    } else {
        l.base = (sim_wide)s->kv_tick * cap;
    }
    return l;
}

/* Attention of the iteration as a line in k: one kernel serves both kinds of work, so one launch. */
static struct line attention(const struct roofline_state *s, const struct batch_shape *b)
{
    struct line l = decode_attn(s, b);
    if (b->n_prefill == 0) {
        return l;
    }
    sim_wide attn = (b->n_decode ? l.base : 0) + cost_ticks(prefill_attn_s(s, b));
    return (struct line){attn > s->attn_floor_tick ? attn : s->attn_floor_tick, 0, 1};
}

static void roofline_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct roofline_state *s = state;
    struct line l = attention(s, b);
    cost_finish(ret, l.base + cost_ticks(dense_s(s, b)), l.slope, l.valid);
}

/* Of `m` layers that take `seconds` together, one; 0 where there are none. */
static sim_tick one_of(double seconds, uint32_t m)
{
    return m > 0 ? cost_coef(seconds / m) : 0;
}

static void roofline_parts(const void *state, const struct batch_shape *b, struct cost_parts *ret)
{
    const struct roofline_state *s = state;
    double n = tokens_run(s, b), rows = (double)b->n_decode + b->prefill_done;
    double every = family_s(&s->proj, n) + family_s(&s->small, n) + comm_s(s, n);
    double pairs = s->moe_layers ? 1.0 / s->moe_layers : 0;
    *ret = (struct cost_parts){
        .front = cost_coef(s->step_s + s->seq_s * ((double)b->n_decode + b->n_prefill)),
        .attn = (sim_tick)(attention(s, b).base / s->layers) + one_of(every, s->layers),
        .comm = one_of(comm_s(s, n), s->layers),
        .dense = one_of(family_s(&s->ffn, n), s->dense_layers),
        .shared = one_of(family_s(&s->shared, n), s->moe_layers),
        .experts = one_of(expert_s(s, n), s->moe_layers),
        .back = rows > 0 ? cost_coef(family_s(&s->head, rows)) : 0,
        .expert = {.read = s->expert_read * pairs, .flop = s->pair_flop * pairs, .io = s->pair_io * pairs,
                   .floor = s->expert_floor * pairs},
    };
}

const struct cost_ops cost_roofline = {
    .name = "roofline",
    .summary = "from the model's shape and the GPU's datasheet; any HuggingFace config",
    .source = "roofline over the kernels of a decoder layer; shares of peak from aiconfigurator's tables",
    .state_size = sizeof(struct roofline_state),
    .options = roofline_options,
    .init = roofline_init,
    .iteration = roofline_iteration,
    .parts = roofline_parts,
};
