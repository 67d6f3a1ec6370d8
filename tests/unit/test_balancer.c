/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert placement in a run: copies and ranks by hand, moves against their ports, and steps against a
 * count of our own. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/placement/balancer.h"

/* Four experts in six slots on two ranks of a node each: 0 1 2 | 3 0 1. */
static const struct place_spec small = {.experts = 4, .slots = 6, .groups = 1, .nodes = 2, .gpus = 2};
static uint32_t small_slot[] = {0, 1, 2, 3, 0, 1}, small_copies[] = {2, 2, 1, 1};

static void replicas_of(struct replicas *x, const struct place_spec *s, uint32_t *slot, uint32_t *copies, struct arena *a)
{
    struct placement p = {*s, slot, copies};
    struct err e = {0};

    assert_int_equal(replicas_init(x, s, a, &e), 0);
    replicas_set(x, &p);
    assert_int_equal(replicas_verify(x, &e), 0);
}

static void send(struct loads *x, uint32_t from, uint16_t a, uint16_t b)
{
    loads_token(x, from, &(struct route){.expert = {a, b}}, 2);
}

/* Tokens (0 1) (0 1) (0 2) of rank 0: in turn, 0 goes to ranks 0 1 0, 1 to 0 1, 2 to 0. Four pairs and two. */
static void test_round_robin(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct replicas p;
    struct loads x;
    struct rank_work w[3];

    replicas_of(&p, &small, small_slot, small_copies, &a);
    assert_int_equal(loads_init(&x, &small, REPLICA_ROUND_ROBIN, true, &a, &e), 0);
    loads_begin(&x, &p);
    assert_true(loads_busiest(&x) == 1 && loads_arrive(&x) == 1);
    assert_int_equal(loads_slowest(&x, w), 0);
    send(&x, 0, 0, 1);
    send(&x, 0, 0, 1);
    send(&x, 0, 0, 2);
    assert_int_equal(x.pairs[0], 4);
    assert_int_equal(x.pairs[1], 2);
    assert_true(fabs(loads_busiest(&x) - 4 / 3.0) < 1e-12);
    /* Once per node: tokens 1 and 3 reach the first, token 2 the second. */
    assert_true(fabs(loads_arrive(&x) - 2 / 1.5) < 1e-12);
    /* Experts 0 1 | 2 3 without copies: five pairs and one. */
    assert_true(fabs(loads_unplaced(&x) - 5 / 3.0) < 1e-12);
    assert_true(fabs(loads_mean_active(&x) - 2.5) < 1e-12);
    assert_int_equal(loads_slowest(&x, w), 1);
    assert_true(w[0].active == 3 && fabs(w[0].load - 4 / 3.0) < 1e-12);
    arena_release(&a);
}

/* A rank sends to its own copy; the least loaded one is where less has gone. */
static void test_choices(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct replicas p;
    struct loads x;
    struct rank_work w[3];

    replicas_of(&p, &small, small_slot, small_copies, &a);
    assert_int_equal(loads_init(&x, &small, REPLICA_STATIC, false, &a, &e), 0);
    loads_begin(&x, &p);
    send(&x, 1, 0, 1);
    send(&x, 1, 0, 1);
    send(&x, 1, 0, 2);
    assert_int_equal(x.pairs[1], 5);
    assert_int_equal(x.pairs[0], 1);
    assert_true(fabs(loads_arrive(&x) - 5 / 3.0) < 1e-12);
    x.choice = REPLICA_LEAST;
    loads_begin(&x, &p);
    send(&x, 1, 2, 3); /* 1 1 */
    send(&x, 1, 2, 0); /* 2 2 */
    send(&x, 1, 2, 1); /* 3 3 */
    assert_int_equal(x.pairs[0], 3);
    assert_int_equal(x.pairs[1], 3);
    /* The second has as many pairs and more experts: it alone may be the slowest. */
    assert_int_equal(loads_slowest(&x, w), 1);
    assert_int_equal(w[0].active, 3);
    arena_release(&a);
}

/* Two nodes of four ranks, expert 0 on ranks 0 and 1 and 2: rank 3 has no copy and sends to one of its node, 4 to 7 have
 * none there and are dealt out: ranks 0 to 3 leave 2 1 1 senders, so 4 takes 1, 5 takes 2, 6 takes 0 and 7 takes 1. */
