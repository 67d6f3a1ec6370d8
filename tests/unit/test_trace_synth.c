/* SPDX-License-Identifier: Apache-2.0
 *
 * Generators against published figures, and length distributions against closed forms. */
#include "tests/unit/trace_test.h"

#include <gsl/gsl_cdf.h>

#include "sim/core/rng.h"
#include "traces/dist.h"
#include "traces/gaps.h"
#include "traces/synth.h"

struct sums {
    size_t n;
    double prompt, output, gap, gap2, last_s;
    double at[40000], in[40000], out[40000];
    size_t per_client[16], odd_minutes; /* of client 0 */
    double first_s[16], last_of_s[16];
};
static struct sums s;

static void add_row(const struct arrival *a)
{
    double at = (double)a->time_ns * 1e-9;
    if (s.n < 40000) {
        s.at[s.n] = at;
        s.in[s.n] = a->prompt_tok;
        s.out[s.n] = a->output_tok;
    }
    if (s.n > 0) {
        s.gap += at - s.last_s;
        s.gap2 += (at - s.last_s) * (at - s.last_s);
    }
    uint32_t c = a->client < 16 ? a->client : 15;
    s.first_s[c] = s.per_client[c]++ == 0 ? at : s.first_s[c];
    s.last_of_s[c] = at;
    s.odd_minutes += a->client == 0 && (size_t)(at / 60) % 2 == 1;
    s.prompt += a->prompt_tok;
    s.output += a->output_tok;
    s.last_s = at;
    s.n++;
}

static void generate(const char *spec, uint64_t seed)
{
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    memset(&s, 0, sizeof(s));
    int rc = trace_open(&t, spec, NULL, seed, 0, &e);
    if (rc < 0) {
        fail_msg("%s: %s", spec, e.msg);
    }
    while ((rc = trace_next(t, &a, &e)) == 1) {
        add_row(&a);
    }
    if (rc < 0) {
        fail_msg("%s: %s", spec, e.msg);
    }
    trace_close(t);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *v, double q)
{
    qsort(v, s.n, sizeof(*v), by_value);
    return v[(size_t)(q * (double)(s.n - 1))];
}

static void near(double have, double want, double share, const char *what)
{
    if (fabs(have - want) > share * want) {
        fail_msg("%s: %g, expected %g within %g %%", what, have, want, share * 100);
    }
}

static double gap_cv(void)
{
    double n = (double)(s.n - 1), mean = s.gap / n;
    return sqrt(s.gap2 / n - mean * mean) / mean;
}

/* serving.md 19.2 and the public file: n 19,366, 1154.7 / 1020 / p90 2735, 211.1 / 129 / p90 424, maxima
 * 14,050 and 1,000, CV of gaps 1.094, 3501.7 s. */
static void test_azure_conv(void **state)
{
    (void)state;
    generate("synth:azure-conv", 1);
    assert_int_equal(s.n, 19366);
    near(s.prompt / 19366, 1154.7, 0.03, "mean prompt");
    near(s.output / 19366, 211.1, 0.03, "mean output");
    near(quantile(s.in, 0.5), 1020, 0.03, "median prompt");
    near(quantile(s.in, 0.9), 2735, 0.05, "p90 prompt");
    near(quantile(s.out, 0.5), 129, 0.05, "median output");
    near(quantile(s.out, 0.9), 424, 0.03, "p90 output");
    assert_true(quantile(s.in, 1) <= 14050 && quantile(s.out, 1) <= 1000);
    near(gap_cv(), 1.094, 0.05, "CV of gaps");
    near(s.last_s, 3501.7, 0.05, "duration");
}

/* Means 830 and 271 and 0.2713 requests/s; the rate of one day varies: CV of the modulation over 72
 * periods is sqrt(2 / 72) = 17 %. */
static void test_burstgpt(void **state)
{
    (void)state;
    double n = 0, prompt = 0, output = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        generate("synth:burstgpt", seed);
        n += (double)s.n;
        prompt += s.prompt;
        output += s.output;
        assert_true(gap_cv() > 1.5); /* far burstier than Poisson */
    }
    near(n / (8 * 86400), 0.2713, 0.15, "rate");
    near(prompt / n, 830, 0.03, "mean prompt");
    near(output / n, 271, 0.03, "mean output");
}

