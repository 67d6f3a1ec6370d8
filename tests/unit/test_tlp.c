/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies as packets: a small one by hand, counts and rates of large ones, and every rule broken once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/fabric/tlp.h"

struct made {
    struct arena a;
    struct tlp_config c;
    struct tlp_stream s;
};

static void make(struct made *m, enum tlp_dir dir, uint64_t bytes, uint64_t addr)
{
    struct err e = {0};
    struct tlp_transfer x = {dir, bytes, addr};
    if (tlp_expand(&m->c, &x, &m->s, &m->a, &e) != 0) {
        fail_msg("%s", e.msg);
    }
}

static struct made start(void)
{
    return (struct made){.c = tlp_default()};
}

static void expect_clean(const struct made *m)
{
    struct tlp_report r;
    struct err e = {0};
    if (tlp_check(&m->c, &m->s, &r, &e) != 0) {
        fail_msg("%s", e.msg);
    }
}

static size_t count(const struct made *m, enum tlp_kind kind, enum tlp_role role)
{
    size_t n = 0;
    for (size_t i = 0; i < m->s.n; i++) {
        n += m->s.row[i].kind == kind && m->s.row[i].role == role;
    }
    return n;
}

/* 700 bytes from 0x1_0000_0f80 to the GPU, payload 256, request 512, boundary 64: the first read ends at
 * the page, 0x80 bytes; the second asks for 512, the third for 60. The second comes in two completions
 * of 256. Headers: 16 + 8 for a read, 12 + 8 + payload for a completion. */
static void test_by_hand(void **state)
{
    (void)state;
    struct made m = start();
    make(&m, TLP_DOWN, 700, 0x100000f80);
    expect_clean(&m);
    static const uint32_t reads[] = {128, 512, 60};
    static const uint32_t parts[] = {128, 256, 256, 60};
    static const uint32_t counts[] = {128, 512, 256, 60};
    uint32_t r = 0;
    uint32_t c = 0;
    for (size_t i = 0; i < m.s.n; i++) {
        const struct tlp *p = &m.s.row[i];
        if (p->role == TLP_DATA && p->kind == TLP_MRD64) {
            assert_int_equal(p->byte_len, reads[r++]);
            assert_int_equal(p->wire_bytes, 24);
        } else if (p->role == TLP_DATA) {
            assert_int_equal(p->kind, TLP_CPLD);
            assert_int_equal(p->byte_len, parts[c]);
            assert_int_equal(p->byte_count, counts[c]);
            assert_int_equal(p->wire_bytes, 20 + parts[c++]);
        }
    }
    assert_int_equal(r, 3);
    assert_int_equal(c, 4);
    assert_int_equal(m.s.row[0].kind, TLP_MWR32); /* the doorbell lies below 4 GiB */
    assert_int_equal(m.s.row[0].t_ps, 0);
    const struct tlp *end = &m.s.row[m.s.n - 1];
    assert_int_equal(end->role, TLP_INTERRUPT);
    assert_int_equal(m.s.n, 1 + 2 + 3 + 4 + 2);
    arena_release(&m.a);
}

/* Bytes that begin and end between double words: 3 bytes at ..1 are one double word, enables 1110; 9 at
 * ..3 are three, 1000 and 1111. */
static void test_byte_enables(void **state)
{
    (void)state;
    static const struct {
        uint64_t addr, bytes;
        uint32_t dw, first, last;
    } rows[] = {{0x1001, 3, 1, 0xe, 0}, {0x1003, 9, 3, 0x8, 0xf}, {0x1000, 5, 2, 0xf, 0x1},
                {0x1002, 1, 1, 0x4, 0}};
    for (size_t i = 0; i < 4; i++) {
        struct made m = start();
        make(&m, TLP_UP, rows[i].bytes, rows[i].addr);
        expect_clean(&m);
        for (size_t k = 0; k < m.s.n; k++) {
            const struct tlp *p = &m.s.row[k];
            if (p->role == TLP_DATA) {
                assert_int_equal(p->len_dw, rows[i].dw);
                assert_int_equal(p->first_be, rows[i].first);
                assert_int_equal(p->last_be, rows[i].last);
                assert_int_equal(p->wire_bytes, 12 + 8 + 4 * rows[i].dw);
            }
        }
        arena_release(&m.a);
    }
}

