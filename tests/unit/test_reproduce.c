/* SPDX-License-Identifier: Apache-2.0
 *
 * Fairness of service against numbers worked out by hand, and, where the recorded runs of the VTC artifact
 * are at hand, against its published tables. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/cli/reproduce/reproduce.h"
#include "sim/results/fairness.h"
#include "traces/trace.h"

static void near(double a, double b)
{
    assert_true(fabs(a - b) < 1e-6 * fmax(1, fabs(b)));
}

/* Client 0 costs 600 over [40, 100], client 1 300 over [200, 260], client 2 60 over [60, 120]; client 1 has
 * a second request that was rejected at 605. */
static const struct compare_row rows[] = {
    {2, 10, 25, 20, {NAN, 40}, {NAN, 100}},
    {0, 100, 250, 30, {NAN, 10}, {NAN, 70}},
    {1, 60, 120, 50, {NAN, 150}, {NAN, 210}},
    {1, 500, 500, 605, {NAN, NAN}, {NAN, NAN}},
};

static const struct fairness by_hand = {rows, 4, 3, SIMULATED, FAIRNESS_LINEAR};

static void test_cost(void **state)
{
    (void)state;
    near(fairness_cost(FAIRNESS_LINEAR, 256, 256), 768);
    /* 53.76484 + 25.79301 + 261.27892 + 212.81702 + 1.14601 */
    assert_true(fabs(fairness_cost(FAIRNESS_PROFILED, 256, 256) - 554.7998) < 1e-3);
}

static void test_windows(void **state)
{
    (void)state;
    near(fairness_service(&by_hand, 0, 28.5, 88.5), 600 * 48.5 / 60);
    near(fairness_service(&by_hand, 0, 0, 40), 0);
    near(fairness_service(&by_hand, 2, 0, 1000), 60);
    near(fairness_demand(&by_hand, 1, 50, 110), 300);
    near(fairness_demand(&by_hand, 1, 50.001, 110), 0);
    near(fairness_demand(&by_hand, 1, 600, 660), 0); /* rejected: no demand */
}

/* Window 1 [28.5, 88.5]: service 8.08333, 0 and 0.475, demand 10, 5 and 0 per second, so
 * min(8.08, 5) + min(7.61, 0.475) = 5.475. Window 2: 0.95; window 3: 0.575; in the others the one client
 * with service sets the maximum itself. */
static void test_table(void **state)
{
    (void)state;
    struct fairness_table t = fairness_table(&by_hand);
    double mean = 7.0 / 19;

    near(t.max, 5.475);
    near(t.mean, mean);
    near(t.var, (5.475 * 5.475 + 0.95 * 0.95 + 0.575 * 0.575) / 19 - mean * mean);
}

static void test_gaps(void **state)
{
    (void)state;
    near(fairness_gap(&by_hand, 100, 1), 600);
    near(fairness_gap(&by_hand, 100, 110), 40); /* client 0's request ends before 110 */
    near(fairness_horizon(&by_hand), 600);
    struct fairness_gaps g = fairness_gaps(&by_hand, 4, 1); /* at 150, 300, 450: 600, 540, 540 */
    near(g.max, 600);
    near(g.mean, 560);
}

static void test_totals(void **state)
{
    (void)state;
    near(fairness_response(&by_hand, 0, 40, 41), 10);
    assert_true(isnan(fairness_response(&by_hand, 0, 41, 1000)));
    near(fairness_response(&by_hand, 1, 0, INFINITY), 150);
    near(fairness_total_s(&by_hand), 260);
    near(fairness_throughput(&by_hand), (350.0 + 180 + 35) / 260);
    assert_int_equal(fairness_unserved(&by_hand), 1);
}

/* One output token: all of the service at one moment. */
static void test_one_token(void **state)
{
    (void)state;
    const struct compare_row one = {0, 7, 1, 5, {NAN, 2}, {NAN, 2}};
    const struct fairness f = {&one, 1, 1, SIMULATED, FAIRNESS_LINEAR};

    near(fairness_service(&f, 0, 7, 8), 9);
    near(fairness_service(&f, 0, 6, 7), 0);
}

/* ---- verdicts ---- */

