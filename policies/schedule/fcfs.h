/* SPDX-License-Identifier: Apache-2.0
 *
 * The one-queue policy, for policies that differ from it only in whom they let in. `struct fcfs` must
 * be the first member of their state. */
#ifndef STEELYARD_FCFS_H
#define STEELYARD_FCFS_H

#include "policies/policy.h"
#include "policies/queue.h"

struct fcfs {
    struct req_links links;
    struct req_fifo queue;
};

int fcfs_init(void *st, struct policy_env *env, struct err *e);
void fcfs_release(void *st);
const char *fcfs_arrive(void *st, const struct sched_view *v, req_id r);
req_id fcfs_next(void *st, const struct sched_view *v);
void fcfs_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok);
void fcfs_preempt(void *st, const struct sched_view *v, req_id r);
void fcfs_drop(void *st, const struct sched_view *v, req_id r);
uint64_t fcfs_horizon(void *st, const struct sched_view *v);
uint32_t fcfs_waiting(const void *st);

#endif
