/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/points.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX ((size_t)1 << 20)

static const struct point_format *const formats[] = {
    &point_silicon, &point_mlenergy, &point_splitwise, &point_argonne, &point_sweep,
    &point_stages,  &point_ttft,     &point_rate,      &point_plain,
};

/* ---- for the readers ---- */

int point_bad(const struct point_row *r, struct err *e, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(e, SIM_E_DATA, "%s:%llu: %s", trace_input_name(r->sheet.in), (unsigned long long)r->line, text);
}

const char *point_text(struct point_row *r, int i)
{
    const char *s = r->column[i] < 0 ? "" : sheet_text(&r->sheet, r->column[i]);
    size_t n;

    s += strspn(s, " \t");
    n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r')) {
        n--;
    }
    s = arena_strndup(r->a, s, n);
    return s ? s : "";
}

int point_number(struct point_row *r, int i, double low, double high, double *ret, struct err *e)
{
    const char *text = point_text(r, i);
    enum num_fault f = NUM_OK;

    *ret = (double)NAN;
    if (*text) {
        f = num_double(text, ret);
    }
    if (f != NUM_OK || (*text && (*ret < low || *ret > high))) {
        return point_bad(r, e, "column '%s': '%.40s' %s", r->sheet.column[r->column[i]], text,
                         f != NUM_OK ? num_fault_text(f) : "is out of range");
    }
    return 0;
}

int point_count(struct point_row *r, int i, uint32_t low, uint32_t high, uint32_t empty, uint32_t *ret,
                struct err *e)
{
    double v;

    *ret = empty;
    if (point_number(r, i, low, high, &v, e) < 0) {
        return e->code;
    }
    if (isfinite(v)) {
        if (v != floor(v)) {
            return point_bad(r, e, "column '%s': %g is no whole number", r->sheet.column[r->column[i]], v);
        }
        *ret = (uint32_t)v;
    }
    return 0;
}

static void spread_out(double spread, uint32_t *low, uint32_t *high)
{
    double nominal = *high;

    *low = (uint32_t)fmax(1, round((1 - spread) * nominal));
    *high = (uint32_t)round((1 + spread) * nominal);
}

int point_lengths(struct point_row *r, struct point *p, int prompt, int output, double spread, struct err *e)
{
    if (point_count(r, prompt, 1, 1u << 24, 1, &p->prompt_high, e) < 0 ||
        point_count(r, output, 1, 1u << 24, 1, &p->output_high, e) < 0) {
        return e->code;
    }
    spread_out(spread, &p->prompt_low, &p->prompt_high);
    spread_out(spread, &p->output_low, &p->output_high);
    return 0;
}

void point_measure(struct point *p, const char *name, const char *unit, const char *metric, double real,
                   double factor)
{
    if (isfinite(real) && real > 0 && p->n_measures < POINT_MEASURES) {
        p->measure[p->n_measures++] = (struct measure){name, unit, metric, real, factor};
    }
}

/* Versions that the batcher vllm-v1 knows; older ones of V1 have the rules of the first (their rules of
 * scheduling are the same), newer ones those of the last. */
static const char *vllm_rules(const char *version, struct arena *a)
{
    unsigned major = 0, minor = 0;

    if (sscanf(version, "%u.%u", &major, &minor) != 2) {
        return "0.14";
    }
    if (major > 0 || minor > 19) {
        return "0.19";
    }
    return minor < 13 ? "0.13" : arena_printf(a, "0.%u", minor);
}

static const char *with_options(const char *name, const char *first, const char *budget_key, uint32_t budget,
                                const char *seqs_key, uint32_t seqs, struct arena *a)
{
    const char *spec = arena_printf(a, "%s{%s", name, first);

    if (spec && budget > 0) {
        spec = arena_printf(a, "%s,%s=%u", spec, budget_key, budget);
    }
    if (spec && seqs > 0 && seqs_key) {
        spec = arena_printf(a, "%s,%s=%u", spec, seqs_key, seqs);
    }
    return spec ? arena_printf(a, "%s}", spec) : NULL;
}

