/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe's treatment of compound programs: patterns of past ones, sub-deadlines of stages, priorities that
 * the calls of a program share; and the options that switch its parts off. */
#include "policy_harness.h"

#include <unistd.h>

#include "policies/compound.h"
#include "policies/gmax.h"
#include "sim/run.h"

#define MS ((sim_ns)1000000)

/* ---- patterns ---- */

/* "10/20 30/40 | 50/60": two stages; an output of 0 is not known yet. */
static struct pattern pattern_from(const char *text)
{
    struct pattern p = {0};
    assert_true(pattern_add_stage(&p));
    while (*text) {
        unsigned in, out;
        int n;
        if (*text == '|') {
            assert_true(pattern_add_stage(&p));
            text++;
        } else if (sscanf(text, "%u/%u%n", &in, &out, &n) == 2) {
            assert_true(pattern_add_node(&p, in));
            p.nodes[p.n_nodes - 1].out_tok = out;
            p.stages[p.n_stages - 1].cost = out;
            text += n;
        } else {
            text++;
        }
    }
    return p;
}

static double similarity(const char *seen, const char *known, double spread)
{
    struct pattern a = pattern_from(seen), b = pattern_from(known);
    double s = pattern_similarity(&a, &b, spread);
    pattern_release(&a);
    pattern_release(&b);
    return s;
}

static void near(double got, double want)
{
    if (fabs(got - want) > 1e-12) {
        fail_msg("%.15g, not %.15g", got, want);
    }
}

/* sim(node) = 0.3 exp(-din^2/2) + 0.7 exp(-dout^2/2), spread 1. */
static void test_node_similarity(void **state)
{
    (void)state;
    near(similarity("10/20", "10/20", 1), 1);
    near(similarity("10/20", "11/20", 1), 0.3 * exp(-0.5) + 0.7);
    near(similarity("10/20", "10/22", 1), 0.3 + 0.7 * exp(-2));
    near(similarity("10/20", "13/24", 2), 0.3 * exp(-9 / 8.0) + 0.7 * exp(-2));
    near(similarity("10/0", "10/20", 1), 0.3); /* not answered yet */
}

/* Nodes are assigned for the best sum, not in their order; stages add up. */
static void test_stage_similarity(void **state)
{
    (void)state;
    near(similarity("10/20 50/60", "50/60 10/20", 1), 2);
    near(similarity("10/20 | 5/6", "10/20 | 5/6 | 7/8", 1), 2);
    /* greedy would give 10/20 its twin and leave 11/20 with nothing; so does the best here */
    near(similarity("11/20 10/20", "10/20 900/900", 1), 1);
    /* shapes differ: fewer stages, or nodes of a stage; but the last one seen may still fill */
    assert_true(similarity("1/2 | 3/4", "1/2", 1) < 0);
    assert_true(similarity("1/2 | 3/4", "1/2 1/2 | 3/4", 1) < 0);
    assert_true(similarity("1/2 1/2", "1/2 | 3/4", 1) < 0);
    near(similarity("1/2", "1/2 900/900", 1), 1);
}

/* The best of all assignments, tried one by one. */
static double best_of(const struct pattern *a, const struct pattern *b, uint32_t row, unsigned taken,
                      double spread)
{
    double best = 0;
    for (uint32_t j = 0; row < a->n_nodes && j < b->n_nodes; j++) {
        double din = (double)a->nodes[row].in_tok - b->nodes[j].in_tok;
        double dout = (double)a->nodes[row].out_tok - b->nodes[j].out_tok;
        double s = 0.3 * exp(-din * din / (2 * spread * spread)) +
                   0.7 * exp(-dout * dout / (2 * spread * spread));
        if (!(taken >> j & 1)) {
            best = fmax(best, s + best_of(a, b, row + 1, taken | 1u << j, spread));
        }
    }
    return best;
}

