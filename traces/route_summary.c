/* SPDX-License-Identifier: Apache-2.0
 *
 * All statistics of a sample: means over its layers. */
#include "traces/route_stats.h"

#include <math.h>
#include <string.h>

const uint32_t route_windows[ROUTE_WINDOWS] = {8, 16, 32, 64, 128};
const double route_cache_parts[ROUTE_CACHES] = {0.125, 0.25, 0.375, 0.5, 0.625, 0.75};
const double route_alphas[ROUTE_ALPHAS] = {0.25, 0.5, 0.75, 0.9, 0.95};
static const double recall_times[ROUTE_RECALLS] = {1, 4.0 / 3, 2, 8.0 / 3, 4};

#define LONG_SEQUENCE 64
#define SEGMENT       16
#define TAE_THRESHOLD 0.95 /* of BuddyMoE's best row */

struct work {
    struct route_stats *r;
    const struct route_sample *s;
    uint64_t *table; /* [experts][experts] */
    double part;     /* weight of a layer, 1 / layers */
};

static void add(struct route_popularity *sum, const struct route_popularity *p, double weight)
{
    sum->entropy += weight * p->entropy;
    sum->max_over_mean += weight * p->max_over_mean;
    sum->cv += weight * p->cv;
    sum->zipf += weight * p->zipf;
    for (uint32_t i = 0; i < ROUTE_SHARES; i++) {
        sum->share[i] += weight * p->share[i];
    }
}

static void popularity(struct work *w, const struct route_layer *l)
{
    struct route_stats *r = w->r;
    struct route_popularity p;
    uint64_t count[ROUTE_EXPERTS_MAX];
    route_count(l, 0, route_layer_tokens(l), count);
    route_popularity(count, l->experts, &p);
    add(&r->all, &p, w->part);
    r->entropy_min = fmin(r->entropy_min, p.entropy);
    r->entropy_max = fmax(r->entropy_max, p.entropy);
    r->zipf_min = fmin(r->zipf_min, p.zipf);
    r->zipf_max = fmax(r->zipf_max, p.zipf);
    r->max_over_mean_max = fmax(r->max_over_mean_max, p.max_over_mean);
    r->long_sequences = route_popularity_within(l, LONG_SEQUENCE, &p);
    add(&r->within, &p, w->part);
}

static void locality(struct work *w, const struct route_layer *l, uint32_t layer)
{
    struct route_stats *r = w->r;
    for (uint32_t lag = 1; lag <= ROUTE_LAGS; lag++) {
        double reuse = route_reuse(l, lag);
        r->reuse[lag] += w->part * reuse;
        r->layer_reuse[layer] = lag == 1 ? reuse : r->layer_reuse[layer];
    }
    for (uint32_t i = 0; i < ROUTE_WINDOWS; i++) {
        r->distinct[i] += w->part * route_distinct(l, route_windows[i]);
    }
    r->segment_best += w->part * route_segment_best(l, SEGMENT);
}

static int caches(struct work *w, const struct route_layer *l)
{
    struct route_stats *r = w->r;
    double miss[ROUTE_TOP_K_MAX + 1], hits = 0;
    for (uint32_t p = 0; p < ROUTE_POLICIES; p++) {
        for (uint32_t c = 0; c < ROUTE_CACHES && hits >= 0; c++) {
            hits = route_cache_hits(l, (enum route_cache)p, r->capacity[c], miss);
            r->hits[p][c] += w->part * hits;
            for (uint32_t i = 0; i <= l->top_k; i++) {
                r->misses[p][c][i] += w->part * miss[i];
            }
        }
    }
    for (uint32_t i = 0; i < 3 && hits >= 0; i++) {
        r->foresight[i] += w->part * route_cache_foresight(l, (i + 1) * l->top_k, SEGMENT);
        hits = route_cache_foresight(l, (i + 1) * l->top_k, 0);
        r->foreseen[i] += w->part * hits;
    }
    return hits < 0 ? SIM_E_NOMEM : 0;
}

