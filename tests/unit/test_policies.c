/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of the scheduler policies, with vectors worked out by hand from the rules of their papers. */
#include "policy_harness.h"

#include <zlib.h>

#include "policies/schedule/vtc.h"

/* ---- one queue ---- */

static void test_fcfs(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "fcfs");
    assert_int_equal(h_next(&h), REQ_NONE);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(h_arrive(&h, (struct h_req){.client = i, .prompt = 10, .output = 5}), i);
    }
    assert_null(h.p.ops->blocked); /* nobody overtakes a head that does not fit */
    assert_int_equal(h_admit(&h), 0);
    assert_int_equal(h_admit(&h), 1);
    h_preempt(&h, 1); /* the last admitted goes first, so the oldest ends up in front */
    h_preempt(&h, 0);
    assert_int_equal(h_admit(&h), 0);
    h_drop(&h, 2);
    assert_int_equal(h_admit(&h), 1);
    assert_int_equal(h_admit(&h), 3);
    assert_int_equal(h.p.ops->waiting(h.p.st), 0);
    assert_true(h.p.ops->horizon(h.p.st, &h.v) == UINT64_MAX);
    h_close(&h);
}

static void test_priority(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "priority");
    req_id low = h_arrive(&h, (struct h_req){.priority = 5, .at_s = 0, .prompt = 1, .output = 9});
    req_id b = h_arrive(&h, (struct h_req){.priority = 1, .at_s = 2, .prompt = 1, .output = 9});
    req_id a = h_arrive(&h, (struct h_req){.priority = 1, .at_s = 1, .prompt = 1, .output = 9});
    req_id c = h_arrive(&h, (struct h_req){.priority = 1, .at_s = 2, .prompt = 1, .output = 9});
    req_id top = h_arrive(&h, (struct h_req){.priority = -3, .at_s = 9, .prompt = 1, .output = 9});
    req_id want[] = {top, a, b, c, low};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(h_admit(&h), want[i]);
    }
    assert_int_equal(h.p.ops->victim(h.p.st, &h.v), low);
    h_preempt(&h, low);
    /* b and c are equal in priority and arrival: the later in the trace, who waits behind b, too */
    assert_int_equal(h.p.ops->victim(h.p.st, &h.v), c);
    h_preempt(&h, c);
    assert_int_equal(h_next(&h), c);
    h_close(&h);
}

static void test_shortest_first(void **state)
{
    (void)state;
    struct harness h;
    static const struct h_req load[] = {{.prompt = 5, .output = 9},
                                        {.prompt = 90, .output = 3},
                                        {.prompt = 1, .output = 7},
                                        {.prompt = 90, .output = 3, .at_s = 1}};
    static const struct {
        const char *spec;
        req_id order[4];
    } cases[] = {{"sjf", {1, 3, 2, 0}}, {"sjf{key=total}", {2, 0, 1, 3}}, {"srpt", {1, 3, 2, 0}}};
    for (size_t c = 0; c < 3; c++) {
        h_open(&h, cases[c].spec);
        assert_true(h.env.oracle);
        for (size_t i = 0; i < 4; i++) {
            h_arrive(&h, load[i]);
        }
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(h_admit(&h), cases[c].order[i]);
        }
        h_close(&h);
    }
}

static void test_srpt_remaining(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "srpt");
    req_id a = h_arrive(&h, (struct h_req){.prompt = 1, .output = 10});
    req_id b = h_arrive(&h, (struct h_req){.prompt = 1, .output = 11});
    h_admit(&h);
    h_first(&h, a);
    h_decode(&h, 7); /* a has 2 left */
    h_admit(&h);
    h_first(&h, b); /* b has 10 left */
    assert_int_equal(h.p.ops->victim(h.p.st, &h.v), b);
    h_preempt(&h, b);
    h_preempt(&h, a);
    req_id c = h_arrive(&h, (struct h_req){.prompt = 1, .output = 5});
    assert_int_equal(h_admit(&h), a); /* 2, 5, 10 */
    assert_int_equal(h_admit(&h), c);
    assert_int_equal(h_admit(&h), b);
    h_close(&h);
}

/* ---- requests per minute ---- */

