/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard sweep: every combination of what is varied, each several times, on all cores. */
#include "sim/cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim/cli/catalog.h"
#include "sim/results/db.h"
#include "sim/results/sweep.h"
#include "sim/results/sweep_report.h"
#include "sim/results/vary.h"

static const char usage[] =
    "usage: steelyard sweep [CONFIG] --vary KEY=VALUE,... [--vary ...] [--reps N] [--db FILE] [...]\n"
    "\n"
    "Runs every combination of the varied values and prints one row for each: means, with confidence\n"
    "intervals where there are replications. Equal sweeps print the same bytes, whatever -j is.\n"
    "\n"
    "What to run:\n"
    "  --vary KEY=LIST    values separated by commas (not inside braces), or START:STOP:STEP for a\n"
    "                     number; repeat it for the product of several keys\n"
    "  --reps N           replications of each combination, default 1; each has other random numbers,\n"
    "                     the same ones for every combination. A recorded trace has none: resample it\n"
    "                     with --set load.bootstrap=SECONDS\n"
    "  --shard I/N        only every N-th run, beginning with the I-th: one part for each of N machines\n"
    "                     (put together with 'steelyard db merge')\n"
    "  -j, --jobs N       threads, default: all cores\n"
    "\n"
    "Where results go:\n"
    "  --db FILE          keep everything in a results database; each finished run is safe at once\n"
    "  --resume           go on with an existing database: runs that are in it are not done again\n"
    "  --requests         keep one row per request, too\n"
    "  --format FORMAT    text (default), json or csv\n"
    "  --metrics LIST     columns of the text table, separated by commas (steelyard list metrics)\n"
    "  --baseline         also differences to the first value of the first --vary, other settings\n"
    "                     equal, paired by replication\n"
    "  --dry-run          check everything, print the list of runs, and stop\n"
    "  --quiet            no progress line\n"
    "\n" CLI_CONFIG_USAGE
    "\n"
    "Examples:\n"
    "  steelyard sweep base.json --vary 'policy=fcfs,vtc{lift=off},rpm{limit=20}' --reps 5 --db r.db\n"
    "  steelyard sweep base.json --vary load.scale=0.5:2:0.25 --db r.db --resume && steelyard plot r.db\n";

extern const struct subcommand cmd_sweep;

struct combo {
    const char *label, *hash, *trace_hash, *model_hash;
    struct run_config config;
};

/* One run that is still to do. */
struct job {
    size_t number; /* combination * replications + replication: the same in every shard */
    size_t combo;
    struct run_config config;
};

struct options {
    struct config_args args;
    size_t n_vary;
    struct vary *vary;
    int64_t reps, threads;
    int64_t shard, n_shards; /* shard counts from 0 */
    const char *db;
    const char *command; /* for the log of runs */
    enum sweep_format format;
    const char **columns; /* NULL = the usual ones */
    bool resume, requests, baseline, dry_run, quiet;
};

struct plan {
    struct options o;
    struct arena ar;
    struct results *db;
    size_t n_combos, n_jobs, n_present;
    struct combo *combos;
    struct job *jobs;
    size_t n_failures;
    struct sweep_failure *failures;
    struct progress line;
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory while planning the sweep");
}

/* ---- the command line ---- */

static int parse_format(const char *text, enum sweep_format *ret, struct err *e)
{
    static const char *const names[] = {"text", "json", "csv"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum sweep_format)i;
            return 1;
        }
    }
    return cli_not_known("format", text, names, 3, " (text, json, csv)", SIM_E_USAGE, e);
}

static int parse_count(const char *flag, const char *text, int64_t *ret, struct err *e)
{
    if (!text_to_int64(text, ret) || *ret < 1 || *ret > 100000) {
        return err_set(e, SIM_E_USAGE, "%s %s: a whole number from 1 to 100000 is wanted", flag, text);
    }
    return 1;
}

