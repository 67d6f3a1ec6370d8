/* SPDX-License-Identifier: Apache-2.0
 *
 * A region: many allocations, freed all at once. One per run, one per process for configuration.
 * Under AddressSanitizer every allocation is a malloc of its own, so that overruns are seen. */
#ifndef STEELYARD_ARENA_H
#define STEELYARD_ARENA_H

#include <stddef.h>

struct arena {
    struct arena_block *head; /* newest block first */
    size_t used_bytes;        /* handed out since init */
    size_t held_bytes;        /* taken from the system */
};

/* A zeroed struct arena is a valid, empty one. */
void arena_init(struct arena *a);
/* Frees everything. The struct can be used again. */
void arena_release(struct arena *a);

/* Zeroed memory, aligned for any type; NULL when the system has none. n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);
/* As arena_alloc for `count` items of `size`, NULL also when the product overflows. */
void *arena_calloc(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
