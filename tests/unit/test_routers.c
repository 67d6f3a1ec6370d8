/* SPDX-License-Identifier: Apache-2.0
 *
 * Routers by themselves: rules with numbers worked out by hand or from the notes on their sources, the record
 * of prefixes against a naive one, D2LPM's bound. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policies/route.h"
#include "policies/route/prefixes.h"
#include "sim/core/rng.h"

#define MOST 8

/* ---- a router in hand ---- */

struct hand {
    struct arena arena;
    struct route_env env;
    struct router_instance router;
    struct route_replica replica[MOST];
    struct err err;
};

static struct hand *take(const char *spec, uint32_t n)
{
    struct hand *h = calloc(1, sizeof(*h));

    assert_non_null(h);
    h->env = (struct route_env){.arena = &h->arena, .seed = 5, .n = n, .kv_tok = 1000};
    if (router_open(spec, &h->env, &h->router, &h->err) < 0) {
        fail_msg("%s", h->err.msg);
    }
    for (uint32_t i = 0; i < n; i++) {
        h->replica[i].kv_total_tok = 1000;
    }
    return h;
}

static void put_down(struct hand *h)
{
    if (h->router.ops->release) {
        h->router.ops->release(h->router.st);
    }
    arena_release(&h->arena);
    free(h);
}

static uint32_t send(struct hand *h, struct route_req r)
{
    struct route_view v = {.n = h->env.n, .replica = h->replica};
    uint32_t at = UINT32_MAX;

    assert_int_equal(h->router.ops->route(h->router.st, &v, &r, &at, &h->err), 0);
    assert_true(at < h->env.n);
    return at;
}

static uint32_t send_number(struct hand *h, uint64_t serial)
{
    return send(h, (struct route_req){.serial = serial, .prompt_tok = 10});
}

static void end(struct hand *h, uint32_t replica, uint32_t client, uint32_t prompt, uint32_t output)
{
    struct route_left l = {.replica = replica, .client = client, .prompt_tok = prompt, .output_tok = output};

    if (h->router.ops->left) {
        h->router.ops->left(h->router.st, &l);
    }
}

/* ---- without a look at the request ---- */

static void test_round_robin(void **state)
{
    struct hand *h = take("round-robin", 3);

    (void)state;
    for (uint64_t s = 0; s < 9; s++) {
        assert_int_equal(send_number(h, s), s % 3);
    }
    put_down(h);
}

/* Draws belong to the request: any order gives the same. Each of 4 gets its share within 5 deviations. */
static void test_random(void **state)
{
    struct hand *h = take("random", 4), *g = take("random", 4);
    int n[4] = {0};

    (void)state;
    for (uint64_t s = 0; s < 4000; s++) {
        n[send_number(h, s)]++;
        assert_int_equal(send_number(g, 3999 - s), send_number(h, 3999 - s));
    }
    for (int i = 0; i < 4; i++) {
        assert_true(abs(n[i] - 1000) < 5 * 28);
    }
    put_down(h);
    put_down(g);
}

/* Loads 0, 1, 2, 3: of the six pairs three have the first as the lesser, two the second, one the third. */
static void test_power_of_two(void **state)
{
    struct hand *h = take("power-of-two", 4), *alone = take("power-of-two", 1), *two = take("power-of-two", 2);
    int n[4] = {0};

    (void)state;
    for (uint64_t s = 0; s < 100; s++) { /* of two both are always drawn */
        two->replica[s % 2].n_running = 1;
        two->replica[1 - s % 2].n_running = 0;
        assert_int_equal(send_number(two, s), 1 - s % 2);
    }
    for (uint32_t i = 0; i < 4; i++) {
        h->replica[i].n_running = i;
    }
    for (uint64_t s = 0; s < 6000; s++) {
        n[send_number(h, s)]++;
    }
    assert_true(abs(n[0] - 3000) < 5 * 39 && abs(n[1] - 2000) < 5 * 37 && abs(n[2] - 1000) < 5 * 29);
    assert_int_equal(n[3], 0);
    assert_int_equal(send_number(alone, 1), 0);
    put_down(h);
    put_down(two);
    put_down(alone);
}

