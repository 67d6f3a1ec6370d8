/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures from a results database: what all kinds of them share. A figure is NAME.dat, NAME.gp and what gnuplot
 * makes of them. Errors: SIM_E_*. */
#ifndef STEELYARD_PLOT_H
#define STEELYARD_PLOT_H

#include <stdio.h>

#include "sim/cli/gnuplot.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/results/db.h"

enum { PLOT_LINES = GNUPLOT_LINES, PLOT_PANELS = 6, PLOT_CLIENTS = 8, PLOT_ONLY = 16 };

enum plot_kind { PLOT_CDF_TTFT, PLOT_CDF_TPOT, PLOT_SERVICE, PLOT_LOAD, PLOT_THROUGHPUT, PLOT_KINDS };

/* One configuration; its runs differ in the replication only. */
struct plot_group {
    const char *label; /* "policy=vtc load.scale=0.5" */
    const char *hash;
    bool oracle; /* gets a star */
    int64_t seed, first_run;
    double load, window_s;
};

struct plot_options {
    const char *db, *metric, *place;
    int kind; /* PLOT_KINDS = all */
    bool png, svg;
    bool lanes;          /* db is a timeline */
    double from_s, for_s; /* of it; NaN = from its beginning, all of it */
    size_t n_only;
    const char *only[PLOT_ONLY];
};

struct plot {
    struct plot_options o;
    struct arena ar;
    struct results *db;
    const char *folder;
    const char *stem; /* of the one figure that was asked for, or NULL */
    size_t n_groups, cap_groups;
    struct plot_group *groups;
    size_t n_shown; /* of the groups, in the figure at hand */
    const struct plot_group **shown;
    bool any_oracle;
};

/* One figure being written. */
struct plot_figure {
    struct plot *p;
    const char *name;
    FILE *dat;
    size_t n; /* data blocks so far */
    const char *title[PLOT_PANELS * PLOT_CLIENTS + PLOT_LINES]; /* of the blocks */
    double x_min, x_max, y_min, y_max;
    const void *more; /* for the body */
};

int plot_no_memory(struct err *e);

/* The configurations that the database has and --only lets through: p->groups. */
int plot_read_groups(struct plot *p, struct err *e);
/* SQL for "the runs of this group", with the hash and seed written in: both come from the database. */
const char *plot_runs_of(struct plot *p, const struct plot_group *g);
/* What tells this line from the others: words that all have are left out, and the load if asked. */
const char *plot_legend(struct plot *p, const struct plot_group *g, bool drop_load);
/* What a figure with one line or panel per configuration shows, p->shown: all; where that is too much, one load. */
int plot_choose_shown(struct plot *p, const char *figure, size_t most, struct err *e);

int plot_begin(struct plot_figure *f, struct plot *p, const char *name, struct err *e);
/* A block of data of its own: gnuplot's "index". */
void plot_block(struct plot_figure *f, const char *title, const char *columns);
/* Two columns of a line; the caller may add more, and ends it. */
void plot_point(struct plot_figure *f, double x, double y);
typedef void plot_body_fn(FILE *gp, const struct plot_figure *f);
/* The note about oracles, when one is in the figure. */
void plot_star(FILE *gp, const struct plot_figure *f);
/* Write the script, draw, and say what there is now. */
int plot_end(struct plot_figure *f, plot_body_fn *body, int width, int height, struct err *e);
/* Nothing to draw: an error when this figure was asked for, silence when all were. */
int plot_drop(struct plot_figure *f, const char *why, struct err *e);

/* The figures. `hist`: "ttft" or "tpot". */
int plot_cdf(struct plot *p, const char *hist, struct err *e);
int plot_service(struct plot *p, struct err *e);
int plot_load(struct plot *p, bool throughput, struct err *e);
int plot_lanes(struct plot *p, struct err *e);

#endif
