/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void arrival_init(struct arrival *a)
{
    *a = (struct arrival){.gap_ns = -1, .began_ns = -1, .measured_ttft_s = NAN, .measured_e2e_s = NAN};
}

int trace_json_u32(const struct trace *t, struct jscan *s, const char *key, uint32_t *ret, struct err *e)
{
    uint64_t v;
    if (!jscan_u64(s, &v)) {
        return trace_bad_json(t, s, e);
    }
    if (v > UINT32_MAX) {
        return trace_bad(t, e, "key '%s': %llu is too large", key, (unsigned long long)v);
    }
    *ret = (uint32_t)v;
    return 0;
}

int trace_json_time(const struct trace *t, struct jscan *s, const char *key, double unit_ns, sim_ns *ret,
                    struct err *e)
{
    double v;
    if (!jscan_double(s, &v)) {
        return trace_bad_json(t, s, e);
    }
    if (!(v >= 0)) {
        return trace_bad(t, e, "key '%s': %g is not a time", key, v);
    }
    if (!(v * unit_ns < 9.2e18)) {
        return trace_bad(t, e, "key '%s': %g is too large", key, v);
    }
    *ret = (sim_ns)llround(v * unit_ns);
    return 0;
}

int csv_reader_open(struct csv_reader *r, struct trace *t, struct err *e)
{
    char *line;
    size_t n;
    int rc = trace_line(t, &line, &n, e);
    if (rc <= 0) {
        return rc < 0 ? rc : trace_bad(t, e, "no header line");
    }
    r->head_text = strndup(line, n);
    if (!r->head_text) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
    }
    rc = csv_split(&r->head, r->head_text);
    return rc == -2 ? err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t))
                    : (rc == -1 ? trace_bad(t, e, "a quoted name does not end") : 0);
}

void csv_reader_close(struct csv_reader *r)
{
    csv_release(&r->head);
    csv_release(&r->row);
    free(r->head_text);
    r->head_text = NULL;
}

int csv_reader_next(struct csv_reader *r, struct trace *t, struct err *e)
{
    char *line;
    size_t n;
    int rc = trace_line(t, &line, &n, e);
    if (rc <= 0) {
        return rc;
    }
    if (strlen(line) != n) {
        return trace_bad(t, e, "a NUL byte: this is not a text file");
    }
    int fields = csv_split(&r->row, line);
    if (fields == -2) {
        return err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
    }
    if (fields == -1) {
        return trace_bad(t, e, "a quoted field does not end");
    }
    if ((size_t)fields != r->head.n) {
        return trace_bad(t, e, "%d fields where the header names %zu columns", fields, r->head.n);
    }
    return 1;
}

int csv_reader_column(const struct csv_reader *r, const char *name)
{
    return csv_find(&r->head, name);
}

int csv_reader_need(const struct csv_reader *r, struct trace *t, const char *name, int *ret,
                    struct err *e)
{
    *ret = csv_find(&r->head, name);
    if (*ret >= 0) {
        return 0;
    }
    const char *near = text_nearest(name, (const char *const *)r->head.field, r->head.n);
    return trace_bad(t, e, "no column '%s'%s%s%s", name, near ? " (found '" : "", near ? near : "",
                     near ? "')" : "");
}

int csv_reader_u32(const struct csv_reader *r, struct trace *t, int col, uint32_t *ret, struct err *e)
{
    uint64_t v;
    enum num_fault f = num_uint(r->row.field[col], UINT32_MAX, &v);
    if (f != NUM_OK) {
        return trace_bad_number(t, r->head.field[col], r->row.field[col], f, e);
    }
    *ret = (uint32_t)v;
    return 0;
}

int csv_reader_time(const struct csv_reader *r, struct trace *t, int col, int64_t unit_ns, sim_ns *ret,
                    struct err *e)
{
    enum num_fault f = num_time(r->row.field[col], unit_ns, ret);
    return f == NUM_OK ? 0 : trace_bad_number(t, r->head.field[col], r->row.field[col], f, e);
}

static bool reserve_ids(struct id_list *l, uint64_t more)
{
    uint64_t need = l->n + more;
    if (need <= l->cap) {
        return true;
    }
    uint32_t cap = l->cap ? l->cap : 64;
    while (cap < need) {
        cap *= 2;
    }
    uint64_t *id = realloc(l->id, cap * sizeof(*id));
    if (!id) {
        return false;
    }
    l->id = id;
    l->cap = cap;
    return true;
}

bool id_list_add(struct id_list *l, uint64_t first, uint64_t last, const char **ret_why)
{
    if (last < first) {
        *ret_why = "a range that runs backwards";
        return false;
    }
    if (last - first >= ID_LIST_MAX - l->n) {
        *ret_why = "more than 4194304 ids";
        return false;
    }
    if (!reserve_ids(l, last - first + 1)) {
        *ret_why = "out of memory";
        return false;
    }
    for (uint64_t i = 0; i <= last - first; i++) {
        l->id[l->n++] = first + i;
    }
    return true;
}

/* Digits at *p; false when there are none or too many. */
static bool take_id(const char **p, uint64_t *ret)
{
    const char *s = *p;
    uint64_t v = 0;
    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    bool any = s != *p;
    *p = s;
    *ret = v;
    return any;
}

bool id_list_parse(struct id_list *l, const char *text, const char **ret_why)
{
    const char *p = text + strspn(text, " \t");
    while (*p) {
        uint64_t first, last;
        if (!take_id(&p, &first)) {
            *ret_why = "not a list of ids or ranges a-b";
            return false;
        }
        last = first;
        if (*p == '-' && (p++, !take_id(&p, &last))) {
            *ret_why = "a range without an end";
            return false;
        }
        size_t gap = strspn(p, " \t");
        if (gap == 0 && *p) {
            *ret_why = "not a list of ids or ranges a-b";
            return false;
        }
        if (!id_list_add(l, first, last, ret_why)) {
            return false;
        }
        p += gap;
    }
    return true;
}

void id_list_release(struct id_list *l)
{
    free(l->id);
    memset(l, 0, sizeof(*l));
}
