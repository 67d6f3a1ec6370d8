/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts in bit planes: the order of loads and the rule that frees memory on cases worked out by hand, the
 * hottest-bit-first order against every other order, and a layer on its lanes. The times of the lanes are those
 * of test_layers.c: host 1000 ns, attention 100, router 50, head 20, an expert with all of its planes 10 on the
 * GPU; the link moves 1 byte per ns, a copy call costs 10. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "sim/core/rng.h"
#include "sim/layers/executor.h"
#include "tests/unit/hand_cost.h"

/* ---- the planner ---- */

struct bench {
    struct arena a;
    struct err e;
    struct planes p;
};

static void open_bench(struct bench *b, struct planes_config c)
{
    memset(b, 0, sizeof *b);
    assert_int_equal(planes_init(&b->p, &c, &b->a, &b->e), 0);
}

static void plan(struct bench *b, uint32_t layer, const uint32_t *demand)
{
    planes_plan(&b->p, layer, demand);
    assert_int_equal(planes_check(&b->p, &b->e), 0);
}

static void load_all(struct bench *b)
{
    while (b->p.n_came < b->p.n_line) {
        planes_came(&b->p);
        assert_int_equal(planes_check(&b->p, &b->e), 0);
    }
}

static void check_line(const struct bench *b, const struct planes_load *want, uint32_t n)
{
    assert_int_equal(b->p.n_line, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(b->p.line[i].expert, want[i].expert);
        assert_int_equal(b->p.line[i].plane, want[i].plane);
    }
}

static const struct planes_config three = {.layers = 2, .experts = 3, .planes = 3, .bytes = {20, 10, 10}};
static const uint32_t demand_of_three[] = {5, 3, 1, /**/ 4, 4, 2, /**/ 6, 1, 0};

/* Heads 5 4 6: expert 2; 5 4 1: 0; 3 4 1: 1, and again with 3 4 1; 3 2 1: 0; 1 2 1: 1; 1 - 1: 0, then 2. */
static void test_hottest_first(void **state)
{
    (void)state;
    static const struct planes_load want[] = {{2, 0}, {0, 0}, {1, 0}, {1, 1}, {0, 1}, {1, 2}, {0, 2}, {2, 1}};
    struct planes_config c = three;
    struct bench b;
    c.order = PLANES_HEBF;
    open_bench(&b, c);
    plan(&b, 0, demand_of_three);
    check_line(&b, want, 8);
    arena_release(&b.a);
}

static void test_naive(void **state)
{
    (void)state;
    static const struct planes_load want[] = {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}, {2, 0}, {2, 1}};
    struct bench b;
    open_bench(&b, three);
    plan(&b, 0, demand_of_three);
    check_line(&b, want, 8);
    arena_release(&b.a);
}

/* What is there is not loaded again: its expert goes on with the plane above. */
static void test_goes_on_above(void **state)
{
    (void)state;
    static const uint32_t before[] = {1, 0, 0, /**/ 2, 1, 0, /**/ 0, 0, 0};
    static const struct planes_load want[] = {{2, 0}, {0, 1}, {1, 2}, {0, 2}, {2, 1}};
    struct planes_config c = three;
    struct bench b;
    c.order = PLANES_HEBF;
    open_bench(&b, c);
    plan(&b, 0, before);
    load_all(&b);
    assert_int_equal(planes_depth(&b.p, 0, 1), 2);
    plan(&b, 0, demand_of_three);
    check_line(&b, want, 5);
    load_all(&b);
    assert_true(fabs(b.p.used_bytes - (40 + 40 + 30)) < 1e-9);
    plan(&b, 0, before);
    assert_int_equal(b.p.n_line, 0);
    arena_release(&b.a);
}

static void check_depths(const struct bench *b, uint32_t d0, uint32_t d1, uint32_t d2)
{
    assert_int_equal(planes_depth(&b->p, 0, 0), d0);
    assert_int_equal(planes_depth(&b->p, 1, 0), d1);
    assert_int_equal(planes_depth(&b->p, 2, 0), d2);
}

/* Three layers of one expert of 20 + 10 + 10 bytes in 60. Layer 0 takes 40; layer 1 needs 40, so the two high
 * planes of layer 0 go. Layer 2 needs 40: the high planes of layer 1, and then a base, that of the layer just
 * left. Layer 0 needs 20 more: the high planes of layer 2. */
