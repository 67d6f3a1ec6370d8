/* SPDX-License-Identifier: Apache-2.0
 *
 * Fabric: max-min sharing against a brute force that raises all rates together (the textbook form of
 * progressive filling), conservation, order, and figures of real machines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/fabric/fabric.h"

enum { MAX_LINKS = 7, MAX_FLOWS = 14 };

struct job {
    sim_ns start, active;
    double bytes, weight;
    uint32_t copies, n_path;
    link_id path[FABRIC_MAX_PATH];
};

struct world {
    uint32_t n_links, n_jobs;
    struct link_spec link[MAX_LINKS];
    struct job job[MAX_FLOWS];
};

/* ---- a generator of its own (xorshift64*), so that the cases are the same everywhere ---- */

static uint64_t draw(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 2685821657736338717u;
}

static uint32_t below(uint64_t *s, uint32_t n)
{
    return (uint32_t)(draw(s) >> 33) % n;
}

static void make_links(struct world *w, uint64_t *s)
{
    w->n_links = 1 + below(s, MAX_LINKS);
    for (uint32_t i = 0; i < w->n_links; i++) {
        w->link[i] = (struct link_spec){
            .name = "x", .bytes_per_s = 1e9 * (1 + below(s, 64)), .latency_ns = below(s, 3000),
            .overhead_ns = below(s, 2) ? below(s, 5000) : 0};
    }
}

/* Every other world has weights from 1/8 to 8. */
static void make_jobs(struct world *w, uint64_t *s)
{
    bool weighted = below(s, 2);
    w->n_jobs = 1 + below(s, MAX_FLOWS);
    sim_ns now = 0;
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        struct job *j = &w->job[i];
        now += below(s, 2) ? below(s, 40000) : 0;
        *j = (struct job){.start = now, .active = now, .copies = below(s, 4),
                          .bytes = below(s, 10) ? below(s, 1000000) : 0,
                          .weight = weighted ? ldexp(1, (int)below(s, 7) - 3) : 1};
        for (uint32_t l = 0; l < w->n_links; l++) {
            if (below(s, 3) == 0) {
                j->path[j->n_path++] = l;
                j->active += w->link[l].latency_ns + j->copies * w->link[l].overhead_ns;
            }
        }
        if (j->n_path == 0) {
            j->bytes = 0;
        }
    }
}

/* ---- brute force: seconds as long double, all rates rise together, each in proportion to its weight,
 * until a link is full ---- */

static bool job_uses(const struct job *j, uint32_t l)
{
    for (uint32_t k = 0; k < j->n_path; k++) {
        if (j->path[k] == l) {
            return true;
        }
    }
    return false;
}

static void fill_rates(const struct world *w, const bool *live, long double *rate)
{
    bool open[MAX_FLOWS];
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        rate[i] = 0;
        open[i] = live[i];
    }
    for (;;) {
        long double step = HUGE_VALL;
        long double slack[MAX_LINKS];
        for (uint32_t l = 0; l < w->n_links; l++) {
            long double n = 0;
            slack[l] = (long double)w->link[l].bytes_per_s;
            for (uint32_t i = 0; i < w->n_jobs; i++) {
                if (live[i] && job_uses(&w->job[i], l)) {
                    slack[l] -= rate[i];
                    n += open[i] ? (long double)w->job[i].weight : 0;
                }
            }
            if (n > 0 && slack[l] / n < step) {
                step = slack[l] / n;
            }
        }
        if (isinf(step)) {
            return;
        }
        for (uint32_t i = 0; i < w->n_jobs; i++) {
            rate[i] += open[i] ? step * (long double)w->job[i].weight : 0;
        }
        for (uint32_t l = 0; l < w->n_links; l++) {
            long double used = 0;
            for (uint32_t i = 0; i < w->n_jobs; i++) {
                used += live[i] && job_uses(&w->job[i], l) ? rate[i] : 0;
            }
            if (used < (long double)w->link[l].bytes_per_s * (1 - 1e-12L)) {
                continue;
            }
            for (uint32_t i = 0; i < w->n_jobs; i++) {
                open[i] = open[i] && !job_uses(&w->job[i], l);
            }
        }
    }
}

