/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's schedule of a layer, and what it fetches ahead, on cases worked out by hand. Times in microseconds:
 * GPU 10 an expert, link 30, CPU 8 a token and 20 once, unless a case says otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "policies/timelines.h"
#include "sim/core/rng.h"

#define EXPERTS 6
#define LAYERS  5
#define PAIRS   64

struct bench {
    struct arena a;
    struct err e;
    struct expert_services ops;
    struct expert_view v;
    uint8_t state[LAYERS * EXPERTS];
    double gpu_us, first_us, token_us, free_us, demands_us;
    double arrives_us[LAYERS * EXPERTS]; /* 0 = not on the wire */
    uint32_t predicted[LAYERS][EXPERTS]; /* loads */
    struct expert_token tok[PAIRS];
    uint16_t expert[PAIRS], use[PAIRS];
    uint8_t action[PAIRS];
    uint32_t load[EXPERTS];
    float score[EXPERTS];
    struct layer_work w;
    char wanted[128]; /* "1.4 " = layer 1, expert 4 */
};

static double gpu_s(void *ctx, uint32_t experts, uint32_t pairs)
{
    (void)pairs;
    return experts * ((struct bench *)ctx)->gpu_us * 1e-6;
}

static double layer_s(void *ctx)
{
    (void)ctx;
    return 10e-6;
}

static double cpu_s(void *ctx, uint32_t load, bool first)
{
    const struct bench *b = ctx;
    return 1e-6 * ((first ? b->first_us : 0) + load * b->token_us);
}

static double arrives_s(void *ctx, uint32_t layer, uint32_t expert)
{
    double us = ((struct bench *)ctx)->arrives_us[layer * EXPERTS + expert];
    return us > 0 ? 1e-6 * us : HUGE_VAL;
}

static double link_free_s(void *ctx, bool demands)
{
    const struct bench *b = ctx;
    return 1e-6 * (b->free_us + (demands ? b->demands_us : 0));
}

static uint32_t predict(void *ctx, uint32_t layer, double recall, struct expert_guess *ret)
{
    const struct bench *b = ctx;
    uint32_t n = 0;
    (void)recall;
    for (uint32_t load = PAIRS; load > 0; load--) {
        for (uint32_t j = 0; j < EXPERTS; j++) {
            if (b->predicted[layer][j] == load) {
                ret[n++] = (struct expert_guess){j, load};
            }
        }
    }
    return n;
}

static bool want(void *ctx, uint32_t layer, uint32_t expert, bool urgent)
{
    struct bench *b = ctx;
    size_t n = strlen(b->wanted);
    assert_false(urgent);
    assert_true(n + 5 < sizeof b->wanted);
    b->wanted[n] = (char)('0' + layer);
    b->wanted[n + 1] = '.';
    b->wanted[n + 2] = (char)('0' + expert);
    b->wanted[n + 3] = ' ';
    b->wanted[n + 4] = '\0';
    return b->state[layer * EXPERTS + expert] == EXPERT_RESIDENT;
}

/* "01" = the experts of `layer` that are there. */
static void put(struct bench *b, uint32_t layer, const char *resident)
{
    for (; *resident; resident++) {
        b->state[layer * EXPERTS + (uint32_t)(*resident - '0')] = EXPERT_RESIDENT;
    }
}

static void open_bench(struct bench *b)
{
    *b = (struct bench){.ops = {.gpu_s = gpu_s, .layer_s = layer_s, .cpu_s = cpu_s, .arrives_s = arrives_s,
                                .link_free_s = link_free_s, .predict = predict, .want = want},
                        .gpu_us = 10, .first_us = 20, .token_us = 8};
    b->v = (struct expert_view){.env = {.arena = &b->a, .layers = LAYERS, .experts = EXPERTS, .top_k = 2,
                                        .rooms = LAYERS, .slots = EXPERTS, .expert_bytes = 1, .expert_params = 1,
                                        .load_s = 30e-6},
                                .state = b->state, .ops = &b->ops, .ctx = b};
}

static void close_bench(struct bench *b)
{
    arena_release(&b->a);
}

/* A step of tokens with one choice each, `load` of every expert, in layer 0. */
static void route(struct bench *b, const uint32_t load[EXPERTS], bool prefill)
{
    uint32_t n = 0;
    for (uint32_t j = 0; j < EXPERTS; j++) {
        b->load[j] = load[j];
        for (uint32_t i = 0; i < load[j]; i++, n++) {
            b->expert[n] = (uint16_t)j;
            b->tok[n].prefill = prefill;
        }
    }
    memset(b->action, PAIR_RUN, sizeof b->action);
    b->w = (struct layer_work){.n_tok = n, .k = 1, .tok = b->tok, .expert = b->expert, .load = b->load,
                               .score = b->score, .action = b->action, .use = b->use};
}

