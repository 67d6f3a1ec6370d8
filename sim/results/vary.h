/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sweep varies: "policy=fcfs,vtc{lift=off},rpm{limit=20}" or "load.scale=0.5:2:0.25". */
#ifndef STEELYARD_RESULTS_VARY_H
#define STEELYARD_RESULTS_VARY_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"

#define VARY_MAX_VALUES 100000

struct vary {
    const char *key;
    size_t n;
    const char **value;
};

/* "KEY=VALUE,VALUE,..." Commas inside {}, [] and () do not split. For a key whose row is a number a value
 * may be START:STOP:STEP, both ends included, STEP negative to count down. A key that `rows` does not have,
 * an empty or repeated value, unbalanced braces and a range that leads nowhere are SIM_E_CONFIG. */
int vary_parse(struct vary *ret, const char *text, const struct opt_row *rows, struct arena *a,
               struct err *e);

/* Number of combinations of all values; SIZE_MAX when there are more than VARY_MAX_VALUES. 1 for n = 0. */
size_t vary_combinations(const struct vary *v, size_t n);
/* Which value of v[i] combination `c` has; the last key runs fastest. */
size_t vary_index(const struct vary *v, size_t n, size_t c, size_t i);
/* "policy=vtc load.scale=0.5" */
const char *vary_label(const struct vary *v, size_t n, size_t c, struct arena *a);

#endif
