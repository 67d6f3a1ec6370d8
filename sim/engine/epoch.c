/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps as time: what a step costs, epochs of identical decode steps, and the jump over them. */
#include <math.h>

#include "sim/engine/engine.h"

/* End of the k-th step: start + floor of the sum of the first k durations. */
static sim_wide epoch_ticks(const struct epoch *ep, uint64_t k)
{
    return (sim_wide)ep->cost.base * (sim_wide)k +
           (sim_wide)ep->cost.slope * ((sim_wide)k * (sim_wide)(k - 1) / 2);
}

static sim_ns epoch_end(const struct epoch *ep, uint64_t k)
{
    return ep->start_ns + (sim_ns)(epoch_ticks(ep, k) >> SIM_TICKS_PER_NS_LOG2);
}

static bool plain_decode(const struct step *s)
{
    return s->live && s->decode && s->n_chunk == 0 && s->n_stalled == 0 && !s->waited;
}

static void epoch_open(struct engine *e, const struct step *s)
{
    struct epoch *ep = &e->epoch;

    if (e->cfg.cost->outside && e->cfg.cost->outside(e->cfg.cost_state, &s->shape)) {
        e->n.outside_range++;
    }
    if (!e->cfg.execute) {
        e->cfg.cost->iteration(e->cfg.cost_state, &s->shape, &ep->cost);
    } else if (e->cfg.execute(e->cfg.execute_ctx, e, s, e->cur_start_ns, &ep->cost, e->err) < 0) {
        ep->cost = (struct cost_affine){1, 0, 1};
    }
    ep->cost.base += e->cfg.step_overhead +
                     e->cfg.row_overhead * ((sim_tick)s->shape.n_decode + s->shape.prefill_done);
    ep->open = plain_decode(s);
    if (e->map_ticks > 0) {
        ep->cost.base += e->map_ticks;
        ep->open = false;
    }
    if (e->n.steps == 0) {
        ep->cost.base += e->cfg.cold_start;
        ep->open = false;
    }
    ep->start_ns = e->cur_start_ns;
    ep->k = 0;
    ep->version = s->version;
}

/* KV on the move before the step: both directions at once, then the step (vLLM V0: swap_blocks runs
 * before the model). */
static void swap_blocks(struct engine *e, struct step *s)
{
    copies_start(e, s->out_bytes, s->out_copies, s->in_bytes, s->in_copies);
    e->n.swap_out_bytes += s->out_bytes;
    e->n.swap_in_bytes += s->in_bytes;
    s->waited = true;
    e->cur_start_ns = e->cfg.shared ? e->now : copies_wait(e);
}

/* Pages are mapped as blocks come into use (vAttention, serving.md 11): with `keep`, blocks that were mapped
 * once stay so for whoever comes next; with `ahead`, a thread of its own maps during the step before, and
 * only what that was too short for is waited for. */
static sim_tick map_pages(struct engine *e)
{
    const struct page_config *c = &e->cfg.pages;
    uint64_t used = kv_total(e->kv) - kv_free(e->kv), fresh;
    sim_tick before = e->n.steps > 0 && c->ahead ? e->cur_ticks : 0, cost;

    if (c->keep) {
        fresh = used > e->mapped_blk ? used - e->mapped_blk : 0;
        e->mapped_blk += fresh;
    } else {
        fresh = used + e->kv->given - e->mapped_blk; /* taken since the last step */
        e->mapped_blk = used + e->kv->given;
    }
    cost = (sim_tick)(fresh * c->per_blk) * c->map;
    e->n.pages += fresh * c->per_blk;
    cost = cost > before ? cost - before : 0;
    e->n.map_ticks += (double)cost;
    return cost;
}

