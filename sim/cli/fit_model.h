/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile as a cost model, to be asked for single steps. */
#ifndef STEELYARD_FIT_MODEL_H
#define STEELYARD_FIT_MODEL_H

#include "models/cost.h"

struct fit_model {
    const struct cost_ops *ops;
    void *state;
};

/* Options are pairs of name and value, ended by NULL. The profile's degree of tensor parallelism counts. */
int fit_model_open(struct fit_model *m, const char *profile, const char *const (*options)[2], struct arena *ar,
                   struct err *e);
double fit_model_s(const struct fit_model *m, const struct batch_shape *b);

#endif
