/* SPDX-License-Identifier: Apache-2.0
 *
 * A timeline of any content: an error, or boxes that lie within the window, on lanes that are drawn. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/cli/plot/lanes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct lanes *l)
{
    if (l->n_boxes == 0 || l->rows == 0 || l->n_boxes > LANES_BOXES || l->n_kinds > LANES_KINDS) {
        abort();
    }
    for (size_t i = 0; i < l->n_boxes; i++) {
        const struct box *b = &l->box[i];

        if (!(b->from >= l->from && b->from < b->to && b->to <= l->to) || b->lane >= l->n || strchr(b->name, '"') ||
            (lanes_on_gpu(l, b) ? b->kind >= l->n_kinds : b->kind > 1)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const double window[][2] = {{(double)NAN, (double)NAN}, {1, 2}, {(double)NAN, 1e-3}};

    for (size_t i = 0; i < sizeof window / sizeof *window; i++) {
        struct arena a = {0};
        struct err e = {0};
        struct lanes *l = arena_calloc(&a, 1, sizeof *l);

        if (l && lanes_read(l, (const char *)data, size, "fuzz.json", window[i][0], window[i][1], &a, &e) == 0) {
            check(l);
        } else if (e.code == 0 || e.msg[0] == '\0') {
            abort();
        }
        arena_release(&a);
    }
    return 0;
}
