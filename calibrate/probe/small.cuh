/* SPDX-License-Identifier: Apache-2.0
 *
 * The small kernels of a decoder step: norm, rotary, activation, embedding, sampling; and the plain
 * kernels that move and make data. Rows are tokens; sizes along a row are multiples of 8. */
#ifndef STEELYARD_PROBE_SMALL_CUH
#define STEELYARD_PROBE_SMALL_CUH

#include "calibrate/probe/attention.cuh"
#include "calibrate/probe/lane.cuh"

#define SMALL_THREADS 256

struct alignas(16) eight {
    uint32_t pair[4];
};

__device__ __forceinline__ float warp_sum(float v)
{
    for (int mask = 16; mask > 0; mask >>= 1) {
        v += lane_xor(v, mask);
    }
    return v;
}

/* Sum over the block; every thread gets it. `room` has one float for each warp. */
__device__ __forceinline__ float block_sum(float v, float *room)
{
    int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, warps = (int)blockDim.x >> 5;
    float sum = 0.0f;

    v = warp_sum(v);
    if (lane == 0) {
        room[warp] = v;
    }
    __syncthreads();
    for (int w = 0; w < warps; w++) {
        sum += room[w];
    }
    return sum;
}

struct norm_args {
    bf16 *x;              /* in */
    bf16 *residual;       /* in and out: residual += x; NULL = no residual */
    const bf16 *weight;
    bf16 *out;
    const int32_t *rows;  /* pick these rows of x; NULL = all in order */
    int hidden;
    float epsilon;
};

/* Grid: rows. The row is read again from the residual, or x, which is in the cache by then. */
KERNEL void __launch_bounds__(SMALL_THREADS) rms_norm(const struct norm_args a)
{
    __shared__ float room[SMALL_THREADS / 32];
    int64_t from = (int64_t)(a.rows ? a.rows[blockIdx.x] : (int)blockIdx.x) * a.hidden;
    const struct eight *x = (const struct eight *)(a.x + from), *w = (const struct eight *)a.weight;
    struct eight *r = a.residual ? (struct eight *)(a.residual + from) : nullptr;
    struct eight *out = (struct eight *)(a.out + (int64_t)blockIdx.x * a.hidden);
    float sum = 0.0f, scale;

    for (int i = (int)threadIdx.x; i < a.hidden / 8; i += SMALL_THREADS) {
        struct eight v = x[i];

        if (r) {
            struct eight o = r[i];

            for (int j = 0; j < 4; j++) {
                v.pair[j] = pack_bf16(low_value(v.pair[j]) + low_value(o.pair[j]),
                                      high_value(v.pair[j]) + high_value(o.pair[j]));
            }
            r[i] = v;
        }
        for (int j = 0; j < 4; j++) {
            sum += low_value(v.pair[j]) * low_value(v.pair[j]) + high_value(v.pair[j]) * high_value(v.pair[j]);
        }
    }
    scale = 1.0f / sqrtf(block_sum(sum, room) / (float)a.hidden + a.epsilon);
    for (int i = (int)threadIdx.x; i < a.hidden / 8; i += SMALL_THREADS) {
        struct eight v = r ? r[i] : x[i], k = w[i];

        for (int j = 0; j < 4; j++) {
            v.pair[j] = pack_bf16(low_value(v.pair[j]) * scale * low_value(k.pair[j]),
                                  high_value(v.pair[j]) * scale * high_value(k.pair[j]));
        }
        out[i] = v;
    }
}

struct rope_args {
    bf16 *qkv;               /* [row][(heads + 2 * kv_heads) * hd]: rotated in place */
    struct paged_kv kv;      /* keys and values go there */
    const int32_t *position; /* of each row */
    const int32_t *seq;      /* row of the table */
    const float *turn;       /* [position][hd / 2][cos, sin] */
    int rows, heads, hd;
};

/* One thread: two columns and their partners half a head further (as in GPT-NeoX and Llama). Grid covers
 * rows * (heads + 2 kv_heads) * hd / 4 threads. Values are copied only. A position below 0 is no row. */
