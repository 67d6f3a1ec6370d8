/* SPDX-License-Identifier: Apache-2.0
 *
 * Caches of experts, replayed over a sample. All policies are one: what has the lowest worth goes out;
 * they differ in what an expert is worth. */
#include "traces/route_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const route_cache_names[] = {"lru", "lfu", "decayed", "static", "belady", NULL};

#define HALF_LIFE_TOK 128
#define NEVER         UINT32_MAX
#define GONE          ((double)INFINITY)

struct cache {
    const struct route_layer *l;
    enum route_cache policy;
    uint32_t capacity, held;
    bool in[ROUTE_EXPERTS_MAX];
    double worth[ROUTE_EXPERTS_MAX];
    double stay[ROUTE_EXPERTS_MAX];  /* the lowest goes out: worth, or GONE for what is not there or asked for */
    double growth;                   /* of the weight of a use, DECAYED */
    uint32_t *next;                  /* [token][k]: token that uses this expert again, BELADY */
};

/* Next use of each use: walked from the end. */
static int find_next_uses(struct cache *c)
{
    uint32_t tokens = route_layer_tokens(c->l), k = c->l->top_k, last[ROUTE_EXPERTS_MAX];
    c->next = malloc((size_t)tokens * k * sizeof(*c->next));
    if (!c->next) {
        return SIM_E_NOMEM;
    }
    memset(last, 0xff, sizeof(last));
    for (uint32_t t = tokens; t-- > 0;) {
        for (uint32_t i = 0; i < k; i++) {
            size_t at = (size_t)t * k + i;
            c->next[at] = last[c->l->expert[at]];
        }
        for (uint32_t i = 0; i < k; i++) {
            last[c->l->expert[(size_t)t * k + i]] = t;
        }
    }
    return 0;
}

static void hold_most_used(struct cache *c)
{
    uint64_t count[ROUTE_EXPERTS_MAX];
    route_count(c->l, 0, route_layer_tokens(c->l), count);
    for (; c->held < c->capacity && c->held < c->l->experts; c->held++) {
        uint32_t best = NEVER;
        for (uint32_t x = 0; x < c->l->experts; x++) {
            best = !c->in[x] && (best == NEVER || count[x] > count[best]) ? x : best;
        }
        c->in[best] = true;
    }
}

/* Uses of equal count go by time: the later one is worth more. */
static void use(struct cache *c, uint32_t token, uint32_t i)
{
    size_t at = (size_t)token * c->l->top_k + i;
    double *w = &c->worth[c->l->expert[at]];
    if (c->policy == ROUTE_LRU) {
        *w = token + 1.0;
    } else if (c->policy == ROUTE_LFU) {
        *w = floor(*w) + 1 + token * 0x1p-33;
    } else if (c->policy == ROUTE_DECAYED) {
        *w += c->growth;
    } else {
        *w = c->next[at] == NEVER ? -(double)NEVER : -(double)c->next[at];
    }
}

static uint32_t least_worth(const struct cache *c)
{
    double least = GONE;
    uint32_t out = NEVER;
    for (uint32_t x = 0; x < c->l->experts; x++) {
        if (c->stay[x] < least) {
            least = c->stay[x];
            out = x;
        }
    }
    return out;
}

/* The optimum need not keep what it has just used. */
static void let_in(struct cache *c, uint32_t expert)
{
    if (c->held == c->capacity) {
        uint32_t out = least_worth(c);
        if (out == NEVER || (c->policy == ROUTE_BELADY && c->worth[out] >= c->worth[expert])) {
            return;
        }
        c->in[out] = false;
        c->stay[out] = GONE;
        c->held--;
    }
    c->in[expert] = true;
    c->stay[expert] = c->policy == ROUTE_BELADY ? c->worth[expert] : GONE;
    c->held++;
}

/* Grow later uses rather than shrink all earlier ones; back to 1 before numbers get large. */
static void decay(struct cache *c)
{
    if (c->policy != ROUTE_DECAYED) {
        return;
    }
    c->growth *= exp2(1.0 / HALF_LIFE_TOK);
    if (c->growth > 1e100) {
        for (uint32_t x = 0; x < c->l->experts; x++) {
            c->worth[x] /= c->growth;
            c->stay[x] /= c->growth;
        }
        c->growth = 1;
    }
}

