/* SPDX-License-Identifier: Apache-2.0
 *
 * `streamed`: the weights lie in host memory and cross the host link once per iteration; KV lies in host
 * memory, too, and decode attention runs on the CPU (MoE-Lens, arXiv 2504.09345, section 3: two groups of
 * tokens alternate, so that GPU, CPU and link work side by side). An iteration takes the longest of
 *   - the sweep: all weights over the link,
 *   - GPU: 2 FLOPs per active parameter and token, and prefill attention over (query, key) pairs,
 *   - CPU: KV of all decoding contexts, read at what the link leaves of the memory's bandwidth.
 * Only the last grows with the contexts: max(constant, c*context), a flat piece and a slope. */
#include <math.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"

struct streamed_state {
    /* options */
    double link_gb_s, dram_gb_s, eff_gemm, eff_attn;
    /* from init */
    double sweep_s, token_s, pair_s;
    int64_t kv_tick;
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
    return 0;
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
    s->kv_tick = cost_coef(llm_kv_bytes_per_tok(m) / ((s->dram_gb_s - s->link_gb_s) * 1e9));
    env->provenance = arena_printf(env->arena, "streamed: %s (%s) over %g GB/s to a %s, decode attention on the "
                                   "CPU at %g GB/s", m->name, dtype_name(m->weight_dtype), s->link_gb_s,
                                   env->gpu->full_name, s->dram_gb_s - s->link_gb_s);
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

static void streamed_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct streamed_state *s = state;
    double tok = (double)b->prefill_tok + b->n_decode;
    double gpu_s = s->token_s * tok + s->pair_s * (double)b->prefill_pairs;
    int64_t flat = cost_ticks(fmax(s->sweep_s, gpu_s));
    sim_wide cpu = (sim_wide)s->kv_tick * (b->n_decode ? b->decode_ctx_tok : 0);

    if (b->n_prefill || b->n_decode == 0) {
        cost_finish(ret, cpu > flat ? cpu : flat, 0, 1);
    } else if (cpu >= flat) {
        cost_finish(ret, cpu, (sim_wide)s->kv_tick * b->n_decode, UINT64_MAX);
    } else { /* flat up to the first step whose attention takes longer */
        sim_wide grows = (sim_wide)s->kv_tick * b->n_decode;

        cost_finish(ret, flat, 0, grows > 0 ? (uint64_t)((flat - cpu) / grows) + 1 : UINT64_MAX);
    }
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
