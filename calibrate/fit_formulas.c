/* SPDX-License-Identifier: Apache-2.0
 *
 * Sources of whole iterations: DistServe's published coefficients, and the request times that the VTC
 * artifact profiled. Host time is in them, so the profile adds none. */
#include <math.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/sheet.h"
#include "sim/core/json.h"

static void no_overheads(struct fit *f)
{
    f->profile.step_us = f->profile.seq_us = f->profile.wait_us = 0;
}

/* ---- DistServe: ms = a + b sum(len) + c sum(len^2); ms = a + b tokens in KV + c batch ---- */

struct formula {
    double prefill[3], small[3], large[3], threshold;
};

static double prefill_us(const void *ctx, const double *x)
{
    const struct formula *m = ctx;
    return 1e3 * (m->prefill[0] + x[0] * (m->prefill[1] * x[1] + m->prefill[2] * x[1] * x[1]));
}

static double decode_us(const void *ctx, const double *x)
{
    const struct formula *m = ctx;
    const double *c = x[0] < m->threshold ? m->small : m->large;
    return 1e3 * (c[0] + c[1] * x[0] * x[1] + c[2] * x[0]);
}

static int read_three(struct fit *f, const cJSON *o, const char *key, double *ret)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    for (int i = 0; i < 3; i++) {
        const cJSON *item = cJSON_GetArrayItem(v, i);
        if (!cJSON_IsNumber(item)) {
            return err_set(f->err, SIM_E_DATA, "%s: '%s': three coefficients are expected", f->q->dir, key);
        }
        ret[i] = item->valuedouble;
    }
    return 0;
}

static const cJSON *find_model(const struct fit *f, const cJSON *root)
{
    const cJSON *m;
    cJSON_ArrayForEach(m, root)
    {
        const char *slash = m->string ? strrchr(m->string, '/') : NULL;
        if (m->string && fit_same_name(slash ? slash + 1 : m->string, f->llm.name)) {
            char tp[16];
            snprintf(tp, sizeof(tp), "%u", f->q->tp);
            return cJSON_GetObjectItemCaseSensitive(m, tp);
        }
    }
    return NULL;
}

static int read_formula(struct fit *f, const char *path, struct formula *m)
{
    cJSON *root = json_parse_file(path, f->err);
    const cJSON *o = root ? find_model(f, root) : NULL;
    if (!root) {
        return f->err->code;
    }
    if (!o) {
        cJSON_Delete(root);
        return err_set(f->err, SIM_E_DATA, "%s: no coefficients of %s at TP %u", path, f->llm.name, f->q->tp);
    }
    const cJSON *t = cJSON_GetObjectItemCaseSensitive(o, "decoding_large_small_bs_threshold");
    m->threshold = cJSON_IsNumber(t) ? t->valuedouble : 0;
    if (read_three(f, o, "prefill", m->prefill) == 0 && read_three(f, o, "decoding_smallbs", m->small) == 0) {
        read_three(f, o, "decoding_largebs", m->large);
    }
    cJSON_Delete(root);
    return f->err->code;
}

/* Linear in each axis on both sides of the threshold: two places each are exact. */
static int add_decode_formula(struct fit *f, struct profile_term *t, const struct formula *m)
{
    double edge = fmax(m->threshold, 3);
    const double n[] = {1, edge - 1, edge, 4 * edge}, ctx[] = {1, 1 << 20};
    t->n[0] = 4;
    t->n[1] = 2;
    for (uint32_t d = 0; d < 2; d++) {
        t->at[d] = arena_calloc(f->arena, t->n[d], sizeof(double));
        for (uint32_t i = 0; t->at[d] && i < t->n[d]; i++) {
            t->at[d][i] = d ? ctx[i] : n[i];
        }
        if (!t->at[d]) {
            return err_set(f->err, SIM_E_NOMEM, "out of memory");
        }
    }
    return fit_fill(f, t, decode_us, m);
}

static int add_formula(struct fit *f, const struct formula *m)
{
    struct term_spec sd = {"decode", "iteration", 1, WHEN_ALWAYS, 2, {AXIS_DECODES, AXIS_CONTEXT}};
    struct term_spec sp = {"prefill", "iteration", 1, WHEN_ALWAYS, 2, {AXIS_CHUNKS, AXIS_CHUNK_TOK}};
    struct profile_term *t = fit_append(f, &sd);
    if (!t || add_decode_formula(f, t, m) < 0) {
        return f->err->code;
    }
    t = fit_append(f, &sp);
    if (!t || fit_prefill_axes(f, t) < 0) {
        return f->err->code;
    }
    no_overheads(f);
    return fit_fill(f, t, prefill_us, m);
}

