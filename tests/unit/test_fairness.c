/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of the schedulers that share out service, with numbers worked out by hand. */
#include "policy_harness.h"

/* Clients of the next `n` admissions, each served to its end at once. */
static void expect_order(struct harness *h, const char *clients)
{
    for (size_t i = 0; clients[i]; i++) {
        req_id r = h_next(h);
        assert_int_not_equal(r, REQ_NONE);
        char got = (char)('0' + h->reqs[r].client);
        if (got != clients[i]) {
            fail_msg("admission %zu goes to client %c, not %c", i, got, clients[i]);
        }
        h_serve(h);
    }
}

static void backlog(struct harness *h, uint32_t client, uint32_t prompt, uint32_t output, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        h_arrive(h, (struct h_req){.client = client, .prompt = prompt, .output = output});
    }
}

#define EQUINOX_TIMES "prefill_time=1ms, token_time=10ms, decode_util=0.5, peak=100, "                \
                      "predictor=constant{tokens=100}"

/* RFC of 1000 in, 100 out: service 2 s, T = 550, u = 0.75: 550/100 * 0.75 = 4.125; of 100 in, 100 out:
 * 1.1 s, T = 181.8, u = 0.6/1.1: 0.99174. So five of the latter weigh more than one of the former. */
static void test_equinox_rfc(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "equinox{alpha=0, beta=1, " EQUINOX_TIMES "}");
    backlog(&h, 0, 1000, 100, 3);
    backlog(&h, 1, 100, 100, 12);
    expect_order(&h, "0111110");
    h_close(&h);
}

/* UFC with delta = 1 and prompts alone: 1000 / (1 + 2 s) = 333.3 and 120 / (1 + 1.12 s) = 56.6. Each
 * request takes no time here but its output, which waits for nobody: 100 steps of 1 ms are 0.1 s, so
 * later ones count a little less: 1/(2.12 + 0.1 n). */
static void test_equinox_ufc(void **state)
{
    (void)state;
    struct harness h;
    double ufc = 0;
    size_t n = 0;
    h_open(&h, "equinox{alpha=1, beta=0, delta=1, wq=0, " EQUINOX_TIMES "}");
    backlog(&h, 0, 1000, 100, 2);
    backlog(&h, 1, 120, 100, 12);
    expect_order(&h, "0");
    while (ufc <= 1000 / 3.0) {
        n++;
        ufc += 120 / (2.12 + 0.1 * (double)n);
    }
    assert_int_equal(n, 7);
    expect_order(&h, "11111110");
    h_close(&h);
}

/* 2000 and 100 in, 100 out: UFC 2400 and 500 a piece; RFC: service 3 s, T = 700, u = 5/6: 5.833 and
 * 0.99174. By UFC alone client 1 gets 5 requests before it is client 0's turn, by RFC alone 6. After 5,
 * shares of the highest are 2400/2500 and 1 for client 0, 1 and 4.959/5.833 for client 1: 0.98 against
 * 0.925 at equal weights (a sixth follows), 0.964 against 0.985 at 9:1. */
static void test_equinox_mix(void **state)
{
    (void)state;
    static const struct {
        const char *weights, *order;
    } cases[] = {
        {"alpha=1, beta=0", "011111"},
        {"alpha=0, beta=1", "0111111"},
        {"alpha=0.5, beta=0.5", "0111111"},
        {"alpha=0.9, beta=0.1", "011111"},
    };
    for (size_t i = 0; i < 4; i++) {
        struct harness h;
        char spec[200];
        snprintf(spec, sizeof spec, "equinox{%s, delta=0, " EQUINOX_TIMES "}", cases[i].weights);
        h_open(&h, spec);
        backlog(&h, 0, 2000, 100, 2);
        backlog(&h, 1, 100, 100, 12);
        expect_order(&h, cases[i].order);
        assert_int_equal(h.reqs[h_next(&h)].client, 0);
        h_close(&h);
    }
}

static void test_equinox_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {"equinox{alpha=0, beta=0}", "equinox{lift=max}",
                                      "equinox{predictor=mop}"};
    static const char *const says[] = {"alpha and beta are both 0", "lift of vtc alone",
                                       "did you mean 'mope'"};
    for (size_t i = 0; i < 3; i++) {
        struct harness h;
        assert_true(h_try_open(&h, bad[i]) < 0);
        assert_non_null(strstr(h.err.msg, says[i]));
        h_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equinox_rfc),
        cmocka_unit_test(test_equinox_ufc),
        cmocka_unit_test(test_equinox_mix),
        cmocka_unit_test(test_equinox_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
