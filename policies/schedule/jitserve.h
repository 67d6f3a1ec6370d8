/* SPDX-License-Identifier: Apache-2.0
 *
 * State of jitserve, shared by its two files: the policy, and who is worth what. */
#ifndef STEELYARD_JITSERVE_H
#define STEELYARD_JITSERVE_H

#include "policies/compound.h"
#include "policies/frame.h"
#include "policies/gmax.h"
#include "policies/ordered.h"
#include "policies/predict/predict.h"

enum select { SELECT_GMAX, SELECT_PRIORITY, SELECT_DEADLINE };

struct jitserve {
    struct ordered o;
    const char *predictor_spec;
    int64_t frame_iter, batch, displaced_max, select, stages, stage_cost, patterns;
    double cutoff, unit0_s, wait_limit_s, best_effort, switch_s, penalty, similar_tok, ended_s;
    struct predictor predictor;
    struct compound programs;
    struct frame frame;
    uint32_t displaced; /* in this frame */
    struct jit_slot {
        int64_t order; /* larger runs first: its priority */
        double goodput, rem_s;
        bool selected, hopeless;
    } * slots;
    struct gmax_item *items; /* after a frame has begun: what it looked at */
    uint32_t slots_cap, items_cap, n_items, n_looked_through;
};

/* Goodput, generation time and order of `r` as of now, without what its program shares. */
void jitserve_prioritise(struct jitserve *j, const struct sched_view *v, req_id r);
/* Begin a frame if it is time: all priorities anew, and a batch is selected. */
void jitserve_frame(struct jitserve *j, const struct sched_view *v);

#endif
