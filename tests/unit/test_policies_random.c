/* SPDX-License-Identifier: Apache-2.0
 *
 * Properties of scheduler policies over random lives of requests: two instances see the same events,
 * one of them with jumps of decode iterations taken apart, and must stay alike. */
#include "policy_harness.h"

#include "policies/schedule/vtc.h"

#define CLIENTS    5
#define ROUNDS     160
#define SEEDS      12
#define QUEUE_FULL 40

struct twins {
    struct harness a, b; /* b takes decode(k) in single iterations */
    struct rng_stream rng;
    uint64_t draw;
    bool one_client, least, watch_next, exact_horizon, counters;
};

static const double weights[CLIENTS] = {1, 3, 0.7, 1, 2};

static uint32_t pick(struct twins *t, uint32_t lo, uint32_t hi)
{
    return (uint32_t)rng_range(t->rng, 0, t->draw++, lo, hi);
}

/* The client that goes first by looking at all of them, as the paper's algorithm has it. */
static void check_least(const struct vtc *v, req_id next)
{
    uint32_t best = CLIENT_NONE;
    for (uint32_t i = 0; i < v->meter.accounts.n; i++) {
        if (v->clients[i].fifo.count > 0 &&
            (best == CLIENT_NONE || meter_account(&v->meter, i)->total < meter_account(&v->meter, best)->total)) {
            best = i;
        }
    }
    assert_int_equal(next, best == CLIENT_NONE ? REQ_NONE : v->clients[best].fifo.head);
}

static void twins_alike(struct twins *t)
{
    req_id r = h_next(&t->a);
    assert_int_equal(h_next(&t->a), r); /* asking changes nothing */
    assert_int_equal(h_next(&t->b), r);
    assert_int_equal(t->a.p.ops->waiting(t->a.p.st), t->a.v.n_waiting);
    if (t->least) {
        check_least(t->a.p.st, r);
        check_least(t->b.p.st, r);
    }
    if (!t->counters) {
        return;
    }
    const struct meter *a = &((struct vtc *)t->a.p.st)->meter;
    const struct meter *b = &((struct vtc *)t->b.p.st)->meter;
    for (uint32_t i = 0; i < a->accounts.n; i++) {
        assert_true(meter_account(a, i)->total == meter_account(b, i)->total);
        assert_true(meter_account(a, i)->step == meter_account(b, i)->step);
    }
}

static void arrivals(struct twins *t)
{
    for (uint32_t n = pick(t, 0, 3); n > 0 && t->a.v.n_waiting < QUEUE_FULL; n--) {
        struct h_req q = {.client = t->one_client ? 3 : pick(t, 0, CLIENTS - 1),
                          .prompt = pick(t, 1, 300), .output = pick(t, 1, 60),
                          .ttft_ms = (float)pick(t, 0, 40), .tpot_ms = (float)pick(t, 0, 3),
                          .e2e_ms = (float)(pick(t, 0, 2) * 60), .session = pick(t, 0, 6), .turn = pick(t, 0, 3), .cached = pick(t, 0, 40),
                          .priority = (int)pick(t, 0, 2), .at_s = (double)t->a.v.now_ns * 1e-9};
        q.weight = weights[q.client];
        req_id r = h_arrive(&t->a, q);
        assert_int_equal(h_arrive(&t->b, q), r);
        twins_alike(t);
    }
}

static void admissions(struct twins *t)
{
    while (t->a.v.n_running < 12 && h_next(&t->a) != REQ_NONE && pick(t, 0, 2)) {
        assert_int_equal(h_admit(&t->a), h_admit(&t->b));
        twins_alike(t);
    }
    req_id r = h_next(&t->a);
    if (r != REQ_NONE && t->a.p.ops->blocked) {
        assert_false(t->a.p.ops->blocked(t->a.p.st, &t->a.v, r));
        assert_false(t->b.p.ops->blocked(t->b.p.st, &t->b.v, r));
    }
}

static bool due(const struct twins *t, req_id r)
{
    const struct req *q = &t->a.reqs[r];
    return q->state == REQ_DECODING && req_generated(&t->a.v, q) == t->a.output[r];
}

