/* SPDX-License-Identifier: Apache-2.0
 *
 * The input is what stands behind "synth:", without the names of files. */
#include <stdio.h>
#include <string.h>

#include "tests/fuzz/trace_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[2048];
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    if (size > 2000 || memmem(data, size, "file", 4) || memmem(data, size, "servegen", 8) || memchr(data, 0, size)) {
        return 0;
    }
    snprintf(path, sizeof(path), "synth:%.*s", (int)size, (const char *)data);
    int rc = trace_open(&t, path, NULL, 1, 0, &e);
    for (int i = 0; rc == 0 && i < 500 && (rc = trace_next(t, &a, &e)) == 1; i++) {
        promise(a.prompt_tok > 0 && a.output_tok > 0 && a.client < trace_clients(t));
        rc = 0;
    }
    trace_close(t);
    return 0;
}
