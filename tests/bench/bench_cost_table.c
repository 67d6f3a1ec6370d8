/* SPDX-License-Identifier: Apache-2.0
 *
 * Processor time of one answer of the cost model `table`, decode-only and mixed, on a profile of realistic size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "models/cost.h"

#define CALLS 2000000u

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void axis(FILE *f, const char *name, unsigned n, double step)
{
    fprintf(f, "{\"name\": \"%s\", \"at\": [", name);
    for (unsigned i = 0; i < n; i++) {
        fprintf(f, "%s%g", i ? ", " : "", i * step);
    }
    fprintf(f, "]}");
}

static void numbers(FILE *f, unsigned n)
{
    fprintf(f, "\"us\": [");
    for (unsigned i = 0; i < n; i++) {
        fprintf(f, "%s%u", i ? ", " : "", 10 + i % 977);
    }
    fprintf(f, "]}");
}

static void write_profile(FILE *f)
{
    fprintf(f, "{\"schema\": \"steelyard.profile/1\", \"tp\": 1, \"skew\": {\"decodes\": [1, 64], \"pure\": [0.1, "
               "0.2], \"mixed\": [0.5, 0.1]}, \"terms\": [{\"name\": \"t\", \"count\": 32, \"axes\": [");
    axis(f, "tokens", 150, 16);
    fprintf(f, "], ");
    numbers(f, 150);
    fprintf(f, ", {\"name\": \"d\", \"count\": 32, \"axes\": [");
    axis(f, "decodes", 9, 16);
    fprintf(f, ", ");
    axis(f, "context", 20, 512);
    fprintf(f, "], ");
    numbers(f, 180);
    fprintf(f, ", {\"name\": \"m\", \"count\": 32, \"axes\": [");
    axis(f, "prefill_tok", 20, 100);
    fprintf(f, ", ");
    axis(f, "prefill_ctx", 20, 512);
    fprintf(f, ", ");
    axis(f, "decodes", 9, 16);
    fprintf(f, ", ");
    axis(f, "context", 20, 512);
    fprintf(f, "], ");
    numbers(f, 20 * 20 * 9 * 20);
    fprintf(f, "]}");
}

static void measure(const struct cost_ops *ops, const void *state, const char *name, uint64_t chunk)
{
    struct cost_affine r;
    uint64_t sum = 0;
    double start = now_s();
    for (uint32_t i = 0; i < CALLS; i++) {
        uint64_t n = 1 + i % 128, ctx = n * (200 + i % 5000);
        struct batch_shape b = {.n_decode = (uint32_t)n, .decode_ctx_tok = ctx, .decode_ctx_sq = 2 * ctx * ctx / n,
                                .n_prefill = chunk > 0, .prefill_tok = chunk, .prefill_pairs = chunk * (chunk + i % 4000)};
        ops->iteration(state, &b, &r);
        sum += (uint64_t)r.base;
    }
    printf("%-12s %6.1f ns a call (%llu)\n", name, 1e9 * (now_s() - start) / CALLS, (unsigned long long)(sum & 1));
}

int main(void)
{
    char path[] = "/tmp/steelyard-bench-XXXXXX", spec[80];
    struct arena a = {0};
    struct err e = {0};
    struct cost_env env = {.tp = 1, .max_seqs = 256, .arena = &a};
    const struct cost_ops *ops = cost_find("table");
    int fd = mkstemp(path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!f) {
        return 1;
    }
    write_profile(f);
    fclose(f);
    void *state = arena_alloc(&a, ops->state_size);
    snprintf(spec, sizeof(spec), "table{profile=%s}", path);
    bool bad = opt_spec_apply(spec, ops->options, state, &a, &e) < 0 || ops->init(state, &env, &e) < 0;
    unlink(path);
    if (bad) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    measure(ops, state, "decode-only", 0);
    measure(ops, state, "mixed", 300);
    arena_release(&a);
    return 0;
}
