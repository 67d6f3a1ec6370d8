/* SPDX-License-Identifier: Apache-2.0
 *
 * Who leaves under ExpertFlow's predictive locality-aware expert caching (PLEC, arXiv 2410.17954, 3.4). Slots belong
 * to no layer (experts.global=on): they follow the prediction, whose experts are held for their layer until its gate
 * (prefetch=plec). Of the others the wrongly loaded go first: those of a layer whose gate has just passed that
 * nobody needs although they were named for it. Then whoever has not been used for longest (the order in which the
 * authors' first release, offloadMoE, keeps its cache), so that the slots of layers that are done serve layers to
 * come, the earliest layer's first. */
#include "policies/experts.h"

struct plec {
    uint64_t *at;  /* by item: gates passed at the last use or load, + 1 */
    bool *wrong;   /* by item: named, loaded, not needed */
};

static int plec_init(void *st, const struct expert_env *env, struct err *e)
{
    struct plec *p = st;
    size_t n = (size_t)env->layers * env->experts;
    p->at = arena_calloc(env->arena, n, sizeof *p->at);
    p->wrong = arena_calloc(env->arena, n, sizeof *p->wrong);
    return p->at && p->wrong ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for plec");
}

static void plec_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct plec *p = st;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        uint32_t item = expert_item(v, w->layer, j);
        p->wrong[item] = v->held[item] && w->load[j] == 0;
    }
}

static void plec_used(void *st, const struct expert_view *v, uint32_t item)
{
    struct plec *p = st;
    p->at[item] = v->gates + 1;
    p->wrong[item] = false;
}

static double plec_key(const void *st, const struct expert_view *v, uint32_t item)
{
    const struct plec *p = st;
    (void)v;
    return p->wrong[item] ? -1 : (double)p->at[item];
}

static uint32_t plec_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, plec_key, st);
}

const struct evict_ops evict_plec = {
    .name = "plec",
    .summary = "wrongly loaded ones first, then the least recently used; for slots that follow a prediction (ExpertFlow)",
    .source = "ExpertFlow (arXiv 2410.17954), 3.4: predictive locality-aware caching, real-time correction",
    .state_size = sizeof(struct plec),
    .init = plec_init,
    .routed = plec_routed,
    .used = plec_used,
    .loaded = plec_used,
    .victim = plec_victim,
};
