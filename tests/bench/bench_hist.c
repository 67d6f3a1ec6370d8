/* SPDX-License-Identifier: Apache-2.0
 *
 * Histogram adds per second: one by one, and whole epochs by hist_add_affine. */
#include <stdio.h>
#include <time.h>

#include "sim/core/hist.h"
#include "sim/core/rng.h"

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const char *what, double n, double seconds, const struct hist *h)
{
    printf("%-28s %8.1f M/s  %6.2f ns each  (p50 %.0f)\n", what, n / seconds * 1e-6,
           seconds / n * 1e9, hist_quantile(h, 0.5));
}

int main(void)
{
    enum { N = 1 << 16, ROUNDS = 500, EPOCH = 40 };
    static int64_t v[N];
    struct arena a = {0};
    struct rng_stream s = rng_stream(1, 0, "bench");
    struct hist h;
    double start;

    if (hist_init(&h, &a) < 0) {
        return 1;
    }
    for (uint64_t i = 0; i < N; i++) { /* decode steps: 10 to 60 ms */
        v[i] = (int64_t)rng_range(s, i, 0, 10000000, 60000000);
    }
    start = now_s();
    for (int r = 0; r < ROUNDS; r++) {
        for (int i = 0; i < N; i++) {
            hist_add(&h, v[i], 8);
        }
    }
    report("hist_add", (double)N * ROUNDS, now_s() - start, &h);
    hist_clear(&h);
    start = now_s();
    for (int r = 0; r < ROUNDS / 10; r++) {
        for (int i = 0; i < N; i++) { /* 40 steps, each 2 us longer */
            hist_add_affine(&h, v[i] << SIM_TICKS_PER_NS_LOG2, 2000 << SIM_TICKS_PER_NS_LOG2, EPOCH,
                            8);
        }
    }
    report("hist_add_affine, 40 steps", (double)N * (ROUNDS / 10), now_s() - start, &h);
    arena_release(&a);
    return 0;
}
