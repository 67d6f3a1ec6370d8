/* SPDX-License-Identifier: Apache-2.0
 *
 * GPU profiles (gpus/NAME.json) and the size of the KV pool on one. */
#include "models/gpu.h"

#include <math.h>
#include <string.h>

#include "models/datafile.h"
#include "sim/core/opt.h"

#define GIB (1024.0 * 1024.0 * 1024.0)

/* Keys of a profile; keys that begin with '_' are notes. */
static const char *const keys[] = {
    "full_name",    "mem_bytes",    "hbm_bytes_per_s", "flops_fp16", "flops_fp8",
    "flops_int8",   "flops_fp4",    "flops_fp32",      "sms",        "l2_bytes",
    "nvlink_bytes_per_s", "pcie_gen", "pcie_lanes",    "tdp_w",
    "share_gemm",   "share_attn",   "share_mem",       "share_kv",
};
#define N_KEYS (sizeof(keys) / sizeof(*keys))

static bool known(const char *key)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static void check_keys(struct datafile *f)
{
    for (const cJSON *v = f->root->child; v; v = v->next) {
        if (v->string[0] == '_' || known(v->string)) {
            continue;
        }
        const char *near = text_nearest(v->string, keys, N_KEYS);
        datafile_fail(f, v->string, "unknown%s%s%s", near ? "; did you mean '" : "", near ? near : "",
                      near ? "'?" : "");
        return;
    }
}

static double rate(struct datafile *f, const char *key, bool required)
{
    return datafile_double(f, key, required, required ? 1 : 0, 1e18, 0);
}

static int read_profile(struct datafile *f, struct gpu_profile *g)
{
    check_keys(f);
    g->mem_bytes = datafile_double(f, "mem_bytes", true, 1e6, 1e15, 0);
    g->hbm_bytes_per_s = rate(f, "hbm_bytes_per_s", true);
    g->flops_fp16 = rate(f, "flops_fp16", true);
    g->flops_fp8 = rate(f, "flops_fp8", false);
    g->flops_int8 = rate(f, "flops_int8", false);
    g->flops_fp4 = rate(f, "flops_fp4", false);
    g->flops_fp32 = rate(f, "flops_fp32", false);
    g->sms = datafile_uint(f, "sms", true, 1, 100000, 0);
    g->l2_bytes = rate(f, "l2_bytes", false);
    g->nvlink_bytes_per_s = rate(f, "nvlink_bytes_per_s", false);
    g->pcie_gen = datafile_uint(f, "pcie_gen", true, 1, 7, 0);
    g->pcie_lanes = datafile_uint(f, "pcie_lanes", true, 1, 32, 0);
    g->tdp_w = datafile_double(f, "tdp_w", false, 0, 1e5, 0);
    g->share_gemm = datafile_double(f, "share_gemm", false, 0.01, 1, 0);
    g->share_attn = datafile_double(f, "share_attn", false, 0.01, 1, 0);
    g->share_mem = datafile_double(f, "share_mem", false, 0.01, 1, 0);
    g->share_kv = datafile_double(f, "share_kv", false, 0.01, 1, 0);
    return f->rc;
}

int gpu_parse(struct gpu_profile *ret, const char *text, size_t len, const char *file,
              struct arena *a, struct err *e)
{
    *ret = (struct gpu_profile){0};
    struct datafile f;
    int rc = datafile_open(&f, text, len, file, a, e);
    if (rc < 0) {
        return rc;
    }
    rc = read_profile(&f, ret);
    ret->name = datafile_name(file, a);
    ret->full_name = arena_strdup(a, datafile_string(&f, "full_name", ret->name ? ret->name : ""));
    ret->provenance = arena_strdup(a, datafile_string(&f, "_provenance", "profile as given"));
    datafile_close(&f);
    if (rc == 0 && !(ret->name && ret->full_name && ret->provenance)) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return rc;
}

