/* SPDX-License-Identifier: Apache-2.0
 *
 * From a probe's file to a cost model. No GPU is needed: the file is that of a made-up one (probe_synth.h),
 * and the fit has to find what it was made of. */
#include <gsl/gsl_errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calibrate/fit.h"
#include "calibrate/probe_file.h"
#include "models/cost.h"
#include "tests/unit/probe_synth.h"

struct world {
    struct arena a;
    struct err e;
    struct fit *f;
    char path[40], profile[40];
    const struct cost_ops *ops;
    void *state;
};

static const char *data_dir(void)
{
    const char *d = getenv("STEELYARD_DATA");
    return d ? d : "models";
}

static void put(char *path, const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static int fit_text(struct world *w, const char *text, const char *gpu, const char *model, uint32_t tp)
{
    *w = (struct world){.path = "/tmp/steelyard-probe-XXXXXX", .profile = "/tmp/steelyard-fit-XXXXXX"};
    put(w->path, text);
    w->f = arena_alloc(&w->a, sizeof(*w->f));
    static struct fit_request q; /* the fit keeps a pointer to it */
    q = (struct fit_request){.source = "probe", .dir = w->path, .gpu = gpu, .model = model, .data_dir = data_dir(),
                             .tp = tp};
    int rc = fit_run(w->f, &q, &w->a, &w->e);
    unlink(w->path);
    return rc;
}

static void fit_synth(struct world *w, bool quick, const char *without, size_t stop, const char *model, uint32_t tp)
{
    char *text = synth_file(quick, 2, without, stop, 0.02);
    if (fit_text(w, text, "h200", model, tp) != 0) {
        fail_msg("%s", w->e.msg);
    }
    free(text);
}

static void close_world(struct world *w)
{
    fit_release(w->f);
    arena_release(&w->a);
}

static const struct profile_error *family(const struct world *w, const char *name)
{
    for (uint32_t i = 0; i < w->f->profile.n_errors; i++) {
        if (strcmp(w->f->profile.error[i].family, name) == 0) {
            return &w->f->profile.error[i];
        }
    }
    fail_msg("no family '%s'", name);
    return NULL;
}

static bool noted(const struct world *w, const char *part)
{
    for (uint32_t i = 0; i < w->f->n_notes; i++) {
        if (strstr(w->f->note[i], part)) {
            return true;
        }
    }
    return false;
}

static void open_model(struct world *w, const char *options)
{
    char spec[200];
    int fd = mkstemp(w->profile);
    FILE *out = fdopen(fd, "w");
    assert_int_equal(profile_write(&w->f->profile, out, &w->e), 0);
    fclose(out);
    struct cost_env env = {.llm = &w->f->llm, .gpu = &w->f->gpu, .tp = w->f->q->tp, .max_seqs = 256, .arena = &w->a};
    w->ops = cost_find("table");
    w->state = arena_alloc(&w->a, w->ops->state_size);
    snprintf(spec, sizeof(spec), "table{profile=%s%s}", w->profile, options);
    if (opt_spec_apply(spec, w->ops->options, w->state, &w->a, &w->e) < 0 || w->ops->init(w->state, &env, &w->e) < 0) {
        fail_msg("%s", w->e.msg);
    }
    unlink(w->profile);
}

static double us_of(const struct world *w, struct batch_shape b)
{
    struct cost_affine r;
    w->ops->iteration(w->state, &b, &r);
    return (double)r.base / SIM_TICKS_PER_NS / 1e3;
}

static void assert_near(double got, double want, double share)
{
    if (!(fabs(got / want - 1) <= share)) {
        fail_msg("%.6g, expected %.6g within %g %%", got, want, 100 * share);
    }
}

static struct batch_shape decodes(uint32_t n, uint64_t ctx)
{
    return (struct batch_shape){.n_decode = n, .decode_ctx_tok = n * ctx, .n_resident = n};
}

static struct batch_shape chunk(uint64_t q, uint64_t before, uint32_t done)
{
    return (struct batch_shape){.n_prefill = 1, .prefill_tok = q, .prefill_ctx_tok = before + q,
                                .prefill_pairs = q * before + q * (q + 1) / 2, .prefill_sq = q * q, .prefill_done = done};
}

#define BARE ",step_us=0,seq_us=0,wait_us=0,graph_pad=off"

static void steps_of_a_gpu_that_is_known(void **state)
{
    struct world w = *(struct world *)*state;
    open_model(&w, BARE);
    /* Places of the probe, and others. */
    static const uint32_t batch[] = {1, 8, 24, 40, 100, 200};
    static const uint64_t context[] = {100, 1000, 1500, 6000};
    for (size_t i = 0; i < sizeof(batch) / sizeof(batch[0]); i++) {
        for (size_t j = 0; j < sizeof(context) / sizeof(context[0]); j++) {
            double n = batch[i], tok = n * (double)context[j];
            assert_near(us_of(&w, decodes(batch[i], context[j])),
                        synth_dense_us(n, n) + 32 * synth_decode_us(32, 8, 128, n, tok), 0.03);
        }
    }
    static const uint64_t chunks[][2] = {{512, 0}, {700, 0}, {2048, 0}, {300, 3000}, {1500, 8000}, {4096, 100}};
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        double q = (double)chunks[i][0], before = (double)chunks[i][1];
        assert_near(us_of(&w, chunk(chunks[i][0], chunks[i][1], 1)),
                    synth_dense_us(q, 1) + 32 * synth_chunk_us(32, 8, 128, q, before), 0.04);
    }
    /* A chunk beside decodes: products over all tokens, attention of each. */
    struct batch_shape both = chunk(256, 512, 0);
    both.n_decode = 30;
    both.decode_ctx_tok = 30000;
    assert_near(us_of(&w, both), synth_dense_us(286, 30) + 32 * (synth_chunk_us(32, 8, 128, 256, 512) +
                                                           synth_decode_us(32, 8, 128, 30, 30000)), 0.03);
}

