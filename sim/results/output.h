/* SPDX-License-Identifier: Apache-2.0
 *
 * Results of one run for people (text), programs (json) and tables (csv). What is written depends on
 * configuration and result alone: no wall-clock time, nothing of the machine, so equal runs give equal
 * bytes, fast-forwarded or not. */
#ifndef STEELYARD_OUTPUT_H
#define STEELYARD_OUTPUT_H

#include <stdio.h>

#include "sim/run.h"

#define OUTPUT_SCHEMA "steelyard.run/1"

/* Verdict, metrics grouped as `vllm bench serve` prints them, clients, warnings. */
void output_text(FILE *out, const struct run_config *c, const struct run_result *r);
/* One object: schema, version, config, metrics, units, verdict, clients, warnings, provenance. */
void output_json(FILE *out, const struct run_config *c, const char *config_hash,
                 const struct run_result *r);
/* metric,value,unit - one line per metric; an undefined value is empty. */
void output_csv(FILE *out, const struct run_result *r);

/* Text field of a CSV file, in quotes only when it needs them (RFC 4180). */
void output_csv_field(FILE *out, const char *text);

const char *verdict_name(enum run_verdict v); /* "stable", "backlogged", "overloaded" */
const char *status_name(enum request_status s); /* "ok", "rejected", "refused", "unfinished" */

/* ---- one line per request, as they leave ---- */
struct requests_file {
    FILE *out;
    const char *path;
    bool jsonl;
    bool by_replica; /* a column says which replica it was */
};
/* By the ending of `path`: .jsonl or .csv; anything else is SIM_E_USAGE. */
int requests_file_open(struct requests_file *f, const char *path, bool by_replica, struct err *e);
/* Fits run_hooks.request with `ctx` a struct requests_file. */
int requests_file_add(void *ctx, const struct request_row *row, struct err *e);
/* SIM_E_IO when something was not written. */
int requests_file_close(struct requests_file *f, struct err *e);

#endif
