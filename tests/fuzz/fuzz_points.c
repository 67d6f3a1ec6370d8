/* SPDX-License-Identifier: Apache-2.0
 *
 * A table of any content: another format, an error with a place, or points whose settings are sane. */
#include <math.h>
#include <stdlib.h>

#include "sim/cli/points.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const struct point *p)
{
    if (!p->id || !p->gpu || !p->model || p->n_measures > POINT_MEASURES) {
        abort();
    }
    if (!p->skip && (p->prompt_low > p->prompt_high || p->output_low > p->output_high || p->prompt_low == 0 ||
                     p->output_low == 0 || p->requests == 0 || p->tp == 0)) {
        abort();
    }
    for (uint32_t i = 0; i < p->n_measures; i++) {
        if (!(p->measure[i].real > 0)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct trace_input *in;
    struct point_list l;

    if (size > 0 && data[0] == '{') {
        if (point_list_bench(&l, (const char *)data, size, "fuzz.json", &a, &e) == 1) {
            look_at(&l.point[0]);
            point_list_release(&l);
        }
    } else if (trace_input_open_memory(&in, data, size, "fuzz.csv", &a, &e) == 0) {
        int rc = point_list_read(&l, in, &a, &e);

        if (rc < 0 && e.msg[0] == '\0') {
            abort();
        }
        for (size_t i = 0; rc == 1 && i < l.n; i++) {
            look_at(&l.point[i]);
        }
        if (rc == 1) {
            point_list_release(&l);
        }
    }
    arena_release(&a);
    return 0;
}
