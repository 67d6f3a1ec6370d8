/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/json_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void jscan_init(struct jscan *s, const char *text)
{
    *s = (struct jscan){.begin = text, .p = text};
}

static bool fail(struct jscan *s, const char *what)
{
    if (!s->fault) {
        s->fault = what;
    }
    return false;
}

char jscan_peek(struct jscan *s)
{
    s->p += strspn(s->p, " \t\r\n");
    return *s->p;
}

static bool enter(struct jscan *s, char open, const char *what)
{
    if (s->fault || jscan_peek(s) != open) {
        return fail(s, what);
    }
    if (++s->depth > JSCAN_DEPTH) {
        return fail(s, "nested too deeply");
    }
    s->p++;
    return true;
}

bool jscan_object(struct jscan *s)
{
    return enter(s, '{', "an object is missing here");
}

bool jscan_array(struct jscan *s)
{
    return enter(s, '[', "an array is missing here");
}

/* Behind an opening bracket or a value: true when another item follows. */
static bool another(struct jscan *s, char close)
{
    const char *before = s->p - 1;
    bool first = before >= s->begin && (*before == '{' || *before == '[');
    char c = jscan_peek(s);
    if (s->fault) {
        return false;
    }
    if (c == close) {
        s->p++;
        s->depth--;
        return false;
    }
    if (first) {
        return true;
    }
    if (c != ',') {
        return fail(s, close == '}' ? "',' or '}' is missing here" : "',' or ']' is missing here");
    }
    s->p++;
    return true;
}

bool jscan_element(struct jscan *s)
{
    return another(s, ']');
}

bool jscan_key(struct jscan *s, char *buf, size_t size)
{
    if (!another(s, '}') || !jscan_string(s, buf, size)) {
        return false;
    }
    if (jscan_peek(s) != ':') {
        return fail(s, "':' is missing here");
    }
    s->p++;
    return true;
}

static bool word(struct jscan *s, const char *w)
{
    size_t n = strlen(w);
    if (strncmp(s->p, w, n) != 0) {
        return false;
    }
    s->p += n;
    return true;
}

bool jscan_double(struct jscan *s, double *ret)
{
    char *end;
    if (s->fault) {
        return false;
    }
    char c = jscan_peek(s);
    if (c == 'n' ? word(s, "null") : word(s, "NaN")) {
        *ret = NAN;
        return true;
    }
    bool minus = word(s, "-Infinity");
    if (minus || word(s, "Infinity")) {
        *ret = minus ? -INFINITY : INFINITY;
        return true;
    }
    if (c != '-' && (c < '0' || c > '9')) {
        return fail(s, "a number is missing here");
    }
    *ret = strtod(s->p, &end);
    if (end == s->p) {
        return fail(s, "a number is missing here");
    }
    s->p = end;
    return true;
}

static bool u64_from_double(struct jscan *s, uint64_t *ret)
{
    double v;
    const char *at = s->p;
    if (!jscan_double(s, &v)) {
        return false;
    }
    if (!(v >= 0 && v < 0x1p53) || v != floor(v)) {
        s->p = at;
        return fail(s, "a whole number from 0 is missing here");
    }
    *ret = (uint64_t)v;
    return true;
}

bool jscan_u64(struct jscan *s, uint64_t *ret)
{
    if (s->fault) {
        return false;
    }
    jscan_peek(s);
    uint64_t v = 0;
    const char *p = s->p;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return fail(s, "this number is too large");
        }
        v = v * 10 + digit;
    }
    if (p == s->p || *p == '.' || *p == 'e' || *p == 'E') {
        return u64_from_double(s, ret);
    }
    s->p = p;
    *ret = v;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t hex4(const char *p)
{
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(p[i]);
        if (d < 0) {
            return -1;
        }
        v = v * 16 + d;
    }
    return v;
}

struct text_out {
    char *buf;
    size_t n, size;
};

static void put(struct text_out *o, char c)
{
    if (o->n + 1 < o->size) {
        o->buf[o->n++] = c;
    }
}

static void put_utf8(struct text_out *o, uint32_t c)
{
    if (c < 0x80) {
        put(o, (char)c);
    } else if (c < 0x800) {
        put(o, (char)(0xc0 | c >> 6));
        put(o, (char)(0x80 | (c & 0x3f)));
    } else {
        put(o, (char)(0xe0 | c >> 12));
        put(o, (char)(0x80 | (c >> 6 & 0x3f)));
        put(o, (char)(0x80 | (c & 0x3f)));
    }
}

/* Behind a backslash. Surrogate pairs become two three-byte codes: names only need to differ. */
static bool escape(struct jscan *s, struct text_out *o)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*s->p == 'u') {
        int32_t c = hex4(s->p + 1);
        if (c < 0) {
            return fail(s, "\\u needs four hexadecimal digits");
        }
        put_utf8(o, (uint32_t)c);
        s->p += 5;
        return true;
    }
    const char *at = *s->p ? strchr(from, *s->p) : NULL;
    if (!at) {
        return fail(s, "an unknown escape in a string");
    }
    put(o, to[at - from]);
    s->p++;
    return true;
}

bool jscan_string(struct jscan *s, char *buf, size_t size)
{
    struct text_out o = {buf, 0, size};
    if (s->fault || jscan_peek(s) != '"') {
        return fail(s, "a string is missing here");
    }
    s->p++;
    while (*s->p != '"') {
        if (*s->p == '\0') {
            return fail(s, "a string does not end");
        }
        if (*s->p == '\\') {
            s->p++;
            if (!escape(s, &o)) {
                return false;
            }
        } else {
            put(&o, *s->p++);
        }
    }
    s->p++;
    if (size > 0) {
        buf[o.n] = '\0';
    }
    return true;
}

static bool skip_object(struct jscan *s)
{
    char key[1];
    if (!jscan_object(s)) {
        return false;
    }
    while (jscan_key(s, key, sizeof(key))) {
        if (!jscan_skip(s)) {
            return false;
        }
    }
    return !s->fault;
}

static bool skip_array(struct jscan *s)
{
    if (!jscan_array(s)) {
        return false;
    }
    while (jscan_element(s)) {
        if (!jscan_skip(s)) {
            return false;
        }
    }
    return !s->fault;
}

bool jscan_skip(struct jscan *s)
{
    double number;
    char none[1];
    switch (jscan_peek(s)) {
    case '{':
        return skip_object(s);
    case '[':
        return skip_array(s);
    case '"':
        return jscan_string(s, none, sizeof(none));
    case 't':
        return word(s, "true") || fail(s, "a value is missing here");
    case 'f':
        return word(s, "false") || fail(s, "a value is missing here");
    default:
        return jscan_double(s, &number);
    }
}

bool jscan_end(struct jscan *s)
{
    if (!s->fault && jscan_peek(s) != '\0') {
        fail(s, "text behind the end");
    }
    return !s->fault;
}

void jscan_place(const struct jscan *s, size_t *ret_line, size_t *ret_column)
{
    const char *start = s->begin;
    *ret_line = 1;
    for (const char *p = s->begin; p < s->p; p++) {
        if (*p == '\n') {
            start = p + 1;
            (*ret_line)++;
        }
    }
    *ret_column = (size_t)(s->p - start) + 1;
}
