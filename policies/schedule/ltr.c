/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning to rank (Fu et al., "Efficient LLM Scheduling by Learning to Rank", arXiv 2408.15792): the
 * waiting requests run in the order of a predicted rank of their output lengths, shortest first, and
 * one that was passed over for too many iterations goes first. Stand-in: the paper's trained ranker is
 * any predictor here, whose noise disturbs the order (the `ltr` of JITServe's artifact is the same:
 * shortest predicted output first); only decode iterations count as passing over. */
#include <math.h>
#include <stdlib.h>

#include "policies/ordered.h"
#include "policies/predict/predict.h"

struct ltr {
    struct ordered o;
    const char *predictor_spec;
    int64_t starve_iter;
    struct predictor predictor;
    struct req_links links;
    struct req_fifo young; /* waits and is not starved, in order of joining */
    struct ltr_slot {
        double rank;
        uint64_t since_iter;
        bool starved;
    } * slots;
    uint32_t slots_cap;
};

static const struct opt_row ltr_options[] = {
    PREDICTOR_ROW(struct ltr, predictor_spec, "noisy"),
    {.name = "starve", .type = OPT_INT, .offset = offsetof(struct ltr, starve_iter), .min = 0,
     .max = 1e12, .def = "0", .unit = "1",
     .help = "decode iterations of waiting after which a request goes first; 0 = never"},
    OPT_END,
};

/* Ranks are small numbers; a starved request is before all of them, by how long it has waited. */
static int64_t ltr_key(const void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    const struct ltr_slot *s = &((const struct ltr *)st)->slots[r];
    return s->starved ? INT64_MIN + (int64_t)s->since_iter : llround(s->rank * 1024);
}

static int ltr_init(void *st, struct policy_env *env, struct err *e)
{
    struct ltr *l = st;
    l->o = (struct ordered){.env = env, .key = ltr_key};
    l->young = REQ_FIFO_EMPTY;
    return predictor_open(&l->predictor, l->predictor_spec, env, "ltr", e);
}

static void ltr_release(void *st)
{
    struct ltr *l = st;
    ordered_release(&l->o);
    predictor_release(&l->predictor);
    req_links_release(&l->links);
    free(l->slots);
    l->slots = NULL;
    l->slots_cap = 0;
}

static void wait_begins(struct ltr *l, const struct sched_view *v, req_id r)
{
    l->slots[r].since_iter = v->decode_iter;
    l->slots[r].starved = false;
    req_fifo_push_back(&l->young, &l->links, r);
}

static const char *ltr_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct ltr *l = st;
    void *slots = l->slots;
    bool ok = table_reach(&slots, &l->slots_cap, sizeof *l->slots, r) &&
              req_links_reach(&l->links, r) && predictor_reach(&l->predictor, r) &&
              req_heap_reach(&l->o.heap, r);
    l->slots = slots;
    if (!ok) {
        return policy_no_memory;
    }
    l->slots[r].rank = predictor_predict(&l->predictor, v, r, 0);
    wait_begins(l, v, r);
    return ordered_arrive(st, v, r);
}

static uint64_t starves_in(const struct ltr *l, const struct sched_view *v)
{
    if (l->starve_iter == 0 || l->young.count == 0) {
        return UINT64_MAX;
    }
    uint64_t due = l->slots[l->young.head].since_iter + (uint64_t)l->starve_iter;
    return due > v->decode_iter ? due - v->decode_iter : 0;
}

static req_id ltr_next(void *st, const struct sched_view *v)
{
    struct ltr *l = st;
    while (starves_in(l, v) == 0) {
        req_id r = l->young.head;
        req_fifo_remove(&l->young, &l->links, r);
        l->slots[r].starved = true;
        ordered_drop(st, v, r);
        ordered_preempt(st, v, r); /* in again, under its new key */
    }
    return ordered_next(st, v);
}

static void ltr_drop(void *st, const struct sched_view *v, req_id r)
{
    struct ltr *l = st;
    if (!l->slots[r].starved) {
        req_fifo_remove(&l->young, &l->links, r);
    }
    ordered_drop(st, v, r);
}

static void ltr_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    ltr_drop(st, v, r);
}

static void ltr_preempt(void *st, const struct sched_view *v, req_id r)
{
    wait_begins(st, v, r);
    ordered_preempt(st, v, r);
}

static void ltr_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct ltr *)st)->predictor, v, r);
}

static uint64_t ltr_horizon(void *st, const struct sched_view *v)
{
    uint64_t k = starves_in(st, v);
    return k > 0 ? k : 1;
}

static size_t ltr_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct ltr *)st)->predictor, ret, max);
}

const struct policy_ops policy_ltr = {
    .name = "ltr",
    .summary = "learning to rank: shortest predicted output first",
    .source = "Fu et al., arXiv 2408.15792; predictors stand in for the trained ranker",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct ltr),
    .options = ltr_options,
    .init = ltr_init,
    .release = ltr_release,
    .arrive = ltr_arrive,
    .next = ltr_next,
    .admit = ltr_admit,
    .finish = ltr_finish,
    .preempt = ltr_preempt,
    .drop = ltr_drop,
    .horizon = ltr_horizon,
    .stats = ltr_stats,
    .waiting = ordered_waiting,
};
