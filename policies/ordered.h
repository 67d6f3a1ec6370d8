/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies that keep the waiting requests ordered by a key: a policy gives the key, the rest is here.
 * `struct ordered` must be the first member of the state; `key` is set by the policy's init. */
#ifndef STEELYARD_ORDERED_H
#define STEELYARD_ORDERED_H

#include "policies/policy.h"
#include "policies/queue.h"

struct ordered {
    struct req_heap heap;
    const struct policy_env *env;
    /* Smaller runs first; ties go by arrival, then by serial. Taken at arrival and at preemption. */
    int64_t (*key)(const void *st, const struct sched_view *v, req_id r);
};

/* All keys anew: they have changed. */
void ordered_rekey(struct ordered *o, const struct sched_view *v);
void ordered_release(void *st);
const char *ordered_arrive(void *st, const struct sched_view *v, req_id r);
req_id ordered_next(void *st, const struct sched_view *v);
void ordered_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok);
void ordered_preempt(void *st, const struct sched_view *v, req_id r);
void ordered_drop(void *st, const struct sched_view *v, req_id r);
/* The order of those that wait does not change while others decode: for ever. */
uint64_t ordered_horizon(void *st, const struct sched_view *v);
uint32_t ordered_waiting(const void *st);

/* What "length" means to the shortest-first policies. */
enum ordered_length { ORDERED_OUTPUT, ORDERED_TOTAL };
extern const struct opt_choice ordered_length_choices[];

#endif
