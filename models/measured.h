/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of collectives as they were measured on one machine, by operation, ranks and nodes: curves over the size of
 * the message (nccl-tests' size: the larger of the send and receive buffers). Between two sizes the time is a power
 * of the size (a straight line over logarithms), below the first the time stays, beyond the last the bandwidth.
 * `steelyard fit --from nccl-tests` writes them, into a file that sim/fabric/collective.h reads, too. */
#ifndef STEELYARD_MEASURED_H
#define STEELYARD_MEASURED_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct measured_curve {
    const char *op; /* "all_reduce" */
    uint32_t ranks, nodes, n;
    double *bytes, *us; /* bytes ascend, us does not descend */
};

struct measured {
    uint32_t n;
    struct measured_curve *curve;
};

/* The list "measured" of a file of collectives; none there = no curve. Other keys are not looked at. */
int measured_parse(struct measured *ret, const char *text, size_t len, const char *file, struct arena *a, struct err *e);
int measured_load(struct measured *ret, const char *path, struct arena *a, struct err *e);

/* NULL = not measured. */
const struct measured_curve *measured_find(const struct measured *m, const char *op, uint32_t ranks, uint32_t nodes);
/* "2, 4": what ranks on so many nodes there are of it; "none". In the arena, NULL when that is full. */
const char *measured_ranks(const struct measured *m, const char *op, uint32_t nodes, struct arena *a);

double measured_us(const struct measured_curve *c, double bytes);
/* Sorts by size, keeps the shortest time of a size. What others do on the machine only adds time, and more bytes never
 * take less: a size that took longer than a larger one gets the larger one's time. *ret_lowered = how many went down by
 * more than a tenth. */
void measured_mend(struct measured_curve *c, uint32_t *ret_lowered);
/* Every second point, the last among them (below the first the time hardly changes, beyond the last it does);
 * measured_first is the place of the first one that stays. */
uint32_t measured_first(const struct measured_curve *c);
int measured_thin(struct measured_curve *ret, const struct measured_curve *c, struct arena *a, struct err *e);

#endif
