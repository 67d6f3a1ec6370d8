/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"

#define TICKS_PER_S (1e9 * SIM_TICKS_PER_NS)

struct model {
    struct arena arena;
    struct err err;
    const struct cost_ops *ops;
    void *state;
    struct cost_env env;
    struct llm_shape llm;
    struct gpu_profile gpu;
};

static const char *data_dir(void)
{
    const char *d = getenv("STEELYARD_DATA");
    return d ? d : "models";
}

static void model_load(struct model *m, const char *llm, const char *gpu, uint32_t tp)
{
    *m = (struct model){.ops = cost_find("streamed")};
    assert_non_null(m->ops);
    if (llm_load(&m->llm, llm, data_dir(), NULL, NULL, &m->arena, &m->err) != 0 ||
        gpu_load(&m->gpu, gpu, data_dir(), &m->arena, &m->err) != 0) {
        fail_msg("%s", m->err.msg);
    }
    m->env = (struct cost_env){.llm = &m->llm, .gpu = &m->gpu, .tp = tp, .arena = &m->arena};
    m->state = arena_alloc(&m->arena, m->ops->state_size);
}

static int model_init(struct model *m, const char *spec)
{
    int rc = opt_spec_apply(spec, m->ops->options, m->state, &m->arena, &m->err);
    return rc < 0 ? rc : m->ops->init(m->state, &m->env, &m->err);
}

static void model_open(struct model *m, const char *llm, const char *gpu, uint32_t tp, const char *spec)
{
    model_load(m, llm, gpu, tp);
    if (model_init(m, spec) != 0) {
        fail_msg("%s", m->err.msg);
    }
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

static double seconds(const struct model *m, struct batch_shape s)
{
    return (double)iterate(m, s).base / TICKS_PER_S;
}


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
        cmocka_unit_test(test_line),  cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
