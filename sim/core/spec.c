/* SPDX-License-Identifier: Apache-2.0
 *
 * Plug-in specs: name{key=value, ...} and wrapper(spec). */
#include <ctype.h>
#include <string.h>

#include "sim/core/opt.h"

/* A piece of text, not terminated. */
struct span {
    const char *s;
    size_t n;
};

static struct span trim(struct span t)
{
    while (t.n > 0 && isspace((unsigned char)t.s[0])) {
        t.s++;
        t.n--;
    }
    while (t.n > 0 && isspace((unsigned char)t.s[t.n - 1])) {
        t.n--;
    }
    return t;
}

static struct span trimmed(const char *s)
{
    return trim((struct span){s, strlen(s)});
}

static char closer_of(char c)
{
    return (char)(c == '{' ? '}' : c == '[' ? ']' : c == '(' ? ')' : '\0');
}

#define NEST_MAX 100

/* Length up to the first of `stop` outside of nested braces, brackets and parentheses, or to the
 * end. SIZE_MAX when they do not match or nest too deeply. */
static size_t nested_span(struct span t, const char *stop)
{
    char want[NEST_MAX];
    size_t depth = 0, i;

    for (i = 0; i < t.n; i++) {
        char c = t.s[i];

        if (depth == 0 && strchr(stop, c)) {
            return i;
        }
        if (closer_of(c)) {
            if (depth == NEST_MAX) {
                return SIZE_MAX;
            }
            want[depth++] = closer_of(c);
        } else if (c == '}' || c == ']' || c == ')') {
            if (depth == 0 || want[--depth] != c) {
                return SIZE_MAX;
            }
        }
    }
    return depth ? SIZE_MAX : i;
}

const char *opt_spec_name(const char *spec, struct arena *a)
{
    struct span name = trim((struct span){spec, strcspn(spec, "{")});

    return arena_strndup(a, name.s, name.n);
}

static int spec_error(const char *spec, const char *what, struct err *e)
{
    return err_set(e, SIM_E_CONFIG, "'%s': %s", spec, what);
}

/* What is between the outer braces; n = 0 when there are none. */
static int body_of(const char *spec, struct span *ret, struct err *e)
{
    struct span t = trimmed(spec);
    const char *open = memchr(t.s, '{', t.n);
    size_t len;

    *ret = (struct span){NULL, 0};
    if (!open) {
        return 0;
    }
    *ret = (struct span){open + 1, (size_t)(t.s + t.n - open - 1)};
    len = nested_span(*ret, "}");
    if (len >= ret->n) { /* also SIZE_MAX */
        return spec_error(spec, "braces, brackets or parentheses do not match", e);
    }
    if (len + 1 != ret->n) {
        return spec_error(spec, "text after the closing brace", e);
    }
    ret->n = len;
    return 0;
}

/* One "key = value". */
static int apply_item(struct span item, const char *where, const struct opt_row *rows, void *obj,
                      struct arena *a, struct err *e)
{
    const char *eq = memchr(item.s, '=', item.n);
    struct span key, value;
    const char *k, *v;

    if (!eq) {
        return err_set(e, SIM_E_CONFIG, "%s'%.*s' is not of the form key=value", where,
                       (int)(item.n < 200 ? item.n : 200), item.s);
    }
    key = trim((struct span){item.s, (size_t)(eq - item.s)});
    value = trim((struct span){eq + 1, item.n - (size_t)(eq - item.s) - 1});
    k = arena_strndup(a, key.s, key.n);
    v = arena_strndup(a, value.s, value.n);
    if (!k || !v) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return opt_set_by_name(rows, obj, where, k, v, a, e);
}

static int apply_body(struct span body, const char *where, const struct opt_row *rows, void *obj,
                      struct arena *a, struct err *e)
{
    size_t len;
    int rc = 0;

    while (rc == 0 && trim(body).n > 0) {
        len = nested_span(body, ",");
        if (len > body.n) {
            return err_set(e, SIM_E_CONFIG, "%sbraces, brackets or parentheses do not match",
                           where);
        }
        rc = apply_item(trim((struct span){body.s, len}), where, rows, obj, a, e);
        len += len < body.n; /* the comma */
        body.s += len;
        body.n -= len;
    }
    return rc;
}

int opt_spec_apply(const char *spec, const struct opt_row *rows, void *obj, struct arena *a,
                   struct err *e)
{
    struct span body;
    const char *name, *where;
    int rc = body_of(spec, &body, e);

    if (rc == 0) {
        rc = opt_defaults(rows, obj, a, e);
    }
    if (rc < 0) {
        return rc;
    }
    name = opt_spec_name(spec, a);
    where = name ? arena_printf(a, "%s: ", name) : NULL;
    if (!where) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (trim(body).n > 0 && (!rows || !rows->name)) {
        return err_set(e, SIM_E_CONFIG, "%stakes no options", where);
    }
    return apply_body(body, where, rows, obj, a, e);
}

bool opt_spec_wrapper(const char *spec, const char **ret_wrapper, const char **ret_inner,
                      struct arena *a)
{
    struct span t = trimmed(spec), name, inner;

    for (name = (struct span){t.s, 0}; name.n < t.n; name.n++) {
        if (!isalnum((unsigned char)t.s[name.n]) && t.s[name.n] != '-' && t.s[name.n] != '_') {
            break;
        }
    }
    if (name.n == 0 || name.n == t.n || t.s[name.n] != '(') {
        return false;
    }
    inner = (struct span){t.s + name.n + 1, t.n - name.n - 1};
    if (nested_span(inner, ")") != inner.n - 1) {
        return false;
    }
    inner.n--;
    inner = trim(inner);
    *ret_wrapper = arena_strndup(a, name.s, name.n);
    *ret_inner = arena_strndup(a, inner.s, inner.n);
    return *ret_wrapper && *ret_inner;
}
