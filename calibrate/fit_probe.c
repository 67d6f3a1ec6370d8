/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of steelyard-probe: kernels of this very GPU. Groups of cases that are missing (a probe cut short,
 * --only, another model's shapes) are replaced by what is nearest, and that is said in the notes. */
#include <math.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/probe_file.h"

/* Fewer points make a group as good as missing; elementwise kernels are a floor and a rate. */
#define POINTS_LEAST 6
#define SMALL_LEAST  4
/* Products of so many shapes let whole shapes be held out. */
#define SHAPES_MIN 5

struct probe_fit {
    struct fit *f;
    struct probe_file file;
    struct points gemm;     /* (n, k, m) */
    struct grid gemm_grid;
    struct wave gemm_wave;
    struct trend gemm_trend;
};

/* ---- collecting ---- */

/* Of one kind, those that `want` accepts, at the places that `x` fills in. */
typedef bool want_fn(const struct probe_point *p, const void *ctx);
typedef void place_fn(const struct probe_point *p, double *x);

static int collect(const struct probe_fit *q, const char *kind, want_fn *want, const void *ctx, place_fn *place,
                   struct points *ret)
{
    for (size_t i = 0; i < q->file.n; i++) {
        const struct probe_point *p = &q->file.point[i];
        double x[GRID_DIMS];
        if (strcmp(p->kind, kind) != 0 || !want(p, ctx)) {
            continue;
        }
        place(p, x);
        if (points_add(ret, x, 1e6 * p->s, q->f->err) < 0) {
            return q->f->err->code;
        }
    }
    return 0;
}

static bool enough(const struct points *p)
{
    return p->n >= POINTS_LEAST;
}

static struct wave probe_wave(const struct probe_fit *q)
{
    struct wave w = fit_wave(q->f);
    const struct probe_file *file = &q->file;
    w.sms = isnan(file->sms) ? w.sms : file->sms;
    w.byte_per_s = isnan(file->read_byte_per_s) ? w.byte_per_s : file->read_byte_per_s;
    w.l2_bytes = 0; /* calls went over operand sets three times the cache */
    return w;
}

/* ---- places of tables ---- */

#define PLACES 1024
struct places {
    uint32_t n;
    double at[PLACES];
};

static void add_place(struct places *p, double x)
{
    uint32_t i = p->n;
    while (i > 0 && p->at[i - 1] > x) {
        i--;
    }
    if ((i > 0 && !(p->at[i - 1] < x)) || p->n == PLACES) {
        return;
    }
    memmove(&p->at[i + 1], &p->at[i], (p->n - i) * sizeof(double));
    p->at[i] = x;
    p->n++;
}

static double last_of(const struct grid *g, uint32_t d)
{
    return g->at[d][g->n[d] - 1];
}

static void add_measured(struct places *p, const struct grid *g, uint32_t d)
{
    for (uint32_t i = 0; i < g->n[d]; i++) {
        add_place(p, g->at[d][i]);
    }
}

/* Between powers of two, so many steps; up to `last`. */
static void add_geometric(struct places *p, double first, double last, uint32_t steps)
{
    for (uint32_t i = 0; i < 64 * steps; i++) {
        double x = round(first * pow(2, (double)i / steps));
        if (x <= last) {
            add_place(p, x);
        }
    }
}

static int set_axis(struct fit *f, struct profile_term *t, uint32_t d, const struct places *p)
{
    t->n[d] = p->n;
    t->at[d] = arena_calloc(f->arena, p->n, sizeof(double));
    if (!t->at[d]) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    memcpy(t->at[d], p->at, p->n * sizeof(double));
    return 0;
}

/* ---- matrix products ---- */

struct gemm_want {
    const char *dtype;
};

static bool want_gemm(const struct probe_point *p, const void *ctx)
{
    return probe_says(p, "dtype", ((const struct gemm_want *)ctx)->dtype);
}

static void place_gemm(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "n");
    x[1] = probe_number(p, "k");
    x[2] = probe_number(p, "m");
}