/* Counts of the artifact's own files (fairness.md 2.7): FCFS/overload has 2700 in 600 s. */
static void test_vtc_suites(void **state)
{
    (void)state;
    generate("synth:vtc-overload{duration=600}", 1);
    assert_int_equal(s.n, 2700);
    assert_int_equal(s.per_client[0], 900);
    /* First arrival = offset + 1/rate with an offset in (0, 1/rate); then even gaps. */
    assert_true(s.first_s[0] > 1 / 1.5 && s.first_s[0] < 2 / 1.5);
    near(s.last_of_s[1] - s.first_s[1], 1799 / 3.0, 1e-6, "span of client 2");
    generate("synth:vtc-overload-multi", 1);
    assert_int_equal(s.n, 1512);
    generate("synth:vtc-proportional", 1);
    assert_int_equal(s.n, 1350);
    generate("synth:vtc-on-off-less", 1);
    assert_int_equal(s.per_client[0], 150);
    assert_int_equal(s.per_client[1], 1200);
    assert_int_equal(s.odd_minutes, 0); /* client 1 is on for 60 s, off for 60 s */
    generate("synth:vtc-poisson-on-off-overload", 1);
    assert_int_equal(s.odd_minutes, 0);
    assert_true(s.per_client[0] > 100 && s.per_client[1] > 1000);
    generate("synth:vtc-dist-shift", 1);
    assert_in_range(s.n, 1880, 1900); /* 90 + 600, 300 + 300, 150 + 450 */
}

/* The artifact's file of `increase`: 300 and 660 requests; client 2 at 5.0, 9.6512, 14.0189 ... 600.5804
 * (next gap = 1/rate now, rate linear from 0.2 to 2); client 1 at 2, 4, ... 600. */
static void test_vtc_increase(void **state)
{
    (void)state;
    generate("synth:vtc-increase", 1);
    assert_int_equal(s.per_client[0], 300);
    assert_int_equal(s.per_client[1], 660);
    near(s.first_s[0], 2, 1e-9, "first of client 1");
    near(s.last_of_s[0], 600, 1e-9, "last of client 1");
    near(s.first_s[1], 5, 1e-9, "first of client 2");
    near(s.last_of_s[1], 600.5804, 1e-6, "last of client 2");
}

static void test_vtc_poisson(void **state)
{
    (void)state;
    generate("synth:vtc-poisson-short-long", 3);
    assert_int_equal(s.n, 5700); /* int(9.5 * 600) */
    near((double)s.per_client[1] / 5700, 1.5 / 9.5, 0.1, "share of client 2");
    near(s.last_s, 600, 0.05, "duration");
    near(s.prompt, 64.0 * (double)s.per_client[0] + 256.0 * (double)s.per_client[1], 1e-12, "prompts");
}

static void test_processes(void **state)
{
    (void)state;
    generate("synth:poisson{rates=5,requests=30000}", 1);
    near(gap_cv(), 1, 0.03, "CV of Poisson");
    near(s.last_s, 6000, 0.03, "30000 at 5/s");
    generate("synth:gamma{rates=5,requests=30000,cv=3}", 1);
    near(gap_cv(), 3, 0.07, "CV of gamma");
    near(s.last_s, 6000, 0.06, "30000 at 5/s");
    generate("synth:uniform{rates=4,requests=100}", 1);
    assert_true(gap_cv() < 1e-6);
    /* Ramp from 0 to 10/s in 100 s: 500 on average, a quarter of them in the first half. */
    generate("synth:poisson{rates=0,rates_end=100,duration=100}", 1);
    near((double)s.n, 5000, 0.05, "ramp");
    near(quantile(s.at, 0.25), 50, 0.05, "ramp's first quarter");
    /* Ten clients, shares proportional to 1/k: H(10) = 2.928968. */
    generate("synth:poisson{rates=10,clients=10,skew=1,requests=20000}", 1);
    near((double)s.per_client[0] / 20000, 1 / 2.928968, 0.05, "share of the first client");
    near((double)s.per_client[9] / 20000, 0.1 / 2.928968, 0.12, "share of the last client");
}

