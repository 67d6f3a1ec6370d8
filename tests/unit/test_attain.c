/* SPDX-License-Identifier: Apache-2.0
 *
 * Goals by class: tokens against their deadlines (by brute force over every token), requests and programs
 * against hand computation, counters and slowdown against sums over the rows of a run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/core/rng.h"
#include "sim/observe/tokens.h"
#include "sim/run.h"

#define MS ((sim_ns)1000000)
#define TICK(ns) ((sim_tick)(ns) << SIM_TICKS_PER_NS_LOG2)

/* ---- tokens.c by brute force ---- */

struct brute {
    uint32_t out, on_time;
    bool late_gap;
    sim_ns last, due, tbt;
};

static void brute_token(struct brute *b, sim_ns at, bool after_step, sim_tick ticks)
{
    bool late = after_step ? ticks > TICK(b->tbt) : at - b->last > b->tbt;

    b->late_gap |= b->out > 0 && late;
    b->on_time += at <= b->due + (sim_ns)b->out * b->tbt;
    b->out++;
    b->last = at;
}

/* Random stretches around the TBT; the request sits some of them out. */
static void one_life(uint64_t life, bool split)
{
    struct rng_stream s = rng_stream(5, 0, "lives");
    struct arena a = {0};
    struct tokens t;
    struct brute b = {.due = (sim_ns)rng_range(s, life, 0, 1, 40) * MS, .tbt = 10 * MS};
    const struct token_track *k;
    sim_ns now = 10 * MS;
    bool on = true;

    assert_int_equal(tokens_init(&t, &a), 0);
    assert_true(tokens_watch(&t, 3, b.due, b.tbt));
    tokens_one(&t, 3, now);
    tokens_resume(&t, 3);
    brute_token(&b, now, false, 0);
    for (uint64_t i = 0; i < 30; i++) {
        uint64_t id = life << 8 | i;
        struct token_beats beats = {.epoch_ns = now, .began_ns = now, .n = rng_range(s, id, 1, 1, 40)};

        beats.base = TICK(rng_range(s, id, 2, 6, 12) * (uint64_t)MS) + (sim_tick)rng_range(s, id, 3, 0, 99999);
        beats.slope = (sim_tick)rng_range(s, id, 4, 0, 2) * TICK(MS / 20);
        beats.first_tick = beats.base;
        if (rng_range(s, id, 5, 0, 4) == 0) {
            on ? tokens_pause(&t, 3) : tokens_resume(&t, 3);
            on = !on;
        }
        for (uint64_t j = 1; j <= beats.n; j++) {
            sim_wide ticks = (sim_wide)beats.base * (sim_wide)j + (sim_wide)beats.slope * (sim_wide)(j * (j - 1) / 2);
            sim_ns end = beats.epoch_ns + (sim_ns)(ticks >> SIM_TICKS_PER_NS_LOG2);
            sim_tick took = beats.base + beats.slope * (sim_tick)(j - 1);

            if (split) { /* as a run without jumps tells it */
                tokens_beats(&t, &(struct token_beats){.began_ns = now, .first_tick = took,
                                                       .epoch_ns = end, .n = 1});
            }
            if (on) {
                brute_token(&b, end, b.last == now, took);
            }
            now = end;
        }
        if (!split) {
            tokens_beats(&t, &beats);
        }
        now += rng_range(s, id, 6, 0, 3) == 0 ? 5 * MS : 0; /* a prefill in between */
    }
    k = tokens_left(&t, 3);
    assert_non_null(k);
    assert_int_equal(k->out, b.out);
    assert_int_equal(k->on_time, b.on_time);
    assert_int_equal(k->late_gap, b.late_gap);
    tokens_release(&t);
    arena_release(&a);
}

static void test_tokens_by_brute_force(void **state)
{
    (void)state;
    for (uint64_t life = 0; life < 300; life++) {
        one_life(life, false);
        one_life(life, true);
    }
}

