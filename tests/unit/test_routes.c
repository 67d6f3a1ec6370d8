/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources of expert routes: answers hang on what is asked alone, and the latent-factor router has the
 * moments that its formula gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "traces/routes.h"
#include "traces/routes_noise.h"

static struct routes *open_seeded(const char *spec, uint64_t seed, uint32_t rep)
{
    struct routes_env env = {.seed = seed, .replication = rep};
    struct err e = {0};
    struct routes *r;
    if (routes_open(&r, spec, &env, &e) < 0) {
        fail_msg("%s: %s", spec, e.msg);
    }
    return r;
}

static void near(double have, double want, double within)
{
    if (!(fabs(have - want) <= within)) {
        fail_msg("%g, expected %g within %g", have, want, within);
    }
}

static void expect_open_error(const char *spec, const struct routes_env *env, const char *part)
{
    struct err e = {0};
    struct routes *r = NULL;
    int rc = routes_open(&r, spec, env, &e);
    if (rc != SIM_E_CONFIG || r || !strstr(e.msg, part)) {
        fail_msg("%s: code %d, '%s', expected '%s'", spec, rc, e.msg, part);
    }
}

/* ---- choosing ---- */

static void test_choose(void **state)
{
    const float score[6] = {0.5f, 2.0f, -1.0f, 2.0f, 1.0f, 0.0f};
    struct routes_shape s = {6, 3, 1};
    struct route r;
    (void)state;
    route_choose(&r, score, &s, 1);
    assert_int_equal(r.expert[0], 1); /* of two equal ones the lower number */
    assert_int_equal(r.expert[1], 3);
    assert_int_equal(r.expert[2], 4);
    near((double)r.gate[0], 0.4223188, 1e-6); /* 1 / (2 + 1/e) */
    near((double)r.gate[2], 0.1553624, 1e-6);
    route_choose(&r, score, &s, 0.5);
    near((double)r.gate[0], 0.4683105, 1e-6); /* 1 / (2 + 1/e^2) */
    s.top_k = 6;
    route_choose(&r, score, &s, 1);
    assert_int_equal(r.expert[5], 2);
    assert_int_equal(r.expert[4], 5);
}

/* ---- the walk ---- */

#define WALKS 4000

static void correlate(double rho, uint32_t lag, uint32_t from)
{
    struct noise_walk w = noise_walk(rho);
    struct rng_stream s = rng_stream(1, 0, "test-walk");
    double xy = 0, xx = 0;
    float a[NOISE_RUN], b[NOISE_RUN];
    for (uint32_t i = 0; i < WALKS; i++) {
        uint32_t p = from + i % 5, q = p + lag;
        noise_walk_run(&w, s, i, p & ~7u, 3, a, 1);
        noise_walk_run(&w, s, i, q & ~7u, 3, b, 1);
        xy += (double)a[p & 7] * (double)b[q & 7];
        xx += (double)a[p & 7] * (double)a[p & 7];
    }
    /* standard errors: sqrt(1 + rho^2lag)/sqrt(n) of a covariance, sqrt(2/n) of a variance */
    double r = pow(rho, lag);
    if (fabs(xy / WALKS - r) > 4 * sqrt((1 + r * r) / WALKS) || fabs(xx / WALKS - 1) > 4 * sqrt(2.0 / WALKS)) {
        fail_msg("rho %g, lag %u from %u: covariance %g, expected %g; variance %g", rho, lag, from,
                 xy / WALKS, r, xx / WALKS);
    }
}

static void test_walk_is_ar1(void **state)
{
    static const uint32_t lags[] = {1, 2, 3, 5, 8, 13, 30};
    (void)state;
    for (size_t i = 0; i < sizeof(lags) / sizeof(lags[0]); i++) {
        correlate(0.6, lags[i], 0);
        correlate(0.93, lags[i], 500); /* across the grid at 512 */
        correlate(0.99, lags[i], 61);
    }
}

/* Given its neighbours a Gauss-Markov walk knows nothing of what is further away: the partial correlation at
 * lag 2 is zero, which a wrong pull of the midpoints would break. */
static void test_walk_is_markov(void **state)
{
    struct noise_walk w = noise_walk(0.7);
    struct rng_stream s = rng_stream(2, 0, "test-walk");
    double r1 = 0, r2 = 0;
    float v[NOISE_RUN];
    (void)state;
    for (uint32_t i = 0; i < 2 * WALKS; i++) {
        noise_walk_run(&w, s, i, 64, 0, v, 1);
        for (uint32_t j = 0; j + 2 < NOISE_RUN; j++) {
            r1 += (double)v[j] * (double)v[j + 1] / (2 * WALKS * 6.0);
            r2 += (double)v[j] * (double)v[j + 2] / (2 * WALKS * 6.0);
        }
    }
    near(r1, 0.7, 0.02);
    near((r2 - r1 * r1) / (1 - r1 * r1), 0, 0.02);
}

