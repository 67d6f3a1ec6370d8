/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters of collectives of any content: an error, or times that are numbers above zero. */
#include <math.h>
#include <stdlib.h>

#include "sim/fabric/collective.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct collective_model *m)
{
    for (int op = 0; op < COLLECTIVE_OPS; op++) {
        for (uint32_t n = 2; m->op[op].known && n <= 64; n *= 2) {
            struct collective_call c = {(enum collective_op)op, n, n > 8 ? n / 8 : 1, 1e6, m->host_us, {256, 8, 0, 8, 4}};
            struct collective_choice r;
            if (collective_time(m, &c, &r, NULL) != 0 || !isfinite(r.us) || r.us < 0) {
                abort();
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct collective_model m;
    if (collective_parse(&m, (const char *)data, size, "fuzz.json", &a, &e) == 0) {
        use(&m);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    arena_release(&a);
    return 0;
}