static int parse_shard(struct options *o, const char *text, struct arena *ar, struct err *e)
{
    char *part = arena_strdup(ar, text);
    char *slash = part ? strchr(part, '/') : NULL;
    if (slash) {
        *slash = '\0';
    }
    if (!slash || !text_to_int64(part, &o->shard) || !text_to_int64(slash + 1, &o->n_shards) ||
        o->shard < 1 || o->shard > o->n_shards) {
        return err_set(e, SIM_E_USAGE, "--shard %s: wanted I/N with 1 <= I <= N, as in 2/4", text);
    }
    o->shard--;
    return 1;
}

static int add_vary(struct options *o, const char *text, struct arena *ar, struct err *e)
{
    struct vary *grown = arena_calloc(ar, o->n_vary + 1, sizeof *grown);
    if (!grown) {
        return no_memory(e);
    }
    if (o->n_vary) {
        memcpy(grown, o->vary, o->n_vary * sizeof *grown);
    }
    o->vary = grown;
    struct vary *v = &o->vary[o->n_vary];
    int rc = vary_parse(v, text, run_options, ar, e);
    for (size_t i = 0; rc == 0 && i < o->n_vary; i++) {
        if (strcmp(o->vary[i].key, v->key) == 0) {
            return err_set(e, SIM_E_USAGE, "--vary '%s': key '%s' is varied already", text, v->key);
        }
    }
    if (rc == 0 && strcmp(v->key, "replication") == 0) {
        return err_set(e, SIM_E_USAGE, "--vary replication=...: use --reps N for replications");
    }
    o->n_vary++;
    return rc < 0 ? rc : 1;
}

/* "mean_tpot_ms,expert_hit_rate" as names of the glossary. */
static int parse_columns(struct options *o, const char *text, struct arena *ar, struct err *e)
{
    size_t n = 0, n_known = 0;
    const char **known = catalog_names(CATALOG_METRIC, NULL, &n_known, ar);
    o->columns = arena_calloc(ar, strlen(text) + 2, sizeof *o->columns);
    if (!o->columns || !known) {
        return no_memory(e);
    }
    for (const char *s = text;; s++) {
        size_t len = strcspn(s, ","), k = 0;
        const char *name = arena_strndup(ar, s, len);
        while (name && k < n_known && strcmp(name, known[k]) != 0) {
            k++;
        }
        if (!name || k == n_known) {
            return name ? cli_not_known("metric", name, known, n_known, " (steelyard list metrics)", SIM_E_USAGE, e)
                        : no_memory(e);
        }
        o->columns[n++] = known[k];
        s += len;
        if (!*s) {
            return 1;
        }
    }
}

static int parse_value_flag(struct options *o, int argc, char **argv, int *i, struct arena *ar,
                            struct err *e)
{
    static const char *const names[] = {"--vary", "--reps", "--shard", "--jobs", "-j", "--db", "--metrics",
                                        "--format"};
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
        return add_vary(o, value, ar, e);
    case 1:
        return parse_count("--reps", value, &o->reps, e);
    case 2:
        return parse_shard(o, value, ar, e);
    case 3:
    case 4:
        return parse_count("-j", value, &o->threads, e);
    case 5:
        o->db = value;
        return 1;
    case 6:
        return parse_columns(o, value, ar, e);
    default:
        return parse_format(value, &o->format, e);
    }
}

static bool parse_switch(struct options *o, char **argv, int i)
{
    struct {
        const char *name;
        bool *on;
    } const switches[] = {{"--resume", &o->resume},     {"--requests", &o->requests},
                          {"--baseline", &o->baseline}, {"--dry-run", &o->dry_run},
                          {"--quiet", &o->quiet},       {"-q", &o->quiet}};
    for (size_t k = 0; k < sizeof switches / sizeof switches[0]; k++) {
        if (cli_flag(switches[k].name, argv, i)) {
            *switches[k].on = true;
            return true;
        }
    }
    return false;
}

