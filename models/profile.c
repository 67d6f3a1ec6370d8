/* SPDX-License-Identifier: Apache-2.0 */
#include "models/profile.h"

#include <math.h>
#include <string.h>

#include "models/datafile.h"
#include "sim/core/json.h"
#include "sim/core/opt.h"

/* Largest table; a mixed-batch attention table has some 50 thousand entries. */
#define TERM_MAX  (1u << 22)
#define AXIS_MAX  100000
#define VALUE_MAX 1e12

const char *const profile_axis_names[AXIS_COUNT] = {
    "tokens", "rows", "decodes", "context", "chunks", "chunk_tok", "prefill_tok", "prefill_ctx",
};
const char *const profile_when_names[WHEN_COUNT] = {"always", "graph", "eager"};

uint32_t profile_term_size(const struct profile_term *t)
{
    uint64_t size = 1;
    for (uint32_t i = 0; i < t->n_axes && size <= TERM_MAX; i++) {
        size *= t->n[i];
    }
    return size <= TERM_MAX ? (uint32_t)size : UINT32_MAX;
}

/* What is being read, for messages: "terms[3] 'qkv_proj'". */
struct reader {
    struct datafile *f;
    struct arena *a;
    char where[120];
};

static int bad(struct reader *r, const char *key, const char *what)
{
    r->f->rc = SIM_E_DATA;
    return err_set(r->f->err, SIM_E_DATA, "%s: %s%s%s: %s", r->f->name, r->where, *r->where ? ": " : "",
                   key, what);
}

static int no_memory(struct reader *r)
{
    return err_set(r->f->err, SIM_E_NOMEM, "out of memory for profile %s", r->f->name);
}

/* Array of `n` numbers (0 = any, at least one); rising ones when they are places on an axis. */
static int read_numbers(struct reader *r, const cJSON *o, const char *key, double low, uint32_t n,
                        bool rising, uint32_t *ret_n, double **ret)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key), *item;
    int size = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;
    uint32_t i = 0;
    if (size < 1 || size > (int)TERM_MAX || (n && (uint32_t)size != n)) {
        return bad(r, key, n ? "as many numbers as the axes span are expected" : "an array of numbers is expected");
    }
    *ret = arena_calloc(r->a, (size_t)size, sizeof(double));
    if (!*ret) {
        return no_memory(r);
    }
    cJSON_ArrayForEach(item, v)
    {
        double d = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
        if (!(d >= low && d <= VALUE_MAX)) {
            return bad(r, key, "a number is missing, not finite or out of range");
        }
        if (rising && i > 0 && !(d > (*ret)[i - 1])) {
            return bad(r, key, "places on an axis must rise");
        }
        (*ret)[i++] = d;
    }
    *ret_n = i;
    return 0;
}

static const char *text_at(struct reader *r, const cJSON *o, const char *key, const char *otherwise)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    const char *s = cJSON_IsString(v) ? v->valuestring : otherwise;
    return s ? arena_strdup(r->a, s) : NULL;
}

static int find_word(struct reader *r, const char *key, const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (word && strcmp(word, words[i]) == 0) {
            return i;
        }
    }
    const char *near = word ? text_nearest(word, words, (size_t)n) : NULL;
    char what[120];
    snprintf(what, sizeof(what), "'%.40s' is not known%s%s%s", word ? word : "", near ? "; did you mean '" : "",
             near ? near : "", near ? "'?" : "");
    return bad(r, key, what);
}

static int read_axes(struct reader *r, const cJSON *o, struct profile_term *t)
{
    const cJSON *axes = cJSON_GetObjectItemCaseSensitive(o, "axes"), *axis;
    if (!cJSON_IsArray(axes) || cJSON_GetArraySize(axes) < 1 || cJSON_GetArraySize(axes) > PROFILE_AXES) {
        return bad(r, "axes", "one to four axes are expected");
    }
    cJSON_ArrayForEach(axis, axes)
    {
        uint32_t i = t->n_axes++;
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(axis, "name");
        int k = find_word(r, "axes", cJSON_IsString(name) ? name->valuestring : NULL, profile_axis_names,
                          AXIS_COUNT);
        if (k < 0 || read_numbers(r, axis, "at", 0, 0, true, &t->n[i], &t->at[i]) < 0) {
            return r->f->err->code;
        }
        t->axis[i] = (enum profile_axis)k;
    }
    return 0;
}

