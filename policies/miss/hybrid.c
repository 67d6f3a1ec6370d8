/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's schedule of a layer on three timelines (arXiv 2504.05897, section IV-B; timelines.h): GPU, CPU and
 * link work side by side, and the simulation says which experts go to the CPU. Prefill goes to the GPU alone where
 * the option says so, as in the released code. */
#include "policies/miss/cpu_cost.h"
#include "policies/timelines.h"

struct hybrid {
    struct cpu_cost cost;
    bool prefill_gpu;
    int64_t rule;
    struct timelines timelines;
    bool *to_cpu; /* [experts] */
};

static const struct opt_choice rules[] = {
    [TIMELINES_PAPER] = {"paper", "the timeline whose next piece would end first"},
    [TIMELINES_CODE] = {"code", "one list from both ends: the GPU eats its head, the CPU its tail"},
    {NULL, NULL},
};

static const struct opt_row hybrid_options[] = {
    CPU_COST_OPTIONS(struct hybrid),
    {.name = "prefill_gpu", .type = OPT_BOOL, .offset = offsetof(struct hybrid, prefill_gpu), .def = "off",
     .help = "steps with prefill leave the CPU out (the released code)"},
    {.name = "rule", .type = OPT_CHOICE, .offset = offsetof(struct hybrid, rule), .def = "paper",
     .help = "who gets the next expert", .choices = rules},
    OPT_END,
};

static int hybrid_init(void *st, const struct expert_env *env, struct err *e)
{
    struct hybrid *h = st;

    cpu_cost_init(&h->cost, env);
    h->to_cpu = arena_calloc(env->arena, env->experts, sizeof *h->to_cpu);
    return h->to_cpu ? timelines_init(&h->timelines, env, e) : err_set(e, SIM_E_NOMEM, "out of memory for hybrid");
}

static void queue_up(struct hybrid *h, const struct expert_view *v, const struct layer_work *w)
{
    timelines_clear(&h->timelines);
    for (uint32_t j = 0; j < v->env.experts; j++) {
        bool here = expert_is_here(v, expert_item(v, w->layer, j));

        h->to_cpu[j] = false;
        if (w->load[j] > 0) {
            double ready = here ? 0 : v->ops->arrives_s(v->ctx, w->layer, j);

            timelines_add(&h->timelines, (struct timelines_expert){j, w->load[j], ready, false});
        }
    }
}

static void take_answer(struct hybrid *h, const struct timelines_expert *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        h->to_cpu[x[i].expert] = x[i].cpu;
    }
}

static bool has_prefill(const struct layer_work *w)
{
    for (uint32_t t = 0; t < w->n_tok; t++) {
        if (w->tok[t].prefill) {
            return true;
        }
    }
    return false;
}

static void hybrid_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    struct hybrid *h = st;
    struct timelines *t = &h->timelines;

    if (h->prefill_gpu && has_prefill(w)) {
        return;
    }
    queue_up(h, v, w);
    timelines_run(t, v, (enum timelines_rule)h->rule, v->ops->link_free_s(v->ctx, false));
    take_answer(h, t->here, t->n_here);
    take_answer(h, t->missing, t->n_missing);
    for (uint32_t i = 0; i < w->n_tok * w->k; i++) {
        if (h->to_cpu[w->expert[i]]) {
            w->action[i] = PAIR_CPU;
        }
    }
}

static double hybrid_cpu_s(const void *st, uint32_t load, bool first)
{
    return cpu_cost_s(&((const struct hybrid *)st)->cost, load, first);
}

const struct miss_ops miss_hybrid = {
    .name = "hybrid",
    .summary = "missed experts are shared out between CPU and link as three timelines end earliest",
    .source = "HybriMoE (arXiv 2504.05897), section IV-B",
    .state_size = sizeof(struct hybrid),
    .options = hybrid_options,
    .init = hybrid_init,
    .decide = hybrid_decide,
    .cpu_s = hybrid_cpu_s,
};
