/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of steelyard-probe. */
#ifndef STEELYARD_PROBE_ARGS_H
#define STEELYARD_PROBE_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "calibrate/probe/c_begin.h"
#include "sim/core/err.h"

#define PROBE_VERSION "1.0"

struct probe_args {
    bool help, version, list, quick, go_on, eager, quiet;
    int device;
    const char *out;    /* NULL = standard output */
    const char *only;   /* "gemm,decode": kinds or beginnings of ids; NULL = all */
    const char *replay; /* plan to execute; NULL = measure */
    int repeat;         /* replay: runs of each step */
    int graph_max;      /* replay: largest batch of decodes that goes through a graph */
    int limit;          /* replay: first n steps; 0 = all */
};

extern const char probe_usage[];

/* SIM_E_USAGE with a sentence when something is wrong. The strings are those of argv. */
int probe_args_parse(struct probe_args *ret, int argc, char **argv, struct err *e);

/* Does the comma-separated list name this kind, or the beginning of this id? NULL names everything. */
bool only_matches(const char *only, const char *kind, const char *id);

#include "calibrate/probe/c_end.h"
#endif
