/* SPDX-License-Identifier: Apache-2.0
 *
 * Mean and confidence interval over independent replications. */
#ifndef STEELYARD_RESULTS_INTERVAL_H
#define STEELYARD_RESULTS_INTERVAL_H

#include <stddef.h>

struct interval {
    size_t n;          /* defined values */
    double mean;       /* NaN when n is 0 */
    double half_width; /* of the 95 % interval (Student t, n-1 degrees of freedom); NaN below n = 2 */
    double min, max;
};

/* Values that are NaN are left out. */
struct interval interval_of(const double *v, size_t n);
/* Of v[i] - base[i], where both are defined: with common random numbers much of the noise cancels. */
struct interval interval_paired(const double *v, const double *base, size_t n);

/* "12.3 ± 0.4" into buf: as many digits as the interval supports, four where there is none; "-" when
 * undefined. Returns buf. */
const char *interval_text(const struct interval *i, char *buf, size_t size);

#endif
