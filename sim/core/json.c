/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over a copy of the text blanks what cJSON does not know and finds what it does not report
 * well; cJSON parses; a walk over the tree finds duplicate keys and infinite numbers. */
#include "sim/core/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/json_scan.h"

#define DEPTH_MAX        100
#define FILE_MAX_BYTES   ((size_t)64 << 20)
#define FIRST_READ_BYTES ((size_t)16 << 10)

/* ---- the pass before ---- */

struct blanker {
    char *text;
    size_t len, at;
    int depth;
    size_t comma;        /* place of the last comma, if it was the last thing seen */
    char last, before;   /* last thing seen outside strings and comments, and the one before it */
    const char *problem; /* NULL = fine; else what is wrong at `at` */
};

static void blank(struct blanker *b, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (b->text[i] != '\n') {
            b->text[i] = ' ';
        }
    }
}

static void line_comment(struct blanker *b)
{
    char *end = memchr(b->text + b->at, '\n', b->len - b->at);
    size_t to = end ? (size_t)(end - b->text) : b->len;

    blank(b, b->at, to);
    b->at = to;
}

static void block_comment(struct blanker *b)
{
    char *end = memmem(b->text + b->at + 2, b->len - b->at - 2, "*/", 2);

    if (!end) {
        b->problem = "comment without an end";
        return;
    }
    blank(b, b->at, (size_t)(end + 2 - b->text));
    b->at = (size_t)(end + 2 - b->text);
}

static bool comment(struct blanker *b)
{
    char next = (char)(b->at + 1 < b->len ? b->text[b->at + 1] : '\0');

    if (b->text[b->at] != '/' || (next != '/' && next != '*')) {
        return false;
    }
    if (next == '/') {
        line_comment(b);
    } else {
        block_comment(b);
    }
    return true;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20;
}

static void string(struct blanker *b)
{
    size_t i = b->at + 1;

    while (i < b->len && b->text[i] != '"' && (!is_control(b->text[i]) || b->text[i] == '\t')) {
        i += b->text[i] == '\\' ? 2 : 1;
    }
    if (i >= b->len || b->text[i] == '\n') {
        b->problem = "string without a closing quote on its line";
    } else if (b->text[i] != '"') {
        b->at = i;
        b->problem = "control byte in a string";
    } else {
        b->at = i + 1;
    }
}

/* A comma counts as trailing only after a value: "[,]" stays an error. */
static void close_bracket(struct blanker *b)
{
    if (b->last == ',' && !strchr("[{,:", b->before)) {
        b->text[b->comma] = ' ';
    }
    b->depth--;
}

static void seen(struct blanker *b, char c)
{
    b->before = b->last;
    b->last = c;
}

static void bracket_or_other(struct blanker *b, char c)
{
    if (c == '{' || c == '[') {
        if (++b->depth > DEPTH_MAX) {
            b->problem = "nested deeper than 100";
        }
    } else if (c == '}' || c == ']') {
        close_bracket(b);
    } else if (c == ',') {
        b->comma = b->at;
    } else if (is_control(c)) { /* cJSON would take it for a blank */
        b->problem = "control byte outside of a string";
    }
    if (!b->problem) {
        b->at++;
        seen(b, c);
    }
}

static void blank_all(struct blanker *b)
{
    while (!b->problem && b->at < b->len) {
        char c = b->text[b->at];

        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            b->at++;
        } else if (c == '"') {
            string(b);
            seen(b, c);
        } else if (!comment(b)) {
            bracket_or_other(b, c);
        }
    }
}

/* ---- errors with their place ---- */

static int error_at(const char *text, size_t at, const char *name, const char *what, struct err *e)
{
    unsigned line, col;

    json_line_col(text, at, &line, &col);
    return err_set(e, SIM_E_CONFIG, "%s:%u:%u: %s", name, line, col, what);
}

static int syntax_error(const char *text, size_t len, size_t at, const char *name, struct err *e)
{
    char what[80];
    unsigned char c;

    while (at < len && strchr(" \t\r\n", text[at])) {
        at++;
    }
    if (at >= len) {
        return error_at(text, len, name, "the text ends too early", e);
    }
    c = (unsigned char)text[at];
    snprintf(what, sizeof what, c > 32 && c < 127 ? "unexpected '%c'" : "unexpected byte 0x%02x",
             c);
    return error_at(text, at, name, what, e);
}

/* ---- the walk after ---- */

struct walk {
    size_t member[DEPTH_MAX + 1]; /* per container from the root: the member that is looked at */
    size_t depth;
    const char *problem;
    const char *key; /* that the problem is about, or NULL */
};

struct named {
    const char *key;
    size_t member;
};

static int compare_named(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    int c = strcmp(a->key, b->key);

    return c ? c : (a->member > b->member) - (a->member < b->member);
}

/* Sorted, so that an object of many keys is not compared pair by pair. */
static int duplicate_key(struct walk *w, const cJSON *object)
{
    size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
    struct named *all = calloc(n + 1, sizeof *all);
    const cJSON *item;

    if (!all) {
        return SIM_E_NOMEM;
    }
    cJSON_ArrayForEach(item, object)
    {
        all[i] = (struct named){item->string, i};
        i++;
    }
    qsort(all, n, sizeof *all, compare_named);
    for (i = 1; i < n && !w->problem; i++) {
        if (strcmp(all[i - 1].key, all[i].key) == 0) {
            w->problem = "duplicate key";
            w->key = all[i].key;
            w->member[w->depth] = all[i].member;
        }
    }
    free(all);
    return 0;
}

