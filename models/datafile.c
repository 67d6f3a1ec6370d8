/* SPDX-License-Identifier: Apache-2.0 */
#include "models/datafile.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "sim/core/json.h"
#include "sim/core/opt.h"

#define KEY_MAX 64
#define NAMES_MAX 512

int datafile_open(struct datafile *f, const char *text, size_t len, const char *name,
                  struct arena *a, struct err *e)
{
    *f = (struct datafile){.text = text, .len = len, .name = name, .arena = a, .err = e};
    f->root = json_parse(text, len, name, e);
    if (!f->root) {
        return e && e->code ? e->code : SIM_E_CONFIG;
    }
    f->object = f->root;
    if (!cJSON_IsObject(f->root)) {
        datafile_close(f);
        return err_set(e, SIM_E_CONFIG, "%s:1:1: an object { ... } is expected", name);
    }
    return 0;
}

void datafile_close(struct datafile *f)
{
    cJSON_Delete(f->root);
    f->root = NULL;
    f->object = NULL;
}

void datafile_enter(struct datafile *f, const char *key)
{
    f->prefix = key;
    f->object = key ? cJSON_GetObjectItemCaseSensitive(f->root, key) : f->root;
}

/* Copy the word at *p, leave *p behind it; false at the end. */
static bool next_key(const char **p, char word[KEY_MAX])
{
    size_t n = 0;
    while (**p == ' ') {
        (*p)++;
    }
    while (**p && **p != ' ' && n + 1 < KEY_MAX) {
        word[n++] = *(*p)++;
    }
    word[n] = '\0';
    return n > 0;
}

/* First of the keys with a value, and its name; NULL and the first name otherwise. */
static const cJSON *look_up(const struct datafile *f, const char *keys, char ret_key[KEY_MAX])
{
    char word[KEY_MAX];
    const char *p = keys;
    while (next_key(&p, word)) {
        const cJSON *v = cJSON_GetObjectItemCaseSensitive(f->object, word);
        if (v && !cJSON_IsNull(v)) {
            memcpy(ret_key, word, KEY_MAX);
            return v;
        }
    }
    p = keys;
    next_key(&p, ret_key);
    return NULL;
}

int datafile_fail(struct datafile *f, const char *keys, const char *fmt, ...)
{
    char what[400], key[KEY_MAX], dotted[2 * KEY_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    bool there = look_up(f, keys, key) != NULL;
    snprintf(dotted, sizeof(dotted), "%s%s%s", f->prefix ? f->prefix : "", f->prefix ? "." : "", key);
    unsigned line = 0, col = 0;
    f->rc = SIM_E_CONFIG;
    if (there && json_locate(f->text, f->len, dotted, &line, &col)) {
        return err_set(f->err, SIM_E_CONFIG, "%s:%u:%u: key '%s': %s", f->name, line, col, dotted, what);
    }
    return err_set(f->err, SIM_E_CONFIG, "%s: key '%s': %s", f->name, dotted, what);
}

/* The number under one of the keys, or `otherwise`. */
static double number(struct datafile *f, const char *keys, bool required, double otherwise)
{
    char key[KEY_MAX];
    const cJSON *v = look_up(f, keys, key);
    if (!v) {
        if (required) {
            datafile_fail(f, keys, "is missing");
        }
        return otherwise;
    }
    if (!cJSON_IsNumber(v)) {
        datafile_fail(f, keys, "a number is expected");
        return otherwise;
    }
    return v->valuedouble;
}

uint32_t datafile_uint(struct datafile *f, const char *keys, bool required, uint32_t min,
                       uint32_t max, uint32_t otherwise)
{
    char key[KEY_MAX];
    double d = number(f, keys, required, otherwise);
    if (!look_up(f, keys, key)) {
        return otherwise;
    }
    if (!(d >= min && d <= max) || floor(d) < d) {
        datafile_fail(f, keys, "%g is not a whole number in %u..%u", d, min, max);
        return otherwise;
    }
    return (uint32_t)d;
}

double datafile_double(struct datafile *f, const char *key, bool required, double min, double max,
                       double otherwise)
{
    char word[KEY_MAX];
    double d = number(f, key, required, otherwise);
    if (look_up(f, key, word) && !(d >= min && d <= max)) {
        datafile_fail(f, key, "%g is outside %g..%g", d, min, max);
        return otherwise;
    }
    return d;
}

bool datafile_bool(const struct datafile *f, const char *key, bool otherwise)
{
    char word[KEY_MAX];
    const cJSON *v = look_up(f, key, word);
    return cJSON_IsBool(v) ? cJSON_IsTrue(v) : otherwise;
}

const char *datafile_string(const struct datafile *f, const char *keys, const char *otherwise)
{
    char word[KEY_MAX];
    const cJSON *v = look_up(f, keys, word);
    return cJSON_IsString(v) ? v->valuestring : otherwise;
}

const cJSON *datafile_object(const struct datafile *f, const char *key)
{
    char word[KEY_MAX];
    const cJSON *v = look_up(f, key, word);
    return cJSON_IsObject(v) ? v : NULL;
}

uint32_t datafile_count(const struct datafile *f, const char *key)
{
    char word[KEY_MAX];
    const cJSON *v = look_up(f, key, word);
    return cJSON_IsArray(v) ? (uint32_t)cJSON_GetArraySize(v) : 0;
}

/* ---- finding files ---- */

static bool is_file(const char *path, bool *ret_folder)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return false;
    }
    *ret_folder = S_ISDIR(st.st_mode);
    return true;
}

