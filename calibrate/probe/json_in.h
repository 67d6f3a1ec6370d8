/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict JSON into a tree. The probe is to be built with the CUDA Toolkit alone, so it brings its own
 * small reader. */
#ifndef STEELYARD_PROBE_JSON_IN_H
#define STEELYARD_PROBE_JSON_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "calibrate/probe/c_begin.h"
#include "sim/core/err.h"

#define JSON_IN_DEPTH 64

enum json_in_type { JSON_IN_NULL, JSON_IN_BOOL, JSON_IN_NUMBER, JSON_IN_STRING, JSON_IN_ARRAY, JSON_IN_OBJECT };

struct json_in {
    enum json_in_type type;
    const char *key;    /* in an object */
    double number;      /* of a number; 1 or 0 of a bool */
    const char *string; /* UTF-8, may hold no NUL */
    size_t n;           /* members of an array or object */
    struct json_in *first, *next;
};

struct json_in_pool;
struct json_in_doc {
    struct json_in *root;
    struct json_in_pool *pool;
};

/* One value and blanks around it. `name` and `line` are for messages: "name:line: ..."; lines inside the
 * text are counted from `line`. SIM_E_DATA when it is no JSON; NaN and numbers beyond a double are
 * refused. */
int json_in_parse(struct json_in_doc *ret, const char *text, size_t len, const char *name, unsigned line,
                  struct err *e);
void json_in_release(struct json_in_doc *d);

/* Member by key, or NULL; of anything else than an object NULL. */
const struct json_in *json_in_get(const struct json_in *v, const char *key);
/* Whole number within [lo, hi]: false when it is something else. */
bool json_in_int(const struct json_in *v, int64_t lo, int64_t hi, int64_t *ret);
const char *json_in_string(const struct json_in *v, const char *otherwise);
double json_in_number(const struct json_in *v, double otherwise);

/* Whole file, NUL-terminated, to be freed; NULL = error. Files beyond `limit` bytes are refused. */
char *file_read(const char *path, size_t limit, size_t *ret_len, struct err *e);

#include "calibrate/probe/c_end.h"
#endif
