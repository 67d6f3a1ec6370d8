/* SPDX-License-Identifier: Apache-2.0
 *
 * KV of a program that stays on the GPU while a tool of the program runs (Continuum, arXiv
 * 2511.02230; serving.md 8): when a turn ends and another is to follow, its blocks are pinned until
 * the tool has answered or its time is over. Pinned blocks are not free. They go, the program that
 * came last first, when running requests need them for their next token, or when nothing runs and
 * nobody fits. */
#ifndef STEELYARD_ENGINE_PIN_H
#define STEELYARD_ENGINE_PIN_H

#include "sim/core/types.h"
#include "sim/engine/kv.h"
#include "sim/kv/ttl.h"
#include "traces/trace.h"

struct engine;

enum pin_manner {
    PIN_OFF,
    PIN_FIXED, /* the same time for everybody */
    PIN_TTL,   /* by what it is worth: see sim/kv/ttl.h */
};

struct pin_config {
    enum pin_manner manner;
    sim_ns fixed_ns;
    /* Does the session of request `serial` go on after it? A server knows: the answer calls a tool,
     * or not. NULL = it may. */
    bool (*goes_on)(void *ctx, uint64_t serial);
    void *ctx;
};

/* KV of one program that waits for its tool. */
struct pin {
    uint64_t session;
    struct kv_seq kv;
    uint32_t tok;
    sim_ns until;
    sim_ns program_ns; /* arrival of the program */
    uint64_t print;
    uint32_t print_ids;
    req_id awaited;    /* the next turn, when it is here and waits to be let in; else REQ_NONE */
};

/* A program between its first turn and its last. */
struct pin_program {
    uint64_t session; /* 0 = empty */
    sim_ns arrival_ns, answered_ns;
    uint32_t turns;
    struct pin_program *next;
};

struct pin_counters {
    uint64_t made, found, expired, broken; /* broken: taken back for lack of memory */
    double blk_ns, all_blk_ns;             /* blocks held, times how long; and the pool's, by pins_add_up */
};

struct pins {
    struct pin_config cfg;
    struct pin *v;
    uint32_t n, cap;
    uint64_t blk;
    sim_ns counted_ns; /* blk_ns is right up to here */
    struct pin_program **slot, *spare;
    uint32_t slots, programs;
    struct ttl_learner learner;
    struct pin_counters counters;
};

int pins_init(struct engine *e, const struct pin_config *c, struct err *err);
void pins_release(struct engine *e);
/* A turn of a session arrives: its tool has answered. */
int pins_arrive(struct engine *e, req_id r, const struct arrival *a);
/* r left without being let in: its pin waits for its time to be over. */
void pins_forget(struct engine *e, req_id r);
/* The pin that waiting r will take over, or NULL. */
struct pin *pins_of(const struct engine *e, req_id r);
/* Waiting r, which is let in now, takes the blocks over. */
void pins_adopt(struct engine *e, req_id r, struct pin *p);
/* r was let in for the first time and `found` KV or did not. */
void pins_admitted(struct engine *e, req_id r, bool found);
/* r is done; its sequence holds `content` tokens. True: they are pinned, and no longer r's. */
bool pins_finish(struct engine *e, req_id r, uint64_t content);
/* What is over goes. */
int pins_expire(struct engine *e);
sim_ns pins_next(const struct engine *e);
/* One pin is broken. False: there is none. */
bool pins_break_one(struct engine *e);
/* Running requests get the blocks that their next token needs. */
void pins_make_room(struct engine *e);
/* To *to, over engines. */
void pins_add_up(struct pin_counters *to, const struct engine *e);
int pins_check(const struct engine *e, struct err *err);

#endif
