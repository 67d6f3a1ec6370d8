/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/grid.h"

#include <stdarg.h>
#include <string.h>

void grid_init(struct grid *g, size_t cols, struct arena *a)
{
    *g = (struct grid){.a = a, .cols = cols};
}

void grid_add(struct grid *g, const char *text)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 8 * g->cols;
        const char **grown = arena_calloc(g->a, cap, sizeof *grown);
        if (!grown) {
            g->failed = true;
            return;
        }
        if (g->n) {
            memcpy(grown, g->cell, g->n * sizeof *grown);
        }
        g->cell = grown;
        g->cap = cap;
    }
    const char *copy = arena_strdup(g->a, text ? text : "");
    g->failed = g->failed || !copy;
    g->cell[g->n++] = copy ? copy : "";
}

void grid_addf(struct grid *g, const char *fmt, ...)
{
    char buf[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buf, sizeof buf, fmt, args);
    va_end(args);
    grid_add(g, buf);
}

static size_t width_of(const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        n += ((unsigned char)*s & 0xc0) != 0x80; /* bytes that begin a character */
    }
    return n;
}

void grid_print(FILE *out, const struct grid *g)
{
    size_t width[GRID_MAX_COLS] = {0};
    for (size_t i = 0; i < g->n; i++) {
        size_t w = width_of(g->cell[i]);
        width[i % g->cols] = w > width[i % g->cols] ? w : width[i % g->cols];
    }
    for (size_t i = 0; i < g->n; i++) {
        size_t c = i % g->cols;
        bool last = c + 1 == g->cols;
        int pad = (int)(width[c] - width_of(g->cell[i]));
        fprintf(out, "%*s%s%*s%s", g->right[c] ? pad : 0, "", g->cell[i], g->right[c] || last ? 0 : pad, "",
                last ? "\n" : "  ");
    }
}
