/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/interval.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

/* Welford's running mean: exact for equal values, so their half width is 0 and not rounding noise. */
struct running {
    size_t n;
    double mean, m2, min, max;
};

static void running_add(struct running *r, double x)
{
    if (isnan(x)) {
        return;
    }
    double d = x - r->mean;
    r->n++;
    r->mean += d / (double)r->n;
    r->m2 += d * (x - r->mean);
    r->min = r->n == 1 || x < r->min ? x : r->min;
    r->max = r->n == 1 || x > r->max ? x : r->max;
}

static struct interval running_interval(const struct running *r)
{
    const double none = (double)NAN;
    struct interval i = {r->n, r->mean, none, r->min, r->max};
    if (r->n == 0) {
        return (struct interval){0, none, none, none, none};
    }
    if (r->n >= 2) {
        double n = (double)r->n;
        i.half_width = gsl_cdf_tdist_Pinv(0.975, n - 1) * sqrt(r->m2 / (n - 1) / n);
    }
    return i;
}

struct interval interval_of(const double *v, size_t n)
{
    struct running r = {0};
    for (size_t i = 0; i < n; i++) {
        running_add(&r, v[i]);
    }
    return running_interval(&r);
}

struct interval interval_paired(const double *v, const double *base, size_t n)
{
    struct running r = {0};
    for (size_t i = 0; i < n; i++) {
        running_add(&r, v[i] - base[i]);
    }
    return running_interval(&r);
}

/* Decimals that show `digits` significant digits of x, 0 to 6. */
static int decimals(double x, int digits)
{
    x = fabs(x);
    if (x == 0 || !isfinite(x)) {
        return 0;
    }
    int d = digits - 1 - (int)floor(log10(x));
    return d < 0 ? 0 : d > 6 ? 6 : d;
}

/* Beyond what six decimals or a column of sensible width can show. */
static bool is_extreme(double x)
{
    return x != 0 && (fabs(x) < 1e-5 || fabs(x) >= 1e15);
}

static void value_text(double mean, char *buf, size_t size)
{
    bool whole = mean == floor(mean);
    if (is_extreme(mean)) {
        snprintf(buf, size, "%.4g", mean);
    } else {
        snprintf(buf, size, "%.*f", whole ? 0 : decimals(mean, 4), mean);
    }
}

const char *interval_text(const struct interval *i, char *buf, size_t size)
{
    char value[40];
    int d = decimals(i->half_width, 2);
    value_text(i->mean, value, sizeof value);
    if (i->n == 0) {
        snprintf(buf, size, "-");
    } else if (!(i->half_width > 0)) {
        snprintf(buf, size, i->n > 1 ? "%s ± 0" : "%s", value);
    } else if (is_extreme(i->half_width) || is_extreme(i->mean)) {
        snprintf(buf, size, "%s ± %.2g", value, i->half_width);
    } else {
        snprintf(buf, size, "%.*f ± %.*f", d, i->mean, d, i->half_width);
    }
    return buf;
}
