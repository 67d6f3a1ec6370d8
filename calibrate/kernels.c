/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels by their physical shape. The shares of peak are those of the cost model `roofline`, so that
 * the comparison is with what a user has without measurements. */
#include <math.h>

#include "calibrate/fit.h"

#define SHARE_GEMM 0.8
#define SHARE_ATTN 0.5
#define SHARE_MEM  0.8
#define SHARE_KV   0.7
/* Shortest kernel inside a CUDA graph, shortest decode attention of a layer. */
#define KERNEL_S 2e-6
#define ATTN_S   10e-6

static struct kernel on_gpu(const struct fit *f, enum kernel_kind kind)
{
    return (struct kernel){
        .kind = kind,
        .wbytes = dtype_bytes(f->llm.weight_dtype),
        .flops = gpu_flops(&f->gpu, f->llm.weight_dtype) * SHARE_GEMM,
        .attn_flops = gpu_flops(&f->gpu, DTYPE_FP16) * SHARE_ATTN,
        .mem = f->gpu.hbm_bytes_per_s * SHARE_MEM,
        .kv_mem = f->gpu.hbm_bytes_per_s * SHARE_KV,
        .latency_s = KERNEL_S,
        .l2 = f->gpu.l2_bytes > 0 ? f->gpu.l2_bytes : HUGE_VAL,
    };
}

struct kernel kernel_gemm(const struct fit *f, double n, double k)
{
    struct kernel r = on_gpu(f, KERNEL_GEMM);
    r.n = n;
    r.k = k;
    return r;
}

struct kernel kernel_memory(const struct fit *f, double bytes_tok)
{
    struct kernel r = on_gpu(f, KERNEL_MEMORY);
    r.bytes_tok = bytes_tok;
    return r;
}

struct kernel kernel_attention(const struct fit *f, enum kernel_kind kind)
{
    struct kernel r = on_gpu(f, kind);
    r.kv_bytes = llm_kv_bytes_per_tok_rank(&f->llm, f->q->tp) / f->llm.layers;
    r.pair_flops = 4.0 * f->llm.heads * f->llm.head_dim / f->q->tp;
    r.latency_s = ATTN_S;
    r.qkvo_bytes = 2.0 * f->llm.heads * f->llm.head_dim * 2 / f->q->tp + r.kv_bytes;
    return r;
}

struct kernel kernel_moe(const struct fit *f)
{
    struct kernel r = on_gpu(f, KERNEL_MOE);
    r.n = f->llm.moe_ffn * (double)f->llm.ffn_matrices / f->q->tp;
    r.k = f->llm.hidden;
    r.experts = f->llm.experts;
    r.per_tok = f->llm.experts_per_tok;
    return r;
}

/* As the roofline: 0.75 of NVLink and 5 us, 0.6 of PCIe and 3.4 us per GPU; a ring. */
struct kernel kernel_link(const struct fit *f)
{
    static const double lane[] = {0, 0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9, 15.13e9};
    struct kernel r = on_gpu(f, KERNEL_LINK);
    double tp = f->q->tp;
    bool nvlink = f->gpu.nvlink_bytes_per_s > 0;
    r.link = nvlink ? 0.75 * f->gpu.nvlink_bytes_per_s : 0.6 * lane[f->gpu.pcie_gen & 7] * f->gpu.pcie_lanes;
    r.latency_s = nvlink ? 5e-6 : 3.4e-6 * tp;
    r.bytes_tok = 2 * (tp - 1) / tp * f->llm.hidden * 2;
    return r;
}

struct kernel fit_product(const struct fit *f, enum product p)
{
    const struct llm_shape *m = &f->llm;
    double tp = f->q->tp, h = m->hidden, heads = (double)m->heads * m->head_dim / tp;
    double kv = m->kv_heads >= tp ? (double)m->kv_heads * m->head_dim / tp : m->head_dim;
    double up = m->ffn_matrices - 1;
    switch (p) {
    case PRODUCT_QKV:
        return kernel_gemm(f, heads + 2 * kv, h);
    case PRODUCT_O:
        return kernel_gemm(f, h, heads);
    case PRODUCT_GATE_UP:
        return kernel_gemm(f, up * m->ffn / tp, h);
    case PRODUCT_DOWN:
        return kernel_gemm(f, h, m->ffn / tp);
    default:
        return kernel_gemm(f, m->vocab / tp, h);
    }
}

/* ---- roofline ---- */