/* ---- purity ---- */

struct copy {
    struct route r;
    float score0, score_last;
};

static struct copy copy_of(struct routes *r, uint64_t seq, uint32_t pos, uint32_t layer)
{
    struct copy c;
    memset(&c, 0, sizeof(c));
    routes_at(r, seq, pos, layer, &c.r);
    c.score0 = c.r.score ? c.r.score[0] : 0;
    c.score_last = c.r.score ? c.r.score[routes_shape(r).experts - 1] : 0;
    c.r.score = NULL;
    return c;
}

static void same_answer(struct routes *a, struct routes *b, uint64_t seq, uint32_t pos, uint32_t layer)
{
    struct copy x = copy_of(a, seq, pos, layer), y = copy_of(b, seq, pos, layer);
    uint32_t k = routes_shape(a).top_k;
    for (uint32_t i = 0; i < k; i++) {
        if (x.r.expert[i] != y.r.expert[i] || memcmp(&x.r.gate[i], &y.r.gate[i], sizeof(float))) {
            fail_msg("sequence %llu, position %u, layer %u: two answers", (unsigned long long)seq, pos, layer);
        }
    }
    assert_true(x.score0 == y.score0 && x.score_last == y.score_last);
}

static const char *const specs[] = {
    "synth{preset=deepseek-v2-lite,layers=3}",
    "synth{preset=gpt-oss-20b,layers=2,drift=300,domains=3}",
    "synth{preset=mixtral-8x7b,layers=2,sigma_n=0,c=0}",
    "uniform{experts=10,top_k=2,layers=2}",
};
#define N_SPECS (sizeof(specs) / sizeof(specs[0]))

/* One source is asked in order, the other at random, and twice. */
static void test_order_does_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SPECS; i++) {
        struct routes *a = open_seeded(specs[i], 7, 1), *b = open_seeded(specs[i], 7, 1);
        uint32_t layers = routes_shape(a).layers;
        for (uint32_t n = 0; n < 300; n++) {
            uint32_t pos = n * 7919 % 1000;
            same_answer(a, b, n % 3, n, n % layers);
            same_answer(b, a, n % 5, pos, pos % layers);
            copy_of(a, 77, pos, 0);
        }
        same_answer(a, b, UINT64_MAX, (1u << 31) - 1, layers - 1);
        routes_close(a);
        routes_close(b);
    }
}

static void test_answers_are_valid(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SPECS; i++) {
        struct routes *r = open_seeded(specs[i], 1, 0);
        struct routes_shape s = routes_shape(r);
        struct route a;
        for (uint32_t pos = 0; pos < 100; pos++) {
            bool seen[ROUTE_EXPERTS_MAX] = {false};
            double sum = 0;
            routes_at(r, 5, pos, pos % s.layers, &a);
            for (uint32_t k = 0; k < s.top_k; k++) {
                assert_true(a.expert[k] < s.experts && !seen[a.expert[k]]);
                assert_true(k == 0 || a.gate[k] <= a.gate[k - 1]);
                seen[a.expert[k]] = true;
                sum += (double)a.gate[k];
            }
            near(sum, 1, 1e-5);
        }
        routes_close(r);
    }
}

static double share_of_same(struct routes *a, struct routes *b)
{
    uint32_t k = routes_shape(a).top_k, same = 0, n = 400;
    struct copy x, y;
    for (uint32_t i = 0; i < n; i++) {
        x = copy_of(a, i, i % 50, 0);
        y = copy_of(b, i, i % 50, 0);
        for (uint32_t j = 0; j < k; j++) {
            for (uint32_t l = 0; l < k; l++) {
                same += x.r.expert[j] == y.r.expert[l];
            }
        }
    }
    return (double)same / (n * k);
}

/* Another seed or replication draws other tokens: they agree as often as chance has it (k/E = .094 and a
 * little more, as some experts are used more). */
static void test_seeds_differ(void **state)
{
    const char *spec = "synth{preset=deepseek-v2-lite,layers=1}";
    struct routes *a = open_seeded(spec, 1, 0), *b = open_seeded(spec, 2, 0), *c = open_seeded(spec, 1, 1);
    (void)state;
    near(share_of_same(a, a), 1, 1e-12);
    near(share_of_same(a, b), 0.10, 0.03);
    near(share_of_same(a, c), 0.10, 0.03);
    routes_close(a);
    routes_close(b);
    routes_close(c);
}

/* ---- moments of the router ---- */

