/* SPDX-License-Identifier: Apache-2.0
 *
 * One replica: requests, KV memory, the step under way and the one planned behind it, and the clock.
 * This is the only room that changes state; batchers act through eng_* (policies/batcher.h).
 *
 * Steps are planned and completed. Decode steps are numbered: `planned` counts those planned so far,
 * `done` those completed; a decoding request's context and output at decode index p are p - base, so
 * nobody loops over the batch (DESIGN, "Fast-forward is exact"). */
#ifndef STEELYARD_ENGINE_H
#define STEELYARD_ENGINE_H

#include "models/cost.h"
#include "policies/batcher.h"
#include "policies/policy.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/engine/kv.h"
#include "sim/engine/pin.h"
#include "sim/engine/swap.h"
#include "sim/fabric/fabric.h"
#include "traces/trace.h"

/* Decode indices start high so that p - base is positive for every base. */
#define DECODE_ORIGIN ((uint64_t)1 << 40)

enum live_state { LIVE_WAITING, LIVE_PREFILL, LIVE_DECODE, LIVE_ENDING, LIVE_SWAPPED, LIVE_LOADING };

/* What the engine knows of a live request beyond struct req; the truth about its length is here. */
struct live {
    enum live_state state;
    uint32_t output_tok;     /* true length: never shown to a policy that is no declared oracle */
    uint32_t max_output_tok; /* declared, or the true one */
    uint32_t planned_tok;    /* output tokens planned, up to the last join of the decodes */
    uint64_t join_index;     /* decode index at which planned_tok was right */
    uint64_t base;           /* KV tokens held at decode index p: p - base */
    uint64_t finish_index;   /* decode index of its last token */
    uint32_t heap_at;
    uint32_t context_tok;    /* tokens a (re)prefill has to compute */
    uint32_t hit_tok;        /* of the prompt found in the cache, first admission */
    uint32_t preemptions;
    bool lagging;            /* was left out of the last decode step */
    bool served;             /* slow path: planned in the step being built */
    bool first_done;         /* its first token since (re)admission is out */
    sim_ns last_token_ns;
    sim_ns admit_ns;
    req_id prefill_prev, prefill_next; /* prefilling or swapped requests */
    uint64_t admit_no;       /* order of admission */
    uint64_t hit_version;    /* kv_version + 1 at which hit_blk was found */
    uint32_t hit_blk;
    uint64_t print;          /* of its prompt's first print_ids prefix ids */
    uint32_t print_ids;
    bool pinned;             /* KV of the turn before is kept on the GPU for it */
    struct kv_seq kv;
    double measured_ttft_s, measured_e2e_s;
};

struct chunk {
    req_id r;
    uint64_t serial;
    uint64_t admit_no; /* of the admission that it belongs to: r may be pushed out and let in again */
    uint32_t start_tok, n_tok;
    bool last; /* ends the prefill: a token comes out */
    bool ends; /* that token is the request's last */
};

/* A planned step. */
struct step {
    bool live;   /* something is in it */
    bool decode;
    uint64_t index;    /* decode index */
    uint64_t version;  /* composition of the decoding set */
    struct batch_shape shape;
    struct chunk *chunks;
    uint32_t n_chunk, cap_chunk;
    req_id *ending; /* requests whose last token this decode step makes */
    uint32_t n_ending, cap_ending;
    req_id *stalled;
    uint32_t n_stalled, cap_stalled;
    double out_bytes, in_bytes; /* KV swapped before the step */
    uint32_t out_copies, in_copies;
    bool waited;            /* for copies */
    uint64_t again; /* the batcher's promise */
};

/* A stretch of identical decode steps; the end of its k-th step is a function of (start, k) alone. */
struct epoch {
    bool open;
    sim_ns start_ns;
    uint64_t k; /* steps of it that are done or under way */
    struct cost_affine cost;
    uint64_t version;
};

/* Requests that got their last token at the same time and none since. */
struct token_group {
    sim_ns at_ns;
    uint32_t n;
};

/* A token of the step under way, for a request that was pushed out meanwhile. */
struct owed_token {
    req_id r;
    uint64_t serial;
};

struct engine;

