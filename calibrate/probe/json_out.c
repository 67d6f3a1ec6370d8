/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/json_out.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(struct json_out *o, const char *s, size_t n)
{
    if (o->failed) {
        return;
    }
    if (o->cap - o->n <= n) {
        size_t cap = o->cap ? o->cap : 4096;
        char *bigger;

        while (cap - o->n <= n) {
            cap *= 2;
        }
        bigger = realloc(o->text, cap);
        if (!bigger) {
            o->failed = true;
            return;
        }
        o->text = bigger;
        o->cap = cap;
    }
    memcpy(o->text + o->n, s, n);
    o->n += n;
    o->text[o->n] = '\0';
}

static void put_text(struct json_out *o, const char *s)
{
    put(o, s, strlen(s));
}

/* Bytes of the UTF-8 character at s, 0 = broken. Overlong forms and surrogates count as broken. */
static size_t utf8_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5                  ? 4
                                                              : 0;

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] >= 0x90)) {
        return 0;
    }
    return n;
}

static void put_quoted(struct json_out *o, const char *s)
{
    put_text(o, "\"");
    while (*s) {
        size_t n = utf8_length((const unsigned char *)s);
        char buf[8];

        if (n == 0) {
            put_text(o, "?");
            s++;
            continue;
        }
        if (*s == '"' || *s == '\\') {
            put_text(o, "\\");
        }
        if ((unsigned char)*s < 32) {
            snprintf(buf, sizeof(buf), "\\u%04x", (unsigned)*s);
            put_text(o, buf);
        } else {
            put(o, s, n);
        }
        s += n;
    }
    put_text(o, "\"");
}

static void begin(struct json_out *o, const char *key)
{
    if (o->comma) {
        put_text(o, ",");
    }
    if (key) {
        put_quoted(o, key);
        put_text(o, ":");
    }
    o->comma = true;
}

void json_out_open(struct json_out *o, const char *key, char bracket)
{
    begin(o, key);
    put(o, &bracket, 1);
    o->comma = false;
}

void json_out_close(struct json_out *o, char bracket)
{
    put(o, &bracket, 1);
    o->comma = true;
}

void json_out_string(struct json_out *o, const char *key, const char *s)
{
    begin(o, key);
    if (s) {
        put_quoted(o, s);
    } else {
        put_text(o, "null");
    }
}

void json_out_int(struct json_out *o, const char *key, int64_t v)
{
    char buf[32];

    begin(o, key);
    snprintf(buf, sizeof(buf), "%lld", (long long)v);
    put_text(o, buf);
}

void json_out_number(struct json_out *o, const char *key, double v)
{
    char buf[40] = "null";

    begin(o, key);
    if (isfinite(v)) {
        snprintf(buf, sizeof(buf), "%.9g", v);
    }
    put_text(o, buf);
}

void json_out_bool(struct json_out *o, const char *key, bool v)
{
    begin(o, key);
    put_text(o, v ? "true" : "false");
}

void json_out_value(struct json_out *o, const char *key, const struct json_in *v)
{
    switch (v->type) {
    case JSON_IN_NULL:
        json_out_string(o, key, NULL);
        break;
    case JSON_IN_BOOL:
        json_out_bool(o, key, v->number > 0);
        break;
    case JSON_IN_NUMBER:
        if (fabs(v->number) < 9e15 && v->number == floor(v->number)) {
            json_out_int(o, key, (int64_t)v->number);
        } else {
            json_out_number(o, key, v->number);
        }
        break;
    case JSON_IN_STRING:
        json_out_string(o, key, v->string);
        break;
    case JSON_IN_ARRAY:
    case JSON_IN_OBJECT:
        json_out_open(o, key, v->type == JSON_IN_ARRAY ? '[' : '{');
        for (const struct json_in *m = v->first; m; m = m->next) {
            json_out_value(o, m->key, m);
        }
        json_out_close(o, v->type == JSON_IN_ARRAY ? ']' : '}');
        break;
    }
}

void json_out_newline(struct json_out *o)
{
    if (o->comma) { /* the comma that the next member would bring belongs before the line break */
        put_text(o, ",");
        o->comma = false;
    }
    put_text(o, "\n");
}

void json_out_release(struct json_out *o)
{
    free(o->text);
    *o = (struct json_out){0};
}

static int write_all(FILE *f, const char *text, size_t n)
{
    bool ok = fwrite(text, 1, n, f) == n && fflush(f) == 0 && fsync(fileno(f)) == 0;

    return fclose(f) == 0 && ok ? 0 : -1;
}

int file_replace(const char *path, const char *text, size_t n, struct err *e)
{
    size_t room = strlen(path) + 16;
    char *temp = malloc(room);
    FILE *f;
    int rc = 0;

    if (!temp) {
        return err_set(e, SIM_E_NOMEM, "out of memory for %s", path);
    }
    snprintf(temp, room, "%s.part", path);
    f = fopen(temp, "wb");
    if (!f || write_all(f, text, n) < 0 || rename(temp, path) < 0) {
        rc = err_set(e, SIM_E_IO, "%s: %s", f ? path : temp, strerror(errno));
        if (f) {
            remove(temp);
        }
    }
    free(temp);
    return rc;
}
