/* SPDX-License-Identifier: Apache-2.0
 *
 * Topologies: files and their errors, routes against a search of all ways, and measured machines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/fabric/topology.h"

/* ---- reading ---- */

static int parse(struct topology *t, const char *text, struct arena *a, struct err *e)
{
    return topology_parse(t, text, strlen(text), "x/box.json", a, e);
}

static void test_ranges(void **state)
{
    (void)state;
    struct arena a = {0};
    struct topology t;
    struct err e = {0};
    static const char text[] =
        "{\"nodes\": {\"gpu[2-5]\": {\"kind\": \"gpu\"}, \"s[0-1]\": {\"kind\": \"pcie-switch\"},\n"
        " \"m\": {\"kind\": \"memory\", \"bytes_per_s\": 7}},\n"
        " \"links\": {\"up\": {\"from\": \"gpu[2-5]\", \"to\": \"s[0-1]\", \"bytes_per_s\": 3},\n"
        "  \"host\": {\"from\": \"s[0-1]\", \"to\": \"m\", \"bytes_per_s\": 5, \"back_bytes_per_s\": 4}}}";
    assert_int_equal(parse(&t, text, &a, &e), 0);
    assert_string_equal(t.name, "box");
    assert_int_equal(t.n_nodes, 7);
    assert_int_equal(t.n_links, 6);
    assert_int_equal(t.kinds[TOPO_GPU], 4);
    assert_string_equal(t.nodes[0].name, "gpu2");
    assert_string_equal(t.links[2].name, "up[2]");
    static const uint32_t to[] = {4, 4, 5, 5}; /* blocks of two */
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(t.links[i].end[0], i);
        assert_int_equal(t.links[i].end[1], to[i]);
        assert_true(t.links[i].bytes_per_s[TOPO_BACK] == 3);
    }
    assert_int_equal(t.links[5].end[1], 6);
    assert_true(t.links[5].bytes_per_s[TOPO_FORTH] == 5 && t.links[5].bytes_per_s[TOPO_BACK] == 4);
    assert_int_equal(topology_nth(&t, TOPO_PCIE_SWITCH, 1), 5);
    assert_int_equal(topology_nth(&t, TOPO_GPU, 4), UINT32_MAX);
    uint32_t n;
    assert_int_equal(topology_node(&t, "gpu6", &n, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "has no node 'gpu6'"));
    arena_release(&a);
}

static void test_errors(void **state)
{
    (void)state;
#define NODES "{\"nodes\": {\"g[0-2]\": {\"kind\": \"gpu\"}, \"sw[0-1]\": {\"kind\": \"root\"}},\n"
    static const char *const cases[][2] = {
        {"[]", "x/box.json:1:1: an object"},
        {"{\"nodes\": {}, \"links\": {}}", "there is no node"},
        {"{\"links\": {}}", "key 'nodes': is missing"},
        {"{\"nodse\": {}, \"links\": {}}", "x/box.json:1:11: key 'nodse': unknown; did you mean 'nodes'?"},
        {"{\"nodes\": {\"a\": {\"kind\": \"gpus\"}}, \"links\": {}}", "'gpus' is not known; did you mean 'gpu'?"},
        {"{\"nodes\": {\"a\": {\"kind\": 3}}, \"links\": {}}", "key 'nodes.a.kind': a text is expected"},
        {"{\"nodes\": {\"a[3-1]\": {\"kind\": \"gpu\"}}, \"links\": {}}", "a name or a range"},
        {"{\"nodes\": {\"a[0-9999]\": {\"kind\": \"gpu\"}}, \"links\": {}}", "a name or a range"},
        {"{\"nodes\": {\"a[0-1]\": {\"kind\": \"gpu\"}, \"a1\": {\"kind\": \"gpu\"}}, \"links\": {}}",
         "there is a node 'a1' already"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sv1\", \"bytes_per_s\": 1}}}",
         "x/box.json:2:37: key 'links.l.to': there is no node 'sv1'; did you mean 'sw1'?"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"g0\", \"bytes_per_s\": 1}}}", "both ends are 'g0'"},
        {NODES "\"links\": {\"l\": {\"from\": \"g[0-2]\", \"to\": \"sw[0-1]\", \"bytes_per_s\": 1}}}",
         "3 ends cannot be spread evenly over 2"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sw0\"}}}", "key 'links.l.bytes_per_s': is missing"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sw0\", \"bytes_per_s\": 0}}}", "0 is outside 1.."},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sw0\", \"gen\": 4, \"lanes\": 3}}}",
         "there is no PCI Express of generation 4 with 3 lanes"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sw0\", \"gen\": 4.5}}}", "4.5 is not a whole number"},
        {NODES "\"links\": {\"l\": {\"from\": \"g0\", \"to\": \"sw0\", \"gne\": 4}}}", "did you mean 'gen'?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena a = {0};
        struct topology t;
        struct err e = {0};
        int rc = parse(&t, cases[i][0], &a, &e);
        if (rc != SIM_E_CONFIG || !strstr(e.msg, cases[i][1])) {
            fail_msg("case %zu: %d '%s' without '%s'", i, rc, e.msg, cases[i][1]);
        }
        arena_release(&a);
    }
}

