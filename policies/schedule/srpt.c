/* SPDX-License-Identifier: Apache-2.0
 *
 * Shortest remaining first with true lengths (oracle). Unless told to (preemptive=on), it does not
 * interrupt a running request for the sake of a shorter one, since that throws KV away; but when the
 * batcher needs memory the request with the longest remaining output is pushed out. */
#include "policies/ordered.h"

struct srpt {
    struct ordered o;
    int64_t length; /* enum ordered_length */
    bool preemptive;
};

static const struct opt_row srpt_options[] = {
    {.name = "key", .type = OPT_CHOICE, .offset = offsetof(struct srpt, length), .def = "output",
     .help = "which remaining length orders the queue", .choices = ordered_length_choices},
    {.name = "preemptive", .type = OPT_BOOL, .offset = offsetof(struct srpt, preemptive), .def = "off",
     .help = "push out the running request with the most left for a waiting one with less"},
    OPT_END,
};

static int64_t remaining_output(const struct srpt *s, const struct sched_view *v, req_id r)
{
    int64_t output = s->o.env->truth_output(s->o.env->engine, r);
    return output - req_generated(v, &v->reqs[r]);
}

static int64_t srpt_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct srpt *s = st;
    return remaining_output(s, v, r) + (s->length == ORDERED_TOTAL ? v->reqs[r].prompt_tok : 0);
}

static int srpt_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct srpt *)st)->o = (struct ordered){.env = env, .key = srpt_key};
    env->oracle = true;
    return 0;
}

static req_id srpt_victim(void *st, const struct sched_view *v)
{
    req_id worst = REQ_NONE;
    int64_t most = INT64_MIN;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        int64_t left = remaining_output(st, v, r);
        if (left >= most) { /* the last admitted of equals loses the least work */
            most = left;
            worst = r;
        }
    }
    return worst;
}

/* What is left of running requests only shrinks, so decodes never make a new name. */
static req_id srpt_displace(void *st, const struct sched_view *v, req_id waiting)
{
    const struct srpt *s = st;
    req_id worst = REQ_NONE;
    int64_t most = srpt_key(s, v, waiting);
    for (req_id r = v->running_head; s->preemptive && r != REQ_NONE; r = v->reqs[r].q_next) {
        int64_t left = srpt_key(s, v, r);
        if (left > most) {
            most = left;
            worst = r;
        }
    }
    return worst;
}

const struct policy_ops policy_srpt = {
    .name = "srpt",
    .summary = "shortest remaining first, longest remaining pushed out (oracle: true output lengths)",
    .source = "textbook shortest remaining processing time, without eager preemption",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct srpt),
    .options = srpt_options,
    .init = srpt_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .victim = srpt_victim,
    .displace = srpt_displace,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
