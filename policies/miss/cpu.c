/* SPDX-License-Identifier: Apache-2.0
 *
 * A missed expert is computed on the CPU, beside the resident ones on the GPU (Fiddler, kTransformers):
 * nothing is loaded. Its weights are read from host memory once, its arithmetic goes with its tokens, and
 * the first one of a layer costs a hand-off. */
#include "policies/experts.h"

struct cpu {
    double dram, flops, first_us, token_us;
    int64_t most;
    double bytes, params;
};

static const struct opt_row cpu_options[] = {
    {.name = "dram", .type = OPT_DOUBLE, .offset = offsetof(struct cpu, dram), .min = 1e6, .max = 1e15,
     .def = "150e9", .unit = "byte/s",
     .help = "host memory bandwidth (150 GB/s: MoE-Lens's measurement of a socket with 8 channels of DDR4-3200)"},
    {.name = "flops", .type = OPT_DOUBLE, .offset = offsetof(struct cpu, flops), .min = 1e6, .max = 1e18,
     .def = "1e12", .unit = "1/s", .help = "arithmetic of the CPU on an expert; a guess for a server socket"},
    {.name = "first_us", .type = OPT_DOUBLE, .offset = offsetof(struct cpu, first_us), .min = 0, .max = 1e6,
     .def = "84", .unit = "us", .help = "hand-off, once per layer (84 us measured on an A10)"},
    {.name = "token_us", .type = OPT_DOUBLE, .offset = offsetof(struct cpu, token_us), .min = 0, .max = 1e6,
     .def = "0", .unit = "us", .help = "further time per token and expert (HybriMoE's linear term)"},
    {.name = "most", .type = OPT_INT, .offset = offsetof(struct cpu, most), .min = 0, .max = 1e9, .def = "0",
     .unit = "tok", .help = "an expert with more tokens than this is loaded instead; 0 = never"},
    OPT_END,
};

static int cpu_init(void *st, const struct expert_env *env, struct err *e)
{
    struct cpu *c = st;
    (void)e;
    c->bytes = env->expert_bytes;
    c->params = env->expert_params;
    return 0;
}

/* What is on its way already is waited for. */
static bool goes_to_cpu(const struct cpu *c, const struct expert_view *v, const struct layer_work *w, uint32_t expert)
{
    uint32_t item = expert_item(v, w->layer, expert);
    return !expert_is_here(v, item) && v->state[item] != EXPERT_IN_FLIGHT &&
           (c->most == 0 || w->load[expert] <= c->most);
}

static void cpu_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    const struct cpu *c = st;
    for (uint32_t i = 0; i < w->n_tok * w->k; i++) {
        if (goes_to_cpu(c, v, w, w->expert[i])) {
            w->action[i] = PAIR_CPU;
        }
    }
}

static double cpu_time(const void *st, uint32_t load, bool first)
{
    const struct cpu *c = st;
    double read = c->bytes / c->dram, work = load * 2 * c->params / c->flops;
    return (read > work ? read : work) + ((first ? c->first_us : 0) + load * c->token_us) * 1e-6;
}

const struct miss_ops miss_cpu = {
    .name = "cpu",
    .summary = "a missed expert runs on the CPU, beside the GPU",
    .source = "Fiddler (arXiv 2402.07033); HybriMoE's CPU cost (arXiv 2504.05897)",
    .state_size = sizeof(struct cpu),
    .options = cpu_options,
    .init = cpu_init,
    .decide = cpu_decide,
    .cpu_s = cpu_time,
};
