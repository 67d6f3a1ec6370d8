/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe (arXiv 2504.20068), the paper's form as third-party notes give it. Every `frame` decode
 * iterations each live request gets a priority, the goodput it can still bring per second of generation:
 *   goodput: 1 per prompt token and 8 per output token (the artifact's weights);
 *     with a deadline: prompt and predicted output, if the predicted end is in time, else 0;
 *     with TTFT and TPOT: prompt if the first token is in time, and each output token that will be on the
 *     cumulative line; without any: `best_effort` more per frame waited, so that it does not starve;
 *   generation: predicted upper bound of what is left times the time of an iteration, measured.
 * GMAX then selects a batch (gmax.h). Selected requests run first, then the others by priority. A running
 * request that was not selected is pushed out for a selected one if the goodput gained exceeds that of the
 * tokens which the switch delays. A request that never ran, waited for `wait_limit` and cannot bring
 * goodput any more is given up.
 * Stand-ins: compound tasks are not known here; the quantile predictor's spread; the time of a switch. */
#include <math.h>
#include <stdlib.h>

#include "policies/gmax.h"
#include "policies/goodput.h"
#include "policies/ordered.h"
#include "policies/predict/predict.h"

#define SCALE      1024.0 /* priorities are integers of 1/1024 goodput per second */
#define MOST       0x1p60
#define UNSELECTED ((int64_t)1 << 61)

struct jitserve {
    struct ordered o;
    const char *predictor_spec;
    int64_t frame_iter, batch, displaced_max;
    double cutoff, unit0_s, wait_limit_s, best_effort, switch_s;
    struct predictor predictor;
    double unit_s; /* time of an iteration */
    uint64_t frame_from_iter;
    sim_ns frame_from_ns;
    bool begun, was_idle; /* no pause lies within the frame, or one does */
    uint32_t displaced;   /* in this frame */
    struct jit_slot {
        int64_t priority;
        double goodput;
        bool selected, hopeless;
    } * slots;
    struct gmax_item *items; /* after a frame has begun: what it looked at */
    uint32_t slots_cap, items_cap, n_items, n_looked_through;
};

#define ROW(n, t, field, lo, hi, d, u, h)                                                          \
    {.name = n, .type = t, .offset = offsetof(struct jitserve, field), .min = lo, .max = hi,       \
     .def = d, .unit = u, .help = h}
static const struct opt_row jitserve_options[] = {
    PREDICTOR_ROW(struct jitserve, predictor_spec, "quantile"),
    ROW("frame", OPT_INT, frame_iter, 1, 1e6, "50", "1", "decode iterations per frame"),
    ROW("batch", OPT_INT, batch, 1, 1e6, "64", "1", "requests that GMAX selects (max_num_seqs)"),
    ROW("cutoff", OPT_DOUBLE, cutoff, 0, 1, "0.95", "1", "share of the batch-th priority that is near"),
    ROW("iteration_time", OPT_DOUBLE, unit0_s, 1e-6, 10, "0.02", "s", "until it has been measured"),
    ROW("wait_limit", OPT_DOUBLE, wait_limit_s, 0, 1e6, "5", "s", "wait before a hopeless one goes"),
    ROW("best_effort", OPT_DOUBLE, best_effort, 0, 1e6, "1", "1", "goodput added per frame waited"),
    ROW("switch_time", OPT_DOUBLE, switch_s, 0, 1, "5us", "s", "stall per context token pushed out"),
    ROW("displaced", OPT_INT, displaced_max, 0, 1e6, "3", "1", "most requests pushed out per frame"),
    OPT_END,
};
#undef ROW

/* Smaller runs first. */
static int64_t jitserve_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    const struct jit_slot *s = &((const struct jitserve *)st)->slots[r];
    return (s->selected ? 0 : UNSELECTED) - s->priority;
}

static int jitserve_init(void *st, struct policy_env *env, struct err *e)
{
    struct jitserve *j = st;
    j->o = (struct ordered){.env = env, .key = jitserve_key};
    j->unit_s = j->unit0_s;
    return predictor_open(&j->predictor, j->predictor_spec, env, "jitserve", e);
}

static void jitserve_release(void *st)
{
    struct jitserve *j = st;
    ordered_release(&j->o);
    predictor_release(&j->predictor);
    free(j->slots);
    free(j->items);
    j->slots = NULL;
    j->items = NULL;
    j->slots_cap = j->items_cap = 0;
}

static double worth(const struct jitserve *j, const struct sched_view *v, const struct req *q,
                    uint32_t out, double last)
{
    double now_s = (double)v->now_ns * 1e-9;
    if (slo_next_ns(q, 0) == SIM_NEVER) {
        double frame_s = j->unit_s * (double)j->frame_iter;
        return j->best_effort * (1 + (now_s - (double)q->arrival_ns * 1e-9) / frame_s);
    }
    return goodput_left(q, out, last, now_s, j->unit_s);
}

static void prioritise(struct jitserve *j, const struct sched_view *v, req_id r)
{
    const struct req *q = &v->reqs[r];
    struct jit_slot *s = &j->slots[r];
    uint32_t out = req_generated(v, q);
    double last = predictor_predict(&j->predictor, v, r, out);
    s->goodput = worth(j, v, q, out, last);
    double p = s->goodput / ((last - out) * j->unit_s) * SCALE;
    s->priority = llround(p < MOST ? p : MOST);
    s->hopeless = s->goodput <= 0 && q->first_token_ns == SIM_NEVER;
}

