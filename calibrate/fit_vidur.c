/* SPDX-License-Identifier: Apache-2.0
 *
 * Vidur's profiles (microsoft/vidur, data/profiling): operators of one layer by token count on A100 and
 * H100, all-reduces by bytes on several nodes. Attention, head and sampler are assumed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/sheet.h"

/* Columns of mlp_GPU.csv. `add` is the residual, added twice a layer. */
static const struct op {
    const char *column, *family;
    double count;
    bool once, is_product;
    enum product product;
    double hidden;
} ops[] = {
    {"emb_ms", "small", 1, true, false, 0, 2},
    {"input_layernorm_ms", "small", 1, false, false, 0, 2},
    {"attn_pre_proj_ms", "gemm", 1, false, true, PRODUCT_QKV, 0},
    {"attn_rope_ms", "small", 1, false, false, 0, 4},
    {"attn_post_proj_ms", "gemm", 1, false, true, PRODUCT_O, 0},
    {"post_attention_layernorm_ms", "small", 1, false, false, 0, 2},
    {"mlp_up_proj_ms", "gemm", 1, false, true, PRODUCT_GATE_UP, 0},
    {"mlp_act_ms", "small", 1, false, false, 0, 8},
    {"mlp_down_proj_ms", "gemm", 1, false, true, PRODUCT_DOWN, 0},
    {"add_ms", "small", 2, false, false, 0, 3},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static const char *table_of(struct fit *f)
{
    static const char *const known[] = {"a100", "h100"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(f->gpu.name, known[i], 4) == 0) {
            return arena_printf(f->arena, "mlp_%s", known[i]);
        }
    }
    err_set(f->err, SIM_E_DATA, "Vidur has profiles of a100 and h100, not of %s", f->gpu.name);
    return NULL;
}

/* "meta-llama/Llama-2-7b-hf" -> "Llama-2-7b-hf" */
static const char *base_name(const char *s)
{
    const char *slash = strrchr(s, '/');
    return slash ? slash + 1 : s;
}

static int read_ops(struct fit *f, const char *table, struct points *p)
{
    struct sheet s;
    int at[OPS];
    bool ok = true;
    if (sheet_open(&s, f->q->dir, table, f->arena, f->err) < 0) {
        return f->err->code;
    }
    int model = sheet_column(&s, "model"), tp = sheet_column(&s, "tp"), x = sheet_column(&s, "num_tokens");
    for (size_t i = 0; i < OPS; i++) {
        at[i] = sheet_column(&s, ops[i].column);
    }
    while (f->err->code == 0 && ok && sheet_next(&s) > 0) {
        if (!fit_same_name(base_name(sheet_text(&s, model)), f->llm.name) ||
            fabs(sheet_number(&s, tp, &ok) - f->q->tp) > 0.5) {
            continue;
        }
        double tok = sheet_number(&s, x, &ok);
        for (size_t i = 0; i < OPS; i++) {
            double ms = sheet_number(&s, at[i], &ok);
            if (ok && ms > 0) {
                points_add(&p[i], &tok, 1e3 * ms, f->err);
            }
        }
    }
    sheet_close(&s);
    if (f->err->code == 0 && p[0].n == 0) {
        return err_set(f->err, SIM_E_DATA, "%s/%s: no rows for %s at TP %u", f->q->dir, table, f->llm.name, f->q->tp);
    }
    return f->err->code;
}

static int add_ops(struct fit *f, const char *table)
{
    struct points p[OPS];
    for (size_t i = 0; i < OPS; i++) {
        p[i] = (struct points){.dims = 1};
    }
    int rc = read_ops(f, table, p);
    for (size_t i = 0; i < OPS; i++) {
        const struct op *o = &ops[i];
        struct term_spec s = {o->column, o->family, o->count * (o->once ? 1 : f->llm.layers), WHEN_ALWAYS, 1,
                              {AXIS_TOKENS}};
        struct kernel k = o->is_product ? fit_product(f, o->product) : kernel_memory(f, 2 * o->hidden * f->llm.hidden);
        if (rc == 0 && p[i].n > 0) {
            rc = fit_term(f, &s, &p[i], &k);
        }
        points_release(&p[i]);
    }
    return rc;
}

/* All-reduces inside one node of the DGX kind, bytes -> tokens. */
static int add_network(struct fit *f)
{
    struct sheet s;
    struct points p = {.dims = 1};
    struct kernel k = kernel_link(f);
    struct term_spec spec = {"all_reduce", "collective", 2 * (double)f->llm.layers, WHEN_ALWAYS, 1, {AXIS_TOKENS}};
    bool ok = true;
    const char *want = arena_printf(f->arena, "%.4s_dgx", f->gpu.name);
    if (f->q->tp < 2) {
        return 0;
    }
    if (!want || sheet_open(&s, f->q->dir, "network", f->arena, f->err) < 0) {
        return f->err->code;
    }
    int platform = sheet_column(&s, "platform"), kind = sheet_column(&s, "collective");
    int workers = sheet_column(&s, "num_workers"), node = sheet_column(&s, "devices_per_node");
    int bytes = sheet_column(&s, "bytes"), ms = sheet_column(&s, "median_ms");
    while (f->err->code == 0 && ok && sheet_next(&s) > 0) {
        bool fits = strcmp(sheet_text(&s, platform), want) == 0 && strcmp(sheet_text(&s, kind), "all_reduce") == 0 &&
                    fabs(sheet_number(&s, workers, &ok) - f->q->tp) < 0.5 &&
                    fabs(sheet_number(&s, node, &ok) - f->q->tp) < 0.5;
        double tok = sheet_number(&s, bytes, &ok) / (2.0 * f->llm.hidden);
        if (fits && ok) {
            points_add(&p, &tok, 1e3 * sheet_number(&s, ms, &ok), f->err);
        }
    }
    sheet_close(&s);
    if (f->err->code == 0 && p.n == 0) {
        err_set(f->err, SIM_E_DATA, "%s/network: no all-reduce over %u GPUs of %s", f->q->dir, f->q->tp, want);
    }
    int rc = f->err->code ? f->err->code : fit_term(f, &spec, &p, &k);
    points_release(&p);
    return rc;
}

int fit_vidur(struct fit *f)
{
    const char *table = table_of(f);
    f->profile.provenance = arena_printf(f->arena, "Vidur operator profiles (microsoft/vidur data/profiling), %s; "
                                         "attention, head and sampler from the roofline", f->gpu.name);
    if (!table || !f->profile.provenance) {
        return f->err->code ? f->err->code : err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    if (add_ops(f, table) < 0 || add_network(f) < 0 || fit_assume_head(f) < 0) {
        return f->err->code;
    }
    return fit_assume_attention(f);
}
