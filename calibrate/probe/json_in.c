/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/json_in.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of memory that go away together. */
struct json_in_pool {
    struct json_in_pool *next;
    size_t used, cap;
    max_align_t bytes[];
};

struct reader {
    const char *at, *end, *name;
    unsigned line;
    struct json_in_doc *doc;
    struct err *e;
};

static void *take(struct reader *r, size_t n)
{
    struct json_in_pool *p = r->doc->pool;

    n = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (!p || p->cap - p->used < n) {
        size_t cap = n > 65536 ? n : 65536;

        p = malloc(sizeof(*p) + cap);
        if (!p) {
            err_set(r->e, SIM_E_NOMEM, "out of memory for %s", r->name);
            return NULL;
        }
        *p = (struct json_in_pool){.next = r->doc->pool, .cap = cap};
        r->doc->pool = p;
    }
    p->used += n;
    return (char *)p->bytes + p->used - n;
}

static int bad(struct reader *r, const char *what)
{
    return err_set(r->e, SIM_E_DATA, "%s:%u: %s", r->name, r->line, what);
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->line += *r->at == '\n';
        r->at++;
    }
}

static bool next_is(struct reader *r, char c)
{
    skip_blanks(r);
    if (r->at < r->end && *r->at == c) {
        r->at++;
        return true;
    }
    return false;
}

/* ---- strings ---- */

static int hex4(struct reader *r, uint32_t *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++) {
        char c = '\0';

        if (r->at < r->end) {
            c = *r->at++;
        }
        if (c >= '0' && c <= '9') {
            *ret = *ret * 16 + (uint32_t)(c - '0');
        } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
            *ret = *ret * 16 + (uint32_t)((c | 32) - 'a' + 10);
        } else {
            return bad(r, "\\u wants four hex digits");
        }
    }
    return 0;
}

static char *put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

static int read_unicode(struct reader *r, char **to)
{
    uint32_t c, low;

    if (hex4(r, &c) < 0) {
        return SIM_E_DATA;
    }
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        r->at += 2;
        if (hex4(r, &low) < 0) {
            return SIM_E_DATA;
        }
        c = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    } else if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
    }
    if (c == 0) {
        return bad(r, "a string holds the character 0");
    }
    *to = put_utf8(*to, c);
    return 0;
}

static int read_escape(struct reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = '\0';
    const char *p;

    if (r->at < r->end) {
        c = *r->at++;
    }
    if (c == 'u') {
        return read_unicode(r, to);
    }
    p = c ? strchr(from, c) : NULL;
    if (!p) {
        return bad(r, "unknown escape in a string");
    }
    *(*to)++ = meant[p - from];
    return 0;
}

/* The opening quote has been read. What an escape stands for is never longer than the escape. */
static int read_string(struct reader *r, const char **ret)
{
    const char *close = r->at;
    char *s, *to;

    while (close < r->end && *close != '"') {
        close += *close == '\\' ? 2 : 1;
    }
    if (close >= r->end) {
        return bad(r, "a string does not end");
    }
    s = to = take(r, (size_t)(close - r->at) + 1);
    if (!s) {
        return SIM_E_NOMEM;
    }
    while (r->at < close) {
        char c = *r->at++;

        if ((unsigned char)c < 32) {
            return bad(r, "a control character in a string");
        }
        if (c != '\\') {
            *to++ = c;
        } else if (read_escape(r, &to) < 0) {
            return r->e->code;
        }
    }
    r->at = close + 1;
    *to = '\0';
    *ret = s;
    return 0;
}

/* ---- numbers and words ---- */

static size_t digits(const char *s, const char *end)
{
    size_t n = 0;

    while (s + n < end && s[n] >= '0' && s[n] <= '9') {
        n++;
    }
    return n;
}

/* Length of a number as JSON writes it, 0 = it is none. */
static size_t number_length(const char *s, const char *end)
{
    const char *p = s + (s < end && *s == '-');
    size_t n = digits(p, end);

    if (n == 0 || (n > 1 && *p == '0')) {
        return 0;
    }
    p += n;
    if (p < end && *p == '.') {
        n = digits(p + 1, end);
        if (n == 0) {
            return 0;
        }
        p += 1 + n;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p += p + 1 < end && (p[1] == '+' || p[1] == '-') ? 2 : 1;
        n = digits(p, end);
        if (n == 0) {
            return 0;
        }
        p += n;
    }
    return (size_t)(p - s);
}

static int read_number(struct reader *r, struct json_in *v)
{
    char buf[64];
    size_t n = number_length(r->at, r->end);

    if (n == 0 || n >= sizeof(buf)) {
        return bad(r, n == 0 ? "a value is missing or misspelt" : "a number with too many digits");
    }
    memcpy(buf, r->at, n);
    buf[n] = '\0';
    v->type = JSON_IN_NUMBER;
    v->number = strtod(buf, NULL);
    if (!isfinite(v->number)) {
        return bad(r, "a number is out of range");
    }
    r->at += n;
    return 0;
}

