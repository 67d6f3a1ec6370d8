/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of the schedulers that share out service, with numbers worked out by hand. */
#include "policy_harness.h"

#include "policies/gps.h"
#include "policies/programs.h"

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
    static const char *const says[] = {"alpha and beta are both 0", "is not artifact, paper or off",
                                       "did you mean 'mope'"};
    for (size_t i = 0; i < 3; i++) {
        struct harness h;
        assert_true(h_try_open(&h, bad[i]) < 0);
        assert_non_null(strstr(h.err.msg, says[i]));
        h_close(&h);
    }
}

/* ---- the ideal server ---- */

static double finish_of(const struct gps *g, uint32_t flow)
{
    return (double)g->flows[flow].finish / 1024;
}

/* Capacity 10: 20 and 10 units of work share it until 2 s, the rest has it alone until 3 s. */
static void test_gps(void **state)
{
    (void)state;
    struct gps g;
    gps_init(&g, 10);
    assert_true(gps_reach(&g, 0) && gps_reach(&g, 1));
    gps_add(&g, 0, 20, 1);
    gps_add(&g, 1, 10, 1);
    gps_advance(&g, 1999000000);
    assert_int_equal(g.active.n, 2);
    gps_advance(&g, 2000000000);
    assert_int_equal(g.active.n, 1);
    assert_int_equal(g.now, 10 * 1024);
    gps_advance(&g, 2500000000);
    assert_int_equal(g.now, 15 * 1024);
    gps_advance(&g, 1000000000); /* the past */
    assert_int_equal(g.now, 15 * 1024);
    gps_advance(&g, 4000000000);
    assert_int_equal(g.active.n, 0);
    gps_add(&g, 1, 5, 1);
    assert_true(finish_of(&g, 1) == 25); /* idle time counts for nobody */
    gps_release(&g);
}

/* Weights 3 and 1, 30 units each, capacity 8: 2 a second per weight; done at 5 s and at 7.5 s. */
static void test_gps_weights(void **state)
{
    (void)state;
    struct gps g;
    gps_init(&g, 8);
    assert_true(gps_reach(&g, 0) && gps_reach(&g, 1));
    gps_add(&g, 0, 30, 3);
    gps_add(&g, 1, 30, 1);
    assert_true(finish_of(&g, 0) == 10 && finish_of(&g, 1) == 30);
    gps_advance(&g, 4990000000);
    assert_int_equal(g.active.n, 2);
    gps_advance(&g, 5000000000);
    assert_int_equal(g.active.n, 1);
    gps_advance(&g, 7490000000);
    assert_int_equal(g.active.n, 1);
    gps_advance(&g, 7500000000);
    assert_int_equal(g.active.n, 0);
    gps_add(&g, 1, 8, 1); /* a flow that is back */
    gps_add(&g, 1, 8, 1);
    assert_true(finish_of(&g, 1) == 46);
    gps_release(&g);
}

static void test_programs(void **state)
{
    (void)state;
    struct programs p = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        struct req q = {.session = (i % 500) * 64 + 1};
        assert_int_equal(programs_of(&p, &q), i % 500);
    }
    struct req alone = {.session = 0};
    assert_int_equal(programs_of(&p, &alone), 500);
    assert_int_equal(programs_of(&p, &alone), 501);
    programs_release(&p);
}

/* User 0 floods: finishes 10, 20, 30; user 1 has one job of 25, or of 12.5 at twice the weight. A job of
 * 2 that comes at 8 s, when virtual time is 4, is before them all. */
static void test_uwfq(void **state)
{
    (void)state;
    for (int weight = 1; weight <= 2; weight++) {
        struct harness h;
        h_open(&h, "uwfq{capacity=1, wq=0}");
        assert_true(h.env.oracle);
        backlog(&h, 0, 10, 1, 3);
        h_arrive(&h, (struct h_req){.client = 1, .prompt = 25, .output = 1, .weight = weight});
        if (weight == 1) {
            h_arrive(&h, (struct h_req){.client = 2, .prompt = 2, .output = 1, .at_s = 8});
        }
        expect_order(&h, weight == 1 ? "20010" : "0100");
        h_close(&h);
    }
}

/* Memory-time of 100 in, 10 out is 1050. Agent 1 has two such inferences, agent 2 one of 150 in: 1550.
 * By 1 s the ideal system has done all this, so agent 3 comes after it. */
static void test_justitia(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "justitia");
    h_arrive(&h, (struct h_req){.client = 1, .session = 7, .prompt = 100, .output = 10});
    h_arrive(&h, (struct h_req){.client = 1, .session = 7, .prompt = 100, .output = 10});
    h_arrive(&h, (struct h_req){.client = 2, .session = 9, .prompt = 150, .output = 10});
    h_arrive(&h, (struct h_req){.client = 3, .prompt = 100, .output = 10, .at_s = 1});
    h_arrive(&h, (struct h_req){.client = 4, .prompt = 99, .output = 10, .at_s = 1});
    expect_order(&h, "21143");
    h_close(&h);
}

