/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/timelines.h"

#include <math.h>
#include <string.h>

int timelines_init(struct timelines *t, const struct expert_env *env, struct err *e)
{
    *t = (struct timelines){.n_here = 0};
    t->here = arena_calloc(env->arena, env->experts, sizeof *t->here);
    t->missing = arena_calloc(env->arena, env->experts, sizeof *t->missing);
    t->gpu = arena_calloc(env->arena, env->experts, sizeof *t->gpu);
    return t->here && t->missing && t->gpu ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for three timelines");
}

void timelines_clear(struct timelines *t)
{
    t->n_here = t->n_missing = 0;
}

/* Copies that are under way come first, in their order; then by falling load, of equals the lower number. */
static bool before(const struct timelines_expert *x, const struct timelines_expert *y)
{
    if (x->ready_s < y->ready_s || x->ready_s > y->ready_s) {
        return x->ready_s < y->ready_s;
    }
    return x->load != y->load ? x->load > y->load : x->expert < y->expert;
}

static void insert(struct timelines_expert *list, uint32_t *n, struct timelines_expert x)
{
    uint32_t at = (*n)++;

    for (; at > 0 && before(&x, &list[at - 1]); at--) {
        list[at] = list[at - 1];
    }
    list[at] = x;
}

void timelines_add(struct timelines *t, struct timelines_expert x)
{
    x.cpu = false;
    if (x.ready_s <= 0) {
        insert(t->here, &t->n_here, x);
    } else {
        insert(t->missing, &t->n_missing, x);
    }
}

void timelines_fetch(struct timelines *t, const struct timelines *from, uint32_t at, double ready_s)
{
    struct timelines_expert x = from->missing[at];

    t->n_here = from->n_here;
    t->n_missing = from->n_missing - 1;
    memcpy(t->here, from->here, from->n_here * sizeof x);
    memcpy(t->missing, from->missing, at * sizeof x);
    memcpy(t->missing + at, from->missing + at + 1, (from->n_missing - at - 1) * sizeof x);
    x.ready_s = ready_s;
    timelines_add(t, x);
}

/* ---- filling ---- */

/* Lists are eaten from both ends: from..to is left. */
struct fill {
    struct timelines *t;
    const struct expert_view *v;
    double gpu_s, cpu_s, link_s;
    bool cpu_used;
    uint32_t missing_from, missing_to;
    uint32_t gpu_from, gpu_to; /* the GPU's queue, in `gpu`: who was there from the start, then arrivals */
};

static double gpu_cost(const struct fill *f, const struct timelines_expert *x)
{
    return f->v->ops->gpu_s(f->v->ctx, 1, x->load);
}

static double cpu_cost(const struct fill *f, const struct timelines_expert *x)
{
    return f->v->ops->cpu_s(f->v->ctx, x->load, !f->cpu_used);
}

static double arrival(const struct fill *f, const struct timelines_expert *x)
{
    return x->ready_s < HUGE_VAL ? x->ready_s : f->link_s + f->v->env.load_s;
}

static void begin(struct fill *f, struct timelines *t, const struct expert_view *v, double link_s)
{
    *f = (struct fill){.t = t, .v = v, .link_s = link_s, .missing_to = t->n_missing, .gpu_to = t->n_here};
    memcpy(t->gpu, t->here, t->n_here * sizeof *t->gpu);
    for (uint32_t i = 0; i < t->n_here; i++) {
        t->here[i].cpu = false;
    }
    for (uint32_t i = 0; i < t->n_missing; i++) {
        t->missing[i].cpu = false;
    }
}

static double makespan(const struct fill *f)
{
    return fmax(f->gpu_s, f->cpu_s);
}

static void mark_cpu(struct timelines *t, uint32_t expert)
{
    for (uint32_t i = 0; i < t->n_here; i++) {
        t->here[i].cpu |= t->here[i].expert == expert;
    }
}

/* ---- the paper's rule ---- */

/* The most loaded that has come by now; else the first to come: in the queue arrivals follow in their order. gpu_to
 * when it is empty. */
static uint32_t gpu_next(const struct fill *f)
{
    const struct timelines_expert *q = f->t->gpu;
    uint32_t best = f->gpu_to;

    for (uint32_t i = f->gpu_from; i < f->gpu_to; i++) {
        bool there = q[i].ready_s <= f->gpu_s;

        if (best == f->gpu_to || (there && q[i].load > q[best].load)) {
            best = i;
        }
        if (!there) {
            break; /* the others come later */
        }
    }
    return best;
}

