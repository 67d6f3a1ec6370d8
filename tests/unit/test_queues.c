/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine as textbook queues. vLLM V1 with n slots, a cost of d per step whatever is in it and
 * requests of q output tokens is a queue with n servers and a service time of q*d: an arrival at an
 * idle engine starts at once, and a slot that becomes free is taken at the same moment. What the steps
 * add: service times are whole steps (moments below are the discrete ones), and with more than one
 * server an arrival waits for the end of the step under way, half a step of a thousand.
 *
 * Random queues are compared at 99 % confidence over independent replications with a fixed seed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <gsl/gsl_cdf.h>

#include "policies/open.h"
#include "sim/core/rng.h"
#include "sim/engine/engine.h"

#define STEP_NS 1000000 /* 1 ms */

/* ---- one run of the engine on arrivals in memory ---- */

struct job {
    sim_ns arrival, admit, first, finish;
    uint32_t prompt, output;
    int32_t priority;
};

struct queue_run {
    struct job *job;
    size_t n, next;
    const char *policy, *batcher, *cost;
    bool no_skip;
    sim_ns sample_ns;
    double sampled;
    uint64_t samples;
    struct engine e;
};

static int arrivals(void *ctx, struct arrival *a, struct err *e)
{
    struct queue_run *q = ctx;
    const struct job *j = &q->job[q->next];

    (void)e;
    if (q->next == q->n) {
        return 0;
    }
    *a = (struct arrival){.time_ns = j->arrival, .prompt_tok = j->prompt, .output_tok = j->output,
                          .priority = j->priority};
    q->next++;
    return 1;
}

static int left(void *o, const struct req *r, const struct live *l, bool rejected, const char *why,
                struct err *e)
{
    struct queue_run *q = o;
    struct job *j = &q->job[r->serial];

    (void)e;
    assert_false(rejected);
    assert_null(why);
    j->admit = l->admit_ns;
    j->first = r->first_token_ns;
    j->finish = q->e.now;
    return 0;
}

static void sample(void *o, sim_ns at)
{
    struct queue_run *q = o;

    (void)at;
    q->sampled += q->e.n_running + q->e.n_waiting;
    q->samples++;
}

static uint32_t truth_output(const void *engine, req_id r)
{
    return live_of(engine, r)->output_tok;
}

static void must(int rc, const struct err *e)
{
    if (rc < 0) {
        fail_msg("%s", e->msg);
    }
}

static void queue_execute(struct queue_run *q)
{
    struct arena a = {0};
    struct err e = {0};
    struct policy_env env = {.arena = &a, .engine = &q->e};
    struct policy_instance policy;
    struct batcher_traits traits = {.block_tok = 1};
    struct batcher_env benv = {.arena = &a, .traits = &traits};
    struct cost_env cenv = {.arena = &a, .tp = 1};
    const struct batcher_ops *batcher = batcher_find("vllm-v1");
    const struct cost_ops *cost = cost_find("linear");
    void *bst = arena_alloc(&a, batcher->state_size), *cst = arena_alloc(&a, cost->state_size);
    struct engine_config c = {
        .kv = {.blocks = 1 << 24, .block_tok = 16},
        .cost = cost, .cost_state = cst, .batcher = batcher, .batcher_state = bst,
        .skip = !q->no_skip, .batcher_name = "vllm-v1", .policy_name = q->policy,
        .arrivals = arrivals, .arrivals_ctx = q,
        .obs = {.left = left, .sample = sample, .tick_ns = q->sample_ns, .o = q},
    };

    must(opt_spec_apply(q->batcher, batcher->options, bst, &a, &e), &e);
    must(batcher->init(bst, &benv, &e), &e);
    must(opt_spec_apply(q->cost, cost->options, cst, &a, &e), &e);
    must(cost->init(cst, &cenv, &e), &e);
    must(policy_open(q->policy, &env, &policy, &e), &e);
    env.truth_output = truth_output;
    c.policy = policy.ops;
    c.policy_state = policy.st;
    c.traits = traits;
    must(engine_init(&q->e, &c, &a, &e), &e);
    must(engine_run(&q->e, &e), &e);
    assert_int_equal(q->e.n.finished, q->n);
    engine_release(&q->e);
    if (policy.ops->release) {
        policy.ops->release(policy.st);
    }
    arena_release(&a);
}

