/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's minus-recent-score (arXiv 2504.05897): every gate updates the score of each expert of its
 * layer, S <- a * TopP(s) + (1 - a) * S, where TopP keeps the p largest router probabilities and zeroes the
 * rest; the lowest S goes. With several tokens s is their mean. */
#include <stdlib.h>

#include "policies/experts.h"

struct mrs {
    double a;
    int64_t p;
    double *score; /* by item */
    float *sorted; /* [experts] */
    uint32_t keep;
};

static const struct opt_row mrs_options[] = {
    {.name = "a", .type = OPT_DOUBLE, .offset = offsetof(struct mrs, a), .min = 0, .max = 1, .def = "0.5",
     .unit = "1", .help = "weight of the gate at hand (0.5 in the repository)"},
    {.name = "p", .type = OPT_INT, .offset = offsetof(struct mrs, p), .min = 0, .max = 1024, .def = "0",
     .unit = "1", .help = "router probabilities that count; 0 = twice the experts of a token (the paper: at "
                          "most that; the repository: 12)"},
    OPT_END,
};

static int mrs_init(void *st, const struct expert_env *env, struct err *e)
{
    struct mrs *m = st;
    uint64_t p = m->p > 0 ? (uint64_t)m->p : 2ull * env->top_k;
    m->keep = (uint32_t)(p < env->experts ? p : env->experts);
    m->score = arena_calloc(env->arena, (size_t)env->layers * env->experts, sizeof *m->score);
    m->sorted = arena_calloc(env->arena, env->experts, sizeof *m->sorted);
    return m->score && m->sorted ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for mrs");
}

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void mrs_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct mrs *m = st;
    uint32_t n = v->env.experts;
    double *s = &m->score[(size_t)w->layer * n];
    for (uint32_t i = 0; i < n; i++) {
        m->sorted[i] = w->score[i];
    }
    qsort(m->sorted, n, sizeof *m->sorted, falling);
    float least = m->sorted[m->keep - 1];
    for (uint32_t i = 0; i < n; i++) {
        s[i] = m->a * (double)(w->score[i] >= least ? w->score[i] : 0) + (1 - m->a) * s[i];
    }
}

static double mrs_key(const void *st, const struct expert_view *v, uint32_t item)
{
    (void)v;
    return ((const struct mrs *)st)->score[item];
}

static uint32_t mrs_victim(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming)
{
    (void)incoming;
    return expert_lowest(v, room, mrs_key, st);
}

const struct evict_ops evict_mrs = {
    .name = "mrs",
    .summary = "the lowest running router score (HybriMoE)",
    .source = "HybriMoE (arXiv 2504.05897), score-aware caching",
    .state_size = sizeof(struct mrs),
    .options = mrs_options,
    .needs = EXPERTS_SCORES,
    .init = mrs_init,
    .routed = mrs_routed,
    .victim = mrs_victim,
};
