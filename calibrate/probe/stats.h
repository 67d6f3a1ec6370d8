/* SPDX-License-Identifier: Apache-2.0
 *
 * Few numbers that stand for many samples. */
#ifndef STEELYARD_PROBE_STATS_H
#define STEELYARD_PROBE_STATS_H

#include <stddef.h>

#include "calibrate/probe/c_begin.h"

struct stats {
    size_t n;
    double min, p25, median, p75, max, mean;
};

/* n >= 1 finite samples, left as they are. Quantiles interpolate linearly between order statistics (type
 * 7 of Hyndman and Fan, The American Statistician 1996). Out of memory: n = 0. */
struct stats stats_of(const double *samples, size_t n);
/* Of n >= 1 sorted numbers. */
double stats_quantile(const double *sorted, size_t n, double q);
/* ||a - b|| / ||b||; infinite when a number is not finite or b is all zeros and a is not. */
double stats_rel_error(const double *a, const double *b, size_t n);

#include "calibrate/probe/c_end.h"
#endif
