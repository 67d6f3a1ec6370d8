/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock of one replica: step boundaries, idle time, invariants. */
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
    e->mover = (struct flow_client){.ended = copies_ended, .started = copies_began, .ctx = e};
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

/* ---- idle, or stuck ---- */

/* When what it waited for, somewhere on a shared fabric, is there. */
static sim_ns ready_ns(const struct engine *e)
{
    return e->copied_ns > e->now ? e->copied_ns : e->now;
}

static void fall_asleep(struct engine *e)
{
    e->asleep = true;
    e->woken = false;
}

void samples_until(struct engine *e, sim_ns t)
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

/* Somebody runs, or is swapped out, and the batcher does nothing about it. */
static int blame_batcher(struct engine *e)
{
    if (e->n_running > 0) {
        return engine_fail(e, SIM_E_CHECK,
                           "no progress at %.6f s: batcher %s made an empty step with %u running, %u "
                           "waiting and %llu of %llu KV blocks free",
                           (double)e->now / 1e9, e->cfg.batcher_name, e->n_running, e->n_waiting,
                           (unsigned long long)kv_free(e->kv), (unsigned long long)kv_total(e->kv));
    }
    return engine_fail(e, SIM_E_CHECK,
                       "no progress at %.6f s: batcher %s leaves %u requests swapped out in front "
                       "of an empty GPU",
                       (double)e->now / 1e9, e->cfg.batcher_name, e->n_swapped);
}

/* The policy wants to run none of those that wait: an arrival may change its mind. */
static int nobody_named(struct engine *e)
{
    if (e->have_arrival) {
        wait_for_arrival(e);
        return 0;
    }
    if (e->cfg.fed && !e->arrivals_ended) {
        fall_asleep(e);
        return 0;
    }
    return engine_fail(e, SIM_E_CHECK,
                       "no progress at %.6f s: policy %s names nobody to run although %u requests "
                       "wait and nothing runs",
                       (double)e->now / 1e9, e->cfg.policy_name, e->n_waiting);
}

/* The batcher does not admit `r` to an empty engine: it can never run, or the batcher is to blame. */
static int not_admitted(struct engine *e, req_id r)
{
    const char *why = request_hopeless(e, r);

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

/* Nothing under way and nothing planned although somebody waits or runs: say who is to blame. */
static int stuck(struct engine *e)
{
    req_id r = eng_pick(e);

    if (pins_break_one(e)) {
        return e->err->code; /* the next try finds more room */
    }
    if (e->n_running > 0 || e->n_swapped > 0) {
        return blame_batcher(e);
    }
    return r == REQ_NONE ? nobody_named(e) : not_admitted(e, r);
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
        fall_asleep(e);
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

    if (e->cfg.shared) { /* whoever owns the clock delivers it first */
        t = e->asleep && e->woken ? ready_ns(e) : SIM_NEVER;
    }
    t = pins_next(e) < t ? pins_next(e) : t;
    return t > e->now ? t : e->now;
}

/* Copies of steps that nobody is left to wait for go on to their end. */
static bool settle(struct engine *e)
{
    struct step nobody = {0};

    if (!e->cfg.shared) {
        return swap_settle(e);
    }
    if (!swap_unsettled(e)) {
        return false;
    }
    swap_wait_begin(e, &nobody);
    e->starting = true;
    return true;
}

static int idle(struct engine *e)
{
    if (e->swap && (swap_begin(e) < 0 || settle(e))) {
        return e->err->code;
    }
    if (e->acted || e->preempted_now) {
        return 0; /* somebody was refused or pushed out: the next try finds another world */
    }
    if ((e->n_running > 0 || e->n_waiting > 0) && wait_for_copies(e)) {
        return 0;
    }
    if (e->n_running == 0 && e->n_waiting == 0 && e->n_swapped == 0) {
        if (!e->have_arrival && arrivals_fetch(e) < 0) {
            return e->err->code;
        }
        if (e->cfg.fed && !e->have_arrival) {
            fall_asleep(e);
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
    e->view.now_ns = e->now;
    if (e->kv_moves && ((e->swap && swap_poll(e) < 0) || (e->pins && pins_expire(e) < 0))) {
        return e->err->code;
    }
    if (arrivals_due(e) && arrivals_drain(e) < 0) {
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
    e->cur_start_ns = e->now;
    if (e->kv_moves || e->cur->out_bytes > 0 || e->cur->in_bytes > 0) {
        step_wait(e, e->cur);
        if (e->starting || e->err->code) {
            return e->err->code;
        }
    }
    return step_go(e, until);
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
    return arrivals_fetch(e);
}

int engine_look(struct engine *e)
{
    return e->have_arrival || e->arrivals_ended ? 0 : arrivals_fetch(e);
}

sim_ns engine_next_ns(const struct engine *e, enum engine_event *ret)
{
    *ret = e->under_way ? ENGINE_STEP_ENDS : ENGINE_BOUNDARY;
    if (e->under_way) {
        return e->cur_end_ns;
    }
    if (e->starting) {
        bool stuck = fabric_next(e->cfg.way[0].link->fabric) == SIM_NEVER;

        return !swap_must_wait(e) ? ready_ns(e) : stuck ? e->now : SIM_NEVER;
    }
    if (!e->asleep) {
        return all_done(e) ? SIM_NEVER : e->now;
    }
    sim_ns copied = alarm_ns(e);

    if (e->have_arrival) {
        return copied < waking_ns(e) ? copied : waking_ns(e);
    }
    /* Nobody is left to wake it, unless its copies on a shared fabric do: let it say that it is stuck. */
    bool alone = e->n_waiting > 0 && e->arrivals_ended && swap_next(e) == SIM_NEVER;

    return copied < SIM_NEVER ? copied : alone ? e->now : SIM_NEVER;
}

/* What the step, or nobody, waited for is there. */
static int start_at_last(struct engine *e, sim_ns until)
{
    if (swap_must_wait(e)) {
        return engine_fail(e, SIM_E_CHECK, "a step waits for copies of KV that are not under way");
    }
    e->starting = false;
    e->cur_start_ns = ready_ns(e);
    if (e->cur->live) {
        return step_go(e, until);
    }
    e->now = e->cur_start_ns;
    return 0;
}

int engine_advance(struct engine *e, sim_ns until)
{
    if (e->under_way) {
        return boundary_close(e);
    }
    if (e->starting) {
        return start_at_last(e, until);
    }
    if (e->asleep && alarm_ns(e) < (e->have_arrival ? waking_ns(e) : SIM_NEVER)) {
        e->now = alarm_ns(e);
        e->epoch.open = false;
    } else if (e->asleep && e->have_arrival) {
        wait_for_arrival(e);
    }
    e->asleep = e->woken = false;
    return boundary_open(e, until);
}
