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
    const uint32_t *again;            /* [token][k]: its next use in the sequence, as a number of a use */
    uint32_t soon[ROUTE_EXPERTS_MAX]; /* uses in the rest of this token and the m - 1 after it */
    uint32_t last[ROUTE_EXPERTS_MAX]; /* number of the last use */
    uint32_t next[ROUTE_EXPERTS_MAX]; /* and of the next one */
    bool in[ROUTE_EXPERTS_MAX];
};

/* Does x go out rather than y? */
static bool sooner_out(const struct foresight *f, uint32_t x, uint32_t y)
{
    if (f->m == 0) {
        return f->next[x] > f->next[y];
    }
    return f->soon[x] < f->soon[y] || (f->soon[x] == f->soon[y] && f->last[x] < f->last[y]);
}

static void take_in(struct foresight *f, uint32_t expert)
{
    uint32_t out = NEVER;
    for (uint32_t x = 0; x < f->l->experts && f->held == f->capacity; x++) {
        if (f->in[x] && (out == NEVER || sooner_out(f, x, out))) {
            out = x;
        }
    }
    if (out != NEVER) {
        f->in[out] = false;
        f->held--;
    }
    f->in[expert] = true;
    f->held++;
}

static uint32_t hits_of(const struct foresight *f, const uint16_t *e)
{
    uint32_t hits = 0, held = f->held;
    for (uint32_t i = 0; i < f->l->top_k; i++) {
        bool free_place = !f->in[e[i]] && held < f->capacity;
        hits += f->in[e[i]] || free_place;
        held += free_place;
    }
    return hits;
}

static void look_ahead(struct foresight *f, uint32_t from, uint32_t to)
{
    size_t k = f->l->top_k;
    for (size_t i = from * k; i < to * k; i++) {
        f->soon[f->l->expert[i]]++;
    }
}

static uint64_t foresee_sequence(struct foresight *f, uint32_t from, uint32_t to)
{
    uint32_t k = f->l->top_k, end = to - from < f->m ? to : from + f->m;
    uint64_t hits = 0;
    look_ahead(f, from, end);
    for (uint32_t t = from; t < to; t++) {
        const uint16_t *e = f->l->expert + (size_t)t * k;
        hits += hits_of(f, e);
        for (uint32_t i = 0; i < k; i++) {
            f->soon[e[i]] -= f->m > 0;
            f->last[e[i]] = t * k + i;
            f->next[e[i]] = f->again[(size_t)t * k + i];
            if (!f->in[e[i]]) {
                take_in(f, e[i]);
            }
        }
        if (f->m > 0 && to - t > f->m) {
            look_ahead(f, t + f->m, t + f->m + 1);
        }
    }
    return hits;
}

/* Numbers of next uses inside each sequence. */
static uint32_t *find_again(const struct route_layer *l)
{
    uint32_t k = l->top_k, *again = malloc((size_t)route_layer_tokens(l) * k * sizeof(*again));
    for (uint32_t s = 0; s < l->sequences && again; s++) {
        uint32_t next[ROUTE_EXPERTS_MAX];
        memset(next, 0xff, sizeof(next));
        for (uint32_t i = l->start[s + 1] * k; i-- > l->start[s] * k;) {
            again[i] = next[l->expert[i]];
            next[l->expert[i]] = i;
        }
    }
    return again;
}

double route_cache_foresight(const struct route_layer *l, uint32_t capacity, uint32_t m)
{
    uint32_t *again = find_again(l);
    uint64_t hits = 0;
    for (uint32_t s = 0; s < l->sequences && again; s++) {
        struct foresight f = {.l = l, .capacity = capacity, .m = m, .again = again};
        hits += foresee_sequence(&f, l->start[s], l->start[s + 1]);
    }
    free(again);
    return again ? (double)hits / ((double)route_layer_tokens(l) * l->top_k) : -1;
}