/* The noise is 1 % in the mean: no held-out error can be below that by much, and none far above. */
static void errors_are_those_of_the_noise(void **state)
{
    struct world w = *(struct world *)*state;
    static const struct { const char *name; double most; } families[] = {
        {"gemm", 0.03}, {"gemm_shape", 0.05}, {"attention", 0.05}, {"small", 0.05}, {"mixed", 0.03}};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        const struct profile_error *x = family(&w, families[i].name);
        if (!(x->error > 0.004 && x->error < families[i].most && x->error < x->roofline_error)) {
            fail_msg("%s: %.4f (roofline %.4f)", families[i].name, x->error, x->roofline_error);
        }
    }
}

static double coefficient(const struct world *w, const char *curve, const char *name)
{
    for (uint32_t i = 0; i < w->f->n_curves; i++) {
        for (uint32_t k = 0; k < w->f->curve[i].n; k++) {
            if (strcmp(w->f->curve[i].name, curve) == 0 && strcmp(w->f->curve[i].coef[k], name) == 0) {
                return w->f->curve[i].c[k];
            }
        }
    }
    fail_msg("no coefficient '%s' of '%s'", name, curve);
    return 0;
}

static void constants_come_back(void **state)
{
    struct world w = *(struct world *)*state;
    assert_near(1e6 * coefficient(&w, "gemm", "multiply rate"), SYNTH_FLOPS, 0.05);
    assert_near(1e6 * coefficient(&w, "gemm", "memory rate"), SYNTH_BYTES, 0.05);
    assert_near(coefficient(&w, "gemm", "launch floor"), SYNTH_GEMM_FLOOR, 0.4);
    assert_near(1e6 * coefficient(&w, "attention_decode", "memory rate"), 0.85 * SYNTH_BYTES, 0.05);
    assert_near(1e6 * coefficient(&w, "attention_chunk", "multiply rate"), SYNTH_ATTN, 0.1);
    /* Unequal contexts were made 0.1 standard deviations longer. */
    const struct profile_skew *s = &w.f->profile.skew;
    assert_true(s->n >= 2);
    for (uint32_t i = 0; i < s->n; i++) {
        assert_true(s->pure[i] > 0.02 && s->pure[i] < 0.2);
    }
}

/* base + slope * k is what a fresh evaluation says, to the tick, for as long as it claims to hold. */
static void decodes_stay_affine(void **unused)
{
    (void)unused;
    struct world w;
    fit_synth(&w, true, NULL, 0, "llama-3.1-8b", 1);
    open_model(&w, "");
    for (uint32_t n = 1; n < 200; n += 37) {
        for (uint64_t ctx = 20; ctx < 9000; ctx = ctx * 3 + 1) {
            struct batch_shape b = decodes(n, ctx);
            struct cost_affine r, fresh;
            w.ops->iteration(w.state, &b, &r);
            assert_true(r.valid >= 1);
            uint64_t most = r.valid < 500 ? r.valid : 500;
            for (uint64_t k = 0; k < most; k += 7) {
                struct batch_shape later = b;
                later.decode_ctx_tok += k * n;
                w.ops->iteration(w.state, &later, &fresh);
                assert_true(fresh.base == r.base + r.slope * (sim_tick)k);
            }
        }
    }
    close_world(&w);
}

