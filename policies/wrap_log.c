/* SPDX-License-Identifier: Apache-2.0
 *
 * log(x): what policy x decides, one JSON object per decision. Requests are named by their number in
 * the trace. A refusal to fit is written once until something else is decided, so that the lines do
 * not depend on how often the engine asks. */
#include <inttypes.h>
#include <stdio.h>

#include "policies/open.h"

struct wrap_log {
    struct policy_instance in;
    const struct policy_env *env;
    req_id last_blocked;
};

static void say(struct wrap_log *w, const struct sched_view *v, const char *what, req_id r,
                const char *more)
{
    const struct req *q = &v->reqs[r];
    char line[400];
    w->last_blocked = REQ_NONE;
    if (w->env->log) {
        snprintf(line, sizeof line,
                 "{\"t_ns\":%" PRId64 ",\"do\":\"%s\",\"request\":%" PRIu64 ",\"client\":%" PRIu32
                 ",\"waiting\":%" PRIu32 ",\"running\":%" PRIu32 "%s}",
                 v->now_ns, what, q->serial, q->client, w->in.ops->waiting(w->in.st), v->n_running,
                 more);
        w->env->log(w->env->log_ctx, line);
    }
}

static void log_release(void *st)
{
    struct wrap_log *w = st;
    if (w->in.ops->release) {
        w->in.ops->release(w->in.st);
    }
}

static const char *log_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    const char *refused = w->in.ops->arrive(w->in.st, v, r);
    if (refused) {
        char more[200];
        snprintf(more, sizeof more, ",\"why\":\"%s\"", refused);
        say(w, v, "reject", r, more);
    }
    return refused;
}

static req_id log_next(void *st, const struct sched_view *v)
{
    struct wrap_log *w = st;
    return w->in.ops->next(w->in.st, v);
}

static bool log_blocked(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    bool more = w->in.ops->blocked(w->in.st, v, r);
    if (w->last_blocked != r) {
        say(w, v, "blocked", r, more ? ",\"then\":\"another\"" : ",\"then\":\"stop\"");
        w->last_blocked = r;
    }
    return more;
}

static void log_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    struct wrap_log *w = st;
    char more[48];
    snprintf(more, sizeof more, ",\"cached_tok\":%" PRIu32, cached_tok);
    if (w->in.ops->admit) {
        w->in.ops->admit(w->in.st, v, r, cached_tok);
    }
    say(w, v, "admit", r, more);
}

static void log_preempt(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    if (w->in.ops->preempt) {
        w->in.ops->preempt(w->in.st, v, r);
    }
    say(w, v, "preempt", r, "");
}

static void log_drop(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    if (w->in.ops->drop) {
        w->in.ops->drop(w->in.st, v, r);
    }
    say(w, v, "drop", r, "");
}

static void log_finish(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    if (w->in.ops->finish) {
        w->in.ops->finish(w->in.st, v, r);
    }
    say(w, v, "finish", r, "");
}

static req_id log_victim(void *st, const struct sched_view *v)
{
    struct wrap_log *w = st;
    req_id r = w->in.ops->victim(w->in.st, v);
    if (r != REQ_NONE) {
        say(w, v, "victim", r, "");
    }
    return r;
}

static req_id log_displace(void *st, const struct sched_view *v, req_id waiting)
{
    struct wrap_log *w = st;
    req_id r = w->in.ops->displace(w->in.st, v, waiting);
    if (r != REQ_NONE) {
        char more[48];
        snprintf(more, sizeof more, ",\"for\":%" PRIu64, v->reqs[waiting].serial);
        say(w, v, "displace", r, more);
    }
    return r;
}

static double log_forecast(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_log *w = st;
    return w->in.ops->forecast(w->in.st, v, r);
}

static req_id log_give_up(void *st, const struct sched_view *v)
{
    struct wrap_log *w = st;
    req_id r = w->in.ops->give_up(w->in.st, v);
    if (r != REQ_NONE) {
        say(w, v, "give up", r, "");
    }
    return r;
}

#define FORWARD(verb)                                                                              \
    static void log_##verb(void *st, const struct sched_view *v, req_id r)                         \
    {                                                                                              \
        struct wrap_log *w = st;                                                                   \
        if (w->in.ops->verb) {                                                                     \
            w->in.ops->verb(w->in.st, v, r);                                                       \
        }                                                                                          \
    }
FORWARD(first_token)
FORWARD(pause)
FORWARD(resume)
#undef FORWARD

static void log_decode(void *st, const struct sched_view *v, uint64_t k)
{
    struct wrap_log *w = st;
    if (w->in.ops->decode) {
        w->in.ops->decode(w->in.st, v, k);
    }
}

static void log_finishing(void *st, const struct sched_view *v)
{
    struct wrap_log *w = st;
    if (w->in.ops->finishing) {
        w->in.ops->finishing(w->in.st, v);
    }
}

static uint64_t log_horizon(void *st, const struct sched_view *v)
{
    struct wrap_log *w = st;
    return w->in.ops->horizon(w->in.st, v);
}

static size_t log_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct wrap_log *w = st;
    return w->in.ops->stats(w->in.st, ret, max);
}

static uint32_t log_waiting(const void *st)
{
    const struct wrap_log *w = st;
    return w->in.ops->waiting(w->in.st);
}

static const struct policy_ops log_ops = {
    .name = "log",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct wrap_log),
    .release = log_release,
    .arrive = log_arrive,
    .next = log_next,
    .blocked = log_blocked,
    .admit = log_admit,
    .first_token = log_first_token,
    .decode = log_decode,
    .finishing = log_finishing,
    .finish = log_finish,
    .preempt = log_preempt,
    .pause = log_pause,
    .resume = log_resume,
    .drop = log_drop,
    .victim = log_victim,
    .displace = log_displace,
    .forecast = log_forecast,
    .give_up = log_give_up,
    .horizon = log_horizon,
    .stats = log_stats,
    .waiting = log_waiting,
};

int policy_wrap_log_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                         struct err *e)
{
    struct wrap_log *w = arena_alloc(env->arena, sizeof *w);
    if (!w) {
        return err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'log'");
    }
    w->env = env;
    w->last_blocked = REQ_NONE;
    int rc = policy_open(inner, env, &w->in, e);
    if (rc < 0) {
        *ret = w->in; /* so that what was opened is released */
        return rc;
    }
    *ret = (struct policy_instance){policy_wrap_ops(&log_ops, w->in.ops, env->arena), w};
    return ret->ops ? 0 : err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'log'");
}