const char *point_batcher(const char *engine, const char *version, uint32_t budget, uint32_t seqs,
                          struct arena *a)
{
    if (strcmp(engine, "vllm") == 0) {
        const char *rules = arena_printf(a, "version=%s", vllm_rules(version, a));

        return rules ? with_options("vllm-v1", rules, "max_num_batched_tokens", budget, "max_num_seqs", seqs, a) : NULL;
    }
    if (strcmp(engine, "vllm-v0") == 0) {
        return with_options("vllm-v0", "version=0.5", "max_num_batched_tokens", budget, "max_num_seqs", seqs, a);
    }
    if (strcmp(engine, "sglang") == 0) {
        return with_options("sglang", "overlap=on", "chunked_prefill_size", budget, "max_running_requests", seqs, a);
    }
    if (strcmp(engine, "trtllm") == 0) {
        return with_options("trtllm", "overlap=on", "max_num_tokens", budget, "max_batch_size", seqs, a);
    }
    if (strcmp(engine, "static") == 0) {
        return arena_printf(a, "static{batch_size=%u}", seqs ? seqs : 8);
    }
    return NULL;
}

/* ---- the file ---- */

void point_list_release(struct point_list *p)
{
    free(p->point);
    p->point = NULL;
    p->n = p->cap = 0;
}

int point_add(struct point_list *p, const struct point *v, struct err *e)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        struct point *more = cap <= POINTS_MAX ? realloc(p->point, cap * sizeof(*more)) : NULL;

        if (!more) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu measured points", cap);
        }
        p->point = more;
        p->cap = cap;
    }
    p->point[p->n++] = *v;
    return 0;
}

static int column_of(const struct sheet *s, const char *name)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        if (strcmp(s->column[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Places of the columns of a format; a name with '?' before it may be missing. False: it is another one. */
static bool match(struct point_row *r, const struct point_format *f)
{
    size_t n = 0;

    while (f->columns[n]) {
        n++;
    }
    r->column = arena_calloc(r->a, n, sizeof(*r->column));
    for (size_t i = 0; r->column && i < n; i++) {
        bool optional = f->columns[i][0] == '?';

        r->column[i] = column_of(&r->sheet, f->columns[i] + optional);
        if (r->column[i] < 0 && !optional) {
            return false;
        }
    }
    return r->column != NULL;
}

static int read_rows(struct point_list *ret, struct point_row *r, const struct point_format *f, struct err *e)
{
    int rc;

    while ((rc = sheet_next(&r->sheet)) > 0) {
        struct point p = {.set = f->name, .engine = "vllm", .version = "", .gpu = "", .model = "", .tp = 1, .http = true};

        r->line = trace_input_line_number(r->sheet.in);
        p.id = arena_printf(r->a, "%s:%llu", f->name, (unsigned long long)r->line);
        if (!p.id) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        if (f->read(r, &p, e) < 0 || point_add(ret, &p, e) < 0) {
            return e->code;
        }
    }
    return rc;
}

int point_list_read(struct point_list *ret, struct trace_input *in, struct arena *a, struct err *e)
{
    struct point_row r = {.a = a};
    const struct point_format *f = NULL;
    int rc;

    memset(ret, 0, sizeof(*ret));
    if (sheet_from(&r.sheet, in, a, e) < 0) { /* no header line: another format */
        e->code = 0;
        return 0;
    }
    for (size_t i = 0; !f && i < sizeof(formats) / sizeof(formats[0]); i++) {
        f = match(&r, formats[i]) ? formats[i] : NULL;
    }
    rc = f ? read_rows(ret, &r, f, e) : 0;
    sheet_close(&r.sheet);
    if (rc < 0) {
        point_list_release(ret);
        return rc;
    }
    ret->format = f ? f->name : NULL;
    return f != NULL;
}
