/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/opt.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/core/json.h"
#include "sim/core/unit.h"

#define EXACT_INT_MAX 0x1p53 /* integers up to here are exact in a double */

static void *field(const struct opt_row *row, void *obj)
{
    return (char *)obj + row->offset;
}

static const void *const_field(const struct opt_row *row, const void *obj)
{
    return (const char *)obj + row->offset;
}

static const char *unit_label(const struct opt_row *row)
{
    return row->unit && strcmp(row->unit, "1") != 0 ? row->unit : "";
}

/* ---- one number with its unit ---- */

/* Splits "16 Ki" at the number's end and finds the ratio of its unit. */
static int split_number(const struct opt_row *row, const char *text, size_t *ret_len,
                        struct unit_ratio *ret, struct err *e)
{
    size_t len = text_number_len(text);
    const char *suffix = text + len;

    while (isblank((unsigned char)*suffix)) {
        suffix++;
    }
    if (len == 0) {
        return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is not a number", row->name, text);
    }
    if (!unit_ratio(suffix, row->unit, ret)) {
        return err_set(e, SIM_E_CONFIG, "key '%s': '%s' has the unknown unit '%s' (known: %s)",
                       row->name, text, suffix, unit_suffixes(row->unit));
    }
    *ret_len = len;
    return 0;
}

static int too_large(const struct opt_row *row, const char *text, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is too large", row->name, text);
}

static int check_range(const struct opt_row *row, double v, const char *text, struct err *e)
{
    char lo[32], hi[32];
    const char *unit = unit_label(row), *gap = *unit ? " " : "";

    if (row->min > row->max || (v >= row->min && v <= row->max)) {
        return 0;
    }
    text_from_double(row->min, lo);
    text_from_double(row->max, hi);
    if (isinf(row->max)) {
        return err_set(e, SIM_E_CONFIG, "key '%s': %s is below %s%s%s", row->name, text, lo, gap,
                       unit);
    }
    if (isinf(row->min)) {
        return err_set(e, SIM_E_CONFIG, "key '%s': %s is above %s%s%s", row->name, text, hi, gap,
                       unit);
    }
    return err_set(e, SIM_E_CONFIG, "key '%s': %s is outside %s..%s%s%s", row->name, text, lo, hi,
                   gap, unit);
}

static int parse_double(const struct opt_row *row, const char *text, double *ret, struct err *e)
{
    struct unit_ratio r;
    size_t len;
    double v;
    int rc = split_number(row, text, &len, &r, e);

    if (rc < 0) {
        return rc;
    }
    if (!text_double_prefix(text, len, &v)) {
        return too_large(row, text, e);
    }
    v *= (double)r.num;
    if (r.den != 1) {
        v /= (double)r.den;
    }
    if (!isfinite(v)) {
        return too_large(row, text, e);
    }
    *ret = v;
    return check_range(row, v, text, e);
}

/* m * num / den when that is a whole number. */
static bool scale_int(int64_t m, struct unit_ratio r, int64_t *ret)
{
    sim_wide v = (sim_wide)m * r.num;

    if (v % r.den != 0 || v / r.den > INT64_MAX || v / r.den < INT64_MIN) {
        return false;
    }
    *ret = (int64_t)(v / r.den);
    return true;
}

/* "1.5k", "1e6": fine when the result is a whole number that a double holds exactly. */
static bool scale_fraction(double m, struct unit_ratio r, int64_t *ret)
{
    double v = m * (double)r.num / (double)r.den;

    if (!(fabs(v) <= EXACT_INT_MAX) || v != floor(v)) {
        return false;
    }
    *ret = (int64_t)v;
    return true;
}

static int parse_int(const struct opt_row *row, const char *text, int64_t *ret, struct err *e)
{
    struct unit_ratio r;
    size_t len;
    int64_t m;
    double f;
    int rc = split_number(row, text, &len, &r, e);

    if (rc < 0) {
        return rc;
    }
    if (text_int64_prefix(text, len, &m)) {
        if (!scale_int(m, r, ret)) {
            return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is no whole number of %s or too large",
                           row->name, text, *unit_label(row) ? row->unit : "64 bits");
        }
    } else if (!text_double_prefix(text, len, &f) || !scale_fraction(f, r, ret)) {
        return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is not a whole number of 64 bits",
                       row->name, text);
    }
    return check_range(row, (double)*ret, text, e);
}