static void test_least_outstanding(void **state)
{
    struct hand *h = take("least-outstanding", 4);
    const uint32_t load[] = {2, 1, 1, 3};

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        h->replica[i].n_waiting = load[i] / 2;
        h->replica[i].n_running = load[i] - load[i] / 2;
    }
    assert_int_equal(send_number(h, 0), 1);
    assert_int_equal(send_number(h, 1), 2); /* the equal one whose turn it is */
    assert_int_equal(send_number(h, 2), 1);
    put_down(h);
}

static void test_least_tokens_and_kv(void **state)
{
    struct hand *t = take("least-tokens", 3), *k = take("least-kv", 3);
    const uint64_t prompt[] = {500, 90, 400}, used[] = {300, 600, 250}, waiting[] = {100, 0, 400};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        t->replica[i].prompt_tok = prompt[i];
        k->replica[i].kv_used_tok = used[i];
        k->replica[i].waiting_tok = waiting[i];
    }
    assert_int_equal(send_number(t, 0), 1);
    assert_int_equal(send_number(k, 0), 0); /* 0.4, 0.6, 0.65 */
    k->replica[1].kv_total_tok = 2000;      /* 0.3 */
    assert_int_equal(send_number(k, 1), 1);
    put_down(t);
    put_down(k);
}

/* vLLM V1, core_client.py: 4 * waiting + running, of equals the first. */
static void test_vllm_dp(void **state)
{
    struct hand *h = take("vllm-dp", 3);

    (void)state;
    h->replica[0].n_waiting = 1;
    h->replica[1].n_running = 3;
    h->replica[2].n_running = 4;
    assert_int_equal(send_number(h, 0), 1);
    h->replica[1].n_running = 4;
    assert_int_equal(send_number(h, 1), 0);
    assert_int_equal(send_number(h, 2), 0);
    put_down(h);
}

/* The notes' vector (serving.md 21): 1000 blocks, 4 running that use 600, 250 asked by the head of the queue:
 * freeness 37.5, whatever waits behind. Five that use 812 leave 37.6 steps each, 813 leave 37.4. */
static void test_llumnix(void **state)
{
    struct hand *h = take("llumnix", 2);

    (void)state;
    assert_true(h->router.ops->needs & ROUTE_HEAD);
    h->replica[0] = (struct route_replica){.kv_total_tok = 1000, .kv_used_tok = 600, .n_running = 4, .n_waiting = 2,
                                           .head_tok = 250, .waiting_tok = 550};
    h->replica[1] = (struct route_replica){.kv_total_tok = 1000, .kv_used_tok = 812, .n_running = 5};
    assert_int_equal(send_number(h, 0), 1);
    h->replica[1].kv_used_tok = 813;
    assert_int_equal(send_number(h, 1), 0);
    h->replica[0].waiting_tok = 5000;
    assert_int_equal(send_number(h, 2), 0);
    put_down(h);
}

/* Release v0.1: (1000 - 600 - 550) / 6 = -25 against (1000 - 900) / 5 = 20; an empty replica before all. */
static void test_llumnix_code(void **state)
{
    struct hand *h = take("llumnix{rule=code}", 3);

    (void)state;
    h->replica[0] = (struct route_replica){.kv_total_tok = 1000, .kv_used_tok = 600, .n_running = 4, .n_waiting = 2,
                                           .head_tok = 250, .waiting_tok = 550};
    h->replica[1] = (struct route_replica){.kv_total_tok = 1000, .kv_used_tok = 900, .n_running = 5};
    h->replica[2] = (struct route_replica){.kv_total_tok = 10};
    assert_int_equal(send_number(h, 0), 2);
    h->replica[2].n_running = 1; /* 10 steps */
    assert_int_equal(send_number(h, 1), 1);
    put_down(h);
}

