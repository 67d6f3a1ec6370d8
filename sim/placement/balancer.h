/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert parallelism with a placement: in place of a number for the imbalance, each step's tokens are routed,
 * sent to the copies of their experts, and the rank that takes longest is waited for, layer by layer. The
 * placement is computed anew every so many steps from what the steps before have counted; experts that change
 * their rank travel.
 *
 * A run plays one rank; the others serve other requests of the same lengths: request s of the run is request
 * s*ranks of a stream of which rank r serves s*ranks + r. Not all MoE layers are looked at, and of many tokens
 * only some (`layers`, `sample`): the step's time is the mean over these layers, and each stands for the ones
 * between in what it moves. A sample of n pairs a rank makes the busiest look busier by about 2/sqrt(n). */
#ifndef STEELYARD_BALANCER_H
#define STEELYARD_BALANCER_H

#include "models/cost.h"
#include "sim/layers/timeline.h"
#include "sim/placement/loads.h"
#include "sim/placement/moves.h"
#include "sim/placement/tokens.h"

struct balancer_config {
    const struct cost_ops *cost; /* with `spread` */
    const void *cost_state;
    struct routes *source;
    const struct place_ops *policy;
    struct place_spec spec;
    bool node_copies, halves;
    enum replica_choice choice;
    uint32_t layers;       /* to look at; 0 = all */
    uint32_t sample;       /* tokens, of all ranks together, to look at in a step; 0 = all */
    uint32_t calibration;  /* tokens of other sequences that the first placement knows; 0 = none */
    uint32_t every;        /* steps between two placements; 0 = the first one stays */
    uint32_t window;       /* steps that are counted */
    double threshold;      /* mean over busiest rank of the window at which the placement stays */
    uint32_t hold;         /* steps for which the loads found in one step hold */
    bool overlap;          /* copies beside the steps; else the steps wait */
    double share;          /* of the ports, for copies beside steps; tokens get the rest */
    struct moves_config moves; /* with `share` taken off already; bytes of one layer's expert */
    bool check;
    struct timeline *timeline; /* NULL = nobody looks */
};

/* The tokens of a layer that are computed at once: all, or half of them where two half batches take turns. */
struct balancer_part {
    struct loads loads;
    /* of the step whose loads hold */
    uint32_t n_slowest;
    struct rank_work *slowest;
    double arrive, active;
};

#define BALANCER_PARTS 2
struct balancer_layer {
    uint32_t layer;
    struct balancer_part part[BALANCER_PARTS];
    struct replicas now, next;
    uint32_t *counted;    /* [window][experts], a ring */
    double *sum;          /* [experts] over it */
};

struct balancer_counters {
    uint64_t steps, looks, rebalances;
    double load, unplaced; /* sums over looks: busiest over mean, mean over layers */
    double worst;
    sim_wide ticks, balanced_ticks, wait_ticks; /* of all steps; if all ranks were alike; waited for copies */
    double before, after; /* sums over rebalances: busiest over mean of the window's counts */
};

struct balancer {
    struct balancer_config cfg;
    uint32_t top_k, n;
    struct balancer_layer *layer;
    struct token_list tokens;
    struct moves moves;
    bool moving;          /* to `next`, from layer `moved` on */
    uint32_t moved;
    uint32_t ring;
    struct balancer_counters count;
};

int balancer_init(struct balancer *x, const struct balancer_config *c, struct arena *a, struct err *e);
void balancer_release(struct balancer *x);

/* For struct engine_config: `ctx` is a struct balancer. */
int balancer_execute(void *ctx, const struct engine *g, const struct step *s, sim_ns start, struct cost_affine *ret,
                     struct err *e);
/* The same with the tokens given. */
int balancer_run(struct balancer *x, const struct batch_shape *shape, const struct expert_token *tok, uint32_t n,
                 sim_ns start, sim_tick *ret, struct err *e);

#endif