static void test_frees_high_bits_first(void **state)
{
    (void)state;
    static const uint32_t all[] = {1, 1, 1};
    struct planes_config c = {.layers = 3, .experts = 1, .planes = 3, .bytes = {20, 10, 10}, .budget_bytes = 60};
    struct bench b;
    open_bench(&b, c);
    plan(&b, 0, all);
    load_all(&b);
    check_depths(&b, 3, 0, 0);
    plan(&b, 1, all);
    load_all(&b);
    check_depths(&b, 1, 3, 0);
    plan(&b, 2, all);
    load_all(&b);
    check_depths(&b, 1, 0, 3);
    plan(&b, 0, all);
    assert_int_equal(b.p.n_line, 2);
    load_all(&b);
    check_depths(&b, 3, 0, 1);
    assert_int_equal(b.p.freed, 2 + 3 + 2);
    assert_true(fabs(b.p.peak_bytes - 60) < 1e-9);
    arena_release(&b.a);
}

static void test_budget_below_a_layer(void **state)
{
    (void)state;
    struct planes_config c = three;
    struct bench b = {0};
    c.budget_bytes = 119;
    assert_int_equal(planes_init(&b.p, &c, &b.a, &b.e), SIM_E_CONFIG);
    assert_non_null(strstr(b.e.msg, "experts.budget"));
    arena_release(&b.a);
}

/* ---- hottest first against all orders ---- */

/* The planning model of the paper: planes are loaded one after the other, and one of B pairs is computed in
 * B times a constant, not before it is there and not before its predecessors. */
static double makespan(const struct planes_config *c, const uint32_t *demand, const struct planes_load *line, uint32_t n)
{
    double loaded = 0, done = 0;

    for (uint32_t i = 0; i < n; i++) {
        loaded += c->bytes[line[i].plane];
        done = fmax(done, loaded) + 3.0 * demand[line[i].expert * c->planes + line[i].plane];
    }
    return done;
}

struct search {
    const struct planes_config *c;
    const uint32_t *demand;
    struct planes_load line[16];
    uint32_t head[4];
    double best;
};

static void try_all(struct search *s, uint32_t n)
{
    bool end = true;

    for (uint32_t j = 0; j < s->c->experts; j++) {
        if (s->head[j] < s->c->planes && s->demand[j * s->c->planes + s->head[j]] > 0) {
            end = false;
            s->line[n] = (struct planes_load){j, s->head[j]++};
            try_all(s, n + 1);
            s->head[j]--;
        }
    }
    if (end) {
        s->best = fmin(s->best, makespan(s->c, s->demand, s->line, n));
    }
}

static void draw_demand(struct rng_stream r, uint64_t i, const struct planes_config *c, uint32_t *demand)
{
    for (uint32_t j = 0; j < c->experts; j++) {
        uint32_t most = 8;

        for (uint32_t q = 0; q < c->planes; q++) {
            most = (uint32_t)rng_range(r, i, j * c->planes + q, 0, most);
            demand[j * c->planes + q] = most;
        }
    }
}

/* With planes of one size the order is the best of all: Johnson's rule for two machines sorts by falling
 * second times, and no expert's planes are needed by more pairs than those below. With planes of different
 * sizes it is a heuristic. Ascending, and each the hottest head, it is always. */
static void test_best_of_all_orders(void **state)
{
    (void)state;
    struct planes_config c = {.layers = 1, .experts = 3, .planes = 3, .bytes = {10, 10, 10}, .order = PLANES_HEBF};
    struct rng_stream r = rng_stream(1, 0, "test");
    uint32_t demand[9], worse = 0;

    for (uint64_t i = 0; i < 300; i++) {
        struct search s = {.c = &c, .demand = demand, .best = INFINITY};
        struct bench b, naive;
        draw_demand(r, i, &c, demand);
        open_bench(&b, c);
        plan(&b, 0, demand);
        try_all(&s, 0);
        assert_true(fabs(makespan(&c, demand, b.p.line, b.p.n_line) - s.best) < 1e-9);
        c.order = PLANES_NAIVE;
        open_bench(&naive, c);
        plan(&naive, 0, demand);
        worse += makespan(&c, demand, naive.p.line, naive.p.n_line) > s.best + 1e-9;
        c.order = PLANES_HEBF;
        arena_release(&b.a);
        arena_release(&naive.a);
    }
    assert_in_range(worse, 60, 300); /* expert after expert is not as good in many of the cases */
}

