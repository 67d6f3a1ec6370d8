/* SPDX-License-Identifier: Apache-2.0
 *
 * Bump allocation in blocks that double from 4 KiB to 1 MiB, so that a small arena stays small and
 * a large one asks the system seldom. A request above a quarter of the next block gets a block of
 * its own behind the head, whose rest stays in use. */
#include "sim/core/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ONE_MALLOC_EACH 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ONE_MALLOC_EACH 1
#endif
#endif
#ifndef ONE_MALLOC_EACH
#define ONE_MALLOC_EACH 0
#endif

#define BLOCK_MIN_BYTES ((size_t)4 << 10)
#define BLOCK_MAX_BYTES ((size_t)1 << 20)
#define ALIGN           _Alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t used, size; /* bytes of data */
    _Alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_release(struct arena *a)
{
    struct arena_block *b = a->head, *next;

    for (; b; b = next) {
        next = b->next;
        free(b);
    }
    arena_init(a);
}

/* A new zeroed block of `size` data bytes, not yet linked. */
static struct arena_block *block_new(struct arena *a, size_t size)
{
    struct arena_block *b;

    if (size > SIZE_MAX - sizeof *b) {
        return NULL;
    }
    b = calloc(1, sizeof *b + size);
    if (b) {
        b->size = size;
        a->held_bytes += sizeof *b + size;
    }
    return b;
}

static void block_push(struct arena *a, struct arena_block *b)
{
    b->next = a->head;
    a->head = b;
}

static void block_push_behind_head(struct arena *a, struct arena_block *b)
{
    if (!a->head) {
        block_push(a, b);
        return;
    }
    b->next = a->head->next;
    a->head->next = b;
}

static void *own_block(struct arena *a, size_t n)
{
    struct arena_block *b = block_new(a, n);

    if (!b) {
        return NULL;
    }
    b->used = n;
    block_push_behind_head(a, b);
    a->used_bytes += n;
    return b->data;
}

static size_t next_block_bytes(const struct arena *a)
{
    if (a->held_bytes < BLOCK_MIN_BYTES) {
        return BLOCK_MIN_BYTES;
    }
    return a->held_bytes < BLOCK_MAX_BYTES ? a->held_bytes : BLOCK_MAX_BYTES;
}

static void *take(struct arena *a, size_t n)
{
    void *p = a->head->data + a->head->used;

    a->head->used += n;
    a->used_bytes += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *b;
    size_t rounded = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);

    if (ONE_MALLOC_EACH) {
        return own_block(a, n);
    }
    if (rounded < n) {
        return NULL;
    }
    if (a->head && rounded <= a->head->size - a->head->used) {
        return take(a, rounded);
    }
    if (rounded > next_block_bytes(a) / 4) {
        return own_block(a, rounded);
    }
    b = block_new(a, next_block_bytes(a));
    if (!b) {
        return NULL;
    }
    block_push(a, b);
    return take(a, rounded);
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t n;

    return __builtin_mul_overflow(count, size, &n) ? NULL : arena_alloc(a, n);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *p = arena_alloc(a, len + 1);

    return p ? memcpy(p, s, len) : NULL;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, SIZE_MAX - 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *p = NULL;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0) {
        p = arena_alloc(a, (size_t)n + 1);
    }
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    va_end(ap);
    return p;
}
