/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/offload.h"

static uint32_t swap_keep(const void *st, const struct offload_view *v)
{
    (void)st;
    return v->content_tok;
}

const struct offload_ops offload_swap = {
    .name = "swap",
    .summary = "copy all of it out; what does not fit is computed again",
    .source = "vLLM 0.3.3, core/scheduler.py, preemption by swapping",
    .abi = OFFLOAD_ABI,
    .keep = swap_keep,
};
