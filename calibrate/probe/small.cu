/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of the small kernels. Each is checked on all of its rows, or on a few where there are many,
 * against the same arithmetic in double precision on the host. */
#include "calibrate/probe/small.cuh"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "calibrate/probe/gpu.cuh"

typedef std::vector<double> numbers;

static double value(bf16 b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;

    memcpy(&f, &u, 4);
    return (double)f;
}

/* n bf16 numbers from the device. */
static int fetch(const bf16 *from, size_t n, numbers *ret, struct err *e)
{
    std::vector<bf16> raw(n);

    TRY(download(raw.data(), from, n * sizeof(bf16), e));
    ret->resize(n);
    std::transform(raw.begin(), raw.end(), ret->begin(), value);
    return 0;
}

#define CHECK_ROWS 4

/* First row, last row, and two between. */
static int64_t check_row(int i, int64_t m)
{
    return i == 0 ? 0 : i == 1 ? m - 1 : (int64_t)i * 7919 % m;
}

static int sets_wanted(const struct gpu *g, const struct probe_case *c, size_t bytes)
{
    return strcmp(case_word(c, "l2"), "warm") == 0 ? 1 : sets_for(g, bytes, slab_room(g));
}

/* ---- norm ---- */

struct norm_data {
    bf16 *x, *residual, *weight, *out;
    int64_t m, hidden;
    size_t stride;
};

static struct norm_args norm_of(const struct norm_data &d, int set)
{
    size_t at = d.stride * (size_t)set;

    return {d.x + at, d.residual + at, d.weight, d.out + at, nullptr, (int)d.hidden, 1e-5f};
}

static int check_norm(struct gpu *g, const struct norm_data &d, const std::vector<numbers> &before, struct measurement *m,
                      struct err *e)
{
    numbers w, want, got;

    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(fetch(d.weight, (size_t)d.hidden, &w, e));
    for (int i = 0; i < CHECK_ROWS; i++) {
        numbers x, out;
        double sum = 0;

        TRY(fetch(d.x + check_row(i, d.m) * d.hidden, (size_t)d.hidden, &x, e));
        TRY(fetch(d.out + check_row(i, d.m) * d.hidden, (size_t)d.hidden, &out, e));
        for (size_t j = 0; j < x.size(); j++) {
            x[j] += before[(size_t)i][j];
            sum += x[j] * x[j];
        }
        for (size_t j = 0; j < x.size(); j++) {
            want.push_back(x[j] / sqrt(sum / (double)d.hidden + 1e-5) * w[j]);
        }
        got.insert(got.end(), out.begin(), out.end());
    }
    return check_error(m, stats_rel_error(got.data(), want.data(), want.size()), 8e-3);
}

int run_norm(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct norm_data d = {};
    std::vector<numbers> before(CHECK_ROWS);
    int sets;

    d.m = case_int(c, "m");
    d.hidden = case_int(c, "hidden");
    d.stride = (size_t)(d.m * d.hidden);
    d.weight = slab_array<bf16>(g, (size_t)d.hidden);
    sets = sets_wanted(g, c, d.stride * 6);
    d.x = slab_array<bf16>(g, d.stride * (size_t)sets);
    d.residual = slab_array<bf16>(g, d.stride * (size_t)sets);
    d.out = slab_array<bf16>(g, d.stride * (size_t)sets);
    if (!d.weight || !d.x || !d.residual || !d.out) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, d.weight, (size_t)d.hidden, case_seed(c), 1.0f, e));
    TRY(fill_random(g, d.x, d.stride * (size_t)sets, case_seed(c) + 1, 1e-3f, e)); /* added many times over */
    TRY(fill_random(g, d.residual, d.stride * (size_t)sets, case_seed(c) + 2, 1.0f, e));
    for (int i = 0; i < CHECK_ROWS; i++) {
        TRY(fetch(d.residual + check_row(i, d.m) * d.hidden, (size_t)d.hidden, &before[(size_t)i], e));
    }
    CUDA_TRY(e, cudaMemsetAsync(d.out, 0xff, d.stride * 2, g->stream));
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        rms_norm<<<(unsigned)d.m, SMALL_THREADS, 0, s>>>(norm_of(d, set));
        CUDA_TRY(er, cudaGetLastError());
        return 0;
    };
    TRY(call(0, g->stream, e));
    TRY(check_norm(g, d, before, m, e));
    m->byte = (double)d.stride * 8;
    return bench_graph(g, sets, call, m, e);
}

