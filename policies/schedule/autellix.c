/* SPDX-License-Identifier: Apache-2.0
 *
 * Autellix (Luo et al., arXiv 2502.13965): calls of a program (agent) are ordered by the service that the
 * program has had. PLAS adds up what all its calls got; ATLAS, for programs whose calls run in parallel,
 * takes the longest chain: where a call began plus what it got. Service is prompt and output tokens of
 * the calls that have ended or were pushed out, in buckets of 400 tokens, ties by arrival, as JITServe's
 * artifact runs it. A program is a session here. With preemptive=on a running call is pushed out for one of a
 * program in a lower bucket, the service of calls under way counted, so that a bucket is also the quantum of a
 * multi-level feedback queue, as in the paper; off, as in the artifact, a running call keeps its place. Not
 * from the paper: nothing guards against starvation. */
#include <stdlib.h>

#include "policies/programs.h"
#include "policies/policy.h"

enum rule { PLAS, ATLAS };

struct autellix {
    int64_t rule, bucket_tok;
    bool preemptive;
    struct programs programs;
    struct req_heap ready; /* programs that wait, by bucket and arrival of their oldest call */
    struct req_links links;
    struct autellix_program {
        struct req_fifo calls;
        uint64_t served_tok;
        uint64_t reached_tok; /* with the calls under way, as look_at_running() found it */
        uint32_t n_decoding;
    } * at; /* by program */
    struct autellix_call {
        uint32_t program, counted_tok; /* of its tokens, already in PLAS's sum */
        uint64_t began_tok;            /* where the program was when it arrived */
    } * calls; /* by req_id */
    uint32_t at_cap, calls_cap, n_waiting;
};

static const struct opt_choice rule_choices[] = {
    [PLAS] = {"plas", "service of all calls of the program so far"},
    [ATLAS] = {"atlas", "the longest chain of its calls"},
    {NULL, NULL},
};

static const struct opt_row autellix_options[] = {
    {.name = "rule", .type = OPT_CHOICE, .offset = offsetof(struct autellix, rule), .def = "plas",
     .help = "what service of a program is", .choices = rule_choices},
    {.name = "bucket", .type = OPT_INT, .offset = offsetof(struct autellix, bucket_tok), .min = 1,
     .max = 1e9, .def = "400", .unit = "tok", .help = "services in one bucket count as equal"},
    {.name = "preemptive", .type = OPT_BOOL, .offset = offsetof(struct autellix, preemptive), .def = "off",
     .help = "push out a running call for one of a program with less service"},
    OPT_END,
};

static void autellix_release(void *st)
{
    struct autellix *a = st;
    programs_release(&a->programs);
    req_heap_release(&a->ready);
    req_links_release(&a->links);
    free(a->at);
    free(a->calls);
    *a = (struct autellix){.at = NULL};
}

static bool reach(struct autellix *a, uint32_t program, req_id r)
{
    void *at = a->at, *calls = a->calls;
    uint32_t had = a->at_cap;
    bool ok = table_reach(&at, &a->at_cap, sizeof *a->at, program) &&
              table_reach(&calls, &a->calls_cap, sizeof *a->calls, r);
    a->at = at;
    a->calls = calls;
    for (uint32_t i = had; i < a->at_cap; i++) {
        a->at[i].calls = REQ_FIFO_EMPTY;
    }
    return ok && req_links_reach(&a->links, r) && req_heap_reach(&a->ready, program);
}

/* The program's place follows its service and its oldest call. */
static void place(struct autellix *a, const struct sched_view *v, uint32_t program)
{
    const struct autellix_program *p = &a->at[program];
    req_heap_remove(&a->ready, program);
    if (p->calls.count > 0) {
        const struct req *q = &v->reqs[p->calls.head];
        req_heap_push(&a->ready, (struct req_heap_item){
                                     .key = (int64_t)(p->served_tok / (uint64_t)a->bucket_tok),
                                     .then = q->arrival_ns,
                                     .serial = q->serial,
                                     .r = program,
                                 });
    }
}

static const char *autellix_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct autellix *a = st;
    uint32_t program = programs_of(&a->programs, &v->reqs[r]);
    if (program == PROGRAM_NONE || !reach(a, program, r)) {
        return policy_no_memory;
    }
    a->calls[r] = (struct autellix_call){program, 0, a->at[program].served_tok};
    req_fifo_push_back(&a->at[program].calls, &a->links, r);
    a->n_waiting++;
    place(a, v, program);
    return NULL;
}

static req_id autellix_next(void *st, const struct sched_view *v)
{
    (void)v;
    const struct autellix *a = st;
    uint32_t program = req_heap_top(&a->ready);
    return program == REQ_NONE ? REQ_NONE : a->at[program].calls.head;
}

