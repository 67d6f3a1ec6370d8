/* SPDX-License-Identifier: Apache-2.0
 *
 * The device under test, its memory, and the stop-watch. */
#ifndef STEELYARD_PROBE_GPU_CUH
#define STEELYARD_PROBE_GPU_CUH

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <functional>

#include "calibrate/probe/c_begin.h"
#include "sim/core/err.h"
#include "calibrate/probe/c_end.h"

#include "calibrate/probe/lane.cuh"
#include "calibrate/probe/store.h"

/* What running a case came to; < 0 is an error that ends the program. */
enum { CASE_DONE = 0, CASE_SKIP = 1, CASE_BAD = 2 };

#define PROBE_EXIT_NO_GPU 6

struct gpu {
    int index;
    cudaDeviceProp prop;
    cudaStream_t stream, side; /* side: what runs beside */
    char *slab;                /* device memory that the cases share, one after the other */
    size_t slab_size, slab_used;
    bool slab_short;           /* something did not fit since slab_reset */
    cublasLtHandle_t lt;
    cublasHandle_t blas;
    void *workspace;
    size_t workspace_size;
    size_t l2;
    bool quick;
    struct nvml *nvml;         /* NULL = not there */
};

/* Records "WHAT: cudaErrorName" and returns SIM_E_CHECK. */
int cuda_failed(struct err *e, cudaError_t r, const char *what, const char *file, int line);
int cublas_failed(struct err *e, cublasStatus_t r, const char *what, const char *file, int line);

#define CUDA_TRY(e, call)                                                                          \
    do {                                                                                           \
        cudaError_t result_ = (call);                                                              \
        if (result_ != cudaSuccess) {                                                              \
            return cuda_failed(e, result_, #call, __FILE__, __LINE__);                             \
        }                                                                                          \
    } while (0)

#define CUBLAS_TRY(e, call)                                                                        \
    do {                                                                                           \
        cublasStatus_t result_ = (call);                                                           \
        if (result_ != CUBLAS_STATUS_SUCCESS) {                                                    \
            return cublas_failed(e, result_, #call, __FILE__, __LINE__);                           \
        }                                                                                          \
    } while (0)

#define TRY(call)                                                                                  \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != 0) {                                                                          \
            return code_;                                                                          \
        }                                                                                          \
    } while (0)

/* 0; SIM_E_CHECK; or PROBE_EXIT_NO_GPU (positive) with a message when there is no usable one. */
int gpu_open(struct gpu *g, int index, bool quick, bool all_memory, struct err *e);
void gpu_close(struct gpu *g);
/* "device" and "host" for the head of the file. */
int gpu_describe(const struct gpu *g, struct json_out *o, struct err *e);
const char *gpu_uuid(const struct gpu *g, char buf[48]);
int gpu_count(void);
/* Clock, power and temperature now; zeros where NVML does not tell. */
void gpu_state(const struct gpu *g, struct measurement *m);

/* ---- memory of a case ---- */
/* Takes from the slab, 256-byte aligned; NULL when it is used up (the case then ends with slab_lack). */
void *slab_take(struct gpu *g, size_t bytes);
template <class T>
T *slab_array(struct gpu *g, size_t n)
{
    return (T *)slab_take(g, n * sizeof(T));
}
static inline void slab_reset(struct gpu *g)
{
    g->slab_used = 0;
    g->slab_short = false;
}
/* CASE_SKIP with the reason. */
int slab_lack(const struct gpu *g, struct measurement *m);
int case_skip(struct measurement *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int case_bad(struct measurement *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets of operands of `bytes` each, so that together they exceed three times the L2 cache; 1..64 and no
 * more than fit into `room` bytes. */
int sets_for(const struct gpu *g, size_t bytes, size_t room);
static inline size_t slab_room(const struct gpu *g)
{
    return g->slab_size - g->slab_used;
}
int upload(void *to, const void *from, size_t bytes, struct err *e);
int download(void *to, const void *from, size_t bytes, struct err *e);
/* n bf16 numbers, about normal with this deviation. */
int fill_random(struct gpu *g, void *to, size_t n, uint64_t seed, float scale, struct err *e);

/* ---- time ---- */
/* Queues one call on operand set `set`. */
typedef std::function<int(int set, cudaStream_t s, struct err *e)> bench_call;

/* Samples of a call, through a CUDA graph of several (README.md, "How it measures"). Where it cannot be
 * captured, calls are queued one by one. */
int bench_graph(struct gpu *g, int sets, const bench_call &call, struct measurement *m, struct err *e);
/* Without a graph. */
int bench_stream(struct gpu *g, int sets, const bench_call &call, struct measurement *m, struct err *e);
/* By the host's clock: from before the call to after the stream is idle. */
int bench_host(struct gpu *g, const bench_call &call, struct measurement *m, struct err *e);
/* One quick look: median seconds of a call over a few runs. */
int bench_glance(struct gpu *g, const bench_call &call, double *ret_s, struct err *e);
double now_s(void);

/* Compares with the limit; notes the error in m. CASE_DONE or CASE_BAD. */
int check_error(struct measurement *m, double rel_error, double limit);

/* ---- the cases, one file per family ---- */
typedef int case_run(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e);
case_run run_limit, run_gemm, run_moe, run_launch, run_memory, run_prefill, run_decode, run_mixed, run_norm, run_rope,
    run_act, run_embed, run_argmax, run_topk, run_pcie, run_blocks, run_experts, run_peer, run_collective, run_share,
    run_beside;

#endif
