/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole next MoE layer is fetched while this one runs, used or not, and no layer begins before all of its
 * own have come: SE-MoE and ZeRO-Infinity, the "MoE-Prefetch" of Pre-gated MoE (arXiv 2308.12066, section
 * III). A cache of two layers' experts (experts.global) is what they keep. */
#include "policies/experts.h"

static int all_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

static void fetch_layer(const struct expert_view *v, uint32_t layer)
{
    for (uint32_t j = 0; layer < v->env.layers && j < v->env.experts; j++) {
        v->ops->want(v->ctx, layer, j, false);
    }
}

static void all_step(void *st, const struct expert_view *v)
{
    (void)st;
    fetch_layer(v, 0);
}

static void all_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    (void)st;
    fetch_layer(v, w->layer + 1);
}

const struct prefetch_ops prefetch_all = {
    .name = "all",
    .summary = "the whole next layer, and a layer waits for all of its own (ZeRO-Infinity, SE-MoE)",
    .source = "SE-MoE, ZeRO-Infinity; MoE-Prefetch in Pre-gated MoE (arXiv 2308.12066)",
    .state_size = 1,
    .complete = true,
    .init = all_init,
    .step = all_step,
    .routed = all_routed,
};
