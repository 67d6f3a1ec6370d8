/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured and simulated side by side, as text, JSON or CSV on standard output. */
#ifndef STEELYARD_REPLAY_PRINT_H
#define STEELYARD_REPLAY_PRINT_H

#include "sim/cli/replay_meta.h"
#include "sim/results/compare.h"
#include "sim/run.h"

enum replay_format { REPLAY_TEXT, REPLAY_JSON, REPLAY_CSV };

/* One run and what came of it. */
struct replay_outcome {
    struct replay_meta meta;
    struct run_config cfg;
    struct run_result result;
    struct compare cmp;
    struct arena ar;
};

/* `n` runs, and over several of them the spread of each error. */
int replay_print(enum replay_format format, const struct replay_outcome *t, size_t n, struct arena *ar, struct err *e);

#endif
