/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/sheet.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char *path_of(const char *dir, const char *name, const char *suffix, struct arena *a)
{
    return arena_printf(a, "%s/%s%s", dir, name, suffix);
}

bool sheet_exists(const char *dir, const char *name)
{
    struct arena a = {0};
    const char *gz = path_of(dir, name, ".csv.gz", &a), *plain = path_of(dir, name, ".csv", &a);
    bool there = (gz && access(gz, R_OK) == 0) || (plain && access(plain, R_OK) == 0);
    arena_release(&a);
    return there;
}

static int read_header(struct sheet *s, struct arena *a)
{
    char *line;
    size_t len;
    int rc = trace_input_line(s->in, &line, &len, s->err);
    if (rc <= 0) {
        return rc < 0 ? rc : err_set(s->err, SIM_E_DATA, "%s: is empty", trace_input_name(s->in));
    }
    if (csv_split(&s->row, line) < 0) {
        return err_set(s->err, SIM_E_DATA, "%s:1: is not CSV", trace_input_name(s->in));
    }
    s->n_columns = s->row.n;
    s->column = arena_calloc(a, s->n_columns, sizeof(*s->column));
    for (size_t i = 0; s->column && i < s->n_columns; i++) {
        s->column[i] = arena_strdup(a, s->row.field[i]);
        if (!s->column[i]) {
            s->column = NULL;
        }
    }
    return s->column ? 0 : err_set(s->err, SIM_E_NOMEM, "out of memory");
}

int sheet_open(struct sheet *s, const char *dir, const char *name, struct arena *a, struct err *e)
{
    const char *path = path_of(dir, name, ".csv.gz", a);
    if (path && access(path, F_OK) != 0) {
        path = path_of(dir, name, ".csv", a);
    }
    if (!path) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    struct trace_input *in;
    return trace_input_open(&in, path, a, e) < 0 ? e->code : sheet_from(s, in, a, e);
}

int sheet_from(struct sheet *s, struct trace_input *in, struct arena *a, struct err *e)
{
    *s = (struct sheet){.in = in, .err = e};
    if (read_header(s, a) < 0) {
        sheet_close(s);
        return e->code;
    }
    return 0;
}

void sheet_close(struct sheet *s)
{
    if (s->in) {
        trace_input_close(s->in);
    }
    csv_release(&s->row);
    s->in = NULL;
}

int sheet_column(struct sheet *s, const char *name)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        if (strcmp(s->column[i], name) == 0) {
            return (int)i;
        }
    }
    return err_set(s->err, SIM_E_DATA, "%s:1: no column '%s'", trace_input_name(s->in), name);
}

int sheet_next(struct sheet *s)
{
    char *line;
    size_t len;
    int rc = trace_input_line(s->in, &line, &len, s->err);
    if (rc <= 0) {
        return rc;
    }
    if (csv_split(&s->row, line) < 0 || s->row.n != s->n_columns) {
        return err_set(s->err, SIM_E_DATA, "%s:%llu: %zu fields are expected, there are %zu",
                       trace_input_name(s->in), (unsigned long long)trace_input_line_number(s->in),
                       s->n_columns, s->row.n);
    }
    return 1;
}

const char *sheet_text(const struct sheet *s, int column)
{
    return s->row.field[column];
}

double sheet_number(struct sheet *s, int column, bool *ok)
{
    double v;
    enum num_fault fault = num_double(s->row.field[column], &v);
    if (fault == NUM_EMPTY) {
        return (double)NAN;
    }
    if (fault != NUM_OK) {
        err_set(s->err, SIM_E_DATA, "%s:%llu: column '%s': '%s' %s", trace_input_name(s->in),
                (unsigned long long)trace_input_line_number(s->in), s->column[column],
                s->row.field[column], num_fault_text(fault));
        *ok = false;
        return (double)NAN;
    }
    return v;
}
