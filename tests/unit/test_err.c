/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/err.h"

static void test_first_error_wins(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, SIM_E_DATA, "line %d", 3), SIM_E_DATA);
    assert_int_equal(err_set(&e, SIM_E_IO, "later"), SIM_E_IO);
    assert_int_equal(e.code, SIM_E_DATA);
    assert_string_equal(e.msg, "line 3");
    assert_int_equal(err_set(NULL, SIM_E_IO, "nobody listens"), SIM_E_IO);
}

static void test_long_message_is_cut(void **state)
{
    struct err e = {0};
    char text[3000];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(&e, SIM_E_DATA, "%s", text);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_string_equal(e.msg + sizeof e.msg - 5, "x...");
    text[sizeof e.msg - 1] = '\0'; /* exactly as long as fits: not cut */
    e = (struct err){0};
    err_set(&e, SIM_E_DATA, "%s", text);
    assert_string_equal(e.msg, text);
}

static void test_wrap(void **state)
{
    struct err e = {0}, none = {0};

    (void)state;
    err_set(&e, SIM_E_DATA, "bad number");
    assert_int_equal(err_wrap(&e, "line %d", 3), SIM_E_DATA);
    assert_string_equal(e.msg, "line 3: bad number");
    assert_int_equal(err_wrap(&e, "trace %s: ", "x.csv"), SIM_E_DATA);
    assert_string_equal(e.msg, "trace x.csv: line 3: bad number");
    assert_int_equal(err_wrap(&none, "somewhere"), SIM_E_CHECK);
    assert_int_equal(none.code, SIM_E_CHECK);
    assert_string_equal(none.msg, "somewhere");
    assert_int_equal(err_wrap(NULL, "x"), SIM_E_CHECK);
}

static void test_wrap_cuts_at_the_end(void **state)
{
    struct err e = {0};
    char text[995];

    (void)state;
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(&e, SIM_E_DATA, "%s", text);
    err_wrap(&e, "context");
    assert_memory_equal(e.msg, "context: yyy", 12);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_string_equal(e.msg + sizeof e.msg - 4, "...");
}

static void test_exit_status(void **state)
{
    /* The documented codes: 1 goal, 2 usage/config, 3 data, 4 internal, 5 I/O, 130 interrupted. */
    static const int want[][2] = {{0, 0},
                                  {SIM_E_GOAL, 1},
                                  {SIM_E_USAGE, 2},
                                  {SIM_E_CONFIG, 2},
                                  {SIM_E_DATA, 3},
                                  {SIM_E_CHECK, 4},
                                  {SIM_E_NOMEM, 4},
                                  {SIM_E_IO, 5},
                                  {SIM_E_INTR, 130},
                                  {-999, 4},
                                  {7, 4}};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(err_exit_status(want[i][0]), want[i][1]);
        assert_true(strlen(err_text(want[i][0])) > 0);
    }
    assert_string_equal(err_text(SIM_E_NOMEM), "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_long_message_is_cut),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_wrap_cuts_at_the_end),
        cmocka_unit_test(test_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
