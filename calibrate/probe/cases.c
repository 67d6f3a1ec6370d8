/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/cases.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/probe/args.h"

static const char *const kinds[] = {
    "limit", "launch", "memory", "gemm",  "moe_gemm", "prefill", "decode",      "mixed", "norm",       "rope",  "act",
    "embed", "argmax", "topk",   "pcie",  "blocks",   "expert_load", "peer",  "collective", "share", "beside",
};
#define N_KINDS (sizeof(kinds) / sizeof(*kinds))
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* ---- making a case ---- */

static struct case_param num(const char *name, int64_t v)
{
    return (struct case_param){.name = name, .number = v};
}

static struct case_param word(const char *name, const char *v)
{
    return (struct case_param){.name = name, .word = v};
}

static void write_id(struct probe_case *c)
{
    size_t n = (size_t)snprintf(c->id, CASE_ID, "%s", c->kind);

    for (int i = 0; i < c->n_params && n < CASE_ID; i++) {
        const struct case_param *p = &c->params[i];

        if (p->word) {
            n += (size_t)snprintf(c->id + n, CASE_ID - n, " %s=%s", p->name, p->word);
        } else {
            n += (size_t)snprintf(c->id + n, CASE_ID - n, " %s=%lld", p->name, (long long)p->number);
        }
    }
}

static void add(struct case_list *l, const char *kind, const struct case_param *params, int n)
{
    struct probe_case *c;

    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        struct probe_case *bigger = realloc(l->cases, cap * sizeof(*bigger));

        if (!bigger) {
            l->failed = true;
            return;
        }
        l->cases = bigger;
        l->cap = cap;
    }
    c = &l->cases[l->n];
    *c = (struct probe_case){.kind = kind, .n_params = n};
    memcpy(c->params, params, (size_t)n * sizeof(*params));
    write_id(c);
    l->n++;
}

#define ADD(l, kind, ...)                                                                          \
    add(l, kind, (const struct case_param[]){__VA_ARGS__},                                         \
        (int)(sizeof((const struct case_param[]){__VA_ARGS__}) / sizeof(struct case_param)))

/* ---- shapes ---- */

struct product {
    int64_t n, k;
    int64_t m_max; /* products of the LM head see sampled rows only */
};

/* QKV, out, gate and up together, down, LM head: Llama-3.1-8B, then Llama-3.2-1B, Qwen3-32B, and
 * Llama-3.1-70B split over four GPUs (columns of QKV and gate/up, rows of out and down). */
static const struct product products[] = {
    {6144, 4096, 0},  {4096, 4096, 0},  {28672, 4096, 0}, {4096, 14336, 0}, {128256, 4096, 512},
    {3072, 2048, 0},  {2048, 2048, 0},  {16384, 2048, 0}, {2048, 8192, 0},  {128256, 2048, 512},
    {10240, 5120, 0}, {5120, 8192, 0},  {51200, 5120, 0}, {5120, 25600, 0},
    {2560, 8192, 0},  {8192, 2048, 0},  {14336, 8192, 0}, {8192, 7168, 0},
};
#define PRODUCTS_8B 5

static const int64_t tokens_full[] = {1,   2,   4,   8,    16,   24,   32,   48,   64,   96,   128,  192,
                                      256, 384, 512, 768,  1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288,
                                      16384};
static const int64_t tokens_quick[] = {1, 16, 64, 256, 1024, 8192};
static const int64_t tokens_few[] = {1, 8, 32, 128, 512, 2048, 8192};

struct numbers {
    const int64_t *v;
    size_t n;
};
#define NUMBERS(a) ((struct numbers){a, COUNT(a)})

struct heads {
    int64_t heads, kv_heads, head_dim;
};
/* Llama-3.1-8B; 70B; one of eight ranks of it; Llama-3.2-1B; Llama-2-7B, which has no groups. */
static const struct heads heads_all[] = {
    {32, 8, 128}, {64, 8, 128}, {8, 1, 128}, {32, 8, 64}, {32, 32, 128}};

static void add_limits(struct case_list *l)
{
    static const char *const dtypes[] = {"bf16", "fp16", "fp8"};

    ADD(l, "limit", word("what", "read"), num("bytes", (int64_t)2 << 30));
    ADD(l, "limit", word("what", "copy"), num("bytes", (int64_t)1 << 30));
    ADD(l, "limit", word("what", "write"), num("bytes", (int64_t)2 << 30));
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        ADD(l, "limit", word("what", "gemm"), word("dtype", dtypes[i]), num("m", 8192), num("n", 8192),
            num("k", 8192));
    }
}

