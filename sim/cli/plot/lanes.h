/* SPDX-License-Identifier: Apache-2.0
 *
 * A window of a timeline (run --timeline, or any Chrome trace): a lane for each of its threads, a box for each
 * slice. Inside of the plots only. */
#ifndef STEELYARD_LANES_H
#define STEELYARD_LANES_H

#include <stdbool.h>
#include <stddef.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"

#define LANES_SHORTEST_S 1e-7 /* of a window */

enum { LANES_MOST = 64, LANES_KINDS = 9, LANES_BOXES = 50000 };

struct lane {
    int pid, tid;
    const char *name, *process; /* process NULL = it has no name */
    double order;
    size_t boxes;
};

struct box {
    double from, to; /* ms, within the window */
    size_t lane;
    size_t kind; /* on the lane "GPU": which of the kinds of work; else 0 or 1, in turn */
    const char *name;
};

struct lanes {
    struct arena *arena;
    const char *file;
    double from, to; /* ms */
    size_t n, n_boxes, n_kinds;
    struct lane lane[LANES_MOST];
    struct box *box;
    const char *kind[LANES_KINDS];
    size_t rows; /* lanes with a box, in the order from top to bottom */
    const struct lane *shown[LANES_MOST];
};

/* From the text of a trace what lies in the window, which begins at from_s (NaN = with the first slice) and is
 * for_s long (NaN = to the last). All in the arena; names are plain text without quotes. SIM_E_DATA for what is no
 * trace, has nothing there, or more than can be drawn. */
int lanes_read(struct lanes *ret, const char *text, size_t len, const char *file, double from_s, double for_s,
               struct arena *a, struct err *e);
/* Its boxes have kinds. */
bool lanes_on_gpu(const struct lanes *l, const struct box *b);

#endif
