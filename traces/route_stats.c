/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/route_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_fit.h>

const double route_share_parts[ROUTE_SHARES] = {0.125, 0.25, 0.375, 0.5, 0.75};

/* ---- popularity ---- */

void route_count(const struct route_layer *l, uint32_t from_token, uint32_t to_token, uint64_t *count)
{
    const uint16_t *e = l->expert + (size_t)from_token * l->top_k;
    memset(count, 0, l->experts * sizeof(*count));
    for (size_t i = 0; i < (size_t)(to_token - from_token) * l->top_k; i++) {
        count[e[i]]++;
    }
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static double zipf_slope(const uint64_t *sorted, uint32_t n)
{
    double x[ROUTE_EXPERTS_MAX], y[ROUTE_EXPERTS_MAX], c0, c1, cov00, cov01, cov11, sum;
    uint32_t used = 0;
    for (; used < n && sorted[used] > 0; used++) {
        x[used] = log(used + 1.0);
        y[used] = log((double)sorted[used]);
    }
    if (used < 2) {
        return NAN;
    }
    gsl_fit_linear(x, 1, y, 1, used, &c0, &c1, &cov00, &cov01, &cov11, &sum);
    return -c1;
}

/* Of `n` sorted counts, the sum of the first `part * n`, the last of them in part. */
static double top_sum(const uint64_t *sorted, uint32_t n, double part)
{
    double whole, rest = modf(part * n, &whole), sum = 0;
    for (uint32_t i = 0; i < (uint32_t)whole; i++) {
        sum += (double)sorted[i];
    }
    return (uint32_t)whole < n ? sum + rest * (double)sorted[(uint32_t)whole] : sum;
}

void route_popularity(const uint64_t *count, uint32_t experts, struct route_popularity *ret)
{
    uint64_t sorted[ROUTE_EXPERTS_MAX];
    double total = 0, square = 0, entropy = 0;
    memcpy(sorted, count, experts * sizeof(*sorted));
    qsort(sorted, experts, sizeof(*sorted), descending);
    for (uint32_t i = 0; i < experts; i++) {
        total += (double)sorted[i];
    }
    for (uint32_t i = 0; i < experts; i++) {
        double p = (double)sorted[i] / total; /* NaN without any */
        entropy -= p > 0 ? p * log(p) : 0;
        square += (p - 1.0 / experts) * (p - 1.0 / experts);
    }
    ret->entropy = total > 0 && experts > 1 ? entropy / log(experts) : (double)NAN;
    ret->max_over_mean = (double)sorted[0] / total * experts;
    ret->cv = sqrt(square * experts);
    ret->zipf = zipf_slope(sorted, experts);
    for (uint32_t i = 0; i < ROUTE_SHARES; i++) {
        ret->share[i] = top_sum(sorted, experts, route_share_parts[i]) / total;
    }
}

static void add_popularity(struct route_popularity *sum, const struct route_popularity *p, double weight)
{
    sum->entropy += weight * p->entropy;
    sum->max_over_mean += weight * p->max_over_mean;
    sum->cv += weight * p->cv;
    sum->zipf += weight * p->zipf;
    for (uint32_t i = 0; i < ROUTE_SHARES; i++) {
        sum->share[i] += weight * p->share[i];
    }
}

static uint32_t long_sequences(const struct route_layer *l, uint32_t least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->sequences; i++) {
        n += l->start[i + 1] - l->start[i] >= least;
    }
    return n;
}

uint32_t route_popularity_within(const struct route_layer *l, uint32_t least, struct route_popularity *ret)
{
    uint64_t count[ROUTE_EXPERTS_MAX];
    struct route_popularity one;
    uint32_t n = long_sequences(l, least);
    memset(ret, 0, sizeof(*ret));
    if (n == 0) {
        memset(count, 0, sizeof(count));
        route_popularity(count, l->experts, ret);
        return 0;
    }
    for (uint32_t i = 0; i < l->sequences; i++) {
        if (l->start[i + 1] - l->start[i] >= least) {
            route_count(l, l->start[i], l->start[i + 1], count);
            route_popularity(count, l->experts, &one);
            add_popularity(ret, &one, 1.0 / n);
        }
    }
    return n;
}

/* ---- along a sequence ---- */

static bool uses(const uint16_t *e, uint32_t k, uint16_t expert)
{
    bool found = false;
    for (uint32_t i = 0; i < k; i++) {
        found |= e[i] == expert;
    }
    return found;
}

double route_reuse(const struct route_layer *l, uint32_t lag)
{
    uint64_t same = 0, all = 0;
    size_t k = l->top_k;
    for (uint32_t s = 0; s < l->sequences; s++) {
        for (size_t t = l->start[s] + lag; t < l->start[s + 1]; t++) {
            for (size_t i = 0; i < k; i++) {
                same += uses(l->expert + (t - lag) * k, l->top_k, l->expert[t * k + i]);
            }
            all += k;
        }
    }
    return (double)same / (double)all;
}

double route_distinct(const struct route_layer *l, uint32_t window)
{
    uint32_t tokens = route_layer_tokens(l), windows = tokens / window, sum = 0;
    uint32_t seen[ROUTE_EXPERTS_MAX] = {0};
    for (uint32_t w = 0; w < windows; w++) {
        const uint16_t *e = l->expert + (size_t)w * window * l->top_k;
        for (uint32_t i = 0; i < window * l->top_k; i++) {
            sum += seen[e[i]] != w + 1;
            seen[e[i]] = w + 1;
        }
    }
    return (double)sum / windows;
}

/* of_use[c] = (segment, expert) pairs with c uses */
static void segment_uses(const struct route_layer *l, uint32_t m, uint64_t *of_use)
{
    size_t k = l->top_k;
    for (uint32_t s = 0; s < l->sequences; s++) {
        uint32_t use[ROUTE_EXPERTS_MAX] = {0};
        for (uint32_t t = l->start[s]; t < l->start[s + 1]; t++) {
            for (uint32_t i = 0; i < k; i++) {
                use[l->expert[t * k + i]]++;
                if (t - l->start[s] >= m) {
                    use[l->expert[(t - m) * k + i]]--;
                }
            }
            for (uint32_t x = 0; x < l->experts && t - l->start[s] + 1 >= m; x++) {
                of_use[use[x]]++;
            }
        }
    }
}

double route_segment_best(const struct route_layer *l, uint32_t m)
{
    uint64_t *of_use = calloc((size_t)m + 1, sizeof(*of_use));
    double all = 0, match = 0, taken = 0, best = (double)NAN;
    if (!of_use) {
        return NAN;
    }
    segment_uses(l, m, of_use);
    for (uint32_t c = 1; c <= m; c++) {
        all += (double)of_use[c] * c;
    }
    for (uint32_t c = m; c >= 1; c--) {
        match += (double)of_use[c] * c;
        taken += (double)of_use[c] * m;
        best = fmax(best, 2 * match / (taken + all));
    }
    free(of_use);
    return best;
}
