/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "sim/core/json.h"

static cJSON *parse(const char *text, struct err *e)
{
    *e = (struct err){0};
    return json_parse(text, strlen(text), "f", e);
}

static void test_comments_and_trailing_commas(void **state)
{
    const char *text = "\xef\xbb\xbf// head, with [ and \"\n"
                       "{ /* a { */ \"url\": \"http://x/*no*/,]\", // tail, }\n"
                       "  \"list\": [1, 2, /* three */ ], \"q\": \"\\\"//\", }\n"
                       "// the end";
    struct err e;
    cJSON *root = parse(text, &e), *list;

    (void)state;
    assert_int_equal(e.code, 0);
    assert_non_null(root);
    assert_string_equal(cJSON_GetObjectItem(root, "url")->valuestring, "http://x/*no*/,]");
    assert_string_equal(cJSON_GetObjectItem(root, "q")->valuestring, "\"//");
    list = cJSON_GetObjectItem(root, "list");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    cJSON_Delete(root);
}

static void test_errors_name_the_place(void **state)
{
    static const struct {
        const char *text, *want;
    } bad[] = {
        {"", "f:1:1: the text ends too early"},
        {"  \n ", "f:2:2: the text ends too early"},
        {"{\n \"a\": 1,\n \"b\" 2\n}", "f:3:6: unexpected '2'"},
        {"{\n \"a\": 1\n \"b\": 2\n}", "f:3:2: unexpected '\"'"},
        {"[1,,2]", "f:1:4: unexpected ','"},
        {"[,]", "f:1:2: unexpected ','"},
        {"[1,,]", "f:1:4: unexpected ','"},
        {"{\"a\":,}", "f:1:6: unexpected ','"},
        {"{} x", "f:1:4: unexpected 'x'"},
        {"[nope]", "f:1:2: unexpected 'n'"},
        {"/* a\n /* b", "f:1:1: comment without an end"},
        {"{\n  \"a\": \"b\n}", "f:2:8: string without a closing quote on its line"},
        {"[\"a", "f:1:2: string without a closing quote on its line"},
        {"[\"a\\", "f:1:2: string without a closing quote on its line"},
        {"{\"a\":1, /* x */\n \"b\": {\"c\": 1, \"d\": [0], \"c\": 2}}",
         "f:2:31: duplicate key 'c'"},
        {"[{\"a\":1},{\"b\":1,\"b\":2}]", "f:1:21: duplicate key 'b'"},
        {"{\"a\": [1, {\"x\": -1e999}]}", "f:1:17: number too large"},
        {"[\"a\\\\\tb\x02\"]", "f:1:8: control byte in a string"},
        {"[\xff]", "f:1:2: unexpected byte 0xff"},
        {"\x01", "f:1:1: control byte outside of a string"},
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(parse(bad[i].text, &e));
        assert_int_equal(e.code, SIM_E_CONFIG);
        assert_string_equal(e.msg, bad[i].want);
    }
    e.code = 0;
    assert_null(json_parse("[1,\0]", 5, "f", &e));
    assert_string_equal(e.msg, "f:1:4: control byte outside of a string");
}

/* `depth` opening and closing brackets. */
static char *nest(size_t depth, char *buf)
{
    memset(buf, '[', depth);
    memset(buf + depth, ']', depth);
    buf[2 * depth] = '\0';
    return buf;
}

static void test_depth(void **state)
{
    static char buf[2000002];
    struct err e;
    cJSON *root = parse(nest(100, buf), &e);

    (void)state;
    assert_non_null(root);
    cJSON_Delete(root);
    assert_null(parse(nest(101, buf), &e));
    assert_string_equal(e.msg, "f:1:101: nested deeper than 100");
    assert_null(parse(nest(1000000, buf), &e));
}

static void test_many_keys_are_fast(void **state)
{
    enum { N = 50000 };
    char *text = malloc(N * 16 + 3), *p = text;
    struct err e;
    cJSON *root;

    (void)state;
    *p++ = '{';
    for (int i = 0; i < N; i++) {
        p += sprintf(p, "\"k%d\":%d,", i, i);
    }
    strcpy(p, "}");
    root = parse(text, &e);
    assert_non_null(root);
    cJSON_Delete(root);
    free(text);
}

static void test_locate(void **state)
{
    static const char text[] = "// x\n{ \"a\": {\"b\": 1, /* \"c\": 0 */ \"c\": [2]},\n"
                               "  \"kv.blocks\": 7, \"kv\": {\"tokens\": \"}\", \"d\": true},\n"
                               "  \"s\": [\"a\", {\"z\": 1}], \"last\" : null }";
    static const struct {
        const char *key;
        unsigned line, col;
    } want[] = {{"a", 2, 8},          {"a.b", 2, 14}, {"a.c", 2, 35},
                {"kv.blocks", 3, 16}, {"kv", 3, 25},  {"kv.tokens", 3, 36},
                {"kv.d", 3, 46},      {"s", 4, 8},    {"last", 4, 34}};
    static const char *const none[] = {"b",     "a.x", "kv.", "",    ".",
                                       "a.b.c", "z",   "s.z", "las", "lastt"};
    unsigned line, col;

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_true(json_locate(text, strlen(text), want[i].key, &line, &col));
        assert_int_equal(line, want[i].line);
        assert_int_equal(col, want[i].col);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(json_locate(text, strlen(text), none[i], &line, &col));
    }
    assert_false(json_locate("[ /x", 4, "a", &line, &col));
    assert_false(json_locate("", 0, "a", &line, &col));
}

