/* SPDX-License-Identifier: Apache-2.0
 *
 * A MoE layer whose experts are offloaded: inside of the layer executor only. */
#ifndef STEELYARD_MOE_H
#define STEELYARD_MOE_H

#include "sim/layers/executor.h"

/* Lanes end at COST_TICK_MAX: a step that gets there is refused (executor.c). */
static inline sim_tick moe_after(sim_tick t, sim_tick ticks)
{
    return ticks < COST_TICK_MAX - t ? t + ticks : COST_TICK_MAX;
}

/* A place on the GPU lane as simulated time, rounded down; the next nanosecond at which the store may hear
 * of it. */
static inline sim_ns moe_at(const struct layers *x, sim_tick t)
{
    return x->base_ns + (t >> SIM_TICKS_PER_NS_LOG2);
}

static inline sim_ns moe_now(const struct layers *x)
{
    return x->base_ns + ((x->t + (1 << SIM_TICKS_PER_NS_LOG2) - 1) >> SIM_TICKS_PER_NS_LOG2);
}

static inline bool moe_on_cpu(const struct layers *x, uint32_t l)
{
    return x->cfg.source && x->cfg.gpu_layers > 0 && l >= x->cfg.gpu_layers;
}

/* `params` weights of layer `l` for every token of the step, on the CPU, while the GPU waits. */
void moe_cpu_work(struct layers *x, double params, const char *what, uint32_t l);

/* The step begins; the input of layer `m` is known; layer `m` (of all layers `l`) behind its attention. */
int moe_step(struct layers *x, struct err *e);
int moe_before(struct layers *x, uint32_t m, struct err *e);
int moe_layer(struct layers *x, uint32_t m, uint32_t l, struct err *e);

#endif
