/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by swap*.c only: what is kept and found (swap.c), how it moves (swap_move.c), what is
 * counted and checked (swap_stats.c). */
#ifndef STEELYARD_ENGINE_SWAP_INTERNAL_H
#define STEELYARD_ENGINE_SWAP_INTERNAL_H

#include "sim/engine/engine.h"

static inline uint64_t own_key(const struct engine *e, req_id r)
{
    return e->reqs[r].serial * 2;
}

static inline uint64_t session_key(const struct engine *e, req_id r)
{
    return e->reqs[r].session * 2 + 1;
}

/* A copy that starts with the next step, or when the one that fills its entry has ended. */
int swap_move_add(struct engine *e, struct kv_move m);
/* Idle sessions sink from tiers that are full. */
int swap_demote(struct engine *e);
/* How many chunks there will be, and what the first is: the link is taken at its word. False: none,
 * it is text from the beginning. */
bool swap_open_stream(struct engine *e, struct kv_move *m, uint32_t gpu_tok, uint32_t tok);
/* What *k holds is on the GPU now: a second copy, or of no more use. */
void swap_loaded(struct engine *e, struct kept *k);

#endif
