/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/programs.h"

#include <stdlib.h>

static uint32_t place(const struct programs *p, uint64_t key)
{
    uint64_t h = key * 0x9E3779B97F4A7C15u; /* Fibonacci hashing: sessions are often 1, 2, 3 ... */
    uint32_t i = (uint32_t)(h >> 32) & (p->cap - 1);
    while (p->number[i] && p->key[i] != key) {
        i = (i + 1) & (p->cap - 1);
    }
    return i;
}

static bool grow(struct programs *p)
{
    struct programs more = {.cap = p->cap ? p->cap * 2 : 64, .n_keys = p->n_keys, .n = p->n};
    more.key = calloc(more.cap, sizeof *more.key);
    more.number = calloc(more.cap, sizeof *more.number);
    if (!more.key || !more.number || p->cap > UINT32_MAX / 4) {
        free(more.key);
        free(more.number);
        return false;
    }
    for (uint32_t i = 0; i < p->cap; i++) {
        if (p->number[i]) {
            uint32_t at = place(&more, p->key[i]);
            more.key[at] = p->key[i];
            more.number[at] = p->number[i];
        }
    }
    programs_release(p);
    *p = more;
    return true;
}

uint32_t programs_of(struct programs *p, const struct req *q)
{
    if (p->n == PROGRAM_NONE - 1) {
        return PROGRAM_NONE;
    }
    if (q->session == 0) {
        return p->n++;
    }
    if (p->n_keys * 2 >= p->cap && !grow(p)) {
        return PROGRAM_NONE;
    }
    uint32_t i = place(p, q->session);
    if (!p->number[i]) {
        p->key[i] = q->session;
        p->number[i] = ++p->n;
        p->n_keys++;
    }
    return p->number[i] - 1;
}

void programs_release(struct programs *p)
{
    free(p->key);
    free(p->number);
    *p = (struct programs){0};
}
