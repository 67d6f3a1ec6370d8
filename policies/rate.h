/* SPDX-License-Identifier: Apache-2.0
 *
 * A limit on events within a sliding window: the times of the last `limit` of them. Zeroed is valid. */
#ifndef STEELYARD_RATE_H
#define STEELYARD_RATE_H

#include "sim/core/arena.h"
#include "sim/core/types.h"

struct rate {
    sim_ns *at_ns; /* ring of `limit` times */
    uint64_t n;
};

/* Must precede the first use; false = no memory. */
static inline bool rate_reach(struct rate *r, int64_t limit, struct arena *a)
{
    r->at_ns = r->at_ns ? r->at_ns : arena_calloc(a, (size_t)limit, sizeof *r->at_ns);
    return r->at_ns != NULL;
}

/* `limit` events lie within the window that ends now. */
static inline bool rate_is_full(const struct rate *r, int64_t limit, sim_ns window_ns, sim_ns now_ns)
{
    uint64_t n = (uint64_t)limit;
    return r->n >= n && now_ns - r->at_ns[r->n % n] <= window_ns;
}

static inline void rate_note(struct rate *r, int64_t limit, sim_ns now_ns)
{
    r->at_ns[r->n++ % (uint64_t)limit] = now_ns;
}

#endif
