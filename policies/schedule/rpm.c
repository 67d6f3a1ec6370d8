/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests-per-minute limit in front of FCFS ('lshare_fair' in the VTC artifact): a request is
 * rejected at once when its client has `limit` accepted arrivals whose age is at most the window.
 * Rejected ones do not count. The last `limit` accepted times per client decide, in a ring. */
#include <math.h>

#include "policies/rate.h"
#include "policies/schedule/fcfs.h"

struct rpm {
    struct fcfs fcfs;
    int64_t limit;
    double window_s;
    sim_ns window_ns;
    struct client_table clients; /* of struct rpm_client */
    struct arena *arena;
};

struct rpm_client {
    struct rate accepted;
};

static const struct opt_row rpm_options[] = {
    {.name = "limit", .type = OPT_INT, .offset = offsetof(struct rpm, limit), .min = 1, .max = 1e6,
     .def = "30", .unit = "1", .help = "accepted requests per client and window (VTC artifact: 5..30)"},
    {.name = "window", .type = OPT_DOUBLE, .offset = offsetof(struct rpm, window_s), .min = 1e-3,
     .max = 1e6, .def = "60", .unit = "s", .help = "length of the sliding window (VTC artifact: 60 s)"},
    OPT_END,
};

static int rpm_init(void *st, struct policy_env *env, struct err *e)
{
    struct rpm *p = st;
    p->window_ns = llround(p->window_s * 1e9);
    p->clients.row_size = sizeof(struct rpm_client);
    p->arena = env->arena;
    return fcfs_init(st, env, e);
}

static void rpm_release(void *st)
{
    client_table_release(&((struct rpm *)st)->clients);
    fcfs_release(st);
}

static struct rpm_client *rpm_client(struct rpm *p, uint32_t client)
{
    uint32_t i = client_table_add(&p->clients, client);
    if (i == CLIENT_NONE) {
        return NULL;
    }
    struct rpm_client *c = client_table_row(&p->clients, i);
    return rate_reach(&c->accepted, p->limit, p->arena) ? c : NULL;
}

static const char *rpm_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct rpm *p = st;
    /* The router stamps a request when it gets to it, between steps, not when it was sent (VTC-artifact
     * 192c2e2, lshare_req_queue.py, append). */
    sim_ns now = v->now_ns;
    struct rpm_client *c = rpm_client(p, v->reqs[r].client);
    if (!c) {
        return policy_no_memory;
    }
    if (rate_is_full(&c->accepted, p->limit, p->window_ns, now)) {
        return "the client is over its limit of requests per window";
    }
    const char *refused = fcfs_arrive(st, v, r);
    if (!refused) {
        rate_note(&c->accepted, p->limit, now);
    }
    return refused;
}

const struct policy_ops policy_rpm = {
    .name = "rpm",
    .summary = "rejects a client's requests above a limit per minute, then first come, first served",
    .source = "Sheng et al., OSDI'24, section 2 and 'lshare_fair' in the VTC artifact",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct rpm),
    .options = rpm_options,
    .init = rpm_init,
    .release = rpm_release,
    .arrive = rpm_arrive,
    .next = fcfs_next,
    .admit = fcfs_admit,
    .preempt = fcfs_preempt,
    .drop = fcfs_drop,
    .horizon = fcfs_horizon,
    .waiting = fcfs_waiting,
};
