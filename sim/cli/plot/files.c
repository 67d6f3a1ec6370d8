/* SPDX-License-Identifier: Apache-2.0
 *
 * One figure: its files, and gnuplot. */
#include "sim/cli/plot/plot.h"

#include <errno.h>
#include <math.h>
#include <string.h>

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

int plot_begin(struct plot_figure *f, struct plot *p, const char *name, struct err *e)
{
    *f = (struct plot_figure){.p = p, .name = p->stem ? p->stem : name, .x_min = HUGE_VAL, .y_min = HUGE_VAL};
    f->dat = open_file(p, f->name, "dat", e);
    return f->dat ? 0 : SIM_E_IO;
}

void plot_block(struct plot_figure *f, const char *title, const char *columns)
{
    fprintf(f->dat, "%s# %s\n# %s\n", f->n ? "\n\n" : "", title, columns);
    f->title[f->n++] = title;
}

void plot_point(struct plot_figure *f, double x, double y)
{
    fprintf(f->dat, "%.9g %.9g", x, y);
    f->x_min = x < f->x_min ? x : f->x_min;
    f->x_max = x > f->x_max ? x : f->x_max;
    f->y_max = y > f->y_max ? y : f->y_max;
    f->y_min = y < f->y_min ? y : f->y_min;
}

int plot_end(struct plot_figure *f, plot_body_fn *body, int width, int height, struct err *e)
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

int plot_drop(struct plot_figure *f, const char *why, struct err *e)
{
    struct plot *p = f->p;
    const char *path = path_of(p, f->name, "dat");
    fclose(f->dat);
    if (path) {
        remove(path);
    }
    return p->o.kind == PLOT_KINDS ? 0 : err_set(e, SIM_E_DATA, "%s: %s", p->o.db, why);
}


void plot_star(FILE *gp, const struct plot_figure *f)
{
    if (f->p->any_oracle) {
        fputs("set label 99 '* oracle: knows what no real scheduler can know' at graph 1,1.03 right "
              "font ',12' tc rgb '#444444'\n", gp);
    }
}
