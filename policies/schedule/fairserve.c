/* SPDX-License-Identifier: Apache-2.0
 *
 * FairServe (arXiv 2411.15997), as a third party's simulator reads it. WSC: per user a counter of service,
 * each request's weighted tokens divided by those expected of its application and stage, so that a heavy
 * application is only charged for exceeding its normal size; calls inside an interaction before first
 * calls, then the lowest counter; a user that comes back is lifted to the least of those that wait.
 * OIT: only under overload, and only the first call of an interaction is turned away, when its user's
 * requests within the window have reached the limit.
 * Stand-ins: the application is the client and the stage its turn, since traces name neither; expected
 * tokens are means over what that client and stage had so far; system prompts count as input. */
#include <math.h>
#include <stdlib.h>

#include "policies/meter.h"
#include "policies/rate.h"

#define STAGES 8u /* later turns share the last */

enum { FIRST_CALLS, INNER_CALLS, ANY_CALLS }; /* queues, and orders of the meter */

struct fairserve {
    struct meter_conf conf; /* wp and wq are the paper's a and c */
    double expected_tok, kv_threshold, window_s;
    int64_t limit, max_running;
    struct policy_env *env;
    struct meter meter;
    struct req_links links;
    struct fairserve_user {
        struct req_fifo queue[2]; /* first calls; calls inside an interaction */
        double sum[STAGES];       /* weighted tokens of what has ended */
        uint64_t n[STAGES];
        struct rate accepted;
    } * users;   /* by account */
    bool *inner; /* by req_id: in which queue it waits */
    uint32_t users_cap, inner_cap, n_inner, n_waiting;
};

#define ROW(n, t, field, lo, hi, d, u, h)                                                          \
    {.name = n, .type = t, .offset = offsetof(struct fairserve, field), .min = lo, .max = hi,      \
     .def = d, .unit = u, .help = h}
static const struct opt_row fairserve_options[] = {
    ROW("a", OPT_DOUBLE, conf.wp, 0, 1e4, "1", "1", "weight of a prompt token"),
    ROW("c", OPT_DOUBLE, conf.wq, 0, 1e4, "1", "1", "weight of an output token"),
    ROW("expected", OPT_DOUBLE, expected_tok, 1, 1e7, "500", "tok",
        "weighted tokens expected of an application and stage of which none has ended"),
    ROW("limit", OPT_INT, limit, 1, 1e6, "30", "1", "requests per user and window under overload"),
    ROW("window", OPT_DOUBLE, window_s, 1e-3, 1e6, "60", "s", "length of the sliding window"),
    ROW("kv_threshold", OPT_DOUBLE, kv_threshold, 0, 2, "0.9", "1",
        "share of the KV pool in use above which there is overload"),
    ROW("max_running", OPT_INT, max_running, 0, 1e9, "0", "1",
        "running requests from which on there is overload; 0 = the pool alone decides"),
    OPT_END,
};
#undef ROW

static int fairserve_init(void *st, struct policy_env *env, struct err *e)
{
    struct fairserve *f = st;
    f->env = env;
    int rc = meter_init(&f->meter, &f->conf, e);
    f->meter.n_orders = 3;
    return rc;
}

static void fairserve_release(void *st)
{
    struct fairserve *f = st;
    meter_release(&f->meter);
    req_links_release(&f->links);
    free(f->users);
    free(f->inner);
    *f = (struct fairserve){.users = NULL};
}

static bool reach(struct fairserve *f, uint32_t i, req_id r)
{
    void *users = f->users, *inner = f->inner;
    uint32_t had = f->users_cap;
    bool ok = table_reach(&users, &f->users_cap, sizeof *f->users, i) &&
              table_reach(&inner, &f->inner_cap, sizeof *f->inner, r);
    f->users = users;
    f->inner = inner;
    for (uint32_t n = had; n < f->users_cap; n++) {
        f->users[n].queue[FIRST_CALLS] = f->users[n].queue[INNER_CALLS] = REQ_FIFO_EMPTY;
    }
    return ok && rate_reach(&f->users[i].accepted, f->limit, f->env->arena) &&
           req_links_reach(&f->links, r);
}

static uint32_t n_queued(const struct fairserve *f, uint32_t i)
{
    return f->users[i].queue[FIRST_CALLS].count + f->users[i].queue[INNER_CALLS].count;
}

static bool overloaded(const struct fairserve *f, const struct sched_view *v)
{
    double used_tok = 0;
    if (f->max_running > 0 && v->n_running >= (uint64_t)f->max_running) {
        return true;
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        used_tok += (double)v->reqs[r].prompt_tok + req_generated(v, &v->reqs[r]);
    }
    return used_tok > f->kv_threshold * (double)f->env->kv_tok;
}

static void note_waiting(struct fairserve *f, uint32_t i)
{
    meter_order_set(&f->meter, FIRST_CALLS, i, f->users[i].queue[FIRST_CALLS].count > 0);
    meter_order_set(&f->meter, INNER_CALLS, i, f->users[i].queue[INNER_CALLS].count > 0);
    meter_order_set(&f->meter, ANY_CALLS, i, n_queued(f, i) > 0);
}

