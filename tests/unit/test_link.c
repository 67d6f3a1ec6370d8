/* SPDX-License-Identifier: Apache-2.0
 *
 * One link for all that a GPU loads and stores: experts of a store and KV of somebody else, on a link of 1
 * byte per ns, copy calls of 10 ns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sim/core/rng.h"
#include "sim/experts/store.h"

#define EXPERTS 16
#define EXPERT_BYTES 100
#define CALL_NS 10

/* Somebody who copies KV in, and notes when each copy began and ended. */
struct mover {
    struct flow_client client;
    struct gpu_link *link;
    struct topo_route way;
    sim_ns began[32], ended[32];
    uint32_t n_ended;
};

struct bench {
    struct arena a;
    struct err e;
    struct gpu_link link;
    struct expert_view v;
    struct store s;
    struct mover m;
};

static void on_started(void *ctx, sim_ns now, uint64_t tag)
{
    ((struct mover *)ctx)->began[tag] = now;
}

static int on_ended(void *ctx, sim_ns now, uint64_t tag, struct err *e)
{
    struct mover *m = ctx;

    m->ended[tag] = now;
    m->n_ended++;
    return copy_ended(m->link->engine_in, now, e);
}

static void add(struct bench *b, const char *name, struct topo_route *way)
{
    struct link_spec s = {.name = name, .bytes_per_s = 1e9};

    *way = (struct topo_route){.n_path = 1, .weight = 1, .bytes_per_s = 1e9};
    assert_int_equal(fabric_add_link(b->link.fabric, &s, &way->path[0], &b->e), 0);
}

static void open_bench(struct bench *b, uint32_t engines)
{
    struct store_config c = {.layers = 1, .experts = EXPERTS, .slots = EXPERTS, .expert_bytes = EXPERT_BYTES,
                             .calls = 1, .pieces = 1, .h2d_bytes_per_s = 1e9, .d2h_bytes_per_s = 1e9,
                             .call_ns = CALL_NS, .shared = &b->link};
    struct topo_route meter;

    memset(b, 0, sizeof *b);
    b->link.fabric = fabric_new(&b->a);
    add(b, "in", &b->link.in);
    add(b, "out", &b->link.out);
    add(b, "kv", &meter);
    b->link.engine_in = copy_new(b->link.fabric, engines, CALL_NS, &b->a);
    b->link.engine_out = copy_new(b->link.fabric, engines, CALL_NS, &b->a);
    b->m = (struct mover){.link = &b->link, .way = {.n_path = 2, .weight = 1, .bytes_per_s = 1e9,
                          .path = {meter.path[0], b->link.in.path[0]}},
                          .client = {on_ended, on_started, &b->m}};
    assert_int_equal(evict_open("lru", &c.evict, &c.evict_st, &b->a, &b->e), 0);
    b->v.env = (struct expert_env){.arena = &b->a, .layers = 1, .experts = EXPERTS, .top_k = 2, .rooms = 1,
                                   .slots = EXPERTS, .expert_bytes = EXPERT_BYTES};
    assert_int_equal(c.evict->init(c.evict_st, &b->v.env, &b->e), 0);
    assert_int_equal(store_init(&b->s, &c, &b->v, &b->a, &b->e), 0);
}

static void copy_kv(struct bench *b, sim_ns now, uint32_t i, double bytes)
{
    struct copy_job j = {.route = &b->m.way, .bytes = bytes, .calls = 1, .tag = i, .client = &b->m.client};

    assert_int_equal(copy_submit(b->link.engine_in, now, &j, &b->e), 0);
}

static void ask(struct bench *b, sim_ns now, uint32_t item, enum store_want w)
{
    store_request(&b->s, item, w);
    assert_int_equal(store_kick(&b->s, now, &b->e), 0);
}

static sim_ns to_the_end(struct bench *b, sim_ns last)
{

    for (sim_ns t; (t = fabric_next(b->link.fabric)) != SIM_NEVER; last = t) {
        assert_int_equal(store_advance(&b->s, t, &b->e), 0);
        assert_int_equal(store_check(&b->s, &b->e), 0);
    }
    return last;
}

/* KV 0 is on the wire until 210. The demand that came after KV 1 has its turn first, and the next one
 * behind KV 1: 210..320 expert 0, 320..530 KV 1, 530..640 expert 1, 640..750 expert 2. */
static void test_turns(void **state)
{
    (void)state;
    struct bench b;

    open_bench(&b, 1);
    copy_kv(&b, 0, 0, 200);
    copy_kv(&b, 0, 1, 200);
    for (uint32_t i = 0; i < 3; i++) {
        ask(&b, 5, i, STORE_DEMAND);
    }
    assert_int_equal(store_advance(&b.s, 319, &b.e), 0);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    assert_int_equal(store_advance(&b.s, 320, &b.e), 0);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    assert_int_equal(b.m.began[1], 320);
    assert_int_equal(to_the_end(&b, 320), 750);
    assert_int_equal(b.m.ended[0], 210);
    assert_int_equal(b.m.ended[1], 530);
    arena_release(&b.a);
}