/* The combinations of axes that the cost model knows how to place into an iteration. */
static bool known_axes(const struct profile_term *t)
{
    static const enum profile_axis known[][PROFILE_AXES + 1] = {
        {AXIS_TOKENS, AXIS_COUNT},
        {AXIS_ROWS, AXIS_COUNT},
        {AXIS_DECODES, AXIS_CONTEXT, AXIS_COUNT},
        {AXIS_CHUNKS, AXIS_CHUNK_TOK, AXIS_COUNT},
        {AXIS_PREFILL_TOK, AXIS_PREFILL_CTX, AXIS_COUNT},
        {AXIS_PREFILL_TOK, AXIS_PREFILL_CTX, AXIS_DECODES, AXIS_CONTEXT, AXIS_COUNT},
    };
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        uint32_t i = 0;
        while (i < t->n_axes && known[k][i] == t->axis[i]) {
            i++;
        }
        if (i == t->n_axes && known[k][i] == AXIS_COUNT) {
            return true;
        }
    }
    return false;
}

static int read_term(struct reader *r, const cJSON *o, struct profile_term *t)
{
    const cJSON *count = cJSON_GetObjectItemCaseSensitive(o, "count");
    uint32_t n;
    t->name = text_at(r, o, "name", "?");
    t->family = text_at(r, o, "family", "other");
    const char *when = text_at(r, o, "when", "always");
    if (!t->name || !t->family || !when) {
        return no_memory(r);
    }
    size_t used = strlen(r->where);
    snprintf(r->where + used, sizeof(r->where) - used, " '%.40s'", t->name);
    t->count = cJSON_IsNumber(count) ? count->valuedouble : (double)NAN;
    if (!(t->count > 0 && t->count <= 1e6)) {
        return bad(r, "count", "a number above 0 is expected");
    }
    int k = find_word(r, "when", when, profile_when_names, WHEN_COUNT);
    if (k < 0 || read_axes(r, o, t) < 0) {
        return r->f->err->code;
    }
    t->when = (enum profile_when)k;
    if (!known_axes(t)) {
        return bad(r, "axes", "no part of an iteration depends on these axes");
    }
    if (t->when != WHEN_ALWAYS && t->axis[0] != AXIS_TOKENS) {
        return bad(r, "when", "only terms over 'tokens' can be tied to graphs");
    }
    n = profile_term_size(t);
    if (n > TERM_MAX) {
        return bad(r, "axes", "the table is too large");
    }
    return read_numbers(r, o, "us", 0, n, false, &n, &t->us);
}

static int read_terms(struct reader *r, struct profile *p)
{
    const cJSON *terms = cJSON_GetObjectItemCaseSensitive(r->f->root, "terms"), *o;
    int n = cJSON_IsArray(terms) ? cJSON_GetArraySize(terms) : 0;
    if (n < 1 || n > AXIS_MAX) {
        return bad(r, "terms", "an array of tables is expected");
    }
    p->term = arena_calloc(r->a, (size_t)n, sizeof(*p->term));
    if (!p->term) {
        return no_memory(r);
    }
    cJSON_ArrayForEach(o, terms)
    {
        snprintf(r->where, sizeof(r->where), "terms[%u]", p->n_terms);
        if (read_term(r, o, &p->term[p->n_terms]) < 0) {
            return r->f->err->code;
        }
        p->n_terms++;
    }
    r->where[0] = '\0';
    return 0;
}

