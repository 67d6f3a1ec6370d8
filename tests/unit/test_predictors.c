/* SPDX-License-Identifier: Apache-2.0
 *
 * Predictors of output lengths: their rules with numbers worked out by hand, their errors by counting. */
#include "policy_harness.h"

#include "policies/predict/predict.h"

struct bench {
    struct harness h;
    struct predictor p;
};

static int try_open(struct bench *b, const char *spec)
{
    memset(b, 0, sizeof *b);
    arena_init(&b->h.arena);
    b->h.env = (struct policy_env){.arena = &b->h.arena, .seed = 3};
    b->h.v.reqs = b->h.reqs;
    int rc = predictor_open(&b->p, spec, &b->h.env, "test", &b->h.err);
    b->h.env.truth_output = b->h.env.oracle ? h_truth : NULL;
    b->h.env.engine = &b->h;
    return rc;
}

static void opened(struct bench *b, const char *spec)
{
    if (try_open(b, spec)) {
        fail_msg("%s: %s", spec, b->h.err.msg);
    }
}

static void closed(struct bench *b)
{
    predictor_release(&b->p);
    arena_release(&b->h.arena);
}

/* Request number `serial` of `client` with `output` tokens sits in slot 5. */
static void request(struct bench *b, uint64_t serial, uint32_t client, uint32_t output)
{
    b->h.reqs[5] = (struct req){.serial = serial, .client = client, .state = REQ_WAITING};
    b->h.output[5] = output;
    assert_true(predictor_reach(&b->p, 5));
}

static double said(struct bench *b, uint32_t out)
{
    return predictor_predict(&b->p, &b->h.v, 5, out);
}

static void finished(struct bench *b)
{
    b->h.reqs[5].generated_tok = b->h.output[5];
    predictor_finish(&b->p, &b->h.v, 5);
}

