/* SPDX-License-Identifier: Apache-2.0
 *
 * Double Deficit Longest Prefix Match ("Locality-aware Fair Scheduling in LLM Serving", arXiv 2501.14312): the
 * dispatcher above workers that run DLPM (--policy dlpm). Each client has a deficit with each worker. Among
 * the workers with which a client's is above zero it goes to the one that has seen the longest part of its
 * prompt; when none is left, each gets a quantum of this client's, until one is above zero. A client thereby
 * follows its prefixes for a quantum at most before it is served elsewhere.
 * The paper's text gives the principle; these details are stand-ins, taken from its local algorithm: a request
 * is charged prefill_cost for each prompt token that is new to the worker, as the dispatcher's own record of
 * prefixes has it, when it is sent, and 1 for each output token when it ends; of equal matches the worker with
 * the fewest requests takes it. A request that is turned away keeps its charge. */
#include <math.h>

#include "policies/queue.h"
#include "policies/route/prefixes.h"

#define UNIT 1048576.0 /* counter units per cost unit: counters are integers */

struct d2lpm {
    double quantum_tok, prefill_cost, room_tok;
    int64_t quantum, prompt_unit;
    uint32_t n, next; /* next: where looking begins; of equals each has its turn */
    struct prefixes seen;
    struct client_table deficits; /* rows of n counters */
    double matched_tok, asked_tok, refills;
};

static const struct opt_row d2lpm_options[] = {
    {.name = "quantum", .type = OPT_DOUBLE, .offset = offsetof(struct d2lpm, quantum_tok), .min = 1, .max = 1e9,
     .def = "100000", .unit = "tok",
     .help = "tokens granted at a time (global-Q of a re-run of the authors' prototype: 100000)"},
    {.name = "prefill_cost", .type = OPT_DOUBLE, .offset = offsetof(struct d2lpm, prefill_cost), .min = 0,
     .max = 1e3, .def = "0.5", .unit = "1",
     .help = "cost of a prompt token that is new to the worker; an output token costs 1 (VTC: 1 and 2)"},
    {.name = "room", .type = OPT_DOUBLE, .offset = offsetof(struct d2lpm, room_tok), .min = 0, .max = 1e13,
     .def = "0", .unit = "tok", .help = "tokens remembered of each replica; 0 = as many as its KV pool holds"},
    OPT_END,
};

static int d2lpm_init(void *st, struct route_env *env, struct err *e)
{
    struct d2lpm *d = st;
    double room = d->room_tok > 0 ? d->room_tok : (double)env->kv_tok;
    d->n = env->n;
    d->quantum = llround(d->quantum_tok * UNIT);
    d->prompt_unit = llround(d->prefill_cost * UNIT);
    d->deficits.row_size = env->n * sizeof(int64_t);
    return prefixes_init(&d->seen, env->n, (uint64_t)room, env->arena, e);
}

static void d2lpm_release(void *st)
{
    struct d2lpm *d = st;
    prefixes_release(&d->seen);
    client_table_release(&d->deficits);
}

/* Quanta for all until one is above zero, at once; nothing when one is. */
static void refill(struct d2lpm *d, int64_t *deficit)
{
    int64_t most = deficit[0];
    for (uint32_t i = 1; i < d->n; i++) {
        most = deficit[i] > most ? deficit[i] : most;
    }
    if (most > 0) {
        return;
    }
    int64_t rounds = -most / d->quantum + 1;
    for (uint32_t i = 0; i < d->n; i++) {
        deficit[i] += rounds * d->quantum;
    }
    d->refills++;
}

static uint32_t choose(const struct d2lpm *d, const struct route_view *v, const int64_t *deficit,
                       uint32_t *ret_tok)
{
    uint32_t best = v->n;
    *ret_tok = 0;
    for (uint32_t k = 0; k < v->n; k++) {
        uint32_t i = (d->next + k) % v->n;
        uint32_t tok = deficit[i] > 0 ? prefixes_match_tok(&d->seen, i) : 0;
        if (deficit[i] > 0 &&
            (best == v->n || tok > *ret_tok ||
             (tok == *ret_tok && route_outstanding(&v->replica[i]) < route_outstanding(&v->replica[best])))) {
            best = i;
            *ret_tok = tok;
        }
    }
    return best;
}

static int d2lpm_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                       struct err *e)
{
    struct d2lpm *d = st;
    uint32_t row = client_table_add(&d->deficits, r->client), tok;
    if (row == CLIENT_NONE) {
        return err_set(e, SIM_E_NOMEM, "no memory for the deficits of clients");
    }
    if (prefixes_read(&d->seen, r, e) < 0) {
        return e->code;
    }
    int64_t *deficit = client_table_row(&d->deficits, row);
    refill(d, deficit);
    *ret = choose(d, v, deficit, &tok);
    d->next = *ret + 1;
    deficit[*ret] -= (int64_t)(r->prompt_tok - tok) * d->prompt_unit;
    d->matched_tok += tok;
    d->asked_tok += r->prompt_tok;
    return prefixes_put(&d->seen, *ret, e);
}

static void d2lpm_left(void *st, const struct route_left *l)
{
    struct d2lpm *d = st;
    uint32_t row = client_table_find(&d->deficits, l->client);
    int64_t *deficit = client_table_row(&d->deficits, row);
    deficit[l->replica] -= (int64_t)(l->output_tok * UNIT);
}

static size_t d2lpm_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct d2lpm *d = st;
    const struct policy_stat all[] = {
        {"router_match_share", "1", d->asked_tok > 0 ? d->matched_tok / d->asked_tok : 0},
        {"router_refills", "1", d->refills},
    };
    size_t n = 0;
    for (; n < sizeof all / sizeof *all && n < max; n++) {
        ret[n] = all[n];
    }
    return n;
}

const struct router_ops router_d2lpm = {
    .name = "d2lpm",
    .summary = "longest prefix match among the replicas where the client has a deficit left",
    .source = "arXiv 2501.14312 (D2LPM), details by its local algorithm; use with --policy dlpm",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct d2lpm),
    .options = d2lpm_options,
    .init = d2lpm_init,
    .release = d2lpm_release,
    .route = d2lpm_route,
    .left = d2lpm_left,
    .stats = d2lpm_stats,
};
