/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard db: look into results databases, put them together, get everything out. */
#include "sim/cli/cli.h"

#include <math.h>
#include <string.h>

#include "sim/core/json.h"
#include "sim/results/db.h"
#include "sim/results/grid.h"
#include "sim/results/output.h"

static const char usage[] =
    "usage: steelyard db runs DB\n"
    "       steelyard db show DB ID\n"
    "       steelyard db merge OUT IN...\n"
    "       steelyard db export DB [--table TABLE] [--format csv|json]\n"
    "\n"
    "runs    one line per run\n"
    "show    everything about one run: configuration, metrics, clients\n"
    "merge   all runs of the INs into OUT, which is made when it is not there; a run that is there\n"
    "        already is not doubled\n"
    "export  whole tables: run, metric, hist, series, client, request - or all of these. When, where and\n"
    "        how long things ran is in the table run_log, which is given only when it is asked for, so\n"
    "        that equal results give equal bytes\n"
    "\n"
    "  --table TABLE      only this one\n"
    "  --format FORMAT    csv (default) or json\n"
    "\n"
    "Examples:\n"
    "  steelyard db merge all.db shard1.db shard2.db && steelyard db runs all.db\n"
    "  steelyard db export all.db --table metric --format json\n";

extern const struct subcommand cmd_db;

/* Tables and the keys that order them. */
static const struct {
    const char *name, *order;
} tables[] = {{"run", "id"},         {"metric", "run, k"}, {"hist", "run, name, low"},
              {"series", "run, name, k"}, {"client", "run, k"}, {"request", "run, serial"},
              {"run_log", "run"}};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

static const char *column(sqlite3_stmt *q, int i)
{
    const char *text = (const char *)sqlite3_column_text(q, i);
    return text ? text : "";
}

/* ---- runs ---- */

static int runs_row(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct grid *g = ctx;
    (void)e;
    for (int i = 0; i < (int)g->cols; i++) {
        bool real = sqlite3_column_type(q, i) == SQLITE_FLOAT;
        if (real) {
            grid_addf(g, "%.6g", sqlite3_column_double(q, i));
        } else {
            grid_add(g, column(q, i));
        }
    }
    return 0;
}

static int db_runs(struct results *r, struct arena *ar, struct err *e)
{
    static const char *const heads[] = {"id",          "config_hash",  "seed",
                                        "replication", "completed",    "mean_ttft_ms",
                                        "output_throughput", "verdict", "label"};
    static const char sql[] =
        "SELECT id, config_hash, seed, replication,"
        " (SELECT CAST(value AS INTEGER) FROM metric WHERE run=id AND name='completed'),"
        " (SELECT value FROM metric WHERE run=id AND name='mean_ttft_ms'),"
        " (SELECT value FROM metric WHERE run=id AND name='output_throughput'),"
        " verdict, iif(oracle, label || ' (oracle)', label) FROM run ORDER BY id";
    struct grid g;
    grid_init(&g, sizeof heads / sizeof heads[0], ar);
    for (size_t i = 0; i < g.cols; i++) {
        grid_add(&g, heads[i]);
        g.right[i] = i == 0 || (i >= 2 && i <= 6);
    }
    int rc = results_each(r, sql, NULL, 0, runs_row, &g, e);
    if (rc == 0 && g.failed) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for the list of runs");
    }
    if (rc == 0) {
        grid_print(stdout, &g);
    }
    return rc;
}

/* ---- show ---- */

static int show_fields(void *ctx, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    *(bool *)ctx = true;
    for (int i = 0; i < sqlite3_column_count(q); i++) {
        if (sqlite3_column_type(q, i) != SQLITE_NULL) {
            printf("%-16s %s\n", sqlite3_column_name(q, i), column(q, i));
        }
    }
    return 0;
}

static int show_metric(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct grid *g = ctx;
    char buf[32];
    (void)e;
    bool null = sqlite3_column_type(q, 1) == SQLITE_NULL;
    grid_add(g, column(q, 0));
    grid_add(g, null ? "-" : text_from_double(sqlite3_column_double(q, 1), buf));
    grid_add(g, column(q, 2));
    return 0;
}

static int show_counts(void *ctx, sqlite3_stmt *q, struct err *e)
{
    (void)ctx;
    (void)e;
    printf("\n%s clients, %s points of time series, %s histogram bins, %s request rows: see db export\n",
           column(q, 0), column(q, 1), column(q, 2), column(q, 3));
    return 0;
}