/* ---- random jobs ---- */

enum law { LAW_GEOMETRIC, LAW_CONSTANT, LAW_TWO };

struct queue_case {
    const char *name;
    const char *policy, *batcher;
    enum law law;
    double mean_steps; /* LAW_TWO: SHORT steps, or LONG with probability P_LONG */
    double load;       /* arrival rate * mean service / servers */
    int servers;
};

#define SHORT_STEPS 50
#define LONG_STEPS  1000
#define P_LONG      0.1
#define REPS        20
#define JOBS        6000
#define WARMUP      1000

static uint32_t draw_output(const struct queue_case *c, double u)
{
    switch (c->law) {
    case LAW_GEOMETRIC: /* inverse CDF on 1, 2, ... with mean m */
        return 1 + (uint32_t)floor(log(u) / log1p(-1 / c->mean_steps));
    case LAW_TWO:
        return u < P_LONG ? LONG_STEPS : SHORT_STEPS;
    case LAW_CONSTANT:
        break;
    }
    return (uint32_t)c->mean_steps;
}

static double mean_steps(const struct queue_case *c)
{
    return c->law == LAW_TWO ? P_LONG * LONG_STEPS + (1 - P_LONG) * SHORT_STEPS : c->mean_steps;
}

static double mean_square(const struct queue_case *c)
{
    double m = c->mean_steps;

    switch (c->law) {
    case LAW_GEOMETRIC:
        return 2 * m * m - m;
    case LAW_TWO:
        return P_LONG * LONG_STEPS * (double)LONG_STEPS + (1 - P_LONG) * SHORT_STEPS * SHORT_STEPS;
    case LAW_CONSTANT:
        break;
    }
    return m * m;
}

static void draw_jobs(const struct queue_case *c, struct job *job, size_t n, uint32_t rep)
{
    struct rng_stream s = rng_stream(7, rep, c->name);
    double gap = mean_steps(c) * STEP_NS / (c->load * c->servers), t = 0;

    for (size_t i = 0; i < n; i++) {
        t += -gap * log(rng_uniform(s, i, 0));
        job[i] = (struct job){.arrival = (sim_ns)t, .prompt = 10,
                              .output = draw_output(c, rng_uniform(s, i, 1))};
        job[i].priority = job[i].output == LONG_STEPS;
    }
}

static struct queue_run run_case(const struct queue_case *c, struct job *job, size_t n, uint32_t rep)
{
    struct queue_run q = {.job = job, .n = n, .policy = c->policy, .batcher = c->batcher,
                          .cost = "linear{set=custom,prefill_a=1,decode_a=1}"};

    draw_jobs(c, job, n, rep);
    queue_execute(&q);
    return q;
}

/* Mean wait in steps of the jobs after the warm-up; `kind` -1 = all, else of that priority. */
static double mean_wait(const struct job *job, size_t n, int kind)
{
    double sum = 0;
    size_t of = 0;

    for (size_t i = WARMUP; i < n; i++) {
        if (kind < 0 || job[i].priority == kind) {
            sum += (double)(job[i].admit - job[i].arrival) / STEP_NS;
            of++;
        }
    }
    return sum / (double)of;
}

static void expect_within(const char *what, const double *x, double expected, double allowance)
{
    double mean = 0, var = 0, half;

    for (int i = 0; i < REPS; i++) {
        mean += x[i] / REPS;
    }
    for (int i = 0; i < REPS; i++) {
        var += (x[i] - mean) * (x[i] - mean) / (REPS - 1);
    }
    half = gsl_cdf_tdist_Pinv(0.995, REPS - 1) * sqrt(var / REPS);
    assert_true(half < 0.15 * expected); /* the interval says something */
    if (fabs(mean - expected) > half + allowance) {
        fail_msg("%s: mean wait %.4g steps +- %.2g, closed form %.4g", what, mean, half, expected);
    }
}

