/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/sweep_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json.h"
#include "sim/results/grid.h"
#include "sim/results/interval.h"
#include "sim/results/output.h"

#define MAX_METRICS 256

/* The usual columns of the text table; json and csv have every metric. */
static const char *const main_metrics[] = {
    "completed",    "rejected",     "mean_ttft_ms",      "p99_ttft_ms", "mean_tpot_ms",
    "mean_e2el_ms", "output_throughput", "jain_index", "max_service_diff", NULL};

struct row {
    size_t combo;
    size_t n;              /* runs there are */
    bool failed;
    bool oracle;
    int verdict;           /* the worst */
    double *value[MAX_METRICS]; /* by metric: one value per replication, NaN where there is none */
};

struct table {
    const struct sweep_report *s;
    struct arena *a;
    size_t n_metrics;
    const char *name[MAX_METRICS], *unit[MAX_METRICS];
    size_t n_rows;
    struct row *rows;
    size_t n_warnings;
    const char *warning[8];
    /* the run that is being read */
    struct row *row;
    size_t rep;
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for the table of the sweep");
}

/* ---- reading ---- */

static size_t metric_index(struct table *t, const char *name, const char *unit)
{
    size_t i = 0;
    while (i < t->n_metrics && strcmp(t->name[i], name) != 0) {
        i++;
    }
    if (i == t->n_metrics && i < MAX_METRICS) {
        t->name[i] = arena_strdup(t->a, name);
        t->unit[i] = arena_strdup(t->a, unit ? unit : "");
        t->n_metrics++;
    }
    return i;
}

static double *row_values(struct table *t, struct row *r, size_t metric)
{
    if (!r->value[metric]) {
        double *v = arena_calloc(t->a, t->s->reps, sizeof *v);
        for (size_t i = 0; v && i < t->s->reps; i++) {
            v[i] = (double)NAN;
        }
        r->value[metric] = v;
    }
    return r->value[metric];
}

static int take_metric(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct table *t = ctx;
    const char *name = (const char *)sqlite3_column_text(q, 0);
    size_t m = metric_index(t, name, (const char *)sqlite3_column_text(q, 1));
    if (m == MAX_METRICS) {
        return err_set(e, SIM_E_DATA, "more than %d metrics", MAX_METRICS);
    }
    double *v = row_values(t, t->row, m);
    if (!v || !t->name[m] || !t->unit[m]) {
        return no_memory(e);
    }
    bool null = sqlite3_column_type(q, 2) == SQLITE_NULL;
    v[t->rep] = null ? (double)NAN : sqlite3_column_double(q, 2);
    return 0;
}

static void add_warning(struct table *t, const char *text)
{
    for (size_t i = 0; text && i < t->n_warnings; i++) {
        if (strcmp(t->warning[i], text) == 0) {
            return;
        }
    }
    if (text && t->n_warnings < sizeof t->warning / sizeof t->warning[0]) {
        t->warning[t->n_warnings] = arena_strdup(t->a, text);
        t->n_warnings += t->warning[t->n_warnings] != NULL;
    }
}

static int take_run(void *ctx, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    struct table *t = ctx;
    const char *verdict = (const char *)sqlite3_column_text(q, 0);
    t->row->oracle = t->row->oracle || sqlite3_column_int(q, 1);
    for (int v = RUN_STABLE; v <= RUN_OVERLOADED; v++) {
        if (strcmp(verdict, verdict_name((enum run_verdict)v)) == 0 && v > t->row->verdict) {
            t->row->verdict = v;
        }
    }
    add_warning(t, (const char *)sqlite3_column_text(q, 2));
    return 0;
}

static int read_run(struct table *t, struct row *r, size_t rep, struct err *e)
{
    const struct sweep_report *s = t->s;
    int64_t id = 0;
    int rc = results_find(s->db, s->hash[r->combo], s->seed[r->combo],
                          s->first_replication + (int64_t)rep, &id, e);
    if (rc <= 0) {
        return rc;
    }
    t->row = r;
    t->rep = rep;
    r->n++;
    rc = results_each(s->db, "SELECT verdict, oracle, warnings FROM run WHERE id=?1", &id, 1, take_run, t,
                      e);
    return rc < 0 ? rc
                  : results_each(s->db, "SELECT name, unit, value FROM metric WHERE run=?1 ORDER BY k",
                                 &id, 1, take_metric, t, e);
}

