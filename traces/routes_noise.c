/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/routes_noise.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <string.h>

#include <Random123/philox.h>

/* Four variates to a block of 32-bit numbers: a resolution of 2^-32 is far below what a choice among
 * experts can show, and tails end at 6.3 sigma. */
void noise_normals(struct rng_stream s, uint64_t seq, uint32_t pos, uint32_t layer, float *v, uint32_t n)
{
    philox4x32_key_t key = {{s.key[0], s.key[1]}};
    for (uint32_t i = 0; i < n; i += 4) {
        philox4x32_ctr_t c = {{(uint32_t)seq, (uint32_t)(seq >> 32), pos, layer << 20 | i / 4}};
        philox4x32_ctr_t r = philox4x32(c, key);
        for (uint32_t j = 0; j < 4 && i + j < n; j++) {
            v[i + j] = (float)gsl_cdf_ugaussian_Pinv((r.v[j] + 0.5) * 0x1p-32);
        }
    }
}

#define INDEPENDENT 1e-9

struct noise_walk noise_walk(double rho)
{
    struct noise_walk w = {.rho = rho, .span = NOISE_RUN};
    while (pow(rho, w.span) > INDEPENDENT) {
        w.span *= 2;
    }
    return w;
}

/* mid = r/(1+r^2) (lo + hi) + sqrt((1-r^2)/(1+r^2)) e, r = rho^(distance to either end). */
static void bisect(const struct noise_walk *w, const float *lo, const float *hi, float *mid, uint32_t half,
                   uint32_t dim)
{
    double r = pow(w->rho, half);
    float pull = (float)(r / (1 + r * r)), push = (float)sqrt((1 - r * r) / (1 + r * r));
    for (uint32_t i = 0; i < dim; i++) {
        mid[i] = pull * (lo[i] + hi[i]) + push * mid[i];
    }
}

/* Fill the inside of v[0..len], whose ends are known. */
static void fill(const struct noise_walk *w, float (*v)[NOISE_DIM_MAX], uint32_t len, uint32_t dim)
{
    for (uint32_t half = len / 2; half >= 1; half /= 2) {
        for (uint32_t at = half; at < len; at += 2 * half) {
            bisect(w, v[at - half], v[at + half], v[at], half, dim);
        }
    }
}

void noise_walk_run(const struct noise_walk *w, struct rng_stream s, uint64_t seq, uint32_t from,
                    uint32_t layer, float *v, uint32_t dim)
{
    float x[NOISE_RUN + 1][NOISE_DIM_MAX], mid[NOISE_DIM_MAX];
    uint32_t lo = from & ~(w->span - 1);
    noise_normals(s, seq, lo, layer, x[0], dim);
    noise_normals(s, seq, lo + w->span, layer, x[NOISE_RUN], dim);
    for (uint32_t half = w->span / 2; half >= NOISE_RUN; half /= 2) {
        bool right = from >= lo + half;
        noise_normals(s, seq, lo + half, layer, mid, dim);
        bisect(w, x[0], x[NOISE_RUN], mid, half, dim);
        memcpy(x[right ? 0 : NOISE_RUN], mid, dim * sizeof(float));
        lo += right ? half : 0;
    }
    for (uint32_t i = 1; i < NOISE_RUN; i++) {
        noise_normals(s, seq, from + i, layer, x[i], dim);
    }
    fill(w, x, NOISE_RUN, dim);
    for (uint32_t i = 0; i < NOISE_RUN; i++) {
        memcpy(v + (size_t)i * dim, x[i], dim * sizeof(float));
    }
}
