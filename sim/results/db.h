/* SPDX-License-Identifier: Apache-2.0
 *
 * The results database: one SQLite file. A run goes in as one transaction or not at all, so that a
 * process killed at any moment leaves whole runs only. What may differ between two executions of the
 * same run (when, where, how long, the command) lives in a table of its own, run_log: without it, a
 * sweep that was killed and resumed equals an undisturbed one row for row. */
#ifndef STEELYARD_RESULTS_DB_H
#define STEELYARD_RESULTS_DB_H

#include <sqlite3.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/run.h"

#define RESULTS_APPLICATION_ID 0x53544559 /* "STEY" */
#define RESULTS_SCHEMA         2 /* 1 is read as it is, and brought up to 2 by whoever writes */

struct results;

enum results_mode {
    RESULTS_READ,  /* must exist */
    RESULTS_CREATE /* made when it is not there */
};

/* ":memory:" is a database that nobody else sees. SIM_E_IO when it cannot be opened, SIM_E_DATA when the
 * file is not a results database or was made by a newer version. */
int results_open(struct results **ret, const char *path, enum results_mode mode, struct err *e);
void results_close(struct results *r); /* NULL is fine */

enum results_parts {
    RESULTS_HISTS = 1u << 0,
    RESULTS_SERIES = 1u << 1,
    RESULTS_CLIENTS = 1u << 2,
    RESULTS_ALL = RESULTS_HISTS | RESULTS_SERIES | RESULTS_CLIENTS
};

/* Who and what a run was. Strings may be NULL. */
struct results_meta {
    int64_t id;               /* wanted number, taken when it is free; 0 = the next one */
    const char *config_hash;  /* config_hash(): all but seed and replication */
    int64_t seed, replication;
    const char *label, *config_json, *version, *trace_hash, *model_hash;
    unsigned parts;           /* what to keep beside the metrics: enum results_parts */
    const struct request_row *requests; /* one row per request, or NULL */
    size_t n_requests;
    /* goes to run_log */
    const char *started, *host, *argv;
    double wall_s;
};

/* 0 = written, 1 = a run with this hash, seed and replication is there already and nothing was
 * written, < 0 = error and nothing was written. */
int results_add(struct results *r, const struct results_meta *m, const struct run_result *res,
                struct err *e);

/* 1 and the run's number, 0 when there is none, < 0 = error. ret_id may be NULL. */
int results_find(struct results *r, const char *config_hash, int64_t seed, int64_t replication,
                 int64_t *ret_id, struct err *e);
bool results_has(struct results *r, const char *config_hash, int64_t seed, int64_t replication);

/* Each row of a query, with whole numbers bound to ?1, ?2, ... A row function that returns < 0 ends the
 * query with that code. */
typedef int results_row_fn(void *ctx, sqlite3_stmt *row, struct err *e);
int results_each(struct results *r, const char *sql, const int64_t *bind, size_t n_bind,
                 results_row_fn *fn, void *ctx, struct err *e);

/* One metric of a run: true and the value, which is NaN where the run does not define it. */
bool results_metric(struct results *r, int64_t run, const char *name, double *ret);

/* All runs of `from` that are not in `into`, as one transaction; numbers are kept where they are free.
 * A run that is in both must have the same metrics, or the merge is SIM_E_DATA and changes nothing. */
struct results_merged {
    int64_t added, present;
};
int results_merge(struct results *into, const char *from, struct results_merged *ret, struct err *e);

/* The tables that hold results, in order, without run_log; NULL-terminated. */
extern const char *const results_tables[];
bool results_is_table(const char *name); /* also true for run_log */

/* XXH3-64 of a file's bytes as 16 hex digits; NULL for generators ("synth:...") and "-". */
int results_file_hash(const char *path, const char **ret, struct arena *a, struct err *e);

/* ---- a growing list of request rows: struct run_hooks.request with the list as ctx ---- */
struct request_list {
    struct request_row *rows;
    size_t n, cap;
};
int request_list_add(void *list, const struct request_row *row, struct err *e);
void request_list_release(struct request_list *l);

#endif
