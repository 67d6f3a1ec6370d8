/* SPDX-License-Identifier: Apache-2.0
 *
 * Published tables and figures, made again. A reproduction is a row of a table and a function that
 * simulates what its source ran and adds one row per published number. */
#ifndef STEELYARD_REPRODUCE_H
#define STEELYARD_REPRODUCE_H

#include "sim/cli/figure.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/run.h"

enum repro_verdict { REPRO_INSIDE, REPRO_OUTSIDE, REPRO_HOLDS, REPRO_FAILS, REPRO_SKIPPED };
const char *repro_verdict_name(enum repro_verdict v);

struct repro_row {
    const char *id, *row, *unit;
    double published, ours; /* NaN = none */
    double sd;              /* of ours over the repetitions; NaN = not an average */
    double half;            /* half width of the 95 % interval of ours (Student t); NaN likewise */
    double tolerance;       /* |ours/published - 1| allowed; NaN = an order, or nothing to compare */
    double lo, hi;          /* where ours has to lie when no relative tolerance says it; NaN = open */
    enum repro_verdict verdict;
};

/* Allowed relative differences: one per kind of quantity, the same in every table and figure. */
#define REPRO_TOL_TOTAL    0.04 /* total time, throughput: the recorded runs' own spread is 3 % */
#define REPRO_TOL_SERVICE  0.05 /* service per second of a client */
#define REPRO_TOL_LATENCY  0.10 /* mean first-token latency of a client */
#define REPRO_TOL_DIFF     0.15 /* differences in service: mean and maximum */
#define REPRO_TOL_VARIANCE 0.30 /* their variance, a square */
#define REPRO_TOL_COUNT    0.006 /* rejections: 1 of 176 */
#define REPRO_TOL_GAIN     0.20 /* one system's number over another's, where the source's machine is not known */
#define REPRO_POINTS       0.10 /* shares and reductions: points of per cent, for repro_between */

struct repro {
    struct arena ar;
    const char *data;    /* folder with groundtruth/, traces/, moe/, profiles/; NULL = not there */
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

/* To add a paper: sim/cli/reproduce/NAME.c with `const struct reproduction reproductions_NAME[]`, which
 * ends with a NULL id, and one word in the meson.build beside it. */
struct reproduction_list {
    const char *name; /* `steelyard reproduce NAME` makes all of it */
    const struct reproduction *of;
};
extern const struct reproduction_list reproduction_lists[]; /* generated, ends with a NULL name */

/* One run with the given keys, {"policy", "vtc"} and so on; a row with a NULL value is left out, and
 * nothing comes from the environment. *ret lives in `ar`. */
struct repro_key {
    const char *key, *value;
};
int repro_run(struct repro *p, const struct repro_key *key, size_t n, struct run_result *ret,
              struct arena *ar, struct err *e);
int repro_run_hooked(struct repro *p, const struct repro_key *key, size_t n, const struct run_hooks *hooks,
                     struct run_result *ret, struct arena *ar, struct err *e);
/* NaN when the run has no such metric. */
double repro_metric(const struct run_result *r, const char *name);

/* A number over the repetitions of a run. All zero is a valid, empty one. */
struct repro_estimate {
    double sum, sum_sq;
    unsigned n;
};
void repro_note(struct repro_estimate *v, double x);
double repro_mean(const struct repro_estimate *v); /* NaN when empty */
double repro_sd(const struct repro_estimate *v);
double repro_half(const struct repro_estimate *v); /* half width of the mean's 95 % interval; NaN below 2 */

/* Point i of a line with its 95 % interval; the line has room for one. */
void repro_point(struct figure_line *l, size_t i, double x, const struct repro_estimate *v);

/* A published number beside ours; a NaN or an empty estimate is a skipped row. */
int repro_value(struct repro *p, const char *row, const char *unit, double published,
                const struct repro_estimate *ours, double tolerance, struct err *e);
/* Values that must ascend strictly, as published; a NaN among them = skipped. */
int repro_order(struct repro *p, const char *row, const double *value, size_t n, struct err *e);
/* A number that is one exact value, such as a formula's. A skipped row when NaN. */
int repro_number(struct repro *p, const char *row, const char *unit, double published, double ours,
                 double tolerance, struct err *e);
/* Ours has to lie in lo..hi: a published range, or points of per cent around a published share. NaN = open
 * end; `published` is what is shown beside it, NaN when the range is all there is. */
int repro_between(struct repro *p, const char *row, const char *unit, double published, double lo,
                  double hi, const struct repro_estimate *ours, struct err *e);
/* A share that must not exceed `most`; `published` is the source's own. */
int repro_at_most(struct repro *p, const char *row, double published, double ours, double most,
                  struct err *e);

#endif
