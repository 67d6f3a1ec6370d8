/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON in (cJSON, with comments and trailing commas, errors with line and column) and JSON out
 * (a small streaming writer: numbers round-trip, missing is null, never NaN). */
#ifndef STEELYARD_JSON_H
#define STEELYARD_JSON_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

/* Parse text of `len` bytes. Comments (// and slash-star) and commas before } or ] are blanked with
 * spaces first, so that places stay true. Error: SIM_E_CONFIG "name:line:col: ...". Nesting deeper
 * than 100, duplicate keys and numbers beyond a double are errors. The caller frees with cJSON_Delete. */
cJSON *json_parse(const char *text, size_t len, const char *name, struct err *e);

/* The same for a file; SIM_E_IO when it cannot be read, SIM_E_CONFIG beyond 64 MiB. */
cJSON *json_parse_file(const char *path, struct err *e);

/* Line and column (from 1; columns in bytes) at which the value of a dotted key starts in the text, be
 * it written flat ("kv.blocks": 1) or nested ("kv": {"blocks": 1}); false when the key is not there.
 * For errors that are found after parsing. */
bool json_locate(const char *text, size_t len, const char *dotted_key, unsigned *ret_line,
                 unsigned *ret_col);

/* Whole file into the arena, NUL-terminated; ret_len may be NULL. Errors as for json_parse_file. */
char *json_read_file(const char *path, size_t *ret_len, struct arena *a, struct err *e);

/* ---- writing ----
 * Strings are written as valid UTF-8 whatever they hold (U+FFFD for broken bytes). No line break after
 * the last bracket. Errors of `out` are the caller's to look for (ferror). */
#define JSON_DEPTH 32
struct json_writer {
    FILE *out;
    bool pretty;
    int depth;
    bool first[JSON_DEPTH];
    char closer[JSON_DEPTH];
    bool after_key;
};

void json_begin(struct json_writer *w, FILE *out, bool pretty);
void json_object(struct json_writer *w); /* { */
void json_array(struct json_writer *w);  /* [ */
void json_end(struct json_writer *w);    /* the matching } or ] */
void json_key(struct json_writer *w, const char *key);
void json_string(struct json_writer *w, const char *s); /* NULL -> null */
void json_int(struct json_writer *w, int64_t v);
void json_uint(struct json_writer *w, uint64_t v);
void json_double(struct json_writer *w, double v); /* shortest that round-trips; NaN, inf -> null */
void json_bool(struct json_writer *w, bool v);
void json_null(struct json_writer *w);
void json_kv_string(struct json_writer *w, const char *key, const char *s);
void json_kv_int(struct json_writer *w, const char *key, int64_t v);
void json_kv_double(struct json_writer *w, const char *key, double v);
void json_kv_bool(struct json_writer *w, const char *key, bool v);

/* Shortest decimal text that reads back as the same double ("0.1", "1e-07"), into buf[32]. */
const char *text_from_double(double v, char buf[32]);

#endif
