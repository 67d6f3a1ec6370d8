/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard run: one simulation, its results on stdout. */
#include "sim/cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "models/gpu.h"
#include "models/llm.h"
#include "sim/results/db.h"
#include "sim/results/output.h"
#include "traces/trace.h"

static const char usage[] =
    "usage: steelyard run [CONFIG] [--trace TRACE] [--model MODEL] [--gpu GPU] [--policy POLICY] [...]\n"
    "\n"
    "Plays one trace on one simulated machine and prints what its users would have seen.\n"
    "\n"
    "Output:\n"
    "  --format FORMAT    text (default), json or csv; the same run gives the same bytes\n"
    "  --requests FILE    one line per request into FILE (.csv or .jsonl)\n"
    "  --db FILE          keep the run in a results database (steelyard db, steelyard plot)\n"
    "  --plan-out FILE    every engine step, one JSON line each (executed by steelyard-probe)\n"
    "  --timeline FILE    what GPU, copies and CPU did when (Chrome trace, for Perfetto)\n"
    "  --log FILE         decisions of a policy wrapped in log(...); - is stderr, the default\n"
    "  --dry-run          check everything, print the configuration that would run, and stop\n"
    "  --verbose          wall-clock time and speed on stderr\n"
    "  --quiet            no progress line\n"
    "\n" CLI_CONFIG_USAGE
    "\n"
    "Examples:\n"
    "  steelyard run --trace azure.csv.gz --model llama-3.1-8b --gpu h100\n"
    "  steelyard run base.json --policy 'vtc{lift=off}' --set load.scale=1.5 --format json\n";

extern const struct subcommand cmd_run;

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_CSV };

struct options {
    struct config_args args;
    enum format format;
    const char *requests, *log, *db, *plan_out, *timeline;
    const char *command; /* for the log of runs in the database */
    bool dry_run, verbose, quiet;
};

static int parse_format(const char *text, enum format *ret, struct err *e)
{
    static const char *const names[] = {"text", "json", "csv"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum format)i;
            return 1;
        }
    }
    return cli_not_known("format", text, names, 3, " (text, json, csv)", SIM_E_USAGE, e);
}

static int parse_output_flag(struct options *o, int argc, char **argv, int *i, struct err *e)
{
    const char *value = NULL;
    int rc = cli_flag_value("--format", argc, argv, i, &value, e);
    if (rc != 0) {
        return rc < 0 ? rc : parse_format(value, &o->format, e);
    }
    rc = cli_flag_value("--requests", argc, argv, i, &o->requests, e);
    if (rc != 0) {
        return rc;
    }
    rc = cli_flag_value("--db", argc, argv, i, &o->db, e);
    if (rc != 0) {
        return rc;
    }
    rc = cli_flag_value("--plan-out", argc, argv, i, &o->plan_out, e);
    if (rc != 0) {
        return rc;
    }
    rc = cli_flag_value("--timeline", argc, argv, i, &o->timeline, e);
    if (rc > 0 && strcmp(o->timeline, "-") == 0) {
        return err_set(e, SIM_E_USAGE, "--timeline '-': a file is meant, standard output has the results");
    }
    if (rc != 0) {
        return rc;
    }
    rc = cli_flag_value("--log", argc, argv, i, &o->log, e);
    if (rc != 0) {
        return rc;
    }
    if (cli_flag("--dry-run", argv, *i)) {
        o->dry_run = true;
    } else if (cli_flag("--verbose", argv, *i) || cli_flag("-v", argv, *i)) {
        o->verbose = true;
    } else if (cli_flag("--quiet", argv, *i) || cli_flag("-q", argv, *i)) {
        o->quiet = true;
    } else {
        return 0;
    }
    return 1;
}

static int parse(struct options *o, int argc, char **argv, struct arena *ar, struct err *e)
{
    o->command = "steelyard";
    for (int i = 0; i < argc && o->command; i++) {
        o->command = arena_printf(ar, "%s %s", o->command, argv[i]);
    }
    for (int i = 1; i < argc; i++) {
        int rc = parse_output_flag(o, argc, argv, &i, e);
        rc = rc == 0 ? cli_config_flag(&o->args, argc, argv, &i, ar, e) : rc;
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && (argv[i][0] == '-' || o->args.file)) {
            return cli_unknown(&cmd_run, argv[i], e);
        }
        if (rc == 0) {
            o->args.file = argv[i];
        }
    }
    return 0;
}

/* ---- hooks ---- */

struct watch {
    struct results *db;
    struct progress line;
    struct requests_file requests;
    FILE *log;
};

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    struct watch *w = ctx;
    return requests_file_add(&w->requests, row, e);
}

static int on_progress(void *ctx, double share, sim_ns now, uint64_t requests)
{
    struct watch *w = ctx;
    char detail[80];
    snprintf(detail, sizeof(detail), "%llu requests, %.0f s simulated", (unsigned long long)requests,
             1e-9 * (double)now);
    progress_update(&w->line, share, detail);
    return cli_interrupted;
}

static void on_log(void *ctx, const char *line)
{
    struct watch *w = ctx;
    fprintf(w->log, "%s\n", line);
}

static int watch_open(struct watch *w, const struct options *o, bool by_replica, struct err *e)
{
    w->log = stderr;
    if (o->db && results_open(&w->db, o->db, RESULTS_CREATE, e) < 0) {
        return e->code;
    }
    if (o->log && strcmp(o->log, "-") != 0) {
        w->log = fopen(o->log, "w");
        if (!w->log) {
            return err_set(e, SIM_E_IO, "%s: %s", o->log, strerror(errno));
        }
    }
    return o->requests ? requests_file_open(&w->requests, o->requests, by_replica, e) : 0;
}

