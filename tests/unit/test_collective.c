/* SPDX-License-Identifier: Apache-2.0
 *
 * Collectives: the formulas by hand, files and their errors, the ring as flows against its closed form,
 * and NCCL's measured tables (when ../shared is there). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/fabric/collective.h"
#include "sim/fabric/ring.h"
#include "tests/accuracy/collective_rows.h"

static const char tiny[] =
    "{\"max_ranks\": 8, \"net_hop_us\": 10, \"tree_share\": 0.5,\n"
    " \"all_reduce\": {\"overlap\": 2, \"rank_share\": {\"2\": 1, \"8\": 0.25},\n"
    "  \"ll\": {\"base_us\": 4, \"hop_us\": 1, \"gb_per_s\": 10},\n"
    "  \"simple\": {\"base_us\": 20, \"hop_us\": 2, \"gb_per_s\": 100, \"copy_gb_per_s\": 400},\n"
    "  \"nvls\": {\"base_us\": 30, \"gb_per_s\": 200, \"copy_gb_per_s\": 400}},\n"
    " \"all_gather\": {\"simple\": {\"base_us\": 20, \"hop_us\": 2, \"gb_per_s\": 100}}}";

static int parse(struct collective_model *m, const char *text, struct arena *a, struct err *e)
{
    return collective_parse(m, text, strlen(text), "tiny.json", a, e);
}

static bool near(double got, double want)
{
    if (fabs(got - want) > 1e-9 * want) {
        print_message("got %.12g, want %.12g\n", got, want);
    }
    return fabs(got - want) <= 1e-9 * want;
}

static double time_of(const struct collective_model *m, struct collective_call c)
{
    struct collective_choice r;
    assert_int_equal(collective_time(m, &c, &r, NULL), 0);
    return r.us;
}

/* Two ranks, one node. Ring all-reduce: 2 steps, as many bytes on the wire as the size.
 * LL, 30 kB: latency 4 + 2, transfer 30e3/10 ns = 3 us: sqrt(36 + 9).
 * Simple, 4 MB: 20 + 4 + 4e6/100 ns = 40 us + own half 2e6/400 ns = 5 us. NVLS: 30 + 20 + 5. */
static void test_by_hand(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct collective_model m;
    assert_int_equal(parse(&m, tiny, &a, &e), 0);
    struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 2, .nodes = 1, .bytes = 30e3, .host_us = 0};
    assert_true(near(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_LL), sqrt(45)));
    assert_true(near(time_of(&m, c), sqrt(45)));
    assert_true(isinf(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_LL128)));
    c.bytes = 4e6;
    assert_true(near(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_SIMPLE), 69));
    assert_true(near(collective_us(&m, &c, COLLECTIVE_NVLS, COLLECTIVE_SIMPLE), 55));
    struct collective_choice r;
    assert_int_equal(collective_time(&m, &c, &r, &e), 0);
    assert_true(near(r.us, 55) && r.algo == COLLECTIVE_NVLS);
    assert_true(near(collective_busbw(&c, 40), 100));
    /* 12 us of work and a host that needs 12: the cube root of two cubes */
    c = (struct collective_call){.op = COLLECTIVE_ALL_GATHER, .ranks = 2, .nodes = 1, .bytes = 0, .host_us = 22};
    assert_true(near(time_of(&m, c), 22 * cbrt(2)));
    c.ranks = 1;
    assert_true(time_of(&m, c) == 0);
    arena_release(&a);
}

/* Bandwidth falls to a quarter from 2 to 8 ranks, half of that (in logarithms) at 4. Four ranks, 4 MB: 6
 * steps of 2, 1.5 * 4e6 / 50 ns = 120 us, own quarter 2.5 us; a tree has half of it: 240. */
