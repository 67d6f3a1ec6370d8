/* SPDX-License-Identifier: Apache-2.0
 *
 * check(x): the contract of policy.h, verified from both sides. Beside x runs its twin, a second
 * instance that gets the same calls, except that decode(k) reaches it one iteration at a time; both
 * must answer alike. While iterations are walked, the twin's next() must hold still for as long as
 * horizon() promised. A broken rule goes to policy_env's `violation`. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/open.h"
#include "policies/queue.h"

/* decode(k) is walked this far; the rest goes to the twin in one call. */
#define MOST_SINGLE_STEPS 512u

enum place { GONE = 0, QUEUED, PREFILL, DECODE, PAUSED };

struct wrap_check {
    struct policy_instance in, twin;
    struct policy_env *env;
    struct policy_env *twin_env; /* follows what the engine fills into `env` after init */
    uint8_t *place;              /* enum place by req_id */
    uint32_t place_cap;
    uint32_t n_queued;
    req_id named;        /* the last answer of next() */
    bool asked;          /* nothing has happened since that */
    uint64_t promise;    /* decode iterations, less one, for which `named` must stay the answer */
    sim_ns finishing_ns; /* of the last finishing() */
    bool muted;
};

static void broken(struct wrap_check *w, const struct sched_view *v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void broken(struct wrap_check *w, const struct sched_view *v, const char *fmt, ...)
{
    char why[300], text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    snprintf(text, sizeof text, "policy '%s' at %" PRId64 " ns: %s", w->in.ops->name, v->now_ns,
             why);
    if (w->env->violation && !w->muted) {
        w->muted = w->env->violation(w->env->violation_ctx, text) != 0;
    }
}

static const char *place_text(enum place p)
{
    static const char *const text[] = {"unknown", "waiting", "in prefill", "decoding", "paused"};
    return text[p];
}

static enum place place_of(const struct wrap_check *w, req_id r)
{
    return r < w->place_cap ? (enum place)w->place[r] : GONE;
}

/* `call` moves `r` to `to`, and is right only from the places in the bit set `from`. */
static bool move(struct wrap_check *w, const struct sched_view *v, const char *call, req_id r,
                 unsigned from, enum place to)
{
    enum place at = place_of(w, r);
    w->promise = 0;
    w->asked = false;
    if (!(from & 1u << at)) {
        broken(w, v, "%s was called for slot %" PRIu32 ", which is %s", call, r, place_text(at));
        return false;
    }
    w->n_queued += (to == QUEUED) - (at == QUEUED);
    w->place[r] = (uint8_t)to;
    return true;
}

static void compare_waiting(struct wrap_check *w, const struct sched_view *v, const char *after)
{
    uint32_t a = w->in.ops->waiting(w->in.st), b = w->twin.ops->waiting(w->twin.st);
    if (a != w->n_queued || b != w->n_queued) {
        broken(w, v,
               "after %s it counts %" PRIu32 " waiting requests, its twin %" PRIu32
               "; there are %" PRIu32,
               after, a, b, w->n_queued);
    }
}

static void check_release(void *st)
{
    struct wrap_check *w = st;
    if (w->in.ops->release) {
        w->in.ops->release(w->in.st);
        w->twin.ops->release(w->twin.st);
    }
    free(w->place);
    w->place = NULL;
    w->place_cap = 0;
}

static bool reach(struct wrap_check *w, req_id r)
{
    void *place = w->place;
    bool ok = table_reach(&place, &w->place_cap, sizeof *w->place, r);
    w->place = place;
    return ok;
}

static const char *check_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_check *w = st;
    if (!reach(w, r)) {
        return policy_no_memory;
    }
    w->twin_env->truth_output = w->env->truth_output;
    w->twin_env->cached_tok = w->env->cached_tok;
    w->twin_env->engine = w->env->engine;
    const char *a = w->in.ops->arrive(w->in.st, v, r);
    const char *b = w->twin.ops->arrive(w->twin.st, v, r);
    if (a != b) {
        broken(w, v, "it and its twin disagree on whether to accept a request");
    }
    move(w, v, "arrive", r, 1u << GONE, a ? GONE : QUEUED);
    compare_waiting(w, v, "arrive");
    return a;
}

static req_id check_next(void *st, const struct sched_view *v)
{
    struct wrap_check *w = st;
    req_id r = w->in.ops->next(w->in.st, v);
    if (w->in.ops->next(w->in.st, v) != r) {
        broken(w, v, "next() answers differently when asked twice");
    }
    if (w->twin.ops->next(w->twin.st, v) != r) {
        broken(w, v, "next() depends on how decode iterations are grouped into calls");
    }
    if (r != REQ_NONE && place_of(w, r) != QUEUED) {
        broken(w, v, "next() names slot %" PRIu32 ", which is %s", r, place_text(place_of(w, r)));
    }
    if (v->n_waiting != w->n_queued) {
        broken(w, v, "the engine counts %" PRIu32 " waiting requests; there are %" PRIu32,
               v->n_waiting, w->n_queued);
    }
    compare_waiting(w, v, "next");
    w->named = r;
    w->asked = true;
    return r;
}

