/* SPDX-License-Identifier: Apache-2.0
 *
 * SLOs-Serve: its dynamic programme against all subsets, and who runs when, by hand. */
#include "policy_harness.h"

#include "policies/slo_plan.h"

#define MS ((sim_ns)1000000)

static struct slo_planner planner;

/* 2 batches of 10 tokens until 0.2 s, 3 more until 0.5 s; the first, once it decodes, takes a token of each.
 * Prompts 15, 20, 30. 1 and 2: 20 - 15 + 27 - 20 = 12 are left, value 45; 1 and 3: 2 left, 51; 2 and 3: 0 left,
 * 56; all three do not fit. With a value of 27 for the first, 1 and 3 are 58. */
static void test_by_hand(void **state)
{
    (void)state;
    struct slo_plan_load l = {.step_ns = 100 * MS, .token_budget = 10};
    struct slo_plan_item it[] = {{200 * MS, 15, 20, false}, {500 * MS, 20, 25, false}, {500 * MS, 30, 31, false}};
    slo_plan(&planner, it, 3, &l);
    assert_true(!it[0].promised && it[1].promised && it[2].promised);
    it[0].value = 27;
    slo_plan(&planner, it, 3, &l);
    assert_true(it[0].promised && !it[1].promised && it[2].promised);
    l.n_decoding = 1; /* 18 + 24: the second and the third need 50, so now 1 and 2, or 1, or 3 */
    slo_plan(&planner, it, 3, &l);
    assert_true(it[0].promised && it[1].promised && !it[2].promised);
}

/* Is this choice in time? Budgets as above, in plain numbers. */
static bool feasible(const struct slo_plan_item *it, uint32_t n, unsigned set, const struct slo_plan_load *l)
{
    double left = 0;
    uint32_t taken = 0;
    sim_ns at = l->now_ns;
    for (uint32_t i = 0; i < n; i++) {
        sim_ns due = it[i].due_ns > at ? it[i].due_ns : at;
        double room = (double)l->token_budget - l->n_decoding - taken;
        left += room > 0 ? room * (double)((due - at) / l->step_ns) : 0;
        at = due;
        if (set >> i & 1) {
            left -= it[i].prompt_tok;
            taken++;
            if (left < 0) {
                return false;
            }
        }
    }
    return true;
}

static double value_of(const struct slo_plan_item *it, uint32_t n, unsigned set)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += set >> i & 1 ? it[i].value : 0;
    }
    return sum;
}

static void random_case(struct rng_stream s, uint64_t i, bool small, uint32_t *ret_n, struct slo_plan_item *it,
                        struct slo_plan_load *l)
{
    uint32_t n = (uint32_t)rng_range(s, i, 0, 1, 9);
    sim_ns due = 0;
    *l = (struct slo_plan_load){.now_ns = 7 * MS, .step_ns = 50 * MS,
                                .token_budget = (uint32_t)rng_range(s, i, 1, 1, small ? 12 : 400),
                                .n_decoding = (uint32_t)rng_range(s, i, 2, 0, 6)};
    for (uint32_t k = 0; k < n; k++) {
        due += (sim_ns)rng_range(s, i, 10 + k, 0, 150) * MS;
        it[k] = (struct slo_plan_item){.due_ns = due,
                                       .prompt_tok = (uint32_t)rng_range(s, i, 20 + k, 1, small ? 14 : 900),
                                       .value = (double)rng_range(s, i, 30 + k, 1, 40)};
    }
    *ret_n = n;
}

