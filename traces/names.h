/* SPDX-License-Identifier: Apache-2.0
 *
 * Dense ids for names in order of first appearance (clients, sessions): id -> name is an array, name
 * -> id an open-addressing table of ids, hashed by XXH3. */
#ifndef STEELYARD_TRACE_NAMES_H
#define STEELYARD_TRACE_NAMES_H

#include "sim/core/types.h"

#define NAMES_FULL UINT32_MAX

struct names {
    char **name;
    uint32_t n, cap;
    uint32_t *slot; /* id + 1, 0 = free; a power of two, at most half full */
    uint32_t n_slots;
};

/* Id of the name, new or known; NAMES_FULL when memory is short. The name is copied. */
uint32_t names_id(struct names *t, const char *name, size_t len);
void names_release(struct names *t);
/* Ids change: name i becomes name to[i]; `to` is a permutation. false when memory is short. */
bool names_renumber(struct names *t, const uint32_t *to);

#endif
