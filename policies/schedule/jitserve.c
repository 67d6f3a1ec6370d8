/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe (arXiv 2504.20068), the paper's form as third-party notes give it. Every `frame` decode
 * iterations each live request gets a priority, the goodput it can still bring per second of generation:
 *   goodput: 1 per prompt token and 8 per output token (the artifact's weights);
 *     with a deadline: prompt and predicted output, if the predicted end is in time, else 0;
 *     with TTFT and TPOT: prompt if the first token is in time, and each output token that will be on the
 *     cumulative line;
 *     in a compound program: prompt and predicted output, if the program's deadline can be met, times
 *     rho^penalty (artifact) where the sub-deadline of the call's stage is missed, rho being the time until
 *     the sub-deadline over the time needed;
 *     without any goal: `best_effort` more per frame waited, so that it does not starve;
 *   generation: predicted upper bound of what is left times the time of an iteration, measured. The live
 *     calls of a program share one priority: the sum of their goodputs over the longest generation (artifact).
 * GMAX then selects a batch (gmax.h). Selected requests run first, then the others by priority. A running
 * request that was not selected is pushed out for a selected one if the goodput gained exceeds that of the
 * tokens which the switch delays. A request that never ran, waited for `wait_limit` and cannot bring
 * goodput any more is given up.
 * Ablations: `stages` and `predictor` switch the analyser, `select` GMAX, `displaced=0` preemption.
 * Stand-ins: the quantile predictor's spread; when a program is over; the time of a switch. */
#include "policies/schedule/jitserve.h"

#include <math.h>
#include <stdlib.h>

#include "policies/goodput.h"

#define UNSELECTED ((int64_t)1 << 61) /* above all orders */

static const struct opt_choice select_choices[] = {
    [SELECT_GMAX] = {"gmax", "a batch of similar lengths among those of high priority"},
    [SELECT_PRIORITY] = {"priority", "the highest priorities, whatever their lengths"},
    [SELECT_DEADLINE] = {"deadline", "no priorities: whatever is due first"},
    {NULL, NULL},
};

static const struct opt_choice stages_choices[] = {
    [COMPOUND_OFF] = {"off", "a call is due with its program"},
    [COMPOUND_STATIC] = {"static", "sub-deadlines of four or six equal stages"},
    [COMPOUND_ONLINE] = {"online", "sub-deadlines from the most similar program seen"},
    {NULL, NULL},
};

static const struct opt_choice stage_cost_choices[] = {
    [COMPOUND_TIME] = {"time", "from its first start to its last answer"},
    [COMPOUND_OUTPUT] = {"output", "tokens of its longest answer"},
    {NULL, NULL},
};

#define ROW(n, t, field, lo, hi, d, u, h)                                                          \
    {.name = n, .type = t, .offset = offsetof(struct jitserve, field), .min = lo, .max = hi,       \
     .def = d, .unit = u, .help = h}
static const struct opt_row jitserve_options[] = {
    PREDICTOR_ROW(struct jitserve, predictor_spec, "quantile"),
    ROW("frame", OPT_INT, frame_iter, 1, 1e6, "50", "1", "decode iterations per frame"),
    ROW("batch", OPT_INT, batch, 1, 1e6, "64", "1", "requests that GMAX selects (max_num_seqs)"),
    ROW("cutoff", OPT_DOUBLE, cutoff, 0, 1, "0.95", "1", "share of the batch-th priority that is near"),
    {.name = "select", .type = OPT_CHOICE, .offset = offsetof(struct jitserve, select), .def = "gmax",
     .help = "how the batch of a frame is chosen", .choices = select_choices},
    {.name = "stages", .type = OPT_CHOICE, .offset = offsetof(struct jitserve, stages), .def = "online",
     .help = "where sub-deadlines of compound programs come from", .choices = stages_choices},
    {.name = "stage_cost", .type = OPT_CHOICE, .offset = offsetof(struct jitserve, stage_cost),
     .def = "time", .help = "what a stage's share is a share of", .choices = stage_cost_choices},
    ROW("patterns", OPT_INT, patterns, 1, 100000, "500", "1", "programs remembered"),
    ROW("similar", OPT_DOUBLE, similar_tok, 1e-3, 1e6, "1", "tok", "spread of lengths that are alike"),
    ROW("ended_after", OPT_DOUBLE, ended_s, 0, 1e6, "60", "s", "without a call a program is over"),
    ROW("penalty", OPT_DOUBLE, penalty, 0, 1000, "1", "1", "exponent for a missed sub-deadline"),
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
    return (s->selected ? 0 : UNSELECTED) - s->order;
}

static int jitserve_init(void *st, struct policy_env *env, struct err *e)
{
    struct jitserve *j = st;
    struct compound settings = {.stages = (enum compound_stages)j->stages,
                                .cost = (enum compound_cost)j->stage_cost,
                                .spread_tok = j->similar_tok,
                                .ended_after = llround(j->ended_s * 1e9)};
    j->o = (struct ordered){.env = env, .key = jitserve_key};
    j->frame.unit_s = j->unit0_s;
    if (!compound_init(&j->programs, &settings, (uint32_t)j->patterns)) {
        return err_set(e, SIM_E_NOMEM, "%s", policy_no_memory);
    }
    return predictor_open(&j->predictor, j->predictor_spec, env, "jitserve", e);
}

static void jitserve_release(void *st)
{
    struct jitserve *j = st;
    ordered_release(&j->o);
    predictor_release(&j->predictor);
    compound_release(&j->programs);
    free(j->slots);
    free(j->items);
    j->slots = NULL;
    j->items = NULL;
    j->slots_cap = j->items_cap = 0;
}

static const char *jitserve_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct jitserve *j = st;
    void *slots = j->slots, *items = j->items;
    bool ok = table_reach(&slots, &j->slots_cap, sizeof *j->slots, r) &&
              table_reach(&items, &j->items_cap, sizeof *j->items, r) &&
              predictor_reach(&j->predictor, r) && compound_reach(&j->programs, r);
    j->slots = slots;
    j->items = items;
    if (!ok || (compound_has(&v->reqs[r]) && !compound_arrive(&j->programs, &v->reqs[r], r, v->now_ns))) {
        return policy_no_memory;
    }
    j->frame.was_idle |= v->n_running == 0;
    j->slots[r].selected = false;
    jitserve_prioritise(j, v, r);
    return ordered_arrive(st, v, r);
}

