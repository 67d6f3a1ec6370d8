/* SPDX-License-Identifier: Apache-2.0
 *
 * What batchers may do while a step is built (policies/batcher.h), and what that means for the scheduler's
 * state. */

#include "sim/engine/engine.h"

uint32_t eng_plan_prefill_tok(const struct engine *e)
{
    return (uint32_t)e->building->shape.prefill_tok;
}

uint32_t eng_plan_chunks(const struct engine *e)
{
    return e->building->n_chunk;
}

bool eng_plan_empty(const struct engine *e)
{
    return !e->building->decode && e->building->n_chunk == 0;
}

bool eng_plan_decodes(const struct engine *e)
{
    return e->building->decode;
}

bool eng_preempted_now(const struct engine *e)
{
    return e->preempted_now;
}

uint32_t eng_left_tok(const struct engine *e, req_id r)
{
    const struct live *l = live_of(e, r);

    return l->state == LIVE_PREFILL ? l->context_tok - e->reqs[r].computed_tok : 0;
}

static bool chunk_add(struct engine *e, req_id r, uint32_t n_tok)
{
    struct step *s = e->building;
    struct req *q = &e->reqs[r];
    struct chunk *c;

    if (!grow_array((void **)&s->chunks, &s->cap_chunk, s->n_chunk + 1, sizeof(*s->chunks))) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for %u prefill chunks", s->n_chunk);
        return false;
    }
    c = &s->chunks[s->n_chunk++];
    *c = (struct chunk){.r = r, .serial = q->serial, .admit_no = live_of(e, r)->admit_no,
                        .start_tok = q->computed_tok, .n_tok = n_tok};
    q->computed_tok += n_tok;
    c->last = q->computed_tok == live_of(e, r)->context_tok;
    s->shape.prefill_tok += n_tok;
    return true;
}

/* Blocks for `hold` tokens, of which the first `upto` will be computed; *gpu_tok of them are there already. */
static int take_blocks(struct engine *e, req_id r, uint32_t hit_tok, uint64_t hold, uint64_t upto,
                       uint32_t *gpu_tok)
{
    struct live *l = live_of(e, r);
    struct pin *pin = e->pins ? pins_of(e, r) : NULL;
    uint32_t hit_blk;

    if (pin) {
        *gpu_tok = hit_tok;
        pins_adopt(e, r, pin);
        return e->kv->no_memory ? SIM_E_NOMEM : kv_extend(e->kv, &l->kv, hold, upto);
    }
    hit_blk = request_hit_blocks(e, r);
    *gpu_tok = hit_blk * kv_block_tok(e->kv);
    return kv_take(e->kv, &l->kv, hit_blk, hold, hit_tok > *gpu_tok ? *gpu_tok : upto);
}

bool eng_admit(struct engine *e, req_id r, uint32_t n_tok, uint32_t reserve_tok)
{
    struct live *l = live_of(e, r);
    struct req *q = &e->reqs[r];
    uint32_t hit_tok = eng_hit(e, r), gpu_tok;
    bool later = false, first = l->admit_ns == SIM_NEVER;
    uint64_t upto = (uint64_t)hit_tok + n_tok;
    uint64_t hold = upto;

    if (n_tok == 0 || upto > l->context_tok || l->state != LIVE_WAITING) {
        engine_fail(e, SIM_E_CHECK,
                    "batcher %s admits request %llu with %u tokens of %u at %u found in the cache",
                    e->cfg.batcher_name, (unsigned long long)q->serial, n_tok, l->context_tok,
                    hit_tok);
        return false;
    }
    if (reserve_tok) {
        /* A reservation is for the whole life, so it can never be too small. */
        uint64_t life = (uint64_t)q->prompt_tok + l->output_tok;

        hold = reserve_tok > life ? reserve_tok : life;
    }
    if (eng_kv_need(e, r, (uint32_t)hold) > kv_free(e->kv)) {
        return false;
    }
    if (take_blocks(e, r, hit_tok, hold, upto, &gpu_tok) < 0 ||
        (e->swap && swap_load(e, r, gpu_tok, hit_tok, &later) < 0)) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for block tables");
        return false;
    }
    if (e->pins && first) {
        pins_admitted(e, r, hit_tok > 0);
    }
    l->kv.fixed = reserve_tok != 0;
    e->n.lookup_tok += l->context_tok;
    e->n.hit_tok += gpu_tok;
    if (l->admit_ns == SIM_NEVER) {
        l->admit_ns = e->now;
        l->hit_tok = hit_tok;
    }
    if (e->cfg.policy->admit) {
        e->cfg.policy->admit(e->cfg.policy_state, &e->view, r, hit_tok);
    }
    q->state = REQ_PREFILLING;
    q->computed_tok = hit_tok;
    l->state = later ? LIVE_LOADING : LIVE_PREFILL;
    e->n_waiting--;
    e->waiting_tok -= l->context_tok;
    e->view.n_waiting = e->n_waiting;
    running_append(e, r);
    e->view.n_running = e->n_running;
    if (later) {
        e->acted = true; /* its chunk comes when its KV is here */
        return true;
    }
    prefilling_append(e, r);
    return chunk_add(e, r, n_tok);
}

