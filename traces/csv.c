/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/csv.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int push(struct csv *c, char *field)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 32;
        char **f = realloc(c->field, cap * sizeof(*f));
        if (!f) {
            return -2;
        }
        c->field = f;
        c->cap = cap;
    }
    c->field[c->n++] = field;
    return 0;
}

/* Unquotes in place from the opening quote; returns the text behind the closing one, or NULL. */
static char *unquote(char *p)
{
    char *to = p, *from = p + 1;
    for (; *from; from++) {
        if (*from == '"' && *++from != '"') {
            *to = '\0';
            return from;
        }
        *to++ = *from;
    }
    return NULL;
}

int csv_split(struct csv *c, char *line)
{
    char *p = line;
    c->n = 0;
    for (;;) {
        if (push(c, p) < 0) {
            return -2;
        }
        char *end;
        if (*p == '"') {
            end = unquote(p);
            if (!end || (*end != ',' && *end != '\0')) {
                return -1;
            }
        } else {
            end = strchrnul(p, ',');
        }
        if (*end == '\0') {
            return (int)c->n;
        }
        *end = '\0';
        p = end + 1;
    }
}

void csv_release(struct csv *c)
{
    free(c->field);
    memset(c, 0, sizeof(*c));
}

static bool same_name(const char *field, const char *name)
{
    size_t n = strlen(name);
    field += strspn(field, " \t");
    return strncmp(field, name, n) == 0 && field[n + strspn(field + n, " \t")] == '\0';
}

int csv_find(const struct csv *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (same_name(c->field[i], name)) {
            return (int)i;
        }
    }
    return -1;
}

const char *num_fault_text(enum num_fault f)
{
    static const char *const text[] = {
        [NUM_OK] = "is fine",
        [NUM_EMPTY] = "is missing",
        [NUM_TEXT] = "is not a number",
        [NUM_NEGATIVE] = "is negative",
        [NUM_RANGE] = "is too large",
        [NUM_NAN] = "is not finite",
        [NUM_FRACTION] = "is not a whole number",
    };
    return text[f];
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t");
}

enum num_fault num_double(const char *s, double *ret)
{
    char *end;
    s = skip_blanks(s);
    if (*s == '\0') {
        return NUM_EMPTY;
    }
    if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        return NUM_TEXT;
    }
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || *skip_blanks(end) != '\0') {
        return NUM_TEXT;
    }
    if (isnan(v)) {
        return NUM_NAN;
    }
    if (isinf(v)) {
        return errno == ERANGE ? NUM_RANGE : NUM_NAN;
    }
    *ret = v;
    return NUM_OK;
}

static enum num_fault uint_from_double(const char *s, uint64_t max, uint64_t *ret)
{
    double v;
    enum num_fault f = num_double(s, &v);
    if (f != NUM_OK) {
        return f;
    }
    if (v < 0) {
        return NUM_NEGATIVE;
    }
    if (v != floor(v)) {
        return NUM_FRACTION;
    }
    if (v >= 0x1p53 || (uint64_t)v > max) {
        return NUM_RANGE;
    }
    *ret = (uint64_t)v;
    return NUM_OK;
}

enum num_fault num_uint(const char *s, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    const char *p = skip_blanks(s);
    const char *first = p;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return NUM_RANGE;
        }
        v = v * 10 + digit;
    }
    if (p == first || *skip_blanks(p) != '\0') {
        return uint_from_double(s, max, ret);
    }
    if (v > max) {
        return NUM_RANGE;
    }
    *ret = v;
    return NUM_OK;
}

/* Up to `n` digits after the point as an integer of 10^-n; *ret behind all digits. */
static int64_t fraction_digits(const char *p, int n, const char **ret)
{
    int64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (n > 0) {
            v = v * 10 + (*p - '0');
            n--;
        }
    }
    for (; n > 0; n--) {
        v *= 10;
    }
    *ret = p;
    return v;
}

static enum num_fault time_from_double(const char *s, int64_t unit_ns, sim_ns *ret)
{
    double v;
    enum num_fault f = num_double(s, &v);
    if (f != NUM_OK) {
        return f;
    }
    v *= (double)unit_ns;
    if (fabs(v) >= 9.2e18) {
        return NUM_RANGE;
    }
    *ret = (sim_ns)llround(v);
    return NUM_OK;
}

enum num_fault num_time(const char *s, int64_t unit_ns, sim_ns *ret)
{
    const char *p = skip_blanks(s);
    bool neg = *p == '-';
    const char *digits = p += neg;
    int64_t whole = 0, frac = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (whole > (INT64_MAX / unit_ns - 9) / 10 - 1) {
            return NUM_RANGE;
        }
        whole = whole * 10 + (*p - '0');
    }
    if (p == digits) {
        return time_from_double(s, unit_ns, ret);
    }
    if (*p == '.') {
        int64_t nano = fraction_digits(p + 1, 9, &p);
        frac = (int64_t)((sim_wide)nano * unit_ns / 1000000000);
    }
    if (*skip_blanks(p) != '\0') {
        return time_from_double(s, unit_ns, ret);
    }
    *ret = (whole * unit_ns + frac) * (neg ? -1 : 1);
    return NUM_OK;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar, counting years from March. */
static int64_t days_of_date(int64_t y, int64_t m, int64_t d)
{
    y -= m <= 2;
    int64_t year_day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + year_day - 719468;
}

static bool two_digits(const char **p, int lo, int hi, int64_t *ret)
{
    const char *s = *p;
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9') {
        return false;
    }
    *ret = (s[0] - '0') * 10 + s[1] - '0';
    *p += 2;
    return *ret >= lo && *ret <= hi;
}

static bool one_of(const char **p, const char *set)
{
    if (**p == '\0' || !strchr(set, **p)) {
        return false;
    }
    (*p)++;
    return true;
}

static bool zone_offset(const char **p, int64_t *ret_s)
{
    int64_t h = 0, m = 0;
    int sign = **p == '-' ? -1 : 1;
    if (**p == 'Z') {
        (*p)++;
    } else if (one_of(p, "+-")) {
        if (!two_digits(p, 0, 23, &h) || (one_of(p, ":"), !two_digits(p, 0, 59, &m))) {
            return false;
        }
    }
    *ret_s = sign * (h * 3600 + m * 60);
    return true;
}

enum num_fault num_iso_time(const char *s, sim_ns *ret)
{
    const char *p = skip_blanks(s);
    int64_t century, year, month, day, hour, min, sec, zone, frac = 0;
    if (*p == '\0') {
        return NUM_EMPTY;
    }
    bool ok = two_digits(&p, 19, 21, &century) && two_digits(&p, 0, 99, &year) && one_of(&p, "-") &&
              two_digits(&p, 1, 12, &month) && one_of(&p, "-") && two_digits(&p, 1, 31, &day) &&
              one_of(&p, " T") && two_digits(&p, 0, 23, &hour) && one_of(&p, ":") &&
              two_digits(&p, 0, 59, &min) && one_of(&p, ":") && two_digits(&p, 0, 60, &sec);
    if (!ok) {
        return NUM_TEXT;
    }
    if (*p == '.') {
        frac = fraction_digits(p + 1, 9, &p);
    }
    if (!zone_offset(&p, &zone) || *skip_blanks(p) != '\0') {
        return NUM_TEXT;
    }
    int64_t t = days_of_date(century * 100 + year, month, day) * 86400 + hour * 3600 + min * 60 + sec;
    *ret = (t - zone) * 1000000000 + frac;
    return NUM_OK;
}