/* n decode steps in a row. The i-th of them, i = 1..n, ends epoch_ns + floor(ticks of steps 1..k+i of an
 * epoch that begins at epoch_ns), the j-th of which takes base + slope*(j-1). */
struct token_beats {
    sim_ns began_ns;     /* of the first of these steps */
    sim_tick first_tick; /* its duration */
    sim_ns epoch_ns;
    sim_tick base, slope;
    uint64_t k, n;
};

/* What an observer hears. Any slot may be NULL. */
struct engine_observer {
    void (*arrived)(void *o, const struct req *r, const struct live *l);
    void (*first_token)(void *o, const struct req *r, const struct live *l);
    /* leaves; `why` NULL = all tokens are out, else it was rejected or refused */
    int (*left)(void *o, const struct req *r, const struct live *l, bool rejected, const char *why,
                struct err *e);
    /* one gap between two tokens, for n requests: whole ns, or the tick form for k steps */
    void (*gap)(void *o, sim_ns gap, uint64_t n);
    void (*gaps)(void *o, sim_tick base, sim_tick slope, uint64_t k, uint64_t n);
    /* When each token of a request comes: one at a time, or with every decode step from resume to pause
     * (or to its leaving). `token` is now; tokens of the step under way come after a pause, too. */
    void (*token)(void *o, const struct req *r, req_id id);
    void (*beats)(void *o, const struct token_beats *b);
    void (*pause)(void *o, req_id id);
    void (*resume)(void *o, req_id id);
    /* at every multiple of tick_ns, with the state at the first step boundary at or after it */
    void (*sample)(void *o, sim_ns at);
    sim_ns tick_ns; /* 0 = no samples */
    void *o;
    /* a step starts: cur_start_ns and cur_end_ns hold its times. Jumps are not told, so whoever wants
     * every step runs without skipping. Has a context of its own. */
    void (*step)(void *step_o, const struct engine *e, const struct step *s);
    /* a copy of KV has ended, on the first rank; same context */
    void (*copied)(void *step_o, const struct engine *e, const struct kv_copy *c);
    void *step_o;
};

struct engine_counters {
    uint64_t steps, decode_steps, prefill_steps, walked; /* walked: boundaries not skipped */
    uint64_t decode_tok, prefill_tok, hit_tok, lookup_tok;
    uint64_t preemptions, swaps_out, swaps_in;
    sim_ns busy_ns;
    uint64_t arrived, finished, rejected, refused;
    uint32_t peak_running;
    uint64_t outside_range;
    double swap_out_bytes, swap_in_bytes;
    uint64_t pages;    /* mapped */
    double map_ticks;  /* that steps waited for it */
};

/* KV as virtual memory. */
struct page_config {
    uint64_t per_blk; /* pages of a block, over all layers, keys and values; 0 = no paging */
    sim_tick map;     /* time for one */
    bool ahead, keep;
};

struct engine_config {
    struct kv_config kv;
    struct batcher_traits traits;
    const struct cost_ops *cost;
    const void *cost_state;
    /* How long step `s` takes when it begins at `start`, in place of cost->iteration; NULL = that. An
     * answer with valid > 1 stands for the like steps behind it, too. < 0 ends the run. */
    int (*execute)(void *ctx, const struct engine *e, const struct step *s, sim_ns start,
                   struct cost_affine *ret, struct err *err);
    void *execute_ctx;
    const struct batcher_ops *batcher;
    void *batcher_state;
    const struct policy_ops *policy;
    void *policy_state;
    sim_ns request_delay_ns;
    sim_ns request_serial_ns; /* the front end works on one request at a time */
    sim_tick step_overhead, cold_start; /* of every step; of the first one on top */
    sim_tick row_overhead;              /* of every sampled sequence of a step */
    bool skip, check;
    double kv_block_bytes;  /* for swap and the host pool */
    double host_kv_bytes;
    uint32_t copies_per_block;
    const struct kv_way *way; /* of each rank; NULL = no swap possible */
    uint32_t n_ways;
    bool shared; /* others use the fabric too: whoever owns the clock delivers its events (sim/cluster) */
    struct swap_config swap;
    struct pin_config pin;
    struct page_config pages;
    const char *batcher_name, *policy_name; /* for messages */
    /* 1 = *a filled, 0 = end, < 0 = error, 2 = none before a request has left (closed loop, sessions) */
    int (*arrivals)(void *ctx, struct arrival *a, struct err *e);
    /* A request has left at `now`, with `output_tok` tokens out (0 = turned away). `pending` is the arrival last handed over when it has not been seen
     * yet, else NULL: a closed loop may replace it by an earlier one. May be NULL. */
    void (*left)(void *ctx, const struct req *r, uint32_t output_tok, sim_ns now, struct arrival *pending);
    void *arrivals_ctx;
    float (*client_weight)(void *ctx, uint32_t client);
    struct engine_observer obs;
    int (*poll)(void *ctx); /* now and then; nonzero ends the run with SIM_E_INTR */
    /* Stepped from outside: `arrivals` answers 2 while nothing has been sent here. An engine without
     * work then sleeps, and is no error. */
    bool fed;
};