static void test_static(void **state)
{
    (void)state;
    const struct place_spec s = {.experts = 6, .slots = 8, .groups = 1, .nodes = 2, .gpus = 8};
    uint32_t slot[] = {0, 0, 0, 1, 2, 3, 4, 5}, copies[] = {3, 1, 1, 1, 1, 1};
    const uint32_t want[] = {0, 1, 2, 0, 1, 2, 0, 1};
    struct arena a = {0};
    struct replicas p;

    replicas_of(&p, &s, slot, copies, &a);
    for (uint32_t rank = 0; rank < 8; rank++) {
        assert_int_equal(p.fixed[rank * 6], want[rank]);
        assert_int_equal(p.fixed[rank * 6 + 5], 7);
    }
    arena_release(&a);
}

/* 0 1 | 2 3 | 4 5 to 2 3 | 0 4 | 4 1: six experts of 1 GB over ports of 1 GB/s. Rank 0 receives 2 and 3, both
 * from rank 1, which takes two seconds; rank 1 receives 0 and 4, rank 2 receives 1: rank 0 sends two. */
static void test_moves(void **state)
{
    (void)state;
    const struct place_spec s = {.experts = 6, .slots = 6, .groups = 1, .nodes = 1, .gpus = 3};
    uint32_t slot[] = {0, 1, 2, 3, 4, 5}, copies[] = {1, 1, 1, 1, 1, 1}, then[] = {2, 3, 0, 4, 5, 1};
    const struct moves_config c = {.ranks = 3, .per_node = 3, .bytes_per_s = 1e9, .expert_bytes = 1e9, .calls = 2,
                                   .call_ns = 500};
    struct arena a = {0};
    struct err e = {0};
    struct replicas from, to;
    struct moves x;

    replicas_of(&from, &s, slot, copies, &a);
    replicas_of(&to, &s, then, copies, &a);
    assert_int_equal(moves_init(&x, &c, &a, &e), 0);
    assert_int_equal(moves_start(&x, 1000, &from, &to, &e), 0);
    assert_int_equal(x.under_way, 5); /* 5 has only changed its slot */
    assert_int_equal(x.local, 1);
    assert_int_equal(x.most_received, 2);
    assert_false(moves_done(&x, 2000001999));
    assert_true(moves_done(&x, 2000002001)); /* 1 us, 2 calls, 2 s */
    assert_true(llabs(x.ended_ns - 2000002000) <= 1);
    assert_int_equal(moves_verify(&x, &e), 0);
    assert_true(x.bytes == 5e9);
    assert_int_equal(x.copies, 5);
    assert_int_equal(moves_start(&x, 3000000000, &to, &to, &e), 0);
    assert_true(moves_done(&x, 3000000000));
    arena_release(&a);
}

/* ---- steps ---- */

/* A step of balanced ranks takes a microsecond or so, with half of the link twice that. */
#define UNIT_NS 1024
#define UNIT    ((double)((sim_tick)UNIT_NS << SIM_TICKS_PER_NS_LOG2))

static void mock_iteration(const void *state, const struct batch_shape *s, struct cost_affine *ret)
{
    (void)state;
    *ret = (struct cost_affine){.base = (sim_tick)llround(UNIT * s->spread.load / s->spread.link), .valid = 1};
}

static const struct cost_ops mock = {.name = "mock", .iteration = mock_iteration};

enum { RANKS = 8, EXPERTS = 64, SLOTS = 80, TOKENS = 40 };

static struct balancer_config config(struct routes *r)
{
    return (struct balancer_config){
        .cost = &mock, .source = r, .policy = place_find("eplb"), .layers = 2, .window = 100, .hold = 1, .share = 0.5,
        .threshold = 1,
        .spec = {.experts = EXPERTS, .slots = SLOTS, .groups = 1, .nodes = 1, .gpus = RANKS},
        .moves = {.ranks = RANKS, .per_node = RANKS, .bytes_per_s = 1e9, .expert_bytes = 1e3}, .check = true};
}

static struct routes *router(const char *spec, struct err *e)
{
    struct routes *r = NULL;
    struct routes_env env = {.seed = 7};

    assert_int_equal(routes_open(&r, spec, &env, e), 0);
    return r;
}

static void tokens_of(struct expert_token *tok, uint32_t step)
{
    for (uint32_t i = 0; i < TOKENS; i++) {
        tok[i] = (struct expert_token){.sequence = step * 4 + i / 10, .position = i % 10, .prefill = true};
    }
}

