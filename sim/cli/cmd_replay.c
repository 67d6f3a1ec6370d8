/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard replay: measured runs, simulated again, both sides side by side. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/cli.h"
#include "sim/cli/replay_meta.h"
#include "sim/cli/replay_plot.h"
#include "sim/cli/replay_points.h"
#include "sim/cli/replay_print.h"
#include "sim/results/compare.h"
#include "traces/input.h"
#include "traces/trace.h"

#define ACCEPTED                                                                                                       \
    "a CSV with the columns arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s, or the JSON of vllm bench serve "     \
    "--save-result"

static const char usage[] =
    "usage: steelyard replay MEASURED... [--config CONFIG] [...]\n"
    "\n"
    "Plays the requests of a measured run on the simulated machine and prints what was measured, what\n"
    "was simulated and the relative error. The run's engine, model, GPU, limits and scheduler are taken\n"
    "from its description beside the file (runs.json, or NAME__meta.json); CONFIG wins over it, and flags\n"
    "win over both. Without a description the configuration has to say everything.\n"
    "\n"
    "A measured run is a CSV (.gz too), one row per request, with the columns\n"
    "arrival_s,prompt_tokens,output_tokens,ttft_s,e2e_s (empty or negative times: refused or failed), or\n"
    "the JSON that vllm bench serve saves with details. Other formats that hold measured times (vtc,\n"
    "burstgpt) are recognised too; steelyard list traces names them.\n"
    "\n"
    "With several files a summary follows: median and largest error over the runs.\n"
    "\n"
    "A table of summaries (one row per run: GPU, model, lengths, requests in flight, mean TTFT and\n"
    "TPOT) is recognised by its columns. Each row is simulated as a closed loop with the plain\n"
    "roofline and, where --profiles has one, with the fitted profile; the answer is medians per\n"
    "system and model. Columns of your own table: gpu, model, prompt_tokens, output_tokens,\n"
    "concurrency; engine, version, tp, weight_dtype, requests where they are not vllm, newest, 1, the\n"
    "model's own, 20 x concurrency; and at least one of mean_ttft_ms, mean_tpot_ms, mean_e2el_ms.\n"
    "\n"
    "Output:\n"
    "  --config CONFIG    configuration file\n"
    "  --format FORMAT    text (default), json or csv\n"
    "  -o DIR, --plots DIR  draw the distributions of TTFT, TPOT and latency, measured beside simulated,\n"
    "                     with gnuplot: RUN.svg and .png, RUN.dat and .gp beside them\n"
    "  --profiles DIR     for tables: profiles of steelyard fit, named GPU_MODEL_tpN_TYPE.json\n"
    "  --dry-run          for tables: say what would be simulated, and what would not and why\n"
    "  --quiet            no progress line\n"
    "\n" CLI_CONFIG_USAGE
    "\n"
    "Examples:\n"
    "  steelyard replay runs/VTC_overload.csv.gz\n"
    "  steelyard replay bench.json --model llama-3.1-8b --gpu h100 --set kv.blocks=27000 -o figures\n";

extern const struct subcommand cmd_replay;

struct options {
    struct config_args args;
    enum replay_format format;
    bool quiet;
    const char *plots; /* folder; NULL = no figures */
    const char *profiles;
    bool dry_run;
    const char **file;
    size_t n_files;
};

/* ---- words of the command line ---- */

static int parse_format(const char *text, enum replay_format *ret, struct err *e)
{
    static const char *const names[] = {"text", "json", "csv"};

    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum replay_format)i;
            return 1;
        }
    }
    return cli_not_known("format", text, names, 3, " (text, json, csv)", SIM_E_USAGE, e);
}

