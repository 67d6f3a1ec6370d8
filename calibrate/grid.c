/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/grid.h"

#include <gsl/gsl_multifit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/curve.h"
#include "calibrate/krige.h"
#include "sim/core/rng.h"

/* Largest table. */
#define GRID_MAX ((size_t)1 << 22)
/* A neighbour on one side only counts as much as two that are this many times as far apart. */
#define ONE_SIDED 8.0
/* Weight of neighbours on the diagonal, where the trend has one. */
#define DIAGONAL 4.0
/* Holes next to holes need several rounds. */
#define FILL_ROUNDS 8
/* Points beyond which a trend is fitted to a sample: it has a few coefficients only. */
#define TREND_POINTS 4000

/* ---- points ---- */

static bool grow(double **v, size_t n)
{
    double *p = realloc(*v, n * sizeof(double));
    *v = p ? p : *v;
    return p != NULL;
}

int points_add(struct points *p, const double *x, double y, struct err *e)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        if (!grow(&p->x, cap * p->dims) || !grow(&p->y, cap)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu points", cap);
        }
        p->cap = cap;
    }
    memcpy(&p->x[p->n * p->dims], x, p->dims * sizeof(double));
    p->y[p->n++] = y;
    return 0;
}

void points_release(struct points *p)
{
    free(p->x);
    free(p->y);
    *p = (struct points){.dims = p->dims};
}

/* ---- trend ---- */

static void design_row(const struct trend *t, const struct points *p, size_t i, gsl_matrix *x, size_t row)
{
    double f[TREND_MAX];
    t->terms(&p->x[i * p->dims], f, t->ctx);
    for (uint32_t k = 0; k < t->n; k++) {
        gsl_matrix_set(x, row, k, f[k] / p->y[i]);
    }
}

/* Columns of very different size make the system singular to working precision: divide by the largest. */
static void scale_columns(gsl_matrix *x, double *scale)
{
    for (size_t k = 0; k < x->size2; k++) {
        gsl_vector_view col = gsl_matrix_column(x, k);
        double most = fmax(fabs(gsl_vector_max(&col.vector)), fabs(gsl_vector_min(&col.vector)));
        scale[k] = most > 0 ? most : 1;
        gsl_vector_scale(&col.vector, 1 / scale[k]);
    }
}

static int robust(gsl_matrix *x, gsl_vector *y, gsl_vector *c, gsl_matrix *cov)
{
    gsl_multifit_robust_workspace *w = gsl_multifit_robust_alloc(gsl_multifit_robust_bisquare, x->size1,
                                                                 x->size2);
    int rc = w ? gsl_multifit_robust(x, y, c, cov, w) : -1;
    gsl_multifit_robust_free(w);
    if (rc == 0) {
        return 0;
    }
    /* An exact fit leaves no scale for the weights, and too few points no freedom: plain squares. */
    double chisq;
    gsl_multifit_linear_workspace *l = gsl_multifit_linear_alloc(x->size1, x->size2);
    rc = l ? gsl_multifit_linear(x, y, c, cov, &chisq, l) : -1;
    gsl_multifit_linear_free(l);
    return rc;
}

/* Points whose number of rows is below the number of coefficients: their mean. */
static void flat_trend(struct trend *t, const struct points *p)
{
    memset(t->c, 0, sizeof(t->c));
    t->floor = 0;
    for (size_t i = 0; i < p->n; i++) {
        t->floor += p->y[i] / (double)p->n;
    }
}

int trend_fit(struct trend *t, const struct points *p, struct err *e)
{
    if (t->curve) {
        return curve_fit(t->curve, p, e);
    }
    size_t step = p->n / TREND_POINTS + 1, rows = (p->n + step - 1) / step;
    double scale[TREND_MAX], low = HUGE_VAL;
    for (size_t i = 0; i < p->n; i++) {
        low = fmin(low, p->y[i]);
    }
    if (rows < t->n + 2) {
        flat_trend(t, p);
        return 0;
    }
    gsl_matrix *x = gsl_matrix_alloc(rows, t->n), *cov = gsl_matrix_alloc(t->n, t->n);
    gsl_vector *y = gsl_vector_alloc(rows), *c = gsl_vector_alloc(t->n);
    int rc = -1;
    if (x && cov && y && c) {
        for (size_t i = 0; i < rows; i++) {
            design_row(t, p, i * step, x, i);
        }
        scale_columns(x, scale);
        gsl_vector_set_all(y, 1);
        rc = robust(x, y, c, cov);
    }
    for (uint32_t k = 0; rc == 0 && k < t->n; k++) {
        t->c[k] = gsl_vector_get(c, k) / scale[k];
    }
    gsl_matrix_free(x);
    gsl_matrix_free(cov);
    gsl_vector_free(y);
    gsl_vector_free(c);
    t->floor = low / 2;
    return rc == 0 ? 0 : err_set(e, SIM_E_DATA, "a least-squares fit to %zu points failed", p->n);
}

