/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON into a growing text. Running out of memory is remembered in `failed`. */
#ifndef STEELYARD_PROBE_JSON_OUT_H
#define STEELYARD_PROBE_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "calibrate/probe/c_begin.h"
#include "calibrate/probe/json_in.h"
#include "sim/core/err.h"

struct json_out {
    char *text; /* NUL-terminated once something was written */
    size_t n, cap;
    bool failed, comma; /* comma: the next member needs one before it */
};

/* A key is NULL inside an array. Strings that are no UTF-8 are written with '?' for the broken bytes. */
void json_out_open(struct json_out *o, const char *key, char bracket); /* { or [ */
void json_out_close(struct json_out *o, char bracket);                 /* } or ] */
void json_out_string(struct json_out *o, const char *key, const char *s); /* NULL -> null */
void json_out_int(struct json_out *o, const char *key, int64_t v);
void json_out_number(struct json_out *o, const char *key, double v); /* nine digits; not finite -> null */
void json_out_bool(struct json_out *o, const char *key, bool v);
/* A value that was read, as it was. */
void json_out_value(struct json_out *o, const char *key, const struct json_in *v);
void json_out_newline(struct json_out *o);
void json_out_release(struct json_out *o);

/* Writes the text next to `path` and renames it over it, so that `path` is whole at any moment. */
int file_replace(const char *path, const char *text, size_t n, struct err *e);

#include "calibrate/probe/c_end.h"
#endif
