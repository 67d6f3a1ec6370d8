/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fabric/reader.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/core/json.h"
#include "sim/core/opt.h"

#define NAMES_MAX 512

int reader_open(struct reader *r, const char *text, size_t len, const char *file, struct arena *a,
                struct err *e)
{
    *r = (struct reader){.text = text, .file = file, .len = len, .arena = a, .err = e};
    r->root = json_parse(text, len, file, e);
    if (!r->root) {
        return e && e->code ? e->code : SIM_E_CONFIG;
    }
    if (!cJSON_IsObject(r->root)) {
        reader_close(r);
        return err_set(e, SIM_E_CONFIG, "%s:1:1: an object { ... } is expected", file);
    }
    return 0;
}

void reader_close(struct reader *r)
{
    cJSON_Delete(r->root);
    r->root = NULL;
}

int reader_fail(struct reader *r, const char *where, const char *fmt, ...)
{
    char what[600];
    unsigned line = 0;
    unsigned col = 0;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    r->rc = SIM_E_CONFIG;
    if (json_locate(r->text, r->len, where, &line, &col)) {
        return err_set(r->err, SIM_E_CONFIG, "%s:%u:%u: key '%s': %s", r->file, line, col, where, what);
    }
    return err_set(r->err, SIM_E_CONFIG, "%s: key '%s': %s", r->file, where, what);
}

const char *reader_join(struct reader *r, const char *where, const char *key)
{
    const char *s = *where ? arena_printf(r->arena, "%s.%s", where, key) : key;
    return s ? s : key;
}

double reader_double(struct reader *r, const cJSON *obj, const char *where, const char *key,
                     double min, double max, double otherwise)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
    double fallback = isnan(otherwise) ? min : otherwise;
    if (!v) {
        if (isnan(otherwise)) {
            reader_fail(r, reader_join(r, where, key), "is missing");
        }
        return fallback;
    }
    if (!cJSON_IsNumber(v)) {
        reader_fail(r, reader_join(r, where, key), "a number is expected");
        return fallback;
    }
    if (!(v->valuedouble >= min && v->valuedouble <= max)) {
        reader_fail(r, reader_join(r, where, key), "%g is outside %g..%g", v->valuedouble, min, max);
        return fallback;
    }
    return v->valuedouble;
}

uint32_t reader_uint(struct reader *r, const cJSON *obj, const char *where, const char *key,
                     uint32_t min, uint32_t max, double otherwise)
{
    double v = reader_double(r, obj, where, key, min, max, otherwise);
    if (v != floor(v)) {
        reader_fail(r, reader_join(r, where, key), "%g is not a whole number", v);
    }
    return (uint32_t)v;
}

const char *reader_string(struct reader *r, const cJSON *obj, const char *where, const char *key,
                          const char *otherwise)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
    if (v && cJSON_IsString(v)) {
        const char *copy = arena_strdup(r->arena, v->valuestring);
        return copy ? copy : "";
    }
    if (v || !otherwise) {
        reader_fail(r, reader_join(r, where, key), v ? "a text is expected" : "is missing");
    }
    return otherwise ? otherwise : "";
}

uint32_t reader_choice(struct reader *r, const cJSON *obj, const char *where, const char *key,
                       const char *const *names, uint32_t n)
{
    const char *word = reader_string(r, obj, where, key, NULL);
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(word, names[i]) == 0) {
            return i;
        }
    }
    const char *near = text_nearest(word, names, n);
    reader_fail(r, reader_join(r, where, key), "'%s' is not known%s%s%s", word,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return 0;
}

const cJSON *reader_object(struct reader *r, const cJSON *obj, const char *where, const char *key,
                           bool required)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
    if (v && cJSON_IsObject(v)) {
        return v;
    }
    if (v || required) {
        reader_fail(r, reader_join(r, where, key),
                    v ? "an object { ... } is expected" : "is missing");
    }
    return NULL;
}

static bool is_known(const char *key, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, known[i]) == 0) {
            return true;
        }
    }
    return key[0] == '_';
}

void reader_keys(struct reader *r, const cJSON *obj, const char *where, const char *const *known,
                 size_t n)
{
    for (const cJSON *v = obj ? obj->child : NULL; v; v = v->next) {
        if (!is_known(v->string, known, n)) {
            const char *near = text_nearest(v->string, known, n);
            reader_fail(r, reader_join(r, where, v->string), "unknown%s%s%s",
                        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
    }
}

/* ---- finding a file ---- */

static bool is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 5 && strcmp(name + n - 5, ".json") == 0);
}

static size_t bundled(const char *dir, const char **names, struct arena *a)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *x = d ? readdir(d) : NULL; x && n < NAMES_MAX; x = readdir(d)) {
        size_t len = strlen(x->d_name);
        if (len > 5 && strcmp(x->d_name + len - 5, ".json") == 0) {
            names[n] = arena_strndup(a, x->d_name, len - 5);
            n += names[n] != NULL;
        }
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static int not_bundled(const char *kind, const char *name, const char *dir, struct arena *a,
                       struct err *e)
{
    const char **names = arena_calloc(a, NAMES_MAX, sizeof *names);
    size_t n = names ? bundled(dir, names, a) : 0;
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "%s '%s' is not known (no %s/%s.json)%s%s%s", kind, name, dir,
                   name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

char *reader_find(const char *kind, const char *name, const char *data_dir, const char *folder,
                  const char **ret_path, size_t *ret_len, struct arena *a, struct err *e)
{
    if (!name || !*name) {
        err_set(e, SIM_E_CONFIG, "no %s was named", kind);
        return NULL;
    }
    const char *dir = arena_printf(a, "%s/%s", data_dir ? data_dir : ".", folder);
    *ret_path = is_path(name) ? arena_strdup(a, name) : arena_printf(a, "%s/%s.json", dir, name);
    if (!dir || !*ret_path) {
        err_set(e, SIM_E_NOMEM, "out of memory");
        return NULL;
    }
    if (!is_path(name) && access(*ret_path, R_OK) != 0) {
        not_bundled(kind, name, dir, a, e);
        return NULL;
    }
    return json_read_file(*ret_path, ret_len, a, e);
}

const char *reader_name(const char *path, struct arena *a)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return arena_strndup(a, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}
