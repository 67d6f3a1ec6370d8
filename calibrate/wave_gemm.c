/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/waves.h"

#include <math.h>

enum { FLOOR, RATE, TRAFFIC, LOAD, TILE, OVERLAP, WHOLE, CACHE, FITS, COEFS };

/* Tile shapes of the libraries' kernels, rows (tokens) x columns. */
static const struct {
    double rows, columns;
} tiles[] = {{256, 128}, {128, 256}, {128, 128}, {128, 64}, {64, 128}, {64, 64}, {64, 32}, {32, 64}, {16, 64}};
#define TILES  (sizeof(tiles) / sizeof(tiles[0]))
#define SPLITS 5 /* of the sum over k: 1, 2, 4, 8, 16 */
/* A split shorter than this is not worth its start. */
#define SPLIT_MIN 64
/* How suddenly operands are no longer found in the cache: those of a loop are all there, or (replaced in
 * the order of their use) none. */
#define SHARP 12.0

double wave_tiles_us(double n, double sms, double tile_us, double whole)
{
    double waves = n / sms;
    return tile_us * (whole * ceil(waves) + (1 - whole) * fmax(waves, 1));
}

double wave_overlap_us(double a_us, double b_us, double overlap)
{
    double high = fmax(a_us, b_us), low = fmin(a_us, b_us);
    return high * pow(1 + pow(low / high, overlap), 1 / overlap);
}

double wave_traffic_us(const struct wave *w, double bytes, double memory, double cache, double share)
{
    double ratio = w->l2_bytes > 0 ? share * w->l2_bytes / bytes : 0;
    double miss = ratio > 0 ? 1 / (1 + pow(ratio, SHARP)) : 1;
    return miss * bytes / memory + (miss < 1 ? (1 - miss) * bytes / cache : 0);
}

/* A tile loads its operands and multiplies them, whichever takes longer. */
static double tiling_us(const struct wave *w, const double *x, const double *c, double rows, double columns,
                        double split)
{
    double k = x[1] / split;
    double multiply = 2 * rows * columns * k * w->sms / c[RATE];
    double load = (rows + columns) * k * w->act_bytes * w->sms / c[LOAD];
    double reduce = split > 1 ? x[2] * x[0] * 8 * split / c[LOAD] + c[TILE] : 0;
    double n = ceil(x[2] / rows) * ceil(x[0] / columns) * split;
    return wave_tiles_us(n, w->sms, c[TILE] + fmax(multiply, load), c[WHOLE]) + reduce;
}

/* The library takes the best of its tilings, give or take. */
static double products_us(const struct wave *w, const double *x, const double *c)
{
    double best = HUGE_VAL;
    for (uint32_t i = 0; i < TILES; i++) {
        double split = 1;
        for (int s = 0; s < SPLITS && (s == 0 || x[1] / split >= SPLIT_MIN); s++, split *= 2) {
            best = fmin(best, tiling_us(w, x, c, tiles[i].rows, tiles[i].columns, split));
        }
    }
    return best;
}

static double gemm_us(const double *x, const double *c, const void *ctx)
{
    const struct wave *w = ctx;
    double bytes = x[0] * x[1] * w->weight_bytes + x[2] * (x[0] + x[1]) * w->act_bytes;
    double memory = wave_traffic_us(w, bytes, c[TRAFFIC], c[CACHE], c[FITS]);
    return c[FLOOR] + wave_overlap_us(memory, products_us(w, x, c), c[OVERLAP]);
}

/* Alike are products of near sizes, with near numbers of tiles in all and along the tokens. The scales were
 * chosen on held-out products of an L40S and an H100. */
static void gemm_features(const double *x, double *z, const void *ctx)
{
    (void)ctx;
    z[0] = log(x[0]) / 4;
    z[1] = log(x[1]) / 4;
    z[2] = log(x[2]) / 8;
    z[3] = log(ceil(x[2] / 64));
    z[4] = log(ceil(x[0] / 128) * ceil(x[2] / 128));
}

void wave_gemm(struct wave *w)
{
    double flops = w->flop_per_s * 1e-6, bytes = w->byte_per_s * 1e-6;
    const struct curve_coef coef[COEFS] = {
        [FLOOR] = {"launch floor", "us", 0.3, 2, 20},
        [RATE] = {"multiply rate", "flop/us", 0.1 * flops, 0.8 * flops, 1.5 * flops},
        [TRAFFIC] = {"memory rate", "byte/us", 0.2 * bytes, 0.8 * bytes, 3 * bytes},
        [LOAD] = {"tile load rate", "byte/us", 0.5 * bytes, 4 * bytes, 50 * bytes},
        [TILE] = {"tile start", "us", 0.02, 1, 20},
        [OVERLAP] = {"overlap", "1", 1, 3, 20},
        [WHOLE] = {"whole waves", "1", 0.01, 0.7, 1},
        [CACHE] = {"cache rate", "byte/us", bytes, 4 * bytes, 50 * bytes},
        [FITS] = {"cache share", "1", 0.02, 0.3, 2},
    };
    for (int i = 0; i < COEFS; i++) {
        w->coef[i] = coef[i];
    }
    w->like = (struct likeness){.n = 5, .features = gemm_features, .noise = 0.05, .reach = {2, 2, 4}};
    w->curve = (struct curve){.n = w->l2_bytes > 0 ? COEFS : CACHE, .coef = w->coef, .at = gemm_us, .ctx = w};
}