/* A copy of KV of 3 calls, 1 ms each: the turn is over after the first, since two would not fit. The expert
 * has the next one: 110 ns..1 ms, ..+110 ns, then the second and, as nobody waits, the third call. */
static void test_turn_ends(void **state)
{
    (void)state;
    struct bench b;
    struct copy_job j = {.bytes = 3 * (1e6 - CALL_NS), .calls = 3};

    open_bench(&b, 1);
    j.route = &b.m.way;
    j.client = &b.m.client;
    ask(&b, 0, 1, STORE_DEMAND);
    assert_int_equal(copy_submit(b.link.engine_in, 50, &j, &b.e), 0);
    assert_int_equal(store_advance(&b.s, 110, &b.e), 0);
    ask(&b, 115, 0, STORE_DEMAND);
    assert_int_equal(store_advance(&b.s, 1000219, &b.e), 0);
    assert_int_equal(b.s.state[0], EXPERT_IN_FLIGHT);
    assert_int_equal(store_advance(&b.s, 1000220, &b.e), 0);
    assert_int_equal(b.s.state[0], EXPERT_RESIDENT);
    assert_int_equal(to_the_end(&b, 0), 3000220);
    assert_int_equal(b.m.began[0], 110);
    assert_int_equal(b.m.n_ended, 1);
    assert_int_equal(copy_running(b.link.engine_in), 0);
    arena_release(&b.a);
}

/* A guess waits behind KV that was asked for later; a demand for it, or for another expert, takes it along. */
static void test_guess_waits(void **state)
{
    (void)state;
    struct bench b;

    for (int demand = 0; demand < 3; demand++) {
        open_bench(&b, 1);
        copy_kv(&b, 0, 0, 100);
        ask(&b, 1, 0, STORE_GUESS);
        copy_kv(&b, 2, 1, 100);
        if (demand > 0) {
            ask(&b, 3, demand - 1u, STORE_DEMAND);
        }
        assert_int_equal(store_advance(&b.s, 220, &b.e), 0);
        assert_int_equal(b.s.state[0], demand > 0 ? EXPERT_RESIDENT : EXPERT_IN_FLIGHT);
        to_the_end(&b, 220);
        assert_int_equal(b.m.ended[1], demand > 0 ? 330 : 220);
        arena_release(&b.a);
    }
}

/* The end of the last copy, or when the last was asked for, when n experts are asked for, and n_kv copies of KV made, at random times. */
static sim_ns play(uint32_t engines, uint32_t n, uint32_t n_kv, uint64_t seed, double *ret_wire)
{
    struct bench b;
    struct rng_stream rng = rng_stream(seed, 0, "link");
    uint32_t next_expert = 0, next_kv = 0;
    double bytes = 0;
    sim_ns t = 0;

    open_bench(&b, engines);
    for (uint32_t i = 0; i < 12; i++) {
        double gap = rng_uniform(rng, i, 0), size = 20 + floor(300 * rng_uniform(rng, i, 1));

        t += (sim_ns)(120 * gap);
        assert_int_equal(store_advance(&b.s, t, &b.e), 0);
        if (next_expert < n && i % 2 == 0) {
            ask(&b, t, next_expert++, i % 4 == 0 ? STORE_DEMAND : STORE_GUESS);
            bytes += EXPERT_BYTES;
        } else if (next_kv < n_kv && i % 2 == 1) {
            copy_kv(&b, t, next_kv++, size);
            bytes += size;
        }
    }
    t = to_the_end(&b, t);
    assert_int_equal(b.m.n_ended, n_kv);
    assert_int_equal(b.s.n.loads, n);
    *ret_wire = fabric_link_bytes(b.link.fabric, b.link.in.path[0]);
    assert_true(fabs(*ret_wire - bytes) < 1e-6);
    arena_release(&b.a);
    return t;
}

/* Both together end no sooner than each alone and no later than one behind the other, and the wire carries
 * what both carried. */
static void test_neither_free_nor_worse_than_in_turn(void **state)
{
    (void)state;
    uint32_t slower = 0;

    for (uint64_t seed = 0; seed < 400; seed++) {
        uint32_t engines = 1 + seed % 2;
        double wire_e, wire_kv, wire;
        sim_ns experts = play(engines, 6, 0, seed, &wire_e), kv = play(engines, 0, 6, seed, &wire_kv);
        sim_ns both = play(engines, 6, 6, seed, &wire);

        assert_true(both >= experts && both >= kv);
        assert_true(both <= experts + kv + CALL_NS * 12);
        assert_true(fabs(wire - wire_e - wire_kv) < 1e-6);
        slower += both > experts && both > kv;
    }
    assert_true(slower > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_turn_ends),
        cmocka_unit_test(test_guess_waits),
        cmocka_unit_test(test_neither_free_nor_worse_than_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
