/* SPDX-License-Identifier: Apache-2.0
 *
 * Llumnix v0.1's kv_blocks_ratio: (used + all that wait ask for) / total. */
#include "policies/route.h"

struct least_kv {
    uint32_t next; /* where looking begins: of equals each has its turn */
};

static double load(const struct route_replica *x)
{
    return x->kv_total_tok ? (double)(x->kv_used_tok + x->waiting_tok) / (double)x->kv_total_tok : 0;
}

static int least_kv_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                    struct err *e)
{
    (void)r;
    (void)e;
    struct least_kv *s = st;
    *ret = route_least(v, s->next, load);
    s->next = *ret + 1;
    return 0;
}

const struct router_ops router_least_kv = {
    .name = "least-kv",
    .summary = "the replica with the smallest share of KV memory used or asked for",
    .source = "Llumnix v0.1, load metric kv_blocks_ratio",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct least_kv),
    .route = least_kv_route,
};
