/* SPDX-License-Identifier: Apache-2.0
 *
 * What measured points say about a place that was not measured, beyond the curve through all of them:
 * residuals of places that are alike are alike (simple kriging, exponential covariance). Where nothing
 * alike was measured the answer is 0: the curve stands alone. */
#ifndef STEELYARD_KRIGE_H
#define STEELYARD_KRIGE_H

#include <stddef.h>
#include <stdint.h>

#define KRIGE_FEATURES 8
#define KRIGE_NEAREST  32 /* of the points offered, so many that are most alike are used */

/* Two places are as alike as exp(-sum |z - z'|). */
struct likeness {
    uint32_t n;
    void (*features)(const double *x, double *z, const void *ctx);
    const void *ctx;
    double noise; /* variance of a single measurement as a share of the variance of residuals */
    uint32_t reach[4]; /* on a grid: places to look at, so many steps along each axis */
};

struct krige {
    const struct likeness *like;
    const double *z, *r; /* features and residuals of the points, like->n numbers and one each */
};

/* Residual expected at the features `z`, from the points that candidate[0..n) names. */
double krige_at(const struct krige *k, const size_t *candidate, size_t n, const double *z);

#endif