static void test_verdicts(void **state)
{
    (void)state;
    struct repro p = {.id = "x"};
    struct err e = {0};
    struct repro_estimate v = {0}, none = {0};

    repro_note(&v, 104);
    repro_note(&v, 106);
    near(repro_mean(&v), 105);
    near(repro_sd(&v), sqrt(2));
    near(repro_half(&v), 12.7062047364); /* t of one degree of freedom, sqrt(2) / sqrt(2) */
    assert_true(isnan(repro_half(&none)));
    assert_true(isnan(repro_mean(&none)));
    assert_int_equal(repro_value(&p, "a", "s", 100, &v, 0.05, &e), 0);
    assert_int_equal(repro_value(&p, "b", "s", 100, &v, 0.049, &e), 0);
    assert_int_equal(repro_value(&p, "c", "s", 100, &none, 0.05, &e), 0);
    assert_int_equal(repro_order(&p, "d", (double[]){1, 2, 3}, 3, &e), 0);
    assert_int_equal(repro_order(&p, "e", (double[]){1, 2, 2}, 3, &e), 0);
    assert_int_equal(repro_order(&p, "f", (double[]){3, 2, NAN}, 3, &e), 0);
    assert_int_equal(repro_at_most(&p, "g", 0.02, 0.01, 0.01, &e), 0);
    assert_int_equal(repro_at_most(&p, "h", 0.002, 0.011, 0.01, &e), 0);
    const enum repro_verdict want[] = {REPRO_INSIDE, REPRO_OUTSIDE, REPRO_SKIPPED, REPRO_HOLDS,
                                       REPRO_FAILS,  REPRO_SKIPPED, REPRO_INSIDE,  REPRO_OUTSIDE};
    assert_int_equal(p.n, 8);
    for (size_t i = 0; i < p.n; i++) {
        assert_int_equal(p.row[i].verdict, want[i]);
    }
    arena_release(&p.ar);
}

/* ---- rows of requests tell what the metrics count ---- */

struct seen {
    double n[SLO_CLASSES], met[SLO_CLASSES];
};

static int on_request(void *ctx, const struct request_row *r, struct err *e)
{
    struct seen *s = ctx;
    bool has_ttft = r->ttft_slo_ms > 0 && r->tpot_slo_ms > 0, has_end = r->e2e_slo_ms > 0;

    (void)e;
    assert_true(r->slo_class == SLO_LATENCY ? has_ttft && !has_end : has_end && !has_ttft);
    assert_true((r->session != 0) == (r->slo_class == SLO_COMPOUND));
    s->n[r->slo_class]++;
    s->met[r->slo_class] += r->met_goals;
    return 0;
}