static void test_ranks(void **state)
{
    (void)state;
    struct arena a = {0};
    struct collective_model m;
    assert_int_equal(parse(&m, tiny, &a, NULL), 0);
    struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 4, .nodes = 1, .bytes = 4e6, .host_us = 0};
    assert_true(near(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_SIMPLE), 32 + 120 + 2.5));
    assert_true(near(collective_us(&m, &c, COLLECTIVE_TREE, COLLECTIVE_SIMPLE), 32 + 240 + 2.5));
    /* two nodes of two: 4 of the 6 steps are between them; the tree goes one up, one down, and 2 inside */
    c.nodes = 2;
    c.bytes = 0;
    assert_true(near(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_SIMPLE), 20 + 2 * 2 + 4 * 10));
    assert_true(near(collective_us(&m, &c, COLLECTIVE_TREE, COLLECTIVE_SIMPLE), 20 + 2 * 2 + 2 * 10));
    assert_true(isinf(collective_us(&m, &c, COLLECTIVE_NVLS, COLLECTIVE_SIMPLE)));
    c.op = COLLECTIVE_ALL_GATHER;
    assert_true(near(collective_us(&m, &c, COLLECTIVE_RING, COLLECTIVE_SIMPLE), 20 + 2 * 2 + 10));
    arena_release(&a);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "key 'all_reduce': is missing"},
        {"{\"all_redcue\": {}}", "did you mean 'all_reduce'?"},
        {"{\"all_reduce\": {}}", "needs at least the protocol 'simple'"},
        {"{\"all_reduce\": {\"simple\": {\"gb_per_s\": 1}}}", "key 'all_reduce.simple.base_us': is missing"},
        {"{\"all_gather\": {\"nvls\": {\"base_us\": 1, \"gb_per_s\": 1}}}", "key 'all_gather.nvls': unknown"},
        {"{\"all_reduce\": {\"overlap\": 0.5}}", "tiny.json:1:28: key 'all_reduce.overlap': 0.5 is outside"},
        {"{\"all_reduce\": {\"rank_share\": {\"8\": 1, \"2\": 1}}}", "in rising order"},
        {"{\"all_reduce\": {\"rank_share\": {\"x\": 1}}}", "numbers of ranks"},
        {"{\"dispatch\": {}}", "needs 'simple' or 'normal'"},
        {"{\"combine\": {\"normal\": {\"net_gb_per_s\": 1}}}", "key 'combine.normal.nvlink_gb_per_s': is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a = {0};
        struct err e = {0};
        struct collective_model m;
        int rc = parse(&m, cases[i][0], &a, &e);
        if (rc != SIM_E_CONFIG || !strstr(e.msg, cases[i][1])) {
            fail_msg("case %zu: %d '%s' without '%s'", i, rc, e.msg, cases[i][1]);
        }
        arena_release(&a);
    }
    struct arena a = {0};
    struct collective_model m;
    struct collective_choice r;
    assert_int_equal(parse(&m, tiny, &a, NULL), 0);
    struct collective_call odd = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 7, .nodes = 2, .bytes = 1, .host_us = 0};
    struct collective_call none = {.op = COLLECTIVE_ALL_TO_ALL, .ranks = 2, .nodes = 1, .bytes = 1, .host_us = 0};
    struct collective_call nan = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 2, .nodes = 1, .bytes = (double)NAN, .host_us = 0};
    assert_int_equal(collective_time(&m, &odd, &r, NULL), SIM_E_CONFIG);
    assert_int_equal(collective_time(&m, &none, &r, NULL), SIM_E_CONFIG);
    assert_int_equal(collective_time(&m, &nan, &r, NULL), SIM_E_CONFIG);
    arena_release(&a);
}

/* DeepEP's published times of 128 tokens a rank, and twice the tokens; between two published groups the time
 * lies between theirs. 128 * 8 copies of 7168 + 224 bytes are 7.57 MB. */
static void test_experts(void **state)
{
    (void)state;
    static const double rows[][3] = {{8, 77, 114},   {16, 118, 195},  {32, 155, 273},
                                     {64, 173, 314}, {128, 192, 369}, {256, 194, 360}};
    struct arena a = {0};
    struct collective_model m;
    assert_int_equal(collective_load(&m, "deepep-h800-low-latency", getenv("STEELYARD_DATA"), &a, NULL), 0);
    double out = collective_expert_bytes(128, 8, 7168, true);
    double back = collective_expert_bytes(128, 8, 7168, false);
    assert_true(out == 7569408 && back == 14680064);
    for (size_t i = 0; i < 6; i++) {
        uint32_t n = (uint32_t)rows[i][0];
        struct collective_call d = {.op = COLLECTIVE_DISPATCH, .ranks = n, .nodes = 1, .bytes = out, .host_us = 0};
        struct collective_call c = {.op = COLLECTIVE_COMBINE, .ranks = n, .nodes = 1, .bytes = back, .host_us = 0};
        assert_true(fabs(time_of(&m, d) / rows[i][1] - 1) < 0.001);
        assert_true(fabs(time_of(&m, c) / rows[i][2] - 1) < 0.001);
        d.bytes *= 2;
        assert_true(fabs(time_of(&m, d) / rows[i][1] - 2) < 0.002);
    }
    struct collective_call between = {.op = COLLECTIVE_DISPATCH, .ranks = 24, .nodes = 1, .bytes = out, .host_us = 0};
    assert_true(time_of(&m, between) > 118 && time_of(&m, between) < 155);
    arena_release(&a);
}