KERNEL void __launch_bounds__(SMALL_THREADS) rotate_and_store(const struct rope_args a)
{
    int per_head = a.hd / 4, all = a.heads + 2 * a.kv.kv_heads;
    int64_t at = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x;
    int col = (int)(at % per_head) * 2, head = (int)(at / per_head % all);
    int64_t row = at / per_head / all, cell;
    uint32_t *first, lo, hi;
    int pos;

    if (row >= a.rows || a.position[row] < 0) {
        return;
    }
    pos = a.position[row];
    first = (uint32_t *)(a.qkv + (row * all + head) * a.hd + col);
    lo = first[0];
    hi = first[a.hd / 4];
    if (head < a.heads + a.kv.kv_heads) {
        const float *t = a.turn + ((int64_t)pos * (a.hd / 2) + col) * 2;
        float x0 = low_value(lo), x1 = high_value(lo), y0 = low_value(hi), y1 = high_value(hi);

        lo = pack_bf16(x0 * t[0] - y0 * t[1], x1 * t[2] - y1 * t[3]);
        hi = pack_bf16(y0 * t[0] + x0 * t[1], y1 * t[2] + x1 * t[3]);
        first[0] = lo;
        first[a.hd / 4] = hi;
    }
    if (head >= a.heads) {
        bool key = head < a.heads + a.kv.kv_heads;
        uint32_t *to;

        head -= a.heads + (key ? 0 : a.kv.kv_heads);
        cell = kv_row(a.kv, a.kv.table + (int64_t)a.seq[row] * a.kv.stride, pos);
        to = (uint32_t *)((key ? a.kv.k : a.kv.v) + (cell * a.kv.kv_heads + head) * a.hd + col);
        to[0] = lo;
        to[a.hd / 4] = hi;
    }
}

__device__ __forceinline__ float silu(float v)
{
    return v / (1.0f + fast_exp2(-1.44269504f * v));
}

/* in [row][2 * ffn]: gate, then up; out [row][ffn]. Grid: (rows, pieces of 8 * SMALL_THREADS columns). */
KERNEL void __launch_bounds__(SMALL_THREADS) silu_times(const bf16 *in, bf16 *out, int ffn)
{
    int64_t row = blockIdx.x;
    int i = (int)blockIdx.y * SMALL_THREADS + (int)threadIdx.x;
    const struct eight *gate = (const struct eight *)(in + row * 2 * ffn), *up = gate + ffn / 8;

    if (i < ffn / 8) {
        struct eight g = gate[i], u = up[i];

        for (int j = 0; j < 4; j++) {
            g.pair[j] = pack_bf16(silu(low_value(g.pair[j])) * low_value(u.pair[j]),
                                  silu(high_value(g.pair[j])) * high_value(u.pair[j]));
        }
        ((struct eight *)(out + row * ffn))[i] = g;
    }
}

/* Grid: rows. */
KERNEL void __launch_bounds__(SMALL_THREADS) embed_rows(const bf16 *table, const int32_t *token, bf16 *out,
                                                            int hidden)
{
    const struct eight *from = (const struct eight *)(table + (int64_t)token[blockIdx.x] * hidden);
    struct eight *to = (struct eight *)(out + (int64_t)blockIdx.x * hidden);

    for (int i = (int)threadIdx.x; i < hidden / 8; i += SMALL_THREADS) {
        to[i] = from[i];
    }
}

/* ---- sampling ---- */

#define SAMPLE_THREADS 1024

/* Of two places the one with the larger value, the first of equals. */
__device__ __forceinline__ void keep_larger(float &v, int &at, float v2, int at2)
{
    if (v2 > v || (v2 == v && at2 < at)) {
        v = v2;
        at = at2;
    }
}

