/* SPDX-License-Identifier: Apache-2.0
 *
 * The expert store by hand: a link of 1 byte per ns, experts of 100 bytes, calls of 10 ns, so that a copy
 * takes 110; and the eviction policies and BuddyMoE's gates on cases worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sim/core/rng.h"
#include "sim/experts/store.h"

struct bench {
    struct arena a;
    struct err e;
    struct expert_view v;
    struct store s;
};

static const struct store_config plain = {.layers = 2, .experts = 4, .slots = 2, .expert_bytes = 100, .calls = 1,
                                          .pieces = 1, .h2d_bytes_per_s = 1e9, .d2h_bytes_per_s = 1e9,
                                          .call_ns = 10};

static void open_bench(struct bench *b, struct store_config c, const char *evict)
{
    memset(b, 0, sizeof *b);
    assert_int_equal(evict_open(evict, &c.evict, &c.evict_st, &b->a, &b->e), 0);
    b->v.env = (struct expert_env){.arena = &b->a, .layers = c.layers, .experts = c.experts, .top_k = 2,
                                   .rooms = c.global ? 1 : c.layers, .slots = c.slots, .expert_bytes = 100};
    assert_int_equal(c.evict->init(c.evict_st, &b->v.env, &b->e), 0);
    assert_int_equal(store_init(&b->s, &c, &b->v, &b->a, &b->e), 0);
}

static void close_bench(struct bench *b)
{
    assert_int_equal(store_check(&b->s, &b->e), 0);
    arena_release(&b->a);
}

/* Where it is then. */
static enum expert_state ask(struct bench *b, sim_ns now, uint32_t item, enum store_want w)
{
    store_request(&b->s, item, w);
    assert_int_equal(store_kick(&b->s, now, &b->e), 0);
    return b->s.state[item];
}

static void to(struct bench *b, sim_ns now)
{
    assert_int_equal(store_advance(&b->s, now, &b->e), 0);
    assert_int_equal(store_check(&b->s, &b->e), 0);
}

static void touch(struct bench *b, uint32_t item)
{
    b->v.gates++;
    if (b->s.cfg.evict->used) {
        b->s.cfg.evict->used(b->s.cfg.evict_st, &b->v, item);
    }
}

/* A guess goes on the wire, another waits; a demand for the first joins it, one for a third goes before
 * the second, and one for the second hurries it. */
static void test_join_and_hurry(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 4;
    open_bench(&b, c, "lru");
    assert_int_equal(ask(&b, 0, 0, STORE_GUESS), EXPERT_IN_FLIGHT);
    assert_int_equal(ask(&b, 0, 1, STORE_GUESS), EXPERT_QUEUED);
    assert_int_equal(ask(&b, 5, 0, STORE_DEMAND), EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.n.joined, 1);
    assert_int_equal(ask(&b, 5, 2, STORE_DEMAND), EXPERT_QUEUED);
    to(&b, 109);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    to(&b, 110);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    assert_int_equal(b.s.state[2], EXPERT_IN_FLIGHT);
    assert_int_equal(ask(&b, 120, 3, STORE_GUESS), EXPERT_QUEUED);
    assert_int_equal(ask(&b, 121, 3, STORE_DEMAND), EXPERT_QUEUED);
    assert_int_equal(b.s.n.hurried, 1);
    to(&b, 220);
    assert_int_equal(b.s.state[2], EXPERT_RESIDENT);
    assert_int_equal(b.s.state[3], EXPERT_IN_FLIGHT);
    to(&b, 440);
    assert_int_equal(b.s.state[1], EXPERT_RESIDENT);
    assert_int_equal(b.s.n.loads, 4);
    assert_true(fabs(b.s.n.h2d_bytes - 400) < 1e-9);
    assert_int_equal(store_next(&b.s), SIM_NEVER);
    close_bench(&b);
}

/* Guesses that are ready at 50 and 60, the later one named first; a gate of their layer between the two. */
static void test_later(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 4;
    open_bench(&b, c, "lru");
    store_request_later(&b.s, 1, 60);
    store_request_later(&b.s, 0, 50);
    store_request_later(&b.s, 4, 70);
    assert_int_equal(store_next(&b.s), 50);
    to(&b, 49);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    to(&b, 55);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    store_gate(&b.s, 0); /* too late for 1; 0 is on the wire, 4 is of the other layer */
    to(&b, 159);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.state[1], EXPERT_ABSENT);
    assert_int_equal(b.s.state[4], EXPERT_QUEUED);
    to(&b, 160); /* 50 + 10 + 100 */
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    to(&b, 270);
    assert_int_equal(b.s.state[4], EXPERT_RESIDENT);
    assert_int_equal(b.s.n.requests, 2);
    close_bench(&b);
}

/* In four pieces of 35: a demand comes in behind the first piece of a guess, whose layer's gate then does not
 * need it. What is here of it is given up, and so is its slot. */