static double gemm_roofline_us(const void *ctx, const double *x)
{
    struct kernel k = *(const struct kernel *)ctx;
    k.n = x[0];
    k.k = x[1];
    return kernel_roofline_us(&k, &x[2]);
}

/* Types of the weights in the order in which they stand for one another. */
static int find_gemms(struct probe_fit *q)
{
    static const char *const as_fp8[] = {"fp8", NULL}, *const as_bf16[] = {"bf16", "fp16", NULL},
                      *const as_fp16[] = {"fp16", "bf16", NULL}, *const none[] = {NULL};
    enum dtype d = q->f->llm.weight_dtype;
    const char *const *types = d == DTYPE_FP8 ? as_fp8 : d == DTYPE_BF16 ? as_bf16 : d == DTYPE_FP16 ? as_fp16 : none;
    for (size_t i = 0; types[i] && !enough(&q->gemm); i++) {
        q->gemm.n = 0;
        if (collect(q, "gemm", want_gemm, &(struct gemm_want){types[i]}, place_gemm, &q->gemm) < 0) {
            return q->f->err->code;
        }
        if (i > 0 && enough(&q->gemm)) {
            fit_note(q->f, "products: none of %s weights; those of %s stand in", dtype_name(d), types[i]);
        }
    }
    return 0;
}

/* Knots where another tile begins, so that the table between them is as flat as the kernels are. */
static void tile_places(struct places *p, const struct grid *g)
{
    double last = last_of(g, 2), step = 64;
    add_measured(p, g, 2);
    for (double m = step; m < last; m += step) {
        step = m < 1024 ? 64 : m < 4096 ? 128 : 256;
        add_place(p, m);
        add_place(p, m + 1);
    }
}

static bool shape_measured(const struct points *p, const struct kernel *k)
{
    for (size_t i = 0; i < p->n; i++) {
        if (fabs(p->x[3 * i] - k->n) < 0.5 && fabs(p->x[3 * i + 1] - k->k) < 0.5) {
            return true;
        }
    }
    return false;
}

static int add_product(struct probe_fit *q, const char *name, double count, enum profile_axis axis, struct kernel k)
{
    struct fit *f = q->f;
    struct term_spec s = {name, "gemm", count, WHEN_ALWAYS, 1, {axis}};
    struct profile_term *t = count > 0 ? fit_append(f, &s) : NULL;
    struct places at = {0};
    if (!t) {
        return f->err->code;
    }
    tile_places(&at, &q->gemm_grid);
    double *x = arena_calloc(f->arena, 3 * (size_t)at.n, sizeof(double));
    t->us = arena_calloc(f->arena, at.n, sizeof(double));
    if (!x || !t->us || set_axis(f, t, 0, &at) < 0) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < at.n; i++) {
        x[3 * i] = k.n;
        x[3 * i + 1] = k.k;
        x[3 * i + 2] = at.at[i];
    }
    if (!shape_measured(&q->gemm, &k)) {
        fit_note(f, "products: %s (%g columns of %g) was not measured; from products of near shape", name, k.n, k.k);
    }
    return grid_read(&q->gemm_grid, &q->gemm_trend, x, at.n, t->us, f->err);
}

static int validate_gemms(struct probe_fit *q)
{
    struct fit *f = q->f;
    struct kernel k = kernel_gemm(f, 0, 0);
    struct tally *single = fit_family(f, "gemm");
    if (!single || grid_validate(&q->gemm, &q->gemm_trend, FIT_FOLDS, 0, gemm_roofline_us, &k, single, f->err) < 0) {
        return f->err->code;
    }
    size_t shapes = 0;
    for (size_t i = 0; i < q->gemm.n; i++) {
        size_t j = 0;
        while (j < i && memcmp(&q->gemm.x[3 * j], &q->gemm.x[3 * i], 2 * sizeof(double)) != 0) {
            j++;
        }
        shapes += j == i;
    }
    struct tally *whole = shapes >= SHAPES_MIN ? fit_family(f, "gemm_shape") : NULL;
    return whole ? grid_validate(&q->gemm, &q->gemm_trend, FIT_FOLDS, 2, gemm_roofline_us, &k, whole, f->err)
                 : f->err->code;
}