static bool check_blocked(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_check *w = st;
    if (r != w->named) {
        broken(w, v, "blocked was called for a request that next() did not name");
    }
    w->promise = 0;
    bool a = w->in.ops->blocked(w->in.st, v, r);
    if (w->twin.ops->blocked(w->twin.st, v, r) != a) {
        broken(w, v, "it and its twin disagree on whether to try another request");
    }
    return a;
}

static void check_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    struct wrap_check *w = st;
    if (r != w->named) {
        broken(w, v, "admit was called for a request that next() did not name");
    }
    if (move(w, v, "admit", r, 1u << QUEUED, PREFILL) && w->in.ops->admit) {
        w->in.ops->admit(w->in.st, v, r, cached_tok);
        w->twin.ops->admit(w->twin.st, v, r, cached_tok);
    }
    w->named = REQ_NONE;
    compare_waiting(w, v, "admit");
}

/* A step is told as decode, first_token*, finishing, finish*. */
enum order { ANY_ORDER, BEFORE_FINISHING, AFTER_FINISHING };

static void check_order(struct wrap_check *w, const struct sched_view *v, enum order order)
{
    bool told = w->finishing_ns == v->now_ns;
    if (told && order == BEFORE_FINISHING) {
        broken(w, v, "first_token came after the finishing of its step");
    } else if (!told && order == AFTER_FINISHING) {
        broken(w, v, "finish came without the finishing of its step");
    }
}