static bool rpm_accepts(struct harness *h, uint32_t client, double at_s)
{
    h->v.now_ns = llround(at_s * 1e9); /* seen at once */
    req_id r = h_arrive(h, (struct h_req){.client = client, .at_s = at_s, .prompt = 1, .output = 1});
    if (r != REQ_NONE) {
        h_drop(h, r); /* keep the slots few; the limit counts arrivals, not what waits */
    }
    return r != REQ_NONE;
}

static void test_rpm_window(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "rpm{limit=2}");
    assert_true(rpm_accepts(&h, 7, 0));
    assert_true(rpm_accepts(&h, 7, 10));
    assert_false(rpm_accepts(&h, 7, 59));
    assert_false(rpm_accepts(&h, 7, 60)); /* an age of exactly 60 s still counts */
    assert_true(rpm_accepts(&h, 3, 60));  /* clients are apart */
    assert_true(rpm_accepts(&h, 7, 60.001));
    assert_false(rpm_accepts(&h, 7, 70)); /* 10 and 60.001: the rejected ones did not count */
    assert_true(rpm_accepts(&h, 7, 70.001));
    h_close(&h);
}

static unsigned rpm_rejections(gzFile f, const char *spec)
{
    struct harness h;
    char line[256];
    unsigned n = 0, client;
    double at_s;
    h_open(&h, spec);
    gzrewind(f);
    while (gzgets(f, line, sizeof line)) {
        if (sscanf(line, "%u,%lf", &client, &at_s) == 2) {
            n += !rpm_accepts(&h, client, at_s);
        }
    }
    h_close(&h);
    return n;
}

/* Rejections that the VTC artifact's GPU runs recorded for its real trace. */
static void test_rpm_real_trace(void **state)
{
    (void)state;
    const char *shared = getenv("STEELYARD_SHARED");
    char path[600];
    snprintf(path, sizeof path, "%s/data/groundtruth/vtc/FCFS_real.csv.gz", shared ? shared : "");
    gzFile f = gzopen(path, "r");
    if (!f) {
        print_message("# skipped: no %s\n", path);
        skip();
    }
    assert_int_equal(rpm_rejections(f, "rpm{limit=5}"), 919);
    assert_int_equal(rpm_rejections(f, "rpm{limit=10}"), 600);
    assert_int_equal(rpm_rejections(f, "rpm{limit=15}"), 447);
    assert_in_range(rpm_rejections(f, "rpm{limit=20}"), 340, 342);
    assert_in_range(rpm_rejections(f, "rpm{limit=30}"), 174, 176);
    gzclose(f);
}

/* ---- VTC ---- */

static double counter(const struct harness *h, uint32_t client)
{
    const struct meter *m = &((const struct vtc *)h->p.st)->meter;
    uint32_t i = client_table_find(&m->accounts, client);
    assert_int_not_equal(i, CLIENT_NONE);
    return (double)meter_account(m, i)->total / METER_UNIT;
}

static void check_counter(const struct harness *h, uint32_t client, double want)
{
    double got = counter(h, client);
    if (fabs(got - want) > 1e-6 * (1 + fabs(want))) {
        print_error("counter of client %u is %.9g, should be %.9g\n", client, got, want);
        fail();
    }
}

static void test_vtc_charges(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc");
    req_id r = h_arrive(&h, (struct h_req){.client = 4, .prompt = 100, .output = 5});
    check_counter(&h, 4, 0);
    h_admit(&h);
    check_counter(&h, 4, 100); /* the prompt, at once */
    h_first(&h, r);
    check_counter(&h, 4, 100); /* the first token is paid in the step after it */
    h_decode(&h, 3);
    check_counter(&h, 4, 106);
    h_decode(&h, 1);
    h_finish(&h, r);
    check_counter(&h, 4, 110); /* 100 + 2 * 5: the last one at its end */
    h_arrive(&h, (struct h_req){.client = 4, .prompt = 7, .output = 1});
    h_serve(&h);
    check_counter(&h, 4, 119);
    h_close(&h);
}

/* Table rows: p = 40, q = 6 served alone. h_profiled = 0.21001891*40 + 0.10075395*6 + 0.0039868*240
 * + 0.00324733*36 + 1.14601454 = 8.4007564 + 0.6045237 + 0.956832 + 0.11690388 + 1.14601454. */
