/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests on their way from the client to the engine's queue. */

#include "sim/engine/engine.h"

/* When the front end, which works on one request after another, is through with the next one. */
static sim_ns front_done(const struct engine *e)
{
    sim_ns from = e->next_arrival.time_ns > e->front_free_ns ? e->next_arrival.time_ns : e->front_free_ns;

    return from + e->cfg.request_serial_ns;
}

sim_ns arrival_visible(const struct engine *e)
{
    return (e->cfg.request_serial_ns > 0 ? front_done(e) : e->next_arrival.time_ns) + e->cfg.request_delay_ns;
}

int arrivals_fetch(struct engine *e)
{
    int rc = e->cfg.arrivals(e->cfg.arrivals_ctx, &e->next_arrival, e->err);

    if (rc < 0) {
        return rc;
    }
    e->have_arrival = rc == 1;
    e->arrivals_ended = rc == 0;
    e->next_visible_ns = e->have_arrival ? arrival_visible(e) : SIM_NEVER;
    return 0;
}

static void fill_request(struct engine *e, req_id r, const struct arrival *a)
{
    struct req *q = &e->reqs[r];
    struct live *l = live_of(e, r);

    q->serial = e->next_serial++;
    q->arrival_ns = a->time_ns;
    q->began_ns = a->began_ns >= 0 ? a->began_ns : a->time_ns;
    q->client = a->client;
    q->prompt_tok = a->prompt_tok;
    q->priority = a->priority;
    q->weight = e->cfg.client_weight ? e->cfg.client_weight(e->cfg.arrivals_ctx, a->client) : 1;
    q->ttft_slo_ms = a->ttft_slo_ms;
    q->tpot_slo_ms = a->tpot_slo_ms;
    q->e2e_slo_ms = a->e2e_slo_ms;
    q->slo_class = a->slo_class;
    q->session = a->session;
    q->turn = a->turn;
    q->state = REQ_WAITING;
    l->state = LIVE_WAITING;
    l->output_tok = a->output_tok;
    l->max_output_tok = a->max_output_tok > a->output_tok ? a->max_output_tok : a->output_tok;
    l->context_tok = a->prompt_tok;
    l->admit_ns = SIM_NEVER;
    l->measured_ttft_s = a->measured_ttft_s;
    l->measured_e2e_s = a->measured_e2e_s;
}

/* Why a request can never run, or NULL. Real engines turn such a request away at the door. */
const char *request_hopeless(struct engine *e, req_id r)
{
    if (e->cfg.batcher->never_fits) {
        const char *why = e->cfg.batcher->never_fits(e->cfg.batcher_state, e, r);

        if (why) {
            return why;
        }
    }
    return kv_blocks_for(e->kv, (uint64_t)e->reqs[r].prompt_tok + 1) > kv_total(e->kv)
               ? "its prompt does not fit the KV pool"
               : NULL;
}

static int arrive(struct engine *e)
{
    const struct arrival *a = &e->next_arrival;
    req_id r = slot_take(e, e->err);
    const char *why;

    e->have_arrival = false; /* taken */
    e->front_free_ns = front_done(e);

    if (r == REQ_NONE) {
        return SIM_E_NOMEM;
    }
    fill_request(e, r, a);
    e->n.arrived++;
    e->last_arrival_ns = a->time_ns;
    if (a->n_hash > 0 && kv_seq_set_prefix(e->kv, &live_of(e, r)->kv, a->hash, a->n_hash, a->hash_tok,
                                           a->prompt_tok, e->err) < 0) {
        return e->err->code;
    }
    if (e->swap || e->pins) {
        prefix_note(e, r, a);
    }
    if (e->swap) {
        swap_arrive(e, r, a);
    }
    if (e->pins && pins_arrive(e, r, a) < 0) {
        return e->err->code;
    }
    if (e->cfg.obs.arrived) {
        e->cfg.obs.arrived(e->cfg.obs.o, &e->reqs[r], live_of(e, r));
    }
    why = request_hopeless(e, r);
    if (why) {
        return request_leave(e, r, false, why);
    }
    why = e->cfg.policy->arrive ? e->cfg.policy->arrive(e->cfg.policy_state, &e->view, r) : NULL;
    if (why == policy_no_memory) {
        return engine_fail(e, SIM_E_NOMEM, "policy %s: %s", e->cfg.policy_name, why);
    }
    if (why) {
        return request_leave(e, r, true, why);
    }
    e->n_waiting++;
    e->waiting_tok += live_of(e, r)->context_tok;
    e->view.n_waiting = e->n_waiting;
    return 0;
}

int arrivals_drain(struct engine *e)
{
    if (!e->have_arrival && !e->arrivals_ended && arrivals_fetch(e) < 0) {
        return e->err->code;
    }
    while (e->next_visible_ns <= e->now) {
        if (arrive(e) < 0 || arrivals_fetch(e) < 0) {
            return e->err->code;
        }
        e->waiting_at_last_arrival = e->n_waiting;
    }
    return 0;
}
