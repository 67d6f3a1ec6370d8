/* SPDX-License-Identifier: Apache-2.0
 *
 * LLMServingSim's profiles (casys-kaist/LLMServingSim, profiler/perf): times of each layer inside vLLM
 * on one GPU, attention of mixed batches and over unequal contexts. Tables: dense (per layer and token
 * count), per_sequence (head and sampler), attention, skew, moe. */
#include <math.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/sheet.h"

/* Names of the source. `count` is per layer, or per step where once is set. */
static const struct layer {
    const char *name, *family;
    double count;
    bool once, is_product;
    enum product product;
    double hidden; /* elementwise: elements per token as a multiple of the hidden size, for the roofline */
} layers[] = {
    {"qkv_proj", "gemm", 1, false, true, PRODUCT_QKV, 0},
    {"o_proj", "gemm", 1, false, true, PRODUCT_O, 0},
    {"gate_up_proj", "gemm", 1, false, true, PRODUCT_GATE_UP, 0},
    {"down_proj", "gemm", 1, false, true, PRODUCT_DOWN, 0},
    {"layernorm", "small", 2, false, false, 0, 4},
    {"qk_norm", "small", 1, false, false, 0, 4},
    {"rotary_emb", "small", 1, false, false, 0, 2},
    {"act_fn", "small", 1, false, false, 0, 8},
    {"embedding", "small", 1, true, false, 0, 2},
    {"final_layernorm", "small", 1, true, false, 0, 4},
    {"lm_head", "gemm", 1, true, true, PRODUCT_HEAD, 0},
    {"sampler", "small", 1, true, false, 0, 0},
};
#define LAYERS (sizeof(layers) / sizeof(layers[0]))

/* Which rows of a table are meant. */
struct rows {
    struct sheet sheet;
    int gpu, model, tp;
    const char *gpu_name, *model_name;
    double want_tp;
};

static int rows_open(struct rows *r, struct fit *f, const char *table)
{
    *r = (struct rows){.want_tp = f->q->tp};
    if (fit_find_name(f, f->q->dir, table, "gpu", f->gpu.name, &r->gpu_name) < 0 ||
        fit_find_name(f, f->q->dir, table, "model", f->llm.name, &r->model_name) < 0 ||
        sheet_open(&r->sheet, f->q->dir, table, f->arena, f->err) < 0) {
        return f->err->code;
    }
    r->gpu = sheet_column(&r->sheet, "gpu");
    r->model = sheet_column(&r->sheet, "model");
    r->tp = sheet_column(&r->sheet, "tp");
    if (f->err->code) {
        sheet_close(&r->sheet);
    }
    return f->err->code;
}

/* The next row of this GPU, model and degree. */
static int rows_next(struct rows *r)
{
    int rc;
    bool ok = true;
    while ((rc = sheet_next(&r->sheet)) > 0) {
        if (strcmp(sheet_text(&r->sheet, r->gpu), r->gpu_name) == 0 &&
            strcmp(sheet_text(&r->sheet, r->model), r->model_name) == 0 &&
            fabs(sheet_number(&r->sheet, r->tp, &ok) - r->want_tp) < 0.5) {
            return 1;
        }
        if (!ok) {
            return r->sheet.err->code;
        }
    }
    return rc;
}

static int nothing(struct fit *f, const char *table)
{
    return err_set(f->err, SIM_E_DATA, "%s/%s: no rows for %s on %u x %s", f->q->dir, table, f->llm.name, f->q->tp,
                   f->gpu.name);
}

/* ---- layers ---- */

