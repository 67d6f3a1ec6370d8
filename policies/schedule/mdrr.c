/* SPDX-License-Identifier: Apache-2.0
 *
 * Deficit round robin adapted to LLM serving (Sheng et al., OSDI'24, appendix; 'mdrr_fair',
 * mdrr_req_queue.py in the artifact). Clients take turns in an active list; one whose deficit is not
 * positive gets a quantum when its turn begins, and runs requests while the deficit is positive. Prompts
 * are paid at admission, output tokens as they come, so a deficit may go far below zero. A client whose
 * request does not fit keeps its place at the head, but is passed over once if it is in debt when batch
 * formation goes on. When nobody waits any more all debts are topped up at once and the list is empty. */
#include <math.h>
#include <stdlib.h>

#include "policies/meter.h"

#define QUANTA_PER_POOL 20.0

struct mdrr {
    struct meter_conf conf;
    double quantum_tok;
    sim_wide quantum;
    struct meter meter;
    struct req_links links, active_links; /* over requests; over accounts */
    struct req_fifo active;               /* of accounts */
    struct mdrr_client *clients;          /* by account */
    uint32_t clients_cap, n_waiting;
    uint32_t last_misfit; /* account whose request did not fit, or CLIENT_NONE */
    bool turn;            /* the head of the active list has begun its turn */
};

struct mdrr_client {
    struct req_fifo fifo;
    sim_wide granted; /* quanta so far; deficit = granted - metered */
    bool active;
};

static const struct opt_row mdrr_options[] = {
    METER_WEIGHT_ROWS(struct mdrr, conf),
    {.name = "quantum", .type = OPT_DOUBLE, .offset = offsetof(struct mdrr, quantum_tok), .min = 0,
     .max = 1e9, .def = "0", .unit = "tok", .help = "tokens granted per turn; 0 = KV pool / 20"},
    OPT_END,
};

static int mdrr_init(void *st, struct policy_env *env, struct err *e)
{
    struct mdrr *d = st;
    double quantum = d->quantum_tok > 0 ? d->quantum_tok : (double)env->kv_tok / QUANTA_PER_POOL;
    if (!(quantum >= 1)) {
        return err_set(e, SIM_E_CONFIG, "policy 'mdrr': a quantum of %g tokens is below 1; set "
                       "'quantum' or a larger KV pool", quantum);
    }
    d->quantum = (sim_wide)llround(quantum * METER_UNIT);
    d->active = REQ_FIFO_EMPTY;
    d->last_misfit = CLIENT_NONE;
    return meter_init(&d->meter, &d->conf, e);
}

static void mdrr_release(void *st)
{
    struct mdrr *d = st;
    meter_release(&d->meter);
    req_links_release(&d->links);
    req_links_release(&d->active_links);
    free(d->clients);
    d->clients = NULL;
    d->clients_cap = 0;
}

static sim_wide deficit(const struct mdrr *d, uint32_t i)
{
    return d->clients[i].granted - meter_account(&d->meter, i)->total;
}

static bool has_waiting(const struct mdrr *d, uint32_t i)
{
    return d->clients[i].fifo.count > 0;
}

static void activate(struct mdrr *d, uint32_t i)
{
    if (!d->clients[i].active) {
        d->clients[i].active = true;
        req_fifo_push_back(&d->active, &d->active_links, i);
    }
}

static void deactivate(struct mdrr *d, uint32_t i)
{
    d->clients[i].active = false;
    req_fifo_remove(&d->active, &d->active_links, i);
}

static void rotate(struct mdrr *d)
{
    uint32_t i = d->active.head;
    req_fifo_remove(&d->active, &d->active_links, i);
    req_fifo_push_back(&d->active, &d->active_links, i);
}

static bool reach(struct mdrr *d, uint32_t i, req_id r)
{
    void *clients = d->clients;
    uint32_t had = d->clients_cap;
    bool ok = table_reach(&clients, &d->clients_cap, sizeof *d->clients, i);
    d->clients = clients;
    for (uint32_t n = had; n < d->clients_cap; n++) {
        d->clients[n].fifo = REQ_FIFO_EMPTY;
    }
    return ok && req_links_reach(&d->links, r) && req_links_reach(&d->active_links, i);
}

static const char *mdrr_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct mdrr *d = st;
    const char *refused;
    uint32_t i = meter_arrive(&d->meter, v, r, &refused);
    if (i == CLIENT_NONE) {
        return refused;
    }
    if (!reach(d, i, r)) {
        return policy_no_memory;
    }
    req_fifo_push_back(&d->clients[i].fifo, &d->links, r);
    d->n_waiting++;
    activate(d, i);
    return NULL;
}

/* Begin the turn of the head; false = it is passed over this time. */
static bool begin_turn(struct mdrr *d, uint32_t i)
{
    if (i == d->last_misfit && deficit(d, i) < 0) {
        d->last_misfit = CLIENT_NONE;
        rotate(d);
        return false;
    }
    if (deficit(d, i) <= 0) {
        d->clients[i].granted += d->quantum;
    }
    d->turn = true;
    return true;
}

static void end_turn(struct mdrr *d, uint32_t i)
{
    d->turn = false;
    if (has_waiting(d, i) || deficit(d, i) < 0) {
        rotate(d);
    } else {
        deactivate(d, i);
    }
}

/* Turns until client `i` of the active list may run something, or is struck off with nothing to run. */
static sim_wide turns_needed(const struct mdrr *d, uint32_t i)
{
    sim_wide debt = -deficit(d, i);
    if (debt < 0) {
        return 0;
    }
    return has_waiting(d, i) ? debt / d->quantum + 1 : (debt + d->quantum - 1) / d->quantum;
}

