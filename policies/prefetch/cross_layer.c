/* SPDX-License-Identifier: Apache-2.0
 *
 * The next layers' gates on this layer's hidden state, nearest layer first: as far as HybriMoE looks, whose own
 * choice among them is `impact`. Only while nothing else waits for the link, so that a guess about a far layer
 * does not stand in front of one about a near layer. */
#include "policies/prefetch/ahead.h"

struct cross_layer {
    struct ahead ahead;
    struct opt_doubles recall;
    int64_t width, most_waiting;
};

static const struct opt_row cross_layer_options[] = {
    {.name = "recall", .type = OPT_DOUBLES, .offset = offsetof(struct cross_layer, recall), .min = 0, .max = 1,
     .def = "0.84;0.80;0.76", .unit = "1",
     .help = "share named rightly 1, 2, ... layers ahead; as many layers as numbers (Fate: 0.84 one layer "
             "ahead; 5 % less per further layer, as ProMoE's predictors lose)"},
    AHEAD_WIDTH(struct cross_layer, width),
    {.name = "waiting", .type = OPT_INT, .offset = offsetof(struct cross_layer, most_waiting), .min = 1,
     .max = 1e6, .def = "4", .unit = "1",
     .help = "further layers are looked at while fewer copies than this wait"},
    OPT_END,
};

static int cross_layer_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(&((struct cross_layer *)st)->ahead, env, e);
}

static void cross_layer_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    const struct cross_layer *c = st;
    for (uint32_t d = 0; d < c->recall.n; d++) {
        if (d > 0 && v->ops->copies_waiting(v->ctx) >= c->most_waiting) {
            return;
        }
        ahead_fetch(&c->ahead, v, w->layer + 1 + d, c->recall.v[d], c->width, false);
    }
}

const struct prefetch_ops prefetch_cross_layer = {
    .name = "cross-layer",
    .summary = "the gates of the next layers, while the link has room",
    .source = "three layers as HybriMoE (arXiv 2504.05897)",
    .state_size = sizeof(struct cross_layer),
    .options = cross_layer_options,
    .init = cross_layer_init,
    .routed = cross_layer_routed,
};
