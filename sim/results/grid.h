/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of text with aligned columns, for people. */
#ifndef STEELYARD_RESULTS_GRID_H
#define STEELYARD_RESULTS_GRID_H

#include <stdbool.h>
#include <stdio.h>

#include "sim/core/arena.h"

#define GRID_MAX_COLS 128

struct grid {
    struct arena *a;
    size_t cols, n, cap; /* n cells so far, row by row */
    const char **cell;
    bool right[GRID_MAX_COLS]; /* numbers */
    bool failed;               /* out of memory at some point */
};

/* cols at most GRID_MAX_COLS. */
void grid_init(struct grid *g, size_t cols, struct arena *a);
/* The next cell; the text is copied. NULL is an empty cell. */
void grid_add(struct grid *g, const char *text);
void grid_addf(struct grid *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void grid_print(FILE *out, const struct grid *g);

#endif