static int parse_one(struct options *o, int argc, char **argv, int *i, struct arena *ar, struct err *e)
{
    const char *value = NULL;
    int rc = cli_flag_value("--format", argc, argv, i, &value, e);

    if (rc != 0) {
        return rc < 0 ? rc : parse_format(value, &o->format, e);
    }
    rc = cli_flag_value("--config", argc, argv, i, &o->args.file, e);
    if (rc != 0) {
        return rc;
    }
    static const char *const plots[] = {"--plots", "-o"};
    for (size_t k = 0; k < 2; k++) {
        rc = cli_flag_value(plots[k], argc, argv, i, &o->plots, e);
        if (rc != 0) {
            return rc;
        }
    }
    rc = cli_flag_value("--profiles", argc, argv, i, &o->profiles, e);
    if (rc != 0) {
        return rc;
    }
    if (cli_flag("--dry-run", argv, *i)) {
        o->dry_run = true;
        return 1;
    }
    if (cli_flag("--quiet", argv, *i) || cli_flag("-q", argv, *i)) {
        o->quiet = true;
        return 1;
    }
    rc = cli_config_flag(&o->args, argc, argv, i, ar, e);
    if (rc != 0) {
        return rc;
    }
    if (argv[*i][0] == '-' && argv[*i][1] != '\0') {
        return cli_unknown(&cmd_replay, argv[*i], e);
    }
    o->file[o->n_files++] = argv[*i];
    return 1;
}

static int parse(struct options *o, int argc, char **argv, struct arena *ar, struct err *e)
{
    o->file = arena_calloc(ar, (size_t)argc, sizeof(*o->file));
    if (!o->file) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (int i = 1; i < argc; i++) {
        if (parse_one(o, argc, argv, &i, ar, e) < 0) {
            return e->code;
        }
    }
    return o->n_files > 0 ? 0 : err_set(e, SIM_E_USAGE, "replay: no measured run given (see steelyard replay --help)");
}

/* ---- one run ---- */

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    return compare_add(ctx, row, e);
}

static int on_progress(void *ctx, double share, sim_ns now, uint64_t requests)
{
    (void)ctx;
    (void)share;
    (void)now;
    (void)requests;
    return cli_interrupted;
}

static bool any_measured(const struct compare *c)
{
    for (size_t i = 0; i < c->n; i++) {
        if (isfinite(c->row[i].ttft_s[REAL]) || isfinite(c->row[i].e2e_s[REAL])) {
            return true;
        }
    }
    return false;
}

static bool said(const struct options *o, const char *key)
{
    size_t n = strlen(key);

    for (size_t i = 0; i < o->args.n_set; i++) {
        if (strncmp(o->args.set[i], key, n) == 0 && o->args.set[i][n] == '=') {
            return true;
        }
    }
    return false;
}

