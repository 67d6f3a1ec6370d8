/* SPDX-License-Identifier: Apache-2.0
 *
 * Normal variates by counter, for the router: many at a time, and a stationary AR(1) sequence that can be
 * asked for at any position. */
#ifndef STEELYARD_ROUTES_NOISE_H
#define STEELYARD_ROUTES_NOISE_H

#include "sim/core/rng.h"
#include "sim/core/types.h"

#define NOISE_DIM_MAX 64

/* `n` standard normals that belong to (seq, pos, layer) of the stream, n <= 4 * 2^20. pos < 2^32,
 * layer < 2^12. */
void noise_normals(struct rng_stream s, uint64_t seq, uint32_t pos, uint32_t layer, float *v, uint32_t n);

/* x_t = rho x_(t-1) + sqrt(1 - rho^2) e_t with unit variance, in `dim` independent components. Not by this
 * recursion: positions that are multiples of `span`, so far apart that rho^span < 1e-9, are drawn
 * independently, and what lies between two known positions is drawn from its exact conditional law (the
 * process is Gauss-Markov, so the midpoint depends on the two ends alone). Hence any position costs
 * log2(span) + 2 draws, and the value does not depend on what was asked before. */
struct noise_walk {
    double rho;
    uint32_t span;
};
struct noise_walk noise_walk(double rho); /* 0 <= rho <= 0.99999 */

/* Values at the positions from..from+7 (from a multiple of 8) into v[8][dim]. */
#define NOISE_RUN 8
void noise_walk_run(const struct noise_walk *w, struct rng_stream s, uint64_t seq, uint32_t from,
                    uint32_t layer, float *v, uint32_t dim);

#endif