static void autellix_drop(void *st, const struct sched_view *v, req_id r)
{
    struct autellix *a = st;
    uint32_t program = a->calls[r].program;
    req_fifo_remove(&a->at[program].calls, &a->links, r);
    a->n_waiting--;
    place(a, v, program);
}

static void autellix_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)cached_tok;
    autellix_drop(st, v, r);
}

static void count_service(struct autellix *a, const struct sched_view *v, req_id r)
{
    struct autellix_call *c = &a->calls[r];
    struct autellix_program *p = &a->at[c->program];
    uint32_t tok = v->reqs[r].prompt_tok + req_generated(v, &v->reqs[r]);
    if (a->rule == PLAS) {
        p->served_tok += tok - c->counted_tok;
        c->counted_tok = tok;
    } else if (c->began_tok + tok > p->served_tok) {
        p->served_tok = c->began_tok + tok;
    }
}

static void autellix_finish(void *st, const struct sched_view *v, req_id r)
{
    count_service(st, v, r);
    place(st, v, ((struct autellix *)st)->calls[r].program);
}

static void autellix_preempt(void *st, const struct sched_view *v, req_id r)
{
    struct autellix *a = st;
    uint32_t program = a->calls[r].program;
    if (req_generated(v, &v->reqs[r]) > 0) {
        count_service(a, v, r); /* else its prompt was not through */
    }
    req_fifo_push_front(&a->at[program].calls, &a->links, r);
    a->n_waiting++;
    place(a, v, program);
}

/* ---- pushing out ---- */

static uint64_t bucket_of(const struct autellix *a, uint64_t tok)
{
    return tok / (uint64_t)a->bucket_tok;
}

/* What the programs of running calls have had up to now. */
static void look_at_running(struct autellix *a, const struct sched_view *v)
{
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        struct autellix_program *p = &a->at[a->calls[r].program];
        p->reached_tok = p->served_tok;
        p->n_decoding = 0;
    }
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        const struct autellix_call *c = &a->calls[r];
        struct autellix_program *p = &a->at[c->program];
        uint32_t out = req_generated(v, &v->reqs[r]), tok = out > 0 ? v->reqs[r].prompt_tok + out : 0;
        if (a->rule == PLAS) {
            p->reached_tok += tok > c->counted_tok ? tok - c->counted_tok : 0;
        } else if (c->began_tok + tok > p->reached_tok) {
            p->reached_tok = c->began_tok + tok;
        }
        p->n_decoding += v->reqs[r].state == REQ_DECODING;
    }
}

/* A call of the running program with the most service, the last admitted of equals. */
static req_id autellix_displace(void *st, const struct sched_view *v, req_id waiting)
{
    struct autellix *a = st;
    uint32_t mine = a->calls[waiting].program;
    req_id worst = REQ_NONE;
    if (!a->preemptive) {
        return REQ_NONE;
    }
    a->at[mine].reached_tok = a->at[mine].served_tok;
    look_at_running(a, v);
    uint64_t most = bucket_of(a, a->at[mine].reached_tok) + 1;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        uint64_t bucket = bucket_of(a, a->at[a->calls[r].program].reached_tok);
        if (a->calls[r].program != mine && bucket >= most) {
            most = bucket;
            worst = r;
        }
    }
    return worst;
}

/* Service counts in the queue when a call ends; but a running program may grow beyond the bucket of the first
 * in the queue. */
static uint64_t autellix_horizon(void *st, const struct sched_view *v)
{
    struct autellix *a = st;
    uint64_t soonest = UINT64_MAX;
    if (!a->preemptive || a->ready.n == 0) {
        return soonest;
    }
    uint64_t limit = ((uint64_t)a->ready.items[0].key + 1) * (uint64_t)a->bucket_tok;
    look_at_running(a, v);
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        const struct autellix_program *p = &a->at[a->calls[r].program];
        uint64_t n = p->n_decoding; /* each may have a token more in every iteration */
        if (n > 0) {
            uint64_t k = p->reached_tok < limit ? (limit - p->reached_tok + n - 1) / n : 1;
            soonest = k < soonest ? k : soonest;
        }
    }
    return soonest;
}

static uint32_t autellix_waiting(const void *st)
{
    return ((const struct autellix *)st)->n_waiting;
}

const struct policy_ops policy_autellix = {
    .name = "autellix",
    .summary = "programs with the least attained service first (PLAS, ATLAS)",
    .source = "Luo et al., arXiv 2502.13965; buckets and ties as in JITServe's artifact",
    .abi = POLICY_ABI,
    .state_size = sizeof(struct autellix),
    .options = autellix_options,
    .release = autellix_release,
    .arrive = autellix_arrive,
    .next = autellix_next,
    .admit = autellix_admit,
    .finish = autellix_finish,
    .preempt = autellix_preempt,
    .drop = autellix_drop,
    .displace = autellix_displace,
    .horizon = autellix_horizon,
    .waiting = autellix_waiting,
};
