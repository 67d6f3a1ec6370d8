/* SPDX-License-Identifier: Apache-2.0
 *
 * AIConfigurator's kernel tables (ai-dynamo/aiconfigurator, systems/data): matrix products over (n, k, m),
 * prefill and decode attention over heads, batch and length, routed experts. Files are named
 * SYSTEM_ENGINEVERSION_KIND.csv.gz. Kernels too small for a table (norms, rotary embedding ...) are
 * assumed from their memory traffic. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/sheet.h"
#include "calibrate/waves.h"

struct tables {
    const char *prefix; /* "h100_sxm_vllm0.24.0" */
    const char *dtype, *attn_dtype, *kv_dtype;
    double kernel_us; /* shortest matrix product */
};

/* ---- which files ---- */

/* "h100_sxm_vllm0.24.0_gemm.csv.gz" of our GPU -> its prefix. */
static const char *prefix_of(const struct fit *f, const char *file)
{
    const char *kind = strstr(file, "_gemm.csv"), *engine = strstr(file, "_vllm");
    if (!kind || !engine || engine > kind) {
        return NULL;
    }
    char *system = arena_strndup(f->arena, file, (size_t)(engine - file));
    if (!system || !fit_same_name(system, f->gpu.name)) {
        return NULL;
    }
    return arena_strndup(f->arena, file, (size_t)(kind - file));
}

static int is_gemm(const struct dirent *entry)
{
    const char *kind = strstr(entry->d_name, "_gemm.csv"), *engine = strstr(entry->d_name, "_vllm");
    return kind && engine && engine < kind;
}

/* "a100_sxm_vllm0.14.0_gemm.csv.gz" -> a100_sxm, for a message. */
static const char *systems_in(const struct fit *f)
{
    struct dirent **entry;
    const char *list = NULL;
    int n = scandir(f->q->dir, &entry, is_gemm, alphasort);
    for (int i = 0; i < n; i++) {
        list = arena_printf(f->arena, "%s%s%.*s", list ? list : "", list ? ", " : "",
                            (int)(strstr(entry[i]->d_name, "_vllm") - entry[i]->d_name), entry[i]->d_name);
        free(entry[i]);
    }
    if (n >= 0) {
        free(entry);
    }
    return list ? list : "none";
}

static int find_tables(struct fit *f, struct tables *t)
{
    DIR *d = opendir(f->q->dir);
    const struct dirent *entry;
    if (!d) {
        return err_set(f->err, SIM_E_IO, "%s: cannot be read", f->q->dir);
    }
    while ((entry = readdir(d))) {
        const char *prefix = prefix_of(f, entry->d_name);
        /* Of several, the last by name: a fixed choice whatever the order of the folder. */
        if (prefix && (!t->prefix || strcmp(prefix, t->prefix) > 0)) {
            t->prefix = prefix;
        }
    }
    closedir(d);
    if (!t->prefix) {
        return err_set(f->err, SIM_E_DATA, "%s: no tables (SYSTEM_vllmVERSION_gemm.csv.gz) of GPU %s; there is: %s", f->q->dir,
                       f->gpu.name, systems_in(f));
    }
    return 0;
}

