/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/decoder.cuh"

#include <math.h>

#include <algorithm>

#include "calibrate/probe/small.cuh"

static int64_t width_qkv(const struct plan_model &m)
{
    return (int64_t)(m.heads + 2 * m.kv_heads) * m.head_dim;
}

static void product_shape(const struct plan_model &m, enum product p, int64_t *n, int64_t *k)
{
    int64_t attended = (int64_t)m.heads * m.head_dim;
    const int64_t shapes[PRODUCTS][2] = {{width_qkv(m), m.hidden}, {m.hidden, attended}, {2 * (int64_t)m.ffn, m.hidden},
                                         {m.hidden, m.ffn}, {m.vocab, m.hidden}};

    *n = shapes[p][0];
    *k = shapes[p][1];
}

/* ---- memory ---- */

static double weight_bytes(const struct plan_model &m)
{
    double params = (m.tied_embedding ? 1.0 : 2.0) * m.vocab * m.hidden;

    for (int p = 0; p < PRODUCT_HEAD; p++) {
        int64_t n, k;

        product_shape(m, (enum product)p, &n, &k);
        params += (double)m.layers * (double)n * (double)k;
    }
    return 2 * params;
}

static bf16 *take_weights(struct gpu *g, int64_t n, int64_t k, uint64_t seed, struct err *e)
{
    bf16 *w = slab_array<bf16>(g, (size_t)(n * k));

    return w && fill_random(g, w, (size_t)(n * k), seed, 1.0f / sqrtf((float)k), e) == 0 ? w : nullptr;
}

static int take_layer(struct gpu *g, struct decoder *d, int i, struct err *e)
{
    struct decoder_layer &l = d->layers[(size_t)i];
    bf16 **weights[] = {&l.qkv, &l.out, &l.gate_up, &l.down};
    size_t cells = (size_t)(d->n_blocks * d->block_tok) * (size_t)(d->m.kv_heads * d->m.head_dim);

    for (int p = 0; p < PRODUCT_HEAD; p++) {
        int64_t n, k;

        product_shape(d->m, (enum product)p, &n, &k);
        *weights[p] = take_weights(g, n, k, (uint64_t)(i * PRODUCTS + p + 1) << 40, e);
        if (!*weights[p]) {
            return CASE_SKIP;
        }
    }
    l.norm1 = take_weights(g, 1, d->m.hidden, (uint64_t)i << 8 | 1, e);
    l.norm2 = take_weights(g, 1, d->m.hidden, (uint64_t)i << 8 | 2, e);
    l.k = slab_array<bf16>(g, cells);
    l.v = slab_array<bf16>(g, cells);
    if (!l.norm1 || !l.norm2 || !l.k || !l.v) {
        return CASE_SKIP;
    }
    TRY(fill_random(g, l.k, cells, (uint64_t)i << 8 | 3, 1.0f, e));
    return fill_random(g, l.v, cells, (uint64_t)i << 8 | 4, 1.0f, e);
}

static int take_activations(struct gpu *g, struct decoder *d)
{
    size_t rows = (size_t)d->max_rows, hidden = (size_t)d->m.hidden, ffn = (size_t)d->m.ffn;

    d->x = slab_array<bf16>(g, rows * hidden);
    d->h = slab_array<bf16>(g, rows * hidden);
    d->residual = slab_array<bf16>(g, rows * hidden);
    d->qkv = slab_array<bf16>(g, rows * (size_t)width_qkv(d->m));
    d->attended = slab_array<bf16>(g, rows * (size_t)(d->m.heads * d->m.head_dim));
    d->gate_up = slab_array<bf16>(g, rows * 2 * ffn);
    d->act = slab_array<bf16>(g, rows * ffn);
    d->logits = slab_array<bf16>(g, (size_t)d->max_seqs * (size_t)d->m.vocab);
    d->sampled_token = slab_array<int32_t>(g, (size_t)d->max_seqs);
    d->part = slab_array<float>(g, d->part_floats);
    return g->slab_short ? CASE_SKIP : 0;
}

