/* SPDX-License-Identifier: Apache-2.0
 *
 * The figure of a replayed run: distributions of TTFT, TPOT and latency, measured beside simulated. */
#ifndef STEELYARD_REPLAY_PLOT_H
#define STEELYARD_REPLAY_PLOT_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/results/compare.h"

/* FOLDER/NAME.dat, .gp, .svg and .png; the folder is made. `title` stands over the three panels. A
 * distribution that was not measured shows the simulated side alone. */
int replay_plot(const struct compare *c, const char *title, const char *name, const char *folder,
                struct arena *ar, struct err *e);

#endif
