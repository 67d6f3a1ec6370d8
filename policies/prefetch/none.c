/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is fetched ahead. */
#include "policies/experts.h"

static int none_init(void *st, const struct expert_env *env, struct err *e)
{
    (void)st, (void)env, (void)e;
    return 0;
}

const struct prefetch_ops prefetch_none = {
    .name = "none",
    .summary = "nothing is fetched ahead: loads on demand",
    .source = "llama.cpp and others that load on a miss",
    .state_size = 1,
    .init = none_init,
};