static double gemm_s(const struct kernel *k, double m)
{
    double bytes = k->n * k->k * k->wbytes + 2 * m * (k->n + k->k);
    return fmax(fmax(2 * m * k->n * k->k / k->flops, bytes / k->mem), k->latency_s);
}

static double moe_s(const struct kernel *k, double m)
{
    double hit = k->experts * (1 - pow(1 - k->per_tok / k->experts, m));
    double bytes = hit * k->n * k->k * k->wbytes + 2 * m * k->per_tok * (2 * k->k + k->n);
    return fmax(fmax(2 * m * k->per_tok * k->n * k->k / k->flops, bytes / k->mem), 2 * k->latency_s);
}

static double decode_s(const struct kernel *k, double n, double context)
{
    double per_tok = fmax(k->kv_bytes / k->kv_mem, k->pair_flops / k->attn_flops);
    return fmax(n * context * per_tok, k->latency_s);
}

static double prefill_s(const struct kernel *k, double chunks, double tok, double before)
{
    double pairs = chunks * (tok * before + tok * (tok + 1) / 2);
    return fmax(fmax(pairs * k->pair_flops / k->attn_flops, chunks * (tok + before) * k->kv_bytes / k->kv_mem),
                k->latency_s);
}

double kernel_roofline_us(const void *kernel, const double *x)
{
    const struct kernel *k = kernel;
    double s = 0;
    switch (k->kind) {
    case KERNEL_GEMM:
        s = gemm_s(k, x[0]);
        break;
    case KERNEL_MEMORY:
        s = fmax(k->bytes_tok * x[0] / k->mem, k->latency_s);
        break;
    case KERNEL_MOE:
        s = moe_s(k, x[0]);
        break;
    case KERNEL_DECODE:
        s = decode_s(k, x[0], x[1]);
        break;
    case KERNEL_PREFILL:
        s = prefill_s(k, x[0], x[1], 0);
        break;
    case KERNEL_MIXED:
        s = fmax(decode_s(k, x[2], x[3]) + prefill_s(k, 1, x[0], x[1]), k->latency_s);
        break;
    case KERNEL_LINK:
        s = k->latency_s + k->bytes_tok * x[0] / k->link;
        break;
    }
    return 1e6 * s;
}

/* ---- trends: the same quantities as terms of a sum, coefficients free ---- */

static void linear_terms(const double *x, double *f, const void *ctx)
{
    (void)ctx;
    f[0] = 1;
    f[1] = x[0];
}

/* Experts that n tokens hit, of which each is read once. */
static void moe_terms(const double *x, double *f, const void *ctx)
{
    const struct kernel *k = ctx;
    f[0] = 1;
    f[1] = x[0];
    f[2] = k->experts * (1 - pow(1 - k->per_tok / k->experts, x[0]));
}

/* What a benchmark repeats stays in the L2 cache while it fits; the traffic beyond is slower. */
static void decode_terms(const double *x, double *f, const void *ctx)
{
    const struct kernel *k = ctx;
    f[0] = 1;
    f[1] = x[0];
    f[2] = x[0] * x[1];
    f[3] = x[0] * x[1] * k->kv_bytes > k->l2 ? x[0] * x[1] : 0;
}

static void prefill_terms(const double *x, double *f, const void *ctx)
{
    const struct kernel *k = ctx;
    f[0] = 1;
    f[1] = x[0] * x[1];
    f[2] = x[0] * x[1] * x[1];
    f[3] = x[0] * x[1] * k->qkvo_bytes > k->l2 ? x[0] * x[1] : 0;
}

static void mixed_terms(const double *x, double *f, const void *ctx)
{
    (void)ctx;
    f[0] = 1;
    f[1] = x[0];
    f[2] = x[0] * x[1];
    f[3] = x[1];
    f[4] = x[2];
    f[5] = x[2] * x[3];
}

struct trend kernel_trend(const struct kernel *k)
{
    switch (k->kind) {
    case KERNEL_MOE:
        return (struct trend){.n = 3, .terms = moe_terms, .ctx = k};
    case KERNEL_DECODE:
        return (struct trend){.n = 4, .terms = decode_terms, .ctx = k, .diagonal = true};
    case KERNEL_PREFILL:
        return (struct trend){.n = 4, .terms = prefill_terms, .ctx = k};
    case KERNEL_MIXED:
        return (struct trend){.n = 6, .terms = mixed_terms};
    default:
        return (struct trend){.n = 2, .terms = linear_terms};
    }
}
