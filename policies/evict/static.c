/* SPDX-License-Identifier: Apache-2.0
 *
 * Static frequency: the experts that were most popular in a calibration sample stay; others pass through
 * whatever slot holds the least popular one. With a cache that starts with the most popular experts this
 * costs one slot (BuddyMoE, arXiv 2511.10054, 2.1: the most used experts of each layer are kept). */
#include "policies/experts.h"

static int static_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

static double static_key(const void *st, const struct expert_view *v, uint32_t item)
{
    (void)st;
    return (double)v->popularity[item];
}

static uint32_t static_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, static_key, st);
}

const struct evict_ops evict_static = {
    .name = "static",
    .summary = "the least popular expert of a calibration sample: the popular ones stay",
    .source = "BuddyMoE (arXiv 2511.10054), cache content; ProMoE's static baseline",
    .state_size = 1,
    .init = static_init,
    .victim = static_victim,
};
