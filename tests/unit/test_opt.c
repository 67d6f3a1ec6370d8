/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/opt.h"

struct box {
    bool lift;
    int64_t blocks, level, wait_us;
    double window_s, util, mem_byte, link_gb_s, tok, delta;
    const char *label, *model;
    struct opt_doubles weights;
};

static const struct opt_choice levels[] = {
    {"low", "little"}, {"medium", "some"}, {"high", "much"}, {NULL, NULL}};

#define ROW(n, t, ...)                                                                             \
    {                                                                                              \
        .name = #n, .type = t, .offset = offsetof(struct box, n), __VA_ARGS__                      \
    }
static const struct opt_row rows[] = {
    ROW(lift, OPT_BOOL, .def = "on"),
    ROW(blocks, OPT_INT, .min = 1, .max = 1e9, .def = "16"),
    ROW(level, OPT_CHOICE, .def = "medium", .choices = levels),
    ROW(wait_us, OPT_INT, .min = 0, .max = INFINITY, .def = "1ms", .unit = "us"),
    ROW(window_s, OPT_DOUBLE, .min = 0.001, .max = 86400, .def = "10", .unit = "s"),
    ROW(util, OPT_DOUBLE, .min = 0, .max = 1, .def = "90%", .unit = "1"),
    ROW(mem_byte, OPT_DOUBLE, .min = 0, .max = 1e15, .def = "0", .unit = "byte"),
    ROW(link_gb_s, OPT_DOUBLE, .min = 0, .max = INFINITY, .def = "32", .unit = "GB/s"),
    ROW(tok, OPT_DOUBLE, .min = 0, .max = 1e12, .def = "0", .unit = "tok"),
    ROW(delta, OPT_DOUBLE, .min = 1, .max = -1, .def = "-5"),
    ROW(label, OPT_STRING, .def = NULL),
    ROW(model, OPT_STRING, .def = "llama-2-7b"),
    ROW(weights, OPT_DOUBLES, .min = 0, .max = 100, .def = "1"),
    OPT_END,
};

struct fixture {
    struct arena a;
    struct err e;
    struct box b;
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    *state = &f;
    return opt_defaults(rows, &f.b, &f.a, &f.e);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_release(&f->a);
    return 0;
}

static int set(struct fixture *f, const char *name, const char *text)
{
    f->e = (struct err){0};
    return opt_set_by_name(rows, &f->b, "--set ", name, text, &f->a, &f->e);
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;

    assert_true(f->b.lift);
    assert_int_equal(f->b.blocks, 16);
    assert_int_equal(f->b.level, 1);
    assert_int_equal(f->b.wait_us, 1000);
    assert_true(f->b.window_s == 10 && f->b.util == 0.9 && f->b.delta == -5);
    assert_null(f->b.label);
    assert_string_equal(f->b.model, "llama-2-7b");
    assert_int_equal(f->b.weights.n, 1);
    assert_true(f->b.weights.v[0] == 1);
}

static void test_bad_default_is_internal(void **state)
{
    static const struct opt_row bad[] = {ROW(blocks, OPT_INT, .min = 1, .max = 2, .def = "3"),
                                         OPT_END};
    static const struct opt_row none[] = {ROW(blocks, OPT_INT, .min = 1, .max = 2), OPT_END};
    struct fixture *f = *state;

    assert_int_equal(opt_defaults(bad, &f->b, &f->a, &f->e), SIM_E_CHECK);
    assert_string_equal(f->e.msg, "default of key 'blocks': 3 is outside 1..2");
    f->e.code = 0;
    assert_int_equal(opt_defaults(none, &f->b, &f->a, &f->e), SIM_E_CHECK);
}

struct number_case {
    const char *name, *text;
    double want;
};

/* Expected values by hand; each must come out to the last bit. */
static const struct number_case numbers[] = {
    {"window_s", "500ms", 0.5},
    {"window_s", "7ms", 0.007},
    {"window_s", "7 ms", 0.007},
    {"window_s", "1.5m", 90},
    {"window_s", "2min", 120},
    {"window_s", "1h", 3600},
    {"window_s", "2500us", 0.0025},
    {"window_s", "1000000ns", 0.001},
    {"window_s", "3s", 3},
    {"util", "35%", 0.35},
    {"util", "0.35", 0.35},
    {"util", "100 %", 1},
    {"mem_byte", "80GB", 80e9},
    {"mem_byte", "80GiB", 85899345920.0},
    {"mem_byte", "1.5MiB", 1572864},
    {"mem_byte", "16k", 16000},
    {"mem_byte", "16Ki", 16384},
    {"mem_byte", "16B", 16},
    {"mem_byte", "2TB", 2e12},
    {"mem_byte", "3TiB", 3298534883328.0},
    {"mem_byte", "5kB", 5000},
    {"link_gb_s", "900GB/s", 900},
    {"link_gb_s", "900GB", 900},
    {"link_gb_s", "1500MB/s", 1.5},
    {"link_gb_s", "2TB/s", 2000},
    {"tok", "64Ki", 65536},
    {"tok", "16tok", 16},
    {"tok", "1.5M", 1.5e6},
    {"delta", "-1e300", -1e300},
};

