/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert placement: the example of deepseek-ai/EPLB's README, and what must hold of any placement. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policies/place.h"

static void readme(const double *weight, const uint32_t want[16])
{
    struct place_spec s = {.experts = 12, .slots = 16, .groups = 4, .nodes = 2, .gpus = 8};
    struct arena a = {0};
    struct placement p;
    struct err e = {0};

    assert_int_equal(place(place_find("eplb"), &s, weight, &p, &a, &e), 0);
    assert_memory_equal(p.slot, want, 16 * sizeof(want[0]));
    arena_release(&a);
}

static void test_readme(void **state)
{
    (void)state;
    readme((const double[]){90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
           (const uint32_t[]){5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1});
    readme((const double[]){20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27},
           (const uint32_t[]){7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1});
}

/* Four experts of loads 6 3 2 1 in six slots on two GPUs. 6 gets a copy (3 each), then the first of the
 * three threes again: 6 again (2 each). Slots 2 3 2 1 2 2; packed 3 | 2, 2 2 ..: {3 2 1} and {2 2 2}. */
static void test_by_hand(void **state)
{
    (void)state;
    struct place_spec s = {.experts = 4, .slots = 6, .groups = 1, .nodes = 1, .gpus = 2};
    const double weight[] = {6, 3, 2, 1};
    struct arena a = {0};
    struct placement p, plain;
    struct err e = {0};

    assert_int_equal(place(place_find("eplb"), &s, weight, &p, &a, &e), 0);
    assert_int_equal(p.copies[0], 3);
    assert_int_equal(p.copies[1], 1);
    assert_true(fabs(placement_imbalance(&p, weight) - 1) < 1e-12);
    assert_int_equal(place(place_find("contiguous"), &s, weight, &plain, &a, &e), 0);
    /* 3 + 1.5 + 2 on the first, 1 + 3 + 1.5 on the second; mean 6 */
    assert_true(fabs(placement_imbalance(&plain, weight) - 6.5 / 6) < 1e-12);
    arena_release(&a);
}

static struct place_spec random_spec(unsigned *seed)
{
    struct place_spec s = {.nodes = 1u << rand_r(seed) % 3, .groups = 1u << rand_r(seed) % 4};

    s.gpus = s.nodes * (1 + (unsigned)rand_r(seed) % 4);
    s.experts = s.groups * s.nodes * (1 + (unsigned)rand_r(seed) % 9);
    s.slots = s.gpus * ((s.experts + s.gpus - 1) / s.gpus + (unsigned)rand_r(seed) % 3);
    return s;
}

/* Groups are whole on a node when the balancer says that it keeps them so. */
static void check_groups(const struct place_spec *s, const struct placement *p)
{
    uint32_t home[64];
    uint32_t per_node = s->slots / s->nodes, size = s->experts / s->groups;

    memset(home, 0xff, sizeof(home));
    for (uint32_t i = 0; s->groups % s->nodes == 0 && s->nodes > 1 && i < s->slots; i++) {
        uint32_t group = p->slot[i] / size;

        assert_true(home[group] == UINT32_MAX || home[group] == i / per_node);
        home[group] = i / per_node;
    }
}

static void test_random(void **state)
{
    (void)state;
    unsigned seed = 5;
    uint32_t better = 0;

    for (int round = 0; round < 2000; round++) {
        struct place_spec s = random_spec(&seed);
        struct arena a = {0};
        struct placement eplb, plain;
        struct err e = {0};
        double weight[PLACE_EXPERTS_MAX];

        for (uint32_t i = 0; i < s.experts; i++) {
            weight[i] = rand_r(&seed) % 1000;
        }
        assert_int_equal(place(place_find("eplb"), &s, weight, &eplb, &a, &e), 0);
        assert_int_equal(place(place_find("contiguous"), &s, weight, &plain, &a, &e), 0);
        check_groups(&s, &eplb);
        assert_true(placement_imbalance(&eplb, weight) >= 1 - 1e-9);
        better += placement_imbalance(&eplb, weight) <= placement_imbalance(&plain, weight) + 1e-9;
        assert_int_equal(placement_moves(&eplb, &eplb), 0);
        arena_release(&a);
    }
    assert_true(better > 1900);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        struct place_spec s;
        const char *says;
    } wrong[] = {
        {{.experts = 0, .slots = 8, .groups = 1, .nodes = 1, .gpus = 1}, "at most 1024 experts"},
        {{.experts = 8, .slots = 6, .groups = 1, .nodes = 1, .gpus = 2}, "more experts than slots"},
        {{.experts = 8, .slots = 9, .groups = 1, .nodes = 1, .gpus = 2}, "slots cannot be spread"},
        {{.experts = 8, .slots = 9, .groups = 1, .nodes = 2, .gpus = 3}, "GPUs cannot be spread"},
        {{.experts = 8, .slots = 8, .groups = 3, .nodes = 1, .gpus = 2}, "over groups"},
    };
    double weight[8] = {1, 1, 1, 1, 1, 1, 1, NAN};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct arena a = {0};
        struct placement p;
        struct err e = {0};

        assert_int_equal(place(place_find("eplb"), &wrong[i].s, weight, &p, &a, &e), SIM_E_CONFIG);
        assert_non_null(strstr(e.msg, wrong[i].says));
        arena_release(&a);
    }
    struct place_spec s = {.experts = 8, .slots = 8, .groups = 1, .nodes = 1, .gpus = 2};
    struct arena a = {0};
    struct placement p;
    struct err e = {0};

    assert_int_equal(place(place_find("eplb"), &s, weight, &p, &a, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "expert 7"));
    assert_null(place_find("nobody"));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readme),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
