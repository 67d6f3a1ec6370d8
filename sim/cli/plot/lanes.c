/* SPDX-License-Identifier: Apache-2.0
 *
 * A window of a timeline (run --timeline, or any Chrome trace): a lane for each of its threads, a box for each
 * slice. */
#include "sim/cli/plot/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json.h"

enum { LANES_MOST = 64, KINDS_MOST = 9, BOXES_MOST = 50000 };

struct lane {
    int pid, tid;
    const char *name, *process;
    double order;
    size_t boxes;
};

struct box {
    double from, to; /* ms */
    size_t lane;
    size_t kind; /* on the lane "GPU": which of the kinds of work; else 0 or 1, in turn */
    const char *name;
};

struct lanes {
    struct plot *p;
    double from, to; /* ms */
    size_t n, n_boxes, n_kinds;
    size_t rows; /* that are drawn */
    struct lane *shown[LANES_MOST];
    struct lane lane[LANES_MOST];
    struct box *box;
    const char *kind[KINDS_MOST];
};

/* ---- reading ---- */

static double number(const cJSON *event, const char *key)
{
    const cJSON *v = cJSON_GetObjectItem(event, key);
    return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static const char *text(const cJSON *event, const char *key)
{
    const char *s = cJSON_GetStringValue(cJSON_GetObjectItem(event, key));
    return s ? s : "";
}

static int whole(const cJSON *event, const char *key)
{
    double v = number(event, key);
    return v >= INT32_MIN && v <= INT32_MAX ? (int)v : 0;
}

/* A name of our own, of characters that gnuplot takes inside "..."; NULL = no memory. */
static const char *plain(struct lanes *l, const char *name)
{
    char *own = arena_strdup(&l->p->ar, name);

    for (char *c = own; c && *c; c++) {
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ') {
            *c = ' ';
        }
    }
    return own ? own : "";
}

static struct lane *lane_of(struct lanes *l, const cJSON *event)
{
    int p = whole(event, "pid"), t = whole(event, "tid");
    size_t i = 0;

    while (i < l->n && (l->lane[i].pid != p || l->lane[i].tid != t)) {
        i++;
    }
    if (i == l->n && i < LANES_MOST) {
        char name[32];

        snprintf(name, sizeof name, "thread %d", t);
        l->lane[l->n++] = (struct lane){.pid = p, .tid = t, .order = t, .name = plain(l, name)};
    }
    return i < LANES_MOST ? &l->lane[i] : NULL;
}

/* Names of threads and processes, and their order. */
static void take_metadata(struct lanes *l, const cJSON *event)
{
    const char *what = text(event, "name");
    const cJSON *args = cJSON_GetObjectItem(event, "args");
    struct lane *at = strncmp(what, "thread_", 7) == 0 ? lane_of(l, event) : NULL;

    if (at && strcmp(what, "thread_name") == 0) {
        at->name = plain(l, text(args, "name"));
    } else if (at && strcmp(what, "thread_sort_index") == 0) {
        at->order = number(args, "sort_index");
    }
}

static void name_processes(struct lanes *l, const cJSON *events)
{
    const cJSON *event;

    cJSON_ArrayForEach(event, events)
    {
        for (size_t i = 0; strcmp(text(event, "name"), "process_name") == 0 && i < l->n; i++) {
            if (l->lane[i].pid == whole(event, "pid")) {
                l->lane[i].process = plain(l, text(cJSON_GetObjectItem(event, "args"), "name"));
            }
        }
    }
}

/* "L12 3 experts, 6 pairs" -> "experts, pairs": what is the same kind of work has the same colour. */
static const char *kind_name(struct lanes *l, const char *name)
{
    char *kind = arena_strdup(&l->p->ar, name), *to = kind;

    for (const char *from = name; kind && *from; from++) {
        bool number_of = strchr("LE", *from) && from[1] >= '0' && from[1] <= '9';

        if (!number_of && !(*from >= '0' && *from <= '9') && !(*from == ' ' && (to == kind || to[-1] == ' '))) {
            *to++ = *from;
        }
    }
    if (kind) {
        *to = '\0';
    }
    return kind;
}