static void test_session(void **state)
{
    struct hand *h = take("session", 3), *c = take("session{by=client}", 3);
    uint32_t seat[500];

    (void)state;
    for (uint64_t s = 0; s < 500; s++) {
        seat[s] = send(h, (struct route_req){.serial = s, .session = s * s + 1, .prompt_tok = 1});
    }
    for (uint64_t s = 0; s < 500; s++) { /* whatever the load is by then */
        h->replica[seat[s]].n_running += 100;
        assert_int_equal(send(h, (struct route_req){.serial = 500 + s, .session = s * s + 1, .prompt_tok = 1}),
                         seat[s]);
    }
    h->replica[0].n_running = h->replica[1].n_running = 9;
    h->replica[2].n_running = 0;
    assert_int_equal(send(h, (struct route_req){.serial = 1000, .session = 0, .prompt_tok = 1}), 2);
    c->replica[0].n_running = 1;
    assert_int_equal(send(c, (struct route_req){.client = 7, .session = 1, .prompt_tok = 1}), 1);
    c->replica[1].n_running = 50;
    assert_int_equal(send(c, (struct route_req){.client = 7, .session = 2, .prompt_tok = 1}), 1);
    put_down(h);
    put_down(c);
}

/* ---- prefixes ---- */

/* A prompt of 100 tokens: `same` ids of family `family`, the rest its own. */
static struct route_req prompt_of(uint64_t serial, uint32_t family, uint32_t same, uint64_t id[10])
{
    for (uint64_t i = 0; i < 10; i++) {
        id[i] = i < same ? 100 * family + i + 1 : 100000 + 10 * serial + i;
    }
    return (struct route_req){.serial = serial, .prompt_tok = 100, .hash = id, .n_hash = 10, .hash_tok = 10};
}

static void test_prefix(void **state)
{
    struct hand *h = take("prefix", 3);
    uint64_t id[10];

    (void)state;
    assert_int_equal(send(h, prompt_of(0, 1, 10, id)), 0);
    assert_int_equal(send(h, prompt_of(1, 2, 10, id)), 1);
    h->replica[1].n_running = h->replica[0].n_running = 1000;
    assert_int_equal(send(h, prompt_of(2, 2, 1, id)), 1); /* 10 tokens are enough, and load is nothing */
    assert_int_equal(send(h, prompt_of(3, 1, 5, id)), 0);
    assert_int_equal(send(h, prompt_of(4, 3, 5, id)), 2);
    put_down(h);
}

/* More than 30 % of the prompt has to match; more than 64 requests and 1.5 times apart is out of balance. */
static void test_cache_aware(void **state)
{
    struct hand *h = take("cache-aware", 3);
    uint64_t id[10];

    (void)state;
    assert_int_equal(send(h, prompt_of(0, 1, 10, id)), 0);
    assert_int_equal(send(h, prompt_of(1, 1, 3, id)), 1); /* 30 of 100: to the smallest record */
    assert_int_equal(send(h, prompt_of(2, 1, 4, id)), 0); /* 40 of 100 */
    h->replica[0].n_running = 65;
    h->replica[1].n_running = h->replica[2].n_running = 1;
    assert_int_equal(send(h, prompt_of(3, 1, 9, id)), 0); /* 64 apart */
    h->replica[0].n_running = 66;
    assert_int_equal(send(h, prompt_of(4, 1, 9, id)), 1); /* 65 apart, 66 times as many: the next that has least */
    h->replica[0].n_running = 200;
    h->replica[1].n_running = 150;
    h->replica[2].n_running = 134;
    assert_int_equal(send(h, prompt_of(5, 1, 10, id)), 0); /* 66 apart, 200 <= 1.5 * 134 */
    h->replica[2].n_running = 133;
    assert_int_equal(send(h, prompt_of(6, 1, 10, id)), 2);
    put_down(h);
}

/* ---- the record against a naive one ---- */

struct fact {
    uint64_t id[12]; /* a whole prefix, spelled out */
    uint64_t owner;  /* of what nobody shares: serial + 1 */
    uint32_t n, tok;
    uint64_t stamp;
};

struct naive {
    struct fact fact[3000];
    int n;
    uint64_t clock, held;
};

static struct fact *recall(struct naive *v, const uint64_t *id, uint32_t n, uint64_t owner)
{
    for (int i = 0; i < v->n; i++) {
        if (v->fact[i].n == n && v->fact[i].owner == owner && memcmp(v->fact[i].id, id, n * sizeof(*id)) == 0) {
            return &v->fact[i];
        }
    }
    return NULL;
}

