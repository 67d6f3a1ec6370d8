/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of steelyard-probe (calibrate/probe/README.md), read for a fit: complete or cut short, of this
 * version of the probe or with kinds of cases that are not known here. */
#ifndef STEELYARD_PROBE_FILE_H
#define STEELYARD_PROBE_FILE_H

#include "calibrate/probe/json_in.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct probe_point {
    const char *id, *kind;
    const struct json_in *params;
    double s;    /* median time of one call */
    double byte; /* least traffic of a call; NaN = not given */
};

struct probe_file {
    const char *name, *device, *driver, *date, *mode;
    bool complete;
    double sms, l2_bytes, read_byte_per_s; /* NaN = not known */
    size_t n, n_skipped, n_wrong;
    struct probe_point *point; /* in the arena */
    struct json_in_doc doc;    /* texts live here */
};

int probe_file_load(struct probe_file *ret, const char *path, struct arena *a, struct err *e);
/* `name` stands for the path in messages: "name:line: 'gemm m=1 ...': ..." */
int probe_file_parse(struct probe_file *ret, const char *text, size_t len, const char *name, struct arena *a,
                     struct err *e);
void probe_file_release(struct probe_file *f);
/* The file begins as a probe's does; false also when it cannot be read. */
bool probe_file_is(const char *path);

/* A parameter of a case; a required one is there and is a number. */
double probe_number(const struct probe_point *p, const char *param);
bool probe_says(const struct probe_point *p, const char *param, const char *word);

#endif
