/* SPDX-License-Identifier: Apache-2.0
 *
 * A curve through measured times whose coefficients stand for something physical (a rate, a floor, an
 * overlap): positive, within bounds, fitted to the logarithm of the times with bisquare weights. */
#ifndef STEELYARD_CURVE_H
#define STEELYARD_CURVE_H

#include "calibrate/grid.h"

#define CURVE_MAX 10

struct curve_coef {
    const char *name, *unit;
    double low, start, high; /* above 0 */
};

struct curve {
    uint32_t n;   /* coefficients that are fitted; those behind stay at their start */
    uint32_t all; /* coefficients that `at` reads; 0 = n */
    const struct curve_coef *coef;
    double (*at)(const double *x, const double *c, const void *ctx); /* above 0 */
    const void *ctx;
    double c[CURVE_MAX];
    /* A coefficient that says where something jumps is not found by going downhill: the fit is started from
     * so many values of the last coefficient, and the best is kept. 0 = one. */
    uint32_t starts;
    double spread; /* robust standard deviation of log(measured / curve) */
};

/* So few points that not all coefficients can be told from them: fit the first ones only, one for two points,
 * two at least. */
void curve_fewer(struct curve *t, size_t points);
/* Coefficients are started from coef[].start. Fewer points than coefficients: SIM_E_DATA. */
int curve_fit(struct curve *t, const struct points *p, struct err *e);
double curve_at(const struct curve *t, const double *x);

#endif
