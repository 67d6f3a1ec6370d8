/* SPDX-License-Identifier: Apache-2.0
 *
 * The probe's host side: command line, cases, JSON, statistics, the file of measurements, plans. */
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

#include "calibrate/probe/args.h"
#include "calibrate/probe/cases.h"
#include "calibrate/probe/json_in.h"
#include "calibrate/probe/json_out.h"
#include "calibrate/probe/plan.h"
#include "calibrate/probe/stats.h"
#include "calibrate/probe/store.h"

/* ---- command line ---- */

static int parse(struct probe_args *a, struct err *e, char **argv)
{
    int argc = 0;

    while (argv[argc]) {
        argc++;
    }
    *e = (struct err){0};
    return probe_args_parse(a, argc, argv, e);
}

#define PARSE(a, e, ...) parse(a, e, (char *[]){(char *)"steelyard-probe", __VA_ARGS__, NULL})

static void test_args(void **state)
{
    struct probe_args a;
    struct err e;

    (void)state;
    assert_int_equal(parse(&a, &e, (char *[]){(char *)"steelyard-probe", NULL}), 0);
    assert_true(a.repeat == 3 && a.graph_max == 512 && a.device == 0 && !a.quick && !a.out);
    assert_int_equal(PARSE(&a, &e, (char *)"--quick", (char *)"-o", (char *)"x.json", (char *)"--continue",
                           (char *)"--device=2", (char *)"--only", (char *)"gemm,decode"), 0);
    assert_true(a.quick && a.go_on && a.device == 2);
    assert_string_equal(a.out, "x.json");
    assert_int_equal(PARSE(&a, &e, (char *)"--replay", (char *)"p.jsonl", (char *)"--eager", (char *)"--limit", (char *)"9"), 0);
    assert_int_equal(a.limit, 9);
}

static void test_args_wrong(void **state)
{
    static const struct {
        const char *words[4], *part;
    } wrong[] = {
        {{"--quik"}, "'--quik' is not known"},
        {{"plan.jsonl"}, "word 'plan.jsonl'"},
        {{"--device"}, "needs a value"},
        {{"--device", "-1"}, "0..255"},
        {{"--device", "1x"}, "0..255"},
        {{"--repeat=0"}, "1..1000"},
        {{"--repeat", "99999999999999999999"}, "1..1000"},
        {{"--out="}, "empty value"},
        {{"--continue"}, "needs -o"},
        {{"--eager"}, "belong to --replay"},
        {{"--replay", "p", "--quick"}, "goes with none of"},
        {{"--only", "gemn"}, "'gemn' is no kind"},
        {{"--only", "gemm,,decode"}, "is no kind"},
    };
    struct probe_args a;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        char *argv[6] = {(char *)"steelyard-probe"};

        for (size_t w = 0; w < 4; w++) {
            argv[w + 1] = (char *)(uintptr_t)wrong[i].words[w];
        }
        assert_int_equal(parse(&a, &e, argv), SIM_E_USAGE);
        if (!strstr(e.msg, wrong[i].part)) {
            fail_msg("'%s' lacks '%s'", e.msg, wrong[i].part);
        }
    }
}

static void test_only(void **state)
{
    (void)state;
    assert_true(only_matches(NULL, "gemm", "gemm dtype=bf16 m=1"));
    assert_true(only_matches("decode,gemm", "gemm", "gemm dtype=bf16 m=1"));
    assert_true(only_matches("gemm dtype=bf16", "gemm", "gemm dtype=bf16 m=1"));
    assert_false(only_matches("gemm dtype=fp8", "gemm", "gemm dtype=bf16 m=1"));
    assert_false(only_matches("gem", "gemm", "gemm dtype=bf16 m=1"));
    assert_false(only_matches("moe_gemm", "gemm", "gemm dtype=bf16 m=1"));
    assert_false(only_matches("", "gemm", "gemm dtype=bf16 m=1"));
}