static void test_vtc_costs(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        double weight, want;
    } cases[] = {
        {"vtc", 1, 52},
        {"vtc{wp=3, wq=0.5}", 1, 123},
        {"vtc", 3, 52.0 / 3},
        {"vtc{cost=profiled}", 1, 11.22503052},
        {"vtc{cost=profiled}", 2.5, 11.22503052 / 2.5},
        {"vtc{cost=profiled, profile=1;2;3;4;5}", 1, 40 + 12 + 720 + 144 + 5},
        {"vtc{predict=oracle}", 1, 52},
        {"vtc{predict=oracle, cost=profiled}", 4, 11.22503052 / 4},
        {"vtc{predict=mean}", 1, 52},
        {"vtc{extra_charge=on}", 1, 52}, /* alone: its own last token only */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct harness h;
        h_open(&h, cases[i].spec);
        h_arrive(&h, (struct h_req){.prompt = 40, .output = 6, .weight = cases[i].weight});
        h_serve(&h);
        check_counter(&h, 0, cases[i].want);
        h_close(&h);
    }
}

static void test_vtc_order_and_ties(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc");
    assert_null(h.p.ops->blocked);
    req_id b0 = h_arrive(&h, (struct h_req){.client = 9, .prompt = 10, .output = 5});
    req_id b1 = h_arrive(&h, (struct h_req){.client = 9, .prompt = 10, .output = 5});
    req_id a0 = h_arrive(&h, (struct h_req){.client = 2, .prompt = 10, .output = 5});
    req_id a1 = h_arrive(&h, (struct h_req){.client = 2, .prompt = 10, .output = 5});
    req_id want[] = {b0, a0, b1, a1}; /* 0:0, 10:0, 10:10, 20:10; client 9 came first */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(h_admit(&h), want[i]);
    }
    h_close(&h);
}

/* Client 0 has been served 200 and waits on; client 1 comes for the first time, then leaves, and comes
 * back when nobody waits. */
static void test_vtc_lift(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        double joins, comes_back;
    } cases[] = {
        {"vtc", 200, 230},            /* to client 0; later nobody waits: stays at 200 + 30 */
        {"vtc{lift=paper}", 200, 250}, /* the last to leave was client 0, at 250 */
        {"vtc{lift=off}", 0, 30},
        {"lcf", 0, 30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct harness h;
        h_open(&h, cases[i].spec);
        h_arrive(&h, (struct h_req){.client = 0, .prompt = 198, .output = 1});
        h_serve(&h);
        h_arrive(&h, (struct h_req){.client = 0, .prompt = 48, .output = 1});
        check_counter(&h, 0, 200);
        h_arrive(&h, (struct h_req){.client = 1, .prompt = 28, .output = 1});
        check_counter(&h, 1, cases[i].joins);
        /* with the lift they are equal and client 0 came first; else client 1 goes first */
        h_serve(&h);
        h_serve(&h);
        check_counter(&h, 0, 250);
        if (cases[i].joins == 0) { /* then client 0 left last */
            check_counter(&h, 1, 30);
        }
        h_arrive(&h, (struct h_req){.client = 0, .prompt = 8, .output = 1});
        h_admit(&h); /* client 0 leaves the queue last, at 258 */
        check_counter(&h, 0, 258);
        h_arrive(&h, (struct h_req){.client = 1, .prompt = 1, .output = 1});
        check_counter(&h, 1, i == 1 ? 258 : cases[i].comes_back);
        h_close(&h);
    }
}

/* Nothing runs: all rise to the greatest. Something runs: to its client's counter before it ran. */
static void test_vtc_lift_max(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc{lift=max}");
    h_arrive(&h, (struct h_req){.client = 0, .prompt = 98, .output = 1});
    h_serve(&h); /* 100 */
    h_arrive(&h, (struct h_req){.client = 1, .prompt = 10, .output = 8});
    check_counter(&h, 1, 0);
    req_id r = h_next(&h);
    check_counter(&h, 1, 100);
    h_admit(&h);
    h_tick(&h);
    h_first(&h, r);
    h_decode(&h, 2); /* client 1: 100 + 10 + 4, with 10 prompt and 3 output tokens */
    check_counter(&h, 1, 114);
    h_arrive(&h, (struct h_req){.client = 2, .prompt = 10, .output = 8});
    check_counter(&h, 2, 0);
    h_next(&h);
    check_counter(&h, 2, 101);
    check_counter(&h, 0, 101);
    check_counter(&h, 1, 114);
    h_close(&h);
}

