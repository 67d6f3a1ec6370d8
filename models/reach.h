/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the experts of a token lie, when those of a layer are spread evenly over ranks and ranks over nodes: what
 * decides how often a token crosses a network. Routing is even over the experts, and a token may be held to the best
 * `node_limit` nodes (DeepSeek-V3 report, 2.1.2: at most 4). */
#ifndef STEELYARD_REACH_H
#define STEELYARD_REACH_H

struct reach {
    double experts, per_tok; /* of a layer, of a token */
    double ranks, per_node;  /* GPUs; of one node */
    double node_limit;       /* nodes of a token at most; 0 = any */
};

struct reach_mean {
    double nodes;  /* that a token's experts lie on, its own among them */
    double remote; /* of these, other nodes */
    double gpus;   /* that they lie on, over all nodes */
};

struct reach_mean reach_mean(const struct reach *s);

/* DeepEP's normal kernels (DeepEP README; counted as in its tests/test_internode.py): a token crosses the network once for
 * each of its other nodes, to the GPU of the same index, which hands it on over NVLink to every GPU that has one of its
 * experts. Both go on at once, chunk by chunk, so the slower one counts. Rates in bytes per second as the tests
 * count them: NVLink's with the copy that stays on its GPU. Seconds for one token of `bytes`. */
struct reach_rates {
    double net, nvlink;
};
double reach_normal_s(const struct reach *s, const struct reach_rates *r, double bytes);

#endif