/* ---- rotary ---- */

struct rope_data {
    struct rope_args args;
    size_t row_size, qkv_stride, kv_stride;
    std::vector<int32_t> position;
    int64_t m;
};

static int make_rope(struct gpu *g, const struct probe_case *c, struct rope_data *d, int *sets, struct err *e)
{
    int64_t heads = case_int(c, "heads"), kv_heads = case_int(c, "kv_heads"), hd = case_int(c, "head_dim"),
            tok = case_int(c, "block");
    int64_t blocks, shift = 0;

    d->m = case_int(c, "m");
    blocks = (d->m + tok - 1) / tok;
    while (((int64_t)1 << shift) < tok) {
        shift++;
    }
    d->row_size = (size_t)((heads + 2 * kv_heads) * hd);
    d->qkv_stride = d->row_size * (size_t)d->m;
    d->kv_stride = (size_t)(blocks * tok * kv_heads * hd);
    /* One sequence, its blocks in reverse order. */
    std::vector<int32_t> table, seq((size_t)d->m, 0);
    for (int64_t i = 0; i < d->m; i++) {
        d->position.push_back((int32_t)i);
    }
    for (int64_t b = 0; b < blocks; b++) {
        table.push_back((int32_t)(blocks - 1 - b));
    }
    std::vector<float> turn((size_t)(d->m * hd));
    for (int64_t p = 0; p < d->m; p++) {
        for (int64_t i = 0; i < hd / 2; i++) {
            double angle = (double)p * pow(500000.0, -2.0 * (double)i / (double)hd);

            turn[(size_t)(p * hd + 2 * i)] = (float)cos(angle);
            turn[(size_t)(p * hd + 2 * i + 1)] = (float)sin(angle);
        }
    }
    int32_t *index = slab_array<int32_t>(g, 2 * (size_t)d->m + table.size());
    float *dev_turn = slab_array<float>(g, turn.size());
    *sets = sets_wanted(g, c, (d->qkv_stride + 2 * d->kv_stride) * 2);
    bf16 *qkv = slab_array<bf16>(g, d->qkv_stride * (size_t)*sets), *k = slab_array<bf16>(g, d->kv_stride * (size_t)*sets),
         *v = slab_array<bf16>(g, d->kv_stride * (size_t)*sets);
    if (!index || !dev_turn || !qkv || !k || !v) {
        return CASE_SKIP;
    }
    TRY(upload(index, d->position.data(), (size_t)d->m * 4, e));
    TRY(upload(index + d->m, seq.data(), (size_t)d->m * 4, e));
    TRY(upload(index + 2 * d->m, table.data(), table.size() * 4, e));
    TRY(upload(dev_turn, turn.data(), turn.size() * 4, e));
    TRY(fill_random(g, qkv, d->qkv_stride * (size_t)*sets, case_seed(c), 1.0f, e));
    d->args = {qkv, {k, v, index + 2 * d->m, (int)blocks, (int)shift, (int)kv_heads}, index, index + d->m, dev_turn,
               (int)d->m, (int)heads, (int)hd};
    return 0;
}

/* Queries in place, keys and values in the cache. */
static int check_rope(const struct rope_data &d, const std::vector<numbers> &before, struct measurement *m,
                      struct err *e)
{
    const struct rope_args &a = d.args;
    int64_t hd = a.hd, kv_heads = a.kv.kv_heads, tok = (int64_t)1 << a.kv.block_log2;
    numbers want, got;

    for (int i = 0; i < CHECK_ROWS; i++) {
        int64_t row = check_row(i, d.m), cell = ((d.m + tok - 1) / tok - 1 - row / tok) * tok + row % tok;
        numbers q, k, v;

        TRY(fetch(a.qkv + row * (int64_t)d.row_size, (size_t)(a.heads * hd), &q, e));
        TRY(fetch(a.kv.k + cell * kv_heads * hd, (size_t)(kv_heads * hd), &k, e));
        TRY(fetch(a.kv.v + cell * kv_heads * hd, (size_t)(kv_heads * hd), &v, e));
        q.insert(q.end(), k.begin(), k.end());
        q.insert(q.end(), v.begin(), v.end());
        got.insert(got.end(), q.begin(), q.end());
        for (size_t j = 0; j < d.row_size; j++) {
            int64_t col = (int64_t)j % hd, half = hd / 2;
            double angle = (double)row * pow(500000.0, -2.0 * (double)(col % half) / (double)hd), x = before[(size_t)i][j];

            if ((int64_t)j < (a.heads + kv_heads) * hd) {
                double other = before[(size_t)i][col < half ? j + (size_t)half : j - (size_t)half];

                x = x * cos(angle) + (col < half ? -other : other) * sin(angle);
            }
            want.push_back(x);
        }
    }
    return check_error(m, stats_rel_error(got.data(), want.data(), want.size()), 8e-3);
}

