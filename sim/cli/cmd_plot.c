/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard plot: figures from a results database, drawn by gnuplot. The data and the script of each
 * figure stay beside it, so that it can be drawn again and changed by hand. */
#include "sim/cli/cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/cli/gnuplot.h"
#include "sim/observe/metrics_glossary.h"
#include "sim/results/db.h"
#include "sim/results/interval.h"

static const char usage[] =
    "usage: steelyard plot DB [--kind KIND] [--only KEY=VALUE ...] [-o FOLDER|FILE.svg|FILE.png]\n"
    "\n"
    "Draws figures with gnuplot. NAME.dat and NAME.gp stay beside NAME.png and NAME.svg; in that folder\n"
    "'gnuplot NAME.gp' draws the figure again. Replications are put together.\n"
    "\n"
    "  --kind KIND        cdf-ttft    distribution of the time to first token\n"
    "                     cdf-tpot    distribution of the time per output token\n"
    "                     service     service rate of each client over time (runs with series.step > 0)\n"
    "                     load        a metric over load.scale\n"
    "                     throughput  a metric against the output throughput\n"
    "                     all         all of these for which the database has data (default)\n"
    "  --metric NAME      for load and throughput, default p99_ttft_ms\n"
    "  --only KEY=VALUE   only runs whose label has this word, as the sweep varied it; may repeat\n"
    "  -o PLACE           folder (default plots), or one file for one figure\n"
    "  --format LIST      png,svg (default), png or svg\n"
    "\n"
    "Examples:\n"
    "  steelyard plot r.db\n"
    "  steelyard plot r.db --kind cdf-ttft --only load.scale=1 -o ttft.svg\n";

extern const struct subcommand cmd_plot;

enum { MAX_LINES = GNUPLOT_LINES, MAX_PANELS = 6, MAX_CLIENTS = 8, MAX_ONLY = 16 };

enum kind { KIND_CDF_TTFT, KIND_CDF_TPOT, KIND_SERVICE, KIND_LOAD, KIND_THROUGHPUT, N_KINDS };
static const char *const kind_names[] = {"cdf-ttft", "cdf-tpot", "service", "load", "throughput", "all"};

/* One configuration; its runs differ in the replication only. */
struct group {
    const char *label; /* "policy=vtc load.scale=0.5" */
    const char *hash;
    bool oracle; /* gets a star */
    int64_t seed, first_run;
    double load, window_s;
};

struct options {
    const char *db, *metric, *place;
    int kind; /* N_KINDS = all */
    bool png, svg;
    size_t n_only;
    const char *only[MAX_ONLY];
};

struct plot {
    struct options o;
    struct arena ar;
    struct results *db;
    const char *folder;
    const char *stem; /* of the one figure that was asked for, or NULL */
    size_t n_groups, cap_groups;
    struct group *groups;
    size_t n_shown; /* of the groups, in the figure at hand */
    const struct group **shown;
    bool any_oracle;
};

/* One figure being written. */
struct figure {
    struct plot *p;
    const char *name;
    FILE *dat;
    size_t n; /* data blocks so far */
    const char *title[MAX_PANELS * MAX_CLIENTS + MAX_LINES]; /* of the blocks */
    double x_min, x_max, y_min, y_max;
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory while plotting");
}

/* ---- words of labels ---- */

