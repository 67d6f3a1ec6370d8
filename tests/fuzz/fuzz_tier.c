/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile of a tier of any content: an error that says why, or rates that a link can have. */
#include <stdlib.h>

#include "sim/fabric/fabric.h"
#include "sim/fabric/tier.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct tier_profile t;

    if (tier_parse(&t, (const char *)data, size, "fuzz.json", &a, &e) < 0) {
        if (e.code == 0 || e.msg[0] == '\0') {
            abort();
        }
    } else {
        struct fabric *f = fabric_new(&a);
        struct link_spec s = {.name = "read", .bytes_per_s = t.read_bytes_per_s,
                              .latency_ns = t.read_latency_ns};
        link_id l;

        if (!f || fabric_add_link(f, &s, &l, &e) < 0) {
            abort();
        }
    }
    arena_release(&a);
    return 0;
}
