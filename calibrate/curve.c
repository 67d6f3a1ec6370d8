/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/curve.h"

#include <gsl/gsl_multifit_nlinear.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

/* Points beyond which a curve is fitted to a sample: it has a few coefficients only. */
#define CURVE_POINTS 250
#define WEIGHT_ROUNDS 4
#define STEPS         25
/* Tukey's constant: 95 % efficiency on normal residuals. */
#define BISQUARE 4.685

struct problem {
    const struct curve *curve;
    const struct points *p;
    size_t stride;
};

/* A coefficient moves freely in u and stays between its bounds in c = low^(1-s) high^s, s = logistic(u). */
static double bounded(const struct curve_coef *k, double u)
{
    return exp(log(k->low) + log(k->high / k->low) / (1 + exp(-u)));
}

static double unbounded(const struct curve_coef *k, double c)
{
    double s = fmin(fmax(log(c / k->low) / log(k->high / k->low), 0.001), 0.999);
    return log(s / (1 - s));
}

static void coefs_of(const struct curve *t, const gsl_vector *u, double *c)
{
    for (uint32_t i = 0; i < t->n; i++) {
        c[i] = bounded(&t->coef[i], gsl_vector_get(u, i));
    }
    for (uint32_t i = t->n; i < t->all; i++) {
        c[i] = t->coef[i].start;
    }
}

static int residuals(const gsl_vector *u, void *params, gsl_vector *f)
{
    const struct problem *q = params;
    const struct points *p = q->p;
    double c[CURVE_MAX];
    coefs_of(q->curve, u, c);
    for (size_t i = 0; i < f->size; i++) {
        size_t k = i * q->stride;
        gsl_vector_set(f, i, log(q->curve->at(&p->x[k * p->dims], c, q->curve->ctx) / p->y[k]));
    }
    return GSL_SUCCESS;
}

/* Spread by the median of absolute residuals; weights fall to 0 where a residual is far beyond it. */
static double reweigh(const gsl_vector *f, gsl_vector *w, double *scratch)
{
    for (size_t i = 0; i < f->size; i++) {
        scratch[i] = fabs(gsl_vector_get(f, i));
    }
    gsl_sort(scratch, 1, f->size);
    double spread = 1.4826 * gsl_stats_median_from_sorted_data(scratch, 1, f->size);
    double reach = BISQUARE * fmax(spread, 1e-6);
    for (size_t i = 0; i < f->size; i++) {
        double r = gsl_vector_get(f, i) / reach;
        /* A trace of weight is left, so that no round is without points. */
        gsl_vector_set(w, i, fabs(r) < 1 ? fmax((1 - r * r) * (1 - r * r), 1e-6) : 1e-6);
    }
    return spread;
}

struct solver {
    gsl_multifit_nlinear_workspace *w;
    gsl_vector *u, *weight;
    double *scratch;
};

static int descend(struct solver *s, struct curve *t, gsl_multifit_nlinear_fdf *fdf)
{
    int info;
    gsl_vector_set_all(s->weight, 1);
    for (int round = 0; round < WEIGHT_ROUNDS; round++) {
        if (gsl_multifit_nlinear_winit(s->u, s->weight, fdf, s->w) != GSL_SUCCESS) {
            return -1;
        }
        /* A step that finds nothing better ends a round, and is no failure. */
        gsl_multifit_nlinear_driver(STEPS, 1e-5, 1e-8, 1e-8, NULL, NULL, &info, s->w);
        gsl_vector_memcpy(s->u, gsl_multifit_nlinear_position(s->w));
        /* Weights are in the solver's residuals: evaluate anew. */
        gsl_vector *f = gsl_multifit_nlinear_residual(s->w);
        residuals(s->u, fdf->params, f);
        t->spread = reweigh(f, s->weight, s->scratch);
    }
    coefs_of(t, s->u, t->c);
    return 0;
}

/* What is to be small: a sum that single points far off do not rule. */
static double misfit(const struct solver *s)
{
    const gsl_vector *f = gsl_multifit_nlinear_residual(s->w);
    double sum = 0;
    for (size_t i = 0; i < f->size; i++) {
        sum += fabs(gsl_vector_get(f, i));
    }
    return sum;
}

static int solve(struct solver *s, struct curve *t, gsl_multifit_nlinear_fdf *fdf)
{
    struct curve best = *t;
    double least = HUGE_VAL;
    uint32_t starts = t->starts ? t->starts : 1;
    for (uint32_t k = 0; k < starts; k++) {
        const struct curve_coef *last = &t->coef[t->n - 1];
        for (uint32_t i = 0; i < t->n; i++) {
            gsl_vector_set(s->u, i, unbounded(&t->coef[i], t->coef[i].start));
        }
        if (k > 0) {
            double share = (double)k / starts;
            gsl_vector_set(s->u, t->n - 1, unbounded(last, last->low * pow(last->high / last->low, share)));
        }
        if (descend(s, t, fdf) < 0) {
            return -1;
        }
        if (misfit(s) < least) {
            least = misfit(s);
            best = *t;
        }
    }
    *t = best;
    return 0;
}

void curve_fewer(struct curve *t, size_t points)
{
    uint32_t n = points / 2 > 2 ? (uint32_t)(points / 2) : 2;
    t->all = t->all > t->n ? t->all : t->n;
    if (n < t->n) {
        t->n = n;
        t->starts = 1;
    }
}

int curve_fit(struct curve *t, const struct points *p, struct err *e)
{
    struct problem q = {t, p, p->n / CURVE_POINTS + 1};
    size_t n = (p->n + q.stride - 1) / q.stride;
    if (n < t->n) {
        return err_set(e, SIM_E_DATA, "%zu points are too few for %u coefficients", n, t->n);
    }
    gsl_multifit_nlinear_parameters how = gsl_multifit_nlinear_default_parameters();
    gsl_multifit_nlinear_fdf fdf = {.f = residuals, .n = n, .p = t->n, .params = &q};
    struct solver s = {gsl_multifit_nlinear_alloc(gsl_multifit_nlinear_trust, &how, n, t->n),
                       gsl_vector_alloc(t->n), gsl_vector_alloc(n), calloc(n, sizeof(double))};
    int rc = -1;
    if (s.w && s.u && s.weight && s.scratch) {
        rc = solve(&s, t, &fdf);
    }
    if (s.w) {
        gsl_multifit_nlinear_free(s.w);
    }
    gsl_vector_free(s.u);
    gsl_vector_free(s.weight);
    free(s.scratch);
    return rc == 0 ? 0 : err_set(e, SIM_E_DATA, "a curve with %u coefficients could not be fitted to %zu points", t->n, n);
}

double curve_at(const struct curve *t, const double *x)
{
    return t->at(x, t->c, t->ctx);
}