static void test_half_given_up(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.pieces = 4;
    open_bench(&b, c, "lru");
    assert_int_equal(ask(&b, 0, 0, STORE_GUESS), EXPERT_IN_FLIGHT);
    assert_int_equal(ask(&b, 5, 4, STORE_DEMAND), EXPERT_QUEUED);
    to(&b, 40);
    assert_int_equal(b.s.state[4], EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.half, 0);
    store_gate(&b.s, 1);
    assert_int_equal(b.s.half, 0);
    store_gate(&b.s, 0);
    assert_int_equal(b.s.half, EXPERT_NONE);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    assert_int_equal(b.s.used[0], 0);
    to(&b, 175); /* 5 pieces */
    assert_int_equal(b.s.state[4], EXPERT_RESIDENT);
    assert_true(fabs(b.s.n.h2d_bytes - 125) < 1e-9);
    assert_int_equal(b.s.n.cancelled, 1);
    close_bench(&b);
}

/* When copies come: 110 each, two on their way, and one of another layer that is demanded. Between two pieces a
 * guess waits for the demand that passes it. */
static void test_arrival(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 4;
    open_bench(&b, c, "lru");
    assert_true(store_link_free_s(&b.s, true, 0) <= 0);
    ask(&b, 0, 0, STORE_GUESS);
    ask(&b, 0, 1, STORE_GUESS);
    assert_true(fabs(store_arrives_s(&b.s, 0, 0) - 110e-9) < 1e-15);
    assert_true(fabs(store_arrives_s(&b.s, 0, 30) - 80e-9) < 1e-15);
    assert_true(isinf(store_arrives_s(&b.s, 1, 30)) && isinf(store_arrives_s(&b.s, 2, 30)));
    store_need(&b.s, 5, true);
    ask(&b, 30, 5, STORE_DEMAND);
    assert_true(fabs(store_link_free_s(&b.s, false, 40) - 70e-9) < 1e-15);
    assert_true(fabs(store_link_free_s(&b.s, true, 40) - 180e-9) < 1e-15);
    to(&b, 330);
    store_need(&b.s, 5, false);
    close_bench(&b);

    c.pieces = 2; /* of 60 each */
    open_bench(&b, c, "lru");
    ask(&b, 0, 0, STORE_GUESS);
    assert_true(fabs(store_arrives_s(&b.s, 0, 10) - 110e-9) < 1e-15);
    assert_true(fabs(store_link_free_s(&b.s, true, 10) - 50e-9) < 1e-15);
    ask(&b, 20, 1, STORE_DEMAND);
    to(&b, 70); /* the demand's first piece, on the wire since 60, and its second one */
    assert_true(fabs(store_link_free_s(&b.s, true, 70) - 110e-9) < 1e-15);
    assert_true(fabs(store_arrives_s(&b.s, 0, 70) - 110e-9) < 1e-15);
    to(&b, 240);
    close_bench(&b);
}

/* Two slots: what is needed is not evicted, what is held only for a demand; a guess in line takes no
 * slot, and none begins while a demand waits for one. */
static void test_who_may_be_evicted(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, plain, "lru");
    assert_true(store_place(&b.s, 0));
    assert_true(store_place(&b.s, 1));
    assert_false(store_place(&b.s, 2));
    store_need(&b.s, 0, true);
    assert_int_equal(b.s.state[0], EXPERT_PINNED);
    store_hold(&b.s, 1);
    assert_int_equal(ask(&b, 0, 2, STORE_GUESS), EXPERT_QUEUED);
    assert_int_equal(ask(&b, 0, 2, STORE_SURE), EXPERT_QUEUED);
    assert_int_equal(b.s.n.evictions, 0);
    assert_int_equal(ask(&b, 0, 2, STORE_DEMAND), EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.state[1], EXPERT_ABSENT);
    to(&b, 110);
    store_need(&b.s, 2, true);
    assert_int_equal(ask(&b, 110, 3, STORE_DEMAND), EXPERT_QUEUED); /* 0 and 2 are needed */
    assert_int_equal(ask(&b, 110, 4, STORE_GUESS), EXPERT_QUEUED);  /* the other layer has room */
    store_need(&b.s, 0, false);
    assert_int_equal(store_kick(&b.s, 120, &b.e), 0);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    assert_int_equal(b.s.state[3], EXPERT_IN_FLIGHT);
    to(&b, 230);
    assert_int_equal(b.s.state[4], EXPERT_IN_FLIGHT);
    to(&b, 340);
    store_need(&b.s, 2, false);
    close_bench(&b);
}

