/* SPDX-License-Identifier: Apache-2.0
 *
 * ProMoE's stride prefetching (arXiv 2410.22134, 4.3 and 4.4): a small network per layer reads a layer's input
 * on the CPU and names, for each token, as many experts as it will use in the layer `distance` further on. It
 * takes 0.2 ms; with distance 2 that passes behind the layer in between, with 1 it is lost for the copy.
 * The rest of the prefetcher is the store's: two lines (experts.h, `urgent`), an expert in three pieces with
 * experts.pieces=3 (5.1), a gate that takes its layer's guesses out of line and hurries what it needs (5.2); and
 * the executor's: first what is there, then what is on the wire, then the rest (5.3). */
#include "policies/prefetch/ahead.h"

struct stride {
    struct ahead ahead;
    double recall, loss, latency_s;
    int64_t distance;
};

static const struct opt_row stride_options[] = {
    AHEAD_RECALL(struct stride, recall, "0.847",
                 "share of a token's experts that are named rightly one layer ahead (learned; by token id 0.583, by "
                 "the next gate 0.669)"),
    {.name = "loss", .type = OPT_DOUBLE, .offset = offsetof(struct stride, loss), .min = 0, .max = 1, .def = "0.05",
     .unit = "1", .help = "what of that each further layer costs"},
    {.name = "distance", .type = OPT_INT, .offset = offsetof(struct stride, distance), .min = 1, .max = 1024,
     .def = "2", .unit = "1", .help = "layers from the one whose input is read to the one that is fetched for"},
    {.name = "latency", .type = OPT_DOUBLE, .offset = offsetof(struct stride, latency_s), .min = 0, .max = 3600,
     .def = "200us", .unit = "s", .help = "time of a prediction, beside the GPU"},
    OPT_END,
};

static int stride_init(void *st, const struct expert_env *env, struct err *e)
{
    return ahead_init(&((struct stride *)st)->ahead, env, e);
}

static void stride_before(void *st, const struct expert_view *v, uint32_t layer)
{
    const struct stride *s = st;
    double recall = s->recall - s->loss * (double)(s->distance - 1);
    uint64_t to = (uint64_t)layer + (uint64_t)s->distance;
    if (to >= v->env.layers) {
        return;
    }
    uint32_t n = v->ops->predict(v->ctx, (uint32_t)to, recall > 0 ? recall : 0, s->ahead.guess);
    for (uint32_t i = 0; i < n; i++) {
        v->ops->want_after(v->ctx, (uint32_t)to, s->ahead.guess[i].expert, s->latency_s);
    }
}

const struct prefetch_ops prefetch_stride = {
    .name = "stride",
    .summary = "a learned predictor reads a layer's input and names experts two layers on (ProMoE)",
    .source = "ProMoE (arXiv 2410.22134), 4.3 and 4.4",
    .state_size = sizeof(struct stride),
    .options = stride_options,
    .init = stride_init,
    .before_attention = stride_before,
};
