/* SPDX-License-Identifier: Apache-2.0
 *
 * Several replicas behind a router, against what must hold whatever the router: replicas that get fixed
 * requests are engines of their own, the state that a router sees is the one that the rows of the run tell of
 * afterwards, jumping changes nothing, closed loops follow answers from any replica. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/core/rng.h"
#include "sim/run.h"

#define MOST 600

/* ---- traces ---- */

struct text {
    char s[128 * 1024];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    t->n += (size_t)vsnprintf(t->s + t->n, sizeof(t->s) - t->n, fmt, ap);
    va_end(ap);
    assert_true(t->n < sizeof(t->s));
}

/* Conversations whose prompts grow, among strangers that share heads of prompts; many come at the same
 * time. Of request i only those with i mod `every` == `rest` are written. */
static void talk(struct text *t, uint64_t seed, int n, int every, int rest)
{
    struct rng_stream r = rng_stream(seed, 0, "talk");
    int turns[12] = {0};
    int64_t us = 0;

    t->n = 0;
    say(t, "time_s,client,prompt_tokens,output_tokens,session,turn,gap_s,hash_tokens,hash_ids\n");
    for (int i = 0; i < n; i++) {
        uint64_t e = (uint64_t)i;
        int session = (int)rng_range(r, e, 0, 0, 17), turn = session < 12 ? turns[session]++ : 0;
        uint32_t blocks = session < 12 ? 2 + 2 * (uint32_t)turn : (uint32_t)rng_range(r, e, 1, 1, 8);

        us += rng_range(r, e, 2, 0, 2) ? (int64_t)rng_range(r, e, 3, 0, 250000) : 0;
        if (i % every != rest) {
            continue;
        }
        say(t, "%.6f,c%d,%u,%u,%d,%d,%.3f,16,", (double)us / 1e6, session % 4, 16 * blocks + (uint32_t)rng_range(r, e, 4, 0, 15),
            (uint32_t)rng_range(r, e, 5, 1, 120), session < 12 ? session + 1 : 0, turn, 0.01 * (session % 3));
        for (uint32_t b = 0; b < blocks; b++) {
            say(t, "%s%u", b ? " " : "", b == 0 ? 1 : 1000 * (uint32_t)(session + 1) + b);
        }
        say(t, "\n");
    }
}

/* ---- one run ---- */

struct play {
    struct arena arena;
    struct run_result result;
    struct request_row row[MOST]; /* as they left */
    int n, rc;
    struct err err;
};

static int keep(void *ctx, const struct request_row *r, struct err *e)
{
    struct play *p = ctx;

    (void)e;
    assert_true(p->n < MOST);
    p->row[p->n] = *r;
    p->row[p->n++].client_name = NULL;
    return 0;
}

static void play_close(struct play *p)
{
    arena_release(&p->arena);
    free(p);
}

/* `set`: "key", "value", ..., NULL. */
static struct play *play(const struct text *t, const char *const *set)
{
    char path[] = "/tmp/steelyard-cluster-XXXXXX";
    struct play *p = calloc(1, sizeof(*p));
    struct run_hooks h = {.request = keep, .ctx = p};
    struct run_config c;
    int fd = mkstemp(path);

    assert_true(p && fd >= 0);
    assert_int_equal(write(fd, t->s, t->n), (ssize_t)t->n);
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &p->arena, &p->err), 0);
    c.trace = path;
    c.cost = "linear{set=custom,prefill_a=3,prefill_b=0.05,decode_a=8,decode_b=0.001,decode_c=0.3}";
    c.kv_tokens = 1600;
    c.check = true;
    for (; *set; set += 2) {
        assert_int_equal(opt_set_by_name(run_options, &c, "", set[0], set[1], &p->arena, &p->err), 0);
    }
    p->rc = run_execute(&c, &h, &p->result, &p->arena, &p->err);
    unlink(path);
    return p;
}