static int add_products(struct probe_fit *q)
{
    struct fit *f = q->f;
    double layers = f->llm.layers, moe = llm_moe_layers(&f->llm), dense = layers - moe;
    q->gemm_wave = probe_wave(q);
    wave_gemm(&q->gemm_wave);
    q->gemm_trend = (struct trend){.curve = &q->gemm_wave.curve, .like = &q->gemm_wave.like};
    if (find_gemms(q) < 0) {
        return f->err->code;
    }
    if (!enough(&q->gemm)) {
        fit_note(f, "products: %zu points of %s weights are too few; the roofline stands in", q->gemm.n,
                 dtype_name(f->llm.weight_dtype));
        return fit_assume_products(f);
    }
    curve_fewer(&q->gemm_wave.curve, q->gemm.n);
    if (validate_gemms(q) < 0 || trend_fit(&q->gemm_trend, &q->gemm, f->err) < 0 ||
        grid_from(&q->gemm_grid, &q->gemm, f->arena, f->err) < 0 ||
        add_product(q, "qkv_proj", layers, AXIS_TOKENS, fit_product(f, PRODUCT_QKV)) < 0 ||
        add_product(q, "o_proj", layers, AXIS_TOKENS, fit_product(f, PRODUCT_O)) < 0 ||
        add_product(q, "gate_up_proj", dense, AXIS_TOKENS, fit_product(f, PRODUCT_GATE_UP)) < 0 ||
        add_product(q, "down_proj", dense, AXIS_TOKENS, fit_product(f, PRODUCT_DOWN)) < 0 ||
        add_product(q, "router", moe, AXIS_TOKENS, kernel_gemm(f, f->llm.experts, f->llm.hidden)) < 0 ||
        add_product(q, "lm_head", 1, AXIS_ROWS, fit_product(f, PRODUCT_HEAD)) < 0) {
        return f->err->code;
    }
    return fit_curve_note(f, "gemm", &q->gemm_wave.curve);
}

/* ---- attention ---- */

struct heads {
    double q, kv, dim, spread;
};

static bool want_heads(const struct probe_point *p, const void *ctx)
{
    const struct heads *h = ctx;
    return fabs(probe_number(p, "heads") - h->q) < 0.5 && fabs(probe_number(p, "kv_heads") - h->kv) < 0.5 &&
           fabs(probe_number(p, "head_dim") - h->dim) < 0.5 && fabs(probe_number(p, "block") - 16) < 0.5 &&
           !(fabs(probe_number(p, "spread") - h->spread) > 0.5);
}

static void place_decode(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "batch");
    x[1] = probe_number(p, "ctx");
}

static void place_chunk(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "q");
    x[1] = probe_number(p, "ctx");
}

static struct heads own_heads(const struct fit *f)
{
    double tp = f->q->tp;
    return (struct heads){f->llm.heads / tp, fmax(f->llm.kv_heads / tp, 1), f->llm.head_dim, 0};
}

/* How unlike two shapes of heads are: the group of queries decides the kernel, the number its waves. */
static double unlike(const struct heads *a, const struct heads *b)
{
    if (fabs(a->dim - b->dim) > 0.5) {
        return HUGE_VAL;
    }
    return 2 * fabs(log(a->q / a->kv) - log(b->q / b->kv)) + fabs(log(a->q / b->q));
}

/* The most alike heads with enough points of this kind. */
static int find_heads(const struct probe_fit *q, const char *kind, place_fn *place, struct heads *ret,
                      struct points *p)
{
    struct heads own = own_heads(q->f);
    double least = HUGE_VAL;
    for (size_t i = 0; i < q->file.n; i++) {
        const struct probe_point *c = &q->file.point[i];
        struct heads h = {probe_number(c, "heads"), probe_number(c, "kv_heads"), probe_number(c, "head_dim"), 0};
        if (strcmp(c->kind, kind) != 0 || !(unlike(&own, &h) < least)) {
            continue;
        }
        struct points own_points = {.dims = 2};
        if (collect(q, kind, want_heads, &h, place, &own_points) == 0 && enough(&own_points)) {
            points_release(p);
            *p = own_points;
            *ret = h;
            least = unlike(&own, &h);
        } else {
            points_release(&own_points);
        }
    }
    return q->f->err->code;
}

