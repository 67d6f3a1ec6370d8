/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of numbers that must not move unless somebody means it (tests/golden/table.tsv, written by
 * tests/golden/update.sh). Golden numbers freeze bugs, too, so each run also has to obey what holds
 * whatever the numbers are. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/run.h"

#define TOLERANCE 1e-9

static const char *const columns[] = {
    "completed", "duration", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "mean_itl_ms",
    "mean_e2el_ms", "output_throughput", "max_service_diff", "max_accumulated_diff",
    "kv_utilization_peak", "preemptions", "iterations",
};
#define N_COLUMNS (int)(sizeof(columns) / sizeof(columns[0]))

static const char *const policy_rows[] = {"fcfs", "vtc", "vtc{predict=oracle}", "lcf", "mdrr", "sjf",
                                          "srpt", "priority", "rpm{limit=10,window=10}"};
static const char *const batcher_rows[] = {
    "vllm-v1{version=0.13}", "vllm-v1", "vllm-v0", "sglang", "sarathi", "lightllm-slora",
    "orca{max_model_len=1024}", "static", "trtllm"};
#define N_OF(a) (int)(sizeof(a) / sizeof((a)[0]))
#define N_ROWS  (N_OF(policy_rows) * N_OF(batcher_rows))

struct golden {
    double value[N_ROWS][N_COLUMNS];
};

static char *in_tests(struct arena *a, const char *name)
{
    const char *models = getenv("STEELYARD_DATA");

    return arena_printf(a, "%s/../tests/golden/%s", models ? models : "models", name);
}

static double metric(const struct run_result *r, const char *name)
{
    const struct metric *m = run_metric(r, name);

    return m ? m->value : (double)NAN;
}

/* ---- what holds of any run ---- */

static bool near(double a, double b, double relative)
{
    return fabs(a - b) <= relative * fmax(fabs(a), fabs(b));
}

/* NULL, or the rule that is broken. */
static const char *broken_rule(const struct run_result *r)
{
    double n = metric(r, "completed"), duration = metric(r, "duration");
    double tokens = metric(r, "total_output_tokens");

    if (!near(n + metric(r, "failed"), 160, 0)) {
        return "each request is served or refused";
    }
    if (!near(metric(r, "output_throughput") * duration, tokens, 1e-9)) {
        return "throughput * duration = tokens";
    }
    if (!(metric(r, "mean_queue_ms") < metric(r, "mean_ttft_ms") &&
          metric(r, "mean_ttft_ms") < metric(r, "mean_e2el_ms"))) {
        return "queue < first token < end";
    }
    if (!(metric(r, "gpu_utilization") <= 1 && metric(r, "kv_utilization_peak") <= 1)) {
        return "no resource is used more than fully";
    }
    /* pooled gaps: their sum is that of all requests' times between first and last token */
    if (!near(metric(r, "mean_itl_ms") * (tokens - n), (metric(r, "mean_e2el_ms") - metric(r, "mean_ttft_ms")) * n,
              1e-6)) {
        return "gaps between tokens add up";
    }
    /* after a push-out one token comes from the recomputation */
    if (!(metric(r, "iterations") * metric(r, "mean_batch_size") + metric(r, "preemptions") >= tokens - n)) {
        return "one token per request and step";
    }
    return NULL;
}

/* ---- runs ---- */

static void golden_run(const char *policy, const char *batcher, double *ret)
{
    struct arena a = {0};
    struct err e = {0};
    struct run_config c = {0};
    struct run_result r;
    const char *rule;

    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = in_tests(&a, "load.csv");
    c.cost = "linear{set=a10g-slora}";
    c.kv_tokens = 4000;
    c.service_window_s = 10;
    c.policy = policy;
    c.batcher = batcher;
    if (run_execute(&c, NULL, &r, &a, &e) < 0) {
        fail_msg("%s on %s: %s", policy, batcher, e.msg);
    }
    rule = broken_rule(&r);
    if (rule) {
        fail_msg("%s on %s breaks the rule: %s", policy, batcher, rule);
    }
    for (int i = 0; i < N_COLUMNS; i++) {
        ret[i] = metric(&r, columns[i]);
    }
    arena_release(&a);
}

