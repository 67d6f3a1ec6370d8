/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring collective as flows on a fabric, chunk by chunk, so that it meets other traffic: each rank sends
 * its successor one n-th of the data per round; what it sends in a round is what came in the round
 * before. All-reduce has 2(n-1) rounds, all-gather and reduce-scatter n-1. It knows nothing of NCCL's
 * protocols: collective.h does. */
#ifndef STEELYARD_RING_H
#define STEELYARD_RING_H

#include "sim/fabric/topology.h"

struct ring_spec {
    const struct topo_map *map;
    struct fabric *fabric;
    const uint32_t *ranks; /* nodes of the topology in ring order */
    uint32_t n_ranks;      /* >= 2 */
    double bytes;          /* of the whole buffer */
    uint32_t rounds;       /* >= 1 */
    uint64_t tag;          /* flows carry tag .. tag + n_ranks - 1 */
};

struct ring {
    struct fabric *fabric;
    uint32_t n_ranks, rounds, unfinished;
    bool failed; /* the fabric took no flow: out of memory, and the ring will not end */
    double chunk_bytes;
    uint64_t tag;
    struct ring_rank *rank;
};

/* Starts the first round. SIM_E_CONFIG when there is no way from a rank to the next. */
int ring_begin(struct ring *ret, const struct ring_spec *s, sim_ns now, struct arena *a, struct err *e);
/* A flow with one of the ring's tags has ended; other tags are let pass. True when all is done. */
bool ring_on_flow(struct ring *r, sim_ns now, uint64_t tag);

#endif