/* ---- the schedule ---- */

static void decide(struct bench *b, const char *spec, bool prefill, const uint32_t load[EXPERTS], const char *to_cpu)
{
    const struct miss_ops *ops;
    void *st;

    assert_int_equal(miss_open(spec, &ops, &st, &b->a, &b->e), 0);
    assert_int_equal(ops->init(st, &b->v.env, &b->e), 0);
    route(b, load, prefill);
    ops->decide(st, &b->v, &b->w);
    for (uint32_t i = 0; i < b->w.n_tok; i++) {
        bool cpu = strchr(to_cpu, (int)('0' + b->expert[i])) != NULL;
        assert_int_equal(b->action[i], cpu ? PAIR_CPU : PAIR_RUN);
    }
}

/* Loads 4 1 | 5 1 2, the first two there. GPU 0 (10), GPU 1 (20), CPU 3 (28), link 2 (30), GPU 2 (40),
 * CPU 4 (44, before the link's 60). With an idle CPU and nothing missing, it takes the least loaded. */
static void test_paper(void **state)
{
    (void)state;
    static const uint32_t load[] = {4, 1, 5, 1, 2, 0};
    struct bench b;

    open_bench(&b);
    put(&b, 0, "01");
    decide(&b, "hybrid", false, load, "34");
    decide(&b, "hybrid", true, load, "34");
    decide(&b, "hybrid{prefill_gpu=on}", true, load, "");
    b.first_us = 1000; /* a slow CPU is left out */
    decide(&b, "hybrid", false, load, "");
    close_bench(&b);

    /* A fast one takes all that is missing (until 1, 3 and 8), and not what the GPU ends first (10 against 12). */
    open_bench(&b);
    put(&b, 0, "0");
    b.first_us = 0;
    b.token_us = 1;
    decide(&b, "hybrid", false, (const uint32_t[]){4, 0, 5, 1, 2, 0}, "234");
    close_bench(&b);

    /* GPU 10, 20, 30 against CPU 28 with the third: the least loaded goes there. */
    open_bench(&b);
    put(&b, 0, "012");
    decide(&b, "hybrid", false, (const uint32_t[]){4, 3, 1, 0, 0, 0}, "2");
    close_bench(&b);
}

/* Figure 5 of the paper: A and B (load 1) and C (load 3) missing, D (4) and E (1) there; CPU 1 a token, link 3, and
 * the GPU's constant is 2.5, so that D ends after B as drawn (there a shared expert goes before). CPU A (1), CPU B
 * (2), GPU D (2.5), link C (3), CPU E (3) although it is cached, GPU C (5.5). */
static void test_figure_5(void **state)
{
    (void)state;
    struct bench b;

    open_bench(&b);
    put(&b, 0, "34");
    b.gpu_us = 2.5;
    b.first_us = 0;
    b.token_us = 1;
    b.v.env.load_s = 3e-6;
    decide(&b, "hybrid", false, (const uint32_t[]){1, 1, 3, 4, 1, 0}, "014");
    close_bench(&b);
}

/* Expert 1 is on the wire. It comes in 3, so the GPU has both by 20 and the CPU's 28 is too late; in 100, so the
 * CPU does it in 28 and the GPU would have waited. A copy that is far off is not counted on. */
static void test_on_the_wire(void **state)
{
    (void)state;
    static const uint32_t load[] = {1, 1, 0, 0, 0, 0};
    struct bench b;

    open_bench(&b);
    put(&b, 0, "0");
    b.state[1] = EXPERT_IN_FLIGHT;
    b.arrives_us[1] = b.free_us = 3;
    decide(&b, "hybrid", false, load, "");
    b.arrives_us[1] = b.free_us = 100;
    decide(&b, "hybrid", false, load, "1");
    decide(&b, "hybrid{rule=code}", false, load, "1");
    close_bench(&b);
}

/* Expert 1 (2 tokens) is missing, and the CPU would end it at 46. With an idle link it comes at 30; with one that is
 * busy for another 20 it comes at 50. */