/* ---- cases ---- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_list(bool quick, int gpus, size_t at_least, size_t at_most)
{
    struct case_list l;
    struct err e = {0};
    char **ids;

    assert_int_equal(cases_build(&l, quick, NULL, gpus, &e), 0);
    assert_in_range(l.n, at_least, at_most);
    assert_string_equal(l.cases[0].kind, "limit");
    ids = calloc(l.n, sizeof(*ids));
    for (size_t i = 0; i < l.n; i++) {
        const struct probe_case *c = &l.cases[i];

        ids[i] = l.cases[i].id;
        assert_true(strlen(c->id) < CASE_ID - 1);
        assert_true(strncmp(c->id, c->kind, strlen(c->kind)) == 0);
        for (int p = 0; p < c->n_params; p++) {
            assert_true(c->params[p].word || c->params[p].number >= 0);
        }
    }
    qsort(ids, l.n, sizeof(*ids), by_text);
    for (size_t i = 1; i < l.n; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
    free(ids);
    cases_release(&l);
}

static void test_cases(void **state)
{
    struct case_list l;
    struct err e = {0};

    (void)state;
    check_list(true, 1, 100, 250);
    check_list(false, 1, 1000, 2500);
    check_list(false, 8, 1100, 3000);
    /* Nothing between GPUs with one; with four: ranks 2 and 4, peers 1 to 3. */
    assert_int_equal(cases_build(&l, true, "peer,collective", 1, &e), 0);
    assert_int_equal(l.n, 0);
    cases_release(&l);
    assert_int_equal(cases_build(&l, true, "collective what=all_reduce", 4, &e), 0);
    assert_int_equal(l.n, 2 * 5);
    assert_int_equal(case_int(&l.cases[9], "ranks"), 4);
    cases_release(&l);
    /* The LM head sees sampled rows, never 16384; products of a layer do. */
    assert_int_equal(cases_build(&l, false, "gemm dtype=bf16", 1, &e), 0);
    for (size_t i = 0; i < l.n; i++) {
        assert_true(case_int(&l.cases[i], "n") != 128256 || case_int(&l.cases[i], "m") <= 512);
    }
    cases_release(&l);
    assert_int_equal(cases_build(&l, true, "gemm dtype=bf16 m=8192 n=6144 k=4096", 1, &e), 0);
    assert_int_equal(l.n, 1);
    assert_int_equal(case_int(&l.cases[0], "k"), 4096);
    assert_string_equal(case_word(&l.cases[0], "dtype"), "bf16");
    assert_string_equal(case_word(&l.cases[0], "m"), "");
    assert_int_equal(case_int(&l.cases[0], "none"), 0);
    cases_release(&l);
}

static void test_split_skewed(void **state)
{
    int64_t r[8];

    (void)state;
    split_skewed(10, 4, 0, r); /* 2.5 each: the first two get the halves */
    assert_true(r[0] == 3 && r[1] == 3 && r[2] == 2 && r[3] == 2);
    split_skewed(11, 3, 100, r); /* shares 6/11, 3/11, 2/11 */
    assert_true(r[0] == 6 && r[1] == 3 && r[2] == 2);
    split_skewed(1, 8, 50, r);
    assert_true(r[0] == 1 && r[7] == 0);
    split_skewed(0, 8, 50, r);
    assert_int_equal(r[0], 0);
}

static void test_spread_contexts(void **state)
{
    int32_t r[512];

    (void)state;
    for (int n = 1; n <= 512; n = n * 2 + 1) {
        int64_t sum = 0, lo = INT64_MAX, hi = 0;

        memset(r, 0, sizeof(r));
        spread_contexts(1000, 90, n, r);
        for (int i = 0; i < n; i++) {
            sum += r[i];
            lo = r[i] < lo ? r[i] : lo;
            hi = r[i] > hi ? r[i] : hi;
        }
        assert_true(llabs((long long)(sum - 1000LL * n)) <= n);
        assert_true(n == 1 ? lo == 1000 : lo == 100 && hi == 1900);
    }
    spread_contexts(64, 0, 5, r);
    assert_true(r[0] == 64 && r[4] == 64);
}

/* ---- statistics ---- */

