/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention over a paged KV cache in bf16: chunked prefill (tensor cores, online softmax as in
 * FlashAttention-2, arXiv 2307.08691) and decode (each sequence's KV split over blocks, then merged, as
 * in Flash-Decoding).
 *
 * The cache is [block][token in block][KV head][HD], one array for keys and one for values; the table of
 * a sequence lists its blocks. Tokens in a block are a power of two. */
#ifndef STEELYARD_PROBE_ATTENTION_CUH
#define STEELYARD_PROBE_ATTENTION_CUH

#include "calibrate/probe/lane.cuh"

struct paged_kv {
    bf16 *k, *v;
    const int32_t *table; /* [sequence][stride] */
    int stride;
    int block_log2;
    int kv_heads;
};

struct prefill_args {
    struct paged_kv kv;
    const bf16 *q; /* [row][q_stride], heads side by side */
    int q_stride;
    bf16 *out;     /* [row][heads * HD] */
    int heads;
    /* of each chunk: first row, rows, tokens before it, row of the table */
    const int32_t *row, *n, *before, *seq;
    float scale_log2; /* softmax scale times log2(e) */
};

struct decode_args {
    struct paged_kv kv;
    const bf16 *q;
    int q_stride;
    bf16 *out;
    int heads;
    const int32_t *ctx;   /* of each sequence, its new token included; 0 = not there */
    const int32_t *split; /* one number: keys of a split, a multiple of 64 */
    int n_split;
    float *part;          /* [sequence][KV head][split][group][HD + 2]: sums, maximum, denominator */
    float scale_log2;
};

#define NEG_INF (-1.0f / 0.0f)

__device__ __forceinline__ int64_t kv_row(const struct paged_kv &kv, const int32_t *table, int tok)
{
    return ((int64_t)table[tok >> kv.block_log2] << kv.block_log2) + (tok & ((1 << kv.block_log2) - 1));
}

/* Place of a 16-byte piece in a tile of HD columns: pieces of 8 neighbouring rows fall into different
 * banks. */
template <int HD>
__device__ __forceinline__ bf16 *piece_at(bf16 *tile, int row, int piece)
{
    return tile + row * HD + ((piece ^ (row & 7)) << 3);
}

__device__ __forceinline__ float quad_max(float v)
{
    v = fmaxf(v, lane_xor(v, 1));
    return fmaxf(v, lane_xor(v, 2));
}

__device__ __forceinline__ float quad_sum(float v)
{
    v += lane_xor(v, 1);
    return v + lane_xor(v, 2);
}

/* ---- prefill ---- */

#define PREFILL_THREADS 128
#define PREFILL_KEYS    64

template <int HD, int MT>
struct prefill_shape {
    static constexpr int rows = 64 * MT; /* of queries, a block */
    static constexpr int shared_bytes = (rows + 2 * PREFILL_KEYS) * HD * 2;
};

template <int HD>
__device__ __forceinline__ void load_keys(bf16 *tile, const bf16 *cache, const struct paged_kv &kv,
                                          const int32_t *table, int head, int first, int end)
{
    constexpr int pieces = HD / 8;

#pragma unroll
    for (int i = 0; i < PREFILL_KEYS * pieces / PREFILL_THREADS; i++) {
        int at = (int)threadIdx.x + i * PREFILL_THREADS, row = at / pieces, piece = at % pieces;
        bool valid = first + row < end;
        const bf16 *from = cache;

        if (valid) {
            from += (kv_row(kv, table, first + row) * kv.kv_heads + head) * HD + piece * 8;
        }
        copy_async16(piece_at<HD>(tile, row, piece), from, valid);
    }
}

/* Softmax of one row's scores of this tile: new maximum, scores -> weights, and the factor that what was
 * summed up so far has to be multiplied with. */
template <int NT>
__device__ __forceinline__ float renew(float s[NT][4], int half, float &m, float &l, float scale_log2)
{
    float top = NEG_INF, use, sum = 0.0f, factor;

#pragma unroll
    for (int n = 0; n < NT; n++) {
        top = fmaxf(top, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
    }
    top = fmaxf(m, quad_max(top) * scale_log2);
    use = top == NEG_INF ? 0.0f : top; /* nothing seen yet */
    factor = fast_exp2(m - use);
#pragma unroll
    for (int n = 0; n < NT; n++) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; i++) {
            s[n][i] = fast_exp2(s[n][i] * scale_log2 - use);
            sum += s[n][i];
        }
    }
    m = top;
    l = l * factor + sum;
    return factor;
}