static void test_vtc_weights(void **state)
{
    (void)state;
    struct harness h;
    unsigned got[2] = {0};
    h_open(&h, "vtc");
    for (uint32_t i = 0; i < 40; i++) {
        h_arrive(&h, (struct h_req){.client = i % 2, .prompt = 30, .output = 10,
                                    .weight = i % 2 ? 3 : 1});
    }
    for (uint32_t i = 0; i < 24; i++) {
        req_id r = h_next(&h);
        got[h.reqs[r].client]++;
        h_serve(&h);
    }
    assert_int_equal(got[0], 6); /* 1 : 3 */
    assert_int_equal(got[1], 18);
    h_close(&h);
}

static void test_vtc_extra_charge(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc{extra_charge=on}");
    req_id a = h_arrive(&h, (struct h_req){.client = 0, .prompt = 10, .output = 9});
    req_id b = h_arrive(&h, (struct h_req){.client = 1, .prompt = 20, .output = 3});
    req_id c = h_arrive(&h, (struct h_req){.client = 2, .prompt = 30, .output = 1});
    h_admit(&h);
    h_admit(&h);
    h_tick(&h);
    h_first(&h, a);
    h_first(&h, b);
    h_decode(&h, 2); /* b ends: everybody is charged once more, itself for its last token */
    h_finish(&h, b);
    check_counter(&h, 0, 10 + 4 + 2);
    check_counter(&h, 1, 20 + 4 + 2);
    h_admit(&h);
    h_tick(&h);
    h_first(&h, c); /* a prefill alone: its batch is c only, and c ends with its first token */
    h_finish(&h, c);
    check_counter(&h, 0, 16);
    check_counter(&h, 2, 30 + 2);
    h_decode(&h, 6);
    h_finish(&h, a);
    check_counter(&h, 0, 10 + 18 + 2); /* its nine tokens and one too many */
    h_close(&h);
}

static void test_vtc_extra_charge_in_mixed_step(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc{extra_charge=on, cost=profiled, profile=0;1;0;1;0}");
    req_id a = h_arrive(&h, (struct h_req){.client = 0, .prompt = 1, .output = 9});
    req_id b = h_arrive(&h, (struct h_req){.client = 1, .prompt = 1, .output = 1});
    h_admit(&h);
    h_tick(&h);
    h_first(&h, a);
    h_admit(&h);
    h_decode(&h, 1); /* chunked prefill: a's decode and b's prefill in one step */
    h_first(&h, b);
    h_finish(&h, b);
    check_counter(&h, 1, 1 + 1);
    check_counter(&h, 0, (1 + 1) + (1 + 3)); /* token 1, then token 2 before its time */
    h_decode(&h, 7);
    h_finish(&h, a);
    check_counter(&h, 0, 9 + 81 + 4);
    h_close(&h);
}

static void test_vtc_oracle(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc{predict=oracle}");
    assert_true(h.env.oracle);
    req_id r = h_arrive(&h, (struct h_req){.prompt = 10, .output = 20});
    h_admit(&h);
    check_counter(&h, 0, 50); /* all of it, and no more after it */
    h_first(&h, r);
    h_decode(&h, 19);
    check_counter(&h, 0, 50);
    h_finish(&h, r);
    check_counter(&h, 0, 50);
    h_close(&h);
}

/* First guess 0, then 10, then (4*10+20)/5 = 12, then (4*12+4)/5 = 10.4. */
static void test_vtc_mean_prediction(void **state)
{
    (void)state;
    static const struct {
        uint32_t output;
        double at_admission, at_end;
    } cases[] = {{10, 1, 21}, {20, 42, 62}, {4, 87, 71}, {12, 92.8, 96.8}};
    struct harness h;
    h_open(&h, "vtc{predict=mean}");
    assert_false(h.env.oracle);
    for (size_t i = 0; i < 4; i++) {
        req_id r = h_arrive(&h, (struct h_req){.prompt = 1, .output = cases[i].output});
        h_admit(&h);
        check_counter(&h, 0, cases[i].at_admission);
        h_tick(&h);
        h_first(&h, r);
        h_decode(&h, cases[i].output - 1);
        h_finish(&h, r);
        check_counter(&h, 0, cases[i].at_end);
    }
    h_close(&h);
}