/* Names (without .json) in a folder, in the arena; the order is the directory's. */
static size_t list_names(const char *dir, const char *ret[NAMES_MAX], struct arena *a)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *de; d && n < NAMES_MAX && (de = readdir(d));) {
        const char *dot = strrchr(de->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0) {
            continue;
        }
        const char *name = arena_strndup(a, de->d_name, (size_t)(dot - de->d_name));
        if (name) {
            ret[n++] = name;
        }
    }
    if (d) {
        closedir(d);
    }
    return n;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *lower(const char *s, struct arena *a)
{
    char *t = arena_strdup(a, s);
    for (char *p = t; p && *p; p++) {
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    }
    return t;
}

static const char *match_name(const char *word, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(word, names[i]) == 0) {
            return names[i];
        }
    }
    return NULL;
}

/* The bundled name that `word` means: as it is, or the last part of a hub id, with or without the
 * suffix "-hf" that Llama 2 carries there. */
static const char *bundled(const char *word, const char *const *names, size_t n, struct arena *a)
{
    const char *slash = strrchr(word, '/');
    word = slash ? slash + 1 : word;
    const char *hit = match_name(word, names, n);
    size_t len = strlen(word);
    if (!hit && len > 3 && strcasecmp(word + len - 3, "-hf") == 0) {
        word = arena_strndup(a, word, len - 3);
        hit = word ? match_name(word, names, n) : NULL;
    }
    return hit;
}

static int unknown_name(const char *kind, const char *name, const char *dir,
                        const char *const *names, size_t n, struct arena *a, struct err *e)
{
    if (n == 0) {
        return err_set(e, SIM_E_CONFIG, "%s '%s': no such file, and no bundled ones in %s", kind, name,
                       dir);
    }
    const char *small = lower(name, a);
    const char *near = small ? text_nearest(small, names, n) : NULL;
    if (near) {
        return err_set(e, SIM_E_CONFIG, "%s '%s' is unknown; did you mean '%s'?", kind, name, near);
    }
    char list[600] = "";
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    }
    return err_set(e, SIM_E_CONFIG, "%s '%s' is unknown; known: %s, or the path of a file", kind, name,
                   list);
}

static const char *find_path(const char *kind, const char *name, const char *data_dir,
                             const char *folder, struct arena *a, struct err *e)
{
    bool is_dir = false;
    bool looks_like_path = strchr(name, '/') || strstr(name, ".json");
    if (looks_like_path && is_file(name, &is_dir)) {
        return is_dir ? arena_printf(a, "%s/config.json", name) : name;
    }
    const char *dir = arena_printf(a, "%s/%s", data_dir ? data_dir : ".", folder);
    const char **names = arena_calloc(a, NAMES_MAX, sizeof(*names));
    if (!dir || !names) {
        err_set(e, SIM_E_NOMEM, "out of memory");
        return NULL;
    }
    size_t n = list_names(dir, names, a);
    qsort(names, n, sizeof(*names), by_text);
    const char *hit = bundled(name, names, n, a);
    if (!hit && looks_like_path && strstr(name, ".json")) {
        err_set(e, SIM_E_IO, "%s: %s", name, strerror(errno ? errno : ENOENT));
        return NULL;
    }
    if (!hit) {
        unknown_name(kind, name, dir, names, n, a, e);
        return NULL;
    }
    return arena_printf(a, "%s/%s.json", dir, hit);
}

char *datafile_find(const char *kind, const char *name, const char *data_dir, const char *folder,
                    const char **ret_path, size_t *ret_len, struct arena *a, struct err *e)
{
    if (!name || !*name) {
        err_set(e, SIM_E_CONFIG, "no %s was named", kind);
        return NULL;
    }
    errno = 0;
    *ret_path = find_path(kind, name, data_dir, folder, a, e);
    return *ret_path ? json_read_file(*ret_path, ret_len, a, e) : NULL;
}

const char *datafile_name(const char *path, struct arena *a)
{
    const char *end = strrchr(path, '/');
    const char *base = end ? end + 1 : path;
    if (end && end > path && strcmp(base, "config.json") == 0) {
        base = end;
        while (base > path && base[-1] != '/') {
            base--;
        }
        return arena_strndup(a, base, (size_t)(end - base));
    }
    const char *dot = strrchr(base, '.');
    return arena_strndup(a, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}