static void add_products(struct case_list *l, const char *dtype, size_t n_shapes, struct numbers m)
{
    for (size_t s = 0; s < n_shapes; s++) {
        for (size_t i = 0; i < m.n; i++) {
            if (products[s].m_max == 0 || m.v[i] <= products[s].m_max) {
                ADD(l, "gemm", word("dtype", dtype), num("m", m.v[i]), num("n", products[s].n),
                    num("k", products[s].k));
            }
        }
    }
}

static void add_gemms(struct case_list *l, bool quick)
{
    struct numbers few = NUMBERS(tokens_few);

    if (quick) {
        add_products(l, "bf16", PRODUCTS_8B, NUMBERS(tokens_quick));
        add_products(l, "fp8", 1, NUMBERS(tokens_quick));
        return;
    }
    add_products(l, "bf16", COUNT(products), NUMBERS(tokens_full));
    add_products(l, "fp16", PRODUCTS_8B, few);
    add_products(l, "fp8", PRODUCTS_8B, NUMBERS(tokens_full));
    add_products(l, "fp8", COUNT(products), few);
}

static void add_moe(struct case_list *l, bool quick)
{
    /* Mixtral-8x7B and Qwen3-30B-A3B, gate/up and down. */
    static const int64_t shapes[][4] = {
        {8, 2, 28672, 4096}, {8, 2, 4096, 14336}, {128, 8, 1536, 2048}, {128, 8, 2048, 768}};
    static const int64_t m[] = {1, 4, 16, 64, 256, 1024, 4096};
    static const int64_t skews[] = {0, 50, 100};

    for (size_t s = 0; s < COUNT(shapes); s++) {
        for (size_t i = 0; i < COUNT(m); i++) {
            for (size_t k = 0; k < COUNT(skews); k++) {
                if (quick && (i % 3 != 0 || k != 1)) {
                    continue;
                }
                ADD(l, "moe_gemm", word("dtype", "bf16"), num("experts", shapes[s][0]),
                    num("top_k", shapes[s][1]), num("m", m[i]), num("n", shapes[s][2]),
                    num("k", shapes[s][3]), num("skew", skews[k]));
            }
        }
    }
}

/* ---- attention ---- */

static void add_prefill(struct case_list *l, const struct heads *h, int64_t block, struct numbers q,
                        struct numbers ctx)
{
    for (size_t i = 0; i < q.n; i++) {
        for (size_t j = 0; j < ctx.n; j++) {
            ADD(l, "prefill", num("heads", h->heads), num("kv_heads", h->kv_heads),
                num("head_dim", h->head_dim), num("block", block), num("q", q.v[i]),
                num("ctx", ctx.v[j]));
        }
    }
}

static void add_decode(struct case_list *l, const struct heads *h, int64_t block, struct numbers batch,
                       struct numbers ctx, int64_t spread)
{
    for (size_t i = 0; i < batch.n; i++) {
        for (size_t j = 0; j < ctx.n; j++) {
            if (batch.v[i] * ctx.v[j] <= (int64_t)4 << 20 && (spread == 0 || batch.v[i] > 1)) {
                ADD(l, "decode", num("heads", h->heads), num("kv_heads", h->kv_heads),
                    num("head_dim", h->head_dim), num("block", block), num("batch", batch.v[i]),
                    num("ctx", ctx.v[j]), num("spread", spread));
            }
        }
    }
}

static void add_attention_quick(struct case_list *l)
{
    static const int64_t q[] = {64, 512, 2048}, ctx[] = {0, 4096}, batch[] = {1, 16, 64, 256},
                         dctx[] = {256, 1024, 8192};

    add_prefill(l, &heads_all[0], 16, NUMBERS(q), NUMBERS(ctx));
    add_decode(l, &heads_all[0], 16, NUMBERS(batch), NUMBERS(dctx), 0);
    add_decode(l, &heads_all[0], 16, (struct numbers){batch + 2, 1}, (struct numbers){dctx + 1, 1}, 90);
}