/* ---- what is missing ---- */

static void cut_short(void **unused)
{
    (void)unused;
    struct world w;
    /* After some products: no attention, no small kernels yet. */
    fit_synth(&w, false, NULL, 300, "llama-3.1-8b", 1);
    assert_true(noted(&w, "cut short: 300 cases"));
    assert_true(noted(&w, "attention_decode: no heads of 128 were measured; the roofline stands in"));
    assert_true(noted(&w, "norms: 0 points of 'norm' are too few; memory traffic stands in"));
    open_model(&w, BARE);
    assert_true(us_of(&w, decodes(16, 1000)) > 1000);
    close_world(&w);
    /* At once: nothing was measured, and all of it is the roofline. */
    fit_synth(&w, false, NULL, 1, "llama-3.1-8b", 1);
    assert_true(noted(&w, "products: 0 points of bf16 weights are too few; the roofline stands in"));
    open_model(&w, BARE);
    assert_true(us_of(&w, decodes(16, 1000)) > 1000);
    close_world(&w);
}

static void groups_left_out(void **unused)
{
    (void)unused;
    struct world w;
    fit_synth(&w, true, "decode", 0, "llama-3.1-8b", 1);
    assert_true(noted(&w, "attention_decode: no heads of 128"));
    assert_true(fit_term_named(w.f, "attention_chunk") && fit_term_named(w.f, "attention_decode"));
    close_world(&w);
}

/* Another model: products of near shape, heads that were not measured (half the KV heads are half the
 * traffic), all-reduces between two. */
static void another_model(void **unused)
{
    (void)unused;
    struct world w;
    fit_synth(&w, false, NULL, 0, "codellama-34b", 2);
    double x[] = {64, 8192};
    assert_near(fit_term_at(fit_term_named(w.f, "attention_decode"), x), synth_decode_us(32, 4, 128, 64, 64 * 8192), 0.1);
    assert_true(noted(&w, "was not measured; from products of near shape"));
    assert_true(noted(&w, "attention_decode: 32 heads over 4 were not measured; from 64 over 8, scaled"));
    assert_true(fit_term_named(w.f, "all_reduce") != NULL);
    open_model(&w, BARE);
    close_world(&w);
}

/* Mixtral's experts are in the probe's list; heads and reduces of one GPU. */
static void routed_experts(void **unused)
{
    (void)unused;
    struct world w;
    fit_synth(&w, true, NULL, 0, "mixtral-8x7b", 1);
    const struct profile_term *up = fit_term_named(w.f, "experts_gate_up"), *down = fit_term_named(w.f, "experts_down");
    assert_true(up && down && fit_term_named(w.f, "router"));
    assert_string_equal(up->family, "moe");
    assert_false(noted(&w, "were not measured; the roofline stands in"));
    for (double m = 1; m <= 4096; m *= 64) {
        assert_near(fit_term_at(up, &m), synth_moe_us(8, 2, 28672, 4096, m), 0.03);
        assert_near(fit_term_at(down, &m), synth_moe_us(8, 2, 4096, 14336, m), 0.03);
    }
    close_world(&w);
    /* Half of each on one of two: in no list. */
    fit_synth(&w, true, NULL, 0, "mixtral-8x7b", 2);
    assert_true(noted(&w, "experts_gate_up: 8 experts of 14336 x 4096 were not measured; the roofline stands in"));
    close_world(&w);
}

/* ---- any few cases ---- */

/* Whichever few cases a probe got to, there is a profile. */
static void any_few_cases(void **unused)
{
    (void)unused;
    static const char *const kinds = "limit,launch,memory,gemm,moe_gemm,prefill,decode,mixed,norm,rope,act,embed,argmax";
    struct rng_stream draw = rng_stream(3, 0, "few");
    for (uint64_t i = 0; i < 12; i++) {
        struct world w;
        char without[200] = "", word[20];
        int used;
        for (const char *p = kinds; sscanf(p, "%19[^,]%n", word, &used) == 1; p += used + (p[used] == ',')) {
            if (rng_uniform(draw, i, (uint64_t)(p - kinds)) < 0.4) {
                strcat(strcat(without, word), ",");
            }
        }
        fit_synth(&w, true, without, 20 + 10 * i, "llama-3.1-8b", 1);
        open_model(&w, BARE);
        assert_true(us_of(&w, decodes(16, 1000)) > 500 && us_of(&w, chunk(512, 0, 1)) > 500);
        close_world(&w);
    }
}

