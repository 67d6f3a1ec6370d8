/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/trace_test.h"

#include <unistd.h>
#include <zlib.h>

#include "traces/csv.h"
#include "traces/input.h"
#include "traces/reader.h"

#define HEAD "t_s,prompt_tokens,output_tokens\n"

static char tmp_path[64];

static void new_tmp(void)
{
    strcpy(tmp_path, "/tmp/steelyard_input_XXXXXX");
    int fd = mkstemp(tmp_path);
    assert_true(fd >= 0);
    close(fd);
}

static void write_tmp(const void *data, size_t n)
{
    FILE *f = fopen(tmp_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

static size_t gzip_rows(unsigned char *to, size_t cap, int rows)
{
    new_tmp();
    gzFile gz = gzopen(tmp_path, "wb");
    gzprintf(gz, HEAD);
    for (int i = 0; i < rows; i++) {
        gzprintf(gz, "%d.%d,%d,%d\n", i, i * 7 % 10, 1 + i * 31 % 977, 1 + i % 13);
    }
    gzclose(gz);
    FILE *f = fopen(tmp_path, "rb");
    size_t n = fread(to, 1, cap, f);
    fclose(f);
    assert_true(n < cap);
    return n;
}

static void test_gzip(void **state)
{
    (void)state;
    static unsigned char z[1 << 20];
    struct read_result r;
    size_t n = gzip_rows(z, sizeof(z), 5000);
    read_path(&r, tmp_path, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 5000);
    expect_row(&r, 3, 3.1, 94, 4);
    /* Every kind of truncation names the file and says so; none reads as a shorter trace. */
    for (size_t keep = n - 1; keep > n - 12; keep--) {
        write_tmp(z, keep);
        read_path(&r, tmp_path, NULL);
        assert_int_equal(r.rc, SIM_E_DATA);
        assert_non_null(strstr(r.err.msg, tmp_path));
        assert_non_null(strstr(r.err.msg, "truncated"));
    }
    z[n / 2] ^= 0xff;
    write_tmp(z, n);
    read_path(&r, tmp_path, NULL);
    assert_int_equal(r.rc, SIM_E_DATA);
    unlink(tmp_path);
}

static void test_long_line(void **state)
{
    (void)state;
    size_t n = TRACE_LINE_MAX + 200;
    char *text = malloc(n + 1);
    struct read_result r;
    strcpy(text, HEAD "0,1,1\n");
    memset(text + strlen(HEAD) + 6, '7', n - strlen(HEAD) - 6);
    text[n] = '\0';
    read_text(&r, text, n, "columns");
    assert_int_equal(r.rc, SIM_E_DATA);
    assert_int_equal(r.n, 1);
    assert_non_null(strstr(r.err.msg, "x:3: the line is longer than 16 MiB"));
    free(text);
}

static void test_line_ends(void **state)
{
    (void)state;
    struct read_result r;
    const char *text = "\xef\xbb\xbft_s,prompt_tokens,output_tokens\r\n\r\n1,2,3\r\n\n2,3,4";
    read_text(&r, text, strlen(text), NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 2);
    expect_row(&r, 0, 1, 2, 3);
    expect_row(&r, 1, 2, 3, 4);
}

static void test_not_a_trace(void **state)
{
    (void)state;
    struct read_result r;
    expect_error("", NULL, SIM_E_DATA, "x: the file is empty");
    expect_error(HEAD, NULL, SIM_E_DATA, "x: the trace holds no request");
    expect_error("hello world\n", NULL, SIM_E_DATA, "it begins with 'hello world'");
    expect_error(HEAD "1,2,3\n", "colums", SIM_E_CONFIG, "did you mean 'columns'?");
    expect_error(HEAD "1,2,3\n", "columns{rte=3}", SIM_E_CONFIG, "rate");
    read_path(&r, "/nonexistent/trace.csv", NULL);
    assert_int_equal(r.rc, SIM_E_IO);
    read_path(&r, "/", NULL);
    assert_int_equal(r.rc, SIM_E_IO);
    assert_non_null(strstr(r.err.msg, "is a directory"));
    static const char nul[] = HEAD "1,2\0,3\n";
    read_text(&r, nul, sizeof(nul) - 1, NULL);
    assert_int_equal(r.rc, SIM_E_DATA);
    assert_non_null(strstr(r.err.msg, "x:2: a NUL byte"));
}

static void test_csv(void **state)
{
    (void)state;
    struct csv c = {0};
    char a[] = "x,\"a \"\"b\"\", c\",,\"\"";
    assert_int_equal(csv_split(&c, a), 4);
    assert_string_equal(c.field[0], "x");
    assert_string_equal(c.field[1], "a \"b\", c");
    assert_string_equal(c.field[2], "");
    assert_string_equal(c.field[3], "");
    char b[] = "x,\"open";
    assert_int_equal(csv_split(&c, b), -1);
    char d[] = "\"x\"y,2";
    assert_int_equal(csv_split(&c, d), -1);
    char f[] = " alpha , beta";
    csv_split(&c, f);
    assert_int_equal(csv_find(&c, "alpha"), 0);
    assert_int_equal(csv_find(&c, "beta"), 1);
    assert_int_equal(csv_find(&c, "bet"), -1);
    csv_release(&c);
}

static void test_numbers(void **state)
{
    (void)state;
    uint64_t u;
    sim_ns t;
    double d;
    assert_int_equal(num_uint("42", 100, &u), NUM_OK);
    assert_int_equal(u, 42);
    assert_int_equal(num_uint("42.0", 100, &u), NUM_OK);
    assert_int_equal(u, 42);
    assert_int_equal(num_uint("42.5", 100, &u), NUM_FRACTION);
    assert_int_equal(num_uint("101", 100, &u), NUM_RANGE);
    assert_int_equal(num_uint("18446744073709551616", UINT64_MAX, &u), NUM_RANGE);
    assert_int_equal(num_uint("-1", 100, &u), NUM_NEGATIVE);
    assert_int_equal(num_uint("nan", 100, &u), NUM_NAN);
    assert_int_equal(num_uint("inf", 100, &u), NUM_NAN);
    assert_int_equal(num_uint("1e400", 100, &u), NUM_RANGE);
    assert_int_equal(num_uint("0x10", 100, &u), NUM_TEXT);
    assert_int_equal(num_uint("", 100, &u), NUM_EMPTY);
    assert_int_equal(num_uint("12 kg", 100, &u), NUM_TEXT);
    assert_int_equal(num_time("4.314579", 1000000000, &t), NUM_OK);
    assert_int_equal(t, 4314579000);
    assert_int_equal(num_time("3536999", 1000000, &t), NUM_OK);
    assert_int_equal(t, 3536999000000);
    assert_int_equal(num_time("-0.5", 1000000000, &t), NUM_OK);
    assert_int_equal(t, -500000000);
    assert_int_equal(num_time("1.5e1", 1000000000, &t), NUM_OK);
    assert_int_equal(t, 15000000000);
    assert_int_equal(num_time(".25", 1000000000, &t), NUM_OK);
    assert_int_equal(t, 250000000);
    assert_int_equal(num_time("99999999999999", 1000000000, &t), NUM_RANGE);
    assert_int_equal(num_time("nan", 1000000000, &t), NUM_NAN);
    assert_int_equal(num_double("1e-3", &d), NUM_OK);
    /* date -u -d '2023-11-16 18:15:46' +%s */
    assert_int_equal(num_iso_time("2023-11-16 18:15:46.6805900", &t), NUM_OK);
    assert_int_equal(t, 1700158546680590000);
    assert_int_equal(num_iso_time("2024-02-29T00:00:00+01:00", &t), NUM_OK);
    assert_int_equal(t, 1709161200000000000);
    assert_int_equal(num_iso_time("1970-01-01 00:00:00Z", &t), NUM_OK);
    assert_int_equal(t, 0);
    assert_int_equal(num_iso_time("2023-13-16 18:15:46", &t), NUM_TEXT);
    assert_int_equal(num_iso_time("12.5", &t), NUM_TEXT);
}

static void test_ids(void **state)
{
    (void)state;
    struct id_list l = {0};
    const char *why;
    assert_true(id_list_parse(&l, "0 14-16  30", &why));
    assert_int_equal(l.n, 5);
    assert_int_equal(l.id[3], 16);
    assert_int_equal(l.id[4], 30);
    assert_false(id_list_parse(&l, "5-3", &why));
    assert_false(id_list_parse(&l, "5-", &why));
    assert_false(id_list_parse(&l, "5x", &why));
    assert_false(id_list_parse(&l, "0-99999999999", &why));
    assert_false(id_list_parse(&l, "0-18446744073709551615", &why));
    id_list_release(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip),    cmocka_unit_test(test_long_line), cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_not_a_trace), cmocka_unit_test(test_csv),   cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
