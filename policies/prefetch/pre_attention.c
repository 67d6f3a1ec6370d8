/* SPDX-License-Identifier: Apache-2.0
 *
 * SmallThinker's pre-attention router (technical report): the router of a block reads the block's input,
 * so its experts are known before attention and load while it runs. They are demand loads. */
#include "policies/prefetch/ahead.h"

static int pre_attention_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(st, env, e);
}

static void pre_attention_before(void *st, const struct expert_view *v, uint32_t layer)
{
    ahead_fetch(st, v, layer, 1, 0, true);
}

const struct prefetch_ops prefetch_pre_attention = {
    .name = "pre-attention",
    .summary = "the router reads the block's input: exact, loads hide behind attention",
    .source = "SmallThinker, technical report",
    .state_size = sizeof(struct ahead),
    .init = pre_attention_init,
    .before_attention = pre_attention_before,
};