static bool has_word(const char *label, const char *word, size_t n)
{
    for (const char *p = label; (p = strstr(p, word)); p++) {
        bool begins = p == label || p[-1] == ' ';
        if (begins && (p[n] == ' ' || p[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool is_common(const struct plot *p, const char *word)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        if (!has_word(p->groups[i].label, word, strlen(word))) {
            return false;
        }
    }
    return p->n_groups > 1;
}

/* What tells this line from the others: words that all have are left out, and the load if asked. */
static const char *legend(struct plot *p, const struct group *g, bool drop_load)
{
    const char *out = "";
    char *copy = arena_strdup(&p->ar, g->label);
    char *rest = NULL;
    for (char *w = copy ? strtok_r(copy, " ", &rest) : NULL; w && out; w = strtok_r(NULL, " ", &rest)) {
        bool dropped = is_common(p, w) || (drop_load && strncmp(w, "load.scale=", 11) == 0);
        if (!dropped) {
            out = arena_printf(&p->ar, "%s%s%s", out, *out ? " " : "", w);
        }
    }
    return arena_printf(&p->ar, "%s%s", out && *out ? out : g->label, g->oracle ? "*" : "");
}

/* ---- reading the database ---- */

static bool is_wanted(const struct plot *p, const char *label)
{
    for (size_t i = 0; i < p->o.n_only; i++) {
        if (!has_word(label, p->o.only[i], strlen(p->o.only[i]))) {
            return false;
        }
    }
    return true;
}

static int add_group(struct plot *p, const struct group *g, struct err *e)
{
    if (p->n_groups == p->cap_groups) {
        size_t cap = p->cap_groups ? 2 * p->cap_groups : 16;
        struct group *grown = arena_calloc(&p->ar, cap, sizeof *grown);
        if (!grown) {
            return no_memory(e);
        }
        if (p->n_groups) {
            memcpy(grown, p->groups, p->n_groups * sizeof *grown);
        }
        p->groups = grown;
        p->cap_groups = cap;
    }
    p->groups[p->n_groups++] = *g;
    return 0;
}

static int take_group(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct plot *p = ctx;
    const char *label = (const char *)sqlite3_column_text(q, 0);
    bool oracle = sqlite3_column_int(q, 1);
    struct group g = {
        .label = arena_strdup(&p->ar, label ? label : "run"),
        .oracle = oracle,
        .hash = arena_strdup(&p->ar, (const char *)sqlite3_column_text(q, 2)),
        .seed = sqlite3_column_int64(q, 3),
        .first_run = sqlite3_column_int64(q, 4),
        .load = sqlite3_column_double(q, 5),
        .window_s = sqlite3_column_double(q, 6),
    };
    if (!g.label || !g.hash) {
        return no_memory(e);
    }
    if (!is_wanted(p, g.label)) {
        return 0;
    }
    p->any_oracle = p->any_oracle || oracle;
    return add_group(p, &g, e);
}

static int read_groups(struct plot *p, struct err *e)
{
    static const char sql[] =
        "SELECT coalesce(nullif(label, ''), json_extract(config_json, '$.policy')), oracle, config_hash,"
        " seed, min(id), coalesce(json_extract(config_json, '$.\"load.scale\"'), 1),"
        " coalesce(json_extract(config_json, '$.\"service.window\"'), 60)"
        " FROM run GROUP BY config_hash, seed ORDER BY min(id)";
    int rc = results_each(p->db, sql, NULL, 0, take_group, p, e);
    if (rc == 0 && p->n_groups == 0) {
        return err_set(e, SIM_E_DATA, "%s has no run%s", p->o.db,
                       p->o.n_only ? " that --only lets through" : "");
    }
    return rc;
}

/* SQL for "the runs of this group", with the hash and seed written in: both come from the database. */
static const char *runs_of(struct plot *p, const struct group *g)
{
    return arena_printf(&p->ar, "SELECT id FROM run WHERE config_hash='%s' AND seed=%lld", g->hash,
                        (long long)g->seed);
}

/* ---- files ---- */

static const char *path_of(struct plot *p, const char *name, const char *ending)
{
    return arena_printf(&p->ar, "%s/%s.%s", p->folder, name, ending);
}

static FILE *open_file(struct plot *p, const char *name, const char *ending, struct err *e)
{
    const char *path = path_of(p, name, ending);
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) {
        err_set(e, SIM_E_IO, "%s/%s.%s: %s", p->folder, name, ending, strerror(errno));
    }
    return f;
}

static int close_file(struct plot *p, FILE *f, const char *name, const char *ending, struct err *e)
{
    bool failed = ferror(f) != 0;
    failed = fclose(f) != 0 || failed;
    return failed ? err_set(e, SIM_E_IO, "%s/%s.%s: not all of it was written", p->folder, name, ending)
                  : 0;
}

static int figure_begin(struct figure *f, struct plot *p, const char *name, struct err *e)
{
    *f = (struct figure){.p = p, .name = p->stem ? p->stem : name, .x_min = HUGE_VAL, .y_min = HUGE_VAL};
    f->dat = open_file(p, f->name, "dat", e);
    return f->dat ? 0 : SIM_E_IO;
}

/* A block of data of its own: gnuplot's "index". */
static void block(struct figure *f, const char *title, const char *columns)
{
    fprintf(f->dat, "%s# %s\n# %s\n", f->n ? "\n\n" : "", title, columns);
    f->title[f->n++] = title;
}

static void point(struct figure *f, double x, double y)
{
    fprintf(f->dat, "%.9g %.9g", x, y);
    f->x_min = x < f->x_min ? x : f->x_min;
    f->x_max = x > f->x_max ? x : f->x_max;
    f->y_max = y > f->y_max ? y : f->y_max;
    f->y_min = y < f->y_min ? y : f->y_min;
}

typedef void body_fn(FILE *gp, const struct figure *f);

/* Write the script, draw, and say what there is now. */
static int figure_end(struct figure *f, body_fn *body, int width, int height, struct err *e)
{
    struct plot *p = f->p;
    int rc = close_file(p, f->dat, f->name, "dat", e);
    FILE *gp = rc == 0 ? open_file(p, f->name, "gp", e) : NULL;
    if (!gp) {
        return SIM_E_IO;
    }
    fprintf(gp, "# gnuplot %s.gp\n", f->name);
    gnuplot_style(gp);
    for (int svg = 0; svg < 2; svg++) {
        if (svg ? p->o.svg : p->o.png) {
            gnuplot_terminal(gp, f->name, svg, width, height);
            body(gp, f);
            fprintf(gp, "set output\n");
        }
    }
    rc = close_file(p, gp, f->name, "gp", e);
    rc = rc < 0 ? rc : gnuplot_run(p->folder, f->name, &p->ar, e);
    for (int svg = 0; rc == 0 && svg < 2; svg++) {
        if (svg ? p->o.svg : p->o.png) {
            printf("%s/%s.%s\n", p->folder, f->name, svg ? "svg" : "png");
        }
    }
    return rc;
}

/* Nothing to draw: an error when this figure was asked for, silence when all were. */
static int figure_drop(struct figure *f, const char *why, struct err *e)
{
    struct plot *p = f->p;
    const char *path = path_of(p, f->name, "dat");
    fclose(f->dat);
    if (path) {
        remove(path);
    }
    return p->o.kind == N_KINDS ? 0 : err_set(e, SIM_E_DATA, "%s: %s", p->o.db, why);
}

/* The load nearest to the trace's own. */
static double usual_load(const struct plot *p)
{
    double best = p->groups[0].load;
    for (size_t i = 1; i < p->n_groups; i++) {
        if (fabs(p->groups[i].load - 1) < fabs(best - 1)) {
            best = p->groups[i].load;
        }
    }
    return best;
}

/* What a figure with one line or panel per configuration shows: all; where that is too much, one load. */
static int choose_shown(struct plot *p, const char *figure, size_t most, struct err *e)
{
    double load = usual_load(p);
    p->n_shown = 0;
    p->shown = arena_calloc(&p->ar, p->n_groups, sizeof *p->shown);
    if (!p->shown) {
        return no_memory(e);
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        bool fits = p->n_groups <= most || p->groups[i].load == load;
        if (fits && p->n_shown < most) {
            p->shown[p->n_shown++] = &p->groups[i];
        }
    }
    if (p->n_shown < p->n_groups) {
        fprintf(stderr, "steelyard: plot: %s shows %zu of %zu configurations, at load.scale %g; choose with "
                        "--only KEY=VALUE\n", figure, p->n_shown, p->n_groups, load);
    }
    return 0;
}

static void write_star(FILE *gp, const struct figure *f)
{
    if (f->p->any_oracle) {
        fputs("set label 99 '* oracle: knows what no real scheduler can know' at graph 1,1.03 right "
              "font ',12' tc rgb '#444444'\n", gp);
    }
}

/* ---- distributions ---- */

struct cdf {
    struct figure *f;
    double total, sum, drawn;
};

static int take_total(void *ctx, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    *(double *)ctx = sqlite3_column_double(q, 0);
    return 0;
}

/* A point where the curve has risen by a two-thousandth: no eye sees more. */
static int take_bin(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct cdf *c = ctx;
    (void)e;
    c->sum += sqlite3_column_double(q, 1);
    double share = c->sum / c->total;
    if (share - c->drawn >= 5e-4 || c->sum == c->total || c->drawn == 0) {
        point(c->f, sqlite3_column_double(q, 0) * 1e-6, share);
        fputc('\n', c->f->dat);
        c->drawn = share;
    }
    return 0;
}

static int cdf_line(struct figure *f, const struct group *g, const char *hist, struct err *e)
{
    struct plot *p = f->p;
    struct cdf c = {.f = f};
    const char *where = arena_printf(&p->ar, "FROM hist WHERE name='%s' AND run IN (%s)", hist,
                                     runs_of(p, g));
    const char *total = arena_printf(&p->ar, "SELECT sum(n) %s", where);
    const char *bins = arena_printf(&p->ar, "SELECT (low+high)/2.0, sum(n) %s GROUP BY low ORDER BY low",
                                    where);
    if (!where || !total || !bins) {
        return no_memory(e);
    }
    int rc = results_each(p->db, total, NULL, 0, take_total, &c.total, e);
    if (rc < 0 || c.total <= 0) {
        return rc;
    }
    block(f, legend(p, g, false), "ms, share of requests");
    return results_each(p->db, bins, NULL, 0, take_bin, &c, e);
}

/* An x axis that ends with the data: logarithmic with ticks at 1, 2 and 5 where there is room, linear
 * where so few of those would lie inside that nobody could read a value. */
static void write_span_x(FILE *gp, double min, double max)
{
    if (max < 8 * min) {
        fprintf(gp, "set xrange [%g:%g]\nset xtics auto\n", min, max);
        return;
    }
    int first = (int)floor(log10(min));
    int last = (int)ceil(log10(max));
    fprintf(gp, "set logscale x\nset xrange [%g:%g]\nset xtics (", min, max);
    for (int d = first; d <= last; d++) {
        double t = pow(10, d);
        fprintf(gp, last - first <= 4 ? "%s'%g' %g, '%g' %g, '%g' %g" : "%s'%g' %g", d > first ? ", " : "",
                t, t, 2 * t, 2 * t, 5 * t, 5 * t);
    }
    fputs(")\n", gp);
}

static void cdf_body(FILE *gp, const struct figure *f)
{
    bool seconds = f->x_max > 20000;
    const char *what = strstr(f->title[f->n], "TPOT") ? "Time per output token" : "Time to first token";
    double unit = seconds ? 1000 : 1;
    fprintf(gp, "set xlabel '%s (%s)'\nset ylabel 'Share of requests'\n", what, seconds ? "s" : "ms");
    fputs("set yrange [0:1]\nset ytics 0.1\n", gp);
    write_span_x(gp, (f->x_min > 0 ? f->x_min : 1e-3) / unit, f->x_max / unit * 1.05);
    write_star(gp, f);
    fputs("plot ", gp);
    for (size_t i = 0; i < f->n; i++) {
        fprintf(gp, "%s'%s.dat' index %zu using ($1/%d):2 with lines lt %zu lw 2.2 title ",
                i ? ", \\\n     " : "", f->name, i, (int)unit, i + 1);
        gnuplot_quoted(gp, f->title[i]);
    }
    fputc('\n', gp);
}

static int draw_cdf(struct plot *p, const char *hist, struct err *e)
{
    struct figure f;
    char name[20];
    snprintf(name, sizeof name, "cdf-%s", hist);
    int rc = choose_shown(p, name, MAX_LINES, e);
    rc = rc < 0 ? rc : figure_begin(&f, p, name, e);
    for (size_t i = 0; rc == 0 && i < p->n_shown; i++) {
        rc = cdf_line(&f, p->shown[i], hist, e);
    }
    if (rc == 0 && f.n == 0) {
        return figure_drop(&f, "no histogram for this figure is in it", e);
    }
    f.title[f.n] = strcmp(hist, "tpot") == 0 ? "TPOT" : "TTFT";
    return rc < 0 ? rc : figure_end(&f, cdf_body, 1000, 640, e);
}

/* ---- service over time ---- */

/* The accumulated service of one client, kept while its rate is written. */
struct curve {
    size_t n, cap;
    double *t, *v;
    struct arena *a;
};

static int take_sample(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct curve *c = ctx;
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        double *t = arena_calloc(c->a, cap, sizeof *t);
        double *v = arena_calloc(c->a, cap, sizeof *v);
        if (!t || !v) {
            return no_memory(e);
        }
        if (c->n) {
            memcpy(t, c->t, c->n * sizeof *t);
            memcpy(v, c->v, c->n * sizeof *v);
        }
        c->t = t;
        c->v = v;
        c->cap = cap;
    }
    c->t[c->n] = sqlite3_column_double(q, 0);
    c->v[c->n++] = sqlite3_column_double(q, 1);
    return 0;
}

/* Rate over a window centred on t, as VTC (OSDI'24, section 5.1) draws it: (S(t+w/2) - S(t-w/2)) / w,
 * shorter at both ends. At most some 300 points. */
static void write_rate(struct figure *f, const struct curve *c, double window_s)
{
    size_t from = 0;
    size_t to = 0;
    size_t step = c->n / 300 + 1;
    for (size_t i = 0; i < c->n; i += step) {
        while (to + 1 < c->n && c->t[to + 1] <= c->t[i] + window_s / 2) {
            to++;
        }
        while (from + 1 < c->n && c->t[from] < c->t[i] - window_s / 2) {
            from++;
        }
        if (c->t[to] > c->t[from]) {
            point(f, c->t[i], (c->v[to] - c->v[from]) / (c->t[to] - c->t[from]));
            fputc('\n', f->dat);
        }
    }
}

struct clients {
    struct plot *p;
    size_t n;
    const char *name[MAX_CLIENTS]; /* as the series is called */
};

static int take_client(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct clients *c = ctx;
    c->name[c->n] = arena_strdup(&c->p->ar, (const char *)sqlite3_column_text(q, 0));
    return c->name[c->n++] ? 0 : no_memory(e);
}

/* The clients with most service, in the order of the trace. */
static int read_clients(struct plot *p, struct clients *c, struct err *e)
{
    int64_t run[] = {p->groups[0].first_run, MAX_CLIENTS};
    *c = (struct clients){.p = p};
    return results_each(p->db, "SELECT name FROM (SELECT series.name AS name, max(value) AS v, client.k AS k"
                               " FROM series LEFT JOIN client ON client.run=series.run AND"
                               " 'service/' || client.name = series.name WHERE series.run=?1 AND"
                               " series.name LIKE 'service/%' GROUP BY series.name ORDER BY v DESC, k"
                               " LIMIT ?2) ORDER BY k, name", run, 2, take_client, c, e);
}

static int service_line(struct figure *f, const struct group *g, const char *series, struct err *e)
{
    struct arena scratch = {0};
    struct curve c = {.a = &scratch};
    char *quoted_name = sqlite3_mprintf("SELECT t_s, value FROM series WHERE run=%lld AND name=%Q ORDER BY k",
                                        (long long)g->first_run, series);
    int rc = quoted_name ? results_each(f->p->db, quoted_name, NULL, 0, take_sample, &c, e) : no_memory(e);
    if (rc == 0) {
        block(f, arena_printf(&f->p->ar, "%s", series + strlen("service/")),
              "s, weighted tokens per second");
        write_rate(f, &c, g->window_s);
    }
    sqlite3_free(quoted_name);
    arena_release(&scratch);
    return rc;
}

static void service_body(FILE *gp, const struct figure *f)
{
    struct plot *p = f->p;
    size_t panels = p->n_shown;
    size_t clients = f->n / panels;
    int cols = panels > 1 ? 2 : 1;
    int rows = (int)(panels + 1) / cols;
    fprintf(gp, "set multiplot layout %d,%d\nset xlabel 'Time (s)'\n"
                "set ylabel 'Service (weighted tok/s)'\nset yrange [0:%.3g]\nset xrange [0:*]\n",
            rows, cols, f->y_max * 1.08);
    for (size_t i = 0; i < panels; i++) {
        fputs("set title ", gp);
        gnuplot_quoted(gp, legend(p, p->shown[i], false));
        fputs(" offset 0,-0.5\nplot ", gp);
        for (size_t k = 0; k < clients; k++) {
            fprintf(gp, "%s'%s.dat' index %zu with lines lt %zu lw 2 title ", k ? ", \\\n     " : "",
                    f->name, i * clients + k, k + 1);
            gnuplot_quoted(gp, f->title[i * clients + k]);
        }
        fputc('\n', gp);
    }
    fputs("unset multiplot\n", gp);
}

static int draw_service(struct plot *p, struct err *e)
{
    struct figure f;
    struct clients c;
    int rc = figure_begin(&f, p, "service", e);
    if (rc < 0) {
        return rc;
    }
    rc = read_clients(p, &c, e);
    if (rc == 0 && c.n == 0) {
        return figure_drop(&f, "no time series is in it: run with --set series.step=10s", e);
    }
    rc = rc < 0 ? rc : choose_shown(p, "service", MAX_PANELS, e);
    for (size_t i = 0; rc == 0 && i < p->n_shown; i++) {
        for (size_t k = 0; rc == 0 && k < c.n; k++) {
            rc = service_line(&f, p->shown[i], c.name[k], e);
        }
    }
    int rows = p->n_shown > 1 ? (int)(p->n_shown + 1) / 2 : 1;
    return rc < 0 ? rc : figure_end(&f, service_body, p->n_shown > 1 ? 1400 : 1000, 120 + 400 * rows, e);
}

/* ---- a metric over load or against throughput ---- */

struct values {
    size_t n;
    double v[1000];
};

static int take_value(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct values *v = ctx;
    (void)e;
    if (v->n < sizeof v->v / sizeof v->v[0] && sqlite3_column_type(q, 0) != SQLITE_NULL) {
        v->v[v->n++] = sqlite3_column_double(q, 0);
    }
    return 0;
}

static int metric_of(struct plot *p, const struct group *g, const char *name, struct interval *ret,
                     struct err *e)
{
    struct values v = {0};
    char *sql = sqlite3_mprintf("SELECT value FROM metric WHERE name=%Q AND run IN (%s)", name,
                                runs_of(p, g));
    int rc = sql ? results_each(p->db, sql, NULL, 0, take_value, &v, e) : no_memory(e);
    sqlite3_free(sql);
    *ret = interval_of(v.v, v.n);
    ret->half_width = ret->half_width >= 0 ? ret->half_width : 0; /* one run: no bar */
    return rc;
}

static int by_load(const void *x, const void *y)
{
    const struct group *a = x;
    const struct group *b = y;
    return a->load != b->load ? (a->load > b->load) - (a->load < b->load)
                              : (a->first_run > b->first_run) - (a->first_run < b->first_run);
}

/* The groups of line `name`, in order of load; columns x y xlow xhigh ylow yhigh. */
static int load_line(struct figure *f, struct group *sorted, const char *name, bool throughput,
                     struct err *e)
{
    struct plot *p = f->p;
    int rc = 0;
    bool begun = false;
    for (size_t i = 0; rc == 0 && i < p->n_groups; i++) {
        struct interval x = {.n = 1, .mean = sorted[i].load};
        struct interval y;
        const char *own = legend(p, &sorted[i], true);
        if (!own || strcmp(own, name) != 0) {
            continue;
        }
        rc = metric_of(p, &sorted[i], p->o.metric, &y, e);
        if (rc == 0 && throughput) {
            rc = metric_of(p, &sorted[i], "output_throughput", &x, e);
        }
        if (rc < 0 || x.n == 0 || y.n == 0) {
            continue;
        }
        if (!begun) {
            block(f, name, "x y xlow xhigh ylow yhigh");
            begun = true;
        }
        point(f, x.mean, y.mean);
        fprintf(f->dat, " %.9g %.9g %.9g %.9g\n", x.mean - x.half_width, x.mean + x.half_width,
                y.mean - y.half_width, y.mean + y.half_width);
    }
    return rc;
}

/* Milliseconds that run into minutes are shown as seconds. */
static bool in_seconds(const struct figure *f, const char *metric)
{
    const struct metric_def *d = metric_def_find(metric);
    return d && strcmp(d->unit, "ms") == 0 && f->y_max > 20000;
}

static void write_axis(FILE *gp, char axis, const char *metric, bool seconds)
{
    const struct metric_def *d = metric_def_find(metric);
    const char *label = d ? d->label : metric;
    const char *ms = seconds ? strstr(label, " (ms)") : NULL;
    fprintf(gp, "set %clabel '%.*s%s'\n", axis, ms ? (int)(ms - label) : (int)strlen(label), label,
            ms ? " (s)" : "");
}

/* Latencies of light and heavy load lie decades apart: then, and only for positive values, a log axis. */
static void write_y_axis(FILE *gp, const struct figure *f)
{
    bool seconds = in_seconds(f, f->p->o.metric);
    double unit = seconds ? 1000 : 1;
    write_axis(gp, 'y', f->p->o.metric, seconds);
    if (f->y_min > 0 && f->y_max > 15 * f->y_min) {
        double least = pow(10, floor(log10(f->y_min / unit)));
        fprintf(gp, "set logscale y\nset format y '%%g'\nset yrange [%g:*]\n", least);
        fprintf(gp, "y(v) = v / %g > %g ? v / %g : %g\n", unit, least, unit, least);
    } else {
        fprintf(gp, "set yrange [%s:*]\ny(v) = v / %g\n", f->y_min >= 0 ? "0" : "*", unit);
    }
}

static void load_body(FILE *gp, const struct figure *f)
{
    if (f->title[f->n]) {
        write_axis(gp, 'x', "output_throughput", false);
    } else {
        fputs("set xlabel 'Load relative to the trace (load.scale)'\n", gp);
    }
    fputs("set offsets graph 0.03, graph 0.03, 0, 0\n", gp);
    write_y_axis(gp, f);
    write_star(gp, f);
    fputs("plot ", gp);
    for (size_t i = 0; i < f->n; i++) {
        fprintf(gp, "%s'%s.dat' index %zu using 1:(y($2)):3:4:(y($5)):(y($6)) with xyerrorlines lt %zu title ",
                i ? ", \\\n     " : "", f->name, i, i + 1);
        gnuplot_quoted(gp, f->title[i]);
    }
    fputc('\n', gp);
}

static size_t line_names(struct plot *p, const struct group *sorted, const char **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_groups; i++) {
        const char *own = legend(p, &sorted[i], true);
        size_t k = 0;
        while (own && k < n && strcmp(ret[k], own) != 0) {
            k++;
        }
        if (own && k == n && n < MAX_LINES) {
            ret[n++] = own;
        } else if (own && k == n) {
            fprintf(stderr, "steelyard: plot: more than %d lines; choose with --only KEY=VALUE\n", MAX_LINES);
            break;
        }
    }
    return n;
}

