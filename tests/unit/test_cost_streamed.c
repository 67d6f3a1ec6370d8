/* SPDX-License-Identifier: Apache-2.0 */
#define COST_NAME "streamed"
#include "tests/unit/cost_model.h"

/* Mixtral-8x7B in 16 bit: 46.7 G parameters, 12.9 G active, 128 KiB of KV per token. */
#define SWEEP_S (46.7e9 * 2 / 19.5e9)
#define KV_S    (131072 / 130.5e9)

static void test_sweep(void **state)
{
    (void)state;
    struct model m;

    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed");
    struct cost_affine few = iterate(&m, (struct batch_shape){.n_decode = 10, .decode_ctx_tok = 1000});
    assert_true(fabs((double)few.base / TICKS_PER_S / SWEEP_S - 1) < 0.01);
    assert_int_equal(few.slope, 0);
    /* Attention overtakes the sweep at SWEEP_S/KV_S = 4.77 M tokens, from 1000 after as many steps. */
    assert_true(fabs((double)few.valid / (SWEEP_S / KV_S / 10) - 1) < 0.01);
    model_close(&m);
}

static void test_cpu(void **state)
{
    (void)state;
    struct model m;

    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed");
    struct cost_affine many = iterate(&m, (struct batch_shape){.n_decode = 1000, .decode_ctx_tok = 8000000});
    assert_true(fabs((double)many.base / TICKS_PER_S / (8e6 * KV_S) - 1) < 0.001);
    assert_true(fabs((double)many.slope / TICKS_PER_S / (1000 * KV_S) - 1) < 0.001);
    assert_true(many.valid > 1000000);
    model_close(&m);
}

static void test_gpu(void **state)
{
    (void)state;
    struct model m;

    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed{eff_gemm=0.5}");
    double want = 2 * 12.9e9 * 30000 / (149.7e12 * 0.5);
    double got = seconds(&m, (struct batch_shape){.n_prefill = 300, .prefill_tok = 30000, .prefill_done = 300});
    assert_true(fabs(got / want - 1) < 0.01);
    /* (query, key) pairs: 4 FLOP times 32 layers, 32 heads, 128 dimensions each */
    double pairs = seconds(&m, (struct batch_shape){.n_prefill = 1, .prefill_tok = 30000, .prefill_pairs = 450000000});
    assert_true(fabs((pairs - got) / (450e6 * 4 * 32 * 32 * 128 / (149.7e12 * 0.5)) - 1) < 0.01);
    model_close(&m);
}

/* The line is what a fresh evaluation says, to the last tick, on both sides of the knot. */
static void test_line(void **state)
{
    (void)state;
    struct model m;

    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed");
    for (uint64_t ctx = 4700000; ctx < 4800000; ctx += 977) {
        struct batch_shape s = {.n_decode = 1000, .decode_ctx_tok = ctx};
        struct cost_affine line = iterate(&m, s);

        for (uint64_t k = 0; k < line.valid && k < 100; k++) {
            struct batch_shape at = {.n_decode = 1000, .decode_ctx_tok = ctx + 1000 * k};

            assert_true(iterate(&m, at).base == line.base + line.slope * (sim_tick)k);
        }
    }
    model_close(&m);
}

/* 100 lines against 900 of a memory of 150 GB/s: copies get 15 of their 19.5 GB/s while attention reads at 135. A
 * gigatoken of context would take KV/135 s, and the sweep ends later by 4.5/19.5 of that. Lines that
 * ask for less than their proportion get what they ask for. */
static void test_lines(void **state)
{
    (void)state;
    struct model m;

    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed{dma_lines=100,cpu_lines=900}");
    double read_s = 3e6 * 131072 / 135e9;
    struct cost_affine c = iterate(&m, (struct batch_shape){.n_decode = 1000, .decode_ctx_tok = 3000000});
    assert_true(fabs((double)c.base / TICKS_PER_S / (SWEEP_S + read_s * 4.5 / 19.5) - 1) < 0.01);
    assert_true(fabs((double)c.slope / TICKS_PER_S / (1000 * 131072 / 135e9 * 4.5 / 19.5) - 1) < 0.001);
    for (uint64_t k = 0; k <= c.valid; k++) {
        struct cost_affine at = iterate(&m, (struct batch_shape){.n_decode = 1000, .decode_ctx_tok = 3000000 + 1000 * k});

        assert_true((at.base == c.base + c.slope * (sim_tick)k) == (k < c.valid));
    }
    model_close(&m);
    model_open(&m, "mixtral-8x7b", "a40", 1, "streamed{dma_lines=900,cpu_lines=100}");
    assert_true(fabs(seconds(&m, (struct batch_shape){.n_decode = 1000, .decode_ctx_tok = 3000000}) / SWEEP_S - 1) < 0.01);
    model_close(&m);
}

static void test_errors(void **state)
{
    (void)state;
    struct model m;

    model_load(&m, "mixtral-8x7b", "a40", 2);
    assert_int_equal(model_init(&m, "streamed"), SIM_E_CONFIG);
    assert_non_null(strstr(m.err.msg, "one GPU"));
    model_close(&m);
    model_load(&m, "mixtral-8x7b", "a40", 1);
    assert_int_equal(model_init(&m, "streamed{link_gb_s=150}"), SIM_E_CONFIG);
    assert_non_null(strstr(m.err.msg, "leaves nothing"));
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep), cmocka_unit_test(test_cpu),    cmocka_unit_test(test_gpu),
        cmocka_unit_test(test_line),  cmocka_unit_test(test_lines), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