/* Angles of all positions (Llama 3's base). */
static int take_turns(struct gpu *g, struct decoder *d, int positions, struct err *e)
{
    int half = d->m.head_dim / 2;
    std::vector<float> host((size_t)positions * (size_t)d->m.head_dim);

    for (int p = 0; p < positions; p++) {
        for (int i = 0; i < half; i++) {
            double angle = p * pow(500000.0, -(double)i / half);

            host[((size_t)p * (size_t)half + (size_t)i) * 2] = (float)cos(angle);
            host[((size_t)p * (size_t)half + (size_t)i) * 2 + 1] = (float)sin(angle);
        }
    }
    d->turn = slab_array<float>(g, host.size());
    return d->turn ? upload(d->turn, host.data(), host.size() * sizeof(float), e) : CASE_SKIP;
}

static struct step_index index_at(const struct decoder *d, int32_t *at)
{
    size_t rows = (size_t)d->max_rows, seqs = (size_t)d->max_seqs;
    struct step_index x;

    x.token = at;
    x.position = x.token + rows;
    x.seq = x.position + rows;
    x.ctx = x.seq + rows;
    x.split = x.ctx + seqs;
    x.row = x.split + 1;
    x.n = x.row + seqs;
    x.before = x.n + seqs;
    x.chunk_seq = x.before + seqs;
    x.sampled = x.chunk_seq + seqs;
    x.table = x.sampled + seqs;
    return x;
}

static int take_index(struct gpu *g, struct decoder *d, struct err *e)
{
    d->index_words = 3 * (size_t)d->max_rows + (6 + (size_t)d->stride) * (size_t)d->max_seqs + 1;
    d->index_dev = slab_array<int32_t>(g, d->index_words);
    if (!d->index_dev) {
        return CASE_SKIP;
    }
    CUDA_TRY(e, cudaMallocHost((void **)&d->index_host, d->index_words * sizeof(int32_t)));
    std::fill(d->index_host, d->index_host + d->index_words, 0);
    d->dev = index_at(d, d->index_dev);
    d->host = index_at(d, d->index_host);
    return 0;
}

static int power_of_two(int v)
{
    int n = 0;

    while ((1 << n) < v) {
        n++;
    }
    return (1 << n) == v ? n : -1;
}

/* Sizes that the plan asks for. */
static void size_up(const struct gpu *g, struct decoder *d, const struct plan *p, int graph_max)
{
    int padded = std::min(graph_max, p->max_decode + 8);

    d->m = p->model;
    d->block_log2 = power_of_two(p->block_tok);
    d->block_tok = p->block_tok;
    d->n_blocks = p->max_blocks;
    if (d->block_log2 < 0) { /* the kernels want a power of two */
        d->block_log2 = 4;
        d->block_tok = 16;
        d->n_blocks = p->max_kv_tok / 16 + p->max_seqs + 1;
    }
    d->stride = (p->max_ctx + d->block_tok - 1) / d->block_tok;
    d->max_seqs = std::max(p->max_seqs, padded);
    d->max_rows = (int)std::max<int64_t>(p->max_rows, padded);
    d->part_floats = decode_part_floats(std::max(p->max_decode, 1), d->m.heads, DECODE_SPLITS_MAX, d->m.head_dim);
    for (int b = 1; b <= padded; b++) {
        d->part_floats = std::max(d->part_floats, decode_part_floats(b, d->m.heads, decoder_graph_splits(g, d, b),
                                                                     d->m.head_dim));
    }
    d->layers.assign((size_t)d->m.layers, {});
}

static int too_small(const struct gpu *g, const struct decoder *d, struct err *e)
{
    double kv = 4.0 * (double)d->n_blocks * d->block_tok * d->m.kv_heads * d->m.head_dim * d->m.layers;

    return err_set(e, SIM_E_DATA,
                   "the plan does not fit on %s: weights %.1f GB, KV of its largest step %.1f GB, rows of activations %d, "
                   "and %.1f GB are free",
                   g->prop.name, weight_bytes(d->m) / 1e9, kv / 1e9, d->max_rows, (double)g->slab_size / 1e9);
}