static void brute_ends(const struct world *w, long double *end_ns)
{
    long double left[MAX_FLOWS];
    long double now = 0;
    bool live[MAX_FLOWS] = {false};
    bool done[MAX_FLOWS] = {false};
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        left[i] = (long double)w->job[i].bytes;
    }
    for (;;) {
        long double rate[MAX_FLOWS];
        long double next = HUGE_VALL;
        fill_rates(w, live, rate);
        for (uint32_t i = 0; i < w->n_jobs; i++) {
            long double t = live[i] ? now + left[i] / rate[i] * 1e9L
                            : done[i] ? HUGE_VALL : (long double)w->job[i].active;
            next = t < next ? t : next;
        }
        if (isinf(next)) {
            return;
        }
        for (uint32_t i = 0; i < w->n_jobs; i++) {
            if (live[i]) {
                left[i] -= rate[i] * (next - now) / 1e9L;
            } else if (!done[i] && (long double)w->job[i].active <= next) {
                live[i] = true;
            }
            if (live[i] && left[i] < 1e-7L) {
                live[i] = false;
                done[i] = true;
                end_ns[i] = next;
            }
        }
        now = next;
    }
}

/* ---- the fabric on the same world ---- */

struct outcome {
    sim_ns end[MAX_FLOWS];
    uint32_t order[MAX_FLOWS];
    uint32_t n;
    double link_bytes[MAX_LINKS];
    sim_ns link_busy[MAX_LINKS];
};

static void drain(struct fabric *f, sim_ns now, struct outcome *o)
{
    uint64_t tag;
    while (fabric_poll(f, now, &tag)) {
        assert_true(tag < MAX_FLOWS && o->n < MAX_FLOWS);
        o->end[tag] = now;
        o->order[o->n++] = (uint32_t)tag;
    }
}

static void drain_until(struct fabric *f, sim_ns until, struct outcome *o)
{
    for (sim_ns t = fabric_next(f); t <= until && t != SIM_NEVER; t = fabric_next(f)) {
        drain(f, t, o);
    }
}

/* look > 0: also poll at every multiple of `look` ns, which must change nothing. */
static void play(const struct world *w, sim_ns look, struct outcome *o)
{
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    *o = (struct outcome){0};
    for (uint32_t l = 0; l < w->n_links; l++) {
        link_id id;
        assert_int_equal(fabric_add_link(f, &w->link[l], &id, NULL), 0);
        assert_int_equal(id, l);
    }
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        const struct job *j = &w->job[i];
        for (sim_ns t = look; look && t < j->start; t += look) {
            drain_until(f, t, o);
            if (i == 0 || t > w->job[i - 1].start) {
                drain(f, t, o);
            }
        }
        drain_until(f, j->start - 1, o);
        struct flow_spec spec = {.path = j->path, .n_path = j->n_path, .bytes = j->bytes,
                                 .copies = j->copies, .weight = j->weight, .tag = i};
        assert_int_not_equal(fabric_start_flow(f, j->start, &spec), FLOW_NONE);
    }
    drain_until(f, SIM_NEVER, o);
    assert_int_equal(fabric_next(f), SIM_NEVER);
    for (uint32_t l = 0; l < w->n_links; l++) {
        o->link_bytes[l] = fabric_link_bytes(f, l);
        o->link_busy[l] = fabric_link_busy_ns(f, l);
    }
    arena_release(&a);
}

static void check_conserved(const struct world *w, const struct outcome *o)
{
    for (uint32_t l = 0; l < w->n_links; l++) {
        double bytes = 0;
        for (uint32_t i = 0; i < w->n_jobs; i++) {
            bytes += job_uses(&w->job[i], l) ? w->job[i].bytes : 0;
        }
        assert_true(o->link_bytes[l] == bytes); /* whole bytes below 2^53: exact */
        /* a link cannot carry more than its bandwidth in the time that it was busy */
        assert_true(bytes <= w->link[l].bytes_per_s * 1e-9 * (double)(o->link_busy[l] + 1) + 1e-3);
    }
}