double trend_at(const struct trend *t, const double *x)
{
    double f[TREND_MAX], sum = 0;
    if (t->curve) {
        return curve_at(t->curve, x);
    }
    t->terms(x, f, t->ctx);
    for (uint32_t k = 0; k < t->n; k++) {
        sum += t->c[k] * f[k];
    }
    return sum > t->floor ? sum : t->floor;
}

/* ---- grid ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int make_axis(struct grid *g, const struct points *p, uint32_t d, struct arena *a)
{
    double *v = arena_calloc(a, p->n, sizeof(double));
    uint32_t n = 0;
    if (!v) {
        return -1;
    }
    for (size_t i = 0; i < p->n; i++) {
        v[i] = p->x[i * p->dims + d];
    }
    qsort(v, p->n, sizeof(double), by_value);
    for (size_t i = 0; i < p->n; i++) {
        if (n == 0 || v[i] > v[n - 1]) {
            v[n++] = v[i];
        }
    }
    g->at[d] = v;
    g->n[d] = n;
    return 0;
}

/* Cell of x on an axis: *i with at[i] <= x, clamped so that i + 1 exists where there are two. */
static uint32_t cell(const double *at, uint32_t n, double x)
{
    uint32_t low = 0, high = n;
    while (high - low > 1) {
        uint32_t mid = (low + high) / 2;
        if (at[mid] <= x) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

static size_t index_of(const struct grid *g, const double *x)
{
    size_t k = 0;
    for (uint32_t d = 0; d < g->dims; d++) {
        k = k * g->n[d] + cell(g->at[d], g->n[d], x[d]);
    }
    return k;
}

static void place_of(const struct grid *g, size_t k, double *x)
{
    for (uint32_t d = g->dims; d-- > 0;) {
        x[d] = g->at[d][k % g->n[d]];
        k /= g->n[d];
    }
}

int grid_from(struct grid *g, const struct points *p, struct arena *a, struct err *e)
{
    *g = (struct grid){.dims = p->dims, .size = 1};
    for (uint32_t d = 0; d < p->dims; d++) {
        if (make_axis(g, p, d, a) < 0) {
            return err_set(e, SIM_E_NOMEM, "out of memory for a table");
        }
        g->size = g->size <= GRID_MAX ? g->size * g->n[d] : g->size;
    }
    if (p->n == 0 || g->size > GRID_MAX) {
        return err_set(e, SIM_E_DATA, p->n ? "a table of %zu points would be too large" : "%zu points make no table",
                       p->n);
    }
    g->v = arena_calloc(a, g->size, sizeof(double));
    uint32_t *seen = calloc(g->size, sizeof(*seen));
    if (!g->v || !seen) {
        free(seen);
        return err_set(e, SIM_E_NOMEM, "out of memory for a table");
    }
    for (size_t i = 0; i < p->n; i++) {
        size_t k = index_of(g, &p->x[i * p->dims]);
        seen[k]++;
        g->v[k] += (p->y[i] - g->v[k]) / seen[k];
    }
    for (size_t k = 0; k < g->size; k++) {
        g->v[k] = seen[k] ? g->v[k] : (double)NAN;
    }
    free(seen);
    return 0;
}

static double scale_of(double x)
{
    return log1p(x);
}

struct guess {
    double weight, sum;
};

/* A line of cells through cell k: places at -low .. high steps from it, `stride` apart. */
struct walk {
    int64_t low, high, stride;
    const double *at; /* places along it, at[0] = that of cell k */
};

static void guess_on(const double *ratio, size_t k, const struct walk *w, struct guess *q)
{
    int64_t low = -1, high = 1;
    const double *r = &ratio[k];
    while (low >= -w->low && isnan(r[low * w->stride])) {
        low--;
    }
    while (high <= w->high && isnan(r[high * w->stride])) {
        high++;
    }
    bool down = low >= -w->low, up = high <= w->high;
    double x = scale_of(w->at[0]);
    double below = down ? x - scale_of(w->at[low]) : 0, above = up ? scale_of(w->at[high]) - x : 0;
    if (down && up) {
        double mix = (r[low * w->stride] * above + r[high * w->stride] * below) / (below + above);
        double weight = 1 / ((below + above) * (below + above));
        q->weight += weight;
        q->sum += weight * mix;
    } else if (down || up) {
        double gap = ONE_SIDED * (below + above);
        q->weight += 1 / (gap * gap);
        q->sum += r[(down ? low : high) * w->stride] / (gap * gap);
    }
}

static void add_guess(const double *ratio, size_t k, const struct walk *w, double weight, struct guess *q)
{
    struct guess own = {0, 0};
    guess_on(ratio, k, w, &own);
    q->weight += weight * own.weight;
    q->sum += weight * own.sum;
}

static size_t stride_of(const struct grid *g, uint32_t d)
{
    size_t stride = 1;
    for (uint32_t i = d + 1; i < g->dims; i++) {
        stride *= g->n[i];
    }
    return stride;
}

/* What the known neighbours of cell k say about its ratio. */
static void guess_cell(const struct grid *g, const struct trend *t, const double *ratio, size_t k, struct guess *q)
{
    int64_t at[GRID_DIMS];
    for (uint32_t d = 0; d < g->dims; d++) {
        size_t stride = stride_of(g, d);
        at[d] = (int64_t)(k / stride % g->n[d]);
        struct walk w = {at[d], g->n[d] - 1 - at[d], (int64_t)stride, &g->at[d][at[d]]};
        add_guess(ratio, k, &w, t->weight[d] > 0 ? t->weight[d] : 1, q);
    }
    if (t->diagonal && g->dims >= 2) {
        int64_t up0 = g->n[0] - 1 - at[0], up1 = g->n[1] - 1 - at[1];
        struct walk w = {at[0] < up1 ? at[0] : up1, up0 < at[1] ? up0 : at[1],
                         (int64_t)stride_of(g, 0) - (int64_t)stride_of(g, 1), &g->at[0][at[0]]};
        add_guess(ratio, k, &w, DIAGONAL, q);
    }
}

/* One round over the holes; returns how many are left. */
static size_t fill_round(const struct grid *g, const struct trend *t, const double *ratio, double *next)
{
    size_t left = 0;
    for (size_t k = 0; k < g->size; k++) {
        struct guess q = {0, 0};
        next[k] = ratio[k];
        if (!isnan(ratio[k])) {
            continue;
        }
        guess_cell(g, t, ratio, k, &q);
        if (q.weight > 0) {
            next[k] = q.sum / q.weight;
        } else {
            left++;
        }
    }
    return left;
}

/* ---- filling by likeness ---- */

struct cloud {
    const struct grid *g;
    double *z, *r;
    size_t *candidate;
};

static void cloud_release(struct cloud *c)
{
    free(c->z);
    free(c->r);
    free(c->candidate);
}

static int cloud_init(struct cloud *c, const struct grid *g, const struct trend *t, struct err *e)
{
    double x[GRID_DIMS];
    *c = (struct cloud){g, malloc(g->size * t->like->n * sizeof(double)), malloc(g->size * sizeof(double)),
                        malloc(g->size * sizeof(size_t))};
    if (!c->z || !c->r || !c->candidate) {
        cloud_release(c);
        return err_set(e, SIM_E_NOMEM, "out of memory for a table");
    }
    for (size_t k = 0; k < g->size; k++) {
        place_of(g, k, x);
        t->like->features(x, &c->z[k * t->like->n], t->like->ctx);
        c->r[k] = log(g->v[k] / trend_at(t, x));
    }
    return 0;
}

/* Known cells within reach of a cell, into c->candidate. */
static size_t cells_around(struct cloud *c, const struct trend *t, const uint32_t *at)
{
    const struct grid *g = c->g;
    uint32_t i[GRID_DIMS], low[GRID_DIMS], high[GRID_DIMS];
    size_t n = 0;
    for (uint32_t d = 0; d < g->dims; d++) {
        uint32_t reach = t->like->reach[d];
        low[d] = i[d] = at[d] > reach ? at[d] - reach : 0;
        high[d] = at[d] + reach < g->n[d] ? at[d] + reach : g->n[d] - 1;
    }
    for (;;) {
        size_t k = 0;
        for (uint32_t d = 0; d < g->dims; d++) {
            k = k * g->n[d] + i[d];
        }
        if (!isnan(c->r[k])) {
            c->candidate[n++] = k;
        }
        uint32_t d = g->dims;
        while (d-- > 0 && ++i[d] > high[d]) {
            i[d] = low[d];
        }
        if (d == UINT32_MAX) {
            return n;
        }
    }
}

static double cloud_at(struct cloud *c, const struct trend *t, const double *x)
{
    struct krige q = {t->like, c->z, c->r};
    double z[KRIGE_FEATURES];
    uint32_t at[GRID_DIMS];
    for (uint32_t d = 0; d < c->g->dims; d++) {
        at[d] = cell(c->g->at[d], c->g->n[d], x[d]);
    }
    t->like->features(x, z, t->like->ctx);
    size_t n = cells_around(c, t, at);
    return trend_at(t, x) * exp(krige_at(&q, c->candidate, n, z));
}

static int fill_by_likeness(struct grid *g, const struct trend *t, struct err *e)
{
    struct cloud c;
    double x[GRID_DIMS];
    if (cloud_init(&c, g, t, e) < 0) {
        return e->code;
    }
    for (size_t k = 0; k < g->size; k++) {
        place_of(g, k, x);
        g->v[k] = isnan(c.r[k]) ? cloud_at(&c, t, x) : g->v[k];
    }
    cloud_release(&c);
    return 0;
}

int grid_read(const struct grid *g, const struct trend *t, const double *x, size_t n, double *ret, struct err *e)
{
    struct cloud c;
    if (cloud_init(&c, g, t, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < n; i++) {
        const double *xi = &x[i * g->dims];
        size_t k = index_of(g, xi);
        double own[GRID_DIMS];
        place_of(g, k, own);
        bool measured = memcmp(own, xi, g->dims * sizeof(double)) == 0 && !isnan(g->v[k]);
        ret[i] = measured ? g->v[k] : cloud_at(&c, t, xi);
    }
    cloud_release(&c);
    return 0;
}

int grid_fill(struct grid *g, const struct trend *t, struct err *e)
{
    if (t->like) {
        return fill_by_likeness(g, t, e);
    }
    double *ratio = malloc(g->size * sizeof(double)), *next = malloc(g->size * sizeof(double));
    double x[GRID_DIMS];
    if (!ratio || !next) {
        free(ratio);
        free(next);
        return err_set(e, SIM_E_NOMEM, "out of memory for a table");
    }
    for (size_t k = 0; k < g->size; k++) {
        place_of(g, k, x);
        ratio[k] = log(g->v[k] / trend_at(t, x));
    }
    for (int round = 0; round < FILL_ROUNDS; round++) {
        size_t left = fill_round(g, t, ratio, next);
        double *swap = ratio;
        ratio = next;
        next = swap;
        if (left == 0) {
            break;
        }
    }
    for (size_t k = 0; k < g->size; k++) {
        place_of(g, k, x);
        if (isnan(g->v[k])) {
            g->v[k] = trend_at(t, x) * (isnan(ratio[k]) ? 1 : exp(ratio[k]));
        }
    }
    free(ratio);
    free(next);
    return 0;
}

double grid_at(const struct grid *g, const struct trend *t, const double *x)
{
    size_t stride[GRID_DIMS], at = 0, s = 1;
    double share[GRID_DIMS], sum = 0, corner_x[GRID_DIMS];
    uint32_t c[GRID_DIMS];
    for (uint32_t d = g->dims; d-- > 0;) {
        uint32_t i = cell(g->at[d], g->n[d], x[d]);
        bool two = i + 1 < g->n[d];
        double low = scale_of(g->at[d][i]), high = two ? scale_of(g->at[d][i + 1]) : low;
        share[d] = two ? fmax((scale_of(x[d]) - low) / (high - low), 0) : 0;
        stride[d] = two ? s : 0;
        c[d] = i;
        at += i * s;
        s *= g->n[d];
    }
    for (uint32_t corner = 0; corner < 1u << g->dims; corner++) {
        size_t k = at;
        double w = 1;
        for (uint32_t d = 0; d < g->dims; d++) {
            bool high = corner >> d & 1;
            w *= high ? share[d] : 1 - share[d];
            k += high ? stride[d] : 0;
            corner_x[d] = g->at[d][c[d] + (high && stride[d] ? 1 : 0)];
        }
        if (w > 0) {
            sum += w * log(g->v[k] / trend_at(t, corner_x));
        }
    }
    return trend_at(t, x) * exp(sum);
}

/* ---- cross-validation ---- */

int tally_add(struct tally *t, double measured, double predicted, double roofline, struct err *e)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 256;
        if (!grow(&t->error, cap) || !grow(&t->roofline, cap) || !grow(&t->measured, cap) || !grow(&t->off, cap) ||
            !grow(&t->roofline_off, cap)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu errors", cap);
        }
        t->cap = cap;
    }
    t->measured[t->n] = measured;
    t->off[t->n] = predicted / measured - 1;
    t->roofline_off[t->n] = roofline / measured - 1;
    t->error[t->n] = fabs(predicted / measured - 1);
    t->roofline[t->n++] = fabs(roofline / measured - 1);
    return 0;
}

void tally_release(struct tally *t)
{
    free(t->error);
    free(t->roofline);
    free(t->measured);
    free(t->off);
    free(t->roofline_off);
    *t = (struct tally){0};
}

struct fold {
    const struct points *all;
    struct grid grid; /* with every measured place */
    uint32_t *of;     /* fold of each cell */
    roof_fn *roof;
    const void *roof_ctx;
    struct tally *tally;
};

static int validate_fold(const struct fold *f, uint32_t fold, const struct trend *like, struct err *e)
{
    struct points kept = {.dims = f->all->dims};
    struct grid g = f->grid;
    struct trend t = *like;
    struct curve own;
    double x[GRID_DIMS];
    int rc = 0;
    g.v = malloc(g.size * sizeof(double));
    if (!g.v) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a table");
    }
    for (size_t k = 0; k < g.size && rc == 0; k++) {
        bool held = f->of[k] == fold;
        g.v[k] = held ? (double)NAN : f->grid.v[k];
        place_of(&g, k, x);
        rc = isnan(g.v[k]) ? 0 : points_add(&kept, x, g.v[k], e);
    }
    if (t.curve) { /* of its own, and with no more coefficients than the rest can tell */
        own = *t.curve;
        t.curve = &own;
        curve_fewer(&own, kept.n);
    }
    if (rc == 0 && kept.n > (t.curve ? t.curve->n : 0) && trend_fit(&t, &kept, e) == 0 && grid_fill(&g, &t, e) == 0) {
        for (size_t k = 0; k < g.size && e->code == 0; k++) {
            place_of(&g, k, x);
            if (f->of[k] == fold && !isnan(f->grid.v[k])) {
                tally_add(f->tally, f->grid.v[k], g.v[k], f->roof ? f->roof(f->roof_ctx, x) : (double)NAN, e);
            }
        }
    }
    free(g.v);
    points_release(&kept);
    return e->code;
}

int grid_validate(const struct points *p, const struct trend *like, uint32_t folds, uint32_t together,
                  roof_fn *roof, const void *roof_ctx, struct tally *tally, struct err *e)
{
    struct arena a = {0};
    struct fold f = {.all = p, .roof = roof, .roof_ctx = roof_ctx, .tally = tally};
    struct rng_stream draw = rng_stream(1, 0, "fold");
    size_t group = 1;
    int rc = grid_from(&f.grid, p, &a, e);
    if (rc == 0) {
        f.of = arena_calloc(&a, f.grid.size, sizeof(*f.of));
        rc = f.of ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t d = together ? together : f.grid.dims; rc == 0 && d < f.grid.dims; d++) {
        group *= f.grid.n[d];
    }
    for (size_t k = 0; rc == 0 && k < f.grid.size; k++) {
        f.of[k] = (uint32_t)rng_range(draw, k / group, 0, 0, folds - 1);
    }
    for (uint32_t i = 0; rc == 0 && i < folds; i++) {
        rc = validate_fold(&f, i, like, e);
    }
    arena_release(&a);
    return rc;
}
