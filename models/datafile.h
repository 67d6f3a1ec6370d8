/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the JSON files of this folder: find one by path or bundled name, read keys under any of
 * several names, report what is wrong with file, line, column and key. */
#ifndef STEELYARD_DATAFILE_H
#define STEELYARD_DATAFILE_H

#include <cjson/cJSON.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct datafile {
    const char *text, *name;
    size_t len;
    cJSON *root;
    const cJSON *object; /* where keys are looked up */
    const char *prefix;  /* its key in root, or NULL */
    struct arena *arena;
    struct err *err;
    int rc;              /* first failure; readers go on with defaults after it */
};

int datafile_open(struct datafile *f, const char *text, size_t len, const char *name,
                  struct arena *a, struct err *e);
void datafile_close(struct datafile *f);
/* Look keys up in the object under `key` of the root from now on (NULL = the root). */
void datafile_enter(struct datafile *f, const char *key);

/* `keys`: alternatives separated by blanks, the first present one counts; null counts as absent. */
uint32_t datafile_uint(struct datafile *f, const char *keys, bool required, uint32_t min,
                       uint32_t max, uint32_t otherwise);
double datafile_double(struct datafile *f, const char *key, bool required, double min, double max,
                       double otherwise);
bool datafile_bool(const struct datafile *f, const char *key, bool otherwise);
/* Borrowed until close. */
const char *datafile_string(const struct datafile *f, const char *keys, const char *otherwise);
const cJSON *datafile_object(const struct datafile *f, const char *key);
uint32_t datafile_count(const struct datafile *f, const char *key); /* items of an array, or 0 */

/* "file:line:col: key 'x': ..." Returns SIM_E_CONFIG. */
int datafile_fail(struct datafile *f, const char *keys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Text of the file that `name` means: a path, a folder with a config.json in it, or NAME.json in
 * data_dir/folder in any case. NULL and an error with the nearest name otherwise. */
char *datafile_find(const char *kind, const char *name, const char *data_dir, const char *folder,
                    const char **ret_path, size_t *ret_len, struct arena *a, struct err *e);
/* "x/y/Llama-2-7b.json" -> "Llama-2-7b"; "x/Llama-2-7b/config.json" -> "Llama-2-7b". */
const char *datafile_name(const char *path, struct arena *a);

#endif
