/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/mrs.h"

#include <stdlib.h>

int mrs_open(struct mrs *m, const struct expert_env *env, struct err *e)
{
    uint64_t p = m->p > 0 ? (uint64_t)m->p : 2ull * env->top_k;
    m->keep = (uint32_t)(p < env->experts ? p : env->experts);
    m->score = arena_calloc(env->arena, (size_t)env->layers * env->experts, sizeof *m->score);
    m->sorted = arena_calloc(env->arena, env->experts, sizeof *m->sorted);
    return m->score && m->sorted ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for scores of experts");
}

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

void mrs_gate(struct mrs *m, const struct expert_view *v, const struct layer_work *w)
{
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
