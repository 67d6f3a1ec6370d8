/* SPDX-License-Identifier: Apache-2.0
 *
 * Round trips through both written forms, damaged packed files, and the statistics of a trace. */
#include "tests/unit/trace_test.h"

#include <unistd.h>
#include <xxhash.h>

#include "traces/info.h"
#include "traces/packed.h"
#include "traces/write.h"

#define HEAD                                                                                         \
    "time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,"  \
    "e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class\n"
#define ROWS                                                                                         \
    "0.5,ann,33,4,10,-2,100,20.5,3000,7,1,2.25,16,5-6 9,0.1,0.75,compound\n"                                  \
    "0.500000001,\"b,\"\"o\",1,1,,,,,,,,,,,,,\n"                                                      \
    "12,ann,64,2,,,,,,7,2,0,16,5-6 11-12,,1e-05,best-effort\n"

static char tmp[64];

static void new_tmp(const char *suffix)
{
    snprintf(tmp, sizeof(tmp), "/tmp/steelyard_write_XXXXXX%s", suffix);
    int fd = mkstemps(tmp, (int)strlen(suffix));
    assert_true(fd >= 0);
    close(fd);
}

static size_t slurp(char *to, size_t cap)
{
    FILE *f = fopen(tmp, "rb");
    assert_non_null(f);
    size_t n = fread(to, 1, cap - 1, f);
    fclose(f);
    to[n] = '\0';
    return n;
}

static void write_text(const char *text, const char *suffix)
{
    struct trace *t;
    struct err e = {0};
    uint64_t n;
    new_tmp(suffix);
    assert_int_equal(trace_open_memory(&t, text, strlen(text), "x", NULL, 1, 0, &e), 0);
    int rc = trace_write(t, tmp, trace_form_of_path(tmp), &n, &e);
    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
    assert_int_equal(n, 3);
    trace_close(t);
}

/* The text above is already in the form that the writer gives. */
static void test_native(void **state)
{
    (void)state;
    char have[4096];
    write_text(HEAD ROWS, ".csv");
    slurp(have, sizeof(have));
    assert_string_equal(have, HEAD ROWS);
    unlink(tmp);
    struct read_result r;
    write_text(HEAD ROWS, ".csv.gz");
    read_path(&r, tmp, NULL);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.n, 3);
    assert_string_equal(r.client[1], "b,\"o");
    unlink(tmp);
}

static void test_packed(void **state)
{
    (void)state;
    struct read_result want, have;
    read_text(&want, HEAD ROWS, strlen(HEAD ROWS), NULL);
    write_text(HEAD ROWS, ".packed");
    read_path(&have, tmp, NULL);
    assert_int_equal(have.rc, 0);
    assert_string_equal(have.format, "packed");
    assert_int_equal(have.n, 3);
    assert_int_equal(have.caps, want.caps);
    for (size_t i = 0; i < 3; i++) {
        struct arrival a = want.row[i], b = have.row[i];
        a.hash = b.hash = NULL;
        a.hash_tok = a.n_hash ? a.hash_tok : 0;
        assert_true(a.time_ns == b.time_ns && a.client == b.client && a.prompt_tok == b.prompt_tok &&
                    a.output_tok == b.output_tok && a.max_output_tok == b.max_output_tok &&
                    a.priority == b.priority && a.session == b.session && a.turn == b.turn &&
                    a.gap_ns == b.gap_ns && a.n_hash == b.n_hash && a.hash_tok == b.hash_tok);
        assert_true(a.ttft_slo_ms == b.ttft_slo_ms && a.tpot_slo_ms == b.tpot_slo_ms &&
                    a.e2e_slo_ms == b.e2e_slo_ms && a.slo_class == b.slo_class);
        assert_memory_equal(&a.measured_ttft_s, &b.measured_ttft_s, 8);
        assert_memory_equal(&a.measured_e2e_s, &b.measured_e2e_s, 8);
        assert_memory_equal(want.hash[i], have.hash[i], sizeof(have.hash[i]));
        assert_string_equal(want.client[i], have.client[i]);
    }
    unlink(tmp);
}

