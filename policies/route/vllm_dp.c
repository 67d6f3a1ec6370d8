/* SPDX-License-Identifier: Apache-2.0
 *
 * How vLLM V1's front end spreads requests over data-parallel engines (0.15 to 0.19, core_client.py): the
 * least of 4 * waiting + running; of equals the first. There the counts are some 100 ms old and the front
 * end adds what it has sent since (routing.poll=0.1s). */
#include "policies/route.h"

static double score(const struct route_replica *x)
{
    return 4.0 * x->n_waiting + x->n_running;
}

static int vllm_dp_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                         struct err *e)
{
    (void)st;
    (void)r;
    (void)e;
    *ret = route_least(v, 0, score);
    return 0;
}

const struct router_ops router_vllm_dp = {
    .name = "vllm-dp",
    .summary = "the least of 4 * waiting + running",
    .source = "vLLM V1 0.15-0.19, data-parallel load balancer (core_client.py)",
    .abi = ROUTER_ABI,
    .route = vllm_dp_route,
};