/* ---- nonsense ---- */

static void replaced(char **text, const char *from, const char *to)
{
    char *at = strstr(*text, from), *out = malloc(strlen(*text) + strlen(to) + 1);
    assert_true(at && out);
    sprintf(out, "%.*s%s%s", (int)(at - *text), *text, to, at + strlen(from));
    free(*text);
    *text = out;
}

static void nonsense_is_refused(void **unused)
{
    (void)unused;
    static const struct { const char *from, *to, *says; } wrong[] = {
        {"\"steelyard-probe\"", "\"other\"", "key 'format': is not \"steelyard-probe\""},
        {"\"version\":1", "\"version\":2", "key 'version': only version 1"},
        {"\"sm_count\":132", "\"sm_count\":-1", "key 'device.sm_count': is outside"},
        {"\"sm_count\":132", "\"sm_count\":108", "GPU h200 has 132: another chip?"},
        {"\"measurements\":[", "\"measure\":[", "key 'measurements': an array"},
        {"\"kind\":\"gemm\"", "\"sort\":\"gemm\"", "has an 'id' and a 'kind'"},
        {"\"params\":{\"dtype\":\"bf16\",\"m\":1,", "\"params\":{\"dtype\":\"bf16\",\"m\":0,",
         "'gemm dtype=bf16 m=1 n=6144 k=4096': key 'm': a whole number"},
        {"\"params\":{\"dtype\":\"bf16\",\"m\":1,", "\"params\":{\"dtype\":16,\"m\":1,", "key 'dtype': a word"},
        {"\"gemm dtype=bf16 m=16 n=6144 k=4096\"", "\"gemm dtype=bf16 m=1 n=6144 k=4096\"", "key 'id': there twice"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct world w;
        char *text = synth_file(true, 1, NULL, 0, 0.02);
        replaced(&text, wrong[i].from, wrong[i].to);
        assert_int_equal(fit_text(&w, text, "h200", "llama-3.1-8b", 1), SIM_E_DATA);
        if (!strstr(w.e.msg, wrong[i].says) || !strstr(w.e.msg, w.path)) {
            fail_msg("'%s' lacks '%s'", w.e.msg, wrong[i].says);
        }
        free(text);
        close_world(&w);
    }
}

/* Messages name the line, for the probe writes a case in each. */
static void messages_name_the_line(void **unused)
{
    (void)unused;
    struct arena a = {0};
    struct err e = {0};
    struct probe_file f;
    char *text = synth_file(true, 1, NULL, 0, 0.02), want[60];
    char *at = strstr(text, "\"id\":\"gemm dtype=bf16 m=64 n=6144 k=4096\"");
    char *median = strstr(at, "\"median\":");
    unsigned line = 1;
    for (const char *p = text; p < at; p++) {
        line += *p == '\n';
    }
    memcpy(median, "\"midway\":", 9);
    assert_int_equal(probe_file_parse(&f, text, strlen(text), "x.json", &a, &e), SIM_E_DATA);
    snprintf(want, sizeof(want), "x.json:%u: 'gemm", line);
    assert_memory_equal(e.msg, want, strlen(want));
    assert_true(line > 5 && strstr(e.msg, "key 'time_s.median'"));
    e = (struct err){0};
    text[strlen(text) / 2] = '\0';
    assert_int_equal(probe_file_parse(&f, text, strlen(text), "x.json", &a, &e), SIM_E_DATA);
    assert_non_null(strstr(e.msg, "x.json:"));
    free(text);
    arena_release(&a);
}

static int set_up(void **state)
{
    struct world *w = malloc(sizeof(*w));
    fit_synth(w, false, NULL, 0, "llama-3.1-8b", 1);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    close_world(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_a_gpu_that_is_known), cmocka_unit_test(errors_are_those_of_the_noise),
        cmocka_unit_test(constants_come_back),          cmocka_unit_test(decodes_stay_affine),
        cmocka_unit_test(cut_short),                    cmocka_unit_test(groups_left_out),
        cmocka_unit_test(another_model),
        cmocka_unit_test(routed_experts),               cmocka_unit_test(any_few_cases),       cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(messages_name_the_line),
    };
    gsl_set_error_handler_off();
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