static void test_assignment_random(void **state)
{
    (void)state;
    struct rng_stream s = rng_stream(3, 0, "patterns");
    for (uint64_t i = 0; i < 500; i++) {
        struct pattern a = {0}, b = {0};
        uint32_t m = (uint32_t)rng_range(s, i, 0, 1, 6), n = (uint32_t)rng_range(s, i, 1, 1, m);
        assert_true(pattern_add_stage(&a) && pattern_add_stage(&b));
        for (uint32_t k = 0; k < m; k++) {
            assert_true(pattern_add_node(&b, (uint32_t)rng_range(s, i, 10 + k, 1, 6)));
            b.nodes[k].out_tok = (uint32_t)rng_range(s, i, 20 + k, 1, 6);
        }
        for (uint32_t k = 0; k < n; k++) {
            assert_true(pattern_add_node(&a, (uint32_t)rng_range(s, i, 30 + k, 1, 6)));
            a.nodes[k].out_tok = (uint32_t)rng_range(s, i, 40 + k, 1, 6);
        }
        near(pattern_similarity(&a, &b, 1.5), best_of(&a, &b, 0, 0, 1.5));
        pattern_release(&a);
        pattern_release(&b);
    }
}

/* Costs 10, 30, 60: a tenth, four tenths, all. */
static void test_shares(void **state)
{
    (void)state;
    struct pattern p = pattern_from("1/10 | 1/30 | 1/60"), tree = pattern_from("1/1 1/1 1/1");
    near(pattern_share(&p, 0), 0.1);
    near(pattern_share(&p, 1), 0.4);
    near(pattern_share(&p, 2), 1);
    near(pattern_share(&p, 3), 1);
    near(pattern_default_share(&p, 0), 1 / 6.0); /* deep research: six stages */
    near(pattern_default_share(&p, 7), 1);
    near(pattern_default_share(&tree, 1), 0.5);  /* tree of thought: four */
    pattern_release(&p);
    pattern_release(&tree);
}

static void test_store(void **state)
{
    (void)state;
    static const char *const all[] = {"1/9", "5/5 | 6/6", "5/5 | 7/7", "8/8 8/8"};
    struct pattern_store s;
    struct pattern one = pattern_from("5/0"), two = pattern_from("8/0 8/0");
    assert_true(pattern_store_init(&s, 3));
    assert_int_equal(pattern_store_match(&s, &one, 1), PATTERN_NONE);
    for (size_t i = 0; i < 4; i++) {
        struct pattern p = pattern_from(all[i]);
        pattern_store_add(&s, &p);
    }
    assert_int_equal(s.n, 3); /* the first is gone */
    uint32_t m = pattern_store_match(&s, &one, 1);
    assert_int_equal(s.at[m].nodes[1].in_tok, 7); /* of equals the later */
    m = pattern_store_match(&s, &two, 1);
    assert_int_equal(s.at[m].nodes[0].in_tok, 8);
    pattern_release(&one);
    pattern_release(&two);
    pattern_store_release(&s);
}

/* ---- programs ---- */

static struct req call_of(uint64_t session, uint32_t turn, uint32_t in, sim_ns began)
{
    return (struct req){.slo_class = SLO_COMPOUND, .session = session, .turn = turn, .prompt_tok = in,
                        .e2e_slo_ms = 10000, .began_ns = began, .arrival_ns = began};
}

/* One program of a chain whose stages take 1, 2 and 5 s, with tool gaps of 1 s; then another one. */
static void test_sub_deadlines(void **state)
{
    (void)state;
    static const sim_ns from_s[] = {0, 2, 5}, until_s[] = {1, 4, 10};
    struct compound c, settings = {.stages = COMPOUND_ONLINE, .spread_tok = 1, .ended_after = 60000 * MS};
    struct req q;
    assert_true(compound_init(&c, &settings, 5) && compound_reach(&c, 3));
    for (uint32_t i = 0; i < 3; i++) {
        q = call_of(1, i, 100, 0);
        assert_true(compound_arrive(&c, &q, 0, from_s[i] * 1000 * MS));
        /* nothing is known: six stages that cost alike */
        assert_true(llabs(compound_due_ns(&c, &q, 0) - 10000 * MS * (i + 1) / 6) < 100);
        compound_admit(&c, 0, from_s[i] * 1000 * MS);
        compound_leave(&c, 0, 50, until_s[i] * 1000 * MS);
    }
    q = call_of(2, 0, 100, 69000 * MS); /* 59 s after: the first may still go on */
    assert_true(compound_arrive(&c, &q, 1, 69000 * MS));
    assert_int_equal(c.known.n, 0);
    q = call_of(3, 0, 100, 70000 * MS); /* a minute: it is known, stages of 1/8, 3/8, 8/8 */
    assert_true(compound_arrive(&c, &q, 2, 70000 * MS));
    assert_int_equal(c.known.n, 1);
    /* a chain takes the larger one of 1/8 and 1/6, then of 3/8 and 2/6 */
    assert_true(llabs(compound_due_ns(&c, &q, 2) - (70000 * MS + 10000 * MS / 6)) < 100);
    compound_admit(&c, 2, 70000 * MS);
    compound_leave(&c, 2, 50, 71000 * MS);
    q = call_of(3, 1, 100, 70000 * MS);
    assert_true(compound_arrive(&c, &q, 2, 72000 * MS));
    assert_true(llabs(compound_due_ns(&c, &q, 2) - 73750 * MS) < 100);
    compound_release(&c);
}

