/* SPDX-License-Identifier: Apache-2.0
 *
 * From "experts.planes" and its neighbours to the settings of nested experts, and from their counters to
 * metrics: inside of setup.c only. */
#ifndef STEELYARD_NESTED_SETUP_H
#define STEELYARD_NESTED_SETUP_H

#include "models/llm.h"
#include "sim/layers/executor.h"
#include "sim/run.h"

static inline bool nested_asked(const struct run_config *c)
{
    return c->experts_planes.n > 0;
}

/* All planes of one expert, on one rank; what lies in GPU memory of all experts, over all ranks. */
double nested_expert_bytes(const struct run_config *c, const struct llm_shape *m);
double nested_bytes(const struct run_config *c, const struct llm_shape *m);

/* The keys, without the link and its calls. */
int nested_settings(struct nested_config *n, const struct run_config *c, const struct llm_shape *m, struct err *e);

#define NESTED_METRICS 12
size_t nested_metrics(const struct layers *x, struct metric *m);

#endif