static void add_attention(struct case_list *l)
{
    static const int64_t q[] = {16, 64, 128, 256, 512, 1024, 2048, 4096, 8192},
                         ctx[] = {0, 512, 2048, 8192, 32768}, q_few[] = {64, 512, 4096},
                         ctx_few[] = {0, 4096}, batch[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
                         dctx[] = {64, 256, 1024, 4096, 16384, 65536}, batch_few[] = {1, 8, 64, 256},
                         dctx_few[] = {256, 1024, 8192};
    struct numbers qf = NUMBERS(q_few), cf = NUMBERS(ctx_few), bf = NUMBERS(batch_few), df = NUMBERS(dctx_few);

    for (size_t i = 0; i < COUNT(heads_all); i++) {
        add_prefill(l, &heads_all[i], 16, i < 2 ? NUMBERS(q) : qf, i < 2 ? NUMBERS(ctx) : cf);
    }
    for (size_t i = 0; i < COUNT(heads_all); i++) {
        add_decode(l, &heads_all[i], 16, i < 2 ? NUMBERS(batch) : bf, i < 2 ? NUMBERS(dctx) : df, 0);
    }
    add_decode(l, &heads_all[0], 16, bf, df, 50);
    add_decode(l, &heads_all[0], 16, bf, df, 90);
    add_decode(l, &heads_all[0], 32, bf, df, 0);
    add_decode(l, &heads_all[0], 128, bf, df, 0);
}

static void add_mixed(struct case_list *l, bool quick)
{
    static const int64_t q[] = {256, 512, 2048}, batch[] = {16, 64, 256};

    for (size_t i = 0; i < COUNT(q); i++) {
        for (size_t j = 0; j < COUNT(batch); j++) {
            if (!quick || (i == 1 && j == 1)) {
                ADD(l, "mixed", num("heads", 32), num("kv_heads", 8), num("head_dim", 128),
                    num("block", 16), num("q", q[i]), num("ctx", 1024), num("batch", batch[j]),
                    num("dctx", 1024));
            }
        }
    }
}

/* ---- small kernels ---- */

static void add_small_at(struct case_list *l, int64_t m, const char *l2, bool quick)
{
    static const int64_t hidden[] = {4096, 2048, 8192}, ffn[] = {14336, 8192, 28672};

    for (size_t i = 0; i < (quick ? 1 : COUNT(hidden)); i++) {
        ADD(l, "norm", num("m", m), num("hidden", hidden[i]), word("l2", l2));
        ADD(l, "act", num("m", m), num("ffn", ffn[i]), word("l2", l2));
    }
    for (size_t i = 0; i < (quick ? 1 : 2); i++) {
        ADD(l, "rope", num("m", m), num("heads", heads_all[i].heads),
            num("kv_heads", heads_all[i].kv_heads), num("head_dim", heads_all[i].head_dim),
            num("block", 16), word("l2", l2));
    }
}

static void add_small(struct case_list *l, bool quick)
{
    struct numbers m = quick ? NUMBERS(tokens_few) : NUMBERS(tokens_full);

    for (size_t i = 0; i < m.n; i++) {
        add_small_at(l, m.v[i], "cold", quick);
        if (m.v[i] <= 1024 && !quick) {
            add_small_at(l, m.v[i], "warm", quick);
        }
        ADD(l, "embed", num("m", m.v[i]), num("hidden", 4096), num("vocab", 128256));
        if (m.v[i] <= 512) {
            ADD(l, "argmax", num("m", m.v[i]), num("vocab", 128256));
            ADD(l, "topk", num("m", m.v[i]), num("vocab", 128256), num("k", 50));
        }
    }
}

static void add_launch(struct case_list *l)
{
    static const int64_t nodes[] = {1, 10, 100, 1000};

    for (size_t i = 0; i < COUNT(nodes); i++) {
        ADD(l, "launch", word("what", "kernel"), num("nodes", nodes[i]));
        ADD(l, "launch", word("what", "graph"), num("nodes", nodes[i]));
    }
}

static void add_memory(struct case_list *l, bool quick)
{
    static const char *const what[] = {"read", "copy", "write"};

    for (size_t w = 0; w < COUNT(what); w++) {
        for (int shift = 16; shift <= 32; shift += quick ? 8 : 2) {
            ADD(l, "memory", word("what", what[w]), num("bytes", (int64_t)1 << shift));
        }
    }
}

/* ---- copies from and to the host ---- */

static void add_pcie(struct case_list *l, bool quick)
{
    static const char *const dirs[] = {"h2d", "d2h", "both"}, *const hosts[] = {"pinned", "pageable"};

    for (size_t d = 0; d < COUNT(dirs); d++) {
        for (size_t h = 0; h < COUNT(hosts); h++) {
            for (int shift = 12; shift <= 28; shift += quick ? 8 : 2) {
                /* Two pageable copies at once are copies through the same staging buffer. */
                if (d < 2 || h == 0) {
                    ADD(l, "pcie", word("dir", dirs[d]), word("host", hosts[h]),
                        num("bytes", (int64_t)1 << shift), word("beside", "none"));
                }
            }
        }
        for (int shift = 16; shift <= 28; shift += quick ? 12 : 6) {
            ADD(l, "pcie", word("dir", dirs[d]), word("host", "pinned"), num("bytes", (int64_t)1 << shift),
                word("beside", "gemm"));
        }
    }
}

static void add_blocks(struct case_list *l, bool quick)
{
    static const char *const how[] = {"copies", "batched", "gather"}, *const dirs[] = {"h2d", "d2h"};
    /* 16 tokens of one layer's keys of Llama-3.1-8B; of keys and values; of all 32 layers. */
    static const int64_t bytes[] = {32768, 65536, 2097152}, counts[] = {1, 16, 128, 1024};

    for (size_t h = 0; h < COUNT(how); h++) {
        for (size_t d = 0; d < COUNT(dirs); d++) {
            for (size_t b = 0; b < COUNT(bytes); b++) {
                for (size_t c = 0; c < COUNT(counts); c++) {
                    if (bytes[b] * counts[c] <= (int64_t)512 << 20 && (!quick || (c == 2 && b != 1))) {
                        ADD(l, "blocks", word("how", how[h]), word("dir", dirs[d]), num("bytes", bytes[b]),
                            num("count", counts[c]));
                    }
                }
            }
        }
    }
}

static void add_experts(struct case_list *l, bool quick)
{
    /* One expert, three bf16 matrices: Qwen3-30B-A3B, DeepSeek-V2-Lite, Mixtral-8x7B. */
    static const int64_t bytes[] = {3 * 768 * 2048 * 2, 3 * 1408 * 2048 * 2, 3 * 14336LL * 4096 * 2};
    static const int64_t counts[] = {1, 4};

    for (size_t b = 0; b < COUNT(bytes); b++) {
        for (size_t c = 0; c < (quick ? 1 : COUNT(counts)); c++) {
            ADD(l, "expert_load", num("bytes", bytes[b]), num("count", counts[c]));
        }
    }
}

/* ---- several GPUs, several streams ---- */

static void add_peers(struct case_list *l, bool quick, int gpus)
{
    static const char *const what[] = {"all_reduce", "all_gather", "all_to_all"};

    for (int to = 1; to < gpus; to++) {
        for (int shift = 12; shift <= 28; shift += quick ? 8 : 4) {
            ADD(l, "peer", num("from", 0), num("to", to), num("bytes", (int64_t)1 << shift), num("both", 0));
            ADD(l, "peer", num("from", 0), num("to", to), num("bytes", (int64_t)1 << shift), num("both", 1));
        }
    }
    for (int ranks = 2; ranks <= gpus; ranks *= 2) {
        for (size_t w = 0; w < COUNT(what); w++) {
            for (int shift = 12; shift <= 28; shift += quick ? 4 : 1) {
                ADD(l, "collective", word("what", what[w]), num("ranks", ranks),
                    num("bytes", (int64_t)1 << shift));
            }
        }
    }
}

/* Shares of the SMs are eighths, counted from the GPU's number when the case runs. */
static void add_shares(struct case_list *l, bool quick)
{
    static const char *const what[] = {"gemm", "prefill", "decode", "copy"};

    for (size_t w = 0; w < COUNT(what); w++) {
        for (int eighths = 1; eighths <= 8; eighths += quick ? 7 : 1) {
            ADD(l, "share", word("what", what[w]), num("eighths", eighths));
        }
    }
    for (int eighths = 1; eighths <= 7; eighths += quick ? 3 : 1) {
        ADD(l, "beside", word("what", "decode"), num("eighths", eighths), word("other", "prefill"));
        ADD(l, "beside", word("what", "prefill"), num("eighths", eighths), word("other", "decode"));
    }
}

/* ---- the list ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct probe_case *)a)->id, ((const struct probe_case *)b)->id);
}

/* Keeps what `only` names, each id once, in order. */
static int filter(struct case_list *l, const char *only)
{
    struct probe_case *sorted = malloc((l->n + 1) * sizeof(*sorted));
    bool *gone = calloc(l->n + 1, sizeof(*gone));
    size_t kept = 0, n_sorted = 0;

    if (!sorted || !gone) {
        free(sorted);
        free(gone);
        return -1;
    }
    for (size_t i = 0; i < l->n; i++) {
        sorted[i] = l->cases[i];
    }
    qsort(sorted, l->n, sizeof(*sorted), by_id);
    for (size_t i = 0; i < l->n; i++) {
        if (n_sorted == 0 || by_id(&sorted[n_sorted - 1], &sorted[i]) != 0) {
            sorted[n_sorted++] = sorted[i];
        }
    }
    for (size_t i = 0; i < l->n; i++) {
        struct probe_case *at = bsearch(&l->cases[i], sorted, n_sorted, sizeof(*sorted), by_id);
        bool *seen = &gone[at - sorted];

        if (!*seen && only_matches(only, l->cases[i].kind, l->cases[i].id)) {
            l->cases[kept++] = l->cases[i];
        }
        *seen = true;
    }
    l->n = kept;
    free(sorted);
    free(gone);
    return 0;
}

int cases_build(struct case_list *ret, bool quick, const char *only, int gpus, struct err *e)
{
    *ret = (struct case_list){0};
    add_limits(ret);
    add_launch(ret);
    add_memory(ret, quick);
    add_gemms(ret, quick);
    if (quick) {
        add_attention_quick(ret);
    } else {
        add_attention(ret);
    }
    add_mixed(ret, quick);
    add_small(ret, quick);
    add_moe(ret, quick);
    add_pcie(ret, quick);
    add_blocks(ret, quick);
    add_experts(ret, quick);
    add_shares(ret, quick);
    add_peers(ret, quick, gpus);
    if (ret->failed || filter(ret, only) < 0) {
        cases_release(ret);
        return err_set(e, SIM_E_NOMEM, "out of memory for the list of cases");
    }
    return 0;
}

void cases_release(struct case_list *l)
{
    free(l->cases);
    *l = (struct case_list){0};
}

int cases_check_only(const char *only, struct err *e)
{
    while (*only) {
        size_t n = strcspn(only, ","), kind = 0, i = 0;

        while (kind < n && only[kind] != ' ') {
            kind++;
        }
        while (i < N_KINDS && (strlen(kinds[i]) != kind || strncmp(kinds[i], only, kind) != 0)) {
            i++;
        }
        if (i == N_KINDS) {
            return err_set(e, SIM_E_USAGE, "--only: '%.*s' is no kind of case (steelyard-probe --list)",
                           (int)(n < 60 ? n : 60), only);
        }
        only += n + (only[n] == ',');
    }
    return 0;
}

int64_t case_int(const struct probe_case *c, const char *name)
{
    for (int i = 0; i < c->n_params; i++) {
        if (strcmp(c->params[i].name, name) == 0) {
            return c->params[i].number;
        }
    }
    return 0;
}

const char *case_word(const struct probe_case *c, const char *name)
{
    for (int i = 0; i < c->n_params; i++) {
        if (strcmp(c->params[i].name, name) == 0 && c->params[i].word) {
            return c->params[i].word;
        }
    }
    return "";
}

void split_skewed(int64_t total, int n, int64_t skew, int64_t *ret)
{
    double sum = 0;
    int64_t given = 0;

    for (int i = 0; i < n; i++) {
        sum += pow(i + 1, -(double)skew / 100);
    }
    for (int i = 0; i < n; i++) {
        ret[i] = (int64_t)((double)total * pow(i + 1, -(double)skew / 100) / sum);
        given += ret[i];
    }
    while (given < total) { /* at most n rounds: each share was rounded down by less than one */
        double most = -1;
        int who = 0;

        for (int i = 0; i < n; i++) {
            double left = (double)total * pow(i + 1, -(double)skew / 100) / sum - (double)ret[i];

            if (left > most) {
                most = left;
                who = i;
            }
        }
        ret[who]++;
        given++;
    }
}

void spread_contexts(int64_t ctx, int64_t spread, int n, int32_t *ret)
{
    /* A step that is coprime to n walks all places; about n times the golden ratio mixes well. */
    int step = n > 2 ? (int)(0.618 * n) | 1 : 1;
    int a, b;

    do {
        a = n;
        b = step;
        while (b > 0) {
            int t = a % b;

            a = b;
            b = t;
        }
        step += a > 1;
    } while (a > 1);
    for (int i = 0; i < n; i++) {
        double place = n > 1 ? 2.0 * i / (n - 1) - 1 : 0;
        double v = (double)ctx * (1 + place * (double)spread / 100);

        ret[(int64_t)i * step % n] = v < 1 ? 1 : (int32_t)lround(v);
    }
}

uint64_t case_seed(const struct probe_case *c)
{
    uint64_t h = 14695981039346656037u;

    for (const char *s = c->id; *s; s++) {
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    }
    return h;
}
