/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/waves.h"

#include <math.h>

enum { FLOOR, RATE, TRAFFIC, LOAD, TILE, OVERLAP, WHOLE, CACHE, FITS, COEFS };

/* Queries that a block of threads has of one head, keys that it takes at a time. */
#define ROWS 128
#define KEYS 64
/* KV of a sequence is split over blocks where sequences are few, down to so many keys each. */
#define SPLITS    7
#define SPLIT_MIN 64

/* One block for each sequence, KV head and split; what a block does is to load its share of KV. */
static double split_us(const struct wave *w, const double *x, const double *c, double split)
{
    double bytes = ceil(x[1] / split) * w->kv_bytes / w->kv_heads;
    double merge = split > 1 ? c[TILE] + x[0] * w->qo_bytes * split / c[LOAD] : 0;
    return wave_tiles_us(x[0] * w->kv_heads * split, w->sms, c[TILE] + bytes * w->sms / c[LOAD], c[WHOLE]) + merge;
}

static double decode_us(const double *x, const double *c, const void *ctx)
{
    const struct wave *w = ctx;
    double best = HUGE_VAL, split = 1;
    for (int s = 0; s < SPLITS && (s == 0 || x[1] / split >= SPLIT_MIN); s++, split *= 2) {
        best = fmin(best, split_us(w, x, c, split));
    }
    double multiply = x[0] * x[1] * w->pair_flops / c[RATE];
    double bytes = x[0] * (x[1] * w->kv_bytes + w->qo_bytes);
    double memory = wave_traffic_us(w, bytes, c[TRAFFIC], c[CACHE], c[FITS]);
    return c[FLOOR] + wave_overlap_us(memory, fmax(best, multiply), c[OVERLAP]);
}

/* A tile of rows of one head against so many keys, in whole steps of them. */
static double rows_us(const struct wave *w, double keys, const double *c)
{
    keys = KEYS * ceil(keys / KEYS);
    double multiply = ROWS * keys * w->pair_flops / w->heads * w->sms / c[RATE];
    double load = keys * w->kv_bytes / w->kv_heads * w->sms / c[LOAD];
    return c[TILE] + fmax(multiply, load);
}

/* The i-th tile of a chunk sees the context before and the chunk up to itself: the mean where tiles are many,
 * the last where each has an SM of its own. Queries of a single token that share keys are one tile. */
static double prefill_of_us(const struct wave *w, double chunks, double tok, double before, const double *c)
{
    double heads = tok < 1.5 ? w->kv_heads : w->heads;
    double tiles = chunks * heads * ceil(tok / ROWS), mean = before + (tok + fmin(tok, ROWS)) / 2;
    double work = fmax(wave_tiles_us(tiles, w->sms, rows_us(w, mean, c), c[WHOLE]), rows_us(w, tok + before, c));
    double bytes = chunks * ((tok + before) * w->kv_bytes + tok * w->qo_bytes);
    double memory = wave_traffic_us(w, bytes, c[TRAFFIC], c[CACHE], c[FITS]);
    return c[FLOOR] + wave_overlap_us(memory, work, c[OVERLAP]);
}

static double prefill_us(const double *x, const double *c, const void *ctx)
{
    return prefill_of_us(ctx, x[0], x[1], 0, c);
}

static double chunk_us(const double *x, const double *c, const void *ctx)
{
    return prefill_of_us(ctx, 1, x[0], x[1], c);
}

/* Alike are batches of near size and length, and of near work. */
static void attention_features(const double *x, double *z, const void *ctx)
{
    (void)ctx;
    z[0] = log1p(x[0]) / 4;
    z[1] = log1p(x[1]) / 4;
    z[2] = (log1p(x[0]) + log1p(x[1])) / 4;
}

static void attention(struct wave *w, double (*at)(const double *, const double *, const void *))
{
    double flops = w->attn_flop_per_s * 1e-6, bytes = w->byte_per_s * 1e-6;
    const struct curve_coef coef[COEFS] = {
        [FLOOR] = {"launch floor", "us", 0.3, 5, 50},
        [RATE] = {"multiply rate", "flop/us", 0.02 * flops, 0.5 * flops, 1.5 * flops},
        [TRAFFIC] = {"memory rate", "byte/us", 0.1 * bytes, 0.7 * bytes, 3 * bytes},
        [LOAD] = {"tile load rate", "byte/us", 0.2 * bytes, 2 * bytes, 50 * bytes},
        [TILE] = {"tile start", "us", 0.02, 2, 50},
        [OVERLAP] = {"overlap", "1", 1, 3, 20},
        [WHOLE] = {"whole waves", "1", 0.01, 0.5, 1},
        [CACHE] = {"cache rate", "byte/us", bytes, 4 * bytes, 50 * bytes},
        [FITS] = {"cache share", "1", 0.05, 0.7, 3},
    };
    for (int i = 0; i < COEFS; i++) {
        w->coef[i] = coef[i];
    }
    w->like = (struct likeness){.n = 3, .features = attention_features, .noise = 0.01, .reach = {5, 5}};
    w->curve = (struct curve){.n = w->l2_bytes > 0 ? COEFS : CACHE, .starts = w->l2_bytes > 0 ? 4 : 1,
                              .coef = w->coef, .at = at, .ctx = w};
}

void wave_decode(struct wave *w)
{
    attention(w, decode_us);
}

void wave_prefill(struct wave *w)
{
    attention(w, prefill_us);
}

void wave_chunk(struct wave *w)
{
    attention(w, chunk_us);
}
