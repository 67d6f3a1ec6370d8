/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of a step that serves the running requests, shared by the batchers that mix decodes and
 * prompt chunks: everybody in order of age, and whom to push out when blocks run short. */
#ifndef STEELYARD_BATCH_STEP_H
#define STEELYARD_BATCH_STEP_H

#include "policies/batcher.h"

/* An option that follows the version unless it is set. */
enum auto_switch { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
extern const struct opt_choice auto_switch_choices[];
static inline bool auto_switch_is_on(int64_t s, bool by_version)
{
    return s == SWITCH_AUTO ? by_version : s == SWITCH_ON;
}

struct step_rules {
    uint32_t chunk_max_tok;  /* longest chunk of one request; 0 = no limit */
    uint32_t chunk_unit_tok; /* a chunk that is not the last is a multiple of it; 0 = any size */
    bool wants_free_block;   /* each request asks for a free block even where it needs none (vLLM V0) */
    bool victim_by_arrival;  /* victim = youngest arrival, not the last admitted (vLLM V0, Sarathi) */
    bool decodes_first;      /* decodes before unfinished prefills, whatever their age (Sarathi) */
    bool swap;               /* push out by copying to host memory; recompute when that is full */
};

struct step {
    struct engine *e;
    const struct step_rules *rules;
    uint64_t budget_tok; /* tokens that this step may still take */
    bool decoded_all;    /* eng_decode_all went through */
};

/* Serve the running requests. Cost: proportional to the prefilling ones as long as budget and blocks
 * suffice, else to all running ones. Returns true when every decoding request got its token. */
bool step_running(struct step *s);

/* Tokens that the next chunk of `left_tok` may hold under rules and budget; 0 = none now. */
uint32_t step_chunk_tok(const struct step *s, uint32_t left_tok);

/* Whom to push out: the policy's word, else the rule's. */
req_id step_victim(struct engine *e, const struct step_rules *rules);

/* After the running requests were served: push out one that the policy gives up in favour of `waiting`,
 * its pick, to be recomputed later. False: nobody, or the policy now picks somebody else. */
bool step_displace(struct step *s, req_id waiting);

/* How often the step that was just built comes again: for ever if it only decodes and all did. */
uint64_t step_horizon(const struct engine *e, bool all_decoded);

/* Blocks that the rests of the unfinished prefills will take. Engines that allocate a whole prompt when
 * they admit it hold them already; here admission must leave them free. */
uint64_t step_prefill_debt(const struct engine *e);

/* Blocks for `tok` tokens. */
static inline uint64_t step_blocks(const struct engine *e, uint64_t tok)
{
    return (tok + eng_block_tok(e) - 1) / eng_block_tok(e);
}

#endif