/* Two calls side by side, so no chain: the share is the pattern's, of the longest answers (30, 90). */
static void test_parallel_stage(void **state)
{
    (void)state;
    struct compound c, settings = {.stages = COMPOUND_ONLINE, .cost = COMPOUND_OUTPUT, .spread_tok = 1,
                                   .ended_after = 1 * MS};
    struct req a = call_of(1, 0, 7, 0), b = call_of(1, 0, 9, 0), last = call_of(1, 1, 3, 0);
    assert_true(compound_init(&c, &settings, 5) && compound_reach(&c, 3));
    assert_true(compound_arrive(&c, &a, 0, 0) && compound_arrive(&c, &b, 1, 0));
    compound_leave(&c, 0, 30, 4 * MS);
    compound_leave(&c, 1, 20, 6 * MS);
    assert_true(compound_arrive(&c, &last, 0, 6 * MS));
    compound_leave(&c, 0, 90, 8 * MS);
    a = call_of(2, 0, 7, 10 * MS);
    b = call_of(2, 0, 9, 10 * MS);
    assert_true(compound_arrive(&c, &a, 0, 10 * MS) && compound_arrive(&c, &b, 1, 10 * MS));
    assert_int_equal(c.known.n, 1);
    assert_true(llabs(compound_due_ns(&c, &b, 1) - (10 * MS + 2500 * MS)) < 100); /* 30 of 120 */
    compound_release(&c);
}

/* ---- the policy ---- */

#define JIT "jitserve{predictor=oracle, iteration_time=20ms, batch=2, frame=1000, "

static struct h_req call(uint64_t session, uint32_t prompt, uint32_t output, float e2e_ms)
{
    return (struct h_req){.prompt = prompt, .output = output, .class = SLO_COMPOUND, .session = session,
                          .e2e_ms = e2e_ms};
}

static void expect_order(struct harness *h, const char *serials)
{
    for (size_t i = 0; serials[i]; i++) {
        req_id r = h_next(h);
        assert_int_not_equal(r, REQ_NONE);
        if (h->reqs[r].serial != (uint64_t)(serials[i] - '0')) {
            fail_msg("run %zu is request %u, not %c", i, (unsigned)h->reqs[r].serial, serials[i]);
        }
        h_serve(h);
    }
}

/* Program 1: calls of (100 + 80) and (100 + 800) goodput, 0.2 and 2 s: together 1080/2 = 540 a second. The
 * single one: (100 + 400)/1 = 500. Alone, the first call would come to 900 and the second to 450. */
static void test_shared_priority(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, JIT "stages=off}");
    h_arrive(&h, (struct h_req){.prompt = 100, .output = 50, .class = SLO_DEADLINE, .e2e_ms = 9000});
    h_arrive(&h, call(1, 100, 10, 9000));
    h_arrive(&h, call(1, 100, 100, 9000));
    expect_order(&h, "120");
    h_close(&h);
}

/* A call of 2 s is due with its stage at 6000/6 = 1 s: half its goodput of 900 counts, 225 a second against
 * the other's 430/1.25 = 344. With stages=off it is in time, 450. A deadline counts from the program's
 * beginning: a program that began 5 s ago is lost. */