/* Max-min never gives a flow less than its weight's share of its tightest link. */
static void check_no_starving(const struct world *w, const struct outcome *o)
{
    double all = 0;
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        all += w->job[i].weight;
    }
    for (uint32_t i = 0; i < w->n_jobs; i++) {
        double least = HUGE_VAL;
        for (uint32_t k = 0; k < w->job[i].n_path; k++) {
            double b = w->link[w->job[i].path[k]].bytes_per_s * w->job[i].weight / all;
            least = b < least ? b : least;
        }
        double worst = w->job[i].bytes > 0 ? w->job[i].bytes / least * 1e9 : 0;
        assert_true((double)o->end[i] <= (double)w->job[i].active + worst + 1);
        assert_true(o->end[i] >= w->job[i].active);
    }
}

static void check_order(const struct world *w, const struct outcome *o)
{
    assert_int_equal(o->n, w->n_jobs);
    for (uint32_t i = 1; i < o->n; i++) {
        uint32_t x = o->order[i - 1];
        uint32_t y = o->order[i];
        assert_true(o->end[x] < o->end[y] || (o->end[x] == o->end[y] && x < y));
    }
}

static void test_random_topologies(void **state)
{
    (void)state;
    for (uint64_t c = 1; c <= 10000; c++) {
        uint64_t s = c * 0x9e3779b97f4a7c15u;
        struct world w = {0};
        long double want[MAX_FLOWS];
        struct outcome o;
        make_links(&w, &s);
        make_jobs(&w, &s);
        brute_ends(&w, want);
        play(&w, 0, &o);
        check_order(&w, &o);
        check_conserved(&w, &o);
        check_no_starving(&w, &o);
        for (uint32_t i = 0; i < w.n_jobs; i++) {
            /* rounded up, and never more than a thousandth of a nanosecond early */
            long double late = (long double)o.end[i] - want[i];
            if (late < -2e-3L || late > 1 + 2e-3L) {
                fail_msg("case %u flow %u: %lld, brute force %.4Lf", (unsigned)c, i,
                         (long long)o.end[i], want[i]);
            }
        }
    }
}

static void test_looking_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t c = 1; c <= 200; c++) {
        uint64_t s = c * 0xd1342543de82ef95u;
        struct world w = {0};
        struct outcome o;
        struct outcome p;
        make_links(&w, &s);
        make_jobs(&w, &s);
        play(&w, 0, &o);
        play(&w, 777, &p);
        assert_memory_equal(o.order, p.order, sizeof o.order);
        assert_memory_equal(o.end, p.end, sizeof o.end);
        assert_memory_equal(o.link_busy, p.link_busy, sizeof o.link_busy);
        assert_memory_equal(o.link_bytes, p.link_bytes, sizeof o.link_bytes);
    }
}

/* ---- by hand ---- */

static link_id link_of(struct fabric *f, double bytes_per_s, sim_ns latency, sim_ns overhead)
{
    struct link_spec s = {"l", bytes_per_s, latency, overhead};
    link_id id = UINT32_MAX;
    assert_int_equal(fabric_add_link(f, &s, &id, NULL), 0);
    return id;
}

static void expect_end(struct fabric *f, sim_ns at, uint64_t tag)
{
    uint64_t got = UINT64_MAX;
    sim_ns t = fabric_next(f);
    while (!fabric_poll(f, t, &got)) {
        t = fabric_next(f);
        assert_int_not_equal(t, SIM_NEVER);
    }
    assert_int_equal(t, at);
    assert_int_equal(got, tag);
}

/* 1 GB/s = 1 byte per ns. Alone: 100 bytes in 100 ns. A second flow of 100 bytes comes at 50: both
 * run at half rate, the first ends at 150, the second has 50 left and ends at 200. */
static void test_two_flows(void **state)
{
    (void)state;
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    link_id l = link_of(f, 1e9, 0, 0);
    fabric_start(f, 0, &l, 1, 100, 0, 1);
    fabric_start(f, 50, &l, 1, 100, 0, 2);
    expect_end(f, 150, 1);
    assert_true(fabric_link_bytes(f, l) == 150);
    expect_end(f, 200, 2);
    assert_int_equal(fabric_link_busy_ns(f, l), 200);
    arena_release(&a);
}

