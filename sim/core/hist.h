/* SPDX-License-Identifier: Apache-2.0
 *
 * Log-linear histogram of non-negative 64-bit values (fio's scheme): values below 2^HIST_SUB_LOG2 are
 * exact, above that each octave has 2^HIST_SUB_LOG2 bins, so a quantile is within 2^-HIST_SUB_LOG2
 * (0.2 %) of the true one. Merging is addition: order and thread count cannot change it. */
#ifndef STEELYARD_HIST_H
#define STEELYARD_HIST_H

#include "sim/core/arena.h"
#include "sim/core/types.h"

#define HIST_SUB_LOG2 9
#define HIST_BINS     ((64 - HIST_SUB_LOG2) << HIST_SUB_LOG2)

struct hist {
    uint64_t *bin; /* HIST_BINS counts, borrowed from the arena given at init */
    uint64_t count;
    int64_t min, max;   /* INT64_MAX and 0 while empty */
    sim_wide sum_ticks; /* of value * weight, in 2^-20 units of the value: exact, order-free */
};

/* 0 or SIM_E_NOMEM. */
int hist_init(struct hist *h, struct arena *a);
void hist_clear(struct hist *h);

/* Bin geometry, for writers: [hist_bin_low(i), hist_bin_low(i+1)); the last bin ends at INT64_MAX. */
static inline uint32_t hist_bin_of(int64_t value)
{
    uint64_t v = value < 0 ? 0 : (uint64_t)value;
    uint32_t shift; /* octave above the exact range */

    if (v < (UINT64_C(1) << HIST_SUB_LOG2)) {
        return (uint32_t)v;
    }
    shift = 63u - (uint32_t)__builtin_clzll(v) - HIST_SUB_LOG2;
    return (shift << HIST_SUB_LOG2) + (uint32_t)(v >> shift);
}

int64_t hist_bin_low(uint32_t bin);

/* Negative values count as 0. Called for each token of a run, hence here and without a division. */
static inline void hist_add(struct hist *h, int64_t value, uint64_t weight)
{
    int64_t v = value < 0 ? 0 : value;

    if (weight == 0) {
        return;
    }
    h->bin[hist_bin_of(v)] += weight;
    h->count += weight;
    h->min = v < h->min ? v : h->min;
    h->max = v > h->max ? v : h->max;
    h->sum_ticks += ((sim_wide)(uint64_t)v * weight) << SIM_TICKS_PER_NS_LOG2;
}

/* The k-th of `n` values is floor((base + slope*k) / 2^20), k = 0..n-1, each with `weight`: the gaps
 * of n identical iterations whose duration grows by `slope` ticks. The bins, count, min and max are
 * exactly those of n single adds; cost is proportional to the bins touched. The sum keeps the
 * fraction, exactly, so that one call for n and n calls for 1 agree to the last bit.
 * base >= 0, base + slope*(n-1) >= 0. */
void hist_add_affine(struct hist *h, sim_tick base, sim_tick slope, uint64_t n, uint64_t weight);

/* Quantile q in [0,1] as numpy's default: linear between the values of rank floor(q*(count-1)) and the
 * next. Exact where bins hold one value, else values are taken as spread evenly over their bin, clamped
 * to [min,max]. NaN when empty. */
double hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);   /* NaN when empty */
/* Population standard deviation (as numpy.std) from bin midpoints, within 0.2 %; NaN when empty. */
double hist_stddev(const struct hist *h);
void hist_merge(struct hist *into, const struct hist *from);

#endif