/* Pairs of each rank, an expert's shared by its copies in turn, counted for ourselves. */
static double busiest(struct routes *r, const struct replicas *p, uint32_t layer, const struct expert_token *tok)
{
    uint32_t turn[EXPERTS] = {0}, pairs[RANKS] = {0}, most = 0;
    struct route at;

    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (uint32_t t = 0; t < TOKENS; t++) {
            routes_at(r, tok[t].sequence * RANKS + rank, tok[t].position, layer, &at);
            for (uint32_t k = 0; k < 8; k++) {
                uint32_t nth = turn[at.expert[k]]++ % p->at.copies[at.expert[k]], s = 0;

                for (;; s++) {
                    if (p->at.slot[s] == at.expert[k] && nth-- == 0) {
                        break;
                    }
                }
                pairs[s / (SLOTS / RANKS)]++;
            }
        }
    }
    for (uint32_t i = 0; i < RANKS; i++) {
        most = pairs[i] > most ? pairs[i] : most;
    }
    return most / (TOKENS * 8.0);
}

static void test_steps(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct routes *r = router("synth{preset=olmoe-1b-7b}", &e);
    struct balancer_config c = config(r);
    struct expert_token tok[TOKENS];
    struct batch_shape shape = {.n_prefill = 4, .prefill_tok = TOKENS};
    struct balancer x;
    sim_tick t;

    c.calibration = 512;
    assert_int_equal(balancer_init(&x, &c, &a, &e), 0);
    assert_int_equal(x.layer[0].layer, 4); /* of 16: the middle of each half */
    assert_int_equal(x.layer[1].layer, 12);
    for (uint32_t s = 0; s < 3; s++) {
        tokens_of(tok, s);
        assert_int_equal(balancer_run(&x, &shape, tok, TOKENS, s * 1000000, &t, &e), 0);
        double want = (busiest(r, &x.layer[0].now, 4, tok) + busiest(r, &x.layer[1].now, 12, tok)) / 2;
        assert_true(fabs((double)t / UNIT - want) < 1e-6);
    }
    assert_true(fabs((double)x.count.balanced_ticks / UNIT - 3) < 1e-6);
    balancer_release(&x);
    routes_close(r);
    arena_release(&a);
}

/* Two half batches: each waits for its own busiest rank. With `hold` a step takes the loads of one before it. */
static double half(struct routes *r, const struct balancer *x, const struct expert_token *tok, uint32_t from, uint32_t n)
{
    double sum = 0;

    for (uint32_t l = 0; l < 2; l++) {
        uint32_t turn[EXPERTS] = {0}, pairs[RANKS] = {0}, most = 0;
        const struct replicas *p = &x->layer[l].now;
        struct route at;

        for (uint32_t rank = 0; rank < RANKS; rank++) {
            for (uint32_t t = from; t < from + n; t++) {
                routes_at(r, tok[t].sequence * RANKS + rank, tok[t].position, x->layer[l].layer, &at);
                for (uint32_t k = 0; k < 8; k++) {
                    uint32_t e = at.expert[k];

                    pairs[replicas_rank(p, p->copy[p->first[e] + turn[e]++ % p->at.copies[e]])]++;
                }
            }
        }
        for (uint32_t i = 0; i < RANKS; i++) {
            most = pairs[i] > most ? pairs[i] : most;
        }
        sum += most / (n * 8.0) / 2;
    }
    return sum;
}

static void test_halves(void **state)
{
    (void)state;
    struct arena a = {0};
    struct err e = {0};
    struct routes *r = router("synth{preset=olmoe-1b-7b}", &e);
    struct balancer_config c = config(r);
    struct expert_token tok[TOKENS];
    struct batch_shape shape = {.n_prefill = 4, .prefill_tok = TOKENS};
    struct balancer x;
    sim_tick t, again;

    c.halves = true;
    c.hold = 2;
    assert_int_equal(balancer_init(&x, &c, &a, &e), 0);
    tokens_of(tok, 0);
    assert_int_equal(balancer_run(&x, &shape, tok, TOKENS, 0, &t, &e), 0);
    double want = (half(r, &x, tok, 0, TOKENS / 2) + half(r, &x, tok, TOKENS / 2, TOKENS / 2)) / 2;
    assert_true(fabs((double)t / UNIT - want) < 1e-6);
    tokens_of(tok, 1);
    assert_int_equal(balancer_run(&x, &shape, tok, TOKENS, 1000000, &again, &e), 0);
    assert_int_equal(again, t);
    assert_int_equal(balancer_run(&x, &shape, tok, TOKENS, 2000000, &again, &e), 0);
    assert_int_not_equal(again, t);
    assert_true(x.count.looks == 2 && x.count.steps == 3);
    balancer_release(&x);
    routes_close(r);
    arena_release(&a);
}