/* Misses of a token. */
static uint32_t serve(struct cache *c, uint32_t token)
{
    const uint16_t *e = c->l->expert + (size_t)token * c->l->top_k;
    uint32_t k = c->l->top_k, misses = 0;
    for (uint32_t i = 0; i < k; i++) {
        misses += !c->in[e[i]];
        if (c->policy != ROUTE_STATIC) {
            use(c, token, i);
            c->stay[e[i]] = c->policy == ROUTE_BELADY && c->in[e[i]] ? c->worth[e[i]] : GONE;
        }
    }
    for (uint32_t i = 0; i < k && misses && c->policy != ROUTE_STATIC; i++) {
        if (!c->in[e[i]]) {
            let_in(c, e[i]);
        }
    }
    for (uint32_t i = 0; i < k; i++) {
        c->stay[e[i]] = c->in[e[i]] ? c->worth[e[i]] : GONE;
    }
    decay(c);
    return misses;
}

double route_cache_hits(const struct route_layer *l, enum route_cache policy, uint32_t capacity, double *miss)
{
    struct cache c = {.l = l, .policy = policy, .capacity = capacity, .growth = 1};
    uint32_t tokens = route_layer_tokens(l), k = l->top_k;
    uint64_t of[ROUTE_TOP_K_MAX + 1] = {0}, misses = 0;
    for (uint32_t x = 0; x < l->experts; x++) {
        c.stay[x] = GONE;
    }
    if (policy == ROUTE_STATIC) {
        hold_most_used(&c);
    } else if (policy == ROUTE_BELADY && find_next_uses(&c) < 0) {
        return -1;
    }
    for (uint32_t t = 0; t < tokens; t++) {
        of[serve(&c, t)]++;
    }
    for (uint32_t i = 0; i <= k; i++) {
        misses += i * of[i];
        if (miss) {
            miss[i] = (double)of[i] / tokens;
        }
    }
    free(c.next);
    return 1 - (double)misses / ((double)tokens * k);
}

/* ---- with a window of foresight ---- */

struct foresight {
    const struct route_layer *l;
    uint32_t capacity, m, held;
    uint32_t soon[ROUTE_EXPERTS_MAX]; /* uses in the next m tokens */
    uint32_t last[ROUTE_EXPERTS_MAX]; /* last use */
    bool in[ROUTE_EXPERTS_MAX], asked[ROUTE_EXPERTS_MAX];
};

static uint32_t least_soon(const struct foresight *f)
{
    uint32_t out = NEVER;
    for (uint32_t x = 0; x < f->l->experts; x++) {
        if (!f->in[x] || f->asked[x]) {
            continue;
        }
        if (out == NEVER || f->soon[x] < f->soon[out] || (f->soon[x] == f->soon[out] && f->last[x] < f->last[out])) {
            out = x;
        }
    }
    return out;
}

static uint32_t foresee(struct foresight *f, uint32_t expert)
{
    if (f->in[expert]) {
        return 1;
    }
    uint32_t out = f->held < f->capacity ? NEVER : least_soon(f);
    bool filling = f->held < f->capacity;
    if (!filling && out == NEVER) {
        return 0;
    }
    f->held += filling;
    if (!filling) {
        f->in[out] = false;
    }
    f->in[expert] = true;
    return filling;
}

static uint64_t foresee_sequence(struct foresight *f, uint32_t from, uint32_t to)
{
    uint32_t k = f->l->top_k;
    const uint16_t *e = f->l->expert;
    uint64_t hits = 0;
    for (size_t i = (size_t)from * k; i < (size_t)to * k && i < ((size_t)from + f->m) * k; i++) {
        f->soon[e[i]]++;
    }
    for (size_t t = from; t < to; t++) {
        for (uint32_t i = 0; i < k; i++) {
            f->soon[e[t * k + i]]--;
            f->asked[e[t * k + i]] = true;
            f->last[e[t * k + i]] = (uint32_t)t;
            if (t + f->m < to) {
                f->soon[e[(t + f->m) * k + i]]++;
            }
        }
        for (uint32_t i = 0; i < k; i++) {
            hits += foresee(f, e[t * k + i]);
        }
        for (uint32_t i = 0; i < k; i++) {
            f->asked[e[t * k + i]] = false;
        }
    }
    return hits;
}

double route_cache_foresight(const struct route_layer *l, uint32_t capacity, uint32_t m)
{
    uint64_t hits = 0;
    for (uint32_t s = 0; s < l->sequences; s++) {
        struct foresight f = {.l = l, .capacity = capacity, .m = m};
        hits += foresee_sequence(&f, l->start[s], l->start[s + 1]);
    }
    return (double)hits / ((double)route_layer_tokens(l) * l->top_k);
}
