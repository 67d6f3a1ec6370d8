/* SPDX-License-Identifier: Apache-2.0
 *
 * From what a batcher has asked for to a step: who decodes, who ends, the shape that costs are made of. As in
 * real engines the state moves when a step is planned, not when it ends. */
#include <string.h>

#include "sim/engine/engine.h"

/* ---- the decoding set ---- */

int decodes_join(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    l->state = LIVE_DECODE;
    l->join_index = e->planned;
    l->base = e->planned - l->context_tok;
    l->finish_index = e->planned + (l->output_tok - l->planned_tok);
    kv_join(e->kv, &l->kv, l->base);
    e->n_decoding++;
    e->base_sum += l->base;
    e->base_sq += l->base * l->base;
    e->version++;
    return finish_heap_add(e, r);
}

void decodes_leave(struct engine *e, req_id r)
{
    uint64_t base = live_of(e, r)->base;

    e->n_decoding--;
    e->base_sum -= base;
    e->base_sq -= base * base;
    e->version++;
}

/* Who was left out of a decode step stays where it is: its base and its end move by one. */
static int stall(struct engine *e, struct step *s, req_id r)
{
    struct live *l = live_of(e, r);

    kv_stall(e->kv, &l->kv, l->base);
    e->base_sq += 2 * l->base + 1;
    l->base++;
    l->join_index++;
    l->finish_index++;
    e->base_sum++;
    finish_heap_later(e, r);
    if (!grow_array((void **)&s->stalled, &s->cap_stalled, s->n_stalled + 1, sizeof(req_id))) {
        return engine_fail(e, SIM_E_NOMEM, "out of memory");
    }
    s->stalled[s->n_stalled++] = r;
    e->version++;
    return 0;
}

static int seal_one_by_one(struct engine *e, struct step *s)
{
    for (req_id r = e->view.running_head; r != REQ_NONE; r = e->reqs[r].q_next) {
        struct live *l = live_of(e, r);

        if (l->state == LIVE_DECODE && !l->served && stall(e, s, r) < 0) {
            return SIM_E_NOMEM;
        }
        l->served = false;
    }
    return 0;
}

static int seal_decode(struct engine *e, struct step *s)
{
    uint64_t stalled_ctx = 0, stalled_sq = 0;

    s->index = ++e->planned;
    if (e->one_by_one && seal_one_by_one(e, s) < 0) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < s->n_stalled; i++) {
        uint64_t ctx = e->planned - live_of(e, s->stalled[i])->base;

        stalled_ctx += ctx;
        stalled_sq += ctx * ctx;
    }
    s->version = e->version;
    s->shape.n_decode = e->n_decoding - s->n_stalled;
    s->shape.kv_resident_tok = e->n_decoding * e->planned - e->base_sum;
    s->shape.decode_ctx_tok = s->shape.kv_resident_tok - stalled_ctx;
    /* Sum of (planned - base)^2, every term modulo 2^64; the sum itself is far below it. */
    s->shape.decode_ctx_sq = e->n_decoding * e->planned * e->planned -
                             2 * e->planned * e->base_sum + e->base_sq - stalled_sq;
    while (e->n_heap > 0 && live_of(e, e->heap[0])->finish_index == e->planned) {
        req_id r = e->heap[0];
        struct live *l = live_of(e, r);

        if (!grow_array((void **)&s->ending, &s->cap_ending, s->n_ending + 1, sizeof(req_id))) {
            return engine_fail(e, SIM_E_NOMEM, "out of memory");
        }
        s->ending[s->n_ending++] = r;
        l->planned_tok = l->output_tok;
        l->context_tok = (uint32_t)(e->planned - l->base);
        kv_leave(e->kv, &l->kv, l->base, e->planned);
        decodes_leave(e, r);
        finish_heap_remove(e, r);
        l->state = LIVE_ENDING;
    }
    return 0;
}

static int seal_chunks(struct engine *e, struct step *s)
{
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        struct chunk *c = &s->chunks[i];
        struct live *l = live_of(e, c->r);
        uint64_t n = c->n_tok;

        s->shape.n_prefill++;
        s->shape.prefill_ctx_tok += c->start_tok + n;
        s->shape.prefill_pairs += n * c->start_tok + n * (n + 1) / 2;
        s->shape.prefill_sq += n * n;
        s->shape.kv_resident_tok += c->start_tok + n;
        if (!c->last) {
            continue;
        }
        s->shape.prefill_done++;
        prefilling_remove(e, c->r);
        l->planned_tok = l->context_tok - e->reqs[c->r].prompt_tok + 1;
        c->ends = l->planned_tok >= l->output_tok;
        if (c->ends) {
            l->state = LIVE_ENDING;
        } else if (decodes_join(e, c->r) < 0) {
            return SIM_E_NOMEM;
        }
    }
    return 0;
}

static void step_clear(struct step *s)
{
    memset(&s->shape, 0, sizeof(s->shape));
    s->live = false;
    s->decode = false;
    s->n_chunk = 0;
    s->n_ending = 0;
    s->n_stalled = 0;
    s->out_bytes = 0;
    s->in_bytes = 0;
    s->out_copies = 0;
    s->in_copies = 0;
    s->waited = false;
}

/* Requests that the policy gives up leave before anything is planned. */
static void give_up(struct engine *e)
{
    while (e->cfg.policy->give_up && e->n_waiting > 0) {
        req_id r = e->cfg.policy->give_up(e->cfg.policy_state, &e->view);

        if (r == REQ_NONE) {
            return;
        }
        eng_refuse(e, r, "given up by the policy: it cannot be served in time");
    }
}

int step_plan(struct engine *e, struct step *s)
{
    step_clear(s);
    e->building = s;
    e->preempted_now = false;
    e->one_by_one = false;
    e->n_served = 0;
    e->acted = false;
    give_up(e);
    if (e->pins) {
        pins_make_room(e);
    }
    s->again = e->cfg.batcher->plan(e->cfg.batcher_state, e);
    if (e->err->code) {
        return e->err->code;
    }
    s->live = s->decode || s->n_chunk > 0;
    s->shape.n_resident = e->n_running;
    if (s->decode && seal_decode(e, s) < 0) {
        return SIM_E_NOMEM;
    }
    if (seal_chunks(e, s) < 0) {
        return SIM_E_NOMEM;
    }
    e->building = NULL;
    if (e->acted || e->preempted_now || s->again == 0) {
        s->again = 1;
    }
    return 0;
}