/* ---- placed anew ---- */

struct anew {
    struct arena a;
    struct err e;
    struct routes *r;
    struct balancer x;
    uint32_t before[2][SLOTS]; /* by layer looked at */
    double load;               /* of the step before, busiest over mean, as we count it */
    sim_ns at;
};

static void anew_open_with(struct anew *t, bool overlap, struct moves_config moves)
{
    *t = (struct anew){.at = 0};
    t->r = router("synth{preset=olmoe-1b-7b}", &t->e);
    struct balancer_config c = config(t->r);

    c.every = 2;
    c.overlap = overlap;
    c.moves = moves.ranks > 0 ? moves : c.moves;
    assert_int_equal(balancer_init(&t->x, &c, &t->a, &t->e), 0);
    for (uint32_t l = 0; l < 2; l++) {
        memcpy(t->before[l], t->x.layer[l].now.at.slot, sizeof(t->before[l]));
    }
}

static void anew_open(struct anew *t, bool overlap)
{
    anew_open_with(t, overlap, (struct moves_config){.ranks = 0});
}

static void anew_close(struct anew *t)
{
    balancer_release(&t->x);
    routes_close(t->r);
    arena_release(&t->a);
}

/* Time of the step in units; the load is that of the placement which holds at its start. */
static double anew_step(struct anew *t, uint32_t step)
{
    struct batch_shape shape = {.n_prefill = 4, .prefill_tok = TOKENS};
    struct expert_token tok[TOKENS];
    struct replicas held[2];
    sim_tick ticks;

    tokens_of(tok, step);
    for (uint32_t l = 0; l < 2; l++) {
        assert_int_equal(replicas_init(&held[l], &t->x.cfg.spec, &t->a, &t->e), 0);
        replicas_set(&held[l], &t->x.layer[l].now.at);
    }
    t->load = (busiest(t->r, &held[0], 4, tok) + busiest(t->r, &held[1], 12, tok)) / 2;
    assert_int_equal(balancer_run(&t->x, &shape, tok, TOKENS, t->at, &ticks, &t->e), 0);
    t->at += ticks >> SIM_TICKS_PER_NS_LOG2;
    return (double)ticks / UNIT;
}

/* Copies that a rank receives which holds the expert in no other slot. */
static uint32_t missing(const uint32_t *from, const uint32_t *to)
{
    enum { EACH = SLOTS / RANKS };
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS; i++) {
        bool there = false;

        for (uint32_t k = i / EACH * EACH; k < (i / EACH + 1) * EACH; k++) {
            there |= from[k] == to[i];
        }
        n += !there;
    }
    return n;
}

/* The step waits for its copies, which are what ranks did not have, and the next one has the new placement. */
static void test_waiting(void **state)
{
    (void)state;
    struct anew t;

    anew_open(&t, false);
    anew_step(&t, 0);
    double took = anew_step(&t, 1), wait = (double)t.x.moves.busy_ns / UNIT_NS;
    assert_true(wait > 1 && fabs(took - t.load - wait) < 2.0 / UNIT_NS);
    assert_int_equal(t.x.moves.copies, missing(t.before[0], t.x.layer[0].now.at.slot) +
                                           missing(t.before[1], t.x.layer[1].now.at.slot));
    assert_true(t.x.moves.copies > SLOTS / 2);
    assert_true(t.x.count.rebalances == 1 && t.x.count.after < t.x.count.before && t.x.count.after >= 1);
    assert_true(fabs(anew_step(&t, 2) - t.load) < 1e-6);
    anew_close(&t);
}

/* Nothing moves while the window is even enough for the threshold. */
static void test_threshold(void **state)
{
    (void)state;
    struct anew t;

    anew_open(&t, false);
    t.x.cfg.threshold = 0.3; /* as if the busiest rank had to have 3.3 times the mean */
    anew_step(&t, 0);
    anew_step(&t, 1);
    assert_int_equal(t.x.count.rebalances, 0);
    t.x.cfg.threshold = 0.999;
    anew_step(&t, 2);
    anew_step(&t, 3);
    assert_int_equal(t.x.count.rebalances, 1);
    double before = t.x.count.before;
    assert_true(before > 1 && before < 1 / 0.3);
    anew_close(&t);
}