/* The gate of a layer takes its useless guesses out of the line, not what is on the wire or needed. */
static void test_gate_drops_guesses(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 4;
    open_bench(&b, c, "lru");
    for (uint32_t i = 0; i < 4; i++) {
        ask(&b, 0, i, STORE_GUESS);
    }
    ask(&b, 0, 4, STORE_GUESS); /* of the other layer */
    store_need(&b.s, 2, true);
    store_gate(&b.s, 0);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.state[1], EXPERT_ABSENT);
    assert_int_equal(b.s.state[2], EXPERT_QUEUED);
    assert_int_equal(b.s.state[3], EXPERT_ABSENT);
    assert_int_equal(b.s.state[4], EXPERT_QUEUED);
    to(&b, 330);
    assert_int_equal(b.s.state[2], EXPERT_PINNED);
    assert_int_equal(b.s.n.cancelled, 2);
    store_need(&b.s, 2, false);
    close_bench(&b);
}

/* In pieces of 50 bytes, 60 ns each: an urgent copy comes between the two pieces of a guess. */
static void test_pieces(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 4;
    c.pieces = 2;
    open_bench(&b, c, "lru");
    ask(&b, 0, 0, STORE_GUESS);
    ask(&b, 1, 1, STORE_DEMAND);
    to(&b, 179);
    assert_int_equal(b.s.state[1], EXPERT_IN_FLIGHT);
    to(&b, 180); /* 60 of the guess, 120 of the demand */
    assert_int_equal(b.s.state[1], EXPERT_RESIDENT);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    to(&b, 240);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    close_bench(&b);
}

/* Swap: the evicted expert goes back while the new one comes; asked for meanwhile, it returns after it. */
static void test_writeback(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.slots = 1;
    c.writeback = true;
    open_bench(&b, c, "lru");
    assert_true(store_place(&b.s, 0));
    assert_int_equal(ask(&b, 0, 1, STORE_DEMAND), EXPERT_IN_FLIGHT);
    assert_int_equal(b.s.state[0], EXPERT_EVICTING);
    assert_int_equal(ask(&b, 5, 0, STORE_GUESS), EXPERT_EVICTING);
    to(&b, 110);
    assert_int_equal(b.s.state[1], EXPERT_RESIDENT);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT); /* the guess is forgotten */
    assert_int_equal(b.s.n.writebacks, 1);
    assert_int_equal(ask(&b, 110, 0, STORE_DEMAND), EXPERT_IN_FLIGHT);
    assert_int_equal(ask(&b, 111, 1, STORE_DEMAND), EXPERT_EVICTING); /* comes back behind 0 */
    to(&b, 220);
    assert_int_equal(b.s.state[0], EXPERT_EVICTING);
    assert_int_equal(b.s.state[1], EXPERT_IN_FLIGHT);
    to(&b, 330);
    assert_int_equal(b.s.state[1], EXPERT_RESIDENT);
    assert_int_equal(store_next(&b.s), SIM_NEVER);
    assert_true(fabs(b.s.n.d2h_bytes - 300) < 1e-9);
    close_bench(&b);
}

/* One cache for all layers evicts across layers. */
static void test_global(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.global = true;
    c.slots = 2;
    open_bench(&b, c, "lru");
    assert_true(store_place(&b.s, 0));
    assert_true(store_place(&b.s, 5));
    touch(&b, 0);
    ask(&b, 0, 6, STORE_DEMAND);
    assert_int_equal(b.s.state[5], EXPERT_ABSENT);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    to(&b, 110);
    close_bench(&b);
}

/* Three layers of four experts with two slots each on the average: the first keeps all, the others one each; of
 * five slots that two layers cannot share evenly the first gets one more. */
static void test_shallow(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.layers = 3;
    c.shallow = 1;
    open_bench(&b, c, "lru");
    assert_int_equal(b.s.slots[0], 4);
    assert_int_equal(b.s.slots[1], 1);
    assert_int_equal(b.s.slots[2], 1);
    assert_true(store_place(&b.s, 3));
    assert_true(store_place(&b.s, 4));
    assert_false(store_place(&b.s, 5));
    close_bench(&b);
    c.slots = 3; /* 9 in all, 5 for two */
    open_bench(&b, c, "lru");
    assert_int_equal(b.s.slots[1], 3);
    assert_int_equal(b.s.slots[2], 2);
    close_bench(&b);
    c.slots = 1;
    memset(&b, 0, sizeof b);
    assert_int_equal(store_init(&b.s, &c, &b.v, &b.a, &b.e), SIM_E_CONFIG);
    arena_release(&b.a);
}

/* ---- random histories ---- */

struct dice {
    struct rng_stream r;
    uint64_t n;
};

static uint32_t roll(struct dice *d, uint32_t below)
{
    return (uint32_t)rng_range(d->r, 0, d->n++, 0, below - 1);
}

