/* SPDX-License-Identifier: Apache-2.0
 *
 * What the lanes of a run did when, as a Chrome trace (JSON), which Perfetto shows: each replica is a process,
 * each lane a track, each piece of work a slice. Times are whole nanoseconds of simulated time. Tracks are
 * there when something is on them, in this order. */
#ifndef STEELYARD_TIMELINE_H
#define STEELYARD_TIMELINE_H

#include <stdio.h>

#include "sim/core/err.h"
#include "sim/core/types.h"

/*   constant       name */
#define TIMELINE_TRACK_MAP(X)                                                                       \
    X(TRACK_STEP, "engine steps")                                                                  \
    X(TRACK_HOST, "host")                                                                          \
    X(TRACK_GPU, "GPU")                                                                            \
    X(TRACK_COLLECTIVE, "GPU to GPU")                                                              \
    X(TRACK_H2D, "experts to the GPU (H2D)")                                                       \
    X(TRACK_D2H, "experts to the host (D2H)")                                                      \
    X(TRACK_KV_IN, "KV to the GPU (H2D)")                                                          \
    X(TRACK_KV_OUT, "KV to the host (D2H)")                                                        \
    X(TRACK_KV_BELOW, "KV below host memory")                                                      \
    X(TRACK_CPU, "CPU experts")                                                                    \
    X(TRACK_MOVES, "experts between ranks")

enum timeline_track {
#define TIMELINE_ENUM(constant, name) constant,
    TIMELINE_TRACK_MAP(TIMELINE_ENUM)
#undef TIMELINE_ENUM
    TRACKS
};

/* Where slices of a track overlap it has more than one line. */
#define TIMELINE_LINES 8

struct timeline {
    FILE *out; /* NULL = closed: slices go nowhere */
    const char *path;
    uint64_t slices;
    bool begun;        /* something is in the file */
    uint32_t replicas; /* 0 = 1, and it needs no name */
    struct timeline_ends {
        bool named;
        struct timeline_line {
            bool named;
            sim_ns end;
        } line[TRACKS][TIMELINE_LINES];
    } *ends; /* by replica */
};

/* `replicas`: that will have slices. */
int timeline_open(struct timeline *t, const char *path, uint32_t replicas, struct err *e);
/* A slice of [from, to); nothing is written for an empty one. `fmt` makes its name, of plain characters
 * only. */
void timeline_slice(struct timeline *t, enum timeline_track track, sim_ns from, sim_ns to, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The same for one of several replicas. */
void timeline_slice_of(struct timeline *t, uint32_t replica, enum timeline_track track, sim_ns from, sim_ns to,
                       const char *fmt, ...) __attribute__((format(printf, 6, 7)));
int timeline_close(struct timeline *t, struct err *e);

#endif
