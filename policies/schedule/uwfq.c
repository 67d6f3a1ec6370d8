/* SPDX-License-Identifier: Apache-2.0
 *
 * User Weighted Fair Queuing (Kazemaks et al., arXiv 2510.15485, for Spark): a virtual system shares its
 * capacity among users, not jobs, and gives a user's share to its jobs one after the other; jobs run in
 * the order of their finish there. Here a job is a request of the size wp*p + wq*q with predicted q, a
 * user is a client. Stand-ins: the paper's constants and its re-cutting of tasks are not known (chunked
 * prefill is the nearest thing, and the batcher's); the virtual system's capacity is an option. */
#include <math.h>
#include <stdlib.h>

#include "policies/gps.h"
#include "policies/ordered.h"
#include "policies/predict/predict.h"

struct uwfq {
    struct ordered o;
    const char *predictor_spec;
    double wp, wq, capacity;
    struct predictor predictor;
    struct gps gps;
    struct client_table users; /* rows are not used: their numbers are the flows */
    int64_t *finish; /* by req_id: its virtual finish */
    uint32_t finish_cap;
};

static const struct opt_row uwfq_options[] = {
    PREDICTOR_ROW(struct uwfq, predictor_spec, "oracle"),
    {.name = "wp", .type = OPT_DOUBLE, .offset = offsetof(struct uwfq, wp), .min = 0, .max = 1e4,
     .def = "1", .unit = "1", .help = "cost of a prompt token (VTC: 1)"},
    {.name = "wq", .type = OPT_DOUBLE, .offset = offsetof(struct uwfq, wq), .min = 0, .max = 1e4,
     .def = "2", .unit = "1", .help = "cost of an output token (VTC: 2)"},
    {.name = "capacity", .type = OPT_DOUBLE, .offset = offsetof(struct uwfq, capacity), .min = 1e-2,
     .max = 1e9, .def = "1000", .unit = "1", .help = "cost per second that the virtual system serves"},
    OPT_END,
};

static int64_t uwfq_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    return ((const struct uwfq *)st)->finish[r];
}

static int uwfq_init(void *st, struct policy_env *env, struct err *e)
{
    struct uwfq *u = st;
    u->o = (struct ordered){.env = env, .key = uwfq_key};
    u->users.row_size = 1;
    gps_init(&u->gps, u->capacity);
    return predictor_open(&u->predictor, u->predictor_spec, env, "uwfq", e);
}

static void uwfq_release(void *st)
{
    struct uwfq *u = st;
    ordered_release(&u->o);
    predictor_release(&u->predictor);
    gps_release(&u->gps);
    client_table_release(&u->users);
    free(u->finish);
    u->finish = NULL;
    u->finish_cap = 0;
}

static const char *uwfq_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct uwfq *u = st;
    const struct req *q = &v->reqs[r];
    uint32_t user = client_table_add(&u->users, q->client);
    void *finish = u->finish;
    bool ok = user != CLIENT_NONE && gps_reach(&u->gps, user) && predictor_reach(&u->predictor, r) &&
              table_reach(&finish, &u->finish_cap, sizeof *u->finish, r) &&
              req_heap_reach(&u->o.heap, r);
    u->finish = finish;
    if (!ok) {
        return policy_no_memory;
    }
    double size = u->wp * q->prompt_tok + u->wq * predictor_predict(&u->predictor, v, r, 0);
    gps_advance(&u->gps, q->arrival_ns);
    u->finish[r] = gps_add(&u->gps, user, size, (double)q->weight);
    return ordered_arrive(st, v, r);
}

static void uwfq_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct uwfq *)st)->predictor, v, r);
}

static size_t uwfq_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct uwfq *)st)->predictor, ret, max);
}

const struct policy_ops policy_uwfq = {
    .name = "uwfq",
    .summary = "user-weighted fair queueing: earliest finish in a virtual system shared by users",
    .source = "Kazemaks et al., arXiv 2510.15485, carried over from Spark jobs to requests",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct uwfq),
    .options = uwfq_options,
    .init = uwfq_init,
    .release = uwfq_release,
    .arrive = uwfq_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .finish = uwfq_finish,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .horizon = ordered_horizon,
    .stats = uwfq_stats,
    .waiting = ordered_waiting,
};
