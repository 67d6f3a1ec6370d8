/* SPDX-License-Identifier: Apache-2.0
 *
 * A router's own record of which prefixes it has sent where: an approximation of the replicas' caches, kept
 * like a radix tree whose edges are the ids of the trace. A prefix is known by the chained hash of its ids;
 * each replica has room for so many tokens and drops what was used longest ago, deepest first.
 * Tuned for prompts of up to some thousand ids and a few dozen replicas: a look-up walks the matched part. */
#ifndef STEELYARD_ROUTE_PREFIXES_H
#define STEELYARD_ROUTE_PREFIXES_H

#include "policies/route.h"

struct prefix_node {
    uint64_t key;
    uint32_t replica, tok;
    uint32_t chain;          /* next of the same bucket; index + 1, 0 = end */
    uint32_t newer, older;   /* of the same replica; index + 1, 0 = end */
};

struct prefix_share {
    uint64_t held_tok;
    uint32_t newest, oldest; /* index + 1 */
};

struct prefixes {
    uint64_t room_tok;       /* of each replica */
    struct prefix_share *share; /* by replica */
    struct prefix_node *node;
    uint32_t n_nodes, cap_nodes, free_node; /* free ones are linked by chain */
    uint32_t *bucket, n_buckets;
    /* the request at hand */
    uint64_t *key;           /* of its n_id ids; then of what nobody shares with it, if there is any */
    uint32_t n_id, n_key, cap_key, id_tok, prompt_tok;
};

int prefixes_init(struct prefixes *p, uint32_t replicas, uint64_t room_tok, struct arena *a, struct err *e);
void prefixes_release(struct prefixes *p);
/* The request that the following calls are about. 0 or SIM_E_NOMEM. */
int prefixes_read(struct prefixes *p, const struct route_req *r, struct err *e);
/* Tokens at the head of its prompt that were sent to `replica` before. */
uint32_t prefixes_match_tok(const struct prefixes *p, uint32_t replica);
/* It goes to `replica`. 0 or SIM_E_NOMEM. */
int prefixes_put(struct prefixes *p, uint32_t replica, struct err *e);
static inline uint64_t prefixes_held_tok(const struct prefixes *p, uint32_t replica)
{
    return p->share[replica].held_tok;
}

#endif
