/* SPDX-License-Identifier: Apache-2.0
 *
 * Locality and nothing else: to the replica that was sent the longest part of this prompt's head before; a
 * prompt that nobody has seen begins where the fewest requests are. */
#include "policies/route/prefixes.h"

struct prefix {
    double room_tok;
    struct prefixes seen;
    uint32_t next; /* where looking begins: of equals each has its turn */
    double matched_tok, asked_tok;
};

static const struct opt_row prefix_options[] = {
    {.name = "room", .type = OPT_DOUBLE, .offset = offsetof(struct prefix, room_tok), .min = 0, .max = 1e13,
     .def = "0", .unit = "tok", .help = "tokens remembered of each replica; 0 = as many as its KV pool holds"},
    OPT_END,
};

static int prefix_init(void *st, struct route_env *env, struct err *e)
{
    struct prefix *s = st;
    double room = s->room_tok > 0 ? s->room_tok : (double)env->kv_tok;
    return prefixes_init(&s->seen, env->n, (uint64_t)room, env->arena, e);
}

static void prefix_release(void *st)
{
    prefixes_release(&((struct prefix *)st)->seen);
}

static int prefix_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                        struct err *e)
{
    struct prefix *s = st;
    uint32_t longest = 0;
    if (prefixes_read(&s->seen, r, e) < 0) {
        return e->code;
    }
    *ret = route_least(v, s->next, route_outstanding);
    s->next = *ret + 1;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t tok = prefixes_match_tok(&s->seen, i);
        double here = route_outstanding(&v->replica[i]);
        if (tok > longest ||
            (tok == longest && tok > 0 && here < route_outstanding(&v->replica[*ret]))) {
            longest = tok;
            *ret = i;
        }
    }
    s->matched_tok += longest;
    s->asked_tok += r->prompt_tok;
    return prefixes_put(&s->seen, *ret, e);
}

static size_t prefix_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct prefix *s = st;
    if (max < 1) {
        return 0;
    }
    ret[0] = (struct policy_stat){"router_match_share", "1", s->asked_tok > 0 ? s->matched_tok / s->asked_tok : 0};
    return 1;
}

const struct router_ops router_prefix = {
    .name = "prefix",
    .summary = "the replica that has seen the longest part of the prompt; load only breaks ties",
    .source = "textbook; the locality half of SGLang's cache-aware router",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct prefix),
    .options = prefix_options,
    .init = prefix_init,
    .release = prefix_release,
    .route = prefix_route,
    .stats = prefix_stats,
};