static void together(struct work *w, const struct route_layer *l)
{
    struct route_stats *r = w->r;
    route_pairs(l, w->table);
    for (uint32_t i = 0; i < ROUTE_ALPHAS; i++) {
        r->list_size[i] += w->part * route_list_size(w->table, l->experts, route_alphas[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        r->peers[i] += w->part * route_peer_share(w->table, l->experts, 4u << i);
    }
    r->pairs_top10 += w->part * route_pair_share(w->table, l->experts, 0.1);
}

static void next_layer(struct work *w, uint32_t layer)
{
    struct route_stats *r = w->r;
    struct route_layer l = route_sample_layer(w->s, layer), m = route_sample_layer(w->s, layer + 1);
    double recall[ROUTE_RECALLS], part = 1.0 / (w->s->shape.layers - 1);
    route_next(&l, &m, w->table);
    r->next_bits += part * route_next_information(w->table, l.experts);
    r->next_top20 += part * route_next_share(w->table, l.experts, 0.2, false);
    r->next_top20_popular += part * route_next_share(w->table, l.experts, 0.2, true);
    route_next_recall(&l, &m, w->table, r->recall_n, ROUTE_RECALLS, recall);
    for (uint32_t i = 0; i < ROUTE_RECALLS; i++) {
        r->recall[i] += part * recall[i];
    }
}

static void entropy_of_gates(struct route_stats *r, const struct route_sample *s)
{
    size_t n = (size_t)r->tokens * s->shape.layers;
    double sum = 0, above = 0;
    for (size_t i = 0; i < n && s->tae; i++) {
        sum += (double)s->tae[i];
        above += (double)s->tae[i] > TAE_THRESHOLD;
    }
    r->tae_mean = s->tae ? sum / (double)n : (double)NAN;
    r->tae_above = s->tae ? above / (double)n : (double)NAN;
}

static void begin(struct route_stats *r, const struct route_sample *s)
{
    memset(r, 0, sizeof(*r));
    r->shape = s->shape;
    r->sequences = s->sequences;
    r->tokens = s->start[s->sequences];
    r->entropy_min = r->zipf_min = INFINITY;
    r->entropy_max = r->zipf_max = -INFINITY;
    for (uint32_t i = 0; i < ROUTE_CACHES; i++) {
        uint32_t c = (uint32_t)lround(route_cache_parts[i] * s->shape.experts);
        r->capacity[i] = c > 0 ? c : 1;
    }
    for (uint32_t i = 0; i < ROUTE_RECALLS; i++) {
        r->recall_n[i] = (uint32_t)lround(recall_times[i] * s->shape.top_k);
    }
    if (s->shape.layers == 1) {
        r->next_bits = r->next_top20 = r->next_top20_popular = (double)NAN;
        for (uint32_t i = 0; i < ROUTE_RECALLS; i++) {
            r->recall[i] = (double)NAN;
        }
    }
}

int route_stats_of(struct route_stats *ret, const struct route_sample *s, struct arena *a,
                   int (*progress)(void *ctx, double share), void *ctx, struct err *e)
{
    size_t n = s->shape.experts;
    struct work w = {.r = ret, .s = s, .part = 1.0 / s->shape.layers};
    begin(ret, s);
    w.table = arena_calloc(a, n * n, sizeof(*w.table));
    ret->layer_reuse = arena_calloc(a, s->shape.layers, sizeof(double));
    if (!w.table || !ret->layer_reuse) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t layer = 0; layer < s->shape.layers; layer++) {
        struct route_layer l = route_sample_layer(s, layer);
        if (progress && progress(ctx, (double)layer / s->shape.layers)) {
            return err_set(e, SIM_E_INTR, "interrupted");
        }
        popularity(&w, &l);
        locality(&w, &l, layer);
        together(&w, &l);
        if (layer + 1 < s->shape.layers) {
            next_layer(&w, layer);
        }
        if (caches(&w, &l) < 0) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
    }
    entropy_of_gates(ret, s);
    return 0;
}
