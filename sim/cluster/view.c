/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cluster/view.h"

static bool is_older(const struct engine *e, req_id a, req_id b)
{
    return b == REQ_NONE || e->reqs[a].serial < e->reqs[b].serial;
}

/* Prompt (or context) of the one that has been there longest of those that wait. */
static uint64_t head_tok(const struct replica *r)
{
    const struct engine *e = r->engine;
    req_id head = REQ_NONE;

    for (req_id i = 0; e->n_waiting > 0 && i < e->n_slots; i++) {
        if (e->reqs[i].state == REQ_WAITING && is_older(e, i, head)) {
            head = i;
        }
    }
    if (head != REQ_NONE) {
        return live_of(e, head)->context_tok;
    }
    return e->have_arrival ? e->next_arrival.prompt_tok : r->first ? r->first->a.prompt_tok : 0;
}

static void show(const struct cluster *c, uint32_t i)
{
    const struct replica *r = &c->replica[i];
    const struct engine *e = r->engine;
    uint32_t block = kv_block_tok(e->kv);

    c->seen[i] = (struct route_replica){
        .n_waiting = e->n_waiting + (uint32_t)(r->sent - e->n.arrived),
        .n_running = e->n_running + e->n_swapped,
        .sent = r->sent,
        .kv_total_tok = kv_total(e->kv) * block,
        .kv_used_tok = (kv_total(e->kv) - kv_free(e->kv)) * block,
        .waiting_tok = e->waiting_tok + r->unopened_tok + (e->have_arrival ? e->next_arrival.prompt_tok : 0),
        .prompt_tok = r->prompt_tok,
        .head_tok = c->cfg.router.ops->needs & ROUTE_HEAD ? head_tok(r) : 0,
    };
}

void view_glance(struct cluster *c)
{
    if (c->now < c->next_glance_ns) {
        return;
    }
    for (uint32_t i = 0; i < c->n; i++) {
        show(c, i);
    }
    c->next_glance_ns = c->now + c->cfg.glance_ns;
}

void view_note_sent(struct cluster *c, uint32_t replica, uint32_t prompt_tok)
{
    struct route_replica *x = &c->seen[replica];

    x->head_tok = x->n_waiting == 0 ? prompt_tok : x->head_tok;
    x->n_waiting++;
    x->sent++;
    x->waiting_tok += prompt_tok;
    x->prompt_tok += prompt_tok;
}
