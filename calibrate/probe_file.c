/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A full file of a machine with eight GPUs is about 3 MB. */
#define FILE_LIMIT ((size_t)256 << 20)
#define POINTS_MAX 1000000

/* Kinds that a fit reads, with the numbers and words that each must have. */
static const struct {
    const char *kind, *numbers[7], *word;
} kinds[] = {
    {"gemm", {"m", "n", "k"}, "dtype"},
    {"moe_gemm", {"experts", "top_k", "m", "n", "k", "skew"}, "dtype"},
    {"prefill", {"heads", "kv_heads", "head_dim", "block", "q", "ctx"}, NULL},
    {"decode", {"heads", "kv_heads", "head_dim", "block", "batch", "ctx", "spread"}, NULL},
    {"mixed", {"heads", "kv_heads", "head_dim", "q", "ctx", "batch", "dctx"}, NULL},
    {"norm", {"m", "hidden"}, "l2"},
    {"rope", {"m", "heads", "kv_heads", "head_dim"}, "l2"},
    {"act", {"m", "ffn"}, "l2"},
    {"embed", {"m", "hidden"}, NULL},
    {"argmax", {"m", "vocab"}, NULL},
    {"launch", {"nodes"}, "what"},
    {"collective", {"ranks", "bytes"}, "what"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Where the parser stands, for messages. */
struct place {
    const char *text, *name;
    struct err *err;
};

/* Line of the measurement with this id: the probe writes one a line. */
static unsigned line_of(const char *text, const char *id)
{
    char key[300];
    unsigned line = 1;
    snprintf(key, sizeof(key), "\"%s\"", id);
    const char *at = strstr(text, key);
    for (const char *p = text; at && p < at; p++) {
        line += *p == '\n';
    }
    return line;
}

static int bad(const struct place *w, const char *id, const char *key, const char *what)
{
    if (!id) {
        return err_set(w->err, SIM_E_DATA, "%s: key '%s': %s", w->name, key, what);
    }
    return err_set(w->err, SIM_E_DATA, "%s:%u: '%.80s': key '%s': %s", w->name, line_of(w->text, id), id, key, what);
}

static double number_of(const struct json_in *v, const char *key)
{
    return json_in_number(json_in_get(v, key), (double)NAN);
}

double probe_number(const struct probe_point *p, const char *param)
{
    return number_of(p->params, param);
}

bool probe_says(const struct probe_point *p, const char *param, const char *word)
{
    return strcmp(json_in_string(json_in_get(p->params, param), ""), word) == 0;
}

static int check_params(const struct place *w, const struct probe_point *p)
{
    size_t k = 0;
    while (k < KINDS && strcmp(kinds[k].kind, p->kind) != 0) {
        k++;
    }
    for (size_t i = 0; k < KINDS && i < sizeof(kinds[k].numbers) / sizeof(kinds[k].numbers[0]) && kinds[k].numbers[i]; i++) {
        const char *key = kinds[k].numbers[i];
        bool from_zero = strcmp(key, "ctx") == 0 || strcmp(key, "spread") == 0 || strcmp(key, "skew") == 0;
        int64_t v;
        if (!json_in_int(json_in_get(p->params, key), from_zero ? 0 : 1, (int64_t)1 << 40, &v)) {
            return bad(w, p->id, key, "a whole number is expected");
        }
    }
    if (k < KINDS && kinds[k].word && !json_in_string(json_in_get(p->params, kinds[k].word), NULL)) {
        return bad(w, p->id, kinds[k].word, "a word is expected");
    }
    return 0;
}

static int read_point(const struct place *w, const struct json_in *v, struct probe_point *p)
{
    p->id = json_in_string(json_in_get(v, "id"), NULL);
    p->kind = json_in_string(json_in_get(v, "kind"), NULL);
    p->params = json_in_get(v, "params");
    p->s = number_of(json_in_get(v, "time_s"), "median");
    p->byte = number_of(v, "byte");
    if (!p->id || !p->kind) {
        return bad(w, p->id ? p->id : NULL, p->id ? "kind" : "measurements", "each has an 'id' and a 'kind'");
    }
    if (!p->params || p->params->type != JSON_IN_OBJECT) {
        return bad(w, p->id, "params", "an object is expected");
    }
    if (!(p->s > 0 && p->s < 1e4)) {
        return bad(w, p->id, "time_s.median", "a time above 0 is expected");
    }
    if (json_in_get(v, "byte") && !(p->byte >= 0)) {
        return bad(w, p->id, "byte", "a number from 0 is expected");
    }
    return check_params(w, p);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_twice(const struct place *w, const struct probe_file *f, struct arena *a)
{
    const char **id = arena_calloc(a, f->n + 1, sizeof(*id));
    if (!id) {
        return err_set(w->err, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < f->n; i++) {
        id[i] = f->point[i].id;
    }
    qsort(id, f->n, sizeof(*id), by_id);
    for (size_t i = 1; i < f->n; i++) {
        if (strcmp(id[i - 1], id[i]) == 0) {
            return bad(w, id[i], "id", "there twice");
        }
    }
    return 0;
}

static int read_points(const struct place *w, struct probe_file *f, struct arena *a)
{
    const struct json_in *list = json_in_get(f->doc.root, "measurements");
    if (!list || list->type != JSON_IN_ARRAY || list->n > POINTS_MAX) {
        return bad(w, NULL, "measurements", "an array is expected");
    }
    f->point = arena_calloc(a, list->n + 1, sizeof(*f->point));
    if (!f->point) {
        return err_set(w->err, SIM_E_NOMEM, "out of memory");
    }
    for (const struct json_in *v = list->first; v; v = v->next) {
        if (read_point(w, v, &f->point[f->n]) < 0) {
            return w->err->code;
        }
        f->n++;
    }
    return check_twice(w, f, a);
}

static int read_head(const struct place *w, struct probe_file *f)
{
    const struct json_in *root = f->doc.root, *device = json_in_get(root, "device");
    const struct json_in *limits = json_in_get(root, "limits");
    if (strcmp(json_in_string(json_in_get(root, "format"), ""), "steelyard-probe") != 0) {
        return bad(w, NULL, "format", "is not \"steelyard-probe\": not a file of the probe");
    }
    if (fabs(number_of(root, "version") - 1) > 0) {
        return bad(w, NULL, "version", "only version 1 is known");
    }
    f->device = json_in_string(json_in_get(device, "name"), "a GPU without a name");
    f->driver = json_in_string(json_in_get(device, "driver"), "not known");
    f->date = json_in_string(json_in_get(root, "started"), "date not known");
    f->mode = json_in_string(json_in_get(root, "mode"), "?");
    const struct json_in *complete = json_in_get(root, "complete");
    f->complete = complete && complete->type == JSON_IN_BOOL && complete->number > 0;
    f->sms = number_of(device, "sm_count");
    f->l2_bytes = number_of(device, "l2_byte");
    f->read_byte_per_s = number_of(limits, "read_byte_per_s");
    if (f->read_byte_per_s <= 0) {
        return bad(w, NULL, "limits.read_byte_per_s", "a rate above 0 or null is expected");
    }
    const struct json_in *skipped = json_in_get(root, "skipped"), *wrong = json_in_get(root, "wrong");
    f->n_skipped = skipped ? skipped->n : 0;
    f->n_wrong = wrong ? wrong->n : 0;
    if (!isnan(f->sms) && !(f->sms >= 1 && f->sms <= 10000)) {
        return bad(w, NULL, "device.sm_count", "is outside 1..10000");
    }
    return 0;
}

int probe_file_parse(struct probe_file *ret, const char *text, size_t len, const char *name, struct arena *a,
                     struct err *e)
{
    struct place w = {text, name, e};
    *ret = (struct probe_file){.name = name};
    if (json_in_parse(&ret->doc, text, len, name, 1, e) < 0) {
        return e->code;
    }
    if (read_head(&w, ret) < 0 || read_points(&w, ret, a) < 0) {
        probe_file_release(ret);
        return e->code;
    }
    return 0;
}

int probe_file_load(struct probe_file *ret, const char *path, struct arena *a, struct err *e)
{
    size_t len;
    char *text = file_read(path, FILE_LIMIT, &len, e);
    int rc = text ? probe_file_parse(ret, text, len, arena_strdup(a, path), a, e) : e->code;
    free(text);
    return rc;
}

void probe_file_release(struct probe_file *f)
{
    json_in_release(&f->doc);
}

bool probe_file_is(const char *path)
{
    char head[200];
    FILE *in = fopen(path, "r");
    size_t n = in ? fread(head, 1, sizeof(head) - 1, in) : 0;
    if (in) {
        fclose(in);
    }
    head[n] = '\0';
    return strstr(head, "\"steelyard-probe\"") != NULL;
}
