/* SPDX-License-Identifier: Apache-2.0
 *
 * Earliest deadline first (Liu and Layland, 1973): the waiting request whose next token, or last token, is
 * due first; those without a service level come last, by arrival. The running request with the latest
 * deadline is pushed out when the batcher needs memory, and with preemptive=on, as the original rule has it,
 * for a waiting one that is due before it; without, running requests keep their place. */
#include "policies/ordered.h"
#include "policies/slo.h"

struct edf {
    struct ordered o;
    bool preemptive;
};

static const struct opt_row edf_options[] = {
    {.name = "preemptive", .type = OPT_BOOL, .offset = offsetof(struct edf, preemptive), .def = "off",
     .help = "push out the running request with the latest deadline for a waiting one that is due earlier"},
    OPT_END,
};

static int64_t edf_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)st;
    return slo_next_ns(&v->reqs[r], req_generated(v, &v->reqs[r]));
}

static int edf_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct edf *)st)->o = (struct ordered){.env = env, .key = edf_key};
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

static req_id edf_displace(void *st, const struct sched_view *v, req_id waiting)
{
    const struct edf *s = st;
    req_id latest = s->preemptive ? edf_victim(st, v) : REQ_NONE;
    return latest != REQ_NONE && edf_key(st, v, latest) > edf_key(st, v, waiting) ? latest : REQ_NONE;
}

/* With each token the next one of a running request is due later: iterations until that is after `key`. */
static uint64_t iterations_until_after(const struct sched_view *v, const struct req *q, int64_t key)
{
    uint32_t out = req_generated(v, q);
    if (q->state != REQ_DECODING || slo_ns(q->tpot_slo_ms) <= 0 || slo_end_ns(q) <= key) {
        return UINT64_MAX;
    }
    sim_ns ahead = key - slo_token_ns(q, out);
    return ahead < 0 ? 1 : (uint64_t)(ahead / slo_ns(q->tpot_slo_ms)) + 1;
}

static uint64_t edf_horizon(void *st, const struct sched_view *v)
{
    const struct edf *s = st;
    uint64_t soonest = UINT64_MAX;
    if (!s->preemptive || s->o.heap.n == 0 || s->o.heap.items[0].key == SIM_NEVER) {
        return soonest;
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        uint64_t k = iterations_until_after(v, &v->reqs[r], s->o.heap.items[0].key);
        soonest = k < soonest ? k : soonest;
    }
    return soonest;
}

const struct policy_ops policy_edf = {
    .name = "edf",
    .summary = "earliest deadline first, by the service levels of the requests",
    .source = "Liu and Layland, 1973; deadlines as JITServe's cumulative token line",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct edf),
    .options = edf_options,
    .init = edf_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .victim = edf_victim,
    .displace = edf_displace,
    .horizon = edf_horizon,
    .waiting = ordered_waiting,
};
