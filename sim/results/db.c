/* SPDX-License-Identifier: Apache-2.0
 *
 * Rollback journal with synchronous=FULL: after a kill the next opener rolls the unfinished run back.
 * Not WAL, so that a database at rest is one file. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "sim/results/db.h"
#include "sim/results/output.h"
#include "sim/results/schema.h"

struct results {
    sqlite3 *db;
    char *path;
};

const char *const results_tables[] = {"run", "metric", "hist", "series", "client", "request", NULL};

bool results_is_table(const char *name)
{
    for (size_t i = 0; results_tables[i]; i++) {
        if (strcmp(name, results_tables[i]) == 0) {
            return true;
        }
    }
    return strcmp(name, "run_log") == 0;
}

/* ---- SQLite with our errors ---- */

static int db_code(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_NOMEM:
        return SIM_E_NOMEM;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_CONSTRAINT:
        return SIM_E_DATA;
    case SQLITE_MISUSE:
    case SQLITE_ERROR:
        return SIM_E_CHECK;
    default:
        return SIM_E_IO;
    }
}

static int db_error(struct results *r, struct err *e)
{
    return err_set(e, db_code(sqlite3_errcode(r->db)), "%s: %s", r->path, sqlite3_errmsg(r->db));
}

static int db_exec(struct results *r, const char *sql, struct err *e)
{
    return sqlite3_exec(r->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(r, e);
}

static void db_rollback(struct results *r)
{
    if (!sqlite3_get_autocommit(r->db)) {
        sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
    }
}

static int db_prepare(struct results *r, const char *sql, sqlite3_stmt **ret, struct err *e)
{
    return sqlite3_prepare_v2(r->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : db_error(r, e);
}

/* One row in: step and make ready for the next. */
static int db_insert(struct results *r, sqlite3_stmt *s, struct err *e)
{
    if (sqlite3_step(s) != SQLITE_DONE) {
        return db_error(r, e);
    }
    sqlite3_reset(s);
    return 0;
}

static void bind_text(sqlite3_stmt *s, int i, const char *text)
{
    sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC); /* NULL text binds NULL */
}

static void bind_real(sqlite3_stmt *s, int i, double v)
{
    if (isfinite(v)) {
        sqlite3_bind_double(s, i, v);
    } else {
        sqlite3_bind_null(s, i);
    }
}

static void bind_time(sqlite3_stmt *s, int i, sim_ns t)
{
    if (t != SIM_NEVER) {
        sqlite3_bind_int64(s, i, t);
    } else {
        sqlite3_bind_null(s, i);
    }
}

int results_each(struct results *r, const char *sql, const int64_t *bind, size_t n_bind,
                 results_row_fn *fn, void *ctx, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, sql, &s, e);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < n_bind; i++) {
        sqlite3_bind_int64(s, (int)i + 1, bind[i]);
    }
    int step = sqlite3_step(s);
    while (rc == 0 && step == SQLITE_ROW) {
        rc = fn(ctx, s, e);
        step = rc < 0 ? step : sqlite3_step(s);
    }
    if (rc == 0 && step != SQLITE_DONE) {
        rc = db_error(r, e);
    }
    sqlite3_finalize(s);
    return rc < 0 ? rc : 0;
}

static int take_int(void *ctx, sqlite3_stmt *row, struct err *e)
{
    (void)e;
    *(int64_t *)ctx = sqlite3_column_int64(row, 0);
    return 0;
}

static int db_int(struct results *r, const char *sql, int64_t *ret, struct err *e)
{
    return results_each(r, sql, NULL, 0, take_int, ret, e);
}

/* ---- opening ---- */