static void run_all(struct golden *g)
{
    for (int b = 0; b < N_OF(batcher_rows); b++) {
        for (int p = 0; p < N_OF(policy_rows); p++) {
            golden_run(policy_rows[p], batcher_rows[b], g->value[b * N_OF(policy_rows) + p]);
        }
    }
}

static void print_table(const struct golden *g)
{
    printf("policy\tbatcher");
    for (int i = 0; i < N_COLUMNS; i++) {
        printf("\t%s", columns[i]);
    }
    printf("\n");
    for (int row = 0; row < N_ROWS; row++) {
        printf("%s\t%s", policy_rows[row % N_OF(policy_rows)], batcher_rows[row / N_OF(policy_rows)]);
        for (int i = 0; i < N_COLUMNS; i++) {
            printf("\t%.15g", g->value[row][i]);
        }
        printf("\n");
    }
}

/* ---- comparison ---- */

static void compare_row(const struct golden *g, int row, char *line)
{
    char *at = line;
    const char *policy = strsep(&at, "\t"), *batcher = strsep(&at, "\t");

    assert_string_equal(policy, policy_rows[row % N_OF(policy_rows)]);
    assert_string_equal(batcher, batcher_rows[row / N_OF(policy_rows)]);
    for (int i = 0; i < N_COLUMNS; i++) {
        const char *field = strsep(&at, "\t");
        double want = field ? strtod(field, NULL) : (double)NAN;

        if (!near(g->value[row][i], want, TOLERANCE)) {
            fail_msg("%s on %s: %s is %.15g, the table says %.15g (tests/golden/update.sh)", policy,
                     batcher, columns[i], g->value[row][i], want);
        }
    }
}

static void test_table(void **state)
{
    struct golden *g = *state;
    struct arena a = {0};
    FILE *f = fopen(in_tests(&a, "table.tsv"), "r");
    char line[2000];
    int row = -1;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (row >= 0) {
            assert_true(row < N_ROWS);
            compare_row(g, row, line);
        }
        row++;
    }
    assert_int_equal(row, N_ROWS);
    fclose(f);
    arena_release(&a);
}

static double at(const struct golden *g, int batcher, int policy, const char *column)
{
    for (int i = 0; i < N_COLUMNS; i++) {
        if (strcmp(columns[i], column) == 0) {
            return g->value[batcher * N_OF(policy_rows) + policy][i];
        }
    }
    fail_msg("no column %s", column);
    return 0;
}

/* What the policies are for holds on every engine. */
static void test_order(void **state)
{
    enum { FCFS, VTC, ORACLE, LCF, MDRR, SJF, SRPT };
    const struct golden *g = *state;

    for (int b = 0; b < N_OF(batcher_rows); b++) {
        /* everybody serves the same requests */
        for (int p = VTC; p <= SRPT; p++) {
            assert_true(at(g, b, p, "completed") == at(g, b, FCFS, "completed"));
        }
        /* shortest first ends requests sooner on average */
        assert_true(at(g, b, SJF, "mean_e2el_ms") < at(g, b, FCFS, "mean_e2el_ms"));
        /* the token counter shares service more evenly; static forms two batches while requests arrive,
         * which leaves nothing to choose */
        if (strcmp(batcher_rows[b], "static") != 0) {
            assert_true(at(g, b, VTC, "max_accumulated_diff") < at(g, b, FCFS, "max_accumulated_diff"));
        }
    }
}

static int setup(void **state)
{
    struct golden *g = calloc(1, sizeof(*g));

    assert_non_null(g);
    run_all(g);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_order),
    };

    if (argc > 1 && strcmp(argv[1], "--update") == 0) {
        struct golden *g = calloc(1, sizeof(*g));

        run_all(g);
        print_table(g);
        free(g);
        return 0;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
