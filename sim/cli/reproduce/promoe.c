/* SPDX-License-Identifier: Apache-2.0
 *
 * ProMoE (arXiv 2410.22134), figure 11b: tokens a second of llama.cpp on an RTX 4090, one ShareGPT request at a
 * time, with experts that do not all fit. Nothing here is fitted to a published speed. */
#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The paper does not state how many experts are kept. What a card holds is taken to be full: beside the weights
 * that always stay, 4096 tokens of KV (the longest context of DeepSeekMoE) and 1 GiB for the CUDA context, cuBLAS
 * and buffers of activations. */
#define CONTEXT_TOK 4096
#define RESERVED    1073741824.0

struct model {
    const char *label, *name, *routes;
    double promoe, lru, fixed; /* published, tokens a second */
};

/* DeepSeekMoE-16B has experts as DeepSeek-V2-Lite has (64 of 1408, 6 at a time, trained by the same rules), and
 * no statistics of its own routing are known to us. */
static const struct model model[] = {
    {"DeepSeekMoE-16B", "deepseek-moe-16b", "synth{preset=deepseek-v2-lite}", 41.9, 38.9, 24.6},
    {"DeepSeek-V2-Lite", "deepseek-v2-lite", "synth", 50.2, 46.2, 28.2},
    {"Qwen1.5-MoE", "qwen1.5-moe-a2.7b", "synth", 67.5, 60.0, 47.6},
};

static int cache_rate(struct repro *p, const struct model *m, double *ret, struct err *e)
{
    const char *dir = config_model_dir();
    struct gpu_profile g;
    struct llm_shape s;

    if (llm_load(&s, m->name, dir, NULL, NULL, &p->ar, e) < 0 || gpu_load(&g, "rtx-4090", dir, &p->ar, e) < 0) {
        return e->code;
    }
    double experts = llm_layer(&s).expert * s.experts * llm_moe_layers(&s) * dtype_bytes(s.weight_dtype);
    double always = llm_weight_bytes(&s) - experts + CONTEXT_TOK * llm_kv_bytes_per_tok(&s) + RESERVED;

    *ret = (g.mem_bytes - always) / experts;
    return 0;
}
