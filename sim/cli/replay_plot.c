/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/replay_plot.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/cli/gnuplot.h"

/* No eye sees a smaller rise of a curve. */
#define RISE 5e-4

static const struct {
    enum compare_what what;
    const char *label;
} panels[] = {
    {COMPARE_TTFT, "Time to first token"},
    {COMPARE_TPOT, "Time per output token"},
    {COMPARE_E2EL, "Latency"},
};
#define PANELS (sizeof(panels) / sizeof(panels[0]))

struct curves {
    const struct compare *c;
    const char *title, *name, *folder;
    struct arena *ar;
    double *scratch;
    size_t n[PANELS][SIDES];
    double min[PANELS], max[PANELS]; /* over both sides, ms */
};

static FILE *open_file(const struct curves *v, const char *ending, struct err *e)
{
    const char *path = arena_printf(v->ar, "%s/%s.%s", v->folder, v->name, ending);
    FILE *out = path ? fopen(path, "w") : NULL;

    if (!out) {
        err_set(e, SIM_E_IO, "%s/%s.%s: %s", v->folder, v->name, ending, strerror(errno));
    }
    return out;
}

static int close_file(const struct curves *v, FILE *out, const char *ending, struct err *e)
{
    bool failed = ferror(out) != 0;

    failed = fclose(out) != 0 || failed;
    return failed ? err_set(e, SIM_E_IO, "%s/%s.%s: not all of it was written", v->folder, v->name, ending) : 0;
}

/* ---- data: a block for each curve, empty ones too, so that a block's number is known ---- */

static void write_curve(FILE *dat, const double *x, size_t n)
{
    double drawn = 0;

    for (size_t i = 0; i < n; i++) {
        double share = (double)(i + 1) / (double)n;

        if (i == 0 || i + 1 == n || share - drawn >= RISE) {
            fprintf(dat, "%.6g %.6g\n", x[i], share);
            drawn = share;
        }
    }
    fputs(n > 0 ? "\n\n" : "0 0\n\n\n", dat);
}

static void write_panel_data(struct curves *v, FILE *dat, size_t p)
{
    v->min[p] = INFINITY;
    for (enum side s = 0; s < SIDES; s++) {
        size_t n = compare_sorted(v->c, panels[p].what, s, v->scratch);

        fprintf(dat, "# %s, %s: ms, share of requests\n", panels[p].label, s == REAL ? "measured" : "simulated");
        write_curve(dat, v->scratch, n);
        v->n[p][s] = n;
        if (n > 0) {
            v->min[p] = fmin(v->min[p], v->scratch[0]);
            v->max[p] = fmax(v->max[p], v->scratch[n - 1]);
        }
    }
}

static int write_data(struct curves *v, struct err *e)
{
    FILE *dat = open_file(v, "dat", e);

    if (!dat) {
        return e->code;
    }
    for (size_t p = 0; p < PANELS; p++) {
        write_panel_data(v, dat, p);
    }
    return close_file(v, dat, "dat", e);
}

/* ---- script ---- */

/* Ticks at 1, 2 and 5 on a logarithmic axis where values span a factor of 8, at 1 alone where they span
 * more than a thousand; a linear axis otherwise. */
static void write_axis(FILE *gp, double min, double max)
{
    int first = (int)floor(log10(min)), last = (int)ceil(log10(max));

    if (max < 8 * min) {
        double room = fmax(0.05 * (max - min), 1e-3 * max);

        fprintf(gp, "unset logscale x\nset xrange [%g:%g]\nset xtics auto\n", fmax(min - room, 0), max + room);
        return;
    }
    fprintf(gp, "set logscale x\nset xrange [%g:%g]\nset xtics (", min * 0.95, max * 1.05);
    for (int d = first; d <= last; d++) {
        double t = pow(10, d);

        fprintf(gp, last - first <= 3 ? "%s'%g' %g, '%g' %g, '%g' %g" : "%s'%g' %g", d > first ? ", " : "",
                t, t, 2 * t, 2 * t, 5 * t, 5 * t);
    }
    fputs(")\n", gp);
}

static void write_panel(FILE *gp, const struct curves *v, size_t p)
{
    static const char *const side[SIDES] = {"measured", "simulated"};
    bool seconds = v->max[p] >= 10000;
    double unit = seconds ? 1000 : 1;
    const char *comma = "";

    fprintf(gp, "set title '%s'\nset xlabel '%s (%s)'\nset ylabel '%s'\n", panels[p].label, panels[p].label,
            seconds ? "s" : "ms", p == 0 ? "Share of requests" : "");
    if (isfinite(v->min[p])) {
        write_axis(gp, fmax(v->min[p], 1e-3) / unit, fmax(v->max[p], 1e-2) / unit);
    }
    fputs("plot ", gp);
    for (enum side s = 0; s < SIDES; s++) {
        if (v->n[p][s] > 0) {
            fprintf(gp, "%s'%s.dat' index %zu using ($1/%g):2 with lines lt %d dt %s lw %g title '%s'", comma, v->name,
                    SIDES * p + s, unit, s + 1, s == REAL ? "1" : "(9,4)", s == REAL ? 2.8 : 2.2, side[s]);
            comma = ", ";
        }
    }
    fputs(*comma ? "\n" : "NaN notitle\n", gp);
}

static int write_script(const struct curves *v, struct err *e)
{
    FILE *gp = open_file(v, "gp", e);

    if (!gp) {
        return e->code;
    }
    fprintf(gp, "# gnuplot %s.gp\n", v->name);
    gnuplot_style(gp);
    fputs("set yrange [0:1]\nset ytics 0.1\n", gp);
    for (int svg = 0; svg < 2; svg++) {
        gnuplot_terminal(gp, v->name, svg, 1500, 560);
        fputs("set multiplot layout 1,3 title ", gp);
        gnuplot_quoted(gp, v->title);
        fputs(" font ',17'\n", gp);
        for (size_t p = 0; p < PANELS; p++) {
            write_panel(gp, v, p);
        }
        fputs("unset multiplot\nset output\n", gp);
    }
    return close_file(v, gp, "gp", e);
}

int replay_plot(const struct compare *c, const char *title, const char *name, const char *folder,
                struct arena *ar, struct err *e)
{
    struct curves v = {.c = c, .title = title, .name = name, .folder = folder, .ar = ar};
    int rc = gnuplot_folder(folder, e);

    v.scratch = rc == 0 ? arena_calloc(ar, c->n + 1, sizeof(*v.scratch)) : NULL;
    if (rc == 0 && !v.scratch) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for the figure of %s", name);
    }
    if (rc < 0 || write_data(&v, e) < 0 || write_script(&v, e) < 0) {
        return e->code;
    }
    return gnuplot_run(folder, name, ar, e);
}