static int parse_word(struct options *o, int argc, char **argv, int *i, struct arena *ar, struct err *e)
{
    if (parse_switch(o, argv, *i)) {
        return 1;
    }
    if (strncmp(argv[*i], "-j", 2) == 0 && argv[*i][2]) { /* -j4 */
        return parse_count("-j", argv[*i] + 2, &o->threads, e);
    }
    int rc = parse_value_flag(o, argc, argv, i, ar, e);
    return rc == 0 ? cli_config_flag(&o->args, argc, argv, i, ar, e) : rc;
}

static int parse(struct options *o, int argc, char **argv, struct arena *ar, struct err *e)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    o->reps = 1;
    o->n_shards = 1;
    o->threads = cores > 0 ? cores : 1;
    o->command = "steelyard";
    for (int i = 0; i < argc; i++) {
        o->command = arena_printf(ar, "%s %s", o->command, argv[i]);
    }
    for (int i = 1; i < argc; i++) {
        int rc = parse_word(o, argc, argv, &i, ar, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && (argv[i][0] == '-' || o->args.file)) {
            return cli_unknown(&cmd_sweep, argv[i], e);
        }
        if (rc == 0) {
            o->args.file = argv[i];
        }
    }
    if (o->resume && !o->db) {
        return err_set(e, SIM_E_USAGE, "--resume needs --db FILE: what should go on?");
    }
    return o->command ? 0 : no_memory(e);
}

/* ---- planning ---- */

static int resolve_combo(struct plan *p, size_t c, struct err *e)
{
    const struct options *o = &p->o;
    struct combo *k = &p->combos[c];
    struct config_args args = o->args;
    int rc = 0;
    args.cap_set = args.n_set; /* so that adding copies the lists and leaves the common ones alone */
    for (size_t i = 0; rc == 0 && i < o->n_vary; i++) {
        rc = config_args_add(&args, "--vary", o->vary[i].key,
                             o->vary[i].value[vary_index(o->vary, o->n_vary, c, i)], &p->ar, e);
    }
    rc = rc < 0 ? rc : config_resolve(&k->config, &args, NULL, NULL, &p->ar, e);
    rc = rc < 0 ? rc : config_check(&k->config, e);
    k->label = vary_label(o->vary, o->n_vary, c, &p->ar);
    if (rc < 0) {
        return k->label && *k->label ? err_wrap(e, "%s", k->label) : rc;
    }
    k->hash = config_hash(&k->config, &p->ar);
    rc = config_model_hash(&k->config, &k->model_hash, &p->ar, e);
    return rc < 0 ? rc : k->label && k->hash ? 0 : no_memory(e);
}

static int hash_trace(struct plan *p, size_t c, struct err *e)
{
    struct combo *k = &p->combos[c];
    if (strcmp(k->config.trace, "-") == 0) {
        return err_set(e, SIM_E_USAGE, "a sweep reads its trace many times: it cannot be standard input");
    }
    if (c > 0 && strcmp(k->config.trace, p->combos[c - 1].config.trace) == 0) {
        k->trace_hash = p->combos[c - 1].trace_hash;
        return 0;
    }
    return results_file_hash(k->config.trace, &k->trace_hash, &p->ar, e);
}

/* Two names for one configuration would be one run that is counted twice. */
static int order_by_key(const void *x, const void *y)
{
    const struct combo *a = *(const struct combo *const *)x;
    const struct combo *b = *(const struct combo *const *)y;
    int d = strcmp(a->hash, b->hash);
    return d != 0 ? d : (a->config.seed > b->config.seed) - (a->config.seed < b->config.seed);
}

