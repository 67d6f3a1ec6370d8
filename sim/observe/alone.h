/* SPDX-License-Identifier: Apache-2.0
 *
 * How long a request takes when it has the machine to itself: its prompt in chunks as large as a step may
 * be, then one decode step a token, by the cost model of the run. No cache, no queue. */
#ifndef STEELYARD_ALONE_H
#define STEELYARD_ALONE_H

#include "models/cost.h"

#define ALONE_MEMO_LOG2 12

struct alone_memo {
    uint32_t prompt_tok, output_tok;
    sim_ns ns;
};

struct alone {
    const struct cost_ops *cost;
    const void *cost_state;
    sim_tick overhead;      /* of every step */
    sim_ns delay_ns;        /* there and back */
    uint32_t chunk_tok;     /* most prompt tokens of a step; 0 = all */
    struct alone_memo *memo; /* 1 << ALONE_MEMO_LOG2 */
};

int alone_init(struct alone *w, const struct cost_ops *cost, const void *cost_state, struct arena *a);
sim_ns alone_ns(struct alone *w, uint32_t prompt_tok, uint32_t output_tok);

#endif
