/* SPDX-License-Identifier: Apache-2.0
 *
 * Comma separated values, split in place, and the numbers in them. Columns are found by the names of
 * the header line, so that their order does not matter. */
#ifndef STEELYARD_TRACE_CSV_H
#define STEELYARD_TRACE_CSV_H

#include "sim/core/types.h"

struct csv {
    char **field; /* pointers into the line */
    size_t n, cap;
};

/* Fields may be quoted, with "" for a quote inside. Returns the number of fields, or -1 for a quote
 * that is never closed or followed by other text, -2 when memory is short. */
int csv_split(struct csv *c, char *line);
void csv_release(struct csv *c);
/* Index of the field that spells `name` (blanks around it are ignored), or -1. */
int csv_find(const struct csv *c, const char *name);

/* What is wrong with a number; the text is for messages: "is negative". */
enum num_fault { NUM_OK, NUM_EMPTY, NUM_TEXT, NUM_NEGATIVE, NUM_RANGE, NUM_NAN, NUM_FRACTION };
const char *num_fault_text(enum num_fault f);

/* Whole number >= 0 up to max. "12.0" is 12, as data frames write columns with gaps. */
enum num_fault num_uint(const char *s, uint64_t max, uint64_t *ret);
/* Decimal number of units of `unit_ns` nanoseconds, as integer nanoseconds; exact for plain decimals
 * (digits below a nanosecond are cut). May be negative. */
enum num_fault num_time(const char *s, int64_t unit_ns, sim_ns *ret);
/* Finite number. */
enum num_fault num_double(const char *s, double *ret);
/* Seconds since 1970-01-01 of "2023-11-16 18:15:46.6805900", also with T, Z or an offset +hh:mm, in
 * nanoseconds. */
enum num_fault num_iso_time(const char *s, sim_ns *ret);

#endif