bool eng_chunk(struct engine *e, req_id r, uint32_t n_tok)
{
    struct live *l = live_of(e, r);
    uint64_t upto = (uint64_t)e->reqs[r].computed_tok + n_tok;

    if (n_tok == 0 || upto > l->context_tok || l->state != LIVE_PREFILL) {
        engine_fail(e, SIM_E_CHECK, "batcher %s gives request %llu a chunk of %u tokens of %u left",
                    e->cfg.batcher_name, (unsigned long long)e->reqs[r].serial, n_tok,
                    l->context_tok - e->reqs[r].computed_tok);
        return false;
    }
    while (kv_blocks_for(e->kv, upto) > l->kv.n_blk + kv_free(e->kv)) {
        if (!pins_break_one(e)) {
            return false;
        }
    }
    if (kv_extend(e->kv, &l->kv, upto, upto) < 0) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for block tables");
        return false;
    }
    return chunk_add(e, r, n_tok);
}

bool eng_decode_all(struct engine *e)
{
    struct step *s = e->building;

    if (e->n_decoding == 0 || s->decode) {
        return true;
    }
    if (eng_decode_need(e) > kv_free(e->kv)) {
        return false;
    }
    if (kv_step(e->kv, e->planned + 1, 1) < 0) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for block tables");
        return false;
    }
    s->decode = true;
    return true;
}

bool eng_decode_one(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    if (l->state != LIVE_DECODE || l->served) {
        return true;
    }
    if (!kv_step_one(e->kv, &l->kv, l->base, e->planned + 1)) {
        return false;
    }
    l->served = true;
    e->n_served++;
    e->one_by_one = true;
    return true;
}

void eng_decode_close(struct engine *e)
{
    if (e->n_served > 0) {
        e->building->decode = true;
    }
}

/* Take back what the step being built had for r. */
static void chunks_take_back(struct engine *e, req_id r)
{
    struct step *s = e->building;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->n_chunk; i++) {
        if (s->chunks[i].r == r) {
            s->shape.prefill_tok -= s->chunks[i].n_tok;
        } else {
            s->chunks[kept++] = s->chunks[i];
        }
    }
    s->n_chunk = kept;
}

/* Decode index up to which r holds slots: one more when this very step has given it one. */
static uint64_t held_index(const struct engine *e, const struct live *l)
{
    bool now = l->served || (e->building && e->building->decode && !e->one_by_one);

    return e->planned + (now ? 1 : 0);
}

/* Out of the running, whatever it was doing; the blocks are still its own. Returns tokens of KV that
 * exist. */
static uint64_t running_leave(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);
    uint64_t content;

    if (l->state == LIVE_PREFILL) {
        chunks_take_back(e, r);
        prefilling_remove(e, r);
        content = e->reqs[r].computed_tok;
    } else {
        uint64_t at = held_index(e, l);

        content = e->planned - l->base;
        l->planned_tok = eng_planned_output(e, r);
        kv_leave(e->kv, &l->kv, l->base, at);
        decodes_leave(e, r);
        finish_heap_remove(e, r);
        if (l->served) {
            l->served = false;
            e->n_served--;
        }
    }
    if (l->first_done) {
        l->last_token_ns = request_last_token(e, r);
        gaps_forget(e, r);
        gaps_owe(e, r);
    }
    l->first_done = false;
    running_remove(e, r);
    e->view.n_running = e->n_running;
    return content;
}

/* Tokens once out are never lost, so a run in which tokens come out comes to its end. Requests that only
 * push each other out would go on for ever. */
#define FRUITLESS_MAX 1000000

static void pushed_out(struct engine *e)
{
    e->preempted_now = true;
    if (++e->fruitless == FRUITLESS_MAX) {
        engine_fail(e, SIM_E_CHECK,
                    "no progress at %.6f s: batcher %s and policy %s pushed out %d requests without a "
                    "token in between; %u run, %u wait, %llu of %llu KV blocks are free",
                    (double)e->now / 1e9, e->cfg.batcher_name, e->cfg.policy_name, FRUITLESS_MAX,
                    e->n_running, e->n_waiting, (unsigned long long)kv_free(e->kv),
                    (unsigned long long)kv_total(e->kv));
    }
}

