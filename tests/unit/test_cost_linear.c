/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/cost.h"

#define TICKS_PER_MS (1e6 * SIM_TICKS_PER_NS)

struct model {
    struct arena arena;
    struct err err;
    const struct cost_ops *ops;
    void *state;
    struct cost_env env;
};

/* "linear{...}" set up as the engine does; returns init's code. */
static int model_open(struct model *m, const char *spec)
{
    *m = (struct model){.ops = cost_find("linear")};
    assert_non_null(m->ops);
    m->env.arena = &m->arena;
    m->state = arena_alloc(&m->arena, m->ops->state_size);
    int rc = opt_spec_apply(spec, m->ops->options, m->state, &m->arena, &m->err);
    return rc < 0 ? rc : m->ops->init(m->state, &m->env, &m->err);
}

static void model_close(struct model *m)
{
    arena_release(&m->arena);
}

static struct cost_affine iterate(const struct model *m, struct batch_shape s)
{
    struct cost_affine r;
    m->ops->iteration(m->state, &s, &r);
    return r;
}

static struct batch_shape decode_shape(uint32_t n, uint64_t ctx)
{
    return (struct batch_shape){.n_decode = n, .decode_ctx_tok = ctx, .n_resident = n,
                                .kv_resident_tok = ctx};
}

static struct batch_shape prompt_shape(uint64_t len)
{
    return (struct batch_shape){.n_prefill = 1, .prefill_tok = len, .prefill_ctx_tok = len,
                                .prefill_pairs = len * (len + 1) / 2, .prefill_sq = len * len,
                                .prefill_done = 1, .n_resident = 1, .kv_resident_tok = len};
}

/* The vectors are printed with three decimals, the coefficients with six digits. */
static void assert_ms(struct cost_affine r, double ms)
{
    if (fabs((double)r.base / TICKS_PER_MS - ms) > 6e-4 + 1e-5 * ms) {
        fail_msg("%.6f ms, expected %.6f", (double)r.base / TICKS_PER_MS, ms);
    }
}

static void ticks_round_and_saturate(void **unused)
{
    (void)unused;
    assert_int_equal(cost_ticks(1e-9), 1 << 20);
    assert_int_equal(cost_ticks(0), 1);
    assert_int_equal(cost_ticks(-3), 1);
    assert_int_equal(cost_ticks((double)NAN), 1);
    assert_int_equal(cost_ticks(1e30), COST_TICK_MAX);
    assert_int_equal(cost_coef(-1e-9), -(1 << 20));
}

/* Against a walk over the line, one k at a time. */
static void check_finish(int64_t base, int64_t slope, uint64_t valid)
{
    struct cost_affine r;
    cost_finish(&r, base, slope, valid);
    assert_true(r.valid >= 1 && r.valid <= valid);
    for (uint64_t k = 0; k < (r.valid < 40 ? r.valid : 40); k++) {
        int64_t want = base + slope * (int64_t)k;
        want = want < 1 ? 1 : want;
        assert_int_equal(r.base + r.slope * (int64_t)k, want);
    }
}

static void finish_holds_the_line_in_range(void **unused)
{
    (void)unused;
    for (int64_t base = -20; base <= 20; base++) {
        for (int64_t slope = -5; slope <= 5; slope++) {
            check_finish(base, slope, 7);
            check_finish(base, slope, UINT64_MAX);
        }
    }
    struct cost_affine r;
    cost_finish(&r, COST_TICK_MAX - 10, 3, UINT64_MAX);
    assert_int_equal(r.valid, 4);
    cost_finish(&r, (sim_wide)COST_TICK_MAX + 10, -3, UINT64_MAX);
    assert_int_equal(r.base, COST_TICK_MAX);
    assert_int_equal(r.valid, 4);
    cost_finish(&r, (sim_wide)COST_TICK_MAX * 1000, 3, UINT64_MAX);
    assert_true(r.base == COST_TICK_MAX && r.slope == 0 && r.valid == UINT64_MAX);
}

/* Regression vectors of the DistServe rules (serving.md 21): prefill 512 and 2048, decode of 1, 64
 * and 128 sequences with 513 tokens of context each, milliseconds, without host overhead. */
