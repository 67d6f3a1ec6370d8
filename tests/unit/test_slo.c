/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of the schedulers that know deadlines or lengths, with numbers worked out by hand. */
#include "policy_harness.h"

#include <unistd.h>

#include "policies/slo.h"
#include "sim/run.h"

/* Serials in the order in which they run, each served to its end at once. */
static void expect_serials(struct harness *h, const char *serials)
{
    for (size_t i = 0; serials[i]; i++) {
        req_id r = h_next(h);
        assert_int_not_equal(r, REQ_NONE);
        if (h->reqs[r].serial != (uint64_t)(serials[i] - '0')) {
            fail_msg("run %zu is request %u, not %c", i, (unsigned)h->reqs[r].serial, serials[i]);
        }
        h_serve(h);
    }
}

/* serving.md section 21: TTFT 1.0 s, TBT 0.1 s, deliveries .90, 1.05, 1.25, 1.28 s: 3 count. */
static void test_cumulative_line(void **state)
{
    (void)state;
    static const sim_ns at_ns[] = {900000000, 1050000000, 1250000000, 1280000000};
    struct req q = {.ttft_slo_ms = 1000, .tpot_slo_ms = 100};
    unsigned n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        n += at_ns[i] <= slo_token_ns(&q, i);
    }
    assert_int_equal(n, 3);
    assert_true(at_ns[2] > slo_token_ns(&q, 2)); /* the fourth has caught up */
}

static void test_deadlines(void **state)
{
    (void)state;
    struct req none = {.arrival_ns = 5}, only_first = {.arrival_ns = 5, .ttft_slo_ms = 2};
    struct req both = {.arrival_ns = 0, .ttft_slo_ms = 2, .tpot_slo_ms = 1, .e2e_slo_ms = 4};
    assert_true(slo_next_ns(&none, 0) == SIM_NEVER && slo_end_ns(&none) == SIM_NEVER);
    assert_true(slo_next_ns(&only_first, 0) == 2000005);
    assert_true(slo_next_ns(&only_first, 1) == SIM_NEVER);
    assert_true(slo_next_ns(&both, 0) == 2000000);
    assert_true(slo_next_ns(&both, 1) == 3000000);
    assert_true(slo_next_ns(&both, 7) == 4000000); /* the end comes before the line */
}

static void test_edf(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "edf");
    h_arrive(&h, (struct h_req){.prompt = 9, .output = 1});                 /* 0: never */
    h_arrive(&h, (struct h_req){.prompt = 9, .output = 1, .e2e_ms = 900});  /* 1 */
    h_arrive(&h, (struct h_req){.prompt = 9, .output = 1, .ttft_ms = 950}); /* 2 */
    h_arrive(&h, (struct h_req){.prompt = 9, .output = 1, .ttft_ms = 300, .at_s = 0.5}); /* 3 */
    h_arrive(&h, (struct h_req){.prompt = 9, .output = 1, .at_s = 1});      /* 4: never */
    expect_serials(&h, "31204");
    h_close(&h);
}

/* Deadlines alike, but 0 has 100 tokens of 30 ms to go, 1 ten: slacks 1 - 3 and 1 - 0.3 s. A first token
 * within 100 ms of 2 needs its prompt alone: 0.1 - 0.2 s, less than 1's but more than 0's. */
static void test_least_slack(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "least-slack{predictor=oracle, prefill_time=0.2ms, token_time=30ms}");
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 10, .e2e_ms = 1000});
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 100, .e2e_ms = 1000});
    h_arrive(&h, (struct h_req){.prompt = 1000, .output = 100, .ttft_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 1});
    expect_serials(&h, "1203");
    h_close(&h);
}

static void test_ltr(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "ltr{predictor=oracle, starve=100}");
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 90});
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 50});
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 20});
    expect_serials(&h, "2"); /* 19 decode iterations */
    assert_true(h.p.ops->horizon(h.p.st, &h.v) == 81);
    expect_serials(&h, "1"); /* 49: 68 */
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 40}); /* 3 */
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 10}); /* 4 */
    expect_serials(&h, "43"); /* 9 + 39: 116 */
    h_arrive(&h, (struct h_req){.prompt = 1, .output = 1}); /* 5 */
    expect_serials(&h, "05"); /* 0 is starved */
    h_close(&h);
}

