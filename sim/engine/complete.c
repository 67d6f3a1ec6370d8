/* SPDX-License-Identifier: Apache-2.0
 *
 * What the end of a step brings: tokens, gaps between tokens, first tokens, finishes. */
#include <string.h>

#include "sim/engine/engine.h"

/* ---- gaps between tokens ----
 * Requests are not visited one by one: all that got a token at the last decode step form one group,
 * those that joined since form small groups of their own, and the few that were left out of a step or
 * swapped ("lagging") keep their own time. */

sim_ns request_last_token(const struct engine *e, req_id r)
{
    const struct live *l = live_of(e, r);

    if (l->lagging || e->reqs[r].join_iter == e->view.decode_iter) {
        return l->last_token_ns;
    }
    return e->main_last_ns;
}

static void lagging_remove(struct engine *e, req_id r)
{
    for (uint32_t i = 0; i < e->n_lagging; i++) {
        if (e->lagging[i] == r) {
            e->lagging[i] = e->lagging[--e->n_lagging];
            return;
        }
    }
}

void gaps_forget(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    if (l->lagging) {
        l->lagging = false;
        lagging_remove(e, r);
        return;
    }
    if (e->reqs[r].join_iter != e->view.decode_iter) {
        e->main_n--;
        return;
    }
    for (uint32_t i = 0; i < e->n_fresh; i++) {
        if (e->fresh[i].at_ns == l->last_token_ns && e->fresh[i].n > 0) {
            e->fresh[i].n--;
            return;
        }
    }
}

/* Asynchronous steps: `r` is pushed out while the step under way computes a token for it. */
int gaps_owe(struct engine *e, req_id r)
{
    const struct step *s = e->cur;
    const struct live *l = live_of(e, r);

    if (e->building == s || !s->live || !s->decode || l->join_index >= s->index) {
        return 0;
    }
    for (uint32_t i = 0; i < s->n_stalled; i++) {
        if (s->stalled[i] == r) {
            return 0;
        }
    }
    if (!grow_array((void **)&e->owed, &e->cap_owed, e->n_owed + 1, sizeof(*e->owed))) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory");
    }
    e->owed[e->n_owed++] = (struct owed_token){.r = r, .serial = e->reqs[r].serial};
    return 0;
}

static int gaps_fresh(struct engine *e)
{
    if (e->n_fresh > 0 && e->fresh[e->n_fresh - 1].at_ns == e->now) {
        e->fresh[e->n_fresh - 1].n++;
        return 0;
    }
    if (!grow_array((void **)&e->fresh, &e->cap_fresh, e->n_fresh + 1, sizeof(*e->fresh))) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory");
    }
    e->fresh[e->n_fresh++] = (struct token_group){.at_ns = e->now, .n = 1};
    return 0;
}

static void gap(struct engine *e, sim_ns ns, uint64_t n)
{
    if (n > 0 && e->cfg.obs.gap) {
        e->cfg.obs.gap(e->cfg.obs.o, ns, n);
    }
}

static int gaps_stall(struct engine *e, const struct step *s)
{
    for (uint32_t i = 0; i < s->n_stalled; i++) {
        struct live *l = live_of(e, s->stalled[i]);

        if ((l->state != LIVE_DECODE && l->state != LIVE_ENDING) || !l->first_done) {
            continue; /* pushed out meanwhile */
        }
        l->served = true; /* borrowed here as "left out of this very step" */
        if (l->lagging) {
            continue;
        }
        l->last_token_ns = request_last_token(e, s->stalled[i]);
        gaps_forget(e, s->stalled[i]);
        l->lagging = true;
        if (!grow_array((void **)&e->lagging, &e->cap_lagging, e->n_lagging + 1, sizeof(req_id))) {
            return engine_fail(e, SIM_E_NOMEM, "out of memory");
        }
        e->lagging[e->n_lagging++] = s->stalled[i];
    }
    return 0;
}

static void gaps_lagging(struct engine *e)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < e->n_lagging; i++) {
        struct live *l = live_of(e, e->lagging[i]);

        if (l->served) {
            l->served = false;
            e->lagging[kept++] = e->lagging[i];
            continue;
        }
        gap(e, e->now - l->last_token_ns, 1);
        l->lagging = false;
        e->main_n++;
    }
    e->n_lagging = kept;
}

static void tell_token(struct engine *e, req_id r)
{
    if (e->cfg.obs.token) {
        e->cfg.obs.token(e->cfg.obs.o, &e->reqs[r], r);
    }
}

static void gaps_owed(struct engine *e)
{
    for (uint32_t i = 0; i < e->n_owed; i++) {
        struct live *l = live_of(e, e->owed[i].r);

        if (e->reqs[e->owed[i].r].serial == e->owed[i].serial &&
            e->reqs[e->owed[i].r].state != REQ_FREE) {
            gap(e, e->now - l->last_token_ns, 1);
            l->last_token_ns = e->now;
            tell_token(e, e->owed[i].r);
        }
    }
    e->n_owed = 0;
}