static void test_stats(void **state)
{
    const double x[] = {5, 1, 4, 2, 3}, one[] = {7};
    const double a[] = {3, 4}, b[] = {3, 5}, nan[] = {3, (double)NAN}, zero[] = {0, 0};
    struct stats s = stats_of(x, 5);

    (void)state;
    assert_true(s.n == 5 && s.min == 1 && s.p25 == 2 && s.median == 3 && s.p75 == 4 && s.max == 5);
    assert_true(fabs(s.mean - 3) < 1e-12);
    s = stats_of(x, 4); /* 1 2 4 5 */
    assert_true(fabs(s.median - 3) < 1e-12 && fabs(s.p25 - 1.75) < 1e-12);
    s = stats_of(one, 1);
    assert_true(s.min == 7 && s.p75 == 7 && s.max == 7);
    assert_int_equal(stats_of(one, 0).n, 0);
    assert_true(fabs(stats_rel_error(a, b, 2) - 1 / sqrt(34.0)) < 1e-12);
    assert_true(isinf(stats_rel_error(nan, b, 2)) && isinf(stats_rel_error(a, nan, 2)));
    assert_true(isinf(stats_rel_error(a, zero, 2)) && stats_rel_error(zero, zero, 2) < 1e-300);
}

/* ---- JSON ---- */

static int read_json(struct json_in_doc *d, const char *text, struct err *e)
{
    *e = (struct err){0};
    return json_in_parse(d, text, strlen(text), "t", 1, e);
}

static void test_json_in(void **state)
{
    static const char *const bad[] = {
        "", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "1e", "nul", "\"a", "\"\\x\"", "\"\\u12\"",
        "[1 2]", "1 2", "{\"a\" 1}", "1e999", "NaN", "\"\t\"", "\"\\u0000\"", "-", "tru", "[", "\"\\",
    };
    struct json_in_doc d;
    struct err e;
    int64_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        if (read_json(&d, bad[i], &e) != SIM_E_DATA) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
    assert_int_equal(read_json(&d, " {\"a\": [1, -2.5e1, true, null, \"x\\u00e4\\ud83d\\ude00\\n\"]}\n", &e), 0);
    const struct json_in *v = json_in_get(d.root, "a");
    assert_int_equal(v->n, 5);
    assert_true(json_in_int(v->first, 0, 5, &n) && n == 1);
    assert_false(json_in_int(v->first, 2, 5, &n));
    assert_true(fabs(json_in_number(v->first->next, 0) + 25) < 1e-12);
    assert_false(json_in_int(json_in_get(d.root, "b"), 0, 5, &n));
    assert_string_equal(json_in_string(v->first->next->next->next->next, ""), "x\xc3\xa4\xf0\x9f\x98\x80\n");
    assert_null(json_in_get(v, "a"));
    json_in_release(&d);
    assert_int_equal(read_json(&d, "{\n\n\"a\": x}", &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "t:3: "));
    /* Depth has an end. */
    char deep[200];
    memset(deep, '[', sizeof(deep));
    deep[199] = '\0';
    assert_int_equal(read_json(&d, deep, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "nested too deeply"));
}

static void test_json_out(void **state)
{
    struct json_out o = {0};
    struct json_in_doc d;
    struct err e;

    (void)state;
    json_out_open(&o, NULL, '{');
    json_out_string(&o, "s", "a\"b\\c\n\xff\xc3\xa4");
    json_out_string(&o, "none", NULL);
    json_out_open(&o, "l", '[');
    json_out_newline(&o);
    json_out_int(&o, NULL, -5);
    json_out_newline(&o);
    json_out_number(&o, NULL, 0.1);
    json_out_number(&o, NULL, (double)NAN);
    json_out_close(&o, ']');
    json_out_bool(&o, "t", true);
    json_out_close(&o, '}');
    assert_string_equal(o.text, "{\"s\":\"a\\\"b\\\\c\\u000a?\xc3\xa4\",\"none\":null,\"l\":[\n-5,\n0.1,null],\"t\":true}");
    assert_int_equal(read_json(&d, o.text, &e), 0);
    /* What was read is written as it was. */
    struct json_out again = {0};
    json_out_value(&again, NULL, d.root);
    assert_string_equal(again.text, "{\"s\":\"a\\\"b\\\\c\\u000a?\xc3\xa4\",\"none\":null,\"l\":[-5,0.1,null],\"t\":true}");
    json_out_release(&again);
    json_out_release(&o);
    json_in_release(&d);
}

