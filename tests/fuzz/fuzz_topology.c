/* SPDX-License-Identifier: Apache-2.0
 *
 * A topology of any content: an error, or a machine on which every route found carries a flow. */
#include <stdlib.h>

#include "sim/fabric/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct topology *t, struct arena *a)
{
    struct err e = {0};
    struct fabric *f = fabric_new(a);
    struct topo_map *m = f ? topology_attach(t, f, a, &e) : NULL;
    if (!m) {
        abort();
    }
    uint32_t started = 0;
    for (uint32_t to = 0; to < t->n_nodes && to < 16; to++) {
        struct topo_route r;
        struct err none = {0};
        if (topology_route(m, 0, to, &r, &none) < 0) {
            continue;
        }
        struct flow_spec s = {.path = r.path, .n_path = r.n_path, .bytes = 1e6, .weight = r.weight,
                              .source = r.source, .sink = r.sink};
        if (fabric_start_flow(f, 0, &s) == FLOW_NONE) {
            abort();
        }
        started++;
    }
    uint64_t tag;
    for (sim_ns now = fabric_next(f); now != SIM_NEVER; now = fabric_next(f)) {
        while (fabric_poll(f, now, &tag)) {
            started--;
        }
    }
    if (started != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct err e = {0};
    struct topology t;
    if (topology_parse(&t, (const char *)data, size, "fuzz.json", &a, &e) == 0) {
        use(&t, &a);
        t.faults = true;
        use(&t, &a);
    } else if (e.code == 0 || e.msg[0] == '\0') {
        abort();
    }
    arena_release(&a);
    return 0;
}
