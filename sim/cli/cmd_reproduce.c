/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard reproduce: a paper's tables and figures, the published number beside ours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/cli.h"
#include "sim/cli/gnuplot.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/core/json.h"

static const char usage[] =
    "usage: steelyard reproduce ID...|all|--list [--format text|json] [--data DIR] [-o DIR] [--strict]\n"
    "\n"
    "Simulates what a paper ran and prints, for each published number, ours, the ratio and a verdict:\n"
    "inside or outside of the tolerance, or, where the order is what was published, whether it holds.\n"
    "Nothing is tuned per figure. Where ours is the mean over repetitions, its 95 % interval and standard\n"
    "deviation are shown.\n"
    "What lies outside is explained in results/reproduce/.\n"
    "\n"
    "  --list             what can be reproduced; with --format json also the list that each is in, whose\n"
    "                     name stands for all of them (vtc, links)\n"
    "  --data DIR         folder with groundtruth/, recorded runs, and the like; default\n"
    "                     $STEELYARD_SHARED/data, ../shared/data or ./data. Without it arrivals are\n"
    "                     generated, and what needs the recorded trace is skipped\n"
    "  -o DIR             draw the figures with gnuplot: NAME.svg and .png, NAME.dat and .gp beside them\n"
    "  --format FORMAT    text (default) or json: an array of rows with id, row, unit, published, ours,\n"
    "                     ratio, tolerance (relative) or from and to (where ours has to lie), verdict\n"
    "  --strict           exit with 1 when a row is outside or an order fails\n"
    "  --quiet            no progress line\n"
    "\n"
    "Examples:\n"
    "  steelyard reproduce vtc-table2\n"
    "  steelyard reproduce vtc-fig3 -o figures\n";

extern const struct subcommand cmd_reproduce;

struct options {
    bool list, json, strict, quiet;
    const char *data, *figures;
    size_t n;
    const struct reproduction **id;
};

struct work {
    struct progress line;
    size_t done, all;
};

/* ---- words of the command line ---- */

/* The i-th of all reproductions and the list that it is in; NULL behind the last. */
static const struct reproduction *nth(size_t i, const char **ret_list)
{
    for (const struct reproduction_list *list = reproduction_lists; list->name; list++) {
        for (const struct reproduction *r = list->of; r->id; r++) {
            if (i-- == 0) {
                *ret_list = list->name;
                return r;
            }
        }
    }
    return NULL;
}

static int unknown(const char *id, struct err *e)
{
    const char *name[256], *list;
    size_t n = 0;

    for (const struct reproduction *r; n < 200 && (r = nth(n, &list)); n++) {
        name[n] = r->id;
    }
    for (const struct reproduction_list *l = reproduction_lists; l->name && n < 255; l++) {
        name[n++] = l->name;
    }
    name[n++] = "all";
    return cli_not_known("reproduction", id, name, n, " (steelyard reproduce --list)", SIM_E_USAGE, e);
}

/* A reproduction, a whole list, or all. */
static int choose(struct options *o, const char *id, struct err *e)
{
    const char *list;
    const struct reproduction *r;
    size_t before = o->n;

    for (size_t i = 0; (r = nth(i, &list)); i++) {
        if (strcmp(id, r->id) == 0 || strcmp(id, list) == 0 || strcmp(id, "all") == 0) {
            o->id[o->n++] = r;
        }
    }
    return o->n > before ? 1 : unknown(id, e);
}

static size_t count(void)
{
    const char *list;
    size_t n = 0;

    while (nth(n, &list)) {
        n++;
    }
    return n;
}

static int parse_format(struct options *o, const char *text, struct err *e)
{
    static const char *const names[] = {"text", "json"};

    o->json = strcmp(text, "json") == 0;
    return o->json || strcmp(text, "text") == 0
               ? 1
               : cli_not_known("format", text, names, 2, " (text, json)", SIM_E_USAGE, e);
}

static int parse_flag(struct options *o, int argc, char **argv, int *i, struct err *e)
{
    const char *format = NULL;
    int rc = cli_flag_value("--format", argc, argv, i, &format, e);

    if (rc != 0) {
        return rc < 0 ? rc : parse_format(o, format, e);
    }
    if ((rc = cli_flag_value("--data", argc, argv, i, &o->data, e)) != 0 ||
        (rc = cli_flag_value("-o", argc, argv, i, &o->figures, e)) != 0) {
        return rc;
    }
    const struct {
        const char *name;
        bool *set;
    } flag[] = {{"--list", &o->list}, {"--strict", &o->strict}, {"--quiet", &o->quiet}, {"-q", &o->quiet}};

    for (size_t k = 0; k < sizeof(flag) / sizeof(flag[0]); k++) {
        if (cli_flag(flag[k].name, argv, *i)) {
            *flag[k].set = true;
            return 1;
        }
    }
    return 0;
}

