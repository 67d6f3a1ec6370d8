/* SPDX-License-Identifier: Apache-2.0
 *
 * bound(x): the fairness theorem of VTC at run time (Sheng et al., OSDI'24, theorem 4.4): two clients
 * that both have requests waiting all the time get service that differs by at most 2U in any interval,
 *     U = max(wp * longest prompt, wq * M),
 * service being 1 per prompt token at admission and 2 per output token, divided by the client's weight
 * (then U is, too, by the lesser of the two). M is the tokens that a running batch comes to: the KV pool,
 * or more where requests that end make room for others to grow; what a client was charged since its last
 * admission shows it (the step of lemma 4.3 that M stands for). The theorem is about schedulers that
 * never preempt, and vtc needs lift=paper for it whenever the queue may run empty. What breaks it goes
 * to policy_env's `violation`. The service is metered here, whatever the policy inside counts: any
 * policy may be put to the test. The first CLIENTS clients are watched. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/meter.h"
#include "policies/open.h"

#define CLIENTS 64u

struct bound_pair {
    sim_wide least, most; /* of the difference of services while both had requests waiting */
    bool both;            /* they do now */
};

struct wrap_bound {
    struct policy_instance in;
    struct policy_env *env;
    struct meter meter;
    uint32_t longest_prompt;
    uint32_t n_waiting[CLIENTS]; /* by account */
    double weight[CLIENTS];
    sim_wide before[CLIENTS]; /* service until the last admission */
    double grown;             /* most that a client's service grew after one, times its weight */
    struct bound_pair pairs[CLIENTS][CLIENTS];
    double worst; /* largest gap seen, in shares of its 2U */
    bool muted;
};

static void bound_release(void *st)
{
    struct wrap_bound *w = st;
    if (w->in.ops->release) {
        w->in.ops->release(w->in.st);
    }
    meter_release(&w->meter);
}

static double two_u(const struct wrap_bound *w, uint32_t i, uint32_t j)
{
    double in = w->longest_prompt, out = 2 * (double)w->env->kv_tok;
    double weight = w->weight[i] < w->weight[j] ? w->weight[i] : w->weight[j];
    double u = in > out ? in : out;
    return 2 * (u > w->grown ? u : w->grown) / weight;
}

static void note_growth(struct wrap_bound *w, uint32_t i)
{
    sim_wide more = meter_account(&w->meter, i)->total - w->before[i];
    double grown = (double)more / METER_UNIT * w->weight[i];
    w->grown = grown > w->grown ? grown : w->grown;
}

static void judge(struct wrap_bound *w, const struct sched_view *v, uint32_t i, uint32_t j)
{
    const struct bound_pair *p = &w->pairs[i][j];
    double gap = (double)(p->most - p->least) / METER_UNIT, share = gap / two_u(w, i, j);
    w->worst = share > w->worst ? share : w->worst;
    if (share > 1 && !w->muted && w->env->violation) {
        char text[300];
        snprintf(text, sizeof text,
                 "at %" PRId64 " ns the services of two clients that always had requests waiting have "
                 "come %.0f apart; VTC's theorem 4.4 allows %.0f",
                 v->now_ns, gap, two_u(w, i, j));
        w->muted = w->env->violation(w->env->violation_ctx, text) != 0;
    }
}

static void watch_pair(struct wrap_bound *w, const struct sched_view *v, uint32_t i, uint32_t j)
{
    struct bound_pair *p = &w->pairs[i][j];
    sim_wide gap = meter_account(&w->meter, i)->total - meter_account(&w->meter, j)->total;
    if (w->n_waiting[i] == 0 || w->n_waiting[j] == 0) {
        p->both = false;
        return;
    }
    if (!p->both) {
        *p = (struct bound_pair){.least = gap, .most = gap, .both = true};
    }
    p->least = gap < p->least ? gap : p->least;
    p->most = gap > p->most ? gap : p->most;
    judge(w, v, i, j);
}

/* Services only run apart between events along straight lines, so their ends are enough. */
static void watch(struct wrap_bound *w, const struct sched_view *v)
{
    uint32_t n = w->meter.accounts.n < CLIENTS ? w->meter.accounts.n : CLIENTS;
    for (uint32_t i = 0; i < n; i++) {
        note_growth(w, i);
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < i; j++) {
            watch_pair(w, v, i, j);
        }
    }
}

static void count_waiting(struct wrap_bound *w, const struct sched_view *v, req_id r, int more)
{
    uint32_t i = w->meter.slots[r].account;
    if (i < CLIENTS) {
        w->n_waiting[i] += (uint32_t)more;
    }
    watch(w, v);
}

static const char *bound_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_bound *w = st;
    const struct req *q = &v->reqs[r];
    const char *refused;
    uint32_t i = meter_arrive(&w->meter, v, r, &refused);
    if (i == CLIENT_NONE || (refused = w->in.ops->arrive(w->in.st, v, r))) {
        return refused;
    }
    if (i < CLIENTS) {
        w->weight[i] = (double)q->weight;
    }
    w->longest_prompt = q->prompt_tok > w->longest_prompt ? q->prompt_tok : w->longest_prompt;
    count_waiting(w, v, r, 1);
    return NULL;
}