/* Sizes of the heads that were measured, to be fitted, in place of the model's. */
static void use_heads(struct wave *w, const struct heads *h)
{
    double per_head = w->kv_bytes / w->kv_heads;
    w->pair_flops = 4 * h->q * h->dim;
    w->qo_bytes = 2 * h->q * h->dim * 2;
    w->heads = h->q;
    w->kv_heads = h->kv;
    w->kv_bytes = per_head * h->kv;
}

struct attention {
    const char *kind, *name;
    void (*shape)(struct wave *w);
    place_fn *place;
    enum kernel_kind kernel;
    enum profile_axis axis[2];
    double first[2];
    uint32_t steps[2]; /* knots between powers of two */
};

static const struct attention decode_attention = {
    "decode", "attention_decode", wave_decode, place_decode, KERNEL_DECODE, {AXIS_DECODES, AXIS_CONTEXT}, {1, 16}, {2, 1}};
static const struct attention chunk_attention = {
    "prefill", "attention_chunk", wave_chunk, place_chunk, KERNEL_MIXED, {AXIS_PREFILL_TOK, AXIS_PREFILL_CTX},
    {16, 256}, {4, 1}};

static double chunk_roofline_us(const void *kernel, const double *x)
{
    return kernel_roofline_us(kernel, (double[]){x[0], x[1], 0, 0});
}

/* Measured places and more between them, read off the grid; of other heads, scaled as the curve says. */
static int attention_table(struct probe_fit *q, const struct attention *k, struct profile_term *t, struct wave *w,
                           const struct points *p)
{
    struct fit *f = q->f;
    struct trend trend = {.curve = &w->curve, .like = &w->like};
    struct grid g;
    if (grid_from(&g, p, f->arena, f->err) < 0) {
        return f->err->code;
    }
    for (uint32_t d = 0; d < 2; d++) {
        struct places at = {0};
        add_measured(&at, &g, d);
        add_geometric(&at, k->first[d], last_of(&g, d), k->steps[d]);
        if (set_axis(f, t, d, &at) < 0) {
            return f->err->code;
        }
    }
    size_t n = profile_term_size(t);
    double *x = arena_calloc(f->arena, 2 * n, sizeof(double));
    t->us = arena_calloc(f->arena, n, sizeof(double));
    if (!x || !t->us) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        x[2 * i] = t->at[0][i / t->n[1]];
        x[2 * i + 1] = t->at[1][i % t->n[1]];
    }
    if (grid_read(&g, &trend, x, n, t->us, f->err) < 0) {
        return f->err->code;
    }
    struct wave measured = *w;
    struct heads own = own_heads(f);
    use_heads(w, &own);
    for (size_t i = 0; i < n; i++) {
        t->us[i] *= curve_at(&w->curve, &x[2 * i]) / w->curve.at(&x[2 * i], w->curve.c, &measured);
    }
    return 0;
}