static void test_names(void **state)
{
    (void)state;
    struct arena a = {0};
    struct topology t;
    struct err e = {0};
    assert_int_equal(topology_load(&t, "dgx-h10", getenv("STEELYARD_DATA"), &a, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "did you mean 'dgx-h100'?"));
    struct err io = {0};
    assert_int_equal(topology_load(&t, "none/x.json", NULL, &a, &io), SIM_E_IO);
    arena_release(&a);
}

/* ---- routes against all simple ways ---- */

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

/* A text such as a person would write, of up to 7 nodes and 10 cables. */
static void random_text(char *text, size_t size, uint64_t *s)
{
    uint32_t nodes = 2 + below(s, 6);
    uint32_t cables = 1 + below(s, 10);
    size_t n = (size_t)snprintf(text, size, "{\"nodes\": {");
    for (uint32_t i = 0; i < nodes; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s\"n%u\": {\"kind\": \"%s\"}", i ? ", " : "", i,
                              topo_kind_name((enum topo_kind)below(s, TOPO_KINDS)));
    }
    n += (size_t)snprintf(text + n, size - n, "}, \"links\": {");
    for (uint32_t i = 0; i < cables; i++) {
        uint32_t from = below(s, nodes);
        n += (size_t)snprintf(text + n, size - n,
                              "%s\"c%u\": {\"from\": \"n%u\", \"to\": \"n%u\", \"bytes_per_s\": %u, "
                              "\"back_bytes_per_s\": %u}", i ? ", " : "", i, from,
                              (from + 1 + below(s, nodes - 1)) % nodes, 1 + below(s, 4), 1 + below(s, 4));
    }
    snprintf(text + n, size - n, "}}");
}

struct best {
    uint32_t hops;
    double width;
};

static bool relays(enum topo_kind k)
{
    return k != TOPO_GPU && k != TOPO_MEMORY && k != TOPO_NVME;
}

static void all_ways(const struct topology *t, uint32_t at, uint32_t to, bool *seen, uint32_t hops,
                     double width, struct best *b)
{
    if (at == to) {
        if (hops < b->hops || (hops == b->hops && width > b->width)) {
            *b = (struct best){hops, width};
        }
        return;
    }
    if (hops > 0 && !relays(t->nodes[at].kind)) {
        return;
    }
    seen[at] = true;
    for (uint32_t i = 0; i < t->n_links; i++) {
        const struct topo_link *l = &t->links[i];
        for (int d = 0; d < 2; d++) {
            if (l->end[d] == at && !seen[l->end[!d]]) {
                all_ways(t, l->end[!d], to, seen, hops + 1, fmin(width, l->bytes_per_s[d]), b);
            }
        }
    }
    seen[at] = false;
}

