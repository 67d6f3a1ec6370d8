/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels by the way they are computed: work is cut into tiles, tiles run in waves over the SMs, long sums
 * are split where tiles are few, and all of it goes on beside the traffic to memory, which a cache serves
 * while a benchmark's operands fit it. Curves with physical coefficients, in microseconds. */
#ifndef STEELYARD_WAVES_H
#define STEELYARD_WAVES_H

#include "calibrate/curve.h"
#include "calibrate/krige.h"

/* What the curve is of. */
struct wave {
    double sms;
    /* Of the device, for products and for attention: where the fit starts, and its bounds. */
    double flop_per_s, attn_flop_per_s, byte_per_s;
    double l2_bytes;               /* 0 = the calls went over so many operands that none was in the cache */
    double weight_bytes, act_bytes;                   /* GEMM: of an element */
    double heads, kv_heads, kv_bytes, pair_flops;     /* attention, one layer and rank: bytes of one token, ... */
    double qo_bytes;                                  /* ... queries and outputs of one token */
    struct curve_coef coef[CURVE_MAX];
    struct likeness like;
    struct curve curve;
};

/* The curve is in w->curve, its likeness in w->like; w must stay where it is. */
void wave_gemm(struct wave *w);    /* over (n, k, m) */
void wave_decode(struct wave *w);  /* over (sequences, context) */
void wave_prefill(struct wave *w); /* over (chunks, tokens of each) */
void wave_chunk(struct wave *w);   /* over (tokens, context before): one chunk */
void wave_stream(struct wave *w);  /* over (rows, bytes of each): elementwise kernels */

/* ---- for the curves ---- */

/* Time of `tiles` equal tiles, of which an SM has one at a time; `whole` = the share of a last, half empty
 * wave that is lost. */
double wave_tiles_us(double tiles, double sms, double tile_us, double whole);
/* Both go on at once: 1 = one after the other, large = the longer one counts. */
double wave_overlap_us(double a_us, double b_us, double overlap);
/* Bytes through memory or, as far as they fit a share of it, the cache; rates in bytes per microsecond. */
double wave_traffic_us(const struct wave *w, double bytes, double memory, double cache, double share);

#endif