static int draw_load(struct plot *p, bool throughput, struct err *e)
{
    struct figure f;
    const char *name[MAX_LINES];
    size_t n = line_names(p, p->groups, name);
    struct group *sorted = arena_calloc(&p->ar, p->n_groups, sizeof *sorted);
    const char *stem = arena_printf(&p->ar, "%s-%s", throughput ? "throughput" : "load", p->o.metric);
    if (!sorted || !stem) {
        return no_memory(e);
    }
    memcpy(sorted, p->groups, p->n_groups * sizeof *sorted);
    qsort(sorted, p->n_groups, sizeof *sorted, by_load);
    int rc = figure_begin(&f, p, stem, e);
    bool varied = sorted[0].load != sorted[p->n_groups - 1].load;
    if (rc == 0 && !varied && !throughput) {
        return figure_drop(&f, "load.scale is the same in all of its runs", e);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = load_line(&f, sorted, name[i], throughput, e);
    }
    if (rc == 0 && f.n == 0) {
        return figure_drop(&f, arena_printf(&p->ar, "no run defines metric %s", p->o.metric), e);
    }
    f.title[f.n] = throughput ? "throughput" : NULL; /* what x is */
    return rc < 0 ? rc : figure_end(&f, load_body, 1000, 640, e);
}

/* ---- the command line ---- */