static int db_show(struct results *r, const char *path, const char *id_text, struct arena *ar,
                   struct err *e)
{
    int64_t id = 0;
    bool found = false;
    struct grid g;
    if (!text_to_int64(id_text, &id)) {
        return err_set(e, SIM_E_USAGE, "'%s' is not a run's number: see 'steelyard db runs %s'", id_text,
                       path);
    }
    int rc = results_each(r, "SELECT run.*, started, host, wall_s, argv FROM run LEFT JOIN run_log"
                             " ON run=id WHERE id=?1", &id, 1, show_fields, &found, e);
    if (rc == 0 && !found) {
        return err_set(e, SIM_E_USAGE, "%s has no run %lld: see 'steelyard db runs %s'", path,
                       (long long)id, path);
    }
    grid_init(&g, 3, ar);
    g.right[1] = true;
    rc = rc < 0 ? rc : results_each(r, "SELECT name, value, unit FROM metric WHERE run=?1 ORDER BY k", &id,
                                    1, show_metric, &g, e);
    if (rc < 0) {
        return rc;
    }
    putchar('\n');
    grid_print(stdout, &g);
    return results_each(r, "SELECT (SELECT count(*) FROM client WHERE run=?1),"
                           "(SELECT count(*) FROM series WHERE run=?1),"
                           "(SELECT count(*) FROM hist WHERE run=?1),"
                           "(SELECT count(*) FROM request WHERE run=?1)", &id, 1, show_counts, NULL, e);
}

/* ---- merge ---- */

static int db_merge(int n, char **path, struct err *e)
{
    struct results *out = NULL;
    if (n < 2) {
        return err_set(e, SIM_E_USAGE, "db merge OUT IN...: wanted a database to write and at least one "
                                       "to read");
    }
    int rc = results_open(&out, path[0], RESULTS_CREATE, e);
    for (int i = 1; rc == 0 && i < n; i++) {
        struct results_merged m;
        rc = results_merge(out, path[i], &m, e);
        if (rc == 0) {
            printf("%s: %lld runs added, %lld were there\n", path[i], (long long)m.added,
                   (long long)m.present);
        }
    }
    results_close(out);
    return rc;
}

/* ---- export ---- */

struct export {
    bool json, started;
    struct json_writer w;
};

static void csv_value(sqlite3_stmt *q, int i)
{
    char buf[32];
    switch (sqlite3_column_type(q, i)) {
    case SQLITE_NULL:
        break;
    case SQLITE_FLOAT:
        fputs(text_from_double(sqlite3_column_double(q, i), buf), stdout);
        break;
    default:
        output_csv_field(stdout, column(q, i));
    }
}

static void csv_names(sqlite3_stmt *q)
{
    for (int i = 0; i < sqlite3_column_count(q); i++) {
        printf("%s%s", i ? "," : "", sqlite3_column_name(q, i));
    }
    putchar('\n');
}

static void json_value(struct json_writer *w, sqlite3_stmt *q, int i)
{
    switch (sqlite3_column_type(q, i)) {
    case SQLITE_NULL:
        json_null(w);
        break;
    case SQLITE_FLOAT:
        json_double(w, sqlite3_column_double(q, i));
        break;
    case SQLITE_INTEGER:
        json_int(w, sqlite3_column_int64(q, i));
        break;
    default:
        json_string(w, column(q, i));
    }
}

static int export_row(void *ctx, sqlite3_stmt *q, struct err *e)
{
    struct export *x = ctx;
    (void)e;
    if (!x->json && !x->started) {
        csv_names(q);
    }
    x->started = true;
    if (x->json) {
        json_object(&x->w);
    }
    for (int i = 0; i < sqlite3_column_count(q); i++) {
        if (x->json) {
            json_key(&x->w, sqlite3_column_name(q, i));
            json_value(&x->w, q, i);
        } else {
            fputs(i ? "," : "", stdout);
            csv_value(q, i);
        }
    }
    if (x->json) {
        json_end(&x->w);
    } else {
        putchar('\n');
    }
    return 0;
}

