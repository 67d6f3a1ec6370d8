/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema of the results database. Times inside a run are ns on the client's clock. */
#ifndef STEELYARD_RESULTS_SCHEMA_H
#define STEELYARD_RESULTS_SCHEMA_H

static const char results_schema[] =
    "CREATE TABLE run("
    " id INTEGER PRIMARY KEY, config_hash TEXT NOT NULL, seed INTEGER NOT NULL,"
    " replication INTEGER NOT NULL, label TEXT, config_json TEXT, version TEXT, trace_hash TEXT,"
    " model_hash TEXT,"
    " trace_format TEXT, requests INTEGER, iterations INTEGER, boundaries INTEGER,"
    " verdict TEXT NOT NULL, verdict_text TEXT, oracle INTEGER NOT NULL, cost_provenance TEXT,"
    " warnings TEXT,"
    " UNIQUE(config_hash, seed, replication)) STRICT;"
    "CREATE TABLE metric("
    " run INTEGER NOT NULL REFERENCES run, k INTEGER NOT NULL, name TEXT NOT NULL, unit TEXT,"
    " value REAL, PRIMARY KEY(run, k), UNIQUE(run, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE hist("
    " run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, unit TEXT, low INTEGER NOT NULL,"
    " high INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(run, name, low)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE series("
    " run INTEGER NOT NULL REFERENCES run, name TEXT NOT NULL, unit TEXT, k INTEGER NOT NULL,"
    " t_s REAL NOT NULL, value REAL, PRIMARY KEY(run, name, k)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE client("
    " run INTEGER NOT NULL REFERENCES run, k INTEGER NOT NULL, name TEXT, requests INTEGER,"
    " completed INTEGER, rejected INTEGER, prompt_tok INTEGER, output_tok INTEGER, service REAL,"
    " mean_ttft_ms REAL, mean_e2e_ms REAL, mean_tpot_ms REAL,"
    " slo_attainment REAL, ufc REAL, rfc REAL, hf REAL,"
    " PRIMARY KEY(run, k)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE request("
    " run INTEGER NOT NULL REFERENCES run, serial INTEGER NOT NULL, client INTEGER,"
    " prompt_tok INTEGER, output_tok INTEGER, cached_tok INTEGER, preemptions INTEGER,"
    " arrival_ns INTEGER, admit_ns INTEGER, first_token_ns INTEGER, finish_ns INTEGER,"
    " status TEXT, reason TEXT, measured_ttft_s REAL, measured_e2e_s REAL,"
    " PRIMARY KEY(run, serial)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE run_log("
    " run INTEGER PRIMARY KEY REFERENCES run, started TEXT, host TEXT, wall_s REAL, argv TEXT) STRICT;";

/* From schema 1, which did not have these of clients. */
static const char results_upgrade_1[] =
    "ALTER TABLE client ADD COLUMN slo_attainment REAL; ALTER TABLE client ADD COLUMN ufc REAL;"
    "ALTER TABLE client ADD COLUMN rfc REAL; ALTER TABLE client ADD COLUMN hf REAL;";

#endif