static int read_skew(struct reader *r, struct profile *p)
{
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(r->f->root, "skew");
    struct profile_skew *s = &p->skew;
    if (!o) {
        return 0;
    }
    snprintf(r->where, sizeof(r->where), "skew");
    if (read_numbers(r, o, "decodes", 1, 0, true, &s->n, &s->decodes) < 0 ||
        read_numbers(r, o, "pure", -100, s->n, false, &s->n, &s->pure) < 0 ||
        read_numbers(r, o, "mixed", -100, s->n, false, &s->n, &s->mixed) < 0) {
        return r->f->err->code;
    }
    r->where[0] = '\0';
    return 0;
}

static double number_at(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static int read_errors(struct reader *r, struct profile *p)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->f->root, "errors"), *o;
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (n == 0) {
        return 0;
    }
    p->error = arena_calloc(r->a, (size_t)n, sizeof(*p->error));
    if (!p->error) {
        return no_memory(r);
    }
    cJSON_ArrayForEach(o, list)
    {
        struct profile_error *x = &p->error[p->n_errors++];
        double points = number_at(o, "points");
        x->family = text_at(r, o, "family", "?");
        x->points = points >= 0 && points < 1e9 ? (uint32_t)points : 0;
        x->error = number_at(o, "error");
        x->p90 = number_at(o, "p90");
        x->roofline_error = number_at(o, "roofline_error");
        if (!x->family) {
            return no_memory(r);
        }
    }
    return 0;
}

static int read_overhead(struct reader *r, const char *key, double *ret)
{
    const cJSON *o = cJSON_GetObjectItemCaseSensitive(r->f->root, "overheads");
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    *ret = cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
    if (v && !cJSON_IsNull(v) && !(*ret >= 0 && *ret <= 1e6)) {
        snprintf(r->where, sizeof(r->where), "overheads");
        return bad(r, key, "a time in microseconds is expected");
    }
    return 0;
}

static int read_profile(struct reader *r, struct profile *p)
{
    const cJSON *root = r->f->root;
    const char *schema = text_at(r, root, "schema", "");
    if (!schema || strcmp(schema, PROFILE_SCHEMA) != 0) {
        return bad(r, "schema", "is not " PROFILE_SCHEMA ": not a profile of steelyard fit");
    }
    p->provenance = text_at(r, root, "provenance", "profile as given");
    p->source = text_at(r, root, "source", "");
    p->gpu = text_at(r, root, "gpu", "");
    p->model = text_at(r, root, "model", "");
    p->engine = text_at(r, root, "engine", "");
    p->tp = datafile_uint(r->f, "tp", true, 1, 4096, 1);
    if (r->f->rc < 0) {
        return r->f->rc;
    }
    if (!p->provenance || !p->source || !p->gpu || !p->model || !p->engine) {
        return no_memory(r);
    }
    if (read_terms(r, p) < 0 || read_skew(r, p) < 0 || read_errors(r, p) < 0 ||
        read_overhead(r, "step_us", &p->step_us) < 0 || read_overhead(r, "seq_us", &p->seq_us) < 0 ||
        read_overhead(r, "wait_us", &p->wait_us) < 0) {
        return r->f->err->code;
    }
    return 0;
}

int profile_parse(struct profile *ret, const char *text, size_t len, const char *name, struct arena *a,
                  struct err *e)
{
    struct datafile f;
    struct err local = {0};
    struct reader r = {.f = &f, .a = a};
    int rc = datafile_open(&f, text, len, name, a, e ? e : &local);
    if (rc < 0) {
        return rc;
    }
    *ret = (struct profile){.path = arena_strdup(a, name)};
    rc = read_profile(&r, ret);
    datafile_close(&f);
    return rc;
}

int profile_load(struct profile *ret, const char *path, struct arena *a, struct err *e)
{
    size_t len;
    char *text = json_read_file(path, &len, a, e);
    return text ? profile_parse(ret, text, len, path, a, e) : e->code;
}