/* Latency and three calls' overhead come first and take no bandwidth: 10 + 3*5 + 100. */
static void test_latency_and_overhead(void **state)
{
    (void)state;
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    link_id l = link_of(f, 1e9, 10, 5);
    fabric_start(f, 0, &l, 1, 100, 3, 7);
    assert_int_equal(fabric_next(f), 25);
    expect_end(f, 125, 7);
    assert_int_equal(fabric_link_busy_ns(f, l), 100);
    arena_release(&a);
}

/* Three flows of 10 bytes on 3 bytes/ns: 1 byte/ns each, all end at 10, in order of start. One of 1
 * byte on 3 bytes/ns ends inside a nanosecond: reported at the next whole one. */
static void test_ties_and_rounding(void **state)
{
    (void)state;
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    link_id l = link_of(f, 3e9, 0, 0);
    for (uint64_t i = 0; i < 3; i++) {
        fabric_start(f, 0, &l, 1, 10, 0, i);
    }
    expect_end(f, 10, 0);
    expect_end(f, 10, 1);
    expect_end(f, 10, 2);
    fabric_start(f, 10, &l, 1, 1, 0, 9);
    expect_end(f, 11, 9);
    /* an hour on the link still ends on the nanosecond */
    fabric_start(f, 11, &l, 1, 3e9 * 3600, 0, 10);
    expect_end(f, 11 + 3600000000000, 10);
    arena_release(&a);
}

static void test_bad_calls(void **state)
{
    (void)state;
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    struct err e = {0};
    link_id id;
    assert_int_equal(fabric_add_link(f, &(struct link_spec){"z", 0, 0, 0}, &id, &e), SIM_E_CONFIG);
    assert_int_equal(fabric_add_link(f, &(struct link_spec){"z", (double)NAN, 0, 0}, &id, NULL),
                     SIM_E_CONFIG);
    assert_int_equal(fabric_add_link(f, &(struct link_spec){"z", 1, -1, 0}, &id, NULL), SIM_E_CONFIG);
    link_id l = link_of(f, 1e9, 0, 0);
    link_id twice[] = {l, l};
    link_id unknown = 5;
    assert_int_equal(fabric_start(f, 0, twice, 2, 1, 0, 0), FLOW_NONE);
    assert_int_equal(fabric_start(f, 0, &unknown, 1, 1, 0, 0), FLOW_NONE);
    assert_int_equal(fabric_start(f, 0, &l, 1, -1, 0, 0), FLOW_NONE);
    assert_int_equal(fabric_start(f, 0, &l, 1, (double)INFINITY, 0, 0), FLOW_NONE);
    struct flow_spec light = {.path = &l, .n_path = 1, .bytes = 1, .weight = 1e-6};
    struct flow_spec early = {.path = &l, .n_path = 1, .bytes = 1, .delay_ns = -1};
    assert_int_equal(fabric_start_flow(f, 0, &light), FLOW_NONE);
    assert_int_equal(fabric_start_flow(f, 0, &early), FLOW_NONE);
    assert_int_equal(fabric_next(f), SIM_NEVER);
    arena_release(&a);
}

/* 4 bytes/ns, weights 1 and 3, 100 bytes each, the heavy one after 10 ns of host work: 40 of the light
 * one have gone by then, its other 60 run at 1/ns beside 3/ns; the heavy one ends at 10 + 100/3, when
 * 26 2/3 are left, which take 6 2/3 more: 50. */
/* 10 bytes per ns, 2 when two sources write to two sinks. Flows 1 and 2 share it until 3, to another sink, comes at 20:
 * 3 of 200 bytes has 2/3 a ns; flow 4, which has no source, does not count but suffers, too. */