/* A program that had 400 tokens or more goes behind one that had less; calls of equals by arrival. */
static void test_autellix(void **state)
{
    (void)state;
    static const char *const specs[] = {"autellix", "autellix{rule=atlas}"};
    for (size_t i = 0; i < 2; i++) {
        struct harness h;
        h_open(&h, specs[i]);
        /* two calls of program 1 at once, 250 tokens each; one of program 2 */
        h_arrive(&h, (struct h_req){.session = 1, .prompt = 240, .output = 10});
        h_arrive(&h, (struct h_req){.session = 1, .prompt = 240, .output = 10});
        h_arrive(&h, (struct h_req){.session = 2, .prompt = 390, .output = 9, .at_s = 1});
        expect_serials(&h, "012");
        /* PLAS: program 1 has had 500, program 2 399; ATLAS: 1 has had 250 */
        h_arrive(&h, (struct h_req){.session = 1, .prompt = 240, .output = 10, .at_s = 2}); /* 3 */
        h_arrive(&h, (struct h_req){.session = 2, .prompt = 240, .output = 10, .at_s = 3}); /* 4 */
        h_arrive(&h, (struct h_req){.prompt = 9, .output = 1, .at_s = 4}); /* 5, alone */
        expect_serials(&h, i == 0 ? "453" : "345");
        h_close(&h);
    }
}

/* ---- pushing out for a waiting request ---- */

static void test_srpt_displaces(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "srpt{preemptive=on}");
    req_id a = h_arrive(&h, (struct h_req){.prompt = 5, .output = 90});
    req_id b = h_arrive(&h, (struct h_req){.prompt = 5, .output = 50});
    h_admit(&h);
    h_admit(&h);
    h_tick(&h);
    h_first(&h, a);
    h_first(&h, b);
    req_id c = h_arrive(&h, (struct h_req){.prompt = 5, .output = 60});
    assert_int_equal(h.p.ops->displace(h.p.st, &h.v, c), a);
    h_decode(&h, 29); /* 60 left of a */
    assert_int_equal(h.p.ops->displace(h.p.st, &h.v, c), REQ_NONE);
    h_close(&h);
    h_open(&h, "srpt");
    a = h_arrive(&h, (struct h_req){.prompt = 5, .output = 90});
    h_admit(&h);
    c = h_arrive(&h, (struct h_req){.prompt = 5, .output = 60});
    assert_int_equal(h.p.ops->displace(h.p.st, &h.v, c), REQ_NONE);
    h_close(&h);
}

struct rows {
    struct request_row at[8];
};

static int take_row(void *ctx, const struct request_row *row, struct err *e)
{
    (void)e;
    ((struct rows *)ctx)->at[row->serial] = *row;
    return 0;
}

/* A request of 400 tokens fills the pool of 480; a short one comes while it decodes. */
static void run_two(const char *policy, struct rows *ret)
{
    char path[] = "/tmp/steelyard-slo-XXXXXX";
    struct arena a = {0};
    struct run_config c = {0};
    struct run_hooks hooks = {.request = take_row, .ctx = ret};
    struct run_result r;
    struct err e = {0};
    FILE *f = fdopen(mkstemp(path), "w");
    assert_non_null(f);
    fprintf(f, "time_s,client,prompt_tokens,output_tokens\n0,a,300,100\n1,b,100,5\n");
    assert_int_equal(fclose(f), 0);
    assert_int_equal(opt_defaults(run_options, &c, &a, &e), 0);
    c.trace = path;
    c.trace_format = "native";
    c.cost = "linear{set=a10g-slora}";
    c.batcher = "vllm-v1{version=0.13}";
    c.kv_tokens = 416;
    c.check = true;
    c.policy = policy;
    if (run_execute(&c, &hooks, &r, &a, &e) < 0) {
        fail_msg("%s: %s", policy, e.msg);
    }
    unlink(path);
    arena_release(&a);
}

static void test_engine_displaces(void **state)
{
    (void)state;
    struct rows off, on;
    run_two("srpt", &off);
    run_two("check(srpt{preemptive=on})", &on);
    assert_int_equal(off.at[0].preemptions, 0);
    assert_true(off.at[1].finish_ns > off.at[0].finish_ns);
    assert_int_equal(on.at[0].preemptions, 1);
    assert_true(on.at[1].finish_ns < on.at[0].finish_ns);
    assert_true(on.at[1].admit_ns < 1100000000);
    assert_true(on.at[0].finish_ns > off.at[0].finish_ns); /* it was computed again */
    assert_int_equal(on.at[0].output_tok, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cumulative_line), cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_edf),             cmocka_unit_test(test_least_slack),
        cmocka_unit_test(test_ltr),             cmocka_unit_test(test_autellix),
        cmocka_unit_test(test_srpt_displaces),  cmocka_unit_test(test_engine_displaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
