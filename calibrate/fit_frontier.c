/* SPDX-License-Identifier: Apache-2.0
 *
 * Frontier's profiles (NetX-lab/Frontier, data/profiling): attention with FlashInfer by batch, chunk and
 * cached tokens. Which file fits is found by GPU and heads. Matrix products, norms and the head are
 * assumed; times include the launch of the kernel. */
#include <dirent.h>
#include <math.h>
#include <string.h>

#include "calibrate/fit.h"
#include "calibrate/sheet.h"

struct attention_columns {
    int q, kv, tp, batch, chunk, cache, is_prefill, prefill, decode;
};

static int columns(struct sheet *s, struct attention_columns *c)
{
    c->q = sheet_column(s, "n_q_head");
    c->kv = sheet_column(s, "n_kv_head");
    c->tp = sheet_column(s, "num_tensor_parallel_workers");
    c->batch = sheet_column(s, "batch_size");
    c->chunk = sheet_column(s, "prefill_chunk_size");
    c->cache = sheet_column(s, "kv_cache_size");
    c->is_prefill = sheet_column(s, "is_prefill");
    c->prefill = sheet_column(s, "attn_prefill_ms");
    c->decode = sheet_column(s, "attn_decode_ms");
    return s->err->code;
}

/* Two numbers of chunks, so that several chunks cost in proportion. */
#define MANY_CHUNKS 64.0

/* A chunk with context counts as one without, of the same number of pairs. */
static int add_prefill_point(struct points *p, double chunk, double cache, double us, struct err *e)
{
    double length = sqrt(chunk * chunk + 2 * chunk * cache);
    points_add(p, (double[]){1, length}, us, e);
    return points_add(p, (double[]){MANY_CHUNKS, length}, MANY_CHUNKS * us, e);
}

static int read_file(struct fit *f, const char *table, struct points *decode, struct points *prefill)
{
    struct sheet s;
    struct attention_columns c;
    bool ok = true;
    if (sheet_open(&s, f->q->dir, table, f->arena, f->err) < 0) {
        return f->err->code;
    }
    int rc = columns(&s, &c);
    while (rc == 0 && f->err->code == 0 && ok && sheet_next(&s) > 0) {
        if (fabs(sheet_number(&s, c.q, &ok) - f->llm.heads) > 0.5 || fabs(sheet_number(&s, c.kv, &ok) - f->llm.kv_heads) > 0.5 ||
            fabs(sheet_number(&s, c.tp, &ok) - f->q->tp) > 0.5) {
            continue;
        }
        bool is_prefill = strcmp(sheet_text(&s, c.is_prefill), "1") == 0 || strcmp(sheet_text(&s, c.is_prefill), "True") == 0;
        double ms = sheet_number(&s, is_prefill ? c.prefill : c.decode, &ok), batch = sheet_number(&s, c.batch, &ok);
        double chunk = sheet_number(&s, c.chunk, &ok), cache = sheet_number(&s, c.cache, &ok);
        if (!ok || !(ms > 0) || !(batch > 0)) {
            continue;
        }
        if (!is_prefill) {
            points_add(decode, (double[]){batch, cache + 1}, 1e3 * ms, f->err);
        } else if (batch < 1.5 && chunk > 0) {
            add_prefill_point(prefill, chunk, cache, 1e3 * ms, f->err);
        }
    }
    sheet_close(&s);
    return f->err->code;
}

/* attention_a800_llama2-7b: the A800 is an A100 with fewer NVLinks. */
static bool file_fits(const struct fit *f, const char *file)
{
    bool a100 = strncmp(f->gpu.name, "a100-80g", 8) == 0;
    return strncmp(file, "attention_", 10) == 0 &&
           (strncmp(file + 10, f->gpu.name, strcspn(file + 10, "_")) == 0 || (a100 && strncmp(file + 10, "a800", 4) == 0));
}

static int read_all(struct fit *f, struct points *decode, struct points *prefill)
{
    DIR *d = opendir(f->q->dir);
    const struct dirent *entry;
    if (!d) {
        return err_set(f->err, SIM_E_IO, "%s: cannot be read", f->q->dir);
    }
    while (f->err->code == 0 && (entry = readdir(d))) {
        const char *end = strstr(entry->d_name, ".csv");
        if (end && file_fits(f, entry->d_name)) {
            const char *table = arena_strndup(f->arena, entry->d_name, (size_t)(end - entry->d_name));
            read_file(f, table ? table : "", decode, prefill);
        }
    }
    closedir(d);
    if (f->err->code == 0 && (decode->n == 0 || prefill->n == 0)) {
        return err_set(f->err, SIM_E_DATA, "%s: no attention times of %u/%u heads at TP %u on %s", f->q->dir,
                       f->llm.heads, f->llm.kv_heads, f->q->tp, f->gpu.name);
    }
    return f->err->code;
}

int fit_frontier(struct fit *f)
{
    struct points decode = {.dims = 2}, prefill = {.dims = 2};
    struct kernel kd = kernel_attention(f, KERNEL_DECODE), kp = kernel_attention(f, KERNEL_PREFILL);
    struct term_spec sd = {"attention_decode", "attention", f->llm.layers, WHEN_ALWAYS, 2, {AXIS_DECODES, AXIS_CONTEXT}};
    struct term_spec sp = {"attention_prefill", "attention", f->llm.layers, WHEN_ALWAYS, 2, {AXIS_CHUNKS, AXIS_CHUNK_TOK}};
    f->profile.provenance = arena_printf(f->arena, "Frontier attention profiles (NetX-lab/Frontier data/profiling), "
                                         "FlashInfer, %s; everything else from the roofline", f->gpu.name);
    if (f->llm.experts > 0) {
        return err_set(f->err, SIM_E_DATA, "%s routes to experts: Frontier's tables have them at other sizes; not supported",
                       f->llm.name);
    }
    if (f->profile.provenance && read_all(f, &decode, &prefill) == 0 && fit_term(f, &sd, &decode, &kd) == 0 &&
        fit_term(f, &sp, &prefill, &kp) == 0 && fit_assume_products(f) == 0 && fit_small_kernels(f) == 0) {
        fit_all_reduce(f);
    }
    points_release(&decode);
    points_release(&prefill);
    return f->err->code;
}