/* ---- the other types ---- */

static int parse_bool(const struct opt_row *row, const char *text, bool *ret, struct err *e)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2;
            return 0;
        }
    }
    return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is neither true nor false", row->name, text);
}

static size_t choice_count(const struct opt_row *row)
{
    size_t n = 0;

    while (row->choices && row->choices[n].name) {
        n++;
    }
    return n;
}

/* "a, b or c" cut to the buffer. */
static const char *choice_list(const struct opt_row *row, char *buf, size_t size)
{
    size_t n = choice_count(row), used = 0;
    int k;

    buf[0] = '\0';
    for (size_t i = 0; i < n && used < size; i++) {
        const char *sep = i == 0 ? "" : i + 1 == n ? " or " : ", ";
        k = snprintf(buf + used, size - used, "%s%s", sep, row->choices[i].name);
        used += k > 0 ? (size_t)k : 0;
    }
    return buf;
}

static const char *choice_nearest(const struct opt_row *row, const char *text)
{
    const char *best = NULL, *near;

    /* One at a time against the best so far: the list of names need not be copied. */
    for (size_t i = 0; i < choice_count(row); i++) {
        const char *pair[2] = {best ? best : row->choices[i].name, row->choices[i].name};
        near = text_nearest(text, pair, 2);
        best = near ? near : best;
    }
    return best;
}