static int check_schema(struct results *r, struct err *e)
{
    int64_t app = 0;
    int64_t version = 0;
    int rc = db_int(r, "PRAGMA application_id", &app, e);
    rc = rc < 0 ? rc : db_int(r, "PRAGMA user_version", &version, e);
    if (rc < 0) {
        return rc;
    }
    if (app != RESULTS_APPLICATION_ID) {
        return err_set(e, SIM_E_DATA, "%s is not a steelyard results database", r->path);
    }
    if (version < 1 || version > RESULTS_SCHEMA) {
        return err_set(e, SIM_E_DATA, "%s has schema %lld, this program knows 1 to %d", r->path,
                       (long long)version, RESULTS_SCHEMA);
    }
    return 0;
}

/* Nothing in it yet: a new file, or one whose maker was killed before the schema was in. */
static int is_blank(struct results *r, bool *ret, struct err *e)
{
    int64_t app = 0;
    int64_t objects = 0;
    int rc = db_int(r, "PRAGMA application_id", &app, e);
    rc = rc < 0 ? rc : db_int(r, "SELECT count(*) FROM sqlite_schema", &objects, e);
    *ret = app == 0 && objects == 0;
    return rc;
}

/* Under the write lock, so that of two makers one finds the other's work. */
static int make_schema(struct results *r, struct err *e)
{
    bool blank = false;
    char ids[120];
    snprintf(ids, sizeof ids, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
             RESULTS_APPLICATION_ID, RESULTS_SCHEMA);
    int rc = db_exec(r, "BEGIN IMMEDIATE", e);
    rc = rc < 0 ? rc : is_blank(r, &blank, e);
    if (rc == 0 && blank) {
        rc = db_exec(r, results_schema, e);
        rc = rc < 0 ? rc : db_exec(r, ids, e);
    }
    db_rollback(r);
    return rc;
}

/* Under the write lock, too: two writers may find the old schema. */
static int upgrade(struct results *r, struct err *e)
{
    int64_t app = 0;
    int64_t version = 0;
    char ids[80];
    snprintf(ids, sizeof ids, "PRAGMA user_version=%d; COMMIT", RESULTS_SCHEMA);
    int rc = db_int(r, "PRAGMA application_id", &app, e);
    rc = rc < 0 ? rc : db_int(r, "PRAGMA user_version", &version, e);
    if (rc < 0 || app != RESULTS_APPLICATION_ID || version != 1) {
        return rc;
    }
    rc = db_exec(r, "BEGIN IMMEDIATE", e);
    rc = rc < 0 ? rc : db_int(r, "PRAGMA user_version", &version, e);
    if (rc == 0 && version == 1) {
        rc = db_exec(r, results_upgrade_1, e);
        rc = rc < 0 ? rc : db_exec(r, ids, e);
    }
    db_rollback(r);
    return rc;
}

static int set_up(struct results *r, enum results_mode mode, struct err *e)
{
    bool blank = false;
    sqlite3_busy_timeout(r->db, 30000);
    sqlite3_extended_result_codes(r->db, 1);
    int rc = is_blank(r, &blank, e);
    if (rc == 0 && mode == RESULTS_CREATE && blank) {
        rc = db_exec(r, "PRAGMA journal_mode=DELETE", e);
        rc = rc < 0 ? rc : make_schema(r, e);
    }
    rc = rc < 0 ? rc : db_exec(r, "PRAGMA synchronous=FULL", e);
    if (rc == 0 && mode == RESULTS_CREATE) {
        rc = upgrade(r, e);
    }
    return rc < 0 ? rc : check_schema(r, e);
}

