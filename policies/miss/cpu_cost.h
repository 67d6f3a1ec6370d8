/* SPDX-License-Identifier: Apache-2.0
 *
 * What an expert takes on the CPU: its weights are read from host memory once, its arithmetic goes with its
 * tokens, and the first one of a layer costs a hand-off. Shared by the miss policies that use the CPU. */
#ifndef STEELYARD_CPU_COST_H
#define STEELYARD_CPU_COST_H

#include "policies/experts.h"

struct cpu_cost {
    double dram, flops, first_us, token_us; /* options */
    double bytes, params;                   /* of an expert */
};

#define CPU_COST_OPTION(S, field, lo, hi, dflt, u, text)                                           \
    {.name = #field, .type = OPT_DOUBLE, .offset = offsetof(S, cost.field), .min = lo, .max = hi,   \
     .def = dflt, .unit = u, .help = text}
/* S has a member `cost`. */
#define CPU_COST_OPTIONS(S)                                                                        \
    CPU_COST_OPTION(S, dram, 1e6, 1e15, "150e9", "byte/s",                                         \
                    "host memory bandwidth (150 GB/s: MoE-Lens's measurement of a socket with 8 channels of " \
                    "DDR4-3200)"),                                                                 \
    CPU_COST_OPTION(S, flops, 1e6, 1e18, "1e12", "1/s",                                            \
                    "arithmetic of the CPU on an expert; a guess for a server socket"),            \
    CPU_COST_OPTION(S, first_us, 0, 1e6, "84", "us", "hand-off, once per layer (84 us measured on an A10)"), \
    CPU_COST_OPTION(S, token_us, 0, 1e6, "0", "us",                                                \
                    "further time per token and expert (HybriMoE's linear term)")

static inline void cpu_cost_init(struct cpu_cost *c, const struct expert_env *env)
{
    c->bytes = env->expert_bytes;
    c->params = env->expert_params;
}

static inline double cpu_cost_s(const struct cpu_cost *c, uint32_t load, bool first)
{
    double read = c->bytes / c->dram, work = load * 2 * c->params / c->flops;
    return (read > work ? read : work) + ((first ? c->first_us : 0) + load * c->token_us) * 1e-6;
}

#endif
