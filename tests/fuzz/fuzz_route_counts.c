/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts of experts of any content: an error, or finite counts, none negative. */
#include <math.h>
#include <stdlib.h>

#include "traces/route_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct route_file f;
    struct route_counts c = {0};
    int rc = route_file_open_memory(&f, data, size, "x", &a, &e);
    rc = rc == 0 ? route_counts_read(&c, &f, 0.15, &a, &e) : rc;
    for (size_t i = 0; rc == 0 && i < (size_t)c.layers * c.experts; i++) {
        if (!isfinite(c.count[i]) || c.count[i] < 0) {
            abort();
        }
    }
    if (rc < 0 && e.code >= 0) {
        abort();
    }
    route_file_close(&f);
    arena_release(&a);
    return 0;
}
