/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules about KV that is kept for later: Continuum's time to live, CacheGen's choice of levels, vAttention's
 * pages. Vectors: serving.md, section 21; the rest by hand or by brute force. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/core/rng.h"
#include "sim/kv/pages.h"
#include "sim/kv/stream.h"
#include "sim/kv/ttl.h"

static void assert_close(double got, double want)
{
    if (fabs(got - want) > 1e-9 * (1 + fabs(want))) {
        fail_msg("%.12g, but it should be %.12g", got, want);
    }
}

static void test_worked_example(void **state)
{
    static const double seen[] = {2, 0.5, 10, 1, 1};
    const struct ttl_case c = {.tool_s = seen, .n = 5, .wait_s = 4, .eta = 0.5, .reload_s = 1};

    (void)state;
    assert_close(ttl_gain_s(&c, 0), 0);
    assert_close(ttl_gain_s(&c, 0.5), 0.1);
    assert_close(ttl_gain_s(&c, 1), 0.8);
    assert_close(ttl_gain_s(&c, 2), 0.4);
    assert_close(ttl_gain_s(&c, 10), -7);
    assert_close(ttl_best_s(&c), 1);
}

/* On a fine grid nothing is better; when nothing is to be had the KV goes at once. */
static void test_best_is_best(void **state)
{
    struct rng_stream s = rng_stream(3, 0, "ttl");
    int kept = 0;

    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        double seen[20];
        struct ttl_case c = {.tool_s = seen, .n = 20, .wait_s = 6 * rng_uniform(s, i, 100),
                             .eta = rng_uniform(s, i, 101), .reload_s = 3 * rng_uniform(s, i, 102)};

        for (uint64_t k = 0; k < 20; k++) {
            seen[k] = -2 * log(rng_uniform(s, i, k) + 1e-9);
        }
        double best = ttl_best_s(&c);

        for (int g = 0; g <= 4000; g++) {
            assert_true(ttl_gain_s(&c, best) >= ttl_gain_s(&c, g * 0.005) - 1e-12);
        }
        kept += best > 0;
    }
    assert_true(kept > 20 && kept < 200);
}

static void test_eta(void **state)
{
    static const uint32_t same[] = {7, 7, 7}, one[] = {1, 1}, mixed[] = {1, 2};
    uint32_t geometric[20000];
    struct rng_stream s = rng_stream(4, 0, "eta");

    (void)state;
    assert_close(ttl_eta(same, 3), 1);
    assert_close(ttl_eta(one, 2), 0);
    /* turns (1,0) (1,1) (2,0): means 4/3 and 1/3; covariance -1/9, variances 2/9 */
    assert_close(ttl_eta(mixed, 2), 0.5);
    for (uint64_t i = 0; i < 20000; i++) {
        geometric[i] = 1 + (uint32_t)(log(1 - rng_uniform(s, i, 0)) / log(0.8));
    }
    assert_true(fabs(ttl_eta(geometric, 20000)) < 0.05); /* without memory */
}

static void test_learner(void **state)
{
    struct ttl_learner l;

    (void)state;
    assert_int_equal(ttl_learner_init(&l), 0);
    assert_close(ttl_decide_s(&l, 0, 0.5), 0);
    assert_close(ttl_decide_s(&l, 0, exp(1.0)), 1); /* ln A */
    for (int i = 0; i < 40; i++) {
        ttl_learn_wait(&l, 4);
        ttl_learn_program(&l, 5);
        ttl_learn_tool(&l, 1, 1);
        ttl_learn_tool(&l, 2, 3);
    }
    assert_close(ttl_decide_s(&l, 1, exp(1.0) - 4), 1); /* 80 durations: still not known */
    for (int i = 0; i < 70; i++) {
        ttl_learn_tool(&l, 1, 1);
    }
    /* 150 in all, 110 of tool 1, 40 of tool 2: tool 1 always answers within 1 s; of all tools, which stand
     * for tool 2, 110/150 do. Keeping for 3 s gains 4 + 1 - 3, for 1 s 110/150 * 5 - 1. */
    assert_close(ttl_decide_s(&l, 1, 1), 1);
    assert_close(ttl_decide_s(&l, 2, 1), 1);
    assert_close(ttl_decide_s(&l, 2, 6), 3); /* 10 - 3 against 110/150 * 10 - 1 */
    ttl_learner_release(&l);
}

static void test_levels(void **state)
{
    static const double gbit[] = {0.566, 5.026, 2.219, 0.650, 2.751, 3.738, 7.542, 2.705, 0.828, 6.840};
    static const double bytes[STREAM_LEVELS + 1] = {0, 35e6, 45e6, 60e6};
    static const int want[] = {0, 3, 2, 0, 3, 3, 3, 3, 0, 3};
    const struct stream_goal goal = {.ttft_s = 2, .chunks = 10, .recompute_s = 0.2};
    double rate[10];
    int level[10];

    (void)state;
    for (int i = 0; i < 10; i++) {
        rate[i] = gbit[i] * 1e9 / 8;
    }
    double ttft = stream_play(&goal, bytes, rate, level);

    for (int i = 0; i < 10; i++) {
        assert_int_equal(level[i], want[i]);
    }
    assert_true(fabs(ttft - 1.4719) < 5e-5);
    /* A chunk that takes exactly its part of the goal is too slow: 40 MB at 200 MB/s. */
    static const double even[STREAM_LEVELS + 1] = {0, 20e6, 30e6, 40e6};

    assert_int_equal(stream_choose(&goal, even, 200e6, &ttft), 2);
    assert_close(ttft, 0.15);
}

static void test_pages(void **state)
{
    struct pages_shape s = {.layers = 32, .tensor_byte_per_tok = 2048, .page_byte = 2097152};

    (void)state;
    assert_int_equal(pages_tok(&s), 1024);
    assert_int_equal(pages_held(&s, 0), 0);
    assert_int_equal(pages_held(&s, 1000), 64); /* 128 MiB */
    assert_int_equal(pages_held(&s, 1024), 64);
    assert_int_equal(pages_grown(&s, 1024, 1025), 64);
    assert_int_equal(pages_grown(&s, 1025, 1000), 0);
    s.page_byte = 65536;
    assert_int_equal(pages_tok(&s), 32);
    assert_int_equal(pages_held(&s, 1000), 2048); /* 128 MiB as well */
    assert_int_equal(pages_grown(&s, 1024, 1025), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worked_example), cmocka_unit_test(test_best_is_best),
        cmocka_unit_test(test_eta),            cmocka_unit_test(test_learner),
        cmocka_unit_test(test_levels),         cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