/* The cables of a path, taken in some order, lead from one end to the other. */
static void check_way(const struct topo_map *m, const struct topo_route *r, uint32_t from, uint32_t to)
{
    uint32_t at = from;
    for (uint32_t step = 0; step < r->hops; step++) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < m->topo->n_links && next == UINT32_MAX; i++) {
            for (int d = 0; d < 2; d++) {
                for (uint32_t k = 0; k < r->n_path; k++) {
                    if (m->cable[i][d] == r->path[k] && m->topo->links[i].end[d] == at) {
                        next = m->topo->links[i].end[!d];
                    }
                }
            }
        }
        assert_int_not_equal(next, UINT32_MAX);
        at = next;
    }
    assert_int_equal(at, to);
}

static void check_routes(const struct topology *t, struct arena *a)
{
    struct err e = {0};
    struct topo_map *m = topology_attach(t, fabric_new(a), a, &e);
    assert_non_null(m);
    for (uint32_t x = 0; x < t->n_nodes; x++) {
        for (uint32_t y = 0; y < t->n_nodes; y++) {
            struct best b = {UINT32_MAX, 0};
            bool seen[8] = {false};
            struct topo_route r;
            struct err none = {0};
            all_ways(t, x, y, seen, 0, HUGE_VAL, &b);
            int rc = topology_route(m, x, y, &r, &none);
            assert_int_equal(rc, b.hops == UINT32_MAX ? SIM_E_CONFIG : 0);
            if (rc == 0) {
                assert_int_equal(r.hops, b.hops);
                assert_true(r.bytes_per_s == b.width);
                assert_int_equal(r.n_path, b.hops);
                check_way(m, &r, x, y);
            }
        }
    }
}

static void test_random_routes(void **state)
{
    (void)state;
    char text[4096];
    for (uint64_t c = 1; c <= 1000; c++) {
        uint64_t s = c * 0x9e3779b97f4a7c15u;
        struct arena a = {0};
        struct topology t;
        struct err e = {0};
        random_text(text, sizeof text, &s);
        assert_int_equal(topology_parse(&t, text, strlen(text), "r", &a, &e), 0);
        check_routes(&t, &a);
        arena_release(&a);
    }
}

/* ---- bundled machines ---- */

struct machine {
    struct arena a;
    struct topology t;
    struct fabric *f;
    struct topo_map *m;
};