static int check_distinct(struct plan *p, struct err *e)
{
    const struct combo **sorted = arena_calloc(&p->ar, p->n_combos, sizeof *sorted);
    if (!sorted) {
        return no_memory(e);
    }
    for (size_t i = 0; i < p->n_combos; i++) {
        sorted[i] = &p->combos[i];
    }
    qsort(sorted, p->n_combos, sizeof *sorted, order_by_key);
    for (size_t i = 1; i < p->n_combos; i++) {
        if (order_by_key(&sorted[i - 1], &sorted[i]) == 0) {
            return err_set(e, SIM_E_USAGE, "'%s' and '%s' are the same configuration",
                           sorted[i - 1]->label, sorted[i]->label);
        }
    }
    return 0;
}

static int make_combos(struct plan *p, struct err *e)
{
    p->n_combos = vary_combinations(p->o.vary, p->o.n_vary);
    if (p->n_combos > VARY_MAX_VALUES) {
        return err_set(e, SIM_E_USAGE, "more than %d combinations", VARY_MAX_VALUES);
    }
    p->combos = arena_calloc(&p->ar, p->n_combos, sizeof *p->combos);
    if (!p->combos) {
        return no_memory(e);
    }
    for (size_t c = 0; c < p->n_combos; c++) {
        int rc = resolve_combo(p, c, e);
        rc = rc < 0 ? rc : hash_trace(p, c, e);
        if (rc < 0) {
            return rc;
        }
    }
    return check_distinct(p, e);
}

static int open_db(struct plan *p, struct err *e)
{
    const char *path = p->o.db;
    bool exists = path && access(path, F_OK) == 0;
    if (exists && !p->o.resume) {
        return err_set(e, SIM_E_USAGE,
                       "%s exists already: add --resume to go on with it, or name another file", path);
    }
    if (p->o.dry_run && !exists) {
        path = NULL; /* a dry run makes no file */
    }
    return results_open(&p->db, path ? path : ":memory:", RESULTS_CREATE, e);
}

/* What a stored run was made from; empty where there is no file. */
struct origin {
    char trace[32], model[32];
};

static int take_origin(void *ctx, sqlite3_stmt *row, struct err *e)
{
    struct origin *o = ctx;
    const char *trace = (const char *)sqlite3_column_text(row, 0);
    const char *model = (const char *)sqlite3_column_text(row, 1);
    (void)e;
    snprintf(o->trace, sizeof o->trace, "%s", trace ? trace : "");
    snprintf(o->model, sizeof o->model, "%s", model ? model : "");
    return 0;
}

static bool same_text(const char *stored, const char *now)
{
    return strcmp(stored, now ? now : "") == 0;
}

/* A run that is in the database already must have been made from the files as they are now. */
static int check_same_origin(struct plan *p, const struct combo *k, int64_t run, struct err *e)
{
    struct origin o = {0};
    int rc = results_each(p->db, "SELECT trace_hash, model_hash FROM run WHERE id=?1", &run, 1, take_origin,
                          &o, e);
    if (rc < 0) {
        return rc;
    }
    bool trace = same_text(o.trace, k->trace_hash);
    if (!trace || !same_text(o.model, k->model_hash)) {
        return err_set(e, SIM_E_DATA,
                       "run %lld in %s was made from a %s with other contents: use another database",
                       (long long)run, p->o.db, trace ? "model, GPU, profile or policy file" : k->config.trace);
    }
    return 0;
}

static int plan_job(struct plan *p, size_t number, struct err *e)
{
    size_t combo = number / (size_t)p->o.reps;
    const struct combo *k = &p->combos[combo];
    int64_t replication = k->config.replication + (int64_t)(number % (size_t)p->o.reps);
    int64_t run = 0;
    int rc = results_find(p->db, k->hash, k->config.seed, replication, &run, e);
    if (rc != 0) {
        p->n_present += rc > 0;
        return rc < 0 ? rc : check_same_origin(p, k, run, e);
    }
    struct job *j = &p->jobs[p->n_jobs++];
    *j = (struct job){number, combo, k->config};
    j->config.replication = replication;
    return 0;
}

