/* SPDX-License-Identifier: Apache-2.0
 *
 * A MoE layer whose experts are nested bit planes (D2MoE, arXiv 2504.15299): inside of the layer executor only.
 * Its gate gives each (token, expert) pair a bit-width, drawn by the share of tokens that the bit-width router
 * is trained to send there. What is missing is loaded plane by plane (sim/experts/planes.h), on demand only;
 * a plane is computed for all pairs that need it as soon as it is there - the planes of a product add up - so
 * a pair is done with the last of its planes. */
#ifndef STEELYARD_NESTED_H
#define STEELYARD_NESTED_H

#include "sim/core/rng.h"
#include "sim/experts/planes.h"
#include "sim/fabric/copy.h"

struct nested_config {
    struct planes_config planes; /* without layers and experts */
    double bits[PLANES_MOST];    /* of the version that ends with this plane */
    double share[PLANES_MOST];   /* of the pairs that get that version; adds up to 1 */
    double scale[PLANES_MOST];   /* bytes of a plane over those of the expert in the model's weight type */
    double h2d_bytes_per_s;
    uint32_t calls[PLANES_MOST]; /* copy calls of a plane */
    sim_ns call_ns;
    const struct gpu_link *shared; /* copies go this way, at the rate above at most; NULL = a link of its own */
};

struct nested_counters {
    uint64_t asked, hits;        /* planes that gates asked for; of them there */
    uint64_t decode_asked, decode_hits;
    uint64_t loads;
    uint64_t computed;           /* (token, expert, plane) */
    double h2d_bytes, pair_bits;
};

struct nested {
    struct nested_config cfg;
    struct planes planes;
    struct rng_stream rng;
    struct fabric *fabric;
    link_id link;
    struct topo_route way;
    struct copy_engines *engine;
    struct flow_client client;
    struct layers *owner;
    sim_ns began_ns;
    uint32_t *demand; /* [experts][planes]: pairs of the layer under way that need the plane */
    uint32_t *todo;   /* of them not yet computed */
    struct nested_counters n;
};

struct layers;

/* Called by layers_init, routing is there. */
int nested_init(struct layers *x, struct arena *a, struct err *e);
/* As moe_step and moe_layer. */
void nested_step(struct layers *x);
int nested_layer(struct layers *x, uint32_t m, uint32_t l, struct err *e);

/* --check: the books of the planes, and the bytes on the link. */
int nested_check(const struct nested *n, struct err *e);

#endif