static int layer_index(const char *name)
{
    for (size_t i = 0; i < LAYERS; i++) {
        if (strcmp(layers[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int read_layers(struct fit *f, const char *table, const char *axis, struct points *p)
{
    struct rows r;
    bool ok = true;
    int rc = rows_open(&r, f, table);
    if (rc < 0) {
        return rc;
    }
    int layer = sheet_column(&r.sheet, "layer"), x = sheet_column(&r.sheet, axis);
    int us = sheet_column(&r.sheet, "time_us");
    size_t n = 0;
    while (f->err->code == 0 && ok && rows_next(&r) > 0) {
        int i = layer_index(sheet_text(&r.sheet, layer));
        double at = sheet_number(&r.sheet, x, &ok), t = sheet_number(&r.sheet, us, &ok);
        if (i < 0) {
            err_set(f->err, SIM_E_DATA, "%s/%s: layer '%s' is not known", f->q->dir, table,
                    sheet_text(&r.sheet, layer));
        } else if (ok && t > 0) {
            points_add(&p[i], &at, t, f->err);
            n++;
        }
    }
    sheet_close(&r.sheet);
    return f->err->code || n ? f->err->code : nothing(f, table);
}

static struct kernel layer_kernel(const struct fit *f, const struct layer *l, bool rows)
{
    if (l->is_product) {
        return fit_product(f, l->product);
    }
    return kernel_memory(f, rows ? f->llm.vocab * 14.0 : 2 * l->hidden * f->llm.hidden);
}

static int add_layers(struct fit *f, const char *table, const char *column, enum profile_axis axis)
{
    struct points p[LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        p[i] = (struct points){.dims = 1};
    }
    int rc = read_layers(f, table, column, p);
    for (size_t i = 0; i < LAYERS; i++) {
        const struct layer *l = &layers[i];
        struct term_spec s = {l->name, l->family, l->count * (l->once ? 1 : f->llm.layers), WHEN_ALWAYS, 1, {axis}};
        struct kernel k = layer_kernel(f, l, axis == AXIS_ROWS);
        if (rc == 0 && p[i].n > 0) {
            rc = fit_term(f, &s, &p[i], &k);
        }
        points_release(&p[i]);
    }
    return rc;
}

/* ---- attention ---- */

struct attention {
    struct points decode, alone, mixed; /* (n, ctx); (chunk, ctx); (chunk, ctx, n, ctx) */
};

static int sort_row(struct attention *a, double q, double before, double n, double context, double us,
                    struct err *e)
{
    if (q <= 0) {
        return points_add(&a->decode, (double[]){n, context}, us, e);
    }
    if (n <= 0) {
        return points_add(&a->alone, (double[]){q, before}, us, e);
    }
    return points_add(&a->mixed, (double[]){q, before, n, context}, us, e);
}

static int read_attention(struct fit *f, struct attention *a)
{
    struct rows r;
    bool ok = true;
    int rc = rows_open(&r, f, "attention");
    if (rc < 0) {
        return rc;
    }
    static const char *const names[] = {"prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"};
    int c[5];
    for (int i = 0; i < 5; i++) {
        c[i] = sheet_column(&r.sheet, names[i]);
    }
    while (f->err->code == 0 && ok && rows_next(&r) > 0) {
        double v[5];
        for (int i = 0; i < 5; i++) {
            v[i] = sheet_number(&r.sheet, c[i], &ok);
        }
        if (ok && v[4] > 0) {
            sort_row(a, v[0], v[1], v[2], v[3], v[4], f->err);
        }
    }
    sheet_close(&r.sheet);
    if (f->err->code == 0 && (a->decode.n == 0 || a->alone.n == 0 || a->mixed.n == 0)) {
        return nothing(f, "attention");
    }
    return f->err->code;
}

/* A chunk without decodes takes the same time whatever the decodes' context would be. */
static int add_alone(struct fit *f, struct attention *a)
{
    struct grid g;
    if (grid_from(&g, &a->mixed, f->arena, f->err) < 0) {
        return f->err->code;
    }
    for (size_t i = 0; i < a->alone.n; i++) {
        for (uint32_t k = 0; k < g.n[3]; k++) {
            double x[] = {a->alone.x[2 * i], a->alone.x[2 * i + 1], 0, g.at[3][k]};
            if (points_add(&a->mixed, x, a->alone.y[i], f->err) < 0) {
                return f->err->code;
            }
        }
    }
    return 0;
}

static int add_mixed(struct fit *f, struct attention *a)
{
    struct kernel k = kernel_attention(f, KERNEL_MIXED);
    struct trend t = kernel_trend(&k);
    struct tally *tally = fit_family(f, "attention");
    struct term_spec s = {"attention_mixed", "attention", f->llm.layers, WHEN_ALWAYS, 4,
                          {AXIS_PREFILL_TOK, AXIS_PREFILL_CTX, AXIS_DECODES, AXIS_CONTEXT}};
    struct grid g;
    /* Held out are the places that were measured with both kinds of work. */
    if (!tally || grid_validate(&a->mixed, &t, FIT_FOLDS, 0, kernel_roofline_us, &k, tally, f->err) < 0 ||
        add_alone(f, a) < 0 || grid_from(&g, &a->mixed, f->arena, f->err) < 0 ||
        trend_fit(&t, &a->mixed, f->err) < 0 || grid_fill(&g, &t, f->err) < 0) {
        return f->err->code;
    }
    struct profile_term *term = fit_append(f, &s);
    for (uint32_t d = 0; term && d < g.dims; d++) {
        term->n[d] = g.n[d];
        term->at[d] = g.at[d];
        term->us = g.v;
    }
    return f->err->code;
}

static int add_attention(struct fit *f)
{
    struct attention a = {.decode = {.dims = 2}, .alone = {.dims = 2}, .mixed = {.dims = 4}};
    struct kernel k = kernel_attention(f, KERNEL_DECODE);
    struct term_spec s = {"attention_decode", "attention", f->llm.layers, WHEN_ALWAYS, 2,
                          {AXIS_DECODES, AXIS_CONTEXT}};
    if (read_attention(f, &a) == 0 && fit_term(f, &s, &a.decode, &k) == 0) {
        add_mixed(f, &a);
    }
    points_release(&a.decode);
    points_release(&a.alone);
    points_release(&a.mixed);
    return f->err->code;
}

/* ---- unequal contexts ---- */

enum { C_REGIME, C_N, C_NB, C_PC, C_KP, C_KVS, C_BIG, C_MEAN, C_TMEAN, C_TSKEW, C_COUNT };
static const char *const skew_columns[C_COUNT] = {"regime", "n", "nb", "pc", "kp", "kvs", "kv_big", "kv_mean",
                                                  "t_mean_us", "t_skew_us"};

/* nb of n contexts are kv_big, the others kvs. */
static int skew_row(struct fit *f, struct fit_skew *k, bool pure, const double *v)
{
    double p = v[C_NB] / v[C_N], sigma = (v[C_BIG] - v[C_KVS]) * sqrt(p * (1 - p));
    double x[] = {v[C_PC], v[C_KP], v[C_N], v[C_MEAN]};
    const struct profile_term *t = fit_term_named(f, pure ? "attention_decode" : "attention_mixed");
    if (!t || !(sigma > 0) || !(v[C_TMEAN] > 0) || !(v[C_TSKEW] > 0)) {
        return 0;
    }
    double extra = fit_excess_context(t, pure ? x + 2 : x, pure ? 1 : 3, v[C_TSKEW] / v[C_TMEAN]);
    return fit_skew_add(k, v[C_N], pure, sigma / v[C_MEAN], extra / v[C_MEAN], f->err);
}

static int read_skew(struct fit *f, struct fit_skew *k)
{
    struct rows r;
    int c[C_COUNT], rc = rows_open(&r, f, "skew");
    bool ok = true;
    if (rc < 0) {
        return rc;
    }
    for (int i = 0; i < C_COUNT; i++) {
        c[i] = sheet_column(&r.sheet, skew_columns[i]);
    }
    while (f->err->code == 0 && ok && rows_next(&r) > 0) {
        double v[C_COUNT] = {0};
        for (int i = C_N; i < C_COUNT; i++) {
            v[i] = sheet_number(&r.sheet, c[i], &ok);
        }
        if (ok) {
            skew_row(f, k, strcmp(sheet_text(&r.sheet, c[C_REGIME]), "pure") == 0, v);
        }
    }
    sheet_close(&r.sheet);
    return f->err->code;
}

static int add_skew(struct fit *f)
{
    struct fit_skew *k = arena_calloc(f->arena, 1, sizeof(*k));
    if (!k) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    if (!sheet_exists(f->q->dir, "skew")) {
        return 0;
    }
    if (read_skew(f, k) == 0) {
        fit_skew_keep(f, k);
    }
    fit_skew_release(k);
    return f->err->code;
}

/* ---- the whole ---- */

int fit_llmservingsim(struct fit *f)
{
    if (f->llm.experts > 0) {
        return err_set(f->err, SIM_E_DATA, "%s routes to experts: LLMServingSim's table of expert times has "
                       "other parallel degrees; not supported", f->llm.name);
    }
    f->profile.provenance = arena_printf(f->arena, "LLMServingSim layer-wise profile (casys-kaist/LLMServingSim "
                                         "profiler/perf) of %s on %u x %s", f->llm.name, f->q->tp, f->gpu.full_name);
    f->profile.engine = "vLLM";
    if (!f->profile.provenance) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    if (add_layers(f, "dense", "tokens", AXIS_TOKENS) < 0 ||
        add_layers(f, "per_sequence", "sequences", AXIS_ROWS) < 0 || add_attention(f) < 0 || add_skew(f) < 0) {
        return f->err->code;
    }
    return fit_all_reduce(f);
}
