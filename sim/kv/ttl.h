/* SPDX-License-Identifier: Apache-2.0
 *
 * How long to keep the KV of a program on the GPU while one of its tools runs (Continuum, arXiv
 * 2511.02230; serving.md 8). Keeping it for tau seconds costs tau times its memory, and saves the
 * wait in the queue and the reload of those tools that answer within tau; both sides scale with the
 * memory, which cancels. */
#ifndef STEELYARD_KV_TTL_H
#define STEELYARD_KV_TTL_H

#include <stddef.h>
#include <stdint.h>

#include "sim/core/err.h"

struct ttl_case {
    const double *tool_s; /* durations seen of the tool, in any order */
    size_t n;
    double wait_s;   /* mean queueing delay of programs that came back to nothing */
    double eta;      /* how much a program's turns left can be told from its turns done: 0..1 */
    double reload_s; /* of its KV, from host memory or by computing it */
};

/* P(tool <= tau) * (wait * eta + reload) - tau, in seconds. */
double ttl_gain_s(const struct ttl_case *c, double tau_s);
/* The recorded duration, or 0, with the largest gain; of equal ones the shortest. */
double ttl_best_s(const struct ttl_case *c);
/* Nothing is known of the tools: durations as Exp(1 s), eta = 1. */
double ttl_unknown_s(double wait_s, double reload_s);
/* eta = -correlation of (turns done, turns left) over all turns of programs with `turns[i]` turns
 * each: 1 when all have the same number, 0 when the number left does not hang on the number done. 0
 * when neither varies. */
double ttl_eta(const uint32_t *turns, size_t n);

/* ---- learning ---- */
#define TTL_COLD    100 /* durations up to which a tool, and all tools together, are not known */
#define TTL_WINDOW  256 /* of queueing delays in the mean, and of durations remembered per tool */
#define TTL_TOOLS   64  /* tools told apart; further ones share the last place */

struct ttl_samples {
    double *v; /* TTL_WINDOW of them, the newest over the oldest */
    uint64_t n;
};

struct ttl_learner {
    struct ttl_samples tool[TTL_TOOLS], all, waits;
    uint64_t n_turn, sum_done, sum_left; /* for eta, over turns of programs that are through */
    double sum_dd, sum_ll, sum_dl;
};

int ttl_learner_init(struct ttl_learner *l);
void ttl_learner_release(struct ttl_learner *l);
void ttl_learn_tool(struct ttl_learner *l, uint32_t tool, double seconds);
void ttl_learn_wait(struct ttl_learner *l, double seconds);
void ttl_learn_program(struct ttl_learner *l, uint32_t turns);
/* Seconds to keep the KV for `tool`: unknown -> by Exp(1); a tool that is not known -> by all
 * tools. */
double ttl_decide_s(const struct ttl_learner *l, uint32_t tool, double reload_s);

#endif
