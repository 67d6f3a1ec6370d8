/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cluster/cluster.h"

#include <string.h>

#include "sim/cluster/mail.h"
#include "sim/cluster/view.h"

int cluster_init(struct cluster *c, const struct cluster_config *cfg, uint32_t n, struct arena *a,
                 struct err *err)
{
    *c = (struct cluster){.cfg = *cfg, .err = err, .n = n};
    c->next_tick_ns = cfg->tick_ns > 0 ? 0 : SIM_NEVER;
    c->replica = arena_calloc(a, n, sizeof(*c->replica));
    c->seen = arena_calloc(a, n, sizeof(*c->seen));
    if (!c->replica || !c->seen) {
        c->n = 0;
        return err_set(err, SIM_E_NOMEM, "out of memory for %u replicas", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        c->replica[i] = (struct replica){.cluster = c, .index = i, .next_ns = SIM_NEVER};
    }
    return 0;
}

void cluster_release(struct cluster *c)
{
    mail_release(c);
}

/* ---- what the engines call ---- */

static int open_letter(void *ctx, struct arrival *a, struct err *e)
{
    struct replica *r = ctx;

    (void)e;
    if (!mail_open(r, a)) {
        return r->cluster->ended ? 0 : 2;
    }
    r->engine->next_serial = r->opened->serial; /* the number that the workload knows it by */
    return 1;
}

static void request_left(void *ctx, const struct req *q, uint32_t output_tok, sim_ns now,
                         struct arrival *pending)
{
    struct replica *r = ctx;
    struct cluster *c = r->cluster;
    const struct router_ops *router = c->cfg.router.ops;

    (void)pending; /* what is in the mail was visible before */
    r->left++;
    r->prompt_tok -= q->prompt_tok;
    c->somebody_left = true;
    if (router->left) {
        const struct route_left l = {.serial = q->serial, .session = q->session, .replica = r->index,
                                     .client = q->client, .prompt_tok = q->prompt_tok,
                                     .output_tok = output_tok};

        router->left(c->cfg.router.st, &l);
    }
    if (c->cfg.left) {
        c->cfg.left(c->cfg.ctx, q->serial, now, c->have_next ? &c->next : NULL);
    }
}

static float client_weight(void *ctx, uint32_t client)
{
    struct cluster *c = ((struct replica *)ctx)->cluster;

    return c->cfg.client_weight ? c->cfg.client_weight(c->cfg.ctx, client) : 1;
}

void cluster_feed(struct cluster *c, uint32_t i, struct engine_config *ec)
{
    ec->arrivals = open_letter;
    ec->left = request_left;
    ec->client_weight = client_weight;
    ec->arrivals_ctx = &c->replica[i];
    ec->poll = NULL;
    ec->fed = true;
    ec->obs.tick_ns = 0; /* samples are of all replicas */
}

void cluster_seat(struct cluster *c, uint32_t i, struct engine *e)
{
    c->replica[i].engine = e;
}

/* ---- arrivals ---- */

static int fetch(struct cluster *c)
{
    int rc = c->cfg.arrivals(c->cfg.ctx, &c->next, c->err);

    if (rc < 0) {
        return rc;
    }
    c->have_next = rc == 1;
    c->ended = rc == 0;
    return 0;
}

static sim_ns visible_ns(const struct cluster *c)
{
    return c->have_next ? c->next.time_ns + c->cfg.request_delay_ns : SIM_NEVER;
}

static void look_again(struct replica *r)
{
    r->next_ns = engine_next_ns(r->engine, &r->next_event);
}

/* The engines that sleep learn that nothing more will come. */
static int tell_end(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (engine_look(c->replica[i].engine) < 0) {
            return c->err->code;
        }
        look_again(&c->replica[i]);
    }
    return 0;
}

static int fetch_next(struct cluster *c)
{
    if (fetch(c) < 0) {
        return c->err->code;
    }
    return c->ended ? tell_end(c) : 0;
}

/* ---- routing ---- */

static int choose(struct cluster *c, uint32_t *ret)
{
    const struct arrival *a = &c->next;
    const struct route_view v = {.now_ns = c->now, .n = c->n, .replica = c->seen};
    const struct route_req q = {.serial = c->routed, .session = a->session, .client = a->client,
                                .prompt_tok = a->prompt_tok, .hash = a->hash, .n_hash = a->n_hash,
                                .hash_tok = a->hash_tok};

    view_glance(c);
    if (c->cfg.router.ops->route(c->cfg.router.st, &v, &q, ret, c->err) < 0) {
        return c->err->code;
    }
    if (*ret >= c->n) {
        return err_set(c->err, SIM_E_CHECK, "router %s sent request %llu to replica %u of %u",
                       c->cfg.router_name, (unsigned long long)c->routed, *ret, c->n);
    }
    return 0;
}

static int route(struct cluster *c)
{
    struct replica *r;
    uint32_t i = 0;

    if (choose(c, &i) < 0) {
        return c->err->code;
    }
    r = &c->replica[i];
    if (mail_send(r, &c->next, c->routed, c->err) < 0) {
        return c->err->code;
    }
    view_note_sent(c, i, c->next.prompt_tok);
    c->routed++;
    r->sent++;
    r->prompt_tok += c->next.prompt_tok;
    if (engine_look(r->engine) < 0) {
        return c->err->code;
    }
    look_again(r);
    return fetch_next(c);
}

/* ---- invariants (--check) ---- */

