/* SPDX-License-Identifier: Apache-2.0
 *
 * What HybriMoE's released code fetches ahead: no prediction, but those of the next layer that have the highest
 * priority scores in its cache (mrs.h), after every gate of a decode step. */
#include "policies/prefetch/ahead.h"
#include "policies/mrs.h"

struct top_score {
    struct mrs mrs;
    int64_t width;
};

static const struct opt_row top_score_options[] = {
    MRS_OPTIONS(struct top_score, mrs),
    {.name = "width", .type = OPT_INT, .offset = offsetof(struct top_score, width), .min = 0, .max = 1024, .def = "0",
     .unit = "1", .help = "experts named for the next layer; 0 = as many as a token uses"},
    OPT_END,
};

static int top_score_init(void *st, const struct expert_env *env, struct err *e)
{
    return mrs_open(&((struct top_score *)st)->mrs, env, e);
}

/* Behind `last` (EXPERT_NONE = the first) by falling score; EXPERT_NONE at the end. Who has no score is nobody's
 * guess. */
static uint32_t next_best(const struct top_score *t, const struct expert_view *v, uint32_t layer, uint32_t last)
{
    const double *score = &t->mrs.score[(size_t)layer * v->env.experts];
    uint32_t best = EXPERT_NONE;

    for (uint32_t j = 0; j < v->env.experts; j++) {
        bool behind = last == EXPERT_NONE || score[j] < score[last] || (score[j] <= score[last] && j > last);

        if (score[j] > 0 && behind && (best == EXPERT_NONE || score[j] > score[best])) {
            best = j;
        }
    }
    return best;
}

static void top_score_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct top_score *t = st;
    uint32_t n = t->width > 0 ? (uint32_t)t->width : v->env.top_k;

    mrs_gate(&t->mrs, v, w);
    if (w->layer + 1 >= v->env.layers || (w->n_tok > 0 && w->tok[w->n_tok - 1].prefill)) {
        return;
    }
    for (uint32_t i = 0, j = EXPERT_NONE; i < n; i++) {
        j = next_best(t, v, w->layer + 1, j);
        if (j == EXPERT_NONE) {
            return;
        }
        v->ops->want(v->ctx, w->layer + 1, j, false);
    }
}

const struct prefetch_ops prefetch_top_score = {
    .name = "top-score",
    .summary = "those of the next layer with the highest running router scores (HybriMoE's code)",
    .source = "HybriMoE, released code (github.com/PKU-SEC-Lab/HybriMoE)",
    .state_size = sizeof(struct top_score),
    .options = top_score_options,
    .needs = EXPERTS_SCORES,
    .init = top_score_init,
    .routed = top_score_routed,
};
