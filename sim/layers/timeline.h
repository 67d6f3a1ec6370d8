/* SPDX-License-Identifier: Apache-2.0
 *
 * What the lanes of a run did when, as a Chrome trace (JSON), which Perfetto shows: each lane is a track,
 * each piece of work a slice. Times are whole nanoseconds of simulated time. */
#ifndef STEELYARD_TIMELINE_H
#define STEELYARD_TIMELINE_H

#include <stdio.h>

#include "sim/core/err.h"
#include "sim/core/types.h"

enum timeline_track { TRACK_STEP, TRACK_GPU, TRACK_H2D, TRACK_D2H, TRACK_CPU, TRACKS };

struct timeline {
    FILE *out; /* NULL = closed: slices go nowhere */
    const char *path;
    uint64_t slices;
};

int timeline_open(struct timeline *t, const char *path, struct err *e);
/* A slice of [from, to); nothing is written for an empty one. `fmt` makes its name, of plain characters
 * only. Slices of one track come in order and do not overlap. */
void timeline_slice(struct timeline *t, enum timeline_track track, sim_ns from, sim_ns to, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
int timeline_close(struct timeline *t, struct err *e);

#endif