static struct play *play_well(const struct text *t, const char *const *set)
{
    struct play *p = play(t, set);

    if (p->rc < 0) {
        fail_msg("%s", p->err.msg);
    }
    return p;
}

static const struct request_row *row_of(const struct play *p, uint64_t serial)
{
    for (int i = 0; i < p->n; i++) {
        if (p->row[i].serial == serial) {
            return &p->row[i];
        }
    }
    fail_msg("request %" PRIu64 " never left", serial);
    return NULL;
}

/* ---- fixed shares are engines of their own ---- */

static const char *const batchers_here[] = {"vllm-v1", "vllm-v1{version=0.13}", "vllm-v0", "sglang",
                                            "lightllm-slora{adapter_tok=0}"};
#define N_BATCHERS (sizeof(batchers_here) / sizeof(batchers_here[0]))

static void test_fixed_shares(void **state)
{
    static struct text all, part;
    uint64_t compared = 0;

    (void)state;
    for (size_t b = 0; b < N_BATCHERS; b++) {
        const char *const policy = b % 2 ? "srpt" : "fcfs";
        const char *const together[] = {"replicas", "3", "router", "round-robin", "batcher", batchers_here[b],
                                        "policy", policy, "engine.request_delay", "0.004", NULL};
        const char *const alone[] = {"batcher", batchers_here[b], "policy", policy, "engine.request_delay",
                                     "0.004", NULL};
        struct play *three;

        talk(&all, 5 + b, 150, 1, 0);
        three = play_well(&all, together);
        assert_int_equal(three->n, 150);
        for (int i = 0; i < 3; i++) {
            struct play *one;

            talk(&part, 5 + b, 150, 3, i);
            one = play_well(&part, alone);
            for (uint64_t k = 0; k < 50; k++) {
                const struct request_row *x = row_of(three, 3 * k + (uint64_t)i), *y = row_of(one, k);

                assert_int_equal(x->replica, i);
                assert_int_equal(x->arrival_ns, y->arrival_ns);
                assert_int_equal(x->admit_ns, y->admit_ns);
                assert_int_equal(x->first_token_ns, y->first_token_ns);
                assert_int_equal(x->finish_ns, y->finish_ns);
                assert_int_equal(x->cached_tok, y->cached_tok);
                assert_int_equal(x->preemptions, y->preemptions);
                compared += x->finish_ns != SIM_NEVER;
            }
            play_close(one);
        }
        play_close(three);
    }
    assert_true(compared > 700);
}

/* ---- the state that a router sees ---- */

static void test_outstanding_is_exact(void **state)
{
    static struct text t;
    static const char *const set[] = {"replicas", "4", "router", "least-outstanding", "engine.request_delay",
                                      "0.003", NULL};
    uint32_t next = 0;
    int ties = 0;

    (void)state;
    talk(&t, 77, 180, 1, 0);
    struct play *p = play_well(&t, set);
    assert_int_equal(p->n, 180);
    for (uint64_t s = 0; s < 180; s++) {
        sim_ns seen = row_of(p, s)->arrival_ns + 3000000;
        int there[4] = {0};
        uint32_t best;

        for (uint64_t o = 0; o < s; o++) { /* sent before; whoever ends at this very time has left */
            const struct request_row *x = row_of(p, o);

            there[x->replica] += x->finish_ns > seen;
        }
        best = next % 4;
        for (uint32_t k = 1; k < 4; k++) {
            uint32_t i = (next + k) % 4;

            ties += there[i] == there[best];
            best = there[i] < there[best] ? i : best;
        }
        assert_int_equal(row_of(p, s)->replica, best);
        next = best + 1;
    }
    assert_true(ties > 20 && ties < 500);
    play_close(p);
}

/* A router that looks only once counts what it sends, and never hears of an answer: the least is the next in
 * turn. One that looks every 50 ms sees what an exact one sees at the first request after that. */
