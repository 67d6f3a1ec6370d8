/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock of one replica: arrivals, step boundaries, epochs of identical decode steps and the jump
 * over them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/engine/engine.h"

/* ---- set-up ---- */

int engine_init(struct engine *e, const struct engine_config *c, struct arena *a, struct err *err)
{
    memset(e, 0, sizeof(*e));
    e->cfg = *c;
    e->arena = a;
    e->err = err;
    e->free_slot = REQ_NONE;
    e->view.running_head = e->view.running_tail = REQ_NONE;
    e->prefill_head = e->prefill_tail = REQ_NONE;
    e->swapped_head = e->swapped_tail = REQ_NONE;
    e->planned = e->done = DECODE_ORIGIN;
    e->cur = &e->buf[0];
    e->next = &e->buf[1];
    e->host = (struct pool){.name = "host", .capacity_byte = c->host_kv_bytes};
    e->next_sample_ns = c->obs.tick_ns ? 0 : SIM_NEVER;
    e->mover = (struct flow_client){.ended = copies_ended, .ctx = e};
    e->kv = kv_new(&c->kv, a, err);
    if (!e->kv || (c->swap.offload && swap_init(e, &c->swap, err) < 0) ||
        (c->pin.manner != PIN_OFF && pins_init(e, &c->pin, err) < 0)) {
        return err->code;
    }
    e->kv_moves = e->swap || e->pins || c->pages.per_blk > 0;
    return 0;
}

static void step_release(struct step *s)
{
    free(s->chunks);
    free(s->ending);
    free(s->stalled);
}

void engine_release(struct engine *e)
{
    for (uint32_t seg = 0; seg < e->cap_slots >> SEGMENT_LOG2; seg++) {
        for (uint32_t i = 0; i < 1u << SEGMENT_LOG2; i++) {
            kv_seq_release(&e->segments[seg][i].kv);
        }
        free(e->segments[seg]);
    }
    free(e->segments);
    free(e->reqs);
    free(e->heap);
    free(e->fresh);
    free(e->lagging);
    free(e->owed);
    step_release(&e->buf[0]);
    step_release(&e->buf[1]);
    pins_release(e);
    kv_release(e->kv);
    swap_release(e);
}

/* ---- arrivals ---- */

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

static int fetch_arrival(struct engine *e)
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
static const char *hopeless(struct engine *e, req_id r)
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
    why = hopeless(e, r);
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

static int drain_arrivals(struct engine *e)
{
    if (!e->have_arrival && !e->arrivals_ended && fetch_arrival(e) < 0) {
        return e->err->code;
    }
    while (e->next_visible_ns <= e->now) {
        if (arrive(e) < 0 || fetch_arrival(e) < 0) {
            return e->err->code;
        }
        e->waiting_at_last_arrival = e->n_waiting;
    }
    return 0;
}

