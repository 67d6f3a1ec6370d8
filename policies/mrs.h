/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's priority score of an expert (arXiv 2504.05897, section IV-D): at every gate of its layer
 * S <- a * TopP(s) + (1 - a) * S, where TopP keeps the p largest router probabilities and zeroes the rest.
 * With several tokens s is their mean. Needs EXPERTS_SCORES. */
#ifndef STEELYARD_MRS_H
#define STEELYARD_MRS_H

#include "policies/experts.h"

struct mrs {
    double a; /* options */
    int64_t p;
    double *score; /* by item */
    float *sorted; /* [experts] */
    uint32_t keep;
};

#define MRS_OPTIONS(S, field)                                                                      \
    {.name = "a", .type = OPT_DOUBLE, .offset = offsetof(S, field.a), .min = 0, .max = 1, .def = "0.5", .unit = "1", \
     .help = "weight of the gate at hand (0.5 in the repository)"},                                \
    {.name = "p", .type = OPT_INT, .offset = offsetof(S, field.p), .min = 0, .max = 1024, .def = "0", .unit = "1",  \
     .help = "router probabilities that count; 0 = twice the experts of a token (the paper; 12 in the repository)"}

int mrs_open(struct mrs *m, const struct expert_env *env, struct err *e);
void mrs_gate(struct mrs *m, const struct expert_view *v, const struct layer_work *w);

#endif
