/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/hist.h"

#include <math.h>
#include <string.h>

#include "sim/core/err.h"

int hist_init(struct hist *h, struct arena *a)
{
    *h = (struct hist){.bin = arena_calloc(a, HIST_BINS, sizeof *h->bin), .min = INT64_MAX};
    return h->bin ? 0 : SIM_E_NOMEM;
}

/* Bins that can hold something: [*ret_first, *ret_end). */
static void used_bins(const struct hist *h, uint32_t *ret_first, uint32_t *ret_end)
{
    *ret_first = h->count ? hist_bin_of(h->min) : 0;
    *ret_end = h->count ? hist_bin_of(h->max) + 1 : 0;
}

void hist_clear(struct hist *h)
{
    uint32_t first, end;

    used_bins(h, &first, &end);
    memset(h->bin + first, 0, (end - first) * sizeof *h->bin);
    *h = (struct hist){.bin = h->bin, .min = INT64_MAX};
}

int64_t hist_bin_low(uint32_t bin)
{
    uint32_t octave = bin >> HIST_SUB_LOG2;

    if (octave == 0) {
        return bin;
    }
    if (bin >= HIST_BINS) {
        return INT64_MAX;
    }
    return (int64_t)(bin - ((octave - 1) << HIST_SUB_LOG2)) << (octave - 1);
}

/* Of the values first + slope*k (k < n, rising), how many lie in the bin that `bin` names, given
 * that k = `k` does and that later ones may too. */
static uint64_t run_length(sim_tick first, sim_tick slope, uint64_t k, uint64_t n, uint32_t bin)
{
    int64_t high = hist_bin_low(bin + 1);
    sim_tick last = first + slope * (sim_tick)(n - 1), edge;

    if (last >> SIM_TICKS_PER_NS_LOG2 < high) {
        return n - k;
    }
    edge = high << SIM_TICKS_PER_NS_LOG2; /* <= last, so it fits */
    if (first + slope * (sim_tick)(k + 1) >= edge) {
        return 1; /* steep: no division needed */
    }
    return ((uint64_t)(edge - first) + (uint64_t)slope - 1) / (uint64_t)slope - k;
}

void hist_add_affine(struct hist *h, sim_tick base, sim_tick slope, uint64_t n, uint64_t weight)
{
    sim_tick first = base, step = n == 1 ? 0 : slope, tick;

    if (n == 0 || weight == 0) {
        return;
    }
    /* n*base + slope*n*(n-1)/2: the product of the last two is even. */
    h->sum_ticks +=
        ((sim_wide)base * (sim_wide)n + (sim_wide)slope * (sim_wide)(n - 1) * (sim_wide)n / 2) *
        (sim_wide)weight;
    if (step < 0) { /* the same values from the low end */
        first = base + step * (sim_tick)(n - 1);
        step = -step;
    }
    for (uint64_t k = 0, run; k < n; k += run) {
        tick = first + step * (sim_tick)k;
        uint32_t bin = hist_bin_of(tick >> SIM_TICKS_PER_NS_LOG2);

        run = run_length(first, step, k, n, bin);
        h->bin[bin] += run * weight;
    }
    h->count += n * weight;
    tick = first >> SIM_TICKS_PER_NS_LOG2;
    h->min = tick < h->min ? tick : h->min;
    tick = (first + step * (sim_tick)(n - 1)) >> SIM_TICKS_PER_NS_LOG2;
    h->max = tick > h->max ? tick : h->max;
}

/* Distance between the smallest and the largest value that a bin holds. */
static double bin_spread(uint32_t bin)
{
    return (double)(hist_bin_low(bin + 1) - hist_bin_low(bin) - 1);
}

static double clamp(double v, double lo, double hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* The j-th of the bin's values, spread evenly. */
static double value_in_bin(const struct hist *h, uint32_t bin, uint64_t j)
{
    double share = ((double)j + 0.5) / (double)h->bin[bin];

    return clamp((double)hist_bin_low(bin) + bin_spread(bin) * share, (double)h->min,
                 (double)h->max);
}

/* Value of rank `rank` (from 0) in order of size. */
static double value_of_rank(const struct hist *h, uint64_t rank)
{
    uint32_t bin, end;

    used_bins(h, &bin, &end);
    while (bin < end - 1 && rank >= h->bin[bin]) {
        rank -= h->bin[bin++];
    }
    return value_in_bin(h, bin, rank);
}

double hist_quantile(const struct hist *h, double q)
{
    double at, lower, upper;
    uint64_t rank;

    if (h->count == 0 || isnan(q)) {
        return NAN;
    }
    at = clamp(q, 0, 1) * (double)(h->count - 1);
    rank = (uint64_t)at;
    rank = rank < h->count ? rank : h->count - 1;
    lower = value_of_rank(h, rank);
    if (rank + 1 >= h->count || at == (double)rank) {
        return lower;
    }
    upper = value_of_rank(h, rank + 1);
    return lower + (upper - lower) * (at - (double)rank);
}

double hist_mean(const struct hist *h)
{
    if (h->count == 0) {
        return NAN;
    }
    return (double)h->sum_ticks / SIM_TICKS_PER_NS / (double)h->count;
}

static double bin_middle(uint32_t bin)
{
    return (double)hist_bin_low(bin) + bin_spread(bin) / 2;
}

double hist_stddev(const struct hist *h)
{
    double mean = 0, squares = 0, d;
    uint32_t first, end;

    if (h->count == 0) {
        return NAN;
    }
    used_bins(h, &first, &end);
    for (uint32_t i = first; i < end; i++) {
        mean += bin_middle(i) * ((double)h->bin[i] / (double)h->count);
    }
    for (uint32_t i = first; i < end; i++) {
        d = bin_middle(i) - mean;
        squares += d * d * ((double)h->bin[i] / (double)h->count);
    }
    return sqrt(squares);
}

void hist_merge(struct hist *into, const struct hist *from)
{
    uint32_t first, end;

    used_bins(from, &first, &end);
    for (uint32_t i = first; i < end; i++) {
        into->bin[i] += from->bin[i];
    }
    into->count += from->count;
    into->sum_ticks += from->sum_ticks;
    into->min = from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
}
