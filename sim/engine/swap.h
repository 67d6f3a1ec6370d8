/* SPDX-License-Identifier: Apache-2.0
 *
 * KV that leaves the GPU and comes back: of requests that were pushed out, and of sessions between
 * two turns (serving.md 3.1; FastSwitch, arXiv 2411.18424). A request whose KV is outside waits
 * like any other, in the policy's queue; when it is let in, its tokens count as found, and only
 * what nobody has is computed.
 *
 *   synchronous   copies of a step come before it, both directions at once (vLLM V0's manner);
 *   asynchronous  copies run beside the steps, in order, on the copy engine of their direction. A request
 *                 whose KV is on the way holds its blocks and joins when it is there. Blocks that are
 *                 still being copied out count as free, but a step that needs them waits for the copies.
 *
 * Each sequence's KV is in exactly one state: on the GPU, outside, outside and again on the GPU (a
 * copy that is still good), or on the way. */
#ifndef STEELYARD_ENGINE_SWAP_H
#define STEELYARD_ENGINE_SWAP_H

#include "policies/offload.h"
#include "sim/core/hist.h"
#include "sim/fabric/copy.h"
#include "sim/kv/store.h"
#include "sim/kv/stream.h"
#include "traces/trace.h"

struct engine;
struct step;
struct kv_seq;

/* Between one rank of the engine and host memory; path[0] of both is passed by its KV only. */
struct kv_way {
    const struct gpu_link *link;
    struct topo_route in, out;
};

struct swap_config {
    const struct offload_ops *offload; /* NULL = KV never leaves: all of this is off */
    const void *offload_state;
    bool async;
    bool reuse;    /* a copy stays good after it was loaded: only what is new is copied out again */
    bool sessions; /* KV of a session is kept for its next turn */
    double tier_bytes[KV_TIERS]; /* 0 = no such tier */
    double demote_share;         /* of a tier in use above which idle sessions move one tier down */
    struct topo_route in[KV_TIERS], out[KV_TIERS]; /* to the GPU; into the tier, from the one above */
    sim_ns call_ns;              /* of one copy call */
    uint32_t group_blk;          /* as in kv_config */
    /* KV in the remote tier is encoded in chunks at three levels, and comes chunk by chunk at the
     * level that the rate of the one before suggests (CacheGen; sim/kv/stream.h). */
    uint32_t stream_tok;         /* of a chunk; 0 = as it is, in one piece */
    double stream_ttft_s;        /* goal for all of it */
    double stream_share[STREAM_LEVELS + 1]; /* bytes of a level over those of the KV itself */
};

/* For who watches: a copy that has ended. */
struct kv_copy {
    bool in;           /* to the GPU */
    enum kv_tier tier; /* that it came from or went to */
    bool waited;       /* a step, or steps, waited for all of it; then it is nobody's in particular */
    uint64_t serial, session; /* whose KV it is; session 0 = a request's */
    double bytes;
    sim_ns from_ns, to_ns; /* on the copy engine */
};

enum move_kind { MOVE_NONE, MOVE_OUT, MOVE_IN, MOVE_DEMOTE };

/* A copy under way or in line. */
struct kv_move {
    enum move_kind kind;
    enum kv_tier tier;   /* that it goes to or comes from */
    struct kept *kept;
    req_id r;            /* MOVE_IN: who waits for it */
    double bytes;
    uint32_t calls;
    uint64_t blk;        /* MOVE_OUT: blocks that are not really free before it ends */
    bool held;           /* not handed to the copy engine yet */
    uint32_t flows;      /* that are under way: a rank each */
    /* streams: tokens that are there, that the chunk under way brings, and that are wanted */
    uint32_t at_tok, chunk_end_tok, end_tok;
    struct stream_goal goal;
    sim_ns began_ns, wire_ns; /* handed to the copy engine; taken by it */
};

struct swap_counters {
    uint64_t out, in, recomputed;    /* requests and sessions copied out and in; pushed out without a copy */
    uint64_t out_copies, in_copies;  /* calls */
    uint64_t out_blk, held_blk;      /* blocks copied out; blocks that those sequences had */
    double tier_in[KV_TIERS], tier_out[KV_TIERS]; /* bytes, by tier that they came from or went to */
    uint64_t hit_tok;                /* tokens found outside */
    sim_ns wait_ns;                  /* steps waited for copies */
    sim_ns conflict_ns;              /* of that, for blocks that were still being copied out */
    uint64_t chunks[STREAM_LEVELS + 1]; /* streamed, by level; [0]: streams that went on as text */
    uint64_t lost;                   /* idle sessions thrown away */
    double host_peak_bytes;          /* filled by swap_add_up, as `lost` */
    bool below[KV_TIERS], streams;   /* there is such a tier; swap_add_up */
};

