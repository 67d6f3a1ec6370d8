/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/krige.h"

#include <math.h>

struct nearest {
    uint32_t n;
    size_t point[KRIGE_NEAREST];
    double distance[KRIGE_NEAREST];
};

static double distance(const struct likeness *l, const double *a, const double *b)
{
    double sum = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        sum += fabs(a[i] - b[i]);
    }
    return sum;
}

static void offer(struct nearest *q, size_t point, double d)
{
    if (q->n == KRIGE_NEAREST && d >= q->distance[KRIGE_NEAREST - 1]) {
        return;
    }
    uint32_t i = q->n < KRIGE_NEAREST ? q->n++ : KRIGE_NEAREST - 1;
    for (; i > 0 && q->distance[i - 1] > d; i--) {
        q->distance[i] = q->distance[i - 1];
        q->point[i] = q->point[i - 1];
    }
    q->distance[i] = d;
    q->point[i] = point;
}

/* A x = b for a symmetric positive matrix of n rows, in place (Cholesky); A's diagonal is above 0 by the
 * noise, so no pivot vanishes. */
static void solve(double *a, double *b, uint32_t n)
{
    for (uint32_t j = 0; j < n; j++) {
        for (uint32_t i = j; i < n; i++) {
            double s = a[i * n + j];
            for (uint32_t k = 0; k < j; k++) {
                s -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = i == j ? sqrt(fmax(s, 1e-12)) : s / a[j * n + j];
        }
        for (uint32_t k = 0; k < j; k++) {
            b[j] -= a[j * n + k] * b[k];
        }
        b[j] /= a[j * n + j];
    }
    for (uint32_t j = n; j-- > 0;) {
        for (uint32_t k = j + 1; k < n; k++) {
            b[j] -= a[k * n + j] * b[k];
        }
        b[j] /= a[j * n + j];
    }
}

double krige_at(const struct krige *k, const size_t *candidate, size_t n, const double *z)
{
    const struct likeness *l = k->like;
    struct nearest q = {0};
    double a[KRIGE_NEAREST * KRIGE_NEAREST], w[KRIGE_NEAREST], sum = 0;
    for (size_t i = 0; i < n; i++) {
        offer(&q, candidate[i], distance(l, z, &k->z[candidate[i] * l->n]));
    }
    for (uint32_t i = 0; i < q.n; i++) {
        const double *zi = &k->z[q.point[i] * l->n];
        for (uint32_t j = 0; j < i; j++) {
            a[i * q.n + j] = exp(-distance(l, zi, &k->z[q.point[j] * l->n]));
        }
        a[i * q.n + i] = 1 + l->noise;
        w[i] = k->r[q.point[i]];
    }
    solve(a, w, q.n);
    for (uint32_t i = 0; i < q.n; i++) {
        sum += w[i] * exp(-q.distance[i]);
    }
    return sum;
}
