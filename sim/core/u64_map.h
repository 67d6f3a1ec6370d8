/* SPDX-License-Identifier: Apache-2.0
 *
 * Map from 64-bit keys to small numbers (open addressing): sessions, prefix ids. A zeroed struct is empty. */
#ifndef STEELYARD_U64_MAP_H
#define STEELYARD_U64_MAP_H

#include <stdint.h>

struct u64_map {
    struct u64_map_slot {
        uint64_t key;
        uint32_t value;
        uint32_t used;
    } * slots;
    uint32_t cap, n; /* cap is a power of two, or 0 */
};

/* The value of `key`, or NULL when it is not in. Valid until the next add. */
uint32_t *u64_map_find(const struct u64_map *m, uint64_t key);
/* The same, added with value 0 when it is not in; NULL = no memory. */
uint32_t *u64_map_add(struct u64_map *m, uint64_t key);
void u64_map_release(struct u64_map *m);

#endif