static void finish_due(struct twins *t)
{
    bool told = false;
    for (req_id r = 0; r < H_SLOTS; r++) {
        if (!due(t, r)) {
            continue;
        }
        if (!told) {
            h_finishing(&t->a);
            h_finishing(&t->b);
            told = true;
        }
        h_leave(&t->a, r);
        h_leave(&t->b, r);
    }
    twins_alike(t);
}

static void first_tokens(struct twins *t)
{
    for (req_id r = 0; r < H_SLOTS; r++) {
        if (t->a.reqs[r].state == REQ_PREFILLING) {
            h_first(&t->a, r);
            h_first(&t->b, r);
        }
    }
}

/* Decode iterations that can be done before a request is through; 0 = nobody decodes. */
static uint32_t room(const struct twins *t)
{
    uint32_t least = 0;
    for (req_id r = 0; r < H_SLOTS; r++) {
        if (t->a.reqs[r].state == REQ_DECODING) {
            uint32_t left = t->a.output[r] - req_generated(&t->a.v, &t->a.reqs[r]);
            least = least == 0 || left < least ? left : least;
        }
    }
    return least;
}

/* `k` iterations: at once for a, one by one for b, whose answer must hold until a's horizon. */
static void decode(struct twins *t, uint32_t k)
{
    uint64_t horizon =
        t->a.p.ops->horizon && t->a.v.n_waiting ? t->a.p.ops->horizon(t->a.p.st, &t->a.v) : 0;
    req_id named = h_next(&t->b);
    sim_ns end_ns = t->a.v.now_ns + (sim_ns)k * H_STEP_NS;
    if (horizon > 0 && !t->watch_next) {
        k = k < horizon ? k : (uint32_t)horizon; /* next() changes state: it must be asked then */
        end_ns = t->a.v.now_ns + (sim_ns)k * H_STEP_NS;
    }
    h_decode(&t->a, k);
    for (uint32_t i = 1; i <= k; i++) {
        h_decode(&t->b, 1);
        if (i < horizon) {
            assert_int_equal(h_next(&t->b), named);
        } else if (i == horizon && t->exact_horizon) {
            assert_int_not_equal(h_next(&t->b), named);
        }
    }
    assert_true(t->b.v.now_ns == end_ns && t->a.v.now_ns == end_ns);
    twins_alike(t);
}

static void step(struct twins *t)
{
    bool mixed = pick(t, 0, 1);
    if (mixed && room(t) > 0) {
        decode(t, 1);
    } else {
        h_tick(&t->a);
        h_tick(&t->b);
    }
    first_tokens(t);
    finish_due(t);
    uint32_t most = room(t);
    if (most > 0) {
        decode(t, pick(t, 1, most));
        finish_due(t);
    }
}

/* Some decoding request, or REQ_NONE. */
static req_id some(struct twins *t, enum req_state in)
{
    req_id r = pick(t, 0, H_SLOTS - 1);
    return t->a.reqs[r].state == in ? r : REQ_NONE;
}

static void mishaps(struct twins *t)
{
    req_id r = some(t, REQ_DECODING);
    if (r != REQ_NONE) {
        h_preempt(&t->a, r);
        h_preempt(&t->b, r);
    }
    if ((r = some(t, REQ_DECODING)) != REQ_NONE) {
        h_pause(&t->a, r);
        h_pause(&t->b, r);
    }
    for (r = 0; r < H_SLOTS; r++) {
        if (t->a.reqs[r].state == REQ_SWAPPED && pick(t, 0, 1)) {
            h_resume(&t->a, r);
            h_resume(&t->b, r);
        }
    }
    if ((r = some(t, REQ_WAITING)) != REQ_NONE && pick(t, 0, 3) == 0) {
        h_drop(&t->a, r);
        h_drop(&t->b, r);
    }
    twins_alike(t);
}

