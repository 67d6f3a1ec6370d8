/* SPDX-License-Identifier: Apache-2.0
 *
 * Distributions of latencies. */
#include "sim/cli/plot/plot.h"

#include <math.h>
#include <string.h>

struct cdf {
    struct plot_figure *f;
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
        plot_point(c->f, sqlite3_column_double(q, 0) * 1e-6, share);
        fputc('\n', c->f->dat);
        c->drawn = share;
    }
    return 0;
}

static int cdf_line(struct plot_figure *f, const struct plot_group *g, const char *hist, struct err *e)
{
    struct plot *p = f->p;
    struct cdf c = {.f = f};
    const char *where = arena_printf(&p->ar, "FROM hist WHERE name='%s' AND run IN (%s)", hist,
                                     plot_runs_of(p, g));
    const char *total = arena_printf(&p->ar, "SELECT sum(n) %s", where);
    const char *bins = arena_printf(&p->ar, "SELECT (low+high)/2.0, sum(n) %s GROUP BY low ORDER BY low",
                                    where);
    if (!where || !total || !bins) {
        return plot_no_memory(e);
    }
    int rc = results_each(p->db, total, NULL, 0, take_total, &c.total, e);
    if (rc < 0 || c.total <= 0) {
        return rc;
    }
    plot_block(f, plot_legend(p, g, false), "ms, share of requests");
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

static void cdf_body(FILE *gp, const struct plot_figure *f)
{
    bool seconds = f->x_max > 20000;
    const char *what = strstr(f->title[f->n], "TPOT") ? "Time per output token" : "Time to first token";
    double unit = seconds ? 1000 : 1;
    fprintf(gp, "set xlabel '%s (%s)'\nset ylabel 'Share of requests'\n", what, seconds ? "s" : "ms");
    fputs("set yrange [0:1]\nset ytics 0.1\n", gp);
    write_span_x(gp, (f->x_min > 0 ? f->x_min : 1e-3) / unit, f->x_max / unit * 1.05);
    plot_star(gp, f);
    fputs("plot ", gp);
    for (size_t i = 0; i < f->n; i++) {
        fprintf(gp, "%s'%s.dat' index %zu using ($1/%d):2 with lines lt %zu lw 2.2 title ",
                i ? ", \\\n     " : "", f->name, i, (int)unit, i + 1);
        gnuplot_quoted(gp, f->title[i]);
    }
    fputc('\n', gp);
}

int plot_cdf(struct plot *p, const char *hist, struct err *e)
{
    struct plot_figure f;
    char name[20];
    snprintf(name, sizeof name, "cdf-%s", hist);
    int rc = plot_choose_shown(p, name, PLOT_LINES, e);
    rc = rc < 0 ? rc : plot_begin(&f, p, name, e);
    for (size_t i = 0; rc == 0 && i < p->n_shown; i++) {
        rc = cdf_line(&f, p->shown[i], hist, e);
    }
    if (rc == 0 && f.n == 0) {
        return plot_drop(&f, "no histogram for this figure is in it", e);
    }
    f.title[f.n] = strcmp(hist, "tpot") == 0 ? "TPOT" : "TTFT";
    return rc < 0 ? rc : plot_end(&f, cdf_body, 1000, 640, e);
}
