/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of the VTC artifact's engine, simulated several times.
 *
 * Who is served next hangs on a few milliseconds, and the choice is carried on: a single run is one draw
 * of a distribution, on the real machine (its repeated runs differ) as in the simulation. Ours is the
 * mean over repetitions. They differ in the one thing that is known to have varied between the recorded
 * runs - the first step of a cold engine, whose answers came after 1.16 to 1.28 s, so 1 s is added
 * +-60 ms - and, where the arrivals are generated, in their draw. */
#ifndef STEELYARD_REPRODUCE_VTC_RUN_H
#define STEELYARD_REPRODUCE_VTC_RUN_H

#include "sim/cli/reproduce/reproduce.h"
#include "sim/results/compare.h"
#include "sim/results/fairness.h"

#define REPRO_RUNS        25
#define REPRO_COLD_MS     1000
#define REPRO_COLD_OFF_MS 60

struct repro_setup {
    const char *policy;
    const char *recorded; /* file in groundtruth/vtc whose arrivals are played; NULL = none */
    const char *trace;    /* played when that file is not there; NULL = then the run is absent */
    const char *weights;  /* of the clients, NULL = equal */
    double pool_tok;
    bool a100;
};

struct repro_run {
    struct compare cmp[REPRO_RUNS]; /* the rows, as the artifact counts prompts */
    size_t n;      /* repetitions; 0: the arrivals are not there */
    bool recorded; /* the arrivals and measured times are those of the file */
    uint32_t n_clients;
};

int repro_simulate(struct repro *p, const struct repro_setup *s, struct repro_run *ret, struct err *e);
void repro_run_release(struct repro_run *r);
/* One repetition, as fairness.h takes it. */
struct fairness repro_side(const struct repro_run *r, size_t repetition, enum side side,
                           enum fairness_cost cost);
/* The repetition in the middle, with 1 s: for curves. */
#define REPRO_MIDDLE (REPRO_RUNS / 2)

#endif
