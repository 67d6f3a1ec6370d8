/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run says about itself against sums over its request rows: service of clients as the VTC
 * artifact computes it (fairness.md 2.6), goodput, warm-up, delays. Ticks of the service metrics are
 * put on the borders of the bins that a run keeps, where they must agree to the last digits. */
#include <inttypes.h>
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

#include "sim/core/rng.h"
#include "sim/run.h"

#define CLIENTS 3
#define ROWS    1500

struct observed {
    struct arena arena;
    struct run_result result;
    struct request_row row[ROWS];
    int n;
};

static int take_row(void *ctx, const struct request_row *row, struct err *e)
{
    struct observed *o = ctx;

    (void)e;
    assert_true(o->n < ROWS);
    o->row[o->n++] = *row;
    return 0;
}

/* `n` requests over `span_s`, from CLIENTS clients with rates 1:2:3. */
static void write_trace(char *path, int n, double span_s)
{
    struct rng_stream s = rng_stream(3, 0, "observe");
    FILE *f;
    int fd;

    strcpy(path, "/tmp/steelyard-observe-XXXXXX");
    fd = mkstemp(path);
    f = fd < 0 ? NULL : fdopen(fd, "w");
    assert_non_null(f);
    fprintf(f, "time_s,client,prompt_tokens,output_tokens\n");
    /* all clients are known from the start, in this order */
    for (uint64_t i = 0; i < (uint64_t)n; i++) {
        uint64_t dice = rng_range(s, i, 0, 0, 5);
        int client = i < CLIENTS ? (int)i : dice == 0 ? 0 : dice < 3 ? 1 : 2;

        fprintf(f, "%.6f,c%d,%d,%d\n", i < CLIENTS ? 0 : span_s * (double)i / n + 0.01 * rng_uniform(s, i, 1),
                client, (int)rng_range(s, i, 2, 1, 500), (int)rng_range(s, i, 3, 1, 200));
    }
    assert_int_equal(fclose(f), 0);
}

static void config_default(struct run_config *c, const char *path, struct arena *a)
{
    struct err e = {0};

    assert_int_equal(opt_defaults(run_options, c, a, &e), 0);
    c->trace = path;
    c->cost = "linear{set=a10g-slora}";
    c->kv_tokens = 6000;
    c->batcher = "vllm-v1{max_num_batched_tokens=512}";
}

static struct observed *observe(const struct run_config *c)
{
    struct observed *o = calloc(1, sizeof(*o));
    struct run_hooks hooks = {.request = take_row, .ctx = o};
    struct err e = {0};

    assert_non_null(o);
    if (run_execute(c, &hooks, &o->result, &o->arena, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    return o;
}

static void observed_free(struct observed *o)
{
    arena_release(&o->arena);
    free(o);
}

static double value(const struct observed *o, const char *name)
{
    const struct metric *m = run_metric(&o->result, name);

    if (!m) {
        fail_msg("no metric %s", name);
    }
    return m->value;
}

static void expect_metric(const struct observed *o, const char *name, double want, double relative)
{
    double got = value(o, name);

    if (!(fabs(got - want) <= relative * fabs(want) + 1e-12)) {
        fail_msg("%s: %.12g, expected %.12g", name, got, want);
    }
}

/* ---- service, row by row ---- */

static double seconds(sim_ns t)
{
    return (double)t / 1e9;
}

static double cost_of(const struct run_config *c, const struct request_row *r)
{
    return c->service_wp * r->prompt_tok + c->service_wq * r->output_tok;
}

static double overlap(double a0, double a1, double b0, double b1)
{
    double lo = fmax(a0, b0), hi = fmin(a1, b1);

    return hi > lo ? hi - lo : 0;
}

/* A request's service is spread evenly from its first token to its last. */
static double served(const struct observed *o, const struct run_config *c, uint32_t client, double from,
                     double to)
{
    double sum = 0;

    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];
        double s = seconds(r->first_token_ns), e = seconds(r->finish_ns);

        if (r->client != client) {
            continue;
        }
        if (r->first_token_ns == r->finish_ns) {
            sum += s >= from && s < to ? cost_of(c, r) : 0;
        } else {
            sum += cost_of(c, r) * overlap(s, e, from, to) / (e - s);
        }
    }
    return sum;
}