/* A client's requests do not depend on the others; seeds and replications differ. */
static void test_paired(void **state)
{
    (void)state;
    double first[8];
    generate("synth:poisson{rates=1;1,requests=40,prompt=1..1000}", 1);
    double one = s.first_s[0];
    generate("synth:poisson{rates=1;7,requests=40,prompt=1..1000}", 1);
    assert_true(s.first_s[0] == one);
    for (uint64_t seed = 0; seed < 8; seed++) {
        generate("synth:poisson{requests=2}", seed);
        first[seed] = s.at[0];
        for (uint64_t k = 0; k < seed; k++) {
            assert_true(first[k] != first[seed]);
        }
    }
}

static void draw_sums(const char *text, double *ret_mean, double *ret_low, double *ret_high)
{
    struct arena a = {0};
    struct dist *d;
    struct err e = {0};
    struct rng_stream r = rng_stream(1, 0, "test");
    if (dist_parse(&d, text, "prompt", &a, &e) < 0) {
        fail_msg("%s: %s", text, e.msg);
    }
    *ret_mean = 0;
    *ret_low = 1e18;
    *ret_high = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        double v = dist_draw(d, rng_uniform(r, i, 0));
        *ret_mean += v / 100000;
        *ret_low = v < *ret_low ? v : *ret_low;
        *ret_high = v > *ret_high ? v : *ret_high;
    }
    arena_release(&a);
}

static void test_dists(void **state)
{
    (void)state;
    double mean, lo, hi;
    draw_sums("17", &mean, &lo, &hi);
    assert_true(lo == 17 && hi == 17);
    draw_sums("16..511", &mean, &lo, &hi);
    assert_true(lo == 16 && hi == 511);
    near(mean, 263.5, 0.01, "uniform");
    draw_sums("lognormal(median=1000,mean=1500)", &mean, &lo, &hi);
    near(mean, 1500, 0.02, "log-normal");
    draw_sums("lognormal(mu=5,sigma=1,min=100,max=200)", &mean, &lo, &hi);
    assert_true(lo == 100 && hi == 200);
    /* theta 1, max 4: weights 12:6:4:3 of 25, mean (12 + 12 + 12 + 12) / 25 */
    draw_sums("zipf(theta=1,max=4)", &mean, &lo, &hi);
    near(mean, 48.0 / 25, 0.01, "zipf");
    assert_true(lo == 1 && hi == 4);
    draw_sums("zipf(theta=1.1,mean=830)", &mean, &lo, &hi);
    near(mean, 830, 0.03, "zipf by mean");
    draw_sums("quantiles(0:10,0.5:20,1:100)", &mean, &lo, &hi);
    near(mean, 0.5 * 15 + 0.5 * 60, 0.01, "quantiles");
    draw_sums("mix(3:10,1:uniform(100,300))", &mean, &lo, &hi);
    near(mean, 0.75 * 10 + 0.25 * 200, 0.02, "mix");
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/steelyard_dist_XXXXXX", spec[256];
    double mean, lo, hi;
    FILE *f = fdopen(mkstemp(path), "w");
    fputs("prompt_tokens,output_tokens\n10,1\n20,2\n30,6\n", f);
    fclose(f);
    snprintf(spec, sizeof(spec), "file(%s)", path);
    draw_sums(spec, &mean, &lo, &hi);
    near(mean, 20, 0.01, "lengths of a file");
    assert_true(lo == 10 && hi == 30);
    snprintf(spec, sizeof(spec), "file(%s, column=output_tokens)", path);
    draw_sums(spec, &mean, &lo, &hi);
    near(mean, 3, 0.02, "lengths of a named column");
    f = fopen(path, "w");
    fputs("client,field,mean,q0000,q0500,q1000\n0,input_tokens,1,10,20,100\n1,input_tokens,1,5,5,5\n", f);
    fclose(f);
    snprintf(spec, sizeof(spec), "file(%s, client=0, field=input_tokens)", path);
    draw_sums(spec, &mean, &lo, &hi);
    near(mean, 0.5 * 15 + 0.5 * 60, 0.01, "quantiles of a file");
    struct arena a = {0};
    struct dist *d;
    struct err e = {0};
    snprintf(spec, sizeof(spec), "file(%s)", path);
    assert_int_equal(dist_parse(&d, spec, "prompt", &a, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, ":3: more than one row fits"));
    memset(&e, 0, sizeof(e));
    assert_int_equal(dist_parse(&d, "file(/nonexistent)", "prompt", &a, &e), SIM_E_IO);
    arena_release(&a);
    remove(path);
}

