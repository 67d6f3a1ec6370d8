/* SPDX-License-Identifier: Apache-2.0
 *
 * Curves over the way kernels are computed. Times come from generators of this file, which know nothing of
 * the curves but the physics: tiles in waves, memory beside them, a cache. */
#include <gsl/gsl_errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "calibrate/grid.h"
#include "calibrate/waves.h"
#include "sim/core/rng.h"

static void assert_near(double got, double want, double share)
{
    if (!(fabs(got / want - 1) <= share)) {
        fail_msg("%.6g, expected %.6g within %g %%", got, want, 100 * share);
    }
}

/* A factor around 1, reproducibly. */
static double noisy(uint64_t i, double share)
{
    struct rng_stream s = rng_stream(7, 0, "noise");
    return 1 + share * (2 * rng_uniform(s, i, 0) - 1);
}

/* ---- kriging ---- */

static void same(const double *x, double *z, const void *ctx)
{
    (void)ctx;
    z[0] = x[0];
}

/* Two points at -a and +a with residuals r: by hand, 2 r e^-a / (1 + s + e^-2a). */
static void residuals_between_points(void **unused)
{
    (void)unused;
    const size_t both[] = {0, 1};
    const double z[] = {-0.5, 0.5}, r[] = {0.2, 0.2};
    struct likeness l = {.n = 1, .features = same, .noise = 0};
    struct krige k = {&l, z, r};
    assert_near(krige_at(&k, both, 2, (double[]){0}), 0.4 * exp(-0.5) / (1 + exp(-1)), 1e-9);
    assert_near(krige_at(&k, both, 2, (double[]){0.5}), 0.2, 1e-9);
    assert_true(fabs(krige_at(&k, both, 2, (double[]){40})) < 1e-9);
    assert_true(fabs(krige_at(&k, both, 0, (double[]){0})) < 1e-12);
    l.noise = 1; /* a single measurement is half noise */
    assert_near(krige_at(&k, both, 1, (double[]){-0.5}), 0.1, 1e-9);
}

/* Of many points the nearest are used: far ones, offered first, push none of them out. */
static void nearest_points_count(void **unused)
{
    (void)unused;
    enum { N = 4 * KRIGE_NEAREST };
    double z[N], r[N];
    size_t all[N];
    for (size_t i = 0; i < N; i++) {
        z[i] = 1000.0 - (double)i * 1000.0 / (N - 1);
        r[i] = i == N - 1 ? 0.3 : -5;
        all[i] = i;
    }
    struct likeness l = {.n = 1, .features = same, .noise = 0};
    struct krige k = {&l, z, r};
    assert_near(krige_at(&k, all, N, (double[]){0}), 0.3, 1e-3);
}

/* ---- curves ---- */

static double two_rates(const double *x, const double *c, const void *ctx)
{
    (void)ctx;
    return c[0] + fmax(x[0] / c[1], x[1] / c[2]);
}

/* 5 + max(x / 20, y / 3), every tenth time doubled. */
static void outliers_do_not_bend_a_curve(void **unused)
{
    (void)unused;
    struct err e = {0};
    struct points p = {.dims = 2};
    static const struct curve_coef coef[] = {
        {"floor", "us", 0.1, 1, 100}, {"a", "1/us", 0.1, 1, 1000}, {"b", "1/us", 0.1, 1, 1000}};
    struct curve t = {.n = 3, .coef = coef, .at = two_rates};
    for (uint64_t i = 0; i < 200; i++) {
        double x[] = {(double)(i % 20) * 100, (double)(i / 20) * 20};
        double y = (5 + fmax(x[0] / 20, x[1] / 3)) * noisy(i, 0.02);
        points_add(&p, x, i % 10 == 3 ? 2 * y : y, &e);
    }
    assert_int_equal(curve_fit(&t, &p, &e), 0);
    assert_near(t.c[0], 5, 0.02);
    assert_near(t.c[1], 20, 0.02);
    assert_near(t.c[2], 3, 0.02);
    assert_near(curve_at(&t, (double[]){1000, 30}), 55, 0.02);
    assert_true(t.spread > 0.005 && t.spread < 0.03);
    p.n = 2;
    assert_int_equal(curve_fit(&t, &p, &e), SIM_E_DATA);
    /* Eight points: all three; four: the first ones only, the rest stay where they start. */
    curve_fewer(&t, 8);
    assert_true(t.n == 3 && t.all == 3);
    curve_fewer(&t, 4);
    assert_true(t.n == 2 && t.all == 3);
    p.n = 20;
    assert_int_equal(curve_fit(&t, &p, &e), 0);
    assert_near(t.c[2], 1, 1e-9);
    points_release(&p);
}

/* ---- a GPU of this file ---- */

#define SMS   100.0
#define FLOPS 400e12
#define BYTES 2e12
#define FLOOR_US 3.0

/* The best of six tilings in whole waves, sums whole, halved or quartered: a tile takes 1.5 us to start, loads its operands at 8 TB/s over
 * all SMs and multiplies them at the peak, whichever is longer, partial sums are
 * written and read once more; memory gives 90 % of its rate beside that. */
static double product_us(double n, double k, double m)
{
    static const double tile[][2] = {{256, 128}, {128, 256}, {128, 128}, {128, 64}, {64, 128}, {64, 64}};
    double compute = HUGE_VAL;
    for (int i = 0; i < 6; i++) {
        double a = tile[i][0], b = tile[i][1];
        for (double s = 1; s <= 4; s *= 2) {
            double one = 1.5 + 1e6 * SMS * k / s * fmax(2 * a * b / FLOPS, 2 * (a + b) / 8e12);
            double sum = s > 1 ? 1.5 + 1e6 * 8 * s * m * n / 8e12 : 0;
            compute = fmin(compute, one * ceil(s * ceil(m / a) * ceil(n / b) / SMS) + sum);
        }
    }
    double memory = 2 * (n * k + m * (n + k)) / (0.9 * BYTES) * 1e6;
    return FLOOR_US + fmax(compute, memory);
}