static bool word_is(struct reader *r, const char *word)
{
    size_t n = strlen(word);

    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

/* ---- values ---- */

static int read_value(struct reader *r, struct json_in *v, int depth);

static int read_members(struct reader *r, struct json_in *v, char closer, int depth)
{
    struct json_in **tail = &v->first;

    if (depth >= JSON_IN_DEPTH) {
        return bad(r, "nested too deeply");
    }
    if (next_is(r, closer)) {
        return 0;
    }
    do {
        struct json_in *m = take(r, sizeof(*m));

        if (!m) {
            return SIM_E_NOMEM;
        }
        memset(m, 0, sizeof(*m));
        if (closer == '}') {
            if (!next_is(r, '"')) {
                return bad(r, "a key in quotes is wanted");
            }
            if (read_string(r, &m->key) < 0) {
                return r->e->code;
            }
            if (!next_is(r, ':')) {
                return bad(r, "':' is wanted after a key");
            }
        }
        if (read_value(r, m, depth + 1) < 0) {
            return r->e->code;
        }
        *tail = m;
        tail = &m->next;
        v->n++;
    } while (next_is(r, ','));
    return next_is(r, closer) ? 0 : bad(r, closer == '}' ? "',' or '}' is wanted" : "',' or ']' is wanted");
}

static int read_value(struct reader *r, struct json_in *v, int depth)
{
    skip_blanks(r);
    if (next_is(r, '{')) {
        v->type = JSON_IN_OBJECT;
        return read_members(r, v, '}', depth);
    }
    if (next_is(r, '[')) {
        v->type = JSON_IN_ARRAY;
        return read_members(r, v, ']', depth);
    }
    if (next_is(r, '"')) {
        v->type = JSON_IN_STRING;
        return read_string(r, &v->string);
    }
    if (word_is(r, "null")) {
        return 0;
    }
    if (word_is(r, "true") || word_is(r, "false")) {
        v->type = JSON_IN_BOOL;
        v->number = r->at[-2] == 'u';
        return 0;
    }
    return read_number(r, v);
}

int json_in_parse(struct json_in_doc *ret, const char *text, size_t len, const char *name, unsigned line,
                  struct err *e)
{
    struct reader r = {.at = text, .end = text + len, .name = name, .line = line, .doc = ret, .e = e};

    *ret = (struct json_in_doc){0};
    ret->root = take(&r, sizeof(*ret->root));
    if (ret->root) {
        memset(ret->root, 0, sizeof(*ret->root));
        if (read_value(&r, ret->root, 0) == 0) {
            skip_blanks(&r);
            if (r.at == r.end) {
                return 0;
            }
            bad(&r, "something follows the value");
        }
    }
    json_in_release(ret);
    return e->code;
}

void json_in_release(struct json_in_doc *d)
{
    while (d->pool) {
        struct json_in_pool *next = d->pool->next;

        free(d->pool);
        d->pool = next;
    }
    d->root = NULL;
}

/* ---- access ---- */

const struct json_in *json_in_get(const struct json_in *v, const char *key)
{
    if (!v || v->type != JSON_IN_OBJECT) {
        return NULL;
    }
    for (const struct json_in *m = v->first; m; m = m->next) {
        if (strcmp(m->key, key) == 0) {
            return m;
        }
    }
    return NULL;
}

bool json_in_int(const struct json_in *v, int64_t lo, int64_t hi, int64_t *ret)
{
    if (!v || v->type != JSON_IN_NUMBER || v->number != floor(v->number) || v->number < (double)lo ||
        v->number > (double)hi || fabs(v->number) > 9007199254740992.0) {
        return false;
    }
    *ret = (int64_t)v->number;
    return true;
}

const char *json_in_string(const struct json_in *v, const char *otherwise)
{
    return v && v->type == JSON_IN_STRING ? v->string : otherwise;
}

double json_in_number(const struct json_in *v, double otherwise)
{
    return v && v->type == JSON_IN_NUMBER ? v->number : otherwise;
}

/* ---- files ---- */

char *file_read(const char *path, size_t limit, size_t *ret_len, struct err *e)
{
    FILE *f = fopen(path, "rb");
    size_t n = 0, cap = 1 << 16;
    char *text = NULL;

    if (!f) {
        err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (;;) {
        char *bigger = n + 1 >= cap || !text ? realloc(text, cap *= 2) : text;
        size_t got;

        if (!bigger || n > limit) {
            err_set(e, bigger ? SIM_E_DATA : SIM_E_NOMEM, "%s: too large to be read", path);
            free(bigger ? bigger : text);
            fclose(f);
            return NULL;
        }
        text = bigger;
        got = fread(text + n, 1, cap - n - 1, f);
        n += got;
        if (got == 0) {
            break;
        }
    }
    if (ferror(f)) {
        err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
        free(text);
        fclose(f);
        return NULL;
    }
    fclose(f);
    text[n] = '\0';
    *ret_len = n;
    return text;
}
