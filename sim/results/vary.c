/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/vary.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct list {
    struct vary *v;
    size_t cap;
    struct arena *a;
    const char *text; /* the whole word, for messages */
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory while reading --vary");
}

/* Takes ownership of nothing: `value` lives in the arena already. */
static int append(struct list *l, const char *value, struct err *e)
{
    if (!value) {
        return no_memory(e);
    }
    if (l->v->n == VARY_MAX_VALUES) {
        return err_set(e, SIM_E_CONFIG, "--vary '%s': more than %d values", l->text, VARY_MAX_VALUES);
    }
    if (l->v->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        const char **grown = arena_calloc(l->a, cap, sizeof *grown);
        if (!grown) {
            return no_memory(e);
        }
        if (l->v->n) {
            memcpy(grown, l->v->value, l->v->n * sizeof *grown);
        }
        l->v->value = grown;
        l->cap = cap;
    }
    l->v->value[l->v->n++] = value;
    return 0;
}

static int bad_range(const struct list *l, const char *range, const char *why, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "--vary '%s': range '%s' %s", l->text, range, why);
}

static bool split_range(char *range, double v[3])
{
    char *first = strchr(range, ':');
    char *second = first ? strchr(first + 1, ':') : NULL;
    if (!second) {
        return false;
    }
    *first = '\0';
    *second = '\0';
    return text_to_double(range, &v[0]) && text_to_double(first + 1, &v[1]) &&
           text_to_double(second + 1, &v[2]);
}

/* START + i*STEP, with the last digits rounded away: 0.1:0.3:0.1 ends in 0.3, not 0.30000000000000004. */
static int append_range(struct list *l, const char *range, struct err *e)
{
    double v[3];
    char *copy = arena_strdup(l->a, range);
    if (!copy) {
        return no_memory(e);
    }
    if (!split_range(copy, v)) {
        return bad_range(l, range, "is not START:STOP:STEP in plain numbers, as in 0.5:2:0.25", e);
    }
    double steps = (v[1] - v[0]) / v[2];
    if (v[2] == 0 || !(steps >= 0)) {
        return bad_range(l, range, "never gets from its start to its stop", e);
    }
    if (!(steps < VARY_MAX_VALUES)) {
        return bad_range(l, range, "has too many values", e);
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i <= (size_t)(steps + 1e-9); i++) {
        rc = append(l, arena_printf(l->a, "%.12g", v[0] + (double)i * v[2]), e);
    }
    return rc;
}

static bool is_number(const struct opt_row *row)
{
    return !row || row->type == OPT_INT || row->type == OPT_DOUBLE;
}

static int append_value(struct list *l, const struct opt_row *row, const char *from, const char *to,
                        struct err *e)
{
    while (from < to && isspace((unsigned char)*from)) {
        from++;
    }
    while (to > from && isspace((unsigned char)to[-1])) {
        to--;
    }
    if (from == to) {
        return err_set(e, SIM_E_CONFIG, "--vary '%s': a value is empty", l->text);
    }
    char *value = arena_strndup(l->a, from, (size_t)(to - from));
    if (value && is_number(row) && strchr(value, ':')) {
        return append_range(l, value, e);
    }
    return append(l, value, e);
}

/* The end of the value that starts at p: a comma outside of brackets, or the end of the text. */
static const char *value_end(const char *p)
{
    int depth = 0;
    for (; *p && (depth > 0 || *p != ','); p++) {
        if (strchr("{[(", *p)) {
            depth++;
        } else if (strchr("}])", *p)) {
            depth--;
        }
        if (depth < 0) {
            return NULL;
        }
    }
    return depth == 0 ? p : NULL;
}

static int check_distinct(const struct list *l, struct err *e)
{
    for (size_t i = 1; i < l->v->n && l->v->n <= 1000; i++) { /* a long list can only be a range */
        for (size_t k = 0; k < i; k++) {
            if (strcmp(l->v->value[i], l->v->value[k]) == 0) {
                return err_set(e, SIM_E_CONFIG, "--vary '%s': '%s' comes twice", l->text,
                               l->v->value[i]);
            }
        }
    }
    return 0;
}

static int unknown_key(const struct list *l, const struct opt_row *rows, struct err *e)
{
    size_t n = 0;
    const char *key = l->v->key;
    while (rows[n].name) {
        n++;
    }
    const char **names = arena_calloc(l->a, n, sizeof *names);
    if (!names) {
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = rows[i].name;
    }
    const char *near = text_nearest(key, names, n);
    return err_set(e, SIM_E_CONFIG, "--vary '%s': unknown key '%s'%s%s%s", l->text, key,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse_key(struct list *l, const struct opt_row *rows, const struct opt_row **ret_row,
                     const char **ret_values, struct err *e)
{
    const char *eq = strchr(l->text, '=');
    if (!eq || eq == l->text) {
        return err_set(e, SIM_E_CONFIG, "--vary '%s': wanted KEY=VALUE,VALUE,...", l->text);
    }
    l->v->key = arena_strndup(l->a, l->text, (size_t)(eq - l->text));
    if (!l->v->key) {
        return no_memory(e);
    }
    *ret_values = eq + 1;
    *ret_row = rows ? opt_find(rows, l->v->key) : NULL;
    return rows && !*ret_row ? unknown_key(l, rows, e) : 0;
}

int vary_parse(struct vary *ret, const char *text, const struct opt_row *rows, struct arena *a,
               struct err *e)
{
    struct list l = {.v = ret, .a = a, .text = text};
    const struct opt_row *row = NULL;
    const char *p = NULL;
    *ret = (struct vary){0};
    int rc = parse_key(&l, rows, &row, &p, e);
    while (rc == 0 && p) {
        const char *end = value_end(p);
        if (!end) {
            return err_set(e, SIM_E_CONFIG, "--vary '%s': brackets do not match", text);
        }
        rc = append_value(&l, row, p, end, e);
        p = *end ? end + 1 : NULL;
    }
    return rc < 0 ? rc : check_distinct(&l, e);
}

size_t vary_combinations(const struct vary *v, size_t n)
{
    size_t all = 1;
    for (size_t i = 0; i < n; i++) {
        all *= v[i].n;
        if (all > VARY_MAX_VALUES) {
            return SIZE_MAX;
        }
    }
    return all;
}

size_t vary_index(const struct vary *v, size_t n, size_t c, size_t i)
{
    for (size_t k = n - 1; k > i; k--) {
        c /= v[k].n;
    }
    return c % v[i].n;
}

const char *vary_label(const struct vary *v, size_t n, size_t c, struct arena *a)
{
    const char *label = "";
    for (size_t i = 0; label && i < n; i++) {
        label = arena_printf(a, "%s%s%s=%s", label, i ? " " : "", v[i].key,
                             v[i].value[vary_index(v, n, c, i)]);
    }
    return label;
}