int run_rope(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    struct rope_data d = {};
    std::vector<numbers> before(CHECK_ROWS);
    int sets, rc = make_rope(g, c, &d, &sets, e);

    if (rc != 0) {
        return rc == CASE_SKIP ? slab_lack(g, m) : rc;
    }
    for (int i = 0; i < CHECK_ROWS; i++) {
        TRY(fetch(d.args.qkv + check_row(i, d.m) * (int64_t)d.row_size, d.row_size, &before[(size_t)i], e));
    }
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        struct rope_args a = d.args;
        int64_t threads = (int64_t)d.qkv_stride / 4;

        a.qkv += d.qkv_stride * (size_t)set;
        a.kv.k += d.kv_stride * (size_t)set;
        a.kv.v += d.kv_stride * (size_t)set;
        rotate_and_store<<<(unsigned)((threads + SMALL_THREADS - 1) / SMALL_THREADS), SMALL_THREADS, 0, s>>>(a);
        CUDA_TRY(er, cudaGetLastError());
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(check_rope(d, before, m, e));
    m->byte = (2.0 * (double)(d.m * d.args.heads) + 3.0 * (double)(d.m * d.args.kv.kv_heads) +
               2.0 * (double)(d.m * d.args.kv.kv_heads)) * d.args.hd * 2;
    return bench_graph(g, sets, call, m, e);
}

/* ---- activation and embedding ---- */

int run_act(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    int64_t rows = case_int(c, "m"), ffn = case_int(c, "ffn");
    size_t stride = (size_t)(rows * ffn * 3);
    int sets = sets_wanted(g, c, stride * 2);
    bf16 *data = slab_array<bf16>(g, stride * (size_t)sets);
    dim3 grid((unsigned)rows, (unsigned)((ffn / 8 + SMALL_THREADS - 1) / SMALL_THREADS));
    numbers want, got;

    if (!data) {
        return slab_lack(g, m);
    }
    TRY(fill_random(g, data, stride * (size_t)sets, case_seed(c), 1.0f, e));
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        bf16 *in = data + stride * (size_t)set;

        silu_times<<<grid, SMALL_THREADS, 0, s>>>(in, in + rows * 2 * ffn, (int)ffn);
        CUDA_TRY(er, cudaGetLastError());
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    for (int i = 0; i < CHECK_ROWS; i++) {
        int64_t row = check_row(i, rows);
        numbers in, out;

        TRY(fetch(data + row * 2 * ffn, (size_t)(2 * ffn), &in, e));
        TRY(fetch(data + rows * 2 * ffn + row * ffn, (size_t)ffn, &out, e));
        for (size_t j = 0; j < (size_t)ffn; j++) {
            want.push_back(in[j] / (1 + exp(-in[j])) * in[(size_t)ffn + j]);
        }
        got.insert(got.end(), out.begin(), out.end());
    }
    TRY(check_error(m, stats_rel_error(got.data(), want.data(), want.size()), 8e-3));
    m->byte = (double)stride * 2;
    return bench_graph(g, sets, call, m, e);
}

int run_embed(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    int64_t rows = case_int(c, "m"), hidden = case_int(c, "hidden"), vocab = case_int(c, "vocab");
    const int sets = 4; /* of tokens: the rows they pick are spread over the whole table */
    bf16 *table = slab_array<bf16>(g, (size_t)(vocab * hidden)), *out = slab_array<bf16>(g, (size_t)(rows * hidden));
    int32_t *token = slab_array<int32_t>(g, (size_t)(rows * sets));
    std::vector<int32_t> host;
    uint64_t x = case_seed(c);

    if (!table || !out || !token) {
        return slab_lack(g, m);
    }
    for (int64_t i = 0; i < rows * sets; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        host.push_back((int32_t)((x >> 33) % (uint64_t)vocab));
    }
    TRY(upload(token, host.data(), host.size() * 4, e));
    TRY(fill_random(g, table, (size_t)(vocab * hidden), case_seed(c), 1.0f, e));
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        embed_rows<<<(unsigned)rows, SMALL_THREADS, 0, s>>>(table, token + rows * set, out, (int)hidden);
        CUDA_TRY(er, cudaGetLastError());
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    for (int i = 0; i < CHECK_ROWS; i++) {
        int64_t row = check_row(i, rows);
        numbers want, got;

        TRY(fetch(table + (int64_t)host[(size_t)row] * hidden, (size_t)hidden, &want, e));
        TRY(fetch(out + row * hidden, (size_t)hidden, &got, e));
        if (want != got) {
            return case_bad(m, "row %lld is not that of its token", (long long)row);
        }
    }
    m->byte = 4.0 * (double)(rows * hidden);
    return bench_graph(g, sets, call, m, e);
}