static const char *table_name(struct fit *f, const struct tables *t, const char *kind)
{
    const char *name = arena_printf(f->arena, "%s_%s", t->prefix, kind);
    if (!name) {
        err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    return name;
}

static const char *dtype_said(enum dtype d)
{
    return d == DTYPE_FP8 ? "fp8" : d == DTYPE_FP16 || d == DTYPE_BF16 ? "bfloat16" : NULL;
}

static int choose_dtypes(struct fit *f, struct tables *t)
{
    t->dtype = dtype_said(f->llm.weight_dtype);
    t->attn_dtype = "bfloat16";
    t->kv_dtype = dtype_said(f->llm.kv_dtype);
    if (!t->dtype || !t->kv_dtype) {
        return err_set(f->err, SIM_E_DATA, "no tables for weights of type %s and KV of type %s",
                       dtype_name(f->llm.weight_dtype), dtype_name(f->llm.kv_dtype));
    }
    return 0;
}

/* ---- reading: rows whose texts and numbers are as wanted ---- */

#define WANTS 10
struct want {
    const char *column, *text; /* text NULL: the number counts */
    double number;
};

/* Adds (columns of x) -> us for every row that fits. */
static int read_points(struct fit *f, const char *table, const struct want *want, const char *const *x,
                       struct points *p)
{
    struct sheet s;
    int at[WANTS], column[GRID_DIMS], us, rc;
    size_t n_want = 0;
    bool ok = true;
    if (!table || sheet_open(&s, f->q->dir, table, f->arena, f->err) < 0) {
        return f->err->code;
    }
    for (; want[n_want].column; n_want++) {
        at[n_want] = sheet_column(&s, want[n_want].column);
    }
    for (uint32_t d = 0; d < p->dims; d++) {
        column[d] = sheet_column(&s, x[d]);
    }
    us = sheet_column(&s, "latency_ms");
    while (f->err->code == 0 && (rc = sheet_next(&s)) > 0) {
        bool fits = true;
        double v[GRID_DIMS];
        for (size_t i = 0; i < n_want && fits; i++) {
            fits = want[i].text ? strcmp(sheet_text(&s, at[i]), want[i].text) == 0
                                : fabs(sheet_number(&s, at[i], &ok) - want[i].number) < 0.5;
        }
        for (uint32_t d = 0; d < p->dims && fits; d++) {
            v[d] = sheet_number(&s, column[d], &ok);
        }
        double ms = fits ? sheet_number(&s, us, &ok) : 0;
        if (fits && ok && ms > 0) {
            points_add(p, v, 1e3 * ms, f->err);
        }
    }
    sheet_close(&s);
    return f->err->code;
}

/* ---- matrix products ---- */

struct gemm_table {
    struct points points;
    struct grid grid;
    struct trend trend;
    struct kernel kernel;
    struct wave wave;
};

/* Roofline of the product at (n, k, m). */
static double gemm_roofline_us(const void *ctx, const double *x)
{
    struct kernel k = *(const struct kernel *)ctx;
    k.n = x[0];
    k.k = x[1];
    return kernel_roofline_us(&k, &x[2]);
}

static int read_gemm(struct fit *f, const struct tables *t, struct gemm_table *g)
{
    const struct want want[] = {{"gemm_dtype", t->dtype, 0}, {NULL, NULL, 0}};
    const char *const x[] = {"n", "k", "m"};
    struct tally *tally = fit_family(f, "gemm"), *shapes = fit_family(f, "gemm_shape");
    g->points.dims = 3;
    g->kernel = kernel_gemm(f, 0, 0);
    g->wave = fit_wave(f);
    wave_gemm(&g->wave);
    g->trend = (struct trend){.curve = &g->wave.curve, .like = &g->wave.like};
    if (!tally || !shapes || read_points(f, table_name(f, t, "gemm"), want, x, &g->points) < 0) {
        return f->err->code;
    }
    /* Single places are held out, then whole shapes (n, k) with all of their m: few of a model's products
     * are among the measured shapes. */
    if (grid_validate(&g->points, &g->trend, FIT_FOLDS, 0, gemm_roofline_us, &g->kernel, tally, f->err) < 0 ||
        grid_validate(&g->points, &g->trend, FIT_FOLDS, 2, gemm_roofline_us, &g->kernel, shapes, f->err) < 0 ||
        grid_from(&g->grid, &g->points, f->arena, f->err) < 0) {
        return f->err->code;
    }
    return trend_fit(&g->trend, &g->points, f->err);
}

static double shortest(const struct points *p)
{
    double low = HUGE_VAL;
    for (size_t i = 0; i < p->n; i++) {
        low = fmin(low, p->y[i]);
    }
    return low;
}

/* The product as a curve over tokens or rows, at the measured sizes. */
static int add_product(struct fit *f, const struct gemm_table *g, const char *name, double count,
                       enum profile_axis axis, struct kernel k)
{
    struct term_spec s = {name, "gemm", count, WHEN_ALWAYS, 1, {axis}};
    struct profile_term *t = count > 0 ? fit_append(f, &s) : NULL;
    if (!t) {
        return f->err->code;
    }
    t->n[0] = g->grid.n[2];
    t->at[0] = g->grid.at[2];
    t->us = arena_calloc(f->arena, t->n[0], sizeof(double));
    if (!t->us) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    double *x = arena_calloc(f->arena, 3 * (size_t)t->n[0], sizeof(double));
    if (!x) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < t->n[0]; i++) {
        x[3 * i] = k.n;
        x[3 * i + 1] = k.k;
        x[3 * i + 2] = t->at[0][i];
    }
    return grid_read(&g->grid, &g->trend, x, t->n[0], t->us, f->err);
}