/* E[score(t) score(t+lag)] of one expert over sequences is a^2 + w_q + w_f rho^lag (+ sigma_n^2 + 1 - w_q -
 * w_f at lag 0), whatever c and d are: the parts of a direction's unit length add up. */
static double covariance(const char *spec, uint32_t lag)
{
    struct routes *r = open_seeded(spec, 3, 0);
    uint32_t n = routes_shape(r).experts;
    double sum = 0;
    float x[ROUTE_EXPERTS_MAX];
    struct route a;
    for (uint64_t seq = 0; seq < 1500; seq++) {
        routes_at(r, seq, 5, 1, &a);
        memcpy(x, a.score, n * sizeof(*x));
        routes_at(r, seq, 5 + lag, 1, &a);
        for (uint32_t e = 0; e < n; e++) {
            sum += (double)x[e] * (double)a.score[e];
        }
    }
    routes_close(r);
    return sum / (1500.0 * n);
}

static void test_moments(void **state)
{
    const char *spec = "synth{experts=64,top_k=6,layers=2,d=12,sigma_a=0,w_q=.2,w_f=.5,rho=.8,sigma_n=.3,c=.7}";
    const char *drift = "synth{experts=64,top_k=6,layers=2,d=12,sigma_a=0,w_q=1,w_f=0,rho=0,sigma_n=0,c=.7,"
                        "drift=20}";
    const char *biased = "synth{experts=512,top_k=6,layers=2,d=3,sigma_a=.5,w_q=0,w_f=0,rho=0,sigma_n=0,c=1}";
    (void)state;
    near(covariance(spec, 0), 1.09, 0.03);
    near(covariance(spec, 1), 0.60, 0.03);
    near(covariance(spec, 4), 0.2 + 0.5 * pow(0.8, 4), 0.03);
    near(covariance(spec, 100), 0.20, 0.03);
    near(covariance(drift, 10), exp(-0.5), 0.04);
    near(covariance(biased, 9), 0.25, 0.05); /* sigma_a^2, the variance of 512 biases */
}

/* Two sequences of one subject have a covariance of w_q x domain_share, of two subjects none. */
static double between_sequences(const char *spec, uint64_t apart)
{
    struct routes *r = open_seeded(spec, 4, 0);
    double sum = 0;
    float x[64];
    struct route a;
    for (uint64_t seq = 0; seq < 3000; seq += 2) {
        routes_at(r, seq, 5, 0, &a);
        memcpy(x, a.score, sizeof(x));
        routes_at(r, seq + apart, 5, 0, &a);
        for (uint32_t e = 0; e < 64; e++) {
            sum += (double)x[e] * (double)a.score[e];
        }
    }
    routes_close(r);
    return sum / (1500.0 * 64);
}

static void test_domains(void **state)
{
    const char *spec = "synth{experts=64,top_k=6,layers=1,d=12,sigma_a=0,w_q=.8,w_f=0,rho=0,sigma_n=0,c=1,"
                       "domains=1000000,domain_share=.5,domain_run=2}";
    (void)state;
    near(between_sequences(spec, 1), 0.40, 0.03); /* 0,1 | 2,3 | ... */
    near(between_sequences(spec, 2), 0.00, 0.03);
}

/* ---- opening ---- */

static double cosine(const float *a, const float *b, uint32_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Layers share c of their vectors, whichever they are: cosines are c on the average, a little less with twelve
 * dimensions. */
static void test_latent(void **state)
{
    struct routes *r = open_seeded("synth{preset=deepseek-v2-lite,layers=6,c=0.8}", 1, 0);
    struct routes *u = open_seeded("uniform{experts=8,top_k=2,layers=2}", 1, 0);
    float a[ROUTE_LATENT_MAX], b[ROUTE_LATENT_MAX];
    double sum[2] = {0};
    (void)state;
    for (uint32_t t = 0; t < 2000; t++) {
        assert_int_equal(routes_latent(r, t / 50, t % 50, 1, a), 12);
        for (uint32_t d = 0; d < 2; d++) {
            routes_latent(r, t / 50, t % 50, d ? 4 : 2, b);
            sum[d] += cosine(a, b, 12) / 2000;
        }
    }
    near(sum[0], .79, .02);
    near(sum[1], .79, .02);
    assert_int_equal(routes_latent(u, 0, 0, 0, a), 0);
    routes_close(u);
    routes_close(r);
}

static int falling(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* SmallThinker's report (arXiv 2507.20984): of the experts 70 to 80 % are used by less than .14 of a task's
 * tokens, 20 to 30 % by .4 to .6. The preset stands at the near ends, for 4 of 32. */
static void test_smallthinker_skew(void **state)
{
    struct routes *r = open_seeded("synth{preset=smallthinker-4b-a0.6b,layers=4}", 1, 0);
    double below = 0, fifth = 0;
    uint32_t sequences = 20, tokens = 300;
    (void)state;
    for (uint32_t s = 0; s < sequences * 4; s++) {
        double use[32] = {0};
        struct route at;
        for (uint32_t t = 0; t < tokens; t++) {
            routes_at(r, s / 4, t, s % 4, &at);
            for (uint32_t i = 0; i < 4; i++) {
                use[at.expert[i]] += 1.0 / tokens;
            }
        }
        qsort(use, 32, sizeof(*use), falling);
        for (uint32_t x = 0; x < 32; x++) {
            below += (use[x] < .14) / (32.0 * 4 * sequences);
            fifth += x < 6 ? use[x] / (6.0 * 4 * sequences) : 0;
        }
    }
    near(below, .70, .03);
    near(fifth, .40, .03);
    routes_close(r);
}

/* Sum of the two highest scores of a group, by trying all pairs. */
static double two_of(const float *score, uint32_t n)
{
    double best = -HUGE_VAL;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < i; k++) {
            best = fmax(best, (double)score[i] + (double)score[k]);
        }
    }
    return best;
}

