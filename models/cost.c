/* SPDX-License-Identifier: Apache-2.0
 *
 * What every cost model needs: seconds to ticks, and the last step of an affine answer. */
#include "models/cost.h"

#include <math.h>

#include "models/llm.h"

sim_tick cost_ticks(double seconds)
{
    double t = seconds * 1e9 * SIM_TICKS_PER_NS;
    if (!(t >= 1)) { /* also NaN */
        return 1;
    }
    return t < (double)COST_TICK_MAX ? (sim_tick)llround(t) : COST_TICK_MAX;
}

int64_t cost_coef(double seconds)
{
    double t = seconds * 1e9 * SIM_TICKS_PER_NS;
    double lim = (double)COST_TICK_MAX;
    return isnan(t) ? 0 : (int64_t)llround(fmin(fmax(t, -lim), lim));
}

/* Largest count v >= 1 with base + slope*(v-1) <= COST_TICK_MAX, for base <= COST_TICK_MAX. */
static uint64_t below_max(int64_t base, int64_t slope)
{
    return slope > 0 ? (uint64_t)((COST_TICK_MAX - base) / slope) + 1 : UINT64_MAX;
}

void cost_finish(struct cost_affine *ret, sim_wide base, sim_wide slope, uint64_t valid)
{
    sim_wide floor_tick = 1;
    slope = slope > COST_TICK_MAX ? COST_TICK_MAX : slope;
    slope = slope < -COST_TICK_MAX ? -COST_TICK_MAX : slope;
    if (base > COST_TICK_MAX || base < floor_tick) {
        /* Held at a bound until the line comes back inside (for ever if it never does). */
        sim_wide bound = base < floor_tick ? floor_tick : COST_TICK_MAX;
        sim_wide gap = bound - base;
        bool returns = (gap > 0 && slope > 0) || (gap < 0 && slope < 0);
        sim_wide held = returns ? (gap + slope - (slope > 0 ? 1 : -1)) / slope : (sim_wide)INT64_MAX;
        uint64_t n = held < INT64_MAX ? (uint64_t)held : UINT64_MAX;
        *ret = (struct cost_affine){(sim_tick)bound, 0, n < valid ? n : valid};
        return;
    }
    uint64_t n = slope < 0 ? (uint64_t)((base - floor_tick) / -slope) + 1
                           : below_max((int64_t)base, (int64_t)slope);
    *ret = (struct cost_affine){(sim_tick)base, (sim_tick)slope, n < valid ? n : valid};
}

/* ---- layer by layer ---- */

double cost_experts_s(const struct cost_expert *x, double n_experts, double n_pairs, double scale)
{
    if (n_experts <= 0) {
        return 0;
    }
    double memory = x->read * scale * n_experts + x->io * n_pairs;
    return fmax(fmax(x->flop * n_pairs, memory), x->floor);
}

/* Distinct experts of E that n tokens with k choices each are expected to hit. */
static double experts_hit(const struct llm_shape *m, double n)
{
    double k = m->experts_per_tok, of = m->experts;
    return k < of ? of * -expm1(n * log1p(-k / of)) : of;
}

/* One layer's even share among attention, shared experts and routed ones, by parameters of a token. */
static void split_moe_layer(const struct llm_shape *m, double layer_s, double tokens, struct cost_parts *ret)
{
    struct llm_layer l = llm_layer(m);
    double shared = l.router + m->shared_experts * l.expert, routed = m->experts_per_tok * l.expert;
    double all = l.attn + shared + routed;
    ret->attn = cost_coef(layer_s * l.attn / all);
    ret->shared = cost_coef(layer_s * shared / all);
    ret->experts = cost_coef(layer_s) - ret->attn - ret->shared;
    ret->dense = ret->shared + ret->experts;
    ret->expert.read = layer_s * routed / all / experts_hit(m, fmax(tokens, 1));
}

static void split_dense_layer(const struct llm_shape *m, double layer_s, struct cost_parts *ret)
{
    struct llm_layer l = llm_layer(m);
    ret->attn = cost_coef(layer_s * l.attn / (l.attn + l.ffn));
    ret->dense = cost_coef(layer_s) - ret->attn;
}

void cost_take_apart(const struct cost_ops *ops, const void *state, const struct llm_shape *m,
                     const struct batch_shape *s, struct cost_parts *ret)
{
    *ret = (struct cost_parts){0};
    if (ops->parts) {
        ops->parts(state, s, ret);
        return;
    }
    struct cost_affine whole;
    ops->iteration(state, s, &whole);
    double layer_s = (double)whole.base / SIM_TICKS_PER_NS / 1e9 / m->layers;
    if (m->experts > 0) {
        split_moe_layer(m, layer_s, (double)s->prefill_tok + s->n_decode, ret);
    } else {
        split_dense_layer(m, layer_s, ret);
    }
}
