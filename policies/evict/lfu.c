/* SPDX-License-Identifier: Apache-2.0
 *
 * Least frequently used: visits are counted while an expert is in the cache, as MoE-Infinity's dispatcher
 * does, or for good; they fade by `decay` per visit to the layer. */
#include <math.h>

#include "policies/experts.h"

struct lfu {
    double decay;
    bool forget;
    double *visits; /* by item, as of gate at[] */
    uint64_t *at;
    uint64_t per_gate; /* gates between two visits to a layer */
};

static const struct opt_row lfu_options[] = {
    {.name = "decay", .type = OPT_DOUBLE, .offset = offsetof(struct lfu, decay), .min = 0.5, .max = 1, .def = "1",
     .unit = "1", .help = "what a visit is still worth after one more step (1 = for ever)"},
    {.name = "forget", .type = OPT_BOOL, .offset = offsetof(struct lfu, forget), .min = 1, .max = 0, .def = "on",
     .help = "an evicted expert starts anew (MoE-Infinity counts visits in the cache)"},
    OPT_END,
};

static int lfu_init(void *st, const struct expert_env *env, struct err *e)
{
    struct lfu *l = st;
    size_t n = (size_t)env->layers * env->experts;
    l->visits = arena_calloc(env->arena, n, sizeof *l->visits);
    l->at = arena_calloc(env->arena, n, sizeof *l->at);
    l->per_gate = env->layers;
    return l->visits && l->at ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for lfu");
}

static double worth(const struct lfu *l, const struct expert_view *v, uint32_t item)
{
    double steps = (double)((v->gates - l->at[item]) / l->per_gate);
    return l->decay < 1 ? l->visits[item] * pow(l->decay, steps) : l->visits[item];
}

static void lfu_used(void *st, const struct expert_view *v, uint32_t item)
{
    struct lfu *l = st;
    l->visits[item] = worth(l, v, item) + 1;
    l->at[item] = v->gates;
}

static void lfu_evicted(void *st, const struct expert_view *v, uint32_t item)
{
    struct lfu *l = st;
    (void)v;
    if (l->forget) {
        l->visits[item] = 0;
    }
}

static double lfu_key(const void *st, const struct expert_view *v, uint32_t item)
{
    return worth(st, v, item);
}

static uint32_t lfu_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, lfu_key, st);
}

const struct evict_ops evict_lfu = {
    .name = "lfu",
    .summary = "the expert with the fewest visits, which may fade",
    .source = "MoE-Infinity, dispatcher (arXiv 2401.14361)",
    .state_size = sizeof(struct lfu),
    .options = lfu_options,
    .init = lfu_init,
    .used = lfu_used,
    .evicted = lfu_evicted,
    .victim = lfu_victim,
};