/* Grid: (tiles of the longest chunk, heads, chunks). */
template <int HD, int MT>
__global__ void __launch_bounds__(PREFILL_THREADS) prefill_attention(const struct prefill_args a)
{
    constexpr int NT = PREFILL_KEYS / 8, DT = HD / 8;
    DYNAMIC_SHARED(raw);
    bf16 *sq = (bf16 *)raw, *sk = sq + prefill_shape<HD, MT>::rows * HD, *sv = sk + PREFILL_KEYS * HD;
    /* The last tile has the most keys: it goes first. */
    int chunk = (int)blockIdx.z, head = (int)blockIdx.y;
    int n_row = a.n[chunk], before = a.before[chunk];
    int first_row = ((int)gridDim.x - 1 - (int)blockIdx.x) * prefill_shape<HD, MT>::rows;
    int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    int kv_head = head / (a.heads / a.kv.kv_heads);
    const int32_t *table = a.kv.table + (int64_t)a.seq[chunk] * a.kv.stride;
    int my_row = first_row + warp * 16 * MT; /* of this warp, within the chunk */
    float o[MT][DT][4] = {}, m[MT][2], l[MT][2] = {};
    int last_row, end, tiles;

    if (first_row >= n_row) {
        return;
    }
    last_row = first_row + prefill_shape<HD, MT>::rows < n_row ? first_row + prefill_shape<HD, MT>::rows
                                                               : n_row;
    end = before + last_row;
    tiles = (end + PREFILL_KEYS - 1) / PREFILL_KEYS;
#pragma unroll
    for (int t = 0; t < MT; t++) {
        m[t][0] = m[t][1] = NEG_INF;
    }
    for (int at = (int)threadIdx.x; at < prefill_shape<HD, MT>::rows * (HD / 8); at += PREFILL_THREADS) {
        int row = at / (HD / 8), piece = at % (HD / 8);
        bool valid = first_row + row < n_row;
        int64_t from = valid ? (int64_t)(a.row[chunk] + first_row + row) * a.q_stride + head * HD + piece * 8 : 0;

        copy_async16(piece_at<HD>(sq, row, piece), a.q + from, valid);
    }
    load_keys<HD>(sk, a.kv.k, a.kv, table, kv_head, 0, end);
    copy_async_commit();

    for (int j = 0; j < tiles; j++) {
        float s[MT][NT][4] = {};

        copy_async_wait<0>();
        __syncthreads(); /* keys are here; nobody reads the values of the tile before */
        load_keys<HD>(sv, a.kv.v, a.kv, table, kv_head, j * PREFILL_KEYS, end);
        copy_async_commit();
#pragma unroll
        for (int kk = 0; kk < HD / 16; kk++) {
            uint32_t qa[MT][4];

#pragma unroll
            for (int t = 0; t < MT; t++) {
                load_matrix4<false>(qa[t], piece_at<HD>(sq, warp * 16 * MT + t * 16 + (lane & 15),
                                                        2 * kk + (lane >> 4)));
            }
#pragma unroll
            for (int n = 0; n < NT; n += 2) {
                uint32_t b[4];

                load_matrix4<false>(b, piece_at<HD>(sk, n * 8 + (lane >> 4) * 8 + (lane & 7),
                                                    2 * kk + ((lane >> 3) & 1)));
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    mma_bf16(s[t][n], qa[t], b[0], b[1]);
                    mma_bf16(s[t][n + 1], qa[t], b[2], b[3]);
                }
            }
        }
        copy_async_wait<0>();
        __syncthreads(); /* values are here; nobody reads the keys any more */
        if (j + 1 < tiles) {
            load_keys<HD>(sk, a.kv.k, a.kv, table, kv_head, (j + 1) * PREFILL_KEYS, end);
            copy_async_commit();
        }
        if ((j + 1) * PREFILL_KEYS - 1 > before + my_row) { /* the diagonal passes through */
#pragma unroll
            for (int t = 0; t < MT; t++) {
#pragma unroll
                for (int n = 0; n < NT; n++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        int key = j * PREFILL_KEYS + n * 8 + 2 * (lane & 3) + (i & 1);
                        int row = my_row + t * 16 + (lane >> 2) + (i >> 1) * 8;

                        s[t][n][i] = key > before + row ? NEG_INF : s[t][n][i];
                    }
                }
            }
        }