int results_open(struct results **ret, const char *path, enum results_mode mode, struct err *e)
{
    *ret = NULL;
    struct results *r = calloc(1, sizeof *r);
    char *copy = strdup(path);
    if (!r || !copy) {
        free(r);
        free(copy);
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", path);
    }
    r->path = copy;
    /* Also to read: a journal that a killed writer left behind must be rolled back first. */
    int flags = SQLITE_OPEN_READWRITE | (mode == RESULTS_CREATE ? SQLITE_OPEN_CREATE : 0);
    int rc = 0;
    if (sqlite3_open_v2(path, &r->db, flags, NULL) != SQLITE_OK) {
        rc = err_set(e, SIM_E_IO, "%s: %s", path, sqlite3_errmsg(r->db));
    }
    rc = rc < 0 ? rc : set_up(r, mode, e);
    if (rc < 0) {
        results_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void results_close(struct results *r)
{
    if (r) {
        sqlite3_close(r->db);
        free(r->path);
        free(r);
    }
}

/* ---- finding ---- */

int results_find(struct results *r, const char *config_hash, int64_t seed, int64_t replication,
                 int64_t *ret_id, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(
        r, "SELECT id FROM run WHERE config_hash=?1 AND seed=?2 AND replication=?3", &s, e);
    if (rc < 0) {
        return rc;
    }
    bind_text(s, 1, config_hash);
    sqlite3_bind_int64(s, 2, seed);
    sqlite3_bind_int64(s, 3, replication);
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW && ret_id) {
        *ret_id = sqlite3_column_int64(s, 0);
    }
    rc = step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : db_error(r, e);
    sqlite3_finalize(s);
    return rc;
}

bool results_has(struct results *r, const char *config_hash, int64_t seed, int64_t replication)
{
    return results_find(r, config_hash, seed, replication, NULL, NULL) == 1;
}

bool results_metric(struct results *r, int64_t run, const char *name, double *ret)
{
    sqlite3_stmt *s = NULL;
    if (db_prepare(r, "SELECT value FROM metric WHERE run=?1 AND name=?2", &s, NULL) < 0) {
        return false;
    }
    sqlite3_bind_int64(s, 1, run);
    bind_text(s, 2, name);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found) {
        bool null = sqlite3_column_type(s, 0) == SQLITE_NULL;
        *ret = null ? (double)NAN : sqlite3_column_double(s, 0);
    }
    sqlite3_finalize(s);
    return found;
}

/* ---- writing one run ---- */

static char *join_lines(const char *const *lines)
{
    size_t n = 1;
    for (size_t i = 0; lines && lines[i]; i++) {
        n += strlen(lines[i]) + 1;
    }
    char *text = malloc(n);
    char *p = text;
    for (size_t i = 0; text && lines && lines[i]; i++) {
        p += sprintf(p, "%s%s", i ? "\n" : "", lines[i]);
    }
    if (text) {
        *p = '\0';
    }
    return text;
}

static void bind_run(sqlite3_stmt *s, int64_t id, const struct results_meta *m,
                     const struct run_result *res, const char *warnings)
{
    sqlite3_bind_int64(s, 1, id);
    bind_text(s, 2, m->config_hash);
    sqlite3_bind_int64(s, 3, m->seed);
    sqlite3_bind_int64(s, 4, m->replication);
    bind_text(s, 5, m->label);
    bind_text(s, 6, m->config_json);
    bind_text(s, 7, m->version);
    bind_text(s, 8, m->trace_hash);
    bind_text(s, 9, m->model_hash);
    bind_text(s, 10, res->trace_format);
    sqlite3_bind_int64(s, 11, (int64_t)res->trace_requests);
    sqlite3_bind_int64(s, 12, (int64_t)res->iterations);
    sqlite3_bind_int64(s, 13, (int64_t)res->boundaries);
    bind_text(s, 14, verdict_name(res->verdict));
    bind_text(s, 15, res->verdict_text);
    sqlite3_bind_int(s, 16, res->policy_oracle);
    bind_text(s, 17, res->cost_provenance);
    bind_text(s, 18, warnings[0] ? warnings : NULL);
}

static int add_run(struct results *r, int64_t id, const struct results_meta *m,
                   const struct run_result *res, struct err *e)
{
    sqlite3_stmt *s = NULL;
    char *warnings = join_lines(res->warnings);
    if (!warnings) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", r->path);
    }
    int rc = db_prepare(r,
                        "INSERT INTO run VALUES"
                        "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18)", &s, e);
    if (rc == 0) {
        bind_run(s, id, m, res, warnings);
        rc = db_insert(r, s, e);
    }
    sqlite3_finalize(s);
    free(warnings);
    return rc;
}

