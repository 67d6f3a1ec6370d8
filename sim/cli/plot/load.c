/* SPDX-License-Identifier: Apache-2.0
 *
 * A metric over the load, or against throughput. */
#include "sim/cli/plot/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/observe/metrics_glossary.h"
#include "sim/results/interval.h"

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

static int metric_of(struct plot *p, const struct plot_group *g, const char *name, struct interval *ret,
                     struct err *e)
{
    struct values v = {0};
    char *sql = sqlite3_mprintf("SELECT value FROM metric WHERE name=%Q AND run IN (%s)", name,
                                plot_runs_of(p, g));
    int rc = sql ? results_each(p->db, sql, NULL, 0, take_value, &v, e) : plot_no_memory(e);
    sqlite3_free(sql);
    *ret = interval_of(v.v, v.n);
    ret->half_width = ret->half_width >= 0 ? ret->half_width : 0; /* one run: no bar */
    return rc;
}

static int by_load(const void *x, const void *y)
{
    const struct plot_group *a = x;
    const struct plot_group *b = y;
    return a->load != b->load ? (a->load > b->load) - (a->load < b->load)
                              : (a->first_run > b->first_run) - (a->first_run < b->first_run);
}

/* The groups of line `name`, in order of load; columns x y xlow xhigh ylow yhigh. */
static int load_line(struct plot_figure *f, struct plot_group *sorted, const char *name, bool throughput,
                     struct err *e)
{
    struct plot *p = f->p;
    int rc = 0;
    bool begun = false;
    for (size_t i = 0; rc == 0 && i < p->n_groups; i++) {
        struct interval x = {.n = 1, .mean = sorted[i].load};
        struct interval y;
        const char *own = plot_legend(p, &sorted[i], true);
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
            plot_block(f, name, "x y xlow xhigh ylow yhigh");
            begun = true;
        }
        plot_point(f, x.mean, y.mean);
        fprintf(f->dat, " %.9g %.9g %.9g %.9g\n", x.mean - x.half_width, x.mean + x.half_width,
                y.mean - y.half_width, y.mean + y.half_width);
    }
    return rc;
}

/* Milliseconds that run into minutes are shown as seconds. */
static bool in_seconds(const struct plot_figure *f, const char *metric)
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
static void write_y_axis(FILE *gp, const struct plot_figure *f)
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

static void load_body(FILE *gp, const struct plot_figure *f)
{
    if (f->title[f->n]) {
        write_axis(gp, 'x', "output_throughput", false);
    } else {
        fputs("set xlabel 'Load relative to the trace (load.scale)'\n", gp);
    }
    fputs("set offsets graph 0.03, graph 0.03, 0, 0\n", gp);
    write_y_axis(gp, f);
    plot_star(gp, f);
    fputs("plot ", gp);
    for (size_t i = 0; i < f->n; i++) {
        fprintf(gp, "%s'%s.dat' index %zu using 1:(y($2)):3:4:(y($5)):(y($6)) with xyerrorlines lt %zu title ",
                i ? ", \\\n     " : "", f->name, i, i + 1);
        gnuplot_quoted(gp, f->title[i]);
    }
    fputc('\n', gp);
}

static size_t line_names(struct plot *p, const struct plot_group *sorted, const char **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_groups; i++) {
        const char *own = plot_legend(p, &sorted[i], true);
        size_t k = 0;
        while (own && k < n && strcmp(ret[k], own) != 0) {
            k++;
        }
        if (own && k == n && n < PLOT_LINES) {
            ret[n++] = own;
        } else if (own && k == n) {
            fprintf(stderr, "steelyard: plot: more than %d lines; choose with --only KEY=VALUE\n", PLOT_LINES);
            break;
        }
    }
    return n;
}

int plot_load(struct plot *p, bool throughput, struct err *e)
{
    struct plot_figure f;
    const char *name[PLOT_LINES];
    size_t n = line_names(p, p->groups, name);
    struct plot_group *sorted = arena_calloc(&p->ar, p->n_groups, sizeof *sorted);
    const char *stem = arena_printf(&p->ar, "%s-%s", throughput ? "throughput" : "load", p->o.metric);
    if (!sorted || !stem) {
        return plot_no_memory(e);
    }
    memcpy(sorted, p->groups, p->n_groups * sizeof *sorted);
    qsort(sorted, p->n_groups, sizeof *sorted, by_load);
    int rc = plot_begin(&f, p, stem, e);
    bool varied = sorted[0].load != sorted[p->n_groups - 1].load;
    if (rc == 0 && !varied && !throughput) {
        return plot_drop(&f, "load.scale is the same in all of its runs", e);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = load_line(&f, sorted, name[i], throughput, e);
    }
    if (rc == 0 && f.n == 0) {
        return plot_drop(&f, arena_printf(&p->ar, "no run defines metric %s", p->o.metric), e);
    }
    f.title[f.n] = throughput ? "throughput" : NULL; /* what x is */
    return rc < 0 ? rc : plot_end(&f, load_body, 1000, 640, e);
}
