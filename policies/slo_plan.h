/* SPDX-License-Identifier: Apache-2.0
 *
 * Which requests to promise their first token: the dynamic programme of SLOs-Serve as JITServe's artifact runs
 * it for a baseline. Requests are sorted by the deadline of their first token. Between two deadlines so many
 * prompt tokens can be computed as batches have room for beside decodes: (token budget - decoding requests) for
 * each interval between tokens that fits. Those promised so far decode. */
#ifndef STEELYARD_SLO_PLAN_H
#define STEELYARD_SLO_PLAN_H

#include "sim/core/types.h"

#define SLO_PLAN_MOST   32  /* requests */
#define SLO_PLAN_LEVELS 128 /* of the prompt budget: it is rounded to a share of what there is at the end */

struct slo_plan_item {
    sim_ns due_ns;       /* in rising order */
    uint32_t prompt_tok;
    double value;
    bool promised;       /* the answer */
};

struct slo_plan_load {
    sim_ns now_ns, step_ns;  /* time between tokens that decodes are promised */
    uint32_t token_budget;   /* of a batch */
    uint32_t n_decoding;     /* requests that decode already */
};

/* Room to think; as it was left is as good as any other. */
struct slo_planner {
    double best[SLO_PLAN_MOST + 1][SLO_PLAN_LEVELS]; /* largest value with n promised and b left, < 0 = none */
    double next[SLO_PLAN_MOST + 1][SLO_PLAN_LEVELS];
    /* After item i: what was left before it, and SLO_PLAN_TOOK where it was promised. */
    uint8_t came[SLO_PLAN_MOST][SLO_PLAN_MOST + 1][SLO_PLAN_LEVELS];
};

/* Sets `promised` to the choice of the largest total value (of equals, one) for which every prompt is through
 * by its deadline. n <= SLO_PLAN_MOST. Exact where all budgets are below SLO_PLAN_LEVELS tokens, else on the
 * safe side: prompts are rounded up and budgets down. O(n^2 levels). */
void slo_plan(struct slo_planner *p, struct slo_plan_item *items, uint32_t n,
              const struct slo_plan_load *load);

#endif
