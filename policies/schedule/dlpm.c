/* SPDX-License-Identifier: Apache-2.0
 *
 * Deficit Longest Prefix Match ("Locality-aware Fair Scheduling in LLM Serving", arXiv 2501.14312), as an
 * independent implementation for SGLang does it: the request with the longest cached prefix goes first
 * among those of clients with a deficit above zero. A client pays prefill_cost for each prompt token that
 * was not in the cache and 1 for each output token; when nobody who waits has a deficit left, every
 * client without one gets a quantum, until somebody has. A large quantum is locality alone, a small one
 * VTC's fairness. Stand-ins: of each client only the `depth` oldest requests are looked at (SGLang gives
 * its order by prefixes up above 128 waiting requests), and clients are never forgotten. */
#include <math.h>
#include <stdlib.h>

#include "policies/meter.h"

struct dlpm {
    struct meter_conf conf;
    double quantum_tok;
    int64_t depth;
    struct policy_env *env;
    sim_wide quantum;
    struct meter meter;
    struct req_links links;
    struct dlpm_client {
        struct req_fifo fifo;
        sim_wide granted; /* deficit = granted - metered */
    } * clients; /* by account */
    uint32_t clients_cap, n_waiting;
};

static const struct opt_row dlpm_options[] = {
    {.name = "quantum", .type = OPT_DOUBLE, .offset = offsetof(struct dlpm, quantum_tok), .min = 1,
     .max = 1e9, .def = "50000", .unit = "tok",
     .help = "tokens granted at a time (a re-run of the authors' prototype: 50000)"},
    {.name = "prefill_cost", .type = OPT_DOUBLE, .offset = offsetof(struct dlpm, conf.wp), .min = 0,
     .max = 1e4, .def = "0.5", .unit = "1",
     .help = "cost of an uncached prompt token; an output token costs 1 (VTC: 1 and 2)"},
    {.name = "depth", .type = OPT_INT, .offset = offsetof(struct dlpm, depth), .min = 1, .max = 1e6,
     .def = "128", .unit = "1", .help = "oldest requests of a client that are looked at (SGLang: 128)"},
    OPT_END,
};

static int dlpm_init(void *st, struct policy_env *env, struct err *e)
{
    struct dlpm *d = st;
    d->env = env;
    d->conf.wq = 1;
    d->quantum = (sim_wide)llround(d->quantum_tok * METER_UNIT);
    return meter_init(&d->meter, &d->conf, e);
}

static void dlpm_release(void *st)
{
    struct dlpm *d = st;
    meter_release(&d->meter);
    req_links_release(&d->links);
    free(d->clients);
    d->clients = NULL;
    d->clients_cap = 0;
}

static bool reach(struct dlpm *d, uint32_t i, req_id r)
{
    void *clients = d->clients;
    uint32_t had = d->clients_cap;
    bool ok = table_reach(&clients, &d->clients_cap, sizeof *d->clients, i);
    d->clients = clients;
    for (uint32_t n = had; n < d->clients_cap; n++) {
        d->clients[n].fifo = REQ_FIFO_EMPTY;
    }
    return ok && req_links_reach(&d->links, r);
}

static const char *dlpm_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct dlpm *d = st;
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
    return NULL;
}

static sim_wide deficit(const struct dlpm *d, uint32_t i)
{
    return d->clients[i].granted - meter_account(&d->meter, i)->total;
}

/* Quanta after which client `i` may run; 0 = now. */
static sim_wide quanta_needed(const struct dlpm *d, uint32_t i)
{
    sim_wide debt = -deficit(d, i);
    return debt < 0 ? 0 : debt / d->quantum + 1;
}

/* Rounds of quanta until one of those that wait may run, done at once. */
static void refill(struct dlpm *d)
{
    sim_wide rounds = 0;
    for (uint32_t i = 0; i < d->meter.accounts.n; i++) {
        sim_wide n = d->clients[i].fifo.count > 0 ? quanta_needed(d, i) : 0;
        if (d->clients[i].fifo.count > 0 && n == 0) {
            return;
        }
        rounds = n > 0 && (rounds == 0 || n < rounds) ? n : rounds;
    }
    for (uint32_t i = 0; i < d->meter.accounts.n; i++) {
        sim_wide n = quanta_needed(d, i);
        d->clients[i].granted += (n < rounds ? n : rounds) * d->quantum;
    }
}

static uint32_t cached(const struct dlpm *d, req_id r)
{
    return d->env->cached_tok ? d->env->cached_tok(d->env->engine, r) : 0;
}

static bool is_older(const struct sched_view *v, req_id a, req_id b)
{
    return v->reqs[a].serial < v->reqs[b].serial;
}

struct found {
    req_id r;
    uint32_t cached_tok;
};

static void look_at_client(const struct dlpm *d, const struct sched_view *v, uint32_t i,
                           struct found *best)
{
    req_id r = d->clients[i].fifo.head;
    for (int64_t n = 0; n < d->depth && r != REQ_NONE; n++, r = d->links.at[r].next) {
        uint32_t tok = cached(d, r);
        if (best->r == REQ_NONE || tok > best->cached_tok ||
            (tok == best->cached_tok && is_older(v, r, best->r))) {
            *best = (struct found){r, tok};
        }
    }
}

static req_id dlpm_next(void *st, const struct sched_view *v)
{
    struct dlpm *d = st;
    struct found best = {.r = REQ_NONE};
    if (d->n_waiting > 0) {
        refill(d);
    }
    for (uint32_t i = 0; i < d->meter.accounts.n; i++) {
        if (deficit(d, i) > 0) {
            look_at_client(d, v, i, &best);
        }
    }
    return best.r;
}

static void unqueue(struct dlpm *d, req_id r)
{
    req_fifo_remove(&d->clients[d->meter.slots[r].account].fifo, &d->links, r);
    d->n_waiting--;
}

static void dlpm_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    struct dlpm *d = st;
    uint32_t prompt = v->reqs[r].prompt_tok;
    unqueue(d, r);
    if (!d->meter.slots[r].charged_prompt) {
        meter_prompt_tok(&d->meter, v, r, cached_tok < prompt ? prompt - cached_tok : 0);
    }
    meter_admit(&d->meter, r, 0);
}

static void dlpm_finish(void *st, const struct sched_view *v, req_id r)
{
    meter_finish(&((struct dlpm *)st)->meter, v, r);
}

static void dlpm_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct dlpm *d = st;
    meter_pause(&d->meter, r);
    req_fifo_push_front(&d->clients[d->meter.slots[r].account].fifo, &d->links, r);
    d->n_waiting++;
}

METER_CALLBACKS(dlpm)

static void dlpm_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    unqueue(st, r);
}

static uint32_t dlpm_waiting(const void *st)
{
    return ((const struct dlpm *)st)->n_waiting;
}

/* No horizon: decodes evict and add cached blocks, so any step may change the longest match. */
const struct policy_ops policy_dlpm = {
    .name = "dlpm",
    .summary = "deficit longest prefix match: locality within per-client deficits",
    .source = "arXiv 2501.14312, as an independent SGLang implementation reads it",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct dlpm),
    .options = dlpm_options,
    .init = dlpm_init,
    .release = dlpm_release,
    .arrive = dlpm_arrive,
    .next = dlpm_next,
    .admit = dlpm_admit,
    .first_token = dlpm_first_token,
    .decode = dlpm_decode,
    .finish = dlpm_finish,
    .preempt = dlpm_preempt,
    .pause = dlpm_pause,
    .resume = dlpm_resume,
    .drop = dlpm_drop,
    .waiting = dlpm_waiting,
};