static void test_old_views(void **state)
{
    static struct text t;
    static const char *const once[] = {"replicas", "4", "router", "least-outstanding", "routing.poll", "1000000",
                                       NULL};
    static const char *const often[] = {"replicas", "4", "router", "least-outstanding", "routing.poll", "0.05", NULL};
    uint32_t next = 0;
    sim_ns look = 0;
    int there[4] = {0};

    (void)state;
    talk(&t, 77, 180, 1, 0);
    struct play *p = play_well(&t, once);
    for (uint64_t s = 0; s < 180; s++) {
        assert_int_equal(row_of(p, s)->replica, s % 4);
    }
    play_close(p);
    p = play_well(&t, often);
    for (uint64_t s = 0; s < 180; s++) {
        sim_ns now = row_of(p, s)->arrival_ns;
        uint32_t best = next % 4;

        if (now >= look) {
            look = now + 50000000;
            memset(there, 0, sizeof(there));
            for (uint64_t o = 0; o < s; o++) {
                there[row_of(p, o)->replica] += row_of(p, o)->finish_ns > now;
            }
        }
        for (uint32_t k = 1; k < 4; k++) {
            best = there[(next + k) % 4] < there[best] ? (next + k) % 4 : best;
        }
        assert_int_equal(row_of(p, s)->replica, best);
        there[best]++;
        next = best + 1;
    }
    play_close(p);
}

/* An answer that ends when a request comes is over: steps end first. Steps take 10 ms. Request 0 goes to
 * replica 0, request 1 to replica 1, where it ends at 31 ms; request 2 comes then, and a tie would go to 0. */
static void test_ends_come_first(void **state)
{
    static struct text t;
    static const char *const set[] = {"replicas", "2", "router", "least-outstanding", "cost",
                                      "linear{set=custom,prefill_a=10,decode_a=10}", NULL};

    (void)state;
    t.n = 0;
    say(&t, "time_s,prompt_tokens,output_tokens\n0,16,100\n0.001,16,3\n0.031,16,1\n");
    struct play *p = play_well(&t, set);
    assert_int_equal(row_of(p, 0)->replica, 0);
    assert_int_equal(row_of(p, 1)->replica, 1);
    assert_int_equal(row_of(p, 1)->finish_ns, 31000000);
    assert_int_equal(row_of(p, 2)->replica, 1);
    assert_int_equal(row_of(p, 2)->finish_ns, 41000000);
    play_close(p);
}

/* ---- jumping ---- */

static bool same_row(const struct request_row *x, const struct request_row *y)
{
    return x->serial == y->serial && x->client == y->client && x->replica == y->replica &&
           x->output_tok == y->output_tok && x->cached_tok == y->cached_tok && x->preemptions == y->preemptions &&
           x->arrival_ns == y->arrival_ns && x->admit_ns == y->admit_ns &&
           x->first_token_ns == y->first_token_ns && x->finish_ns == y->finish_ns && x->status == y->status &&
           x->reason == y->reason;
}

static void compare(const struct play *a, const struct play *b, const char *where)
{
    assert_int_equal(a->n, b->n);
    for (int i = 0; i < a->n; i++) {
        const struct request_row *x = &a->row[i], *y = &b->row[i];

        if (!same_row(x, y)) {
            fail_msg("%s: row %d: request %" PRIu64 " at %u, %" PRId64 " %" PRId64 " %" PRId64 " jumping; %" PRIu64
                     " at %u, %" PRId64 " %" PRId64 " %" PRId64 " walking", where, i, x->serial, x->replica,
                     x->arrival_ns, x->admit_ns, x->finish_ns, y->serial, y->replica, y->arrival_ns, y->admit_ns,
                     y->finish_ns);
        }
    }
    assert_int_equal(a->result.n_metrics, b->result.n_metrics);
    for (size_t i = 0; i < a->result.n_metrics; i++) {
        double x = a->result.metrics[i].value, y = b->result.metrics[i].value;

        if (x != y && !(isnan(x) && isnan(y))) {
            fail_msg("%s: %s is %.17g jumping, %.17g walking", where, a->result.metrics[i].name, x, y);
        }
    }
}