static double asked(const struct observed *o, const struct run_config *c, uint32_t client, double from,
                    double to)
{
    double sum = 0;

    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];
        double t = seconds(r->arrival_ns);

        sum += r->client == client && t >= from && t < to ? cost_of(c, r) : 0;
    }
    return sum;
}

/* One tick of the service difference table: window [x, x + w). */
static double table_diff(const struct observed *o, const struct run_config *c, double x, double w)
{
    double y[CLIENTS], d[CLIENTS], most = 0, diff = 0;

    for (uint32_t f = 0; f < CLIENTS; f++) {
        y[f] = served(o, c, f, x, x + w) / w;
        d[f] = asked(o, c, f, x, x + w) / w;
        most = fmax(most, y[f]);
    }
    for (int f = 0; f < CLIENTS; f++) {
        diff += d[f] < y[f] ? fmin(most - y[f], y[f] - d[f]) : fmin(most - y[f], d[f] - y[f]);
    }
    return diff;
}

static double accumulated(const struct observed *o, const struct run_config *c, const double *weight,
                          double x)
{
    double least = INFINITY, most = -INFINITY;

    for (uint32_t f = 0; f < CLIENTS; f++) {
        double v = served(o, c, f, 0, x) / weight[f];

        least = fmin(least, v);
        most = fmax(most, v);
    }
    return most - least;
}

static void expect_service(const struct observed *o, const struct run_config *c, const double *weight,
                           double relative)
{
    double h = c->service_horizon_s, w = c->service_window_s, d[19], acc_max = 0, acc_sum = 0;
    double sum = 0, most = 0, var = 0, x = 0, xx = 0;

    for (int i = 1; i <= 19; i++) {
        double a = accumulated(o, c, weight, h / 20 * i);

        d[i - 1] = table_diff(o, c, (h - w / 2) / 20 * i, w);
        sum += d[i - 1];
        most = fmax(most, d[i - 1]);
        acc_max = fmax(acc_max, a);
        acc_sum += a;
    }
    for (int i = 0; i < 19; i++) {
        var += (d[i] - sum / 19) * (d[i] - sum / 19) / 19;
    }
    for (uint32_t f = 0; f < CLIENTS; f++) {
        double v = served(o, c, f, 0, h) / weight[f];

        x += v;
        xx += v * v;
    }
    expect_metric(o, "max_service_diff", most, relative);
    expect_metric(o, "mean_service_diff", sum / 19, relative);
    expect_metric(o, "var_service_diff", var, 10 * relative);
    expect_metric(o, "max_accumulated_diff", acc_max, relative);
    expect_metric(o, "mean_accumulated_diff", acc_sum / 19, relative);
    expect_metric(o, "jain_index", x * x / (CLIENTS * xx), relative);
}

static void service_case(int n, double span_s, double horizon_s, double window_s, const char *weights,
                         const double *weight, double relative)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct observed *o;
    char path[64];

    write_trace(path, n, span_s);
    config_default(&c, path, &a);
    c.policy = "vtc";
    c.service_horizon_s = horizon_s;
    c.service_window_s = window_s;
    c.client_weights = weights;
    o = observe(&c);
    expect_service(o, &c, weight, relative);
    observed_free(o);
    arena_release(&a);
    unlink(path);
}

/* Bins of 0.25 s; ticks of the table at 4 s, 8 s ..., of the sums at 5.5 s, 11 s ... */
static void test_service_on_bins(void **state)
{
    static const double weight[] = {1, 1, 1};

    (void)state;
    service_case(300, 120, 110, 60, "1", weight, 1e-9);
}

/* The run is longer than 2048 bins of 0.25 s, so they have doubled, to 0.5 or 1 s: ticks at 54 s, 55 s .... */
static void test_service_long_run(void **state)
{
    static const double weight[] = {1, 1, 1};

    (void)state;
    service_case(1400, 1100, 1100, 40, "1", weight, 1e-9);
}

