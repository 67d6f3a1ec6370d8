/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversations and programs played in closed loop: a turn is sent its gap after the turn before was
 * answered, not at the time that the recording happened to have. Calls of a session with one and the same
 * turn number are a stage: they run side by side, each its own gap after all calls of the stage before were
 * answered. (Where no turn is numbered and nothing says that the session is a compound program, every
 * request is a turn of its own.) A session whose calls name those that they wait for is a graph: a call is
 * sent its gap after the last of them was answered. Needs the whole trace in memory. */
#ifndef STEELYARD_SESSIONS_H
#define STEELYARD_SESSIONS_H

#include "sim/core/err.h"
#include "sim/core/types.h"
#include "sim/core/u64_map.h"
#include "traces/trace.h"

/* Calls that wait for calls, by index into the trace. */
struct call_graph {
    uint32_t *waits_for; /* calls that it waits for and that are not answered yet */
    uint32_t *depth;     /* longest chain of calls that it waits for */
    uint32_t *followers; /* index + 1 into edge of the first call that waits for this one, 0 = none */
    struct call_edge {
        uint32_t call, next; /* who waits; index + 1 of the next edge of the same call, 0 = none */
    } * edge;
    bool *is; /* belongs to a session that is a graph */
};

struct sessions {
    const struct arrival *all; /* borrowed, in order of time */
    uint32_t n;
    /* Calls that run side by side are a stage, named by its first call. */
    uint32_t *stage;      /* of each call */
    uint32_t *peer;       /* index + 1 of the next call of the same stage, 0 = none */
    uint32_t *next_stage; /* of a stage: index + 1 of the one that follows, 0 = none */
    uint32_t *unanswered; /* of a stage: its calls that are not answered yet */
    sim_ns *at_ns;       /* when it is sent; known once the turn before was answered */
    uint32_t *heap;      /* those whose time is known and that were not handed out: by (at_ns, index) */
    uint32_t n_heap;
    uint32_t *of_serial; /* index of the i-th request handed out */
    uint32_t given;
    uint32_t outstanding; /* calls that wait for a stage or calls before theirs */
    struct call_graph graph;
};

/* Stages of a session follow each other in order of the trace. First stages, and requests without a
 * session, keep their own time divided by `scale`; so do calls of a graph that wait for none. 0 or SIM_E_*:
 * a call may wait only for calls before it in the trace. */
int sessions_init(struct sessions *s, const struct arrival *all, size_t n, double scale, struct err *e);
void sessions_release(struct sessions *s);
/* 1 = *ret is the index and *ret_at the time of the next request, 0 = all are out, 2 = the rest waits
 * for answers. */
int sessions_next(struct sessions *s, uint32_t *ret, sim_ns *ret_at);
/* Put the request that sessions_next gave last back. */
void sessions_unread(struct sessions *s);
/* The request handed out as number `serial` was answered (or refused) at `now`. Returns true when that
 * made others known. A gap that the trace does not know is the one between the trace's own times. */
bool sessions_answered(struct sessions *s, uint64_t serial, sim_ns now);
/* Turn of request i: as the trace has it, of a call in a graph its depth. */
uint32_t sessions_turn(const struct sessions *s, uint32_t i);
/* Does another stage follow the one of the request handed out as number `serial`? */
bool sessions_go_on(const struct sessions *s, uint64_t serial);
/* Earliest time known, SIM_NEVER when none. */
sim_ns sessions_peek(const struct sessions *s);

#endif
