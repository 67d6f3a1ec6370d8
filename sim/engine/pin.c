/* SPDX-License-Identifier: Apache-2.0
 *
 * Tuned for tens of pins: a pool holds no more contexts than that. */
#include "sim/engine/pin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/engine/engine.h"

int pins_init(struct engine *e, const struct pin_config *c, struct err *err)
{
    struct pins *p = arena_alloc(e->arena, sizeof(*p));

    if (p) {
        e->pins = p;
        p->cfg = *c;
        p->slots = 1024;
        p->slot = calloc(p->slots, sizeof(struct pin_program *));
    }
    return p && p->slot && ttl_learner_init(&p->learner) == 0
               ? 0
               : err_set(err, SIM_E_NOMEM, "out of memory for pinned KV");
}

static void free_programs(struct pin_program *g)
{
    while (g) {
        struct pin_program *next = g->next;

        free(g);
        g = next;
    }
}

void pins_release(struct engine *e)
{
    struct pins *p = e->pins;

    if (!p) {
        return;
    }
    for (uint32_t i = 0; p->slot && i < p->slots; i++) {
        free_programs(p->slot[i]);
    }
    for (uint32_t i = 0; i < p->n; i++) {
        kv_seq_release(&p->v[i].kv);
    }
    free_programs(p->spare);
    free(p->slot);
    free(p->v);
    ttl_learner_release(&p->learner);
}

/* ---- programs ---- */

static struct pin_program **place_of(const struct pins *p, uint64_t session)
{
    struct pin_program **at = &p->slot[(uint32_t)(session * 0x9E3779B97F4A7C15u >> 32) & (p->slots - 1)];

    while (*at && (*at)->session != session) {
        at = &(*at)->next;
    }
    return at;
}

static struct pin_program *program_of(struct engine *e, uint64_t session)
{
    struct pins *p = e->pins;
    struct pin_program **at = place_of(p, session), *g = *at;

    if (g) {
        return g;
    }
    g = p->spare;
    if (g) {
        p->spare = g->next;
    } else if (!(g = malloc(sizeof(*g)))) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for %u programs", p->programs);
        return NULL;
    }
    *g = (struct pin_program){.session = session, .arrival_ns = e->now, .answered_ns = SIM_NEVER};
    *at = g;
    p->programs++;
    return g;
}

static void program_ends(struct pins *p, struct pin_program *g)
{
    *place_of(p, g->session) = g->next;
    ttl_learn_program(&p->learner, g->turns);
    g->next = p->spare;
    p->spare = g;
    p->programs--;
}

/* ---- pins ---- */

static void count_time(struct engine *e)
{
    struct pins *p = e->pins;

    p->counters.blk_ns += (double)p->blk * (double)(e->now - p->counted_ns);
    p->counted_ns = e->now;
}


static struct pin *pin_of_session(const struct pins *p, uint64_t session)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->v[i].session == session) {
            return &p->v[i];
        }
    }
    return NULL;
}

/* Its blocks are free again; what a store outside of the GPU can keep of them it gets. */
static int pin_end(struct engine *e, struct pin *x)
{
    struct pins *p = e->pins;
    int rc = e->swap ? swap_session(e, x->session, x->awaited, &x->kv, x->tok, x->print, x->print_ids)
                     : 0;

    if (x->awaited != REQ_NONE) {
        live_of(e, x->awaited)->pinned = false;
        e->reqs[x->awaited].kv_pinned = false;
    }
    e->acted = true; /* who did not fit may fit now */
    count_time(e);
    p->blk -= x->kv.n_blk;
    kv_give(e->kv, &x->kv, 0);
    kv_seq_release(&x->kv);
    *x = p->v[--p->n];
    return rc;
}

int pins_arrive(struct engine *e, req_id r, const struct arrival *a)
{
    struct pins *p = e->pins;
    struct pin_program *g = a->session ? program_of(e, a->session) : NULL;
    struct pin *x;

    if (!g) {
        return e->err->code;
    }
    g->turns++;
    if (g->answered_ns != SIM_NEVER && e->now >= g->answered_ns) {
        ttl_learn_tool(&p->learner, a->client, (double)(e->now - g->answered_ns) / 1e9);
    }
    x = pin_of_session(p, a->session);
    if (x && x->awaited == REQ_NONE && (x->print_ids == 0 || (x->print_ids <= a->n_hash &&
                                                  prefix_print(a, x->print_ids) == x->print))) {
        x->awaited = r;
        live_of(e, r)->pinned = true;
        e->reqs[r].kv_pinned = true;
    }
    return 0;
}

void pins_forget(struct engine *e, req_id r)
{
    struct pin *x = pins_of(e, r);

    if (x) {
        x->awaited = REQ_NONE;
    }
}

struct pin *pins_of(const struct engine *e, req_id r)
{
    return e->pins && live_of(e, r)->pinned ? pin_of_session(e->pins, e->reqs[r].session) : NULL;
}

