/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers of the trace tests: read a trace from text, expect an error. */
#ifndef STEELYARD_TEST_TRACE_H
#define STEELYARD_TEST_TRACE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "traces/trace.h"

struct read_result {
    int rc; /* of the last call */
    size_t n;
    struct arrival row[16];
    uint64_t hash[16][16];
    char client[16][32];
    unsigned caps;
    char format[32];
    struct err err;
};

/* Reads all requests of an open trace, keeps the first 16. Closes it. */
static void read_all(struct read_result *r, struct trace *t)
{
    struct arrival a;
    snprintf(r->format, sizeof(r->format), "%s", trace_format_name(t));
    r->caps = trace_caps(t);
    while ((r->rc = trace_next(t, &a, &r->err)) == 1) {
        if (r->n < 16) {
            r->row[r->n] = a;
            for (uint32_t i = 0; i < a.n_hash && i < 16; i++) {
                r->hash[r->n][i] = a.hash[i];
            }
            snprintf(r->client[r->n], 32, "%s", trace_client_name(t, a.client));
        }
        r->n++;
    }
    trace_close(t);
}

static __attribute__((unused)) void read_text(struct read_result *r, const char *text, size_t n,
                                              const char *format)
{
    struct trace *t;
    memset(r, 0, sizeof(*r));
    r->rc = trace_open_memory(&t, text, n, "x", format, 1, 0, &r->err);
    if (r->rc == 0) {
        read_all(r, t);
    }
}

static __attribute__((unused)) void read_path(struct read_result *r, const char *path,
                                              const char *format)
{
    struct trace *t;
    memset(r, 0, sizeof(*r));
    r->rc = trace_open(&t, path, format, 1, 0, &r->err);
    if (r->rc == 0) {
        read_all(r, t);
    }
}

static __attribute__((unused)) void expect_error(const char *text, const char *format, int code,
                                                 const char *part)
{
    struct read_result r;
    read_text(&r, text, strlen(text), format);
    if (r.rc != code || !strstr(r.err.msg, part)) {
        fail_msg("expected code %d and '%s', got code %d and '%s'", code, part, r.rc, r.err.msg);
    }
}

static __attribute__((unused)) void expect_row(const struct read_result *r, size_t i, double time_s,
                                               uint32_t prompt, uint32_t output)
{
    assert_true(i < r->n);
    if (llround(time_s * 1e9) != r->row[i].time_ns || prompt != r->row[i].prompt_tok ||
        output != r->row[i].output_tok) {
        fail_msg("row %zu: expected %.9f s %u %u, got %.9f s %u %u", i, time_s, prompt, output,
                 (double)r->row[i].time_ns * 1e-9, r->row[i].prompt_tok, r->row[i].output_tok);
    }
}

#endif
