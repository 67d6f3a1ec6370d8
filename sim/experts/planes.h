/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts in bit planes (D2MoE, arXiv 2504.15299): a version of an expert at b bits is a base plane and
 * residual planes up to b, so one copy serves all bit-widths. Each plane is loaded, kept and freed on its own,
 * and what is there of an expert are always its lowest planes. This is the planner: per layer it says what to
 * free, and in which order to load what is missing. It keeps no time; sim/layers/nested.c does. */
#ifndef STEELYARD_PLANES_H
#define STEELYARD_PLANES_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

#define PLANES_MOST 8 /* of one expert */

/* In which order a layer's missing planes are loaded: expert after expert; or, of the next missing planes of
 * all experts, the one that the most (token, expert) pairs need (hottest expert bit first). Ties
 * go to the lower expert. */
enum planes_order { PLANES_NAIVE, PLANES_HEBF };

struct planes_config {
    uint32_t layers, experts, planes;
    double bytes[PLANES_MOST]; /* of one expert's plane, base first; whole numbers, so that sums are exact */
    double budget_bytes;       /* of all planes that are there; 0 = no limit */
    enum planes_order order;
};

struct planes_load {
    uint32_t expert, plane;
};

struct planes {
    struct planes_config cfg;
    uint8_t *depth;          /* [layers][experts]: planes that are there */
    double used_bytes, peak_bytes; /* with those that are on their way */
    uint64_t freed;
    /* of the layer under way */
    uint32_t layer;
    uint8_t *asked;          /* [experts]: planes that the layer needs */
    uint8_t *head;           /* [experts]: while the line is made */
    struct planes_load *line; /* to load, in order */
    uint32_t n_line, n_came;
};

/* SIM_E_CONFIG when the budget does not hold all planes of one layer. Nothing is there. */
int planes_init(struct planes *p, const struct planes_config *c, struct arena *a, struct err *e);

/* The gate of `layer` has decided: demand[expert][plane] pairs need the plane, so no plane more than the one
 * below it. Frees what has to go - planes of former layers, high bits before low ones and the layer just
 * left before the one before it - and puts what is missing into `line`. */
void planes_plan(struct planes *p, uint32_t layer, const uint32_t *demand);
/* The next in line has been loaded. */
void planes_came(struct planes *p);

static inline uint32_t planes_depth(const struct planes *p, uint32_t layer, uint32_t expert)
{
    return p->depth[layer * p->cfg.experts + expert];
}

/* --check: the books of bytes, and the budget. */
int planes_check(const struct planes *p, struct err *e);

#endif