static int add_attention(struct probe_fit *q, const struct attention *k)
{
    struct fit *f = q->f;
    struct wave w = probe_wave(q);
    struct points p = {.dims = 2};
    struct heads h = {0}, own = own_heads(f);
    struct kernel kernel = kernel_attention(f, k->kernel);
    struct term_spec s = {k->name, "attention", f->llm.layers, WHEN_ALWAYS, 2, {k->axis[0], k->axis[1]}};
    struct tally *tally = fit_family(f, "attention");
    k->shape(&w);
    if (!tally || find_heads(q, k->kind, k->place, &h, &p) < 0) {
        return f->err->code;
    }
    if (p.n == 0) {
        fit_note(f, "%s: no heads of %g were measured; the roofline stands in", k->name, own.dim);
        return k->kernel == KERNEL_DECODE ? fit_assume_decode(f) : fit_assume_prefill(f);
    }
    if (unlike(&own, &h) > 0) {
        fit_note(f, "%s: %g heads over %g were not measured; from %g over %g, scaled as the curve says", k->name,
                 own.q, own.kv, h.q, h.kv);
    }
    use_heads(&w, &h);
    kernel.kv_bytes = w.kv_bytes;
    kernel.pair_flops = w.pair_flops;
    curve_fewer(&w.curve, p.n);
    struct trend trend = {.curve = &w.curve, .like = &w.like};
    roof_fn *roof = k->kernel == KERNEL_DECODE ? kernel_roofline_us : chunk_roofline_us;
    struct profile_term *t = NULL;
    if (grid_validate(&p, &trend, FIT_FOLDS, 0, roof, &kernel, tally, f->err) == 0 &&
        trend_fit(&trend, &p, f->err) == 0 && (t = fit_append(f, &s))) {
        attention_table(q, k, t, &w, &p);
        fit_curve_note(f, k->name, &w.curve);
    }
    points_release(&p);
    return f->err->code;
}

/* ---- unequal contexts ---- */

/* Contexts run evenly from (1 - s) to (1 + s) of the mean: their standard deviation. */
static double even_sigma(double n, double mean, double share)
{
    return mean * share * sqrt((n + 1) / (3 * (n - 1)));
}

static int add_spread(struct probe_fit *q, const struct probe_point *p, struct fit_skew *k)
{
    double n = probe_number(p, "batch"), mean = probe_number(p, "ctx"), share = probe_number(p, "spread") / 100;
    struct heads h = own_heads(q->f);
    h.spread = 100 * share;
    const struct profile_term *t = fit_term_named(q->f, "attention_decode");
    if (strcmp(p->kind, "decode") != 0 || !(share > 0) || n < 2 || !t || !want_heads(p, &h)) {
        return 0;
    }
    double x[] = {n, mean}, equal = fit_term_at(t, x);
    double extra = fit_excess_context(t, x, 1, 1e6 * p->s / equal) / mean;
    double sigma = even_sigma(n, mean, share) / mean;
    return fit_skew_add(k, n, true, sigma, extra, q->f->err) < 0 || fit_skew_add(k, n, false, sigma, extra, q->f->err) < 0
               ? q->f->err->code
               : 0;
}

static int add_skew(struct probe_fit *q)
{
    struct fit_skew *k = arena_calloc(q->f->arena, 1, sizeof(*k));
    if (!k) {
        return err_set(q->f->err, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < q->file.n && q->f->err->code == 0; i++) {
        add_spread(q, &q->file.point[i], k);
    }
    if (q->f->err->code == 0 && fit_skew_keep(q->f, k) == 0 && q->f->profile.skew.n == 0) {
        fit_note(q->f, "unequal contexts: not measured for these heads; they count as equal");
    }
    fit_skew_release(k);
    return q->f->err->code;
}

/* ---- small kernels ---- */

struct small {
    const char *kind, *name, *width; /* parameter that, with m, makes the traffic */
    double count, row_bytes;
    enum profile_axis axis;
};

struct small_want {
    bool has_warm;
    double l2_bytes;
};

/* An engine's kernel finds what the one before it wrote in the cache: the warm cases, where there are any,
 * and of the cold ones those that no cache holds. */
static bool want_small(const struct probe_point *p, const void *ctx)
{
    const struct small_want *w = ctx;
    if (!(p->byte > 0)) {
        return false;
    }
    return !w->has_warm || probe_says(p, "l2", "warm") || p->byte > w->l2_bytes;
}

static bool has_warm(const struct probe_fit *q, const char *kind)
{
    for (size_t i = 0; i < q->file.n; i++) {
        if (strcmp(q->file.point[i].kind, kind) == 0 && probe_says(&q->file.point[i], "l2", "warm")) {
            return true;
        }
    }
    return false;
}

static void place_small(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "m");
    x[1] = p->byte / x[0];
}

