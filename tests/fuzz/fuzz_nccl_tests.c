/* SPDX-License-Identifier: Apache-2.0
 *
 * Output of nccl-tests of any content: an error, or curves with times above zero that do not descend once mended. */
#include <math.h>
#include <stdlib.h>

#include "calibrate/nccl_tests.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct measured *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        struct measured_curve *c = &m->curve[i];
        uint32_t lowered;
        double last = 0;

        measured_mend(c, &lowered);
        if (c->n < 1 || c->ranks < 2 || c->nodes < 1 || lowered > c->n || measured_find(m, c->op, c->ranks, c->nodes) == NULL) {
            abort();
        }
        for (double bytes = 1; bytes < 1e15; bytes *= 7) {
            double us = c->n > 1 ? measured_us(c, bytes) : c->us[0];
            if (!(us > 0) || us < last * (1 - 1e-9) || !isfinite(us)) {
                abort();
            }
            last = us;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct measured m = {0};
    struct nccl_tests said = {.op = size % 2 ? "all_gather" : NULL, .ranks = size % 3 ? 4 : 0};

    if (nccl_tests_parse(&m, &said, (const char *)data, size, "fuzz.txt", &a, &e) == 0) {
        use(&m);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    arena_release(&a);
    return 0;
}