/* Median of the exponential (shape 1) is ln 2; chi-square with one degree (shape 1/2): its 95 % point is
 * 3.841459 = 2x; shape 2: P(x) = 1 - (1 + x) exp(-x). Small shapes must only agree with the CDF. */
static void test_gamma_inverse(void **state)
{
    (void)state;
    near(gamma_inverse(0.5, 1), 0.69314718056, 1e-9, "shape 1");
    near(gamma_inverse(0.95, 0.5), 3.841458821 / 2, 1e-9, "shape 1/2");
    double x = gamma_inverse(0.3, 2);
    near(1 - (1 + x) * exp(-x), 0.3, 1e-9, "shape 2");
    static const double shapes[] = {0.001, 0.01, 1.0 / 9, 0.5, 3, 400};
    for (size_t i = 0; i < 6; i++) {
        for (double u = 1e-9; u < 1; u += 0.0099) {
            x = gamma_inverse(u, shapes[i]);
            if (x > 1e-300) {
                near(gsl_cdf_gamma_P(x, shapes[i], 1), u, 1e-7, "P of its inverse");
            }
        }
    }
    assert_true(isfinite(gamma_inverse(1 - 0x1p-53, 0.5)));
    assert_true(gap_inverse(0.3, 0) == 1);
}

static void expect_bad(const char *spec, const char *part)
{
    struct trace *t;
    struct err e = {0};
    int rc = trace_open(&t, spec, NULL, 1, 0, &e);
    if (rc == 0) {
        trace_close(t);
    }
    if (rc != SIM_E_CONFIG || !strstr(e.msg, part)) {
        fail_msg("%s: expected '%s', got %d '%s'", spec, part, rc, e.msg);
    }
}

static void test_wrong_specs(void **state)
{
    (void)state;
    expect_bad("synth:azur-conv", "did you mean 'azure-conv'?");
    expect_bad("synth:poisson{rate=3}", "rates");
    expect_bad("synth:poisson{rates=1;2,prompt=1;2;3}", "prompt lists 3 values where 2 are needed");
    expect_bad("synth:poisson{rates=1;2;3,phases=2,duration=10}", "rates lists 3 values");
    expect_bad("synth:poisson{rates=1;2,phases=2}", "need a duration");
    expect_bad("synth:poisson{rates=0}", "no requests");
    expect_bad("synth:poisson{prompt=0}", "whole number in 1..2^30");
    expect_bad("synth:poisson{prompt=9..3}", "LOW..HIGH");
    expect_bad("synth:poisson{prompt=lognorml(mu=1,sigma=2)}", "did you mean 'lognormal'?");
    expect_bad("synth:poisson{prompt=lognormal(mu=1)}", "mu= and sigma=");
    expect_bad("synth:poisson{prompt=lognormal(median=9,mean=3)}", "above its median");
    expect_bad("synth:poisson{prompt=zipf(theta=1.1,mean=1e6)}", "no maximum");
    expect_bad("synth:poisson{prompt=zipf(theta=1.1,max=9,x=3)}", "'x=3' does not belong");
    expect_bad("synth:poisson{prompt=quantiles(0:5,1:3)}", "must rise");
    expect_bad("synth:poisson{prompt=quantiles(0.1:5,1:8)}", "level 0 to level 1");
    expect_bad("synth:poisson{prompt=mix(0:5)}", "weights are above 0");
    expect_bad("synth:poisson{prompt=mix(1:mix(1:mix(1:mix(1:mix(1:mix(1:5))))))}", "too deeply");
}

static void test_presets_open(void **state)
{
    (void)state;
    char spec[128];
    for (const struct synth_preset *p = synth_presets; p->name; p++) {
        snprintf(spec, sizeof(spec), "synth:%s{requests=50}", p->name);
        generate(spec, 1);
        assert_int_equal(s.n, 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_azure_conv),  cmocka_unit_test(test_burstgpt),
        cmocka_unit_test(test_vtc_suites),  cmocka_unit_test(test_vtc_increase),
        cmocka_unit_test(test_vtc_poisson), cmocka_unit_test(test_processes),
        cmocka_unit_test(test_paired),      cmocka_unit_test(test_dists),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_gamma_inverse),
        cmocka_unit_test(test_wrong_specs), cmocka_unit_test(test_presets_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