static bool has_failed(const struct sweep_report *s, size_t combo)
{
    for (size_t i = 0; i < s->n_failures; i++) {
        if (s->failures[i].combo == combo) {
            return true;
        }
    }
    return false;
}

static int read_table(struct table *t, struct err *e)
{
    const struct sweep_report *s = t->s;
    t->rows = arena_calloc(t->a, s->n_combos, sizeof *t->rows);
    if (!t->rows) {
        return no_memory(e);
    }
    for (size_t c = 0; c < s->n_combos; c++) {
        struct row *r = &t->rows[t->n_rows];
        *r = (struct row){.combo = c, .failed = has_failed(s, c)};
        for (size_t k = 0; k < s->reps; k++) {
            int rc = read_run(t, r, k, e);
            if (rc < 0) {
                return rc;
            }
        }
        t->n_rows += r->n > 0 || r->failed;
    }
    return 0;
}

/* ---- numbers ---- */

static struct interval cell(const struct table *t, const struct row *r, size_t metric)
{
    return interval_of(r->value[metric], r->value[metric] ? t->s->reps : 0);
}

/* The row with the first value of the first key and all other settings equal. */
static const struct row *baseline_of(const struct table *t, const struct row *r)
{
    const struct sweep_report *s = t->s;
    size_t others = s->n_vary ? s->n_combos / s->vary[0].n : 1;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].combo == r->combo % others) {
            return &t->rows[i];
        }
    }
    return NULL;
}

static struct interval difference(const struct table *t, const struct row *r, size_t metric)
{
    const struct row *b = baseline_of(t, r);
    const double *base = b ? b->value[metric] : NULL;
    return interval_paired(r->value[metric], base, base && r->value[metric] ? t->s->reps : 0);
}

static const char *value_of(const struct table *t, const struct row *r, size_t key)
{
    const struct sweep_report *s = t->s;
    return s->vary[key].value[vary_index(s->vary, s->n_vary, r->combo, key)];
}

static const char *verdict_of(const struct row *r)
{
    return r->n ? verdict_name((enum run_verdict)r->verdict) : "failed";
}

/* ---- text ---- */

/* Columns of the text table: those that some run has. */
static size_t shown_metrics(const struct table *t, size_t *ret)
{
    const char *const *columns = t->s->columns ? t->s->columns : main_metrics;
    size_t n = 0;
    for (size_t i = 0; columns[i]; i++) {
        for (size_t m = 0; m < t->n_metrics && n < MAX_METRICS; m++) {
            if (strcmp(t->name[m], columns[i]) == 0) {
                ret[n++] = m;
            }
        }
    }
    return n;
}

static void add_keys(struct grid *g, const struct table *t, const struct row *r)
{
    for (size_t k = 0; k < t->s->n_vary; k++) {
        grid_addf(g, "%s%s", value_of(t, r, k), r->oracle && k == 0 ? "*" : "");
    }
    if (t->s->n_vary == 0) {
        grid_add(g, r->oracle ? "as given*" : "as given");
    }
}

static void add_heading(struct grid *g, const struct table *t, const size_t *shown, size_t n)
{
    size_t keys = t->s->n_vary ? t->s->n_vary : 1;
    for (size_t k = 0; k < keys; k++) {
        grid_add(g, t->s->n_vary ? t->s->vary[k].key : "configuration");
    }
    grid_add(g, "n");
    for (size_t k = 0; k < n; k++) {
        grid_add(g, t->name[shown[k]]);
    }
    grid_add(g, "verdict");
    for (size_t k = keys; k <= keys + n; k++) {
        g->right[k] = true;
    }
}