void pins_adopt(struct engine *e, req_id r, struct pin *x)
{
    struct live *l = live_of(e, r);

    e->pins->counters.found++;
    count_time(e);
    e->pins->blk -= x->kv.n_blk;
    kv_adopt(e->kv, &l->kv, &x->kv);
    *x = e->pins->v[--e->pins->n];
    l->pinned = false;
    e->reqs[r].kv_pinned = false;
}

/* The mean wait of programs that came back to nothing is what a pin would have spared. */
void pins_admitted(struct engine *e, req_id r, bool found)
{
    const struct req *q = &e->reqs[r];

    if (!found && q->session && q->turn > 0) {
        ttl_learn_wait(&e->pins->learner, (double)(e->now - q->arrival_ns) / 1e9);
    }
}

static sim_ns time_to_live(struct engine *e, req_id r, uint64_t content)
{
    struct pins *p = e->pins;
    double s;

    if (p->cfg.manner == PIN_FIXED) {
        return p->cfg.fixed_ns;
    }
    s = ttl_decide_s(&p->learner, e->reqs[r].client, swap_reload_s(e, (uint32_t)content));
    return (sim_ns)llround(fmin(s, 1e9) * 1e9);
}

bool pins_finish(struct engine *e, req_id r, uint64_t content)
{
    struct pins *p = e->pins;
    const struct req *q = &e->reqs[r];
    struct live *l = live_of(e, r);
    struct pin_program *g = q->session ? *place_of(p, q->session) : NULL;
    sim_ns ttl;

    if (!g) {
        return false;
    }
    g->answered_ns = e->now;
    if (p->cfg.goes_on && !p->cfg.goes_on(p->cfg.ctx, q->serial)) {
        program_ends(p, g);
        return false;
    }
    ttl = content > 0 && !pin_of_session(p, q->session) ? time_to_live(e, r, content) : 0;
    if (ttl <= 0 || !grow_array((void **)&p->v, &p->cap, p->n + 1, sizeof(*p->v))) {
        return false;
    }
    count_time(e);
    p->v[p->n] = (struct pin){.session = q->session, .tok = (uint32_t)content, .until = e->now + ttl,
                              
                              .awaited = REQ_NONE, .program_ns = g->arrival_ns, .print = l->print,
                              .print_ids = l->print_ids};
    kv_adopt(e->kv, &p->v[p->n].kv, &l->kv);
    p->blk += p->v[p->n++].kv.n_blk;
    p->counters.made++;
    return true;
}

int pins_expire(struct engine *e)
{
    struct pins *p = e->pins;

    for (uint32_t i = 0; i < p->n;) {
        if (p->v[i].awaited != REQ_NONE || p->v[i].until > e->now) {
            i++;
            continue;
        }
        p->counters.expired++;
        if (pin_end(e, &p->v[i]) < 0) {
            return e->err->code;
        }
    }
    return 0;
}

sim_ns pins_next(const struct engine *e)
{
    sim_ns next = SIM_NEVER;

    for (uint32_t i = 0; e->pins && i < e->pins->n; i++) {
        if (e->pins->v[i].awaited == REQ_NONE && e->pins->v[i].until < next) {
            next = e->pins->v[i].until;
        }
    }
    return next;
}

bool pins_break_one(struct engine *e)
{
    struct pins *p = e->pins;
    struct pin *last = NULL;

    for (uint32_t i = 0; p && i < p->n; i++) {
        if (!last || p->v[i].program_ns > last->program_ns ||
            (p->v[i].program_ns == last->program_ns && p->v[i].session > last->session)) {
            last = &p->v[i];
        }
    }
    if (!last) {
        return false;
    }
    p->counters.broken++;
    return pin_end(e, last) == 0;
}

void pins_make_room(struct engine *e)
{
    while (e->pins->n > 0 &&
           kv_step_need(e->kv, e->planned + 1) + e->cfg.traits.spare_blk > kv_free(e->kv) &&
           pins_break_one(e)) {
    }
}

void pins_add_up(struct pin_counters *to, const struct engine *e)
{
    const struct pins *p = e->pins;

    to->made += p->counters.made;
    to->found += p->counters.found;
    to->expired += p->counters.expired;
    to->broken += p->counters.broken;
    to->blk_ns += p->counters.blk_ns;
    to->all_blk_ns += (double)kv_total(e->kv) * (double)e->now;
}

int pins_check(const struct engine *e, struct err *err)
{
    uint64_t blk = 0;

    for (uint32_t i = 0; i < e->pins->n; i++) {
        blk += e->pins->v[i].kv.n_blk;
    }
    return blk == e->pins->blk && blk + kv_free(e->kv) <= kv_total(e->kv)
               ? 0
               : err_set(err, SIM_E_CHECK, "%llu blocks are pinned, %llu are counted, %llu of %llu are free",
                         (unsigned long long)blk, (unsigned long long)e->pins->blk,
                         (unsigned long long)kv_free(e->kv), (unsigned long long)kv_total(e->kv));
}