static void test_file_replace(void **state)
{
    char path[] = "/tmp/steelyard-probe-test-XXXXXX";
    int fd = mkstemp(path);
    struct err e = {0};
    size_t n;
    char *text;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_replace(path, "hello", 5, &e), 0);
    assert_int_equal(file_replace(path, "hi", 2, &e), 0);
    text = file_read(path, 100, &n, &e);
    assert_string_equal(text, "hi");
    free(text);
    assert_null(file_read(path, 1, &n, &e));
    assert_int_equal(e.code, SIM_E_DATA);
    e = (struct err){0};
    assert_int_equal(file_replace("/no/such/folder/x", "hi", 2, &e), SIM_E_IO);
    unlink(path);
    e = (struct err){0};
    assert_null(file_read(path, 100, &n, &e));
    assert_int_equal(e.code, SIM_E_IO);
}

/* ---- the file of measurements ---- */

struct world {
    struct case_list list;
    struct store store;
    struct err e;
};

static void open_world(struct world *w, const char *only)
{
    *w = (struct world){0};
    assert_int_equal(cases_build(&w->list, true, only, 1, &w->e), 0);
    assert_int_equal(probe_store_init(&w->store, &w->list, &w->e), 0);
    w->store.mode = "quick";
    w->store.started = "2025-01-01T00:00:00Z";
    json_out_open(&w->store.head, NULL, '{');
    json_out_open(&w->store.head, "device", '{');
    json_out_string(&w->store.head, "uuid", "GPU-1");
    json_out_close(&w->store.head, '}');
    json_out_close(&w->store.head, '}');
}

static void close_world(struct world *w)
{
    probe_store_release(&w->store);
    cases_release(&w->list);
}

static struct measurement some_times(double s)
{
    return (struct measurement){.n = 3, .sample_s = {s, 3 * s, 2 * s}, .calls = 4, .sets = 2, .flop = 1e9, .byte = 1e6,
                                .checked = true, .rel_error = 1e-3, .kernel = "k", .sm_mhz = 1980};
}

static char *text_of(struct world *w, bool complete)
{
    struct json_out o = {0};

    store_write(&w->store, complete, "2025-01-01T00:01:00Z", &o);
    assert_false(o.failed);
    return o.text;
}

static int go_on(struct world *w, const char *text, const char *uuid)
{
    w->e = (struct err){0};
    return store_parse(&w->store, text, strlen(text), "f", uuid, &w->e);
}

static void test_store(void **state)
{
    struct world a, b;
    struct measurement m = some_times(1e-3), skipped = {.why = "no \"memory\""};
    struct json_in_doc d;
    struct err e;

    (void)state;
    open_world(&a, "limit,norm");
    store_put(&a.store, 0, OUTCOME_MEASURED, &m);
    store_put(&a.store, 1, OUTCOME_SKIPPED, &skipped);
    store_put(&a.store, 2, OUTCOME_WRONG, &skipped);
    char *text = text_of(&a, false);
    assert_int_equal(read_json(&d, text, &e), 0);
    const struct json_in *list = json_in_get(d.root, "measurements");
    assert_int_equal(list->n, 1);
    assert_string_equal(json_in_string(json_in_get(list->first, "id"), ""), a.list.cases[0].id);
    assert_true(fabs(json_in_number(json_in_get(json_in_get(list->first, "time_s"), "median"), 0) - 2e-3) < 1e-12);
    assert_true(fabs(json_in_number(json_in_get(json_in_get(d.root, "limits"), "read_byte_per_s"), 0) - 5e8) < 1);
    assert_int_equal(json_in_get(json_in_get(d.root, "limits"), "fp8_flop_per_s")->type, JSON_IN_NULL);
    assert_int_equal(json_in_get(d.root, "skipped")->n, 1);
    assert_int_equal(json_in_get(d.root, "wrong")->n, 1);
    json_in_release(&d);

    /* Going on: what was measured is there, the rest is to be done; written again it is the same. */
    open_world(&b, "limit,norm");
    assert_int_equal(go_on(&b, text, "GPU-1"), 0);
    assert_true(b.store.entries[0].known && !b.store.entries[1].known && !b.store.entries[2].known);
    store_put(&b.store, 1, OUTCOME_SKIPPED, &skipped);
    store_put(&b.store, 2, OUTCOME_WRONG, &skipped);
    char *again = text_of(&b, false);
    assert_string_equal(text, again);
    free(again);
    free(text);
    close_world(&b);
    close_world(&a);
}

