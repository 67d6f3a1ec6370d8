/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double stats_quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;

    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

struct stats stats_of(const double *samples, size_t n)
{
    struct stats s = {0};
    double *sorted = n > 0 ? malloc(n * sizeof(*sorted)) : NULL;

    if (!sorted) {
        return s;
    }
    memcpy(sorted, samples, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), ascending);
    s.n = n;
    s.min = sorted[0];
    s.p25 = stats_quantile(sorted, n, 0.25);
    s.median = stats_quantile(sorted, n, 0.5);
    s.p75 = stats_quantile(sorted, n, 0.75);
    s.max = sorted[n - 1];
    for (size_t i = 0; i < n; i++) {
        s.mean += sorted[i] / (double)n;
    }
    free(sorted);
    return s;
}

double stats_rel_error(const double *a, const double *b, size_t n)
{
    double diff = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            return HUGE_VAL;
        }
        diff += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    if (norm <= 0) {
        return diff > 0 ? HUGE_VAL : 0;
    }
    return sqrt(diff / norm);
}