static int print_grid(FILE *out, const struct table *t, bool differences, struct err *e)
{
    size_t shown[MAX_METRICS];
    size_t n = shown_metrics(t, shown);
    size_t cols = (t->s->n_vary ? t->s->n_vary : 1) + n + 2;
    struct grid g;
    char buf[80];
    if (cols > GRID_MAX_COLS) {
        return err_set(e, SIM_E_USAGE, "too many varied keys for a table: use --format csv or json");
    }
    grid_init(&g, cols, t->a);
    add_heading(&g, t, shown, n);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct row *r = &t->rows[i];
        if (differences && baseline_of(t, r) == r) {
            continue;
        }
        add_keys(&g, t, r);
        grid_addf(&g, "%zu", r->n);
        for (size_t k = 0; k < n; k++) {
            struct interval x = differences ? difference(t, r, shown[k]) : cell(t, r, shown[k]);
            grid_add(&g, interval_text(&x, buf, sizeof buf));
        }
        grid_add(&g, verdict_of(r));
    }
    if (g.failed) {
        return no_memory(e);
    }
    grid_print(out, &g);
    return 0;
}

static bool any_oracle(const struct table *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        if (t->rows[i].oracle) {
            return true;
        }
    }
    return false;
}

static void print_notes(FILE *out, const struct table *t)
{
    if (t->s->reps > 1) {
        fprintf(out, "\n± half width of the 95 %% confidence interval over n replications (Student t)\n");
    }
    if (any_oracle(t)) {
        fprintf(out, "%s* oracle: it knows what no real scheduler can know\n", t->s->reps > 1 ? "" : "\n");
    }
    for (size_t i = 0; i < t->n_warnings; i++) {
        fprintf(out, "%swarning: %s\n", i ? "" : "\n", t->warning[i]);
    }
}

static int print_text(FILE *out, const struct table *t, struct err *e)
{
    int rc = print_grid(out, t, false, e);
    if (rc == 0 && t->s->baseline && t->s->n_vary && t->n_rows > 1) {
        fprintf(out, "\nDifference to %s=%s, other settings equal, paired by replication\n",
                t->s->vary[0].key, t->s->vary[0].value[0]);
        rc = print_grid(out, t, true, e);
    }
    print_notes(out, t);
    return rc;
}

/* ---- json ---- */

static void json_interval(struct json_writer *w, const struct interval *x)
{
    json_kv_double(w, "mean", x->mean);
    json_kv_double(w, "ci95_half_width", x->half_width);
    json_kv_int(w, "n", (int64_t)x->n);
}

static void json_metrics(struct json_writer *w, const struct table *t, const struct row *r)
{
    json_key(w, "metrics");
    json_object(w);
    for (size_t m = 0; m < t->n_metrics; m++) {
        struct interval x = cell(t, r, m);
        json_key(w, t->name[m]);
        json_object(w);
        json_kv_string(w, "unit", t->unit[m]);
        json_interval(w, &x);
        json_kv_double(w, "min", x.min);
        json_kv_double(w, "max", x.max);
        json_end(w);
    }
    json_end(w);
}

static void json_differences(struct json_writer *w, const struct table *t, const struct row *r)
{
    json_key(w, "difference");
    json_object(w);
    for (size_t m = 0; m < t->n_metrics; m++) {
        struct interval x = difference(t, r, m);
        json_key(w, t->name[m]);
        json_object(w);
        json_interval(w, &x);
        json_end(w);
    }
    json_end(w);
}

static void json_config(struct json_writer *w, const struct table *t, const struct row *r)
{
    json_key(w, "config");
    json_object(w);
    for (size_t k = 0; k < t->s->n_vary; k++) {
        json_kv_string(w, t->s->vary[k].key, value_of(t, r, k));
    }
    json_end(w);
}

