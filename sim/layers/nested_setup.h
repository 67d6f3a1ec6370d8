/* SPDX-License-Identifier: Apache-2.0
 *
 * From "experts.planes" and its neighbours to the settings of nested experts, and from their counters to
 * metrics: for setup.c, and for whoever wants sizes. */
#ifndef STEELYARD_NESTED_SETUP_H
#define STEELYARD_NESTED_SETUP_H

#include "models/llm.h"
#include "sim/layers/executor.h"
#include "sim/run.h"

static inline bool nested_asked(const struct run_config *c)
{
    return c->experts_planes.n > 0;
}

/* Bits per weight of plane `i`. A group of weights shares a scale, in the base plane a zero point, too
 * (asymmetric); a residual plane has a scale of its own per bit. */
double nested_plane_bits(const struct run_config *c, uint32_t i);
/* All planes of one expert, on one rank; what lies in GPU memory of all experts, over all ranks. */
double nested_expert_bytes(const struct run_config *c, const struct llm_shape *m);
double nested_bytes(const struct run_config *c, const struct llm_shape *m);

/* The keys, without the link and its calls. */
int nested_settings(struct nested_config *n, const struct run_config *c, const struct llm_shape *m, struct err *e);

#define NESTED_METRICS 12
size_t nested_metrics(const struct layers *x, struct metric *m);

#endif
