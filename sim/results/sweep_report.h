/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sweep prints: one row per combination, read back from its database. */
#ifndef STEELYARD_RESULTS_SWEEP_REPORT_H
#define STEELYARD_RESULTS_SWEEP_REPORT_H

#include <stdio.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/results/db.h"
#include "sim/results/vary.h"

struct sweep_failure {
    size_t combo;
    int64_t replication;
    int code;
    const char *message;
};

struct sweep_report {
    struct results *db;
    const struct vary *vary;
    size_t n_vary;
    size_t n_combos;
    const char *const *hash;     /* by combination: config hash */
    const int64_t *seed;         /* by combination */
    int64_t first_replication;
    size_t reps;
    const char *const *columns;  /* metrics of the text table, NULL-terminated; NULL = the usual ones */
    bool baseline;               /* also differences to the first value of the first key */
    const struct sweep_failure *failures;
    size_t n_failures;
};

enum sweep_format { SWEEP_TEXT, SWEEP_JSON, SWEEP_CSV };

#define SWEEP_SCHEMA "steelyard.sweep/1"

/* Combinations without a run or a failure (other shards have them) are left out. */
int sweep_report_print(FILE *out, const struct sweep_report *s, enum sweep_format format,
                       struct arena *a, struct err *e);

#endif
