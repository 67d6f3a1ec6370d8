/* SPDX-License-Identifier: Apache-2.0
 *
 * Least recently used, as Mixtral-offloading and ProMoE keep it per layer, SmallThinker for all layers
 * together (experts.room=global). A load counts as a use. */
#include "policies/experts.h"

struct lru {
    uint64_t *at; /* by item: gates passed at the last use, + 1 */
};

static int lru_init(void *st, const struct expert_env *env, struct err *e)
{
    struct lru *l = st;
    l->at = arena_calloc(env->arena, (size_t)env->layers * env->experts, sizeof *l->at);
    return l->at ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for lru");
}

static void lru_used(void *st, const struct expert_view *v, uint32_t item)
{
    ((struct lru *)st)->at[item] = v->gates + 1;
}

static double lru_key(const void *st, const struct expert_view *v, uint32_t item)
{
    (void)v;
    return (double)((const struct lru *)st)->at[item];
}

static uint32_t lru_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, lru_key, st);
}

const struct evict_ops evict_lru = {
    .name = "lru",
    .summary = "the expert that has not been used for longest",
    .source = "Mixtral-offloading (arXiv 2312.17238); ProMoE (arXiv 2410.22134)",
    .state_size = sizeof(struct lru),
    .init = lru_init,
    .used = lru_used,
    .loaded = lru_used,
    .victim = lru_victim,
};