static void memorise(struct naive *v, const uint64_t *id, uint32_t n, uint64_t owner, uint32_t tok)
{
    struct fact *f = recall(v, id, n, owner);

    if (!f) {
        f = &v->fact[v->n++];
        assert_true(v->n < 3000);
        *f = (struct fact){.owner = owner, .n = n, .tok = tok};
        memcpy(f->id, id, n * sizeof(*id));
        v->held += tok;
    }
    f->stamp = ++v->clock;
}

static void forget(struct naive *v, uint64_t room)
{
    while (v->held > room) {
        int oldest = 0;

        for (int i = 1; i < v->n; i++) {
            oldest = v->fact[i].stamp < v->fact[oldest].stamp ? i : oldest;
        }
        v->held -= v->fact[oldest].tok;
        v->fact[oldest] = v->fact[--v->n];
    }
}

static uint32_t naive_match(struct naive *v, const struct route_req *r)
{
    uint32_t n = 0;

    while (n < r->n_hash && recall(v, r->hash, n + 1, 0)) {
        n++;
    }
    return n * r->hash_tok < r->prompt_tok ? n * r->hash_tok : r->prompt_tok;
}

static void naive_put(struct naive *v, const struct route_req *r, uint64_t room)
{
    uint32_t whole = r->n_hash * r->hash_tok;

    if (whole < r->prompt_tok) {
        memorise(v, r->hash, r->n_hash, r->serial + 1, r->prompt_tok - whole);
    }
    for (uint32_t n = r->n_hash; n > 0; n--) {
        uint32_t upto = n * r->hash_tok < r->prompt_tok ? n * r->hash_tok : r->prompt_tok;

        memorise(v, r->hash, n, 0, upto - (n - 1) * r->hash_tok);
    }
    forget(v, room);
}

static void test_record(void **state)
{
    static struct naive naive[3];
    struct rng_stream s = rng_stream(1, 0, "record");
    struct arena a = {0};
    struct err e = {0};
    struct prefixes p;
    uint64_t matched = 0;
    const uint64_t room = 900;

    (void)state;
    assert_int_equal(prefixes_init(&p, 3, room, &a, &e), 0);
    for (uint64_t k = 0; k < 2500; k++) {
        uint64_t id[12];
        struct route_req r = {.serial = k, .hash = id, .n_hash = (uint32_t)rng_range(s, k, 0, 0, 12), .hash_tok = 16};
        uint32_t at = (uint32_t)rng_range(s, k, 1, 0, 2);

        for (uint64_t i = 0; i < r.n_hash; i++) {
            id[i] = rng_range(s, k, 2 + i, 0, i < 2 ? 3 : 1);
        }
        r.prompt_tok = r.n_hash * 16 + (uint32_t)rng_range(s, k, 20, 0, 30);
        r.prompt_tok -= r.n_hash > 0 ? 15 : 0; /* the last id may stand for one token only */
        r.prompt_tok += r.prompt_tok == 0;
        assert_int_equal(prefixes_read(&p, &r, &e), 0);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(prefixes_match_tok(&p, i), naive_match(&naive[i], &r));
        }
        matched += prefixes_match_tok(&p, at);
        assert_int_equal(prefixes_put(&p, at, &e), 0);
        naive_put(&naive[at], &r, room);
        assert_int_equal(prefixes_held_tok(&p, at), naive[at].held);
    }
    assert_true(matched > 50000);
    prefixes_release(&p);
    arena_release(&a);
}

/* ---- D2LPM ---- */

static uint32_t send_of(struct hand *h, uint32_t client, struct route_req r)
{
    r.client = client;
    return send(h, r);
}

