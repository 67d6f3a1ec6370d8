/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/gemm.cuh"

#include <cuda_fp16.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <vector>

#include "calibrate/probe/small.cuh"

/* ---- plans ---- */

static cudaDataType_t data_type(enum gemm_type t)
{
    return t == GEMM_BF16 ? CUDA_R_16BF : t == GEMM_FP16 ? CUDA_R_16F : CUDA_R_8F_E4M3;
}

static int make_layouts(enum gemm_type type, int64_t m, int64_t n, int64_t k, struct gemm_plan *p, struct err *e)
{
    cublasOperation_t transposed = CUBLAS_OP_T;
    cudaDataType_t in = data_type(type), out = type == GEMM_FP16 ? CUDA_R_16F : CUDA_R_16BF;

    /* Row-major Y is column-major Y^T = W X^T. */
    CUBLAS_TRY(e, cublasLtMatmulDescCreate(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CUBLAS_TRY(e, cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
    if (type == GEMM_FP8) {
        int8_t fast = 1; /* as vLLM and PyTorch's scaled products have it */

        CUBLAS_TRY(e, cublasLtMatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof(fast)));
    }
    CUBLAS_TRY(e, cublasLtMatrixLayoutCreate(&p->w, in, (uint64_t)k, (uint64_t)n, k));
    CUBLAS_TRY(e, cublasLtMatrixLayoutCreate(&p->x, in, (uint64_t)k, (uint64_t)m, k));
    CUBLAS_TRY(e, cublasLtMatrixLayoutCreate(&p->y, out, (uint64_t)n, (uint64_t)m, n));
    return 0;
}

int gemm_plan_make(struct gpu *g, enum gemm_type type, int64_t m, int64_t n, int64_t k, struct gemm_plan *ret,
                   struct err *e)
{
    cublasLtMatmulPreference_t pref;
    cublasLtMatmulHeuristicResult_t found;
    cublasStatus_t r;
    int n_found = 0;

    memset(ret, 0, sizeof(*ret));
    TRY(make_layouts(type, m, n, k, ret, e));
    CUBLAS_TRY(e, cublasLtMatmulPreferenceCreate(&pref));
    r = cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &g->workspace_size,
                                             sizeof(g->workspace_size));
    if (r == CUBLAS_STATUS_SUCCESS) {
        r = cublasLtMatmulAlgoGetHeuristic(g->lt, ret->desc, ret->w, ret->x, ret->y, ret->y, pref, 1, &found, &n_found);
    }
    cublasLtMatmulPreferenceDestroy(pref);
    if (r == CUBLAS_STATUS_NOT_SUPPORTED || (r == CUBLAS_STATUS_SUCCESS && n_found == 0)) {
        return CASE_SKIP;
    }
    CUBLAS_TRY(e, r);
    ret->algo = found.algo;
    ret->workspace = found.workspaceSize;
    return 0;
}

void gemm_plan_release(struct gemm_plan *p)
{
    if (p->y) {
        cublasLtMatrixLayoutDestroy(p->y);
    }
    if (p->x) {
        cublasLtMatrixLayoutDestroy(p->x);
    }
    if (p->w) {
        cublasLtMatrixLayoutDestroy(p->w);
    }
    if (p->desc) {
        cublasLtMatmulDescDestroy(p->desc);
    }
    memset(p, 0, sizeof(*p));
}

int gemm_run(struct gpu *g, const struct gemm_plan *p, const void *w, const void *x, void *y, void *workspace,
             cudaStream_t s, struct err *e)
{
    const float one = 1.0f, zero = 0.0f;

    CUBLAS_TRY(e, cublasLtMatmul(g->lt, p->desc, &one, w, p->w, x, p->x, &zero, y, p->y, y, p->y, &p->algo, workspace,
                                 p->workspace, s));
    return 0;
}

/* ---- data and reference ---- */

KERNEL void __launch_bounds__(SMALL_THREADS) fill_fp16(__half *to, int64_t n, uint64_t seed, float scale)
{
    for (int64_t i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * SMALL_THREADS) {
        to[i] = __float2half(rough_normal(seed, (uint64_t)i, scale));
    }
}

/* e4m3 with exponents of 2^-3 to 2^0, any sign and mantissa. */
KERNEL void __launch_bounds__(SMALL_THREADS) fill_fp8(uint8_t *to, int64_t n, uint64_t seed)
{
    for (int64_t i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * SMALL_THREADS) {
        uint64_t h = mixed(seed + (uint64_t)i * 0x9e3779b97f4a7c15ull);

        to[i] = (uint8_t)((h & 0x87) | (4 + (h >> 8 & 3)) << 3);
    }
}

static __device__ double element(const void *p, int64_t i, int type)
{
    if (type == GEMM_BF16) {
        return (double)bf16_value(((const bf16 *)p)[i]);
    }
    if (type == GEMM_FP16) {
        return (double)__half2float(((const __half *)p)[i]);
    }
    int b = ((const uint8_t *)p)[i], exponent = b >> 3 & 15, mantissa = b & 7;
    double v = exponent ? ldexp(1.0 + mantissa / 8.0, exponent - 7) : ldexp(mantissa / 8.0, -6);

    return b & 0x80 ? -v : v;
}

/* Rows and columns of the places that are compared: first and last ones, others at random. */
static __device__ int64_t place_of(int i, int n_places, uint64_t salt, int64_t size)
{
    return i == 0 ? 0 : i == n_places - 1 ? size - 1 : (int64_t)(mixed(salt + (uint64_t)i) % (uint64_t)size);
}

/* One warp for each place: got, wanted. */
KERNEL void __launch_bounds__(32) compare_places(const void *w, const void *x, const void *y, int type, int64_t m,
                                                 int64_t n, int64_t k, double *got, double *want)
{
    int i = (int)blockIdx.x, places = (int)gridDim.x;
    int64_t row = place_of(i, places, 11, m), col = place_of(i, places, 13, n);
    double sum = 0;

    for (int64_t j = threadIdx.x; j < k; j += 32) {
        sum += element(x, row * k + j, type) * element(w, col * k + j, type);
    }
    for (int mask = 16; mask > 0; mask >>= 1) {
        sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    }
    if (threadIdx.x == 0) {
        got[i] = element(y, row * n + col, type == GEMM_FP16 ? GEMM_FP16 : GEMM_BF16);
        want[i] = sum;
    }
}

static int fill(struct gpu *g, void *to, int64_t n, enum gemm_type type, uint64_t seed, float scale, struct err *e)
{
    unsigned blocks = (unsigned)g->prop.multiProcessorCount * 8;

    if (type == GEMM_BF16) {
        return fill_random(g, to, (size_t)n, seed, scale, e);
    }
    if (type == GEMM_FP16) {
        fill_fp16<<<blocks, SMALL_THREADS, 0, g->stream>>>((__half *)to, n, seed, scale);
    } else {
        fill_fp8<<<blocks, SMALL_THREADS, 0, g->stream>>>((uint8_t *)to, n, seed);
    }
    CUDA_TRY(e, cudaGetLastError());
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    return 0;
}

#define PLACES 512

static int check_product(struct gpu *g, const void *w, const void *x, const void *y, enum gemm_type type, int64_t m,
                         int64_t n, int64_t k, struct measurement *ret, struct err *e)
{
    double *pairs = slab_array<double>(g, 2 * PLACES), host[2 * PLACES];

    if (!pairs) {
        return slab_lack(g, ret);
    }
    compare_places<<<PLACES, 32, 0, g->stream>>>(w, x, y, type, m, n, k, pairs, pairs + PLACES);
    CUDA_TRY(e, cudaGetLastError());
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(download(host, pairs, sizeof(host), e));
    return check_error(ret, stats_rel_error(host, host + PLACES, PLACES), type == GEMM_FP8 ? 2e-2 : 6e-3);
}

/* ---- one product ---- */

static enum gemm_type type_of(const struct probe_case *c)
{
    const char *name = case_word(c, "dtype");

    return strcmp(name, "fp8") == 0 ? GEMM_FP8 : strcmp(name, "fp16") == 0 ? GEMM_FP16 : GEMM_BF16;
}

static int time_product(struct gpu *g, const struct probe_case *c, const struct gemm_plan *p, struct measurement *ret,
                        struct err *e)
{
    enum gemm_type type = type_of(c);
    int64_t m = case_int(c, "m"), n = case_int(c, "n"), k = case_int(c, "k");
    size_t each = gemm_bytes(type), w_bytes = (size_t)(n * k) * each, x_bytes = (size_t)(m * k) * each;
    size_t y_bytes = (size_t)(m * n) * 2, stride = (w_bytes + x_bytes + 511) / 256 * 256;
    char *y = slab_array<char>(g, y_bytes), *sets;
    int n_sets = sets_for(g, stride, slab_room(g) > 1 << 20 ? slab_room(g) - (1 << 20) : 0);

    sets = slab_array<char>(g, stride * (size_t)n_sets);
    if (!y || !sets) {
        return slab_lack(g, ret);
    }
    for (int s = 0; s < n_sets; s++) {
        TRY(fill(g, sets + s * stride, n * k, type, case_seed(c) + (uint64_t)s, 1.0f / sqrtf((float)k), e));
        TRY(fill(g, sets + s * stride + (w_bytes + 255) / 256 * 256, m * k, type, case_seed(c) + 1000 + (uint64_t)s, 1.0f,
                 e));
    }
    auto call = [&](int s, cudaStream_t stream, struct err *err) {
        const char *w = sets + s * stride;

        return gemm_run(g, p, w, w + (w_bytes + 255) / 256 * 256, y, g->workspace, stream, err);
    };
    CUDA_TRY(e, cudaMemsetAsync(y, 0xff, y_bytes, g->stream));
    TRY(call(0, g->stream, e));
    TRY(check_product(g, sets, sets + (w_bytes + 255) / 256 * 256, y, type, m, n, k, ret, e));
    ret->flop = 2.0 * (double)m * (double)n * (double)k;
    ret->byte = (double)(w_bytes + x_bytes + y_bytes);
    return bench_graph(g, n_sets, call, ret, e);
}

int run_gemm(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct gemm_plan p = {};
    enum gemm_type type = type_of(c);
    int rc;

    if (type == GEMM_FP8 && g->prop.major * 10 + g->prop.minor < 89) {
        return case_skip(m, "the chip has no fp8 products");
    }
    rc = gemm_plan_make(g, type, case_int(c, "m"), case_int(c, "n"), case_int(c, "k"), &p, e);
    if (rc == CASE_SKIP) {
        case_skip(m, "cuBLASLt has no algorithm for it on this chip");
    } else if (rc == 0) {
        rc = time_product(g, c, &p, m, e);
    }
    gemm_plan_release(&p);
    return rc;
}

/* ---- experts ---- */

struct experts {
    int n; /* with rows */
    std::vector<int> rows;
    std::vector<int64_t> first_row; /* of each expert's rows */
    std::vector<int> who;
};

static struct experts share_out(const struct probe_case *c)
{
    int all = (int)case_int(c, "experts");
    std::vector<int64_t> rows((size_t)all);
    struct experts x = {};
    int64_t at = 0;

    split_skewed(case_int(c, "m") * case_int(c, "top_k"), all, case_int(c, "skew"), rows.data());
    for (int i = 0; i < all; i++) {
        if (rows[(size_t)i] > 0) {
            x.rows.push_back((int)rows[(size_t)i]);
            x.first_row.push_back(at);
            x.who.push_back(i);
            at += rows[(size_t)i];
        }
    }
    x.n = (int)x.rows.size();
    return x;
}

struct grouped {
    std::vector<cublasOperation_t> t, no;
    std::vector<int> n, rows, k, one;
    std::vector<float> alpha, beta;
    std::vector<const void **> w, x; /* on the device, by set */
    std::vector<void **> y;
};

static struct grouped group_up(const struct experts &x, int n, int k)
{
    size_t g = (size_t)x.n;
    struct grouped r;

    r.t.assign(g, CUBLAS_OP_T);
    r.no.assign(g, CUBLAS_OP_N);
    r.n.assign(g, n);
    r.k.assign(g, k);
    r.rows = x.rows;
    r.one.assign(g, 1);
    r.alpha.assign(g, 1.0f);
    r.beta.assign(g, 0.0f);
    return r;
}

/* Pointers of one set of weights: all experts' weights side by side from `w` on. */
static int add_set(struct gpu *g, struct grouped *r, const struct experts &x, const bf16 *w, const bf16 *in, bf16 *out,
                   int64_t n, int64_t k, struct err *e)
{
    std::vector<const void *> host;
    const void **dev = slab_array<const void *>(g, 3 * (size_t)x.n);

    if (!dev) {
        return CASE_SKIP;
    }
    for (int i = 0; i < x.n; i++) {
        host.push_back(w + (int64_t)x.who[(size_t)i] * n * k);
    }
    for (int i = 0; i < x.n; i++) {
        host.push_back(in + x.first_row[(size_t)i] * k);
    }
    for (int i = 0; i < x.n; i++) {
        host.push_back(out + x.first_row[(size_t)i] * n);
    }
    TRY(upload(dev, host.data(), host.size() * sizeof(void *), e));
    r->w.push_back(dev);
    r->x.push_back(dev + x.n);
    r->y.push_back((void **)(dev + 2 * x.n));
    return 0;
}

static cublasStatus_t run_grouped(struct gpu *g, const struct grouped &r, int set, cudaStream_t s)
{
#if CUBLAS_VERSION >= 120500
    size_t i = (size_t)set;
    cublasStatus_t status = cublasSetStream(g->blas, s);

    if (status == CUBLAS_STATUS_SUCCESS) {
        status = cublasSetWorkspace(g->blas, g->workspace, g->workspace_size); /* setting a stream resets it */
    }
    if (status != CUBLAS_STATUS_SUCCESS) {
        return status;
    }
    return cublasGemmGroupedBatchedEx(g->blas, r.t.data(), r.no.data(), r.n.data(), r.rows.data(), r.k.data(),
                                      r.alpha.data(), r.w[i], CUDA_R_16BF, r.k.data(), r.x[i], CUDA_R_16BF, r.k.data(),
                                      r.beta.data(), r.y[i], CUDA_R_16BF, r.n.data(), (int)r.n.size(), r.one.data(),
                                      CUBLAS_COMPUTE_32F);
#else
    (void)g, (void)r, (void)set, (void)s;
    return CUBLAS_STATUS_NOT_SUPPORTED;
#endif
}

static int time_experts(struct gpu *g, const struct probe_case *c, const struct experts &x, struct measurement *m,
                        struct err *e)
{
    int64_t n = case_int(c, "n"), k = case_int(c, "k"), rows = case_int(c, "m") * case_int(c, "top_k");
    size_t w_count = (size_t)(case_int(c, "experts") * n * k);
    bf16 *in = slab_array<bf16>(g, (size_t)(rows * k)), *out = slab_array<bf16>(g, (size_t)(rows * n)), *w;
    size_t room = slab_room(g) > (size_t)64 << 20 ? slab_room(g) - ((size_t)64 << 20) : 0;
    int sets = sets_for(g, (size_t)x.n * (size_t)(n * k) * 2, room / (w_count * 2) * (size_t)x.n * (size_t)(n * k) * 2);
    struct grouped r = group_up(x, (int)n, (int)k);

    w = slab_array<bf16>(g, w_count * (size_t)sets);
    if (!in || !out || !w) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, in, (size_t)(rows * k), case_seed(c), 1.0f, e));
    TRY(fill_random(g, w, w_count * (size_t)sets, case_seed(c) + 1, 1.0f / sqrtf((float)k), e));
    for (int s = 0; s < sets; s++) {
        int rc = add_set(g, &r, x, w + (size_t)s * w_count, in, out, n, k, e);

        if (rc != 0) {
            return rc == CASE_SKIP ? slab_lack(g, m) : rc;
        }
    }
    auto call = [&](int s, cudaStream_t stream, struct err *err) {
        CUBLAS_TRY(err, run_grouped(g, r, s, stream));
        return 0;
    };
    CUDA_TRY(e, cudaMemsetAsync(out, 0xff, (size_t)(rows * n) * 2, g->stream));
    if (run_grouped(g, r, 0, g->stream) != CUBLAS_STATUS_SUCCESS) {
        return case_skip(m, "cuBLAS has no grouped product of this type here");
    }
    for (int i = 0; i < x.n; i += x.n > 1 ? x.n - 1 : 1) { /* the first and the last expert */
        size_t mark = g->slab_used;

        TRY(check_product(g, w + (size_t)x.who[(size_t)i] * (size_t)(n * k), in + x.first_row[(size_t)i] * k,
                          out + x.first_row[(size_t)i] * n, GEMM_BF16, x.rows[(size_t)i], n, k, m, e));
        g->slab_used = mark;
    }
    m->kernel = "cublasGemmGroupedBatchedEx";
    m->active = x.n;
    m->flop = 2.0 * (double)rows * (double)n * (double)k;
    m->byte = ((double)x.n * (double)n * (double)k + (double)rows * (double)(n + k)) * 2;
    /* Not in a graph: the call copies its lists of sizes, which a graph would not do again. */
    return bench_stream(g, sets, call, m, e);
}

int run_moe(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    return time_experts(g, c, share_out(c), m, e);
}
