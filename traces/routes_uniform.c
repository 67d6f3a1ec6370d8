/* SPDX-License-Identifier: Apache-2.0
 *
 * Every expert is as likely as every other, in every layer and for every token, independently: the
 * baseline without any structure. Scores are standard normal. */
#include "traces/routes.h"
#include "traces/routes_noise.h"

struct uniform_routes {
    int64_t experts, top_k, layers;
    double temperature;
    struct routes_shape shape;
    struct rng_stream noise;
    float score[ROUTE_EXPERTS_MAX];
};

#define FIELD(f) offsetof(struct uniform_routes, f)

static const struct opt_row uniform_rows[] = {
    {"experts", OPT_INT, FIELD(experts), 0, ROUTE_EXPERTS_MAX, "0", "1",
     "Routed experts of a layer; 0 is the model's.", NULL},
    {"top_k", OPT_INT, FIELD(top_k), 0, ROUTE_TOP_K_MAX, "0", "1", "Experts of a token; 0 is the model's.", NULL},
    {"layers", OPT_INT, FIELD(layers), 0, ROUTE_LAYERS_MAX, "0", "1", "MoE layers; 0 is the model's.", NULL},
    {"temperature", OPT_DOUBLE, FIELD(temperature), 1e-3, 1e3, "1", "1",
     "Of the softmax that makes gate weights from scores.", NULL},
    OPT_END,
};

static int open_uniform(void *state, struct routes *r, const struct routes_env *env, struct err *e)
{
    struct uniform_routes *s = state;
    s->shape.experts = s->experts ? (uint32_t)s->experts : env->shape.experts;
    s->shape.top_k = s->top_k ? (uint32_t)s->top_k : env->shape.top_k;
    s->shape.layers = s->layers ? (uint32_t)s->layers : env->shape.layers;
    s->noise = rng_stream(env->seed, env->replication, "route-noise");
    if (s->shape.experts == 0 || s->shape.top_k == 0 || s->shape.layers == 0) {
        return err_set(e, SIM_E_CONFIG, "routes uniform: without a mixture-of-experts model, experts, top_k and "
                       "layers have to be given");
    }
    return routes_set_shape(r, s->shape, "uniform and independent", e);
}

static void uniform_at(void *state, uint64_t seq, uint32_t pos, uint32_t layer, struct route *ret)
{
    struct uniform_routes *s = state;
    noise_normals(s->noise, seq, pos, layer, s->score, s->shape.experts);
    route_choose(ret, s->score, &s->shape, s->temperature);
}

const struct routes_ops routes_uniform = {
    .name = "uniform",
    .summary = "every expert alike, every token on its own",
    .source = "generated",
    .state_size = sizeof(struct uniform_routes),
    .options = uniform_rows,
    .open = open_uniform,
    .at = uniform_at,
};