static void distserve_vectors(void **unused)
{
    (void)unused;
    static const struct {
        const char *set;
        double ms[5];
    } rows[] = {
        {"13b-tp1", {73.149, 257.692, 20.295, 42.983, 65.502}},
        {"13b-tp2", {51.497, 166.463, 13.533, 28.523, 42.076}},
        {"13b-tp4", {32.697, 93.245, 10.385, 18.517, 27.571}},
        {"66b-tp2", {190.357, 699.960, 48.899, 87.393, 97.795}},
        {"66b-tp3", {137.387, 485.949, 36.197, 61.089, 84.530}},
        {"66b-tp4", {110.114, 375.297, 31.055, 49.649, 70.019}},
        {"66b-tp8", {81.955, 259.014, 23.320, 33.678, 57.887}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct model m;
        char spec[80];
        snprintf(spec, sizeof(spec), "linear{set=distserve-opt-%s, overhead=off}", rows[i].set);
        assert_int_equal(model_open(&m, spec), 0);
        assert_ms(iterate(&m, prompt_shape(512)), rows[i].ms[0]);
        assert_ms(iterate(&m, prompt_shape(2048)), rows[i].ms[1]);
        assert_ms(iterate(&m, decode_shape(1, 513)), rows[i].ms[2]);
        assert_ms(iterate(&m, decode_shape(64, 64 * 513)), rows[i].ms[3]);
        assert_ms(iterate(&m, decode_shape(128, 128 * 513)), rows[i].ms[4]);
        model_close(&m);
    }
}

/* 75.20 ms is the TTFT of a lone 512-token prompt in the event-level vectors of the same section;
 * negative c of the vLLM 66B TP2 row by hand: 58.3822 + 1 + .382641*512 - 7.114e-6*512^2 + 2.0512. */
static void distserve_overhead(void **unused)
{
    (void)unused;
    struct model m;
    assert_int_equal(model_open(&m, "linear{set=distserve-opt-13b-tp1}"), 0);
    assert_ms(iterate(&m, prompt_shape(512)), 75.200);
    model_close(&m);
    assert_int_equal(model_open(&m, "linear{set=vllm-opt-66b-tp2}"), 0);
    assert_ms(iterate(&m, prompt_shape(512)), 255.4807);
    model_close(&m);
}

/* 94 sequences use the small set, 95 the large one: 19.9347 + 6.2694e-4*9400 + .038507*94 and
 * 7.16619 + 5.798e-4*9500 + .158311*95, plus 2 + 1e-4*context. */
static void distserve_switches_at_95(void **unused)
{
    (void)unused;
    struct model m;
    assert_int_equal(model_open(&m, "linear{set=distserve-opt-13b-tp1}"), 0);
    assert_ms(iterate(&m, decode_shape(94, 9400)), 32.387594);
    assert_ms(iterate(&m, decode_shape(95, 9500)), 30.663835);
    model_close(&m);
}

static void slora_by_hand(void **unused)
{
    (void)unused;
    struct model m;
    assert_int_equal(model_open(&m, "linear"), 0); /* a10g-slora is the default */
    assert_non_null(strstr(m.env.provenance, "A10G"));
    assert_ms(iterate(&m, prompt_shape(256)), 70.2 + 256 / 4.691);
    /* 20 run, one more is stalled with its KV held: 7340 + 300 tokens resident. */
    struct batch_shape s = decode_shape(20, 7340);
    s.n_resident = 21;
    s.kv_resident_tok = 7640;
    struct cost_affine r = iterate(&m, s);
    assert_ms(r, 35.37 + 0.1287 * 20 + 0.0002 * 7640);
    assert_true(fabs((double)r.slope / TICKS_PER_MS - 0.0002 * 20) < 1e-9);
    assert_true(r.valid > 1000000);
    /* Mixed: prefill plus what the decodes add, one constant. */
    s.n_prefill = 1;
    s.prefill_tok = 256;
    s.prefill_pairs = 256 * 257 / 2;
    r = iterate(&m, s);
    assert_ms(r, 70.2 + 256 / 4.691 + 0.1287 * 20 + 0.0002 * 7640);
    assert_int_equal(r.valid, 1);
    model_close(&m);
}

/* Both segments by hand: 0.014936 + 5.8825e-5*110 + 2.2480e-5*100 + 3.6345e-5*10 + 1.1113e-7*4000 +
 * 7.5548e-7*300 s; and 0.005004 + 2.7191e-5*1010 + 6.8630e-5*1000 - 4.1440e-5*10 + 1.6634e-7*4000 +
 * 2.7272e-6*1000 s. */
static void niyama_by_hand(void **unused)
{
    (void)unused;
    struct model m;
    assert_int_equal(model_open(&m, "linear{set=niyama}"), 0);
    struct batch_shape s = {.n_decode = 10, .decode_ctx_tok = 4000, .n_prefill = 1,
                            .prefill_tok = 100, .prefill_ctx_tok = 300};
    assert_ms(iterate(&m, s), 24.689364);
    s.prefill_tok = 1000;
    s.prefill_ctx_tok = 1000;
    assert_ms(iterate(&m, s), 104.0751);
    /* 512 tokens are still on the first segment: .014936 + 5.8825e-5*512 + 2.248e-5*512. */
    s = (struct batch_shape){.n_prefill = 1, .prefill_tok = 512};
    assert_ms(iterate(&m, s), 56.56416);
    /* Far above the knee its decode coefficients go below zero: held at one tick, then positive. */
    s = (struct batch_shape){.n_decode = 2000, .decode_ctx_tok = 2000};
    struct cost_affine r = iterate(&m, s);
    assert_true(r.base == 1 && r.slope == 0 && r.valid < 200);
    s.decode_ctx_tok += r.valid * 2000;
    struct cost_affine next = iterate(&m, s);
    assert_true(next.base >= 1 && next.slope > 0);
    model_close(&m);
}

static void custom_and_its_errors(void **unused)
{
    (void)unused;
    struct model m;
    assert_int_equal(model_open(&m, "linear{set=custom, prefill_a=1, prefill_b=0.5, prefill_c=0.25, "
                                    "decode_a=2, decode_b=0.125, decode_c=3, decode_kv=0.0625}"), 0);
    assert_ms(iterate(&m, prompt_shape(4)), 1 + 2 + 4);
    assert_ms(iterate(&m, decode_shape(2, 16)), 2 + 2 + 6 + 1);
    model_close(&m);
    assert_int_equal(model_open(&m, "linear{set=custom}"), SIM_E_CONFIG);
    model_close(&m);
    assert_int_equal(model_open(&m, "linear{set=niyama, decode_a=3}"), SIM_E_CONFIG);
    assert_non_null(strstr(m.err.msg, "set=niyama"));
    model_close(&m);
    assert_int_equal(model_open(&m, "linear{set=distserve-opt-13b-tp3}"), SIM_E_CONFIG);
    model_close(&m);
}

/* The affine contract for every set: the k-th value equals a fresh evaluation, to the last tick. */
static void affine_is_exact_for_every_set(void **unused)
{
    (void)unused;
    const struct opt_row *row = opt_find(cost_find("linear")->options, "set");
    assert_non_null(row);
    int n_sets = 0;
    for (const struct opt_choice *c = row->choices; c->name; c++) {
        if (strcmp(c->name, "custom") == 0) {
            continue;
        }
        struct model m;
        char spec[80];
        snprintf(spec, sizeof(spec), "linear{set=%s}", c->name);
        assert_int_equal(model_open(&m, spec), 0);
        srand(7);
        for (int i = 0; i < 300; i++) {
            uint32_t n = 1 + (uint32_t)rand() % 300;
            struct batch_shape s = decode_shape(n, n + (uint64_t)rand() % 100000);
            s.kv_resident_tok += (uint64_t)rand() % 5000;
            struct cost_affine r = iterate(&m, s);
            uint64_t k = (uint64_t)rand() % (r.valid < 5000 ? r.valid : 5000);
            s.decode_ctx_tok += k * n;
            s.kv_resident_tok += k * n;
            assert_int_equal(iterate(&m, s).base, r.base + r.slope * (int64_t)k);
        }
        model_close(&m);
        n_sets++;
    }
    assert_int_equal(n_sets, 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticks_round_and_saturate),
        cmocka_unit_test(finish_holds_the_line_in_range),
        cmocka_unit_test(distserve_vectors),
        cmocka_unit_test(distserve_overhead),
        cmocka_unit_test(distserve_switches_at_95),
        cmocka_unit_test(slora_by_hand),
        cmocka_unit_test(niyama_by_hand),
        cmocka_unit_test(custom_and_its_errors),
        cmocka_unit_test(affine_is_exact_for_every_set),
    };
    return cmocka_run_group_tests_name("cost_linear", tests, NULL, NULL);
}
