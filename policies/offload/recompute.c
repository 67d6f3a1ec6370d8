/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/offload.h"

static uint32_t recompute_keep(const void *st, const struct offload_view *v)
{
    (void)st, (void)v;
    return 0;
}

const struct offload_ops offload_recompute = {
    .name = "recompute",
    .summary = "copy nothing, compute it again",
    .source = "vLLM V1, v1/core/sched/scheduler.py",
    .abi = OFFLOAD_ABI,
    .keep = recompute_keep,
};
