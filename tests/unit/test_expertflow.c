/* SPDX-License-Identifier: Apache-2.0
 *
 * ExpertFlow (arXiv 2410.17954): who gets the slots (PLEC, its figure 5), who leaves, and how the token scheduler
 * divides two batches, against all divisions of small ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policies/experts.h"
#include "policies/regroup.h"
#include "sim/core/rng.h"

#define LAYERS  3
#define EXPERTS 4

struct fake {
    struct arena a;
    struct err e;
    struct expert_view v;
    uint32_t slots[1];
    uint8_t state[LAYERS * EXPERTS], held[LAYERS * EXPERTS];
    /* what the predictor says, by layer, and who was asked for, in order */
    struct expert_guess guess[LAYERS][EXPERTS];
    uint32_t n_guess[LAYERS], wanted[LAYERS * EXPERTS], n_wanted;
    double recall;
};

static uint32_t fake_predict(void *ctx, uint32_t layer, double recall, struct expert_guess *ret)
{
    struct fake *f = ctx;

    f->recall = recall;
    memcpy(ret, f->guess[layer], f->n_guess[layer] * sizeof *ret);
    return f->n_guess[layer];
}

static bool fake_want(void *ctx, uint32_t layer, uint32_t expert, bool urgent)
{
    struct fake *f = ctx;

    assert_false(urgent);
    f->wanted[f->n_wanted++] = layer * EXPERTS + expert;
    return false;
}

static const struct expert_services fake_services = {.predict = fake_predict, .want = fake_want};

static void open_fake(struct fake *f, uint32_t slots)
{
    memset(f, 0, sizeof *f);
    f->slots[0] = slots;
    f->v = (struct expert_view){.env = {.arena = &f->a, .layers = LAYERS, .experts = EXPERTS, .top_k = 1, .rooms = 1,
                                        .slots = slots},
                                .slots = f->slots, .state = f->state, .held = f->held, .ops = &fake_services,
                                .ctx = f};
}

static void says(struct fake *f, uint32_t layer, uint32_t n, const uint32_t *expert)
{
    f->n_guess[layer] = n;
    for (uint32_t i = 0; i < n; i++) {
        f->guess[layer][i] = (struct expert_guess){expert[i], n - i};
    }
}

static void expect_wanted(struct fake *f, uint32_t n, const uint32_t *item)
{
    assert_int_equal(f->n_wanted, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(f->wanted[i], item[i]);
    }
    f->n_wanted = 0;
}

static void open_plec(struct fake *f, const struct prefetch_ops **p, void **st)
{
    open_fake(f, 4);
    assert_int_equal(prefetch_open("plec", p, st, &f->a, &f->e), 0);
    assert_int_equal((*p)->init(*st, &f->v.env, &f->e), 0);
}

static void gate(struct fake *f, const struct prefetch_ops *p, void *st, uint32_t layer)
{
    p->routed(st, &f->v, &(struct layer_work){.layer = layer});
}

/* Figure 5: three experts of layer 1 and two of layer 2 for four slots make 3 and 1; the fifth takes a slot
 * of layer 1 when that is through. */
static void test_figure_5(void **state)
{
    (void)state;
    struct fake f;
    const struct prefetch_ops *p;
    void *st;

    open_plec(&f, &p, &st);
    says(&f, 0, 3, (const uint32_t[]){1, 2, 3});
    says(&f, 1, 2, (const uint32_t[]){1, 2});
    p->step(st, &f.v);
    assert_true(f.recall > 0.9 - 1e-12 && f.recall < 0.9 + 1e-12);
    expect_wanted(&f, 4, (const uint32_t[]){1, 2, 3, 5});
    gate(&f, p, st, 0);
    expect_wanted(&f, 1, (const uint32_t[]){6});
    gate(&f, p, st, 1);
    gate(&f, p, st, 2);
    expect_wanted(&f, 0, NULL);
    arena_release(&f.a);
}

/* Needs of 3, 2 and 4 for four slots: 12/9, 8/9 and 16/9 rounded up make 2, 1 and the one that is left. The first
 * layer's two slots go to the second's other expert and the third's next; its own third comes on demand. */
static void test_slots_in_proportion(void **state)
{
    (void)state;
    struct fake f;
    const struct prefetch_ops *p;
    void *st;

    open_plec(&f, &p, &st);
    says(&f, 0, 3, (const uint32_t[]){1, 2, 3});
    says(&f, 1, 2, (const uint32_t[]){1, 2});
    says(&f, 2, 4, (const uint32_t[]){3, 2, 1, 0});
    p->step(st, &f.v);
    expect_wanted(&f, 4, (const uint32_t[]){1, 2, 5, 11});
    gate(&f, p, st, 0);
    expect_wanted(&f, 2, (const uint32_t[]){6, 10});
    gate(&f, p, st, 1);
    expect_wanted(&f, 2, (const uint32_t[]){9, 8});
    gate(&f, p, st, 2);
    expect_wanted(&f, 0, NULL);
    f.slots[0] = 2;
    p->step(st, &f.v); /* 6/9, 4/9: one each */
    expect_wanted(&f, 2, (const uint32_t[]){1, 5});
    gate(&f, p, st, 0);
    expect_wanted(&f, 1, (const uint32_t[]){6});
    arena_release(&f.a);
}

/* Items 0, 1, 2 of layer 0 and 4 of layer 1, used in the order 4, 1, 0, 2. At layer 0's next gate 0 and 2 are
 * held, 2 is needed: 0 was loaded wrongly and leaves first although 4 and 1 have not been used for longer; then
 * they go. Used again, 0 is as good as any. */