#pragma unroll
        for (int t = 0; t < MT; t++) {
            float f0 = renew<NT>(s[t], 0, m[t][0], l[t][0], a.scale_log2);
            float f1 = renew<NT>(s[t], 1, m[t][1], l[t][1], a.scale_log2);

#pragma unroll
            for (int d = 0; d < DT; d++) {
                o[t][d][0] *= f0;
                o[t][d][1] *= f0;
                o[t][d][2] *= f1;
                o[t][d][3] *= f1;
            }
        }
#pragma unroll
        for (int kk = 0; kk < PREFILL_KEYS / 16; kk++) {
            uint32_t p[MT][4];

#pragma unroll
            for (int t = 0; t < MT; t++) {
                p[t][0] = pack_bf16(s[t][2 * kk][0], s[t][2 * kk][1]);
                p[t][1] = pack_bf16(s[t][2 * kk][2], s[t][2 * kk][3]);
                p[t][2] = pack_bf16(s[t][2 * kk + 1][0], s[t][2 * kk + 1][1]);
                p[t][3] = pack_bf16(s[t][2 * kk + 1][2], s[t][2 * kk + 1][3]);
            }
#pragma unroll
            for (int d = 0; d < DT; d += 2) {
                uint32_t b[4];

                load_matrix4<true>(b, piece_at<HD>(sv, kk * 16 + ((lane >> 3) & 1) * 8 + (lane & 7),
                                                   d + (lane >> 4)));
#pragma unroll
                for (int t = 0; t < MT; t++) {
                    mma_bf16(o[t][d], p[t], b[0], b[1]);
                    mma_bf16(o[t][d + 1], p[t], b[2], b[3]);
                }
            }
        }
    }

#pragma unroll
    for (int t = 0; t < MT; t++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = my_row + t * 16 + (lane >> 2) + half * 8;
            float scale = 1.0f / quad_sum(l[t][half]);
            bf16 *to = a.out + ((int64_t)(a.row[chunk] + row) * a.heads + head) * HD + 2 * (lane & 3);

#pragma unroll
            for (int d = 0; d < DT; d++) {
                if (row < n_row) {
                    *(uint32_t *)(to + d * 8) = pack_bf16(o[t][d][2 * half] * scale,
                                                          o[t][d][2 * half + 1] * scale);
                }
            }
        }
    }
}

/* ---- decode ---- */

#define DECODE_WARPS   4
#define DECODE_THREADS (32 * DECODE_WARPS)
#define DECODE_KEYS    16 /* of a warp at a time */
#define DECODE_STAGES  2
#define DECODE_ROWS    16 /* query heads of a KV head, padded */

template <int HD>
struct decode_shape {
    static constexpr int stage = 2 * DECODE_KEYS * HD; /* elements: keys and values */
    static constexpr int shared_bytes = DECODE_WARPS * DECODE_STAGES * stage * 2;
    static_assert(shared_bytes >= DECODE_WARPS * DECODE_ROWS * (HD + 2) * 4 || HD < 64,
                  "the warps' sums use the same memory");
};

/* The warp's 16 keys from `first` on. */
template <int HD>
__device__ __forceinline__ void load_stage(bf16 *stage, const struct paged_kv &kv, const int32_t *table,
                                           int head, int first, int end, int lane)
{
    constexpr int pieces = HD / 8;

#pragma unroll
    for (int i = 0; i < DECODE_KEYS * pieces / 32; i++) {
        int at = lane + i * 32, row = at / pieces, piece = at % pieces;
        bool valid = first + row < end;
        int64_t from = 0;

        if (valid) {
            from = (kv_row(kv, table, first + row) * kv.kv_heads + head) * HD + piece * 8;
        }
        copy_async16(piece_at<HD>(stage, row, piece), kv.k + from, valid);
        copy_async16(piece_at<HD>(stage + DECODE_KEYS * HD, row, piece), kv.v + from, valid);
    }
}

/* Two query elements of one of the group's heads, zeros beyond it. */
__device__ __forceinline__ uint32_t query_pair(const bf16 *q, int row, int group, int hd, int col)
{
    return row < group ? *(const uint32_t *)(q + row * hd + col) : 0u;
}

