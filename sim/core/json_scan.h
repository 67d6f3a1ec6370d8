/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding places in JSON text. Inside core only. */
#ifndef STEELYARD_JSON_SCAN_H
#define STEELYARD_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* A cursor over JSON text with comments and trailing commas. Text that is no JSON is walked without
 * leaving its bounds; what comes out is then of no use. */
struct json_scan {
    const char *text;
    size_t len, at;
};

struct json_key {
    const char *s; /* with its quotes; NULL in an array */
    size_t n;
};

void json_scan_space(struct json_scan *s);
/* Moves over one value. */
void json_scan_value(struct json_scan *s);
/* The cursor is on '{' or '[': moves into it. false when it is on something else. */
bool json_scan_enter(struct json_scan *s);
/* Inside a container and between values: moves to the next member's value; false at the end. */
bool json_scan_member(struct json_scan *s, struct json_key *ret);

/* Bytes of a UTF-8 byte order mark at the start. */
size_t json_bom_len(const char *text, size_t len);

void json_line_col(const char *text, size_t at, unsigned *ret_line, unsigned *ret_col);

#endif