/* ---- sampling ---- */

static int check_argmax(const bf16 *logits, const int32_t *token, int64_t rows, int64_t vocab, struct measurement *m,
                        struct err *e)
{
    for (int i = 0; i < CHECK_ROWS; i++) {
        int64_t row = check_row(i, rows);
        numbers x;
        int32_t got;

        TRY(fetch(logits + row * vocab, (size_t)vocab, &x, e));
        TRY(download(&got, token + row, 4, e));
        if (got != std::max_element(x.begin(), x.end()) - x.begin()) {
            return case_bad(m, "row %lld: token %d is not the first largest", (long long)row, got);
        }
    }
    return CASE_DONE;
}

static int check_topk(const bf16 *logits, const int32_t *token, int64_t rows, int64_t vocab, int k, struct measurement *m,
                      struct err *e)
{
    for (int i = 0; i < CHECK_ROWS; i++) {
        int64_t row = check_row(i, rows);
        numbers x, sorted;
        int32_t got;

        TRY(fetch(logits + row * vocab, (size_t)vocab, &x, e));
        TRY(download(&got, token + row, 4, e));
        sorted = x;
        std::nth_element(sorted.begin(), sorted.begin() + k - 1, sorted.end(), std::greater<double>());
        if (got < 0 || got >= vocab || x[(size_t)got] < sorted[(size_t)k - 1]) {
            return case_bad(m, "row %lld: token %d is not among the %d largest", (long long)row, got, k);
        }
    }
    return CASE_DONE;
}

static int run_sampling(struct gpu *g, const struct probe_case *c, bool top, struct measurement *m, struct err *e)
{
    int64_t rows = case_int(c, "m"), vocab = case_int(c, "vocab");
    int k = (int)case_int(c, "k"), sets = sets_for(g, (size_t)(rows * vocab) * 2, slab_room(g) / 4 * 3);
    bf16 *logits = slab_array<bf16>(g, (size_t)(rows * vocab * sets));
    int32_t *token = slab_array<int32_t>(g, (size_t)rows);
    float *uniform = slab_array<float>(g, (size_t)rows);
    std::vector<float> host;

    if (!logits || !token || !uniform) {
        return slab_lack(g, m);
    }
    for (int64_t i = 0; i < rows; i++) {
        host.push_back(((float)i + 0.5f) / (float)rows);
    }
    TRY(upload(uniform, host.data(), host.size() * 4, e));
    TRY(fill_random(g, logits, (size_t)(rows * vocab * sets), case_seed(c), 4.0f, e));
    CUDA_TRY(e, cudaMemsetAsync(token, 0xff, (size_t)rows * 4, g->stream));
    auto call = [&](int set, cudaStream_t s, struct err *er) {
        const bf16 *from = logits + rows * vocab * set;

        if (top) {
            topk_rows<<<(unsigned)rows, SAMPLE_THREADS, 0, s>>>(from, token, (int)vocab, k, uniform);
        } else {
            argmax_rows<<<(unsigned)rows, SAMPLE_THREADS, 0, s>>>(from, token, (int)vocab);
        }
        CUDA_TRY(er, cudaGetLastError());
        return 0;
    };
    TRY(call(0, g->stream, e));
    CUDA_TRY(e, cudaStreamSynchronize(g->stream));
    TRY(top ? check_topk(logits, token, rows, vocab, k, m, e) : check_argmax(logits, token, rows, vocab, m, e));
    m->byte = (double)(rows * vocab) * 2;
    return bench_graph(g, sets, call, m, e);
}

int run_argmax(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    return run_sampling(g, c, false, m, e);
}

int run_topk(struct gpu *g, const struct probe_case *c, struct measurement *m, struct err *e)
{
    return run_sampling(g, c, true, m, e);
}