/* ---- dlpm ---- */

static void test_dlpm(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "dlpm{quantum=100, prefill_cost=1}");
    for (int i = 0; i < 4; i++) { /* the second has most of its prompt in the cache */
        h_arrive(&h, (struct h_req){.client = 0, .prompt = 60, .output = 1, .cached = i == 1 ? 50 : 0});
    }
    h_arrive(&h, (struct h_req){.client = 1, .prompt = 40, .output = 1, .cached = 20});
    assert_int_equal(h_next(&h), 1);
    expect_order(&h, "01"); /* deficits 100 - 11 and 100 - 21 */
    h_arrive(&h, (struct h_req){.client = 1, .prompt = 70, .output = 1});
    expect_order(&h, "00"); /* older of equals; 89 - 2 * 61 = -33 */
    h_arrive(&h, (struct h_req){.client = 1, .prompt = 5, .output = 1});
    expect_order(&h, "11"); /* though client 0's is older; 79 - 71 - 6 = 2 */
    expect_order(&h, "0");  /* nobody else waits: a quantum for client 0 alone, 67 - 61 = 6 */
    backlog(&h, 0, 1, 1, 4);
    h_arrive(&h, (struct h_req){.client = 1, .prompt = 3, .output = 1});
    expect_order(&h, "000"); /* 2 each */
    expect_order(&h, "1");   /* 2 - 4 = -2; client 0 has none left */
    expect_order(&h, "0");
    h_close(&h);
}

/* Of a client only the oldest `depth` count, however well others match. */
static void test_dlpm_depth(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "dlpm{depth=2}");
    for (uint32_t i = 0; i < 4; i++) {
        h_arrive(&h, (struct h_req){.prompt = 60, .output = 1, .cached = i * 10});
    }
    assert_int_equal(h_next(&h), 1);
    h_close(&h);
}

/* ---- fairserve ---- */

/* 1001 and 101 tokens of 500 expected: 2.002 and 0.202; from then on each is as its kind always is: 1. */
static void test_fairserve_normalises(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "fairserve");
    backlog(&h, 0, 1000, 1, 4);
    backlog(&h, 1, 100, 1, 6);
    expect_order(&h, "01110101");
    h_close(&h);
}

static void test_fairserve_interactions(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "fairserve");
    backlog(&h, 0, 100, 1, 1);
    backlog(&h, 1, 100, 1, 2);
    expect_order(&h, "0");
    backlog(&h, 0, 100, 1, 1);
    h_arrive(&h, (struct h_req){.client = 2, .turn = 1, .prompt = 4000, .output = 1});
    h_arrive(&h, (struct h_req){.client = 2, .turn = 2, .prompt = 4000, .output = 1});
    expect_order(&h, "22101"); /* 0.202 each after the first of client 1; ties to the first client */
    h_close(&h);
}

static void test_fairserve_throttles(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        uint32_t running_tok;
        bool throttles;
    } cases[] = {
        {"fairserve{limit=2, max_running=1}", 10, true},
        {"fairserve{limit=2, max_running=2}", 10, false},
        {"fairserve{limit=2}", 9001, true}, /* of 10000 */
        {"fairserve{limit=2}", 8000, false},
        {"fairserve{limit=4, max_running=1}", 10, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct harness h;
        h_open(&h, cases[i].spec);
        h_arrive(&h, (struct h_req){.client = 0, .prompt = cases[i].running_tok, .output = 5});
        h_admit(&h);
        assert_int_not_equal(h_arrive(&h, (struct h_req){.prompt = 10, .output = 1}), REQ_NONE);
        req_id third = h_arrive(&h, (struct h_req){.prompt = 10, .output = 1});
        assert_int_equal(third == REQ_NONE, cases[i].throttles);
        /* inside an interaction, of another user, or later: never */
        assert_int_not_equal(h_arrive(&h, (struct h_req){.turn = 1, .prompt = 10}), REQ_NONE);
        assert_int_not_equal(h_arrive(&h, (struct h_req){.client = 1, .prompt = 10}), REQ_NONE);
        h.v.now_ns += 61000000000;
        assert_int_not_equal(h_arrive(&h, (struct h_req){.prompt = 10, .output = 1}), REQ_NONE);
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
        cmocka_unit_test(test_gps),
        cmocka_unit_test(test_gps_weights),
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_uwfq),
        cmocka_unit_test(test_justitia),
        cmocka_unit_test(test_dlpm),
        cmocka_unit_test(test_dlpm_depth),
        cmocka_unit_test(test_fairserve_normalises),
        cmocka_unit_test(test_fairserve_interactions),
        cmocka_unit_test(test_fairserve_throttles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
