/* SPDX-License-Identifier: Apache-2.0
 *
 * The free queue when blocks have no hashes. Tuned for one give per request that leaves and no
 * preemption: neighbours that nobody can revive melt into one run, so the queue is one run long. */
#include <stdlib.h>

#include "sim/engine/kv_internal.h"

static struct kv_run *run_at(const struct kv_runs *r, uint64_t no)
{
    return &r->ring[no & (r->cap - 1)];
}

int runs_init(struct kv_runs *r, uint64_t blocks)
{
    r->cap = 64;
    r->head = 0;
    r->tail = 0;
    r->ring = malloc(r->cap * sizeof(*r->ring));
    if (!r->ring) {
        return SIM_E_NOMEM;
    }
    runs_give(r, blocks, false);
    return 0;
}

void runs_release(struct kv_runs *r)
{
    free(r->ring);
    r->ring = NULL;
}

static bool runs_grow(struct kv_runs *r)
{
    struct kv_run *bigger = malloc(2 * r->cap * sizeof(*bigger));

    if (!bigger) {
        return false;
    }
    for (uint64_t i = r->head; i != r->tail; i++) {
        bigger[i & (2 * r->cap - 1)] = *run_at(r, i);
    }
    free(r->ring);
    r->ring = bigger;
    r->cap *= 2;
    return true;
}

void runs_take_slow(struct kv_runs *r, uint64_t n)
{
    while (n > 0 && r->head != r->tail) {
        struct kv_run *front = run_at(r, r->head);
        uint64_t part = n < front->count ? n : front->count;

        front->count -= part;
        n -= part;
        if (front->count == 0) {
            r->head++;
        }
    }
}

uint64_t runs_give(struct kv_runs *r, uint64_t n, bool own)
{
    if (n == 0) {
        return 0;
    }
    if (r->tail != r->head && !own && !run_at(r, r->tail - 1)->own) {
        run_at(r, r->tail - 1)->count += n;
        return 0;
    }
    if (r->tail - r->head == r->cap && !runs_grow(r)) {
        /* Without memory for one more run its blocks join the last one and cannot be revived. */
        run_at(r, r->tail - 1)->count += n;
        return 0;
    }
    *run_at(r, r->tail) = (struct kv_run){.count = n, .own = own};
    return ++r->tail;
}

uint64_t runs_left(const struct kv_runs *r, uint64_t handle)
{
    if (handle == 0 || handle - 1 < r->head) {
        return 0;
    }
    return run_at(r, handle - 1)->count;
}

void runs_revive(struct kv_runs *r, uint64_t handle, uint64_t n)
{
    run_at(r, handle - 1)->count -= n;
    runs_disown(r, handle);
}

void runs_disown(struct kv_runs *r, uint64_t handle)
{
    if (handle != 0 && handle - 1 >= r->head) {
        run_at(r, handle - 1)->own = false;
    }
    while (r->head != r->tail && run_at(r, r->head)->count == 0) {
        r->head++;
    }
}
