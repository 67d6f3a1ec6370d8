/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/err.h"
#include "sim/core/hist.h"
#include "sim/core/rng.h"

#define TICK SIM_TICKS_PER_NS_LOG2

struct fixture {
    struct arena a;
    struct hist h, ref;
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    *state = &f;
    return hist_init(&f.h, &f.a) < 0 || hist_init(&f.ref, &f.a) < 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_release(&f->a);
    return 0;
}

static void test_bins(void **state)
{
    /* 2^9 exact values, then 512 bins per octave of width 2^(octave-9). */
    static const struct {
        int64_t v;
        uint32_t bin;
    } want[] = {{-1, 0},      {0, 0},
                {1, 1},       {511, 511},
                {512, 512},   {1023, 1023},
                {1024, 1024}, {1025, 1024},
                {1026, 1025}, {2047, 1535},
                {2048, 1536}, {2051, 1536},
                {2052, 1537}, {INT64_MAX, HIST_BINS - 1}};

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(hist_bin_of(want[i].v), want[i].bin);
    }
    for (uint32_t i = 0; i < HIST_BINS; i++) {
        int64_t low = hist_bin_low(i), next = hist_bin_low(i + 1);

        assert_true(low < next);
        assert_int_equal(hist_bin_of(low), i);
        assert_int_equal(hist_bin_of(next - 1), i);
        assert_true((double)(next - low) <= 1 || (double)(next - low) / (double)low <= 0x1p-9);
    }
    assert_true(hist_bin_low(HIST_BINS) == INT64_MAX);
}

static void assert_same(const struct hist *x, const struct hist *y)
{
    assert_true(x->count == y->count);
    assert_true(x->min == y->min);
    assert_true(x->max == y->max);
    assert_memory_equal(x->bin, y->bin, HIST_BINS * sizeof *x->bin);
}

/* One affine call against n single adds, and its sum against the sum of the ticks. */
static void check_affine(struct fixture *f, sim_tick base, sim_tick slope, uint64_t n, uint64_t w)
{
    sim_wide sum = f->h.sum_ticks;

    hist_add_affine(&f->h, base, slope, n, w);
    for (uint64_t k = 0; k < n; k++) {
        sim_tick t = base + (k ? slope * (sim_tick)k : 0);

        assert_true(t >= 0);
        hist_add(&f->ref, t >> TICK, w);
        sum += (sim_wide)t * w;
    }
    assert_true(f->h.sum_ticks == sum);
}

static void test_affine_random(void **state)
{
    struct fixture *f = *state;
    struct rng_stream s = rng_stream(1, 0, "hist");

    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t n = rng_range(s, i, 0, 1, i % 100 ? 60 : 3000);
        unsigned base_bits = (unsigned)rng_range(s, i, 1, 1, 61);
        unsigned slope_bits = (unsigned)rng_range(s, i, 2, 0, 50);
        sim_tick base = (sim_tick)(rng_u64(s, i, 3) >> (64 - base_bits));
        sim_tick slope = (sim_tick)rng_range(s, i, 4, 0, (UINT64_C(1) << slope_bits) - 1);

        if (i % 2) { /* negative, down to no less than 0 at the end */
            slope = slope > base / (sim_tick)n ? -(base / (sim_tick)n) : -slope;
        }
        check_affine(f, base, slope, n, rng_range(s, i, 5, 0, 3));
        if (i % 50 == 0) {
            assert_same(&f->h, &f->ref);
            hist_clear(&f->h);
            hist_clear(&f->ref);
        }
    }
    assert_same(&f->h, &f->ref);
}

static void test_affine_edges(void **state)
{
    struct fixture *f = *state;

    check_affine(f, 0, 0, 5, 1);
    check_affine(f, (1 << TICK) - 1, 1, 2, 1);              /* crosses from 0 to 1 ns */
    check_affine(f, (sim_tick)1023 << TICK, 1, 1 << 21, 1); /* a million below, a million at 1024 */
    check_affine(f, (sim_tick)1024 << TICK, -1, 3, 2);
    check_affine(f, 3000, -1000, 4, 1); /* ends at exactly 0 */
    check_affine(f, INT64_MAX - 10, 1, 11, 1);
    check_affine(f, INT64_MAX, -(INT64_MAX / 4), 5, 1);
    check_affine(f, 5, INT64_MIN, 1, 1); /* slope of a single value means nothing */
    check_affine(f, 77, 5, 0, 1);
    check_affine(f, 77, 5, 1, 0);
    assert_same(&f->h, &f->ref);
}

