/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/figure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/cli/gnuplot.h"

struct figure_line *figure_line(struct figure_panel *p, const char *title, int colour, size_t n,
                                struct arena *ar)
{
    struct figure_line *l = &p->line[p->n];
    double *x = arena_calloc(ar, n, sizeof(*x)), *y = arena_calloc(ar, n, sizeof(*y));

    if (p->n == FIGURE_LINES || !x || !y) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = (double)NAN;
    }
    *l = (struct figure_line){.title = title, .colour = colour, .n = n, .x = x, .y = y};
    p->n++;
    return l;
}

bool figure_line_intervals(struct figure_line *l, struct arena *ar)
{
    l->half = arena_calloc(ar, l->n, sizeof(*l->half));
    for (size_t i = 0; l->half && i < l->n; i++) {
        l->half[i] = (double)NAN;
    }
    return l->half != NULL;
}

static FILE *open_in(const struct figure *f, const char *folder, const char *ending, struct arena *ar,
                     struct err *e)
{
    const char *path = arena_printf(ar, "%s/%s.%s", folder, f->name, ending);
    FILE *out = path ? fopen(path, "w") : NULL;

    if (!out) {
        err_set(e, SIM_E_IO, "%s/%s.%s: %s", folder, f->name, ending, strerror(errno));
    }
    return out;
}

static int close_in(const struct figure *f, FILE *out, const char *ending, struct err *e)
{
    bool failed = ferror(out) != 0;

    failed = fclose(out) != 0 || failed;
    return failed ? err_set(e, SIM_E_IO, "%s.%s: not all of it was written", f->name, ending) : 0;
}

/* ---- data: one block per line ---- */

static void write_line(FILE *dat, const struct figure_panel *p, const struct figure_line *l)
{
    fprintf(dat, "# %s: %s%s\n", p->title, l->title, l->recorded ? " (recorded)" : "");
    for (size_t i = 0; i < l->n; i++) {
        double half = l->half && isfinite(l->half[i]) ? l->half[i] : 0;

        if (isfinite(l->y[i])) {
            fprintf(dat, "%.9g %.9g %.9g\n", l->x[i], l->y[i], half);
        } else if (p->bar) {
            fprintf(dat, "%.9g 0 0\n", l->x[i]);
        } else {
            fputc('\n', dat); /* one empty line: the pen is lifted */
        }
    }
    fputs("\n\n", dat);
}

static int write_data(const struct figure *f, const char *folder, struct arena *ar, struct err *e)
{
    FILE *dat = open_in(f, folder, "dat", ar, e);

    if (!dat) {
        return e->code;
    }
    for (size_t i = 0; i < f->n; i++) {
        for (size_t k = 0; k < f->panel[i].n; k++) {
            write_line(dat, &f->panel[i], &f->panel[i].line[k]);
        }
    }
    return close_in(f, dat, "dat", e);
}

/* ---- script ---- */

/* Names of ticks are formats to gnuplot: a % is written twice. */
static void write_tick(FILE *gp, const char *text)
{
    fputc('\'', gp);
    for (; *text; text++) {
        fputs(*text == '\'' ? "''" : *text == '%' ? "%%" : (char[]){*text, '\0'}, gp);
    }
    fputc('\'', gp);
}

static size_t longest_name(const struct figure_panel *p)
{
    size_t most = 0;

    for (size_t i = 0; i < p->line[0].n; i++) {
        size_t n = strlen(p->bar[i]);

        most = n > most ? n : most;
    }
    return most;
}

/* Names are written at 30 degrees: below the axis they reach half their length deep, and to the right. */
static void write_names(FILE *gp, const struct figure_panel *p)
{
    double most = (double)longest_name(p);

    fputs("set style fill solid 0.85\nset xtics (", gp);
    for (size_t i = 0; i < p->line[0].n; i++) {
        fputs(i ? ", " : "", gp);
        write_tick(gp, p->bar[i]);
        fprintf(gp, " %zu", i);
    }
    fprintf(gp, ") rotate by -30\nset bmargin %g\nset rmargin %g\nset key outside above\n"
            "set xrange [-0.6:%g]\n", fmin(11, 2.5 + 0.35 * most), fmin(16, 2 + 0.6 * most), (double)p->line[0].n - 0.4);
}

