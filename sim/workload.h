/* SPDX-License-Identifier: Apache-2.0
 *
 * The stream of arrivals of a run: a trace, cut, repeated, scaled or resampled as configured. Streams;
 * only a bootstrap holds the trace. */
#ifndef STEELYARD_WORKLOAD_H
#define STEELYARD_WORKLOAD_H

#include "sim/core/u64_map.h"
#include "sim/goals.h"
#include "sim/run.h"
#include "sim/sessions.h"
#include "traces/trace.h"

struct workload {
    const struct run_config *cfg;
    struct trace *trace;
    uint64_t given;      /* arrivals handed out */
    uint64_t in_pass;    /* of these in the present pass over the trace */
    int64_t pass;        /* passes over the trace that are done */
    sim_ns offset_ns;    /* start of the present pass */
    sim_ns last_raw_ns;  /* time of the last arrival inside the pass */
    uint64_t *salted;    /* prefix ids of a repeated pass, told apart from the first one's */
    uint32_t cap_salted;
    /* closed loop */
    bool by_session;     /* load.sessions */
    struct sessions sessions;
    int64_t in_flight;
    sim_ns slot_ns;      /* when the last slot of load.concurrency came free */
    /* bootstrap and sessions */
    struct arrival *all;
    uint64_t *hashes;    /* of all, one after the other, and the calls that each waits for */
    size_t n_all;
    struct workload_turn {
        sim_ns time_ns;
        uint32_t i;    /* of all */
        uint32_t copy; /* how often its block had been drawn before */
    } *order;          /* resampled */
    size_t n_order;
    /* compound programs of this pass: number + 1 by session, and when the first call came, by number */
    struct u64_map programs;
    sim_ns *began_ns;
    uint32_t cap_began;
    struct goals goals;
    const struct goal_set **goals_of; /* by client, as far as seen */
    uint32_t n_goals_of;
    const double *weight; /* by client */
    size_t n_weight;
};

int workload_open(struct workload *w, const struct run_config *c, struct arena *a, struct err *e);
/* 1 = *ret filled, 0 = end, < 0 = error, 2 = none before a request has left. */
int workload_next(struct workload *w, struct arrival *ret, struct err *e);
/* A request has left; see engine_config.left. */
void workload_left(struct workload *w, uint64_t serial, sim_ns now, struct arrival *pending);
float workload_weight(const struct workload *w, uint32_t client);
/* Share handed out, 0..1, or -1. */
double workload_progress(const struct workload *w);
void workload_close(struct workload *w);

#endif