static void open_machine(struct machine *x, const char *name)
{
    struct err e = {0};
    *x = (struct machine){0};
    if (topology_load(&x->t, name, getenv("STEELYARD_DATA"), &x->a, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    x->f = fabric_new(&x->a);
    x->m = topology_attach(&x->t, x->f, &x->a, &e);
    assert_non_null(x->m);
}

static struct topo_route way(const struct machine *x, const char *from, const char *to)
{
    struct topo_route r = {0};
    struct err e = {0};
    uint32_t p = 0;
    uint32_t q = 0;
    if (topology_node(&x->t, from, &p, &e) || topology_node(&x->t, to, &q, &e) ||
        topology_route(x->m, p, q, &r, &e)) {
        fail_msg("%s", e.msg);
    }
    return r;
}

/* A flow without end; read its first cable after a second. */
static void flood(struct machine *x, const struct topo_route *r)
{
    struct flow_spec s = {.path = r->path, .n_path = r->n_path, .bytes = 1e15, .weight = r->weight};
    assert_int_not_equal(fabric_start_flow(x->f, 0, &s), FLOW_NONE);
}

static double gb_of(struct machine *x, const char *from, const char *to)
{
    for (uint32_t i = 0; i < x->t.n_links; i++) {
        for (int d = 0; d < 2; d++) {
            const struct topo_link *l = &x->t.links[i];
            if (strcmp(x->t.nodes[l->end[d]].name, from) == 0 &&
                strcmp(x->t.nodes[l->end[!d]].name, to) == 0) {
                return fabric_link_bytes(x->f, x->m->cable[i][d]) / 1e9;
            }
        }
    }
    fail_msg("no cable from %s to %s", from, to);
    return 0;
}

static void second(struct machine *x)
{
    uint64_t tag;
    assert_false(fabric_poll(x->f, 1001000000, &tag)); /* latencies are below a millisecond */
}

static bool within(double got, double want, double share)
{
    if (fabs(got / want - 1) > share) {
        print_message("# got %g, want %g\n", got, want);
    }
    return fabs(got / want - 1) <= share;
}

/* GPU g writes to (g+s) mod 8; mean GB/s per GPU, measured on two machines (voipmonitor/rtx6kpro). */
static double shift(const char *name, uint32_t s)
{
    struct machine x;
    open_machine(&x, name);
    for (uint32_t g = 0; g < 8; g++) {
        char from[8];
        char to[8];
        snprintf(from, sizeof from, "gpu%u", g);
        snprintf(to, sizeof to, "gpu%u", (g + s) % 8);
        struct topo_route r = way(&x, from, to);
        flood(&x, &r);
    }
    second(&x);
    double sum = 0;
    for (uint32_t i = 0; i < 8; i++) {
        sum += fabric_link_bytes(x.f, x.m->cable[i][TOPO_FORTH]) / 1e9;
    }
    arena_release(&x.a);
    return sum / 8 / 1.001;
}

static void test_shift_patterns(void **state)
{
    (void)state;
    static const double one_uplink[] = {50.1, 38.2, 25.7, 12.75, 25.6, 38.0, 50.0};
    static const double split[] = {51.6, 39.2, 32.8, 25.6, 32.8, 39.2, 51.5};
    for (uint32_t s = 1; s <= 7; s++) {
        assert_true(within(shift("rtx-pro-6000-8x-2chips", s), one_uplink[s - 1], 0.05));
        assert_true(within(shift("rtx-pro-6000-8x-4uplinks", s), split[s - 1], 0.05));
    }
}

/* Eight GPUs copy at once: 114.1 GB/s to and 112.8 from the GPUs over two root complexes, 73.1 and 72.9
 * over one quadrant; a single GPU 55.0 and 56.4. */
static void host_copies(const char *name, bool in, double want)
{
    struct machine x;
    open_machine(&x, name);
    for (uint32_t g = 0; g < 8; g++) {
        char gpu[8];
        snprintf(gpu, sizeof gpu, "gpu%u", g);
        struct topo_route r = in ? way(&x, "dram", gpu) : way(&x, gpu, "dram");
        flood(&x, &r);
    }
    second(&x);
    double got = in ? gb_of(&x, "dram", "socket") : gb_of(&x, "socket", "dram");
    assert_true(within(got, want, 0.05));
    arena_release(&x.a);
}

static void test_host_copies(void **state)
{
    (void)state;
    host_copies("rtx-pro-6000-8x-2chips", true, 114.1);
    host_copies("rtx-pro-6000-8x-2chips", false, 112.8);
    host_copies("rtx-pro-6000-8x-1root", true, 73.1);
    host_copies("rtx-pro-6000-8x-1root", false, 72.9);
    struct machine x;
    open_machine(&x, "rtx-pro-6000-8x-2chips");
    assert_true(within(way(&x, "dram", "gpu5").bytes_per_s, 55.0e9, 0.05));
    assert_true(within(way(&x, "gpu5", "dram").bytes_per_s, 56.4e9, 0.05));
    arena_release(&x.a);
}

static void both_ways(const char *name, const char *dram, const char *up, double out, double in,
                      double share)
{
    struct machine x;
    open_machine(&x, name);
    struct topo_route r = way(&x, "gpu0", dram);
    struct topo_route q = way(&x, dram, "gpu0");
    assert_true(q.bytes_per_s > 1.2 * in * 1e9); /* alone it is faster */
    flood(&x, &r);
    flood(&x, &q);
    second(&x);
    assert_true(within(gb_of(&x, "gpu0", up), out, share));
    assert_true(within(gb_of(&x, up, "gpu0"), in, share));
    arena_release(&x.a);
}

/* nvbandwidth: A100 SXM 24.8 alone, both ways D2H 24 and H2D 11; PCIe 4.0 H2D 26.0 alone, 18.4 to 19.6
 * while D2H runs at its 26. */
/* Four GPUs below a switch write: three to GPUs behind the other root port and one to host memory behind their own,
 * 13.5 GB/s together instead of one uplink's 56.4; three of them alone, or all to one root port, do not. Reads
 * the other way are what they were. */
static void test_collapse(void **state)
{
    (void)state;
    static const char *const to[][4] = {{"gpu4", "gpu5", "gpu6", "dram"}, {"gpu4", "gpu5", "gpu6", "gpu7"},
                                        {"gpu4", "gpu5", "dram", NULL}};
    /* Four flows into one uplink are held by its way down. */
    static const double want[2][3] = {{56.4e9, 55e9, 56.4e9}, {13.5e9, 55e9, 56.4e9}};

    for (int faults = 0; faults < 2; faults++) {
        for (size_t i = 0; i < 3; i++) {
            struct arena a = {0};
            struct err e = {0};
            struct topology t;
            double bytes = 0;
            sim_ns end = 0;

            assert_int_equal(topology_load(&t, "rtx-pro-6000-8x-2chips", getenv("STEELYARD_DATA"), &a, &e), 0);
            t.faults = faults;
            struct fabric *f = fabric_new(&a);
            struct topo_map *m = topology_attach(&t, f, &a, &e);
            assert_non_null(m);
            for (uint32_t k = 0; k < 4 && to[i][k]; k++) {
                struct topo_route r;
                uint32_t node;

                assert_int_equal(topology_node(&t, to[i][k], &node, &e), 0);
                assert_int_equal(topology_route(m, topology_nth(&t, TOPO_GPU, k), node, &r, &e), 0);
                assert_int_not_equal(r.source, 0);
                fabric_start_flow(f, 0, &(struct flow_spec){.path = r.path, .n_path = r.n_path, .bytes = 1e9,
                                                            .source = r.source, .sink = r.sink});
                bytes += 1e9;
                assert_int_equal(topology_route(m, node, topology_nth(&t, TOPO_GPU, k), &r, &e), 0);
                assert_true(strcmp(to[i][k], "dram") != 0 || r.source == 0);
            }
            for (sim_ns at; (at = fabric_next(f)) != SIM_NEVER; end = at) {
                assert_int_equal(fabric_deliver(f, at, &e), 0);
            }
            assert_true(fabs(bytes / ((double)end / 1e9) / want[faults][i] - 1) < 0.005);
            arena_release(&a);
        }
    }
}

static void test_duplex(void **state)
{
    (void)state;
    both_ways("hgx-a100", "dram0", "switch0", 24, 11, 0.1);
    both_ways("workstation-2socket", "dram0", "root0", 26, 19, 0.1);
    both_ways("pcie4-x16-1x", "dram", "socket", 26, 19, 0.1);
}

/* GPUs use NVLink where there is one, the sockets where there is none; memory is shared by all. */
static void test_bundled_routes(void **state)
{
    (void)state;
    struct machine x;
    open_machine(&x, "a100-nvlink-pairs");
    assert_int_equal(way(&x, "gpu0", "gpu1").hops, 1);
    assert_int_equal(way(&x, "gpu0", "gpu2").hops, 5);
    assert_int_equal(way(&x, "gpu1", "dram0").hops, 3);
    assert_int_equal(way(&x, "gpu1", "dram0").n_path, 4); /* three cables and the memory's own limit */
    arena_release(&x.a);
    open_machine(&x, "dgx-h100");
    assert_true(way(&x, "gpu0", "gpu1").bytes_per_s == 450e9); /* not the switch that both hang on */
    assert_int_equal(way(&x, "gpu0", "nic1").hops, 2);
    arena_release(&x.a);
    open_machine(&x, "dgx-h100-2x");
    struct topo_route far = way(&x, "gpu1", "gpu12");
    assert_int_equal(far.hops, 6); /* switch, card, network, card, switch */
    assert_true(far.bytes_per_s == 50e9);
    assert_int_equal(far.latency_ns, 1600);
    arena_release(&x.a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),         cmocka_unit_test(test_errors),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_random_routes),
        cmocka_unit_test(test_shift_patterns), cmocka_unit_test(test_host_copies),
        cmocka_unit_test(test_collapse), cmocka_unit_test(test_duplex),         cmocka_unit_test(test_bundled_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