static void expect_wait(const struct queue_case *c, int kind, double expected, double allowance)
{
    struct job *job = calloc(JOBS, sizeof(*job));
    double x[REPS];

    assert_non_null(job);
    for (uint32_t rep = 0; rep < REPS; rep++) {
        run_case(c, job, JOBS, rep);
        x[rep] = mean_wait(job, JOBS, kind);
    }
    expect_within(c->name, x, expected, allowance);
    free(job);
}

/* Pollaczek-Khinchine: mean wait = lambda E[S^2] / (2 (1 - rho)), in steps. */
static double residual(const struct queue_case *c)
{
    return c->load / mean_steps(c) * mean_square(c) / 2;
}

static double pollaczek_khinchine(const struct queue_case *c)
{
    return residual(c) / (1 - c->load);
}

#define ONE_SLOT "vllm-v1{version=0.13,max_num_seqs=1}"

static void test_mm1(void **state)
{
    static const struct queue_case c = {"M/M/1", "fcfs", ONE_SLOT, LAW_GEOMETRIC, 1000, 0.6, 1};

    (void)state;
    /* rho/(mu - lambda), but for the discrete service time: one part in 2000. */
    assert_true(fabs(pollaczek_khinchine(&c) / (0.6 / (1 - 0.6) * 1000) - 1) < 0.001);
    expect_wait(&c, -1, pollaczek_khinchine(&c), 0);
}

static void test_md1(void **state)
{
    static const struct queue_case c = {"M/D/1", "fcfs", ONE_SLOT, LAW_CONSTANT, 100, 0.7, 1};

    (void)state;
    expect_wait(&c, -1, 0.7 / (2 * (1 - 0.7)) * 100, 0);
}

static void test_mg1(void **state)
{
    static const struct queue_case c = {"M/G/1", "fcfs", ONE_SLOT, LAW_TWO, 0, 0.5, 1};

    (void)state;
    expect_wait(&c, -1, pollaczek_khinchine(&c), 0);
}

/* Erlang C. */
static double mmk_wait(const struct queue_case *c)
{
    double a = c->load * c->servers, term = 1, sum = 0, last;

    for (int k = 0; k < c->servers; k++) {
        sum += term;
        term *= a / (k + 1);
    }
    last = term / (1 - c->load);
    return last / (sum + last) * c->mean_steps / (c->servers * (1 - c->load));
}

static void test_mmk(void **state)
{
    static const struct queue_case c = {
        "M/M/4", "fcfs", "vllm-v1{version=0.13,max_num_seqs=4}", LAW_GEOMETRIC, 1000, 0.7, 4};

    (void)state;
    /* An arrival during a step waits for its end: at most one step, half of one on average. */
    expect_wait(&c, -1, mmk_wait(&c) + 0.5, 0.5);
}

/* Cobham: two classes without interruption, W_k = R / ((1 - s_{k-1}) (1 - s_k)). */
static void expect_cobham(const char *name, const char *policy)
{
    const struct queue_case c = {name, policy, ONE_SLOT, LAW_TWO, 0, 0.6, 1};
    double s1 = c.load * (1 - P_LONG) * SHORT_STEPS / mean_steps(&c);

    expect_wait(&c, 0, residual(&c) / (1 - s1), 0);
    expect_wait(&c, 1, residual(&c) / ((1 - s1) * (1 - c.load)), 0);
}

static void test_priority(void **state)
{
    (void)state;
    expect_cobham("M/G/1 with priorities", "priority");
    expect_cobham("M/G/1 shortest first", "sjf");
}

/* ---- exact ---- */

