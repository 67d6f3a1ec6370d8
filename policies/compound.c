/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/compound.h"

#include <math.h>
#include <stdlib.h>

bool compound_init(struct compound *c, const struct compound *settings, uint32_t patterns)
{
    *c = *settings;
    return pattern_store_init(&c->known, patterns);
}

void compound_release(struct compound *c)
{
    for (uint32_t i = 0; i < c->number.n && i < c->cap; i++) {
        pattern_release(&c->at[i].seen);
    }
    pattern_store_release(&c->known);
    u64_map_release(&c->number);
    free(c->at);
    free(c->calls);
    *c = (struct compound){0};
}

bool compound_reach(struct compound *c, req_id r)
{
    void *calls = c->calls;
    bool ok = table_reach(&calls, &c->calls_cap, sizeof *c->calls, r);
    c->calls = calls;
    return ok;
}

/* ---- programs without a call under way ---- */

static void idle_remove(struct compound *c, struct compound_program *p)
{
    *(p->idle_prev ? &c->at[p->idle_prev - 1].idle_next : &c->idle_first) = p->idle_next;
    *(p->idle_next ? &c->at[p->idle_next - 1].idle_prev : &c->idle_last) = p->idle_prev;
}

static void idle_append(struct compound *c, uint32_t i, sim_ns now)
{
    struct compound_program *p = &c->at[i];
    p->idle_ns = now;
    p->idle_prev = c->idle_last;
    p->idle_next = 0;
    *(c->idle_last ? &c->at[c->idle_last - 1].idle_next : &c->idle_first) = i + 1;
    c->idle_last = i + 1;
}

static void learn(struct compound *c, sim_ns now)
{
    while (c->idle_first && c->at[c->idle_first - 1].idle_ns + c->ended_after <= now) {
        struct compound_program *p = &c->at[c->idle_first - 1];
        idle_remove(c, p);
        pattern_store_add(&c->known, &p->seen);
    }
}

/* ---- calls ---- */

/* Index of the program of `q`, a new one if need be; UINT32_MAX = no memory. */
static uint32_t program_of(struct compound *c, const struct req *q)
{
    uint32_t *number = u64_map_add(&c->number, q->session);
    void *at = c->at;
    if (!number) {
        return UINT32_MAX;
    }
    uint32_t i = *number ? *number - 1 : c->number.n - 1;
    bool ok = table_reach(&at, &c->cap, sizeof *c->at, i);
    c->at = at;
    *number = ok ? i + 1 : 0;
    return ok ? i : UINT32_MAX;
}

/* Artifact: of the matched and the default share the larger one for deep research, a chain of calls. */
static double share_of(const struct compound *c, const struct pattern *seen)
{
    uint32_t stage = seen->n_stages - 1, match = PATTERN_NONE;
    double by_default = pattern_default_share(seen, stage);
    if (c->stages == COMPOUND_ONLINE) {
        match = pattern_store_match(&c->known, seen, c->spread_tok);
    }
    if (match == PATTERN_NONE) {
        return by_default;
    }
    double matched = pattern_share(&c->known.at[match], stage);
    bool chain = seen->n_nodes == seen->n_stages;
    return chain ? fmax(matched, by_default) : matched;
}

bool compound_arrive(struct compound *c, const struct req *q, req_id r, sim_ns now)
{
    learn(c, now);
    uint32_t i = program_of(c, q);
    if (i == UINT32_MAX) {
        return false;
    }
    struct compound_program *p = &c->at[i];
    if (p->live == 0 && p->seen.n_stages > 0) {
        idle_remove(c, p);
    }
    if ((p->seen.n_stages == 0 || q->turn > p->turn) && !pattern_add_stage(&p->seen)) {
        return false;
    }
    if (!pattern_add_node(&p->seen, q->prompt_tok)) {
        return false;
    }
    p->turn = q->turn;
    p->live++;
    p->share = c->stages == COMPOUND_OFF ? 1 : share_of(c, &p->seen);
    c->calls[r] = (struct compound_call){i, p->seen.n_stages - 1, p->seen.n_nodes - 1};
    return true;
}

void compound_admit(struct compound *c, req_id r, sim_ns now)
{
    const struct compound_call *call = &c->calls[r];
    struct pattern_stage *s = &c->at[call->program].seen.stages[call->stage];
    s->from_ns = s->from_ns < 0 ? now : s->from_ns;
}

void compound_leave(struct compound *c, req_id r, uint32_t output, sim_ns now)
{
    const struct compound_call *call = &c->calls[r];
    struct compound_program *p = &c->at[call->program];
    struct pattern_stage *s = &p->seen.stages[call->stage];
    p->seen.nodes[call->node].out_tok = output;
    if (c->cost == COMPOUND_OUTPUT) {
        s->cost = fmax(s->cost, output);
    } else if (s->from_ns >= 0) {
        s->cost = (double)(now - s->from_ns) * 1e-9;
    }
    if (--p->live == 0) {
        idle_append(c, call->program, now);
    }
}

sim_ns compound_due_ns(const struct compound *c, const struct req *q, req_id r)
{
    double share = c->at[c->calls[r].program].share;
    return q->began_ns + (sim_ns)((double)slo_ns(q->e2e_slo_ms) * share);
}
