/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual Token Counter (Sheng et al., "Fairness in Serving Large Language Models", OSDI'24,
 * algorithms 2 and 3), in the details as its artifact does it (vtc_req_queue.py and siblings):
 * the client with the smallest counter among those that wait goes first, ties to the client that
 * appeared first; its oldest request runs or nobody does; a client that comes back is lifted to the
 * smallest counter of those that wait. A preempted request goes back to the head of its client's
 * queue; neither is its prompt charged twice nor its client lifted, since it has not been away. */
#include "policies/schedule/vtc.h"

#include <stdlib.h>

#define MEAN_WINDOW 5.0 /* of predict=mean: vtc_pred_len_req_queue.py */

const struct opt_choice vtc_lift_choices[] = {
    {.name = "artifact", .help = "the least counter of the others that wait, nothing if nobody waits"},
    {.name = "paper", .help = "as artifact; if nobody waits, the counter of the last client to leave"},
    {.name = "off", .help = "never"},
    {.name = "max", .help = "all clients to the last running request's counter before it ran"},
    {.name = NULL},
};

const struct opt_choice vtc_predict_choices[] = {
    {.name = "none", .help = "output tokens are charged as they come"},
    {.name = "oracle", .help = "the true length, off by up to predict_range"},
    {.name = "mean", .help = "moving mean of the client's last outputs"},
    {.name = NULL},
};

int vtc_init(void *st, struct policy_env *env, struct err *e)
{
    struct vtc *t = st;
    t->env = env;
    t->last_left = CLIENT_NONE;
    t->noise = rng_stream(env->seed, env->replication, "vtc.predict");
    env->oracle |= t->predict == VTC_PREDICT_ORACLE;
    int rc = meter_init(&t->meter, &t->conf, e);
    t->meter.n_orders = 1; /* of clients that wait */
    return rc;
}

void vtc_release(void *st)
{
    struct vtc *t = st;
    meter_release(&t->meter);
    req_links_release(&t->links);
    free(t->clients);
    t->clients = NULL;
    t->clients_cap = 0;
}

static bool has_waiting(const struct vtc *t, uint32_t i)
{
    return t->clients[i].fifo.count > 0;
}

/* Account with the least counter among those that wait, or CLIENT_NONE. */
static uint32_t least_waiting(const struct vtc *t)
{
    return meter_least(&t->meter, 0);
}

static void note_waiting(struct vtc *t, uint32_t i)
{
    meter_order_set(&t->meter, 0, i, has_waiting(t, i));
}

/* Client `i`, none of whose requests waited, gets one. */
static void lift_returning(struct vtc *t, uint32_t i)
{
    if (t->lift != VTC_LIFT_ARTIFACT && t->lift != VTC_LIFT_PAPER) {
        return;
    }
    uint32_t to = least_waiting(t);
    if (to == CLIENT_NONE && t->lift == VTC_LIFT_PAPER) {
        to = t->last_left;
    }
    if (to != CLIENT_NONE) {
        meter_lift(&t->meter, i, meter_account(&t->meter, to)->total);
    }
}

static bool reach(struct vtc *t, uint32_t i, req_id r)
{
    void *clients = t->clients;
    uint32_t had = t->clients_cap;
    bool ok = table_reach(&clients, &t->clients_cap, sizeof *t->clients, i);
    t->clients = clients;
    for (uint32_t n = had; n < t->clients_cap; n++) {
        t->clients[n].fifo = REQ_FIFO_EMPTY;
    }
    return ok && req_links_reach(&t->links, r);
}

const char *vtc_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct vtc *t = st;
    const char *refused;
    uint32_t i = meter_arrive(&t->meter, v, r, &refused);
    if (i == CLIENT_NONE) {
        return refused;
    }
    if (!reach(t, i, r)) {
        return policy_no_memory;
    }
    if (!has_waiting(t, i)) {
        lift_returning(t, i);
    }
    req_fifo_push_back(&t->clients[i].fifo, &t->links, r);
    note_waiting(t, i);
    t->n_waiting++;
    t->formation_begins = true;
    return NULL;
}

/* vtc_max_fair: before a batch is formed all counters rise to that of the last running request's
 * client less what that request has got, or to the greatest of all when nothing runs. */
