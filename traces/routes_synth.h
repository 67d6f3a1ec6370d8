/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of the latent-factor router (routes_synth.c). */
#ifndef STEELYARD_ROUTES_SYNTH_H
#define STEELYARD_ROUTES_SYNTH_H

#include "traces/routes.h"

struct router_preset {
    const char *name; /* a NULL name ends the list */
    struct routes_shape shape;
    uint32_t dim;
    double sigma_a, w_q, w_f, rho, sigma_n, c;
    const char *provenance;
};

extern const struct router_preset router_presets[];
/* Presets whose tokens use the best few of so many groups of experts; the others have no groups. */
struct router_limit {
    const char *preset; /* NULL ends the list */
    uint32_t groups, top_groups;
};
extern const struct router_limit router_limits[];
/* By name, or by the name of a model, in any case; NULL = none. */
const struct router_preset *router_preset_find(const char *name);

#endif
