/* SPDX-License-Identifier: Apache-2.0
 *
 * Shortest job first with true lengths: an oracle, the lower end of what length prediction can buy. */
#include "policies/ordered.h"

struct sjf {
    struct ordered o;
    int64_t length; /* enum ordered_length */
};

static const struct opt_row sjf_options[] = {
    {.name = "key", .type = OPT_CHOICE, .offset = offsetof(struct sjf, length), .def = "output",
     .help = "which length orders the queue", .choices = ordered_length_choices},
    OPT_END,
};

static int64_t sjf_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct sjf *s = st;
    int64_t output = s->o.env->truth_output(s->o.env->engine, r);
    return output + (s->length == ORDERED_TOTAL ? v->reqs[r].prompt_tok : 0);
}

static int sjf_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct sjf *)st)->o = (struct ordered){.env = env, .key = sjf_key};
    env->oracle = true;
    return 0;
}

const struct policy_ops policy_sjf = {
    .name = "sjf",
    .summary = "shortest job first (oracle: true output lengths)",
    .source = "textbook shortest job first",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct sjf),
    .options = sjf_options,
    .init = sjf_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