/* Prompts of 100 tokens, new ones cost 0.5 each; a quantum is 100. */
static void test_d2lpm(void **state)
{
    struct hand *h = take("d2lpm{quantum=100, prefill_cost=0.5, room=10000}", 2);
    uint64_t id[10];

    (void)state;
    assert_int_equal(send_of(h, 0, prompt_of(0, 1, 10, id)), 0); /* (100, 100): first in turn; pays 50 */
    end(h, 0, 0, 100, 20);                                       /* (30, 100) */
    assert_int_equal(send_of(h, 0, prompt_of(1, 1, 8, id)), 0);  /* matches 80; pays 10 */
    end(h, 0, 0, 100, 20);                                       /* (0, 100): nothing left there */
    h->replica[1].n_running = 1;
    assert_int_equal(send_of(h, 0, prompt_of(2, 1, 9, id)), 1);  /* its prefix is at 0, but pays 50 at 1 */
    h->replica[1].n_running = 0;
    assert_int_equal(send_of(h, 1, prompt_of(3, 1, 10, id)), 0); /* another client has deficits of its own */
    end(h, 1, 0, 100, 230);                                      /* (0, -180) */
    assert_int_equal(send_of(h, 0, prompt_of(4, 1, 9, id)), 0);  /* a quantum each: (100, -80); pays 5 */
    end(h, 0, 0, 100, 345);                                      /* (-250, -80) */
    /* one quantum makes it (-150, 20): the longer match at 0 does not count */
    assert_int_equal(send_of(h, 0, prompt_of(5, 1, 10, id)), 1); /* pays 5: (-150, 15) */
    end(h, 1, 0, 100, 15);                                       /* (-150, 0) */
    assert_int_equal(send_of(h, 0, prompt_of(6, 1, 10, id)), 1); /* zero is not above zero: (-50, 100) */
    put_down(h);
}

/* All workers of a client get the same quanta, one is granted only when none is above zero, and one is sent to
 * only above zero. So a deficit lies in (-U, Q], U the most that one request costs, as long as each ends before
 * the next is sent; and the services of two workers are never Q + U apart. Requests of one long prefix, which
 * a router that looks at nothing else keeps at one worker. */
static double widest_gap(const char *spec, double *ret_most)
{
    struct rng_stream s = rng_stream(3, 0, "bound");
    struct hand *h = take(spec, 4);
    double service[4] = {0}, gap = 0;
    bool seen[4] = {false};

    *ret_most = 0;
    for (uint64_t k = 0; k < 3000; k++) {
        uint64_t id[10];
        struct route_req r = prompt_of(k, 1, 9, id);
        uint32_t output = (uint32_t)rng_range(s, k, 0, 1, 200), at;
        double cost, low = (double)INFINITY, high = 0;

        at = send(h, r);
        cost = 0.5 * (seen[at] ? 10 : 100) + output;
        seen[at] = true;
        end(h, at, 0, 100, output);
        service[at] += cost;
        *ret_most = fmax(*ret_most, cost);
        for (int i = 0; i < 4; i++) {
            low = fmin(low, service[i]);
            high = fmax(high, service[i]);
        }
        gap = fmax(gap, high - low);
    }
    put_down(h);
    return gap;
}

static void test_d2lpm_bound(void **state)
{
    double most, gap = widest_gap("d2lpm{quantum=3000, room=1000000}", &most);

    (void)state;
    assert_true(gap <= 3000 + most);
    assert_true(gap > 3000 - most); /* and it does follow the prefix for a quantum */
    assert_true(widest_gap("prefix{room=1000000}", &most) > 100000);
}

static void test_options(void **state)
{
    struct arena a = {0};
    struct route_env env = {.arena = &a, .n = 2, .kv_tok = 100};
    struct router_instance r;
    struct err e = {0};

    (void)state;
    assert_int_equal(router_open("cache-awar", &env, &r, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "did you mean 'cache-aware'"));
    e = (struct err){0};
    assert_int_equal(router_open("d2lpm{quantum=0}", &env, &r, &e), SIM_E_CONFIG);
    assert_non_null(strstr(e.msg, "quantum"));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_robin),  cmocka_unit_test(test_random),
        cmocka_unit_test(test_power_of_two), cmocka_unit_test(test_least_outstanding),
        cmocka_unit_test(test_least_tokens_and_kv), cmocka_unit_test(test_vllm_dp),
        cmocka_unit_test(test_llumnix),      cmocka_unit_test(test_llumnix_code),
        cmocka_unit_test(test_session),      cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_cache_aware),  cmocka_unit_test(test_record),
        cmocka_unit_test(test_d2lpm),        cmocka_unit_test(test_d2lpm_bound),
        cmocka_unit_test(test_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
