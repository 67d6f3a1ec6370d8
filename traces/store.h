/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests held in memory, for the two cases that need more than one row: sorting and spreading a
 * tick. Hash ids are kept as runs of consecutive ids, since that is how traces number fresh blocks:
 * 29,000 agentic requests with 1,000 ids each take a few MB instead of 250. */
#ifndef STEELYARD_TRACE_STORE_H
#define STEELYARD_TRACE_STORE_H

#include "traces/reader.h"

struct id_run {
    uint64_t first;
    uint32_t n;
};

struct stored {
    struct arrival a; /* a.hash and a.after unused */
    size_t first_run, first_after; /* runs of hash ids, and of calls that it waits for */
    uint32_t n_runs, n_after_runs;
};

struct store {
    struct stored *row;
    size_t n, cap;
    struct id_run *run;
    size_t n_runs, cap_runs;
    struct id_list ids, after; /* of the row handed out last */
};

bool store_push(struct store *s, const struct arrival *a);
/* Row i waits for these calls. */
bool store_set_after(struct store *s, size_t i, const uint64_t *id, uint32_t n);
/* Stable, by time. */
bool store_sort(struct store *s);
/* Row i; its ids live until the next call. */
bool store_get(struct store *s, size_t i, struct arrival *ret);
void store_clear(struct store *s);
void store_release(struct store *s);

#endif
