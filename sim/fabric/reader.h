/* SPDX-License-Identifier: Apache-2.0
 *
 * Data files of the fabric (JSON): found by path or bundled name, read key by key, what is wrong said
 * with file, line, column and key. Inside sim/fabric only. */
#ifndef STEELYARD_FABRIC_READER_H
#define STEELYARD_FABRIC_READER_H

#include <cjson/cJSON.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct reader {
    const char *text, *file;
    size_t len;
    cJSON *root;
    struct arena *arena;
    struct err *err;
    int rc; /* first failure; reading goes on with defaults after it */
};

int reader_open(struct reader *r, const char *text, size_t len, const char *file, struct arena *a,
                struct err *e);
void reader_close(struct reader *r);

/* "file:line:col: key 'where': ..."; the place is left out when the key is not there. SIM_E_CONFIG. */
int reader_fail(struct reader *r, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* `where` is the dotted key of `obj` ("" for the root). A number that is missing is an error when
 * `otherwise` is NaN; one that is outside of min..max always is. */
double reader_double(struct reader *r, const cJSON *obj, const char *where, const char *key,
                     double min, double max, double otherwise);
uint32_t reader_uint(struct reader *r, const cJSON *obj, const char *where, const char *key,
                     uint32_t min, uint32_t max, double otherwise);
/* Copied into the arena; NULL `otherwise` means that it has to be there. */
const char *reader_string(struct reader *r, const cJSON *obj, const char *where, const char *key,
                          const char *otherwise);
/* Index of the string under `key` in names[0..n). */
uint32_t reader_choice(struct reader *r, const cJSON *obj, const char *where, const char *key,
                       const char *const *names, uint32_t n);
/* A member that is an object, or NULL (and an error when it has to be there). */
const cJSON *reader_object(struct reader *r, const cJSON *obj, const char *where, const char *key,
                           bool required);
/* Every key has to be known, but for notes, which begin with '_'. */
void reader_keys(struct reader *r, const cJSON *obj, const char *where, const char *const *known,
                 size_t n);
/* "where.key", or "key" at the root. */
const char *reader_join(struct reader *r, const char *where, const char *key);

/* Text of data_dir/folder/NAME.json, or of the file when `name` has a '/' or ends in ".json"; the
 * nearest bundled name in the error. *ret_path is what to call it in messages. */
char *reader_find(const char *kind, const char *name, const char *data_dir, const char *folder,
                  const char **ret_path, size_t *ret_len, struct arena *a, struct err *e);
/* "x/dgx-h100.json" -> "dgx-h100". */
const char *reader_name(const char *path, struct arena *a);

#endif