/* Grid: (splits, KV heads, sequences). */
template <int HD>
__global__ void __launch_bounds__(DECODE_THREADS) decode_attention(const struct decode_args a)
{
    constexpr int DT = HD / 8;
    DYNAMIC_SHARED(raw);
    int seq = (int)blockIdx.z, head = (int)blockIdx.y, ctx = a.ctx[seq];
    int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    int group = a.heads / a.kv.kv_heads, keys = a.split[0];
    int begin = (int)blockIdx.x * keys, end = begin + keys < ctx ? begin + keys : ctx;
    const int32_t *table = a.kv.table + (int64_t)seq * a.kv.stride;
    const bf16 *q = a.q + (int64_t)seq * a.q_stride + head * group * HD;
    bf16 *stages = (bf16 *)raw + warp * DECODE_STAGES * decode_shape<HD>::stage;
    float o[DT][4] = {}, m[2] = {NEG_INF, NEG_INF}, l[2] = {0.0f, 0.0f};
    uint32_t qa[HD / 16][4];
    int tiles = (end - begin + DECODE_WARPS * DECODE_KEYS - 1) / (DECODE_WARPS * DECODE_KEYS);
    int first = begin + warp * DECODE_KEYS;

    if (begin >= ctx) {
        return;
    }
#pragma unroll
    for (int kk = 0; kk < HD / 16; kk++) {
        int col = kk * 16 + 2 * (lane & 3);

        qa[kk][0] = query_pair(q, lane >> 2, group, HD, col);
        qa[kk][1] = query_pair(q, (lane >> 2) + 8, group, HD, col);
        qa[kk][2] = query_pair(q, lane >> 2, group, HD, col + 8);
        qa[kk][3] = query_pair(q, (lane >> 2) + 8, group, HD, col + 8);
    }
    load_stage<HD>(stages, a.kv, table, head, first, end, lane);
    copy_async_commit();

    for (int j = 0; j < tiles; j++) {
        bf16 *sk = stages + (j & 1) * decode_shape<HD>::stage, *sv = sk + DECODE_KEYS * HD;
        float s[2][4] = {}, f0, f1;
        uint32_t p[4];

        if (j + 1 < tiles) {
            load_stage<HD>(stages + ((j + 1) & 1) * decode_shape<HD>::stage, a.kv, table, head,
                           first + DECODE_WARPS * DECODE_KEYS, end, lane);
        }
        copy_async_commit();
        copy_async_wait<1>();
        __syncwarp();
#pragma unroll
        for (int kk = 0; kk < HD / 16; kk++) {
            uint32_t b[4];

            load_matrix4<false>(b, piece_at<HD>(sk, (lane >> 4) * 8 + (lane & 7), 2 * kk + ((lane >> 3) & 1)));
            mma_bf16(s[0], qa[kk], b[0], b[1]);
            mma_bf16(s[1], qa[kk], b[2], b[3]);
        }
#pragma unroll
        for (int n = 0; n < 2; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                s[n][i] = first + n * 8 + 2 * (lane & 3) + (i & 1) < end ? s[n][i] : NEG_INF;
            }
        }
        f0 = renew<2>(s, 0, m[0], l[0], a.scale_log2);
        f1 = renew<2>(s, 1, m[1], l[1], a.scale_log2);
        p[0] = pack_bf16(s[0][0], s[0][1]);
        p[1] = pack_bf16(s[0][2], s[0][3]);
        p[2] = pack_bf16(s[1][0], s[1][1]);
        p[3] = pack_bf16(s[1][2], s[1][3]);
#pragma unroll
        for (int d = 0; d < DT; d += 2) {
            uint32_t b[4];

#pragma unroll
            for (int i = 0; i < 2; i++) {
                o[d + i][0] *= f0;
                o[d + i][1] *= f0;
                o[d + i][2] *= f1;
                o[d + i][3] *= f1;
            }
            load_matrix4<true>(b, piece_at<HD>(sv, ((lane >> 3) & 1) * 8 + (lane & 7), d + (lane >> 4)));
            mma_bf16(o[d], p, b[0], b[1]);
            mma_bf16(o[d + 1], p, b[2], b[3]);
        }
        __syncwarp(); /* the stage may be overwritten */
        first += DECODE_WARPS * DECODE_KEYS;
    }
    copy_async_wait<0>();
    l[0] = quad_sum(l[0]);
    l[1] = quad_sum(l[1]);
    __syncthreads(); /* the stages' memory becomes that of the sums */

    /* [warp][row][HD + 2] */
    float *sums = (float *)raw;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float *to = sums + (warp * DECODE_ROWS + (lane >> 2) + half * 8) * (HD + 2);

