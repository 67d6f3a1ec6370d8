/* SPDX-License-Identifier: Apache-2.0
 *
 * Several replicas behind a router. Each is an engine with its own KV memory, scheduler policy and clock;
 * this room only orders what they do. All that happens at one time happens in this order: steps end, an
 * arrival is routed, boundaries plan the next steps, a sample is taken; of equals the replica with the lower
 * number first. So a request finds every replica as it is when it becomes visible, and a step that is
 * planned at that time sees it.
 * A router may be made to look more rarely; in between it knows what it has sent itself.
 * Between two arrivals the replicas do not know of each other and each jumps on its own. Where answers bring
 * forth requests (closed loops), a replica may not jump over the next event of another. */
#ifndef STEELYARD_CLUSTER_H
#define STEELYARD_CLUSTER_H

#include "policies/route.h"
#include "sim/engine/engine.h"

#define MOST_REPLICAS 1024

struct cluster;

/* A request on its way to a replica that has not looked yet. */
struct letter {
    struct arrival a;
    uint64_t serial;
    uint64_t *hash; /* the arrival's own copy */
    uint32_t cap_hash;
    struct letter *next;
};

struct replica {
    struct cluster *cluster;
    uint32_t index;
    struct engine *engine;
    /* unopened letters, and the one that the engine holds in its hands */
    struct letter *first, *last, *opened;
    uint64_t unopened_tok;
    uint64_t sent, left, prompt_tok; /* prompt_tok: of those that are there */
    sim_ns next_ns;                  /* of the engine, as it stands */
    enum engine_event next_event;
};

struct cluster_config {
    struct router_instance router;
    /* As in struct engine_config. */
    int (*arrivals)(void *ctx, struct arrival *a, struct err *e);
    void (*left)(void *ctx, uint64_t serial, sim_ns now, struct arrival *pending); /* NULL = open loop */
    float (*client_weight)(void *ctx, uint32_t client);
    int (*poll)(void *ctx);
    void (*sample)(void *ctx, sim_ns at); /* at every multiple of tick_ns while somebody is there */
    void *ctx;
    sim_ns tick_ns, request_delay_ns;
    sim_ns glance_ns; /* the router looks at the replicas at most this often; 0 = for each request */
    struct fabric *fabric; /* that the replicas share, and whose events come with the others; NULL = none */
    sim_ns echo_ns; /* least time from an answer to a request that it brings forth */
    const char *router_name;
    bool check;
};

struct cluster {
    struct cluster_config cfg;
    struct err *err;
    uint32_t n;
    struct replica *replica;
    struct route_replica *seen; /* what the router is shown */
    struct letter *spare;
    struct arrival next;        /* from the workload, not routed yet */
    bool have_next, ended, somebody_left;
    sim_ns now, next_tick_ns, next_glance_ns;
    uint64_t routed, events;
};

int cluster_init(struct cluster *c, const struct cluster_config *cfg, uint32_t n, struct arena *a,
                 struct err *err);
/* Fill in what connects replica i's engine to the cluster; engine_init follows, and then cluster_seat. */
void cluster_feed(struct cluster *c, uint32_t i, struct engine_config *ec);
void cluster_seat(struct cluster *c, uint32_t i, struct engine *e);
/* Run to the last request. */
int cluster_run(struct cluster *c, struct err *err);
void cluster_release(struct cluster *c);

#endif
