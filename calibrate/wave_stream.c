/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/waves.h"

#include <math.h>

enum { FLOOR, TRAFFIC, OVERLAP, CACHE, FITS, COEFS };

/* Elementwise kernels: rows of so many bytes each, from memory or the cache, in no less than the floor. */
static double stream_us(const double *x, const double *c, const void *ctx)
{
    double bytes = x[0] * x[1];
    return wave_overlap_us(c[FLOOR], wave_traffic_us(ctx, bytes, c[TRAFFIC], c[CACHE], c[FITS]), c[OVERLAP]);
}

static void stream_features(const double *x, double *z, const void *ctx)
{
    (void)ctx;
    z[0] = log(x[0]) / 4;
    z[1] = log(x[1]) / 2;
}

void wave_stream(struct wave *w)
{
    double bytes = w->byte_per_s * 1e-6;
    const struct curve_coef coef[COEFS] = {
        [FLOOR] = {"launch floor", "us", 0.1, 2, 50},
        [TRAFFIC] = {"memory rate", "byte/us", 0.05 * bytes, 0.8 * bytes, 3 * bytes},
        [OVERLAP] = {"overlap", "1", 1, 2, 20},
        [CACHE] = {"cache rate", "byte/us", bytes, 3 * bytes, 30 * bytes},
        [FITS] = {"cache share", "1", 0.05, 0.5, 3},
    };
    for (int i = 0; i < COEFS; i++) {
        w->coef[i] = coef[i];
    }
    w->like = (struct likeness){.n = 2, .features = stream_features, .noise = 0.01, .reach = {4, 4}};
    w->curve = (struct curve){.n = w->l2_bytes > 0 ? COEFS : CACHE, .starts = w->l2_bytes > 0 ? 4 : 1,
                              .coef = w->coef, .at = stream_us, .ctx = w};
}
