/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the prefetchers: fetch whom a predictor names for one layer. */
#ifndef STEELYARD_AHEAD_H
#define STEELYARD_AHEAD_H

#include "policies/experts.h"

struct ahead {
    struct expert_guess *guess; /* [experts] */
};

static inline int ahead_init(struct ahead *a, const struct expert_env *env, struct err *e)
{
    a->guess = arena_calloc(env->arena, env->experts, sizeof *a->guess);
    return a->guess ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for a prefetcher");
}

/* The `width` most loaded ones (0 = all) of `layer` as predicted with `recall`; none beyond the last layer. */
static inline void ahead_fetch(const struct ahead *a, const struct expert_view *v, uint32_t layer,
                               double recall, int64_t width, bool urgent)
{
    if (layer >= v->env.layers) {
        return;
    }
    uint32_t n = v->ops->predict(v->ctx, layer, recall, a->guess);
    if (width > 0 && n > width) {
        n = (uint32_t)width;
    }
    for (uint32_t i = 0; i < n; i++) {
        v->ops->want(v->ctx, layer, a->guess[i].expert, urgent);
    }
}

#define AHEAD_RECALL(S, field, default_recall, text)                                               \
    {.name = "recall", .type = OPT_DOUBLE, .offset = offsetof(S, field), .min = 0, .max = 1,       \
     .def = default_recall, .unit = "1", .help = text}
#define AHEAD_WIDTH(S, field)                                                                      \
    {.name = "width", .type = OPT_INT, .offset = offsetof(S, field), .min = 0, .max = 1024, .def = "0", \
     .unit = "1", .help = "experts fetched for a layer at most, the most loaded first; 0 = all that are named"}

#endif