static const double widths[] = {2048, 4096, 6144, 8192, 14336, 28672};
static const double depths[] = {2048, 4096, 8192, 14336};
static const double tokens[] = {1, 8, 16, 64, 128, 129, 256, 257, 384, 512, 513, 768, 1024, 1025, 2048, 4096, 8192};
#define N(a) (sizeof(a) / sizeof((a)[0]))

static void all_products(struct points *p, struct err *e)
{
    uint64_t i = 0;
    for (size_t a = 0; a < N(widths); a++) {
        for (size_t b = 0; b < N(depths); b++) {
            for (size_t c = 0; c < N(tokens); c++) {
                double x[] = {widths[a], depths[b], tokens[c]};
                points_add(p, x, product_us(x[0], x[1], x[2]) * noisy(i++, 0.03), e);
            }
        }
    }
}

static struct wave this_gpu(void)
{
    return (struct wave){.sms = SMS, .flop_per_s = FLOPS, .attn_flop_per_s = FLOPS, .byte_per_s = BYTES,
                         .weight_bytes = 2, .act_bytes = 2, .heads = 32, .kv_heads = 8, .kv_bytes = 4096,
                         .pair_flops = 4 * 32 * 128, .qo_bytes = 16384};
}

static void products_come_in_waves(void **unused)
{
    (void)unused;
    struct err e = {0};
    struct points p = {.dims = 3};
    struct wave w = this_gpu();
    all_products(&p, &e);
    wave_gemm(&w);
    assert_int_equal(curve_fit(&w.curve, &p, &e), 0);
    const double *c = w.curve.c;
    assert_near(c[0], FLOOR_US, 0.3);
    assert_near(c[1] * 1e6, FLOPS, 0.08);
    assert_near(c[2] * 1e6, 0.9 * BYTES, 0.05);
    /* 3200 columns: 25 x 4 tiles fill the SMs once; one token more, and a second wave is due. */
    double one = curve_at(&w.curve, (double[]){3200, 8192, 512});
    double two = curve_at(&w.curve, (double[]){3200, 8192, 513});
    assert_near(one, product_us(3200, 8192, 512), 0.1);
    assert_near(two, product_us(3200, 8192, 513), 0.1);
    assert_true(product_us(3200, 8192, 513) / product_us(3200, 8192, 512) > 1.4);
    /* In memory's regime a product takes as long as its bytes, however many tokens. */
    assert_near(curve_at(&w.curve, (double[]){28672, 14336, 4}), product_us(28672, 14336, 4), 0.03);
    points_release(&p);
}

static void products_held_out(void **unused)
{
    (void)unused;
    struct err e = {0};
    struct points p = {.dims = 3};
    struct wave w = this_gpu();
    struct tally single = {0}, shape = {0};
    double sum[2] = {0, 0};
    all_products(&p, &e);
    wave_gemm(&w);
    struct trend t = {.curve = &w.curve, .like = &w.like};
    assert_int_equal(grid_validate(&p, &t, 5, 0, NULL, NULL, &single, &e), 0);
    assert_int_equal(grid_validate(&p, &t, 5, 2, NULL, NULL, &shape, &e), 0);
    assert_true(single.n == p.n && shape.n == p.n);
    for (size_t i = 0; i < p.n; i++) {
        sum[0] += single.error[i] / (double)p.n;
        sum[1] += shape.error[i] / (double)p.n;
    }
    /* The noise alone is 1.5 % in the mean. */
    assert_true(sum[0] > 0.01 && sum[0] < 0.04);
    assert_true(sum[1] > 0.01 && sum[1] < 0.05);
    tally_release(&single);
    tally_release(&shape);
    points_release(&p);
}

/* KV from memory at 80 % of its rate, or from the cache while it fits; 4 us at least. */
#define L2 50e6
static double decode_us(double n, double context)
{
    double bytes = n * context * 4096;
    return 4 + bytes / (bytes < L2 ? 5 * BYTES : 0.8 * BYTES) * 1e6;
}

static void decodes_leave_the_cache(void **unused)
{
    (void)unused;
    struct err e = {0};
    struct points p = {.dims = 2};
    struct wave w = this_gpu();
    uint64_t i = 0;
    for (double n = 1; n <= 512; n *= 2) {
        for (double context = 64; context <= 32768; context *= 2) {
            points_add(&p, (double[]){n, context}, decode_us(n, context) * noisy(i++, 0.02), &e);
        }
    }
    w.l2_bytes = L2;
    wave_decode(&w);
    assert_int_equal(curve_fit(&w.curve, &p, &e), 0);
    assert_near(w.curve.c[2] * 1e6, 0.8 * BYTES, 0.05);
    assert_near(curve_at(&w.curve, (double[]){100, 3000}), decode_us(100, 3000), 0.05);
    assert_near(curve_at(&w.curve, (double[]){100, 60}), decode_us(100, 60), 0.15);
    /* More context never is faster. */
    for (double context = 64; context < 60000; context *= 1.3) {
        assert_true(curve_at(&w.curve, (double[]){16, 1.3 * context}) >=
                    0.999 * curve_at(&w.curve, (double[]){16, context}));
    }
    points_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(residuals_between_points),     cmocka_unit_test(nearest_points_count),
        cmocka_unit_test(outliers_do_not_bend_a_curve), cmocka_unit_test(products_come_in_waves),
        cmocka_unit_test(products_held_out),            cmocka_unit_test(decodes_leave_the_cache),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