/* 256 experts, 8 a token. One node: 1 - C(224,8)/C(256,8) = .66183 of its 8 GPUs are hit, 5.2947. Two nodes:
 * 1.99302, half of them remote. Four: 3.61421, three quarters. Eight, held to four: all four, 7/8 of them remote.
 * (Binomials by hand; a simulation of DeepEP's test says 5.31, 1.993, 3.622, 3.985.) 4096 tokens of 7392 bytes. */
static void test_normal_kernels(void **state)
{
    (void)state;
    static const double want[][3] = {{8, 0, 5.294652}, {16, 1.993020 / 2, 6.523280}, {32, 3.614214 * .75, 7.2668},
                                     {64, 3.5, 7.359370}};
    struct arena a = {0};
    struct err e = {0};
    struct collective_model m;
    assert_int_equal(collective_load(&m, "deepep-h800-normal", getenv("STEELYARD_DATA"), &a, &e), 0);
    struct collective_call c = {COLLECTIVE_DISPATCH, 8, 1, collective_expert_bytes(4096, 8, 7168, true), 0,
                                {256, 8, 0, 8, 4}};
    for (size_t i = 0; i < 4; i++) {
        struct reach r = {256, 8, want[i][0], 8, 4};
        struct reach_mean got = reach_mean(&r);
        assert_true(fabs(got.remote - want[i][1]) < 1e-5 && fabs(got.gpus - want[i][2]) < 1e-5);
        c.ranks = (uint32_t)want[i][0];
        double us = 4096 * 7392 * 1e-3 * fmax(want[i][1] / 43.5, want[i][2] / 153);
        assert_true(fabs(time_of(&m, c) / us - 1) < 1e-5);
    }
    c.routed = (struct reach){0};
    struct collective_choice r;
    assert_int_equal(collective_time(&m, &c, &r, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "needs the routing"));
    arena_release(&a);
}

/* More bytes never take less time, more ranks neither (bandwidth tables aside), for every bundled file. */
static void test_monotone(void **state)
{
    (void)state;
    static const char *const names[] = {"nvlink3-a100", "nvlink4-h100", "nvlink5-b200", "pcie4-l40s",
                                        "pcie5-rtx-pro-6000", "h100-tcpx-2x8", "deepep-h800-low-latency",
                                        "deepep-h800-normal"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct arena a = {0};
        struct err e = {0};
        struct collective_model m;
        if (collective_load(&m, names[i], getenv("STEELYARD_DATA"), &a, &e) != 0) {
            fail_msg("%s", e.msg);
        }
        for (int op = 0; op < COLLECTIVE_OPS; op++) {
            for (uint32_t n = 2; m.op[op].known && n <= m.max_ranks; n *= 2) {
                double last = 0;
                for (double bytes = 1; bytes < 1e11; bytes *= 1.7) {
                    double us = time_of(&m, (struct collective_call){(enum collective_op)op, n, 1, bytes, 0, {256, 8, 0, 8, 4}});
                    assert_true(us >= last && us > 0);
                    last = us;
                }
            }
        }
        arena_release(&a);
    }
}

/* ---- the ring as flows ---- */

static const char square[] =
    "{\"nodes\": {\"g[0-5]\": {\"kind\": \"gpu\"}, \"sw\": {\"kind\": \"nvswitch\"}},\n"
    " \"links\": {\"l\": {\"from\": \"g[0-5]\", \"to\": \"sw\", \"bytes_per_s\": 1e9, \"latency_ns\": 500}}}";

struct bench {
    struct arena a;
    struct topology t;
    struct fabric *f;
    struct topo_map *m;
};

