/* SPDX-License-Identifier: Apache-2.0
 *
 * Of equals the next one, going round: an idle cluster is used evenly. */
#include "policies/route.h"

struct least_outstanding {
    uint32_t next; /* where looking begins: of equals each has its turn */
};

static double load(const struct route_replica *x)
{
    return route_outstanding(x);
}

static int least_outstanding_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                    struct err *e)
{
    (void)r;
    (void)e;
    struct least_outstanding *s = st;
    *ret = route_least(v, s->next, load);
    s->next = *ret + 1;
    return 0;
}

const struct router_ops router_least_outstanding = {
    .name = "least-outstanding",
    .summary = "the replica with the fewest requests",
    .source = "textbook (least connections)",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct least_outstanding),
    .route = least_outstanding_route,
};
