/* SPDX-License-Identifier: Apache-2.0
 *
 * The fuzz targets of the trace readers: the input is a file. Whatever it holds, every arrival that
 * comes out keeps the promises of traces/trace.h. */
#ifndef STEELYARD_FUZZ_TRACE_TARGET_H
#define STEELYARD_FUZZ_TRACE_TARGET_H

#include <stdint.h>
#include <stdlib.h>

#include "traces/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept)
{
    if (!kept) {
        abort();
    }
}

static __attribute__((unused)) void read_as(const uint8_t *data, size_t size, const char *format)
{
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    sim_ns last = 0;
    uint64_t sum = 0;
    int rc = trace_open_memory(&t, data, size, "fuzz", format, 1, 0, &e);
    for (int i = 0; rc == 0 && i < 5000 && (rc = trace_next(t, &a, &e)) == 1; i++) {
        promise(a.time_ns >= last && a.prompt_tok > 0 && a.output_tok > 0);
        promise(a.client < trace_clients(t) && trace_client_name(t, a.client));
        promise(a.n_hash == 0 || a.hash_tok > 0);
        for (uint32_t k = 0; k < a.n_hash; k++) {
            sum += a.hash[k];
        }
        for (uint32_t k = 0; k < a.n_after; k++) {
            sum += a.after[k];
        }
        last = a.time_ns;
        rc = 0;
    }
    promise(rc == 0 || rc == 1 || (e.code != 0 && e.msg[0]) || sum == 1);
    trace_close(t);
}

#endif
