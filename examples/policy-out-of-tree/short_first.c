/* SPDX-License-Identifier: Apache-2.0
 *
 * A scheduler policy outside of Steelyard's tree: short prompts first, but not for ever. A prompt that is
 * `patience` tokens shorter overtakes those that came up to one second earlier.
 *
 *   make && steelyard run ... --policy ./short_first.so
 *   steelyard run ... --policy './short_first.so{patience=500}'
 */
#include <policies/ordered.h>

struct short_first {
    struct ordered o; /* must be the first member */
    double patience;  /* prompt tokens that a second of waiting outweighs */
};

static const struct opt_row options[] = {
    {.name = "patience", .type = OPT_DOUBLE, .offset = offsetof(struct short_first, patience), .min = 0,
     .max = 1e6, .def = "100", .unit = "tok", .help = "prompt tokens that one second of waiting outweighs"},
    OPT_END,
};

/* Everybody who waits ages alike, so the order of two requests never changes: prompt - patience * (now -
 * arrival) may as well be prompt + patience * arrival. */
static int64_t short_first_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct short_first *s = st;
    const struct req *q = &v->reqs[r];

    return q->prompt_tok * (int64_t)1000 + (int64_t)(s->patience * (double)q->arrival_ns / 1e6);
}

static int short_first_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct short_first *)st)->o = (struct ordered){.env = env, .key = short_first_key};
    return 0;
}

const struct policy_ops steelyard_policy = {
    .name = "short-first",
    .summary = "short prompts first, long ones by and by",
    .source = "example of a policy outside of the tree",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct short_first),
    .options = options,
    .init = short_first_init,
    .release = ordered_release,
    .arrive = ordered_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