enum engine_event {
    ENGINE_STEP_ENDS, /* tokens come out, requests leave */
    ENGINE_BOUNDARY   /* arrivals are seen, the next step is planned and begins */
};

#define SEGMENT_LOG2 9

struct engine {
    struct engine_config cfg;
    struct arena *arena;
    struct err *err; /* of the run under way; the first failure inside an eng_* call lands here */
    sim_ns now;
    bool arrivals_ended;
    struct arrival next_arrival;
    sim_ns next_visible_ns, front_free_ns;
    bool have_arrival;
    bool under_way; /* a step has begun and not ended */
    bool asleep;    /* stepped from outside: nothing to do before an arrival */

    struct req *reqs; /* public columns; slot 0.. */
    struct live **segments;
    uint32_t n_slots, cap_slots;
    req_id free_slot; /* linked by q_next */
    uint64_t next_serial, next_admit_no;

    struct sched_view view;
    struct kv *kv;
    struct pool host;
    struct flow_client mover; /* hears of copies of KV that have ended */
    uint32_t n_sync;     /* copies under way that the next step waits for */
    sim_ns sync_wire_ns[2]; /* of the first rank: since when the engine is at it; out, in */
    double sync_bytes[2];
    sim_ns synced_ns, copied_ns; /* the last of these ended; the last copy of all */
    bool starting;       /* where the fabric is shared: the step cur, if it is live, waits for copies */
    bool woken;          /* a copy has ended since it fell asleep */
    bool kv_moves;       /* there are pages, pins or swap: each boundary looks after them */
    uint64_t mapped_blk; /* kept pages: blocks mapped; else blocks ever taken */
    sim_tick map_ticks;  /* of the step about to start */
    struct pins *pins; /* NULL = nothing stays for programs */
    struct swap *swap; /* NULL = KV does not outlive its place on the GPU */

    uint32_t n_running, n_waiting, n_swapped, n_prefilling;
    uint64_t waiting_tok; /* contexts that those who wait have to compute */
    req_id prefill_head, prefill_tail, swapped_head, swapped_tail;

    /* the decoding set, as planned */
    uint64_t planned, done;
    uint32_t n_decoding;
    uint64_t base_sum; /* sum of bases, modulo 2^64 */
    uint64_t base_sq;  /* sum of their squares, modulo 2^64: sums of squared contexts come out exact */
    uint64_t version;
    req_id *heap; /* by (finish_index, serial) */
    uint32_t n_heap, cap_heap;

    /* building */
    struct step *building;
    bool preempted_now;
    uint64_t fruitless; /* requests pushed out since the last token came out */
    bool one_by_one; /* eng_decode_one was used in this step */
    uint32_t n_served;
    bool acted; /* a refusal or the like changed the world without filling the step */

    struct step buf[2];
    struct step *cur, *next;
    struct epoch epoch;
    sim_ns cur_start_ns, cur_end_ns;
    sim_tick cur_ticks; /* duration of cur before rounding; 0 when not a plain epoch step */

    /* gaps between tokens */
    sim_ns main_last_ns;
    uint32_t main_n;
    struct token_group *fresh; /* joined since the last decode step */
    uint32_t n_fresh, cap_fresh;
    req_id *lagging;
    uint32_t n_lagging, cap_lagging;
    struct owed_token *owed;
    uint32_t n_owed, cap_owed;

