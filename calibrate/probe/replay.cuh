/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan of the simulator, executed (README.md, "Replay"). */
#ifndef STEELYARD_PROBE_REPLAY_CUH
#define STEELYARD_PROBE_REPLAY_CUH

#include "calibrate/probe/args.h"
#include "calibrate/probe/gpu.cuh"

/* Reads the plan, opens the device, runs, writes. As gpu_open: 0, < 0, or PROBE_EXIT_NO_GPU. */
int replay_plan(const struct probe_args *a, int argc, char **argv, struct err *e);

/* Ctrl-C was pressed: long work looks at it. */
bool probe_interrupted(void);
const char *utc_now(char buf[32]);

#endif
