/* SPDX-License-Identifier: Apache-2.0
 *
 * Cost models: how long one iteration of one replica takes, as a pure function of the batch.
 * To add one: one file with a struct cost_ops and one word in models/meson.build. */
#ifndef STEELYARD_COST_H
#define STEELYARD_COST_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

/* Work of one iteration. "Context" of a decode is the number of tokens its query attends to,
 * the token itself included. */
struct batch_shape {
    uint32_t n_decode;       /* sequences that get one token each from their KV */
    uint32_t n_prefill;      /* prefill chunks */
    uint64_t decode_ctx_tok; /* sum of contexts over the decodes */
    uint64_t decode_ctx_sq;  /* sum of their squares; 0 = not known, contexts count as equal */
    uint64_t prefill_tok;    /* new tokens over all chunks */
    uint64_t prefill_ctx_tok; /* sum over chunks of (tokens already in KV + chunk length) */
    uint64_t prefill_pairs;  /* sum over chunks of attended (query, key) pairs: q*c0 + q(q+1)/2 */
    uint64_t prefill_sq;     /* sum over chunks of (chunk length)^2 */
    uint32_t prefill_done;   /* chunks that end their prompt (they are sampled) */
    uint32_t n_resident;     /* running sequences that hold KV, whether served or not */
    uint64_t kv_resident_tok; /* tokens of KV that they hold */
    /* How the tokens of one MoE layer fall on the ranks of expert parallelism (sim/placement); 0 = not known,
     * then the model assumes something of its own. */
    struct batch_spread {
        double load;   /* (token, expert) pairs of the busiest rank over the mean */
        double active; /* different experts that tokens reach on it */
        double arrive; /* copies of tokens that reach the busiest receiver over the mean */
        double link;   /* share of the interconnect that is left to tokens */
    } spread;
};

/* The k-th iteration (k = 0, 1, ...) of an epoch takes floor-free base + slope*k ticks, exactly, for
 * k < valid. In a decode-only epoch contexts grow by n_decode an iteration and nothing else changes.
 * With prefill chunks valid is 1. valid >= 1 always; base >= 1 and base + slope*k >= 1 for k < valid. */
struct cost_affine {
    sim_tick base, slope;
    uint64_t valid;
};

struct llm_shape; /* models/llm.h */
struct gpu_profile; /* models/gpu.h */

struct cost_env {
    const struct llm_shape *llm;   /* NULL when the run names no model (linear models need none) */
    const struct gpu_profile *gpu; /* NULL likewise */
    uint32_t tp;                   /* tensor-parallel degree */
    /* Between those GPUs, as a topology has it: what each gets when all send to the next one of a ring, in raw
     * bytes as profiles of GPUs state them. 0 = not known, the profile says. */
    double ring_bytes_per_s;
    bool ring_nvlink;              /* no PCIe on the way */
    uint32_t max_seqs;             /* most sequences of a step; 0 = not known */
    struct arena *arena;
    /* Filled by init, shown with the results; in the arena. */
    const char *provenance;        /* "roofline, H100 datasheet, efficiency 0.70/0.80 ..." */
};

/* One iteration taken apart, for executors that walk the layers: whole = front + layers * attn + dense
 * layers * dense + MoE layers * (shared + experts) + back, within rounding (a tick per part). */
struct cost_parts {
    sim_tick front;   /* before the first layer: host time */
    sim_tick attn;    /* one layer up to its feed-forward: norms, projections, attention, communication */
    sim_tick comm;    /* of attn, what collectives between the ranks take; 0 = none, or not known */
    sim_tick dense;   /* feed-forward of one dense layer */
    sim_tick shared;  /* one MoE layer without its routed experts: router, shared experts */
    sim_tick experts; /* its routed experts, as many as `iteration` expects the tokens to hit */
    sim_tick back;    /* behind the last layer: LM head, sampling */
    /* Routed experts of one layer in one kernel, seconds: see cost_experts_s. */
    struct cost_expert {
        double read;  /* weights of one expert */
        double flop;  /* arithmetic of one (token, expert) pair */
        double io;    /* activations of one pair */
        double floor; /* no kernel is shorter */
    } expert;
};

/* How a model spreads a layer's experts over ranks. */
struct cost_spread {
    uint32_t ranks, redundant; /* copies on top of the experts, over all ranks */
    uint32_t per_node;
    bool node_copies;   /* a token travels once per node, not once per expert */
    bool halves;        /* two half batches take turns */
    double imbalance;   /* what it assumes where nothing is known */
    double bytes_per_s; /* that a rank receives */
    bool shared_apart;  /* no rank with routed experts has a shared one */
};

struct cost_ops {
    const char *name, *summary, *source;
    size_t state_size; /* zeroed, from env->arena */
    const struct opt_row *options;
    int (*init)(void *state, struct cost_env *env, struct err *e);
    /* Pure; same input, same output, on any thread. */
    void (*iteration)(const void *state, const struct batch_shape *s, struct cost_affine *ret);
    /* 1 when the shape lies outside the range the model was fitted on (warned once per run);
     * NULL = never. */
    int (*outside)(const void *state, const struct batch_shape *s);
    /* The iteration layer by layer; NULL = the model knows iterations only (cost_take_apart then splits
     * them evenly). */
    void (*parts)(const void *state, const struct batch_shape *s, struct cost_parts *ret);
    /* NULL = all experts are on every rank. Such a model heeds batch_shape's `spread`. */
    void (*spread)(const void *state, struct cost_spread *ret);
};

/* `ops->parts`, or an even split over the layers of `m`: no front and no back; within a MoE layer time
 * goes with the parameters that one token reads. */
void cost_take_apart(const struct cost_ops *ops, const void *state, const struct llm_shape *m,
                     const struct batch_shape *s, struct cost_parts *ret);
/* `n_experts` different experts (an expectation need not be whole) with `n_pairs` (token, expert) pairs
 * in all, whose weights take `scale` times the bytes of the model's own type: max(arithmetic, traffic,
 * floor). 0 for no expert. */
double cost_experts_s(const struct cost_expert *x, double n_experts, double n_pairs, double scale);

/* No iteration is longer than this (73 minutes): sums over an epoch stay far from overflow. */
#define COST_TICK_MAX ((sim_tick)1 << 62)

/* Seconds -> ticks, rounded to nearest, at least 1, at most COST_TICK_MAX. */
sim_tick cost_ticks(double seconds);

/* For cost models. A coefficient (seconds per token, per sequence ...) in whole ticks, of any sign:
 * sums of such products are integers, so base + slope*k and a fresh evaluation at k agree exactly. */
int64_t cost_coef(double seconds);
/* The answer for the line base + slope*k, k < valid, held within [1, COST_TICK_MAX]: where the line
 * leaves that range `valid` ends, and where it starts outside it is flat until it comes back. */
void cost_finish(struct cost_affine *ret, sim_wide base, sim_wide slope, uint64_t valid);

/* Unit of a text option that names a file. Such a file is part of what a result depends on, so its contents
 * go into the checksum that is stored with it. */
#define COST_FILE "file"

extern const struct cost_ops *const cost_models[]; /* generated, NULL-terminated */
const struct cost_ops *cost_find(const char *name);

#endif
