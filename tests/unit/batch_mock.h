/* SPDX-License-Identifier: Apache-2.0
 *
 * A slow, plain engine for testing batchers: every block is an item in an array, every question is a
 * loop over all requests. It shares nothing with sim/engine and can stand in its place (it defines the
 * eng_* functions), so it is also the oracle for the real one. A step that is not empty takes one ms. */
#ifndef STEELYARD_BATCH_MOCK_H
#define STEELYARD_BATCH_MOCK_H

#include "policies/batcher.h"

enum { MOCK_REQS = 256, MOCK_LIST = 512 };

struct mock_spec {
    uint32_t prompt_tok, output_tok;
    uint32_t max_output_tok; /* declared; 0 = the true length */
    uint32_t expected_tok;   /* of output, by the policy; 0 = it expects nothing */
    uint32_t client;
    uint32_t prefix_id, prefix_tok; /* prompts with one id share their first prefix_tok tokens */
};

struct mock_chunk {
    req_id r;
    uint32_t tok;
};

/* What one step did. */
struct mock_step {
    uint32_t n_decoded, n_chunks, n_admitted, n_preempted, n_swapped_out, n_swapped_in, n_refused;
    req_id decoded[MOCK_LIST], admitted[MOCK_LIST], preempted[MOCK_LIST], refused[MOCK_LIST];
    struct mock_chunk chunk[MOCK_LIST];
    uint32_t prefill_tok;
    uint64_t horizon;
    const char *why; /* of the last refusal */
};

struct mock_setup {
    uint64_t kv_blk;      /* usable blocks */
    uint64_t host_blk;    /* for swapping */
    double gpu_mem_bytes;
    const char *gpu_name;
    uint32_t max_context_tok;
};

/* `options` as "name=value,name=value" or "". Fails the test on any error. */
struct engine *mock_new(const struct batcher_ops *ops, const char *options,
                        const struct mock_setup *setup);
void mock_free(struct engine *m);
/* The same without failing: NULL and an error when init says no. */
struct engine *mock_try_new(const struct batcher_ops *ops, const char *options,
                            const struct mock_setup *setup, struct err *e);

/* A request arrives now. */
req_id mock_add(struct engine *m, struct mock_spec spec);
req_id mock_add_plain(struct engine *m, uint32_t prompt_tok, uint32_t output_tok);

/* At `ms`: nothing may be live if that is later than now. */
req_id mock_add_at(struct engine *m, struct mock_spec spec, uint64_t ms);
uint64_t mock_now_ms(const struct engine *m);
/* Clock at which r's first and last token came out. */
uint64_t mock_first_ms(const struct engine *m, req_id r);
uint64_t mock_last_ms(const struct engine *m, req_id r);
bool mock_is_empty(const struct engine *m); /* nobody waits or runs */

/* Plan one step, then apply the oldest step in flight when the depth is reached. */
const struct mock_step *mock_step(struct engine *m);
/* `n` steps; all of them must be pure decodes. */
void mock_decode_steps(struct engine *m, uint32_t n);
/* Step until all are gone; the number of steps. Fails the test when nothing moves or after `most`. */
uint32_t mock_drain(struct engine *m, uint32_t most);

const struct batcher_traits *mock_traits(const struct engine *m);
void *mock_state(struct engine *m); /* of the batcher */
uint32_t mock_tokens_out(const struct engine *m, req_id r);
bool mock_is_done(const struct engine *m, req_id r);
uint32_t mock_blocks_held(const struct engine *m, req_id r);
uint64_t mock_steps(const struct engine *m);
/* Step (from 1) that ended with r's first token; 0 = none yet. */
uint64_t mock_first_token_step(const struct engine *m, req_id r);

/* The policy: FCFS, pushed-out requests at the head. */
void mock_set_victim(struct engine *m, req_id v); /* REQ_NONE: the last admitted */
void mock_set_try_others(struct engine *m, bool on); /* a blocked head does not block the others */

#endif
