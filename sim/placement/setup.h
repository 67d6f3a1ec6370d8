/* SPDX-License-Identifier: Apache-2.0
 *
 * From the settings of a run ("placement.*") to a balancer, and from its counters to metrics. */
#ifndef STEELYARD_PLACEMENT_SETUP_H
#define STEELYARD_PLACEMENT_SETUP_H

#include "models/llm.h"
#include "sim/placement/balancer.h"
#include "sim/run.h"

struct placement_run {
    bool open;
    struct balancer balancer;
    struct routes *routes;
};

/* Does nothing without placement.policy. Always close. */
int placement_open(struct placement_run *x, const struct run_config *c, const struct llm_shape *m,
                   const struct cost_ops *cost, const void *cost_state, struct timeline *t, struct arena *a,
                   struct err *e);
void placement_close(struct placement_run *x);

/* Time of the steps so far over what they would have taken had all ranks been alike. */
double placement_slowdown(const struct placement_run *x);
int placement_metrics(const struct placement_run *x, struct run_result *ret, struct arena *a, struct err *e);

#endif