static void test_vtc_predict_range(void **state)
{
    (void)state;
    unsigned over = 0, under = 0;
    for (uint32_t i = 0; i < 200; i++) {
        struct harness h;
        h_open(&h, "vtc{predict=oracle, predict_range=0.5}");
        h.serial = i;
        req_id r = h_arrive(&h, (struct h_req){.prompt = 100, .output = 40});
        h_admit(&h);
        double guess = (counter(&h, 0) - 100) / 2;
        assert_true(guess > 20 && guess < 60);
        h_first(&h, r);
        h_decode(&h, 39);
        h_finish(&h, r);
        /* too high: given back; too low: whole tokens from the next on, so up to one token too much */
        check_counter(&h, 0, guess >= 40 ? 180 : 100 + 2 * (guess + 40 - floor(guess)));
        over += guess > 40;
        under += guess < 40;
        h_close(&h);
    }
    assert_in_range(over, 70, 130);
    assert_int_equal(over + under, 200);
}

static void test_vtc_preempted(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc");
    req_id r = h_arrive(&h, (struct h_req){.client = 0, .prompt = 50, .output = 6});
    req_id next = h_arrive(&h, (struct h_req){.client = 0, .prompt = 50, .output = 6});
    h_admit(&h);
    h_first(&h, r);
    h_decode(&h, 2);
    h_preempt(&h, r);
    assert_int_equal(h.p.ops->waiting(h.p.st), 2);
    assert_int_equal(h_admit(&h), r); /* before its client's others */
    check_counter(&h, 0, 50 + 4);     /* and its prompt is not charged again */
    h_first(&h, r);                   /* its fourth token; the third is due */
    check_counter(&h, 0, 50 + 6);
    h_pause(&h, r);
    h_decode(&h, 5); /* swapped out: no tokens, no charge */
    check_counter(&h, 0, 50 + 6);
    h_resume(&h, r);
    h_decode(&h, 2);
    h_finish(&h, r);
    check_counter(&h, 0, 50 + 12);
    assert_int_equal(h_next(&h), next);
    h_close(&h);
}

/* An engine that plans ahead has a token under way for a request that it pushes out: nobody decodes for
 * it in the policy's eyes, yet it comes out and is paid for. */
static void test_vtc_preempted_under_way(void **state)
{
    (void)state;
    static const char *const specs[] = {"vtc", "vtc{predict=oracle}", "vtc{predict=mean}"};
    for (size_t i = 0; i < 3; i++) {
        struct harness h;
        h_open(&h, specs[i]);
        req_id r = h_arrive(&h, (struct h_req){.prompt = 50, .output = 6});
        h_admit(&h);
        h_first(&h, r);
        h_decode(&h, 2);
        h_preempt(&h, r);
        h.reqs[r].generated_tok++; /* four, while three were seen */
        h_decode(&h, 1);
        h_admit(&h);
        h_first(&h, r);
        h_decode(&h, 1);
        h_finish(&h, r);
        check_counter(&h, 0, 50 + 12);
        assert_true(!i || ((struct vtc *)h.p.st)->clients[0].mean_output == 6);
        h_close(&h);
    }
}

static void test_vtc_bad_weight(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "vtc");
    assert_int_equal(h_arrive(&h, (struct h_req){.weight = 1e-9}), REQ_NONE);
    assert_int_equal(h_arrive(&h, (struct h_req){.weight = INFINITY}), REQ_NONE);
    assert_int_equal(h.p.ops->waiting(h.p.st), 0);
    h_close(&h);
    h_open(&h, "vtc{cost=profiled, profile=0;0;9999;0;0}");
    struct h_req q = {.weight = 1e-4, .prompt = 1000000, .output = 1};
    assert_int_equal(h_arrive(&h, q), REQ_NONE);
    q.weight = 100;
    assert_int_not_equal(h_arrive(&h, q), REQ_NONE);
    h_close(&h);
}

/* ---- deficit round robin ---- */

