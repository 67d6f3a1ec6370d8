/* SPDX-License-Identifier: Apache-2.0
 *
 * Host times from a log of engine steps: what a step took beyond its kernels, as so much a step and so much a
 * sequence. */
#include <gsl/gsl_multifit.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/sheet.h"
#include "models/cost.h"
#include "sim/cli/fit_engine.h"
#include "sim/cli/fit_model.h"
#include "sim/core/json.h"

/* Every other of so many blocks of steps is left out to be predicted. */
#define BLOCKS 10
#define STEPS_MIN 20

struct step_log {
    size_t n, cap;
    double *measured_s, *kernels_s, *seqs; /* of each step */
};

struct columns {
    int n_decode, decode_tok, prefill_tok, chunks, ctx, pairs, duration;
    double to_s;
};

/* Optional column: its place or -1. */
static int maybe(struct sheet *s, const char *name)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        if (strcmp(s->column[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int find_columns(struct sheet *s, struct columns *c)
{
    c->n_decode = sheet_column(s, "n_decode");
    c->decode_tok = sheet_column(s, "decode_tok");
    c->prefill_tok = sheet_column(s, "prefill_tok");
    c->chunks = maybe(s, "chunks");
    c->ctx = maybe(s, "prefill_ctx_tok");
    c->pairs = maybe(s, "prefill_pairs");
    c->duration = maybe(s, "duration_ms");
    c->to_s = 1e-3;
    if (c->duration < 0) {
        c->duration = sheet_column(s, "duration_s");
        c->to_s = 1;
    }
    return s->err->code;
}

static double whole(struct sheet *s, int column, double otherwise, bool *ok)
{
    double v = column >= 0 ? sheet_number(s, column, ok) : otherwise;
    if (*ok && !(v >= 0 && v < 1e12)) {
        err_set(s->err, SIM_E_DATA, "%s:%llu: column '%s': a number from 0 is expected", trace_input_name(s->in),
                (unsigned long long)trace_input_line_number(s->in), s->column[column]);
        *ok = false;
    }
    return *ok ? v : 0;
}

static struct batch_shape shape_of(struct sheet *s, const struct columns *c, bool *ok)
{
    double q = whole(s, c->prefill_tok, 0, ok), before = whole(s, c->ctx, 0, ok);
    double pairs = whole(s, c->pairs, q * before + q * (q + 1) / 2, ok);
    double chunks = whole(s, c->chunks, q > 0 ? 1 : 0, ok);
    return (struct batch_shape){
        .n_decode = (uint32_t)fmin(whole(s, c->n_decode, 0, ok), 1e6),
        .decode_ctx_tok = (uint64_t)whole(s, c->decode_tok, 0, ok),
        .prefill_tok = (uint64_t)q,
        .n_prefill = (uint32_t)fmin(q > 0 ? fmax(chunks, 1) : 0, 1e6),
        .prefill_ctx_tok = (uint64_t)(q + before),
        .prefill_pairs = (uint64_t)pairs,
        .prefill_done = (uint32_t)fmin(q > 0 ? fmax(chunks, 1) : 0, 1e6),
    };
}

static bool grow(double **v, size_t n)
{
    double *p = realloc(*v, n * sizeof(double));
    *v = p ? p : *v;
    return p != NULL;
}

static int add_step(struct step_log *l, double measured_s, double kernels_s, double seqs, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        if (!grow(&l->measured_s, cap) || !grow(&l->kernels_s, cap) || !grow(&l->seqs, cap)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu steps", cap);
        }
        l->cap = cap;
    }
    l->measured_s[l->n] = measured_s;
    l->kernels_s[l->n] = kernels_s;
    l->seqs[l->n++] = seqs;
    return 0;
}

static int read_rows(struct sheet *s, const struct fit_model *m, struct step_log *l)
{
    struct columns c;
    bool ok = true;
    if (find_columns(s, &c) < 0) {
        return s->err->code;
    }
    while (ok && s->err->code == 0 && sheet_next(s) > 0) {
        struct batch_shape b = shape_of(s, &c, &ok);
        double measured = c.to_s * whole(s, c.duration, 0, &ok);
        if (ok && measured > 0 && (b.n_decode > 0 || b.prefill_tok > 0)) {
            add_step(l, measured, fit_model_s(m, &b), (double)b.n_decode + b.n_prefill, s->err);
        }
    }
    return s->err->code;
}

/* "a/b.csv.gz" -> folder and name, as sheets are opened. */
static int open_path(struct sheet *s, const char *path, struct arena *ar, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strstr(name, ".csv");
    const char *dir = slash ? arena_strndup(ar, path, (size_t)(slash - path)) : ".";
    const char *stem = dot ? arena_strndup(ar, name, (size_t)(dot - name)) : name;
    return dir && stem ? sheet_open(s, *dir ? dir : "/", stem, ar, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

bool fit_steps_is(const char *path)
{
    struct arena ar = {0};
    struct err e = {0};
    struct sheet s;
    bool is = false;
    if (strstr(path, ".csv") && open_path(&s, path, &ar, &e) == 0) {
        is = maybe(&s, "n_decode") >= 0 && maybe(&s, "prefill_tok") >= 0;
        sheet_close(&s);
    }
    arena_release(&ar);
    return is;
}

/* ---- the fit ---- */

struct host {
    double step_s, seq_s;
};

static bool counts(const struct step_log *l, size_t i, int parity)
{
    return parity < 0 || (int)(i * BLOCKS / l->n) % 2 == parity;
}

/* Least squares with bisquare weights over one or two columns, relative to the measured time. */
static int solve(const struct step_log *l, int parity, bool step, bool seq, struct host *ret, struct err *e)
{
    size_t n = 0, p = (size_t)step + seq;
    for (size_t i = 0; i < l->n; i++) {
        n += counts(l, i, parity);
    }
    *ret = (struct host){0, 0};
    if (p == 0) {
        return 0;
    }
    gsl_matrix *x = gsl_matrix_alloc(n, p), *cov = gsl_matrix_alloc(p, p);
    gsl_vector *y = gsl_vector_alloc(n), *c = gsl_vector_alloc(p);
    gsl_multifit_robust_workspace *w = gsl_multifit_robust_alloc(gsl_multifit_robust_bisquare, n, p);
    int rc = x && cov && y && c && w ? 0 : -1;
    for (size_t i = 0, k = 0; rc == 0 && i < l->n; i++) {
        if (!counts(l, i, parity)) {
            continue;
        }
        if (step) {
            gsl_matrix_set(x, k, 0, 1e-3 / l->measured_s[i]);
        }
        if (seq) {
            gsl_matrix_set(x, k, p - 1, 1e-6 * l->seqs[i] / l->measured_s[i]);
        }
        gsl_vector_set(y, k++, 1 - l->kernels_s[i] / l->measured_s[i]);
    }
    if (rc == 0 && gsl_multifit_robust(x, y, c, cov, w) != GSL_SUCCESS) {
        rc = -1;
    }
    if (rc == 0) {
        ret->step_s = step ? 1e-3 * gsl_vector_get(c, 0) : 0;
        ret->seq_s = seq ? 1e-6 * gsl_vector_get(c, p - 1) : 0;
    }
    gsl_multifit_robust_free(w);
    gsl_matrix_free(x);
    gsl_matrix_free(cov);
    gsl_vector_free(y);
    gsl_vector_free(c);
    return rc == 0 ? 0 : err_set(e, SIM_E_DATA, "a least-squares fit to %zu steps failed", n);
}

/* Neither is below 0: the one that would be is left out. */
static int fit_host(const struct step_log *l, int parity, struct host *ret, struct err *e)
{
    if (solve(l, parity, true, true, ret, e) < 0) {
        return e->code;
    }
    if (ret->step_s < 0 || ret->seq_s < 0) {
        bool step = ret->step_s >= 0;
        if (solve(l, parity, step, !step, ret, e) < 0) {
            return e->code;
        }
        ret->step_s = fmax(ret->step_s, 0);
        ret->seq_s = fmax(ret->seq_s, 0);
    }
    return 0;
}

struct steps_off {
    double mean, p90, total;
    size_t n;
};

static int off_of(const struct step_log *l, int parity, struct host h, struct steps_off *ret, struct err *e)
{
    double *each = malloc((l->n + 1) * sizeof(double)), real = 0, simulated = 0;
    *ret = (struct steps_off){0};
    if (!each) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < l->n; i++) {
        if (counts(l, i, parity)) {
            double s = l->kernels_s[i] + h.step_s + h.seq_s * l->seqs[i];
            real += l->measured_s[i];
            simulated += s;
            each[ret->n++] = fabs(s / l->measured_s[i] - 1);
        }
    }
    gsl_sort(each, 1, ret->n);
    ret->mean = gsl_stats_mean(each, 1, ret->n);
    ret->p90 = gsl_stats_quantile_from_sorted_data(each, 1, ret->n, 0.9);
    ret->total = simulated / real - 1;
    free(each);
    return 0;
}

/* ---- report ---- */

struct steps_row {
    const char *set;
    struct steps_off before, after;
};

static void print_text(const struct fit_engine *q, struct host h, const struct steps_row *row, size_t n)
{
    printf("%s: the engine's own times, hardware as in %s\n\n", q->output, q->profile);
    printf("  %-24s%12.1f us   host time of a step\n", "engine.step_overhead", 1e6 * h.step_s);
    printf("  %-24s%12.2f us   host time of a sequence of a step\n\n", "seq_us", 1e6 * h.seq_s);
    printf("  %-34s%10s%16s%12s%12s%12s\n", "steps", "n", "error before", "after", "p90 before", "after");
    for (size_t i = 0; i < n; i++) {
        printf("  %-34s%10zu%14.2f %%%10.2f %%%10.2f %%%10.2f %%\n", row[i].set, row[i].after.n, 100 * row[i].before.mean,
               100 * row[i].after.mean, 100 * row[i].before.p90, 100 * row[i].after.p90);
    }
}

static void print_json(const struct fit_engine *q, struct host h, const struct steps_row *row, size_t n)
{
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.fit-steps/1");
    json_kv_string(&w, "profile", q->profile);
    json_kv_double(&w, "step_overhead_s", h.step_s);
    json_kv_double(&w, "seq_us", 1e6 * h.seq_s);
    json_key(&w, "sets");
    json_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_object(&w);
        json_kv_string(&w, "set", row[i].set);
        json_kv_int(&w, "steps", (int64_t)row[i].after.n);
        json_kv_double(&w, "mean_error_before", row[i].before.mean);
        json_kv_double(&w, "mean_error_after", row[i].after.mean);
        json_kv_double(&w, "p90_error_before", row[i].before.p90);
        json_kv_double(&w, "p90_error_after", row[i].after.p90);
        json_kv_double(&w, "total_error_after", row[i].after.total);
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    printf("\n");
}

/* ---- the whole ---- */

static int read_log(const struct fit_engine *q, const char **path, size_t n, const struct fit_model *m,
                    struct step_log *l, struct arena *ar, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct sheet s;
        if (open_path(&s, path[i], ar, e) < 0) {
            return e->code;
        }
        int rc = read_rows(&s, m, l);
        sheet_close(&s);
        if (rc < 0) {
            return rc;
        }
        if (l->n < STEPS_MIN) {
            return err_set(e, SIM_E_DATA, "%s: %zu steps are too few to fit to", path[i], l->n);
        }
    }
    (void)q;
    return 0;
}

static void log_release(struct step_log *l)
{
    free(l->measured_s);
    free(l->kernels_s);
    free(l->seqs);
}

/* "Before" is without any host time: the kernels alone. */
static int add_row(const struct step_log *l, int parity, struct host h, const char *set, struct steps_row *row,
                   struct err *e)
{
    row->set = set;
    return off_of(l, parity, (struct host){0, 0}, &row->before, e) < 0 ? e->code : off_of(l, parity, h, &row->after, e);
}

int fit_steps(const struct fit_engine *q, struct arena *ar, struct err *e)
{
    static const bool fitted[KNOBS] = {[KNOB_STEP] = true, [KNOB_SEQ] = true};
    static const char *const options[][2] = {{"step_us", "0"}, {"seq_us", "0"}, {"anyway", "on"}, {NULL, NULL}};
    struct step_log l = {0}, held = {0};
    struct fit_model m;
    struct host h;
    struct steps_row row[3];
    size_t n = 0;
    if (!q->profile) {
        return err_set(e, SIM_E_USAGE, "fit --from run: a log of steps needs --profile HARDWARE");
    }
    if (fit_model_open(&m, q->profile, options, ar, e) == 0 && read_log(q, q->run, q->n_runs, &m, &l, ar, e) == 0 &&
        read_log(q, q->held, q->n_held, &m, &held, ar, e) == 0) {
        if (held.n == 0 && fit_host(&l, 0, &h, e) == 0) {
            add_row(&l, 1, h, "held out (every other tenth)", &row[n++], e);
        }
        if (e->code == 0 && fit_host(&l, -1, &h, e) == 0) {
            add_row(&l, -1, h, "fitted to", &row[n++], e);
            if (held.n > 0) {
                add_row(&held, -1, h, "held out", &row[n++], e);
            }
        }
        const struct engine_knobs k = {{h.step_s, 1e6 * h.seq_s, 0, 0}};
        const char *cost = arena_printf(ar, "table{profile=%s}", engine_profile(q->profile, ar));
        if (e->code == 0 && cost &&
            engine_write(q->output, cost, &k, fitted, "Host times fitted by steelyard fit --from run to a log of steps",
                         ar, e) == 0) {
            (q->json ? print_json : print_text)(q, h, row, n);
        }
    }
    log_release(&l);
    log_release(&held);
    return e->code;
}