static void test_files(void **state)
{
    char path[] = "/tmp/steelyard-json-XXXXXX", want[200];
    int fd = mkstemp(path);
    struct arena a = {0};
    struct err e = {0};
    cJSON *root;
    size_t len;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "{\"a\":1}\n", 8), 8);
    close(fd);
    root = json_parse_file(path, &e);
    assert_non_null(root);
    cJSON_Delete(root);
    assert_string_equal(json_read_file(path, &len, &a, &e), "{\"a\":1}\n");
    assert_int_equal(len, 8);
    assert_int_equal(truncate(path, (64 << 20) + 1), 0); /* a hole: costs no disk */
    assert_null(json_read_file(path, &len, &a, &e));
    assert_int_equal(e.code, SIM_E_CONFIG);
    unlink(path);
    e = (struct err){0};
    assert_null(json_parse_file(path, &e));
    assert_int_equal(e.code, SIM_E_IO);
    snprintf(want, sizeof want, "cannot read '%s': No such file or directory", path);
    assert_string_equal(e.msg, want);
    e = (struct err){0};
    assert_null(json_parse_file("/tmp", &e)); /* a folder */
    assert_int_equal(e.code, SIM_E_IO);
    arena_release(&a);
}

static void write_sample(struct json_writer *w)
{
    json_object(w);
    json_kv_string(w, "s", "a\"b\\c\n\t\x01/\xc3\xa9");
    json_kv_string(w, "none", NULL);
    json_kv_int(w, "i", INT64_MIN);
    json_kv_double(w, "d", 0.1);
    json_kv_double(w, "nan", NAN);
    json_kv_double(w, "inf", -INFINITY);
    json_kv_bool(w, "b", true);
    json_key(w, "list");
    json_array(w);
    json_uint(w, UINT64_MAX);
    json_null(w);
    json_array(w);
    json_end(w);
    json_object(w);
    json_end(w);
    json_end(w);
    json_end(w);
}

static void test_writer(void **state)
{
    static const char compact[] =
        "{\"s\":\"a\\\"b\\\\c\\n\\t\\u0001/\xc3\xa9\",\"none\":null,\"i\":-9223372036854775808,"
        "\"d\":0.1,\"nan\":null,\"inf\":null,\"b\":true,\"list\":[18446744073709551615,null,[],{}]"
        "}";
    static const char pretty[] =
        "{\n  \"s\": \"a\\\"b\\\\c\\n\\t\\u0001/\xc3\xa9\",\n  \"none\": null,\n"
        "  \"i\": -9223372036854775808,\n  \"d\": 0.1,\n  \"nan\": null,\n  \"inf\": null,\n"
        "  \"b\": true,\n  \"list\": [\n    18446744073709551615,\n    null,\n    [],\n    {}\n  "
        "]\n}";

    (void)state;
    for (int p = 0; p < 2; p++) {
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);
        struct json_writer w;

        json_begin(&w, f, p);
        write_sample(&w);
        fclose(f);
        assert_string_equal(text, p ? pretty : compact);
        free(text);
    }
}

static void test_broken_utf8(void **state)
{
    /* lone byte, cut sequence, overlong, surrogate, beyond U+10FFFF; then good ones */
    static const char *const in[] = {
        "a\x80z",           "\xc3",        "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf0\x9f\x98\x80", "\xe2\x82\xac"};
    static const char *const out[] = {"\"a\\ufffdz\"",
                                      "\"\\ufffd\"",
                                      "\"\\ufffd\\ufffd\"",
                                      "\"\\ufffd\\ufffd\\ufffd\"",
                                      "\"\\ufffd\\ufffd\\ufffd\\ufffd\"",
                                      "\"\xf0\x9f\x98\x80\"",
                                      "\"\xe2\x82\xac\""};

    (void)state;
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        char *text = NULL;
        size_t len;
        FILE *f = open_memstream(&text, &len);
        struct json_writer w;

        json_begin(&w, f, false);
        json_string(&w, in[i]);
        fclose(f);
        assert_string_equal(text, out[i]);
        free(text);
    }
}

static void test_writer_too_deep_stays_in_bounds(void **state)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    struct json_writer w;

    (void)state;
    json_begin(&w, f, false);
    for (int i = 0; i < 2 * JSON_DEPTH; i++) {
        json_array(&w);
    }
    for (int i = 0; i < 3 * JSON_DEPTH; i++) {
        json_end(&w);
    }
    fclose(f);
    assert_int_equal(len, 4 * JSON_DEPTH);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comments_and_trailing_commas),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_keys_are_fast),
        cmocka_unit_test(test_locate),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_broken_utf8),
        cmocka_unit_test(test_writer_too_deep_stays_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
