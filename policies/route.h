/* SPDX-License-Identifier: Apache-2.0
 *
 * Routers: which replica a request goes to. A router sees requests as they come and replicas as they are at
 * that moment; it never sees output lengths before they are out, and it changes nothing. To add one: one
 * file in policies/route/ with a `const struct router_ops router_NAME` and one word in
 * policies/meson.build. */
#ifndef STEELYARD_ROUTE_H
#define STEELYARD_ROUTE_H

#include "policies/policy.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

/* Goes up with every change of this header. */
#define ROUTER_ABI 1

struct route_env {
    struct arena *arena; /* of the run */
    uint64_t seed;
    uint32_t replication;
    uint32_t n;          /* replicas, 0 .. n - 1 */
    int64_t kv_tok;      /* tokens that fit into the KV pool of one of them */
};

/* A request at the door. */
struct route_req {
    uint64_t serial;     /* number in the trace, 0.. : key for randomness and ties */
    uint64_t session;    /* 0 = none */
    uint32_t client, prompt_tok;
    /* Ids of hash_tok prompt tokens each; equal ids at all positions up to i mean an equal prefix. The last
     * may stand for fewer tokens. Valid during the call. */
    const uint64_t *hash;
    uint32_t n_hash, hash_tok;
};

/* A replica, as a router that is told of every change knows it. Whoever was sent there and has not been
 * looked at by the engine yet waits. */
struct route_replica {
    uint32_t n_waiting, n_running; /* running: also those that are swapped out */
    uint64_t sent;                 /* requests so far */
    uint64_t kv_total_tok, kv_used_tok; /* used: held by requests, without what is cached only */
    uint64_t waiting_tok;          /* prompts that wait (contexts, after a preemption) */
    uint64_t prompt_tok;           /* prompts of all that are there */
    uint64_t head_tok;             /* prompt of whoever has waited longest; see ROUTE_HEAD */
};

struct route_view {
    sim_ns now_ns;
    uint32_t n;
    const struct route_replica *replica;
};

/* A request has left: all its tokens are out, or it was turned away. */
struct route_left {
    uint64_t serial, session;
    uint32_t replica, client, prompt_tok, output_tok; /* 0 output tokens: turned away */
};

enum router_needs {
    ROUTE_HEAD = 1u << 0 /* head_tok is to be found for each request: takes a look at all that wait */
};

struct router_ops {
    const char *name, *summary;
    const char *source;  /* paper and section, or engine and version */
    unsigned abi;        /* ROUTER_ABI */
    unsigned needs;      /* enum router_needs */
    size_t state_size;   /* zeroed, from the run's arena */
    const struct opt_row *options; /* parsed into the state before init */
    int (*init)(void *st, struct route_env *env, struct err *e); /* `env` stays valid for the run */
    void (*release)(void *st); /* also after an error */
    /* Into *ret the replica, below v->n. 0, or < 0 with a sentence. */
    int (*route)(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                 struct err *e);
    void (*left)(void *st, const struct route_left *l);
    /* At the end of the run: up to `max` numbers about itself; how many. */
    size_t (*stats)(const void *st, struct policy_stat *ret, size_t max);
};

extern const struct router_ops *const routers[]; /* generated, NULL-terminated */
const struct router_ops *router_find(const char *name);

struct router_instance {
    const struct router_ops *ops;
    void *st;
};

/* From "cache-aware{threshold=0.5}" to a router that is ready. Call ops->release where it is not NULL, also
 * after an error. */
int router_open(const char *spec, struct route_env *env, struct router_instance *ret, struct err *e);

/* ---- for routers ---- */

/* The replica with the least of what `load` says; of equals the first at or after `from`, going round. */
uint32_t route_least(const struct route_view *v, uint32_t from,
                     double (*load)(const struct route_replica *x));
double route_outstanding(const struct route_replica *x); /* waiting and running */

#endif