static const char *const routers_here[] = {
    "cache-aware", "cache-aware{balance_abs=2,threshold=0.1}", "d2lpm{quantum=300}", "d2lpm", "least-kv",
    "least-outstanding", "least-tokens", "llumnix", "llumnix{rule=code}", "power-of-two", "prefix", "random",
    "round-robin", "session", "session{by=client}", "vllm-dp"};
static const char *const loops[][2] = {
    {"routing.poll", "0.1"}, {"load.concurrency", "7"}, {"load.sessions", "on"}, {"engine.output_delay", "0.002"}};

static void test_matrix(void **state)
{
    static struct text t;
    uint64_t jumped = 0, hits = 0;

    (void)state;
    talk(&t, 3, 110, 1, 0);
    for (size_t r = 0; r < sizeof(routers_here) / sizeof(routers_here[0]); r++) {
        for (size_t k = 0; k < 8; k++) {
            const char *batcher = batchers_here[(r + k) % N_BATCHERS], *policy = k % 2 ? "dlpm{quantum=200}" : "fcfs";
            const char *set[] = {"replicas", k % 3 ? "3" : "2", "router", routers_here[r], "policy", policy,
                                 "batcher", batcher, loops[k / 2][0], loops[k / 2][1], "skip", "on",
                                 "series.step", "0.7", NULL};
            char where[200];
            struct play *jump = play_well(&t, set), *walk;

            set[11] = "off";
            walk = play_well(&t, set);
            snprintf(where, sizeof(where), "%s, %s, %s, %s=%s", routers_here[r], policy, batcher, set[8], set[9]);
            assert_int_equal(jump->n, 110);
            compare(jump, walk, where);
            jumped += walk->result.boundaries - jump->result.boundaries;
            hits += run_metric(jump->result.n_metrics ? &jump->result : NULL, "cache_hit_rate")->value > 0;
            play_close(jump);
            play_close(walk);
        }
    }
    assert_true(jumped > 10000 && hits > 40);
}

/* Everything to one of three: the run of one engine. */
static void test_one_of_many(void **state)
{
    static struct text t;
    static const char *const three[] = {"replicas", "3", "router", "session{by=client}", NULL};
    static const char *const one[] = {"series.step", "0", NULL};

    (void)state;
    t.n = 0;
    say(&t, "time_s,prompt_tokens,output_tokens\n");
    for (int i = 0; i < 90; i++) {
        say(&t, "%.3f,%d,%d\n", i / 2 * 0.031, 20 + 37 * i % 150, 1 + 53 * i % 70);
    }
    struct play *a = play_well(&t, three), *b = play_well(&t, one);
    for (int i = 0; i < 90; i++) {
        assert_int_equal(a->row[i].serial, b->row[i].serial);
        assert_int_equal(a->row[i].admit_ns, b->row[i].admit_ns);
        assert_int_equal(a->row[i].finish_ns, b->row[i].finish_ns);
        assert_int_equal(a->row[i].replica, a->row[0].replica);
    }
    assert_true(run_metric(&a->result, "iterations")->value == run_metric(&b->result, "iterations")->value);
    assert_true(run_metric(&a->result, "replica_request_spread")->value == 3);
    play_close(a);
    play_close(b);
}

/* ---- closed loops ---- */