/* Rounds in which everybody only gets a quantum are done at once: debts may be large, quanta small. */
static void skip_rounds(struct mdrr *d)
{
    sim_wide least = turns_needed(d, d->active.head);
    for (uint32_t i = d->active.head; i != REQ_NONE; i = d->active_links.at[i].next) {
        sim_wide n = turns_needed(d, i);
        least = n < least ? n : least;
    }
    for (uint32_t i = d->active.head; least > 1 && i != REQ_NONE; i = d->active_links.at[i].next) {
        d->clients[i].granted += (least - 1) * d->quantum;
    }
}

static req_id mdrr_next(void *st, const struct sched_view *v)
{
    (void)v;
    struct mdrr *d = st;
    for (uint32_t turns = 1; d->n_waiting > 0; turns++) {
        uint32_t i = d->active.head;
        if (!d->turn && !begin_turn(d, i)) {
            continue;
        }
        if (deficit(d, i) > 0 && has_waiting(d, i)) {
            return d->clients[i].fifo.head;
        }
        end_turn(d, i);
        if (turns > d->active.count && d->n_waiting > 0) {
            skip_rounds(d); /* a whole round has gone by, so nobody is to be passed over any more */
            turns = 0;
        }
    }
    return REQ_NONE;
}

/* Batch formation ends while the head of the list still has something that did not get in. */
static void formation_ends(struct mdrr *d)
{
    if (d->turn && has_waiting(d, d->active.head)) {
        d->last_misfit = d->active.head;
        d->turn = false;
    }
}

static bool mdrr_blocked(void *st, const struct sched_view *v, req_id r)
{
    (void)v, (void)r;
    formation_ends(st);
    return false;
}

/* Nobody waits: the artifact's loop goes round until the list is empty. */
static void settle_all(struct mdrr *d)
{
    d->turn = false;
    while (d->active.count > 0) {
        uint32_t i = d->active.head;
        sim_wide debt = -deficit(d, i);
        if (debt >= 0) {
            sim_wide quanta = (debt + d->quantum - 1) / d->quantum;
            d->clients[i].granted += (quanta > 0 ? quanta : 1) * d->quantum;
        }
        d->last_misfit = d->last_misfit == i && debt > 0 ? CLIENT_NONE : d->last_misfit;
        deactivate(d, i);
    }
}

static void unqueue(struct mdrr *d, req_id r)
{
    req_fifo_remove(&d->clients[d->meter.slots[r].account].fifo, &d->links, r);
    d->n_waiting--;
}

static void mdrr_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)v, (void)cached_tok;
    struct mdrr *d = st;
    unqueue(d, r);
    meter_admit(&d->meter, r, 0);
    if (d->n_waiting == 0) {
        settle_all(d);
    }
}

static void mdrr_first_token(void *st, const struct sched_view *v, req_id r)
{
    struct mdrr *d = st;
    formation_ends(d);
    meter_first_token(&d->meter, v, r);
}

static void mdrr_decode(void *st, const struct sched_view *v, uint64_t k)
{
    struct mdrr *d = st;
    formation_ends(d);
    meter_decode(&d->meter, v, k);
}

static void mdrr_finishing(void *st, const struct sched_view *v)
{
    meter_finishing(&((struct mdrr *)st)->meter, v);
}

static void mdrr_finish(void *st, const struct sched_view *v, req_id r)
{
    meter_finish(&((struct mdrr *)st)->meter, v, r);
}

static void mdrr_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct mdrr *d = st;
    uint32_t i = d->meter.slots[r].account;
    meter_pause(&d->meter, r);
    req_fifo_push_front(&d->clients[i].fifo, &d->links, r);
    d->n_waiting++;
    activate(d, i);
}

static void mdrr_pause(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    meter_pause(&((struct mdrr *)st)->meter, r);
}

static void mdrr_resume(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    meter_resume(&((struct mdrr *)st)->meter, r);
}

static void mdrr_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    unqueue(st, r);
}

/* The head keeps its turn until its deficit is used up. It must not be settled here: turns move on only
 * when the batcher asks. */
static uint64_t mdrr_horizon(void *st, const struct sched_view *v)
{
    (void)v;
    const struct mdrr *d = st;
    uint32_t i = d->active.head;
    if (d->n_waiting == 0) {
        return UINT64_MAX;
    }
    if (deficit(d, i) <= 0 || !has_waiting(d, i)) {
        return 1;
    }
    sim_wide step = meter_account(&d->meter, i)->step;
    return step > 0 ? (uint64_t)((deficit(d, i) + step - 1) / step) : UINT64_MAX;
}

static uint32_t mdrr_waiting(const void *st)
{
    return ((const struct mdrr *)st)->n_waiting;
}

const struct policy_ops policy_mdrr = {
    .name = "mdrr",
    .summary = "deficit round robin over clients, with debts for output tokens",
    .source = "Sheng et al., OSDI'24, appendix; 'mdrr_fair' in the VTC artifact",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct mdrr),
    .options = mdrr_options,
    .init = mdrr_init,
    .release = mdrr_release,
    .arrive = mdrr_arrive,
    .next = mdrr_next,
    .blocked = mdrr_blocked,
    .admit = mdrr_admit,
    .first_token = mdrr_first_token,
    .decode = mdrr_decode,
    .finishing = mdrr_finishing,
    .finish = mdrr_finish,
    .preempt = mdrr_preempt,
    .pause = mdrr_pause,
    .resume = mdrr_resume,
    .drop = mdrr_drop,
    .horizon = mdrr_horizon,
    .waiting = mdrr_waiting,
};