static double stream_roofline_us(const void *ctx, const double *x)
{
    struct kernel k = *(const struct kernel *)ctx;
    k.bytes_tok = x[1];
    return kernel_roofline_us(&k, x);
}

static int small_table(struct fit *f, const struct small *s, const struct points *p, const struct trend *t)
{
    struct term_spec spec = {s->name, "small", s->count, WHEN_ALWAYS, 1, {s->axis}};
    struct profile_term *term = fit_append(f, &spec);
    struct places at = {0};
    struct grid g;
    if (!term || grid_from(&g, p, f->arena, f->err) < 0) {
        return f->err->code;
    }
    add_measured(&at, &g, 0);
    add_geometric(&at, 1, last_of(&g, 0), 2);
    double *x = arena_calloc(f->arena, 2 * (size_t)at.n, sizeof(double));
    term->us = arena_calloc(f->arena, at.n, sizeof(double));
    if (!x || !term->us || set_axis(f, term, 0, &at) < 0) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < at.n; i++) {
        x[2 * i] = at.at[i];
        x[2 * i + 1] = s->row_bytes;
    }
    return grid_read(&g, t, x, at.n, term->us, f->err);
}

static int add_small(struct probe_fit *q, const struct small *s)
{
    struct fit *f = q->f;
    struct points p = {.dims = 2};
    struct wave w = probe_wave(q);
    struct kernel k = kernel_memory(f, s->row_bytes);
    struct tally *tally = fit_family(f, "small");
    w.l2_bytes = isnan(q->file.l2_bytes) ? f->gpu.l2_bytes : q->file.l2_bytes;
    wave_stream(&w);
    struct small_want want = {has_warm(q, s->kind), w.l2_bytes};
    struct trend t = {.curve = &w.curve, .like = &w.like};
    if (!tally || collect(q, s->kind, want_small, &want, place_small, &p) < 0) {
        points_release(&p);
        return f->err->code;
    }
    if (p.n < SMALL_LEAST) {
        struct term_spec spec = {s->name, "assumed", s->count, WHEN_ALWAYS, 1, {s->axis}};
        fit_note(f, "%s: %zu points of '%s' are too few; memory traffic stands in", s->name, p.n, s->kind);
        points_release(&p);
        return fit_assume(f, &spec, &k);
    }
    curve_fewer(&w.curve, p.n);
    if (grid_validate(&p, &t, FIT_FOLDS, 0, stream_roofline_us, &k, tally, f->err) == 0 &&
        trend_fit(&t, &p, f->err) == 0) {
        small_table(f, s, &p, &t);
    }
    points_release(&p);
    return f->err->code;
}

/* Bytes as the probe counts them: norm with the residual, rotary with the KV write, gated activation. */
static int add_smalls(struct probe_fit *q)
{
    const struct llm_shape *m = &q->f->llm;
    struct heads h = own_heads(q->f);
    double layers = m->layers, tp = q->f->q->tp;
    double ffn = m->experts ? (double)m->moe_ffn * m->experts_per_tok : m->ffn;
    const struct small list[] = {
        {"norm", "norms", "hidden", 2 * layers, 8.0 * m->hidden, AXIS_TOKENS},
        {"rope", "rotary_kv_write", "heads", layers, (2 * h.q + 5 * h.kv) * h.dim * 2, AXIS_TOKENS},
        {"act", "activation", "ffn", layers, 2.0 * m->ffn_matrices * ffn / tp, AXIS_TOKENS},
        {"embed", "embedding", "hidden", 1, 4.0 * m->hidden, AXIS_TOKENS},
        {"norm", "last_norm", "hidden", 1, 8.0 * m->hidden, AXIS_ROWS},
        {"argmax", "sampler", "vocab", 1, 2.0 * m->vocab, AXIS_ROWS},
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        if (add_small(q, &list[i]) < 0) {
            return q->f->err->code;
        }
    }
    return 0;
}

/* ---- experts, all-reduces ---- */

struct moe_want {
    double experts, top_k, n, k, skew;
};