/* Every served request has a new token at e->now. */
static int gaps_decode(struct engine *e, const struct step *s)
{
    if (s->n_stalled > 0 && gaps_stall(e, s) < 0) {
        return SIM_E_NOMEM;
    }
    if (e->main_n > 0) {
        if (e->cur_ticks > 0 && e->main_last_ns == e->cur_start_ns && e->cfg.obs.gaps) {
            e->cfg.obs.gaps(e->cfg.obs.o, e->cur_ticks, 0, 1, e->main_n);
        } else {
            gap(e, e->now - e->main_last_ns, e->main_n);
        }
    }
    for (uint32_t i = 0; i < e->n_fresh; i++) {
        gap(e, e->now - e->fresh[i].at_ns, e->fresh[i].n);
        e->main_n += e->fresh[i].n;
    }
    e->n_fresh = 0;
    if (e->n_lagging > 0) {
        gaps_lagging(e);
    }
    if (e->n_owed > 0) {
        gaps_owed(e);
    }
    e->main_last_ns = e->now;
    return 0;
}

/* ---- tokens ---- */

static void decode_tokens(struct engine *e, uint64_t n_decode, uint64_t k, const struct token_beats *b)
{
    if (e->cfg.obs.beats) {
        e->cfg.obs.beats(e->cfg.obs.o, b);
    }
    if (e->cfg.policy->decode) {
        e->cfg.policy->decode(e->cfg.policy_state, &e->view, k);
    }
    e->done += k;
    e->fruitless = 0;
    e->view.decode_iter = e->done - DECODE_ORIGIN;
    e->n.decode_tok += n_decode * k;
    e->n.decode_steps += k;
}

static int first_token(struct engine *e, const struct chunk *c)
{
    struct req *q = &e->reqs[c->r];
    struct live *l = live_of(e, c->r);
    bool first_ever = q->first_token_ns == SIM_NEVER;

    if (q->serial != c->serial || q->state == REQ_FREE) {
        return 0;
    }
    if (first_ever) {
        q->first_token_ns = e->now;
        if (e->cfg.obs.first_token) {
            e->cfg.obs.first_token(e->cfg.obs.o, q, l);
        }
    } else {
        gap(e, e->now - l->last_token_ns, 1);
    }
    l->last_token_ns = e->now;
    e->fruitless = 0;
    tell_token(e, c->r);
    if (l->admit_no != c->admit_no || (l->state != LIVE_DECODE && l->state != LIVE_ENDING)) {
        return 0; /* pushed out while this step was under way */
    }
    q->state = REQ_DECODING;
    q->generated_tok = l->context_tok - q->prompt_tok + 1;
    q->join_iter = e->view.decode_iter;
    l->first_done = true;
    if (e->cfg.obs.resume) {
        e->cfg.obs.resume(e->cfg.obs.o, c->r);
    }
    if (e->cfg.policy->first_token) {
        e->cfg.policy->first_token(e->cfg.policy_state, &e->view, c->r);
    }
    return c->ends ? 0 : gaps_fresh(e);
}

int request_leave(struct engine *e, req_id r, bool rejected, const char *why)
{
    struct req *q = &e->reqs[r];
    struct live *l = live_of(e, r);
    int rc = 0;

    if (!why) {
        e->n.finished++;
    } else if (rejected) {
        e->n.rejected++;
    } else {
        e->n.refused++;
    }
    if (e->cfg.obs.left) {
        rc = e->cfg.obs.left(e->cfg.obs.o, q, l, rejected, why, e->err);
    }
    if (e->cfg.left) {
        e->cfg.left(e->cfg.arrivals_ctx, q, why ? 0 : l->output_tok, e->now,
                    e->have_arrival ? &e->next_arrival : NULL);
        if (e->have_arrival) {
            e->next_visible_ns = arrival_visible(e);
        }
    }
    if (e->pins && why) {
        pins_forget(e, r);
    }
    if (e->swap && why) {
        swap_forget(e, r);
    }
    slot_give(e, r);
    return rc;
}

/* Its KV goes, unless its program's next turn or a place outside of the GPU wants it. It will not come
 * again; what others can share has its hash. */
static int release_blocks(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    if (e->pins && pins_finish(e, r, l->context_tok)) {
        if (e->swap) {
            swap_pinned(e, r);
        }
        return e->err->code;
    }
    if (e->swap && swap_finish(e, r, l->context_tok) < 0) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory for KV outside of the GPU");
    }
    kv_give(e->kv, &l->kv, 0);
    return 0;
}