/* What a step of a run may do to the store, in any order. At most `slots` experts of a room are needed. */
static void random_act(struct bench *b, struct dice *d, sim_ns now, uint32_t *n_needed)
{
    uint32_t item = roll(d, b->s.items), room = b->s.rooms == 1 ? 0 : item / b->s.cfg.experts;
    switch (roll(d, 7)) {
    case 0:
        if (b->s.needed[item]) {
            n_needed[room]--;
            store_need(&b->s, item, false);
        } else if (n_needed[room] < b->s.slots[room]) {
            n_needed[room]++;
            store_need(&b->s, item, true);
            store_request(&b->s, item, STORE_DEMAND);
        }
        break;
    case 1:
        store_hold(&b->s, item);
        store_request(&b->s, item, STORE_GUESS);
        break;
    case 2:
        store_request(&b->s, item, STORE_SURE);
        break;
    case 3:
        store_gate(&b->s, item / b->s.cfg.experts);
        break;
    case 4:
        if (expert_is_here(&b->v, item)) {
            touch(b, item);
        }
        break;
    case 5:
        store_request_later(&b->s, item, now + roll(d, 200));
        break;
    default:
        to(b, now);
        break;
    }
}

static void random_history(const char *evict, struct store_config c, uint64_t seed)
{
    static const float popularity[16] = {0.1f, 0.2f, 0.3f, 0.4f, 0.1f, 0.2f, 0.3f, 0.4f,
                                         0.1f, 0.2f, 0.3f, 0.4f, 0.1f, 0.2f, 0.3f, 0.4f};
    struct dice d = {rng_stream(seed, 0, evict), 0};
    uint32_t n_needed[16] = {0};
    struct bench b;
    sim_ns now = 0;
    open_bench(&b, c, evict);
    b.v.popularity = popularity;
    for (int i = 0; i < 3000; i++) {
        now += roll(&d, 60);
        to(&b, now);
        random_act(&b, &d, now, n_needed);
        assert_int_equal(store_kick(&b.s, now, &b.e), 0);
        assert_int_equal(store_check(&b.s, &b.e), 0);
    }
    /* Nobody holds anything any more: every demand that is still in line comes. */
    for (uint32_t i = 0; i < b.s.items; i++) {
        store_need(&b.s, i, false);
        b.s.held[i] = 0;
    }
    assert_int_equal(store_kick(&b.s, now, &b.e), 0);
    to(&b, now + 1000000);
    assert_int_equal(store_waiting(&b.s), 0);
    assert_int_equal(b.s.outstanding, 0);
    assert_int_equal(b.s.n.requests, b.s.n.loads + b.s.n.cancelled);
    close_bench(&b);
}

static void test_random(void **state)
{
    (void)state;
    static const char *const evict[] = {"lru", "lfu", "lfu{forget=off,decay=0.9}", "arc", "static", "activation",
                                         "plec"};
    for (uint64_t seed = 0; seed < 4; seed++) {
        for (size_t i = 0; i < sizeof evict / sizeof *evict; i++) {
            struct store_config c = plain;
            c.layers = 4;
            c.global = seed & 1;
            c.slots = c.global ? 5 : 2;
            c.pieces = seed & 2 ? 3 : 1;
            c.writeback = i % 2;
            random_history(evict[i], c, seed);
        }
    }
}

/* ---- eviction ---- */

/* Item of room 0 that leaves for item 3; experts 0, 1, 2 are there. */
static uint32_t leaves(struct bench *b)
{
    return b->s.cfg.evict->victim(b->s.cfg.evict_st, &b->v, 0, 3);
}

static void fill(struct bench *b, const char *evict)
{
    struct store_config c = plain;
    c.slots = 3;
    open_bench(b, c, evict);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(store_place(&b->s, i));
    }
}

static void test_lru(void **state)
{
    (void)state;
    struct bench b;
    fill(&b, "lru");
    touch(&b, 0);
    touch(&b, 2);
    touch(&b, 1);
    touch(&b, 0);
    assert_int_equal(leaves(&b), 2);
    store_need(&b.s, 2, true);
    assert_int_equal(leaves(&b), 1);
    store_need(&b.s, 2, false);
    close_bench(&b);
}

static void test_lfu(void **state)
{
    (void)state;
    struct bench b;
    fill(&b, "lfu");
    const uint32_t uses[] = {0, 0, 0, 1, 2, 2};
    for (size_t i = 0; i < 6; i++) {
        touch(&b, uses[i]);
    }
    assert_int_equal(leaves(&b), 1);
    /* Evicted and back it starts anew: one visit is fewest again. */
    ask(&b, 0, 3, STORE_DEMAND);
    to(&b, 110);
    touch(&b, 3);
    touch(&b, 3);
    touch(&b, 3);
    ask(&b, 110, 1, STORE_DEMAND); /* 2 has 2 visits and leaves */
    assert_int_equal(b.s.state[2], EXPERT_ABSENT);
    to(&b, 220);
    touch(&b, 1);
    assert_int_equal(leaves(&b), 1);
    close_bench(&b);
}

static void test_static(void **state)
{
    (void)state;
    struct bench b;
    fill(&b, "static");
    const float popular[8] = {0.3f, 0.1f, 0.2f, 0.4f, 0.25f, 0.25f, 0.25f, 0.25f};
    b.v.popularity = popular;
    touch(&b, 1);
    assert_int_equal(leaves(&b), 1);
    close_bench(&b);
}