static void test_all_subsets(void **state)
{
    (void)state;
    struct rng_stream s = rng_stream(5, 0, "slos");
    unsigned some = 0, partly = 0;
    double sum_got = 0, sum_best = 0;
    for (uint64_t i = 0; i < 3000; i++) {
        struct slo_plan_item it[9];
        struct slo_plan_load l;
        uint32_t n;
        bool small = i % 3 != 0; /* budgets below the table's levels: exact */
        random_case(s, i, small, &n, it, &l);
        double best = 0;
        unsigned got = 0;
        for (unsigned set = 0; set < 1u << n; set++) {
            best = feasible(it, n, set, &l) ? fmax(best, value_of(it, n, set)) : best;
        }
        slo_plan(&planner, it, n, &l);
        for (uint32_t k = 0; k < n; k++) {
            got |= (unsigned)it[k].promised << k;
        }
        assert_true(feasible(it, n, got, &l)); /* always on the safe side */
        if (small && value_of(it, n, got) != best) {
            fail_msg("case %u: %g, not %g", (unsigned)i, value_of(it, n, got), best);
        }
        sum_got += value_of(it, n, got);
        sum_best += best;
        some += got != 0;
        partly += got != 0 && got != (1u << n) - 1;
    }
    assert_true(some > 1500 && partly > 1000);
    assert_true(sum_got > 0.97 * sum_best); /* what rounding costs */
}

static void expect_serials(struct harness *h, const char *serials)
{
    for (size_t i = 0; serials[i]; i++) {
        req_id r = h_next(h);
        assert_int_not_equal(r, REQ_NONE);
        if (h->reqs[r].serial != (uint64_t)(serials[i] - '0')) {
            fail_msg("run %zu is request %u, not %c", i, (unsigned)h->reqs[r].serial, serials[i]);
        }
        h_admit(h);
    }
}

#define SLOS "slos-serve{predictor=oracle, token_budget=10, frame=1000}"

/* 100 ms a token, so 10 prompt tokens in each. 0 is due at 1 s with 100 tokens, 1 at 1 s with 90 and the longer
 * answer: together too much, so 1 is promised; 2, due later, fits behind it (9 tokens a batch: 90 until 2 s).
 * 0 is next by its deadline, then 4 that was late when it came, and 3 without a goal: by arrival. */
static void test_order(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, SLOS);
    h_arrive(&h, (struct h_req){.prompt = 100, .output = 5, .ttft_ms = 1000, .tpot_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 90, .output = 50, .ttft_ms = 1000, .tpot_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 80, .output = 5, .ttft_ms = 2000, .tpot_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 8, .output = 5});
    h_arrive(&h, (struct h_req){.prompt = 8, .output = 5, .ttft_ms = 100, .tpot_ms = 100, .at_s = -1});
    expect_serials(&h, "12043"); /* 4 arrived "before" */
    h_close(&h);
}

/* Only an end-to-end goal: due when its 20 tokens at 100 ms would just end by 3 s, at 1 s; before the other. */
static void test_end_to_end(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, SLOS);
    h_arrive(&h, (struct h_req){.prompt = 40, .output = 5, .ttft_ms = 1500, .tpot_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 40, .output = 20, .e2e_ms = 3000});
    expect_serials(&h, "10");
    h_close(&h);
}

/* At the next plan what was promised is open again: by then 0 has become late and goes behind. */
static void test_late(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "slos-serve{predictor=oracle, token_budget=10, frame=10}");
    req_id a = h_arrive(&h, (struct h_req){.prompt = 40, .output = 500, .ttft_ms = 9000, .tpot_ms = 100});
    expect_serials(&h, "0");
    h_tick(&h);
    h_first(&h, a);
    req_id b = h_arrive(&h, (struct h_req){.prompt = 40, .output = 5, .ttft_ms = 1000, .tpot_ms = 100});
    h_arrive(&h, (struct h_req){.prompt = 40, .output = 5, .ttft_ms = 4000, .tpot_ms = 100});
    assert_int_equal(h_next(&h), b);
    assert_int_equal(h.p.ops->horizon(h.p.st, &h.v), 10);
    h_decode(&h, 5);
    h.v.now_ns += 1500 * MS;
    assert_int_equal(h_next(&h), b); /* as planned */
    h_decode(&h, 5);
    expect_serials(&h, "21");
    h_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),    cmocka_unit_test(test_all_subsets), cmocka_unit_test(test_order),
        cmocka_unit_test(test_end_to_end), cmocka_unit_test(test_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
