/* SPDX-License-Identifier: Apache-2.0
 *
 * A finite piece of a source of routes, as the statistics read it. */
#ifndef STEELYARD_ROUTE_SAMPLE_H
#define STEELYARD_ROUTE_SAMPLE_H

#include "traces/routes.h"

struct route_sample {
    struct routes_shape shape;
    uint32_t sequences;
    uint32_t *start;  /* [sequences + 1]: tokens before each sequence */
    uint16_t *expert; /* [layer][token][top_k] */
    float *tae;       /* [layer][token], see route_tae; NULL where the source has no scores */
};

/* One layer of it. */
struct route_layer {
    const uint16_t *expert; /* [token][top_k] */
    const uint32_t *start;
    uint32_t sequences, top_k, experts;
};

#define ROUTE_SAMPLE_TOKENS_MAX (16u << 20)

/* `length[i]` tokens of sequence i; all memory is the arena's. SIM_E_USAGE when there are more than
 * ROUTE_SAMPLE_TOKENS_MAX tokens or none. `progress` may be NULL; nonzero from it ends with SIM_E_INTR. */
int route_sample_take(struct route_sample *ret, struct routes *r, const uint32_t *length, uint32_t sequences,
                      struct arena *a, int (*progress)(void *ctx, double share), void *ctx, struct err *e);
struct route_layer route_sample_layer(const struct route_sample *s, uint32_t layer);
uint32_t route_layer_tokens(const struct route_layer *l);

/* Token activating entropy of BuddyMoE: the entropy of the gate weights over ln(top_k), 0 to 1. */
double route_tae(const struct route *r, uint32_t top_k);

#endif
