/* SPDX-License-Identifier: Apache-2.0
 *
 * Earliest deadline first (Liu and Layland, 1973): the waiting request whose next token, or last token, is
 * due first; those without a service level come last, by arrival. Running requests keep their place; the
 * one with the latest deadline is pushed out when the batcher needs memory. */
#include "policies/ordered.h"
#include "policies/slo.h"

static int64_t edf_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)st;
    return slo_next_ns(&v->reqs[r], req_generated(v, &v->reqs[r]));
}

static int edf_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    *(struct ordered *)st = (struct ordered){.env = env, .key = edf_key};
    return 0;
}

static req_id edf_victim(void *st, const struct sched_view *v)
{
    req_id worst = REQ_NONE;
    int64_t latest = INT64_MIN;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        int64_t due = edf_key(st, v, r);
        if (due >= latest) { /* the last admitted of equals loses the least work */
            latest = due;
            worst = r;
        }
    }
    return worst;
}

const struct policy_ops policy_edf = {
    .name = "edf",
    .summary = "earliest deadline first, by the service levels of the requests",
    .source = "Liu and Layland, 1973; deadlines as JITServe's cumulative token line",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct ordered),
    .init = edf_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .victim = edf_victim,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
