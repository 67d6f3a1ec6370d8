/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text, and the nearest of some words. */
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sim/core/json.h"
#include "sim/core/opt.h"
#include "sim/core/unit.h"

static size_t digits(const char *s)
{
    size_t n = 0;

    while (isdigit((unsigned char)s[n])) {
        n++;
    }
    return n;
}

static size_t sign(const char *s)
{
    return *s == '+' || *s == '-';
}

size_t text_number_len(const char *s)
{
    size_t n = sign(s), whole = digits(s + n), frac = 0, exp;

    n += whole;
    if (s[n] == '.') {
        frac = digits(s + n + 1);
        n += 1 + frac;
    }
    if (whole + frac == 0) {
        return 0;
    }
    if (s[n] == 'e' || s[n] == 'E') {
        exp = 1 + sign(s + n + 1);
        if (isdigit((unsigned char)s[n + exp])) {
            n += exp + digits(s + n + exp);
        }
    }
    return n;
}

bool text_double_prefix(const char *s, size_t len, double *ret)
{
    char *end;
    double v;

    if (len == 0) {
        return false;
    }
    v = strtod(s, &end);
    if (end != s + len || !isfinite(v)) {
        return false;
    }
    *ret = v;
    return true;
}

bool text_int64_prefix(const char *s, size_t len, int64_t *ret)
{
    char *end;
    long long v;

    if (len == 0) {
        return false;
    }
    errno = 0;
    v = strtoll(s, &end, 10);
    if (end != s + len || errno) {
        return false;
    }
    *ret = v;
    return true;
}

bool text_to_double(const char *s, double *ret)
{
    size_t len = text_number_len(s);

    return s[len] == '\0' && text_double_prefix(s, len, ret);
}

bool text_to_int64(const char *s, int64_t *ret)
{
    size_t len = text_number_len(s);

    return s[len] == '\0' && text_int64_prefix(s, len, ret);
}

const char *text_from_double(double v, char buf[32])
{
    /* Up to 15 digits survive any normal double, so %.15g is the shortest where 15 suffice; below
     * that range fewer digits may do. */
    int precision = fabs(v) < DBL_MIN ? 1 : 15;

    for (; precision <= 17; precision++) {
        snprintf(buf, 32, "%.*g", precision, v);
        if (!isfinite(v) || strtod(buf, NULL) == v) {
            break;
        }
    }
    return buf;
}

#define WORD_MAX 64

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Edits (insert, drop, replace, swap neighbours) from a to b, letters' case ignored. Three rows of
 * the table suffice: this one, the one above and, for swaps, the one above that. */
static int distance(const char *a, size_t na, const char *b, size_t nb)
{
    int row[3][WORD_MAX + 1];
    int *above2 = row[0], *above = row[1], *now = row[2], *t;

    for (size_t j = 0; j <= nb; j++) {
        above[j] = (int)j;
    }
    for (size_t i = 1; i <= na; i++) {
        now[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = above[j - 1] + !same(a[i - 1], b[j - 1]);
            now[j] = min_int(now[j], 1 + min_int(above[j], now[j - 1]));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1])) {
                now[j] = min_int(now[j], above2[j - 2] + 1);
            }
        }
        t = above2;
        above2 = above;
        above = now;
        now = t;
    }
    return above[nb];
}

/* Whether `word` is one or more whole parts of `name`: "goodput" of "request_goodput". */
static bool is_part(const char *word, size_t len, const char *name)
{
    static const char between[] = "-._:";

    for (const char *p = name; len >= 3 && *p; p++) {
        if ((p == name || strchr(between, p[-1])) && strncasecmp(p, word, len) == 0 &&
            (!p[len] || strchr(between, p[len]))) {
            return true;
        }
    }
    return false;
}

const char *text_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    int best_distance = 4;
    size_t len = strlen(word), name_len;
    int d;

    for (size_t i = 0; len <= WORD_MAX && i < n; i++) {
        name_len = strlen(names[i]);
        if (name_len > WORD_MAX) {
            continue;
        }
        if (is_part(word, len, names[i])) {
            return names[i];
        }
        d = distance(word, len, names[i], name_len);
        if (d < best_distance && 2 * (size_t)d < (len > name_len ? len : name_len)) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