static void test_doubles_with_units(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct opt_row *row = opt_find(rows, numbers[i].name);
        double got;

        assert_int_equal(set(f, numbers[i].name, numbers[i].text), 0);
        memcpy(&got, (char *)&f->b + row->offset, sizeof got);
        assert_true(got == numbers[i].want);
    }
}

static void test_ints(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *text;
        int64_t want;
    } good[] = {
        {"blocks", "64", 64},       {"blocks", "4k", 4000},
        {"blocks", "4Ki", 4096},    {"blocks", "1.5k", 1500},
        {"blocks", "1e6", 1000000}, {"blocks", "2Mi", 2097152},
        {"wait_us", "2s", 2000000}, {"wait_us", "5000ns", 5},
        {"wait_us", "0.5ms", 500},  {"wait_us", "9007199254740993", INT64_C(9007199254740993)}};
    static const char *const bad[] = {"1.5",  "1ns",  "0.1us", "10000000000000000000",
                                      "1e30", "9e15s"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t got;

        assert_int_equal(set(f, good[i].name, good[i].text), 0);
        memcpy(&got, (char *)&f->b + opt_find(rows, good[i].name)->offset, sizeof got);
        assert_true(got == good[i].want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(set(f, "wait_us", bad[i]), SIM_E_CONFIG);
        assert_non_null(strstr(f->e.msg, bad[i]));
        assert_true(f->b.wait_us == INT64_C(9007199254740993)); /* untouched */
    }
}

static void test_bools(void **state)
{
    static const char *const yes[] = {"true", "on", "yes", "1", "TRUE"};
    static const char *const no[] = {"false", "off", "no", "0", "Off"};
    struct fixture *f = *state;

    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(set(f, "lift", no[i]), 0);
        assert_false(f->b.lift);
        assert_int_equal(set(f, "lift", yes[i]), 0);
        assert_true(f->b.lift);
    }
    assert_int_equal(set(f, "lift", "2"), SIM_E_CONFIG);
    assert_string_equal(f->e.msg, "--set key 'lift': '2' is neither true nor false");
}

static void test_messages(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *text, *want;
    } rows_[] = {
        {"blocks", "0", "--set key 'blocks': 0 is outside 1..1000000000"},
        {"window_s", "0", "--set key 'window_s': 0 is outside 0.001..86400 s"},
        {"wait_us", "-1", "--set key 'wait_us': -1 is below 0 us"},
        {"window_s", "3parsec",
         "--set key 'window_s': '3parsec' has the unknown unit 'parsec' (known: ns us ms s m h)"},
        {"window_s", "3M",
         "--set key 'window_s': '3M' has the unknown unit 'M' (known: ns us ms s m h)"},
        {"util", "abc", "--set key 'util': 'abc' is not a number"},
        {"util", "nan", "--set key 'util': 'nan' is not a number"},
        {"util", "0x1",
         "--set key 'util': '0x1' has the unknown unit 'x1' (known: % k M G T Ki Mi Gi Ti)"},
        {"delta", "1e400", "--set key 'delta': '1e400' is too large"},
        {"delta", "1e308k", "--set key 'delta': '1e308k' is too large"},
        {"level", "hihg",
         "--set key 'level': 'hihg' is not low, medium or high; did you mean 'high'?"},
        {"level", "q", "--set key 'level': 'q' is not low, medium or high"},
        {"bloks", "1", "--set unknown key 'bloks'; did you mean 'blocks'?"},
        {"zzz", "1", "--set unknown key 'zzz'"},
        {"weights", "1;200", "--set key 'weights': 200 is outside 0..100"},
        {"weights", "1,,2", "--set key 'weights': '' is not a number"},
        {"weights", "1,", "--set key 'weights': '' is not a number"},
        {"link_gb_s", "5GB/h",
         "--set key 'link_gb_s': '5GB/h' has the unknown unit 'GB/h' (known: B kB MB GB TB KiB MiB "
         "GiB TiB)"},
    };

    for (size_t i = 0; i < sizeof rows_ / sizeof rows_[0]; i++) {
        assert_int_equal(set(f, rows_[i].name, rows_[i].text), SIM_E_CONFIG);
        assert_int_equal(f->e.code, SIM_E_CONFIG);
        assert_string_equal(f->e.msg, rows_[i].want);
    }
}

static void test_lists(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } good[] = {{"1,2,3", 3},    {"1;2;3", 3},   {"1:2:3", 3}, {"1 2  3", 3}, {" 1 , 2 ; 3 ", 3},
                {"[1,2, 3]", 3}, {" [ 1 ] ", 1}, {"", 0},      {"[]", 0},     {"[ ]", 0}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(set(f, "weights", good[i].text), 0);
        assert_int_equal(f->b.weights.n, good[i].n);
        for (size_t k = 0; k < good[i].n; k++) {
            assert_true(f->b.weights.v[k] == (double)k + 1);
        }
    }
}

