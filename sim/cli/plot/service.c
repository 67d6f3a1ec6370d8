/* SPDX-License-Identifier: Apache-2.0
 *
 * Service of each client over time. */
#include "sim/cli/plot/plot.h"

#include <stdlib.h>
#include <string.h>

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
            return plot_no_memory(e);
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
static void write_rate(struct plot_figure *f, const struct curve *c, double window_s)
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
            plot_point(f, c->t[i], (c->v[to] - c->v[from]) / (c->t[to] - c->t[from]));
            fputc('\n', f->dat);
        }
    }
}

struct clients {
    struct plot *p;
    size_t n;
    const char *name[PLOT_CLIENTS]; /* as the series is called */
};

static int take_client(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct clients *c = ctx;
    c->name[c->n] = arena_strdup(&c->p->ar, (const char *)sqlite3_column_text(q, 0));
    return c->name[c->n++] ? 0 : plot_no_memory(e);
}

/* The clients with most service, in the order of the trace. */
static int read_clients(struct plot *p, struct clients *c, struct err *e)
{
    int64_t run[] = {p->groups[0].first_run, PLOT_CLIENTS};
    *c = (struct clients){.p = p};
    return results_each(p->db, "SELECT name FROM (SELECT series.name AS name, max(value) AS v, client.k AS k"
                               " FROM series LEFT JOIN client ON client.run=series.run AND"
                               " 'service/' || client.name = series.name WHERE series.run=?1 AND"
                               " series.name LIKE 'service/%' GROUP BY series.name ORDER BY v DESC, k"
                               " LIMIT ?2) ORDER BY k, name", run, 2, take_client, c, e);
}

static int service_line(struct plot_figure *f, const struct plot_group *g, const char *series, struct err *e)
{
    struct arena scratch = {0};
    struct curve c = {.a = &scratch};
    char *quoted_name = sqlite3_mprintf("SELECT t_s, value FROM series WHERE run=%lld AND name=%Q ORDER BY k",
                                        (long long)g->first_run, series);
    int rc = quoted_name ? results_each(f->p->db, quoted_name, NULL, 0, take_sample, &c, e) : plot_no_memory(e);
    if (rc == 0) {
        plot_block(f, arena_printf(&f->p->ar, "%s", series + strlen("service/")),
              "s, weighted tokens per second");
        write_rate(f, &c, g->window_s);
    }
    sqlite3_free(quoted_name);
    arena_release(&scratch);
    return rc;
}

static void service_body(FILE *gp, const struct plot_figure *f)
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
        gnuplot_quoted(gp, plot_legend(p, p->shown[i], false));
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

int plot_service(struct plot *p, struct err *e)
{
    struct plot_figure f;
    struct clients c;
    int rc = plot_begin(&f, p, "service", e);
    if (rc < 0) {
        return rc;
    }
    rc = read_clients(p, &c, e);
    if (rc == 0 && c.n == 0) {
        return plot_drop(&f, "no time series is in it: run with --set series.step=10s", e);
    }
    rc = rc < 0 ? rc : plot_choose_shown(p, "service", PLOT_PANELS, e);
    for (size_t i = 0; rc == 0 && i < p->n_shown; i++) {
        for (size_t k = 0; rc == 0 && k < c.n; k++) {
            rc = service_line(&f, p->shown[i], c.name[k], e);
        }
    }
    int rows = p->n_shown > 1 ? (int)(p->n_shown + 1) / 2 : 1;
    return rc < 0 ? rc : plot_end(&f, service_body, p->n_shown > 1 ? 1400 : 1000, 120 + 400 * rows, e);
}
