/* SPDX-License-Identifier: Apache-2.0
 *
 * ExpertFlow's routing-path predictor (arXiv 2410.17954): the path of all tokens through all layers is
 * told before the first MoE layer; experts are fetched in layer order. */
#include "policies/prefetch/ahead.h"

struct path {
    struct ahead ahead;
    double recall;
    int64_t layers, width;
};

static const struct opt_row path_options[] = {
    AHEAD_RECALL(struct path, recall, "0.95",
                 "share of a token's experts that are named rightly (ExpertFlow: over 95 % in the domain it "
                 "was trained on, 5 to 10 % less in others)"),
    AHEAD_WIDTH(struct path, width),
    {.name = "layers", .type = OPT_INT, .offset = offsetof(struct path, layers), .min = 0, .max = 1024,
     .def = "0", .unit = "1", .help = "how far ahead of the layer under way it fetches; 0 = the whole path"},
    OPT_END,
};

static int path_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(&((struct path *)st)->ahead, env, e);
}

static void path_step(void *st, const struct expert_view *v)
{
    const struct path *p = st;
    uint32_t n = p->layers > 0 && p->layers < v->env.layers ? (uint32_t)p->layers : v->env.layers;
    for (uint32_t l = 0; l < n; l++) {
        ahead_fetch(&p->ahead, v, l, p->recall, p->width, false);
    }
}

static void path_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    const struct path *p = st;
    if (p->layers > 0 && p->layers < v->env.layers) {
        ahead_fetch(&p->ahead, v, w->layer + (uint32_t)p->layers, p->recall, p->width, false);
    }
}

const struct prefetch_ops prefetch_path = {
    .name = "path",
    .summary = "the whole routing path is predicted before the first layer (ExpertFlow)",
    .source = "ExpertFlow (arXiv 2410.17954), routing-path predictor",
    .state_size = sizeof(struct path),
    .options = path_options,
    .init = path_init,
    .step = path_step,
    .routed = path_routed,
};
