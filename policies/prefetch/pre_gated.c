/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-gated MoE (arXiv 2308.12066): the model was trained so that the gate of block N chooses for block
 * N + 1. What it names is right, and the transfer hides behind block N; only the first block waits. */
#include "policies/prefetch/ahead.h"

static int pre_gated_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(st, env, e);
}

static void pre_gated_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    ahead_fetch(st, v, w->layer + 1, 1, 0, false);
}

const struct prefetch_ops prefetch_pre_gated = {
    .name = "pre-gated",
    .summary = "the gate of a block chooses for the next one: exact, one block ahead",
    .source = "Pre-gated MoE (arXiv 2308.12066)",
    .state_size = sizeof(struct ahead),
    .init = pre_gated_init,
    .routed = pre_gated_routed,
};