static int parse(struct options *o, int argc, char **argv, struct arena *ar, struct err *e)
{
    o->id = arena_calloc(ar, (size_t)argc * count(), sizeof(*o->id));
    if (!o->id) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (int i = 1; i < argc; i++) {
        int rc = parse_flag(o, argc, argv, &i, e);

        if (rc == 0 && argv[i][0] == '-') {
            return cli_unknown(&cmd_reproduce, argv[i], e);
        }
        if (rc < 0 || (rc == 0 && choose(o, argv[i], e) < 0)) {
            return e->code;
        }
    }
    return o->n || o->list
               ? 0
               : err_set(e, SIM_E_USAGE, "reproduce what? Names from 'steelyard reproduce --list', or all");
}

/* ---- where the recorded runs are ---- */

static bool has_runs(const char *dir, struct arena *ar)
{
    const char *path = dir ? arena_printf(ar, "%s/groundtruth", dir) : NULL;

    return path && access(path, X_OK) == 0;
}

static int find_data(const struct options *o, struct repro *p, struct err *e)
{
    const char *shared = getenv("STEELYARD_SHARED");
    const char *const dir[] = {shared ? arena_printf(&p->ar, "%s/data", shared) : NULL, "../shared/data",
                               "data"};

    if (o->data) {
        p->data = o->data;
        return has_runs(o->data, &p->ar) ? 0
                                         : err_set(e, SIM_E_IO, "--data %s: no folder groundtruth in it",
                                                   o->data);
    }
    for (size_t i = 0; i < sizeof(dir) / sizeof(dir[0]) && !p->data; i++) {
        p->data = has_runs(dir[i], &p->ar) ? dir[i] : NULL;
    }
    return 0;
}

/* ---- output ---- */

static void print_list(void)
{
    const struct reproduction *r;
    const char *list;

    for (size_t i = 0; (r = nth(i, &list)); i++) {
        printf("%-20s %s, %s\n", r->id, r->paper, r->what);
    }
}

static void print_list_json(void)
{
    const struct reproduction *r;
    const char *list;
    struct json_writer w;

    json_begin(&w, stdout, true);
    json_array(&w);
    for (size_t i = 0; (r = nth(i, &list)); i++) {
        json_object(&w);
        json_kv_string(&w, "id", r->id);
        json_kv_string(&w, "list", list);
        json_kv_string(&w, "paper", r->paper);
        json_kv_string(&w, "what", r->what);
        json_end(&w);
    }
    json_end(&w);
    printf("\n");
}

static void print_number(double v, int width)
{
    if (isfinite(v)) {
        printf("%*.*f", width, fabs(v) < 0.1 ? 4 : fabs(v) < 1000 ? 2 : 0, v);
    } else {
        printf("%*s", width, "-");
    }
}

static void print_range(double lo, double hi)
{
    char text[32], left[12] = "", right[12] = "";

    if (isfinite(lo)) {
        snprintf(left, sizeof(left), "%.4g", lo);
    }
    if (isfinite(hi)) {
        snprintf(right, sizeof(right), "%.4g", hi);
    }
    snprintf(text, sizeof(text), "%s..%s", left, right);
    printf(" %13s", text);
}

static void print_row(const struct repro_row *r, int width)
{
    double ratio = r->ours / r->published;

    printf("  %-*s", width, r->row);
    print_number(r->published, 12);
    print_number(r->ours, 12);
    print_number(r->half, 10);
    print_number(r->sd, 10);
    print_number(ratio, 8);
    if (isfinite(r->tolerance)) {
        printf("%12.1f %%", 100 * r->tolerance);
    } else if (isfinite(r->lo) || isfinite(r->hi)) {
        print_range(r->lo, r->hi);
    } else {
        printf("%14s", "");
    }
    printf("  %s\n", repro_verdict_name(r->verdict));
}

static bool has_bound(const struct repro_row *r)
{
    return isfinite(r->tolerance) || isfinite(r->lo) || isfinite(r->hi);
}