/* Pool 10 000: quantum 500. A (300-token prompts) runs two, then is 100 in debt; B likewise. */
static void test_mdrr_turns(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "mdrr");
    for (uint32_t i = 0; i < 12; i++) {
        h_arrive(&h, (struct h_req){.client = i % 2, .prompt = 300, .output = 11});
    }
    static const uint32_t want[] = {0, 0, 1, 1, 0, 0, 1, 1};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(h.reqs[h_admit(&h)].client, want[i]);
    }
    /* Deficits: -100 + 500 - 600 = -200 each; A is to have 300 and its turn now. */
    req_id head = h_next(&h);
    assert_int_equal(h.reqs[head].client, 0);
    assert_false(h.p.ops->blocked(h.p.st, &h.v, head));
    for (req_id r = 0; r < 8; r++) {
        h_first(&h, r);
    }
    /* Four requests of A take 8 per iteration: 300 lasts 38 of them (ceil(300 / 8)). */
    assert_int_equal(h.p.ops->horizon(h.p.st, &h.v), 38);
    h_decode(&h, 37);
    assert_int_equal(h_next(&h), head);
    assert_int_equal(h.p.ops->horizon(h.p.st, &h.v), 1);
    h_decode(&h, 1);
    /* A is 4 in debt after a misfit: passed over; B is at -200 - 304 + 500 = -4, then A at 496. */
    assert_int_equal(h.reqs[h_next(&h)].client, 0);
    h_close(&h);
}

static void test_mdrr_passes_over_once(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "mdrr{quantum=100}");
    req_id a = h_arrive(&h, (struct h_req){.client = 0, .prompt = 10, .output = 99});
    h_admit(&h); /* nobody waits: the list is emptied, 90 left */
    h_tick(&h);
    h_first(&h, a);
    req_id a2 = h_arrive(&h, (struct h_req){.client = 0, .prompt = 10, .output = 99});
    req_id b = h_arrive(&h, (struct h_req){.client = 1, .prompt = 10, .output = 99});
    assert_int_equal(h_next(&h), a2);
    assert_false(h.p.ops->blocked(h.p.st, &h.v, a2));
    h_decode(&h, 45); /* 90 - 90 = 0: not in debt, a further quantum */
    assert_int_equal(h_next(&h), a2);
    assert_false(h.p.ops->blocked(h.p.st, &h.v, a2));
    h_decode(&h, 51); /* 100 - 102 = -2: in debt after a misfit, passed over */
    assert_int_equal(h_next(&h), b);
    h_admit(&h);
    assert_int_equal(h_next(&h), a2); /* b's queue is empty; 98 */
    h_close(&h);
}

/* Debts of 10^11 and more quanta: nothing spins, and the least indebted is first. */
static void test_mdrr_deep_debts(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "mdrr{quantum=1, wp=10000}");
    for (uint32_t i = 0; i < 3; i++) {
        h_arrive(&h, (struct h_req){.client = i, .prompt = 100000 - 7 * i, .output = 1,
                                    .weight = 0.01});
        h_arrive(&h, (struct h_req){.client = i, .prompt = 10, .output = 1, .weight = 0.01});
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(h.reqs[h_admit(&h)].client, i);
    }
    static const uint32_t want[] = {2, 1, 0};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(h.reqs[h_admit(&h)].client, want[i]);
    }
    h_close(&h);
}

/* ---- opening ---- */

static void test_open_errors(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"vtcc", "did you mean 'vtc'?"},
        {"nonsense", "no scheduler policy is called 'nonsense'"},
        {"chek(vtc)", "did you mean 'check'?"},
        {"check(log(fcsf))", "did you mean 'fcfs'?"},
        {"vtc{lift=of}", "lift"},
        {"vtc{lft=off}", "lift"},
        {"vtc{cost=profiled, profile=1;2}", "2 coefficients"},
        {"rpm{limit=0}", "limit"},
        {"mdrr{quantum=0.5}", "quantum"},
        {"", "no scheduler policy"},
        {"check(log(check(fcfs)))", "'check' goes around a policy once"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct harness h;
        assert_true(h_try_open(&h, cases[i].spec) < 0);
        if (!strstr(h.err.msg, cases[i].says)) {
            print_error("'%s': %s\n", cases[i].spec, h.err.msg);
            fail();
        }
        h_close(&h);
    }
}

