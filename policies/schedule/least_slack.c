/* SPDX-License-Identifier: Apache-2.0
 *
 * Least slack first: slack is the time to the deadline less the time that the work up to it will take
 * (prefill_time per prompt token, token_time per predicted output token). The slack of all that wait
 * shrinks alike, so their order is that of deadline less work and holds still. Requests without a service
 * level come last, by arrival. */
#include <math.h>

#include "policies/ordered.h"
#include "policies/predict/predict.h"
#include "policies/slo.h"

struct least_slack {
    struct ordered o;
    const char *predictor_spec;
    double prefill_s, token_s;
    struct predictor predictor;
};

static const struct opt_row least_slack_options[] = {
    PREDICTOR_ROW(struct least_slack, predictor_spec, "noisy"),
    {.name = "prefill_time", .type = OPT_DOUBLE, .offset = offsetof(struct least_slack, prefill_s),
     .min = 0, .max = 10, .def = "0.0002", .unit = "s", .help = "prefill of a prompt token"},
    {.name = "token_time", .type = OPT_DOUBLE, .offset = offsetof(struct least_slack, token_s),
     .min = 0, .max = 10, .def = "0.03", .unit = "s", .help = "a decode step"},
    OPT_END,
};

static sim_ns less(sim_ns due_ns, double work_s)
{
    return due_ns == SIM_NEVER ? SIM_NEVER : due_ns - llround(work_s * 1e9);
}

static int64_t least_slack_key(const void *st, const struct sched_view *v, req_id r)
{
    struct least_slack *l = (struct least_slack *)st; /* only the predictor's book changes */
    const struct req *q = &v->reqs[r];
    uint32_t out = req_generated(v, q);
    double prefill_s = l->prefill_s * ((double)q->prompt_tok + out);
    double left = predictor_predict(&l->predictor, v, r, out) - out;
    sim_ns token = less(slo_token_ns(q, out), prefill_s);
    sim_ns end = less(slo_end_ns(q), prefill_s + l->token_s * left);
    return token < end ? token : end;
}

static int least_slack_init(void *st, struct policy_env *env, struct err *e)
{
    struct least_slack *l = st;
    l->o = (struct ordered){.env = env, .key = least_slack_key};
    return predictor_open(&l->predictor, l->predictor_spec, env, "least-slack", e);
}

static void least_slack_release(void *st)
{
    ordered_release(st);
    predictor_release(&((struct least_slack *)st)->predictor);
}

static const char *least_slack_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct least_slack *l = st;
    return predictor_reach(&l->predictor, r) ? ordered_arrive(st, v, r) : policy_no_memory;
}

static void least_slack_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct least_slack *)st)->predictor, v, r);
}

static size_t least_slack_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct least_slack *)st)->predictor, ret, max);
}

const struct policy_ops policy_least_slack = {
    .name = "least-slack",
    .summary = "least slack first: time to the deadline less the predicted work",
    .source = "Mok, 1983 (least laxity), with predicted lengths",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct least_slack),
    .options = least_slack_options,
    .init = least_slack_init,
    .release = least_slack_release,
    .arrive = least_slack_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .finish = least_slack_finish,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .horizon = ordered_horizon,
    .stats = least_slack_stats,
    .waiting = ordered_waiting,
};