/* A gap of 2^44 ns, 4.9 hours: more ticks than 64 bits hold. */
static void test_gap_of_hours(void **state)
{
    (void)state;
    struct arena a = {0};
    struct tokens t;
    sim_ns later = (sim_ns)1 << 44;

    assert_int_equal(tokens_init(&t, &a), 0);
    assert_true(tokens_watch(&t, 3, SIM_NEVER, 10 * MS));
    tokens_one(&t, 3, 0);
    tokens_resume(&t, 3);
    tokens_beats(&t, &(struct token_beats){.first_tick = TICK(MS), .epoch_ns = MS, .n = 1});
    tokens_beats(&t, &(struct token_beats){.began_ns = later, .first_tick = TICK(MS), .epoch_ns = later + MS, .n = 1});
    assert_true(tokens_left(&t, 3)->late_gap);
    tokens_release(&t);
    arena_release(&a);
}

/* ---- whole runs ---- */

struct seen {
    struct arena arena;
    struct run_result result;
    struct request_row row[64];
};

static int keep(void *ctx, const struct request_row *r, struct err *e)
{
    struct seen *s = ctx;

    (void)e;
    assert_true(r->serial < 64);
    s->row[r->serial] = *r;
    return 0;
}

/* 10 ms a step for a prompt, 10 ms for decodes, one after the other when mixed. */
static struct seen *play(const char *csv, const char *const *set)
{
    char path[] = "/tmp/steelyard-attain-XXXXXX";
    int fd = mkstemp(path);
    struct seen *s = calloc(1, sizeof(*s));
    struct err e = {0};
    struct run_config c;
    struct run_hooks h = {.request = keep, .ctx = s};