static void json_row(struct json_writer *w, const struct table *t, const struct row *r)
{
    json_object(w);
    json_config(w, t, r);
    json_kv_string(w, "config_hash", t->s->hash[r->combo]);
    json_kv_int(w, "seed", t->s->seed[r->combo]);
    json_kv_int(w, "n", (int64_t)r->n);
    json_kv_bool(w, "oracle", r->oracle);
    json_kv_string(w, "verdict", verdict_of(r));
    json_metrics(w, t, r);
    if (t->s->baseline) {
        json_differences(w, t, r);
    }
    json_end(w);
}

static void json_failures(struct json_writer *w, const struct table *t)
{
    json_key(w, "failed");
    json_array(w);
    for (size_t i = 0; i < t->s->n_failures; i++) {
        const struct sweep_failure *x = &t->s->failures[i];
        struct row r = {.combo = x->combo};
        json_object(w);
        json_config(w, t, &r);
        json_kv_int(w, "replication", x->replication);
        json_kv_string(w, "error", x->message);
        json_end(w);
    }
    json_end(w);
}

static void print_json(FILE *out, const struct table *t)
{
    struct json_writer w;
    json_begin(&w, out, true);
    json_object(&w);
    json_kv_string(&w, "schema", SWEEP_SCHEMA);
    json_kv_string(&w, "version", steelyard_version());
    json_kv_int(&w, "replications", (int64_t)t->s->reps);
    json_key(&w, "rows");
    json_array(&w);
    for (size_t i = 0; i < t->n_rows; i++) {
        json_row(&w, t, &t->rows[i]);
    }
    json_end(&w);
    json_failures(&w, t);
    json_key(&w, "warnings");
    json_array(&w);
    for (size_t i = 0; i < t->n_warnings; i++) {
        json_string(&w, t->warning[i]);
    }
    json_end(&w);
    json_end(&w);
    fputc('\n', out);
}

/* ---- csv ---- */

static void csv_number(FILE *out, double v)
{
    char buf[32];
    fprintf(out, ",%s", isfinite(v) ? text_from_double(v, buf) : "");
}

static void csv_heading(FILE *out, const struct table *t)
{
    for (size_t k = 0; k < t->s->n_vary; k++) {
        output_csv_field(out, t->s->vary[k].key);
        fputc(',', out);
    }
    fprintf(out, "config_hash,seed,n,oracle,verdict");
    for (size_t m = 0; m < t->n_metrics; m++) {
        fprintf(out, ",%s,%s_ci95", t->name[m], t->name[m]);
        if (t->s->baseline) {
            fprintf(out, ",%s_diff,%s_diff_ci95", t->name[m], t->name[m]);
        }
    }
    fputc('\n', out);
}

static void csv_row(FILE *out, const struct table *t, const struct row *r)
{
    for (size_t k = 0; k < t->s->n_vary; k++) {
        output_csv_field(out, value_of(t, r, k));
        fputc(',', out);
    }
    fprintf(out, "%s,%lld,%zu,%d,%s", t->s->hash[r->combo], (long long)t->s->seed[r->combo], r->n,
            r->oracle, verdict_of(r));
    for (size_t m = 0; m < t->n_metrics; m++) {
        struct interval x = cell(t, r, m);
        csv_number(out, x.mean);
        csv_number(out, x.half_width);
        if (t->s->baseline) {
            x = difference(t, r, m);
            csv_number(out, x.mean);
            csv_number(out, x.half_width);
        }
    }
    fputc('\n', out);
}

static void print_csv(FILE *out, const struct table *t)
{
    csv_heading(out, t);
    for (size_t i = 0; i < t->n_rows; i++) {
        csv_row(out, t, &t->rows[i]);
    }
}

int sweep_report_print(FILE *out, const struct sweep_report *s, enum sweep_format format,
                       struct arena *a, struct err *e)
{
    struct table *t = arena_alloc(a, sizeof *t);
    if (!t) {
        return no_memory(e);
    }
    t->s = s;
    t->a = a;
    int rc = read_table(t, e);
    if (rc < 0) {
        return rc;
    }
    if (format == SWEEP_JSON) {
        print_json(out, t);
    } else if (format == SWEEP_CSV) {
        print_csv(out, t);
    } else {
        rc = print_text(out, t, e);
    }
    return rc;
}
