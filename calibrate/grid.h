/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured points, a physical trend through them (robust least squares), and the full table that comes
 * of both: in the ratio measured/trend, which is flat where the trend is right, neighbours along each
 * axis fill what was not measured. */
#ifndef STEELYARD_GRID_H
#define STEELYARD_GRID_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

#define GRID_DIMS  4
#define TREND_MAX  8

struct points {
    uint32_t dims;
    size_t n, cap;
    double *x; /* n rows of dims */
    double *y;
};

int points_add(struct points *p, const double *x, double y, struct err *e);
void points_release(struct points *p);

struct curve;
struct likeness;

/* A sum of physically shaped terms (constant, work, traffic ...), fitted to relative error with
 * bisquare weights: a handful of points that are off does not bend it. */
struct trend {
    uint32_t n;
    void (*terms)(const double *x, double *ret, const void *ctx);
    const void *ctx;
    double c[TREND_MAX];
    double floor; /* never below: a negative sum would have no ratio */
    /* The work is a product of the first two axes (sequences x context), so places on a diagonal, one up
     * and the other down, resemble each other: the same bytes, on the same side of a cache's size. */
    bool diagonal;
    double weight[GRID_DIMS]; /* of what neighbours along an axis say; 0 = 1 */
    struct curve *curve;      /* instead of a sum of terms; NULL = the sum */
    const struct likeness *like; /* which places resemble each other; NULL = neighbours along the axes */
};
int trend_fit(struct trend *t, const struct points *p, struct err *e);
double trend_at(const struct trend *t, const double *x);

struct grid {
    uint32_t dims, n[GRID_DIMS];
    double *at[GRID_DIMS];
    size_t size;
    double *v; /* row-major, the last axis fastest; NaN = not known */
};

/* Axes are the distinct places of the points; points at one place are averaged. */
int grid_from(struct grid *g, const struct points *p, struct arena *a, struct err *e);
int grid_fill(struct grid *g, const struct trend *t, struct err *e);
/* At any place: linear in the logarithms of places and of ratios to the trend. */
double grid_at(const struct grid *g, const struct trend *t, const double *x);
/* At n places, for a trend with a likeness and a grid with its holes: what was measured stays, the rest
 * comes from the measured places around. */
int grid_read(const struct grid *g, const struct trend *t, const double *x, size_t n, double *ret, struct err *e);

/* Held-out errors of one family of kernels. */
struct tally {
    size_t n, cap;
    double *error, *roofline;    /* |predicted - measured| / measured */
    double *measured;            /* microseconds */
    double *off, *roofline_off;  /* predicted / measured - 1, in the order of `measured` */
};
int tally_add(struct tally *t, double measured, double predicted, double roofline, struct err *e);
void tally_release(struct tally *t);

/* k-fold over the measured places of the grid: each fold is left out, the trend fitted and the table
 * filled without it, and the left-out places predicted. Places that agree in the first `together` axes
 * fall into the same fold (0: each place by itself). `roof` may be NULL. */
typedef double roof_fn(const void *ctx, const double *x);
int grid_validate(const struct points *p, const struct trend *like, uint32_t folds, uint32_t together,
                  roof_fn *roof, const void *roof_ctx, struct tally *tally, struct err *e);

#endif
