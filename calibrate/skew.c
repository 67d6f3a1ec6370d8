/* SPDX-License-Identifier: Apache-2.0
 *
 * Decodes of unequal contexts take longer than as many of the mean context: by how much longer each would
 * have to be, in standard deviations, for each number of decodes. */
#include <gsl/gsl_multifit.h>
#include <math.h>
#include <string.h>

#include "calibrate/fit.h"

/* ---- reading a term ---- */

const struct profile_term *fit_term_named(const struct fit *f, const char *name)
{
    for (uint32_t i = 0; i < f->profile.n_terms; i++) {
        if (strcmp(f->term[i].name, name) == 0) {
            return &f->term[i];
        }
    }
    return NULL;
}

static double linear_at(const double *at, uint32_t n, double x, uint32_t *i)
{
    *i = 0;
    while (*i + 2 < n && at[*i + 1] <= x) {
        (*i)++;
    }
    return n > 1 ? fmax((x - at[*i]) / (at[*i + 1] - at[*i]), 0) : 0;
}

double fit_term_at(const struct profile_term *t, const double *x)
{
    double sum = 0, share[PROFILE_AXES];
    uint32_t i[PROFILE_AXES];
    for (uint32_t d = 0; d < t->n_axes; d++) {
        share[d] = linear_at(t->at[d], t->n[d], x[d], &i[d]);
    }
    for (uint32_t corner = 0; corner < 1u << t->n_axes; corner++) {
        size_t k = 0;
        double w = 1;
        for (uint32_t d = 0; d < t->n_axes; d++) {
            bool high = (corner >> d & 1) && t->n[d] > 1;
            w *= corner >> d & 1 ? share[d] : 1 - share[d];
            k = k * t->n[d] + i[d] + high;
        }
        sum += w * t->us[k];
    }
    return sum;
}

/* By bisection: the table rises with context but for noise. */
double fit_excess_context(const struct profile_term *t, double *x, uint32_t axis, double ratio)
{
    double mean = x[axis], want = ratio * fit_term_at(t, x), low = 0.25 * mean, high = 4 * mean;
    for (int i = 0; i < 40; i++) {
        x[axis] = (low + high) / 2;
        if (fit_term_at(t, x) < want) {
            low = x[axis];
        } else {
            high = x[axis];
        }
    }
    x[axis] = mean;
    return (low + high) / 2 - mean;
}

/* ---- slopes by number of decodes ---- */

static struct points *skew_bin(struct fit_skew *k, double n, bool pure)
{
    uint32_t i = 0;
    while (i < k->n && k->decodes[i] < n) {
        i++;
    }
    if (i == k->n || k->decodes[i] > n) {
        if (k->n == SKEW_SIZES) {
            return NULL;
        }
        memmove(&k->decodes[i + 1], &k->decodes[i], (k->n - i) * sizeof(double));
        memmove(&k->pure[i + 1], &k->pure[i], (k->n - i) * sizeof(struct points));
        memmove(&k->mixed[i + 1], &k->mixed[i], (k->n - i) * sizeof(struct points));
        k->decodes[i] = n;
        k->pure[i] = k->mixed[i] = (struct points){.dims = 1};
        k->n++;
    }
    return pure ? &k->pure[i] : &k->mixed[i];
}

int fit_skew_add(struct fit_skew *k, double decodes, bool pure, double sigma, double excess, struct err *e)
{
    struct points *bin = skew_bin(k, decodes, pure);
    return bin ? points_add(bin, &sigma, excess, e) : 0;
}

void fit_skew_release(struct fit_skew *k)
{
    for (uint32_t i = 0; i < k->n; i++) {
        points_release(&k->pure[i]);
        points_release(&k->mixed[i]);
    }
}

/* Slope through the origin, bisquare weights: a few rows are far off in both directions. */
static double slope_of(const struct points *p)
{
    gsl_matrix *x = gsl_matrix_alloc(p->n, 1), *cov = gsl_matrix_alloc(1, 1);
    gsl_vector *y = gsl_vector_alloc(p->n), *c = gsl_vector_alloc(1);
    gsl_multifit_robust_workspace *w = gsl_multifit_robust_alloc(gsl_multifit_robust_bisquare, p->n, 1);
    double slope = 0;
    if (x && cov && y && c && w) {
        for (size_t i = 0; i < p->n; i++) {
            gsl_matrix_set(x, i, 0, p->x[i]);
            gsl_vector_set(y, i, p->y[i]);
        }
        slope = gsl_multifit_robust(x, y, c, cov, w) == 0 ? gsl_vector_get(c, 0) : 0;
    }
    gsl_multifit_robust_free(w);
    gsl_matrix_free(x);
    gsl_matrix_free(cov);
    gsl_vector_free(y);
    gsl_vector_free(c);
    return slope;
}

/* Bins with fewer rows say nothing. */
#define SKEW_MIN 4

int fit_skew_keep(struct fit *f, const struct fit_skew *k)
{
    struct profile_skew *s = &f->profile.skew;
    s->decodes = arena_calloc(f->arena, k->n + 1, sizeof(double));
    s->pure = arena_calloc(f->arena, k->n + 1, sizeof(double));
    s->mixed = arena_calloc(f->arena, k->n + 1, sizeof(double));
    if (!s->decodes || !s->pure || !s->mixed) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < k->n; i++) {
        if (k->pure[i].n < SKEW_MIN || k->mixed[i].n < SKEW_MIN) {
            continue;
        }
        s->decodes[s->n] = k->decodes[i];
        s->pure[s->n] = slope_of(&k->pure[i]);
        s->mixed[s->n++] = slope_of(&k->mixed[i]);
    }
    return 0;
}
