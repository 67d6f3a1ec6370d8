/* SPDX-License-Identifier: Apache-2.0
 *
 * MoE-Infinity's collection of expert activation matrices, worked out by hand on three layers of four experts
 * with one expert per token: what is named behind a gate, in order, and who gives way in a full collection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "policies/experts.h"

#define LAYERS 3
#define EXPERTS 4

struct bench {
    struct arena a;
    struct err e;
    struct expert_view v;
    const struct prefetch_ops *ops;
    void *st;
    uint32_t named[64], n_named; /* since the list was made anew: layer * 10 + expert */
    uint32_t forgets;
};

static bool want(void *ctx, uint32_t layer, uint32_t expert, bool urgent)
{
    struct bench *b = ctx;
    assert_false(urgent);
    b->named[b->n_named++] = layer * 10 + expert;
    return false;
}

static void forget(void *ctx)
{
    struct bench *b = ctx;
    b->n_named = 0;
    b->forgets++;
}

static const struct expert_services services = {.want = want, .forget = forget};

static void open_bench(struct bench *b, const char *spec, uint32_t slots)
{
    memset(b, 0, sizeof *b);
    b->v.env = (struct expert_env){.arena = &b->a, .layers = LAYERS, .experts = EXPERTS, .top_k = 1, .rooms = LAYERS,
                                   .slots = slots};
    b->v.ops = &services;
    b->v.ctx = b;
    assert_int_equal(prefetch_open(spec, &b->ops, &b->st, &b->a, &b->e), 0);
    assert_int_equal(b->ops->init(b->st, &b->v.env, &b->e), 0);
}

/* A gate of one token; what was named is in b->named. */
static void gate(struct bench *b, uint64_t sequence, uint32_t layer, uint16_t expert)
{
    struct expert_token tok = {.sequence = sequence};
    struct layer_work w = {.layer = layer, .n_tok = 1, .k = 1, .tok = &tok, .expert = &expert};
    b->n_named = 0;
    b->ops->routed(b->st, &b->v, &w);
}

static void token(struct bench *b, uint64_t sequence, uint16_t e0, uint16_t e1, uint16_t e2)
{
    gate(b, sequence, 0, e0);
    gate(b, sequence, 1, e1);
    gate(b, sequence, 2, e2);
}

static void check_named(const struct bench *b, const uint32_t *want_named, uint32_t n)
{
    assert_int_equal(b->n_named, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(b->named[i], want_named[i]);
    }
}

/* Sequence 1: layer 0 {0, 0}, layer 1 {1, 3}, layer 2 {2, 2}; sequence 2: 3, 2, 0. Sequence 3 begins with
 * expert 0, as sequence 1 did: cosine 1 against 0. Seen from layer 0 of three, layer 1 counts 3/4 and layer 2 1/2:
 * expert 2 of layer 2 has 1 * 1/2, experts 1 and 3 of layer 1 have 1/2 * 3/4 each. Its second layer takes
 * expert 2, as sequence 2 did: now both have one row of two, sequence 1 cosine 1 + 0, sequence 2 0 + 1, and the
 * older stays: expert 2 of layer 2. Had it begun with expert 3, sequence 2 would lead. */
static void test_priorities(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, "eam", 2);
    token(&b, 1, 0, 1, 2);
    token(&b, 1, 0, 3, 2);
    assert_int_equal(b.n_named, 0); /* nothing is known before a sequence has ended */
    token(&b, 2, 3, 2, 0);          /* knows sequence 1 from its first gate on */
    assert_true(b.forgets > 0);
    gate(&b, 3, 0, 0);
    check_named(&b, (uint32_t[]){22, 11, 13}, 3);
    gate(&b, 3, 1, 2);
    check_named(&b, (uint32_t[]){22}, 1);
    gate(&b, 3, 2, 2);
    assert_int_equal(b.n_named, 0); /* the last layer */
    gate(&b, 4, 0, 3);
    check_named(&b, (uint32_t[]){12, 20}, 2);
    gate(&b, 4, 1, 2);
    check_named(&b, (uint32_t[]){20}, 1);
    arena_release(&b.a);
}

/* Cosines of counts: sequence 3 has used expert 0 three times and expert 1 once in layer 0. Against (1, 0, 0, 0) of
 * sequence 1 that is 3/sqrt(10) = .949, against (1/2, 1/2, 0, 0) of sequence 2 4/sqrt(20) = .894. A fourth and
 * fifth token on expert 1 make it (3, 3): .707 against 1. */
static void test_cosine(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, "eam", 2);
    token(&b, 1, 0, 1, 1);
    gate(&b, 2, 0, 0);
    gate(&b, 2, 0, 1);
    gate(&b, 2, 1, 2);
    gate(&b, 2, 2, 2);
    for (int i = 0; i < 3; i++) {
        gate(&b, 3, 0, 0);
    }
    gate(&b, 3, 0, 1);
    check_named(&b, (uint32_t[]){11, 21}, 2);
    gate(&b, 3, 0, 1);
    gate(&b, 3, 0, 1);
    check_named(&b, (uint32_t[]){12, 22}, 2);
    arena_release(&b.a);
}

/* No more of a layer than it has slots, and no more in all than the width: four experts of layer 1 with
 * shares 4, 3, 2, 1 tenths. */
static void test_width(void **state)
{
    (void)state;
    static const uint16_t second[] = {3, 3, 3, 3, 1, 1, 1, 0, 0, 2};
    for (int narrow = 0; narrow < 2; narrow++) {
        struct bench b;
        open_bench(&b, narrow ? "eam{width=1}" : "eam", 2);
        for (int i = 0; i < 10; i++) {
            token(&b, 1, 0, second[i], 0);
        }
        gate(&b, 2, 0, 0);
        if (narrow) {
            check_named(&b, (uint32_t[]){20}, 1); /* 1 * 1/2 before .4 * 3/4 */
        } else {
            check_named(&b, (uint32_t[]){20, 13, 11}, 3);
        }
        arena_release(&b.a);
    }
}

/* Two places: sequence 3's matrix takes that of sequence 2, which nobody looked up. */
static void test_replacement(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, "eam{capacity=2}", 2);
    token(&b, 1, 0, 1, 1);
    token(&b, 2, 1, 2, 2); /* looks sequence 1 up */
    token(&b, 3, 0, 3, 3); /* again; then its matrix comes in */
    gate(&b, 4, 0, 1);
    /* Sequence 2 would say 12, 22. Left are 1 and 3, both strangers: the older place. */
    check_named(&b, (uint32_t[]){11, 21}, 2);
    arena_release(&b.a);
}

/* Two running sequences: their priorities add up. */
static void test_batch(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, "eam", 4);
    token(&b, 1, 0, 1, 2);
    token(&b, 2, 3, 1, 0);
    const struct expert_token tok[] = {{.sequence = 3}, {.sequence = 4}};
    const uint16_t expert[] = {0, 3};
    struct layer_work w = {.layer = 0, .n_tok = 2, .k = 1, .tok = tok, .expert = expert};
    b.n_named = 0;
    b.ops->routed(b.st, &b.v, &w);
    check_named(&b, (uint32_t[]){11, 20, 22}, 3); /* 3/4 + 3/4; 1/2 each */
    arena_release(&b.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priorities), cmocka_unit_test(test_cosine), cmocka_unit_test(test_width),
        cmocka_unit_test(test_replacement), cmocka_unit_test(test_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