/* ARC on the trace 0 1 2 0 1 | 3 | 2 with three slots. After the second 0 and 1: T1 = {2}, T2 = {0, 1}. 3
 * takes the place of 2, which goes to B1. 2 again: p becomes 1, and T1 = {3} is not above it, so the oldest
 * of T2, which is 0, goes. */
static void test_arc(void **state)
{
    (void)state;
    struct bench b;
    fill(&b, "arc");
    const uint32_t uses[] = {0, 1, 2, 0, 1};
    for (size_t i = 0; i < 5; i++) {
        touch(&b, uses[i]);
    }
    ask(&b, 0, 3, STORE_DEMAND);
    assert_int_equal(b.s.state[2], EXPERT_ABSENT);
    to(&b, 110);
    touch(&b, 3);
    ask(&b, 110, 2, STORE_DEMAND);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    assert_int_equal(b.s.state[3], EXPERT_RESIDENT);
    to(&b, 220);
    close_bench(&b);
}

static void routed(struct bench *b, uint32_t layer, const float *score, const uint32_t *load, uint32_t n_tok)
{
    static const struct expert_token tok[4];
    struct layer_work w = {.layer = layer, .n_tok = n_tok, .k = 2, .tok = tok, .score = score, .load = load};
    b->s.cfg.evict->routed(b->s.cfg.evict_st, &b->v, &w);
}

/* S <- 0.5 TopP(s) + 0.5 S, p = 2. Gate 1: s = .4 .3 .2 .1 -> S = .2 .15 0 0. Gate 2: s = .1 .2 .3 .4 ->
 * S = .1 .075 .15 .2: of 0, 1, 2 the second leaves. */
static void test_mrs(void **state)
{
    (void)state;
    struct bench b;
    fill(&b, "mrs{p=2}");
    const float first[] = {0.4f, 0.3f, 0.2f, 0.1f}, second[] = {0.1f, 0.2f, 0.3f, 0.4f};
    const uint32_t load[] = {1, 1, 0, 0};
    routed(&b, 0, first, load, 1);
    assert_int_equal(leaves(&b), 2);
    routed(&b, 0, second, load, 1);
    assert_int_equal(leaves(&b), 1);
    close_bench(&b);
}

/* One cache for two layers: item 1 has 1/4 of layer 0's activations, item 5 1/4 of layer 1's; behind the
 * gate of layer 0 the factors are 1 and 1 - 1/3, behind that of layer 1 the other way round. */
static void test_activation(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.global = true;
    open_bench(&b, c, "activation");
    assert_true(store_place(&b.s, 1));
    assert_true(store_place(&b.s, 5));
    const uint32_t load[] = {2, 1, 1, 0};
    routed(&b, 1, NULL, load, 2);
    routed(&b, 0, NULL, load, 2);
    assert_int_equal(leaves(&b), 5);
    routed(&b, 1, NULL, load, 2);
    assert_int_equal(leaves(&b), 1);
    close_bench(&b);
}

/* ---- BuddyMoE ---- */

/* Six experts, a token that uses 0, 1, 2 with even gates; 3, 4, 5 may step in. */
struct buddy_case {
    struct arena a;
    struct err e;
    struct expert_view v;
    uint8_t state[6], held[6];
    float together[36];
    const struct miss_ops *ops;
    void *st;
    struct expert_token tok;
    uint16_t expert[3], use[3];
    float gate[3];
    uint8_t action[3];
    uint32_t load[6];
    struct layer_work w;
};

static void open_buddy(struct buddy_case *b, const char *spec)
{
    memset(b, 0, sizeof *b);
    b->v = (struct expert_view){.env = {.arena = &b->a, .layers = 1, .experts = 6, .top_k = 3, .rooms = 1, .slots = 4},
                                .state = b->state, .held = b->held, .together = b->together};
    assert_int_equal(miss_open(spec, &b->ops, &b->st, &b->a, &b->e), 0);
    assert_int_equal(b->ops->init(b->st, &b->v.env, &b->e), 0);
    for (uint32_t i = 0; i < 3; i++) {
        b->expert[i] = (uint16_t)i;
        b->load[i] = 1;
        b->gate[i] = 1.0f / 3;
    }
    /* Peers of 0: 4 (5 times), 3 (4 times), 5 (once); of 1: 4 (6), 5 (2). */
    const uint32_t row[][3] = {{0, 4, 5}, {0, 3, 4}, {0, 5, 1}, {1, 4, 6}, {1, 5, 2}};
    for (size_t i = 0; i < 5; i++) {
        b->together[row[i][0] * 6 + row[i][1]] = (float)row[i][2];
    }
}

