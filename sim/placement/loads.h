/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tokens of one MoE layer put on the ranks of expert parallelism: which copy of its expert a
 * (token, expert) pair goes to, and what each rank gets. */
#ifndef STEELYARD_PLACEMENT_LOADS_H
#define STEELYARD_PLACEMENT_LOADS_H

#include <stdbool.h>

#include "policies/place.h"
#include "traces/routes.h"

/* EPLB leaves the choice among copies open. Round-robin is what even sharing comes to. Static is SGLang's: a rank
 * sends all its tokens for an expert to one copy, the own one or one on its node where there is one, and copies
 * are dealt out evenly among ranks that have the choice. Least loaded knows the whole step, as balancers at
 * dispatch time do (LPLB). */
enum replica_choice { REPLICA_ROUND_ROBIN, REPLICA_STATIC, REPLICA_LEAST };

/* A placement, and where the copies of each expert are. */
struct replicas {
    struct placement at;
    uint32_t *first; /* [experts + 1] into `copy` */
    uint32_t *copy;  /* slots, ascending for each expert */
    uint32_t *fixed; /* [gpus][experts]: the slot that a rank sends to when it sends to one only */
};

/* Room for a placement of this shape; empty. */
int replicas_init(struct replicas *x, const struct place_spec *s, struct arena *a, struct err *e);
/* Becomes `p`, which has the same shape. */
void replicas_set(struct replicas *x, const struct placement *p);
/* Every expert has a copy, the copies are where they are said to be, no rank holds more than its slots. */
int replicas_verify(const struct replicas *x, struct err *e);
static inline uint32_t replicas_rank(const struct replicas *x, uint32_t slot)
{
    return slot / (x->at.spec.slots / x->at.spec.gpus);
}
bool replicas_holds(const struct replicas *x, uint32_t rank, uint32_t expert);

struct loads {
    struct place_spec spec;
    enum replica_choice choice;
    bool node_copies; /* a token arrives once per node, not once per expert */
    const struct replicas *by;
    uint32_t *count;  /* [experts] pairs */
    uint32_t *pairs, *active; /* [gpus] */
    uint32_t *arrived, *seen; /* [nodes]: tokens; the last one, + 1 */
    uint32_t *turn;   /* [experts] */
    bool *used;       /* [slots] */
    uint32_t tokens;
};

int loads_init(struct loads *x, const struct place_spec *s, enum replica_choice choice, bool node_copies,
               struct arena *a, struct err *e);
void loads_begin(struct loads *x, const struct replicas *by);
/* A token of rank `from`. */
void loads_token(struct loads *x, uint32_t from, const struct route *r, uint32_t top_k);

/* Over the mean; 1 without any load. */
double loads_busiest(const struct loads *x);
double loads_arrive(const struct loads *x);
/* The same pairs with experts in the order of their numbers and no copies; NAN where ranks do not divide
 * the experts. */
double loads_unplaced(const struct loads *x);
double loads_mean_active(const struct loads *x);

/* Ranks that no other one has both more pairs and more experts than: one of them takes longest. Fills
 * ret[], at most slots per rank of them. */
struct rank_work {
    double load; /* pairs over the mean */
    uint32_t active;
};
uint32_t loads_slowest(const struct loads *x, struct rank_work *ret);

#endif
