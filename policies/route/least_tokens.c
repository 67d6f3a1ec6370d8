/* SPDX-License-Identifier: Apache-2.0
 *
 * Prompt tokens of all that wait and run there: long prompts count for more than short ones. What their
 * answers hold is not counted, since a router in front of an engine does not see it. */
#include "policies/route.h"

struct least_tokens {
    uint32_t next; /* where looking begins: of equals each has its turn */
};

static double load(const struct route_replica *x)
{
    return (double)x->prompt_tok;
}

static int least_tokens_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                    struct err *e)
{
    (void)r;
    (void)e;
    struct least_tokens *s = st;
    *ret = route_least(v, s->next, load);
    s->next = *ret + 1;
    return 0;
}

const struct router_ops router_least_tokens = {
    .name = "least-tokens",
    .summary = "the replica whose requests have the fewest prompt tokens",
    .source = "the idea of SGLang's minimum_tokens, by recollection",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct least_tokens),
    .route = least_tokens_route,
};
