/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of measurements on disk: CSV, plain or gzip, columns found by name, read row by row. */
#ifndef STEELYARD_SHEET_H
#define STEELYARD_SHEET_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"
#include "traces/csv.h"
#include "traces/input.h"

struct sheet {
    struct trace_input *in;
    struct csv row;
    size_t n_columns;
    char **column;
    struct err *err;
};

/* DIR/NAME.csv.gz, or DIR/NAME.csv. */
int sheet_open(struct sheet *s, const char *dir, const char *name, struct arena *a, struct err *e);
/* Of an open input, which is the sheet's from here on. */
int sheet_from(struct sheet *s, struct trace_input *in, struct arena *a, struct err *e);
bool sheet_exists(const char *dir, const char *name);
void sheet_close(struct sheet *s);
/* Place of a column; a missing one is an error that names the file. */
int sheet_column(struct sheet *s, const char *name);
/* 1 = a row, 0 = end, < 0 = error. */
int sheet_next(struct sheet *s);
const char *sheet_text(const struct sheet *s, int column);
/* Finite number, or NaN for an empty field; anything else is an error (*ok = false). */
double sheet_number(struct sheet *s, int column, bool *ok);

#endif
