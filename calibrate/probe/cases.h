/* SPDX-License-Identifier: Apache-2.0
 *
 * What is measured: the list of cases, made without a GPU. Kinds and parameters are described in
 * README.md. */
#ifndef STEELYARD_PROBE_CASES_H
#define STEELYARD_PROBE_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "calibrate/probe/c_begin.h"
#include "sim/core/err.h"

#define CASE_PARAMS 12
#define CASE_ID     192

struct case_param {
    const char *name;
    const char *word; /* static; NULL = a number */
    int64_t number;
};

struct probe_case {
    const char *kind;
    int n_params;
    struct case_param params[CASE_PARAMS];
    char id[CASE_ID];
};

struct case_list {
    struct probe_case *cases;
    size_t n, cap;
    bool failed; /* out of memory */
};

/* All cases of a machine with `gpus` GPUs, those of `only` (NULL = all), limits first. */
int cases_build(struct case_list *ret, bool quick, const char *only, int gpus, struct err *e);
void cases_release(struct case_list *l);
/* Each item of an --only list has to begin with a known kind. */
int cases_check_only(const char *only, struct err *e);

/* Parameter by name; a missing one is 0 or "". */
int64_t case_int(const struct probe_case *c, const char *name);
const char *case_word(const struct probe_case *c, const char *name);

/* How `total` things fall on `n` shares proportional to 1 / (i + 1)^(skew / 100): whole numbers that add
 * up to the total (largest remainders; ties to the first). */
void split_skewed(int64_t total, int n, int64_t skew, int64_t *ret);
/* Contexts of a decode case: evenly from ctx*(1 - spread/100) to ctx*(1 + spread/100), at least 1, in an
 * order that does not depend on anything but n. */
void spread_contexts(int64_t ctx, int64_t spread, int n, int32_t *ret);
/* Seed of a case's data: the same wherever and whenever it runs. FNV-1a over its id. */
uint64_t case_seed(const struct probe_case *c);

#include "calibrate/probe/c_end.h"
#endif