static void add_item(struct jitserve *j, const struct sched_view *v, req_id r)
{
    prioritise(j, v, r);
    j->items[j->n_items++] = (struct gmax_item){.priority = j->slots[r].priority,
                                          .length = v->reqs[r].prompt_tok,
                                          .serial = v->reqs[r].serial,
                                          .id = r};
}

static void measure(struct jitserve *j, const struct sched_view *v)
{
    uint64_t iter = v->decode_iter - j->frame_from_iter;
    if (j->begun && !j->was_idle && iter > 0) {
        j->unit_s = (double)(v->now_ns - j->frame_from_ns) * 1e-9 / (double)iter;
    }
    j->begun = true;
    j->was_idle = false;
    j->frame_from_iter = v->decode_iter;
    j->frame_from_ns = v->now_ns;
}

static uint64_t frame_left(const struct jitserve *j, const struct sched_view *v)
{
    uint64_t end = j->frame_from_iter + (uint64_t)j->frame_iter;
    return j->begun && end > v->decode_iter ? end - v->decode_iter : 0;
}

static void frame(struct jitserve *j, const struct sched_view *v)
{
    if (frame_left(j, v) > 0) {
        return;
    }
    measure(j, v);
    j->displaced = j->n_items = j->n_looked_through = 0;
    for (uint32_t i = 0; i < j->o.heap.n; i++) {
        add_item(j, v, j->o.heap.items[i].r);
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        add_item(j, v, r);
    }
    gmax_select(j->items, j->n_items, (uint32_t)j->batch, j->cutoff);
    for (uint32_t i = 0; i < j->n_items; i++) {
        j->slots[j->items[i].id].selected = j->items[i].selected;
    }
    ordered_rekey(&j->o, v);
}

static const char *jitserve_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct jitserve *j = st;
    void *slots = j->slots, *items = j->items;
    bool ok = table_reach(&slots, &j->slots_cap, sizeof *j->slots, r) &&
              table_reach(&items, &j->items_cap, sizeof *j->items, r) &&
              predictor_reach(&j->predictor, r);
    j->slots = slots;
    j->items = items;
    if (!ok) {
        return policy_no_memory;
    }
    j->was_idle |= v->n_running == 0;
    j->slots[r].selected = false;
    prioritise(j, v, r);
    return ordered_arrive(st, v, r);
}

static req_id jitserve_next(void *st, const struct sched_view *v)
{
    frame(st, v);
    return ordered_next(st, v);
}

/* Judged once per frame, by what was known when it began. */
static bool goes(const struct jitserve *j, const struct sched_view *v, const struct gmax_item *it)
{
    const struct req *q = &v->reqs[it->id];
    double waited_s = (double)(j->frame_from_ns - q->arrival_ns) * 1e-9;
    return req_heap_has(&j->o.heap, it->id) && q->serial == it->serial &&
           j->slots[it->id].hopeless && waited_s >= j->wait_limit_s;
}

static req_id jitserve_give_up(void *st, const struct sched_view *v)
{
    struct jitserve *j = st;
    frame(j, v);
    while (j->n_looked_through < j->n_items && !goes(j, v, &j->items[j->n_looked_through])) {
        j->n_looked_through++;
    }
    return j->n_looked_through < j->n_items ? j->items[j->n_looked_through].id : REQ_NONE;
}

/* The least worthy of the running that were not selected, if it is worth the switch: all others stall
 * for as long as its context takes to go. */
static req_id jitserve_displace(void *st, const struct sched_view *v, req_id waiting)
{
    struct jitserve *j = st;
    req_id worst = REQ_NONE;
    frame(j, v);
    if (!j->slots[waiting].selected || j->displaced >= (uint64_t)j->displaced_max) {
        return REQ_NONE;
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        bool lower = worst == REQ_NONE || j->slots[r].priority < j->slots[worst].priority;
        worst = !j->slots[r].selected && lower ? r : worst;
    }
    if (worst == REQ_NONE || j->slots[worst].priority >= j->slots[waiting].priority) {
        return REQ_NONE;
    }
    double stall_s = j->switch_s * (double)v->reqs[worst].prompt_tok;
    double rate = GOODPUT_OUT * v->n_running / j->unit_s;
    return j->slots[waiting].goodput - j->slots[worst].goodput > stall_s * rate ? worst : REQ_NONE;
}

static void jitserve_preempt(void *st, const struct sched_view *v, req_id r)
{
    ((struct jitserve *)st)->displaced++;
    ordered_preempt(st, v, r);
}

static void jitserve_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct jitserve *)st)->predictor, v, r);
}

static uint64_t jitserve_horizon(void *st, const struct sched_view *v)
{
    uint64_t left = frame_left(st, v);
    return left > 0 ? left : 1;
}

static size_t jitserve_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct jitserve *)st)->predictor, ret, max);
}

const struct policy_ops policy_jitserve = {
    .name = "jitserve",
    .summary = "margin goodput: frames, grouped selection, preemption at a price, hopeless ones go",
    .source = "JITServe, arXiv 2504.20068, GMAX as notes on the paper give it",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct jitserve),
    .options = jitserve_options,
    .init = jitserve_init,
    .release = jitserve_release,
    .arrive = jitserve_arrive,
    .next = jitserve_next,
    .admit = ordered_admit,
    .finish = jitserve_finish,
    .preempt = jitserve_preempt,
    .drop = ordered_drop,
    .displace = jitserve_displace,
    .give_up = jitserve_give_up,
    .horizon = jitserve_horizon,
    .stats = jitserve_stats,
    .waiting = ordered_waiting,
};