static int add_log(struct results *r, int64_t id, const struct results_meta *m, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, "INSERT INTO run_log VALUES(?1,?2,?3,?4,?5)", &s, e);
    if (rc < 0) {
        return rc;
    }
    sqlite3_bind_int64(s, 1, id);
    bind_text(s, 2, m->started);
    bind_text(s, 3, m->host);
    bind_real(s, 4, m->wall_s);
    bind_text(s, 5, m->argv);
    rc = db_insert(r, s, e);
    sqlite3_finalize(s);
    return rc;
}

static int add_metrics(struct results *r, int64_t id, const struct run_result *res, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, "INSERT INTO metric VALUES(?1,?2,?3,?4,?5)", &s, e);
    for (size_t i = 0; rc == 0 && i < res->n_metrics; i++) {
        sqlite3_bind_int64(s, 1, id);
        sqlite3_bind_int64(s, 2, (int64_t)i);
        bind_text(s, 3, res->metrics[i].name);
        bind_text(s, 4, res->metrics[i].unit);
        bind_real(s, 5, res->metrics[i].value);
        rc = db_insert(r, s, e);
    }
    sqlite3_finalize(s);
    return rc;
}

static int add_bins(struct results *r, sqlite3_stmt *s, const struct hist *h, struct err *e)
{
    int rc = 0;
    for (uint32_t b = 0; rc == 0 && h->count && b < HIST_BINS; b++) {
        if (h->bin[b] == 0) {
            continue;
        }
        sqlite3_bind_int64(s, 4, hist_bin_low(b));
        sqlite3_bind_int64(s, 5, b + 1 < HIST_BINS ? hist_bin_low(b + 1) : INT64_MAX);
        sqlite3_bind_int64(s, 6, (int64_t)h->bin[b]);
        rc = db_insert(r, s, e);
    }
    return rc;
}

static int add_hists(struct results *r, int64_t id, const struct run_result *res, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, "INSERT INTO hist VALUES(?1,?2,?3,?4,?5,?6)", &s, e);
    for (size_t i = 0; rc == 0 && i < res->n_hists; i++) {
        sqlite3_bind_int64(s, 1, id);
        bind_text(s, 2, res->hists[i].name);
        bind_text(s, 3, res->hists[i].unit);
        rc = add_bins(r, s, res->hists[i].h, e);
    }
    sqlite3_finalize(s);
    return rc;
}

static int add_series(struct results *r, int64_t id, const struct run_result *res, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, "INSERT INTO series VALUES(?1,?2,?3,?4,?5,?6)", &s, e);
    for (size_t i = 0; rc == 0 && i < res->n_series; i++) {
        const struct series *x = &res->series[i];
        sqlite3_bind_int64(s, 1, id);
        bind_text(s, 2, x->name);
        bind_text(s, 3, x->unit);
        for (size_t k = 0; rc == 0 && k < x->n; k++) {
            sqlite3_bind_int64(s, 4, (int64_t)k);
            bind_real(s, 5, x->t_s[k]);
            bind_real(s, 6, x->value[k]);
            rc = db_insert(r, s, e);
        }
    }
    sqlite3_finalize(s);
    return rc;
}

static void bind_client(sqlite3_stmt *s, const struct client_result *c)
{
    bind_text(s, 3, c->name);
    sqlite3_bind_int64(s, 4, (int64_t)c->requests);
    sqlite3_bind_int64(s, 5, (int64_t)c->completed);
    sqlite3_bind_int64(s, 6, (int64_t)c->rejected);
    sqlite3_bind_int64(s, 7, (int64_t)c->prompt_tok);
    sqlite3_bind_int64(s, 8, (int64_t)c->output_tok);
    bind_real(s, 9, c->service);
    bind_real(s, 10, c->mean_ttft_ms);
    bind_real(s, 11, c->mean_e2e_ms);
    bind_real(s, 12, c->mean_tpot_ms);
    bind_real(s, 13, c->slo_attainment);
    bind_real(s, 14, c->ufc);
    bind_real(s, 15, c->rfc);
    bind_real(s, 16, c->hf);
}

