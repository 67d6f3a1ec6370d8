/* SPDX-License-Identifier: Apache-2.0
 *
 * Batchers: the manners of a real engine - when it admits, how it chunks, whom it preempts and how.
 * Each is named after the engine and version that it imitates. A batcher is asked for one step at a
 * time and builds it with the eng_* calls below; only those change state, and each of them either
 * happens as a whole or answers false and changes nothing.
 * To add one: one file in policies/batch/ with a `const struct batcher_ops batcher_NAME` and one word
 * in policies/meson.build. */
#ifndef STEELYARD_BATCHER_H
#define STEELYARD_BATCHER_H

#include "policies/req.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

#define BATCHER_ABI 1

struct engine; /* opaque here */

/* What the batcher tells the engine about its world, filled by init. */
struct batcher_traits {
    uint32_t block_tok;       /* KV block size in tokens; 1 = single slots */
    uint32_t max_batched_tok; /* prompt tokens of one step, for the memory rule; 0 = no limit */
    uint32_t max_seqs;        /* most requests running at once; 0 = no limit */
    bool prefix_cache;        /* vLLM-style block cache in use */
    uint32_t spare_blk;       /* a decode step is plain only while so many blocks stay free after it */
    bool null_block;          /* one block of the pool is never handed out (vLLM V1) */
    bool async_depth2;        /* the plan of step k+2 is made when step k ends (vLLM >= 0.14, SGLang) */
    bool early_output;        /* reserved, false */
    bool late_chunks;         /* serves whoever is in prefill, also those let in without a chunk */
    sim_ns idle_poll_ns;      /* an idle engine looks only every so often; 0 = wakes at once */
};

struct batcher_env {
    struct arena *arena;
    double gpu_mem_bytes;     /* 0 when no GPU is named */
    const char *gpu_name;
    uint32_t max_context_tok; /* model's limit, 0 = unknown */
    int64_t kv_tok;           /* pool size if it was given or recorded, else 0 (not known yet) */
    struct batcher_traits *traits;
};

struct batcher_ops {
    const char *name, *summary;
    const char *source;
    unsigned abi;
    size_t state_size;
    const struct opt_row *options;
    int (*init)(void *st, struct batcher_env *env, struct err *e);
    /* Build the next step. Return for how many steps (>= 1) the same pure-decode plan would be made
     * again if nobody arrives, finishes or is picked differently and memory suffices; 1 when in doubt
     * or when the step holds a prefill. UINT64_MAX = until something happens. An empty step (nothing
     * added) means: nothing can run now. */
    uint64_t (*plan)(void *st, struct engine *e);
    /* The engine jumped over `k` further steps that equal the last plan (k <= what plan returned - 1). */
    void (*skipped)(void *st, struct engine *e, uint64_t k);
    /* Every waiting request was refused although nothing runs: can `r` ever run? NULL = if it fits an
     * empty pool it can. Return a static sentence when it never can. */
    const char *(*never_fits)(void *st, struct engine *e, req_id r);
};

extern const struct batcher_ops *const batchers[]; /* generated, NULL-terminated */
const struct batcher_ops *batcher_find(const char *name);

/* ---- reading ---- */
const struct sched_view *eng_view(const struct engine *e);
const struct req *eng_req(const struct engine *e, req_id r);
sim_ns eng_now(const struct engine *e);
/* Declared output limit (max_tokens), which servers know; the true length when the trace declares
 * none (recorded runs with ignore_eos). Not for policies. */
uint32_t eng_max_output(const struct engine *e, req_id r);
/* What the policy expects, at most the limit; the limit where it expects nothing. */
uint32_t eng_forecast(const struct engine *e, req_id r);
/* Output tokens out or already planned. */
uint32_t eng_planned_output(const struct engine *e, req_id r);
/* Prompt plus outputs so far: what a (re)prefill of r has to compute in all. */
uint32_t eng_context(const struct engine *e, req_id r);
uint32_t eng_n_running(const struct engine *e);    /* holds a running slot: decode, prefill, ending */
uint32_t eng_n_decoding(const struct engine *e);   /* would get a token in the next decode */
uint32_t eng_n_prefilling(const struct engine *e);
uint32_t eng_n_waiting(const struct engine *e);
uint32_t eng_n_swapped(const struct engine *e);
/* Running requests in order of admission; re-admitted ones come last. REQ_NONE ends. */
req_id eng_first_running(const struct engine *e);
req_id eng_next_running(const struct engine *e, req_id r);
req_id eng_last_running(const struct engine *e);
/* Running requests whose prefill is not fully planned, in order of admission. */
req_id eng_first_prefilling(const struct engine *e);
req_id eng_next_prefilling(const struct engine *e, req_id r);
req_id eng_first_swapped(const struct engine *e); /* in order of swapping out */
/* true while r takes part in decode steps (prefill planned to its end, last token not planned yet) */
bool eng_is_decoding(const struct engine *e, req_id r);

