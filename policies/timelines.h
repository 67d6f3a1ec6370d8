/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's simulation of one MoE layer (arXiv 2504.05897, section IV-B): three timelines, of the GPU, of the
 * CPU and of the link, are filled greedily until every expert is given away.
 *
 * The paper's rule. Each step takes the timeline whose next piece would end first:
 *   GPU   the most loaded expert that is there, or else the next one to arrive
 *   CPU   the least loaded expert that is missing; when none is left, the least loaded one that is there
 *   link  the most loaded missing expert, which joins the GPU's queue when it arrives
 *
 * The released code's rule. One list, experts that are there before missing ones, most loaded first; its head goes
 * to the GPU, behind its copy where it needs one, when that would end no later than its tail on the CPU.
 *
 * A copy on the wire counts with what is left of it, and the link is free from when it can begin another one. */
#ifndef STEELYARD_TIMELINES_H
#define STEELYARD_TIMELINES_H

#include "policies/experts.h"

enum timelines_rule { TIMELINES_PAPER, TIMELINES_CODE };

struct timelines_expert {
    uint32_t expert, load;
    double ready_s; /* 0 = there; when its copy is through; HUGE_VAL = not on its way */
    bool cpu;       /* the answer: computed there */
};

struct timelines {
    struct timelines_expert *here, *missing; /* [experts]; most loaded first, behind those whose copies are under way */
    uint32_t n_here, n_missing;
    struct timelines_expert *gpu; /* scratch: [experts] */
};

int timelines_init(struct timelines *t, const struct expert_env *env, struct err *e);

void timelines_clear(struct timelines *t);
/* An expert with a load, in any order. */
void timelines_add(struct timelines *t, struct timelines_expert x);
/* `from` with its missing expert `at` there from `ready_s` on. */
void timelines_fetch(struct timelines *t, const struct timelines *from, uint32_t at, double ready_s);

/* `link_s`: when the link can begin a copy. The makespan; who goes to the CPU is in `here` and `missing`. */
double timelines_run(struct timelines *t, const struct expert_view *v, enum timelines_rule rule, double link_s);

#endif
