/* SPDX-License-Identifier: Apache-2.0
 *
 * A tiny engine for tests of scheduler policies: it keeps request slots and a view, and makes the
 * calls of policies/policy.h one by one, as a test says. */
#ifndef STEELYARD_POLICY_HARNESS_H
#define STEELYARD_POLICY_HARNESS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "policies/open.h"
#include "sim/core/rng.h"

#define H_SLOTS   64
#define H_STEP_NS 1000000

struct harness {
    struct arena arena;
    struct policy_env env;
    struct policy_instance p;
    struct err err;
    struct sched_view v;
    struct req reqs[H_SLOTS];
    uint32_t output[H_SLOTS], cached[H_SLOTS];
    uint64_t serial;
    char log[4000];
    unsigned n_violations;
    char violation[4000];
};

struct h_req {
    uint32_t client, prompt, output;
    double at_s, weight; /* weight 0 means 1 */
    int priority;
    uint64_t session;
    uint32_t turn, cached;
    float ttft_ms, tpot_ms, e2e_ms; /* SLOs */
    enum slo_class class;
    double began_s; /* of its program, compound calls only */
};

static inline uint32_t h_truth(const void *engine, req_id r)
{
    return ((const struct harness *)engine)->output[r];
}

static inline uint32_t h_cached(const void *engine, req_id r)
{
    return ((const struct harness *)engine)->cached[r];
}

static inline void h_log(void *ctx, const char *line)
{
    struct harness *h = ctx;
    size_t n = strlen(h->log);
    snprintf(h->log + n, sizeof h->log - n, "%s\n", line);
}

static inline int h_violation(void *ctx, const char *text)
{
    struct harness *h = ctx;
    size_t n = strlen(h->violation);
    h->n_violations++;
    snprintf(h->violation + n, sizeof h->violation - n, "%s\n", text);
    return 0;
}

static inline int h_try_open(struct harness *h, const char *spec)
{
    memset(h, 0, sizeof *h);
    arena_init(&h->arena);
    h->env = (struct policy_env){.arena = &h->arena, .seed = 1, .kv_tok = 10000, .log = h_log,
                                 .log_ctx = h, .engine = h, .cached_tok = h_cached, .violation = h_violation, .violation_ctx = h};
    h->v = (struct sched_view){
        .reqs = h->reqs, .running_head = REQ_NONE, .running_tail = REQ_NONE};
    int rc = policy_open(spec, &h->env, &h->p, &h->err);
    if (h->env.oracle) {
        h->env.truth_output = h_truth;
    }
    return rc;
}

static inline void h_open(struct harness *h, const char *spec)
{
    int rc = h_try_open(h, spec);
    if (rc) {
        print_error("%s: %s\n", spec, h->err.msg);
    }
    assert_int_equal(rc, 0);
}

static inline void h_close(struct harness *h)
{
    if (h->p.ops && h->p.ops->release) {
        h->p.ops->release(h->p.st);
    }
    arena_release(&h->arena);
}

/* Slot of the new request, or REQ_NONE when it was refused. */
static inline req_id h_arrive(struct harness *h, struct h_req a)
{
    req_id r = 0;
    while (h->reqs[r].state != REQ_FREE) {
        assert_true(++r < H_SLOTS);
    }
    h->reqs[r] = (struct req){.serial = h->serial++, .arrival_ns = llround(a.at_s * 1e9),
                              .first_token_ns = SIM_NEVER, .client = a.client,
                              .prompt_tok = a.prompt, .priority = a.priority,
                              .state = REQ_WAITING,
                              .weight = a.weight > 0 ? (float)a.weight : 1,
                              .session = a.session, .turn = a.turn, .ttft_slo_ms = a.ttft_ms,
                              .tpot_slo_ms = a.tpot_ms, .e2e_slo_ms = a.e2e_ms,
                              .slo_class = (uint8_t)a.class, .began_ns = llround(a.began_s * 1e9)};
    h->output[r] = a.output;
    h->cached[r] = a.cached;
    if (h->p.ops->arrive(h->p.st, &h->v, r)) {
        h->reqs[r].state = REQ_FREE;
        return REQ_NONE;
    }
    h->v.n_waiting++;
    return r;
}

static inline req_id h_next(struct harness *h)
{
    return h->p.ops->next(h->p.st, &h->v);
}

