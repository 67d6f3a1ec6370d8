/* SPDX-License-Identifier: Apache-2.0
 *
 * Priority traces as FastSwitch replays them (arXiv 2411.18424): priorities that change by themselves
 * every 1/frequency iterations, to put context switching to the test. `random` draws all of them afresh
 * each time; `markov` keeps a conversation's priority with probability `keep`. The highest waits least: a
 * running request of lower priority is pushed out for it. A conversation is a session, or a request
 * without one. Stand-ins: the paper's transition probabilities are not known; updates count decode
 * iterations. What a switch costs is the batcher's and the machine's matter. */
#include <math.h>

#include "policies/ordered.h"
#include "sim/core/rng.h"

enum pattern { RANDOM, MARKOV };

struct fastswitch {
    struct ordered o;
    int64_t pattern;
    double frequency, keep;
    uint64_t period_iter, epoch;
    struct rng_stream rank, redraw;
};

static const struct opt_choice pattern_choices[] = {
    [RANDOM] = {"random", "each update draws all priorities afresh"},
    [MARKOV] = {"markov", "a priority stays with probability `keep`, else it is drawn afresh"},
    {NULL, NULL},
};

static const struct opt_row fastswitch_options[] = {
    {.name = "pattern", .type = OPT_CHOICE, .offset = offsetof(struct fastswitch, pattern),
     .def = "markov", .help = "how priorities change", .choices = pattern_choices},
    {.name = "frequency", .type = OPT_DOUBLE, .offset = offsetof(struct fastswitch, frequency),
     .min = 1e-6, .max = 1, .def = "0.04", .unit = "1",
     .help = "updates per iteration (FastSwitch: 0.04 for 8B, 0.02 for 32B)"},
    {.name = "keep", .type = OPT_DOUBLE, .offset = offsetof(struct fastswitch, keep), .min = 0,
     .max = 0.999, .def = "0.9", .unit = "1", .help = "markov: chance to keep one's priority (stand-in)"},
    OPT_END,
};

/* The epoch at which the priority that `who` has in `epoch` was drawn. */
static uint64_t drawn_at(const struct fastswitch *f, uint64_t who, uint64_t epoch)
{
    while (f->pattern == MARKOV && epoch > 0 && rng_uniform(f->redraw, who, epoch) < f->keep) {
        epoch--;
    }
    return epoch;
}

/* Smaller runs first. Sessions and lone requests draw from different numbers. */
static int64_t fastswitch_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct fastswitch *f = st;
    const struct req *q = &v->reqs[r];
    uint64_t who = q->session ? q->session * 2 + 1 : q->serial * 2;
    return (int64_t)(rng_u64(f->rank, who, drawn_at(f, who, f->epoch)) >> 2);
}

static int fastswitch_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    struct fastswitch *f = st;
    f->o = (struct ordered){.env = env, .key = fastswitch_key};
    f->period_iter = (uint64_t)llround(1 / f->frequency);
    f->rank = rng_stream(env->seed, env->replication, "fastswitch.rank");
    f->redraw = rng_stream(env->seed, env->replication, "fastswitch.redraw");
    return 0;
}

static void update(struct fastswitch *f, const struct sched_view *v)
{
    uint64_t epoch = v->decode_iter / f->period_iter;
    if (epoch != f->epoch) {
        f->epoch = epoch;
        ordered_rekey(&f->o, v);
    }
}

static const char *fastswitch_arrive(void *st, const struct sched_view *v, req_id r)
{
    update(st, v);
    return ordered_arrive(st, v, r);
}

static void fastswitch_preempt(void *st, const struct sched_view *v, req_id r)
{
    update(st, v);
    ordered_preempt(st, v, r);
}

static req_id fastswitch_next(void *st, const struct sched_view *v)
{
    update(st, v);
    return ordered_next(st, v);
}

/* The running request of the lowest priority, if it is below `key`. */
static req_id lowest_below(const struct fastswitch *f, const struct sched_view *v, int64_t key)
{
    req_id worst = REQ_NONE;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        int64_t k = fastswitch_key(f, v, r);
        if (k > key) {
            key = k;
            worst = r;
        }
    }
    return worst;
}

static req_id fastswitch_displace(void *st, const struct sched_view *v, req_id waiting)
{
    update(st, v);
    return lowest_below(st, v, fastswitch_key(st, v, waiting));
}

static req_id fastswitch_victim(void *st, const struct sched_view *v)
{
    update(st, v);
    return lowest_below(st, v, INT64_MIN);
}

static uint64_t fastswitch_horizon(void *st, const struct sched_view *v)
{
    const struct fastswitch *f = st;
    return f->period_iter - v->decode_iter % f->period_iter;
}

const struct policy_ops policy_fastswitch = {
    .name = "fastswitch",
    .summary = "priorities that change by themselves; the lower ones are pushed out",
    .source = "FastSwitch, arXiv 2411.18424, random and Markov priority traces",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct fastswitch),
    .options = fastswitch_options,
    .init = fastswitch_init,
    .release = ordered_release,
    .arrive = fastswitch_arrive,
    .next = fastswitch_next,
    .admit = ordered_admit,
    .preempt = fastswitch_preempt,
    .drop = ordered_drop,
    .victim = fastswitch_victim,
    .displace = fastswitch_displace,
    .horizon = fastswitch_horizon,
    .waiting = ordered_waiting,
};