/* Coefficients of the DistServe engine; --engine vllm takes those of vLLM as DistServe measured it. */
int fit_distserve(struct fit *f)
{
    bool vllm = f->q->version && strcmp(f->q->version, "vllm") == 0;
    const char *path = arena_printf(f->arena, "%s/profiler-a100-80g.%s.json", f->q->dir, vllm ? "vllm" : "distserve");
    struct formula m;
    f->profile.engine = vllm ? "vLLM" : "DistServe";
    f->profile.provenance = arena_printf(f->arena, "coefficients of DistServe's simulator (OSDI'24 artifact, "
                                         "simdistserve/estimators) for %s on A100-80GB", f->profile.engine);
    if (strncmp(f->gpu.name, "a100-80g", 8) != 0) {
        return err_set(f->err, SIM_E_DATA, "DistServe's coefficients are of a100-80g, not of %s", f->gpu.name);
    }
    if (!path || !f->profile.provenance) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    fit_note(f, "coefficients as published: no measurements to leave out, so no errors");
    return read_formula(f, path, &m) < 0 ? f->err->code : add_formula(f, &m);
}

/* ---- VTC artifact: time per request at a full pool ---- */

static double trend_us(const void *ctx, const double *x)
{
    return trend_at(ctx, x);
}

/* A batch of n requests: prefill n times what one takes; a decode step the n-th part of all steps of n
 * requests, at the mean of the contexts that it passes through. */
static int read_vtc(struct fit *f, struct points *decode, struct points *prefill)
{
    struct sheet s;
    bool ok = true;
    if (sheet_open(&s, f->q->dir, "cost_profile", f->arena, f->err) < 0) {
        return f->err->code;
    }
    int p = sheet_column(&s, "prompt_tokens"), q = sheet_column(&s, "output_tokens"), n = sheet_column(&s, "batch_size");
    int tp = sheet_column(&s, "prefill_time_per_req_s"), td = sheet_column(&s, "decode_time_per_req_s");
    while (f->err->code == 0 && ok && sheet_next(&s) > 0) {
        double prompt = sheet_number(&s, p, &ok), output = sheet_number(&s, q, &ok), batch = sheet_number(&s, n, &ok);
        double pre = sheet_number(&s, tp, &ok), dec = sheet_number(&s, td, &ok);
        if (!ok || !(batch > 0)) {
            continue;
        }
        points_add(prefill, (double[]){batch, prompt}, 1e6 * batch * pre, f->err);
        if (output > 1.5) {
            points_add(decode, (double[]){batch, prompt + output / 2}, 1e6 * batch * dec / output, f->err);
        }
    }
    sheet_close(&s);
    return f->err->code;
}

static int add_trend(struct fit *f, const char *name, enum profile_axis a, enum profile_axis b, const struct points *p,
                     const struct kernel *k)
{
    struct term_spec s = {name, "iteration", 1, WHEN_ALWAYS, 2, {a, b}};
    struct trend t = kernel_trend(k);
    struct tally *tally = fit_family(f, "iteration");
    t.n = 3; /* a handful of rows: no term for the cache */
    if (!tally || grid_validate(p, &t, FIT_FOLDS, 0, NULL, NULL, tally, f->err) < 0 || trend_fit(&t, p, f->err) < 0) {
        return f->err->code;
    }
    struct profile_term *term = fit_append(f, &s);
    int rc = !term ? f->err->code : a == AXIS_DECODES ? fit_decode_axes(f, term) : fit_prefill_axes(f, term);
    return rc < 0 ? rc : fit_fill(f, term, trend_us, &t);
}

int fit_vtc(struct fit *f)
{
    struct points decode = {.dims = 2}, prefill = {.dims = 2};
    struct kernel kd = kernel_attention(f, KERNEL_DECODE), kp = kernel_attention(f, KERNEL_PREFILL);
    f->profile.engine = "S-LoRA";
    f->profile.provenance = "request times of the VTC artifact (cost_profile), S-LoRA, Llama-7B on A10G; least squares";
    if (strcmp(f->gpu.name, "a10g") != 0 || f->q->tp != 1) {
        return err_set(f->err, SIM_E_DATA, "the VTC artifact's times are of one a10g, not of %u x %s", f->q->tp, f->gpu.name);
    }
    if (read_vtc(f, &decode, &prefill) == 0 && add_trend(f, "decode", AXIS_DECODES, AXIS_CONTEXT, &decode, &kd) == 0) {
        add_trend(f, "prefill", AXIS_CHUNKS, AXIS_CHUNK_TOK, &prefill, &kp);
    }
    no_overheads(f);
    points_release(&decode);
    points_release(&prefill);
    return f->err->code;
}
