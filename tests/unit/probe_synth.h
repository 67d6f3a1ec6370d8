/* SPDX-License-Identifier: Apache-2.0
 *
 * A probe's file from a GPU that does not exist: its times come from the physics written down here, with
 * noise, and go through the probe's own list of cases and its own writer. */
#ifndef STEELYARD_PROBE_SYNTH_H
#define STEELYARD_PROBE_SYNTH_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/probe/cases.h"
#include "calibrate/probe/store.h"
#include "sim/core/rng.h"

/* As an H200 is: 132 SMs. What it reaches is made up. */
#define SYNTH_SMS   132.0
#define SYNTH_FLOPS 700e12
#define SYNTH_ATTN  300e12
#define SYNTH_BYTES 4.2e12
#define SYNTH_LOAD  12e12 /* all SMs together, from the cache */
#define SYNTH_GEMM_FLOOR 2.5
#define SYNTH_ATTN_FLOOR 4.0
#define SYNTH_SMALL_FLOOR 1.8

/* The best of six tilings in whole waves, long sums whole or cut into two or four. */
static double synth_gemm_us(double n, double k, double m)
{
    static const double tile[][2] = {{256, 128}, {128, 256}, {128, 128}, {128, 64}, {64, 128}, {64, 64}};
    double compute = HUGE_VAL;
    for (int i = 0; i < 6; i++) {
        for (double s = 1; s <= 4; s *= 2) {
            double a = tile[i][0], b = tile[i][1];
            double one = 1.2 + 1e6 * SYNTH_SMS * k / s * fmax(2 * a * b / SYNTH_FLOPS, 2 * (a + b) / SYNTH_LOAD);
            double sum = s > 1 ? 1.2 + 8e6 * s * m * n / SYNTH_LOAD : 0;
            compute = fmin(compute, one * ceil(s * ceil(m / a) * ceil(n / b) / SYNTH_SMS) + sum);
        }
    }
    return SYNTH_GEMM_FLOOR + fmax(compute, 2e6 * (n * k + m * (n + k)) / SYNTH_BYTES);
}

/* One layer; 85 % of the memory's rate; a block for each sequence and KV head takes 0.8 us of an SM. */
static double synth_decode_us(double heads, double kv, double dim, double n, double tok)
{
    double bytes = 4 * tok * kv * dim + 4 * n * heads * dim;
    return SYNTH_ATTN_FLOOR + fmax(1e6 * bytes / (0.85 * SYNTH_BYTES), 0.8 * ceil(n * kv / SYNTH_SMS));
}

static double synth_chunk_us(double heads, double kv, double dim, double q, double ctx)
{
    double tiles = ceil(q / 128) * heads, keys = ctx + (q + fmin(q, 128)) / 2;
    double one = 1.0 + 1e6 * 4 * 128 * keys * dim * SYNTH_SMS / SYNTH_ATTN;
    double bytes = 4 * (q + ctx) * kv * dim + 4 * q * heads * dim;
    return SYNTH_ATTN_FLOOR + fmax(one * fmax(tiles / SYNTH_SMS, 1), 1e6 * bytes / SYNTH_BYTES);
}

/* Loads of experts are not looked at: each expert that is hit is read once. */
static double synth_moe_us(double experts, double top_k, double n, double k, double m)
{
    double hit = experts * (1 - pow(1 - top_k / experts, m));
    return 5 + fmax(2e6 * hit * n * k / SYNTH_BYTES, 2e6 * m * top_k * n * k / (0.6 * SYNTH_FLOPS));
}

/* Rows that the kernel before has just written are in the cache up to 40 MB. */
static double synth_stream_us(double bytes, bool warm)
{
    return fmax(SYNTH_SMALL_FLOOR, 1e6 * bytes / (warm && bytes < 40e6 ? 3 * SYNTH_BYTES : 0.9 * SYNTH_BYTES));
}

static double synth_noise(const char *id, double share)
{
    uint64_t h = 1469598103934665603u;
    for (; *id; id++) {
        h = (h ^ (uint8_t)*id) * 1099511628211u;
    }
    return 1 + share * (2 * rng_uniform(rng_stream(11, 0, "synth"), h, 0) - 1);
}

#define SYNTH(c, name) ((double)case_int(c, name))

/* Time of a case in microseconds, its traffic and its work. Kinds that no fit reads take a millisecond. */
static double synth_limit_us(const struct probe_case *c, double *byte, double *flop)
{
    *byte = strcmp(case_word(c, "what"), "copy") == 0 ? 2 * SYNTH(c, "bytes") : SYNTH(c, "bytes");
    *flop = 2 * SYNTH(c, "m") * SYNTH(c, "n") * SYNTH(c, "k");
    return *flop > 0 ? synth_gemm_us(SYNTH(c, "n"), SYNTH(c, "k"), SYNTH(c, "m")) : 1e6 * *byte / SYNTH_BYTES;
}

