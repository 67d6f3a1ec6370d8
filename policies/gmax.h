/* SPDX-License-Identifier: Apache-2.0
 *
 * Grouped margin goodput maximisation, the selection step of JITServe (arXiv 2504.20068): of the requests
 * whose priority is near the best, a batch of similar input lengths with the largest sum. */
#ifndef STEELYARD_GMAX_H
#define STEELYARD_GMAX_H

#include "sim/core/types.h"

struct gmax_item {
    int64_t priority; /* goodput per time; 0 or less is never selected */
    uint32_t length;
    uint64_t serial;  /* breaks ties: the older first */
    uint32_t id;
    bool selected;
};

/* With q the `batch`-th largest priority: keep what has at least cutoff * q, sort that by length, and
 * select the `batch` consecutive ones of the largest total priority (all that is kept if it is no more).
 * Sets `selected`; the order of the items changes. O(n log n). */
void gmax_select(struct gmax_item *items, uint32_t n, uint32_t batch, double cutoff);
/* The same without cutoff and windows: the `batch` of the largest priorities, of whatever sign. */
void gmax_select_top(struct gmax_item *items, uint32_t n, uint32_t batch);

#endif