static int add_clients(struct results *r, int64_t id, const struct run_result *res, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(r, "INSERT INTO client VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,"
                            "?14,?15,?16)", &s, e);
    for (size_t i = 0; rc == 0 && i < res->n_clients; i++) {
        sqlite3_bind_int64(s, 1, id);
        sqlite3_bind_int64(s, 2, (int64_t)i);
        bind_client(s, &res->clients[i]);
        rc = db_insert(r, s, e);
    }
    sqlite3_finalize(s);
    return rc;
}

static void bind_request(sqlite3_stmt *s, const struct request_row *q)
{
    sqlite3_bind_int64(s, 2, (int64_t)q->serial);
    sqlite3_bind_int64(s, 3, q->client);
    sqlite3_bind_int64(s, 4, q->prompt_tok);
    sqlite3_bind_int64(s, 5, q->output_tok);
    sqlite3_bind_int64(s, 6, q->cached_tok);
    sqlite3_bind_int64(s, 7, q->preemptions);
    bind_time(s, 8, q->arrival_ns);
    bind_time(s, 9, q->admit_ns);
    bind_time(s, 10, q->first_token_ns);
    bind_time(s, 11, q->finish_ns);
    bind_text(s, 12, status_name(q->status));
    bind_text(s, 13, q->reason);
    bind_real(s, 14, q->measured_ttft_s);
    bind_real(s, 15, q->measured_e2e_s);
}

static int add_requests(struct results *r, int64_t id, const struct results_meta *m, struct err *e)
{
    sqlite3_stmt *s = NULL;
    int rc = db_prepare(
        r, "INSERT INTO request VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)", &s, e);
    for (size_t i = 0; rc == 0 && i < m->n_requests; i++) {
        sqlite3_bind_int64(s, 1, id);
        bind_request(s, &m->requests[i]);
        rc = db_insert(r, s, e);
    }
    sqlite3_finalize(s);
    return rc;
}

/* The wanted number when nobody has it, else one more than the highest. */
static int choose_id(struct results *r, int64_t wanted, int64_t *ret, struct err *e)
{
    int64_t taken = 1;
    int rc = 0;
    if (wanted > 0) {
        rc = results_each(r, "SELECT count(*) FROM run WHERE id=?1", &wanted, 1, take_int, &taken, e);
    }
    if (rc == 0 && !taken) {
        *ret = wanted;
        return 0;
    }
    return rc < 0 ? rc : db_int(r, "SELECT coalesce(max(id), 0) + 1 FROM run", ret, e);
}

static int add_parts(struct results *r, const struct results_meta *m, const struct run_result *res,
                     struct err *e)
{
    int64_t id = 0;
    int rc = choose_id(r, m->id, &id, e);
    rc = rc < 0 ? rc : add_run(r, id, m, res, e);
    rc = rc < 0 ? rc : add_log(r, id, m, e);
    rc = rc < 0 ? rc : add_metrics(r, id, res, e);
    if (rc == 0 && (m->parts & RESULTS_HISTS)) {
        rc = add_hists(r, id, res, e);
    }
    if (rc == 0 && (m->parts & RESULTS_SERIES)) {
        rc = add_series(r, id, res, e);
    }
    if (rc == 0 && (m->parts & RESULTS_CLIENTS)) {
        rc = add_clients(r, id, res, e);
    }
    return rc < 0 || !m->requests ? rc : add_requests(r, id, m, e);
}

