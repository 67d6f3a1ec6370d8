/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard plot: figures from a results database, drawn by gnuplot. The data and the script of each
 * figure stay beside it, so that it can be drawn again and changed by hand. */
#include "sim/cli/cli.h"

#include <math.h>
#include <string.h>

#include "sim/cli/plot/plot.h"
#include "sim/observe/metrics_glossary.h"

static const char usage[] =
    "usage: steelyard plot DB [--kind KIND] [--only KEY=VALUE ...] [-o FOLDER|FILE.svg|FILE.png]\n"
    "       steelyard plot timeline FILE.json [--from TIME] [--for TIME] [-o FOLDER|FILE.svg|FILE.png]\n"
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
    "  --from TIME        where the window of a timeline begins, as in 1.5s; default its beginning\n"
    "  --for TIME         how long it is, as in 20ms; default all of it\n"
    "  -o PLACE           folder (default plots), or one file for one figure\n"
    "  --format LIST      png,svg (default), png or svg\n"
    "\n"
    "Examples:\n"
    "  steelyard plot r.db\n"
    "  steelyard plot r.db --kind cdf-ttft --only load.scale=1 -o ttft.svg\n"
    "  steelyard plot timeline t.json --from 2s --for 20ms -o lanes.png\n";

extern const struct subcommand cmd_plot;
static const char *const kind_names[] = {"cdf-ttft", "cdf-tpot", "service", "load", "throughput", "all"};

/* ---- the command line ---- */

static int parse_kind(struct plot_options *o, const char *text, struct err *e)
{
    for (int k = 0; k <= PLOT_KINDS; k++) {
        if (strcmp(text, kind_names[k]) == 0) {
            o->kind = k;
            return 1;
        }
    }
    return cli_not_known("kind of figure", text, kind_names, PLOT_KINDS + 1, " (steelyard help plot)",
                         SIM_E_USAGE, e);
}

static int parse_formats(struct plot_options *o, const char *text, struct err *e)
{
    o->png = strcmp(text, "png") == 0 || strcmp(text, "png,svg") == 0 || strcmp(text, "svg,png") == 0;
    o->svg = strcmp(text, "svg") == 0 || strcmp(text, "png,svg") == 0 || strcmp(text, "svg,png") == 0;
    return o->png || o->svg ? 1 : err_set(e, SIM_E_USAGE, "--format %s: wanted png,svg or one of them", text);
}

static int parse_metric(struct plot_options *o, const char *text, struct err *e)
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

static int parse_only(struct plot_options *o, const char *text, struct err *e)
{
    if (o->n_only == PLOT_ONLY || !strchr(text, '=')) {
        return err_set(e, SIM_E_USAGE, "--only %s: wanted KEY=VALUE, at most %d times", text, PLOT_ONLY);
    }
    o->only[o->n_only++] = text;
    return 1;
}

static int parse_time(double *ret, const char *name, const char *value, struct err *e)
{
    const struct opt_row row = {name, OPT_DOUBLE, 0, 0, 1e9, NULL, "s", NULL, NULL};
    return opt_set(&row, ret, value, NULL, e) < 0 ? e->code : 1;
}

static int parse_flag(struct plot_options *o, int argc, char **argv, int *i, struct err *e)
{
    static const char *const names[] = {"--kind", "--metric", "--only", "--format", "--from", "--for", "-o", "--output"};
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
    case 4:
        return parse_time(&o->from_s, "--from", value, e);
    case 5:
        return parse_time(&o->for_s, "--for", value, e);
    default:
        o->place = value;
        return 1;
    }
}

static int parse(struct plot_options *o, int argc, char **argv, struct err *e)
{
    *o = (struct plot_options){.metric = "p99_ttft_ms", .place = "plots", .kind = PLOT_KINDS, .png = true,
                          .svg = true, .from_s = (double)NAN, .for_s = (double)NAN};
    for (int i = 1; i < argc; i++) {
        int rc = parse_flag(o, argc, argv, &i, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && !o->lanes && !o->db && strcmp(argv[i], "timeline") == 0) {
            o->lanes = true;
            continue;
        }
        if (rc == 0 && (argv[i][0] == '-' || o->db)) {
            return cli_unknown(&cmd_plot, argv[i], e);
        }
        if (rc == 0) {
            o->db = argv[i];
        }
    }
    if (o->db && !o->lanes && !(isnan(o->from_s) && isnan(o->for_s))) {
        return err_set(e, SIM_E_USAGE, "--from and --for are of timelines: steelyard plot timeline FILE.json");
    }
    return o->db ? 0
           : o->lanes ? err_set(e, SIM_E_USAGE, "plot which timeline? A file that run --timeline wrote")
                      : err_set(e, SIM_E_USAGE, "plot what? A database that sweep or run --db wrote");
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
        return p->folder ? 0 : plot_no_memory(e);
    }
    if (p->o.kind == PLOT_KINDS && !p->o.lanes) {
        return err_set(e, SIM_E_USAGE, "-o %s is one file: say with --kind which figure", p->o.place);
    }
    const char *begin = slash ? slash + 1 : p->o.place;
    p->o.svg = svg;
    p->o.png = png;
    p->folder = !slash ? "." : slash == p->o.place ? "/"
                : arena_strndup(&p->ar, p->o.place, (size_t)(slash - p->o.place));
    p->stem = arena_strndup(&p->ar, begin, (size_t)(dot - begin));
    return p->folder && p->stem ? 0 : plot_no_memory(e);
}

static int draw(struct plot *p, enum plot_kind k, struct err *e)
{
    switch (k) {
    case PLOT_CDF_TTFT:
        return plot_cdf(p, "ttft", e);
    case PLOT_CDF_TPOT:
        return plot_cdf(p, "tpot", e);
    case PLOT_SERVICE:
        return plot_service(p, e);
    case PLOT_LOAD:
        return plot_load(p, false, e);
    default:
        return plot_load(p, true, e);
    }
}

static int plot(struct plot *p, struct err *e)
{
    int rc = split_place(p, e);
    if (rc == 0 && p->o.lanes) {
        rc = gnuplot_folder(p->folder, e);
        return rc < 0 ? rc : plot_lanes(p, e);
    }
    rc = rc < 0 ? rc : results_open(&p->db, p->o.db, RESULTS_READ, e);
    rc = rc < 0 ? rc : plot_read_groups(p, e);
    rc = rc < 0 ? rc : gnuplot_folder(p->folder, e);
    for (int k = 0; rc == 0 && k < PLOT_KINDS; k++) {
        if (p->o.kind == k || p->o.kind == PLOT_KINDS) {
            rc = draw(p, (enum plot_kind)k, e);
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
