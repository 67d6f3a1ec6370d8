/* SPDX-License-Identifier: Apache-2.0
 *
 * The fit's reader of a probe's file on any bytes: an answer or an error with the file's name, and an answer
 * whose points have what the fit reads of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/probe_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct probe_file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct probe_point *p = &f->point[i];
        if (!p->id || !p->kind || !(p->s > 0)) {
            abort();
        }
        if (strcmp(p->kind, "gemm") == 0 && !(probe_number(p, "m") >= 1 && probe_number(p, "k") >= 1)) {
            abort();
        }
        if (strcmp(p->kind, "decode") == 0 && !(probe_number(p, "batch") >= 1 && probe_number(p, "spread") >= 0)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct probe_file f;
    char *text = arena_alloc(&a, size + 1);
    if (text && size > 0) {
        memcpy(text, data, size);
    }
    if (text && probe_file_parse(&f, text, size, "fuzz", &a, &e) == 0) {
        check(&f);
        probe_file_release(&f);
    } else if (text && (e.code == 0 || strstr(e.msg, "fuzz") == NULL)) {
        abort();
    }
    arena_release(&a);
    return 0;
}