    sim_ns next_sample_ns;
    sim_ns last_arrival_ns;
    uint32_t waiting_at_last_arrival;
    uint64_t poll_count;
    struct engine_counters n;
};

/* Takes ownership of nothing; everything is in the arena or freed by engine_release. */
int engine_init(struct engine *e, const struct engine_config *c, struct arena *a, struct err *err);
/* Run to the last request. */
int engine_run(struct engine *e, struct err *err);

/* The same, one event at a time: engine_run is engine_begin and then engine_advance as long as
 * engine_next_ns names a time. Needs a configuration that is `fed` when arrivals come to be known later. */
int engine_begin(struct engine *e, struct err *err);
/* An arrival has been put where `arrivals` finds it, or there will be no more: look. */
int engine_look(struct engine *e);
/* When something happens next, and what; SIM_NEVER = nothing without another arrival. */
sim_ns engine_next_ns(const struct engine *e, enum engine_event *ret);
/* Let it happen. The caller promises that no arrival comes to be known that is visible before `until`:
 * identical steps that end earlier may be jumped over. */
int engine_advance(struct engine *e, sim_ns until);
void engine_release(struct engine *e);

/* ---- shared by the files of this room ---- */
static inline struct live *live_of(const struct engine *e, req_id r)
{
    return &e->segments[r >> SEGMENT_LOG2][r & ((1u << SEGMENT_LOG2) - 1)];
}

req_id slot_take(struct engine *e, struct err *err);
void slot_give(struct engine *e, req_id r);
int engine_fail(struct engine *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
bool grow_array(void **p, uint32_t *cap, uint32_t need, size_t size);

void running_append(struct engine *e, req_id r);
void running_remove(struct engine *e, req_id r);
void prefilling_append(struct engine *e, req_id r);
void prefilling_remove(struct engine *e, req_id r);
void swapped_append(struct engine *e, req_id r);
void swapped_remove(struct engine *e, req_id r);

int finish_heap_add(struct engine *e, req_id r);
void finish_heap_remove(struct engine *e, req_id r);
void finish_heap_later(struct engine *e, req_id r); /* its finish_index has grown */

int decodes_join(struct engine *e, req_id r);
void decodes_leave(struct engine *e, req_id r);
/* Ask the batcher for a step into *s. */
int step_plan(struct engine *e, struct step *s);
/* Everything that the end of a step brings about. */
int step_complete(struct engine *e, struct step *s);
/* j identical decode steps complete without being walked. */
void steps_complete(struct engine *e, struct step *s, uint64_t j, sim_ns end_ns);
/* Blocks of waiting `r` whose content the cache on the GPU has. */
uint32_t request_hit_blocks(struct engine *e, req_id r);
sim_ns request_last_token(const struct engine *e, req_id r);
void gaps_forget(struct engine *e, req_id r);
int gaps_owe(struct engine *e, req_id r);
/* Time at which the next arrival reaches the queue. */
sim_ns arrival_visible(const struct engine *e);
/* Why `r` can never be served, or NULL. */
const char *request_hopeless(struct engine *e, req_id r);
/* The next one from the workload; all that have reached the queue by now. */
int arrivals_fetch(struct engine *e);
int arrivals_drain(struct engine *e);
static inline bool arrivals_due(const struct engine *e)
{
    return e->next_visible_ns <= e->now || (!e->have_arrival && !e->arrivals_ended);
}
/* What has to be there before `s` can begin: cur_start_ns is when it is, or, where time comes from outside,
 * `starting` says that it is not yet. */
void step_wait(struct engine *e, struct step *s);
/* The step cur begins at cur_start_ns, the one behind it is planned where the engine looks ahead, and steps that
 * end before `until` and in which nothing changes are jumped over. */
int step_go(struct engine *e, sim_ns until);
/* Samples of the series up to `t`. */
void samples_until(struct engine *e, sim_ns t);
int request_leave(struct engine *e, req_id r, bool rejected, const char *why);
/* Context of running `r` in the decodes of `s`, its new token included; 0 = it is not among them. */
uint64_t step_context(const struct engine *e, const struct step *s, req_id r);
int engine_verify(const struct engine *e, struct err *err);

#endif