static int export_table(struct results *r, struct export *x, size_t t, bool titled, struct err *e)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY %s", tables[t].name, tables[t].order);
    x->started = false;
    if (x->json) {
        json_key(&x->w, tables[t].name);
        json_array(&x->w);
    } else if (titled) {
        printf("# %s\n", tables[t].name);
    }
    int rc = results_each(r, sql, NULL, 0, export_row, x, e);
    if (x->json) {
        json_end(&x->w);
    }
    return rc;
}

static int find_table(const char *name, size_t *ret, struct err *e)
{
    const char *names[N_TABLES];
    for (size_t i = 0; i < N_TABLES; i++) {
        names[i] = tables[i].name;
        if (strcmp(name, names[i]) == 0) {
            *ret = i;
            return 0;
        }
    }
    return cli_not_known("table", name, names, N_TABLES,
                         " (run, metric, hist, series, client, request, run_log)", SIM_E_USAGE, e);
}

static int db_export(struct results *r, const char *table, bool json, struct err *e)
{
    struct export x = {.json = json};
    size_t from = 0;
    size_t to = N_TABLES - 1; /* without run_log */
    if (table) {
        int rc = find_table(table, &from, e);
        if (rc < 0) {
            return rc;
        }
        to = from + 1;
    }
    if (json) {
        json_begin(&x.w, stdout, false);
        json_object(&x.w);
    }
    int rc = 0;
    for (size_t i = from; rc == 0 && i < to; i++) {
        rc = export_table(r, &x, i, !table, e);
    }
    if (json) {
        json_end(&x.w);
        putchar('\n');
    }
    return rc;
}

/* ---- the command line ---- */

struct options {
    const char *table;
    bool json;
    int n_words;
    char **word; /* what is no flag, in order */
};

static int parse_format(const char *text, bool *ret_json, struct err *e)
{
    static const char *const names[] = {"csv", "json"};
    *ret_json = strcmp(text, "json") == 0;
    if (*ret_json || strcmp(text, "csv") == 0) {
        return 1;
    }
    return cli_not_known("format", text, names, 2, " (csv, json)", SIM_E_USAGE, e);
}

static int parse(struct options *o, int argc, char **argv, struct err *e)
{
    o->word = argv;
    for (int i = 1; i < argc; i++) {
        const char *format = NULL;
        int rc = cli_flag_value("--table", argc, argv, &i, &o->table, e);
        if (rc == 0 && (rc = cli_flag_value("--format", argc, argv, &i, &format, e)) > 0) {
            rc = parse_format(format, &o->json, e);
        }
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && argv[i][0] == '-') {
            return cli_unknown(&cmd_db, argv[i], e);
        }
        if (rc == 0) {
            o->word[o->n_words++] = argv[i];
        }
    }
    return 0;
}

static int with_database(const struct options *o, const char *what, struct arena *ar, struct err *e)
{
    struct results *r = NULL;
    bool show = strcmp(what, "show") == 0;
    if (o->n_words != (show ? 3 : 2)) {
        return err_set(e, SIM_E_USAGE, "wanted: steelyard db %s DB%s", what, show ? " ID" : "");
    }
    int rc = results_open(&r, o->word[1], RESULTS_READ, e);
    if (rc < 0) {
        return rc;
    }
    if (show) {
        rc = db_show(r, o->word[1], o->word[2], ar, e);
    } else if (strcmp(what, "runs") == 0) {
        rc = db_runs(r, ar, e);
    } else {
        rc = db_export(r, o->table, o->json, e);
    }
    results_close(r);
    return rc;
}

static int run(int argc, char **argv, struct err *e)
{
    static const char *const verbs[] = {"runs", "show", "merge", "export"};
    struct options o = {0};
    struct arena ar = {0};
    int rc = parse(&o, argc, argv, e);
    if (rc < 0) {
        return rc;
    }
    if (o.n_words == 0) {
        return err_set(e, SIM_E_USAGE, "wanted: steelyard db runs|show|merge|export ...");
    }
    size_t v = 0;
    while (v < 4 && strcmp(verbs[v], o.word[0]) != 0) {
        v++;
    }
    if (v == 4) {
        return cli_not_known("db command", o.word[0], verbs, 4, " (runs, show, merge, export)",
                             SIM_E_USAGE, e);
    }
    rc = v == 2 ? db_merge(o.n_words - 1, o.word + 1, e) : with_database(&o, verbs[v], &ar, e);
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_db = {"db", "look into, merge and export results databases", usage, run};