/* Recursion is bounded by the depth that the pass before allowed. */
static int check_tree(struct walk *w, const cJSON *item)
{
    int rc = 0;
    size_t i = 0;

    if (cJSON_IsNumber(item) && !isfinite(item->valuedouble)) {
        w->problem = "number too large";
        return 0;
    }
    if (cJSON_IsObject(item)) {
        rc = duplicate_key(w, item);
    }
    for (const cJSON *c = item->child; c && rc == 0 && !w->problem; c = c->next) {
        w->member[w->depth++] = i++;
        rc = check_tree(w, c);
        w->depth -= !w->problem;
    }
    return rc;
}

/* Place of the value that the walk stopped at. */
static size_t walk_place(const struct walk *w, size_t levels, const char *text, size_t len)
{
    struct json_scan s = {text, len, 0};
    struct json_key key;

    json_scan_space(&s);
    for (size_t level = 0; level < levels && json_scan_enter(&s); level++) {
        for (size_t i = 0; json_scan_member(&s, &key) && i < w->member[level]; i++) {
            json_scan_value(&s);
        }
    }
    return s.at;
}

static int walk_error(const struct walk *w, const char *text, size_t len, const char *name,
                      struct err *e)
{
    char what[200];
    size_t levels = w->depth + (w->key != NULL);

    snprintf(what, sizeof what, w->key ? "%s '%.150s'" : "%s", w->problem, w->key);
    return error_at(text, walk_place(w, levels, text, len), name, what, e);
}

/* ---- parsing ---- */

static cJSON *parse_blanked(const char *text, size_t len, const char *name, struct err *e)
{
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(text, len + 1, &end, true);
    struct walk w = {.depth = 0};
    int rc;

    if (!root) {
        syntax_error(text, len, end ? (size_t)(end - text) : 0, name, e);
        return NULL;
    }
    rc = check_tree(&w, root);
    if (rc < 0) {
        err_set(e, rc, "%s: out of memory", name);
    } else if (w.problem) {
        rc = walk_error(&w, text, len, name, e);
    }
    if (rc < 0) {
        cJSON_Delete(root);
        return NULL;
    }
    return root;
}

cJSON *json_parse(const char *text, size_t len, const char *name, struct err *e)
{
    struct blanker b = {.text = malloc(len + 1), .len = len};
    cJSON *root = NULL;

    if (!b.text) {
        err_set(e, SIM_E_NOMEM, "%s: out of memory", name);
        return NULL;
    }
    memcpy(b.text, text, len);
    b.text[len] = '\0';
    blank(&b, 0, json_bom_len(text, len));
    blank_all(&b);
    if (b.problem) {
        error_at(text, b.at, name, b.problem, e);
    } else {
        root = parse_blanked(b.text, len, name, e);
    }
    free(b.text);
    return root;
}

/* ---- files ---- */

static int read_error(const char *path, struct err *e)
{
    return err_set(e, SIM_E_IO, "cannot read '%s': %s", path, strerror(errno));
}

/* Reads to the end into a buffer that doubles. *ret_buf is the caller's to free, also on error. */
static int read_all(FILE *f, const char *path, size_t limit, char **ret_buf, size_t *ret_len,
                    struct err *e)
{
    size_t cap = 0, len = 0, got;
    char *bigger;

    do {
        if (len == cap) {
            cap = cap ? 2 * cap : FIRST_READ_BYTES;
            bigger = realloc(*ret_buf, cap);
            if (!bigger) {
                return err_set(e, SIM_E_NOMEM, "%s: out of memory", path);
            }
            *ret_buf = bigger;
        }
        got = fread(*ret_buf + len, 1, cap - len, f);
        len += got;
    } while (got > 0 && len <= limit);
    if (ferror(f)) {
        return read_error(path, e);
    }
    if (len > limit) {
        return err_set(e, SIM_E_CONFIG, "'%s' is larger than %zu bytes", path, limit);
    }
    *ret_len = len;
    return 0;
}

static char *into_arena(const char *buf, size_t len, const char *path, struct arena *a,
                        struct err *e)
{
    char *s = arena_alloc(a, len + 1);

    if (!s) {
        err_set(e, SIM_E_NOMEM, "%s: out of memory", path);
        return NULL;
    }
    return memcpy(s, buf, len);
}

char *json_read_file(const char *path, size_t *ret_len, struct arena *a, struct err *e)
{
    FILE *f = fopen(path, "rbe");
    char *buf = NULL, *s = NULL;
    size_t len = 0;

    if (!f) {
        read_error(path, e);
        return NULL;
    }
    if (read_all(f, path, FILE_MAX_BYTES, &buf, &len, e) == 0) {
        s = into_arena(buf, len, path, a, e);
    }
    if (s && ret_len) {
        *ret_len = len;
    }
    free(buf);
    fclose(f);
    return s;
}

cJSON *json_parse_file(const char *path, struct err *e)
{
    struct arena a = {0};
    cJSON *root = NULL;
    size_t len = 0;
    char *text = json_read_file(path, &len, &a, e);

    if (text) {
        root = json_parse(text, len, path, e);
    }
    arena_release(&a);
    return root;
}