static int add_gemms(struct fit *f, struct tables *t)
{
    struct gemm_table *g = arena_calloc(f->arena, 1, sizeof(*g));
    double layers = f->llm.layers, dense = layers - llm_moe_layers(&f->llm);
    if (!g) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    if (read_gemm(f, t, g) == 0) {
        t->kernel_us = shortest(&g->points);
        add_product(f, g, "qkv_proj", layers, AXIS_TOKENS, fit_product(f, PRODUCT_QKV));
        add_product(f, g, "o_proj", layers, AXIS_TOKENS, fit_product(f, PRODUCT_O));
        add_product(f, g, "gate_up_proj", dense, AXIS_TOKENS, fit_product(f, PRODUCT_GATE_UP));
        add_product(f, g, "down_proj", dense, AXIS_TOKENS, fit_product(f, PRODUCT_DOWN));
        add_product(f, g, "router", llm_moe_layers(&f->llm), AXIS_TOKENS,
                    kernel_gemm(f, f->llm.experts, f->llm.hidden));
        add_product(f, g, "lm_head", 1, AXIS_ROWS, fit_product(f, PRODUCT_HEAD));
    }
    points_release(&g->points);
    return f->err->code;
}

/* ---- attention ---- */

/* Heads of one rank. A (sequence, KV head) pair is work of its own, so where a table lacks the model's
 * heads, g times fewer heads over g times as many sequences are the same work (multi-head decode is
 * missing in some tables). Failing that, the next larger group of queries over the same KV heads: queries
 * of a group are packed into one tile of 64 rows or more, and KV traffic is the same. */
#define GROUP_TRIES 16
struct heads {
    uint32_t q, kv, fold;
};

static int read_heads(struct fit *f, const struct tables *t, const char *kind, const char *length,
                      struct heads h, struct points *p)
{
    const struct want want[] = {
        {"attn_dtype", t->attn_dtype, 0},      {"kv_cache_dtype", t->kv_dtype, 0},
        {"head_dim", NULL, f->llm.head_dim},   {"window_size", NULL, f->llm.sliding_window_tok},
        {"num_heads", NULL, h.q / h.fold},     {"num_key_value_heads", NULL, h.kv / h.fold},
        {NULL, NULL, 0},
    };
    const char *const x[] = {"batch_size", length};
    return read_points(f, table_name(f, t, kind), want, x, p);
}

static int find_heads(struct fit *f, const struct tables *t, const char *kind, const char *length,
                      struct heads *h, struct points *p)
{
    for (h->fold = 1; h->fold <= h->kv && p->n == 0; h->fold++) {
        if (h->q % h->fold == 0 && h->kv % h->fold == 0 && read_heads(f, t, kind, length, *h, p) < 0) {
            return f->err->code;
        }
    }
    h->fold--;
    for (uint32_t i = 0; i < GROUP_TRIES && p->n == 0; i++) {
        h->fold = 1;
        h->q++;
        if (h->q % h->kv == 0 && read_heads(f, t, kind, length, *h, p) < 0) {
            return f->err->code;
        }
    }
    return 0;
}

