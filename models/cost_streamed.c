/* SPDX-License-Identifier: Apache-2.0
 *
 * `streamed`: the weights lie in host memory and cross the host link once per iteration; KV lies in host
 * memory, too, and decode attention runs on the CPU (MoE-Lens, arXiv 2504.09345, section 3: two groups of
 * tokens alternate, so that GPU, CPU and link work side by side). An iteration takes the longest of
 *   - the sweep: all weights over the link,
 *   - GPU: 2 FLOPs per active parameter and token, and prefill attention over (query, key) pairs,
 *   - CPU: KV of all decoding contexts, read at what the link leaves of the memory's bandwidth.
 * Only the last grows with the contexts: max(constant, c*context), a flat piece and a slope.
 *
 * Who gets what of a memory that cannot serve all? By default the link keeps its rate, since it asks for less than
 * its even share (max-min). But a requester has only so many reads outstanding, and under load all of them
 * wait equally long: rate = outstanding / latency (Little's law, as in McCalpin's "Single-core memory bandwidth:
 * latency, bandwidth, and concurrency" and in the credits of "Understanding the Host Network", SIGCOMM 2024).
 * So a saturated memory is shared in proportion to reads outstanding. With dma_lines and cpu_lines given, the
 * link gets its proportion of the memory while attention runs, and all of its rate before and after: a
 * sweep grows with the contexts, too. */
#include <math.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"

struct streamed_state {
    /* options */
    double link_gb_s, dram_gb_s, eff_gemm, eff_attn, dma_lines, cpu_lines;
    /* from init */
    double sweep_s, token_s, pair_s;
    int64_t kv_tick, late_tick; /* of a token of context: attention; what the sweep ends later */
};

static const struct opt_row streamed_options[] = {
    {"link_gb_s", OPT_DOUBLE, offsetof(struct streamed_state, link_gb_s), 0.1, 1e4, "19.5", "GB/s",
     "Host to device; 19.5 measured on PCIe 4.0 with an A40 (MoE-Lens).", NULL},
    {"dram_gb_s", OPT_DOUBLE, offsetof(struct streamed_state, dram_gb_s), 0.2, 1e5, "150", "GB/s",
     "Host memory; 150 measured on eight channels of DDR4-3200 (MoE-Lens).", NULL},
    {"eff_gemm", OPT_DOUBLE, offsetof(struct streamed_state, eff_gemm), 0.01, 1, "0.8", "1",
     "Share of peak FLOP/s in matrix products, as for roofline.", NULL},
    {"eff_attn", OPT_DOUBLE, offsetof(struct streamed_state, eff_attn), 0.01, 1, "0.5", "1",
     "Share of peak FLOP/s in prefill attention, as for roofline.", NULL},
    {"dma_lines", OPT_DOUBLE, offsetof(struct streamed_state, dma_lines), 0, 1e6, "0", "1",
     "Cache lines that the GPU's copies have outstanding at host memory; 0 = they keep their rate.", NULL},
    {"cpu_lines", OPT_DOUBLE, offsetof(struct streamed_state, cpu_lines), 0, 1e6, "0", "1",
     "Cache lines that all cores together have outstanding while attention runs.", NULL},
    OPT_END,
};

static int check_env(const struct streamed_state *s, const struct cost_env *env, struct err *e)
{
    if (!env->llm || !env->gpu) {
        return err_set(e, SIM_E_CONFIG, "streamed needs a model and a GPU: give %s",
                       env->llm ? "--gpu" : env->gpu ? "--model" : "--model and --gpu");
    }
    if (env->tp != 1) {
        return err_set(e, SIM_E_CONFIG, "streamed knows one GPU, not a tensor-parallel degree of %u", env->tp);
    }
    if (s->link_gb_s >= s->dram_gb_s) {
        return err_set(e, SIM_E_CONFIG, "streamed: link_gb_s %g leaves nothing of dram_gb_s %g to the CPU",
                       s->link_gb_s, s->dram_gb_s);
    }
    if ((s->dma_lines > 0) != (s->cpu_lines > 0)) {
        return err_set(e, SIM_E_CONFIG, "streamed: dma_lines and cpu_lines compete: give both, or none");
    }
    return 0;
}

/* GB/s of the link while attention runs. */
static double beside_attention(const struct streamed_state *s)
{
    return s->dma_lines > 0 ? fmin(s->link_gb_s, s->dram_gb_s * s->dma_lines / (s->dma_lines + s->cpu_lines))
                            : s->link_gb_s;
}

static int streamed_init(void *state, struct cost_env *env, struct err *e)
{
    struct streamed_state *s = state;

    if (check_env(s, env, e) < 0) {
        return e->code;
    }
    const struct llm_shape *m = env->llm;
    double flops = gpu_flops(env->gpu, m->weight_dtype);
    double pair = 4.0 * m->layers * m->heads * m->head_dim;

    s->sweep_s = llm_weight_bytes(m) / (s->link_gb_s * 1e9);
    s->token_s = 2 * llm_active_params(m) / (flops * s->eff_gemm);
    s->pair_s = pair / (flops * s->eff_attn);
    double copies = beside_attention(s), kv_s = llm_kv_bytes_per_tok(m) / ((s->dram_gb_s - copies) * 1e9);

    s->kv_tick = cost_coef(kv_s);
    s->late_tick = cost_coef(kv_s * (1 - copies / s->link_gb_s));
    env->provenance = arena_printf(env->arena, "streamed: %s (%s) over %g GB/s to a %s, decode attention on the "
                                   "CPU at %g GB/s", m->name, dtype_name(m->weight_dtype), s->link_gb_s,
                                   env->gpu->full_name, s->dram_gb_s - copies);
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

struct line {
    sim_wide base, slope;
};

/* The longest of the lines, as long as it is. */
static void longest(const struct line *l, int n, struct cost_affine *ret)
{
    const struct line *top = l;
    sim_wide valid = UINT64_MAX;

    for (int i = 1; i < n; i++) {
        bool steeper = l[i].base == top->base && l[i].slope > top->slope;

        top = l[i].base > top->base || steeper ? &l[i] : top;
    }
    for (int i = 0; i < n; i++) {
        if (l[i].slope > top->slope && (top->base - l[i].base) / (l[i].slope - top->slope) + 1 < valid) {
            valid = (top->base - l[i].base) / (l[i].slope - top->slope) + 1;
        }
    }
    cost_finish(ret, top->base, top->slope, (uint64_t)valid);
}

static void streamed_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct streamed_state *s = state;
    double tok = (double)b->prefill_tok + b->n_decode;
    sim_wide ctx = b->n_decode ? b->decode_ctx_tok : 0, grows = b->n_prefill ? 0 : b->n_decode;
    const struct line line[] = {
        {cost_ticks(s->token_s * tok + s->pair_s * (double)b->prefill_pairs), 0},
        {cost_ticks(s->sweep_s) + s->late_tick * ctx, s->late_tick * grows},
        {s->kv_tick * ctx, s->kv_tick * grows},
    };

    longest(line, 3, ret);
    ret->valid = b->n_prefill || b->n_decode == 0 ? 1 : ret->valid;
}

const struct cost_ops cost_streamed = {
    .name = "streamed",
    .summary = "weights and KV in host memory: one sweep of the weights an iteration, attention on the CPU",
    .source = "MoE-Lens, arXiv 2504.09345, section 3",
    .state_size = sizeof(struct streamed_state),
    .options = streamed_options,
    .init = streamed_init,
    .iteration = streamed_iteration,
};