/* Grid: rows. */
KERNEL void __launch_bounds__(SAMPLE_THREADS) argmax_rows(const bf16 *logits, int32_t *token, int vocab)
{
    __shared__ float best[SAMPLE_THREADS / 32];
    __shared__ int where[SAMPLE_THREADS / 32];
    const struct eight *row = (const struct eight *)(logits + (int64_t)blockIdx.x * vocab);
    float v = NEG_INF;
    int at = 0x7fffffff;

    for (int i = (int)threadIdx.x; i < vocab / 8; i += SAMPLE_THREADS) {
        struct eight x = row[i];

        for (int j = 0; j < 4; j++) {
            keep_larger(v, at, low_value(x.pair[j]), i * 8 + 2 * j);
            keep_larger(v, at, high_value(x.pair[j]), i * 8 + 2 * j + 1);
        }
    }
    for (int mask = 16; mask > 0; mask >>= 1) {
        float v2 = lane_xor(v, mask);
        int at2 = lane_xor(at, mask);

        keep_larger(v, at, v2, at2);
    }
    if ((threadIdx.x & 31) == 0) {
        best[threadIdx.x >> 5] = v;
        where[threadIdx.x >> 5] = at;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int w = 1; w < SAMPLE_THREADS / 32; w++) {
            keep_larger(v, at, best[w], where[w]);
        }
        token[blockIdx.x] = at;
    }
}

/* bf16 bits in an order in which they compare as unsigned numbers. */
__device__ __forceinline__ uint32_t ordered(uint32_t bits)
{
    return bits & 0x8000 ? 0xffff - bits : bits | 0x8000;
}

/* The largest byte b such that at least `want` counts lie at or above it; *above = those beyond b. */
__device__ __forceinline__ int byte_of_rank(const uint32_t count[256], uint32_t want, uint32_t *above)
{
    uint32_t sum = 0;
    int b = 255;

    while (b > 0 && sum + count[b] < want) {
        sum += count[b];
        b--;
    }
    *above = sum;
    return b;
}

#define TOPK_MAX 64

/* Softmax over the k <= 64 largest logits of each row, and one drawn with `uniform` in [0, 1): the k-th
 * largest is found by its two bytes, one pass over the row for each. Equal values count in no particular
 * order. Grid: rows. */
KERNEL void __launch_bounds__(SAMPLE_THREADS) topk_rows(const bf16 *logits, int32_t *token, int vocab, int k,
                                                            const float *uniform)
{
    __shared__ uint32_t count[256], above, taken, ties;
    __shared__ int high, low;
    __shared__ float value[TOPK_MAX];
    __shared__ int where[TOPK_MAX];
    const struct eight *row = (const struct eight *)(logits + (int64_t)blockIdx.x * vocab);
    int tid = (int)threadIdx.x;

    for (int pass = 0; pass < 2; pass++) {
        for (int b = tid; b < 256; b += SAMPLE_THREADS) {
            count[b] = 0;
        }
        __syncthreads();
        for (int i = tid; i < vocab / 8; i += SAMPLE_THREADS) {
            struct eight x = row[i];

            for (int j = 0; j < 8; j++) {
                uint32_t o = ordered(j & 1 ? x.pair[j / 2] >> 16 : x.pair[j / 2] & 0xffff);

                if (pass == 0) {
                    atomicAdd(&count[o >> 8], 1u);
                } else if ((int)(o >> 8) == high) {
                    atomicAdd(&count[o & 255], 1u);
                }
            }
        }
        __syncthreads();
        if (tid == 0) {
            uint32_t before = 0;

            if (pass == 0) {
                high = byte_of_rank(count, (uint32_t)k, &before);
                above = before;
            } else {
                low = byte_of_rank(count, (uint32_t)k - above, &before);
                above += before;
                taken = ties = 0;
            }
        }
        __syncthreads();
    }
    uint32_t threshold = (uint32_t)(high << 8 | low);
    for (int i = tid; i < vocab / 8; i += SAMPLE_THREADS) {
        struct eight x = row[i];

        for (int j = 0; j < 8; j++) {
            uint32_t bits = j & 1 ? x.pair[j / 2] >> 16 : x.pair[j / 2] & 0xffff, o = ordered(bits);
            uint32_t slot = TOPK_MAX;

            if (o > threshold) {
                slot = atomicAdd(&taken, 1u);
            } else if (o == threshold) {
                slot = above + atomicAdd(&ties, 1u);
            }
            if (slot < (uint32_t)k) {
                value[slot] = bf16_value((bf16)bits);
                where[slot] = i * 8 + j;
            }
        }
    }
    __syncthreads();
    if (tid == 0) {
        float top = value[0], sum = 0.0f, at;
        int i = 0;

        for (int j = 1; j < k; j++) {
            top = fmaxf(top, value[j]);
        }
        for (int j = 0; j < k; j++) {
            value[j] = fast_exp2((value[j] - top) * 1.44269504f);
            sum += value[j];
        }
        at = uniform[blockIdx.x] * sum;
        while (i + 1 < k && at >= value[i]) {
            at -= value[i++];
        }
        token[blockIdx.x] = where[i];
    }
}