static int attention_points(struct fit *f, const struct tables *t, const char *kind, const char *length,
                            struct points *p)
{
    struct heads h = {f->llm.heads / f->q->tp, f->llm.kv_heads / f->q->tp, 1};
    h.kv = h.kv ? h.kv : 1;
    if (find_heads(f, t, kind, length, &h, p) < 0) {
        return f->err->code;
    }
    if (p->n == 0) {
        return err_set(f->err, SIM_E_DATA, "%s/%s_%s: nothing for %u heads over %u KV heads of %u", f->q->dir,
                       t->prefix, kind, f->llm.heads / f->q->tp, h.kv, f->llm.head_dim);
    }
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->x[2 * i] >= h.fold) {
            p->x[2 * kept] = p->x[2 * i] / h.fold;
            p->x[2 * kept + 1] = p->x[2 * i + 1];
            p->y[kept++] = p->y[i];
        }
    }
    p->n = kept;
    return 0;
}

/* Attention was timed as one call per replayed CUDA graph (collector/vllm/collect_attn.py: repeat_n = 1),
 * matrix products as six: the gap between two replays is in the former's times. Inside a model the call
 * is one of hundreds in a graph. The gap is what the shortest call takes beyond its two kernels
 * (attention, and the combination of splits or the KV write). */
#define CALL_KERNELS 2

static void without_launch(const struct tables *t, struct points *p)
{
    double gap = fmax(shortest(p) - CALL_KERNELS * t->kernel_us, 0);
    for (size_t i = 0; i < p->n; i++) {
        p->y[i] -= gap;
    }
}

/* Replayed calls find KV that fits the L2 cache in it; in a model every layer's KV comes from memory. So
 * no call takes less than its bytes at the bandwidth that is measured beyond the cache. */
#define BEYOND_L2 2.0

static void without_cache_hits(const struct kernel *k, const struct points *p, struct profile_term *t)
{
    double per_byte = HUGE_VAL;
    for (size_t i = 0; i < p->n; i++) {
        double bytes = p->x[2 * i] * p->x[2 * i + 1] * k->kv_bytes;
        per_byte = bytes > BEYOND_L2 * k->l2 ? fmin(per_byte, p->y[i] / bytes) : per_byte;
    }
    for (uint32_t i = 0; isfinite(per_byte) && i < profile_term_size(t); i++) {
        double bytes = t->at[0][i / t->n[1]] * t->at[1][i % t->n[1]] * k->kv_bytes;
        t->us[i] = fmax(t->us[i], bytes * per_byte);
    }
}

static int add_decode(struct fit *f, const struct tables *t)
{
    struct points p = {.dims = 2};
    struct kernel k = kernel_attention(f, KERNEL_DECODE);
    struct wave w = fit_wave(f);
    struct term_spec s = {"attention_decode", "attention", f->llm.layers, WHEN_ALWAYS, 2,
                          {AXIS_DECODES, AXIS_CONTEXT}};
    wave_decode(&w);
    if (attention_points(f, t, "generation_attention", "kv_len", &p) == 0) {
        without_launch(t, &p);
        if (fit_wave_term(f, &s, &p, &w, &k) == 0) {
            without_cache_hits(&k, &p, &f->term[f->profile.n_terms - 1]);
        }
    }
    points_release(&p);
    return f->err->code;
}

/* Time is quadratic in the length, the profile linear between places: four places where the table has one. */
#define FINER 4

static int refine(struct fit *f, struct profile_term *t, const struct grid *g, const struct trend *trend)
{
    uint32_t n = (g->n[1] - 1) * FINER + 1;
    size_t size = (size_t)n * g->n[0];
    t->n[0] = g->n[0];
    t->at[0] = g->at[0];
    t->n[1] = n;
    t->at[1] = arena_calloc(f->arena, n, sizeof(double));
    t->us = arena_calloc(f->arena, size, sizeof(double));
    double *x = arena_calloc(f->arena, 2 * size, sizeof(double));
    if (!t->at[1] || !t->us || !x) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t j = 0; j < n; j++) {
        uint32_t i = j / FINER, part = j % FINER;
        t->at[1][j] = part ? g->at[1][i] + (g->at[1][i + 1] - g->at[1][i]) * part / FINER : g->at[1][i];
    }
    for (size_t k = 0; k < size; k++) {
        x[2 * k] = t->at[0][k / n];
        x[2 * k + 1] = t->at[1][k % n];
    }
    return grid_read(g, trend, x, size, t->us, f->err);
}