    assert_true(fd >= 0 && s);
    assert_int_equal(write(fd, csv, strlen(csv)), (ssize_t)strlen(csv));
    close(fd);
    assert_int_equal(opt_defaults(run_options, &c, &s->arena, &e), 0);
    c.trace = path;
    c.cost = "linear{set=custom,prefill_a=10,decode_a=10}";
    c.batcher = "vllm-v1{version=0.13}";
    c.kv_tokens = 4096;
    c.check = true;
    for (; *set; set += 2) {
        assert_int_equal(opt_set_by_name(run_options, &c, "", set[0], set[1], &s->arena, &e), 0);
    }
    if (run_execute(&c, &h, &s->result, &s->arena, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    unlink(path);
    return s;
}

static void expect(const struct seen *s, const char *name, double want)
{
    const struct metric *m = run_metric(&s->result, name);

    if (!m || !(fabs(m->value - want) <= 1e-9 * (1 + fabs(want)))) {
        fail_msg("%s: %.12g, expected %.12g", name, m ? m->value : (double)NAN, want);
    }
}

static void done(struct seen *s)
{
    arena_release(&s->arena);
    free(s);
}

#define HEAD "time_s,prompt_tokens,output_tokens,slo_class,session,turn,gap_s\n"

/* Tokens of one request alone come at 10, 20, ... 50 ms. */
static void test_latency(void **state)
{
    static const char *const all[] = {"slo.classes", "latency:ttft=10ms,tbt=10ms", NULL};
    static const char *const late[] = {"slo.classes", "latency:ttft=28ms,tbt=4ms", NULL};
    static const char *const artifact[] = {"slo.classes", "latency:ttft=28ms,tbt=4ms", "slo.tokens",
                                           "artifact", NULL};
    struct seen *s = play(HEAD "0,16,5,latency,,,\n", all);

    (void)state;
    expect(s, "slo_attainment", 1);
    expect(s, "slo_request_goodput_latency", 1 / 0.05);
    expect(s, "slo_token_goodput", 5 / 0.05);
    done(s);
    s = play(HEAD "0,16,5,latency,,,\n", late); /* due at 28, 32, 36, 40, 44: the fifth is late */
    expect(s, "slo_attainment_latency", 0);
    expect(s, "slo_token_goodput_latency", 4 / 0.05);
    done(s);
    s = play(HEAD "0,16,5,latency,,,\n", artifact); /* due at 32, 36, 40, 44, 48 */
    expect(s, "slo_token_goodput", (16 + 8 * 4) / 0.05);
    done(s);
}

static void test_deadline_and_clients(void **state)
{
    static const char *const set[] = {"slo.client", "a:class=deadline,e2e=30ms;b:class=best-effort", NULL};
    struct seen *s = play("time_s,client,prompt_tokens,output_tokens\n"
                          "0,a,16,3\n1,a,16,4\n2,b,16,9\n3,c,16,1\n", set);

    (void)state;
    expect(s, "slo_attainment", 0.5);
    expect(s, "slo_attainment_deadline", 0.5);
    expect(s, "slo_request_goodput", 1 / 3.01);
    expect(s, "slo_token_goodput", 19 / 3.01);
    assert_null(run_metric(&s->result, "slo_attainment_latency"));
    assert_true(s->result.clients[0].slo_attainment == 0.5);
    assert_true(isnan(s->result.clients[1].slo_attainment) && isnan(s->result.clients[2].slo_attainment));
    done(s);
}

/* Two programs of two stages, 10 ms a token, 0.1 s between the stages: the first takes 20 + 100 + 30 ms,
 * the second 50 + 100 + 10 ms and is late by 10 ms. A third one loses a call that cannot run. */
static void test_programs(void **state)
{
    static const char *const set[] = {"slo.classes", "compound:e2e=150ms", "load.sessions", "on", NULL};
    struct seen *s = play(HEAD "0,16,2,compound,1,0,\n0,16,3,compound,1,1,0.1\n"
                               "5,16,5,compound,2,0,\n5,16,1,compound,2,1,0.1\n"
                               "9,16,1,compound,3,0,\n9,9000,1,compound,3,0,\n", set);

    (void)state;
    assert_int_equal(s->row[1].finish_ns, 150 * MS);
    expect(s, "slo_attainment_compound", 1 / 3.0);
    expect(s, "slo_attainment", 1 / 3.0);
    expect(s, "slo_request_goodput", 1 / (s->row[4].finish_ns / 1e9));
    expect(s, "slo_token_goodput", 37 / (s->row[4].finish_ns / 1e9));
    done(s);
}

static void test_slowdown_and_counters(void **state)
{
    static const char *const set[] = {"metrics.slowdown", "on", "service.wq", "2", NULL};
    struct seen *s = play("time_s,client,prompt_tokens,output_tokens\n"
                          "0,a,16,3\n0,b,16,60\n10,a,16,300\n20,b,16,5\n", set);
    double ufc[2] = {0, 0}, rfc[2] = {0, 0}, hf[2], tok = 0, busy = 0;

    (void)state;
    /* alone: 10 ms for the prompt, 10 for each further token */
    expect(s, "mean_slowdown_short", (s->row[0].finish_ns / 30e6 + 1) / 2);
    expect(s, "mean_slowdown_medium", s->row[1].finish_ns / 600e6);
    expect(s, "mean_slowdown_long", 1);
    for (int i = 0; i < 4; i++) {
        const struct request_row *r = &s->row[i];
        double l = (double)(r->finish_ns - r->arrival_ns) / 1e9;

        ufc[i % 2 && i != 2] += (r->prompt_tok + 2.0 * r->output_tok) / (1 + 0.1 * l);
        rfc[i % 2 && i != 2] += (r->prompt_tok + r->output_tok) /
                                ((double)(r->finish_ns - r->admit_ns) / 1e9);
        tok += r->prompt_tok + r->output_tok;
    }
    busy = run_metric(&s->result, "gpu_utilization")->value * s->row[3].finish_ns / 1e9;
    for (int c = 0; c < 2; c++) {
        rfc[c] *= busy / tok;
        assert_true(fabs(s->result.clients[c].ufc / ufc[c] - 1) < 1e-12);
        assert_true(fabs(s->result.clients[c].rfc / rfc[c] - 1) < 1e-12);
    }
    for (int c = 0; c < 2; c++) {
        hf[c] = 0.7 * ufc[c] / fmax(ufc[0], ufc[1]) + 0.3 * rfc[c] / fmax(rfc[0], rfc[1]);
        assert_true(fabs(s->result.clients[c].hf / hf[c] - 1) < 1e-12);
    }
    expect(s, "jain_ufc", pow(ufc[0] + ufc[1], 2) / (2 * (ufc[0] * ufc[0] + ufc[1] * ufc[1])));
    expect(s, "jain_rfc", pow(rfc[0] + rfc[1], 2) / (2 * (rfc[0] * rfc[0] + rfc[1] * rfc[1])));
    expect(s, "jain_hf", pow(hf[0] + hf[1], 2) / (2 * (hf[0] * hf[0] + hf[1] * hf[1])));
    done(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens_by_brute_force),
        cmocka_unit_test(test_gap_of_hours), cmocka_unit_test(test_latency),
        cmocka_unit_test(test_deadline_and_clients),  cmocka_unit_test(test_programs),
        cmocka_unit_test(test_slowdown_and_counters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
