/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of a linear layer, Y[m,n] = X[m,k] W[n,k]^T, by cuBLASLt. */
#ifndef STEELYARD_PROBE_GEMM_CUH
#define STEELYARD_PROBE_GEMM_CUH

#include "calibrate/probe/gpu.cuh"

enum gemm_type { GEMM_BF16, GEMM_FP16, GEMM_FP8 };

struct gemm_plan {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
};

/* CASE_SKIP when the library has nothing for this shape and type on this chip. A plan that was made, or
 * failed, is to be released. `m`, n, k >= 1. */
int gemm_plan_make(struct gpu *g, enum gemm_type type, int64_t m, int64_t n, int64_t k, struct gemm_plan *ret,
                   struct err *e);
void gemm_plan_release(struct gemm_plan *p);
/* Uses the device's one workspace: products on two streams at once need `workspace` each. */
int gemm_run(struct gpu *g, const struct gemm_plan *p, const void *w, const void *x, void *y, void *workspace,
             cudaStream_t s, struct err *e);

static inline size_t gemm_bytes(enum gemm_type type)
{
    return type == GEMM_FP8 ? 1 : 2;
}

#endif