static void test_busy_link(void **state)
{
    (void)state;
    static const uint32_t load[] = {1, 2, 0, 0, 0, 0};
    struct bench b;

    open_bench(&b);
    put(&b, 0, "0");
    b.first_us = 30;
    decide(&b, "hybrid", false, load, "");
    b.free_us = 20;
    decide(&b, "hybrid", false, load, "1");
    close_bench(&b);
}

/* The released code's list: 0 (4), 1 (1) there, then 2 (5), 4 (2), 3 (1). GPU 0 (10 <= 28), 1 (20 <= 28); 2 needs
 * its copy until 30, so 40 > 28: the CPU takes the tail, 3 (28). 40 <= 44: GPU 2. 4: copy until 60, 70 > 44: CPU. */
static void test_code(void **state)
{
    (void)state;
    struct bench b;

    open_bench(&b);
    put(&b, 0, "01");
    decide(&b, "hybrid{rule=code}", false, (const uint32_t[]){4, 1, 5, 1, 2, 0}, "34");
    /* The tail may be one that is there: 10 and 20 on the GPU, 30 > 28 for the last. */
    put(&b, 0, "012");
    decide(&b, "hybrid{rule=code}", false, (const uint32_t[]){4, 3, 1, 0, 0, 0}, "2");
    close_bench(&b);
}

/* A wait-only machine: without a CPU everything is copied, and the makespan is the link's. */
static void test_no_cpu(void **state)
{
    (void)state;
    struct bench b;
    struct timelines t;

    open_bench(&b);
    b.token_us = HUGE_VAL;
    assert_int_equal(timelines_init(&t, &b.v.env, &b.e), 0);
    for (uint32_t j = 0; j < 3; j++) {
        timelines_add(&t, (struct timelines_expert){.expert = j, .load = 1, .ready_s = j == 0 ? 0 : HUGE_VAL});
    }
    /* Copies end at 30 and 60; the last expert at 70. */
    assert_true(fabs(timelines_run(&t, &b.v, TIMELINES_PAPER, 0) - 70e-6) < 1e-12);
    assert_true(fabs(timelines_run(&t, &b.v, TIMELINES_CODE, 0) - 70e-6) < 1e-12);
    assert_true(fabs(timelines_run(&t, &b.v, TIMELINES_PAPER, 5e-6) - 75e-6) < 1e-12);
    close_bench(&b);
}

/* ---- against all ways of sharing out ---- */

/* The makespan when the experts of `cpu` (bits) are the CPU's: the GPU computes who is there, then the others as the
 * link brings them; every expert takes it the same, so the order among them does not matter. */
static double span_of(const struct bench *b, const struct timelines_expert *x, uint32_t n, uint32_t cpu, double link_us)
{
    double cpu_us = 0, gpu_us = 0;

    for (uint32_t i = 0; i < n; i++) {
        if (cpu >> i & 1) {
            cpu_us += (cpu_us > 0 ? 0 : b->first_us) + x[i].load * b->token_us;
        } else if (x[i].ready_s <= 0) {
            gpu_us += b->gpu_us;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!(cpu >> i & 1) && x[i].ready_s > 0) {
            link_us += 30;
            gpu_us = fmax(gpu_us, link_us) + b->gpu_us;
        }
    }
    return fmax(cpu_us, gpu_us);
}

static uint32_t answer_of(const struct timelines *t)
{
    uint32_t cpu = 0;

    for (uint32_t i = 0; i < t->n_here; i++) {
        cpu |= (uint32_t)t->here[i].cpu << t->here[i].expert;
    }
    for (uint32_t i = 0; i < t->n_missing; i++) {
        cpu |= (uint32_t)t->missing[i].cpu << t->missing[i].expert;
    }
    return cpu;
}

/* Both rules say what their answer takes, and no way is shorter than the shortest. */
static void test_all_ways(void **state)
{
    (void)state;
    struct bench b;
    struct timelines t;
    struct rng_stream r = rng_stream(7, 0, "timelines");

    open_bench(&b);
    assert_int_equal(timelines_init(&t, &b.v.env, &b.e), 0);
    for (uint64_t c = 0; c < 2000; c++) {
        struct timelines_expert x[EXPERTS];
        uint32_t n = (uint32_t)rng_range(r, c, 0, 1, EXPERTS);
        double link_us = (double)rng_range(r, c, 1, 0, 40), best = HUGE_VAL;

        b.gpu_us = (double)rng_range(r, c, 2, 1, 40);
        b.first_us = (double)rng_range(r, c, 3, 1, 40);
        timelines_clear(&t);
        for (uint32_t i = 0; i < n; i++) {
            bool here = rng_range(r, c, 10 + i, 0, 1);
            x[i] = (struct timelines_expert){i, (uint32_t)rng_range(r, c, 20 + i, 1, 5), here ? 0 : HUGE_VAL, false};
            timelines_add(&t, x[i]);
        }
        for (uint32_t cpu = 0; cpu < 1u << n; cpu++) {
            best = fmin(best, span_of(&b, x, n, cpu, link_us));
        }
        for (int rule = TIMELINES_PAPER; rule <= TIMELINES_CODE; rule++) {
            double us = 1e6 * timelines_run(&t, &b.v, (enum timelines_rule)rule, 1e-6 * link_us);

            assert_true(fabs(us - span_of(&b, x, n, answer_of(&t), link_us)) < 1e-6);
            assert_true(us > best - 1e-6);
        }
    }
    close_bench(&b);
}

