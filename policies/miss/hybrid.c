/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's schedule of a layer on three timelines (arXiv 2504.05897, section 4.2): GPU, CPU and the link work
 * side by side, and whichever would end its next piece first gets it.
 *   GPU   the most loaded expert that is there
 *   CPU   the least loaded expert that is missing; when none is left, the least loaded one that is there
 *   link  the most loaded missing expert, which joins the GPU's queue when it arrives
 * until all are given away. Prefill goes to the GPU alone where the option says so (as the repository does). */
#include <stdlib.h>

#include "policies/miss/cpu_cost.h"

struct piece {
    uint32_t expert, load;
    double ready_s; /* on the GPU from then on */
    bool taken;
};

struct hybrid {
    struct cpu_cost cost;
    bool prefill_gpu;
    double load_s;
    struct piece *here, *missing; /* [experts], most loaded first */
    uint32_t n_here, n_missing;
    bool *to_cpu; /* [experts] */
};

static const struct opt_row hybrid_options[] = {
    CPU_COST_OPTIONS(struct hybrid),
    {.name = "prefill_gpu", .type = OPT_BOOL, .offset = offsetof(struct hybrid, prefill_gpu), .def = "off",
     .help = "steps with prefill leave the CPU out (the released code)"},
    OPT_END,
};

static int hybrid_init(void *st, const struct expert_env *env, struct err *e)
{
    struct hybrid *h = st;

    cpu_cost_init(&h->cost, env);
    h->load_s = env->load_s;
    h->here = arena_calloc(env->arena, env->experts, sizeof *h->here);
    h->missing = arena_calloc(env->arena, env->experts, sizeof *h->missing);
    h->to_cpu = arena_calloc(env->arena, env->experts, sizeof *h->to_cpu);
    return h->here && h->missing && h->to_cpu ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for hybrid");
}

static int more_load_first(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;

    if (x->load != y->load) {
        return x->load < y->load ? 1 : -1;
    }
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

/* Copies under way count as there, from when the wire can have brought them. */
static void queue_up(struct hybrid *h, const struct expert_view *v, const struct layer_work *w)
{
    h->n_here = h->n_missing = 0;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        uint32_t item = expert_item(v, w->layer, j);
        struct piece p = {j, w->load[j], 0, false};

        h->to_cpu[j] = false;
        if (w->load[j] == 0) {
            continue;
        }
        if (expert_is_here(v, item)) {
            h->here[h->n_here++] = p;
        } else if (v->state[item] == EXPERT_IN_FLIGHT) {
            p.ready_s = h->load_s;
            h->here[h->n_here++] = p;
        } else {
            h->missing[h->n_missing++] = p;
        }
    }
    qsort(h->here, h->n_here, sizeof *h->here, more_load_first);
    qsort(h->missing, h->n_missing, sizeof *h->missing, more_load_first);
}

/* The GPU's next: the most loaded that is there, or the one that comes first. */
static struct piece *gpu_next(struct hybrid *h, double now_s)
{
    struct piece *best = NULL;

    for (uint32_t i = 0; i < h->n_here; i++) {
        struct piece *p = &h->here[i];

        if (p->taken) {
            continue;
        }
        if (p->ready_s <= now_s) {
            return p;
        }
        best = !best || p->ready_s < best->ready_s ? p : best;
    }
    return best;
}

/* The CPU's next: the least loaded missing one, else the least loaded of those that are there. */
static struct piece *cpu_next(struct hybrid *h)
{
    for (uint32_t i = h->n_missing; i-- > 0;) {
        if (!h->missing[i].taken) {
            return &h->missing[i];
        }
    }
    for (uint32_t i = h->n_here; i-- > 0;) {
        if (!h->here[i].taken && h->here[i].ready_s <= 0) {
            return &h->here[i];
        }
    }
    return NULL;
}

static struct piece *link_next(struct hybrid *h)
{
    for (uint32_t i = 0; i < h->n_missing; i++) {
        if (!h->missing[i].taken) {
            return &h->missing[i];
        }
    }
    return NULL;
}

struct timelines {
    double gpu_s, cpu_s, link_s;
    bool cpu_used;
};

static double gpu_end(const struct timelines *t, const struct expert_view *v, const struct piece *p)
{
    double from = t->gpu_s > p->ready_s ? t->gpu_s : p->ready_s;

    return from + v->ops->gpu_s(v->ctx, 1, p->load);
}

/* One step of the greedy: false when nothing is left. */
static bool give_one(struct hybrid *h, struct timelines *t, const struct expert_view *v)
{
    struct piece *gpu = gpu_next(h, t->gpu_s), *cpu = cpu_next(h), *link = link_next(h);
    double at_gpu = gpu ? gpu_end(t, v, gpu) : 1e300;
    double at_cpu = cpu ? t->cpu_s + cpu_cost_s(&h->cost, cpu->load, !t->cpu_used) : 1e300;
    double at_link = link ? t->link_s + h->load_s : 1e300;

    if (!gpu && !cpu && !link) {
        return false;
    }
    if (at_gpu <= at_cpu && at_gpu <= at_link) {
        gpu->taken = true;
        t->gpu_s = at_gpu;
    } else if (at_cpu <= at_link) {
        cpu->taken = true;
        h->to_cpu[cpu->expert] = true;
        t->cpu_s = at_cpu;
        t->cpu_used = true;
    } else {
        link->taken = true;
        t->link_s = at_link;
        h->here[h->n_here++] = (struct piece){link->expert, link->load, at_link, false};
    }
    return true;
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
    struct timelines t = {0};

    if (h->prefill_gpu && has_prefill(w)) {
        return;
    }
    queue_up(h, v, w);
    while (give_one(h, &t, v)) {
    }
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
    .source = "HybriMoE (arXiv 2504.05897), section 4.2",
    .state_size = sizeof(struct hybrid),
    .options = hybrid_options,
    .init = hybrid_init,
    .decide = hybrid_decide,
    .cpu_s = hybrid_cpu_s,
};
