/* SPDX-License-Identifier: Apache-2.0
 *
 * What a real scheduler would know of a live request. True output lengths are not here: they live in
 * the engine, out of a policy's reach. */
#ifndef STEELYARD_REQ_H
#define STEELYARD_REQ_H

#include "sim/core/slo_class.h"
#include "sim/core/types.h"

enum req_state {
    REQ_FREE = 0,   /* the slot is not in use */
    REQ_WAITING,    /* in the policy's queue */
    REQ_PREFILLING, /* runs; its prompt (or recomputed context) is not through yet */
    REQ_DECODING,   /* runs; every decode step gives it one token */
    REQ_SWAPPED     /* pushed out with its KV kept in host memory */
};

struct req {
    uint64_t serial;      /* number of the request in the trace, 0.. : key for randomness and ties */
    sim_ns arrival_ns;
    sim_ns began_ns;       /* of a call of a compound program: when the program's first call came */
    sim_ns first_token_ns; /* SIM_NEVER until then */
    uint32_t client;
    uint32_t prompt_tok;
    int32_t priority;     /* lower runs first */
    uint8_t state;        /* enum req_state */
    bool kv_pinned;       /* KV of its program's turns before is held for it on the GPU (kv.pin) */
    bool was_preempted;   /* at least once: its prompt has been charged before */
    uint8_t slo_class;    /* enum slo_class; which goals count, and how */
    float weight;         /* of its client, 1 unless configured */
    float ttft_slo_ms, tpot_slo_ms, e2e_slo_ms; /* 0 = none */
    uint64_t session;
    uint32_t turn;

    /* Progress, written by the engine. Use req_generated() for the tokens that are out. */
    uint32_t computed_tok;  /* tokens whose KV exists or is scheduled, while prefilling */
    uint32_t generated_tok; /* output tokens that are out, up to the last join or leave of the decodes */
    uint64_t join_iter;     /* while decoding: decode iteration count at which generated_tok was right */

    /* Links for whoever owns the state: the policy's queue while waiting or swapped, the engine's list
     * of running requests (in order of admission) while running. */
    req_id q_prev, q_next;
    uint64_t q_key; /* free use by the policy while the request is waiting */
};

/* Read-only view handed to a policy. */
struct sched_view {
    sim_ns now_ns;
    const struct req *reqs;   /* indexed by req_id */
    uint64_t decode_iter;     /* decode iterations done so far */
    req_id running_head, running_tail; /* running requests, linked by q_next in order of admission */
    uint32_t n_running, n_waiting;
};

/* Output tokens of a request that are out by now. */
static inline uint32_t req_generated(const struct sched_view *v, const struct req *r)
{
    return r->generated_tok +
           (r->state == REQ_DECODING ? (uint32_t)(v->decode_iter - r->join_iter) : 0);
}

#endif
