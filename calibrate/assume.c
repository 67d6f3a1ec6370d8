/* SPDX-License-Identifier: Apache-2.0
 *
 * What a source did not measure: the roofline of the kernel, written down as a table. Such terms are of
 * the family "assumed", so that the report tells them from measured ones. */
#include "calibrate/fit.h"

#include <math.h>

static const double tokens[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536,
                                2048, 4096, 8192, 16384};
static const double decodes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
static const double contexts[] = {1, 64, 256, 1024, 4096, 16384, 65536};
static const double chunks[] = {1, 2, 4, 8, 16, 64};
#define N(list) (uint32_t)(sizeof(list) / sizeof((list)[0]))

static int axis_from(struct fit *f, struct profile_term *t, uint32_t d, const double *at, uint32_t n)
{
    t->n[d] = n;
    t->at[d] = arena_calloc(f->arena, n, sizeof(double));
    for (uint32_t i = 0; t->at[d] && i < n; i++) {
        t->at[d][i] = at[i];
    }
    return t->at[d] ? 0 : err_set(f->err, SIM_E_NOMEM, "out of memory");
}

int fit_fill(struct fit *f, struct profile_term *t, double (*us)(const void *ctx, const double *x), const void *ctx)
{
    uint32_t size = profile_term_size(t);
    t->us = arena_calloc(f->arena, size, sizeof(double));
    if (!t->us) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < size; i++) {
        double x[PROFILE_AXES];
        uint32_t k = i;
        for (uint32_t d = t->n_axes; d-- > 0;) {
            x[d] = t->at[d][k % t->n[d]];
            k /= t->n[d];
        }
        t->us[i] = us(ctx, x);
    }
    return 0;
}

int fit_assume(struct fit *f, const struct term_spec *s, const struct kernel *k)
{
    struct profile_term *t = fit_append(f, s);
    if (!t || axis_from(f, t, 0, tokens, N(tokens)) < 0) {
        return f->err->code;
    }
    return fit_fill(f, t, kernel_roofline_us, k);
}

static int assume_product(struct fit *f, const char *name, double count, enum profile_axis axis, enum product p)
{
    struct kernel k = fit_product(f, p);
    struct term_spec s = {name, "assumed", count, WHEN_ALWAYS, 1, {axis}};
    return count > 0 ? fit_assume(f, &s, &k) : 0;
}

int fit_assume_head(struct fit *f)
{
    return assume_product(f, "lm_head", 1, AXIS_ROWS, PRODUCT_HEAD);
}

int fit_assume_products(struct fit *f)
{
    double layers = f->llm.layers, dense = layers - llm_moe_layers(&f->llm);
    if (assume_product(f, "qkv_proj", layers, AXIS_TOKENS, PRODUCT_QKV) < 0 ||
        assume_product(f, "o_proj", layers, AXIS_TOKENS, PRODUCT_O) < 0 ||
        assume_product(f, "gate_up_proj", dense, AXIS_TOKENS, PRODUCT_GATE_UP) < 0 ||
        assume_product(f, "down_proj", dense, AXIS_TOKENS, PRODUCT_DOWN) < 0) {
        return f->err->code;
    }
    return fit_assume_head(f);
}

int fit_decode_axes(struct fit *f, struct profile_term *t)
{
    return axis_from(f, t, 0, decodes, N(decodes)) < 0 || axis_from(f, t, 1, contexts, N(contexts)) < 0
               ? f->err->code
               : 0;
}

int fit_prefill_axes(struct fit *f, struct profile_term *t)
{
    /* Quadratic in the length, linear between places: closely set. */
    double at[65];
    for (uint32_t i = 0; i < 65; i++) {
        at[i] = i * i * 4.0;
    }
    at[0] = 1;
    return axis_from(f, t, 0, chunks, N(chunks)) < 0 || axis_from(f, t, 1, at, 65) < 0 ? f->err->code : 0;
}

int fit_assume_decode(struct fit *f)
{
    struct kernel d = kernel_attention(f, KERNEL_DECODE);
    struct term_spec sd = {"attention_decode", "assumed", f->llm.layers, WHEN_ALWAYS, 2,
                           {AXIS_DECODES, AXIS_CONTEXT}};
    struct profile_term *t = fit_append(f, &sd);
    if (!t || fit_decode_axes(f, t) < 0) {
        return f->err->code;
    }
    return fit_fill(f, t, kernel_roofline_us, &d);
}

int fit_assume_prefill(struct fit *f)
{
    struct kernel p = kernel_attention(f, KERNEL_PREFILL);
    struct term_spec sp = {"attention_prefill", "assumed", f->llm.layers, WHEN_ALWAYS, 2,
                           {AXIS_CHUNKS, AXIS_CHUNK_TOK}};
    struct profile_term *t = fit_append(f, &sp);
    if (!t || fit_prefill_axes(f, t) < 0) {
        return f->err->code;
    }
    return fit_fill(f, t, kernel_roofline_us, &p);
}

int fit_assume_attention(struct fit *f)
{
    return fit_assume_decode(f) < 0 ? f->err->code : fit_assume_prefill(f);
}