static req_id bound_next(void *st, const struct sched_view *v)
{
    struct wrap_bound *w = st;
    return w->in.ops->next(w->in.st, v);
}

static bool bound_blocked(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_bound *w = st;
    return w->in.ops->blocked(w->in.st, v, r);
}

static void bound_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    struct wrap_bound *w = st;
    if (w->in.ops->admit) {
        w->in.ops->admit(w->in.st, v, r, cached_tok);
    }
    /* The client's last request leaves the queue before its charge: the interval is over. */
    count_waiting(w, v, r, -1);
    if (w->meter.slots[r].account < CLIENTS) {
        uint32_t i = w->meter.slots[r].account;
        w->before[i] = meter_account(&w->meter, i)->total;
    }
    meter_admit(&w->meter, r, 0);
    watch(w, v);
}

static void bound_decode(void *st, const struct sched_view *v, uint64_t k)
{
    struct wrap_bound *w = st;
    if (w->in.ops->decode) {
        w->in.ops->decode(w->in.st, v, k);
    }
    meter_decode(&w->meter, v, k);
    watch(w, v);
}

static void bound_finishing(void *st, const struct sched_view *v)
{
    struct wrap_bound *w = st;
    if (w->in.ops->finishing) {
        w->in.ops->finishing(w->in.st, v);
    }
}

/* What follows a call to the policy inside. */
#define METERED(verb, then)                                                                        \
    static void bound_##verb(void *st, const struct sched_view *v, req_id r)                       \
    {                                                                                              \
        struct wrap_bound *w = st;                                                                 \
        if (w->in.ops->verb) {                                                                     \
            w->in.ops->verb(w->in.st, v, r);                                                       \
        }                                                                                          \
        then;                                                                                      \
    }
METERED(first_token, meter_first_token(&w->meter, v, r))
METERED(finish, meter_finish(&w->meter, v, r))
METERED(preempt, meter_pause(&w->meter, r); count_waiting(w, v, r, 1))
METERED(pause, meter_pause(&w->meter, r))
METERED(resume, meter_resume(&w->meter, r))
METERED(drop, count_waiting(w, v, r, -1))
#undef METERED

static req_id bound_victim(void *st, const struct sched_view *v)
{
    struct wrap_bound *w = st;
    return w->in.ops->victim(w->in.st, v);
}

static req_id bound_displace(void *st, const struct sched_view *v, req_id waiting)
{
    struct wrap_bound *w = st;
    return w->in.ops->displace(w->in.st, v, waiting);
}

static double bound_forecast(void *st, const struct sched_view *v, req_id r)
{
    struct wrap_bound *w = st;
    return w->in.ops->forecast(w->in.st, v, r);
}

static req_id bound_give_up(void *st, const struct sched_view *v)
{
    struct wrap_bound *w = st;
    return w->in.ops->give_up(w->in.st, v);
}

static uint64_t bound_horizon(void *st, const struct sched_view *v)
{
    struct wrap_bound *w = st;
    return w->in.ops->horizon(w->in.st, v);
}

static size_t bound_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct wrap_bound *w = st;
    size_t n = w->in.ops->stats ? w->in.ops->stats(w->in.st, ret, max) : 0;
    if (n < max) {
        ret[n++] = (struct policy_stat){"worst_gap_of_bound", "1", w->worst};
    }
    return n;
}

static uint32_t bound_waiting(const void *st)
{
    const struct wrap_bound *w = st;
    return w->in.ops->waiting(w->in.st);
}

static const struct policy_ops bound_ops = {
    .name = "bound",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct wrap_bound),
    .release = bound_release,
    .arrive = bound_arrive,
    .next = bound_next,
    .blocked = bound_blocked,
    .admit = bound_admit,
    .first_token = bound_first_token,
    .decode = bound_decode,
    .finishing = bound_finishing,
    .finish = bound_finish,
    .preempt = bound_preempt,
    .pause = bound_pause,
    .resume = bound_resume,
    .drop = bound_drop,
    .victim = bound_victim,
    .displace = bound_displace,
    .forecast = bound_forecast,
    .give_up = bound_give_up,
    .horizon = bound_horizon,
    .stats = bound_stats,
    .waiting = bound_waiting,
};

int policy_wrap_bound_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                           struct err *e)
{
    static const struct meter_conf service = {.wp = 1, .wq = 2};
    struct wrap_bound *w = arena_alloc(env->arena, sizeof *w);
    if (!w) {
        return err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'bound'");
    }
    w->env = env;
    int rc = policy_open(inner, env, &w->in, e);
    rc = rc < 0 ? rc : meter_init(&w->meter, &service, e);
    if (rc < 0) {
        *ret = w->in; /* so that what was opened is released */
        return rc;
    }
    struct policy_ops *ops = policy_wrap_ops(&bound_ops, w->in.ops, env->arena);
    if (ops) {
        ops->stats = bound_stats;
    }
    *ret = (struct policy_instance){ops, w};
    return ops ? 0 : err_set(e, SIM_E_NOMEM, "no memory for the wrapper 'bound'");
}
