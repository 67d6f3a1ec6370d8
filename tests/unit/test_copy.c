/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy engines, by hand: 1 byte per ns, calls of 10 ns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/fabric/copy.h"

struct bench {
    struct arena a;
    struct fabric *f;
    struct topo_route way;
    struct copy_engines *c;
};

static void open_bench(struct bench *b, uint32_t engines)
{
    struct link_spec s = {"l", 1e9, 0, 0};
    *b = (struct bench){0};
    b->f = fabric_new(&b->a);
    b->way = (struct topo_route){.n_path = 1, .weight = 1};
    assert_int_equal(fabric_add_link(b->f, &s, &b->way.path[0], NULL), 0);
    b->c = copy_new(b->f, engines, 10, &b->a);
    assert_non_null(b->c);
}

static void submit(struct bench *b, sim_ns now, double bytes, enum copy_urgency u, uint64_t tag)
{
    struct copy_job j = {.route = &b->way, .bytes = bytes, .calls = 1, .urgency = u, .tag = tag};
    assert_int_equal(copy_submit(b->c, now, &j, NULL), 0);
}

static void expect(struct bench *b, sim_ns at, uint64_t tag)
{
    uint64_t got = 0;
    sim_ns now = fabric_next(b->f);
    while (!fabric_poll(b->f, now, &got)) {
        now = fabric_next(b->f);
        assert_int_not_equal(now, SIM_NEVER);
    }
    assert_int_equal(now, at);
    assert_int_equal(got, tag);
    assert_int_equal(copy_ended(b->c, now, NULL), 0);
}

/* One engine: 110, then the urgent one that came last but 110 later, then the others in order. */
static void test_lines(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 1);
    submit(&b, 0, 100, COPY_SPECULATIVE, 1);
    submit(&b, 0, 50, COPY_SPECULATIVE, 2);
    submit(&b, 5, 50, COPY_SPECULATIVE, 3);
    submit(&b, 20, 30, COPY_URGENT, 4);
    assert_int_equal(copy_waiting(b.c), 3);
    expect(&b, 110, 1);
    expect(&b, 150, 4);
    expect(&b, 210, 2);
    expect(&b, 270, 3);
    assert_int_equal(copy_running(b.c), 0);
    arena_release(&b.a);
}

/* Two engines share the link: both begin at 10 and end at 210; hurried and cancelled jobs. */
static void test_two_engines(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 2);
    submit(&b, 0, 100, COPY_URGENT, 1);
    submit(&b, 0, 100, COPY_URGENT, 2);
    submit(&b, 0, 10, COPY_SPECULATIVE, 3);
    submit(&b, 0, 10, COPY_SPECULATIVE, 4);
    submit(&b, 0, 10, COPY_SPECULATIVE, 5);
    assert_int_equal(copy_running(b.c), 2);
    assert_true(copy_hurry(b.c, NULL, 5, COPY_URGENT));
    assert_false(copy_hurry(b.c, NULL, 1, COPY_URGENT)); /* it runs */
    assert_true(copy_cancel(b.c, NULL, 4));
    assert_false(copy_cancel(b.c, NULL, 4));
    submit(&b, 0, 10, COPY_SPECULATIVE, 6); /* goes behind 3, though 4 was the last */
    expect(&b, 210, 1);
    expect(&b, 210, 2);
    expect(&b, 240, 5); /* 5 and 3 from 220 on, 20 bytes together */
    expect(&b, 240, 3);
    expect(&b, 260, 6);
    assert_int_equal(copy_waiting(b.c), 0);
    arena_release(&b.a);
}

static void test_refused(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 1);
    struct err e = {0};
    struct copy_job j = {.route = &b.way, .bytes = -1};
    assert_int_equal(copy_submit(b.c, 0, &j, &e), SIM_E_CONFIG);
    assert_int_equal(copy_running(b.c), 0);
    arena_release(&b.a);
}

/* 100,000 jobs of one client, as experts that are written back make: in order, and without a look at all that wait for each
 * that ends, which would take longer than tests may. */
static void test_long_line(void **state)
{
    (void)state;
    struct bench b;
    open_bench(&b, 1);
    for (uint64_t i = 0; i < 100000; i++) {
        submit(&b, 0, 90, COPY_URGENT, i);
    }
    for (uint64_t i = 0; i < 100000; i++) {
        expect(&b, (sim_ns)(i + 1) * 100, i);
    }
    assert_int_equal(copy_waiting(b.c), 0);
    arena_release(&b.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_two_engines),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
