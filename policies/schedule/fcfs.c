/* SPDX-License-Identifier: Apache-2.0
 *
 * First come, first served: one queue, and nobody overtakes a head that does not fit. A preempted
 * request goes back to the head (vLLM V1, Scheduler._preempt_request), so that of several pushed out
 * in one step, last admitted first, the oldest ends up in front. */
#include "policies/schedule/fcfs.h"

int fcfs_init(void *st, struct policy_env *env, struct err *e)
{
    (void)env, (void)e;
    struct fcfs *f = st;
    f->queue = REQ_FIFO_EMPTY;
    return 0;
}

void fcfs_release(void *st)
{
    req_links_release(&((struct fcfs *)st)->links);
}

const char *fcfs_arrive(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct fcfs *f = st;
    if (!req_links_reach(&f->links, r)) {
        return policy_no_memory;
    }
    req_fifo_push_back(&f->queue, &f->links, r);
    return NULL;
}

req_id fcfs_next(void *st, const struct sched_view *v)
{
    (void)v;
    return ((struct fcfs *)st)->queue.head;
}

void fcfs_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)v, (void)cached_tok;
    struct fcfs *f = st;
    req_fifo_remove(&f->queue, &f->links, r);
}

void fcfs_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct fcfs *f = st;
    req_fifo_push_front(&f->queue, &f->links, r);
}

void fcfs_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct fcfs *f = st;
    req_fifo_remove(&f->queue, &f->links, r);
}

uint64_t fcfs_horizon(void *st, const struct sched_view *v)
{
    (void)st, (void)v;
    return UINT64_MAX;
}

uint32_t fcfs_waiting(const void *st)
{
    return ((const struct fcfs *)st)->queue.count;
}

const struct policy_ops policy_fcfs = {
    .name = "fcfs",
    .summary = "first come, first served; stops at the first request that does not fit",
    .source = "vLLM V1 default; S-LoRA ('slora' in the VTC artifact)",
    .abi = POLICY_ABI,
    .caps = POLICY_ARRIVAL_KEEPS_HEAD,
    .state_size = sizeof(struct fcfs),
    .init = fcfs_init,
    .release = fcfs_release,
    .arrive = fcfs_arrive,
    .next = fcfs_next,
    .admit = fcfs_admit,
    .preempt = fcfs_preempt,
    .drop = fcfs_drop,
    .horizon = fcfs_horizon,
    .waiting = fcfs_waiting,
};
