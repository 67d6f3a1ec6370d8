/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/route_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_head(struct route_file *f, struct err *e)
{
    char *line;
    size_t n;
    int rc = trace_input_line(f->in, &line, &n, e);
    if (rc < 0) {
        return rc;
    }
    if (rc == 0) {
        return err_set(e, SIM_E_DATA, "%s: is empty", trace_input_name(f->in));
    }
    f->head_text = strndup(line, n);
    if (!f->head_text || csv_split(&f->head, f->head_text) == -2) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return f->head.n > 0 ? 0 : route_file_bad(f, e, "the header line is not CSV");
}

int route_file_open(struct route_file *f, const char *path, struct arena *a, struct err *e)
{
    memset(f, 0, sizeof(*f));
    int rc = trace_input_open(&f->in, path, a, e);
    return rc < 0 ? rc : read_head(f, e);
}

int route_file_open_memory(struct route_file *f, const void *data, size_t size, const char *name,
                           struct arena *a, struct err *e)
{
    memset(f, 0, sizeof(*f));
    int rc = trace_input_open_memory(&f->in, data, size, name, a, e);
    return rc < 0 ? rc : read_head(f, e);
}

void route_file_close(struct route_file *f)
{
    trace_input_close(f->in);
    csv_release(&f->head);
    csv_release(&f->row);
    free(f->head_text);
    memset(f, 0, sizeof(*f));
}

int route_file_bad(const struct route_file *f, struct err *e, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(e, SIM_E_DATA, "%s:%llu: %s", trace_input_name(f->in),
                   (unsigned long long)trace_input_line_number(f->in), text);
}

int route_file_next(struct route_file *f, struct err *e)
{
    char *line;
    size_t n;
    int rc;
    do {
        rc = trace_input_line(f->in, &line, &n, e);
    } while (rc == 1 && strspn(line, " \t") == n);
    if (rc <= 0) {
        return rc;
    }
    int fields = csv_split(&f->row, line);
    if (fields == -2) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (fields < 0 || f->row.n != f->head.n) {
        return route_file_bad(f, e, "%zu fields where the header has %zu", fields < 0 ? (size_t)0 : f->row.n,
                              f->head.n);
    }
    return 1;
}

int route_file_column(const struct route_file *f, const char *names)
{
    char name[32];
    int column = -1, used = 0;
    while (column < 0 && sscanf(names, " %31s%n", name, &used) == 1) {
        column = csv_find(&f->head, name);
        names += used;
    }
    return column;
}

int route_file_need(const struct route_file *f, const char *names, int *ret, struct err *e)
{
    *ret = route_file_column(f, names);
    return *ret >= 0 ? 0 : err_set(e, SIM_E_DATA, "%s:1: no column '%s'", trace_input_name(f->in), names);
}

int route_file_uint(const struct route_file *f, int column, uint64_t max, uint64_t *ret, struct err *e)
{
    enum num_fault fault = num_uint(f->row.field[column], max, ret);
    if (fault != NUM_OK) {
        return route_file_bad(f, e, "column '%.40s': '%.60s' %s", f->head.field[column], f->row.field[column],
                              num_fault_text(fault));
    }
    return 0;
}

const char *route_file_text(const struct route_file *f, int column)
{
    return f->row.field[column];
}