static void test_fault(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct link_spec s = {.name = "l", .bytes_per_s = 10e9};
    struct fabric *f = fabric_new(&a);
    link_id l;
    uint64_t tag;

    assert_int_equal(fabric_add_link(f, &s, &l, &e), 0);
    assert_int_equal(fabric_set_fault(f, l, &(struct link_fault){0, 2, 2}, &e), SIM_E_CONFIG);
    assert_int_equal(fabric_set_fault(f, l, &(struct link_fault){2e9, 2, 2}, &e), 0);
    fabric_start_flow(f, 0, &(struct flow_spec){.path = &l, .n_path = 1, .bytes = 120, .tag = 1, .source = 1, .sink = 9});
    fabric_start_flow(f, 0, &(struct flow_spec){.path = &l, .n_path = 1, .bytes = 300, .tag = 4});
    fabric_start_flow(f, 20, &(struct flow_spec){.path = &l, .n_path = 1, .bytes = 40, .tag = 3, .source = 2, .sink = 8});
    /* To 20: 100 bytes each of 1 and 4. Then 2/3 a ns: 1 is through at 50, with 20 left of 3 and 180 of 4; then
     * 5 a ns each, since one source is left: 3 at 54, 4 alone with 10: 160 at 54, so at 70. */
    assert_int_equal(fabric_next(f), 20);
    assert_false(fabric_poll(f, 49, &tag));
    assert_true(fabric_poll(f, 50, &tag));
    assert_int_equal(tag, 1);
    assert_true(fabric_poll(f, 54, &tag));
    assert_int_equal(tag, 3);
    assert_false(fabric_poll(f, 69, &tag));
    assert_true(fabric_poll(f, 70, &tag));
    assert_int_equal(tag, 4);
    arena_release(&a);
}

static void test_weights_and_delay(void **state)
{
    (void)state;
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    link_id l = link_of(f, 4e9, 0, 0);
    struct flow_spec light = {.path = &l, .n_path = 1, .bytes = 100, .weight = 1, .tag = 1};
    struct flow_spec heavy = {.path = &l, .n_path = 1, .bytes = 100, .weight = 3, .delay_ns = 10, .tag = 3};
    fabric_start_flow(f, 0, &light);
    fabric_start_flow(f, 0, &heavy);
    expect_end(f, 44, 3); /* 43 1/3, rounded up */
    expect_end(f, 50, 1);
    arena_release(&a);
}

/* Eight GPUs behind two PCIe 5.0 switches of four, 52 GB/s per port and per uplink: each GPU g writes
 * to (g+s) mod 8. Measured means on such a machine: 50.1 38.2 25.7 12.75 25.6 38.0 50.0 GB/s for
 * s = 1..7; max-min sharing gives 52 39 26 13 26 39 52. */
static double shift_pattern(uint32_t s)
{
    struct arena a = {0};
    struct fabric *f = fabric_new(&a);
    link_id out[8];
    link_id in[8];
    link_id up[2];
    link_id down[2];
    for (int g = 0; g < 8; g++) {
        out[g] = link_of(f, 52e9, 0, 0);
        in[g] = link_of(f, 52e9, 0, 0);
    }
    for (int c = 0; c < 2; c++) {
        up[c] = link_of(f, 52e9, 0, 0);
        down[c] = link_of(f, 52e9, 0, 0);
    }
    for (uint32_t g = 0; g < 8; g++) {
        uint32_t to = (g + s) % 8;
        bool across = g / 4 != to / 4;
        link_id path[4] = {out[g], in[to], up[g / 4], down[to / 4]};
        fabric_start(f, 0, path, across ? 4 : 2, 1e15, 0, g); /* runs for ever here */
    }
    uint64_t tag;
    assert_false(fabric_poll(f, 1000000000, &tag));
    double sum = 0;
    for (int g = 0; g < 8; g++) {
        sum += fabric_link_bytes(f, out[g]);
    }
    arena_release(&a);
    return sum / 8 / 1e9;
}

static void test_switch_rig(void **state)
{
    (void)state;
    static const double model[] = {52, 39, 26, 13, 26, 39, 52};
    static const double measured[] = {50.1, 38.2, 25.7, 12.75, 25.6, 38.0, 50.0};
    for (uint32_t s = 1; s <= 7; s++) {
        double got = shift_pattern(s);
        assert_true(fabs(got - model[s - 1]) < 1e-6);
        assert_true(fabs(got / measured[s - 1] - 1) < 0.05);
    }
}