static void test_goals_of_rows(void **state)
{
    static const struct repro_key key[] = {
        {"model", "llama-3.1-8b"}, {"gpu", "a100-80g"},       {"trace", "synth:jitserve-mix{programs=300,rate=7}"},
        {"load.sessions", "on"},   {"policy", "jitserve{batch=16}"}, {"batcher", "vllm-v1{max_num_seqs=16}"}};
    struct repro p = {.id = "x"};
    struct seen s = {{0}, {0}};
    struct run_hooks hooks = {.request = on_request, .ctx = &s};
    struct arena ar = {0};
    struct run_result r;
    struct err e = {0};

    (void)state;
    if (repro_run_hooked(&p, key, sizeof(key) / sizeof(key[0]), &hooks, &r, &ar, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    near(s.met[SLO_LATENCY] / s.n[SLO_LATENCY], repro_metric(&r, "slo_attainment_latency"));
    near(s.met[SLO_DEADLINE] / s.n[SLO_DEADLINE], repro_metric(&r, "slo_attainment_deadline"));
    assert_true(s.met[SLO_LATENCY] > 0 && s.met[SLO_LATENCY] < s.n[SLO_LATENCY]);
    assert_true(s.met[SLO_DEADLINE] > 0 && s.met[SLO_DEADLINE] < s.n[SLO_DEADLINE]);
    assert_true(s.n[SLO_COMPOUND] > 0 && s.met[SLO_COMPOUND] == 0); /* known only with the whole program */
    assert_true(isnan(repro_metric(&r, "no_such_metric")));
    arena_release(&ar);
}

/* ---- published numbers from the recorded requests ---- */

static void load(struct compare *c, uint32_t *n_clients, const char *path)
{
    struct err e = {0};
    struct trace *t;
    struct arrival a;
    int rc = trace_open(&t, path, NULL, 1, 0, &e);

    assert_int_equal(rc, 0);
    while ((rc = trace_next(t, &a, &e)) == 1) {
        struct request_row r = {.client = a.client, .prompt_tok = a.prompt_tok, .output_tok = a.output_tok,
                                .arrival_ns = a.time_ns, .first_token_ns = SIM_NEVER,
                                .finish_ns = SIM_NEVER, .measured_ttft_s = a.measured_ttft_s,
                                .measured_e2e_s = a.measured_e2e_s};

        assert_int_equal(compare_add(c, &r, &e), 0);
    }
    assert_int_equal(rc, 0);
    *n_clients = trace_clients(t);
    trace_close(t);
}

static struct fairness recorded(struct compare *c, const char *run, enum fairness_cost cost)
{
    const char *shared = getenv("STEELYARD_SHARED");
    char path[1000];
    struct fairness f = {.side = REAL, .cost = cost};

    snprintf(path, sizeof(path), "%s/data/groundtruth/vtc/%s.csv.gz", shared ? shared : "", run);
    if (access(path, R_OK) != 0) {
        print_message("# the recorded runs are not here\n");
        skip();
    }
    load(c, &f.n_clients, path);
    f.row = c->row;
    f.n = c->n;
    return f;
}

/* Sheng et al., OSDI'24, table 2 and the tables of the appendix. */
static void test_published_tables(void **state)
{
    (void)state;
    static const struct {
        const char *run;
        enum fairness_cost cost;
        double max, mean, var;
    } want[] = {
        {"FCFS_real", FAIRNESS_LINEAR, 759.97, 433.53, 32112},
        {"VTC_predict_real", FAIRNESS_LINEAR, 365.47, 240.33, 5322},
        {"LShare__rpm5_real", FAIRNESS_LINEAR, 143.86, 83.58, 1020},
        {"LShare__rpm30_real", FAIRNESS_LINEAR, 693.66, 309.45, 24221},
        {"VTC_overload-multi", FAIRNESS_LINEAR, 322.16, 162.20, 5151},
        {"VTC_profile_real", FAIRNESS_PROFILED, 707.35, 368.74, 21919},
        {"VTC_profile_overload-multi", FAIRNESS_PROFILED, 1086.33, 465.46, 45330},
    };

    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct compare c = {0};
        struct fairness f = recorded(&c, want[i].run, want[i].cost);
        struct fairness_table t = fairness_table(&f);

        assert_true(fabs(t.max - want[i].max) < 0.02);
        assert_true(fabs(t.mean - want[i].mean) < 0.02);
        assert_true(fabs(t.var - want[i].var) < 1);
        compare_release(&c);
    }
}

/* Accumulated differences and throughputs of recorded runs (sections 6.2 and 6.4, table 2). */
static void test_published_figures(void **state)
{
    (void)state;
    static const struct {
        const char *run;
        int ticks;
        double skip_s, max, mean, tok_s;
    } want[] = {
        {"VTC_overload", 20, 1, 7654, 3949, 893},
        {"FCFS_overload", 20, 1, 248716, 130290, 876},
        {"A100_pool35000__VTC_overload_s4_512", 100, 120, 51713, 21962, 1608},
    };

    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        struct compare c = {0};
        struct fairness f = recorded(&c, want[i].run, FAIRNESS_LINEAR);
        struct fairness_gaps g = fairness_gaps(&f, want[i].ticks, want[i].skip_s);

        assert_true(fabs(g.max - want[i].max) < 1);
        assert_true(fabs(g.mean - want[i].mean) < 1);
        assert_true(fabs(fairness_throughput(&f) - want[i].tok_s) < 1);
        compare_release(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost),     cmocka_unit_test(test_windows),
        cmocka_unit_test(test_table),    cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_totals),   cmocka_unit_test(test_one_token),
        cmocka_unit_test(test_verdicts), cmocka_unit_test(test_goals_of_rows), cmocka_unit_test(test_published_tables),
        cmocka_unit_test(test_published_figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
