/* SPDX-License-Identifier: Apache-2.0
 *
 * Confidence intervals against tables of Student's t (0.975 quantile: 12.7062 at 1, 2.77645 at 4 degrees of
 * freedom). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/results/interval.h"

static const double none = (double)NAN;

static void test_by_hand(void **state)
{
    (void)state;
    /* sum of squares 10, variance 2.5: half width 2.77645 * sqrt(2.5 / 5) */
    struct interval i = interval_of((const double[]){5, 1, 3, 2, 4}, 5);
    assert_int_equal(i.n, 5);
    assert_true(fabs(i.mean - 3) < 1e-12);
    assert_true(fabs(i.half_width - 2.77645 * sqrt(0.5)) < 1e-5);
    assert_true(i.min == 1 && i.max == 5);
    i = interval_of((const double[]){0, 2}, 2);
    assert_true(fabs(i.half_width - 12.7062) < 1e-4);
}

static void test_undefined(void **state)
{
    (void)state;
    struct interval i = interval_of((const double[]){none, 7, none}, 3);
    assert_int_equal(i.n, 1);
    assert_true(i.mean == 7 && isnan(i.half_width));
    i = interval_of((const double[]){none}, 1);
    assert_true(i.n == 0 && isnan(i.mean));
    i = interval_of(NULL, 0);
    assert_true(i.n == 0);
}

/* Equal values have no spread at all, also where the mean cannot be a binary fraction. */
static void test_equal_values(void **state)
{
    (void)state;
    struct interval i = interval_of((const double[]){0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}, 7);
    assert_true(i.mean == 0.1 && i.half_width == 0);
}

/* Large common noise cancels in pairs: differences 1 and 3. */
static void test_paired(void **state)
{
    (void)state;
    const double v[] = {101, 903, none, 4};
    const double base[] = {100, 900, 1, none};
    struct interval i = interval_paired(v, base, 4);
    assert_int_equal(i.n, 2);
    assert_true(fabs(i.mean - 2) < 1e-12);
    assert_true(fabs(i.half_width - 12.7062) < 1e-4);
}

static void expect_text(struct interval i, const char *want)
{
    char buf[80];
    assert_string_equal(interval_text(&i, buf, sizeof buf), want);
}

static void test_text(void **state)
{
    (void)state;
    expect_text((struct interval){.n = 0, .mean = none}, "-");
    expect_text((struct interval){.n = 1, .mean = 1234, .half_width = none}, "1234");
    expect_text((struct interval){.n = 1, .mean = 12.3456, .half_width = none}, "12.35");
    expect_text((struct interval){.n = 1, .mean = 0.00123456, .half_width = none}, "0.001235");
    expect_text((struct interval){.n = 1, .mean = 123456.7, .half_width = none}, "123457");
    expect_text((struct interval){.n = 3, .mean = 12.3456, .half_width = 0.234}, "12.35 ± 0.23");
    expect_text((struct interval){.n = 3, .mean = 12.3456, .half_width = 34.5}, "12 ± 34");
    expect_text((struct interval){.n = 3, .mean = 0.5, .half_width = 0}, "0.5000 ± 0");
    expect_text((struct interval){.n = 1, .mean = -2.5, .half_width = none}, "-2.500");
    expect_text((struct interval){.n = 1, .mean = 1.25e-9, .half_width = none}, "1.25e-09");
    expect_text((struct interval){.n = 3, .mean = -3e-8, .half_width = 4.56e-7}, "-3e-08 ± 4.6e-07");
    expect_text((struct interval){.n = 3, .mean = 0.75, .half_width = 4.56e-7}, "0.7500 ± 4.6e-07");
    expect_text((struct interval){.n = 3, .mean = 3, .half_width = 1e20}, "3 ± 1e+20");
    expect_text((struct interval){.n = 1, .mean = 1e300, .half_width = none}, "1e+300");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_undefined),
        cmocka_unit_test(test_equal_values), cmocka_unit_test(test_paired),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
