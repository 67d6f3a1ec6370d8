/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict priority, lower values first, as vLLM V1 with --scheduling-policy priority: waiting requests
 * in a heap over (priority, arrival time, id); the victim of a preemption is the running request
 * with the greatest (priority, arrival time) (Scheduler.schedule). vLLM's arrival times never tie;
 * where those of a trace do, the order in the trace decides, as it does in the queue: two requests
 * that took turns as the first victim would push each other out for ever. */
#include "policies/ordered.h"

struct priority {
    struct ordered o;
};

static int64_t priority_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)st;
    return v->reqs[r].priority;
}

static int priority_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct priority *)st)->o = (struct ordered){.env = env, .key = priority_key};
    return 0;
}

static bool runs_after(const struct req *a, const struct req *b)
{
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    return a->arrival_ns != b->arrival_ns ? a->arrival_ns > b->arrival_ns : a->serial > b->serial;
}

static req_id priority_victim(void *st, const struct sched_view *v)
{
    (void)st;
    req_id worst = v->running_head;
    for (req_id r = worst; r != REQ_NONE; r = v->reqs[r].q_next) {
        worst = runs_after(&v->reqs[r], &v->reqs[worst]) ? r : worst;
    }
    return worst;
}

const struct policy_ops policy_priority = {
    .name = "priority",
    .summary = "lowest priority value first; pushes out the highest value",
    .source = "vLLM V1, --scheduling-policy priority",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct priority),
    .init = priority_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .victim = priority_victim,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