static void write_bars(FILE *gp, const struct figure *f, const struct figure_panel *p, size_t index)
{
    double width = 0.8 / (double)p->n;

    write_names(gp, p);
    fputs("plot ", gp);
    for (size_t k = 0; k < p->n; k++) {
        double shift = ((double)k - (double)(p->n - 1) / 2) * width;

        fprintf(gp, "%s'%s.dat' index %zu using ($1%+g):2:(%g) with boxes lt %d dt 1 title ",
                k ? ", \\\n     " : "", f->name, index + k, shift, width * 0.9, p->line[k].colour);
        gnuplot_quoted(gp, p->line[k].title);
        if (p->line[k].half) {
            fprintf(gp, ", \\\n     '%s.dat' index %zu using ($1%+g):($2-$3):(0):(2*$3) with vectors nohead "
                    "lc 'black' dt 1 notitle", f->name, index + k, shift);
        }
    }
    fputs("\nset xtics auto norotate\nset bmargin\nset rmargin\nset xrange [*:*]\n", gp);
}

static void write_lines(FILE *gp, const struct figure *f, const struct figure_panel *p, size_t index)
{
    fprintf(gp, "set xrange [%g:*]\nplot ", p->x_from);
    for (size_t k = 0; k < p->n; k++) {
        const struct figure_line *l = &p->line[k];

        fprintf(gp, "%s'%s.dat' index %zu with lines lt %d dt %d lw %g title ", k ? ", \\\n     " : "",
                f->name, index + k, l->colour, l->recorded ? 2 : 1, l->recorded ? 1.3 : 2.2);
        gnuplot_quoted(gp, l->title);
        if (l->half) {
            fprintf(gp, ", \\\n     '%s.dat' index %zu using 1:($2-$3):(0):(2*$3) with vectors nohead lt %d "
                    "dt 1 notitle", f->name, index + k, l->colour);
        }
    }
    fputc('\n', gp);
}

static double largest(const struct figure_panel *p)
{
    double most = 0;

    for (size_t k = 0; k < p->n; k++) {
        for (size_t i = 0; i < p->line[k].n; i++) {
            most = fmax(most, p->line[k].y[i]); /* NaN is not larger */
        }
    }
    return most;
}

static void write_panel(FILE *gp, const struct figure *f, size_t i, size_t index)
{
    const struct figure_panel *p = &f->panel[i];

    fputs("set title ", gp);
    gnuplot_quoted(gp, p->title);
    fputs("\nset xlabel ", gp);
    gnuplot_quoted(gp, p->x_label);
    fputs("\nset ylabel ", gp);
    gnuplot_quoted(gp, p->y_label);
    fprintf(gp, "\nset yrange [0:*]\nset format y '%s'\nset key font ',12' spacing 1\n",
            largest(p) < 20 ? "%g" : "%.0s%c");
    if (p->bar) {
        write_bars(gp, f, p, index);
    } else {
        write_lines(gp, f, p, index);
    }
}

static void write_body(FILE *gp, const struct figure *f)
{
    size_t index = 0;

    if (f->n > 1) {
        fprintf(gp, "set multiplot layout %zu,2\n", (f->n + 1) / 2);
    }
    for (size_t i = 0; i < f->n; i++) {
        write_panel(gp, f, i, index);
        index += f->panel[i].n;
    }
    fputs(f->n > 1 ? "unset multiplot\nset output\n" : "set output\n", gp);
}

static int write_script(const struct figure *f, const char *folder, struct arena *ar, struct err *e)
{
    FILE *gp = open_in(f, folder, "gp", ar, e);
    int width = f->n > 1 || f->panel[0].line[0].n > 12 ? 1400 : 1000, height = f->n > 1 ? 80 + 440 * (int)((f->n + 1) / 2) : 560;

    if (!gp) {
        return e->code;
    }
    fprintf(gp, "# gnuplot %s.gp\n", f->name);
    gnuplot_style(gp);
    for (int svg = 0; svg < 2; svg++) {
        gnuplot_terminal(gp, f->name, svg, width, height);
        write_body(gp, f);
    }
    return close_in(f, gp, "gp", e);
}

int figure_draw(const struct figure *f, const char *folder, struct arena *ar, struct err *e)
{
    if (write_data(f, folder, ar, e) < 0 || write_script(f, folder, ar, e) < 0) {
        return e->code;
    }
    return gnuplot_run(folder, f->name, ar, e);
}