/* ---- KV, in blocks ---- */
uint32_t eng_block_tok(const struct engine *e);
uint64_t eng_kv_free(const struct engine *e);  /* free or evictable blocks */
uint64_t eng_kv_total(const struct engine *e); /* usable blocks */
/* Tokens that waiting `r` would find now, in the prefix cache (whole blocks) or outside of the GPU, always
 * leaving one to compute. */
uint32_t eng_hit(struct engine *e, req_id r);
/* Tokens of waiting `r` that lie outside of the GPU, in host memory or below; they are part of what
 * eng_hit finds, and are loaded when it is admitted. */
uint32_t eng_kept(const struct engine *e, req_id r);
/* Blocks that must be free so that waiting `r`, with its hits, holds `upto_tok` tokens; hit blocks that
 * lie in the free queue count as needed. */
uint64_t eng_kv_need(struct engine *e, req_id r, uint32_t upto_tok);
/* Blocks that one token for every decoding request would take now. */
uint64_t eng_decode_need(const struct engine *e);

/* ---- waiting requests ---- */
req_id eng_pick(struct engine *e); /* the policy's next, or REQ_NONE */
/* The pick was refused; true = eng_pick may now name another one to try. */
bool eng_pick_blocked(struct engine *e, req_id r);
/* Does the policy ever push out running requests in favour of a waiting one? */
bool eng_displaces(const struct engine *e);
/* The pick does not fit: a running request that the policy pushes out for it, or REQ_NONE. Ask again
 * after each eng_preempt, until the pick fits. */
req_id eng_displace(struct engine *e, req_id waiting);

/* ---- building the step ---- */
uint32_t eng_plan_prefill_tok(const struct engine *e); /* prompt tokens in the step so far */
uint32_t eng_plan_chunks(const struct engine *e);
bool eng_plan_empty(const struct engine *e);
bool eng_plan_decodes(const struct engine *e);
bool eng_preempted_now(const struct engine *e); /* somebody was pushed out while building this step */
/* Waiting -> running with `n_tok` >= 1 tokens to compute after the cache hits; blocks for
 * max(hits + n_tok, reserve_tok) tokens are taken (reserve_tok 0 = no more than needed). false when
 * blocks are missing. */
bool eng_admit(struct engine *e, req_id r, uint32_t n_tok, uint32_t reserve_tok);
/* The next `n_tok` tokens of a running, prefilling request; blocks as needed. */
bool eng_chunk(struct engine *e, req_id r, uint32_t n_tok);
/* Tokens that a prefilling request still has to compute; 0 for any other request. */
uint32_t eng_left_tok(const struct engine *e, req_id r);
/* One token for every decoding request. false when blocks are missing (eng_decode_need). */
bool eng_decode_all(struct engine *e);
/* Slow path, when eng_decode_all was refused or the budget is short: one request after the other, then
 * eng_decode_close(), after which those not served stay and wait for the next step. */
bool eng_decode_one(struct engine *e, req_id r);
void eng_decode_close(struct engine *e);
/* Push a running request out: KV freed - copied out before, where the run says so (kv.offload) -, waits
 * again. Chunks and tokens that this very step
 * had planned for it are taken back. */
void eng_preempt(struct engine *e, req_id r);
/* Push out with the KV copied to host memory; false when the host pool is full. The step starts after
 * the copy. */
bool eng_swap_out(struct engine *e, req_id r);
bool eng_swap_in(struct engine *e, req_id r);
/* The policy's victim among the running, or the last admitted. */
req_id eng_victim(struct engine *e);
/* A waiting request that can never run leaves with an error of its own; `why` is static text. */
void eng_refuse(struct engine *e, req_id r, const char *why);

#endif