/* Ascending planes, and the budget, over a random walk; every plane that is needed is there afterwards. */
static void test_random_walk(void **state)
{
    (void)state;
    struct planes_config c = {.layers = 5, .experts = 4, .planes = 3, .bytes = {18, 9, 9}, .budget_bytes = 300,
                              .order = PLANES_HEBF};
    struct rng_stream r = rng_stream(2, 0, "test");
    uint32_t demand[12];
    struct bench b;

    open_bench(&b, c);
    for (uint64_t i = 0; i < 2000; i++) {
        draw_demand(r, i, &c, demand);
        plan(&b, i % 5, demand);
        for (uint32_t k = 0; k < b.p.n_line; k++) {
            assert_int_equal(b.p.line[k].plane, planes_depth(&b.p, i % 5, b.p.line[k].expert));
            planes_came(&b.p);
        }
        for (uint32_t j = 0; j < 12; j++) {
            assert_true(demand[j] == 0 || j % 3 < planes_depth(&b.p, i % 5, j / 3));
        }
    }
    assert_true(b.p.peak_bytes <= 300 && b.p.peak_bytes > 264);
    arena_release(&b.a);
}

/* ---- lanes ---- */

/* Planes of 60 and 40 bytes: copies of 70 and 50 ns, kernels of 6 and 4. */
static const struct nested_config two = {.planes = {.planes = 2, .bytes = {60, 40}, .order = PLANES_HEBF},
                                         .bits = {2, 4}, .share = {0, 1}, .scale = {0.6, 0.4},
                                         .h2d_bytes_per_s = 1e9, .calls = {1, 1}, .call_ns = 10};

struct hand {
    struct arena a;
    struct err e;
    struct llm_shape llm;
    struct nested_config n;
    struct routes *routes;
    struct layers x;
};

static void open_hand(struct hand *h, uint32_t layers, const struct nested_config *n, bool overlap)
{
    memset(h, 0, sizeof *h);
    h->llm = (struct llm_shape){.name = "hand", .layers = layers, .hidden = 8, .heads = 1, .kv_heads = 1,
                                .head_dim = 8, .experts = 4, .experts_per_tok = 4, .moe_ffn = 2, .ffn_matrices = 3};
    h->n = *n;
    struct routes_env env = {.shape = {.experts = 4, .top_k = 4, .layers = layers}};
    struct layers_config c = {.llm = &h->llm, .cost = &hand_cost, .check = true, .calibration = 16,
                              .overlap = overlap, .nested = &h->n};
    assert_int_equal(routes_open(&h->routes, "uniform", &env, &h->e), 0);
    c.source = h->routes;
    assert_int_equal(layers_init(&h->x, &c, &h->a, &h->e), 0);
}

static sim_ns step(struct hand *h, sim_ns start, uint32_t position)
{
    struct batch_shape b = {.n_decode = 1, .decode_ctx_tok = 1};
    struct expert_token tok = {.sequence = 3, .position = position};
    sim_tick t = 0;
    assert_int_equal(layers_run(&h->x, &b, &tok, 1, start, &t, &h->e), 0);
    assert_int_equal(nested_check(&h->x.nested, &h->e), 0);
    return t >> SIM_TICKS_PER_NS_LOG2;
}

static void close_hand(struct hand *h)
{
    layers_release(&h->x);
    routes_close(h->routes);
    arena_release(&h->a);
}

static int kv_ended(void *ctx, sim_ns now, uint64_t tag, struct err *e)
{
    (void)tag;
    return copy_ended(((struct gpu_link *)ctx)->engine_in, now, e);
}

/* KV of 60 calls, 1 ms each, has the link first. Clients of a link take turns, so each of 16 planes waits for one call and
 * not the first one for 60. */
static void test_turns_on_a_shared_link(void **state)
{
    (void)state;
    struct hand h;
    struct arena a = {0};
    struct err e = {0};
    struct gpu_link link = {.in = {.n_path = 1, .weight = 1, .bytes_per_s = 1e9}};
    struct flow_client kv = {.ended = kv_ended, .ctx = &link};
    struct copy_job job = {.route = &link.in, .bytes = 60e6, .calls = 60, .client = &kv};
    struct nested_config n = two;

    link.fabric = fabric_new(&a);
    assert_int_equal(fabric_add_link(link.fabric, &(struct link_spec){.name = "in", .bytes_per_s = 1e9}, &link.in.path[0], &e), 0);
    link.engine_in = copy_new(link.fabric, 1, 10, &a);
    n.shared = &link;
    n.planes.budget_bytes = 400; /* one layer of two */
    open_hand(&h, 2, &n, true);
    step(&h, 0, 5);
    assert_int_equal(copy_submit(link.engine_in, 10000, &job, &e), 0);
    assert_in_range(step(&h, 10000, 6), 15000000, 17000000);
    assert_int_equal(h.x.nested.n.loads, 32);
    close_hand(&h);
    arena_release(&a);
}

/* Gate at 1100. Planes come at 1170, 1220, 1290 ... 1580, each computed at once: the last at 1584, head to
 * 1604. The GPU waits 20 + 4 * 44 + 3 * 66. In the second step all are there: 50 + 40 behind the gate. */
