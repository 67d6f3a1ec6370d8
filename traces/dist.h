/* SPDX-License-Identifier: Apache-2.0
 *
 * Length distributions of the generators, written as text:
 *   256                                constant (also "constant(256)")
 *   16..511                            uniform whole numbers, both ends included
 *   lognormal(median=1020, mean=1154)  or lognormal(mu=6.9, sigma=0.5); min=, max= clip
 *   zipf(theta=1.1, max=4096)          P(k) ~ k^-theta for k = 1..max; with mean= instead of max=, the
 *                                      smallest max whose mean reaches it
 *   quantiles(0:2, 0.5:1020, 1:14050)  inverse of the distribution function, linear in between
 *   mix(0.7:16..64, 0.3:zipf(...))     weights need not add up to 1
 *   file(PATH)                         lengths of a file's rows, drawn with replacement: the column
 *                                      column=NAME (default prompt_tokens or output_tokens), or a
 *                                      row of quantiles q0000..q1000 picked by client= and field=
 * A draw is a pure function of one uniform number, so that it can be keyed by request. */
#ifndef STEELYARD_TRACE_DIST_H
#define STEELYARD_TRACE_DIST_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct dist;

/* Quantiles x[i] at levels p[i], both rising, p from 0 to 1. Lengths are linear between them, but for the
 * last step, the tail, which is bent so that the mean comes out as given (0 = leave it straight). */
int dist_quantiles(struct dist **ret, const double *p, const double *x, size_t n, double mean,
                   struct arena *a, struct err *e);
/* `what` is "prompt" or "output": for messages and the default column of file(). */
int dist_parse(struct dist **ret, const char *text, const char *what, struct arena *a, struct err *e);
/* Length in 1..2^30 for u in (0,1). */
uint32_t dist_draw(const struct dist *d, double u);

#endif