static int parse_kind(struct options *o, const char *text, struct err *e)
{
    for (int k = 0; k <= N_KINDS; k++) {
        if (strcmp(text, kind_names[k]) == 0) {
            o->kind = k;
            return 1;
        }
    }
    return cli_not_known("kind of figure", text, kind_names, N_KINDS + 1, " (steelyard help plot)",
                         SIM_E_USAGE, e);
}

static int parse_formats(struct options *o, const char *text, struct err *e)
{
    o->png = strcmp(text, "png") == 0 || strcmp(text, "png,svg") == 0 || strcmp(text, "svg,png") == 0;
    o->svg = strcmp(text, "svg") == 0 || strcmp(text, "png,svg") == 0 || strcmp(text, "svg,png") == 0;
    return o->png || o->svg ? 1 : err_set(e, SIM_E_USAGE, "--format %s: wanted png,svg or one of them", text);
}

static int parse_metric(struct options *o, const char *text, struct err *e)
{
    o->metric = text;
    if (metric_def_find(text)) {
        return 1;
    }
    const char *names[512];
    size_t n = 0;
    while (metric_glossary[n].name && n < sizeof names / sizeof names[0]) {
        names[n] = metric_glossary[n].name;
        n++;
    }
    return cli_not_known("metric", text, names, n, " (steelyard list metrics)", SIM_E_USAGE, e);
}