/* An expert of 17.3 MB (3 * 2048 * 1408 in 16 bit), requests 512, payload 256: 33.8 k reads and 67.6 k
 * completions; long copies reach the analytic rate. */
static void test_counts_and_rates(void **state)
{
    (void)state;
    uint64_t bytes = 3ull * 2048 * 1408 * 2;
    struct made m = start();
    make(&m, TLP_DOWN, bytes, 0x200000000);
    expect_clean(&m);
    assert_int_equal(count(&m, TLP_MRD64, TLP_DATA), bytes / 512);
    assert_int_equal(count(&m, TLP_CPLD, TLP_DATA), bytes / 256);
    double rate = (double)bytes / ((double)m.s.data_ps * 1e-12);
    assert_true(fabs(rate / pcie_read_bytes_per_s(&m.c.pcie) - 1) < 0.01);
    arena_release(&m.a);
    m = start();
    make(&m, TLP_UP, bytes, 0x200000000);
    expect_clean(&m);
    assert_int_equal(count(&m, TLP_MWR64, TLP_DATA), bytes / 256);
    rate = (double)bytes / ((double)m.s.data_ps * 1e-12);
    assert_true(fabs(rate / pcie_write_bytes_per_s(&m.c.pcie) - 1) < 0.01);
    arena_release(&m.a);
}

/* With few tags: tags * request / round trip. Four reads of 512 under way, 250 + 300 + 250 ns and what the
 * wire takes (24 B and 2 * 276 B at 54.6 or so GB/s: 10.6 ns): 2048 / 810.6 ns. */
static void test_latency_bound(void **state)
{
    (void)state;
    struct made m = start();
    m.c.tags = 4;
    make(&m, TLP_DOWN, 1 << 20, 0x200000000);
    expect_clean(&m);
    double rate = (1 << 20) / ((double)m.s.data_ps * 1e-3);
    assert_true(fabs(rate / (2048 / 810.6) - 1) < 0.03);
    arena_release(&m.a);
}

/* With few posted credits: 64 units are 1024 bytes per 250 ns there and 350 ns until they are back, and the
 * wire's time of a packet (5 ns). */
static void test_credit_bound(void **state)
{
    (void)state;
    struct made m = start();
    m.c.credits.posted_data = 64;
    m.c.credit_return_ps = 350000;
    make(&m, TLP_UP, 1 << 20, 0x200000000);
    expect_clean(&m);
    double rate = (1 << 20) / ((double)m.s.data_ps * 1e-3);
    assert_true(fabs(rate / (1024 / 605.0) - 1) < 0.05);
    arena_release(&m.a);
}

static uint64_t draw(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (*s * 2685821657736338717u) >> 20;
}

/* Any legal setting, any place and size: all rules hold and all bytes are there once. */
static void test_random(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 400; i++) {
        uint64_t s = i * 0x9e3779b97f4a7c15u;
        struct made m = start();
        static const uint32_t lanes[] = {1, 2, 4, 8, 12, 16};
        m.c.pcie = (struct pcie_config){1 + draw(&s) % 6, lanes[draw(&s) % 6], 128u << draw(&s) % 6,
                                        128u << draw(&s) % 6};
        m.c.rcb_byte = 64u << draw(&s) % 2;
        m.c.tags = 1 + draw(&s) % 64;
        m.c.credits = (struct tlp_credits){1 + draw(&s) % 20, m.c.pcie.max_payload_byte / 16 + draw(&s) % 99,
                                           1 + draw(&s) % 20};
        m.c.propagation_ps = draw(&s) % 500000;
        m.c.read_latency_ps = draw(&s) % 500000;
        m.c.credit_return_ps = draw(&s) % 500000;
        uint64_t bytes = 1 + draw(&s) % 50000;
        uint64_t addr = (draw(&s) % 4 ? 0x100000000 : 0xffff8000) + draw(&s) % 40000;
        enum tlp_dir dir = draw(&s) % 2 ? TLP_UP : TLP_DOWN;
        make(&m, dir, bytes, addr);
        expect_clean(&m);
        uint64_t moved = 0;
        for (size_t k = 0; k < m.s.n; k++) {
            const struct tlp *p = &m.s.row[k];
            moved += p->role == TLP_DATA && (p->kind == TLP_CPLD || dir == TLP_UP) ? p->byte_len : 0;
        }
        assert_int_equal(moved, bytes);
        arena_release(&m.a);
    }
}

/* ---- every rule broken once ---- */