static void test_concurrency(void **state)
{
    static struct text t;
    static const char *const set[] = {"replicas", "3", "router", "power-of-two", "load.concurrency", "5",
                                      "load.scale", "1000", NULL};
    sim_ns finish[MOST];

    (void)state;
    talk(&t, 9, 120, 1, 0);
    struct play *p = play_well(&t, set);
    /* All come at once: request k >= 5 is sent at the (k - 4)-th answer, wherever it was given. */
    for (int i = 0; i < 120; i++) {
        finish[i] = p->row[i].finish_ns;
        assert_true(i == 0 || finish[i] >= finish[i - 1]);
    }
    for (uint64_t s = 5; s < 120; s++) {
        assert_true(finish[s - 5] > 10000000); /* the trace's own times are past by then */
        assert_int_equal(row_of(p, s)->arrival_ns, finish[s - 5]);
    }
    play_close(p);
}

static void test_sessions(void **state)
{
    static struct text t;
    static const char *const set[] = {"replicas", "3", "router", "random", "load.sessions", "on",
                                      "load.scale", "50", "engine.output_delay", "0.001", NULL};
    int followed = 0;

    (void)state;
    t.n = 0;
    say(&t, "time_s,prompt_tokens,output_tokens,session,turn,gap_s\n");
    for (int turn = 0; turn < 5; turn++) {
        for (int s = 0; s < 12; s++) {
            say(&t, "%.3f,%d,%d,%d,%d,%.3f\n", turn * 0.1 + s * 0.001, 30 + 10 * s, 5 + (7 * s + 11 * turn) % 40,
                s + 1, turn, 0.002 * s);
        }
    }
    struct play *p = play_well(&t, set);
    assert_int_equal(p->n, 60);
    for (int i = 0; i < 60; i++) { /* a turn is known by its prompt: 30 + 10 * session */
        const struct request_row *x = &p->row[i], *before = NULL;
        uint32_t s = (x->prompt_tok - 30) / 10;

        for (int k = 0; k < 60; k++) {
            const struct request_row *y = &p->row[k];

            if (y->prompt_tok == x->prompt_tok && y->arrival_ns < x->arrival_ns &&
                (!before || y->arrival_ns > before->arrival_ns)) {
                before = y;
            }
        }
        if (before) {
            followed++;
            assert_int_equal(x->arrival_ns, before->finish_ns + 2000000 * (sim_ns)s);
        }
    }
    assert_int_equal(followed, 48);
    play_close(p);
}

/* ---- D2LPM ---- */

/* Three clients that send equally often and too much, each with a prompt head of its own and eight documents
 * behind it; two replicas, whose caches hold half of all documents. */
static void three_libraries(struct text *t, int n)
{
    struct rng_stream r = rng_stream(4, 0, "library");

    t->n = 0;
    say(t, "time_s,client,prompt_tokens,output_tokens,hash_tokens,hash_ids\n");
    for (int i = 0; i < n; i++) {
        int client = i % 3 + 1, document = (int)rng_range(r, (uint64_t)i, 0, 0, 7);

        say(t, "%.3f,c%d,592,32,16,%d-%d", 0.011 * i, client, 1000 * client, 1000 * client + 3);
        say(t, " %d-%d\n", 100000 * client + 1000 * document, 100000 * client + 1000 * document + 31);
    }
}

static double measured(const struct text *t, const char *router, const char *policy, const char *metric)
{
    const char *const set[] = {"replicas", "2", "router", router, "policy", policy, "kv.tokens", "8192", "cost",
                               "linear{set=custom,prefill_a=2,prefill_b=0.2,decode_a=8,decode_b=0.001,decode_c=0.3}",
                               "service.horizon", "6", "check", "off", NULL};
    struct play *p = play_well(t, set);
    double v = run_metric(&p->result, metric)->value;

    play_close(p);
    return v;
}

/* Locality: in turn, both replicas see all 24 documents, 13,824 tokens, of which a cache holds about half; so
 * does whoever goes anywhere. A client's documents alone fit, and that is what a replica sees for a quantum.
 * The policy is FCFS, so that only the router can tell prefixes apart.
 * Fairness: a router that follows prefixes gives one client a replica and the two others half of one each,
 * and no policy behind it can mend that: service 2 : 1 : 1 at best (the lone one has the better cache, too),
 * Jain's index 16 / (3 * 6) = 0.89 at most. With a quantum that is small against what is sent in the horizon,
 * all three are everywhere, and DLPM gives each a third. */