static void test_stage_counts(void **state)
{
    (void)state;
    static const char *const specs[] = {JIT "stages=static}", JIT "stages=off}", JIT "stages=online}",
                                        JIT "stages=static, penalty=0}"};
    for (size_t i = 0; i < 4; i++) {
        struct harness h;
        h_open(&h, specs[i]);
        h.v.now_ns = 5000000000;
        struct h_req lost = call(2, 100, 100, 6000), fresh = call(1, 100, 100, 6000);
        lost.at_s = fresh.at_s = fresh.began_s = 5;
        h_arrive(&h, lost);
        h_arrive(&h, fresh);
        h_arrive(&h, (struct h_req){.prompt = 30, .output = 50, .at_s = 5, .e2e_ms = 9000,
                                    .class = SLO_DEADLINE});
        expect_order(&h, i == 0 || i == 2 ? "210" : "120"); /* 30 + 400 in 1 s: 430 a second */
        h_close(&h);
    }
}

/* Goodput per second: 900, 450, 2400 as in the order of deadlines 3, 2, 1 s. */
static void test_select(void **state)
{
    (void)state;
    static const char *const specs[] = {JIT "select=priority}", JIT "select=deadline}"};
    for (size_t i = 0; i < 2; i++) {
        struct harness h;
        h_open(&h, specs[i]);
        h_arrive(&h, (struct h_req){.prompt = 100, .output = 10, .e2e_ms = 3000});
        h_arrive(&h, (struct h_req){.prompt = 100, .output = 100, .e2e_ms = 2500});
        h_arrive(&h, (struct h_req){.prompt = 400, .output = 10, .e2e_ms = 2700});
        expect_order(&h, i == 0 ? "201" : "120");
        h_close(&h);
    }
}

/* The vector of serving.md section 21 without windows: the two best, whatever their lengths; and of equals
 * the older. */
static void test_select_top(void **state)
{
    (void)state;
    struct gmax_item it[] = {{100, 100, 0, 0, 0}, {98, 1000, 1, 1, 0}, {97, 110, 2, 2, 0},
                             {96, 990, 3, 3, 0},  {98, 105, 4, 4, 0},  {-10, 10, 5, 5, 0}};
    gmax_select_top(it, 6, 2);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(it[i].selected, it[i].id < 2);
    }
    gmax_select_top(it, 6, 9);
    for (size_t i = 0; i < 6; i++) {
        assert_true(it[i].selected);
    }
}

/* ---- the whole of it ---- */

static double attainment(const char *policy, uint32_t programs)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct run_hooks hooks = {.ctx = NULL};
    struct run_result r;
    struct err e = {0};
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = arena_printf(&a, "synth:programs{programs=%u,rate=3.5,levels=2,mix=1;1;1}", programs);
    c.load_sessions = true;
    c.cost = "linear{set=a10g-slora}";
    c.batcher = "vllm-v1";
    c.kv_tokens = 30000;
    c.policy = policy;
    c.check = true;
    if (run_execute(&c, &hooks, &r, &a, &e) < 0) {
        fail_msg("%s: %s", policy, e.msg);
    }
    const struct metric *m = run_metric(&r, "slo_attainment_compound");
    assert_non_null(m);
    double good = m->value;
    arena_release(&a);
    return good;
}

/* The engine tells it of programs: their calls have one deadline, and under load it meets more than FCFS. */
static void test_engine(void **state)
{
    (void)state;
    double fcfs = attainment("fcfs", 150), jit = attainment("check(jitserve)", 150);
    assert_true(fcfs < 0.9 && jit > fcfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node_similarity),  cmocka_unit_test(test_stage_similarity),
        cmocka_unit_test(test_assignment_random), cmocka_unit_test(test_shares),
        cmocka_unit_test(test_store),            cmocka_unit_test(test_sub_deadlines),
        cmocka_unit_test(test_parallel_stage),   cmocka_unit_test(test_shared_priority),
        cmocka_unit_test(test_stage_counts),     cmocka_unit_test(test_select),
        cmocka_unit_test(test_select_top),       cmocka_unit_test(test_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
