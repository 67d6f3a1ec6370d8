/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert store: which experts of which layer are in GPU memory, and which are on their way. A room
 * (one per layer, or one for all) has so many slots; an expert holds one from the moment its copy begins
 * until it is evicted, so a guess that stays in line costs nobody a place. Copies go over an H2D engine
 * (sim/fabric/copy.h), one at a time: demands before guesses, in order of request, not interrupted once
 * begun; on a link that is shared the engine may have KV to copy in between. Who asks for an expert that is on its way joins; who asks for
 * one that is queued behind others hurries it. */
#ifndef STEELYARD_STORE_H
#define STEELYARD_STORE_H

#include "policies/experts.h"
#include "sim/fabric/copy.h"

#define STORE_PIECES 16 /* of one expert at most */

struct store_config {
    uint32_t layers, experts;
    bool global;           /* one room for all layers */
    uint32_t slots;        /* of a room, on the average; 0 = nothing is ever here (the CPU computes all) */
    uint32_t shallow;      /* the first rooms hold all experts of theirs, the others share what is left (Fate);
                              with slots = 0 they have none */
    double expert_bytes;
    uint32_t calls;        /* copy calls per expert, spread over its pieces */
    uint32_t pieces;       /* an expert is copied in so many: between them an urgent copy may come in */
    bool spent;            /* an expert that has computed is copied again (dequantised in place) */
    bool writeback;        /* an evicted expert is copied back (Mixtral-offloading's swap) */
    double h2d_bytes_per_s, d2h_bytes_per_s;
    sim_ns call_ns;
    const struct gpu_link *shared; /* copies go this way, at the rates above at most; NULL = a link of its own */
    const struct evict_ops *evict;
    void *evict_st;
    /* A copy of one piece has ended; NULL = nobody listens. */
    void (*copied)(void *ctx, uint32_t item, bool to_gpu, sim_ns from, sim_ns to);
    void *copied_ctx;
};

struct store_counters {
    uint64_t requests, loads, cancelled; /* copies asked for, ended, taken out of the line */
    uint64_t joined, hurried;            /* demands that met a prefetch on the wire, in the line */
    uint64_t evictions, writebacks;
    double h2d_bytes, d2h_bytes;
};

struct store {
    struct store_config cfg;
    struct arena *arena;
    struct expert_view *view; /* its state and held are this store's */
    uint32_t items, rooms;
    uint8_t *state, *held, *needed, *again;
    uint8_t *kept;       /* by item: on its way into a slot that is still its own */
    uint8_t *want;       /* of those on their way: enum store_want */
    uint32_t *used, *slots; /* by room */
    uint8_t *pieces_left;
    struct store_line {
        uint32_t first, last, n;
    } line[2];           /* guesses; sure ones and demands */
    uint32_t *behind;    /* next in line */
    uint32_t half;       /* guess of which some pieces are here, EXPERT_NONE = none */
    float *share;        /* by item: of an expert's bytes that its copy has; below 1 it leaves after its gate */
    sim_ns *began_ns;    /* of the piece on the wire */
    struct store_later {
        sim_ns when;
        uint32_t item;
    } *later;            /* ring of [items], by time: guesses still being worked out */
    uint32_t later_first, later_n;
    struct fabric *fabric;
    link_id link[2];
    struct topo_route way[2];
    struct copy_engines *engine[2]; /* to the GPU, back */
    struct flow_client client;
    uint64_t outstanding;
    uint64_t given[2], started[2], ended[2]; /* pieces: to the engine, on the wire, done */
    double begun_bytes[2];
    uint64_t last_tag; /* of the piece that the H2D engine was given last */
    struct err *err;
    struct store_counters n;
};

/* Everything in the arena; `view` gets pointers to the state. All experts are absent. */
int store_init(struct store *s, const struct store_config *c, struct expert_view *view, struct arena *a,
               struct err *e);

/* An expert that is there from the start; false when its room is full. */
bool store_place(struct store *s, uint32_t item);

/* Everything that has happened by `now`. Errors: SIM_E_*. */
int store_advance(struct store *s, sim_ns now, struct err *e);
/* Time of the next change, SIM_NEVER when nothing is under way. */
sim_ns store_next(const struct store *s);

/* A guess waits behind everything else; who is sure goes into the line of demands; a demand may also take
 * the slot of an expert that a prefetcher holds. */
enum store_want { STORE_GUESS, STORE_SURE, STORE_DEMAND };
/* `item` is wanted on the GPU: true when it is there. It gets into line; store_kick starts copies. */
bool store_request(struct store *s, uint32_t item, enum store_want want);
/* The same for a copy of lower precision with `share` of the bytes, unless one is on its way. It serves its
 * layer's next gate and leaves. */
bool store_request_thin(struct store *s, uint32_t item, enum store_want want, float share);
/* A guess that comes into line at `when`, if its layer's gate has not decided by then. At most one per item at a
 * time. */
void store_request_later(struct store *s, uint32_t item, sim_ns when);
/* Start what can start: after requests, and when slots may have become free. */
int store_kick(struct store *s, sim_ns now, struct err *e);
/* A copy to the GPU is under way, or waits for the engine. */
static inline bool store_copies(const struct store *s)
{
    return s->given[0] > s->ended[0];
}
/* Experts in line. */
uint32_t store_waiting(const struct store *s);
/* See struct expert_services; at the link's full rate. */
double store_arrives_s(const struct store *s, uint32_t item, sim_ns now);
double store_link_free_s(const struct store *s, bool demands, sim_ns now);

/* The layer under way needs `item` (or no longer): while it does it is not evicted. */
void store_need(struct store *s, uint32_t item, bool needed);
/* A prefetcher has named `item` for a gate to come: it stays until then, unless a demand needs the slot. */
void store_hold(struct store *s, uint32_t item);
/* What prefetchers have named is void: guesses leave the line, holds end; what is on the wire comes. */
void store_forget(struct store *s);
/* The gate of `layer` has decided: what a prefetcher asked for and nobody needs is taken out of the line,
 * and holds on the layer's experts end; a guess that is half here and that nobody needs is given up. */
void store_gate(struct store *s, uint32_t layer);

/* --check: slots, states, bytes, no load lost. */
int store_check(const struct store *s, struct err *e);

#endif
