/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard fit --check-replay: iterations that steelyard-probe executed, against what a profile says of
 * them. */
#ifndef STEELYARD_FIT_CHECK_H
#define STEELYARD_FIT_CHECK_H

#include <stdbool.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"

struct fit_check {
    const char *replay;        /* the file that steelyard-probe --replay wrote */
    const char *plan, *profile; /* simulate the plan's steps with this profile; NULL = as the plan did */
    const char *data_dir;      /* its gpus/ says which names are those of a chip */
    bool json;
};

/* Prints the comparison. SIM_E_GOAL when the median error is above 5 % or the 95th percentile above 10 %. */
int fit_check_replay(const struct fit_check *c, struct arena *ar, struct err *e);

#endif
