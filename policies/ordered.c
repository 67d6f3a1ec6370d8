/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/ordered.h"

const struct opt_choice ordered_length_choices[] = {
    {.name = "output", .help = "output tokens"},
    {.name = "total", .help = "prompt and output tokens"},
    {.name = NULL},
};

void ordered_release(void *st)
{
    req_heap_release(&((struct ordered *)st)->heap);
}

static void ordered_push(struct ordered *o, const struct sched_view *v, req_id r)
{
    const struct req *q = &v->reqs[r];
    req_heap_push(&o->heap, (struct req_heap_item){
                                .key = o->key(o, v, r),
                                .then = q->arrival_ns,
                                .serial = q->serial,
                                .r = r,
                            });
}

const char *ordered_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct ordered *o = st;
    /* Room for every slot, so that a preempted request always finds a place again. */
    if (!req_heap_reach(&o->heap, r)) {
        return policy_no_memory;
    }
    ordered_push(o, v, r);
    return NULL;
}

void ordered_rekey(struct ordered *o, const struct sched_view *v)
{
    for (uint32_t i = 0; i < o->heap.n; i++) {
        o->heap.items[i].key = o->key(o, v, o->heap.items[i].r);
    }
    req_heap_reorder(&o->heap);
}

req_id ordered_next(void *st, const struct sched_view *v)
{
    (void)v;
    return req_heap_top(&((struct ordered *)st)->heap);
}

void ordered_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    ordered_drop(st, v, r);
}

void ordered_preempt(void *st, const struct sched_view *v, req_id r)
{
    ordered_push(st, v, r);
}

void ordered_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    req_heap_remove(&((struct ordered *)st)->heap, r);
}

uint64_t ordered_horizon(void *st, const struct sched_view *v)
{
    (void)st, (void)v;
    return UINT64_MAX;
}

uint32_t ordered_waiting(const void *st)
{
    return ((const struct ordered *)st)->heap.n;
}