static bool want_moe(const struct probe_point *p, const void *ctx)
{
    const struct moe_want *w = ctx;
    return fabs(probe_number(p, "experts") - w->experts) < 0.5 && fabs(probe_number(p, "top_k") - w->top_k) < 0.5 &&
           fabs(probe_number(p, "n") - w->n) < 0.5 && fabs(probe_number(p, "k") - w->k) < 0.5 &&
           fabs(probe_number(p, "skew") - w->skew) < 0.5;
}

static void place_m(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "m");
}

/* Loads in proportion to 1/sqrt(rank): between equal ones and Zipf's. */
#define MOE_SKEW 50
#define MOE_MIN  3

static int add_expert(struct probe_fit *q, const char *name, double n, double k)
{
    struct fit *f = q->f;
    const struct llm_shape *m = &f->llm;
    struct moe_want want = {m->experts, m->experts_per_tok, n, k, MOE_SKEW};
    struct points p = {.dims = 1};
    struct kernel kernel = kernel_moe(f);
    struct term_spec s = {name, "moe", llm_moe_layers(m), WHEN_ALWAYS, 1, {AXIS_TOKENS}};
    kernel.n = n;
    kernel.k = k;
    if (collect(q, "moe_gemm", want_moe, &want, place_m, &p) == 0) {
        if (p.n >= MOE_MIN) {
            fit_term(f, &s, &p, &kernel);
        } else {
            s.family = "assumed";
            fit_note(f, "%s: %u experts of %g x %g were not measured; the roofline stands in", name, m->experts, n, k);
            fit_assume(f, &s, &kernel);
        }
    }
    points_release(&p);
    return f->err->code;
}

static int add_experts(struct probe_fit *q)
{
    const struct llm_shape *m = &q->f->llm;
    double ffn = m->moe_ffn / (double)q->f->q->tp;
    if (m->experts == 0) {
        return 0;
    }
    if (m->shared_experts) {
        fit_note(q->f, "shared experts: their products are left out");
    }
    return add_expert(q, "experts_gate_up", (m->ffn_matrices - 1) * ffn, m->hidden) < 0 ||
                   add_expert(q, "experts_down", m->hidden, ffn) < 0
               ? q->f->err->code
               : 0;
}

static bool want_reduce(const struct probe_point *p, const void *ctx)
{
    return probe_says(p, "what", "all_reduce") && fabs(probe_number(p, "ranks") - *(const double *)ctx) < 0.5;
}

static void place_bytes(const struct probe_point *p, double *x)
{
    x[0] = probe_number(p, "bytes");
}

static int add_reduces(struct probe_fit *q)
{
    struct fit *f = q->f;
    double ranks = f->q->tp;
    struct points p = {.dims = 1};
    struct kernel k = kernel_link(f);
    struct term_spec s = {"all_reduce", "collective", 2 * (double)f->llm.layers, WHEN_ALWAYS, 1, {AXIS_TOKENS}};
    if (f->q->tp < 2) {
        return 0;
    }
    if (collect(q, "collective", want_reduce, &ranks, place_bytes, &p) == 0) {
        for (size_t i = 0; i < p.n; i++) {
            p.x[i] /= 2.0 * f->llm.hidden;
        }
        if (p.n >= MOE_MIN) {
            fit_term(f, &s, &p, &k);
        } else {
            fit_note(f, "all-reduce: not measured between %g GPUs; the roofline stands in", ranks);
            fit_assume(f, &s, &k); /* stays "collective": ranks wait at it */
        }
    }
    points_release(&p);
    return f->err->code;
}

/* ---- what was not fitted ---- */

/* A chunk and then decodes, measured as one: nothing of the fit has seen these. */
static int check_mixed(struct probe_fit *q)
{
    struct fit *f = q->f;
    const struct profile_term *d = fit_term_named(f, "attention_decode"), *c = fit_term_named(f, "attention_chunk");
    struct heads own = own_heads(f);
    struct kernel k = kernel_attention(f, KERNEL_MIXED);
    for (size_t i = 0; i < q->file.n; i++) {
        const struct probe_point *p = &q->file.point[i];
        if (strcmp(p->kind, "mixed") != 0 || !d || !c || !want_heads(p, &own)) {
            continue;
        }
        double x[] = {probe_number(p, "q"), probe_number(p, "ctx"), probe_number(p, "batch"), probe_number(p, "dctx")};
        double us = fit_term_at(c, x) + fit_term_at(d, x + 2);
        struct tally *tally = fit_family(f, "mixed");
        if (!tally || tally_add(tally, 1e6 * p->s, us, kernel_roofline_us(&k, x), f->err) < 0) {
            return f->err->code;
        }
    }
    return 0;
}

