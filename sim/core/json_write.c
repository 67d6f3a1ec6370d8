/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "sim/core/json.h"

#define INDENT 2

void json_begin(struct json_writer *w, FILE *out, bool pretty)
{
    *w = (struct json_writer){.out = out, .pretty = pretty};
}

/* Levels beyond JSON_DEPTH share the last one's state: wrong commas then, but no wrong memory. */
static int level(const struct json_writer *w)
{
    return w->depth < JSON_DEPTH ? w->depth : JSON_DEPTH - 1;
}

static void line_break(struct json_writer *w)
{
    if (w->pretty) {
        fprintf(w->out, "\n%*s", INDENT * w->depth, "");
    }
}

/* Comma and line break before a key, or before a value that follows none. */
static void separate(struct json_writer *w)
{
    if (w->after_key || w->depth == 0) {
        w->after_key = false;
        return;
    }
    if (!w->first[level(w)]) {
        putc(',', w->out);
    }
    w->first[level(w)] = false;
    line_break(w);
}

static void open_container(struct json_writer *w, char opener, char closer)
{
    separate(w);
    putc(opener, w->out);
    w->depth++;
    w->first[level(w)] = true;
    w->closer[level(w)] = closer;
}

void json_object(struct json_writer *w)
{
    open_container(w, '{', '}');
}

void json_array(struct json_writer *w)
{
    open_container(w, '[', ']');
}

void json_end(struct json_writer *w)
{
    bool empty = w->first[level(w)];
    char closer = w->closer[level(w)];

    if (w->depth == 0) {
        return;
    }
    w->depth--;
    if (!empty) {
        line_break(w);
    }
    putc(closer, w->out);
}

/* Bytes of the UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 when broken. */
static int utf8_len(const unsigned char *s)
{
    int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] > 0xf4) {
        return 0;
    }
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) {
        return 0;
    }
    return n;
}

static void ascii(FILE *out, unsigned char c)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *special = strchr(plain, c);

    if (special) {
        fprintf(out, "\\%c", letter[special - plain]);
    } else if (c < 0x20 || c == 0x7f) {
        fprintf(out, "\\u%04x", c);
    } else {
        putc(c, out);
    }
}

static void quoted(FILE *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int n;

    putc('"', out);
    for (; *s; s += n ? n : 1) {
        n = utf8_len(s);
        if (n == 1) {
            ascii(out, *s);
        } else if (n == 0) {
            fputs("\\ufffd", out);
        } else {
            fwrite(s, 1, (size_t)n, out);
        }
    }
    putc('"', out);
}

void json_key(struct json_writer *w, const char *key)
{
    separate(w);
    quoted(w->out, key);
    fputs(w->pretty ? ": " : ":", w->out);
    w->after_key = true;
}

static void raw(struct json_writer *w, const char *text)
{
    separate(w);
    fputs(text, w->out);
}

void json_null(struct json_writer *w)
{
    raw(w, "null");
}

void json_string(struct json_writer *w, const char *s)
{
    if (!s) {
        json_null(w);
        return;
    }
    separate(w);
    quoted(w->out, s);
}

void json_int(struct json_writer *w, int64_t v)
{
    separate(w);
    fprintf(w->out, "%lld", (long long)v);
}

void json_uint(struct json_writer *w, uint64_t v)
{
    separate(w);
    fprintf(w->out, "%llu", (unsigned long long)v);
}

void json_double(struct json_writer *w, double v)
{
    char buf[32];

    raw(w, isfinite(v) ? text_from_double(v, buf) : "null");
}

void json_bool(struct json_writer *w, bool v)
{
    raw(w, v ? "true" : "false");
}

void json_kv_string(struct json_writer *w, const char *key, const char *s)
{
    json_key(w, key);
    json_string(w, s);
}

void json_kv_int(struct json_writer *w, const char *key, int64_t v)
{
    json_key(w, key);
    json_int(w, v);
}

void json_kv_double(struct json_writer *w, const char *key, double v)
{
    json_key(w, key);
    json_double(w, v);
}

void json_kv_bool(struct json_writer *w, const char *key, bool v)
{
    json_key(w, key);
    json_bool(w, v);
}