static req_id jitserve_next(void *st, const struct sched_view *v)
{
    jitserve_frame(st, v);
    return ordered_next(st, v);
}

/* Judged once per frame, by what was known when it began. */
static bool goes(const struct jitserve *j, const struct sched_view *v, const struct gmax_item *it)
{
    const struct req *q = &v->reqs[it->id];
    double waited_s = (double)(j->frame.from_ns - q->arrival_ns) * 1e-9;
    return req_heap_has(&j->o.heap, it->id) && q->serial == it->serial &&
           j->slots[it->id].hopeless && waited_s >= j->wait_limit_s;
}

static req_id jitserve_give_up(void *st, const struct sched_view *v)
{
    struct jitserve *j = st;
    jitserve_frame(j, v);
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
    jitserve_frame(j, v);
    if (!j->slots[waiting].selected || j->displaced >= (uint64_t)j->displaced_max) {
        return REQ_NONE;
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        bool lower = worst == REQ_NONE || j->slots[r].order < j->slots[worst].order;
        worst = !j->slots[r].selected && lower ? r : worst;
    }
    if (worst == REQ_NONE || j->slots[worst].order >= j->slots[waiting].order) {
        return REQ_NONE;
    }
    double stall_s = j->switch_s * (double)v->reqs[worst].prompt_tok;
    double rate = GOODPUT_OUT * v->n_running / j->frame.unit_s;
    return j->slots[waiting].goodput - j->slots[worst].goodput > stall_s * rate ? worst : REQ_NONE;
}

static void jitserve_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    if (compound_has(&v->reqs[r])) {
        compound_admit(&((struct jitserve *)st)->programs, r, v->now_ns);
    }
    ordered_admit(st, v, r, cached_tok);
}

static void jitserve_preempt(void *st, const struct sched_view *v, req_id r)
{
    ((struct jitserve *)st)->displaced++;
    ordered_preempt(st, v, r);
}

static void jitserve_finish(void *st, const struct sched_view *v, req_id r)
{
    struct jitserve *j = st;
    predictor_finish(&j->predictor, v, r);
    if (compound_has(&v->reqs[r])) {
        compound_leave(&j->programs, r, req_generated(v, &v->reqs[r]), v->now_ns);
    }
}

static void jitserve_drop(void *st, const struct sched_view *v, req_id r)
{
    if (compound_has(&v->reqs[r])) {
        compound_leave(&((struct jitserve *)st)->programs, r, 0, v->now_ns);
    }
    ordered_drop(st, v, r);
}

static uint64_t jitserve_horizon(void *st, const struct sched_view *v)
{
    const struct jitserve *j = st;
    uint64_t left = frame_left(&j->frame, v, j->frame_iter);
    return left > 0 ? left : 1;
}

static size_t jitserve_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct jitserve *)st)->predictor, ret, max);
}

const struct policy_ops policy_jitserve = {
    .name = "jitserve",
    .summary = "margin goodput: frames, sub-deadlines, grouped selection, preemption at a price, hopeless ones go",
    .source = "JITServe, arXiv 2504.20068, GMAX as notes on the paper give it",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct jitserve),
    .options = jitserve_options,
    .init = jitserve_init,
    .release = jitserve_release,
    .arrive = jitserve_arrive,
    .next = jitserve_next,
    .admit = jitserve_admit,
    .finish = jitserve_finish,
    .preempt = jitserve_preempt,
    .drop = jitserve_drop,
    .displace = jitserve_displace,
    .give_up = jitserve_give_up,
    .horizon = jitserve_horizon,
    .stats = jitserve_stats,
    .waiting = ordered_waiting,
};
