/* SPDX-License-Identifier: Apache-2.0
 *
 * From the settings of a run ("executor", "experts.*") to a layer executor, and from its counters to
 * metrics. */
#ifndef STEELYARD_LAYERS_SETUP_H
#define STEELYARD_LAYERS_SETUP_H

#include "models/gpu.h"
#include "sim/layers/executor.h"
#include "sim/run.h"

struct expert_run {
    bool open;
    struct layers layers;
    struct nested_config nested; /* with experts.planes */
    struct routes *routes; /* NULL = nothing is offloaded */
};

/* Weights that lie in GPU memory, over all ranks. */
double experts_weight_bytes(const struct run_config *c, const struct llm_shape *m);

/* `link`: what experts are copied over, shared with KV; NULL = a link of their own. Does nothing for executor=whole, which takes no offload. Always close. */
int experts_open(struct expert_run *x, const struct run_config *c, const struct llm_shape *m,
                 const struct gpu_profile *g, const struct cost_ops *cost, const void *cost_state,
                 const struct gpu_link *link, struct timeline *t, struct arena *a, struct err *e);
void experts_close(struct expert_run *x);

/* Time of the steps so far over what the cost model says of them without offload; 1 where there is none. */
double experts_slowdown(const struct expert_run *x);
/* One of its policies knows the future. */
bool experts_oracle(const struct expert_run *x);
/* Adds its metrics to the results, when something is offloaded. */
int experts_metrics(const struct expert_run *x, struct run_result *ret, struct arena *a, struct err *e);

#endif
