/* SPDX-License-Identifier: Apache-2.0
 *
 * Compound programs as JITServe (arXiv 2504.20068) sees them: calls of one session that share a deadline.
 * Stage s of a program with deadline D is to be done by D * share(s), the part of the time that stages up to
 * s took in the past program that is most alike (pattern.h). */
#ifndef STEELYARD_COMPOUND_H
#define STEELYARD_COMPOUND_H

#include "policies/pattern.h"
#include "policies/queue.h"
#include "policies/slo.h"
#include "sim/core/u64_map.h"

/* Where shares of stages come from: nowhere (the program's deadline holds for each call), from structures
 * of equal stages, from programs seen so far. */
enum compound_stages { COMPOUND_OFF, COMPOUND_STATIC, COMPOUND_ONLINE };
/* What a stage cost: the time from its first start to its last answer, or its longest answer. */
enum compound_cost { COMPOUND_TIME, COMPOUND_OUTPUT };

struct compound {
    /* settings */
    enum compound_stages stages;
    enum compound_cost cost;
    double spread_tok;
    sim_ns ended_after; /* without a call for so long a program is over, and known from then on */
    /* state */
    struct pattern_store known;
    struct u64_map number; /* by session: + 1 */
    struct compound_program {
        struct pattern seen;
        uint32_t turn, live;    /* calls under way */
        double share;           /* of the deadline, for the present stage */
        sim_ns idle_ns;         /* since when no call is under way */
        uint32_t idle_prev, idle_next; /* of those without a call; + 1, 0 = none */
        double goodput, rem_s;  /* free use by the policy */
    } * at;
    uint32_t cap;
    uint32_t idle_first, idle_last; /* longest idle first; + 1 */
    struct compound_call {
        uint32_t program, stage, node;
    } * calls; /* by req_id */
    uint32_t calls_cap;
};

/* Is `q` a call of a program with a deadline? The rest of this header is for such calls only. */
static inline bool compound_has(const struct req *q)
{
    return q->slo_class == SLO_COMPOUND && q->session != 0 && q->e2e_slo_ms > 0;
}

/* `settings` holds the first four members; at most `patterns` programs are remembered. */
bool compound_init(struct compound *c, const struct compound *settings, uint32_t patterns);
void compound_release(struct compound *c);
/* Room for slot `r`, any request's. */
bool compound_reach(struct compound *c, req_id r);
/* A call came. False = no memory. */
bool compound_arrive(struct compound *c, const struct req *q, req_id r, sim_ns now);
void compound_admit(struct compound *c, req_id r, sim_ns now);
/* It was answered with `output` tokens, or (0) left without an answer. */
void compound_leave(struct compound *c, req_id r, uint32_t output, sim_ns now);
/* When the stage of call `r` is due. */
sim_ns compound_due_ns(const struct compound *c, const struct req *q, req_id r);
static inline struct compound_program *compound_of(struct compound *c, req_id r)
{
    return &c->at[c->calls[r].program];
}

#endif