static inline req_id h_admit(struct harness *h)
{
    req_id r = h_next(h);
    assert_int_not_equal(r, REQ_NONE);
    assert_int_equal(h->reqs[r].state, REQ_WAITING);
    h->reqs[r].state = REQ_PREFILLING;
    h->reqs[r].q_prev = h->v.running_tail;
    h->reqs[r].q_next = REQ_NONE;
    if (h->v.running_tail == REQ_NONE) {
        h->v.running_head = r;
    } else {
        h->reqs[h->v.running_tail].q_next = r;
    }
    h->v.running_tail = r;
    h->v.n_running++;
    h->v.n_waiting--;
    if (h->p.ops->admit) {
        h->p.ops->admit(h->p.st, &h->v, r, h->cached[r]);
    }
    return r;
}

/* The clock moves by one step; what follows belongs to the end of that step. */
static inline void h_tick(struct harness *h)
{
    h->v.now_ns += H_STEP_NS;
}

static inline void h_first(struct harness *h, req_id r)
{
    h->reqs[r].generated_tok++;
    h->reqs[r].state = REQ_DECODING;
    h->reqs[r].join_iter = h->v.decode_iter;
    if (h->p.ops->first_token) {
        h->p.ops->first_token(h->p.st, &h->v, r);
    }
}

static inline void h_decode(struct harness *h, uint64_t k)
{
    h->v.now_ns += (sim_ns)k * H_STEP_NS;
    if (h->p.ops->decode) {
        h->p.ops->decode(h->p.st, &h->v, k);
    }
    h->v.decode_iter += k;
}

static inline void h_materialise(struct harness *h, req_id r, enum req_state to)
{
    h->reqs[r].generated_tok = req_generated(&h->v, &h->reqs[r]);
    h->reqs[r].state = (uint8_t)to;
    h->reqs[r].join_iter = h->v.decode_iter;
}

static inline void h_unlink(struct harness *h, req_id r)
{
    req_id a = h->reqs[r].q_prev, b = h->reqs[r].q_next;
    *(a == REQ_NONE ? &h->v.running_head : &h->reqs[a].q_next) = b;
    *(b == REQ_NONE ? &h->v.running_tail : &h->reqs[b].q_prev) = a;
    h->v.n_running--;
}

static inline void h_finishing(struct harness *h)
{
    if (h->p.ops->finishing) {
        h->p.ops->finishing(h->p.st, &h->v);
    }
}

static inline void h_leave(struct harness *h, req_id r)
{
    h_materialise(h, r, REQ_DECODING);
    if (h->p.ops->finish) {
        h->p.ops->finish(h->p.st, &h->v, r);
    }
    h_unlink(h, r);
    h->reqs[r].state = REQ_FREE;
}

static inline void h_finish(struct harness *h, req_id r)
{
    h_finishing(h);
    h_leave(h, r);
}

static inline void h_preempt(struct harness *h, req_id r)
{
    h_materialise(h, r, REQ_WAITING);
    h->reqs[r].was_preempted = true;
    h_unlink(h, r);
    h->v.n_waiting++;
    if (h->p.ops->preempt) {
        h->p.ops->preempt(h->p.st, &h->v, r);
    }
}

static inline void h_pause(struct harness *h, req_id r)
{
    h_materialise(h, r, REQ_SWAPPED);
    if (h->p.ops->pause) {
        h->p.ops->pause(h->p.st, &h->v, r);
    }
}

static inline void h_resume(struct harness *h, req_id r)
{
    h->reqs[r].state = REQ_DECODING;
    h->reqs[r].join_iter = h->v.decode_iter;
    if (h->p.ops->resume) {
        h->p.ops->resume(h->p.st, &h->v, r);
    }
}

static inline void h_drop(struct harness *h, req_id r)
{
    if (h->p.ops->drop) {
        h->p.ops->drop(h->p.st, &h->v, r);
    }
    h->v.n_waiting--;
    h->reqs[r].state = REQ_FREE;
}

/* Admission, prefill, all decode steps and the end, with nobody else touched in between. */
static inline req_id h_serve(struct harness *h)
{
    req_id r = h_admit(h);
    h_tick(h);
    h_first(h, r);
    if (h->output[r] > 1) {
        h_decode(h, h->output[r] - 1);
    }
    h_finish(h, r);
    return r;
}

#endif
