/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/experts/planes.h"

#include <math.h>
#include <string.h>

static double expert_bytes(const struct planes_config *c)
{
    double sum = 0;

    for (uint32_t i = 0; i < c->planes; i++) {
        sum += c->bytes[i];
    }
    return sum;
}

int planes_init(struct planes *p, const struct planes_config *c, struct arena *a, struct err *e)
{
    double layer = c->experts * expert_bytes(c);

    *p = (struct planes){.cfg = *c};
    if (c->budget_bytes > 0 && c->budget_bytes < layer) {
        return err_set(e, SIM_E_CONFIG, "experts.budget: %.4g bytes do not hold all planes of one layer, %.4g bytes",
                       c->budget_bytes, layer);
    }
    p->depth = arena_calloc(a, (size_t)c->layers * c->experts, 1);
    p->asked = arena_calloc(a, c->experts, 1);
    p->head = arena_calloc(a, c->experts, 1);
    p->line = arena_calloc(a, (size_t)c->experts * c->planes, sizeof *p->line);
    return p->depth && p->asked && p->head && p->line
               ? 0
               : err_set(e, SIM_E_NOMEM, "out of memory for the planes of experts");
}

/* ---- room ---- */

static bool fits(const struct planes *p, double more)
{
    return p->cfg.budget_bytes == 0 || p->used_bytes + more <= p->cfg.budget_bytes;
}

/* The highest planes of a layer, if they are plane `q`, until `more` bytes fit. */
static void free_plane(struct planes *p, uint32_t layer, uint32_t q, double more)
{
    uint8_t *depth = &p->depth[(size_t)layer * p->cfg.experts];

    for (uint32_t j = 0; j < p->cfg.experts && !fits(p, more); j++) {
        if (depth[j] == q + 1) {
            depth[j]--;
            p->used_bytes -= p->cfg.bytes[q];
            p->freed++;
        }
    }
}

/* Layers come round after round, so of equal bits those just used are needed again last. */
static void make_room(struct planes *p, double more)
{
    uint32_t n = p->cfg.layers;

    for (uint32_t q = p->cfg.planes; q-- > 0;) {
        for (uint32_t back = 1; back < n && !fits(p, more); back++) {
            free_plane(p, (p->layer + n - back) % n, q, more);
        }
    }
}

/* ---- order ---- */

static void append(struct planes *p, uint32_t expert)
{
    p->line[p->n_line++] = (struct planes_load){expert, p->head[expert]++};
}

static void expert_by_expert(struct planes *p)
{
    for (uint32_t j = 0; j < p->cfg.experts; j++) {
        while (p->head[j] < p->asked[j]) {
            append(p, j);
        }
    }
}

static void hottest_first(struct planes *p, const uint32_t *demand)
{
    for (;;) {
        uint32_t best = UINT32_MAX, most = 0;

        for (uint32_t j = 0; j < p->cfg.experts; j++) {
            if (p->head[j] < p->asked[j] && demand[j * p->cfg.planes + p->head[j]] > most) {
                most = demand[j * p->cfg.planes + p->head[j]];
                best = j;
            }
        }
        if (best == UINT32_MAX) {
            return;
        }
        append(p, best);
    }
}

/* ---- a layer ---- */

static uint8_t planes_needed(const struct planes *p, const uint32_t *demand)
{
    uint8_t n = 0;

    while (n < p->cfg.planes && demand[n] > 0) {
        n++;
    }
    return n;
}

/* Heads at the first missing planes; bytes of all of them. */
static double find_missing(struct planes *p, const uint32_t *demand)
{
    double bytes = 0;

    for (uint32_t j = 0; j < p->cfg.experts; j++) {
        p->asked[j] = planes_needed(p, &demand[j * p->cfg.planes]);
        p->head[j] = (uint8_t)planes_depth(p, p->layer, j);
        for (uint32_t q = p->head[j]; q < p->asked[j]; q++) {
            bytes += p->cfg.bytes[q];
        }
    }
    return bytes;
}

void planes_plan(struct planes *p, uint32_t layer, const uint32_t *demand)
{
    double missing;

    p->layer = layer;
    p->n_line = p->n_came = 0;
    missing = find_missing(p, demand);
    make_room(p, missing);
    if (p->cfg.order == PLANES_NAIVE) {
        expert_by_expert(p);
    } else {
        hottest_first(p, demand);
    }
    p->used_bytes += missing;
    p->peak_bytes = p->used_bytes > p->peak_bytes ? p->used_bytes : p->peak_bytes;
}

void planes_came(struct planes *p)
{
    p->depth[(size_t)p->layer * p->cfg.experts + p->line[p->n_came++].expert]++;
}

int planes_check(const struct planes *p, struct err *e)
{
    double bytes = 0;

    for (uint32_t i = 0; i < p->cfg.layers * p->cfg.experts; i++) {
        for (uint32_t q = 0; q < p->depth[i]; q++) {
            bytes += p->cfg.bytes[q];
        }
    }
    for (uint32_t i = p->n_came; i < p->n_line; i++) {
        bytes += p->cfg.bytes[p->line[i].plane];
    }
    if (fabs(bytes - p->used_bytes) > 0.5 || (p->cfg.budget_bytes > 0 && p->peak_bytes > p->cfg.budget_bytes)) {
        return err_set(e, SIM_E_CHECK, "planes of experts: %.0f bytes are there or coming, %.0f counted, at most %.0f of "
                       "%.0f", bytes, p->used_bytes, p->peak_bytes, p->cfg.budget_bytes);
    }
    return 0;
}
