/* SPDX-License-Identifier: Apache-2.0
 *
 * Fits the latent-factor router to the published statistics of a model's routes by random search around its
 * present preset, and prints parameters with the statistics on other seeds. Some minutes for a model; w_q is
 * held above .04, as a table of caches alone does not tell it from 0. Usage: router_fit PRESET [TRIES] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/rng.h"
#include "traces/route_stats.h"
#include "traces/routes_synth.h"

/* The policy study of moe-speed-of-light, in per cent: LRU, Belady and share of the most used at E/8, E/4 and
 * 3E/8; different experts of 16 tokens; reuse of the token before, NAN where not given. */
static const struct target {
    const char *preset;
    double lru[3], belady[3], share[3], distinct, reuse;
} targets[] = {
    {"olmoe-1b-7b", {47, 65, 76}, {63, 80, 88}, {31, 50, 63}, 35.8, NAN},
    {"gpt-oss-20b", {46, 68, 81}, {63, 82, 91}, {25, 45, 61}, 16.2, .464},
    {"qwen3-30b-a3b", {61, 81, 91}, {77, 91, 96}, {26, 43, 58}, 38.9, .438},
    {"gpt-oss-120b", {63, 80, 89}, {79, 90, 95}, {36, 56, 71}, 26.9, .315},
    {"deepseek-v2-lite-long", {30, 47, 60}, {52, 70, 80}, {17, 31, 44}, 40.2, NAN},
    {"qwen1.5-moe-a2.7b", {25, 40, 55}, {50, 67, 79}, {19, 32, 46}, 34.1, NAN},
    {"qwen2-57b-a14b", {31, 46, 58}, {51, 68, 79}, {30, 45, 58}, 45.8, NAN},
    {"phi-3.5-moe", {44, 63, 75}, {59, 77, 87}, {22, 39, 53}, 9.0, NAN},
};

#define STATISTICS 11
#define SEQUENCES  10
#define TOKENS     768
#define FIT_SEEDS  8

struct params {
    double dim, sigma_a, w_q, w_f, rho, sigma_n;
};

static void measure(const char *preset, const struct params *p, uint64_t seed, double *v)
{
    uint32_t length[SEQUENCES];
    char spec[300];
    struct arena a = {0};
    struct err e = {0};
    struct routes_env env = {.seed = seed};
    struct route_sample s;
    struct routes *r;
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        length[i] = TOKENS;
    }
    snprintf(spec, sizeof(spec), "synth{preset=%s,layers=1,d=%.0f,sigma_a=%.4f,w_q=%.4f,w_f=%.4f,rho=%.4f,"
             "sigma_n=%.4f,weights_seed=%llu}", preset, p->dim, p->sigma_a, p->w_q, p->w_f, p->rho, p->sigma_n,
             (unsigned long long)seed);
    if (routes_open(&r, spec, &env, &e) < 0 ||
        route_sample_take(&s, r, length, SEQUENCES, &a, NULL, NULL, &e) < 0) {
        fprintf(stderr, "%s\n", e.msg);
        exit(1);
    }
    struct route_layer l = route_sample_layer(&s, 0);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t c = l.experts * (i + 1) / 8;
        v[i] += 100 * route_cache_hits(&l, ROUTE_LRU, c, NULL);
        v[3 + i] += 100 * route_cache_hits(&l, ROUTE_BELADY, c, NULL);
        v[6 + i] += 100 * route_cache_hits(&l, ROUTE_STATIC, c, NULL);
    }
    v[9] += route_distinct(&l, 16);
    v[10] += route_reuse(&l, 1);
    routes_close(r);
    arena_release(&a);
}

static void mean_of(const char *preset, const struct params *p, uint64_t first, uint32_t seeds, double *v)
{
    memset(v, 0, STATISTICS * sizeof(*v));
    for (uint32_t i = 0; i < seeds; i++) {
        measure(preset, p, first + i, v);
    }
    for (uint32_t i = 0; i < STATISTICS; i++) {
        v[i] /= seeds;
    }
}

static double wanted(const struct target *t, uint32_t i)
{
    return i < 3 ? t->lru[i] : i < 6 ? t->belady[i - 3] : i < 9 ? t->share[i - 6] : i == 9 ? t->distinct : t->reuse;
}

static double rms(const struct target *t, const double *v)
{
    double sum = 0, n = 0;
    for (uint32_t i = 0; i < STATISTICS; i++) {
        if (isfinite(wanted(t, i))) {
            sum += pow(v[i] / wanted(t, i) - 1, 2);
            n++;
        }
    }
    return sqrt(sum / n);
}

static double moved(double x, double step, double u, double lo, double hi)
{
    double y = x + step * (2 * u - 1);
    return y < lo ? lo : y > hi ? hi : y;
}

static struct params neighbour(const struct params *p, uint32_t try, double scale)
{
    struct rng_stream s = rng_stream(1, 0, "router-fit");
    double u[6];
    for (uint32_t i = 0; i < 6; i++) {
        u[i] = rng_uniform(s, try, i);
    }
    struct params q = {round(moved(p->dim, 6 * scale, u[0], 3, 40)),
                       moved(p->sigma_a, 0.15 * scale, u[1], 0, 1), moved(p->w_q, 0.2 * scale, u[2], 0.04, 0.7),
                       moved(p->w_f, 0.2 * scale, u[3], 0, 0.9), moved(p->rho, 0.15 * scale, u[4], 0, 0.99),
                       moved(p->sigma_n, 0.25 * scale, u[5], 0, 1.5)};
    q.w_f = q.w_q + q.w_f > 1 ? 1 - q.w_q : q.w_f;
    return q;
}

static void print(const char *what, const struct target *t, const struct params *p, const double *v)
{
    printf("%s: d %.0f sigma_a %.3f w_q %.3f w_f %.3f rho %.3f sigma_n %.3f, RMS %.1f %%\n", what, p->dim,
           p->sigma_a, p->w_q, p->w_f, p->rho, p->sigma_n, 100 * rms(t, v));
    for (uint32_t i = 0; i < STATISTICS; i++) {
        printf(" %.4g/%.4g", v[i], wanted(t, i));
    }
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    uint32_t tries = argc > 2 ? (uint32_t)atoi(argv[2]) : 300;
    for (size_t i = 0; argc > 1 && i < sizeof(targets) / sizeof(targets[0]); i++) {
        const struct router_preset *preset = router_preset_find(targets[i].preset);
        if (strcmp(targets[i].preset, argv[1]) != 0 || !preset) {
            continue;
        }
        struct params best = {preset->dim, preset->sigma_a, preset->w_q, preset->w_f, preset->rho,
                              preset->sigma_n};
        double v[STATISTICS], least;
        mean_of(argv[1], &best, 100, FIT_SEEDS, v);
        print("before", &targets[i], &best, v);
        least = rms(&targets[i], v);
        for (uint32_t k = 0; k < tries; k++) {
            struct params p = neighbour(&best, k, 1 - 0.85 * k / tries);
            mean_of(argv[1], &p, 100, FIT_SEEDS, v);
            if (rms(&targets[i], v) < least) {
                least = rms(&targets[i], v);
                best = p;
            }
        }
        mean_of(argv[1], &best, 100, FIT_SEEDS, v);
        print("fitted", &targets[i], &best, v);
        mean_of(argv[1], &best, 1000, 2 * FIT_SEEDS, v);
        print("other seeds", &targets[i], &best, v);
    }
    return 0;
}