static void decide(struct buddy_case *b)
{
    for (uint32_t i = 0; i < 3; i++) {
        b->action[i] = PAIR_RUN;
        b->use[i] = b->expert[i];
    }
    b->w = (struct layer_work){.layer = 0, .n_tok = 1, .k = 3, .tok = &b->tok, .expert = b->expert, .gate = b->gate,
                               .load = b->load, .action = b->action, .use = b->use};
    b->ops->decide(b->st, &b->v, &b->w);
}

static void here(struct buddy_case *b, const char *resident)
{
    for (uint32_t i = 0; i < 6; i++) {
        b->state[i] = strchr(resident, (int)('0' + i)) ? EXPERT_RESIDENT : EXPERT_ABSENT;
    }
}

/* 0 and 1 are missing, 2, 3, 4 are there: 4 steps in for 0; 1 then finds 4 used and 5 absent, and waits. */
static void test_buddy_choice(void **state)
{
    (void)state;
    struct buddy_case b;
    open_buddy(&b, "buddy{tau=0.9,beta=0.9,alpha=1}");
    here(&b, "234");
    decide(&b);
    assert_int_equal(b.action[0], PAIR_SUBSTITUTE);
    assert_int_equal(b.use[0], 4);
    assert_int_equal(b.action[1], PAIR_RUN);
    assert_int_equal(b.action[2], PAIR_RUN);
    assert_false(b.w.bypassed);
    here(&b, "2345");
    decide(&b);
    assert_int_equal(b.use[0], 4);
    assert_int_equal(b.use[1], 5);
    arena_release(&b.a);
    /* At most one replacement; the list of 0 holds half of its co-activations with 4 alone. */
    open_buddy(&b, "buddy{tau=0.9,beta=0.9,alpha=0.5,rho=1}");
    here(&b, "2345");
    decide(&b);
    assert_int_equal(b.use[0], 4);
    assert_int_equal(b.action[1], PAIR_RUN);
    here(&b, "235");
    decide(&b);
    assert_int_equal(b.action[0], PAIR_RUN);
    assert_int_equal(b.use[1], 1); /* 4 alone holds 6 of 8, and is not there */
    arena_release(&b.a);
}

/* Two of three are missing: 2/3 is at least beta = 0.66, not beta = 0.67. */
static void test_buddy_delta(void **state)
{
    (void)state;
    struct buddy_case b;
    open_buddy(&b, "buddy{tau=0.9,beta=0.66}");
    here(&b, "234");
    decide(&b);
    assert_true(b.w.bypassed);
    assert_int_equal(b.action[0], PAIR_RUN);
    arena_release(&b.a);
    open_buddy(&b, "buddy{tau=0.9,beta=0.67}");
    here(&b, "234");
    decide(&b);
    assert_false(b.w.bypassed);
    assert_int_equal(b.action[0], PAIR_SUBSTITUTE);
    arena_release(&b.a);
}

/* Gates .6 .3 .1: entropy .898 nats, over ln 3 = .8173. */
static void test_buddy_entropy(void **state)
{
    (void)state;
    struct buddy_case b;
    open_buddy(&b, "buddy{tau=0.818,beta=1}");
    b.gate[0] = 0.6f, b.gate[1] = 0.3f, b.gate[2] = 0.1f;
    here(&b, "1234");
    decide(&b);
    assert_int_equal(b.action[0], PAIR_RUN);
    assert_int_equal(b.w.blocked_tok, 1);
    arena_release(&b.a);
    open_buddy(&b, "buddy{tau=0.817,beta=1}");
    b.gate[0] = 0.6f, b.gate[1] = 0.3f, b.gate[2] = 0.1f;
    here(&b, "1234");
    decide(&b);
    assert_int_equal(b.action[0], PAIR_SUBSTITUTE);
    assert_int_equal(b.w.blocked_tok, 0);
    arena_release(&b.a);
}

/* The lightest miss is left out first; the budget of .35 covers the last two, not the first. */
static void test_skip(void **state)
{
    (void)state;
    struct buddy_case b;
    open_buddy(&b, "skip{most=0.45}");
    b.gate[0] = 0.6f, b.gate[1] = 0.3f, b.gate[2] = 0.1f;
    here(&b, "34");
    decide(&b);
    assert_int_equal(b.action[0], PAIR_RUN);
    assert_int_equal(b.action[1], PAIR_SKIP);
    assert_int_equal(b.action[2], PAIR_SKIP);
    arena_release(&b.a);
}

/* Residents that the token does not use, each at most once; the same token draws the same ones. */
static void test_random_replacement(void **state)
{
    (void)state;
    struct buddy_case b;
    open_buddy(&b, "random");
    here(&b, "345");
    decide(&b);
    uint16_t first[3];
    memcpy(first, b.use, sizeof first);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(b.action[i], PAIR_SUBSTITUTE);
        assert_in_range(b.use[i], 3, 5);
    }
    assert_true(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
    decide(&b);
    assert_memory_equal(first, b.use, sizeof first);
    arena_release(&b.a);
}

