/* SPDX-License-Identifier: Apache-2.0
 *
 * Which goals a request ends up with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sim/goals.h"

static struct arena mem;

static struct goals parse(const char *classes, const char *client)
{
    struct run_config c = {.slo_classes = classes, .slo_client = client, .slo_e2e_ms = 90};
    struct goals g;
    struct err e = {0};

    if (goals_parse(&g, &c, &mem, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    return g;
}

static void expect_bad(const char *classes, const char *client, const char *why)
{
    struct run_config c = {.slo_classes = classes, .slo_client = client};
    struct goals g;
    struct err e = {0};

    assert_int_equal(goals_parse(&g, &c, &mem, &e), SIM_E_CONFIG);
    if (!strstr(e.msg, why)) {
        fail_msg("'%s' does not say '%s'", e.msg, why);
    }
}

static void test_precedence(void **state)
{
    struct goals g = parse("latency: ttft=500ms, tbt=0.1s; deadline:e2e=20s",
                           "a:b:class=latency,ttft=1s;*:class=deadline");
    struct arrival a = {.slo_class = SLO_NONE};

    (void)state;
    goals_apply(&g, goals_of_client(&g, "a:b"), &a); /* client, class, run */
    assert_int_equal(a.slo_class, SLO_LATENCY);
    assert_true(a.ttft_slo_ms == 1000 && a.tpot_slo_ms == 100 && a.e2e_slo_ms == 90);
    a = (struct arrival){.slo_class = SLO_LATENCY, .tpot_slo_ms = 7};
    goals_apply(&g, goals_of_client(&g, "other"), &a); /* the request's own class and goal win */
    assert_int_equal(a.slo_class, SLO_LATENCY);
    assert_true(a.ttft_slo_ms == 500 && a.tpot_slo_ms == 7 && a.e2e_slo_ms == 90);
    a = (struct arrival){.slo_class = SLO_NONE};
    goals_apply(&g, goals_of_client(&g, "other"), &a);
    assert_int_equal(a.slo_class, SLO_DEADLINE);
    assert_true(a.ttft_slo_ms == 0 && a.tpot_slo_ms == 0 && a.e2e_slo_ms == 20000);
    a = (struct arrival){.slo_class = SLO_BEST_EFFORT}; /* goals of the run are not for it */
    goals_apply(&g, NULL, &a);
    assert_true(a.ttft_slo_ms == 0 && a.tpot_slo_ms == 0 && a.e2e_slo_ms == 0);
}

static void test_nothing_said(void **state)
{
    struct goals g = parse(NULL, NULL);
    struct arrival a = {.slo_class = SLO_NONE};

    (void)state;
    assert_null(goals_of_client(&g, "x"));
    goals_apply(&g, NULL, &a);
    assert_true(a.slo_class == SLO_NONE && a.ttft_slo_ms == 0 && a.e2e_slo_ms == 90);
}

static void test_errors(void **state)
{
    (void)state;
    expect_bad("latncy:ttft=1", NULL, "slo.classes: 'latncy' is no class of goals; did you mean 'latency'?");
    expect_bad("latency:tfft=1", NULL, "slo.classes: ");
    expect_bad("latency:tfft=1", NULL, "did you mean 'ttft'?");
    expect_bad("latency:ttft", NULL, "'ttft' is not GOAL=TIME");
    expect_bad("latency:ttft=1MB", NULL, "ttft");
    expect_bad("latency:ttft=-1", NULL, "ttft");
    expect_bad("latency:class=deadline", NULL, "class");
    expect_bad(NULL, "a:class=fast", "class");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_nothing_said),
        cmocka_unit_test(test_errors),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);

    arena_release(&mem);
    return rc;
}