/* ---- data ---- */

/* splitmix64's finaliser (Steele, Lea, Flood 2014). */
__device__ __forceinline__ uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

/* About normal: a sum of four uniform 16-bit numbers, mean 0, deviation `scale`. */
__device__ __forceinline__ float rough_normal(uint64_t seed, uint64_t i, float scale)
{
    uint64_t h = mixed(seed + i * 0x9e3779b97f4a7c15ull);
    float sum = (float)(h & 0xffff) + (float)(h >> 16 & 0xffff) + (float)(h >> 32 & 0xffff) + (float)(h >> 48);

    return (sum - 131070.0f) * (scale / 37837.0f);
}

/* Pairs for the 16-bit kinds. Grid-stride. */
KERNEL void __launch_bounds__(SMALL_THREADS) fill_bf16(uint32_t *to, int64_t pairs, uint64_t seed, float scale)
{
    for (int64_t i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x; i < pairs;
         i += (int64_t)gridDim.x * SMALL_THREADS) {
        to[i] = pack_bf16(rough_normal(seed, 2 * i, scale), rough_normal(seed, 2 * i + 1, scale));
    }
}

/* ---- memory ---- */

struct alignas(16) sixteen {
    uint32_t word[4];
};

/* Each block reads a stretch after the other; what is read cannot be left out because its sum might be
 * written. */
KERNEL void __launch_bounds__(SMALL_THREADS) read_memory(const struct sixteen *from, int64_t n, uint32_t *sink)
{
    uint32_t sum = 0;
    int64_t step = (int64_t)gridDim.x * SMALL_THREADS, i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x;

    for (; i + 3 * step < n; i += 4 * step) { /* four loads under way */
        struct sixteen a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];

        for (int j = 0; j < 4; j++) {
            sum += a.word[j] ^ b.word[j] ^ c.word[j] ^ d.word[j];
        }
    }
    for (; i < n; i += step) {
        sum += from[i].word[0] ^ from[i].word[1] ^ from[i].word[2] ^ from[i].word[3];
    }
    if (sum == 0x5eed1e55u) {
        *sink = sum;
    }
}

KERNEL void __launch_bounds__(SMALL_THREADS) copy_memory(const struct sixteen *from, struct sixteen *to, int64_t n)
{
    int64_t step = (int64_t)gridDim.x * SMALL_THREADS, i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x;

    for (; i + 3 * step < n; i += 4 * step) {
        struct sixteen a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];

        to[i] = a;
        to[i + step] = b;
        to[i + 2 * step] = c;
        to[i + 3 * step] = d;
    }
    for (; i < n; i += step) {
        to[i] = from[i];
    }
}

KERNEL void __launch_bounds__(SMALL_THREADS) write_memory(struct sixteen *to, int64_t n, uint32_t value)
{
    struct sixteen v = {{value, value * 3u, value * 5u, value * 7u}};

    for (int64_t i = (int64_t)blockIdx.x * SMALL_THREADS + threadIdx.x; i < n;
         i += (int64_t)gridDim.x * SMALL_THREADS) {
        to[i] = v;
    }
}

/* Block `index[b]` of `cache` <-> place b of `packed`. Grid: (blocks, pieces). */
KERNEL void __launch_bounds__(SMALL_THREADS) move_blocks(struct sixteen *cache, struct sixteen *packed,
                                                             const int32_t *index, int64_t each, bool gather)
{
    struct sixteen *in_cache = cache + index[blockIdx.x] * each, *in_packed = packed + blockIdx.x * each;

    for (int64_t i = (int64_t)blockIdx.y * SMALL_THREADS + threadIdx.x; i < each;
         i += (int64_t)gridDim.y * SMALL_THREADS) {
        if (gather) {
            in_packed[i] = in_cache[i];
        } else {
            in_cache[i] = in_packed[i];
        }
    }
}

#endif