/* Graphs of calls: two columns more, and version 2 of the packed form; traces without are as ever. */
#define CALL_HEAD                                                                                    \
    "time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,"  \
    "e2e_slo_ms,session,turn,gap_s,hash_tokens,hash_ids,ttft_s,e2e_s,slo_class,call,after\n"
#define CALL_ROWS                                                                                    \
    "0,a,33,4,,,,,,7,,,,,,,compound,1,\n"                                                           \
    "1,a,33,4,,,,,,7,1,2.5,16,5-6 9,,,compound,2,1\n"                                               \
    "2,a,33,4,,,,,,7,2,0.5,16,5,,,compound,,1-2\n"

static void test_calls(void **state)
{
    (void)state;
    static const char *const forms[] = {".csv", ".packed"};
    char have[4096];
    for (size_t i = 0; i < 2; i++) {
        struct read_result r;
        struct trace *t;
        struct arrival a;
        struct err e = {0};
        write_text(CALL_HEAD CALL_ROWS, forms[i]);
        if (i == 0) {
            slurp(have, sizeof(have));
            assert_string_equal(have, CALL_HEAD CALL_ROWS);
        }
        read_path(&r, tmp, NULL);
        assert_int_equal(r.rc, 0);
        assert_true(r.caps & TRACE_CALLS);
        assert_true(r.row[0].call == 1 && r.row[1].call == 2 && r.row[2].call == 0);
        assert_true(r.row[0].n_after == 0 && r.row[1].n_after == 1 && r.row[2].n_after == 2);
        assert_int_equal(r.hash[1][2], 9);
        assert_int_equal(trace_open(&t, tmp, i == 0 ? "native{unsorted=on}" : NULL, 1, 0, &e), 0);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(trace_next(t, &a, &e), 1);
        }
        assert_true(a.after[0] == 1 && a.after[1] == 2 && a.hash[0] == 5);
        trace_close(t);
        unlink(tmp);
    }
}

static void expect_damaged(const char *data, size_t n, const char *part)
{
    struct read_result r;
    read_text(&r, data, n, "packed");
    if (r.rc != SIM_E_DATA || !strstr(r.err.msg, part)) {
        fail_msg("expected '%s', got %d '%s'", part, r.rc, r.err.msg);
    }
}

static void resign(char *data)
{
    struct packed_header h;
    memcpy(&h, data, sizeof(h));
    h.checksum = 0;
    h.checksum = XXH3_64bits(&h, sizeof(h));
    memcpy(data, &h, sizeof(h));
}

static void test_damaged(void **state)
{
    (void)state;
    static char good[4096], bad[4096];
    write_text(HEAD ROWS, ".packed");
    size_t n = slurp(good, sizeof(good));
    unlink(tmp);
    /* 3 records, 2 extras, 3 + 4 ids, "ann" and 'b,"o' in 16 bytes */
    assert_int_equal(n, 88 + 3 * 32 + 2 * 72 + 7 * 8 + 16);
    expect_damaged(good, n - 1, "truncated");
    expect_damaged(good, 87, "truncated");
    expect_damaged(good, 0, "");
    for (size_t i = 0; i < 88; i++) {
        memcpy(bad, good, n);
        bad[i] = (char)(bad[i] ^ 0x41);
        expect_damaged(bad, n, i < 8 ? "not a packed trace" : "");
    }
    memcpy(bad, good, n);
    memset(bad + offsetof(struct packed_header, n_ids), 0xff, 8);
    resign(bad);
    expect_damaged(bad, n, "damaged");
    memcpy(bad, good, n);
    memset(bad + 88 + offsetof(struct packed_record, extra), 0x7f, 4);
    expect_damaged(bad, n, "record 1 points behind the extras");
    memcpy(bad, good, n);
    memset(bad + 88 + 96 + offsetof(struct packed_extra, first_id), 0x7f, 8);
    expect_damaged(bad, n, "record 1 points behind the prefix ids");
    memcpy(bad, good, n);
    bad[88 + offsetof(struct packed_record, client)] = 9;
    expect_damaged(bad, n, "client 9 has no name");
    memcpy(bad, good, n);
    memset(bad + 88 + 32, 0, 8);
    expect_damaged(bad, n, "comes after one at 0.5 s");
    memcpy(bad, good, n);
    memcpy(bad + n - 16 + 4, "ann", 4);
    expect_damaged(bad, n, "names client 'ann' twice");
    memcpy(bad, good, n);
    memset(bad + n - 16, 'x', 16);
    expect_damaged(bad, n, "names fewer than 2 clients");
}