static int take_all(struct gpu *g, struct decoder *d, const struct plan *p, struct err *e)
{
    d->embedding = take_weights(g, d->m.vocab, d->m.hidden, 77, e);
    d->head = d->m.tied_embedding ? d->embedding : take_weights(g, d->m.vocab, d->m.hidden, 78, e);
    d->norm = take_weights(g, 1, d->m.hidden, 79, e);
    if (!d->embedding || !d->head || !d->norm) {
        return CASE_SKIP;
    }
    TRY(take_activations(g, d));
    TRY(take_turns(g, d, p->max_ctx + 1, e));
    TRY(take_index(g, d, e));
    for (int i = 0; i < d->m.layers; i++) {
        TRY(take_layer(g, d, i, e));
    }
    return 0;
}

int decoder_init(struct gpu *g, struct decoder *d, const struct plan *p, int graph_max, struct err *e)
{
    uint64_t x = 1;

    size_up(g, d, p, graph_max);
    slab_reset(g);
    if (take_all(g, d, p, e) != 0) {
        return e->code ? e->code : too_small(g, d, e);
    }
    for (int64_t b = 0; b < d->n_blocks; b++) {
        d->order.push_back((int32_t)b);
    }
    for (size_t i = d->order.size(); i > 1; i--) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(d->order[i - 1], d->order[(x >> 33) % i]);
    }
    return 0;
}

void decoder_release(struct decoder *d)
{
    for (auto &plans : d->plans) {
        for (auto &p : plans) {
            gemm_plan_release(&p.second);
        }
    }
    cudaFreeHost(d->index_host);
}

/* ---- preparing a step ---- */

struct filler {
    struct decoder *d;
    size_t next_block; /* in d->order */
    int seq, row;
};

static void give_blocks(struct filler *f, int tok)
{
    struct decoder *d = f->d;
    int n = (tok + d->block_tok - 1) / d->block_tok;

    for (int b = 0; b < n; b++) {
        d->host.table[(size_t)f->seq * (size_t)d->stride + (size_t)b] = d->order[f->next_block];
        f->next_block = (f->next_block + 1) % d->order.size();
    }
}

static void put_row(struct filler *f, int position)
{
    f->d->host.token[f->row] = (int32_t)(((int64_t)f->row * 7919 + position * 104729LL) % f->d->m.vocab);
    f->d->host.position[f->row] = position;
    f->d->host.seq[f->row] = f->seq;
    f->row++;
}

static void put_decode(struct filler *f, int ctx)
{
    f->d->host.ctx[f->seq] = ctx;
    f->d->host.sampled[f->seq] = f->row;
    if (ctx > 0) {
        give_blocks(f, ctx);
    }
    put_row(f, ctx - 1); /* -1 for a padded place: rotates nothing, stores nothing */
    f->seq++;
}

static void put_chunk(struct filler *f, const struct plan_chunk *c, int i, struct decoder_step *ret)
{
    struct step_index &h = f->d->host;

    h.row[i] = f->row;
    h.n[i] = c->n_tok;
    h.before[i] = c->start_tok;
    h.chunk_seq[i] = f->seq;
    give_blocks(f, c->start_tok + c->n_tok);
    for (int t = 0; t < c->n_tok; t++) {
        put_row(f, c->start_tok + t);
    }
    if (c->last) {
        h.sampled[ret->n_sampled++] = f->row - 1;
    }
    ret->longest_chunk = std::max(ret->longest_chunk, c->n_tok);
    f->seq++;
}

int decoder_graph_splits(const struct gpu *g, const struct decoder *d, int padded)
{
    int work = padded * d->m.kv_heads, n = (g->prop.multiProcessorCount * 6 + work - 1) / work;

    return n < 4 ? 4 : n > DECODE_SPLITS_MAX ? DECODE_SPLITS_MAX : n;
}

static int longest_of(const struct plan_step *s)
{
    int longest = 1;

    for (int i = 0; i < s->n_decode; i++) {
        longest = std::max(longest, (int)s->ctx[i]);
    }
    return longest;
}

void decoder_prepare(struct gpu *g, struct decoder *d, const struct plan_step *s, int padded, int n_split,
                     struct decoder_step *ret)
{
    struct filler f = {d, (size_t)s->step * 7919 % d->order.size(), 0, 0};
    int longest = longest_of(s), split = decode_split(g, s->ctx, s->n_decode, d->m.kv_heads);

