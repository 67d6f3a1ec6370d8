/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate of the next layer on the hidden state of this one (Fate, arXiv 2502.12224: gate inputs of
 * neighbours have cosine 0.93; 84 % of the experts of a decode step are named rightly). Mixtral-offloading
 * fetches one or two of them: width=2. */
#include "policies/prefetch/ahead.h"

struct next_gate {
    struct ahead ahead;
    double recall;
    int64_t width;
};

static const struct opt_row next_gate_options[] = {
    AHEAD_RECALL(struct next_gate, recall, "0.84",
                 "share of a token's experts that are named rightly (Fate, decode: 83.99 %)"),
    AHEAD_WIDTH(struct next_gate, width),
    OPT_END,
};

static int next_gate_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(&((struct next_gate *)st)->ahead, env, e);
}

static void next_gate_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    const struct next_gate *g = st;
    ahead_fetch(&g->ahead, v, w->layer + 1, g->recall, g->width, false);
}

const struct prefetch_ops prefetch_next_gate = {
    .name = "next-gate",
    .summary = "the next layer's gate on this layer's hidden state",
    .source = "Fate (arXiv 2502.12224); Mixtral-offloading (arXiv 2312.17238)",
    .state_size = sizeof(struct next_gate),
    .options = next_gate_options,
    .init = next_gate_init,
    .routed = next_gate_routed,
};
