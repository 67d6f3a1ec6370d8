/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/route.h"

struct round_robin {
    uint32_t next;
};

static int round_robin_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                             struct err *e)
{
    (void)r;
    (void)e;
    struct round_robin *s = st;
    *ret = s->next;
    s->next = (s->next + 1) % v->n;
    return 0;
}

const struct router_ops router_round_robin = {
    .name = "round-robin",
    .summary = "one replica after the other",
    .source = "textbook; the baseline of Llumnix, OSDI'24, section 6",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct round_robin),
    .route = round_robin_route,
};
