/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/json_scan.h"

#include <string.h>

#include "sim/core/json.h"

size_t json_bom_len(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static char peek(const struct json_scan *s)
{
    return (char)(s->at < s->len ? s->text[s->at] : '\0');
}

static bool starts(const struct json_scan *s, const char *word)
{
    size_t n = strlen(word);

    return s->len - s->at >= n && memcmp(s->text + s->at, word, n) == 0;
}

static void skip_past(struct json_scan *s, const char *mark)
{
    while (s->at < s->len && !starts(s, mark)) {
        s->at++;
    }
    s->at += s->at < s->len ? strlen(mark) : 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void json_scan_space(struct json_scan *s)
{
    for (;;) {
        if (is_space(peek(s))) {
            s->at++;
        } else if (starts(s, "//")) {
            skip_past(s, "\n");
        } else if (starts(s, "/*")) {
            s->at += 2;
            skip_past(s, "*/");
        } else {
            return;
        }
    }
}

static void skip_string(struct json_scan *s)
{
    for (s->at++; s->at < s->len && s->text[s->at] != '"'; s->at++) {
        s->at += s->text[s->at] == '\\';
    }
    s->at = s->at < s->len ? s->at + 1 : s->len;
}

/* Over one of: string, bracket, run of other characters. Returns the change of depth. */
static int skip_token(struct json_scan *s)
{
    char c = peek(s);

    if (c == '"') {
        skip_string(s);
        return 0;
    }
    s->at++;
    if (c == '{' || c == '[') {
        return 1;
    }
    return c == '}' || c == ']' ? -1 : 0;
}

/* At least one character, so that a walk over any text comes to an end. */
static void skip_scalar(struct json_scan *s)
{
    do {
        s->at += s->at < s->len;
    } while (s->at < s->len && !is_space(peek(s)) && !strchr(",]}/", peek(s)));
}

void json_scan_value(struct json_scan *s)
{
    int depth = 0;

    if (!strchr("{[\"", peek(s)) || s->at >= s->len) {
        skip_scalar(s);
        return;
    }
    do {
        depth += skip_token(s);
        if (depth > 0) {
            json_scan_space(s);
        }
    } while (depth > 0 && s->at < s->len);
}

bool json_scan_enter(struct json_scan *s)
{
    bool container = peek(s) == '{' || peek(s) == '[';

    s->at += container;
    return container;
}

static void skip_one(struct json_scan *s, char c)
{
    json_scan_space(s);
    s->at += s->at < s->len && s->text[s->at] == c;
    json_scan_space(s);
}

bool json_scan_member(struct json_scan *s, struct json_key *ret)
{
    size_t start;

    *ret = (struct json_key){NULL, 0};
    skip_one(s, ',');
    if (s->at >= s->len || strchr("}]:,", peek(s))) {
        return false;
    }
    start = s->at;
    if (peek(s) != '"') {
        return true;
    }
    skip_string(s);
    json_scan_space(s);
    if (peek(s) != ':') { /* a string in an array */
        s->at = start;
        return true;
    }
    *ret = (struct json_key){s->text + start, s->at - start};
    skip_one(s, ':');
    return true;
}

void json_line_col(const char *text, size_t at, unsigned *ret_line, unsigned *ret_col)
{
    *ret_line = 1;
    *ret_col = 1;
    for (size_t i = 0; i < at; i++) {
        ++*ret_col;
        if (text[i] == '\n') {
            ++*ret_line;
            *ret_col = 1;
        }
    }
}

/* Length of `key` at the head of the dotted path `want`, when it is all of it or ends at a dot;
 * else 0. Escapes in the text's key are compared as they are written. */
static size_t path_head(struct json_key key, const char *want)
{
    size_t n = 0;

    while (n + 2 < key.n && key.s[n + 1] != '"') {
        n++;
    }
    if (n == 0 || strnlen(want, n) < n || memcmp(want, key.s + 1, n) != 0 ||
        (want[n] != '.' && want[n] != '\0')) {
        return 0;
    }
    return n;
}

/* Moves to the value of the dotted path below the container at the cursor. */
static bool find(struct json_scan *s, const char *want)
{
    struct json_key key;
    struct json_scan below;
    size_t n;

    if (!json_scan_enter(s)) {
        return false;
    }
    for (; json_scan_member(s, &key); json_scan_value(s)) {
        n = key.s ? path_head(key, want) : 0;
        if (n > 0 && want[n] == '\0') {
            return true;
        }
        below = *s;
        if (n > 0 && find(&below, want + n + 1)) {
            *s = below;
            return true;
        }
    }
    return false;
}

bool json_locate(const char *text, size_t len, const char *dotted_key, unsigned *ret_line,
                 unsigned *ret_col)
{
    struct json_scan s = {text, len, json_bom_len(text, len)};

    json_scan_space(&s);
    if (!find(&s, dotted_key)) {
        return false;
    }
    json_line_col(text, s.at, ret_line, ret_col);
    return true;
}