static void test_store_refuses(void **state)
{
    struct world a;
    struct measurement m = some_times(1e-3);

    (void)state;
    open_world(&a, "limit");
    store_put(&a.store, 0, OUTCOME_MEASURED, &m);
    char *text = text_of(&a, true);
    assert_int_equal(go_on(&a, text, "GPU-2"), SIM_E_DATA);
    assert_non_null(strstr(a.e.msg, "another device"));
    a.store.mode = "full";
    assert_int_equal(go_on(&a, text, "GPU-1"), SIM_E_DATA);
    assert_non_null(strstr(a.e.msg, "mode 'quick'"));
    a.store.mode = "quick";
    assert_int_equal(go_on(&a, "{}", "GPU-1"), SIM_E_DATA);
    assert_int_equal(go_on(&a, "[", "GPU-1"), SIM_E_DATA);
    char *samples = strstr(text, "\"samples_s\":[");
    samples[13] = '-'; /* a time below zero */
    assert_int_equal(go_on(&a, text, "GPU-1"), SIM_E_DATA);
    free(text);
    close_world(&a);
}

/* The share is against the best rate of the file, whatever the order. */
static void test_share(void **state)
{
    struct world a;
    struct measurement fast = some_times(1e-3), slow = some_times(2e-3);
    struct store_limits l;

    (void)state;
    open_world(&a, "gemm dtype=bf16,launch");
    fast.byte = slow.byte = 0;
    for (size_t i = 0; i < a.list.n; i++) {
        store_put(&a.store, i, OUTCOME_MEASURED, i == 20 ? &fast : &slow);
    }
    l = store_limits(&a.store);
    assert_true(fabs(l.bf16 - 5e11) < 1e6 && isnan(l.read));
    for (size_t i = 0; i < a.list.n; i++) {
        double share = store_share(&l, &a.store.entries[i]);

        if (strcmp(a.list.cases[i].kind, "launch") == 0) {
            assert_true(isnan(share));
        } else {
            assert_true(fabs(share - (i == 20 ? 1 : 0.5)) < 1e-9);
        }
    }
    close_world(&a);
}

/* ---- plans ---- */

#define HEAD                                                                                       \
    "{\"format\":\"steelyard-plan\",\"version\":1,\"model\":{\"name\":\"m\",\"layers\":2,\"hidden\":64,\"heads\":4," \
    "\"kv_heads\":2,\"head_dim\":64,\"ffn\":128,\"vocab\":1000,\"experts\":0,\"tied_embedding\":true},\"tp\":1,"     \
    "\"block_tok\":16}\n"

static int read_plan(struct plan *p, const char *text, int limit, struct err *e)
{
    *e = (struct err){0};
    return plan_parse(p, text, strlen(text), "p", limit, e);
}

static void test_plan(void **state)
{
    const char *text = HEAD
        "{\"step\":0,\"start_ns\":0,\"dur_ns\":5000,\"chunks\":[[0,17,1],[100,30,0]],\"decode\":[],\"decode_tok\":0}\n"
        "{\"step\":1,\"start_ns\":5000,\"dur_ns\":2000,\"chunks\":[],\"decode\":[18,16],\"decode_tok\":34}\r\n\n";
    struct plan p;
    struct err e;

    (void)state;
    assert_int_equal(read_plan(&p, text, 0, &e), 0);
    assert_int_equal(p.n_step, 2);
    assert_true(p.model.tied_embedding && p.model.vocab == 1000);
    assert_int_equal(p.steps[0].prefill_tok, 47);
    assert_true(p.steps[0].chunks[1].start_tok == 100 && !p.steps[0].chunks[1].last && p.steps[0].chunks[0].last);
    assert_true(p.steps[1].ctx[1] == 16 && p.steps[1].dur_ns == 2000);
    assert_int_equal(p.max_rows, 47);
    assert_int_equal(p.max_kv_tok, 147);
    assert_int_equal(p.max_blocks, 2 + 9); /* 17 and 130 tokens in blocks of 16 */
    assert_int_equal(p.max_ctx, 130);
    assert_true(p.max_seqs == 2 && p.max_decode == 2);
    plan_release(&p);
    assert_int_equal(read_plan(&p, text, 1, &e), 0);
    assert_int_equal(p.n_step, 1);
    plan_release(&p);
}