/* Configuration of one file: what its description implies, then what the user said. */
static int resolve(struct replay_outcome *t, const struct options *o, const char *file, struct err *e)
{
    struct config_args args = {.file = o->args.file};

    if (replay_meta_find(&t->meta, file, &args, &t->ar, e) < 0) {
        return e->code;
    }
    args.n_weak = args.n_set;
    if (config_args_add(&args, "replay", "trace", file, &t->ar, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < o->args.n_set; i++) {
        const char *eq = strchr(o->args.set[i], '=');

        if (config_args_add(&args, o->args.flag[i],
                            arena_strndup(&t->ar, o->args.set[i], (size_t)(eq - o->args.set[i])), eq + 1,
                            &t->ar, e) < 0) {
            return e->code;
        }
    }
    if (config_resolve(&t->cfg, &args, NULL, NULL, &t->ar, e) < 0) {
        return e->code;
    }
    return config_check(&t->cfg, e);
}

/* The run's own clock: in a closed loop the requests' times here are the simulation's. */
static void real_duration(struct compare *c, double total_s)
{
    static const char *const rate[] = {"request_throughput", "output_throughput", "total_token_throughput"};
    struct compare_value *duration = (struct compare_value *)compare_metric(c, "duration");

    for (size_t i = 0; i < sizeof(rate) / sizeof(rate[0]); i++) {
        ((struct compare_value *)compare_metric(c, rate[i]))->v[REAL] *= duration->v[REAL] / total_s;
    }
    duration->v[REAL] = total_s;
}

/* Does the message already begin with the file? */
static bool names_file(const struct err *e, const char *file)
{
    size_t n = strlen(file);

    return strncmp(e->msg, file, n) == 0 && e->msg[n] == ':';
}

/* Nothing that could be a measured run, as far as its first bytes tell. */
static bool is_unknown(const char *file)
{
    char head[TRACE_HEAD_MAX + 1];
    struct trace_input *in;
    struct arena a = {0};
    struct err e = {0};
    size_t n = 0;
    bool unknown = false;

    if (strcmp(file, "-") != 0 && trace_input_open(&in, file, &a, &e) == 0) {
        unknown = trace_input_head(in, head, &n, &e) == 0 && n > 0 && !trace_format_known(head, n);
        trace_input_close(in);
    }
    arena_release(&a);
    return unknown;
}

/* An error with the file in it, once, and with what may be missing. */
static int explain(const struct replay_outcome *t, const struct options *o, const char *file, struct err *e)
{
    bool at_a_line = names_file(e, file) && e->msg[strlen(file) + 1] != ' ';
    bool of_input = e->code == SIM_E_DATA || e->code == SIM_E_CONFIG || e->code == SIM_E_USAGE;

    if (of_input && !at_a_line && !o->args.file && !said(o, "trace.format") && is_unknown(file)) {
        *e = (struct err){0};
        return err_set(e, SIM_E_DATA, "%s: not a measured run that I know: " ACCEPTED, file);
    }
    if (names_file(e, file)) {
        return e->code;
    }
    return err_wrap(e, "%s%s: ", file,
                    t->meta.where || e->code == SIM_E_DATA ? ""
                                                           : " (not described by a runs.json or NAME__meta.json beside it)");
}

static int replay(struct replay_outcome *t, const struct options *o, const char *file, struct err *e)
{
    struct run_hooks hooks = {.request = on_request, .progress = on_progress, .ctx = &t->cmp};

    if (strcmp(file, "-") != 0 && access(file, R_OK) < 0) {
        return err_set(e, SIM_E_IO, "%s: %s", file, strerror(errno));
    }
    if (resolve(t, o, file, e) < 0 || run_execute(&t->cfg, &hooks, &t->result, &t->ar, e) < 0) {
        return explain(t, o, file, e);
    }
    if (!any_measured(&t->cmp)) {
        return err_set(e, SIM_E_DATA, "%s: holds no measured times (ttft, e2e): nothing to compare with",
                       file);
    }
    if (compare_finish(&t->cmp, t->cfg.service_wp, t->cfg.service_wq, t->cfg.service_window_s, &t->result,
                       &t->ar, e) < 0) {
        return e->code;
    }
    if (isfinite(t->meta.measured_total_s) && t->meta.measured_total_s > 0) {
        real_duration(&t->cmp, t->meta.measured_total_s);
    }
    return 0;
}

/* ---- figures ---- */

/* A run's name may hold anything; a file's name here letters, digits and -_. only. */
static const char *file_name(const char *run, struct arena *ar)
{
    char *name = arena_strdup(ar, run);

    for (char *p = name; p && *p; p++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p)) {
            *p = '_';
        }
    }
    return name;
}

static int draw(struct replay_outcome *t, const char *folder, struct err *e)
{
    const char *model = t->cfg.model ? t->cfg.model : t->meta.model ? t->meta.model : "model not named";
    const char *gpu = t->cfg.gpu ? t->cfg.gpu : "GPU not named";
    const char *name = file_name(t->meta.run, &t->ar);
    const char *title = arena_printf(&t->ar, "%s, %lld x %s: %s", model, (long long)t->cfg.tp, gpu, t->meta.run);

    if (!name || !title) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return replay_plot(&t->cmp, title, *name ? name : "run", folder, &t->ar, e);
}

/* ---- tables of summaries ---- */

/* 1 = the file is such a table and *ret holds it, 0 = it is something else. */
static int open_points(struct point_list *ret, const char *file, struct arena *ar, struct err *e)
{
    struct trace_input *in;

    char head[TRACE_HEAD_MAX + 1], *text;
    size_t n;
    int rc;

    if (strcmp(file, "-") == 0 || access(file, R_OK) < 0) {
        return 0;
    }
    if (trace_input_open(&in, file, ar, e) < 0) {
        return e->code;
    }
    if (trace_input_head(in, head, &n, e) < 0 || head[strspn(head, " \t\r\n")] != '{') {
        return e->code < 0 ? (trace_input_close(in), e->code) : point_list_read(ret, in, ar, e);
    }
    rc = trace_input_rest(in, &text, &n, e);
    rc = rc < 0 ? rc : point_list_bench(ret, text, n, file, ar, e);
    trace_input_close(in);
    return rc;
}