static void test_lanes(void **state)
{
    (void)state;
    struct hand h;
    open_hand(&h, 1, &two, true);
    assert_int_equal(step(&h, 0, 5), 1604);
    assert_int_equal((int64_t)(h.x.n.wait_load >> SIM_TICKS_PER_NS_LOG2), 20 + 4 * 44 + 3 * 66);
    assert_int_equal(step(&h, 5000, 6), 1000 + 100 + 50 + 40 + 20);
    assert_int_equal(h.x.nested.n.asked, 16);
    assert_int_equal(h.x.nested.n.hits, 8);
    assert_int_equal(h.x.nested.n.loads, 8);
    assert_int_equal(h.x.nested.n.computed, 16);
    assert_true(fabs(h.x.nested.n.h2d_bytes - 400) < 1e-9);
    assert_true(fabs(h.x.nested.n.pair_bits - 8 * 4) < 1e-9);
    close_hand(&h);
}

/* 5 ns of the host before each plane: the last comes at 1580 and is done at 1589. */
static void test_host_time(void **state)
{
    (void)state;
    struct hand h;
    open_hand(&h, 1, &two, true);
    h.x.cfg.host_s = 5e-9;
    assert_int_equal(step(&h, 0, 5), 1609);
    assert_int_equal((int64_t)(h.x.n.host >> SIM_TICKS_PER_NS_LOG2), 8 * 5);
    close_hand(&h);
}

static void test_copies_first(void **state)
{
    (void)state;
    struct hand h;
    open_hand(&h, 1, &two, false);
    assert_int_equal(step(&h, 0, 5), 1580 + 40 + 20);
    close_hand(&h);
}

/* Pairs of 2 bits need the base alone: 1170, 1240, 1310, 1380 and 6 more. */
static void test_low_bits(void **state)
{
    (void)state;
    struct nested_config n = two;
    struct hand h;
    n.share[0] = 1;
    n.share[1] = 0;
    open_hand(&h, 1, &n, true);
    assert_int_equal(step(&h, 0, 5), 1386 + 20);
    assert_int_equal(h.x.nested.n.asked, 4);
    close_hand(&h);
}

/* Two layers and room for one and a half: the second frees the first's four residual planes and a base (160
 * and 60 of 400 bytes), so the next step finds three bases of the first, and by the same rule of the second. To
 * 1168 it computes its router and these; five planes come at 1170 and from there every 50, the last to 1374. */
static void test_budget_lanes(void **state)
{
    (void)state;
    struct nested_config n = two;
    struct hand h;
    n.planes.budget_bytes = 590;
    open_hand(&h, 2, &n, true);
    assert_int_equal(step(&h, 0, 5), 1000 + 2 * 584 + 20);
    assert_int_equal(h.x.nested.planes.freed, 5);
    assert_int_equal(step(&h, 5000, 6), 1000 + 2 * 374 + 20);
    assert_int_equal(h.x.nested.n.hits, 6);
    assert_true(fabs(h.x.nested.planes.peak_bytes - 580) < 1e-9);
    close_hand(&h);
}

/* Bits 2, 3, 4 by .3, .4, .3: 3 on the average, and with 40000 pairs within 4 standard errors of 0.0039. */
static void test_draws(void **state)
{
    (void)state;
    static const struct nested_config n = {.planes = {.planes = 3, .bytes = {2, 1, 1}}, .bits = {2, 3, 4},
                                           .share = {.3, .4, .3}, .scale = {.5, .25, .25}, .h2d_bytes_per_s = 1e9,
                                           .calls = {1, 1, 1}};
    struct hand h;
    open_hand(&h, 1, &n, true);
    for (uint32_t t = 0; t < 10000; t++) {
        step(&h, (sim_ns)t * 5000, t);
    }
    assert_int_equal(h.x.n.pairs, 40000);
    assert_true(fabs(h.x.nested.n.pair_bits / 40000 - 3) < 4 * 0.0039);
    close_hand(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hottest_first), cmocka_unit_test(test_naive), cmocka_unit_test(test_goes_on_above),
        cmocka_unit_test(test_frees_high_bits_first), cmocka_unit_test(test_budget_below_a_layer),
        cmocka_unit_test(test_best_of_all_orders), cmocka_unit_test(test_random_walk), cmocka_unit_test(test_lanes), cmocka_unit_test(test_turns_on_a_shared_link),
        cmocka_unit_test(test_host_time), cmocka_unit_test(test_copies_first), cmocka_unit_test(test_low_bits), cmocka_unit_test(test_budget_lanes),
        cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
