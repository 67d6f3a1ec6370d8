/* SPDX-License-Identifier: Apache-2.0
 *
 * Published tables and figures, made again. A reproduction is a row of a table and a function that
 * simulates what its source ran and adds one row per published number. */
#ifndef STEELYARD_REPRODUCE_H
#define STEELYARD_REPRODUCE_H

#include "sim/cli/figure.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/results/fairness.h"

enum repro_verdict { REPRO_INSIDE, REPRO_OUTSIDE, REPRO_HOLDS, REPRO_FAILS, REPRO_SKIPPED };
const char *repro_verdict_name(enum repro_verdict v);

struct repro_row {
    const char *id, *row, *unit;
    double published, ours; /* NaN = none */
    double sd;              /* of ours over the repetitions; NaN = not an average */
    double tolerance;       /* |ours/published - 1| allowed; NaN = an order, or nothing to compare */
    enum repro_verdict verdict;
};

/* Allowed relative differences: one per kind of quantity, the same in every table and figure. */
#define REPRO_TOL_TOTAL    0.04 /* total time, throughput: the recorded runs' own spread is 3 % */
#define REPRO_TOL_SERVICE  0.05 /* service per second of a client */
#define REPRO_TOL_LATENCY  0.10 /* mean first-token latency of a client */
#define REPRO_TOL_DIFF     0.15 /* differences in service: mean and maximum */
#define REPRO_TOL_VARIANCE 0.30 /* their variance, a square */
#define REPRO_TOL_COUNT    0.006 /* rejections: 1 of 176 */

struct repro {
    struct arena ar;
    const char *data;    /* folder with groundtruth/, NULL = not there */
    const char *figures; /* folder to draw into, NULL = no drawing */
    const char *id;      /* of the reproduction at work */
    size_t n, cap;
    struct repro_row *row;
    /* One more simulation is about to run; nonzero ends the work. */
    int (*progress)(void *ctx, const char *what);
    void *progress_ctx;
};

struct reproduction {
    const char *id, *paper, *what;
    int (*run)(struct repro *p, struct err *e);
};

/* Ends with a NULL id. */
extern const struct reproduction reproductions_vtc[];

/* A number over the repetitions of a run. All zero is a valid, empty one. */
struct repro_estimate {
    double sum, sum_sq;
    unsigned n;
};
void repro_note(struct repro_estimate *v, double x);
double repro_mean(const struct repro_estimate *v); /* NaN when empty */
double repro_sd(const struct repro_estimate *v);

/* A published number beside ours; a NaN or an empty estimate is a skipped row. */
int repro_value(struct repro *p, const char *row, const char *unit, double published,
                const struct repro_estimate *ours, double tolerance, struct err *e);
/* Values that must ascend strictly, as published; a NaN among them = skipped. */
int repro_order(struct repro *p, const char *row, const double *value, size_t n, struct err *e);
/* A share that must not exceed `most`; `published` is the source's own. */
int repro_at_most(struct repro *p, const char *row, double published, double ours, double most,
                  struct err *e);

/* ---- one run of the VTC artifact's engine, simulated several times ----
 * Who is served next hangs on a few milliseconds, and the choice is carried on: a single run is one draw
 * of a distribution, on the real machine (its repeated runs differ) as in the simulation. Ours is the
 * mean over repetitions. They differ in the one thing that is known to have varied between the recorded
 * runs - the first step of a cold engine, whose answers came after 1.16 to 1.28 s, so 1 s is added
 * +-60 ms - and, where the arrivals are generated, in their draw. */
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
