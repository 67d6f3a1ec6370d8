/* SPDX-License-Identifier: Apache-2.0
 *
 * Belady's rule (IBM Systems Journal 5(2), 1966): the expert goes whose next use is farthest away. An
 * oracle: it reads the routes of tokens that do not exist yet. It knows the running sequences only, and
 * takes each to go on for ever, so it is a bound on what eviction can do, not quite the least. */
#include "policies/experts.h"

static int belady_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

/* Of equals, which are those beyond the horizon, the least popular. */
static double belady_key(const void *st, const struct expert_view *v, uint32_t item)
{
    (void)st;
    return (double)v->popularity[item] - (double)v->ops->next_use(v->ctx, item);
}

static uint32_t belady_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, belady_key, st);
}

const struct evict_ops evict_belady = {
    .name = "belady",
    .summary = "the expert whose next use is farthest away: an oracle, for comparison",
    .source = "Belady, IBM Systems Journal 5(2), 1966",
    .state_size = 1,
    .needs = EXPERTS_FUTURE,
    .init = belady_init,
    .victim = belady_victim,
};