/* ---- epochs ---- */

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
static sim_ns swap_time(struct engine *e, const struct step *s)
{
    copies_start(e, s->out_bytes, s->out_copies, s->in_bytes, s->in_copies);
    e->n.swap_out_bytes += s->out_bytes;
    e->n.swap_in_bytes += s->in_bytes;
    return copies_wait(e);
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

/* What has to be there before the step can start. */
static void wait_for_kv(struct engine *e, struct step *s)
{
    if (e->swap && swap_begin(e) == 0) {
        e->cur_start_ns = swap_wait(e, s);
    }
    if (e->cfg.pages.per_blk > 0) {
        e->map_ticks = map_pages(e);
        e->epoch.open = e->epoch.open && e->map_ticks == 0;
    }
}

static void step_start(struct engine *e, struct step *s)
{
    struct epoch *ep = &e->epoch;

    e->cur_start_ns = e->now;
    if (s->out_bytes > 0 || s->in_bytes > 0) {
        e->cur_start_ns = swap_time(e, s);
        s->waited = true;
    }
    if (e->kv_moves) {
        wait_for_kv(e, s);
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

/* How many further steps would be planned exactly like the last one. */
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

/* ---- idle, or stuck ---- */

static void samples_until(struct engine *e, sim_ns t)
{
    while (e->next_sample_ns <= t) {
        e->cfg.obs.sample(e->cfg.obs.o, e->next_sample_ns);
        e->next_sample_ns += e->cfg.obs.tick_ns;
    }
}

/* When an idle engine looks at the arrival that it has been handed. */
static sim_ns waking_ns(const struct engine *e)
{
    sim_ns t = e->next_visible_ns;
    sim_ns poll = e->cfg.traits.idle_poll_ns;

    if (poll > 0 && t > e->now) {
        t = e->now + (t - e->now + poll - 1) / poll * poll;
    }
    return t;
}

static void wait_for_arrival(struct engine *e)
{
    sim_ns t = waking_ns(e);

    if (e->next_sample_ns < t) {
        samples_until(e, t - 1);
    }
    e->now = t;
    e->epoch.open = false;
}

/* Nothing under way and nothing planned although somebody waits or runs: say who is to blame. */
static int stuck(struct engine *e)
{
    req_id r = eng_pick(e);
    const char *why;

    if (pins_break_one(e)) {
        return e->err->code; /* the next try finds more room */
    }
    if (e->n_running > 0) {
        return engine_fail(e, SIM_E_CHECK,
                           "no progress at %.6f s: batcher %s made an empty step with %u running, %u "
                           "waiting and %llu of %llu KV blocks free",
                           (double)e->now / 1e9, e->cfg.batcher_name, e->n_running, e->n_waiting,
                           (unsigned long long)kv_free(e->kv), (unsigned long long)kv_total(e->kv));
    }
    if (e->n_swapped > 0) {
        return engine_fail(e, SIM_E_CHECK,
                           "no progress at %.6f s: batcher %s leaves %u requests swapped out in front "
                           "of an empty GPU",
                           (double)e->now / 1e9, e->cfg.batcher_name, e->n_swapped);
    }
    if (r == REQ_NONE) {
        if (e->have_arrival) {
            wait_for_arrival(e);
            return 0;
        }
        if (e->cfg.fed && !e->arrivals_ended) {
            e->asleep = true;
            return 0;
        }
        return engine_fail(e, SIM_E_CHECK,
                           "no progress at %.6f s: policy %s names nobody to run although %u requests "
                           "wait and nothing runs",
                           (double)e->now / 1e9, e->cfg.policy_name, e->n_waiting);
    }
    why = hopeless(e, r);
    if (why || kv_blocks_for(e->kv, (uint64_t)live_of(e, r)->context_tok + 1) > kv_total(e->kv)) {
        eng_refuse(e, r, why ? why : "it does not fit the KV pool");
        return 0;
    }
    return engine_fail(e, SIM_E_CHECK,
                       "no progress at %.6f s: batcher %s does not admit request %llu (%u tokens) to an "
                       "empty engine with %llu KV blocks free",
                       (double)e->now / 1e9, e->cfg.batcher_name,
                       (unsigned long long)e->reqs[r].serial, live_of(e, r)->context_tok,
                       (unsigned long long)kv_free(e->kv));
}

/* ---- invariants (--check) ---- */

int engine_verify(const struct engine *e, struct err *err)
{
    uint64_t gone = e->n.finished + e->n.rejected + e->n.refused;
    uint64_t sum = 0, sq = 0;
    uint32_t n = 0;

    for (req_id r = e->view.running_head; r != REQ_NONE; r = e->reqs[r].q_next) {
        const struct live *l = live_of(e, r);
        uint64_t base = l->state == LIVE_DECODE ? l->base : 0;

        sum += base;
        sq += base * base;
        n++;
    }
    if (sum != e->base_sum || sq != e->base_sq) {
        return err_set(err, SIM_E_CHECK, "the sums over the contexts of %u decodes are off", e->n_decoding);
    }
    if (e->n_waiting == 0 && e->waiting_tok != 0) {
        return err_set(err, SIM_E_CHECK, "nobody waits, but %llu tokens of theirs are counted",
                       (unsigned long long)e->waiting_tok);
    }
    if (n != e->n_running) {
        return err_set(err, SIM_E_CHECK, "%u requests in the running list, %u counted", n, e->n_running);
    }
    if (e->n.arrived != gone + e->n_running + e->n_waiting + e->n_swapped) {
        return err_set(err, SIM_E_CHECK,
                       "requests lost at %.9f s: %llu arrived, %llu left, %u running, %u waiting, %u "
                       "swapped",
                       (double)e->now / 1e9, (unsigned long long)e->n.arrived,
                       (unsigned long long)gone, e->n_running, e->n_waiting, e->n_swapped);
    }
    if (e->cfg.policy->waiting && e->cfg.policy->waiting(e->cfg.policy_state) != e->n_waiting) {
        return err_set(err, SIM_E_CHECK, "policy %s holds %u waiting requests, the engine %u",
                       e->cfg.policy_name, e->cfg.policy->waiting(e->cfg.policy_state), e->n_waiting);
    }
    if (e->n_heap != e->n_decoding) {
        return err_set(err, SIM_E_CHECK, "%u decoding requests, %u with an end", e->n_decoding,
                       e->n_heap);
    }
    if ((e->swap && swap_check(e, err) < 0) || (e->pins && pins_check(e, err) < 0)) {
        return err->code;
    }
    return kv_check(e->kv, err);
}

/* ---- the loop ---- */

static bool all_done(const struct engine *e)
{
    return e->arrivals_ended && e->n_running == 0 && e->n_waiting == 0 && e->n_swapped == 0;
}

static void samples_before(struct engine *e, sim_ns t)
{
    if (e->next_sample_ns < t) {
        samples_until(e, t - 1);
    }
}

/* Nothing to compute, but copies are under way: to the end of the next one, or to an arrival before it. */
static bool wait_for_copies(struct engine *e)
{
    sim_ns t = swap_next(e);

    if (t == SIM_NEVER) {
        return false;
    }
    if (e->cfg.fed) { /* an arrival may yet come before */
        e->asleep = true;
        return true;
    }
    t = e->next_visible_ns < t ? e->next_visible_ns : t;
    t = t > e->now ? t : e->now;
    samples_before(e, t);
    e->now = t;
    e->epoch.open = false;
    return true;
}

/* What else an engine without work wakes up for: the end of a copy that somebody waits for, the end of a
 * pin. */
static sim_ns alarm_ns(const struct engine *e)
{
    sim_ns t = e->n_running > 0 || e->n_waiting > 0 ? swap_next(e) : SIM_NEVER;

    t = pins_next(e) < t ? pins_next(e) : t;
    return t > e->now ? t : e->now;
}

static int idle(struct engine *e)
{
    if (e->swap && (swap_begin(e) < 0 || swap_settle(e))) {
        return e->err->code;
    }
    if (e->acted || e->preempted_now) {
        return 0; /* somebody was refused or pushed out: the next try finds another world */
    }
    if ((e->n_running > 0 || e->n_waiting > 0) && wait_for_copies(e)) {
        return 0;
    }
    if (e->n_running == 0 && e->n_waiting == 0 && e->n_swapped == 0) {
        if (!e->have_arrival && fetch_arrival(e) < 0) {
            return e->err->code;
        }
        if (e->cfg.fed && !e->have_arrival) {
            e->asleep = true;
            return 0;
        }
        if (!e->have_arrival && !e->arrivals_ended) {
            return engine_fail(e, SIM_E_CHECK, "no progress at %.6f s: the workload waits for a request "
                               "to leave, but none is there", (double)e->now / 1e9);
        }
        if (pins_next(e) < e->next_visible_ns) {
            samples_before(e, alarm_ns(e));
            e->now = alarm_ns(e);
            e->epoch.open = false;
        } else if (e->have_arrival) {
            wait_for_arrival(e);
        }
        return 0;
    }
    return stuck(e);
}

/* A boundary: arrivals are seen, a step is planned and started; steps that end before `until` and in
 * which nothing changes are jumped over. Afterwards a step is under way, or the engine waits. */
static int boundary_open(struct engine *e, sim_ns until)
{
    uint64_t j;

    e->view.now_ns = e->now;
    if (e->kv_moves && ((e->swap && swap_poll(e) < 0) || (e->pins && pins_expire(e) < 0))) {
        return e->err->code;
    }
    if (drain_arrivals(e) < 0) {
        return e->err->code;
    }
    if (e->next->live) {
        struct step *s = e->cur;

        e->cur = e->next;
        e->next = s;
    } else if (step_plan(e, e->cur) < 0) {
        return e->err->code;
    }
    if (!e->cur->live) {
        return all_done(e) ? 0 : idle(e);
    }
    e->n.walked++;
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
    samples_until(e, e->now); /* who waits now was not let in */
    j = e->cfg.skip ? skippable(e, until) : 0;
    e->under_way = true;
    return j > 0 ? jump(e, j) : 0;
}

/* The step under way ends. */
static int boundary_close(struct engine *e)
{
    sim_ns before = e->now;

    e->under_way = false;
    e->now = e->cur_end_ns;
    if (e->now < before) {
        return engine_fail(e, SIM_E_CHECK, "the clock ran backwards at %.9f s", (double)before / 1e9);
    }
    if (step_complete(e, e->cur) < 0 || e->err->code) {
        return e->err->code;
    }
    return e->cfg.check ? engine_verify(e, e->err) : 0;
}

int engine_run(struct engine *e, struct err *err)
{
    if (engine_begin(e, err) < 0) {
        return err->code;
    }
    while (!all_done(e)) {
        if (boundary_open(e, SIM_NEVER) < 0 || (e->under_way && boundary_close(e) < 0)) {
            return err->code;
        }
        if ((++e->poll_count & 4095) == 0 && e->cfg.poll && e->cfg.poll(e->cfg.arrivals_ctx)) {
            return err_set(err, SIM_E_INTR, "interrupted at %.3f s of simulated time",
                           (double)e->now / 1e9);
        }
    }
    return 0;
}

/* ---- one event at a time ---- */

int engine_begin(struct engine *e, struct err *err)
{
    e->err = err;
    return fetch_arrival(e);
}

int engine_look(struct engine *e)
{
    return e->have_arrival || e->arrivals_ended ? 0 : fetch_arrival(e);
}

sim_ns engine_next_ns(const struct engine *e, enum engine_event *ret)
{
    *ret = e->under_way ? ENGINE_STEP_ENDS : ENGINE_BOUNDARY;
    if (e->under_way) {
        return e->cur_end_ns;
    }
    if (!e->asleep) {
        return all_done(e) ? SIM_NEVER : e->now;
    }
    sim_ns copied = alarm_ns(e);

    if (e->have_arrival) {
        return copied < waking_ns(e) ? copied : waking_ns(e);
    }
    return copied < SIM_NEVER ? copied : e->n_waiting > 0 && e->arrivals_ended ? e->now : SIM_NEVER;
}

int engine_advance(struct engine *e, sim_ns until)
{
    if (e->under_way) {
        return boundary_close(e);
    }
    if (e->asleep && alarm_ns(e) < (e->have_arrival ? waking_ns(e) : SIM_NEVER)) {
        e->now = alarm_ns(e);
        e->epoch.open = false;
    } else if (e->asleep && e->have_arrival) {
        wait_for_arrival(e);
    }
    e->asleep = false;
    return boundary_open(e, until);
}