static void test_service_weights(void **state)
{
    static const double weight[] = {1, 2, 4};

    (void)state;
    service_case(300, 120, 110, 60, "1,2,4", weight, 1e-9);
}

/* Ticks inside bins: within what a bin of 0.25 s of a window of 10 s can hold. */
static void test_service_between_bins(void **state)
{
    static const double weight[] = {1, 1, 1};

    (void)state;
    service_case(300, 120, 117.3, 10, "1", weight, 0.03);
}

/* ---- goals, warm-up, delays ---- */

static void test_goodput(void **state)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct observed *o;
    char path[64];
    double good = 0, last = 0;

    (void)state;
    write_trace(path, 300, 60);
    config_default(&c, path, &a);
    c.slo_ttft_ms = 4000;
    c.slo_tpot_ms = 60;
    c.slo_e2e_ms = 12000;
    o = observe(&c);
    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];
        double ttft = seconds(r->first_token_ns - r->arrival_ns) * 1e3;
        double e2e = seconds(r->finish_ns - r->arrival_ns) * 1e3;
        double tpot = r->output_tok > 1 ? (e2e - ttft) / (r->output_tok - 1) : 0;

        good += ttft <= 4000 && tpot <= 60 && e2e <= 12000;
        last = fmax(last, seconds(r->finish_ns));
    }
    assert_true(good > 10 && good < 290); /* the goals part the requests */
    expect_metric(o, "request_goodput", good / last, 1e-12);
    observed_free(o);
    arena_release(&a);
    unlink(path);
}

static void test_warmup(void **state)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct observed *o;
    char path[64];
    double n = 0, ttft = 0, last = 0;

    (void)state;
    write_trace(path, 200, 60);
    config_default(&c, path, &a);
    c.warmup_s = 20;
    o = observe(&c);
    for (int i = 0; i < o->n; i++) {
        last = fmax(last, seconds(o->row[i].finish_ns));
        if (seconds(o->row[i].arrival_ns) >= 20) {
            n++;
            ttft += seconds(o->row[i].first_token_ns - o->row[i].arrival_ns) * 1e3;
        }
    }
    assert_true(n > 100 && n < 200 && o->n == 200);
    expect_metric(o, "completed", n, 0);
    expect_metric(o, "duration", last - 20, 1e-12);
    expect_metric(o, "request_throughput", n / (last - 20), 1e-12);
    expect_metric(o, "mean_ttft_ms", ttft / n, 1e-9);
    observed_free(o);
    arena_release(&a);
    unlink(path);
}

/* A lone request: client to queue 30 ms, prefill 70.2 + 94/4.691 ms, decodes, output 20 ms. */
static void test_delays(void **state)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct observed *o;
    char path[] = "/tmp/steelyard-observe-XXXXXX";
    double prefill = 70.2 + 94 / 4.691, decode = 0;
    FILE *f = fdopen(mkstemp(path), "w");

    (void)state;
    assert_non_null(f);
    fprintf(f, "time_s,client,prompt_tokens,output_tokens\n0.5,c0,94,4\n");
    fclose(f);
    config_default(&c, path, &a);
    c.request_delay_s = 0.03;
    c.output_delay_s = 0.02;
    c.step_overhead_s = 0.001;
    o = observe(&c);
    for (int k = 1; k <= 3; k++) {
        decode += 35.37 + 0.1287 + 0.0002 * (94 + k) + 1;
    }
    assert_int_equal(o->row[0].admit_ns, 530000000);
    expect_metric(o, "mean_ttft_ms", 30 + prefill + 1 + 20, 1e-8);
    expect_metric(o, "mean_e2el_ms", 30 + prefill + 1 + decode + 20, 1e-8);
    expect_metric(o, "mean_tpot_ms", decode / 3, 1e-8);
    expect_metric(o, "mean_itl_ms", decode / 3, 1e-8);
    expect_metric(o, "mean_queue_ms", 30, 1e-8);
    observed_free(o);
    arena_release(&a);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_service_on_bins),      cmocka_unit_test(test_service_long_run),
        cmocka_unit_test(test_service_weights),      cmocka_unit_test(test_service_between_bins),
        cmocka_unit_test(test_goodput),              cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_delays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
