/* SPDX-License-Identifier: Apache-2.0
 *
 * The public files themselves, where they are at hand (STEELYARD_SHARED): row counts of their README,
 * and means that serving.md section 19.2 gives or that awk computes. */
#include "tests/unit/trace_test.h"

static const char *shared(void)
{
    const char *dir = getenv("STEELYARD_SHARED");
    static char path[512];
    snprintf(path, sizeof(path), "%s/data/README.md", dir ? dir : "");
    FILE *f = dir ? fopen(path, "r") : NULL;
    if (!f) {
        print_message("# no public data beside the source: skipped\n");
        skip();
    }
    fclose(f);
    return dir;
}

struct sums {
    uint64_t n, prompt, output, ids, no_ttft;
    uint32_t clients;
    unsigned caps;
};

static void add_file(const char *file, const char *format, struct sums *s)
{
    char path[512];
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    memset(s, 0, sizeof(*s));
    snprintf(path, sizeof(path), "%s/data/%s", shared(), file);
    int rc = trace_open(&t, path, format, 1, 0, &e);
    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
    while ((rc = trace_next(t, &a, &e)) == 1) {
        s->n++;
        s->prompt += a.prompt_tok;
        s->output += a.output_tok;
        s->ids += a.n_hash;
        s->no_ttft += isnan(a.measured_ttft_s);
    }
    if (rc < 0) {
        fail_msg("%s", e.msg);
    }
    s->clients = trace_clients(t);
    s->caps = trace_caps(t);
    trace_close(t);
}

static void expect_file(const char *file, const char *format, uint64_t n, struct sums *s)
{
    add_file(file, format, s);
    if (s->n != n) {
        fail_msg("%s: %llu requests, expected %llu", file, (unsigned long long)s->n,
                 (unsigned long long)n);
    }
}

static void expect_mean(uint64_t sum, uint64_t n, double mean)
{
    double have = (double)sum / (double)n;
    if (fabs(have - mean) > 0.05) {
        fail_msg("mean %g, expected %g", have, mean);
    }
}

static void test_traces(void **state)
{
    (void)state;
    struct sums s;
    expect_file("traces/azure2023_conv.csv.gz", NULL, 19366, &s);
    expect_mean(s.prompt, s.n, 1154.7);
    expect_mean(s.output, s.n, 211.1);
    expect_file("traces/mooncake_conversation.csv.gz", "columns{spread=3s}", 12031, &s);
    expect_mean(s.prompt, s.n, 12035.1);
    expect_mean(s.output, s.n, 342.6);
    assert_true(s.caps & TRACE_HASHES);
    expect_file("traces/mooncake_synthetic.csv.gz", NULL, 3993, &s);
    expect_file("traces/agentic_swebench_spans.csv.gz", "columns{incomplete=one}", 2294, &s);
    expect_file("traces/agentic_swebench_llm_calls.csv.gz", NULL, 7723, &s);
    expect_file("traces/burstgpt_first500_conv.csv.gz", "columns{output=271,incomplete=one}", 500, &s);
}

static void test_lengths(void **state)
{
    (void)state;
    struct sums s;
    expect_file("traces/lengths_sharegpt.csv.gz", "columns{rate=2}", 58787, &s);
    expect_file("traces/lengths_lmsys.csv.gz", "columns{rate=2}", 100000, &s);
    expect_file("traces/lengths_arxiv_summarization.csv.gz", "columns{rate=2}", 28257, &s);
    expect_file("traces/lengths_arxiv_long.csv.gz", "columns{rate=2}", 10111, &s);
    expect_file("traces/lengths_creation.csv.gz", "columns{rate=2}", 512, &s);
}

static void test_agentic(void **state)
{
    (void)state;
    struct sums s;
    expect_file("traces/agentic_claude_code.csv.gz", NULL, 28961, &s);
    /* The sum of the column n_blocks, which the file states beside the ids. */
    assert_int_equal(s.ids, 52653638);
}

static void test_measured_runs(void **state)
{
    (void)state;
    struct sums s;
    expect_file("groundtruth/vtc/FCFS_overload.csv.gz", NULL, 2700, &s);
    assert_int_equal(s.clients, 2);
    expect_file("groundtruth/vtc/LShare__rpm5_real.csv.gz", NULL, 1500, &s);
    assert_int_equal(s.clients, 27);
    assert_true(s.no_ttft > 0); /* requests over the limit were refused, and are kept */
    expect_file("groundtruth/llmservingsim_bench/RTXPRO6000__Llama-3.1-8B__requests.csv.gz", NULL, 300, &s);
    assert_true(s.ids > 0 && s.no_ttft == 0);
    expect_file("groundtruth/burstgpt_vllm_24gb/scale1000_requests.csv.gz", NULL, 500, &s);
    assert_false(s.caps & TRACE_OUTPUT); /* output lengths are guesses there */
    /* runs.json: 247 tokens were asked for and made; 4068 of the 4800 failed */
    expect_file("groundtruth/inference_sim_h100/20260217-155451-llama-2-7b-tp1-codegen.csv.gz", NULL, 9000,
                &s);
    assert_int_equal(s.output, 9000 * 247);
    expect_file("groundtruth/inference_sim_h100/20260217-170634-llama-2-7b-tp1-reasoning.csv.gz", NULL,
                4800, &s);
    assert_int_equal(s.no_ttft, 4068);
}

static void test_explained(void **state)
{
    (void)state;
    struct read_result r;
    char path[512];
    snprintf(path, sizeof(path), "%s/data/traces/servegen_m-small_windows.csv.gz", shared());
    read_path(&r, path, NULL);
    assert_int_equal(r.rc, SIM_E_DATA);
    assert_non_null(strstr(r.err.msg, "not a request trace"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces),        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_agentic),       cmocka_unit_test(test_measured_runs),
        cmocka_unit_test(test_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