static int watch_close(struct watch *w, const struct options *o, struct err *e)
{
    int rc = requests_file_close(&w->requests, e);
    results_close(w->db);
    if (w->log && w->log != stderr) {
        bool failed = ferror(w->log) != 0;
        failed = fclose(w->log) != 0 || failed;
        rc = failed ? err_set(e, SIM_E_IO, "%s: not all of the log was written", o->log) : rc;
    }
    return rc;
}

/* ---- running ---- */

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_speed(const struct run_result *r, double seconds)
{
    fprintf(stderr, "%llu requests in %.3f s (%.3g requests/s); %llu engine steps, %llu walked one by one\n",
            (unsigned long long)r->trace_requests, seconds,
            (double)r->trace_requests / (seconds > 1e-9 ? seconds : 1e-9),
            (unsigned long long)r->iterations, (unsigned long long)r->boundaries);
}

static const char *started_text(double seconds_ago, char buf[32])
{
    time_t when = time(NULL) - (time_t)seconds_ago;
    struct tm tm;
    gmtime_r(&when, &tm);
    strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}

/* A run that is in the database already is the same run: nothing is lost by not writing it again. */
static int store(const struct watch *w, const struct options *o, const struct run_config *c,
                 const struct run_result *r, double seconds, struct arena *ar, struct err *e)
{
    char host[256] = "";
    char started[32];
    gethostname(host, sizeof(host) - 1);
    struct results_meta m = {
        .config_hash = config_hash(c, ar),
        .seed = c->seed,
        .replication = c->replication,
        .label = c->label,
        .config_json = config_to_json(c, false, ar),
        .version = steelyard_version(),
        .parts = RESULTS_ALL,
        .started = started_text(seconds, started),
        .host = host,
        .argv = o->command,
        .wall_s = seconds,
    };
    int rc = results_file_hash(c->trace, &m.trace_hash, ar, e);
    rc = rc == 0 ? config_model_hash(c, &m.model_hash, ar, e) : rc;
    rc = rc == 0 ? results_add(w->db, &m, r, e) : rc;
    if (rc > 0) {
        fprintf(stderr, "%s has this run already; it is left as it is\n", o->db);
    }
    return rc < 0 ? rc : 0;
}

static void print_result(const struct options *o, const struct run_config *c, const char *hash,
                         const struct run_result *r)
{
    switch (o->format) {
    case FORMAT_TEXT:
        output_text(stdout, c, r);
        break;
    case FORMAT_JSON:
        output_json(stdout, c, hash, r);
        break;
    case FORMAT_CSV:
        output_csv(stdout, r);
        break;
    }
}

static int simulate(const struct options *o, const struct run_config *c, struct arena *ar,
                    struct err *e)
{
    struct watch w = {0};
    struct run_result result = {0};
    struct run_hooks hooks = {.request = o->requests ? on_request : NULL,
                              .progress = on_progress,
                              .log = on_log,
                              .plan_out = o->plan_out,
                              .timeline = o->timeline,
                              .ctx = &w};
    double started_s = wall_s();
    int rc = watch_open(&w, o, c->replicas > 1, e);
    progress_begin(&w.line, "simulating", !o->quiet);
    rc = rc == 0 ? run_execute(c, &hooks, &result, ar, e) : rc;
    progress_end(&w.line);
    double seconds = wall_s() - started_s;
    rc = rc == 0 && o->db ? store(&w, o, c, &result, seconds, ar, e) : rc;
    int closed = watch_close(&w, o, e);
    rc = rc == 0 ? closed : rc;
    if (rc < 0) {
        return rc;
    }
    const char *hash = config_hash(c, ar);
    if (!hash) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the configuration of a run");
    }
    print_result(o, c, hash, &result);
    if (o->verbose || (o->format == FORMAT_TEXT && !o->quiet && isatty(STDERR_FILENO))) {
        print_speed(&result, seconds);
    }
    return 0;
}

/* Everything that a run opens, opened and closed again. */
static int dry_run(const struct run_config *c, struct arena *ar, struct err *e)
{
    const char *data_dir = steelyard_data_dir(c->data_dir, ar);
    struct llm_shape llm;
    struct gpu_profile gpu;
    struct trace *t = NULL;
    struct arrival first;
    int rc = 0;
    if (c->model) {
        rc = llm_load(&llm, c->model, data_dir, c->weight_dtype, c->kv_dtype, ar, e);
    }
    if (rc == 0 && c->gpu) {
        rc = gpu_load(&gpu, c->gpu, data_dir, ar, e);
    }
    rc = rc == 0 ? trace_open(&t, c->trace, c->trace_format, (uint64_t)c->seed,
                              (uint32_t)c->replication, e)
                 : rc;
    if (rc == 0) {
        rc = trace_next(t, &first, e);
        trace_close(t);
    }
    if (rc >= 0) {
        printf("%s\n", config_to_json(c, true, ar));
    }
    return rc < 0 ? rc : 0;
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct options o = {0};
    struct run_config c;
    struct config_origin *origin = NULL;
    size_t n = 0;
    int rc = parse(&o, argc, argv, &ar, e);
    rc = rc == 0 ? config_resolve(&c, &o.args, &origin, &n, &ar, e) : rc;
    rc = rc == 0 ? config_check(&c, e) : rc;
    if (rc == 0) {
        rc = o.dry_run ? dry_run(&c, &ar, e) : simulate(&o, &c, &ar, e);
        config_warn_idle(origin, rc == 0 ? n : 0, stderr, &ar);
    }
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_run = {"run", "simulate one trace on one machine under one policy", usage,
                                   run};