/* Long names are sentences about an order: they have no numbers and may stand out. */
static int name_width(const struct repro *p, size_t from)
{
    size_t most = 20;

    for (size_t i = from; i < p->n; i++) {
        size_t n = strlen(p->row[i].row);

        most = n > most && n <= 50 && has_bound(&p->row[i]) ? n : most;
    }
    return (int)most;
}

static void print_text(const struct repro *p, const struct reproduction *r, size_t from)
{
    int width = name_width(p, from);
    bool skipped = false;

    printf("%s: %s, %s\n  %-*s%12s%12s%10s%10s%8s%14s  %s\n", r->id, r->paper, r->what, width, "",
           "published", "ours", "+-95 %", "sd", "ratio", "tolerance", "verdict");
    for (size_t i = from; i < p->n; i++) {
        print_row(&p->row[i], width);
        skipped = skipped || p->row[i].verdict == REPRO_SKIPPED;
    }
    if (skipped) {
        printf("  skipped: the recorded data are not here; see --data\n");
    }
    if (p->figures) {
        printf("  figure: %s/%s.svg\n", p->figures, r->id);
    }
    printf("\n");
}

static void print_json(const struct repro *p)
{
    struct json_writer w;

    json_begin(&w, stdout, true);
    json_array(&w);
    for (size_t i = 0; i < p->n; i++) {
        const struct repro_row *r = &p->row[i];

        json_object(&w);
        json_kv_string(&w, "id", r->id);
        json_kv_string(&w, "row", r->row);
        json_kv_string(&w, "unit", r->unit);
        json_kv_double(&w, "published", r->published);
        json_kv_double(&w, "ours", r->ours);
        json_kv_double(&w, "sd", r->sd);
        json_kv_double(&w, "ci95", r->half);
        json_kv_double(&w, "ratio", r->ours / r->published);
        json_kv_double(&w, "tolerance", r->tolerance);
        json_kv_double(&w, "from", r->lo);
        json_kv_double(&w, "to", r->hi);
        json_kv_string(&w, "verdict", repro_verdict_name(r->verdict));
        json_end(&w);
    }
    json_end(&w);
    printf("\n");
}

/* ---- work ---- */

static int on_progress(void *ctx, const char *what)
{
    struct work *w = ctx;

    progress_update(&w->line, (double)w->done / (double)w->all, what);
    return cli_interrupted;
}

static int reproduce(struct repro *p, const struct options *o, struct work *w, const struct reproduction *r,
                     struct err *e)
{
    size_t from = p->n;

    p->id = r->id;
    if (r->run(p, e) < 0) {
        return err_wrap(e, "%s: ", r->id);
    }
    w->done++;
    if (!o->json) {
        print_text(p, r, from);
    }
    return 0;
}

static int all(struct repro *p, const struct options *o, struct work *w, struct err *e)
{
    for (size_t i = 0; i < o->n; i++) {
        if (reproduce(p, o, w, o->id[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int judge(const struct repro *p, struct err *e)
{
    size_t bad = 0;

    for (size_t i = 0; i < p->n; i++) {
        bad += p->row[i].verdict == REPRO_OUTSIDE || p->row[i].verdict == REPRO_FAILS;
    }
    return bad ? err_set(e, SIM_E_GOAL, "reproduce: %zu of %zu rows are outside or out of order", bad, p->n)
               : 0;
}

static int make(struct repro *p, const struct options *o, struct err *e)
{
    struct work w = {.all = o->n};

    if (find_data(o, p, e) < 0 || (o->figures && gnuplot_folder(o->figures, e) < 0)) {
        return e->code;
    }
    p->figures = o->figures;
    p->progress = on_progress;
    p->progress_ctx = &w;
    progress_begin(&w.line, "reproducing", !o->quiet);
    int rc = all(p, o, &w, e);
    progress_end(&w.line);
    if (rc == 0 && o->json) {
        print_json(p);
    }
    return rc < 0 || !o->strict ? rc : judge(p, e);
}

static int run(int argc, char **argv, struct err *e)
{
    struct options o = {0};
    struct repro p = {0};
    int rc = parse(&o, argc, argv, &p.ar, e);

    if (rc == 0 && o.list) {
        (o.json ? print_list_json : print_list)();
    } else if (rc == 0) {
        rc = make(&p, &o, e);
    }
    arena_release(&p.ar);
    return rc;
}

const struct subcommand cmd_reproduce = {"reproduce", "make a paper's tables and figures again", usage, run};
