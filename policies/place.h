/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert placement: which experts of one layer live on which GPU, and how often. A pure function of the
 * experts' loads. To add one: policies/place/NAME.c with `const struct place_ops place_NAME`, and one word in
 * policies/meson.build. */
#ifndef STEELYARD_PLACE_H
#define STEELYARD_PLACE_H

#include <stdint.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"

#define PLACE_EXPERTS_MAX 1024
#define PLACE_SLOTS_MAX   4096

/* Slots are spread evenly: slots % gpus == 0, gpus % nodes == 0, experts % groups == 0, slots >= experts. */
struct place_spec {
    uint32_t experts; /* routed ones of the layer */
    uint32_t slots;   /* physical places, over all GPUs; those above `experts` are redundant */
    uint32_t groups;  /* of experts that a router limits itself to; 1 = no groups */
    uint32_t nodes, gpus;
};

struct placement {
    struct place_spec spec;
    uint32_t *slot; /* expert in each of the slots; GPU g owns slots/gpus of them from g*slots/gpus on */
    uint32_t *copies; /* of each expert, >= 1 */
};

struct place_ops {
    const char *name, *summary, *source;
    /* `weight`: load of each expert, >= 0. Fills slot; copies are counted by place(). Scratch from `a`. */
    int (*fill)(const struct place_spec *s, const double *weight, uint32_t *slot, struct arena *a,
                struct err *e);
};

/* Everything in the arena. SIM_E_CONFIG for a specification that cannot be (it says which number). */
int place(const struct place_ops *p, const struct place_spec *s, const double *weight,
          struct placement *ret, struct arena *a, struct err *e);
/* Largest load of a GPU over the mean, an expert's load being shared evenly by its copies; 1 = balanced,
 * and 1 when there is no load. */
double placement_imbalance(const struct placement *p, const double *weight);
/* Slots whose expert is another one in `to`: weights that have to move. The two have the same spec. */
uint32_t placement_moves(const struct placement *from, const struct placement *to);

extern const struct place_ops *const place_policies[]; /* generated, NULL-terminated */
const struct place_ops *place_find(const char *name);

#endif