/* 1 byte per ns of host memory, 1 FLOP per ns: 100 bytes against 2 * 50 * tokens. */
static void test_cpu_time(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct expert_env env = {.arena = &a, .expert_bytes = 100, .expert_params = 50};
    const struct miss_ops *ops;
    void *st;
    assert_int_equal(miss_open("cpu{dram=1e9,flops=1e9,first_us=1}", &ops, &st, &a, &e), 0);
    assert_int_equal(ops->init(st, &env, &e), 0);
    assert_true(fabs(ops->cpu_s(st, 1, false) - 100e-9) < 1e-12);
    assert_true(fabs(ops->cpu_s(st, 3, false) - 300e-9) < 1e-12);
    assert_true(fabs(ops->cpu_s(st, 3, true) - 1300e-9) < 1e-12);
    arena_release(&a);
}

/* ---- prefetch ---- */

struct asked {
    uint32_t layer, expert[4], n;
    double recall, seconds;
};

static uint32_t two_guesses(void *ctx, uint32_t layer, double recall, struct expert_guess *ret)
{
    struct asked *a = ctx;

    a->layer = layer;
    a->recall = recall;
    ret[0] = (struct expert_guess){5, 3};
    ret[1] = (struct expert_guess){2, 1};
    return 2;
}

static bool note_wish(void *ctx, uint32_t layer, uint32_t expert, double seconds)
{
    struct asked *a = ctx;

    assert_int_equal(layer, a->layer);
    a->expert[a->n++] = expert;
    a->seconds = seconds;
    return false;
}

/* At the input of layer 0 the experts of layer 2 are named, 84.7 - 5 % rightly and 0.2 ms later; of the last two
 * layers' inputs nothing is made. */
static void test_stride(void **state)
{
    (void)state;
    const struct expert_services ops = {.predict = two_guesses, .want_after = note_wish};
    struct arena a = {0};
    struct err e = {0};
    struct asked asked = {0};
    struct expert_view v = {.env = {.arena = &a, .layers = 4, .experts = 8}, .ops = &ops, .ctx = &asked};
    const struct prefetch_ops *p;
    void *st;

    assert_int_equal(prefetch_open("stride", &p, &st, &a, &e), 0);
    assert_int_equal(p->init(st, &v.env, &e), 0);
    p->before_attention(st, &v, 2);
    p->before_attention(st, &v, 3);
    assert_int_equal(asked.n, 0);
    p->before_attention(st, &v, 0);
    assert_int_equal(asked.layer, 2);
    assert_int_equal(asked.n, 2);
    assert_int_equal(asked.expert[0], 5);
    assert_int_equal(asked.expert[1], 2);
    assert_true(fabs(asked.recall - 0.797) < 1e-12 && fabs(asked.seconds - 200e-6) < 1e-15);
    arena_release(&a);
}

/* A copy with half of the bytes takes 10 + 50, serves one gate and leaves; one that nobody needs leaves at the gate. */
static void test_thin(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, plain, "lru");
    for (uint32_t i = 0; i < 2; i++) {
        store_hold(&b.s, i);
        assert_false(store_request_thin(&b.s, i, STORE_GUESS, .5f));
    }
    assert_int_equal(store_kick(&b.s, 0, &b.e), 0);
    to(&b, 59);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    to(&b, 60);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    to(&b, 120);
    assert_int_equal(b.s.state[1], EXPERT_RESIDENT);
    assert_true(fabs(b.s.n.h2d_bytes - 100) < 1e-9);
    store_need(&b.s, 0, true);
    store_gate(&b.s, 0);
    assert_int_equal(b.s.state[1], EXPERT_ABSENT);
    assert_int_equal(b.s.state[0], EXPERT_PINNED);
    store_need(&b.s, 0, false);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    assert_int_equal(b.s.used[0], 0);
    assert_int_equal(ask(&b, 200, 0, STORE_DEMAND), EXPERT_IN_FLIGHT); /* whole again */
    to(&b, 309);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    to(&b, 310);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    close_bench(&b);
}

/* Spent copies keep their slot and come again, also past their layer's gate; a demand that no slot is left
 * for waits until one has come and can be evicted. */
static void test_spent(void **state)
{
    (void)state;
    struct bench b;
    struct store_config c = plain;
    c.spent = true;
    open_bench(&b, c, "lru");
    store_place(&b.s, 0);
    store_place(&b.s, 1);
    store_need(&b.s, 0, true);
    store_need(&b.s, 1, true);
    store_need(&b.s, 0, false);
    assert_int_equal(b.s.state[0], EXPERT_QUEUED);
    assert_int_equal(b.s.used[0], 2);
    store_gate(&b.s, 0);
    store_forget(&b.s); /* what a prefetcher named, not this */
    assert_int_equal(b.s.state[0], EXPERT_QUEUED);
    store_need(&b.s, 2, true);
    assert_int_equal(ask(&b, 0, 2, STORE_DEMAND), EXPERT_QUEUED);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    to(&b, 110);
    assert_int_equal(b.s.state[0], EXPERT_ABSENT);
    assert_int_equal(b.s.state[2], EXPERT_IN_FLIGHT);
    to(&b, 220);
    assert_int_equal(b.s.state[2], EXPERT_PINNED);
    assert_int_equal(b.s.n.evictions, 1);
    close_bench(&b);
}