/* Lindley: the wait of job i+1 is what is left of the wait and service of job i. */
static void test_lindley(void **state)
{
    static const struct queue_case c = {"Lindley", "fcfs", ONE_SLOT, LAW_GEOMETRIC, 40, 0.9, 1};
    struct job *job = calloc(JOBS, sizeof(*job));
    sim_ns free_at = 0;

    (void)state;
    assert_non_null(job);
    run_case(&c, job, JOBS, 0);
    for (size_t i = 0; i < JOBS; i++) {
        sim_ns start = job[i].arrival > free_at ? job[i].arrival : free_at;

        assert_int_equal(job[i].admit, start);
        assert_int_equal(job[i].first, start + STEP_NS);
        free_at = start + (sim_ns)job[i].output * STEP_NS;
        assert_int_equal(job[i].finish, free_at);
    }
    free(job);
}

/* k servers whose steps share one clock: a brute-force walk over slots, step by step. */
static void test_slots(void **state)
{
    static const struct queue_case c = {
        "slots", "fcfs", "vllm-v1{version=0.13,max_num_seqs=3}", LAW_GEOMETRIC, 20, 0.8, 3};
    size_t n = 1500, in = 0;
    struct job *job = calloc(n, sizeof(*job));
    uint32_t left_tok[3] = {0};
    size_t who[3];
    sim_ns now;

    (void)state;
    assert_non_null(job);
    run_case(&c, job, n, 0);
    now = job[0].arrival;
    for (int busy = 1; in < n || busy;) {
        for (int k = 0; k < 3; k++) {
            if (left_tok[k] == 0 && in < n && job[in].arrival <= now) {
                assert_int_equal(job[in].admit, now);
                who[k] = in;
                left_tok[k] = job[in++].output;
            }
        }
        now += STEP_NS;
        busy = 0;
        for (int k = 0; k < 3; k++) {
            if (left_tok[k] > 0 && --left_tok[k] == 0) {
                assert_int_equal(job[who[k]].finish, now);
            }
            busy += left_tok[k] > 0;
        }
        if (!busy && in < n && job[in].arrival > now) {
            now = job[in].arrival;
        }
    }
    free(job);
}

/* D/D/1: with room to spare nobody waits; with too little the wait grows by S - T per job. */
static void test_dd1(void **state)
{
    static const int gap_steps[] = {12, 10, 7};

    (void)state;
    for (size_t c = 0; c < 3; c++) {
        struct job job[50];
        struct queue_run q = {.job = job, .n = 50, .policy = "fcfs", .batcher = ONE_SLOT,
                              .cost = "linear{set=custom,prefill_a=1,decode_a=1}"};

        for (int i = 0; i < 50; i++) {
            job[i] = (struct job){.arrival = (sim_ns)i * gap_steps[c] * STEP_NS, .prompt = 3, .output = 10};
        }
        queue_execute(&q);
        for (int i = 0; i < 50; i++) {
            int late = gap_steps[c] < 10 ? 10 - gap_steps[c] : 0;

            assert_int_equal(job[i].admit - job[i].arrival, (sim_ns)i * late * STEP_NS);
        }
    }
}

/* Batches by hand. Two slots; prefill 10 ms + 0.1 ms a token, decode 5 ms + 1 ms a sequence.
 *  0..25  A and B prefill, 150 tokens          both have 1 token
 * 25..32  A and B decode                       B ends with 2
 * 32..44  A decodes, C prefills: 10 + 1 + 1    A ends with 3, C with 1
 * 44..    D arrived at 40: 10 + 2 = 12 -> 56, then 6 alone -> 62 */
