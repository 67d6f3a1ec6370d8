/* SPDX-License-Identifier: Apache-2.0
 *
 * A recording of expert routes of any content: an error, or experts inside their bounds, each once in a
 * layer of a token. */
#include <stdlib.h>

#include "traces/route_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct route_record *r)
{
    if (r->top_k == 0 || r->top_k > ROUTE_TOP_K_MAX || r->layers == 0 || r->layers > ROUTE_LAYERS_MAX ||
        r->experts > ROUTE_EXPERTS_MAX || r->start[r->sequences] != r->tokens) {
        abort();
    }
    for (size_t i = 0; i < (size_t)r->tokens * r->layers * r->top_k; i++) {
        for (size_t j = i / r->top_k * r->top_k; j < i; j++) {
            if (r->expert[i] == r->expert[j]) {
                abort();
            }
        }
        if (r->expert[i] >= r->experts) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct route_file f;
    struct route_record r = {0};
    int rc = route_file_open_memory(&f, data, size, "x", &a, &e);
    rc = rc == 0 ? route_record_read(&r, &f, NULL, 0, &a, &e) : rc;
    if (rc == 0) {
        check(&r);
    } else if (e.code >= 0) {
        abort();
    }
    route_file_close(&f);
    route_record_release(&r);
    arena_release(&a);
    return 0;
}
