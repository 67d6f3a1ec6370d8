/* SPDX-License-Identifier: Apache-2.0
 *
 * Units of option values. Inside core only. */
#ifndef STEELYARD_UNIT_H
#define STEELYARD_UNIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* value in the wanted unit = value as written * num / den */
struct unit_ratio {
    int64_t num, den;
};

/* Ratio for a value written with `suffix` where `unit` is wanted (NULL = a bare count). Kinds: time,
 * bytes, shares (%), and counts with k M G T Ki Mi Gi Ti; a common "/s" tail is ignored. false when
 * the two are not of one kind. */
bool unit_ratio(const char *suffix, const char *unit, struct unit_ratio *ret);

/* The suffixes that unit_ratio takes for `unit`, for messages: "ns us ms s m h". Static. */
const char *unit_suffixes(const char *unit);

/* ---- numbers at the head of a text (text.c) ---- */
/* Length of the decimal number that s starts with (no blanks, hex, inf or nan); 0 = none. */
size_t text_number_len(const char *s);
/* The number of that length; false when it is out of range (or, for int64, not a plain integer). */
bool text_double_prefix(const char *s, size_t len, double *ret);
bool text_int64_prefix(const char *s, size_t len, int64_t *ret);

#endif