static void test_every_policy_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; policies[i]; i++) {
        assert_int_equal(policies[i]->abi, POLICY_ABI);
        assert_true(strlen(policies[i]->summary) > 10);
        assert_true(strlen(policies[i]->source) > 5);
        assert_ptr_equal(policy_find(policies[i]->name), policies[i]);
        assert_non_null(policies[i]->arrive);
        assert_non_null(policies[i]->next);
        assert_non_null(policies[i]->waiting);
    }
}

/* ---- wrappers ---- */

static void test_log(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "log(rpm{limit=1})");
    assert_string_equal(h.p.ops->name, "log(rpm)");
    assert_null(h.p.ops->blocked);
    assert_int_equal(h.p.ops->caps, policy_find("rpm")->caps);
    h_arrive(&h, (struct h_req){.client = 3, .prompt = 5, .output = 1});
    h_arrive(&h, (struct h_req){.client = 3, .prompt = 5, .output = 1});
    req_id r = h_admit(&h);
    h_preempt(&h, r);
    h_serve(&h);
    assert_string_equal(
        h.log,
        "{\"t_ns\":0,\"do\":\"reject\",\"request\":1,\"client\":3,\"waiting\":1,\"running\":0,"
        "\"why\":\"the client is over its limit of requests per window\"}\n"
        "{\"t_ns\":0,\"do\":\"admit\",\"request\":0,\"client\":3,\"waiting\":0,\"running\":1,"
        "\"cached_tok\":0}\n"
        "{\"t_ns\":0,\"do\":\"preempt\",\"request\":0,\"client\":3,\"waiting\":1,\"running\":0}\n"
        "{\"t_ns\":0,\"do\":\"admit\",\"request\":0,\"client\":3,\"waiting\":0,\"running\":1,"
        "\"cached_tok\":0}\n"
        "{\"t_ns\":1000000,\"do\":\"finish\",\"request\":0,\"client\":3,\"waiting\":0,"
        "\"running\":1}\n");
    h_close(&h);
}

static void expect_violation(struct harness *h, const char *says)
{
    if (h->n_violations == 0 || !strstr(h->violation, says)) {
        print_error("%u violations: %s\n", h->n_violations, h->violation);
        fail();
    }
    h->n_violations = 0;
    h->violation[0] = '\0';
}

static void test_check_watches_the_engine(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "check(log(vtc))");
    assert_string_equal(h.p.ops->name, "check(log(vtc))");
    req_id a = h_arrive(&h, (struct h_req){.prompt = 5, .output = 3});
    req_id b = h_arrive(&h, (struct h_req){.prompt = 5, .output = 3});
    h_next(&h);
    assert_int_equal(h.n_violations, 0);
    h.p.ops->admit(h.p.st, &h.v, b, 0);
    expect_violation(&h, "did not name");
    h.p.ops->first_token(h.p.st, &h.v, a);
    expect_violation(&h, "first_token was called for slot 0, which is waiting");
    h.p.ops->first_token(h.p.st, &h.v, b);
    assert_int_equal(h.n_violations, 0);
    h.p.ops->resume(h.p.st, &h.v, b);
    expect_violation(&h, "resume");
    h.p.ops->decode(h.p.st, &h.v, 0);
    expect_violation(&h, "0 iterations");
    h.p.ops->drop(h.p.st, &h.v, b);
    expect_violation(&h, "decoding");
    h_next(&h); /* the view still counts two */
    expect_violation(&h, "the engine counts 2 waiting requests; there are 1");
    assert_null(strstr(h.log, "}\n{\"t_ns\":0,\"do\":\"admit\"")); /* the twin does not log */
    h_close(&h);
}

static void test_check_watches_the_order(void **state)
{
    (void)state;
    struct harness h;
    h_open(&h, "check(vtc)");
    req_id a = h_arrive(&h, (struct h_req){.prompt = 5, .output = 1});
    req_id b = h_arrive(&h, (struct h_req){.prompt = 5, .output = 1});
    h_admit(&h);
    h_admit(&h);
    h_tick(&h);
    h_first(&h, a);
    h_leave(&h, a);
    expect_violation(&h, "without the finishing");
    h_finishing(&h);
    h_first(&h, b);
    expect_violation(&h, "after the finishing");
    h_leave(&h, b);
    assert_int_equal(h.n_violations, 0);
    h_close(&h);
}