static void check_text(struct fixture *f, const char *name, const char *value, const char *want)
{
    const struct opt_row *row = opt_find(rows, name);
    struct box again = {0};
    const char *text;

    assert_int_equal(set(f, name, value), 0);
    text = opt_text(row, &f->b, &f->a);
    assert_string_equal(text, want);
    assert_int_equal(opt_set(row, &again, text, &f->a, &f->e), 0);
    assert_string_equal(opt_text(row, &again, &f->a), want);
}

static void test_text_round_trip(void **state)
{
    struct fixture *f = *state;

    check_text(f, "lift", "no", "false");
    check_text(f, "blocks", "4Ki", "4096");
    check_text(f, "level", "high", "high");
    check_text(f, "util", "10%", "0.1");
    check_text(f, "window_s", "7ms", "0.007");
    check_text(f, "delta", "0.30000000000000004", "0.30000000000000004");
    check_text(f, "weights", "1, 2.5 ,3", "1;2.5;3");
    check_text(f, "weights", "", "");
    check_text(f, "model", "x{y=1}", "x{y=1}");
    check_text(f, "label", "", "");
    assert_null(f->b.label); /* NULL default: empty text is NULL again */
    check_text(f, "model", "", "");
    assert_string_equal(f->b.model, "");
}

static void test_spec(void **state)
{
    struct fixture *f = *state;
    const char *spec = " vtc { weights = 1;2 , lift=off, model=a{b=[1,2],c=(x,y)}, window_s=2m, } ";

    assert_string_equal(opt_spec_name(spec, &f->a), "vtc");
    assert_string_equal(opt_spec_name("fcfs", &f->a), "fcfs");
    assert_int_equal(opt_spec_apply(spec, rows, &f->b, &f->a, &f->e), 0);
    assert_int_equal(f->b.weights.n, 2);
    assert_false(f->b.lift);
    assert_string_equal(f->b.model, "a{b=[1,2],c=(x,y)}");
    assert_true(f->b.window_s == 120);
    assert_int_equal(opt_spec_apply("vtc", rows, &f->b, &f->a, &f->e), 0);
    assert_true(f->b.lift && f->b.window_s == 10); /* defaults again */
    assert_int_equal(opt_spec_apply("vtc{}", rows, &f->b, &f->a, &f->e), 0);
    assert_int_equal(opt_spec_apply("fcfs{ }", NULL, NULL, &f->a, &f->e), 0);
}

static void test_spec_errors(void **state)
{
    static const struct {
        const char *spec, *want;
    } bad[] = {
        {"vtc{lift=off", "'vtc{lift=off': braces, brackets or parentheses do not match"},
        {"vtc{lift=(off}", "'vtc{lift=(off}': braces, brackets or parentheses do not match"},
        {"vtc{lift=off}}", "'vtc{lift=off}}': text after the closing brace"},
        {"vtc{lift=off} x", "'vtc{lift=off} x': text after the closing brace"},
        {"vtc{lift}", "vtc: 'lift' is not of the form key=value"},
        {"vtc{,}", "vtc: '' is not of the form key=value"},
        {"vtc{lfit=on}", "vtc: unknown key 'lfit'; did you mean 'lift'?"},
        {"vtc{blocks=0}", "vtc: key 'blocks': 0 is outside 1..1000000000"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        f->e = (struct err){0};
        assert_int_equal(opt_spec_apply(bad[i].spec, rows, &f->b, &f->a, &f->e), SIM_E_CONFIG);
        assert_string_equal(f->e.msg, bad[i].want);
    }
    f->e = (struct err){0};
    assert_int_equal(opt_spec_apply("fcfs{a=1}", NULL, NULL, &f->a, &f->e), SIM_E_CONFIG);
    assert_string_equal(f->e.msg, "fcfs: takes no options");
}

static void test_wrapper(void **state)
{
    struct fixture *f = *state;
    static const char *const plain[] = {"vtc",      "vtc{a=(1)}", "(x)", "check(x", "check(x)y",
                                        "check(x]", "check",      "",    "a b(x)",  "check("};
    const char *w, *in;

    assert_true(opt_spec_wrapper("check(vtc{lift=off})", &w, &in, &f->a));
    assert_string_equal(w, "check");
    assert_string_equal(in, "vtc{lift=off}");
    assert_true(opt_spec_wrapper(" log( check(vtc) ) ", &w, &in, &f->a));
    assert_string_equal(w, "log");
    assert_string_equal(in, "check(vtc)");
    assert_true(opt_spec_wrapper("log()", &w, &in, &f->a));
    assert_string_equal(in, "");
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        assert_false(opt_spec_wrapper(plain[i], &w, &in, &f->a));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_bad_default_is_internal),
        TEST(test_doubles_with_units),
        TEST(test_ints),
        TEST(test_bools),
        TEST(test_messages),
        TEST(test_lists),
        TEST(test_text_round_trip),
        TEST(test_spec),
        TEST(test_spec_errors),
        TEST(test_wrapper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
