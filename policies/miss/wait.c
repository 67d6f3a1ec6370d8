/* SPDX-License-Identifier: Apache-2.0
 *
 * A missed expert is loaded, and the layer waits for it. */
#include "policies/experts.h"

static int wait_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

static void wait_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    (void)st, (void)v, (void)w; /* PAIR_RUN is preset */
}

const struct miss_ops miss_wait = {
    .name = "wait",
    .summary = "a missed expert is loaded and the layer waits",
    .source = "llama.cpp, Mixtral-offloading; BuddyMoE's baseline \"Original\"",
    .state_size = 1,
    .init = wait_init,
    .decide = wait_decide,
};
