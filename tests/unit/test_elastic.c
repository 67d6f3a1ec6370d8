/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranks that come and go: bytes by hand. */
#define COST_NAME "roofline"
#include "sim/placement/elastic.h"
#include "tests/unit/cost_model.h"

/* DeepSeek-V2-Lite: 64 experts of 3*2048*1408 weights in 26 layers, 16 bit: 17.30 MB, .4498 GB over the layers; all
 * of it 31.4 GB, so 2.6 GB are not experts and half of them 1.3. */
#define EXPERT (3.0 * 2048 * 1408 * 2 * 26)

static void plan(struct elastic_plan *p, uint32_t from, uint32_t to, int want)
{
    struct model m;
    struct err e = {0};

    model_load(&m, "deepseek-v2-lite", "h100", 1);
    assert_int_equal(elastic_plan(&(struct elastic_spec){&m.llm, 2, from, to}, p, &e), want);
    arena_release(&m.arena);
}

/* Two new ranks get 8 experts each and a shard of the rest. */
static void test_up(void **state)
{
    (void)state;
    struct elastic_plan p;

    plan(&p, 3, 4, 0);
    assert_int_equal(p.ranks, 8);
    assert_int_equal(p.most_experts, 8);
    assert_true(fabs(p.model_bytes - 31.4e9) < 0.1e9);
    assert_true(fabs(p.most_bytes - 8 * EXPERT - (p.model_bytes - 64 * EXPERT) / 2) < 1);
    assert_true(fabs(p.bytes - 2 * p.most_bytes) < 1);
}

/* The 16 experts of two ranks go to six, which have 8 and then 11 or 10. */
static void test_down(void **state)
{
    (void)state;
    struct elastic_plan p;

    plan(&p, 4, 3, 0);
    assert_int_equal(p.most_experts, 3);
    assert_true(fabs(p.most_bytes - 3 * EXPERT) < 1);
    assert_true(fabs(p.bytes - 16 * EXPERT) < 1);
    plan(&p, 4, 4, 0);
    assert_true(p.bytes == 0);
}

static void test_errors(void **state)
{
    (void)state;
    struct elastic_plan p;
    struct model m;
    struct err e = {0};

    plan(&p, 3, 0, SIM_E_CONFIG);
    plan(&p, 3, 33, SIM_E_CONFIG);
    model_load(&m, "llama-3.1-8b", "h100", 1);
    assert_int_equal(elastic_plan(&(struct elastic_spec){&m.llm, 2, 1, 2}, &p, &e), SIM_E_CONFIG);
    arena_release(&m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up), cmocka_unit_test(test_down), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