static void open_bench(struct bench *b, const char *text)
{
    *b = (struct bench){0};
    struct err e = {0};
    if (topology_parse(&b->t, text, strlen(text), "ring", &b->a, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    b->f = fabric_new(&b->a);
    b->m = topology_attach(&b->t, b->f, &b->a, &e);
}

static sim_ns run_ring(struct bench *b, struct ring *r)
{
    uint64_t tag;
    for (sim_ns now = fabric_next(b->f); now != SIM_NEVER; now = fabric_next(b->f)) {
        while (fabric_poll(b->f, now, &tag)) {
            if (ring_on_flow(r, now, tag)) {
                return now;
            }
        }
    }
    fail_msg("the ring never ended");
    return 0;
}

/* n ranks, S bytes: 2(n-1) rounds of latency + S/n/B when nobody disturbs. 6 ranks, 6 MB at 1 GB/s: 10
 * rounds of 1 us + 1 ms. Every port carries 2(n-1)/n of the size. */
static void test_ring_closed_form(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= 6; n++) {
        struct bench b;
        struct ring r;
        struct err e = {0};
        uint32_t ranks[6] = {0, 1, 2, 3, 4, 5};
        open_bench(&b, square);
        struct ring_spec s = {.map = b.m, .fabric = b.f, .ranks = ranks, .n_ranks = n,
                              .bytes = 1e6 * n, .rounds = 2 * (n - 1), .tag = 100};
        assert_int_equal(ring_begin(&r, &s, 0, &b.a, &e), 0);
        assert_int_equal(run_ring(&b, &r), 2 * (n - 1) * (1000 + 1000000));
        for (uint32_t i = 0; i < n; i++) {
            assert_true(fabric_link_bytes(b.f, b.m->cable[i][TOPO_FORTH]) == 2e6 * (n - 1));
            assert_true(fabric_link_bytes(b.f, b.m->cable[i][TOPO_BACK]) == 2e6 * (n - 1));
        }
        arena_release(&b.a);
    }
}

/* One slow port slows everybody: its rounds take 1 us + 4 ms, and the chain waits for it. All-gather of 3
 * ranks, 3 MB: rank 1 sends at a quarter. Its two chunks leave one after the other: 2 * 4.001 ms; what
 * it sends is relayed by rank 2, which had to wait for it. */
static void test_ring_slow_port(void **state)
{
    (void)state;
    static const char text[] =
        "{\"nodes\": {\"g[0-2]\": {\"kind\": \"gpu\"}, \"sw\": {\"kind\": \"nvswitch\"}}, \"links\": {"
        "\"a\": {\"from\": \"g0\", \"to\": \"sw\", \"bytes_per_s\": 1e9, \"latency_ns\": 500},"
        "\"b\": {\"from\": \"g1\", \"to\": \"sw\", \"bytes_per_s\": 0.25e9, \"back_bytes_per_s\": 1e9, "
        "\"latency_ns\": 500},"
        "\"c\": {\"from\": \"g2\", \"to\": \"sw\", \"bytes_per_s\": 1e9, \"latency_ns\": 500}}}";
    struct bench b;
    struct ring r;
    struct err e = {0};
    uint32_t ranks[3] = {0, 1, 2};
    open_bench(&b, text);
    struct ring_spec s = {.map = b.m, .fabric = b.f, .ranks = ranks, .n_ranks = 3, .bytes = 3e6,
                          .rounds = 2, .tag = 7};
    assert_int_equal(ring_begin(&r, &s, 0, &b.a, &e), 0);
    assert_int_equal(run_ring(&b, &r), 2 * 4001000);
    s.rounds = 0;
    assert_int_equal(ring_begin(&r, &s, 0, &b.a, &e), SIM_E_CONFIG);
    arena_release(&b.a);
}

/* Against the measured busbw of PCIe-only all-reduce, 8 x RTX PRO 6000: 37.6 to 41.1 GB/s (8 MB to 2 GB).
 * Flows know no protocol, so this is an upper bound: the ring crosses each uplink once, both ways. */
static void test_ring_on_machine(void **state)
{
    (void)state;
    struct bench b = {0};
    struct err e = {0};
    uint32_t ranks[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    struct ring r;
    if (topology_load(&b.t, "rtx-pro-6000-8x-2chips", getenv("STEELYARD_DATA"), &b.a, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    b.f = fabric_new(&b.a);
    b.m = topology_attach(&b.t, b.f, &b.a, &e);
    struct ring_spec s = {.map = b.m, .fabric = b.f, .ranks = ranks, .n_ranks = 8, .bytes = 1e9,
                          .rounds = 14};
    assert_int_equal(ring_begin(&r, &s, 0, &b.a, &e), 0);
    struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = 8, .nodes = 1, .bytes = 1e9, .host_us = 0};
    double busbw = collective_busbw(&c, (double)run_ring(&b, &r) * 1e-3);
    assert_true(busbw > 41.1 && busbw < 56.4);
    arena_release(&b.a);
}

/* ---- measured ---- */

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;
    return (a > b) - (a < b);
}

struct measured_set {
    const char *set, *model, *fit_note;
    struct collective_model m;
};

static struct measured_set sets[] = {
    {"a100_sxm", "nvlink3-a100", "2.27.3", {0}},
    {"h100_sxm", "nvlink4-h100", "2.27.3", {0}},
    {"h200_sxm", "nvlink4-h100", "none", {0}},
    {"4xH100 eager", "nvlink4-h100", "scaling run", {0}},
    {"apex H100", "nvlink4-h100", "none", {0}},
    {"apex H200", "nvlink4-h100", "none", {0}},
    {"b200_sxm", "nvlink5-b200", "2.27.3", {0}},
    {"l40s", "pcie4-l40s", "2.27.3", {0}},
    {"rtx_pro_6000_server", "pcie5-rtx-pro-6000", "2.29.2", {0}},
    {"2x8 H100", "h100-tcpx-2x8", "", {0}},
};
#define SETS (sizeof sets / sizeof *sets)

/* Adds the errors of the rows of a set that were not fitted, of one size or (log2_bytes < 0) all. */
static size_t add_errors(const struct measured_rows *rows, const struct measured_set *k, int log2_bytes,
                         double *e, size_t n)
{
    for (size_t i = 0; i < rows->n; i++) {
        const struct measured_row *row = &rows->row[i];
        bool size_ok = log2_bytes < 0 || (int)lround(log2(row->call.bytes)) == log2_bytes;
        if (strcmp(row->set, k->set) == 0 && size_ok && !measured_was_fitted(row, k->set, k->fit_note)) {
            e[n++] = fabs(time_of(&k->m, row->call) / row->us - 1);
        }
    }
    return n;
}

static double median(double *e, size_t n)
{
    qsort(e, n, sizeof *e, by_value);
    return n ? (e[(n - 1) / 2] + e[n / 2]) / 2 : 0;
}

static bool open_rows(struct measured_rows *rows)
{
    const char *shared = getenv("STEELYARD_SHARED");
    char path[1000];
    snprintf(path, sizeof path, "%s/data/profiles", shared ? shared : ".");
    measured_read(rows, path);
    return rows->n > 0;
}

/* Every system within 10 % in the median (12 % where times are whole microseconds of an older NCCL), and
 * every size over all systems. */
static void test_measured(void **state)
{
    (void)state;
    struct measured_rows rows;
    struct arena a = {0};
    if (!open_rows(&rows)) {
        print_message("no measurements under $STEELYARD_SHARED: skipped\n");
        skip();
    }
    double *e = calloc(rows.n, sizeof *e);
    for (size_t i = 0; i < SETS; i++) {
        assert_int_equal(collective_load(&sets[i].m, sets[i].model, getenv("STEELYARD_DATA"), &a, NULL), 0);
        double got = median(e, add_errors(&rows, &sets[i], -1, e, 0));
        if (!(got > 0 && got <= (strcmp(sets[i].set, "apex H100") == 0 ? 0.12 : 0.10))) {
            fail_msg("%s: median error %.3f", sets[i].set, got);
        }
    }
    for (int k = 3; k <= 33; k++) {
        size_t n = 0;
        for (size_t i = 0; i < SETS; i++) {
            n = add_errors(&rows, &sets[i], k, e, n);
        }
        double got = median(e, n);
        if (!(n > 0 && got <= 0.10)) {
            fail_msg("2^%d bytes: median error %.3f of %zu rows", k, got, n);
        }
    }
    free(e);
    measured_free(&rows);
    arena_release(&a);
}

/* Peaks at 8 GB, a size that nobody fitted: ring 348 and 365 GB/s at 2 and 4 GPUs, the switch's reduction
 * 443 at 6; on other machines about 476 at 8. */
static void test_peaks(void **state)
{
    (void)state;
    struct arena a = {0};
    struct collective_model m;
    assert_int_equal(collective_load(&m, "nvlink4-h100", getenv("STEELYARD_DATA"), &a, NULL), 0);
    static const double want[][2] = {{2, 348}, {4, 365}, {6, 443}, {8, 476}};
    for (size_t i = 0; i < 4; i++) {
        struct collective_call c = {.op = COLLECTIVE_ALL_REDUCE, .ranks = (uint32_t)want[i][0], .nodes = 1, .bytes = 8589934592.0, .host_us = 23};
        double got = collective_busbw(&c, time_of(&m, c));
        if (fabs(got / want[i][1] - 1) > (want[i][0] < 8 ? 0.05 : 0.10)) {
            fail_msg("%g GPUs: %g GB/s, measured %g", want[i][0], got, want[i][1]);
        }
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_normal_kernels),
        cmocka_unit_test(test_ring_closed_form),
        cmocka_unit_test(test_ring_slow_port),
        cmocka_unit_test(test_ring_on_machine),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
