/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a collective operation takes: pure functions of operation, ranks, nodes and bytes, with the
 * parameters of a kind of machine as data (models/collectives/NAME.json).
 *
 * The shape follows what NCCL documents about itself (NVIDIA/nccl, src/graph/tuning.cc, and "Demystifying
 * NCCL", arXiv 2507.04786): an algorithm (ring, tree, NVLS: reduction in the switch) and a protocol (LL:
 * a flag with every 4 bytes, LL128: one per 120, Simple: none, but a fence) give
 *     latency    base + steps * hop             (steps: 2(n-1) of a ring all-reduce, n-1 of the others)
 *     transfer   wire bytes / bandwidth + a rank's own share, bytes/n, / copy bandwidth
 * and the fastest pair is taken, as NCCL's tuner takes the one that it predicts to be fastest. The two
 * parts overlap in the chunked pipelines of LL and LL128: (latency^q + transfer^q)^(1/q); q = 1 is the
 * plain sum. Measured curves go on bending up to gigabytes, hence a third term that saturates. `bytes` is what nccl-tests calls size: the larger of the send and receive buffers.
 *
 * Dispatch and combine are the two halves of expert parallelism: each rank sends its tokens to the ranks of
 * their experts and gets the results back. Their `bytes` are what one rank sends, a copy per token and
 * expert (collective_expert_bytes), as DeepEP counts. Kernels that relay a token inside of its node ("normal" in a
 * file: models/reach.h) need to be told of the routing, too.
 *
 * Where a file has measured times of an operation for this number of ranks and nodes (models/measured.h, by `steelyard fit --from
 * nccl-tests`), they are the answer as they are, the host's part as it was when they were measured.
 *
 * Started by the host one by one (eager), an operation cannot be shorter than what the host needs to
 * start it; captured in a CUDA graph it can. */
#ifndef STEELYARD_COLLECTIVE_H
#define STEELYARD_COLLECTIVE_H

#include "models/measured.h"
#include "models/reach.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

/*   constant                   name              per (n-1) steps */
#define COLLECTIVE_OP_MAP(X)                                                                       \
    X(COLLECTIVE_ALL_REDUCE, "all_reduce", 2)                                                      \
    X(COLLECTIVE_ALL_GATHER, "all_gather", 1)                                                      \
    X(COLLECTIVE_REDUCE_SCATTER, "reduce_scatter", 1)                                              \
    X(COLLECTIVE_ALL_TO_ALL, "all_to_all", 1)                                                      \
    X(COLLECTIVE_DISPATCH, "dispatch", 1)                                                          \
    X(COLLECTIVE_COMBINE, "combine", 1)

enum collective_op {
#define COLLECTIVE_ENUM(constant, name, rounds) constant,
    COLLECTIVE_OP_MAP(COLLECTIVE_ENUM)
#undef COLLECTIVE_ENUM
    COLLECTIVE_OPS
};

enum collective_algo { COLLECTIVE_RING, COLLECTIVE_TREE, COLLECTIVE_NVLS };
enum collective_proto { COLLECTIVE_LL, COLLECTIVE_LL128, COLLECTIVE_SIMPLE, COLLECTIVE_PROTOS };

const char *collective_op_name(enum collective_op op);
const char *collective_algo_name(enum collective_algo a);
const char *collective_proto_name(enum collective_proto p);

struct collective_cost {
    double base_us, hop_us;
    double gb_per_s;      /* of the wire; 0 = this protocol is not used */
    double copy_gb_per_s; /* of a rank's own share; 0 = free */
    double ramp_us;       /* long messages take up to this more: ramp_us * bytes / (bytes + ramp_bytes) */
    double ramp_bytes;
    double max_bytes;     /* NCCL's tuner takes no larger ones by this protocol; 0 = no limit, for 2 ranks */
    double max_growth;    /* the limit grows as (ranks/2)^this */
};

#define COLLECTIVE_SHARES 8
struct collective_table {
    bool known;
    uint32_t n_shares; /* where bandwidth depends on how many take part: share by ranks, log-linear */
    struct {
        double ranks, share;
    } shares[COLLECTIVE_SHARES];
    double overlap; /* q of LL and LL128 */
    struct collective_cost proto[COLLECTIVE_PROTOS];
    struct collective_cost nvls; /* all-reduce only; gb_per_s 0 = none */
    struct reach_rates normal;   /* dispatch and combine only; net 0 = each copy goes by itself */
};

struct collective_model {
    const char *name, *full_name, *provenance;
    double host_us;     /* to start one from the host: what an eager call is given */
    double net_hop_us;  /* a step between nodes */
    double tree_share;  /* bandwidth of a tree against a ring */
    uint32_t max_ranks; /* largest measured group */
    struct collective_table op[COLLECTIVE_OPS];
    struct measured measured;
};

int collective_parse(struct collective_model *ret, const char *text, size_t len, const char *file,
                     struct arena *a, struct err *e);
/* `name`: data_dir/collectives/NAME.json or a path. */
int collective_load(struct collective_model *ret, const char *name, const char *data_dir,
                    struct arena *a, struct err *e);

struct collective_call {
    enum collective_op op;
    uint32_t ranks, nodes; /* nodes 0 = 1; ranks are spread evenly */
    double bytes;
    double host_us; /* host time to start it (the model's host_us when eager); 0 in a CUDA graph */
    struct reach routed; /* of a dispatch or combine by normal kernels; its ranks are taken from above */
};

struct collective_choice {
    double us;
    enum collective_algo algo; /* ring and simple when `measured` */
    enum collective_proto proto;
    bool measured;
};

/* 0 ranks or 1: nothing to do, 0 us. SIM_E_CONFIG for an operation that the model does not know and for
 * a number of ranks that its nodes do not divide. */
int collective_time(const struct collective_model *m, const struct collective_call *c,
                    struct collective_choice *ret, struct err *e);
/* One algorithm and protocol, HUGE_VAL where it does not exist. Without the host's part. */
double collective_us(const struct collective_model *m, const struct collective_call *c,
                     enum collective_algo a, enum collective_proto p);
/* Bytes of a dispatch or combine: the hidden state in 16 bit, or in fp8 with a 4-byte scale per 128
 * values. */
double collective_expert_bytes(double tokens, uint32_t experts_per_tok, uint32_t hidden,
                               bool fp8_with_scales);
/* nccl-tests' bus bandwidth in GB/s of an operation that took `us`. */
double collective_busbw(const struct collective_call *c, double us);

#endif