static void replaced(char *out, size_t size, const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);

    assert_non_null(at);
    snprintf(out, size, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_plan_wrong(void **state)
{
    static const char good[] = HEAD
        "{\"step\":0,\"start_ns\":0,\"dur_ns\":5,\"chunks\":[[0,17,1]],\"decode\":[5],\"decode_tok\":5}\n";
    static const struct {
        const char *from, *to, *part;
    } wrong[] = {
        {"\"steelyard-plan\"", "\"plan\"", "p:1: this is no plan"},
        {"\"version\":1", "\"version\":2", "p:1: this is no plan"},
        {"\"tp\":1", "\"tp\":2", "several GPUs"},
        {"\"experts\":0", "\"experts\":8", "experts cannot be replayed"},
        {"\"head_dim\":64", "\"head_dim\":80", "head_dim of 64 or 128"},
        {"\"layers\":2", "\"layers\":0", "'layers' has to be a whole number in 1..1024"},
        {"\"kv_heads\":2", "\"kv_heads\":3", "query heads for each KV head"},
        {"\"block_tok\":16", "\"block_tok\":0", "'block_tok'"},
        {"[0,17,1]", "[0,17]", "p:2: a chunk has to be"},
        {"[0,17,1]", "[0,0,1]", "p:2: a chunk has to be"},
        {"[0,17,1]", "[-1,17,1]", "p:2: a chunk has to be"},
        {"[0,17,1]", "[0,17.5,1]", "p:2: a chunk has to be"},
        {"\"decode\":[5]", "\"decode\":[0]", "p:2: a context"},
        {"\"decode_tok\":5", "\"decode_tok\":6", "p:2: 'decode_tok' is not the sum"},
        {"\"dur_ns\":5", "\"dur_ns\":-5", "p:2: a step needs"},
        {"\"chunks\":[[0,17,1]],\"decode\":[5],\"decode_tok\":5", "\"chunks\":[],\"decode\":[],\"decode_tok\":0",
         "p:2: an empty step"},
        {"\"decode_tok\":5}", "\"decode_tok\":5", "p:2: ',' or '}' is wanted"},
        {"\"model\":{", "\"model\":null,\"x\":{", "names no model"},
    };
    struct plan p;
    struct err e;
    char text[2000];

    (void)state;
    assert_int_equal(read_plan(&p, good, 0, &e), 0);
    plan_release(&p);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        replaced(text, sizeof(text), good, wrong[i].from, wrong[i].to);
        assert_int_equal(read_plan(&p, text, 0, &e), SIM_E_DATA);
        if (!strstr(e.msg, wrong[i].part)) {
            fail_msg("'%s' lacks '%s'", e.msg, wrong[i].part);
        }
    }
    assert_int_equal(read_plan(&p, HEAD, 0, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "no steps"));
    assert_int_equal(read_plan(&p, "", 0, &e), SIM_E_DATA);
}

/* The plan that comes with the probe. */
static void test_bundled_plan(void **state)
{
    const char *data = getenv("STEELYARD_DATA");
    char path[4096];
    struct plan p;
    struct err e = {0};
    int64_t mixed = 0;

    (void)state;
    snprintf(path, sizeof(path), "%s/../calibrate/probe/plans/llama-3.1-8b-mixed.jsonl", data ? data : "models");
    assert_int_equal(plan_read(&p, path, 0, &e), 0);
    for (int64_t i = 0; i < p.n_step; i++) {
        mixed += p.steps[i].n_chunk > 0 && p.steps[i].n_decode > 0;
        assert_true(i == 0 || p.steps[i].start_ns >= p.steps[i - 1].start_ns + p.steps[i - 1].dur_ns);
    }
    assert_true(mixed > 20 && p.max_decode > 20 && p.max_kv_tok <= 32768); /* 16 GB of weights and 4 GB of KV */
    assert_true(p.model.layers == 32 && p.model.ffn == 14336);
    plan_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args),          cmocka_unit_test(test_args_wrong),
        cmocka_unit_test(test_only),          cmocka_unit_test(test_cases),
        cmocka_unit_test(test_split_skewed),  cmocka_unit_test(test_spread_contexts),
        cmocka_unit_test(test_stats),         cmocka_unit_test(test_json_in),
        cmocka_unit_test(test_json_out),      cmocka_unit_test(test_file_replace),
        cmocka_unit_test(test_store),         cmocka_unit_test(test_store_refuses),
        cmocka_unit_test(test_share),         cmocka_unit_test(test_plan),
        cmocka_unit_test(test_plan_wrong),    cmocka_unit_test(test_bundled_plan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