static size_t kind_of(struct lanes *l, const char *name)
{
    const char *kind = kind_name(l, name);
    size_t i = 0;

    while (kind && i < l->n_kinds && strcmp(l->kind[i], kind) != 0) {
        i++;
    }
    if (i == l->n_kinds && i < KINDS_MOST) {
        l->kind[l->n_kinds] = l->n_kinds + 1 < KINDS_MOST ? kind : "other work";
        l->n_kinds++;
    }
    return i < KINDS_MOST ? i : KINDS_MOST - 1;
}

static int take_slice(struct lanes *l, const cJSON *event, struct err *e)
{
    double from = number(event, "ts") / 1e3, to = from + number(event, "dur") / 1e3;
    struct lane *at = lane_of(l, event);

    if (!at || !(to > l->from) || !(from < l->to)) {
        return 0;
    }
    if (l->n_boxes == BOXES_MOST) {
        return err_set(e, SIM_E_DATA, "%s: more than %d slices between %g and %g ms: choose less with --from and --for",
                       l->p->o.db, BOXES_MOST, l->from, l->to);
    }
    const char *name = plain(l, text(event, "name"));
    bool gpu = strcmp(at->name, "GPU") == 0;
    l->box[l->n_boxes++] = (struct box){.from = fmax(from, l->from), .to = fmin(to, l->to), .name = name,
                                        .lane = (size_t)(at - l->lane),
                                        .kind = gpu ? kind_of(l, name) : at->boxes % 2};
    at->boxes++;
    return 0;
}

/* The whole of it, in ms. */
static void span(const cJSON *events, double *from, double *to)
{
    const cJSON *event;

    *from = HUGE_VAL;
    *to = -HUGE_VAL;
    cJSON_ArrayForEach(event, events)
    {
        if (strcmp(text(event, "ph"), "X") == 0) {
            double ts = number(event, "ts") / 1e3, end = ts + number(event, "dur") / 1e3;

            *from = ts < *from ? ts : *from;
            *to = end > *to ? end : *to;
        }
    }
}

static int take_events(struct lanes *l, const cJSON *events, struct err *e)
{
    const cJSON *event;
    double from, to;
    int rc = 0;

    span(events, &from, &to);
    if (!(to > from)) {
        return err_set(e, SIM_E_DATA, "%s: there is no slice in it", l->p->o.db);
    }
    l->from = isnan(l->p->o.from_s) ? from : l->p->o.from_s * 1e3;
    l->to = isnan(l->p->o.for_s) ? to : l->from + l->p->o.for_s * 1e3;
    cJSON_ArrayForEach(event, events)
    {
        const char *ph = text(event, "ph");

        if (strcmp(ph, "M") == 0) {
            take_metadata(l, event);
        } else if (strcmp(ph, "X") == 0 && (rc = take_slice(l, event, e)) < 0) {
            return rc;
        }
    }
    name_processes(l, events);
    return l->n_boxes > 0 ? 0
                          : err_set(e, SIM_E_DATA, "%s: nothing between %g and %g ms; its slices lie between %g and %g",
                                    l->p->o.db, l->from, l->to, from, to);
}

static int read_trace(struct lanes *l, struct err *e)
{
    cJSON *root = json_parse_file(l->p->o.db, e);
    const cJSON *events = cJSON_IsArray(root) ? root : cJSON_GetObjectItem(root, "traceEvents");
    int rc = !root ? e->code : 0;

    if (root && !cJSON_IsArray(events)) {
        rc = err_set(e, SIM_E_DATA, "%s: no Chrome trace: there are no 'traceEvents'", l->p->o.db);
    }
    rc = rc < 0 ? rc : take_events(l, events, e);
    cJSON_Delete(root);
    return rc;
}