int gpu_load(struct gpu_profile *ret, const char *name, const char *data_dir, struct arena *a,
             struct err *e)
{
    size_t len = 0;
    const char *path = NULL;
    char *text = datafile_find("GPU", name, data_dir, "gpus", &path, &len, a, e);
    if (!text) {
        return e && e->code ? e->code : SIM_E_CONFIG;
    }
    return gpu_parse(ret, text, len, path, a, e);
}

double gpu_flops(const struct gpu_profile *g, enum dtype d)
{
    const double own[] = {
        [DTYPE_FP32] = g->flops_fp32, [DTYPE_FP16] = g->flops_fp16, [DTYPE_BF16] = g->flops_fp16,
        [DTYPE_FP8] = g->flops_fp8,   [DTYPE_INT8] = g->flops_int8, [DTYPE_FP4] = g->flops_fp4,
        [DTYPE_INT4] = 0, /* weight-only: multiplied in 16 bit */
    };
    return own[d] > 0 ? own[d] : g->flops_fp16;
}

/* Peak of torch's memory in vLLM's profile run, per rank: while the feed-forward block works on
 * max_batched_tok tokens, the residual, the input (2 * hidden), the gate and up products and their
 * combination (3 * intermediate / tp; per routed expert of a token in an MoE) are alive, in 16 bit; the
 * sampler holds about four copies of fp32 logits for 256 rows. It gives 1.27 GiB for Llama-3-8B at 8192
 * tokens, where vLLM logged 1.26 (pull request 10511). */
static double activation_bytes(const struct llm_shape *m, uint32_t tp, uint32_t max_batched_tok)
{
    double wide = m->experts ? fmax((double)m->moe_ffn * m->experts_per_tok, m->dense_layers ? m->ffn : 0)
                             : m->ffn;
    double per_tok = 2.0 * m->hidden + m->ffn_matrices * wide / tp;
    return max_batched_tok * per_tok * 2 + 256.0 * m->vocab * 4 * 4;
}

/* CUDA context and libraries beyond torch; collectives when there is more than one rank. Fitted on
 * three recorded vLLM 0.15.1 runs on H100 (see README.md). */
static double runtime_bytes(uint32_t tp)
{
    return (tp > 1 ? 0.65 : 0.20) * GIB;
}

int gpu_kv_tokens(const struct gpu_profile *g, const struct llm_shape *m, uint32_t tp, double util,
                  uint32_t max_batched_tok, uint32_t block_tok, int64_t *ret_tok, struct err *e)
{
    return gpu_kv_tokens_beside(g, m, llm_weight_bytes(m), tp, util, max_batched_tok, block_tok, ret_tok, e);
}

int gpu_kv_tokens_beside(const struct gpu_profile *g, const struct llm_shape *m, double weight_bytes, uint32_t tp,
                         double util, uint32_t max_batched_tok, uint32_t block_tok, int64_t *ret_tok, struct err *e)
{
    if (tp == 0 || block_tok == 0 || !(util > 0 && util <= 1)) {
        return err_set(e, SIM_E_CONFIG,
                       "KV pool: tensor-parallel degree and block size must be at least 1 and memory "
                       "utilisation in (0, 1]: got %u, %u, %g", tp, block_tok, util);
    }
    double weights = weight_bytes / tp;
    double other = activation_bytes(m, tp, max_batched_tok) + runtime_bytes(tp);
    double left = ceil(g->mem_bytes * util) - weights - other;
    double block = llm_kv_bytes_per_tok_rank(m, tp) * block_tok;
    if (left < block) {
        return err_set(e, SIM_E_CONFIG,
                       "%s in %s does not fit on %u x %s: %.2f GiB of weights and %.2f GiB of "
                       "activations and runtime per GPU leave %.2f GiB of %.2f GiB (%.0f %% of the "
                       "memory), one KV block needs %.4f GiB",
                       m->name, dtype_name(m->weight_dtype), tp, g->name, weights / GIB, other / GIB,
                       left / GIB, g->mem_bytes * util / GIB, util * 100, block / GIB);
    }
    *ret_tok = (int64_t)floor(left / block) * block_tok;
    return 0;
}