static int add_prefill(struct fit *f, const struct tables *t)
{
    struct points p = {.dims = 2};
    struct kernel k = kernel_attention(f, KERNEL_PREFILL);
    struct wave w = fit_wave(f);
    struct trend trend = {.curve = &w.curve, .like = &w.like};
    struct grid g;
    struct term_spec s = {"attention_prefill", "attention", f->llm.layers, WHEN_ALWAYS, 2,
                          {AXIS_CHUNKS, AXIS_CHUNK_TOK}};
    struct tally *tally = fit_family(f, "attention");
    wave_prefill(&w);
    if (attention_points(f, t, "context_attention", "isl", &p) == 0) {
        without_launch(t, &p);
    }
    if (tally && f->err->code == 0 &&
        grid_validate(&p, &trend, FIT_FOLDS, 0, kernel_roofline_us, &k, tally, f->err) == 0 &&
        grid_from(&g, &p, f->arena, f->err) == 0 && trend_fit(&trend, &p, f->err) == 0) {
        struct profile_term *term = fit_append(f, &s);
        if (term) {
            refine(f, term, &g, &trend);
        }
    }
    points_release(&p);
    return f->err->code;
}

/* ---- experts ---- */

static int add_moe(struct fit *f, const struct tables *t)
{
    struct points p = {.dims = 1};
    struct kernel k = kernel_moe(f);
    const struct want want[] = {
        {"moe_dtype", t->dtype, 0},           {"hidden_size", NULL, f->llm.hidden},
        {"inter_size", NULL, f->llm.moe_ffn}, {"topk", NULL, f->llm.experts_per_tok},
        {"num_experts", NULL, f->llm.experts}, {"moe_tp_size", NULL, f->q->tp},
        {"moe_ep_size", NULL, 1},             {"distribution", "balanced", 0},
        {NULL, NULL, 0},
    };
    const char *const x[] = {"num_tokens"};
    struct term_spec s = {"experts", "moe", llm_moe_layers(&f->llm), WHEN_ALWAYS, 1, {AXIS_TOKENS}};
    if (f->llm.experts == 0) {
        return 0;
    }
    if (read_points(f, table_name(f, t, "moe"), want, x, &p) == 0) {
        if (p.n > 0) {
            fit_term(f, &s, &p, &k);
        } else {
            err_set(f->err, SIM_E_DATA, "%s/%s_moe: nothing for the experts of %s at TP %u", f->q->dir, t->prefix,
                    f->llm.name, f->q->tp);
        }
    }
    points_release(&p);
    return f->err->code;
}

int fit_aiconfigurator(struct fit *f)
{
    struct tables t = {0};
    if (f->llm.kv_lora_rank) {
        return err_set(f->err, SIM_E_DATA, "%s has latent attention (MLA): not supported yet by this source",
                       f->llm.name);
    }
    if (find_tables(f, &t) < 0 || choose_dtypes(f, &t) < 0) {
        return f->err->code;
    }
    f->profile.engine = t.prefix;
    f->profile.provenance = arena_printf(f->arena, "AIConfigurator kernel tables (ai-dynamo/aiconfigurator) %s; "
                                         "elementwise kernels from memory bandwidth", t.prefix);
    if (!f->profile.provenance) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    if (add_gemms(f, &t) < 0 || add_decode(f, &t) < 0 || add_prefill(f, &t) < 0 || add_moe(f, &t) < 0 ||
        fit_small_kernels(f) < 0) {
        return f->err->code;
    }
    return fit_all_reduce(f);
}
