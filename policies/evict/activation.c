/* SPDX-License-Identifier: Apache-2.0
 *
 * Activation-aware (MoE-Infinity, arXiv 2401.14361): an expert is worth its share of the layer's
 * activations in the running sequences, times 1 - d/(L + 1) for a layer that comes d layers from now; the
 * least worth goes. Stand-in: the activation matrix is one for all running sequences and is halved when a
 * new one begins, where MoE-Infinity keeps one per sequence. */
#include "policies/experts.h"

struct activation {
    double *seen;  /* by item */
    double *total; /* by layer */
    uint32_t now;  /* layer whose gate came last */
};

static int activation_init(void *st, const struct expert_env *env, struct err *e)
{
    struct activation *a = st;
    a->seen = arena_calloc(env->arena, (size_t)env->layers * env->experts, sizeof *a->seen);
    a->total = arena_calloc(env->arena, env->layers, sizeof *a->total);
    return a->seen && a->total ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for activation");
}

static void fade(struct activation *a, uint32_t layer, uint32_t experts)
{
    for (uint32_t i = 0; i < experts; i++) {
        a->seen[(size_t)layer * experts + i] /= 2;
    }
    a->total[layer] /= 2;
}

static void activation_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct activation *a = st;
    uint32_t n = v->env.experts;
    for (uint32_t t = 0; t < w->n_tok; t++) {
        if (w->tok[t].position == 0) {
            fade(a, w->layer, n);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        a->seen[(size_t)w->layer * n + i] += w->load[i];
    }
    a->total[w->layer] += (double)w->n_tok * w->k;
    a->now = w->layer;
}

static double activation_key(const void *st, const struct expert_view *v, uint32_t item)
{
    const struct activation *a = st;
    uint32_t layer = item / v->env.experts, layers = v->env.layers;
    double ahead = (layer + layers - a->now) % layers;
    double share = a->total[layer] > 0 ? a->seen[item] / a->total[layer] : 0;
    return share * (1 - ahead / (layers + 1));
}

static uint32_t activation_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, activation_key, st);
}

const struct evict_ops evict_activation = {
    .name = "activation",
    .summary = "the least active in the running sequences, layers soon to come kept (MoE-Infinity)",
    .source = "MoE-Infinity (arXiv 2401.14361)",
    .state_size = sizeof(struct activation),
    .init = activation_init,
    .routed = activation_routed,
    .victim = activation_victim,
};
