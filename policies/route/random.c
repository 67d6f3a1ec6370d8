/* SPDX-License-Identifier: Apache-2.0
 *
 * A draw belongs to the request's number: another router or policy sees the same draws. */
#include "policies/route.h"
#include "sim/core/rng.h"

struct random {
    struct rng_stream draws;
};

static int random_init(void *st, struct route_env *env, struct err *e)
{
    (void)e;
    ((struct random *)st)->draws = rng_stream(env->seed, env->replication, "route");
    return 0;
}

static int random_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                        struct err *e)
{
    (void)e;
    *ret = (uint32_t)rng_range(((struct random *)st)->draws, r->serial, 0, 0, v->n - 1);
    return 0;
}

const struct router_ops router_random = {
    .name = "random",
    .summary = "any replica, with equal chances",
    .source = "textbook",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct random),
    .init = random_init,
    .route = random_route,
};