/* ---- what is fetched ahead ---- */

static void *open_ahead(struct bench *b, const char *spec, const struct prefetch_ops **ops)
{
    void *st;

    assert_int_equal(prefetch_open(spec, ops, &st, &b->a, &b->e), 0);
    assert_int_equal((*ops)->init(st, &b->v.env, &b->e), 0);
    return st;
}

/* Layer 0 computes one expert that is there, so its gate to layer 1's takes 10 + 10. One copy (30) begins before
 * that. Layer 1 misses expert 2 (1 token), layer 2 misses expert 3 (4 tokens), neither has another one.
 *   Layer 1 as it is: CPU 28. The copy ends 10 after its gate, done at 20: saves 8.
 *   Layer 2, gate at 20 + 28 + 10 = 58: as it is min(CPU 52, copy 30 + 10) = 40; there: 10. Saves 30.
 * So the farther layer is served. */
static void test_impact(void **state)
{
    (void)state;
    struct bench b;
    const struct prefetch_ops *ops;

    open_bench(&b);
    void *st = open_ahead(&b, "impact", &ops);
    put(&b, 0, "0");
    route(&b, (const uint32_t[]){1, 0, 0, 0, 0, 0}, false);
    b.predicted[1][2] = 1;
    b.predicted[2][3] = 4;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "2.3 ");

    /* The demands in line keep the link busy beyond the next gate: nothing. */
    b.wanted[0] = '\0';
    b.demands_us = 25;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "");

    /* Who is there and will be needed is named, so that it stays. */
    b.demands_us = 0;
    b.predicted[1][2] = b.predicted[2][3] = 0;
    b.predicted[1][4] = 3;
    put(&b, 1, "4");
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "1.4 ");
    close_bench(&b);
}

/* Scores after one gate of layer 1 with a = 0.5 and p = 2k = 4: .2 .15 .1 .05 for experts 5 0 3 2, 0 for the others;
 * the gate of layer 0 names k = 2 of them, or `width`; a prefill names none, nor does the last layer. */
static void test_top_score(void **state)
{
    (void)state;
    static const float score[EXPERTS] = {.3f, .01f, .1f, .2f, .02f, .4f};
    struct bench b;
    const struct prefetch_ops *ops;

    open_bench(&b);
    void *st = open_ahead(&b, "top-score", &ops);
    memcpy(b.score, score, sizeof score);
    route(&b, (const uint32_t[]){1, 0, 0, 0, 0, 0}, false);
    b.w.layer = 1;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, ""); /* layer 2 has no scores yet */
    b.w.layer = 0;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "1.5 1.0 ");
    route(&b, (const uint32_t[]){1, 0, 0, 0, 0, 0}, true);
    ops->routed(st, &b.v, &b.w);
    b.w.layer = LAYERS - 1;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "1.5 1.0 ");

    b.wanted[0] = '\0';
    st = open_ahead(&b, "top-score{width=5}", &ops);
    route(&b, (const uint32_t[]){1, 0, 0, 0, 0, 0}, false);
    b.w.layer = 1;
    ops->routed(st, &b.v, &b.w);
    b.w.layer = 0;
    ops->routed(st, &b.v, &b.w);
    assert_string_equal(b.wanted, "1.5 1.0 1.3 1.2 ");
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paper),     cmocka_unit_test(test_figure_5), cmocka_unit_test(test_on_the_wire),
        cmocka_unit_test(test_busy_link), cmocka_unit_test(test_code),     cmocka_unit_test(test_no_cpu),
        cmocka_unit_test(test_all_ways),
        cmocka_unit_test(test_impact),    cmocka_unit_test(test_top_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
