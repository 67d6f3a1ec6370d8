/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's minus-recent-score (arXiv 2504.05897): the lowest running router score goes (mrs.h). */
#include "policies/mrs.h"

struct mrs_cache {
    struct mrs mrs;
};

static const struct opt_row mrs_options[] = {
    MRS_OPTIONS(struct mrs_cache, mrs),
    OPT_END,
};

static int mrs_init(void *st, const struct expert_env *env, struct err *e)
{
    return mrs_open(&((struct mrs_cache *)st)->mrs, env, e);
}

static void mrs_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    mrs_gate(&((struct mrs_cache *)st)->mrs, v, w);
}

static double mrs_key(const void *st, const struct expert_view *v, uint32_t item)
{
    (void)v;
    return ((const struct mrs_cache *)st)->mrs.score[item];
}

static uint32_t mrs_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, mrs_key, st);
}

const struct evict_ops evict_mrs = {
    .name = "mrs",
    .summary = "the lowest running router score (HybriMoE)",
    .source = "HybriMoE (arXiv 2504.05897), score-aware caching",
    .state_size = sizeof(struct mrs_cache),
    .options = mrs_options,
    .needs = EXPERTS_SCORES,
    .init = mrs_init,
    .routed = mrs_routed,
    .victim = mrs_victim,
};
