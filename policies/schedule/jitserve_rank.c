/* SPDX-License-Identifier: Apache-2.0
 *
 * What jitserve thinks of each live request at the beginning of a frame; the rules are in jitserve.c. */
#include "policies/schedule/jitserve.h"

#include <math.h>

#include "policies/goodput.h"

#define SCALE 1024.0 /* priorities are integers of 1/1024 goodput per second */
#define MOST  0x1p60

static double program_worth(const struct jitserve *j, const struct sched_view *v, req_id r, double last,
                            double rem_s)
{
    const struct req *q = &v->reqs[r];
    double ready_s = (double)(v->now_ns - q->began_ns) * 1e-9 + rem_s;
    double due_s = (double)(compound_due_ns(&j->programs, q, r) - q->began_ns) * 1e-9;
    if (ready_s > (double)q->e2e_slo_ms * 1e-3) {
        return 0;
    }
    double rho = ready_s > due_s ? fmax(due_s / ready_s, 1e-6) : 1;
    return (GOODPUT_IN * q->prompt_tok + GOODPUT_OUT * last) * pow(rho, j->penalty);
}

static double worth(const struct jitserve *j, const struct sched_view *v, req_id r, uint32_t out,
                    double last, double rem_s)
{
    const struct req *q = &v->reqs[r];
    double now_s = (double)v->now_ns * 1e-9;
    if (slo_next_ns(q, 0) == SIM_NEVER) {
        double frame_s = j->frame.unit_s * (double)j->frame_iter;
        return j->best_effort * (1 + (now_s - (double)q->arrival_ns * 1e-9) / frame_s);
    }
    return compound_has(q) ? program_worth(j, v, r, last, rem_s)
                           : goodput_left(q, out, last, now_s, j->frame.unit_s);
}

static int64_t order_by_priority(double goodput, double rem_s)
{
    double p = goodput / rem_s * SCALE;
    return llround(p < MOST ? p : MOST);
}

static int64_t order_by_deadline(const struct jitserve *j, const struct req *q, req_id r, uint32_t out)
{
    sim_ns due = compound_has(q) ? compound_due_ns(&j->programs, q, r) : slo_next_ns(q, out);
    return -(due < (sim_ns)MOST ? due : (sim_ns)MOST);
}

void jitserve_prioritise(struct jitserve *j, const struct sched_view *v, req_id r)
{
    const struct req *q = &v->reqs[r];
    struct jit_slot *s = &j->slots[r];
    uint32_t out = req_generated(v, q);
    double last = predictor_predict(&j->predictor, v, r, out);
    s->rem_s = (last - out) * j->frame.unit_s;
    s->goodput = worth(j, v, r, out, last, s->rem_s);
    s->order = j->select == SELECT_DEADLINE ? order_by_deadline(j, q, r, out)
                                            : order_by_priority(s->goodput, s->rem_s);
    s->hopeless = s->goodput <= 0 && q->first_token_ns == SIM_NEVER;
}

static void add_item(struct jitserve *j, const struct sched_view *v, req_id r)
{
    jitserve_prioritise(j, v, r);
    j->items[j->n_items++] = (struct gmax_item){
        .length = v->reqs[r].prompt_tok, .serial = v->reqs[r].serial, .id = r};
}

/* The live calls of a program have one priority between them. */
static void share_priorities(struct jitserve *j, const struct sched_view *v)
{
    for (int pass = 0; pass < 3 && j->select != SELECT_DEADLINE; pass++) {
        for (uint32_t i = 0; i < j->n_items; i++) {
            struct jit_slot *s = &j->slots[j->items[i].id];
            if (!compound_has(&v->reqs[j->items[i].id])) {
                continue;
            }
            struct compound_program *p = compound_of(&j->programs, j->items[i].id);
            if (pass == 0) {
                p->goodput = p->rem_s = 0;
            } else if (pass == 1) {
                p->goodput += s->goodput;
                p->rem_s = fmax(p->rem_s, s->rem_s);
            } else {
                s->order = order_by_priority(p->goodput, p->rem_s);
            }
        }
    }
}

static void select_batch(struct jitserve *j)
{
    for (uint32_t i = 0; i < j->n_items; i++) {
        j->items[i].priority = j->slots[j->items[i].id].order;
    }
    if (j->select == SELECT_GMAX) {
        gmax_select(j->items, j->n_items, (uint32_t)j->batch, j->cutoff);
    } else {
        gmax_select_top(j->items, j->n_items, (uint32_t)j->batch);
    }
    for (uint32_t i = 0; i < j->n_items; i++) {
        j->slots[j->items[i].id].selected = j->items[i].selected;
    }
}

void jitserve_frame(struct jitserve *j, const struct sched_view *v)
{
    if (frame_left(&j->frame, v, j->frame_iter) > 0) {
        return;
    }
    frame_begin(&j->frame, v);
    j->displaced = j->n_items = j->n_looked_through = 0;
    for (uint32_t i = 0; i < j->o.heap.n; i++) {
        add_item(j, v, j->o.heap.items[i].r);
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        add_item(j, v, r);
    }
    share_priorities(j, v);
    select_batch(j);
    ordered_rekey(&j->o, v);
}