    *ret = {};
    ret->n_decode = padded ? padded : s->n_decode;
    ret->n_sampled = ret->n_decode;
    ret->n_chunk = s->n_chunk;
    for (int i = 0; i < ret->n_decode; i++) {
        put_decode(&f, i < s->n_decode ? s->ctx[i] : 0);
    }
    for (int i = 0; i < s->n_chunk; i++) {
        put_chunk(&f, &s->chunks[i], i, ret);
    }
    ret->rows = f.row;
    if (n_split > 0) {
        split = std::max(128, ((longest + n_split - 1) / n_split + 63) / 64 * 64);
    }
    ret->n_split = n_split > 0 ? n_split : (longest + split - 1) / split;
    d->host.split[0] = split;
}

int decoder_upload(struct decoder *d, cudaStream_t s, struct err *e)
{
    CUDA_TRY(e, cudaMemcpyAsync(d->index_dev, d->index_host, d->index_words * sizeof(int32_t), cudaMemcpyHostToDevice, s));
    return 0;
}

/* ---- products ---- */

static int plan_for(struct gpu *g, struct decoder *d, enum product p, int64_t m, const struct gemm_plan **ret,
                    struct err *e)
{
    auto found = d->plans[p].find(m);

    if (found == d->plans[p].end()) {
        struct gemm_plan plan = {};
        int64_t n, k;
        int rc;

        product_shape(d->m, p, &n, &k);
        rc = gemm_plan_make(g, GEMM_BF16, m, n, k, &plan, e);
        if (rc != 0) {
            gemm_plan_release(&plan);
            return rc < 0 ? rc : err_set(e, SIM_E_CHECK, "cuBLASLt has no algorithm for a bf16 product of %lld rows",
                                         (long long)m);
        }
        found = d->plans[p].emplace(m, plan).first;
    }
    *ret = &found->second;
    return 0;
}

int decoder_plans(struct gpu *g, struct decoder *d, const struct decoder_step *s, struct err *e)
{
    for (int p = 0; p < PRODUCTS; p++) {
        const struct gemm_plan *plan;
        int m = p == PRODUCT_HEAD ? s->n_sampled : s->rows;

        if (m > 0) {
            TRY(plan_for(g, d, (enum product)p, m, &plan, e));
        }
    }
    return 0;
}

static int product(struct gpu *g, struct decoder *d, enum product p, int m, const bf16 *w, const bf16 *in, bf16 *out,
                   cudaStream_t s, struct err *e)
{
    const struct gemm_plan *plan;

    TRY(plan_for(g, d, p, m, &plan, e));
    return gemm_run(g, plan, w, in, out, g->workspace, s, e);
}

/* ---- one iteration ---- */

static int norm(struct decoder *d, bf16 *x, bf16 *residual, const bf16 *weight, const int32_t *rows, int n,
                cudaStream_t s, struct err *e)
{
    rms_norm<<<(unsigned)n, SMALL_THREADS, 0, s>>>({x, residual, weight, d->h, rows, d->m.hidden, 1e-5f});
    CUDA_TRY(e, cudaGetLastError());
    return 0;
}

static int rotate(struct decoder *d, const struct paged_kv &kv, int rows, cudaStream_t s, struct err *e)
{
    int64_t threads = (int64_t)rows * width_qkv(d->m) / 4;

    rotate_and_store<<<(unsigned)((threads + SMALL_THREADS - 1) / SMALL_THREADS), SMALL_THREADS, 0, s>>>(
        {d->qkv, kv, d->dev.position, d->dev.seq, d->turn, rows, d->m.heads, d->m.head_dim});
    CUDA_TRY(e, cudaGetLastError());
    return 0;
}

static struct prefill_args prefill_of(const struct decoder *d, const struct paged_kv &kv)
{
    return {kv, d->qkv, (int)width_qkv(d->m), d->attended, d->m.heads, d->dev.row, d->dev.n, d->dev.before,
            d->dev.chunk_seq, softmax_scale_log2(d->m.head_dim)};
}