static uint32_t stage(const struct req *q)
{
    return q->turn < STAGES ? q->turn : STAGES - 1;
}

/* Charge the request in units of what its application and stage usually takes. */
static void normalise(struct fairserve *f, const struct sched_view *v, req_id r)
{
    const struct fairserve_user *u = &f->users[f->meter.slots[r].account];
    uint32_t s = stage(&v->reqs[r]);
    double expected = u->n[s] > 0 ? u->sum[s] / (double)u->n[s] : f->expected_tok;
    meter_scale(&f->meter, r, 1 / (expected > 1 ? expected : 1));
}

static void enqueue(struct fairserve *f, req_id r, bool inner, bool in_front)
{
    struct req_fifo *q = &f->users[f->meter.slots[r].account].queue[inner];
    (in_front ? req_fifo_push_front : req_fifo_push_back)(q, &f->links, r);
    note_waiting(f, f->meter.slots[r].account);
    f->inner[r] = inner;
    f->n_inner += inner;
    f->n_waiting++;
}

static const char *fairserve_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct fairserve *f = st;
    const struct req *q = &v->reqs[r];
    const char *refused;
    uint32_t i = meter_arrive(&f->meter, v, r, &refused);
    if (i == CLIENT_NONE) {
        return refused;
    }
    if (!reach(f, i, r)) {
        return policy_no_memory;
    }
    struct rate *rate = &f->users[i].accepted;
    if (q->turn == 0 && rate_is_full(rate, f->limit, llround(f->window_s * 1e9), v->now_ns) &&
        overloaded(f, v)) {
        return "overload: the user's first calls are over the limit of the window";
    }
    rate_note(rate, f->limit, v->now_ns);
    uint32_t to = n_queued(f, i) == 0 ? meter_least(&f->meter, ANY_CALLS) : CLIENT_NONE;
    if (to != CLIENT_NONE) {
        meter_lift(&f->meter, i, meter_account(&f->meter, to)->total);
    }
    enqueue(f, r, q->turn > 0, false);
    return NULL;
}

static req_id fairserve_next(void *st, const struct sched_view *v)
{
    (void)v;
    const struct fairserve *f = st;
    unsigned queue = f->n_inner > 0 ? INNER_CALLS : FIRST_CALLS;
    return f->n_waiting > 0 ? f->users[meter_least(&f->meter, queue)].queue[queue].head : REQ_NONE;
}

static void fairserve_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct fairserve *f = st;
    uint32_t i = f->meter.slots[r].account;
    req_fifo_remove(&f->users[i].queue[f->inner[r]], &f->links, r);
    note_waiting(f, i);
    f->n_inner -= f->inner[r];
    f->n_waiting--;
}

static void fairserve_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    struct fairserve *f = st;
    fairserve_drop(st, v, r);
    if (!f->meter.slots[r].charged_prompt) {
        normalise(f, v, r);
    }
    meter_admit(&f->meter, r, 0);
}

static void fairserve_finish(void *st, const struct sched_view *v, req_id r)
{
    struct fairserve *f = st;
    const struct req *q = &v->reqs[r];
    struct fairserve_user *u = &f->users[f->meter.slots[r].account];
    u->sum[stage(q)] += f->conf.wp * q->prompt_tok + f->conf.wq * req_generated(v, q);
    u->n[stage(q)]++;
    meter_finish(&f->meter, v, r);
}

/* A running interaction: before all first calls. */
static void fairserve_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    meter_pause(&((struct fairserve *)st)->meter, r);
    enqueue(st, r, true, true);
}

METER_CALLBACKS(fairserve)

static uint64_t fairserve_horizon(void *st, const struct sched_view *v)
{
    (void)v;
    const struct fairserve *f = st;
    unsigned queue = f->n_inner > 0 ? INNER_CALLS : FIRST_CALLS;
    uint32_t now = meter_least(&f->meter, queue);
    return now == CLIENT_NONE ? UINT64_MAX : meter_first_overtaking(&f->meter, queue, now);
}

static uint32_t fairserve_waiting(const void *st)
{
    return ((const struct fairserve *)st)->n_waiting;
}

const struct policy_ops policy_fairserve = {
    .name = "fairserve",
    .summary = "weighted service counters by application, first calls throttled under overload",
    .source = "FairServe, arXiv 2411.15997, as a third party's simulator reads it",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct fairserve),
    .options = fairserve_options,
    .init = fairserve_init,
    .release = fairserve_release,
    .arrive = fairserve_arrive,
    .next = fairserve_next,
    .admit = fairserve_admit,
    .first_token = fairserve_first_token,
    .decode = fairserve_decode,
    .finish = fairserve_finish,
    .preempt = fairserve_preempt,
    .pause = fairserve_pause,
    .resume = fairserve_resume,
    .drop = fairserve_drop,
    .horizon = fairserve_horizon,
    .waiting = fairserve_waiting,
};