static int parse_choice(const struct opt_row *row, const char *text, int64_t *ret, struct err *e)
{
    char list[500];
    const char *near;

    for (size_t i = 0; i < choice_count(row); i++) {
        if (strcmp(text, row->choices[i].name) == 0) {
            *ret = (int64_t)i;
            return 0;
        }
    }
    near = choice_nearest(row, text);
    return err_set(e, SIM_E_CONFIG, "key '%s': '%s' is not %s%s%s%s", row->name, text,
                   choice_list(row, list, sizeof list), near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

static int parse_string(const struct opt_row *row, const char *text, const char **ret,
                        struct arena *a, struct err *e)
{
    const char *s = NULL;

    if (*text || row->def) { /* "" is how a NULL default is written */
        s = arena_strdup(a, text);
        if (!s) {
            return err_set(e, SIM_E_NOMEM, "key '%s': out of memory", row->name);
        }
    }
    *ret = s;
    return 0;
}

/* ---- lists of numbers ---- */

static const char *skip_blanks(const char *s)
{
    while (isspace((unsigned char)*s)) {
        s++;
    }
    return s;
}

/* The list without blanks and JSON brackets around it, in the arena. */
static char *list_body(const char *text, struct arena *a)
{
    size_t len;
    char *s;

    text = skip_blanks(text);
    for (len = strlen(text); len > 0 && isspace((unsigned char)text[len - 1]);) {
        len--;
    }
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text = skip_blanks(text + 1);
        s = arena_strdup(a, text);
        len = s ? (size_t)(strrchr(s, ']') - s) : 0;
    } else {
        s = arena_strndup(a, text, len);
    }
    while (s && len > 0 && isspace((unsigned char)s[len - 1])) {
        len--;
    }
    if (s) {
        s[len] = '\0';
    }
    return s;
}

/* Cuts the item at `s` off with a NUL; returns the next item's start or NULL after the last. */
static char *next_item(char *s)
{
    char *end = s + strcspn(s, ",;: \t\r\n"), *next = (char *)skip_blanks(end);

    if (*next && strchr(",;:", *next)) {
        next = (char *)skip_blanks(next + 1);
    } else if (!*next) {
        next = NULL;
    }
    *end = '\0';
    return next;
}

static int parse_doubles(const struct opt_row *row, const char *text, struct opt_doubles *ret,
                         struct arena *a, struct err *e)
{
    char *s = list_body(text, a);
    double *v = arena_calloc(a, strlen(text) / 2 + 1, sizeof *v);
    size_t n = 0;
    int rc;

    if (!s || !v) {
        return err_set(e, SIM_E_NOMEM, "key '%s': out of memory", row->name);
    }
    for (char *item = *s ? s : NULL, *next; item; item = next) {
        next = next_item(item);
        rc = parse_double(row, item, &v[n++], e);
        if (rc < 0) {
            return rc;
        }
    }
    *ret = (struct opt_doubles){n, n ? v : NULL};
    return 0;
}

static const char *doubles_text(const struct opt_doubles *d, struct arena *a)
{
    char *s = arena_alloc(a, d->n * 32 + 1), buf[32], *p = s;

    for (size_t i = 0; s && i < d->n; i++) {
        text_from_double(d->v[i], buf);
        p = stpcpy(stpcpy(p, i ? ";" : ""), buf);
    }
    return s;
}

/* ---- rows ---- */

int opt_set(const struct opt_row *row, void *obj, const char *text, struct arena *a, struct err *e)
{
    /* Parsed into a value of its own first: a failed set leaves the field as it was. */
    union {
        bool b;
        int64_t i;
        double d;
        const char *s;
        struct opt_doubles list;
    } v;
    size_t size = 0;
    int rc = SIM_E_CHECK;

    switch (row->type) {
    case OPT_BOOL:
        rc = parse_bool(row, text, &v.b, e);
        size = sizeof v.b;
        break;
    case OPT_INT:
        rc = parse_int(row, text, &v.i, e);
        size = sizeof v.i;
        break;
    case OPT_DOUBLE:
        rc = parse_double(row, text, &v.d, e);
        size = sizeof v.d;
        break;
    case OPT_STRING:
        rc = parse_string(row, text, &v.s, a, e);
        size = sizeof v.s;
        break;
    case OPT_CHOICE:
        rc = parse_choice(row, text, &v.i, e);
        size = sizeof v.i;
        break;
    case OPT_DOUBLES:
        rc = parse_doubles(row, text, &v.list, a, e);
        size = sizeof v.list;
        break;
    }
    if (rc == 0) {
        memcpy(field(row, obj), &v, size);
    }
    return rc;
}

static int set_default(const struct opt_row *row, void *obj, struct arena *a, struct err *e)
{
    struct err why = {0};
    const char *def = row->def;
    int rc;

    if (!def && (row->type == OPT_STRING || row->type == OPT_DOUBLES)) {
        def = "";
    }
    if (!def) {
        return err_set(e, SIM_E_CHECK, "key '%s' has no default", row->name);
    }
    rc = opt_set(row, obj, def, a, &why);
    if (rc < 0) {
        return err_set(e, rc == SIM_E_NOMEM ? rc : SIM_E_CHECK, "default of %s", why.msg);
    }
    return 0;
}

int opt_defaults(const struct opt_row *rows, void *obj, struct arena *a, struct err *e)
{
    int rc = 0;

    for (; rows && rows->name && rc == 0; rows++) {
        rc = set_default(rows, obj, a, e);
    }
    return rc;
}

const struct opt_row *opt_find(const struct opt_row *rows, const char *name)
{
    for (; rows && rows->name; rows++) {
        if (strcmp(rows->name, name) == 0) {
            return rows;
        }
    }
    return NULL;
}

static const char *row_nearest(const struct opt_row *rows, const char *name)
{
    const char *best = NULL, *near;

    for (; rows && rows->name; rows++) {
        const char *pair[2] = {best ? best : rows->name, rows->name};
        near = text_nearest(name, pair, 2);
        best = near ? near : best;
    }
    return best;
}

int opt_set_by_name(const struct opt_row *rows, void *obj, const char *where, const char *name,
                    const char *text, struct arena *a, struct err *e)
{
    const struct opt_row *row = opt_find(rows, name);
    struct err why = {0};
    const char *near;
    int rc;

    if (!row) {
        near = row_nearest(rows, name);
        return err_set(e, SIM_E_CONFIG, "%sunknown key '%s'%s%s%s", where, name,
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    rc = opt_set(row, obj, text, a, &why);
    return rc < 0 ? err_set(e, rc, "%s%s", where, why.msg) : 0;
}

const char *opt_text(const struct opt_row *row, const void *obj, struct arena *a)
{
    const void *p = const_field(row, obj);
    char buf[32];
    const char *s;

    switch (row->type) {
    case OPT_BOOL:
        return *(const bool *)p ? "true" : "false";
    case OPT_INT:
        return arena_printf(a, "%lld", (long long)*(const int64_t *)p);
    case OPT_DOUBLE:
        return arena_strdup(a, text_from_double(*(const double *)p, buf));
    case OPT_STRING:
        s = *(const char *const *)p;
        return s ? s : "";
    case OPT_CHOICE:
        return row->choices[*(const int64_t *)p].name;
    case OPT_DOUBLES:
        return doubles_text(p, a);
    }
    return NULL;
}
