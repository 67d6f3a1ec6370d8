/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/core/u64_map.h"

#include <stdbool.h>
#include <stdlib.h>

static struct u64_map_slot *place(const struct u64_map *m, uint64_t key)
{
    uint64_t h = key * 0x9E3779B97F4A7C15u; /* Fibonacci hashing: keys are often 1, 2, 3 ... */
    uint32_t i = (uint32_t)(h >> 32) & (m->cap - 1);
    while (m->slots[i].used && m->slots[i].key != key) {
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

static bool grow(struct u64_map *m)
{
    struct u64_map more = {.cap = m->cap ? m->cap * 2 : 64, .n = m->n};
    if (m->cap > UINT32_MAX / 4) {
        return false;
    }
    more.slots = calloc(more.cap, sizeof *more.slots);
    if (!more.slots) {
        return false;
    }
    for (uint32_t i = 0; i < m->cap; i++) {
        if (m->slots[i].used) {
            *place(&more, m->slots[i].key) = m->slots[i];
        }
    }
    free(m->slots);
    *m = more;
    return true;
}

uint32_t *u64_map_find(const struct u64_map *m, uint64_t key)
{
    struct u64_map_slot *s = m->cap ? place(m, key) : NULL;
    return s && s->used ? &s->value : NULL;
}

uint32_t *u64_map_add(struct u64_map *m, uint64_t key)
{
    uint32_t *known = u64_map_find(m, key);
    if (known) {
        return known;
    }
    if (m->n * 2 >= m->cap && !grow(m)) {
        return NULL;
    }
    struct u64_map_slot *s = place(m, key);
    *s = (struct u64_map_slot){.key = key, .used = 1};
    m->n++;
    return &s->value;
}

void u64_map_release(struct u64_map *m)
{
    free(m->slots);
    *m = (struct u64_map){0};
}