static void test_wrong_ones_leave_first(void **state)
{
    (void)state;
    static const uint32_t used[] = {4, 1, 0, 2};
    struct fake f;
    const struct evict_ops *p;
    void *st;
    uint32_t load[EXPERTS] = {0, 0, 1, 0};

    open_fake(&f, 4);
    assert_int_equal(evict_open("plec", &p, &st, &f.a, &f.e), 0);
    assert_int_equal(p->init(st, &f.v.env, &f.e), 0);
    for (size_t i = 0; i < 4; i++) {
        f.state[used[i]] = EXPERT_RESIDENT;
        f.v.gates = i;
        p->used(st, &f.v, used[i]);
    }
    assert_int_equal(p->victim(st, &f.v, 0, 7), 4);
    f.held[0] = f.held[2] = 1;
    p->routed(st, &f.v, &(struct layer_work){.layer = 0, .load = load});
    f.held[0] = f.held[2] = 0;
    assert_int_equal(p->victim(st, &f.v, 0, 7), 0);
    f.held[0] = 1;
    assert_int_equal(p->victim(st, &f.v, 0, 7), 4);
    f.held[0] = 0;
    f.v.gates = 9;
    p->used(st, &f.v, 0);
    assert_int_equal(p->victim(st, &f.v, 0, 7), 4);
    f.state[4] = EXPERT_ABSENT;
    assert_int_equal(p->victim(st, &f.v, 0, 7), 1);
    arena_release(&f.a);
}

/* ---- the token scheduler ---- */

#define MOST 10

/* Experts that the halves activate, equation 2. */
static uint32_t activated(const uint16_t *route, uint32_t n, uint32_t len, const uint8_t *group)
{
    uint32_t sum = 0;

    for (uint32_t at = 0; at < len; at++) {
        uint64_t seen[2] = {0, 0};

        for (uint32_t t = 0; t < n; t++) {
            seen[group[t]] |= (uint64_t)1 << route[t * len + at];
        }
        sum += (uint32_t)(__builtin_popcountll(seen[0]) + __builtin_popcountll(seen[1]));
    }
    return sum;
}

static uint32_t least_activated(const uint16_t *route, uint32_t n, uint32_t len)
{
    uint32_t least = UINT32_MAX;

    for (uint32_t m = 0; m < 1u << n; m++) {
        uint8_t group[MOST];

        if ((uint32_t)__builtin_popcount(m) != n / 2) {
            continue;
        }
        for (uint32_t t = 0; t < n; t++) {
            group[t] = m >> t & 1;
        }
        uint32_t a = activated(route, n, len, group);
        least = a < least ? a : least;
    }
    return least;
}

/* Tokens of two kinds, told apart by most layers, in any order: the best division is found. */
static void test_two_kinds(void **state)
{
    (void)state;
    static const uint16_t route[8 * 3] = {0, 1, 2, 3, 0, 1, 0, 1, 1, 3, 0, 0, 3, 0, 1, 0, 1, 2, 2, 0, 1, 0, 2, 2};
    static const uint8_t kind[8] = {0, 1, 0, 1, 1, 0, 1, 0};
    struct arena a = {0};
    struct err e = {0};
    struct regroup r;
    uint8_t group[8];

    assert_int_equal(regroup_init(&r, &a, &e), 0);
    regroup(&r, route, 8, 3, 1, 16, group);
    for (uint32_t t = 0; t < 8; t++) {
        assert_int_equal(group[t] == group[0], kind[t] == kind[0]);
    }
    assert_int_equal(activated(route, 8, 3, group), least_activated(route, 8, 3));
    arena_release(&a);
}

/* Two experts a token: whose pairs are the same in another order are no distance apart. */
static void test_pairs(void **state)
{
    (void)state;
    static const uint16_t route[4 * 2] = {0, 1, 2, 3, 1, 0, 3, 2};
    struct arena a = {0};
    struct err e = {0};
    struct regroup r;
    uint8_t group[4];

    assert_int_equal(regroup_init(&r, &a, &e), 0);
    regroup(&r, route, 4, 1, 2, 16, group);
    assert_true(group[0] == group[2] && group[1] == group[3] && group[0] != group[1]);
    arena_release(&a);
}

/* Equal halves always; over many draws fewer experts than as they came, and never fewer than possible. */
static void test_random_routes(void **state)
{
    (void)state;
    struct rng_stream s = rng_stream(5, 0, "regroup");
    struct arena a = {0};
    struct err e = {0};
    struct regroup r;
    uint64_t before = 0, after = 0, best = 0, draw = 0;

    assert_int_equal(regroup_init(&r, &a, &e), 0);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t n = 2 * (uint32_t)rng_range(s, i, draw++, 1, MOST / 2), sum = 0;
        uint16_t route[MOST * 4];
        uint8_t group[MOST], came[MOST];

        for (uint32_t t = 0; t < n; t++) {
            bool second = rng_range(s, i, draw++, 0, 1);

            came[t] = t >= n / 2;
            for (uint32_t l = 0; l < 4; l++) {
                route[t * 4 + l] = (uint16_t)(rng_range(s, i, draw++, 0, 4) + 3 * second);
            }
        }
        regroup(&r, route, n, 4, 1, 16, group);
        for (uint32_t t = 0; t < n; t++) {
            sum += group[t];
        }
        assert_int_equal(sum, n / 2);
        uint32_t least = least_activated(route, n, 4), got = activated(route, n, 4, group);
        assert_true(got >= least);
        before += activated(route, n, 4, came);
        after += got;
        best += least;
    }
    assert_true(after < before);
    assert_true(3 * (after - best) < 2 * (before - best)); /* more than a third of what there is to gain */
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figure_5), cmocka_unit_test(test_slots_in_proportion), cmocka_unit_test(test_wrong_ones_leave_first),
        cmocka_unit_test(test_two_kinds), cmocka_unit_test(test_pairs), cmocka_unit_test(test_random_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