static void live(struct twins *t, const char *spec_a, const char *spec_b, uint64_t seed)
{
    t->rng = rng_stream(seed, 0, "test");
    t->draw = 0;
    h_open(&t->a, spec_a);
    h_open(&t->b, spec_b);
    for (unsigned i = 0; i < ROUNDS; i++) {
        arrivals(t);
        admissions(t);
        step(t);
        mishaps(t);
    }
    if (t->a.n_violations || t->b.n_violations) {
        print_error("%s, seed %u: %s%s\n", spec_a, (unsigned)seed, t->a.violation, t->b.violation);
        fail();
    }
    h_close(&t->a);
    h_close(&t->b);
}

static void test_vtc_jumps(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool exact_horizon;
    } cases[] = {
        {"vtc", true},
        {"vtc{extra_charge=on}", true},
        {"vtc{cost=profiled}", true},
        {"vtc{cost=profiled, extra_charge=on, lift=paper}", true},
        {"vtc{cost=profiled, profile=1;50;-0.1;-0.3;2}", true}, /* charges that shrink */
        {"lcf", true},
        {"vtc{predict=oracle, predict_range=0.5}", false},
        {"vtc{predict=oracle, predict_range=0.7, cost=profiled}", false},
        {"vtc{predict=mean, extra_charge=on}", false},
        {"vtc{predict=mean, cost=profiled}", false},
        {"equinox{predictor=none, beta=0, delta=2}", true},
        {"equinox", false},
        {"equinox{predictor=none, alpha=0, beta=1}", false},
    };
    struct twins t = {.watch_next = true, .counters = true};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t.exact_horizon = cases[i].exact_horizon;
        t.least = strncmp(cases[i].spec, "equinox", 7) != 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            live(&t, cases[i].spec, cases[i].spec, seed);
        }
    }
}

static void test_other_jumps(void **state)
{
    (void)state;
    static const char *const specs[] = {"fcfs", "priority", "sjf", "srpt", "rpm{limit=3}", "mdrr",
                                        "mdrr{quantum=37.5, extra_charge=on}", "vtc{lift=max}",
                                        "ltr", "ltr{starve=7}", "uwfq", "justitia", "dlpm{quantum=30}",
                                        "fairserve{limit=3, max_running=4}", "edf", "least-slack",
                                        "autellix{bucket=50}", "autellix{rule=atlas}",
                                        "srpt{preemptive=on}", "fastswitch", "fastswitch{pattern=random}",
                                        "jitserve{frame=5, batch=3}", "slos-serve{frame=3, token_budget=40}",
                                        "edf{preemptive=on}", "autellix{bucket=30, preemptive=on}"};
    struct twins t = {.watch_next = false};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            live(&t, specs[i], specs[i], seed);
        }
    }
}

static void test_check_finds_nothing(void **state)
{
    (void)state;
    struct twins t = {.watch_next = false};
    for (size_t i = 0; policies[i]; i++) {
        char spec[80];
        snprintf(spec, sizeof spec, "check(log(%s))", policies[i]->name);
        for (uint64_t seed = 0; seed < 4; seed++) {
            live(&t, spec, spec, seed);
        }
    }
}

/* alpha 1, beta 0, delta 0: the user's counter alone, undiminished, is VTC's. */
static void test_equinox_is_vtc(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"vtc", "predictor=none"},
        {"vtc{lift=paper, wq=3}", "predictor=none, lift=paper, wq=3"},
        {"vtc{lift=off, extra_charge=on}", "predictor=none, lift=off, extra_charge=on"},
        {"vtc{predict=oracle}", "predictor=oracle"},
    };
    struct twins t = {.watch_next = true, .counters = true};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char spec[120];
        snprintf(spec, sizeof spec, "equinox{wq=2, alpha=1, beta=0, delta=0, %s}", pairs[i][1]);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            live(&t, pairs[i][0], spec, seed);
        }
    }
}

/* With one client there is nobody to be fair to. */
static void test_one_client_is_fcfs(void **state)
{
    (void)state;
    static const char *const specs[] = {"vtc", "lcf", "vtc{cost=profiled}", "vtc{lift=max}",
                                        "vtc{lift=paper, predict=mean}", "mdrr"};
    struct twins t = {.one_client = true};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            live(&t, "fcfs", specs[i], seed);
        }
    }
}

