/* SPDX-License-Identifier: Apache-2.0
 *
 * SLOs-Serve, as far as its rules are known: the dynamic programme that JITServe's artifact runs for it as a
 * baseline (slo_plan.h). Of the waiting requests whose first tokens are due next, those are promised that bring
 * the most prompt and output tokens while every prompt is through by its deadline; they run first, in order of
 * their deadlines. The others follow by deadline, as best effort; behind them, by arrival, requests that are
 * late or have no deadline. Thought over every `frame` decode iterations and when somebody came.
 * Not from there: the first token of a request that has only an end-to-end deadline is due when its
 * predicted output would just end in time; the window; memory is not planned; running requests keep their
 * place, and the batch's token budget is a setting, since a policy does not see its batcher's. */
#include <math.h>
#include <stdlib.h>

#include "policies/frame.h"
#include "policies/ordered.h"
#include "policies/predict/predict.h"
#include "policies/slo.h"
#include "policies/slo_plan.h"

#define GROUP ((int64_t)1 << 60) /* keys of promised, of further and of late ones; times are below */

struct slos_serve {
    struct ordered o;
    const char *predictor_spec;
    int64_t frame_iter, token_budget, window;
    double default_step_s;
    struct predictor predictor;
    struct frame frame;
    struct req_heap due; /* waiting requests that are not late, by deadline of their first token */
    bool came;           /* somebody with a deadline arrived since it was thought over */
    req_id given[SLO_PLAN_MOST]; /* promised by the last plan */
    uint32_t n_given;
    struct slos_slot {
        sim_ns due_ns, step_ns; /* SIM_NEVER = no deadline; promised time between tokens, 0 = none */
        double value;
        bool promised;
    } * slots;
    uint32_t slots_cap;
    struct slo_planner planner;
};

#define ROW(n, t, field, lo, hi, d, u, h)                                                          \
    {.name = n, .type = t, .offset = offsetof(struct slos_serve, field), .min = lo, .max = hi,     \
     .def = d, .unit = u, .help = h}
static const struct opt_row slos_serve_options[] = {
    PREDICTOR_ROW(struct slos_serve, predictor_spec, "noisy"),
    ROW("token_budget", OPT_INT, token_budget, 1, 1e6, "512", "tok", "of a batch, as the batcher has it"),
    ROW("window", OPT_INT, window, 1, SLO_PLAN_MOST, "32", "1", "requests planned at once"),
    ROW("frame", OPT_INT, frame_iter, 1, 1e6, "20", "1", "decode iterations between two plans"),
    ROW("token_time", OPT_DOUBLE, default_step_s, 1e-6, 10, "0.1", "s",
        "time between tokens where no request has a goal"),
    OPT_END,
};
#undef ROW

static int64_t slos_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct slos_slot *s = &((const struct slos_serve *)st)->slots[r];
    if (s->promised) {
        return s->due_ns < GROUP ? s->due_ns : GROUP - 1;
    }
    if (req_heap_has(&((const struct slos_serve *)st)->due, r)) {
        return GROUP + (s->due_ns < GROUP ? s->due_ns : GROUP - 1);
    }
    return 2 * GROUP + (v->reqs[r].arrival_ns < GROUP ? v->reqs[r].arrival_ns : GROUP - 1);
}

static int slos_init(void *st, struct policy_env *env, struct err *e)
{
    struct slos_serve *s = st;
    s->o = (struct ordered){.env = env, .key = slos_key};
    return predictor_open(&s->predictor, s->predictor_spec, env, "slos-serve", e);
}

static void slos_release(void *st)
{
    struct slos_serve *s = st;
    ordered_release(&s->o);
    predictor_release(&s->predictor);
    req_heap_release(&s->due);
    free(s->slots);
    s->slots = NULL;
    s->slots_cap = 0;
}

/* ---- requests ---- */

static void describe(struct slos_serve *s, const struct sched_view *v, req_id r)
{
    const struct req *q = &v->reqs[r];
    struct slos_slot *slot = &s->slots[r];
    double output = predictor_predict(&s->predictor, v, r, 0);
    double step_s = q->tpot_slo_ms > 0 ? (double)q->tpot_slo_ms * 1e-3 : s->default_step_s;
    sim_ns end = slo_end_ns(q), decode_ns = llround(fmin(output * step_s, 1e8) * 1e9);
    slot->step_ns = slo_ns(q->tpot_slo_ms);
    slot->due_ns = q->ttft_slo_ms > 0 ? slo_token_ns(q, 0) : end == SIM_NEVER ? SIM_NEVER : end - decode_ns;
    slot->value = q->prompt_tok + output;
    slot->promised = false;
}

/* In time, so far. */
static void push_due(struct slos_serve *s, const struct sched_view *v, req_id r)
{
    struct req_heap_item item = {.key = s->slots[r].due_ns, .serial = v->reqs[r].serial, .r = r};
    req_heap_push(&s->due, item);
}

static const char *slos_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct slos_serve *s = st;
    void *slots = s->slots;
    bool ok = table_reach(&slots, &s->slots_cap, sizeof *s->slots, r) && predictor_reach(&s->predictor, r) &&
              req_heap_reach(&s->due, r);
    s->slots = slots;
    if (!ok) {
        return policy_no_memory;
    }
    describe(s, v, r);
    if (s->slots[r].due_ns > v->now_ns && s->slots[r].due_ns != SIM_NEVER) {
        push_due(s, v, r);
        s->came = true;
    }
    return ordered_arrive(st, v, r);
}

