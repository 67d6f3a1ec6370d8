/* SPDX-License-Identifier: Apache-2.0
 *
 * Every format is recognised by its content: the samples of tests/data/traces and the bundled trace. */
#include "tests/unit/trace_test.h"

#include "traces/info.h"

static const char *root(const char *rest)
{
    static char path[512];
    const char *models = getenv("STEELYARD_DATA");
    if (!models) {
        skip();
    }
    snprintf(path, sizeof(path), "%s/../%s", models, rest);
    return path;
}

static void expect_sample(const char *file, const char *format, size_t n, double time_s, uint32_t prompt,
                          uint32_t output)
{
    char rest[128];
    struct read_result r;
    snprintf(rest, sizeof(rest), "tests/data/traces/%s", file);
    read_path(&r, root(rest), NULL);
    if (r.rc != 0) {
        fail_msg("%s", r.err.msg);
    }
    assert_string_equal(r.format, format);
    assert_int_equal(r.n, n);
    expect_row(&r, n - 1, time_s, prompt, output);
}

static void test_samples(void **state)
{
    (void)state;
    expect_sample("azure.csv", "azure", 3, 4.541877, 879, 55);
    expect_sample("burstgpt_1.csv", "burstgpt", 3, 113, 417, 276);
    expect_sample("burstgpt_3.csv", "burstgpt", 3, 82, 1400, 80);
    expect_sample("mooncake.jsonl", "mooncake", 3, 3, 12, 30);
    expect_sample("vidur.csv", "vidur", 3, 4.541877, 879, 55);
    expect_sample("llmservingsim.jsonl", "llmservingsim", 4, 0.527348767, 30, 12);
    expect_sample("vllm_bench.json", "vllm-bench", 2, 1.5, 200, 2);
    expect_sample("vtc.jsonl", "vtc", 2, 0.9164, 256, 256);
    expect_sample("native.csv", "native", 2, 0.75, 1, 1);
    expect_sample("columns.csv", "columns", 3, 10, 200, 1);
    expect_sample("sample.packed", "packed", 2, 0.75, 1, 1);
}

/* Each format but the generator has a sample above, a summary and a source. */
static void test_registry(void **state)
{
    (void)state;
    size_t n = 0;
    for (; trace_formats[n]; n++) {
        assert_true(strlen(trace_formats[n]->summary) > 10 && strlen(trace_formats[n]->source) > 5);
        assert_true(trace_formats[n]->probe || strcmp(trace_formats[n]->name, "synth") == 0);
        assert_ptr_equal(trace_format_find(trace_formats[n]->name), trace_formats[n]);
    }
    assert_int_equal(n, 11);
    assert_null(trace_format_find("nosuch"));
}

/* traces/README.md: synth:azure-conv{requests=2000,clients=6,skew=1}, seed 1. */
static void test_bundled(void **state)
{
    (void)state;
    struct trace *t, *u;
    struct arrival a, b;
    struct err e = {0};
    size_t n = 0;
    if (trace_open(&t, root("traces/samples/azure-conv-like.csv.gz"), NULL, 1, 0, &e) < 0 ||
        trace_open(&u, "synth:azure-conv{requests=2000,clients=6,skew=1}", NULL, 1, 0, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    for (; trace_next(t, &a, &e) == 1; n++) {
        assert_int_equal(trace_next(u, &b, &e), 1);
        assert_true(a.prompt_tok == b.prompt_tok && a.output_tok == b.output_tok);
        assert_true(llabs(a.time_ns - b.time_ns) < 1000000); /* libraries of mathematics differ a little */
        assert_string_equal(trace_client_name(t, a.client), trace_client_name(u, b.client));
    }
    assert_int_equal(n, 2000);
    assert_int_equal(trace_next(u, &b, &e), 0);
    assert_int_equal(trace_clients(t), 6);
    trace_close(t);
    trace_close(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_bundled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