static int parse_only(struct options *o, const char *text, struct err *e)
{
    if (o->n_only == MAX_ONLY || !strchr(text, '=')) {
        return err_set(e, SIM_E_USAGE, "--only %s: wanted KEY=VALUE, at most %d times", text, MAX_ONLY);
    }
    o->only[o->n_only++] = text;
    return 1;
}

static int parse_flag(struct options *o, int argc, char **argv, int *i, struct err *e)
{
    static const char *const names[] = {"--kind", "--metric", "--only", "--format", "-o", "--output"};
    const char *value = NULL;
    size_t k = 0;
    int rc = 0;
    while (k < sizeof names / sizeof names[0] &&
           (rc = cli_flag_value(names[k], argc, argv, i, &value, e)) == 0) {
        k++;
    }
    if (rc <= 0) {
        return rc;
    }
    switch (k) {
    case 0:
        return parse_kind(o, value, e);
    case 1:
        return parse_metric(o, value, e);
    case 2:
        return parse_only(o, value, e);
    case 3:
        return parse_formats(o, value, e);
    default:
        o->place = value;
        return 1;
    }
}

static int parse(struct options *o, int argc, char **argv, struct err *e)
{
    *o = (struct options){.metric = "p99_ttft_ms", .place = "plots", .kind = N_KINDS, .png = true,
                          .svg = true};
    for (int i = 1; i < argc; i++) {
        int rc = parse_flag(o, argc, argv, &i, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && (argv[i][0] == '-' || o->db)) {
            return cli_unknown(&cmd_plot, argv[i], e);
        }
        if (rc == 0) {
            o->db = argv[i];
        }
    }
    return o->db ? 0 : err_set(e, SIM_E_USAGE, "plot what? A database that sweep or run --db wrote");
}