static void slos_leave(struct slos_serve *s, const struct sched_view *v, req_id r)
{
    req_heap_remove(&s->due, r);
    s->slots[r].promised = false;
    ordered_drop(s, v, r);
}

static void slos_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    slos_leave(st, v, r);
}

/* Its first token is out, so that nothing can be promised any more; but it goes first, as everywhere. */
static void slos_preempt(void *st, const struct sched_view *v, req_id r)
{
    struct slos_serve *s = st;
    s->slots[r].promised = true;
    ordered_preempt(st, v, r);
}

static void slos_drop(void *st, const struct sched_view *v, req_id r)
{
    slos_leave(st, v, r);
}

static void slos_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct slos_serve *)st)->predictor, v, r);
}

/* ---- plans ---- */

static void rekey(struct slos_serve *s, const struct sched_view *v, req_id r)
{
    ordered_drop(s, v, r);
    ordered_preempt(s, v, r); /* in again, by its new key */
}

/* The next `window` that can still be in time, out of the heap. */
static uint32_t take_window(struct slos_serve *s, const struct sched_view *v, req_id *window)
{
    uint32_t n = 0;
    while (n < s->window && s->due.n > 0) {
        req_id r = req_heap_top(&s->due);
        req_heap_remove(&s->due, r);
        if (s->slots[r].due_ns > v->now_ns) {
            window[n++] = r;
        } else {
            s->slots[r].promised = false; /* late */
            rekey(s, v, r);
        }
    }
    return n;
}

static struct slo_plan_load load_now(const struct slos_serve *s, const struct sched_view *v,
                                     const req_id *window, uint32_t n)
{
    struct slo_plan_load l = {.now_ns = v->now_ns, .token_budget = (uint32_t)s->token_budget,
                              .step_ns = SIM_NEVER, .n_decoding = v->n_running};
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        sim_ns step = s->slots[r].step_ns;
        l.step_ns = step > 0 && step < l.step_ns ? step : l.step_ns;
    }
    for (uint32_t i = 0; i < n; i++) {
        sim_ns step = s->slots[window[i]].step_ns;
        l.step_ns = step > 0 && step < l.step_ns ? step : l.step_ns;
    }
    l.step_ns = l.step_ns == SIM_NEVER ? llround(s->default_step_s * 1e9) : l.step_ns;
    return l;
}

/* What was promised and is not begun is open again. */
static void take_back(struct slos_serve *s, const struct sched_view *v)
{
    for (uint32_t i = 0; i < s->n_given; i++) {
        req_id r = s->given[i];
        if (req_heap_has(&s->due, r) && s->slots[r].promised) {
            s->slots[r].promised = false;
            rekey(s, v, r);
        }
    }
    s->n_given = 0;
}

static void plan(struct slos_serve *s, const struct sched_view *v)
{
    take_back(s, v);
    req_id window[SLO_PLAN_MOST];
    struct slo_plan_item items[SLO_PLAN_MOST];
    uint32_t n = take_window(s, v, window);
    struct slo_plan_load l = load_now(s, v, window, n);
    for (uint32_t i = 0; i < n; i++) {
        const struct slos_slot *slot = &s->slots[window[i]];
        items[i] = (struct slo_plan_item){slot->due_ns, v->reqs[window[i]].prompt_tok, slot->value, false};
    }
    slo_plan(&s->planner, items, n, &l);
    for (uint32_t i = 0; i < n; i++) {
        req_id r = window[i];
        push_due(s, v, r);
        s->slots[r].promised = items[i].promised;
        rekey(s, v, r);
        if (items[i].promised) {
            s->given[s->n_given++] = r;
        }
    }
}

static void think(struct slos_serve *s, const struct sched_view *v)
{
    if (s->came || frame_left(&s->frame, v, s->frame_iter) == 0) {
        plan(s, v);
        frame_begin(&s->frame, v);
        s->came = false;
    }
}

static req_id slos_next(void *st, const struct sched_view *v)
{
    think(st, v);
    return ordered_next(st, v);
}

static uint64_t slos_horizon(void *st, const struct sched_view *v)
{
    const struct slos_serve *s = st;
    uint64_t left = frame_left(&s->frame, v, s->frame_iter);
    return left > 0 && !s->came ? left : 1;
}

static size_t slos_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct slos_serve *)st)->predictor, ret, max);
}

const struct policy_ops policy_slos_serve = {
    .name = "slos-serve",
    .summary = "promises first tokens by a dynamic programme over deadlines, the rest as best effort",
    .source = "SLOs-Serve, as JITServe's artifact runs it for a baseline (arXiv 2504.20068)",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct slos_serve),
    .options = slos_serve_options,
    .init = slos_init,
    .release = slos_release,
    .arrive = slos_arrive,
    .next = slos_next,
    .admit = slos_admit,
    .finish = slos_finish,
    .preempt = slos_preempt,
    .drop = slos_drop,
    .horizon = slos_horizon,
    .stats = slos_stats,
    .waiting = ordered_waiting,
};