static double synth_case_us(const struct probe_case *c, double *byte, double *flop)
{
    double m = SYNTH(c, "m"), heads = SYNTH(c, "heads"), kv = SYNTH(c, "kv_heads"), dim = SYNTH(c, "head_dim");
    bool warm = strcmp(case_word(c, "l2"), "warm") == 0;
    const char *k = c->kind;
    *byte = *flop = 0;
    if (strcmp(k, "limit") == 0) {
        return synth_limit_us(c, byte, flop);
    }
    if (strcmp(k, "gemm") == 0) {
        return synth_gemm_us(SYNTH(c, "n"), SYNTH(c, "k"), m);
    }
    if (strcmp(k, "decode") == 0) {
        double n = SYNTH(c, "batch"), ctx = SYNTH(c, "ctx"), spread = SYNTH(c, "spread") / 100;
        double sigma = n > 1 ? ctx * spread * sqrt((n + 1) / (3 * (n - 1))) : 0;
        return synth_decode_us(heads, kv, dim, n, n * (ctx + 0.1 * sigma)); /* a shift of 0.1 */
    }
    if (strcmp(k, "prefill") == 0) {
        return synth_chunk_us(heads, kv, dim, SYNTH(c, "q"), SYNTH(c, "ctx"));
    }
    if (strcmp(k, "mixed") == 0) {
        double n = SYNTH(c, "batch");
        return synth_chunk_us(heads, kv, dim, SYNTH(c, "q"), SYNTH(c, "ctx")) +
               synth_decode_us(heads, kv, dim, n, n * SYNTH(c, "dctx"));
    }
    if (strcmp(k, "moe_gemm") == 0) {
        return synth_moe_us(SYNTH(c, "experts"), SYNTH(c, "top_k"), SYNTH(c, "n"), SYNTH(c, "k"), m);
    }
    if (strcmp(k, "collective") == 0) {
        return 8 + 1e6 * SYNTH(c, "bytes") / 300e9;
    }
    if (strcmp(k, "launch") == 0) {
        return strcmp(case_word(c, "what"), "graph") == 0 ? 6 + 0.9 * SYNTH(c, "nodes") : 3 + 2.2 * SYNTH(c, "nodes");
    }
    *byte = strcmp(k, "norm") == 0     ? 8 * m * SYNTH(c, "hidden")
            : strcmp(k, "rope") == 0   ? (2 * heads + 5 * kv) * dim * 2 * m
            : strcmp(k, "act") == 0    ? 6 * m * SYNTH(c, "ffn")
            : strcmp(k, "embed") == 0  ? 4 * m * SYNTH(c, "hidden")
            : strcmp(k, "argmax") == 0 ? 2 * m * SYNTH(c, "vocab")
                                       : 0;
    return *byte > 0 ? synth_stream_us(*byte, warm) : 1000;
}

/* ---- a step of Llama-3.1-8B ---- */

static double synth_rows_us(double bytes_row, double m)
{
    return synth_stream_us(bytes_row * m, true);
}

/* Everything but attention, over m tokens of which r are sampled. */
static double synth_dense_us(double m, double r)
{
    double layer = synth_gemm_us(6144, 4096, m) + synth_gemm_us(4096, 4096, m) + synth_gemm_us(28672, 4096, m) +
                   synth_gemm_us(4096, 14336, m) + 2 * synth_rows_us(8 * 4096, m) +
                   synth_rows_us((2 * 32 + 5 * 8) * 256, m) + synth_rows_us(6 * 14336, m);
    double head = r > 0 ? synth_gemm_us(128256, 4096, r) + synth_rows_us(8 * 4096, r) +
                              synth_stream_us(2 * 128256 * r, false)
                        : 0;
    return 32 * layer + synth_stream_us(4 * 4096 * m, false) + head;
}

/* ---- the file ---- */

/* The whole file as text, to be freed. Kinds of `without` (words with commas) are left out, as are all cases
 * from the number `stop` on (0 = none): a probe that was cut short. */
static char *synth_file(bool quick, int gpus, const char *without, size_t stop, double noise)
{
    struct case_list list;
    struct store store;
    struct err e = {0};
    struct json_out o = {0};
    if (cases_build(&list, quick, NULL, gpus, &e) < 0 || probe_store_init(&store, &list, &e) < 0) {
        return NULL;
    }
    store.mode = quick ? "quick" : "full";
    store.started = "2025-01-01T00:00:00Z";
    json_out_open(&store.head, NULL, '{');
    json_out_open(&store.head, "device", '{');
    json_out_string(&store.head, "name", "Synthetic H200");
    json_out_string(&store.head, "uuid", "GPU-1");
    json_out_int(&store.head, "sm_count", (int64_t)SYNTH_SMS);
    json_out_int(&store.head, "l2_byte", 50 << 20);
    json_out_string(&store.head, "driver", "none");
    json_out_close(&store.head, '}');
    json_out_close(&store.head, '}');
    for (size_t i = 0; i < list.n && (stop == 0 || i < stop); i++) {
        struct measurement m = {.n = 3, .calls = 1, .sets = 1};
        double us = synth_case_us(&list.cases[i], &m.byte, &m.flop) * synth_noise(list.cases[i].id, noise);
        m.sample_s[0] = m.sample_s[1] = m.sample_s[2] = 1e-6 * us;
        if (!without || !strstr(without, list.cases[i].kind)) {
            store_put(&store, i, OUTCOME_MEASURED, &m);
        }
    }
    store_write(&store, stop == 0, "2025-01-01T00:15:00Z", &o);
    probe_store_release(&store);
    cases_release(&list);
    return o.text;
}

#endif