static int verify(const struct cluster *c)
{
    uint64_t sent = 0;

    for (uint32_t i = 0; i < c->n; i++) {
        const struct replica *r = &c->replica[i];
        const struct engine *e = r->engine;
        uint64_t there = (r->sent - e->n.arrived) + e->n_running + e->n_waiting + e->n_swapped;

        sent += r->sent;
        if (r->left != e->n.finished + e->n.rejected + e->n.refused || r->sent != r->left + there) {
            return err_set(c->err, SIM_E_CHECK,
                           "requests lost at %.9f s: %llu sent to replica %u, %llu left it, %llu are there",
                           (double)c->now / 1e9, (unsigned long long)r->sent, i,
                           (unsigned long long)r->left, (unsigned long long)there);
        }
        if (there == 0 && (r->prompt_tok != 0 || e->waiting_tok != 0)) {
            return err_set(c->err, SIM_E_CHECK, "replica %u is empty, but tokens are counted there", i);
        }
    }
    if (sent != c->routed) {
        return err_set(c->err, SIM_E_CHECK, "%llu requests routed, %llu sent",
                       (unsigned long long)c->routed, (unsigned long long)sent);
    }
    return 0;
}

/* ---- the loop ---- */

enum happening { NOTHING, STEP_ENDS, COPIES, ROUTING, BOUNDARY, SAMPLE };

struct event {
    sim_ns at;
    enum happening what;
    struct replica *r;
};

static bool comes_before(sim_ns at, enum happening what, const struct event *than)
{
    return at < than->at || (at == than->at && at != SIM_NEVER && what < than->what);
}

static struct event next_event(const struct cluster *c)
{
    struct event first = {.at = visible_ns(c), .what = c->have_next ? ROUTING : NOTHING};

    for (uint32_t i = 0; i < c->n; i++) {
        struct replica *r = &c->replica[i];
        enum happening what = r->next_event == ENGINE_STEP_ENDS ? STEP_ENDS : BOUNDARY;

        if (comes_before(r->next_ns, what, &first)) {
            first = (struct event){r->next_ns, what, r};
        }
    }
    if (c->cfg.fabric && comes_before(fabric_next(c->cfg.fabric), COPIES, &first)) {
        first = (struct event){fabric_next(c->cfg.fabric), COPIES, NULL};
    }
    if (first.what != NOTHING && comes_before(c->next_tick_ns, SAMPLE, &first)) {
        first = (struct event){c->next_tick_ns, SAMPLE, NULL};
    }
    return first;
}

/* Its next event, or the end of a copy, which may wake it. */
static sim_ns may_act_ns(const struct cluster *c, const struct replica *x)
{
    sim_ns copies = c->cfg.fabric ? fabric_next(c->cfg.fabric) : SIM_NEVER;

    return copies < x->next_ns ? copies : x->next_ns;
}

/* Up to where `r` may jump: nothing that it does not know of can be visible before. */
static sim_ns horizon(const struct cluster *c, const struct replica *r)
{
    sim_ns until = visible_ns(c) < c->next_tick_ns ? visible_ns(c) : c->next_tick_ns;

    for (uint32_t i = 0; c->cfg.left && i < c->n; i++) {
        const struct replica *x = &c->replica[i];
        sim_ns next = x != r ? may_act_ns(c, x) : SIM_NEVER;

        if (next != SIM_NEVER && next + c->cfg.echo_ns < until) {
            until = next + c->cfg.echo_ns;
        }
    }
    /* Others' copies may slow its own down or hurry them. */
    for (uint32_t i = 0; c->cfg.fabric && swap_next(r->engine) != SIM_NEVER && i < c->n; i++) {
        const struct replica *x = &c->replica[i];

        until = x != r && x->next_ns < until ? x->next_ns : until;
    }
    return until;
}

static int advance(struct cluster *c, struct replica *r)
{
    c->somebody_left = false;
    if (engine_advance(r->engine, horizon(c, r)) < 0) {
        return c->err->code;
    }
    look_again(r);
    if (c->somebody_left && !c->have_next && !c->ended && fetch_next(c) < 0) {
        return c->err->code;
    }
    return c->cfg.check && c->somebody_left ? verify(c) : 0;
}

/* Copies end, and whoever waited for them wakes up. */
static int deliver(struct cluster *c, sim_ns at)
{
    if (fabric_deliver(c->cfg.fabric, at, c->err) < 0) {
        return c->err->code;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        look_again(&c->replica[i]);
    }
    return 0;
}

static int happen(struct cluster *c, const struct event *v)
{
    c->now = v->at;
    switch (v->what) {
    case ROUTING:
        return route(c);
    case SAMPLE:
        c->cfg.sample(c->cfg.ctx, v->at);
        c->next_tick_ns += c->cfg.tick_ns;
        return 0;
    case STEP_ENDS:
    case BOUNDARY:
        return advance(c, v->r);
    case COPIES:
        return deliver(c, v->at);
    case NOTHING:
        break;
    }
    return 0;
}

static int begin(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (engine_begin(c->replica[i].engine, c->err) < 0) {
            return c->err->code;
        }
        look_again(&c->replica[i]);
    }
    return fetch_next(c);
}

static int end(struct cluster *c)
{
    if (!c->ended) {
        return err_set(c->err, SIM_E_CHECK, "no progress at %.6f s: the workload waits for a request to "
                       "leave, but none is there", (double)c->now / 1e9);
    }
    return c->cfg.check ? verify(c) : 0;
}

int cluster_run(struct cluster *c, struct err *err)
{
    struct event v;

    c->err = err;
    if (begin(c) < 0) {
        return err->code;
    }
    while ((v = next_event(c)).what != NOTHING) {
        if (happen(c, &v) < 0) {
            return err->code;
        }
        if ((++c->events & 4095) == 0 && c->cfg.poll && c->cfg.poll(c->cfg.ctx)) {
            return err_set(err, SIM_E_INTR, "interrupted at %.3f s of simulated time", (double)c->now / 1e9);
        }
    }
    return end(c);
}