/* Every finished request has paid h(p, q) exactly once, however its life went. */
static void test_charges_add_up(void **state)
{
    (void)state;
    static const char *const specs[] = {"lcf", "lcf{predict=oracle}",
                                        "lcf{cost=profiled, profile=1;2;0.25;0.5;8}"};
    for (size_t i = 0; i < 3; i++) {
        struct twins t = {.counters = true, .watch_next = true};
        double want[CLIENTS] = {0};
        t.rng = rng_stream(99, 0, "test");
        h_open(&t.a, specs[i]);
        h_open(&t.b, specs[i]);
        for (unsigned n = 0; n < ROUNDS; n++) {
            uint64_t before = t.a.serial;
            arrivals(&t);
            for (req_id r = 0; r < H_SLOTS; r++) {
                const struct req *q = &t.a.reqs[r];
                if (q->state == REQ_WAITING && q->serial >= before) {
                    double p = q->prompt_tok, out = t.a.output[r];
                    double more = i == 2 ? 0.25 * p * out + 0.5 * out * out + 8 : 0;
                    want[q->client] += (p + 2 * out + more) / weights[q->client];
                }
            }
            admissions(&t);
            step(&t);
            req_id r = some(&t, REQ_DECODING);
            if (r != REQ_NONE) {
                h_preempt(&t.a, r);
                h_preempt(&t.b, r);
            }
        }
        while (t.a.v.n_waiting + t.a.v.n_running > 0) {
            admissions(&t);
            step(&t);
        }
        const struct meter *m = &((struct vtc *)t.a.p.st)->meter;
        for (uint32_t c = 0; c < CLIENTS; c++) {
            double got = (double)meter_account(m, client_table_find(&m->accounts, c))->total;
            assert_true(want[c] > 1000); /* weights are float */
            assert_true(fabs(got / METER_UNIT - want[c]) < 1e-6 * want[c]);
        }
        h_close(&t.a);
        h_close(&t.b);
    }
}

/* ---- the heap, against sorting ---- */

static int by_key(const void *a, const void *b)
{
    const struct req_heap_item *x = a, *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    if (x->then != y->then) {
        return x->then < y->then ? -1 : 1;
    }
    return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static void test_heap(void **state)
{
    (void)state;
    struct rng_stream rng = rng_stream(5, 0, "heap");
    for (uint64_t round = 0; round < 50; round++) {
        struct req_heap h = {0};
        struct req_heap_item in[200], left[200];
        uint32_t n = (uint32_t)rng_range(rng, round, 0, 1, 200), n_left = 0;
        for (uint32_t i = 0; i < n; i++) {
            in[i] = (struct req_heap_item){.key = (int64_t)rng_range(rng, round, 3 * i + 1, 0, 9) - 5,
                                           .then = (int64_t)rng_range(rng, round, 3 * i + 2, 0, 3),
                                           .serial = i ^ 37, .r = i * 3};
            assert_true(req_heap_reach(&h, in[i].r));
            req_heap_push(&h, in[i]);
        }
        for (uint32_t i = 0; i < n; i++) {
            if (rng_range(rng, round, 3 * i + 3, 0, 2) == 0) {
                req_heap_remove(&h, in[i].r);
                req_heap_remove(&h, in[i].r); /* absent: nothing happens */
            } else {
                left[n_left++] = in[i];
            }
        }
        qsort(left, n_left, sizeof *left, by_key);
        for (uint32_t i = 0; i < n_left; i++) {
            assert_int_equal(req_heap_top(&h), left[i].r);
            req_heap_remove(&h, left[i].r);
        }
        assert_int_equal(req_heap_top(&h), REQ_NONE);
        req_heap_release(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vtc_jumps),         cmocka_unit_test(test_other_jumps),
        cmocka_unit_test(test_check_finds_nothing), cmocka_unit_test(test_one_client_is_fcfs),
        cmocka_unit_test(test_charges_add_up),    cmocka_unit_test(test_heap),
        cmocka_unit_test(test_equinox_is_vtc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