static bool is(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void test_simple(void **state)
{
    (void)state;
    struct bench b;
    opened(&b, "oracle");
    assert_true(b.h.env.oracle);
    request(&b, 0, 0, 77);
    assert_true(is(said(&b, 0), 77));
    closed(&b);
    opened(&b, "constant");
    assert_false(b.h.env.oracle);
    request(&b, 0, 0, 77);
    assert_true(is(said(&b, 0), 1024));
    assert_true(is(said(&b, 2000), 2001)); /* it goes on: at least one more */
    closed(&b);
    opened(&b, "constant{tokens=12}");
    request(&b, 0, 0, 77);
    assert_true(is(said(&b, 0), 12));
    closed(&b);
}

static void test_mean(void **state)
{
    (void)state;
    struct bench b;
    opened(&b, "mean");
    assert_false(b.h.env.oracle);
    request(&b, 0, 7, 100);
    assert_true(is(said(&b, 0), 1)); /* no past */
    finished(&b);
    request(&b, 1, 7, 50);
    assert_true(is(said(&b, 0), 100)); /* the first one as it is */
    finished(&b);
    request(&b, 2, 7, 50);
    assert_true(is(said(&b, 0), 90)); /* (4*100 + 50) / 5 */
    request(&b, 3, 8, 50);
    assert_true(is(said(&b, 0), 1)); /* another client */
    closed(&b);
}

/* Errors of the first predictions only: +10 and -30 give 20, -10, one half too short. */
static void test_stats(void **state)
{
    (void)state;
    struct bench b;
    struct policy_stat s[8];
    opened(&b, "constant{tokens=100}");
    request(&b, 0, 0, 90);
    said(&b, 0);
    said(&b, 500);
    finished(&b);
    request(&b, 1, 0, 130);
    said(&b, 0);
    finished(&b);
    request(&b, 2, 0, 130); /* nothing was said of it */
    finished(&b);
    assert_int_equal(predictor_stats(&b.p, s, 8), 4);
    assert_string_equal(s[0].name, "predictor_mae");
    assert_true(is(s[0].value, 20));
    assert_true(is(s[1].value, -10));
    assert_true(is(s[2].value, 0.5));
    assert_true(is(s[3].value, 2));
    assert_int_equal(predictor_stats(&b.p, s, 1), 1);
    closed(&b);
}

static double mean_abs_error(struct bench *b, uint32_t output, unsigned n)
{
    double sum = 0;
    for (unsigned i = 0; i < n; i++) {
        request(b, i, 0, output);
        sum += fabs(said(b, 0) - output);
    }
    return sum / n;
}

/* The standard error of the mean of 20000 Laplace deviations is their scale / 141. */
static void test_declared_errors(void **state)
{
    (void)state;
    struct bench b;
    opened(&b, "noisy{mae=80}");
    assert_true(b.h.env.oracle);
    assert_true(fabs(mean_abs_error(&b, 100000, 20000) - 80) < 3);
    closed(&b);
    opened(&b, "noisy{mae=0, range=0.5}");
    assert_true(fabs(mean_abs_error(&b, 1000, 20000) - 250) < 6); /* mean of |U(-500, 500)| */
    closed(&b);
    opened(&b, "mope{borders=1000;100000, errors=4;30;200, route=1}");
    assert_true(b.h.env.oracle);
    assert_true(fabs(mean_abs_error(&b, 999, 20000) - 4) < 0.15);
    assert_true(fabs(mean_abs_error(&b, 1000, 20000) - 30) < 1);
    assert_true(fabs(mean_abs_error(&b, 100000, 20000) - 200) < 7);
    closed(&b);
    /* A quarter goes astray; the middle class strays to both sides alike. */
    opened(&b, "mope{borders=1000;100000, errors=0;40;800, route=0.75}");
    assert_true(fabs(mean_abs_error(&b, 999, 20000) - 0.25 * 40) < 1);
    assert_true(fabs(mean_abs_error(&b, 5000, 20000) - (0.75 * 40 + 0.125 * 800)) < 7);
    closed(&b);
}

static void test_same_request_same_prediction(void **state)
{
    (void)state;
    static const char *const specs[] = {"noisy", "mope", "quantile"};
    for (size_t i = 0; i < 3; i++) {
        struct bench b;
        opened(&b, specs[i]);
        request(&b, 17, 0, 400);
        double first = said(&b, 0);
        request(&b, 18, 3, 400);
        assert_false(is(said(&b, 0), first));
        request(&b, 17, 9, 400);
        assert_true(is(said(&b, 0), first));
        closed(&b);
    }
}

static double share_held(struct bench *b, uint32_t output, uint32_t out, double *ret_mean)
{
    unsigned held = 0, n = 20000;
    *ret_mean = 0;
    for (unsigned i = 0; i < n; i++) {
        request(b, i, 0, output);
        double bound = said(b, out);
        held += bound >= output;
        *ret_mean += bound / n;
    }
    return (double)held / n;
}

/* The bound holds with its probability at each question, and comes down to the truth. */
static void test_quantile(void **state)
{
    (void)state;
    struct bench b;
    double at_0, at_49, at_200;
    opened(&b, "quantile");
    assert_int_equal(predictor_refines(&b.p), 50);
    assert_true(fabs(share_held(&b, 300, 0, &at_0) - 0.95) < 0.01);
    assert_true(fabs(share_held(&b, 300, 49, &at_49) - 0.95) < 0.01);
    assert_true(fabs(share_held(&b, 300, 200, &at_200) - 0.95) < 0.01);
    assert_true(is(at_0, at_49)); /* not asked again before 50 */
    /* mean of a log-normal factor: exp(sigma z + sigma^2 / 2) with z = 1.6449, sigma = 0.4 */
    double factor = exp(0.4 * 1.6449 + 0.08);
    assert_true(fabs(at_0 / (300 * factor) - 1) < 0.02);
    assert_true(fabs(at_200 / (200 + 100 * factor) - 1) < 0.02);
    closed(&b);
    opened(&b, "quantile{quantile=0.5, refine=10}");
    assert_int_equal(predictor_refines(&b.p), 10);
    assert_true(fabs(share_held(&b, 300, 0, &at_0) - 0.5) < 0.015);
    closed(&b);
}

static void test_bad_specs(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"mop", "did you mean 'mope'"},
        {"mope{errors=1}", "2 borders make 3 classes; 'errors' has 1 numbers"},
        {"mope{borders=9;9}", "'borders' must ascend; 9 follows 9"},
        {"noisy{mae=-1}", "mae"},
        {"quantile{quantile=1}", "quantile"},
        {"oracle{x=1}", "takes no options"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench b;
        assert_true(try_open(&b, cases[i].spec) < 0);
        if (!strstr(b.h.err.msg, cases[i].says)) {
            fail_msg("%s: %s", cases[i].spec, b.h.err.msg);
        }
        closed(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simple),          cmocka_unit_test(test_mean),
        cmocka_unit_test(test_stats),           cmocka_unit_test(test_declared_errors),
        cmocka_unit_test(test_same_request_same_prediction),
        cmocka_unit_test(test_quantile),        cmocka_unit_test(test_bad_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
