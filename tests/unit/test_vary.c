/* SPDX-License-Identifier: Apache-2.0
 *
 * What --vary means, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/results/vary.h"

struct sample {
    double scale;
    int64_t limit;
    const char *policy, *weights;
};

static const struct opt_row rows[] = {
    {.name = "load.scale", .type = OPT_DOUBLE, .offset = offsetof(struct sample, scale)},
    {.name = "trace.limit", .type = OPT_INT, .offset = offsetof(struct sample, limit)},
    {.name = "policy", .type = OPT_STRING, .offset = offsetof(struct sample, policy)},
    {.name = "client.weights", .type = OPT_STRING, .offset = offsetof(struct sample, weights)},
    OPT_END,
};

static void expect(const char *text, const char *key, const char *joined)
{
    struct arena a = {0};
    struct vary v;
    struct err e = {0};
    assert_int_equal(vary_parse(&v, text, rows, &a, &e), 0);
    assert_string_equal(v.key, key);
    const char *all = "";
    for (size_t i = 0; i < v.n; i++) {
        all = arena_printf(&a, "%s%s%s", all, i ? "|" : "", v.value[i]);
    }
    assert_string_equal(all, joined);
    arena_release(&a);
}

static void expect_error(const char *text, const char *part)
{
    struct arena a = {0};
    struct vary v;
    struct err e = {0};
    assert_int_equal(vary_parse(&v, text, rows, &a, &e), SIM_E_CONFIG);
    if (!strstr(e.msg, part)) {
        fail_msg("'%s' gave \"%s\", wanted \"%s\"", text, e.msg, part);
    }
    arena_release(&a);
}

static void test_lists(void **state)
{
    (void)state;
    expect("policy=fcfs", "policy", "fcfs");
    expect("policy=fcfs,vtc{lift=off},rpm{limit=20}", "policy", "fcfs|vtc{lift=off}|rpm{limit=20}");
    expect("policy=check(vtc{lift=off,weights=1;2}), fcfs ", "policy",
           "check(vtc{lift=off,weights=1;2})|fcfs");
    expect("client.weights=[1,2],[2,1]", "client.weights", "[1,2]|[2,1]");
    expect("policy=a=b,c", "policy", "a=b|c");
    expect("policy=x:y:z", "policy", "x:y:z"); /* not a number, so no range */
}

static void test_ranges(void **state)
{
    (void)state;
    expect("load.scale=0.5:2:0.25", "load.scale", "0.5|0.75|1|1.25|1.5|1.75|2");
    expect("load.scale=0.1:0.3:0.1", "load.scale", "0.1|0.2|0.3");
    expect("load.scale=1:2:0.4", "load.scale", "1|1.4|1.8");
    expect("load.scale=3:1:-1", "load.scale", "3|2|1");
    expect("load.scale=2:2:1", "load.scale", "2");
    expect("load.scale=0.1,1:2:1,8", "load.scale", "0.1|1|2|8");
    expect("trace.limit=1k,2000:4000:1000", "trace.limit", "1k|2000|3000|4000");
}

static void test_errors(void **state)
{
    (void)state;
    expect_error("policy", "wanted KEY=VALUE");
    expect_error("=fcfs", "wanted KEY=VALUE");
    expect_error("", "wanted KEY=VALUE");
    expect_error("polcy=fcfs", "did you mean 'policy'?");
    expect_error("policy=", "empty");
    expect_error("policy=fcfs,,vtc", "empty");
    expect_error("policy=fcfs, ", "empty");
    expect_error("policy=fcfs,vtc,fcfs", "'fcfs' comes twice");
    expect_error("policy=vtc{lift=off", "brackets");
    expect_error("policy=vtc}", "brackets");
    expect_error("load.scale=1:2", "START:STOP:STEP");
    expect_error("load.scale=1:2:3:4", "START:STOP:STEP");
    expect_error("load.scale=1:x:1", "START:STOP:STEP");
    expect_error("load.scale=1:2:0", "never gets");
    expect_error("load.scale=1:2:-1", "never gets");
    expect_error("load.scale=0:1e9:0.1", "too many");
    expect_error("load.scale=0:1:nan", "START:STOP:STEP");
}

static void test_combinations(void **state)
{
    (void)state;
    struct arena a = {0};
    struct vary v[2];
    assert_int_equal(vary_parse(&v[0], "policy=fcfs,vtc", rows, &a, NULL), 0);
    assert_int_equal(vary_parse(&v[1], "load.scale=1:3:1", rows, &a, NULL), 0);
    assert_int_equal(vary_combinations(v, 2), 6);
    assert_int_equal(vary_combinations(v, 0), 1);
    assert_string_equal(vary_label(v, 2, 0, &a), "policy=fcfs load.scale=1");
    assert_string_equal(vary_label(v, 2, 2, &a), "policy=fcfs load.scale=3");
    assert_string_equal(vary_label(v, 2, 3, &a), "policy=vtc load.scale=1");
    assert_string_equal(vary_label(v, 2, 5, &a), "policy=vtc load.scale=3");
    assert_string_equal(vary_label(v, 0, 0, &a), "");
    struct vary big[3] = {{.n = 90000}, {.n = 90000}, {.n = 2}};
    assert_true(vary_combinations(big, 3) == SIZE_MAX);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_combinations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