#define CHECKED(verb, from, to, order)                                                             \
    static void check_##verb(void *st, const struct sched_view *v, req_id r)                       \
    {                                                                                              \
        struct wrap_check *w = st;                                                                 \
        check_order(w, v, order);                                                                  \
        if (move(w, v, #verb, r, from, to) && w->in.ops->verb) {                                   \
            w->in.ops->verb(w->in.st, v, r);                                                       \
            w->twin.ops->verb(w->twin.st, v, r);                                                   \
        }                                                                                          \
        compare_waiting(w, v, #verb);                                                              \
    }
CHECKED(first_token, 1u << PREFILL, DECODE, BEFORE_FINISHING)
CHECKED(finish, 1u << DECODE, GONE, AFTER_FINISHING)
CHECKED(preempt, 1u << PREFILL | 1u << DECODE | 1u << PAUSED, QUEUED, ANY_ORDER)
CHECKED(pause, 1u << DECODE, PAUSED, ANY_ORDER)
CHECKED(resume, 1u << PAUSED, DECODE, ANY_ORDER)
CHECKED(drop, 1u << QUEUED, GONE, ANY_ORDER)
#undef CHECKED

/* One iteration for the twin; `v` is a copy that is moved along. */
static void twin_step(struct wrap_check *w, struct sched_view *v)
{
    w->twin.ops->decode(w->twin.st, v, 1);
    v->decode_iter++;
    if (w->promise > 0) {
        w->promise--;
        if (w->twin.ops->next(w->twin.st, v) != w->named) {
            broken(w, v, "next() changed %" PRIu64 " iterations before its horizon",
                   w->promise + 1);
            w->promise = 0;
        }
    }
}

static void check_decode(void *st, const struct sched_view *v, uint64_t k)
{
    struct wrap_check *w = st;
    struct sched_view moving = *v;
    if (k == 0) {
        broken(w, v, "decode was called for 0 iterations");
    } else if (w->in.ops->decode) {
        uint64_t singles = k < MOST_SINGLE_STEPS ? k : MOST_SINGLE_STEPS;
        w->in.ops->decode(w->in.st, v, k);
        for (uint64_t i = 0; i < singles; i++) {
            twin_step(w, &moving);
        }
        if (k > singles) {
            w->twin.ops->decode(w->twin.st, &moving, k - singles);
        }
    }
    w->promise = 0;
    w->asked = false;
}

static void check_finishing(void *st, const struct sched_view *v)
{
    struct wrap_check *w = st;
    w->promise = 0;
    w->asked = false;
    w->finishing_ns = v->now_ns;
    if (w->in.ops->finishing) {
        w->in.ops->finishing(w->in.st, v);
        w->twin.ops->finishing(w->twin.st, v);
    }
}

static bool runs(const struct wrap_check *w, req_id r)
{
    enum place at = place_of(w, r);
    return at == PREFILL || at == DECODE || at == PAUSED;
}

static req_id check_victim(void *st, const struct sched_view *v)
{
    struct wrap_check *w = st;
    req_id r = w->in.ops->victim(w->in.st, v);
    if (w->twin.ops->victim(w->twin.st, v) != r) {
        broken(w, v, "it and its twin name different victims");
    }
    if (r != REQ_NONE && !runs(w, r)) {
        broken(w, v, "victim() names slot %" PRIu32 ", which is %s", r, place_text(place_of(w, r)));
    }
    return r;
}

static req_id check_displace(void *st, const struct sched_view *v, req_id waiting)
{
    struct wrap_check *w = st;
    req_id r = w->in.ops->displace(w->in.st, v, waiting);
    if (waiting != w->named) {
        broken(w, v, "displace was called for a request that next() did not name");
    }
    if (w->twin.ops->displace(w->twin.st, v, waiting) != r) {
        broken(w, v, "it and its twin displace different requests");
    }
    if (r != REQ_NONE && !runs(w, r)) {
        broken(w, v, "displace() names slot %" PRIu32 ", which is %s", r,
               place_text(place_of(w, r)));
    }
    return r;
}

static double check_forecast(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_check *w = st;
    double tok = w->in.ops->forecast(w->in.st, v, r);
    if (w->twin.ops->forecast(w->twin.st, v, r) != tok) {
        broken(w, v, "it and its twin forecast different lengths");
    }
    if (!(tok > req_generated(v, &v->reqs[r]))) {
        broken(w, v, "forecast() of slot %" PRIu32 " is %g tokens, and as many are out", r, tok);
    }
    return tok;
}

static req_id check_give_up(void *st, const struct sched_view *v)
{
    struct wrap_check *w = st;
    req_id r = w->in.ops->give_up(w->in.st, v);
    if (w->twin.ops->give_up(w->twin.st, v) != r) {
        broken(w, v, "it and its twin give up different requests");
    }
    if (r != REQ_NONE && place_of(w, r) != QUEUED) {
        broken(w, v, "give_up() names slot %" PRIu32 ", which is %s", r,
               place_text(place_of(w, r)));
    }
    return r;
}

static uint64_t check_horizon(void *st, const struct sched_view *v)
{
    struct wrap_check *w = st;
    uint64_t h = w->in.ops->horizon(w->in.st, v);
    if (h == 0) {
        broken(w, v, "its horizon is 0");
    }
    if (w->twin.ops->horizon(w->twin.st, v) != h) {
        broken(w, v, "horizon() depends on how decode iterations are grouped into calls");
    }
    w->promise = h && w->asked ? h - 1 : 0; /* to ask it here might move it on */
    return h;
}

static size_t check_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct wrap_check *w = st;
    return w->in.ops->stats(w->in.st, ret, max);
}

static uint32_t check_waiting(const void *st)
{
    const struct wrap_check *w = st;
    return w->in.ops->waiting(w->in.st);
}

static const struct policy_ops check_ops = {
    .name = "check",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct wrap_check),
    .release = check_release,
    .arrive = check_arrive,
    .next = check_next,
    .blocked = check_blocked,
    .admit = check_admit,
    .first_token = check_first_token,
    .decode = check_decode,
    .finishing = check_finishing,
    .finish = check_finish,
    .preempt = check_preempt,
    .pause = check_pause,
    .resume = check_resume,
    .drop = check_drop,
    .victim = check_victim,
    .displace = check_displace,
    .forecast = check_forecast,
    .give_up = check_give_up,
    .horizon = check_horizon,
    .stats = check_stats,
    .waiting = check_waiting,
};

int policy_wrap_check_around(struct policy_instance in, struct policy_instance twin,
                             struct policy_env *env, struct policy_env *twin_env,
                             struct policy_instance *ret, struct err *e)
{
    struct wrap_check *w = arena_alloc(env->arena, sizeof *w);
    const struct policy_ops *ops = policy_wrap_ops(&check_ops, in.ops, env->arena);
    if (!w || !ops) {
        return err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'check'");
    }
    *w = (struct wrap_check){.in = in,
                             .twin = twin,
                             .env = env,
                             .twin_env = twin_env,
                             .named = REQ_NONE,
                             .finishing_ns = -1};
    *ret = (struct policy_instance){ops, w};
    return 0;
}

int policy_wrap_check_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                           struct err *e)
{
    struct policy_instance twin;
    struct policy_env *twin_env = arena_alloc(env->arena, sizeof *twin_env);
    if (!twin_env) {
        return err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'check'");
    }
    *twin_env = *env;
    twin_env->log = NULL; /* what the twin decides is written by nobody */
    int rc = policy_open(inner, env, ret, e);
    rc = rc < 0 ? rc : policy_open(inner, twin_env, &twin, e);
    return rc < 0 ? rc : policy_wrap_check_around(*ret, twin, env, twin_env, ret, e);
}
