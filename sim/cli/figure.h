/* SPDX-License-Identifier: Apache-2.0
 *
 * Figures of published results: panels with lines (ours solid, the recorded run dashed) or with groups of
 * bars. The data and the script stay beside the drawing. */
#ifndef STEELYARD_FIGURE_H
#define STEELYARD_FIGURE_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

#define FIGURE_PANELS 4
#define FIGURE_LINES  12

struct figure_line {
    const char *title;
    int colour;    /* 1.. */
    bool recorded; /* dashed */
    size_t n;
    double *x, *y; /* a y of NaN leaves a gap */
    double *half;  /* of an interval around y, NaN = none; NULL = no intervals */
};

struct figure_panel {
    const char *title, *x_label, *y_label;
    double x_from; /* where the axis begins; lines only */
    size_t n;
    struct figure_line line[FIGURE_LINES];
    const char *const *bar; /* names of the groups of bars; NULL = lines */
};

struct figure {
    const char *name; /* of the files, without ending */
    size_t n;
    struct figure_panel panel[FIGURE_PANELS];
};

/* A line with room for n points, all of them NaN and without intervals, added to the panel; NULL = no memory or no room. */
struct figure_line *figure_line(struct figure_panel *p, const char *title, int colour, size_t n,
                                struct arena *ar);
/* Room for intervals; false = no memory. */
bool figure_line_intervals(struct figure_line *l, struct arena *ar);
/* FOLDER/NAME.dat, .gp, .svg and .png. */
int figure_draw(const struct figure *f, const char *folder, struct arena *ar, struct err *e);

#endif
