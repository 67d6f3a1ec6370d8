/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache-aware policy of SGLang's router (documentation of sglang-gateway 0.3.1 and of vLLM's router
 * 0.1.15, which share rule and defaults): when the busiest replica has more than balance_abs requests over
 * the idlest and more than balance_rel times as many, the one with the fewest; else the one that has seen
 * more than `threshold` of the prompt, the longest part of it; else the one with the smallest record, which
 * has the most room. There the record holds text, prunes itself at intervals and is bound by a size of its
 * own; here it holds the trace's ids and as many tokens as the KV pool. */
#include "policies/route/prefixes.h"

struct cache_aware {
    double threshold, balance_rel, room_tok;
    int64_t balance_abs;
    struct prefixes seen;
    uint32_t next; /* where looking begins: of equals each has its turn */
    double matched_tok, asked_tok, requests, balanced;
};

static const struct opt_row cache_aware_options[] = {
    {.name = "threshold", .type = OPT_DOUBLE, .offset = offsetof(struct cache_aware, threshold), .min = 0,
     .max = 1, .def = "0.3", .unit = "1", .help = "share of the prompt that has to match (SGLang: 0.3)"},
    {.name = "balance_abs", .type = OPT_INT, .offset = offsetof(struct cache_aware, balance_abs), .min = 0,
     .max = 1e9, .def = "64", .unit = "1", .help = "requests apart that count as imbalance (SGLang: 64)"},
    {.name = "balance_rel", .type = OPT_DOUBLE, .offset = offsetof(struct cache_aware, balance_rel), .min = 1,
     .max = 1e9, .def = "1.5", .unit = "1", .help = "and times as many (SGLang: 1.5)"},
    {.name = "room", .type = OPT_DOUBLE, .offset = offsetof(struct cache_aware, room_tok), .min = 0,
     .max = 1e13, .def = "0", .unit = "tok",
     .help = "tokens remembered of each replica; 0 = as many as its KV pool holds"},
    OPT_END,
};

static int cache_aware_init(void *st, struct route_env *env, struct err *e)
{
    struct cache_aware *s = st;
    double room = s->room_tok > 0 ? s->room_tok : (double)env->kv_tok;
    return prefixes_init(&s->seen, env->n, (uint64_t)room, env->arena, e);
}

static void cache_aware_release(void *st)
{
    prefixes_release(&((struct cache_aware *)st)->seen);
}

static bool out_of_balance(const struct cache_aware *s, const struct route_view *v)
{
    double least = route_outstanding(&v->replica[0]), most = least;
    for (uint32_t i = 1; i < v->n; i++) {
        double x = route_outstanding(&v->replica[i]);
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    return most - least > (double)s->balance_abs && most > s->balance_rel * least;
}

static uint32_t longest_match(const struct cache_aware *s, uint32_t n, uint32_t *ret_tok)
{
    uint32_t best = 0;
    *ret_tok = prefixes_match_tok(&s->seen, 0);
    for (uint32_t i = 1; i < n; i++) {
        uint32_t tok = prefixes_match_tok(&s->seen, i);
        if (tok > *ret_tok) {
            *ret_tok = tok;
            best = i;
        }
    }
    return best;
}

static uint32_t smallest_record(const struct cache_aware *s, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (prefixes_held_tok(&s->seen, i) < prefixes_held_tok(&s->seen, best)) {
            best = i;
        }
    }
    return best;
}

static int cache_aware_route(void *st, const struct route_view *v, const struct route_req *r, uint32_t *ret,
                             struct err *e)
{
    struct cache_aware *s = st;
    uint32_t tok;
    if (prefixes_read(&s->seen, r, e) < 0) {
        return e->code;
    }
    s->requests++;
    s->asked_tok += r->prompt_tok;
    if (out_of_balance(s, v)) {
        *ret = route_least(v, s->next, route_outstanding);
        s->next = *ret + 1;
        tok = prefixes_match_tok(&s->seen, *ret);
        s->balanced++;
    } else {
        *ret = longest_match(s, v->n, &tok);
        if (tok <= s->threshold * r->prompt_tok) {
            *ret = smallest_record(s, v->n);
            tok = prefixes_match_tok(&s->seen, *ret);
        }
    }
    s->matched_tok += tok;
    return prefixes_put(&s->seen, *ret, e);
}

static size_t cache_aware_stats(const void *st, struct policy_stat *ret, size_t max)
{
    const struct cache_aware *s = st;
    const struct policy_stat all[] = {
        {"router_match_share", "1", s->asked_tok > 0 ? s->matched_tok / s->asked_tok : 0},
        {"router_balanced_share", "1", s->requests > 0 ? s->balanced / s->requests : 0},
    };
    size_t n = 0;
    for (; n < sizeof all / sizeof *all && n < max; n++) {
        ret[n] = all[n];
    }
    return n;
}

const struct router_ops router_cache_aware = {
    .name = "cache-aware",
    .summary = "the longest matching prefix while load is balanced, the fewest requests when it is not",
    .source = "SGLang gateway 0.3.1 (cache_aware), as its and vLLM router's documentation say",
    .abi = ROUTER_ABI,
    .state_size = sizeof(struct cache_aware),
    .options = cache_aware_options,
    .init = cache_aware_init,
    .release = cache_aware_release,
    .route = cache_aware_route,
    .stats = cache_aware_stats,
};