/* How many of the next steps, at most `limit`, map nothing. */
static uint64_t unmapped_steps(const struct engine *e, uint64_t limit)
{
    uint64_t n = 0, p = e->planned + 1, most = limit < e->kv->block_tok ? limit : e->kv->block_tok;
    uint64_t used = kv_total(e->kv) - kv_free(e->kv) + (e->cfg.pages.keep ? 0 : e->kv->given);

    if (used > e->mapped_blk) {
        return 0; /* for the step that is planned already */
    }
    if (e->cfg.pages.keep) {
        return kv_steps_possible(e->kv, p, limit, kv_total(e->kv) - e->mapped_blk);
    }
    while (n < most && kv_step_need(e->kv, p + n) == 0) {
        n++;
    }
    return n;
}

void step_wait(struct engine *e, struct step *s)
{
    if (s->out_bytes > 0 || s->in_bytes > 0) {
        swap_blocks(e, s);
    }
    if (e->swap && swap_begin(e) == 0) {
        if (e->cfg.shared) {
            swap_wait_begin(e, s);
        } else {
            e->cur_start_ns = swap_wait(e, s);
        }
    }
    e->starting = e->cfg.shared && swap_must_wait(e);
}

static void step_start(struct engine *e, struct step *s)
{
    struct epoch *ep = &e->epoch;

    if (e->swap && e->cfg.shared) {
        swap_wait_end(e, s);
    }
    if (e->cfg.pages.per_blk > 0) {
        e->map_ticks = map_pages(e);
        e->epoch.open = e->epoch.open && e->map_ticks == 0;
    }
    if (!(ep->open && plain_decode(s) && ep->version == s->version && ep->k < ep->cost.valid &&
          epoch_end(ep, ep->k) == e->cur_start_ns)) {
        epoch_open(e, s);
    }
    ep->k++;
    e->cur_ticks = ep->cost.base + ep->cost.slope * (sim_tick)(ep->k - 1);
    e->cur_end_ns = epoch_end(ep, ep->k);
}

/* Number of boundaries b(1), b(2), ... <= limit that come before `until`; b(i) is the end of step
 * k + i - 1 of the epoch, where k is under way. */