static void test_d2lpm_between(void **state)
{
    static struct text t;
    const char *const fair = "dlpm{quantum=500}";
    double in_turn, between, prefix;

    (void)state;
    three_libraries(&t, 600);
    in_turn = measured(&t, "round-robin", "fcfs", "cache_hit_rate");
    between = measured(&t, "d2lpm{quantum=2000}", "fcfs", "cache_hit_rate");
    prefix = measured(&t, "prefix", "fcfs", "cache_hit_rate");
    assert_true(between > in_turn + 0.15 && prefix > in_turn + 0.15);
    between = measured(&t, "d2lpm{quantum=2000}", fair, "jain_index");
    prefix = measured(&t, "prefix", fair, "jain_index");
    assert_true(prefix < 16.0 / 18 + 0.01 && between > 0.97);
}

/* Largest difference between the services of a client at two workers, by the router's account: prompt tokens
 * that a worker has not been sent before cost 0.5. Every prompt begins with its client's 64 tokens. */
static double widest_gap(const char *router, double *ret_most)
{
    static struct text t;
    const char *const set[] = {"replicas", "3", "router", router, "policy", "dlpm", "load.concurrency", "5", NULL};
    double service[4][3] = {{0}}, widest = 0;
    bool seen[4][3] = {{false}};

    t.n = 0;
    say(&t, "time_s,client,prompt_tokens,output_tokens,hash_tokens,hash_ids\n");
    for (int i = 0; i < 400; i++) {
        int client = (i + i / 7) % 4;

        say(&t, "0,c%d,%d,%d,16,%d-%d\n", client, 64 + 37 * i % 100, 1 + 53 * i % 90, 10 * client, 10 * client + 3);
    }
    struct play *p = play_well(&t, set);
    *ret_most = 0;
    for (uint64_t s = 0; s < 400; s++) {
        const struct request_row *x = row_of(p, s);
        double cost = 0.5 * (x->prompt_tok - (seen[x->client][x->replica] ? 64 : 0)) + x->output_tok;

        seen[x->client][x->replica] = true;
        service[x->client][x->replica] += cost;
        *ret_most = fmax(*ret_most, cost);
    }
    for (int k = 0; k < 4 * 9; k++) {
        widest = fmax(widest, service[k / 9][k % 3] - service[k / 9][k / 3 % 3]);
    }
    play_close(p);
    return widest;
}

/* Less than a quantum and what was on its way when a deficit was used up: with at most 5 requests in flight, 5
 * times the dearest one. Who follows prefixes alone stays at one worker. */
static void test_d2lpm_bound(void **state)
{
    double most, widest = widest_gap("d2lpm{quantum=600, prefill_cost=0.5, room=1000000}", &most);

    (void)state;
    assert_true(widest > 0 && widest < 600 + 5 * most);
    assert_true(widest_gap("prefix{room=1000000}", &most) > 3 * (600 + 5 * most));
}

/* ---- what is refused ---- */

static void test_refused(void **state)
{
    static struct text t;
    static const char *const unknown[] = {"replicas", "2", "router", "round-robbin", NULL};
    struct play *p;

    (void)state;
    talk(&t, 1, 3, 1, 0);
    p = play(&t, unknown);
    assert_int_equal(p->rc, SIM_E_CONFIG);
    assert_non_null(strstr(p->err.msg, "did you mean 'round-robin'"));
    play_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_shares), cmocka_unit_test(test_outstanding_is_exact),
        cmocka_unit_test(test_old_views),       cmocka_unit_test(test_ends_come_first), cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_one_of_many),
        cmocka_unit_test(test_concurrency),  cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_d2lpm_between), cmocka_unit_test(test_d2lpm_bound),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