/* The tile that is faster for the first chunks that come. */
static int choose_tile(struct gpu *g, struct decoder *d, const struct decoder_step *st, const struct paged_kv &kv,
                       struct err *e)
{
    struct prefill_args a = prefill_of(d, kv);
    double seconds[2];

    if (st->longest_chunk < 128) {
        return 64;
    }
    for (int i = 0; i < 2; i++) {
        TRY(bench_glance(g, [&](int, cudaStream_t s, struct err *er) {
            return launch_prefill(&a, d->m.head_dim, 64 << i, st->longest_chunk, st->n_chunk, s, er);
        }, &seconds[i], e));
    }
    return d->tile_rows = seconds[0] <= seconds[1] ? 64 : 128;
}

static int attend(struct gpu *g, struct decoder *d, const struct decoder_step *st, const struct paged_kv &kv,
                  cudaStream_t s, struct err *e)
{
    if (st->n_decode > 0) {
        struct decode_args a = {kv,          d->qkv,       (int)width_qkv(d->m), d->attended, d->m.heads,
                                d->dev.ctx,  d->dev.split, st->n_split,          d->part,     softmax_scale_log2(d->m.head_dim)};

        TRY(launch_decode(&a, d->m.head_dim, st->n_decode, s, e));
    }
    if (st->n_chunk > 0) {
        struct prefill_args a = prefill_of(d, kv);
        int tile = d->tile_rows ? d->tile_rows : choose_tile(g, d, st, kv, e);

        if (tile < 0) {
            return tile;
        }
        TRY(launch_prefill(&a, d->m.head_dim, tile, st->longest_chunk, st->n_chunk, s, e));
    }
    return 0;
}

static int run_layer(struct gpu *g, struct decoder *d, const struct decoder_step *st, int i, cudaStream_t s,
                     struct err *e)
{
    const struct decoder_layer &l = d->layers[(size_t)i];
    struct paged_kv kv = {l.k, l.v, d->dev.table, d->stride, d->block_log2, d->m.kv_heads};
    int rows = st->rows;
    dim3 act((unsigned)rows, (unsigned)((d->m.ffn / 8 + SMALL_THREADS - 1) / SMALL_THREADS));

    TRY(i == 0 ? norm(d, d->residual, nullptr, l.norm1, nullptr, rows, s, e)
               : norm(d, d->x, d->residual, l.norm1, nullptr, rows, s, e));
    TRY(product(g, d, PRODUCT_QKV, rows, l.qkv, d->h, d->qkv, s, e));
    TRY(rotate(d, kv, rows, s, e));
    TRY(attend(g, d, st, kv, s, e));
    TRY(product(g, d, PRODUCT_OUT, rows, l.out, d->attended, d->x, s, e));
    TRY(norm(d, d->x, d->residual, l.norm2, nullptr, rows, s, e));
    TRY(product(g, d, PRODUCT_GATE_UP, rows, l.gate_up, d->h, d->gate_up, s, e));
    silu_times<<<act, SMALL_THREADS, 0, s>>>(d->gate_up, d->act, d->m.ffn);
    CUDA_TRY(e, cudaGetLastError());
    return product(g, d, PRODUCT_DOWN, rows, l.down, d->act, d->x, s, e);
}

int decoder_run(struct gpu *g, struct decoder *d, const struct decoder_step *st, cudaStream_t s, struct err *e)
{
    embed_rows<<<(unsigned)st->rows, SMALL_THREADS, 0, s>>>(d->embedding, d->dev.token, d->residual, d->m.hidden);
    CUDA_TRY(e, cudaGetLastError());
    for (int i = 0; i < d->m.layers; i++) {
        TRY(run_layer(g, d, st, i, s, e));
    }
    if (st->n_sampled == 0) {
        return 0;
    }
    TRY(norm(d, d->x, d->residual, d->norm, d->dev.sampled, st->n_sampled, s, e));
    TRY(product(g, d, PRODUCT_HEAD, st->n_sampled, d->head, d->h, d->logits, s, e));
    argmax_rows<<<(unsigned)st->n_sampled, SAMPLE_THREADS, 0, s>>>(d->logits, d->sampled_token, d->m.vocab);
    CUDA_TRY(e, cudaGetLastError());
    return 0;
}
