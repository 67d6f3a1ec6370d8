/* SPDX-License-Identifier: Apache-2.0
 *
 * A window of a timeline, drawn. */
#include "sim/cli/plot/lanes.h"

#include <math.h>
#include <string.h>

#include "sim/cli/plot/plot.h"
#include "sim/core/json.h"

enum { WIDTH = 1400, LETTER = 8, AXIS_LETTER = 9, RIGHT = 45 };

/* What stands beside a lane: with several processes their names, too. */
static void name_lane(const struct lanes *l, size_t row, char *to, size_t size)
{
    const struct lane *at = l->shown[row];
    bool many = l->shown[0]->pid != l->shown[l->rows - 1]->pid && at->process;

    snprintf(to, size, "%s%s%s", many ? at->process : "", many ? ": " : "", at->name);
}

/* Pixels left of the lanes. */
static int margin(const struct lanes *l)
{
    size_t longest = 0;

    for (size_t i = 0; i < l->rows; i++) {
        char name[128];

        name_lane(l, i, name, sizeof name);
        longest = strlen(name) > longest ? strlen(name) : longest;
    }
    return 30 + AXIS_LETTER * (int)(longest < 60 ? longest : 60);
}

/* As much of a name as fits into its box, or nothing. */
static void write_label(FILE *dat, const struct lanes *l, const struct box *b, size_t row)
{
    double px = (b->to - b->from) / (l->to - l->from) * (WIDTH - margin(l) - RIGHT);
    size_t room = (size_t)(px / LETTER), len = strlen(b->name);

    if (room >= len || room >= 6) {
        fprintf(dat, "%.9g %zu \"%.*s%s\"\n", (b->from + b->to) / 2, row, (int)(room >= len ? len : room - 2), b->name,
                room >= len ? "" : "..");
    }
}

/* Blocks: both shades of the lanes, the kinds of the GPU's work, the labels. */
static void write_data(struct plot_figure *f, const struct lanes *l, const size_t row[LANES_MOST])
{
    for (size_t k = 0; k < 2 + l->n_kinds; k++) {
        plot_block(f, k < 2 ? "" : l->kind[k - 2], "from and to in ms, row");
        fputs("NaN NaN NaN\n", f->dat);
        for (size_t i = 0; i < l->n_boxes; i++) {
            const struct box *b = &l->box[i];

            if (lanes_on_gpu(l, b) ? k == b->kind + 2 : k == b->kind) {
                fprintf(f->dat, "%.9g %.9g %zu\n", b->from, b->to, row[b->lane]);
            }
        }
    }
    plot_block(f, "labels", "middle in ms, row, text");
    fputs("NaN NaN \"\"\n", f->dat);
    for (size_t i = 0; i < l->n_boxes; i++) {
        write_label(f->dat, l, &l->box[i], row[l->box[i].lane]);
    }
}

static void write_axes(FILE *gp, const struct lanes *l)
{
    fprintf(gp, "set xrange [%.9g:%.9g]\nset yrange [0.4:%g]\nset format x '%%g'\nset xlabel 'Time (ms)'\nset border 1\n"
                "set lmargin at screen %.3f\nset rmargin at screen %.3f\nset tics scale 0.5 font ',13'\nset ytics scale 0 font ',13' (", l->from,
            l->to, (double)l->rows + 0.6, (double)margin(l) / WIDTH, 1 - (double)RIGHT / WIDTH);
    for (size_t i = 0; i < l->rows; i++) {
        char name[128];

        name_lane(l, i, name, sizeof name);
        fputs(i ? ", " : "", gp);
        gnuplot_quoted(gp, name);
        fprintf(gp, " %zu", l->rows - i);
    }
    fputs(")\n", gp);
}

/* Two shades for the lanes, light colours for kinds of work: labels are dark. */
static void write_boxes(FILE *gp, const struct plot_figure *f, size_t index, const char *colour, const char *title)
{
    fprintf(gp, "%s'%s.dat' index %zu using (($1 + $2) / 2):3:1:2:($3 - 0.38):($3 + 0.38) with boxxyerror fs solid 1 "
                "noborder lc rgb '%s' ", index ? ", \\\n     " : "plot ", f->name, index, colour);
    if (title) {
        fputs("title ", gp);
        gnuplot_quoted(gp, title);
    } else {
        fputs("notitle", gp);
    }
}

static void lanes_body(FILE *gp, const struct plot_figure *f)
{
    static const char *const shade[] = {"#9ecae1", "#c6dbef"};
    static const char *const colour[LANES_KINDS] = {"#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
                                                   "#f0e442", "#bcbd22", "#8c564b", "#7f7f7f"};
    const struct lanes *l = f->more;

    write_axes(gp, l);
    for (size_t k = 0; k < 2 + l->n_kinds; k++) {
        write_boxes(gp, f, k, k < 2 ? shade[k] : colour[k - 2], k < 2 ? NULL : l->kind[k - 2]);
    }
    fprintf(gp, ", \\\n     '%s.dat' index %zu using 1:2:3 with labels font ',11' tc rgb '#222222' notitle\n", f->name,
            2 + l->n_kinds);
}

int plot_lanes(struct plot *p, struct err *e)
{
    struct lanes *l = arena_calloc(&p->ar, 1, sizeof *l);
    size_t len = 0, row[LANES_MOST] = {0};
    const char *text = l ? json_read_file(p->o.db, &len, &p->ar, e) : NULL;
    struct plot_figure f;
    int rc;

    if (!text) {
        return l ? e->code : plot_no_memory(e);
    }
    rc = lanes_read(l, text, len, p->o.db, p->o.from_s, p->o.for_s, &p->ar, e);
    rc = rc < 0 ? rc : plot_begin(&f, p, "timeline", e);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < l->rows; i++) { /* counted from below */
        row[l->shown[i] - l->lane] = l->rows - i;
    }
    f.more = l;
    write_data(&f, l, row);
    return plot_end(&f, lanes_body, WIDTH, 130 + 40 * (int)l->rows, e);
}
