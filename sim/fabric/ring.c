/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fabric/ring.h"

#include <math.h>

struct ring_rank {
    struct topo_route to_next;
    uint32_t sent;     /* rounds of its own that have ended */
    uint32_t received; /* rounds of its predecessor that have ended */
    bool sending;
};

/* The chunk of round k (from 0) is there once k chunks have come in. */
static void send_if_ready(struct ring *r, uint32_t i, sim_ns now)
{
    struct ring_rank *k = &r->rank[i];
    if (k->sending || k->sent == r->rounds || k->received < k->sent) {
        return;
    }
    struct flow_spec s = {.path = k->to_next.path, .n_path = k->to_next.n_path,
                          .bytes = r->chunk_bytes, .weight = k->to_next.weight, .tag = r->tag + i};
    k->sending = fabric_start_flow(r->fabric, now, &s) != FLOW_NONE;
    r->failed = r->failed || !k->sending;
}

int ring_begin(struct ring *ret, const struct ring_spec *s, sim_ns now, struct arena *a, struct err *e)
{
    if (s->n_ranks < 2 || s->rounds == 0 || !(s->bytes >= 0) || !isfinite(s->bytes)) {
        return err_set(e, SIM_E_CONFIG, "a ring of %u ranks, %u rounds and %g bytes makes no sense",
                       s->n_ranks, s->rounds, s->bytes);
    }
    *ret = (struct ring){.fabric = s->fabric, .n_ranks = s->n_ranks, .rounds = s->rounds,
                         .unfinished = s->n_ranks, .chunk_bytes = s->bytes / s->n_ranks, .tag = s->tag,
                         .rank = arena_calloc(a, s->n_ranks, sizeof *ret->rank)};
    if (!ret->rank) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a ring");
    }
    for (uint32_t i = 0; i < s->n_ranks; i++) {
        int rc = topology_route(s->map, s->ranks[i], s->ranks[(i + 1) % s->n_ranks],
                                &ret->rank[i].to_next, e);
        if (rc < 0) {
            return rc;
        }
    }
    for (uint32_t i = 0; i < s->n_ranks; i++) {
        send_if_ready(ret, i, now);
    }
    return ret->failed ? err_set(e, SIM_E_NOMEM, "out of memory for the flows of a ring") : 0;
}

bool ring_on_flow(struct ring *r, sim_ns now, uint64_t tag)
{
    if (tag < r->tag || tag - r->tag >= r->n_ranks) {
        return false;
    }
    uint32_t i = (uint32_t)(tag - r->tag);
    uint32_t next = (i + 1) % r->n_ranks;
    r->rank[i].sending = false;
    r->unfinished -= ++r->rank[i].sent == r->rounds;
    r->rank[next].received++;
    send_if_ready(r, i, now);
    send_if_ready(r, next, now);
    return r->unfinished == 0;
}