static int make_jobs(struct plan *p, struct err *e)
{
    size_t all = p->n_combos * (size_t)p->o.reps;
    p->jobs = arena_calloc(&p->ar, all, sizeof *p->jobs);
    p->failures = arena_calloc(&p->ar, all, sizeof *p->failures);
    if (!p->jobs || !p->failures) {
        return no_memory(e);
    }
    int rc = 0;
    for (size_t n = (size_t)p->o.shard; rc == 0 && n < all; n += (size_t)p->o.n_shards) {
        rc = plan_job(p, n, e);
    }
    return rc;
}

/* ---- running ---- */

static const struct run_config *job_config(void *ctx, size_t job)
{
    struct plan *p = ctx;
    return &p->jobs[job].config;
}

static const char *started_text(double wall_s, char buf[32])
{
    time_t t = time(NULL) - (time_t)wall_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}

static int keep_run(struct plan *p, const struct job *j, const struct sweep_done *d, struct err *e)
{
    const struct combo *k = &p->combos[j->combo];
    struct arena scratch = {0};
    char host[256] = "";
    char started[32];
    gethostname(host, sizeof host - 1);
    bool named = j->config.label && *j->config.label;
    struct results_meta m = {
        .id = (int64_t)j->number + 1,
        .config_hash = k->hash,
        .seed = j->config.seed,
        .replication = j->config.replication,
        .label = named ? arena_printf(&scratch, "%s %s", j->config.label, k->label) : k->label,
        .config_json = config_to_json(&j->config, false, &scratch),
        .version = steelyard_version(),
        .trace_hash = k->trace_hash,
        .model_hash = k->model_hash,
        .parts = p->o.db ? RESULTS_ALL : 0,
        .requests = p->o.db ? d->requests->rows : NULL,
        .n_requests = d->requests->n,
        .started = started_text(d->wall_s, started),
        .host = host,
        .argv = p->o.command,
        .wall_s = d->wall_s,
    };
    int rc = results_add(p->db, &m, d->result, e);
    arena_release(&scratch);
    return rc < 0 ? rc : 0;
}

static int job_done(void *ctx, const struct sweep_done *d, struct err *e)
{
    struct plan *p = ctx;
    const struct job *j = &p->jobs[d->job];
    if (d->result) {
        return keep_run(p, j, d, e);
    }
    const char *message = arena_strdup(&p->ar, d->error->msg);
    p->failures[p->n_failures++] = (struct sweep_failure){
        j->combo, j->config.replication, d->error->code, message ? message : "out of memory"};
    return 0;
}

static void on_tick(void *ctx, double share, size_t n_done)
{
    struct plan *p = ctx;
    char detail[100];
    int n = snprintf(detail, sizeof detail, "%zu of %zu runs", n_done, p->n_jobs);
    if (p->n_present) {
        n += snprintf(detail + n, sizeof detail - (size_t)n, ", %zu were there", p->n_present);
    }
    if (p->n_failures) {
        snprintf(detail + n, sizeof detail - (size_t)n, ", %zu failed", p->n_failures);
    }
    progress_update(&p->line, share, detail);
}

static int run_jobs(struct plan *p, struct err *e)
{
    struct sweep_ops ops = {.execute = run_execute,
                            .config = job_config,
                            .done = job_done,
                            .tick = on_tick,
                            .ctx = p,
                            .requests = p->o.requests && p->o.db,
                            .stop = &cli_interrupted};
    struct err stop = {0};
    progress_begin(&p->line, "sweeping", !p->o.quiet);
    int rc = sweep_run(&ops, p->n_jobs, (unsigned)p->o.threads, &stop);
    progress_end(&p->line);
    if (rc != SIM_E_INTR) {
        return rc < 0 ? err_set(e, rc, "%s", stop.msg) : 0;
    }
    return p->o.db ? err_set(e, rc, "interrupted; what was finished is in %s: the same command with "
                                    "--resume goes on", p->o.db)
                   : err_set(e, rc, "interrupted; with --db FILE a sweep can be resumed");
}

/* ---- reporting ---- */

