/* SPDX-License-Identifier: Apache-2.0
 *
 * What a batcher may look at (policies/batcher.h) before it acts: requests, KV, what the policy would choose. */
#include <math.h>

#include "sim/engine/engine.h"

/* ---- reading ---- */

const struct sched_view *eng_view(const struct engine *e)
{
    return &e->view;
}

const struct req *eng_req(const struct engine *e, req_id r)
{
    return &e->reqs[r];
}

sim_ns eng_now(const struct engine *e)
{
    return e->now;
}

uint32_t eng_max_output(const struct engine *e, req_id r)
{
    return live_of(e, r)->max_output_tok;
}

uint32_t eng_forecast(const struct engine *e, req_id r)
{
    uint32_t most = eng_max_output(e, r);
    double tok = e->cfg.policy->forecast ? e->cfg.policy->forecast(e->cfg.policy_state, &e->view, r) : most;

    return tok < most ? (uint32_t)ceil(tok) : most;
}

uint32_t eng_planned_output(const struct engine *e, req_id r)
{
    const struct live *l = live_of(e, r);

    return l->planned_tok + (l->state == LIVE_DECODE ? (uint32_t)(e->planned - l->join_index) : 0);
}

uint32_t eng_context(const struct engine *e, req_id r)
{
    return e->reqs[r].prompt_tok + eng_planned_output(e, r);
}

uint32_t eng_n_running(const struct engine *e)
{
    return e->n_running;
}

uint32_t eng_n_decoding(const struct engine *e)
{
    return e->n_decoding;
}

uint32_t eng_n_prefilling(const struct engine *e)
{
    return e->n_prefilling;
}

uint32_t eng_n_waiting(const struct engine *e)
{
    return e->n_waiting;
}

uint32_t eng_n_swapped(const struct engine *e)
{
    return e->n_swapped;
}

req_id eng_first_running(const struct engine *e)
{
    return e->view.running_head;
}

req_id eng_next_running(const struct engine *e, req_id r)
{
    return e->reqs[r].q_next;
}

req_id eng_last_running(const struct engine *e)
{
    return e->view.running_tail;
}

req_id eng_first_prefilling(const struct engine *e)
{
    return e->prefill_head;
}

req_id eng_next_prefilling(const struct engine *e, req_id r)
{
    return live_of(e, r)->prefill_next;
}

req_id eng_first_swapped(const struct engine *e)
{
    return e->swapped_head;
}

bool eng_is_decoding(const struct engine *e, req_id r)
{
    return live_of(e, r)->state == LIVE_DECODE;
}

/* ---- KV ---- */

uint32_t eng_block_tok(const struct engine *e)
{
    return kv_block_tok(e->kv);
}

uint64_t eng_kv_free(const struct engine *e)
{
    return kv_free(e->kv);
}

uint64_t eng_kv_total(const struct engine *e)
{
    return kv_total(e->kv);
}

uint32_t request_hit_blocks(struct engine *e, req_id r)
{
    struct live *l = live_of(e, r);

    if (l->hit_version != kv_version(e->kv) + 1) {
        l->hit_blk = kv_lookup(e->kv, &l->kv, l->context_tok);
        l->hit_version = kv_version(e->kv) + 1;
    }
    return l->hit_blk;
}

uint32_t eng_kept(const struct engine *e, req_id r)
{
    return swap_tok(e, r);
}

/* Tokens of waiting r that its program's pin holds for it. */
static uint32_t pinned_tok(const struct engine *e, req_id r)
{
    const struct pin *p = pins_of(e, r);
    uint32_t most = live_of(e, r)->context_tok - 1;

    return !p ? 0 : p->tok < most ? p->tok : most;
}

/* In the pin, in the cache (`gpu` tokens) or outside: where there is most. */
static uint32_t found_anywhere(const struct engine *e, req_id r, uint32_t gpu)
{
    uint32_t pinned = e->pins ? pinned_tok(e, r) : 0, outside = pinned ? 0 : swap_tok(e, r);

    return pinned ? pinned : outside > gpu ? outside : gpu;
}

uint32_t eng_hit(struct engine *e, req_id r)
{
    uint32_t gpu = request_hit_blocks(e, r) * kv_block_tok(e->kv);

    return e->kv_moves ? found_anywhere(e, r, gpu) : gpu;
}

uint64_t eng_kv_need(struct engine *e, req_id r, uint32_t upto_tok)
{
    uint64_t all = kv_blocks_for(e->kv, upto_tok);
    const struct pin *pin = e->pins ? pins_of(e, r) : NULL;
    uint32_t hit;

    if (pin) {
        return all > pin->kv.n_blk ? all - pin->kv.n_blk : 0;
    }
    hit = request_hit_blocks(e, r);
    if (all < hit) {
        all = hit;
    }
    return all - hit + (hit ? kv_idle_hits(e->kv, &live_of(e, r)->kv, hit) : 0);
}

uint64_t eng_decode_need(const struct engine *e)
{
    return kv_step_need(e->kv, e->planned + 1);
}

/* ---- waiting requests ---- */

req_id eng_pick(struct engine *e)
{
    return e->n_waiting ? e->cfg.policy->next(e->cfg.policy_state, &e->view) : REQ_NONE;
}

bool eng_pick_blocked(struct engine *e, req_id r)
{
    return e->cfg.policy->blocked && e->cfg.policy->blocked(e->cfg.policy_state, &e->view, r);
}

bool eng_displaces(const struct engine *e)
{
    return e->cfg.policy->displace != NULL;
}

req_id eng_displace(struct engine *e, req_id waiting)
{
    req_id r = REQ_NONE;

    if (e->cfg.policy->displace) {
        r = e->cfg.policy->displace(e->cfg.policy_state, &e->view, waiting);
    }
    if (r != REQ_NONE && live_of(e, r)->state != LIVE_PREFILL && live_of(e, r)->state != LIVE_DECODE) {
        return REQ_NONE; /* its last token is on its way */
    }
    return r;
}