static uint64_t boundaries_before(const struct epoch *ep, sim_ns until, uint64_t limit)
{
    sim_wide room;
    double base = (double)ep->cost.base, slope = (double)ep->cost.slope, k;
    uint64_t n;

    if (until == SIM_NEVER) {
        return limit;
    }
    if (until <= ep->start_ns) {
        return 0;
    }
    room = (sim_wide)(until - ep->start_ns) << SIM_TICKS_PER_NS_LOG2;
    if (slope > 0) {
        double b = base - slope / 2;

        k = (sqrt(b * b + 2 * slope * (double)room) - b) / slope;
    } else {
        k = (double)room / base;
    }
    n = k > 1e18 ? (uint64_t)1e18 : (uint64_t)k;
    if (n > ep->k - 1 + limit) {
        n = ep->k - 1 + limit;
    }
    /* The estimate is off by rounding only; the integers decide. */
    while (n > 0 && epoch_ticks(ep, n) >= room) {
        n--;
    }
    while (n < ep->k - 1 + limit && epoch_ticks(ep, n + 1) < room) {
        n++;
    }
    return n >= ep->k ? n - ep->k + 1 : 0;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* KV is there, blocks come free, a pin's time is over, or copies start with the very next step, or it waits
 * for blocks that are still being copied: not after this. */
static sim_ns kv_event_ns(const struct engine *e, sim_ns until)
{
    if (e->swap) {
        bool at_once = e->swap->n_held > 0 || kv_free(e->kv) < e->swap->draining;
        sim_ns t = at_once ? e->now : swap_next(e);

        until = t < until ? t : until;
    }
    if (e->pins && pins_next(e) < until) {
        until = pins_next(e);
    }
    return until;
}

/* How many further steps that end before `until` would be planned exactly like the last one. */
static uint64_t skippable(struct engine *e, sim_ns until)
{
    const struct step *last = e->cfg.traits.async_depth2 ? e->next : e->cur;
    uint64_t limit, spare = e->cfg.traits.spare_blk;

    if (e->next_sample_ns < until) {
        until = e->next_sample_ns;
    }

    /* Behind a head that is blocked anyway, arrivals can queue up unseen, unless KV of theirs is about to go. */
    if (!(e->n_waiting > 0 && e->cfg.policy->caps & POLICY_ARRIVAL_KEEPS_HEAD && !e->kv_moves) &&
        e->next_visible_ns < until) {
        until = e->next_visible_ns;
    }
    if (e->kv_moves) {
        until = kv_event_ns(e, until);
    }

    if (!plain_decode(last) || last->n_ending > 0 || last->again <= 1 || e->n_lagging > 0) {
        return 0;
    }
    if (last != e->cur && (!plain_decode(e->cur) || e->cur->n_ending > 0 ||
                           e->cur->version != last->version)) {
        return 0;
    }
    if (!e->epoch.open || last->version != e->version || e->n_heap == 0) {
        return 0;
    }
    limit = at_most(last->again - 1, e->epoch.cost.valid - e->epoch.k);
    limit = at_most(limit, live_of(e, e->heap[0])->finish_index - e->planned - 1);
    if (limit > 0 && e->n_waiting > 0) {
        uint64_t horizon = e->cfg.policy->horizon
                               ? e->cfg.policy->horizon(e->cfg.policy_state, &e->view)
                               : 1;

        limit = at_most(limit, horizon - 1);
    }
    if (limit > 0) {
        limit = boundaries_before(&e->epoch, until, limit);
    }
    if (limit > 0 && e->kv_moves) {
        spare += e->swap ? e->swap->draining : 0;
        limit = e->cfg.pages.per_blk > 0 ? unmapped_steps(e, limit) : limit;
    }
    return limit > 0 ? kv_steps_possible(e->kv, e->planned + 1, limit, spare) : 0;
}

static int jump(struct engine *e, uint64_t j)
{
    struct step *last = e->cfg.traits.async_depth2 ? e->next : e->cur;
    uint64_t k = e->epoch.k;

    if (kv_step(e->kv, e->planned + 1, j) < 0) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory for block tables");
    }
    steps_complete(e, e->cur, j, epoch_end(&e->epoch, k + j - 1));
    e->planned += j;
    e->epoch.k += j;
    e->cur_start_ns = e->now;
    e->cur_end_ns = epoch_end(&e->epoch, k + j);
    e->cur_ticks = e->epoch.cost.base + e->epoch.cost.slope * (sim_tick)(k + j - 1);
    if (e->swap) {
        e->swap->planned_ns = e->now;
    }
    last->again -= j;
    for (int i = 0; i < (last == e->cur ? 1 : 2); i++) {
        struct step *s = i == 0 ? last : e->cur;

        s->index += j;
        s->shape.decode_ctx_sq += j * (2 * s->shape.decode_ctx_tok + j * s->shape.n_decode);
        s->shape.decode_ctx_tok += j * s->shape.n_decode;
        s->shape.kv_resident_tok += j * s->shape.n_decode;
    }
    if (e->cfg.batcher->skipped) {
        e->cfg.batcher->skipped(e->cfg.batcher_state, e, j);
    }
    return 0;
}

int step_go(struct engine *e, sim_ns until)
{
    uint64_t j;

    step_start(e, e->cur);
    if (e->err->code) {
        return e->err->code;
    }
    if (e->cfg.obs.step) {
        e->cfg.obs.step(e->cfg.obs.step_o, e, e->cur);
    }
    if (e->cfg.traits.async_depth2 && step_plan(e, e->next) < 0) {
        return e->err->code;
    }
    if (e->next_sample_ns <= e->now) {
        samples_until(e, e->now); /* who waits now was not let in */
    }
    j = e->cfg.skip ? skippable(e, until) : 0;
    e->under_way = true;
    return j > 0 ? jump(e, j) : 0;
}