/* Time from the host for a kernel of its own and for one of a graph: what eager steps and replays cost. */
static void note_launches(struct probe_fit *q)
{
    double kernel = (double)NAN, node = (double)NAN;
    for (size_t i = 0; i < q->file.n; i++) {
        const struct probe_point *p = &q->file.point[i];
        if (strcmp(p->kind, "launch") == 0 && probe_number(p, "nodes") > 500) {
            double us = 1e6 * p->s / probe_number(p, "nodes");
            kernel = probe_says(p, "what", "kernel") ? us : kernel;
            node = probe_says(p, "what", "graph") ? us : node;
        }
    }
    if (isfinite(kernel) && isfinite(node)) {
        fit_note(q->f, "launch: %.2f us for each kernel from the host, %.2f us in a graph (told, not in the profile)",
                 kernel, node);
    }
}

static void note_file(struct probe_fit *q)
{
    const struct probe_file *p = &q->file;
    if (!p->complete) {
        fit_note(q->f, "the probe was cut short: %zu cases are there (steelyard-probe --continue goes on)", p->n);
    }
    if (p->n_wrong > 0) {
        fit_note(q->f, "%zu cases failed their check on the GPU and are not used", p->n_wrong);
    }
    if (p->n_skipped > 0) {
        fit_note(q->f, "%zu cases were skipped on the GPU", p->n_skipped);
    }
}

static int check_device(const struct probe_fit *q)
{
    const struct gpu_profile *g = &q->f->gpu;
    if (isfinite(q->file.sms) && g->sms > 0 && fabs(q->file.sms - g->sms) > 0.5) {
        return err_set(q->f->err, SIM_E_DATA, "%s: key 'device.sm_count': %g on %s, but GPU %s has %u: another chip?",
                       q->file.name, q->file.sms, q->file.device, g->name, g->sms);
    }
    return 0;
}

static int fit_all(struct probe_fit *q)
{
    struct fit *f = q->f;
    if (q->file.n == 0) {
        return err_set(f->err, SIM_E_DATA, "%s: holds no measurements: nothing to fit to", q->file.name);
    }
    if (check_device(q) < 0) {
        return f->err->code;
    }
    f->profile.engine = "steelyard-probe";
    f->profile.provenance = arena_printf(f->arena, "steelyard-probe on %s, driver %s, %s (%s, %zu cases)", q->file.device,
                                         q->file.driver, q->file.date, q->file.mode, q->file.n);
    if (!f->profile.provenance) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    note_file(q);
    if (add_products(q) < 0 || add_attention(q, &decode_attention) < 0 || add_attention(q, &chunk_attention) < 0 ||
        add_skew(q) < 0 || add_smalls(q) < 0 || add_experts(q) < 0 || add_reduces(q) < 0) {
        return f->err->code;
    }
    note_launches(q);
    return check_mixed(q);
}

int fit_probe(struct fit *f)
{
    struct probe_fit q = {.f = f, .gemm = {.dims = 3}};
    if (f->llm.kv_lora_rank) {
        return err_set(f->err, SIM_E_DATA, "%s has latent attention (MLA), which the probe does not measure", f->llm.name);
    }
    if (probe_file_load(&q.file, f->q->dir, f->arena, f->err) == 0) {
        if (fit_all(&q) < 0 && !strstr(f->err->msg, f->q->dir)) {
            err_wrap(f->err, "%s: ", f->q->dir);
        }
        probe_file_release(&q.file);
    }
    points_release(&q.gemm);
    return f->err->code;
}