/* 32 experts in 8 groups, 2 groups a token: the two with the highest sums, and their best 4 experts. */
static void test_groups(void **state)
{
    (void)state;
    struct routes *r = open_seeded("synth{preset=olmoe-1b-7b,experts=32,top_k=4,groups=8,top_groups=2}", 3, 0);
    for (uint32_t t = 0; t < 200; t++) {
        struct route x;
        double sum[8];
        uint32_t best = 0, second = 1;
        routes_at(r, t / 10, t, 5, &x);
        for (uint32_t g = 0; g < 8; g++) {
            sum[g] = two_of(x.score + 4 * g, 4);
            best = sum[g] > sum[best] ? g : best;
        }
        second = best == 0;
        for (uint32_t g = 0; g < 8; g++) {
            second = g != best && sum[g] > sum[second] ? g : second;
        }
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t better = 0, group = x.expert[i] / 4;
            assert_true(group == best || group == second);
            for (uint32_t e = 0; e < 32; e++) {
                better += (e / 4 == best || e / 4 == second) && x.score[e] > x.score[x.expert[i]];
            }
            assert_int_equal(better, i);
        }
    }
    routes_close(r);
    expect_open_error("synth{preset=olmoe-1b-7b,groups=7,top_groups=2}", &(struct routes_env){.seed = 1}, "groups: 64 experts");
    expect_open_error("synth{preset=olmoe-1b-7b,groups=32,top_groups=2}", &(struct routes_env){.seed = 1}, "top_groups: 2 of 32");
}

static void test_open_errors(void **state)
{
    struct routes_env none = {0}, lite = {.model = "deepseek-v2-lite", .shape = {64, 6, 26}};
    struct routes_env odd = {.model = "odd-moe", .shape = {40, 4, 20}};
    (void)state;
    expect_open_error("synht", &none, "did you mean 'synth'");
    expect_open_error("synth", &none, "no model");
    expect_open_error("synth", &odd, "no fitted parameter set for odd-moe");
    expect_open_error("synth{preset=olmo-1b-7b}", &none, "'olmoe-1b-7b'");
    expect_open_error("synth{preset=olmoe-1b-7b,w_q=.7}", &none, "more than 1");
    expect_open_error("synth{experts=32}", &lite, "of 32 experts in 26 MoE layers, the model deepseek-v2-lite");
    expect_open_error("synth{preset=mixtral-8x7b,top_k=9}", &none, "top_k 9 of 8 experts");
    expect_open_error("synth{wq=.1}", &lite, "w_q");
    expect_open_error("uniform", &none, "have to be given");
}

static void test_model_gives_preset_and_shape(void **state)
{
    struct routes_env env = {.model = "Qwen3-30B-A3B", .shape = {128, 8, 48}};
    struct routes_env other = {.model = "odd-moe", .shape = {40, 4, 20}};
    struct err e = {0};
    struct routes *r;
    (void)state;
    assert_int_equal(routes_open(&r, "synth", &env, &e), 0);
    assert_int_equal(routes_shape(r).experts, 128);
    assert_non_null(strstr(routes_provenance(r), "qwen3-30b-a3b"));
    routes_close(r);
    assert_int_equal(routes_open(&r, "synth{preset=olmoe-1b-7b}", &other, &e), 0); /* its numbers, that shape */
    assert_int_equal(routes_shape(r).layers, 20);
    routes_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_walk_is_ar1),
        cmocka_unit_test(test_walk_is_markov),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_answers_are_valid),
        cmocka_unit_test(test_seeds_differ),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_latent),
        cmocka_unit_test(test_smallthinker_skew),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_model_gives_preset_and_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