static void test_affine_splits(void **state)
{
    struct fixture *f = *state;
    sim_tick base = 123456789012345, slope = 987654321;

    hist_add_affine(&f->h, base, slope, 5000, 7);
    for (sim_tick k = 0; k < 5000; k++) {
        hist_add_affine(&f->ref, base + slope * k, slope, 1, 7);
    }
    assert_same(&f->h, &f->ref);
    assert_true(f->h.sum_ticks == f->ref.sum_ticks);
}

static void test_add_and_merge(void **state)
{
    struct fixture *f = *state;
    struct hist both;

    assert_int_equal(hist_init(&both, &f->a), 0);
    for (int64_t v = -3; v < 5000; v += 3) {
        hist_add(&both, v, 2);
        hist_add(v % 2 ? &f->h : &f->ref, v, 2);
    }
    hist_add(&both, 9999, 0); /* no weight, no trace */
    hist_merge(&f->h, &f->ref);
    assert_same(&f->h, &both);
    assert_true(f->h.sum_ticks == both.sum_ticks);
    assert_int_equal(both.min, 0);
    assert_int_equal(both.max, 4998);
    hist_clear(&f->ref);
    hist_merge(&f->h, &f->ref); /* an empty one changes nothing */
    assert_same(&f->h, &both);
    hist_merge(&f->ref, &both);
    assert_same(&f->ref, &both);
}

static void test_empty(void **state)
{
    struct fixture *f = *state;

    assert_true(isnan(hist_quantile(&f->h, 0.5)));
    assert_true(isnan(hist_mean(&f->h)));
    assert_true(isnan(hist_stddev(&f->h)));
    hist_add(&f->h, 7, 1);
    assert_true(isnan(hist_quantile(&f->h, NAN)));
    assert_true(hist_quantile(&f->h, 0.3) == 7);
    assert_true(hist_stddev(&f->h) == 0);
    hist_clear(&f->h);
    assert_true(isnan(hist_mean(&f->h)));
}

/* By hand: 1 2 3 4 10 -> numpy.quantile 0, .25, .5, .9, 1 = 1, 2, 3, 7.6, 10; mean 4; std sqrt(10).
 */
static void test_small_values_are_exact(void **state)
{
    static const int64_t v[] = {10, 1, 4, 2, 3};
    struct fixture *f = *state;

    for (size_t i = 0; i < 5; i++) {
        hist_add(&f->h, v[i], 1);
    }
    assert_true(hist_quantile(&f->h, 0) == 1);
    assert_true(hist_quantile(&f->h, 0.25) == 2);
    assert_true(hist_quantile(&f->h, 0.5) == 3);
    assert_true(fabs(hist_quantile(&f->h, 0.9) - 7.6) < 1e-12);
    assert_true(hist_quantile(&f->h, 1) == 10);
    assert_true(hist_quantile(&f->h, 2) == 10 && hist_quantile(&f->h, -1) == 1);
    assert_true(hist_mean(&f->h) == 4);
    assert_true(fabs(hist_stddev(&f->h) - sqrt(10)) < 1e-12);
}

static int compare(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return (a > b) - (a < b);
}

static void test_quantiles_of_many(void **state)
{
    enum { N = 20001 };
    static int64_t v[N];
    struct fixture *f = *state;
    struct rng_stream s = rng_stream(5, 0, "many");
    double sum = 0, squares = 0, mean;

    for (uint64_t i = 0; i < N; i++) { /* log-uniform over 1e3 .. 1e10 */
        v[i] = (int64_t)pow(10, 3 + 7 * rng_uniform(s, i, 0));
        hist_add(&f->h, v[i], 1);
        sum += (double)v[i];
    }
    mean = sum / N;
    for (uint64_t i = 0; i < N; i++) {
        squares += ((double)v[i] - mean) * ((double)v[i] - mean);
    }
    qsort(v, N, sizeof v[0], compare);
    for (int p = 0; p <= 1000; p++) {
        double want = (double)v[p * (N - 1) / 1000];

        assert_true(fabs(hist_quantile(&f->h, p / 1000.0) / want - 1) < 1.0 / 512);
    }
    assert_true(hist_quantile(&f->h, 0) >= (double)v[0]);
    assert_true(hist_quantile(&f->h, 1) <= (double)v[N - 1]);
    assert_true(fabs(hist_mean(&f->h) / mean - 1) < 1e-12);
    assert_true(fabs(hist_stddev(&f->h) / sqrt(squares / N) - 1) < 0.002);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bins),
        TEST(test_affine_random),
        TEST(test_affine_edges),
        TEST(test_affine_splits),
        TEST(test_add_and_merge),
        TEST(test_empty),
        TEST(test_quantiles_of_many),
        TEST(test_small_values_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