static int print_plan(const struct plan *p)
{
    printf("%zu combinations x %lld replications, %zu runs to do, %zu there already\n", p->n_combos,
           (long long)p->o.reps, p->n_jobs, p->n_present);
    for (size_t i = 0; i < p->n_jobs; i++) {
        const struct job *j = &p->jobs[i];
        const struct combo *k = &p->combos[j->combo];
        printf("%zu\t%s\tseed %lld\treplication %lld\t%s\n", j->number + 1, k->hash,
               (long long)j->config.seed, (long long)j->config.replication, k->label);
    }
    return 0;
}

static int print_report(struct plan *p, struct err *e)
{
    const char **hash = arena_calloc(&p->ar, p->n_combos, sizeof *hash);
    int64_t *seed = arena_calloc(&p->ar, p->n_combos, sizeof *seed);
    if (!hash || !seed) {
        return no_memory(e);
    }
    for (size_t i = 0; i < p->n_combos; i++) {
        hash[i] = p->combos[i].hash;
        seed[i] = p->combos[i].config.seed;
    }
    struct sweep_report s = {.db = p->db,
                             .vary = p->o.vary,
                             .n_vary = p->o.n_vary,
                             .n_combos = p->n_combos,
                             .hash = hash,
                             .seed = seed,
                             .first_replication = p->combos[0].config.replication,
                             .reps = (size_t)p->o.reps,
                             .columns = p->o.columns,
                             .baseline = p->o.baseline,
                             .failures = p->failures,
                             .n_failures = p->n_failures};
    return sweep_report_print(stdout, &s, p->o.format, &p->ar, e);
}

static int report_failures(const struct plan *p, struct err *e)
{
    const size_t most = 20;
    if (p->n_failures == 0) {
        return 0;
    }
    for (size_t i = 1; i < p->n_failures && i < most; i++) {
        const struct sweep_failure *x = &p->failures[i];
        fprintf(stderr, "steelyard: sweep: %s replication %lld: %s\n", p->combos[x->combo].label,
                (long long)x->replication, x->message);
    }
    if (p->n_failures > most) {
        fprintf(stderr, "steelyard: sweep: and %zu more\n", p->n_failures - most);
    }
    const struct sweep_failure *first = &p->failures[0];
    return err_set(e, first->code, "%zu of %zu runs failed, first %s replication %lld: %s", p->n_failures,
                   p->n_jobs, p->combos[first->combo].label, (long long)first->replication,
                   first->message);
}

/* Replications of a recorded trace differ only where something is drawn. */
static void warn_equal_replications(const struct plan *p)
{
    for (size_t i = 0; p->o.reps > 1 && i < p->n_combos; i++) {
        const struct run_config *c = &p->combos[i].config;
        if (p->combos[i].trace_hash && c->load_bootstrap_s <= 0) {
            fprintf(stderr, "steelyard: sweep: %s is a recorded trace, so its replications may all be "
                            "equal; --set load.bootstrap=SECONDS resamples it in blocks\n", c->trace);
            return;
        }
    }
}

static int sweep(struct plan *p, struct err *e)
{
    int rc = make_combos(p, e);
    rc = rc < 0 ? rc : open_db(p, e);
    rc = rc < 0 ? rc : make_jobs(p, e);
    if (rc < 0 || p->o.dry_run) {
        return rc < 0 ? rc : print_plan(p);
    }
    warn_equal_replications(p);
    rc = run_jobs(p, e);
    rc = rc < 0 ? rc : print_report(p, e);
    return rc < 0 ? rc : report_failures(p, e);
}

static int run(int argc, char **argv, struct err *e)
{
    struct plan p = {0};
    int rc = parse(&p.o, argc, argv, &p.ar, e);
    rc = rc < 0 ? rc : sweep(&p, e);
    results_close(p.db);
    arena_release(&p.ar);
    return rc;
}

const struct subcommand cmd_sweep = {"sweep", "simulate every combination of varied settings", usage, run};