#pragma unroll
        for (int d = 0; d < DT; d++) {
            to[d * 8 + 2 * (lane & 3)] = o[d][2 * half];
            to[d * 8 + 2 * (lane & 3) + 1] = o[d][2 * half + 1];
        }
        if ((lane & 3) == 0) {
            to[HD] = m[half];
            to[HD + 1] = l[half];
        }
    }
    __syncthreads();
    for (int at = (int)threadIdx.x; at < group * HD; at += DECODE_THREADS) {
        int row = at / HD, col = at % HD;
        float top = NEG_INF, sum = 0.0f, den = 0.0f;

        for (int w = 0; w < DECODE_WARPS; w++) {
            top = fmaxf(top, sums[(w * DECODE_ROWS + row) * (HD + 2) + HD]);
        }
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float *from = sums + (w * DECODE_ROWS + row) * (HD + 2);
            float f = fast_exp2(from[HD] - top);

            sum += f * from[col];
            den += f * from[HD + 1];
        }
        if (a.n_split == 1) {
            a.out[(int64_t)seq * a.heads * HD + (head * group + row) * HD + col] = bf16_of(sum / den);
        } else {
            float *to = a.part + ((((int64_t)seq * a.kv.kv_heads + head) * a.n_split + (int)blockIdx.x) * group + row) *
                                     (HD + 2);

            to[col] = sum;
            if (col == 0) {
                to[HD] = top;
                to[HD + 1] = den;
            }
        }
    }
}

/* Puts the splits together. Grid: (heads, sequences), HD threads. */
template <int HD>
__global__ void __launch_bounds__(HD) merge_splits(const struct decode_args a)
{
    int seq = (int)blockIdx.y, group = a.heads / a.kv.kv_heads, col = (int)threadIdx.x;
    int head = (int)blockIdx.x / group, row = (int)blockIdx.x % group;
    int used = (a.ctx[seq] + a.split[0] - 1) / a.split[0];
    const float *from = a.part + ((((int64_t)seq * a.kv.kv_heads + head) * a.n_split) * group + row) * (HD + 2);
    int64_t stride = (int64_t)group * (HD + 2);
    float top = NEG_INF, sum = 0.0f, den = 0.0f;

    if (used == 0) {
        return;
    }
    for (int i = 0; i < used; i++) {
        top = fmaxf(top, from[i * stride + HD]);
    }
    for (int i = 0; i < used; i++) {
        float f = fast_exp2(from[i * stride + HD] - top);

        sum += f * from[i * stride + col];
        den += f * from[i * stride + HD + 1];
    }
    a.out[((int64_t)seq * a.heads + (int)blockIdx.x) * HD + col] = bf16_of(sum / den);
}

/* ---- reference ---- */

/* One row of attention in double precision, straight from its definition: `query` over keys 0..n-1.
 * Grid: places; one thread each per HD columns is slow, and meant to be simple. */
struct reference_args {
    struct paged_kv kv;
    const bf16 *q;
    int q_stride, heads, hd;
    const int32_t *row, *head, *keys, *seq; /* of each place */
    double *out;                            /* [place][hd] */
    double *scores;                         /* [place][stride]: room for the longest context */
    int64_t stride;
    double scale;
};

KERNEL void __launch_bounds__(256) reference_attention(const struct reference_args a)
{
    int place = (int)blockIdx.x, head = a.head[place], n = a.keys[place];
    int kv_head = head / (a.heads / a.kv.kv_heads);
    const int32_t *table = a.kv.table + (int64_t)a.seq[place] * a.kv.stride;
    const bf16 *q = a.q + (int64_t)a.row[place] * a.q_stride + head * a.hd;
    double *scores = a.scores + place * a.stride, top = -1e300, den = 0;

    for (int key = (int)threadIdx.x; key < n; key += (int)blockDim.x) {
        const bf16 *k = a.kv.k + (kv_row(a.kv, table, key) * a.kv.kv_heads + kv_head) * a.hd;
        double dot = 0;

        for (int d = 0; d < a.hd; d++) {
            dot += (double)bf16_value(q[d]) * (double)bf16_value(k[d]);
        }
        scores[key] = dot * a.scale;
    }
    __syncthreads();
    for (int key = 0; key < n; key++) {
        top = scores[key] > top ? scores[key] : top;
    }
    for (int key = 0; key < n; key++) {
        den += exp(scores[key] - top);
    }
    for (int d = (int)threadIdx.x; d < a.hd; d += (int)blockDim.x) {
        double sum = 0;

        for (int key = 0; key < n; key++) {
            const bf16 *v = a.kv.v + (kv_row(a.kv, table, key) * a.kv.kv_heads + kv_head) * a.hd;

            sum += exp(scores[key] - top) * (double)bf16_value(v[d]);
        }
        a.out[(int64_t)place * a.hd + d] = sum / den;
    }
}

#endif