struct swap {
    struct swap_config cfg;
    struct kv_store store;
    struct copy_engines *line_in[KV_TIERS], *line_out[KV_TIERS];
    struct kv_move *move;
    uint32_t n_move, cap_move, in_flight;
    uint32_t n_held;
    uint64_t draining;  /* blocks of copies out that are under way */
    /* synchronous copies since the last step */
    double out_bytes, in_bytes;
    uint32_t out_copies, in_copies;
    struct swap_counters n;
    struct hist step;   /* durations of all steps, with what they waited */
    uint64_t *waited;   /* HIST_BINS: nanoseconds that steps of that duration had waited */
    sim_ns planned_ns;  /* when the step under way was planned; it may have waited since */
};

/* Copies that a step waits for, with KV outside of the GPU or without: started now, on all ranks; when all of
 * them have ended. Nothing starts without bytes. */
int copies_start(struct engine *e, double out_bytes, uint32_t out_calls, double in_bytes, uint32_t in_calls);
sim_ns copies_wait(struct engine *e);
/* For struct flow_client: one of the engine's copies is on the wire, has ended. */
void copies_began(void *engine, sim_ns now, uint64_t tag);
int copies_ended(void *engine, sim_ns now, uint64_t tag, struct err *err);

int swap_init(struct engine *e, const struct swap_config *c, struct err *err);
void swap_release(struct engine *e);
/* A number for the first n prefix ids of an arrival; r remembers that of its prompt, since the ids
 * are gone later. */
uint64_t prefix_print(const struct arrival *a, uint32_t n);
void prefix_note(struct engine *e, req_id r, const struct arrival *a);
/* What the turn before left is r's. */
void swap_arrive(struct engine *e, req_id r, const struct arrival *a);
/* Tokens of waiting r that lie outside. 0 without a store. */
uint32_t swap_tok(const struct engine *e, req_id r);
/* r loses its blocks, which hold `content` tokens: copy out what is worth it. */
int swap_keep(struct engine *e, req_id r, uint64_t content);
/* r is done. Its KV stays for the session's next turn, or goes. */
int swap_finish(struct engine *e, req_id r, uint64_t content);
/* r is done and its blocks stay pinned: a copy that it has outside is the session's. */
void swap_pinned(struct engine *e, req_id r);
/* A session loses blocks that were pinned for its next turn, which is `awaited` when it is here
 * already. */
int swap_session(struct engine *e, uint64_t session, req_id awaited, const struct kv_seq *kv, uint32_t tok,
                 uint64_t print, uint32_t print_ids);
/* Seconds until `tok` tokens would be on the GPU again: loaded, where sessions are kept outside, or
 * computed. Works without a store. */
double swap_reload_s(const struct engine *e, uint32_t tok);
/* r left without being done. */
void swap_forget(struct engine *e, req_id r);
/* r was let in and holds blocks for its first `tok` tokens, of which the GPU had `gpu_tok`: load
 * the rest, if there is any. *later: it is on the way, and the request joins when it is there. */
int swap_load(struct engine *e, req_id r, uint32_t gpu_tok, uint32_t tok, bool *later);
/* Everything that has ended by e->now. */
int swap_poll(struct engine *e);
/* Copies that were decided on start now. */
int swap_begin(struct engine *e);
/* The step about to start waits for what it needs: when it can start. */
sim_ns swap_wait(struct engine *e, struct step *s);
/* The same where time comes from outside: copies start; they are under way; those that were waited for are
 * there. */
void swap_wait_begin(struct engine *e, struct step *s);
bool swap_must_wait(const struct engine *e);
void swap_wait_end(struct engine *e, struct step *s);
/* Nobody is there to wait: the copies of the steps before go on to their end, which is now. False:
 * none. */
bool swap_settle(struct engine *e);
bool swap_unsettled(const struct engine *e); /* there are */
sim_ns swap_next(const struct engine *e); /* next end of a copy, SIM_NEVER */
void swap_note_step(struct engine *e, sim_ns end);
void swap_note_steps(struct engine *e, sim_tick base, sim_tick slope, uint64_t n);
/* Of the longest 1 % of the steps, the share of their time that they waited for copies. */
double swap_tail_share(const struct engine *e);
/* To *to, over engines. */
void swap_add_up(struct swap_counters *to, const struct engine *e);
int swap_check(const struct engine *e, struct err *err);

#endif