/* A policy that breaks the rule that its `fault` names. */
struct faulty {
    enum { ALTERNATES, INVENTS, MISCOUNTS, SHORT_SIGHTED, GROUPS } fault;
    unsigned asked, decoded, calls;
};

static const char *faulty_arrive(void *st, const struct sched_view *v, req_id r)
{
    (void)st, (void)v, (void)r;
    return NULL;
}

static req_id faulty_next(void *st, const struct sched_view *v)
{
    (void)v;
    struct faulty *f = st;
    switch (f->fault) {
    case ALTERNATES:
        return f->asked++ % 2;
    case INVENTS:
        return 17;
    case SHORT_SIGHTED:
        return f->decoded < 3 ? 0 : 1;
    case GROUPS:
        return f->calls > 1;
    default:
        return 0;
    }
}

static void faulty_decode(void *st, const struct sched_view *v, uint64_t k)
{
    (void)v;
    struct faulty *f = st;
    f->decoded += (unsigned)k;
    f->calls++;
}

static uint64_t faulty_horizon(void *st, const struct sched_view *v)
{
    (void)st, (void)v;
    return 5;
}

static uint32_t faulty_waiting(const void *st)
{
    return ((const struct faulty *)st)->fault == MISCOUNTS ? 1 : 2;
}

static void test_check_watches_the_policy(void **state)
{
    (void)state;
    static const struct policy_ops ops = {
        .name = "faulty", .abi = POLICY_ABI, .arrive = faulty_arrive, .next = faulty_next,
        .decode = faulty_decode, .horizon = faulty_horizon, .waiting = faulty_waiting};
    static const char *const says[] = {
        [ALTERNATES] = "asked twice", [INVENTS] = "names slot 17, which is unknown",
        [MISCOUNTS] = "counts 1 waiting", [SHORT_SIGHTED] = "before its horizon",
        [GROUPS] = "grouped"};
    for (int fault = ALTERNATES; fault <= GROUPS; fault++) {
        struct harness h;
        struct faulty one = {.fault = (unsigned)fault}, two = one;
        h_open(&h, "fcfs");
        h.p.ops->release(h.p.st);
        assert_int_equal(policy_wrap_check_around((struct policy_instance){&ops, &one},
                                                  (struct policy_instance){&ops, &two}, &h.env,
                                                  &h.env, &h.p, &h.err), 0);
        h_arrive(&h, (struct h_req){.prompt = 1, .output = 1});
        h_arrive(&h, (struct h_req){.prompt = 1, .output = 1});
        h_next(&h);
        h.p.ops->horizon(h.p.st, &h.v);
        h_decode(&h, fault == GROUPS ? 2 : 4);
        if (fault == GROUPS) {
            h_next(&h);
        }
        expect_violation(&h, says[fault]);
        h_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fcfs),
        cmocka_unit_test(test_priority),
        cmocka_unit_test(test_shortest_first),
        cmocka_unit_test(test_srpt_remaining),
        cmocka_unit_test(test_rpm_window),
        cmocka_unit_test(test_rpm_real_trace),
        cmocka_unit_test(test_vtc_charges),
        cmocka_unit_test(test_vtc_costs),
        cmocka_unit_test(test_vtc_order_and_ties),
        cmocka_unit_test(test_vtc_lift),
        cmocka_unit_test(test_vtc_lift_max),
        cmocka_unit_test(test_vtc_weights),
        cmocka_unit_test(test_vtc_extra_charge),
        cmocka_unit_test(test_vtc_extra_charge_in_mixed_step),
        cmocka_unit_test(test_vtc_oracle),
        cmocka_unit_test(test_vtc_mean_prediction),
        cmocka_unit_test(test_vtc_predict_range),
        cmocka_unit_test(test_vtc_preempted),
        cmocka_unit_test(test_vtc_preempted_under_way),
        cmocka_unit_test(test_vtc_bad_weight),
        cmocka_unit_test(test_mdrr_turns),
        cmocka_unit_test(test_mdrr_passes_over_once),
        cmocka_unit_test(test_mdrr_deep_debts),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_every_policy_says_what_it_is),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_check_watches_the_engine),
        cmocka_unit_test(test_check_watches_the_order),
        cmocka_unit_test(test_check_watches_the_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
