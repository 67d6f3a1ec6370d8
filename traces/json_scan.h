/* SPDX-License-Identifier: Apache-2.0
 *
 * A pull scanner for JSON lines and large result files: no tree, no allocation, one pass. cJSON needs
 * 64 bytes for each number of an array, and a detailed benchmark result is little else. */
#ifndef STEELYARD_TRACE_JSON_SCAN_H
#define STEELYARD_TRACE_JSON_SCAN_H

#include "sim/core/types.h"

#define JSCAN_DEPTH 64

struct jscan {
    const char *begin, *p; /* NUL-terminated */
    const char *fault;     /* NULL = fine so far; else what is wrong at p */
    int depth;
};

void jscan_init(struct jscan *s, const char *text);
/* Enter an object or array: true when the next value is one. */
bool jscan_object(struct jscan *s);
bool jscan_array(struct jscan *s);
/* Next member of the object just entered: its name (cut to the buffer); false behind the last one
 * (which leaves the object) or at a fault. */
bool jscan_key(struct jscan *s, char *buf, size_t size);
/* Is there another element in the array? Leaves it when not. */
bool jscan_element(struct jscan *s);
/* Number, also the NaN and Infinity that Python writes; `null` reads as NaN. */
bool jscan_double(struct jscan *s, double *ret);
/* Whole number from 0 to 2^64-1, exactly; "12.0" and "1e3" are accepted. */
bool jscan_u64(struct jscan *s, uint64_t *ret);
/* String with its escapes resolved (\uXXXX to UTF-8), cut to the buffer. */
bool jscan_string(struct jscan *s, char *buf, size_t size);
/* Skip a value of any kind. */
bool jscan_skip(struct jscan *s);
/* Nothing but blanks behind the last value. */
bool jscan_end(struct jscan *s);
char jscan_peek(struct jscan *s); /* first character of the next value */
/* Place of the fault: line in the text and column in that line, both from 1. */
void jscan_place(const struct jscan *s, size_t *ret_line, size_t *ret_column);

#endif
