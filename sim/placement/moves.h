/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts that change their rank: copies from a rank that holds one to a rank that is to hold it, over the
 * ports of both (sim/fabric). One layer at a time, as engines do, which have one layer's worth of buffer
 * (vLLM's rearrange_expert_weights_inplace, SGLang's ExpertLocationUpdater): a rank receives into the buffer,
 * and only when all copies of the layer are there does the new placement hold. So no expert is ever without a
 * copy. */
#ifndef STEELYARD_PLACEMENT_MOVES_H
#define STEELYARD_PLACEMENT_MOVES_H

#include "sim/fabric/fabric.h"
#include "sim/placement/loads.h"

struct moves_config {
    uint32_t ranks, per_node;
    double bytes_per_s;      /* of a rank, each direction */
    double node_bytes_per_s; /* between ranks of one node; 0 = as the others */
    double expert_bytes;     /* of one copy; of all layers that this one stands for */
    uint32_t calls;          /* of one copy */
    sim_ns call_ns;
};

struct moves {
    struct moves_config cfg;
    struct fabric *fabric;
    link_id *out, *in;           /* [ranks] */
    link_id *node_out, *node_in; /* within a node */
    uint32_t *sending, *receiving; /* [ranks]: copies of the layer under way */
    uint32_t under_way;
    sim_ns began_ns, ended_ns; /* of the layer under way; of the last one */
    /* results */
    uint64_t copies, local; /* over ranks; within a rank, for which nothing is sent */
    uint32_t most_received; /* by a rank for one layer: what its buffer has to hold */
    double bytes;           /* asked for */
    sim_ns busy_ns;         /* some copy was under way */
};

int moves_init(struct moves *x, const struct moves_config *c, struct arena *a, struct err *e);
/* Start what `to` needs and `from` does not have. The layer before has to be done. */
int moves_start(struct moves *x, sim_ns now, const struct replicas *from, const struct replicas *to, struct err *e);
/* When something ends next; SIM_NEVER when nothing is under way. */
sim_ns moves_next(const struct moves *x);
/* True once no copy of the layer is under way at `now`. */
bool moves_done(struct moves *x, sim_ns now);
/* Nothing under way: all that was asked for has come through the ports. */
int moves_verify(const struct moves *x, struct err *e);

#endif