/* Copies beside the steps: these have half of the link and the old placement until all of a layer is there. */
static void test_beside(void **state)
{
    (void)state;
    struct anew t;

    anew_open(&t, true);
    anew_step(&t, 0);
    assert_true(fabs(anew_step(&t, 1) - t.load) < 1e-6);
    assert_true(t.x.moving);
    assert_true(fabs(anew_step(&t, 2) - 2 * t.load) < 1e-6);
    assert_memory_equal(t.before[0], t.x.layer[0].now.at.slot, sizeof(t.before[0]));
    assert_int_equal(t.x.count.wait_ticks, 0);
    t.at += 1000000; /* a millisecond later all is there */
    t.x.cfg.every = 0;
    assert_true(anew_step(&t, 4) < 2);
    assert_false(t.x.moving);
    assert_memory_equal(t.x.layer[1].next.at.slot, t.x.layer[1].now.at.slot, sizeof(t.before[1]));
    assert_int_equal(t.x.moves.copies, missing(t.before[0], t.x.layer[0].next.at.slot) +
                                           missing(t.before[1], t.x.layer[1].next.at.slot));
    anew_close(&t);
}

/* A link of a byte a second: copies of a megabyte each that take days are refused, and those that would take longer than
 * simulated time lasts do not make it wait for ever. */
static void test_forgotten_unit(void **state)
{
    (void)state;
    static const double bytes_per_s[] = {1, 1e-6};

    for (size_t i = 0; i < 2; i++) {
        struct anew t;
        struct batch_shape shape = {.n_prefill = 4, .prefill_tok = TOKENS};
        struct expert_token tok[TOKENS];
        sim_tick ticks;

        anew_open_with(&t, false, (struct moves_config){.ranks = RANKS, .per_node = RANKS, .bytes_per_s = bytes_per_s[i], .expert_bytes = 1e6});
        anew_step(&t, 0);
        tokens_of(tok, 1);
        assert_int_equal(balancer_run(&t.x, &shape, tok, TOKENS, t.at, &ticks, &t.e), SIM_E_CONFIG);
        assert_non_null(strstr(t.e.msg, "placement.link"));
        anew_close(&t);
    }
}

/* ---- drift ---- */

static void popularity(struct routes *r, uint64_t from, double *p)
{
    struct route at;

    memset(p, 0, EXPERTS * sizeof(*p));
    for (uint64_t s = from; s < from + 64; s++) {
        for (uint32_t t = 0; t < 8; t++) {
            routes_at(r, s, t * 16, 3, &at);
            for (uint32_t k = 0; k < 8; k++) {
                p[at.expert[k]] += 1 / 8.0 / 512;
            }
        }
    }
}

/* Correlation of two popularities. */
static double alike(struct routes *r, uint64_t one, uint64_t other)
{
    double p[EXPERTS], q[EXPERTS], pp = 0, qq = 0, pq = 0;

    popularity(r, one, p);
    popularity(r, other, q);
    for (uint32_t i = 0; i < EXPERTS; i++) {
        double a = p[i] - 1.0 / EXPERTS, b = q[i] - 1.0 / EXPERTS;

        pp += a * a;
        qq += b * b;
        pq += a * b;
    }
    return pq / sqrt(pp * qq);
}

/* A subject that forgets within 500 sequences: e^-(64/500) = .88 of it is left 64 later, nothing 100,000 later. */
static void test_drift(void **state)
{
    (void)state;
    struct err e = {0};
    const char *spec = "synth{preset=olmoe-1b-7b,sigma_a=0,w_q=0.6,w_f=0.3,domains=1,domain_share=1%s}";
    char text[200];
    struct routes *r;

    snprintf(text, sizeof(text), spec, ",domain_drift=500");
    r = router(text, &e);
    assert_true(alike(r, 0, 64) > 0.75);
    assert_true(fabs(alike(r, 0, 100000)) < 0.5);
    routes_close(r);
    snprintf(text, sizeof(text), spec, "");
    r = router(text, &e);
    assert_true(alike(r, 0, 100000) > 0.9);
    routes_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_robin), cmocka_unit_test(test_choices), cmocka_unit_test(test_static), cmocka_unit_test(test_moves),
        cmocka_unit_test(test_steps),       cmocka_unit_test(test_halves), cmocka_unit_test(test_waiting), cmocka_unit_test(test_beside), cmocka_unit_test(test_threshold),
        cmocka_unit_test(test_forgotten_unit), cmocka_unit_test(test_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