static bool any_done(const struct point_result *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r[i].done[POINT_ROOFLINE]) {
            return true;
        }
    }
    return false;
}

/* No row of a table could be simulated. */
static int refused(const struct point_list *pts, const struct point_result *r, const char *file, struct err *e)
{
    return err_set(e, SIM_E_DATA, "%s: none of the %zu measured points can be simulated; the first: %s", file, pts->n,
                   r[0].why ? r[0].why : "no reason is known");
}

static int replay_table(const struct point_list *pts, const struct options *o, const char *file, struct arena *ar,
                        struct err *e)
{
    struct point_settings s = {.args = &o->args, .profiles = o->profiles, .progress = on_progress, .dry_run = o->dry_run};
    struct point_result *r = arena_calloc(ar, pts->n + 1, sizeof(*r));
    struct progress line;

    if (!r) {
        return err_set(e, SIM_E_NOMEM, "out of memory for %zu points", pts->n);
    }
    if (pts->n == 0) {
        return err_set(e, SIM_E_DATA, "%s: the table has no rows", file);
    }
    progress_begin(&line, "replaying", !o->quiet);
    for (size_t i = 0; i < pts->n && e->code == 0; i++) {
        progress_update(&line, (double)i / (double)pts->n, pts->point[i].id);
        replay_point(&pts->point[i], &s, &r[i], ar, e);
    }
    progress_end(&line);
    if (e->code < 0) {
        return e->code;
    }
    if (pts->n == 1 && r[0].why && !o->dry_run) { /* the user's own run, not one row of many */
        return err_set(e, o->args.n_set > 0 ? SIM_E_CONFIG : SIM_E_DATA, "%s: %s", file, r[0].why);
    }
    if (o->format == REPLAY_TEXT) {
        replay_points_text(r, pts->n, ar);
    } else if (o->format == REPLAY_CSV) {
        replay_points_csv(r, pts->n);
    } else {
        replay_points_json(r, pts->n);
    }
    return o->dry_run || any_done(r, pts->n) ? 0 : refused(pts, r, file, e);
}

/* 1 = the files were tables and are done, 0 = they are logs of requests. */
static int replay_tables(const struct options *o, struct arena *ar, struct err *e)
{
    for (size_t i = 0; i < o->n_files; i++) {
        struct point_list pts;
        int rc = open_points(&pts, o->file[i], ar, e);

        if (rc == 0 && i > 0) {
            return err_set(e, SIM_E_USAGE, "%s holds requests, %s a table of summaries: one kind at a time", o->file[i],
                           o->file[0]);
        }
        if (rc <= 0) {
            return rc;
        }
        rc = replay_table(&pts, o, o->file[i], ar, e);
        point_list_release(&pts);
        if (rc < 0) {
            return rc;
        }
    }
    return 1;
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct options o = {0};
    struct replay_outcome *t = NULL;
    struct progress line;
    int rc = parse(&o, argc, argv, &ar, e);

    if (rc == 0 && (rc = replay_tables(&o, &ar, e)) != 0) {
        arena_release(&ar);
        return rc < 0 ? rc : 0;
    }
    if (rc == 0) {
        t = arena_calloc(&ar, o.n_files, sizeof(*t));
        rc = t ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
    }
    progress_begin(&line, "replaying", !o.quiet);
    for (size_t i = 0; rc == 0 && i < o.n_files; i++) {
        progress_update(&line, (double)i / (double)o.n_files, o.file[i]);
        rc = replay(&t[i], &o, o.file[i], e);
        if (rc == 0 && o.plots) {
            rc = draw(&t[i], o.plots, e);
        }
    }
    progress_end(&line);
    if (rc == 0) {
        rc = replay_print(o.format, t, o.n_files, &ar, e);
    }
    for (size_t i = 0; t && i < o.n_files; i++) {
        compare_release(&t[i].cmp);
        arena_release(&t[i].ar);
    }
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_replay = {"replay", "simulate measured runs and print the error", usage, run};