int results_add(struct results *r, const struct results_meta *m, const struct run_result *res,
                struct err *e)
{
    if (!m->config_hash || !m->config_json) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the configuration of a run");
    }
    int rc = db_exec(r, "BEGIN IMMEDIATE", e);
    if (rc < 0) {
        return rc;
    }
    rc = results_find(r, m->config_hash, m->seed, m->replication, NULL, e);
    if (rc == 0) {
        rc = add_parts(r, m, res, e);
        rc = rc < 0 ? rc : db_exec(r, "COMMIT", e);
    }
    db_rollback(r);
    return rc;
}

/* ---- merging ---- */

static int attach(struct results *r, const char *from, struct err *e)
{
    sqlite3_stmt *s = NULL;
    struct results *check = NULL;
    int rc = results_open(&check, from, RESULTS_READ, e);
    results_close(check);
    rc = rc < 0 ? rc : db_prepare(r, "ATTACH ?1 AS src", &s, e);
    if (rc == 0) {
        bind_text(s, 1, from);
        rc = db_insert(r, s, e);
    }
    sqlite3_finalize(s);
    return rc;
}

/* Runs that both have, with metrics that differ: there should be none. */
static const char sql_differ[] =
    "SELECT count(*) FROM src.run a JOIN main.run b"
    " ON a.config_hash=b.config_hash AND a.seed=b.seed AND a.replication=b.replication"
    " WHERE EXISTS(SELECT name, value FROM src.metric WHERE run=a.id"
    " EXCEPT SELECT name, value FROM main.metric WHERE run=b.id)"
    " OR EXISTS(SELECT name, value FROM main.metric WHERE run=b.id"
    " EXCEPT SELECT name, value FROM src.metric WHERE run=a.id)";

/* New runs keep their numbers where main has no such number; the others are numbered on behind the
 * highest of both, in their order. */
static const char sql_map[] =
    "DROP TABLE IF EXISTS temp.map;"
    "CREATE TEMP TABLE map(old INTEGER PRIMARY KEY, new INTEGER, moved INTEGER);"
    "INSERT INTO temp.map SELECT a.id, a.id, EXISTS(SELECT 1 FROM main.run WHERE id=a.id)"
    " FROM src.run a WHERE NOT EXISTS(SELECT 1 FROM main.run b WHERE"
    " a.config_hash=b.config_hash AND a.seed=b.seed AND a.replication=b.replication);"
    "UPDATE temp.map SET new=(SELECT max(coalesce((SELECT max(id) FROM main.run), 0),"
    " coalesce((SELECT max(id) FROM src.run), 0))) + (SELECT count(*) FROM temp.map m"
    " WHERE m.moved AND m.old<=map.old) WHERE moved;";

static const char *const sql_copy[] = {
    "INSERT INTO main.run SELECT new,config_hash,seed,replication,label,config_json,version,trace_hash,"
    "model_hash,trace_format,requests,iterations,boundaries,verdict,verdict_text,oracle,cost_provenance,warnings"
    " FROM src.run JOIN temp.map ON id=old",
    "INSERT INTO main.metric SELECT new,k,name,unit,value FROM src.metric JOIN temp.map ON run=old",
    "INSERT INTO main.hist SELECT new,name,unit,low,high,n FROM src.hist JOIN temp.map ON run=old",
    "INSERT INTO main.series SELECT new,name,unit,k,t_s,value FROM src.series JOIN temp.map ON run=old",
    "INSERT INTO main.request SELECT new,serial,client,prompt_tok,output_tok,cached_tok,preemptions,"
    "arrival_ns,admit_ns,first_token_ns,finish_ns,status,reason,measured_ttft_s,measured_e2e_s"
    " FROM src.request JOIN temp.map ON run=old",
    "INSERT INTO main.run_log SELECT new,started,host,wall_s,argv FROM src.run_log JOIN temp.map ON run=old",
    NULL};

#define CLIENT_COLUMNS                                                                             \
    "new,k,name,requests,completed,rejected,prompt_tok,output_tok,service,mean_ttft_ms,mean_e2e_ms,mean_tpot_ms"