static struct tlp *nth(struct made *m, enum tlp_kind kind, enum tlp_role role, size_t n)
{
    for (size_t i = 0; i < m->s.n; i++) {
        if (m->s.row[i].kind == kind && m->s.row[i].role == role && n-- == 0) {
            return &m->s.row[i];
        }
    }
    fail_msg("there is no such packet");
    return NULL;
}

static void swap_places(struct tlp *x, struct tlp *y)
{
    struct tlp t = *x;
    *x = *y;
    *y = t;
    int64_t at = x->t_ps;
    x->t_ps = y->t_ps;
    y->t_ps = at;
}

static void spoil(struct made *m, enum tlp_rule rule)
{
    struct tlp *done = nth(m, TLP_CPLD, TLP_DATA, 5);
    struct tlp *read = nth(m, TLP_MRD64, TLP_DATA, 2);
    switch (rule) {
    case TLP_RULE_COMPLETION:
        done->byte_count += 4;
        break;
    case TLP_RULE_COMPLETE:
        m->s.row[m->s.n - 3].byte_len -= 4; /* the last completion */
        m->s.row[m->s.n - 3].len_dw--;
        m->s.row[m->s.n - 3].wire_bytes -= 4;
        break;
    case TLP_RULE_TAG:
        nth(m, TLP_MRD64, TLP_DATA, 3)->tag = read->tag;
        break;
    case TLP_RULE_SIZE:
        read->byte_len = 516;
        break;
    case TLP_RULE_BOUNDARY:
        done = nth(m, TLP_CPLD, TLP_DATA, 4);
        done->byte_len -= 32;
        done->len_dw -= 8;
        done->wire_bytes -= 32;
        break;
    case TLP_RULE_CREDIT:
        m->c.credits.nonposted_header = 1;
        break;
    case TLP_RULE_SERIAL:
        done->t_ps -= 1000;
        break;
    case TLP_RULE_CAUSE:
        read->cause = nth(m, TLP_MWR64, TLP_SEMAPHORE, 0)->id;
        break;
    case TLP_RULE_ORDER:
        swap_places(nth(m, TLP_MWR64, TLP_SEMAPHORE, 0), nth(m, TLP_MWR32, TLP_INTERRUPT, 0));
        break;
    case TLP_RULE_VISIBLE:
        nth(m, TLP_MWR64, TLP_SEMAPHORE, 0)->t_ps = nth(m, TLP_CPLD, TLP_DATA, 31)->t_ps;
        break;
    case TLP_RULES:
        break;
    }
}

static void test_broken_rules(void **state)
{
    (void)state;
    for (int rule = 0; rule < TLP_RULES; rule++) {
        struct made m = start();
        struct tlp_report r;
        struct err e = {0};
        make(&m, TLP_DOWN, 8192, 0x200000000);
        expect_clean(&m);
        spoil(&m, (enum tlp_rule)rule);
        assert_int_equal(tlp_check(&m.c, &m.s, &r, &e), SIM_E_CHECK);
        if (r.broken[rule] == 0 || r.first[rule] == 0) {
            fail_msg("not seen: %s", tlp_rule_text((enum tlp_rule)rule));
        }
        arena_release(&m.a);
    }
}

static void test_impossible(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct made m = start();
        struct err e = {0};
        struct tlp_transfer x = {TLP_DOWN, i == 0 ? 0 : i == 1 ? TLP_MAX_BYTES + 1ull : 64, 0x1000};
        m.c.pcie.lanes = i == 2 ? 3 : 16;
        m.c.rcb_byte = i == 3 ? 32 : 64;
        m.c.tags = i == 4 ? 0 : 8;
        m.c.credits.posted_data = i == 5 ? 15 : 16;
        m.c.propagation_ps = i == 6 ? -1 : 0;
        x.host_addr = i == 7 ? UINT64_MAX : 0x1000;
        assert_int_equal(tlp_expand(&m.c, &x, &m.s, &m.a, &e), SIM_E_CONFIG);
        assert_true(e.msg[0] != '\0');
        arena_release(&m.a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),          cmocka_unit_test(test_byte_enables),
        cmocka_unit_test(test_counts_and_rates), cmocka_unit_test(test_latency_bound),
        cmocka_unit_test(test_credit_bound),     cmocka_unit_test(test_random),
        cmocka_unit_test(test_broken_rules),     cmocka_unit_test(test_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
