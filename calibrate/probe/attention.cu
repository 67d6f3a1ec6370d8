/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of one layer: chunks, decodes, and both one after the other. */
#include "calibrate/probe/attention_host.cuh"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <vector>

/* ---- launching ---- */

template <int HD, int MT>
static int launch_prefill_as(const struct prefill_args *a, int longest, int chunks, cudaStream_t s, struct err *e)
{
    const int rows = prefill_shape<HD, MT>::rows, bytes = prefill_shape<HD, MT>::shared_bytes;
    dim3 grid((unsigned)((longest + rows - 1) / rows), (unsigned)a->heads, (unsigned)chunks);

    CUDA_TRY(e, cudaFuncSetAttribute(prefill_attention<HD, MT>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    prefill_attention<HD, MT><<<grid, PREFILL_THREADS, (size_t)bytes, s>>>(*a);
    CUDA_TRY(e, cudaGetLastError());
    return 0;
}

int launch_prefill(const struct prefill_args *a, int hd, int tile_rows, int longest, int chunks, cudaStream_t s,
                   struct err *e)
{
    if (hd == 128) {
        return tile_rows == 128 ? launch_prefill_as<128, 2>(a, longest, chunks, s, e)
                                : launch_prefill_as<128, 1>(a, longest, chunks, s, e);
    }
    return tile_rows == 128 ? launch_prefill_as<64, 2>(a, longest, chunks, s, e)
                            : launch_prefill_as<64, 1>(a, longest, chunks, s, e);
}

template <int HD>
static int launch_decode_as(const struct decode_args *a, int seqs, cudaStream_t s, struct err *e)
{
    const int bytes = decode_shape<HD>::shared_bytes;
    dim3 grid((unsigned)a->n_split, (unsigned)a->kv.kv_heads, (unsigned)seqs);

    CUDA_TRY(e, cudaFuncSetAttribute(decode_attention<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    decode_attention<HD><<<grid, DECODE_THREADS, (size_t)bytes, s>>>(*a);
    CUDA_TRY(e, cudaGetLastError());
    if (a->n_split > 1) {
        merge_splits<HD><<<dim3((unsigned)a->heads, (unsigned)seqs), HD, 0, s>>>(*a);
        CUDA_TRY(e, cudaGetLastError());
    }
    return 0;
}

int launch_decode(const struct decode_args *a, int hd, int seqs, cudaStream_t s, struct err *e)
{
    return hd == 128 ? launch_decode_as<128>(a, seqs, s, e) : launch_decode_as<64>(a, seqs, s, e);
}

/* About six blocks of work for each SM, so that uneven ends even out, but pieces of at least 128 keys. */
int decode_split(const struct gpu *g, const int32_t *ctx, int n, int kv_heads)
{
    int64_t total = 0, keys;
    int32_t longest = 1;

    for (int i = 0; i < n; i++) {
        total += ctx[i];
        longest = std::max(longest, ctx[i]);
    }
    keys = total * kv_heads / ((int64_t)g->prop.multiProcessorCount * 6);
    keys = std::max<int64_t>(std::max<int64_t>(keys, 128), (longest + DECODE_SPLITS_MAX - 1) / DECODE_SPLITS_MAX);
    return (int)((keys + 63) / 64 * 64);
}

size_t decode_part_floats(int seqs, int heads, int n_split, int hd)
{
    return (size_t)seqs * (size_t)heads * (size_t)n_split * (size_t)(hd + 2);
}

float softmax_scale_log2(int hd)
{
    return (float)(1.4426950408889634 / sqrt((double)hd));
}

/* ---- data of a case ---- */

/* One layer's cache for sequences of these lengths: blocks in random places. */
struct layer {
    struct paged_kv kv;
    int heads, hd;
    size_t kv_bytes; /* that the sequences' tokens take */
};

static int log2_of(int64_t block)
{
    int n = 0;

    while (((int64_t)1 << n) < block) {
        n++;
    }
    return n;
}

static void shuffle(std::vector<int32_t> &v, uint64_t seed)
{
    for (size_t i = v.size(); i > 1; i--) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull; /* Knuth's MMIX */
        std::swap(v[i - 1], v[(seed >> 33) % i]);
    }
}

/* Several sets of keys and values share one table. CASE_SKIP without a message when memory lacks. */
static int make_layer(struct gpu *g, const struct probe_case *c, const std::vector<int32_t> &lengths, int sets,
                      struct layer *ret, size_t *ret_stride, struct err *e)
{
    int tok = (int)case_int(c, "block"), kv_heads = (int)case_int(c, "kv_heads"), hd = (int)case_int(c, "head_dim");
    int32_t longest = *std::max_element(lengths.begin(), lengths.end());
    int stride = (longest + tok - 1) / tok;
    std::vector<int32_t> order, table((size_t)stride * lengths.size());
    size_t next = 0, cells;

    for (size_t s = 0; s < lengths.size(); s++) {
        for (int b = 0; b * tok < lengths[s]; b++) {
            order.push_back((int32_t)order.size());
        }
    }
    shuffle(order, case_seed(c));
    for (size_t s = 0; s < lengths.size(); s++) {
        for (int b = 0; b * tok < lengths[s]; b++) {
            table[s * (size_t)stride + (size_t)b] = order[next++];
        }
    }
    cells = order.size() * (size_t)tok * (size_t)kv_heads * (size_t)hd;
    int32_t *dev_table = slab_array<int32_t>(g, table.size());
    bf16 *data = slab_array<bf16>(g, 2 * cells * (size_t)sets);
    if (!dev_table || !data) {
        return CASE_SKIP;
    }
    TRY(upload(dev_table, table.data(), table.size() * sizeof(int32_t), e));
    TRY(fill_random(g, data, 2 * cells * (size_t)sets, case_seed(c) + 1, 1.0f, e));
    *ret = {{data, data + cells, dev_table, stride, log2_of(tok), kv_heads}, (int)case_int(c, "heads"), hd, 2 * cells * 2};
    *ret_stride = 2 * cells;
    return 0;
}

static size_t kv_size(const struct probe_case *c, const std::vector<int32_t> &lengths)
{
    int64_t tok = case_int(c, "block"), n = 0;

    for (int32_t l : lengths) {
        n += (l + tok - 1) / tok * tok;
    }
    return (size_t)(n * case_int(c, "kv_heads") * case_int(c, "head_dim") * 4);
}

static struct paged_kv set_of(const struct layer &l, size_t stride, int set)
{
    struct paged_kv kv = l.kv;

    kv.k += stride * (size_t)set;
    kv.v += stride * (size_t)set;
    return kv;
}

/* ---- reference ---- */

struct places {
    std::vector<int32_t> row, head, keys, seq;
};

/* Compares `out` at some rows and heads; all columns of each. */
static int check_attention(struct gpu *g, const struct layer &l, const bf16 *q, int q_stride, const bf16 *out,
                           const struct places &p, struct measurement *m, struct err *e)
{
    size_t n = p.row.size(), hd = (size_t)l.hd, mark = g->slab_used;
    int64_t stride = *std::max_element(p.keys.begin(), p.keys.end());
    int32_t *index = slab_array<int32_t>(g, 4 * n);
    double *want = slab_array<double>(g, n * hd), *scores = slab_array<double>(g, n * (size_t)stride);
    std::vector<double> host_want(n * hd), host_got(n * hd);
    std::vector<bf16> row(hd);

    if (!index || !want || !scores) {
        return slab_lack(g, m);
    }
    TRY(upload(index, p.row.data(), n * 4, e));
    TRY(upload(index + n, p.head.data(), n * 4, e));
    TRY(upload(index + 2 * n, p.keys.data(), n * 4, e));
    TRY(upload(index + 3 * n, p.seq.data(), n * 4, e));
    reference_attention<<<(unsigned)n, 256, 0, g->stream>>>({l.kv, q, q_stride, l.heads, l.hd, index, index + n,
                                                             index + 2 * n, index + 3 * n, want, scores, stride,
                                                             1 / sqrt((double)l.hd)});
    CUDA_TRY(e, cudaGetLastError());
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(download(host_want.data(), want, n * hd * sizeof(double), e));
    for (size_t i = 0; i < n; i++) {
        TRY(download(row.data(), out + ((size_t)p.row[i] * (size_t)l.heads + (size_t)p.head[i]) * hd, hd * 2, e));
        for (size_t d = 0; d < hd; d++) {
            uint32_t bits = (uint32_t)row[d] << 16;
            float v;

            memcpy(&v, &bits, 4);
            host_got[i * hd + d] = (double)v;
        }
    }
    g->slab_used = mark;
    return check_error(m, stats_rel_error(host_got.data(), host_want.data(), n * hd), 1e-2);
}

#define PLACES 24

/* ---- prefill ---- */

struct chunk_data {
    struct layer l;
    size_t stride;
    int sets;
    bf16 *q, *out;
    int32_t *index; /* row, n, before, seq */
    struct prefill_args args;
    int n, before;
};

static int make_chunk(struct gpu *g, const struct probe_case *c, struct chunk_data *d, struct err *e)
{
    d->n = (int)case_int(c, "q");
    d->before = (int)case_int(c, "ctx");
    std::vector<int32_t> lengths = {d->n + d->before}, index = {0, d->n, d->before, 0};
    size_t heads = (size_t)case_int(c, "heads"), kv_heads = (size_t)case_int(c, "kv_heads"),
           hd = (size_t)case_int(c, "head_dim"), q_stride = (heads + 2 * kv_heads) * hd;

    d->q = slab_array<bf16>(g, (size_t)d->n * q_stride);
    d->out = slab_array<bf16>(g, (size_t)d->n * heads * hd);
    d->index = slab_array<int32_t>(g, 4);
    d->sets = sets_for(g, kv_size(c, lengths), slab_room(g) / 2);
    if (!d->q || !d->out || !d->index) {
        return CASE_SKIP;
    }
    TRY(make_layer(g, c, lengths, d->sets, &d->l, &d->stride, e));
    TRY(fill_random(g, d->q, (size_t)d->n * q_stride, case_seed(c) + 2, 1.0f, e));
    TRY(upload(d->index, index.data(), 16, e));
    d->args = {d->l.kv, d->q, (int)q_stride, d->out, (int)heads, d->index, d->index + 1, d->index + 2, d->index + 3,
               softmax_scale_log2((int)hd)};
    return 0;
}

static int check_chunk(struct gpu *g, const struct chunk_data &d, struct measurement *m, struct err *e)
{
    struct places p;

    for (int i = 0; i < PLACES; i++) {
        /* The first and the last row, ends of tiles, and rows between. */
        int row = i == 0 ? 0 : i == 1 ? d.n - 1 : i == 2 ? std::min(63, d.n - 1) : i == 3 ? std::min(64, d.n - 1)
                                                                              : (int)((int64_t)i * 7919 % d.n);

        p.row.push_back(row);
        p.head.push_back(i * 5 % d.l.heads);
        p.keys.push_back(d.before + row + 1);
        p.seq.push_back(0);
    }
    return check_attention(g, d.l, d.q, d.args.q_stride, d.out, p, m, e);
}

static double chunk_flop(const struct chunk_data &d)
{
    double pairs = (double)d.n * d.before + 0.5 * d.n * (d.n + 1.0);

    return 4.0 * pairs * d.l.heads * d.l.hd;
}

static int chunk_call(const struct chunk_data &d, int tile, int set, cudaStream_t s, struct err *e)
{
    struct prefill_args a = d.args;

    a.kv = set_of(d.l, d.stride, set);
    return launch_prefill(&a, d.l.hd, tile, d.n, 1, s, e);
}

/* The tile that is faster here. */
static int choose_tile(struct gpu *g, const struct chunk_data &d, int *ret, struct err *e)
{
    double small, large;

    TRY(bench_glance(g, [&](int set, cudaStream_t s, struct err *er) { return chunk_call(d, 64, set, s, er); }, &small, e));
    TRY(bench_glance(g, [&](int set, cudaStream_t s, struct err *er) { return chunk_call(d, 128, set, s, er); }, &large, e));
    *ret = small <= large ? 64 : 128;
    return 0;
}

int run_prefill(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct chunk_data d = {};
    int tile, rc = make_chunk(g, c, &d, e);

    if (rc != 0) {
        return rc == CASE_SKIP ? slab_lack(g, m) : rc;
    }
    for (tile = 64; tile <= 128; tile += 64) {
        CUDA_TRY(e, cudaMemsetAsync(d.out, 0xff, (size_t)d.n * (size_t)(d.l.heads * d.l.hd) * 2, g->stream));
        TRY(chunk_call(d, tile, 0, g->stream, e));
        TRY(check_chunk(g, d, m, e));
    }
    TRY(choose_tile(g, d, &tile, e));
    m->kernel = tile == 64 ? "tiles of 64 rows" : "tiles of 128 rows";
    m->flop = chunk_flop(d);
    m->byte = 2.0 * d.n * d.l.heads * d.l.hd * 2 + 4.0 * (d.n + d.before) * d.l.kv.kv_heads * d.l.hd;
    return bench_graph(g, d.sets, [&](int set, cudaStream_t s, struct err *er) { return chunk_call(d, tile, set, s, er); },
                       m, e);
}

/* ---- decode ---- */

struct decode_data {
    struct layer l;
    size_t stride;
    int sets, n;
    std::vector<int32_t> ctx;
    bf16 *q, *out;
    struct decode_args args;
    double tok;
};

static int make_decodes(struct gpu *g, const struct probe_case *c, const char *ctx_name, struct decode_data *d,
                        struct err *e)
{
    size_t heads = (size_t)case_int(c, "heads"), kv_heads = (size_t)case_int(c, "kv_heads"),
           hd = (size_t)case_int(c, "head_dim"), q_stride = (heads + 2 * kv_heads) * hd;
    int32_t split, longest, *index;
    int n_split;
    float *part;

    d->n = (int)case_int(c, "batch");
    d->ctx.resize((size_t)d->n);
    spread_contexts(case_int(c, ctx_name), case_int(c, "spread"), d->n, d->ctx.data());
    longest = *std::max_element(d->ctx.begin(), d->ctx.end());
    split = decode_split(g, d->ctx.data(), d->n, (int)kv_heads);
    n_split = (longest + split - 1) / split;
    d->q = slab_array<bf16>(g, (size_t)d->n * q_stride);
    d->out = slab_array<bf16>(g, (size_t)d->n * heads * hd);
    index = slab_array<int32_t>(g, (size_t)d->n + 1);
    part = slab_array<float>(g, decode_part_floats(d->n, (int)heads, n_split, (int)hd));
    d->sets = sets_for(g, kv_size(c, d->ctx), slab_room(g) / 2);
    if (!d->q || !d->out || !index || !part) {
        return CASE_SKIP;
    }
    TRY(make_layer(g, c, d->ctx, d->sets, &d->l, &d->stride, e));
    TRY(fill_random(g, d->q, (size_t)d->n * q_stride, case_seed(c) + 3, 1.0f, e));
    TRY(upload(index, d->ctx.data(), (size_t)d->n * 4, e));
    TRY(upload(index + d->n, &split, 4, e));
    d->args = {d->l.kv,       d->q,    (int)q_stride, d->out, (int)heads, index, index + d->n, n_split, part,
               softmax_scale_log2((int)hd)};
    for (int32_t t : d->ctx) {
        d->tok += t;
    }
    return 0;
}

static int check_decodes(struct gpu *g, const struct decode_data &d, struct measurement *m, struct err *e)
{
    struct places p;

    for (int i = 0; i < PLACES; i++) {
        int seq = i == 0 ? 0 : i == 1 ? d.n - 1 : i * 7919 % d.n;

        p.row.push_back(seq);
        p.head.push_back(i * 5 % d.l.heads);
        p.keys.push_back(d.ctx[(size_t)seq]);
        p.seq.push_back(seq);
    }
    return check_attention(g, d.l, d.q, d.args.q_stride, d.out, p, m, e);
}

static int decode_call(const struct decode_data &d, int set, cudaStream_t s, struct err *e)
{
    struct decode_args a = d.args;

    a.kv = set_of(d.l, d.stride, set);
    return launch_decode(&a, d.l.hd, d.n, s, e);
}

static double decode_bytes(const struct decode_data &d)
{
    return 4.0 * d.tok * d.l.kv.kv_heads * d.l.hd + 4.0 * d.n * d.l.heads * d.l.hd;
}

int run_decode(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct decode_data d = {};
    int rc = make_decodes(g, c, "ctx", &d, e);

    if (rc != 0) {
        return rc == CASE_SKIP ? slab_lack(g, m) : rc;
    }
    CUDA_TRY(e, cudaMemsetAsync(d.out, 0xff, (size_t)d.n * (size_t)(d.l.heads * d.l.hd) * 2, g->stream));
    TRY(decode_call(d, 0, g->stream, e));
    TRY(check_decodes(g, d, m, e));
    m->flop = 4.0 * d.tok * d.l.heads * d.l.hd;
    m->byte = decode_bytes(d);
    return bench_graph(g, d.sets, [&](int set, cudaStream_t s, struct err *er) { return decode_call(d, set, s, er); }, m, e);
}

/* ---- both ---- */

int run_mixed(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct chunk_data p = {};
    struct decode_data d = {};
    int tile, rc = make_chunk(g, c, &p, e);

    rc = rc == 0 ? make_decodes(g, c, "dctx", &d, e) : rc;
    if (rc != 0) {
        return rc == CASE_SKIP ? slab_lack(g, m) : rc;
    }
    TRY(choose_tile(g, p, &tile, e));
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        TRY(chunk_call(p, tile, set % p.sets, s, er));
        return decode_call(d, set % d.sets, s, er);
    };
    TRY(call(0, g->stream, e));
    TRY(check_chunk(g, p, m, e));
    TRY(check_decodes(g, d, m, e));
    m->flop = chunk_flop(p) + 4.0 * d.tok * d.l.heads * d.l.hd;
    m->byte = decode_bytes(d) + 2.0 * p.n * p.l.heads * p.l.hd * 2 + 4.0 * (p.n + p.before) * p.l.kv.kv_heads * p.l.hd;
    return bench_graph(g, std::max(p.sets, d.sets), call, m, e);
}
