/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/names.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static uint32_t *find_slot(const struct names *t, const char *name, size_t len)
{
    uint32_t mask = t->n_slots - 1;
    uint32_t i = (uint32_t)XXH3_64bits(name, len) & mask;
    while (t->slot[i]) {
        const char *have = t->name[t->slot[i] - 1];
        if (strncmp(have, name, len) == 0 && have[len] == '\0') {
            break;
        }
        i = (i + 1) & mask;
    }
    return &t->slot[i];
}

static bool rehash(struct names *t, uint32_t n_slots)
{
    uint32_t *slot = calloc(n_slots, sizeof(*slot));
    if (!slot) {
        return false;
    }
    free(t->slot);
    t->slot = slot;
    t->n_slots = n_slots;
    for (uint32_t i = 0; i < t->n; i++) {
        *find_slot(t, t->name[i], strlen(t->name[i])) = i + 1;
    }
    return true;
}

static bool make_room(struct names *t)
{
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? t->cap * 2 : 64;
        char **name = realloc(t->name, cap * sizeof(*name));
        if (!name) {
            return false;
        }
        t->name = name;
        t->cap = cap;
    }
    return t->n * 2 < t->n_slots || rehash(t, t->n_slots ? t->n_slots * 2 : 128);
}

uint32_t names_id(struct names *t, const char *name, size_t len)
{
    len = strnlen(name, len);
    if (t->n_slots) {
        uint32_t known = *find_slot(t, name, len);
        if (known) {
            return known - 1;
        }
    }
    if (t->n >= 1u << 30 || !make_room(t)) {
        return NAMES_FULL;
    }
    char *copy = strndup(name, len);
    if (!copy) {
        return NAMES_FULL;
    }
    t->name[t->n] = copy;
    *find_slot(t, name, len) = t->n + 1;
    return t->n++;
}

void names_release(struct names *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        free(t->name[i]);
    }
    free(t->name);
    free(t->slot);
    memset(t, 0, sizeof(*t));
}

bool names_renumber(struct names *t, const uint32_t *to)
{
    char **name = calloc(t->cap ? t->cap : 1, sizeof(*name));
    if (!name) {
        return false;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        name[to[i]] = t->name[i];
    }
    free(t->name);
    t->name = name;
    return t->n == 0 || rehash(t, t->n_slots);
}
