/* SPDX-License-Identifier: Apache-2.0
 *
 * Two replicas are drawn, the one with fewer requests takes it (Mitzenmacher, "The power of two choices in
 * randomized load balancing", IEEE TPDS 12(10), 2001). */
#include "policies/route.h"
#include "sim/core/rng.h"

struct power_of_two {
    struct rng_stream draws;
};

static int power_of_two_init(void *st, struct route_env *env, struct err *e)
{
    (void)e;
    ((struct power_of_two *)st)->draws = rng_stream(env->seed, env->replication, "route");
    return 0;
}

/* Two different ones; the first drawn wins a tie. */
static int power_of_two_route(void *st, const struct route_view *v, const struct route_req *r,
                              uint32_t *ret, struct err *e)
{
    (void)e;
    const struct power_of_two *s = st;
    uint32_t a = (uint32_t)rng_range(s->draws, r->serial, 0, 0, v->n - 1), b = a;
    if (v->n > 1) {
        b = (uint32_t)rng_range(s->draws, r->serial, 1, 0, v->n - 2);
        b += b >= a;
    }
    *ret = route_outstanding(&v->replica[b]) < route_outstanding(&v->replica[a]) ? b : a;
    return 0;
}

const struct router_ops router_power_of_two = {
    .name = "power-of-two",
    .summary = "of two replicas drawn at random the one with fewer requests",
    .source = "Mitzenmacher, IEEE TPDS 12(10), 2001",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct power_of_two),
    .init = power_of_two_init,
    .route = power_of_two_route,
};
