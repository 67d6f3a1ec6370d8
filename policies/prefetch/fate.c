/* SPDX-License-Identifier: Apache-2.0
 *
 * Fate (arXiv 2502.12224): the next layer's gate on this layer's gate input. Decoding fetches as many experts as
 * cross the link in the time of a layer, n = floor(T_layer / T_transfer), the best named first; prefill fetches
 * whatever any of its tokens is said to need, the most asked for first, and those that the last quarter of the
 * tokens' choices goes to in a lower precision (INT2 instead of INT4; the repository FFFzy/Fate_open, int2_rate
 * and groups of 64 and 32 weights with two floats each: 4 bits a weight instead of 5). */
#include <math.h>

#include "policies/prefetch/ahead.h"

struct fate {
    struct ahead ahead;
    bool *named; /* [experts] */
    double recall, cold, thin;
};

static const struct opt_row fate_options[] = {
    AHEAD_RECALL(struct fate, recall, "0.84",
                 "share of a token's experts that are named rightly (decode: 83.99 %; of a prompt's, which many "
                 "tokens name, more)"),
    {.name = "cold", .type = OPT_DOUBLE, .offset = offsetof(struct fate, cold), .min = 0, .max = 1, .def = "0.25",
     .unit = "1", .help = "share of a prompt's choices whose experts, the least asked for, come in lower precision"},
    {.name = "thin", .type = OPT_DOUBLE, .offset = offsetof(struct fate, thin), .min = 0.01, .max = 1, .def = "0.8",
     .unit = "1", .help = "bytes of such a copy over those of a full one"},
    OPT_END,
};

static int fate_init(void *st, const struct expert_env *env, struct err *e)
{
    struct fate *f = st;
    f->named = arena_calloc(env->arena, env->experts, sizeof *f->named);
    return f->named ? ahead_init(&f->ahead, env, e) : err_set(e, SIM_E_NOMEM, "out of memory for a prefetcher");
}

static bool is_prefill(const struct layer_work *w)
{
    for (uint32_t i = 0; i < w->n_tok; i++) {
        if (w->tok[i].prefill) {
            return true;
        }
    }
    return false;
}

static void fetch_prefill(const struct fate *f, const struct expert_view *v, uint32_t layer, uint32_t n)
{
    double all = 0, before = 0;
    for (uint32_t i = 0; i < n; i++) {
        all += f->ahead.guess[i].load;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool cold = all - before <= f->cold * all;
        before += f->ahead.guess[i].load;
        if (cold && f->thin < 1) {
            v->ops->want_thin(v->ctx, layer, f->ahead.guess[i].expert, f->thin);
        } else {
            v->ops->want(v->ctx, layer, f->ahead.guess[i].expert, false);
        }
    }
}

/* Experts that cross the link while this layer computes. */
static uint32_t width(const struct expert_view *v, const struct layer_work *w)
{
    uint32_t experts = 0;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        experts += w->load[j] > 0;
    }
    double layer_s = v->ops->layer_s(v->ctx) + v->ops->gpu_s(v->ctx, experts, w->n_tok * w->k);
    double n = floor(layer_s / v->env.load_s);
    return n < v->env.experts ? (uint32_t)n : v->env.experts;
}

/* Not named yet, the most popular. */
static uint32_t next_popular(const struct fate *f, const struct expert_view *v, uint32_t layer)
{
    uint32_t best = EXPERT_NONE;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        float p = v->popularity[expert_item(v, layer, j)];
        if (!f->named[j] && (best == EXPERT_NONE || p > v->popularity[expert_item(v, layer, best)])) {
            best = j;
        }
    }
    return best;
}

/* The predictor names top_k of a token; a gate's scores go on behind them, here by popularity. */
static void fetch_decode(struct fate *f, const struct expert_view *v, uint32_t layer, uint32_t n, uint32_t wide)
{
    for (uint32_t j = 0; j < v->env.experts; j++) {
        f->named[j] = false;
    }
    for (uint32_t i = 0; i < wide; i++) {
        uint32_t expert = i < n ? f->ahead.guess[i].expert : next_popular(f, v, layer);
        f->named[expert] = true;
        v->ops->want(v->ctx, layer, expert, false);
    }
}

static void fate_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct fate *f = st;
    uint32_t layer = w->layer + 1;
    if (layer >= v->env.layers) {
        return;
    }
    uint32_t n = v->ops->predict(v->ctx, layer, f->recall, f->ahead.guess);
    if (is_prefill(w)) {
        fetch_prefill(f, v, layer, n);
    } else {
        fetch_decode(f, v, layer, n, width(v, w));
    }
}

const struct prefetch_ops prefetch_fate = {
    .name = "fate",
    .summary = "the next layer's gate: as many as a layer's time moves; a prompt's rare ones thinner",
    .source = "Fate (arXiv 2502.12224); FFFzy/Fate_open",
    .state_size = sizeof(struct fate),
    .options = fate_options,
    .init = fate_init,
    .routed = fate_routed,
};