static int copy_clients(struct results *into, struct err *e)
{
    int64_t version = 0;
    int rc = db_int(into, "PRAGMA src.user_version", &version, e);
    if (rc < 0) {
        return rc;
    }
    return db_exec(into, version == 1
                             ? "INSERT INTO main.client SELECT " CLIENT_COLUMNS ",NULL,NULL,NULL,NULL"
                               " FROM src.client JOIN temp.map ON run=old"
                             : "INSERT INTO main.client SELECT " CLIENT_COLUMNS ",slo_attainment,ufc,rfc,hf"
                               " FROM src.client JOIN temp.map ON run=old",
                   e);
}

static int copy_new(struct results *into, const char *from, struct results_merged *ret, struct err *e)
{
    int64_t differ = 0;
    int64_t all = 0;
    int rc = db_int(into, sql_differ, &differ, e);
    if (rc == 0 && differ > 0) {
        return err_set(e, SIM_E_DATA,
                       "%s and %s both hold %lld run%s of the same configuration, seed and "
                       "replication with other metrics: made by other versions or from other data",
                       into->path, from, (long long)differ, differ == 1 ? "" : "s");
    }
    rc = rc < 0 ? rc : db_exec(into, sql_map, e);
    rc = rc < 0 ? rc : db_int(into, "SELECT count(*) FROM temp.map", &ret->added, e);
    rc = rc < 0 ? rc : db_int(into, "SELECT count(*) FROM src.run", &all, e);
    for (size_t i = 0; rc == 0 && sql_copy[i]; i++) {
        rc = db_exec(into, sql_copy[i], e);
    }
    rc = rc < 0 ? rc : copy_clients(into, e);
    ret->present = all - ret->added;
    return rc;
}

int results_merge(struct results *into, const char *from, struct results_merged *ret, struct err *e)
{
    *ret = (struct results_merged){0};
    int rc = attach(into, from, e);
    if (rc < 0) {
        return rc;
    }
    rc = db_exec(into, "BEGIN IMMEDIATE", e);
    rc = rc < 0 ? rc : copy_new(into, from, ret, e);
    rc = rc < 0 ? rc : db_exec(into, "COMMIT", e);
    db_rollback(into);
    sqlite3_exec(into->db, "DETACH src", NULL, NULL, NULL);
    return rc;
}

/* ---- hashes and rows ---- */

static int hash_stream(FILE *f, uint64_t *ret)
{
    XXH3_state_t *st = XXH3_createState();
    char buf[16384];
    size_t n;
    if (!st) {
        return SIM_E_NOMEM;
    }
    XXH3_64bits_reset(st);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0) {
        XXH3_64bits_update(st, buf, n);
    }
    *ret = XXH3_64bits_digest(st);
    XXH3_freeState(st);
    return ferror(f) ? SIM_E_IO : 0;
}

int results_file_hash(const char *path, const char **ret, struct arena *a, struct err *e)
{
    *ret = NULL;
    if (!path || strcmp(path, "-") == 0 || strncmp(path, "synth:", 6) == 0) {
        return 0;
    }
    FILE *f = fopen(path, "rb");
    if (!f) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    uint64_t hash = 0;
    int rc = hash_stream(f, &hash);
    fclose(f);
    if (rc < 0) {
        return err_set(e, rc, "%s: cannot be read", path);
    }
    *ret = arena_printf(a, "%016llx", (unsigned long long)hash);
    return *ret ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

int request_list_add(void *list, const struct request_row *row, struct err *e)
{
    struct request_list *l = list;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        struct request_row *rows = realloc(l->rows, cap * sizeof *rows);
        if (!rows) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu request rows", cap);
        }
        l->rows = rows;
        l->cap = cap;
    }
    l->rows[l->n++] = *row;
    return 0;
}

void request_list_release(struct request_list *l)
{
    free(l->rows);
    *l = (struct request_list){0};
}