/* ---- drawing ---- */

static int by_order(const void *x, const void *y)
{
    const struct lane *a = *(struct lane *const *)x, *b = *(struct lane *const *)y;

    return a->pid != b->pid ? (a->pid > b->pid) - (a->pid < b->pid)
                            : (a->order > b->order) - (a->order < b->order);
}

/* Lanes with a box, from top to bottom; their rows, counted from below. */
static void place(struct lanes *l, size_t row[LANES_MOST])
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->lane[i].boxes > 0) {
            l->shown[l->rows++] = &l->lane[i];
        }
    }
    qsort(l->shown, l->rows, sizeof(struct lane *), by_order);
    for (size_t i = 0; i < l->rows; i++) {
        row[l->shown[i] - l->lane] = l->rows - i;
    }
}

enum { WIDTH = 1400, MARGIN = 270, LETTER = 8 };

/* As much of a name as fits into its box, or nothing. */
static void write_label(FILE *dat, const struct lanes *l, const struct box *b, size_t row)
{
    double px = (b->to - b->from) / (l->to - l->from) * (WIDTH - MARGIN);
    size_t room = (size_t)(px / LETTER), len = strlen(b->name);

    if (room >= len || room >= 6) {
        fprintf(dat, "%.9g %zu \"%.*s%s\"\n", (b->from + b->to) / 2, row, (int)(room >= len ? len : room - 2), b->name,
                room >= len ? "" : "..");
    }
}

static bool is_gpu(const struct lanes *l, const struct box *b)
{
    return strcmp(l->lane[b->lane].name, "GPU") == 0;
}

/* Blocks: both shades of the lanes, the kinds of the GPU's work, the labels. */
static void write_data(struct plot_figure *f, const struct lanes *l, const size_t row[LANES_MOST])
{
    for (size_t k = 0; k < 2 + l->n_kinds; k++) {
        plot_block(f, k < 2 ? "" : l->kind[k - 2], "from and to in ms, row");
        fputs("NaN NaN NaN\n", f->dat);
        for (size_t i = 0; i < l->n_boxes; i++) {
            const struct box *b = &l->box[i];

            if (is_gpu(l, b) ? k == b->kind + 2 : k == b->kind) {
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
    struct lane *const *shown = l->shown;
    size_t n = l->rows;
    bool many = n > 0 && shown[0]->pid != shown[n - 1]->pid;

    fprintf(gp, "set xrange [%.9g:%.9g]\nset yrange [0.4:%g]\nset format x '%%g'\nset xlabel 'Time (ms)'\nset border 1\n"
                "set lmargin at screen %.3f\nset tics scale 0.5\nset ytics scale 0 (", l->from, l->to, (double)n + 0.6,
            (double)MARGIN / WIDTH);
    for (size_t i = 0; i < n; i++) {
        const char *process = shown[i]->process ? shown[i]->process : "";
        char name[128];

        snprintf(name, sizeof name, "%s%s%s", many ? process : "", many ? ": " : "", shown[i]->name);
        fputs(i ? ", " : "", gp);
        gnuplot_quoted(gp, name);
        fprintf(gp, " %zu", n - i);
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
    static const char *const colour[KINDS_MOST] = {"#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
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
    size_t row[LANES_MOST] = {0};
    struct plot_figure f;
    int rc;

    if (!l) {
        return plot_no_memory(e);
    }
    l->p = p;
    l->box = arena_calloc(&p->ar, BOXES_MOST, sizeof *l->box);
    rc = l->box ? read_trace(l, e) : plot_no_memory(e);
    rc = rc < 0 ? rc : plot_begin(&f, p, "timeline", e);
    if (rc < 0) {
        return rc;
    }
    place(l, row);
    f.more = l;
    write_data(&f, l, row);
    return plot_end(&f, lanes_body, WIDTH, 130 + 40 * (int)l->rows, e);
}