static void test_unwritable(void **state)
{
    (void)state;
    struct trace *t;
    struct err e = {0};
    assert_int_equal(trace_open_memory(&t, HEAD ROWS, strlen(HEAD ROWS), "x", NULL, 1, 0, &e), 0);
    assert_int_equal(trace_write(t, "-", TRACE_PACKED, NULL, &e), SIM_E_USAGE);
    memset(&e, 0, sizeof(e));
    assert_int_equal(trace_write(t, "/nonexistent/x.csv", TRACE_NATIVE, NULL, &e), SIM_E_IO);
    memset(&e, 0, sizeof(e));
    assert_int_equal(trace_write(t, "/dev/full", TRACE_NATIVE, NULL, &e), SIM_E_IO);
    trace_close(t);
}

static void gather(const char *path, const char *format, struct trace_info *ret, struct arena *a)
{
    struct trace *t;
    struct err e = {0};
    int rc = trace_open(&t, path, format, 1, 0, &e);
    if (rc == 0) {
        rc = trace_info(ret, t, a, NULL, NULL, &e);
        trace_close(t);
    }
    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
}

static void test_info(void **state)
{
    (void)state;
    struct arena a = {0};
    struct trace_info i;
    write_text(HEAD "0,a,40,1,,,,,,1,,,16,1-3,,2,\n1,b,48,2,,,,,,1,,,16,1-2 9,,,\n4,a,20,3,,,,,,2,,,16,9,,,\n",
               ".csv");
    gather(tmp, NULL, &i, &a);
    unlink(tmp);
    assert_int_equal(i.requests, 3);
    assert_true(i.first_s == 0 && i.last_s == 4 && i.rate_per_s == 0.5);
    /* gaps 1 and 3: mean 2, standard deviation 1 */
    assert_true(fabs(i.gap_cv - 0.5) < 1e-12);
    assert_int_equal(i.total_prompt_tok, 108);
    assert_true(hist_mean(&i.prompt_tok) == 36);
    assert_int_equal(i.clients, 2);
    assert_int_equal(i.client[0].requests, 2);
    assert_int_equal(i.client[0].prompt_tok, 60);
    assert_int_equal(i.client[1].output_tok, 2);
    assert_int_equal(i.sessions, 2);
    assert_int_equal(i.distinct_ids, 4);
    /* The second request hits 1-2 = 32 tokens, the third its only block, of which it has 16 of 20. */
    assert_true(fabs(i.reuse_share - (32 + 16) / 108.0) < 1e-12);
    assert_int_equal(i.measured, 1);
    arena_release(&a);
}

/* serving.md 19.2: token reuse of Mooncake's traces in an infinite cache: 37.4 % and 65.1 %; the README of
 * LLMServingSim's runs: 7.6 to 7.9 %. */
static void test_reuse(void **state)
{
    (void)state;
    const char *dir = getenv("STEELYARD_SHARED");
    char path[512];
    struct arena a = {0};
    struct trace_info i;
    snprintf(path, sizeof(path), "%s/data/traces/mooncake_conversation.csv.gz", dir ? dir : "");
    if (access(path, R_OK) != 0) {
        print_message("# no public data beside the source: skipped\n");
        skip();
    }
    gather(path, NULL, &i, &a);
    assert_true(fabs(i.reuse_share - 0.374) < 0.0015);
    snprintf(path, sizeof(path), "%s/data/traces/mooncake_synthetic.csv.gz", dir);
    gather(path, NULL, &i, &a);
    assert_true(fabs(i.reuse_share - 0.651) < 0.0015);
    snprintf(path, sizeof(path), "%s/data/groundtruth/llmservingsim_bench/RTXPRO6000__Qwen3-32B__requests.csv.gz",
             dir);
    gather(path, NULL, &i, &a);
    assert_true(i.reuse_share > 0.075 && i.reuse_share < 0.08);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native),  cmocka_unit_test(test_packed),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_info),    cmocka_unit_test(test_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