static sim_wide max_lift_target(const struct vtc *t, const struct sched_view *v)
{
    req_id last = v->running_tail;
    if (last != REQ_NONE) {
        uint64_t tok = v->reqs[last].prompt_tok + (uint64_t)meter_generated(&t->meter, last);
        return meter_account(&t->meter, t->meter.slots[last].account)->total -
               ((sim_wide)tok << 32);
    }
    sim_wide most = meter_account(&t->meter, 0)->total;
    for (uint32_t i = 1; i < t->meter.accounts.n; i++) {
        sim_wide c = meter_account(&t->meter, i)->total;
        most = c > most ? c : most;
    }
    return most;
}

static void lift_all(struct vtc *t, const struct sched_view *v)
{
    sim_wide to = max_lift_target(t, v);
    for (uint32_t i = 0; i < t->meter.accounts.n; i++) {
        meter_lift(&t->meter, i, to);
    }
}

req_id vtc_next(void *st, const struct sched_view *v)
{
    struct vtc *t = st;
    if (t->n_waiting == 0) {
        return REQ_NONE;
    }
    if (t->lift == VTC_LIFT_MAX && t->formation_begins) {
        lift_all(t, v);
    }
    t->formation_begins = false;
    return t->clients[least_waiting(t)].fifo.head;
}

static double predicted_output(const struct vtc *t, const struct sched_view *v, req_id r,
                               uint32_t account)
{
    if (t->predict == VTC_PREDICT_NONE) {
        return 0;
    }
    if (t->predict == VTC_PREDICT_MEAN) {
        return t->clients[account].mean_output;
    }
    double truth = t->env->truth_output(t->env->engine, r);
    double u = rng_uniform(t->noise, v->reqs[r].serial, 0);
    return truth + truth * t->predict_range * (2 * u - 1);
}

void vtc_unqueue(struct vtc *t, req_id r)
{
    uint32_t i = t->meter.slots[r].account;
    req_fifo_remove(&t->clients[i].fifo, &t->links, r);
    note_waiting(t, i);
    t->n_waiting--;
    t->last_left = has_waiting(t, i) ? t->last_left : i;
}

void vtc_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    struct vtc *t = st;
    vtc_unqueue(t, r);
    meter_admit(&t->meter, r, predicted_output(t, v, r, t->meter.slots[r].account));
}

void vtc_first_token(void *st, const struct sched_view *v, req_id r)
{
    struct vtc *t = st;
    meter_first_token(&t->meter, v, r);
    t->formation_begins = true;
}

void vtc_decode(void *st, const struct sched_view *v, uint64_t k)
{
    struct vtc *t = st;
    meter_decode(&t->meter, v, k);
    t->formation_begins = true;
}

void vtc_finishing(void *st, const struct sched_view *v)
{
    meter_finishing(&((struct vtc *)st)->meter, v);
}

void vtc_finish(void *st, const struct sched_view *v, req_id r)
{
    struct vtc *t = st;
    meter_finish(&t->meter, v, r);
    double *mean = &t->clients[t->meter.slots[r].account].mean_output;
    double output = meter_generated(&t->meter, r);
    *mean = *mean > 0 ? (*mean * (MEAN_WINDOW - 1) + output) / MEAN_WINDOW : output;
}

void vtc_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct vtc *t = st;
    meter_pause(&t->meter, r);
    req_fifo_push_front(&t->clients[t->meter.slots[r].account].fifo, &t->links, r);
    note_waiting(t, t->meter.slots[r].account);
    t->n_waiting++;
}

void vtc_pause(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    meter_pause(&((struct vtc *)st)->meter, r);
}

void vtc_resume(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    meter_resume(&((struct vtc *)st)->meter, r);
}

void vtc_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    vtc_unqueue(st, r);
}

uint64_t vtc_horizon(void *st, const struct sched_view *v)
{
    (void)v;
    const struct vtc *t = st;
    uint32_t least = least_waiting(t);
    if (least == CLIENT_NONE) {
        return UINT64_MAX;
    }
    if (t->lift == VTC_LIFT_MAX) {
        return 1; /* the lift may change the order before each step */
    }
    uint64_t k = meter_first_overtaking(&t->meter, 0, least), join = meter_next_join(&t->meter);
    return k <= join ? k : join + 1; /* beyond it the sums are others: ask again */
}

uint32_t vtc_waiting(const void *st)
{
    return ((const struct vtc *)st)->n_waiting;
}

static const struct opt_row vtc_options[] = {VTC_OPTIONS("artifact")};

const struct policy_ops policy_vtc = {
    .name = "vtc",
    .summary = "virtual token counter: the client that got the least service goes first",
    .source = "Sheng et al., OSDI'24, algorithms 2 and 3; VTC artifact",
    .options = vtc_options,
    VTC_CALLBACKS,
};
