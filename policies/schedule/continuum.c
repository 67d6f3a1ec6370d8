/* SPDX-License-Identifier: Apache-2.0
 *
 * Continuum's order (arXiv 2511.02230; serving.md 8, rule 4): who was pushed out first, then turns
 * whose KV is pinned on the GPU, then by the arrival of their program: first come, first served by
 * program, so that a program's tenth turn does not queue behind newcomers. Running requests keep
 * their place; the one whose program came last is pushed out when the batcher needs memory. How
 * long KV is pinned is kv.pin's matter. */
#include <stdlib.h>

#include "policies/ordered.h"
#include "policies/programs.h"

#define PINNED    ((int64_t)1 << 61)
#define PREEMPTED ((int64_t)1 << 62)

struct continuum {
    struct ordered o;
    struct programs programs;
    sim_ns *came; /* by program */
    uint32_t came_cap;
    uint32_t *program; /* by req_id */
    uint32_t program_cap;
};

static int64_t continuum_key(const void *st, const struct sched_view *v, req_id r)
{
    const struct continuum *c = st;
    const struct req *q = &v->reqs[r];
    int64_t key = c->came[c->program[r]];
    return key - (q->kv_pinned ? PINNED : 0) - (q->was_preempted ? PREEMPTED : 0);
}

static int continuum_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct continuum *)st)->o = (struct ordered){.env = env, .key = continuum_key};
    return 0;
}

static void continuum_release(void *st)
{
    struct continuum *c = st;
    programs_release(&c->programs);
    free(c->came);
    free(c->program);
    ordered_release(st);
}

static const char *continuum_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct continuum *c = st;
    uint32_t before = c->programs.n, p = programs_of(&c->programs, &v->reqs[r]);
    void *came = c->came, *program = c->program;
    bool ok = p != PROGRAM_NONE && table_reach(&came, &c->came_cap, sizeof *c->came, p) &&
              table_reach(&program, &c->program_cap, sizeof *c->program, r);
    c->came = came;
    c->program = program;
    if (!ok) {
        return policy_no_memory;
    }
    if (p >= before) {
        c->came[p] = v->reqs[r].arrival_ns;
    }
    c->program[r] = p;
    return ordered_arrive(st, v, r);
}

static req_id continuum_victim(void *st, const struct sched_view *v)
{
    const struct continuum *c = st;
    req_id worst = REQ_NONE;
    sim_ns latest = -1;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        if (c->came[c->program[r]] >= latest) {
            latest = c->came[c->program[r]];
            worst = r;
        }
    }
    return worst;
}

const struct policy_ops policy_continuum = {
    .name = "continuum",
    .summary = "first come, first served by program; turns whose KV is pinned before",
    .source = "Continuum, arXiv 2511.02230",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct continuum),
    .init = continuum_init,
    .release = continuum_release,
    .arrive = continuum_arrive,
    .next = ordered_next,
    .admit = ordered_admit,
    .preempt = ordered_preempt,
    .drop = ordered_drop,
    .victim = continuum_victim,
    .horizon = ordered_horizon,
    .waiting = ordered_waiting,
};
