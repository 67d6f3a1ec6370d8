/* SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/json.h"
#include "sim/core/opt.h"
#include "sim/core/rng.h"

static void test_to_double(void **state)
{
    static const char *const bad[] = {"",  " 1", "1 ",    "inf", "nan",   "0x10", "1e",      "e5",
                                      ".", "-",  "1e999", "--1", "1.2.3", "1,5",  "INFINITY"};
    static const struct {
        const char *s;
        double v;
    } good[] = {{"0", 0},        {"-0.5", -0.5}, {"+3", 3},
                {".5", 0.5},     {"5.", 5},      {"1e3", 1000},
                {"1E-3", 0.001}, {"1e-999", 0},  {"9007199254740993", 9007199254740992.0}};
    double v;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = 77;
        assert_false(text_to_double(bad[i], &v));
        assert_true(v == 77);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(text_to_double(good[i].s, &v));
        assert_true(v == good[i].v);
    }
}

static void test_to_int64(void **state)
{
    static const char *const bad[] = {
        "",  " 1", "1 ", "1.0", "1e3", "0x10", "9223372036854775808", "-9223372036854775809",
        "-", "ten"};
    int64_t v;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(text_to_int64(bad[i], &v));
    }
    assert_true(text_to_int64("9223372036854775807", &v) && v == INT64_MAX);
    assert_true(text_to_int64("-9223372036854775808", &v) && v == INT64_MIN);
    assert_true(text_to_int64("+010", &v) && v == 10);
}

static void test_from_double(void **state)
{
    static const struct {
        double v;
        const char *s;
    } want[] = {{0.1, "0.1"},
                {0, "0"},
                {-0.0, "-0"},
                {100, "100"},
                {1e-7, "1e-07"},
                {1e22, "1e+22"},
                {0.1 + 0.2, "0.30000000000000004"},
                {1.0 / 3, "0.3333333333333333"},
                {5e-324, "5e-324"},
                {DBL_MAX, "1.7976931348623157e+308"},
                {DBL_MIN, "2.2250738585072014e-308"},
                {9007199254740993.0, "9007199254740992"}};
    char buf[32];

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_string_equal(text_from_double(want[i].v, buf), want[i].s);
    }
}

static void test_from_double_round_trips(void **state)
{
    struct rng_stream s = rng_stream(1, 0, "text");
    char buf[32];

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t bits = rng_u64(s, i, 0);
        double v, back;

        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) {
            continue;
        }
        assert_true(text_to_double(text_from_double(v, buf), &back));
        assert_memory_equal(&v, &back, sizeof v);
    }
}

static void test_nearest(void **state)
{
    static const char *const names[] = {"fcfs", "vtc", "equinox", "kv.gpu_mem_util", "sjf",
                                        "a10g", "a100-40g"};
    static const struct {
        const char *word, *want;
    } rows[] = {{"vtv", "vtc"},          {"VTC", "vtc"},       {"fcsf", "fcfs"}, /* one swap */
                {"equinoks", "equinox"}, {"eqinx", "equinox"}, {"gpu_mem_util", "kv.gpu_mem_util"},
                {"a100", "a100-40g"},   {"a100g", "a10g"},   {"mem_util", "kv.gpu_mem_util"},
                {"mem_uti", NULL},       {"xyz", NULL},           {"s", NULL},          {"", NULL},
                {"abc", NULL},           {"equ", NULL}};
    char huge[200];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *got = text_nearest(rows[i].word, names, 7);

        if (rows[i].want) {
            assert_non_null(got);
            assert_string_equal(got, rows[i].want);
        } else {
            assert_null(got);
        }
    }
    memset(huge, 'v', sizeof huge);
    huge[199] = '\0';
    assert_null(text_nearest(huge, names, 5));
    assert_null(text_nearest("vtc", names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_to_double),   cmocka_unit_test(test_to_int64),
        cmocka_unit_test(test_from_double), cmocka_unit_test(test_from_double_round_trips),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
