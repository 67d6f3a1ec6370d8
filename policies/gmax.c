/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/gmax.h"

#include <stdlib.h>

static int older(const struct gmax_item *x, const struct gmax_item *y)
{
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static int by_priority(const void *a, const void *b)
{
    const struct gmax_item *x = a, *y = b;
    return x->priority != y->priority ? (x->priority > y->priority ? -1 : 1) : older(x, y);
}

static int by_length(const void *a, const void *b)
{
    const struct gmax_item *x = a, *y = b;
    return x->length != y->length ? (x->length < y->length ? -1 : 1) : older(x, y);
}

/* Of items sorted by falling priority, how many are near enough to the batch-th. */
static uint32_t n_kept(const struct gmax_item *items, uint32_t n, uint32_t batch, double cutoff)
{
    uint32_t last = n < batch ? n : batch, kept = 0;
    double least = n ? cutoff * (double)items[last - 1].priority : 0;
    while (kept < n && items[kept].priority > 0 && (double)items[kept].priority >= least) {
        kept++;
    }
    return kept;
}

/* Where the best window of `batch` begins; the first of equals. */
static uint32_t best_window(const struct gmax_item *items, uint32_t n, uint32_t batch)
{
    sim_wide sum = 0, most = 0;
    uint32_t best = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += items[i].priority - (i >= batch ? items[i - batch].priority : 0);
        if (i + 1 >= batch && sum > most) {
            most = sum;
            best = i + 1 - batch;
        }
    }
    return best;
}

void gmax_select(struct gmax_item *items, uint32_t n, uint32_t batch, double cutoff)
{
    for (uint32_t i = 0; i < n; i++) {
        items[i].selected = false;
    }
    if (n == 0 || batch == 0) {
        return;
    }
    qsort(items, n, sizeof *items, by_priority);
    uint32_t kept = n_kept(items, n, batch, cutoff), from = 0;
    if (kept > batch) {
        qsort(items, kept, sizeof *items, by_length);
        from = best_window(items, kept, batch);
        kept = batch;
    }
    for (uint32_t i = from; i < from + kept; i++) {
        items[i].selected = true;
    }
}

void gmax_select_top(struct gmax_item *items, uint32_t n, uint32_t batch)
{
    qsort(items, n, sizeof *items, by_priority);
    for (uint32_t i = 0; i < n; i++) {
        items[i].selected = i < batch;
    }
}
