/* SPDX-License-Identifier: Apache-2.0
 *
 * A missed expert is computed on the CPU, beside the resident ones on the GPU (kTransformers): nothing is
 * loaded. Fiddler (arXiv 2402.07033, section 3.2) loads it where the copy and the GPU take less than the CPU, which is
 * when many tokens want it: cheaper=on. */
#include "policies/miss/cpu_cost.h"

struct cpu {
    struct cpu_cost cost;
    int64_t most;
    bool join, cheaper;
};

static const struct opt_row cpu_options[] = {
    CPU_COST_OPTIONS(struct cpu),
    {.name = "most", .type = OPT_INT, .offset = offsetof(struct cpu, most), .min = 0, .max = 1e9, .def = "0",
     .unit = "tok", .help = "an expert with more tokens than this is loaded instead; 0 = never"},
    {.name = "join", .type = OPT_BOOL, .offset = offsetof(struct cpu, join), .min = 1, .max = 0, .def = "off",
     .help = "an expert whose copy is on the wire is waited for; off computes it here, and the copy serves later "
             "tokens"},
    {.name = "cheaper", .type = OPT_BOOL, .offset = offsetof(struct cpu, cheaper), .min = 1, .max = 0, .def = "off",
     .help = "an expert is loaded instead where its copy and the GPU take less time than the CPU (Fiddler)"},
    OPT_END,
};

static int cpu_init(void *st, const struct expert_env *env, struct err *e)
{
    struct cpu *c = st;
    (void)e;
    cpu_cost_init(&c->cost, env);
    return 0;
}

static bool loads(const struct cpu *c, const struct expert_view *v, uint32_t load)
{
    return (c->most > 0 && load > c->most) ||
           (c->cheaper && v->env.load_s + v->ops->gpu_s(v->ctx, 1, load) < cpu_cost_s(&c->cost, load, false));
}

static bool goes_to_cpu(const struct cpu *c, const struct expert_view *v, const struct layer_work *w, uint32_t expert)
{
    uint32_t item = expert_item(v, w->layer, expert);
    return !expert_is_here(v, item) && !(c->join && v->state[item] == EXPERT_IN_FLIGHT) &&
           !loads(c, v, w->load[expert]);
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
    return cpu_cost_s(&((const struct cpu *)st)->cost, load, first);
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
