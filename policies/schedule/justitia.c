/* SPDX-License-Identifier: Apache-2.0
 *
 * Justitia (arXiv 2510.17015): fair sharing among agents whose work is many inferences. The cost of an
 * inference is its memory over time, the sum of its context over its output tokens; agents are served in
 * the order in which an ideal system that shares the KV memory equally would complete them, each with
 * full resources ("selective pampering"); the inferences of one agent come first come, first served.
 * An agent is a session here. Stand-ins: an inference adds its predicted cost p*q + q*q/2 when it
 * arrives (the paper predicts an agent's whole cost at once); a decode step of the ideal system takes
 * `token_time`, so that it serves kv_tok / token_time token-steps per second. */
#include <stdlib.h>

#include "policies/gps.h"
#include "policies/predict/predict.h"
#include "policies/programs.h"

struct justitia {
    const char *predictor_spec;
    double token_s;
    struct predictor predictor;
    struct gps gps; /* flows are agents */
    struct programs programs;
    struct req_heap ready; /* agents that wait, by virtual finish */
    struct req_links links;
    struct req_fifo *queues; /* by agent */
    uint32_t *agents;        /* by req_id */
    uint32_t queues_cap, agents_cap, n_waiting;
};

static const struct opt_row justitia_options[] = {
    PREDICTOR_ROW(struct justitia, predictor_spec, "oracle"),
    {.name = "token_time", .type = OPT_DOUBLE, .offset = offsetof(struct justitia, token_s),
     .min = 1e-6, .max = 100, .def = "0.03", .unit = "s", .help = "a decode step of the ideal system"},
    OPT_END,
};

static int justitia_init(void *st, struct policy_env *env, struct err *e)
{
    struct justitia *j = st;
    double kv_tok = env->kv_tok > 0 ? (double)env->kv_tok : 1;
    gps_init(&j->gps, kv_tok / j->token_s);
    return predictor_open(&j->predictor, j->predictor_spec, env, "justitia", e);
}

static void justitia_release(void *st)
{
    struct justitia *j = st;
    predictor_release(&j->predictor);
    gps_release(&j->gps);
    programs_release(&j->programs);
    req_heap_release(&j->ready);
    req_links_release(&j->links);
    free(j->queues);
    free(j->agents);
    j->queues = NULL;
    j->agents = NULL;
    j->queues_cap = j->agents_cap = 0;
}

static bool reach(struct justitia *j, uint32_t agent, req_id r)
{
    void *queues = j->queues, *agents = j->agents;
    uint32_t had = j->queues_cap;
    bool ok = table_reach(&queues, &j->queues_cap, sizeof *j->queues, agent) &&
              table_reach(&agents, &j->agents_cap, sizeof *j->agents, r);
    j->queues = queues;
    j->agents = agents;
    for (uint32_t i = had; i < j->queues_cap; i++) {
        j->queues[i] = REQ_FIFO_EMPTY;
    }
    return ok && req_links_reach(&j->links, r) && req_heap_reach(&j->ready, agent) &&
           gps_reach(&j->gps, agent) && predictor_reach(&j->predictor, r);
}

/* The agent's place follows its virtual finish, which grows with each inference. */
static void place(struct justitia *j, uint32_t agent)
{
    req_heap_remove(&j->ready, agent);
    if (j->queues[agent].count > 0) {
        req_heap_push(&j->ready, (struct req_heap_item){.key = j->gps.flows[agent].finish,
                                                        .serial = agent,
                                                        .r = agent});
    }
}

static double memory_time(double prompt, double output)
{
    return prompt * output + output * output / 2;
}

static const char *justitia_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct justitia *j = st;
    const struct req *q = &v->reqs[r];
    uint32_t agent = programs_of(&j->programs, q);
    if (agent == PROGRAM_NONE || !reach(j, agent, r)) {
        return policy_no_memory;
    }
    double output = predictor_predict(&j->predictor, v, r, 0);
    gps_advance(&j->gps, q->arrival_ns);
    gps_add(&j->gps, agent, memory_time(q->prompt_tok, output), (double)q->weight);
    j->agents[r] = agent;
    req_fifo_push_back(&j->queues[agent], &j->links, r);
    j->n_waiting++;
    place(j, agent);
    return NULL;
}

static req_id justitia_next(void *st, const struct sched_view *v)
{
    (void)v;
    const struct justitia *j = st;
    uint32_t agent = req_heap_top(&j->ready);
    return agent == REQ_NONE ? REQ_NONE : j->queues[agent].head;
}

static void justitia_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct justitia *j = st;
    req_fifo_remove(&j->queues[j->agents[r]], &j->links, r);
    j->n_waiting--;
    place(j, j->agents[r]);
}

static void justitia_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    justitia_drop(st, v, r);
}

static void justitia_preempt(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    struct justitia *j = st;
    req_fifo_push_front(&j->queues[j->agents[r]], &j->links, r);
    j->n_waiting++;
    place(j, j->agents[r]);
}

static void justitia_finish(void *st, const struct sched_view *v, req_id r)
{
    predictor_finish(&((struct justitia *)st)->predictor, v, r);
}

static uint64_t justitia_horizon(void *st, const struct sched_view *v)
{
    (void)st, (void)v;
    return UINT64_MAX; /* the ideal system's order of those that are there is settled */
}

static size_t justitia_stats(const void *st, struct policy_stat *ret, size_t max)
{
    return predictor_stats(&((const struct justitia *)st)->predictor, ret, max);
}

static uint32_t justitia_waiting(const void *st)
{
    return ((const struct justitia *)st)->n_waiting;
}

const struct policy_ops policy_justitia = {
    .name = "justitia",
    .summary = "agents in the order in which fair sharing of KV memory would complete them",
    .source = "Justitia, arXiv 2510.17015; virtual-time fair queueing on predicted memory-time",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct justitia),
    .options = justitia_options,
    .init = justitia_init,
    .release = justitia_release,
    .arrive = justitia_arrive,
    .next = justitia_next,
    .admit = justitia_admit,
    .finish = justitia_finish,
    .preempt = justitia_preempt,
    .drop = justitia_drop,
    .horizon = justitia_horizon,
    .stats = justitia_stats,
    .waiting = justitia_waiting,
};