static void test_batch_by_hand(void **state)
{
    struct job job[] = {
        {.arrival = 0, .prompt = 100, .output = 3},
        {.arrival = 0, .prompt = 50, .output = 2},
        {.arrival = 0, .prompt = 10, .output = 1},
        {.arrival = 40 * STEP_NS, .prompt = 20, .output = 2},
    };
    static const sim_ns want[4][3] = {{0, 25, 44}, {0, 25, 32}, {32, 44, 44}, {44, 56, 62}};

    (void)state;
    for (int no_skip = 0; no_skip < 2; no_skip++) {
        struct queue_run q = {
            .job = job, .n = 4, .policy = "fcfs", .no_skip = no_skip,
            .batcher = "vllm-v1{version=0.13,max_num_seqs=2}",
            .cost = "linear{set=custom,prefill_a=10,prefill_b=0.1,decode_a=5,decode_c=1}"};

        queue_execute(&q);
        for (int i = 0; i < 4; i++) {
            /* coefficients are whole ticks: the last nanosecond is theirs */
            assert_in_range(job[i].admit + 2 - want[i][0] * STEP_NS, 0, 4);
            assert_in_range(job[i].first + 2 - want[i][1] * STEP_NS, 0, 4);
            assert_in_range(job[i].finish + 2 - want[i][2] * STEP_NS, 0, 4);
        }
    }
}

/* Asynchronous scheduling (engines.md 7, vector 7): at an idle engine the outputs come after 1, 2, 3
 * and 4 steps as without it; an arrival during a decode starts one step later than without it, for the
 * step after the present one is planned already. */
static void test_async(void **state)
{
    static const char *const batcher[] = {"vllm-v1{version=0.13}", "vllm-v1{version=0.14}"};
    static const sim_ns admit[2] = {21, 21}, first[2] = {22, 23};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct job job[] = {
            {.arrival = 0, .prompt = 10, .output = 4},
            {.arrival = 10 * STEP_NS, .prompt = 10, .output = 100},
            {.arrival = 10 * STEP_NS + 10 * STEP_NS + STEP_NS / 2, .prompt = 10, .output = 5},
        };
        struct queue_run q = {.job = job, .n = 3, .policy = "fcfs", .batcher = batcher[i],
                              .cost = "linear{set=custom,prefill_a=1,decode_a=1}"};

        queue_execute(&q);
        assert_int_equal(job[0].first, 1 * STEP_NS);
        assert_int_equal(job[0].finish, 4 * STEP_NS);
        assert_int_equal(job[2].admit, admit[i] * STEP_NS);
        assert_int_equal(job[2].first, first[i] * STEP_NS);
        assert_int_equal(job[2].finish, (first[i] + 4) * STEP_NS);
    }
}

/* Little: mean number in the system, seen at regular moments, is the rate times the mean stay. */
static void test_little(void **state)
{
    static const struct queue_case c = {
        "Little", "fcfs", "vllm-v1{version=0.13,max_num_seqs=4}", LAW_GEOMETRIC, 200, 0.8, 4};
    size_t n = 5000;
    struct job *job = calloc(n, sizeof(*job));
    struct queue_run q = {.job = job, .n = n, .policy = c.policy, .batcher = c.batcher,
                          .cost = "linear{set=custom,prefill_a=1,decode_a=1}", .sample_ns = 7 * STEP_NS};
    double stay = 0, end = 0;

    (void)state;
    assert_non_null(job);
    draw_jobs(&c, job, n, 0);
    queue_execute(&q);
    for (size_t i = 0; i < n; i++) {
        stay += (double)(job[i].finish - job[i].arrival);
        end = fmax(end, (double)job[i].finish);
    }
    assert_true(q.samples > 10000);
    /* Sampled at step ends: an arrival is missed for half a step on average, 0.2 % of its stay. */
    assert_true(fabs(q.sampled / (double)q.samples / (stay / end) - 1) < 0.005);
    free(job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dd1),     cmocka_unit_test(test_batch_by_hand),
        cmocka_unit_test(test_async),   cmocka_unit_test(test_lindley),
        cmocka_unit_test(test_slots),   cmocka_unit_test(test_mm1),
        cmocka_unit_test(test_md1),     cmocka_unit_test(test_mg1),
        cmocka_unit_test(test_mmk),     cmocka_unit_test(test_priority),
        cmocka_unit_test(test_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