static int finish(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    e->reqs[r].generated_tok = l->output_tok;
    e->reqs[r].join_iter = e->view.decode_iter;
    if (release_blocks(e, r) < 0) {
        return e->err->code;
    }
    running_remove(e, r);
    e->view.n_running = e->n_running;
    if (e->cfg.policy->finish) {
        e->cfg.policy->finish(e->cfg.policy_state, &e->view, r);
    }
    return request_leave(e, r, false, NULL);
}

static bool somebody_ends(const struct step *s)
{
    if (s->n_ending > 0) {
        return true;
    }
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        if (s->chunks[i].ends) {
            return true;
        }
    }
    return false;
}

typedef void policy_call(void *st, const struct sched_view *v, req_id r);

static void tell_stalled(struct engine *e, const struct step *s, void (*call)(void *o, req_id r))
{
    for (uint32_t i = 0; call && i < s->n_stalled; i++) {
        if (e->reqs[s->stalled[i]].state == REQ_DECODING) {
            call(e->cfg.obs.o, s->stalled[i]);
        }
    }
}

static void for_stalled(struct engine *e, const struct step *s, policy_call *call)
{
    for (uint32_t i = 0; call && i < s->n_stalled; i++) {
        if (e->reqs[s->stalled[i]].state == REQ_DECODING) {
            call(e->cfg.policy_state, &e->view, s->stalled[i]);
        }
    }
}

/* Tokens of a decode step that left some requests out: for the policy they pause meanwhile. */
static void decode_tokens_but_stalled(struct engine *e, const struct step *s)
{
    const struct token_beats b = {.began_ns = e->cur_start_ns, .first_tick = e->cur_ticks,
                                  .epoch_ns = e->now, .n = 1};

    for_stalled(e, s, e->cfg.policy->pause);
    tell_stalled(e, s, e->cfg.obs.pause);
    for (uint32_t i = 0; i < s->n_stalled; i++) {
        if (e->reqs[s->stalled[i]].state == REQ_DECODING) {
            e->reqs[s->stalled[i]].join_iter++;
        }
    }
    decode_tokens(e, s->shape.n_decode, 1, &b);
    for_stalled(e, s, e->cfg.policy->resume);
    tell_stalled(e, s, e->cfg.obs.resume);
}

int step_complete(struct engine *e, struct step *s)
{
    e->n.steps++;
    e->n.busy_ns += e->cur_end_ns - e->cur_start_ns;
    e->view.now_ns = e->now;
    if (e->swap) {
        swap_note_step(e, e->cur_end_ns);
    }
    if (s->decode) {
        if (gaps_decode(e, s) < 0) {
            return SIM_E_NOMEM;
        }
        decode_tokens_but_stalled(e, s);
    }
    if (s->n_chunk > 0) {
        e->n.prefill_steps++;
        e->n.prefill_tok += s->shape.prefill_tok;
    }
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        if (s->chunks[i].last && first_token(e, &s->chunks[i]) < 0) {
            return e->err->code;
        }
    }
    if (e->cfg.policy->finishing && somebody_ends(s)) {
        e->cfg.policy->finishing(e->cfg.policy_state, &e->view);
    }
    e->main_n -= s->n_ending;
    for (uint32_t i = 0; i < s->n_ending; i++) {
        if (finish(e, s->ending[i]) < 0) {
            return e->err->code;
        }
    }
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        if (s->chunks[i].ends && finish(e, s->chunks[i].r) < 0) {
            return e->err->code;
        }
    }
    s->live = false;
    return 0;
}

void steps_complete(struct engine *e, struct step *s, uint64_t j, sim_ns end_ns)
{
    struct cost_affine *c = &e->epoch.cost;
    const struct token_beats b = {.began_ns = e->cur_start_ns, .first_tick = e->cur_ticks,
                                  .epoch_ns = e->epoch.start_ns, .base = c->base, .slope = c->slope,
                                  .k = e->epoch.k - 1, .n = j};

    e->n.steps += j;
    e->n.busy_ns += end_ns - e->cur_start_ns;
    e->now = e->cur_end_ns;
    e->view.now_ns = e->now;
    gaps_decode(e, s);
    if (j > 1 && e->cfg.obs.gaps) {
        e->cfg.obs.gaps(e->cfg.obs.o, c->base + c->slope * (sim_tick)e->epoch.k, c->slope, j - 1,
                        e->main_n);
    }
    if (e->swap) {
        swap_note_step(e, e->cur_end_ns);
        swap_note_steps(e, c->base + c->slope * (sim_tick)e->epoch.k, c->slope, j - 1);
    }
    e->main_last_ns = end_ns;
    e->now = end_ns;
    e->view.now_ns = end_ns;
    decode_tokens(e, s->shape.n_decode, j, &b);
}
