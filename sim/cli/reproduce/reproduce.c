/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/reproduce/reproduce.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <string.h>

const char *repro_verdict_name(enum repro_verdict v)
{
    static const char *const name[] = {"inside", "outside", "order holds", "order fails", "skipped"};

    return name[v];
}

/* ---- rows ---- */

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int add(struct repro *p, struct repro_row row, struct err *e)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct repro_row *grown = arena_calloc(&p->ar, cap, sizeof(*grown));

        if (!grown) {
            return no_memory(e);
        }
        if (p->n) {
            memcpy(grown, p->row, p->n * sizeof(*grown));
        }
        p->row = grown;
        p->cap = cap;
    }
    row.id = p->id;
    row.row = arena_strdup(&p->ar, row.row);
    p->row[p->n++] = row;
    return row.row ? 0 : no_memory(e);
}

void repro_note(struct repro_estimate *v, double x)
{
    v->sum += x;
    v->sum_sq += x * x;
    v->n++;
}

double repro_mean(const struct repro_estimate *v)
{
    return v->n ? v->sum / v->n : (double)NAN;
}

double repro_sd(const struct repro_estimate *v)
{
    double mean = repro_mean(v);

    return v->n > 1 ? sqrt(fmax(0, (v->sum_sq - v->n * mean * mean) / (v->n - 1))) : (double)NAN;
}

double repro_half(const struct repro_estimate *v)
{
    return v->n > 1 ? gsl_cdf_tdist_Pinv(0.975, v->n - 1) * repro_sd(v) / sqrt(v->n) : (double)NAN;
}

void repro_point(struct figure_line *l, size_t i, double x, const struct repro_estimate *v)
{
    l->x[i] = x;
    l->y[i] = repro_mean(v);
    l->half[i] = repro_half(v);
}

int repro_value(struct repro *p, const char *row, const char *unit, double published,
                const struct repro_estimate *ours, double tolerance, struct err *e)
{
    enum repro_verdict v = REPRO_SKIPPED;
    double mean = repro_mean(ours);

    if (isfinite(published) && isfinite(mean)) {
        v = fabs(mean - published) <= tolerance * fabs(published) ? REPRO_INSIDE : REPRO_OUTSIDE;
    }
    return add(p, (struct repro_row){.row = row, .unit = unit, .published = published, .ours = mean,
                                     .sd = repro_sd(ours), .half = repro_half(ours), .tolerance = tolerance,
                                     .lo = NAN, .hi = NAN, .verdict = v}, e);
}

int repro_order(struct repro *p, const char *row, const double *value, size_t n, struct err *e)
{
    enum repro_verdict v = REPRO_HOLDS;

    for (size_t i = 0; i + 1 < n; i++) {
        if (v == REPRO_HOLDS && !(value[i] < value[i + 1])) {
            v = REPRO_FAILS;
        }
    }
    for (size_t i = 0; i < n; i++) {
        v = isfinite(value[i]) ? v : REPRO_SKIPPED;
    }
    return add(p, (struct repro_row){.row = row, .unit = "", .published = NAN, .ours = NAN,
                                     .sd = NAN, .half = NAN, .tolerance = NAN, .lo = NAN, .hi = NAN,
                                     .verdict = v}, e);
}

int repro_number(struct repro *p, const char *row, const char *unit, double published, double ours,
                 double tolerance, struct err *e)
{
    struct repro_estimate v = {0};

    if (isfinite(ours)) {
        repro_note(&v, ours);
    }
    return repro_value(p, row, unit, published, &v, tolerance, e);
}

int repro_between(struct repro *p, const char *row, const char *unit, double published, double lo,
                  double hi, const struct repro_estimate *ours, struct err *e)
{
    double mean = repro_mean(ours);
    enum repro_verdict v = !isfinite(mean)        ? REPRO_SKIPPED
                           : mean < lo || mean > hi ? REPRO_OUTSIDE
                                                    : REPRO_INSIDE;

    return add(p, (struct repro_row){.row = row, .unit = unit, .published = published, .ours = mean,
                                     .sd = repro_sd(ours), .half = repro_half(ours), .tolerance = NAN,
                                     .lo = lo, .hi = hi,
                                     .verdict = v}, e);
}

int repro_at_most(struct repro *p, const char *row, double published, double ours, double most,
                  struct err *e)
{
    struct repro_estimate v = {0};

    if (isfinite(ours)) {
        repro_note(&v, ours);
    }
    return repro_between(p, row, "1", published, NAN, most, &v, e);
}