/* "-o FILE.svg" is one figure in one format; all else is a folder. */
static int split_place(struct plot *p, struct err *e)
{
    const char *dot = strrchr(p->o.place, '.');
    bool svg = dot && strcmp(dot, ".svg") == 0;
    bool png = dot && strcmp(dot, ".png") == 0;
    const char *slash = strrchr(p->o.place, '/');
    if (!svg && !png) {
        size_t n = strlen(p->o.place);
        p->folder = arena_strndup(&p->ar, p->o.place, n > 1 && p->o.place[n - 1] == '/' ? n - 1 : n);
        return p->folder ? 0 : no_memory(e);
    }
    if (p->o.kind == N_KINDS) {
        return err_set(e, SIM_E_USAGE, "-o %s is one file: say with --kind which figure", p->o.place);
    }
    const char *begin = slash ? slash + 1 : p->o.place;
    p->o.svg = svg;
    p->o.png = png;
    p->folder = !slash ? "." : slash == p->o.place ? "/"
                : arena_strndup(&p->ar, p->o.place, (size_t)(slash - p->o.place));
    p->stem = arena_strndup(&p->ar, begin, (size_t)(dot - begin));
    return p->folder && p->stem ? 0 : no_memory(e);
}

static int draw(struct plot *p, enum kind k, struct err *e)
{
    switch (k) {
    case KIND_CDF_TTFT:
        return draw_cdf(p, "ttft", e);
    case KIND_CDF_TPOT:
        return draw_cdf(p, "tpot", e);
    case KIND_SERVICE:
        return draw_service(p, e);
    case KIND_LOAD:
        return draw_load(p, false, e);
    default:
        return draw_load(p, true, e);
    }
}

static int plot(struct plot *p, struct err *e)
{
    int rc = split_place(p, e);
    rc = rc < 0 ? rc : results_open(&p->db, p->o.db, RESULTS_READ, e);
    rc = rc < 0 ? rc : read_groups(p, e);
    rc = rc < 0 ? rc : gnuplot_folder(p->folder, e);
    for (int k = 0; rc == 0 && k < N_KINDS; k++) {
        if (p->o.kind == k || p->o.kind == N_KINDS) {
            rc = draw(p, (enum kind)k, e);
        }
    }
    return rc;
}

static int run(int argc, char **argv, struct err *e)
{
    struct plot p = {0};
    int rc = parse(&p.o, argc, argv, e);
    rc = rc < 0 ? rc : plot(&p, e);
    results_close(p.db);
    arena_release(&p.ar);
    return rc;
}

const struct subcommand cmd_plot = {"plot", "draw figures from a results database", usage, run};
