/* SPDX-License-Identifier: Apache-2.0
 *
 * A GPU as its datasheet describes it (models/gpus/NAME.json, each figure with its source). */
#ifndef STEELYARD_GPU_H
#define STEELYARD_GPU_H

#include "models/llm.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"

struct gpu_profile {
    const char *name;       /* "a100-80g" */
    const char *full_name;  /* "NVIDIA A100 80GB SXM" */
    const char *provenance; /* sources of the figures */
    double mem_bytes;       /* as cudaMemGetInfo reports it: below nvidia-smi and the nameplate */
    double hbm_bytes_per_s;
    double flops_fp16, flops_fp8, flops_int8, flops_fp4, flops_fp32; /* dense, per second; 0 = none */
    uint32_t sms;
    double l2_bytes;
    double nvlink_bytes_per_s; /* per direction, total; 0 = none */
    uint32_t pcie_gen, pcie_lanes;
    double tdp_w;
    /* What its kernels reach of the peak, where that was published: matrix products, attention, weights read, KV read; 0 =
     * not known. */
    double share_gemm, share_attn, share_mem, share_kv;
};

/* `name` as for llm_load: a path or a bundled name, any case, nearest one in errors. */
int gpu_load(struct gpu_profile *ret, const char *name, const char *data_dir, struct arena *a,
             struct err *e);

/* The text of a profile; `file` is used in messages and, without its path, as the name. */
int gpu_parse(struct gpu_profile *ret, const char *text, size_t len, const char *file,
              struct arena *a, struct err *e);

/* Dense peak for a weight dtype; falls back to fp16 where the chip has no such unit. */
double gpu_flops(const struct gpu_profile *g, enum dtype d);

/* vLLM's rule for the size of the KV pool: memory*utilisation - weights/tp - activations of a step of
 * max_batched_tok tokens - runtime, in tokens of KV over the whole tensor-parallel group; block-rounded
 * down. Within 2 % of the block counts that vLLM 0.15 logs; a logged number is better where there is
 * one. SIM_E_CONFIG when the weights do not fit, saying by how much. */
int gpu_kv_tokens(const struct gpu_profile *g, const struct llm_shape *m, uint32_t tp, double util,
                  uint32_t max_batched_tok, uint32_t block_tok, int64_t *ret_tok, struct err *e);
/* The same when `weight_bytes` of the model, over all ranks, lie in GPU memory: experts may be elsewhere. */
int gpu_kv_tokens_beside(const struct gpu_profile *g, const struct llm_shape *m, double weight_bytes, uint32_t tp,
                         double util, uint32_t max_batched_tok, uint32_t block_tok, int64_t *ret_tok, struct err *e);

#endif
