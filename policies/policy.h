/* SPDX-License-Identifier: Apache-2.0
 *
 * Scheduler policies: who runs next, who is pushed out. A policy owns the waiting requests, reads a
 * view and answers; it never changes the engine. To add one: one file in policies/schedule/ with a
 * `const struct policy_ops policy_NAME` and one word in policies/meson.build; or, outside of the tree, a
 * shared object with a `const struct policy_ops steelyard_policy`, named as --policy ./mine.so.
 * docs/ADD-A-POLICY.md leads through both.
 *
 * The engine calls, for each request, in this order:
 *   arrive -> (next -> admit) -> first_token -> decode* -> finish
 * with preempt (back to waiting) possible anywhere after admit; after it next -> admit -> first_token
 * come again (first_token then means: recomputation is through and one more token is out).
 * All callbacks but `next` may be NULL where a policy has nothing to do. */
#ifndef STEELYARD_POLICY_H
#define STEELYARD_POLICY_H

#include "policies/req.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

/* Goes up with every change of this header, req.h or the headers that are installed beside them. A
 * shared object says in `abi` for which it was built. */
#define POLICY_ABI 4

enum policy_caps {
    /* An arrival never changes what next() answers while it has an answer, and arrive() does not look at
     * the clock (FCFS): behind a blocked head the engine may hand over arrivals later. */
    POLICY_ARRIVAL_KEEPS_HEAD = 1u << 0
};

struct policy_env {
    struct arena *arena;   /* of the run */
    uint64_t seed;
    uint32_t replication;
    uint32_t max_live;     /* no bound is known: 0. Request tables grow; index by req_id with care */
    int64_t kv_tok;        /* tokens that fit into the KV pool */
    const char *data_dir;
    /* Set by init to declare an oracle: the policy will call truth_output. Tables mark it. */
    bool oracle;
    /* True output length; NULL unless `oracle` was set by init (filled in after it). */
    uint32_t (*truth_output)(const void *engine, req_id r);
    const void *engine;
    /* Prompt tokens that waiting `r` would find in the prefix cache now: what a real scheduler asks its
     * cache. NULL where there is none to ask. */
    uint32_t (*cached_tok)(const void *engine, req_id r);
    /* For the wrappers; NULL = not wanted. One line of JSON, without the newline, per decision. */
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
    /* A broken rule, as a sentence. Nonzero = the run is ending, report no more. */
    int (*violation)(void *ctx, const char *text);
    void *violation_ctx;
};

/* A number about the policy itself, for the results: its predictor's error, say. */
struct policy_stat {
    const char *name, *unit;
    double value;
};

struct policy_ops {
    const char *name, *summary;
    const char *source;    /* paper and section, or engine and version */
    unsigned abi;          /* POLICY_ABI */
    unsigned caps;         /* enum policy_caps */
    size_t state_size;     /* zeroed, from the run's arena */
    const struct opt_row *options; /* parsed into the state before init */
    /* `env` stays valid for the whole run; keep a pointer to it to call truth_output later. */
    int (*init)(void *st, struct policy_env *env, struct err *e);
    void (*release)(void *st); /* memory that the policy took with malloc */

    /* A new request. NULL = accept it; otherwise a static sentence that says why it is refused at once
     * (then the policy keeps no trace of it). */
    const char *(*arrive)(void *st, const struct sched_view *v, req_id r);
    /* The waiting request to try next, or REQ_NONE. Called again without a change in between it must
     * answer the same. It may move the policy on (a turn, a lift), since batchers ask only when they
     * could admit; but before the horizon that was told after it, asking changes nothing. */
    req_id (*next)(void *st, const struct sched_view *v);
    /* `r`, which next() named, did not fit. Return true when next() may now name another one to try in
     * the same step, false (or NULL) to stop here: head-of-line blocking. A policy that returns true
     * must come to an end. */
    bool (*blocked)(void *st, const struct sched_view *v, req_id r);
    /* `r` leaves the queue and runs. `cached_tok` of its prompt were found in the prefix cache. */
    void (*admit)(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok);
    /* Prefill is through and a token is out; the request decodes from here on (unless it is done). */
    void (*first_token)(void *st, const struct sched_view *v, req_id r);
    /* `k` decode iterations were done: each request after first_token that is not paused got one token
     * in each of them. req_generated() still gives the numbers from before. One call for k must equal k calls for
     * 1, exactly: keep counters as integers. */
    void (*decode)(void *st, const struct sched_view *v, uint64_t k);
    /* At least one request ends in this step: called once, after the decode and the first_tokens of the
     * step and before its finishes. */
    void (*finishing)(void *st, const struct sched_view *v);
    /* All tokens of `r` are out: req_generated() is its output length. */
    void (*finish)(void *st, const struct sched_view *v, req_id r);
    /* `r` lost its place and waits again. Default place: before all that never ran. */
    void (*preempt)(void *st, const struct sched_view *v, req_id r);
    /* `r` gets no tokens until resume(): it was swapped out, or it sits out the coming decode steps for
     * lack of memory or budget. It keeps its place among the running. */
    void (*pause)(void *st, const struct sched_view *v, req_id r);
    void (*resume)(void *st, const struct sched_view *v, req_id r);
    /* A waiting request leaves without ever running (it can never fit, or it was cancelled). */
    void (*drop)(void *st, const struct sched_view *v, req_id r);
    /* Whom to push out of the running; NULL = the batcher's own rule (the last admitted). */
    req_id (*victim)(void *st, const struct sched_view *v);
    /* `waiting`, which next() named, does not fit: a running request to push out so that it may run, or
     * REQ_NONE. NULL = running requests keep their place. Asked anew after each one pushed out, until
     * `waiting` fits or the answer is REQ_NONE; the answer must not make next() name somebody else. Until
     * the horizon, decode iterations alone must not turn a REQ_NONE into a name. */
    req_id (*displace)(void *st, const struct sched_view *v, req_id waiting);
    /* A waiting request that the policy gives up now (it can no longer be of use), or REQ_NONE; asked
     * before each step is planned while somebody waits, until it answers REQ_NONE. drop() follows.
     * Until the horizon, decode iterations alone must not turn a REQ_NONE into a name. */
    req_id (*give_up)(void *st, const struct sched_view *v);
    /* Output tokens that the policy expects `r`, waiting or running, to have in all, more than are out. A batcher
     * that reserves memory may ask instead of taking the declared limit. NULL = it expects nothing. */
    double (*forecast)(void *st, const struct sched_view *v, req_id r);
    /* After how many further decode iterations next() has to be asked again if nothing else happens:
     * it answers the same after 0 .. horizon - 1 of them; >= 1.
     * NULL = 1: asked at every iteration while somebody waits, which is slow, never wrong.
     * UINT64_MAX = for ever. */
    uint64_t (*horizon)(void *st, const struct sched_view *v);
    /* At the end of the run: up to `max` numbers about itself; how many. */
    size_t (*stats)(const void *st, struct policy_stat *ret, size_t max);
    /* Number of waiting requests; checked against the engine's count. */
    uint32_t (*waiting)(const void *st);
};

/* What arrive() returns when a table of the policy cannot grow: ends the run with SIM_E_NOMEM. */
extern const char policy_no_memory[];

extern const struct policy_ops *const policies[]; /* generated, NULL-terminated */
const struct policy_ops *policy_find(const char *name);

#endif