static struct timelines_expert take_gpu(struct fill *f, uint32_t at)
{
    struct timelines_expert x = f->t->gpu[at];

    memmove(&f->t->gpu[f->gpu_from + 1], &f->t->gpu[f->gpu_from], (at - f->gpu_from) * sizeof x);
    f->gpu_from++;
    return x;
}

/* The last of those that were there from the start, or gpu_to. They come first in the queue. */
static uint32_t least_here(const struct fill *f)
{
    uint32_t at = f->gpu_to;

    for (uint32_t i = f->gpu_from; i < f->gpu_to && f->t->gpu[i].ready_s <= 0; i++) {
        at = i;
    }
    return at;
}

static void to_cpu(struct fill *f, double end_s, uint32_t here)
{
    f->cpu_s = end_s;
    f->cpu_used = true;
    if (f->missing_from < f->missing_to) {
        f->t->missing[--f->missing_to].cpu = true;
        return;
    }
    mark_cpu(f->t, f->t->gpu[here].expert);
    f->gpu_to--;
    memmove(&f->t->gpu[here], &f->t->gpu[here + 1], (f->gpu_to - here) * sizeof *f->t->gpu);
}

static void to_link(struct fill *f, double end_s)
{
    struct timelines_expert x = f->t->missing[f->missing_from++];

    x.ready_s = end_s;
    f->link_s = fmax(f->link_s, end_s);
    f->t->gpu[f->gpu_to++] = x;
}

/* One step of the greedy: false when nothing is left. */
static bool give_one(struct fill *f)
{
    const struct timelines *t = f->t;
    bool missing = f->missing_from < f->missing_to;
    uint32_t gpu = gpu_next(f), here = missing ? f->gpu_to : least_here(f);
    const struct timelines_expert *cpu = missing ? &t->missing[f->missing_to - 1] : here < f->gpu_to ? &t->gpu[here] : NULL;
    double at_gpu = gpu < f->gpu_to ? fmax(f->gpu_s, t->gpu[gpu].ready_s) + gpu_cost(f, &t->gpu[gpu]) : HUGE_VAL;
    double at_cpu = cpu ? f->cpu_s + cpu_cost(f, cpu) : HUGE_VAL;
    double at_link = missing ? arrival(f, &t->missing[f->missing_from]) : HUGE_VAL;

    if (gpu == f->gpu_to && !missing) {
        return false;
    }
    if (at_gpu <= at_cpu && at_gpu <= at_link) {
        f->gpu_s = at_gpu;
        take_gpu(f, gpu);
    } else if (at_cpu <= at_link) {
        to_cpu(f, at_cpu, here);
    } else {
        to_link(f, at_link);
    }
    return true;
}

/* ---- the released code's rule ---- */

/* Positions in `here` behind one another with `missing`. */
static struct timelines_expert *at(struct timelines *t, uint32_t i)
{
    return i < t->n_here ? &t->here[i] : &t->missing[i - t->n_here];
}

static void fill_from_both_ends(struct fill *f)
{
    uint32_t head = 0, tail = f->t->n_here + f->t->n_missing;

    while (head < tail) {
        struct timelines_expert *first = at(f->t, head), *last = at(f->t, tail - 1);
        double ready = head < f->t->n_here ? 0 : arrival(f, first);
        double at_gpu = fmax(f->gpu_s, ready) + gpu_cost(f, first), at_cpu = f->cpu_s + cpu_cost(f, last);

        if (at_gpu <= at_cpu) {
            f->link_s = fmax(f->link_s, ready);
            f->gpu_s = at_gpu;
            head++;
        } else {
            last->cpu = true;
            f->cpu_s = at_cpu;
            f->cpu_used = true;
            tail--;
        }
    }
}

double timelines_run(struct timelines *t, const struct expert_view *v, enum timelines_rule rule, double link_s)
{
    struct fill f;

    begin(&f, t, v, link_s);
    if (rule == TIMELINES_CODE) {
        fill_from_both_ends(&f);
    } else {
        while (give_one(&f)) {
        }
    }
    return makespan(&f);
}