/* ---- PCI Express ---- */

static bool near(double got, double want)
{
    return fabs(got / want - 1) < 6e-4; /* the table has four digits */
}

/* pcie-bench arithmetic, GB/s, x16, requests of 512: generation, payload, write, read. */
static void test_pcie_table(void **state)
{
    (void)state;
    static const double rows[][4] = {
        {3, 256, 12.99, 13.18}, {4, 128, 23.52, 24.15}, {4, 256, 25.99, 26.37},
        {4, 512, 27.37, 27.58}, {5, 256, 51.98, 52.73}, {5, 512, 54.75, 55.16},
        {6, 256, 99.8, 101.3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pcie_config c = {(uint32_t)rows[i][0], 16, (uint32_t)rows[i][1], 512};
        assert_true(near(pcie_write_bytes_per_s(&c) / 1e9, rows[i][2]));
        assert_true(near(pcie_read_bytes_per_s(&c) / 1e9, rows[i][3]));
    }
}

/* By hand: gen 1 x4 moves 2.5 GT/s * 4 * 0.8 / 8 = 1 GB/s; payload 128: Ack and UpdateFC 16/144, SKP
 * 4/1538, TLP 128/152. Generation 2 doubles it, lanes are linear, small requests cut reads down. */
static void test_pcie_by_hand(void **state)
{
    (void)state;
    double want = 1e9 * (1 - 16.0 / 144 - 4.0 / 1538) * 128 / 152;
    struct pcie_config c = {1, 4, 128, 128};
    assert_true(fabs(pcie_write_bytes_per_s(&c) / want - 1) < 1e-12);
    c.gen = 2;
    assert_true(fabs(pcie_write_bytes_per_s(&c) / want - 2) < 1e-12);
    c.lanes = 16;
    assert_true(fabs(pcie_write_bytes_per_s(&c) / want - 8) < 1e-12);
    struct pcie_config small = {4, 16, 512, 128};
    struct pcie_config large = {4, 16, 512, 512};
    double ratio = (128.0 / 148) / (512.0 / 532);
    assert_true(fabs(pcie_read_bytes_per_s(&small) / pcie_read_bytes_per_s(&large) - ratio) < 1e-12);
}

static void test_pcie_impossible(void **state)
{
    (void)state;
    static const struct pcie_config bad[] = {
        {0, 16, 256, 512}, {7, 16, 256, 512}, {4, 0, 256, 512},   {4, 3, 256, 512},
        {4, 32, 256, 512}, {4, 16, 0, 512},   {4, 16, 8192, 512}, {4, 16, 300, 512},
        {4, 16, 256, 0},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(pcie_write_bytes_per_s(&bad[i]) == 0);
        assert_true(pcie_read_bytes_per_s(&bad[i]) == 0);
    }
}

static void test_pool(void **state)
{
    (void)state;
    struct pool p = {.name = "host", .capacity_byte = 100};
    struct err e = {0};
    assert_true(pool_take(&p, 60));
    assert_false(pool_take(&p, 41));
    assert_true(p.used_byte == 60);
    assert_true(pool_take(&p, 40));
    assert_int_equal(pool_give(&p, 90, &e), 0);
    assert_int_equal(pool_give(&p, 11, &e), SIM_E_CHECK);
    assert_true(p.used_byte == 10 && p.peak_byte == 100);
    assert_false(pool_take(&p, -1));
    assert_false(pool_take(&p, (double)NAN));
    assert_int_equal(pool_give(&p, -1, NULL), SIM_E_CHECK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_flows),
        cmocka_unit_test(test_latency_and_overhead),
        cmocka_unit_test(test_ties_and_rounding),
        cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_fault), cmocka_unit_test(test_weights_and_delay),
        cmocka_unit_test(test_switch_rig),
        cmocka_unit_test(test_random_topologies),
        cmocka_unit_test(test_looking_changes_nothing),
        cmocka_unit_test(test_pcie_table),
        cmocka_unit_test(test_pcie_by_hand),
        cmocka_unit_test(test_pcie_impossible),
        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