void eng_preempt(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);
    struct req *q = &e->reqs[r];
    uint64_t content;

    if (l->state != LIVE_PREFILL && l->state != LIVE_DECODE) {
        return;
    }
    content = running_leave(e, r);
    if (e->swap && swap_keep(e, r, content) < 0) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for KV outside of the GPU");
    }
    kv_give(e->kv, &l->kv, content);
    pushed_out(e);
    e->n.preemptions++;
    l->preemptions++;
    l->context_tok = q->prompt_tok + l->planned_tok;
    l->state = LIVE_WAITING;
    q->generated_tok = l->planned_tok;
    q->computed_tok = 0;
    q->state = REQ_WAITING;
    q->was_preempted = true;
    e->n_waiting++;
    e->waiting_tok += l->context_tok;
    e->view.n_waiting = e->n_waiting;
    if (e->cfg.obs.pause) {
        e->cfg.obs.pause(e->cfg.obs.o, r);
    }
    if (e->cfg.policy->preempt) {
        e->cfg.policy->preempt(e->cfg.policy_state, &e->view, r);
    }
    if (kv_blocks_for(e->kv, (uint64_t)l->context_tok + 1) > kv_total(e->kv)) {
        eng_refuse(e, r, "its context outgrew the KV pool");
    }
}

bool eng_swap_out(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);
    uint64_t blk;
    double bytes;

    if (l->state != LIVE_DECODE || !e->cfg.way || e->cfg.traits.async_depth2 || e->swap) {
        return false;
    }
    blk = kv_blocks_for(e->kv, e->planned - l->base);
    bytes = (double)blk * e->cfg.kv_block_bytes;
    if (!pool_take(&e->host, bytes)) {
        return false;
    }
    running_leave(e, r);
    kv_give(e->kv, &l->kv, 0);
    e->building->out_bytes += bytes;
    e->building->out_copies += (uint32_t)blk * e->cfg.copies_per_block;
    pushed_out(e);
    e->n.swaps_out++;
    l->preemptions++;
    l->state = LIVE_SWAPPED;
    e->reqs[r].state = REQ_SWAPPED;
    e->reqs[r].generated_tok = l->planned_tok;
    swapped_append(e, r);
    if (e->cfg.obs.pause) {
        e->cfg.obs.pause(e->cfg.obs.o, r);
    }
    if (e->cfg.policy->pause) {
        e->cfg.policy->pause(e->cfg.policy_state, &e->view, r);
    }
    return true;
}

bool eng_swap_in(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);
    struct req *q = &e->reqs[r];
    uint64_t held = (uint64_t)q->prompt_tok + l->planned_tok - 1;
    uint64_t upto = held + (e->building->decode ? 1 : 0);
    double bytes = (double)kv_blocks_for(e->kv, held) * e->cfg.kv_block_bytes;

    if (l->state != LIVE_SWAPPED || kv_blocks_for(e->kv, upto) > kv_free(e->kv)) {
        return false;
    }
    if (kv_take(e->kv, &l->kv, 0, upto, 0) < 0 || pool_give(&e->host, bytes, e->err) < 0) {
        engine_fail(e, SIM_E_NOMEM, "out of memory for block tables");
        return false;
    }
    e->building->in_bytes += bytes;
    e->building->in_copies += (uint32_t)kv_blocks_for(e->kv, held) * e->cfg.copies_per_block;
    e->n.swaps_in++;
    swapped_remove(e, r);
    running_append(e, r);
    e->view.n_running = e->n_running;
    l->context_tok = (uint32_t)held;
    l->first_done = true;
    l->lagging = true;
    if (!grow_array((void **)&e->lagging, &e->cap_lagging, e->n_lagging + 1, sizeof(req_id))) {
        engine_fail(e, SIM_E_NOMEM, "out of memory");
        return false;
    }
    e->lagging[e->n_lagging++] = r;
    q->state = REQ_DECODING;
    q->join_iter = e->view.decode_iter;
    if (e->cfg.obs.resume) {
        e->cfg.obs.resume(e->cfg.obs.o, r);
    }
    if (e->cfg.policy->resume) {
        e->cfg.policy->resume(e->cfg.policy_state, &e->view, r);
    }
    return decodes_join(e, r) == 0;
}

req_id eng_victim(struct engine *e)
{
    req_id r = REQ_NONE;

    if (e->cfg.policy->victim) {
        r = e->cfg.policy->victim(e->cfg.policy_state, &e->view);
    }
    if (r == REQ_NONE || (live_of(e, r)->state != LIVE_PREFILL && live_of(e, r)->state != LIVE_DECODE)) {
        r = e->view.running_tail;
        while (r != REQ_NONE && live_of(e, r)->state != LIVE_PREFILL && live_of(e, r)->state != LIVE_DECODE) {
            r = e->reqs[r].q_prev;
        }
    }
    return r;
}

void eng_refuse(struct engine *e, req_id r, const char *why)
{
    if (live_of(e, r)->state != LIVE_WAITING) {
        return;
    }
    if (e->cfg.policy->drop) {
        e->cfg.policy->drop(e->cfg.policy_state, &e->view, r);
    }
    e->n_waiting--;
    e->waiting_tok -= live_of(e, r)->context_tok;
    e->view.n_waiting = e->n_waiting;
    e->acted = true;
    request_leave(e, r, false, why);
}