static double ms_of_layer(void *ctx)
{
    (void)ctx;
    return 1e-3;
}

static double ms_per_expert(void *ctx, uint32_t experts, uint32_t pairs)
{
    (void)ctx, (void)pairs;
    return 1e-3 * experts;
}

struct fetched {
    uint32_t n, expert[8];
    double share[8];
};

static bool fetch_thin(void *ctx, uint32_t layer, uint32_t expert, double share)
{
    struct fetched *f = ctx;
    assert_int_equal(layer, 1);
    f->expert[f->n] = expert;
    f->share[f->n++] = share;
    return false;
}

static bool fetch_whole(void *ctx, uint32_t layer, uint32_t expert, bool urgent)
{
    assert_false(urgent);
    return fetch_thin(ctx, layer, expert, 1);
}

/* 8 choices: 4, 2, 1 and 1 of them. */
static uint32_t four_guesses(void *ctx, uint32_t layer, double recall, struct expert_guess *ret)
{
    static const struct expert_guess guess[] = {{6, 4}, {1, 2}, {3, 1}, {0, 1}};
    (void)ctx, (void)layer;
    assert_true(fabs(recall - .84) < 1e-12);
    memcpy(ret, guess, sizeof guess);
    return 4;
}

/* Decoding: a layer of 1 ms with two experts of 1 ms and loads of 0.55 ms: floor(3 / 0.55) = 5 are fetched, the
 * fifth by popularity. A prompt: all that are named, the last 2 of 8 choices thin. */
static void test_fate(void **state)
{
    (void)state;
    const struct expert_services ops = {.predict = four_guesses, .want = fetch_whole, .want_thin = fetch_thin,
                                        .layer_s = ms_of_layer, .gpu_s = ms_per_expert};
    static const float popularity[16] = {[8 + 6] = .9f, [8 + 5] = .5f, [8 + 2] = .4f};
    const uint32_t load[8] = {1, 1};
    struct expert_token tok = {0};
    struct arena a = {0};
    struct err e = {0};
    struct fetched f = {0};
    struct expert_view v = {.env = {.arena = &a, .layers = 2, .experts = 8, .top_k = 2, .load_s = .55e-3},
                            .popularity = popularity, .ops = &ops, .ctx = &f};
    struct layer_work w = {.layer = 0, .n_tok = 1, .k = 2, .tok = &tok, .load = load};
    const struct prefetch_ops *p;
    void *st;

    assert_int_equal(prefetch_open("fate", &p, &st, &a, &e), 0);
    assert_int_equal(p->init(st, &v.env, &e), 0);
    p->routed(st, &v, &w);
    assert_int_equal(f.n, 5);
    assert_int_equal(f.expert[0], 6);
    assert_int_equal(f.expert[3], 0);
    assert_int_equal(f.expert[4], 5);
    f.n = 0;
    tok.prefill = true;
    p->routed(st, &v, &w);
    assert_int_equal(f.n, 4);
    assert_true(f.share[1] >= 1 && fabs(f.share[2] - .8) < 1e-12 && fabs(f.share[3] - .8) < 1e-12);
    w.layer = 1; /* the last layer */
    f.n = 0;
    p->routed(st, &v, &w);
    assert_int_equal(f.n, 0);
    arena_release(&a);
}

static void test_names(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    const struct evict_ops *ops;
    void *st;
    assert_int_equal(evict_open("lur", &ops, &st, &a, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "did you mean 'lru'"));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_and_hurry), cmocka_unit_test(test_arrival), cmocka_unit_test(test_later), cmocka_unit_test(test_stride), cmocka_unit_test(test_half_given_up), cmocka_unit_test(test_who_may_be_evicted),
        cmocka_unit_test(test_gate_drops_guesses), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_writeback), cmocka_unit_test(test_global), cmocka_unit_test(test_shallow),
        cmocka_unit_test(test_lru), cmocka_unit_test(test_lfu), cmocka_unit_test(test_static),
        cmocka_unit_test(test_arc), cmocka_unit_test(test_mrs), cmocka_unit_test(test_activation),
        cmocka_unit_test(test_buddy_choice), cmocka_unit_test(test_buddy_delta),
        cmocka_unit_test(test_buddy_entropy), cmocka_unit_test(test_skip), cmocka_unit_test(test_random_replacement), cmocka_unit_test(test_random),
        cmocka_unit_test(test_cpu_time), cmocka_unit_test(test_thin), cmocka_unit_test(test_spent),
        cmocka_unit_test(test_fate), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
