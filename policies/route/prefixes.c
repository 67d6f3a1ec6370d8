/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/route/prefixes.h"

#include <stdlib.h>
#include <xxhash.h>

int prefixes_init(struct prefixes *p, uint32_t replicas, uint64_t room_tok, struct arena *a, struct err *e)
{
    *p = (struct prefixes){.room_tok = room_tok};
    p->share = arena_calloc(a, replicas, sizeof *p->share);
    return p->share ? 0 : err_set(e, SIM_E_NOMEM, "no memory for the prefixes of %u replicas", replicas);
}

void prefixes_release(struct prefixes *p)
{
    free(p->node);
    free(p->bucket);
    free(p->key);
    p->node = NULL;
    p->bucket = NULL;
    p->key = NULL;
}

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "no memory for the prefixes that a router remembers");
}

int prefixes_read(struct prefixes *p, const struct route_req *r, struct err *e)
{
    uint64_t chained = 0;
    if (r->n_hash >= p->cap_key) {
        uint64_t *key = realloc(p->key, 2 * ((size_t)r->n_hash + 1) * sizeof *key);
        if (!key) {
            return no_memory(e);
        }
        p->key = key;
        p->cap_key = 2 * (r->n_hash + 1);
    }
    p->n_id = r->n_hash;
    p->id_tok = r->hash_tok;
    p->prompt_tok = r->prompt_tok;
    for (uint32_t i = 0; i < r->n_hash; i++) {
        chained = XXH3_64bits_withSeed(&r->hash[i], sizeof r->hash[i], chained + 1);
        p->key[i] = chained;
    }
    p->key[r->n_hash] = XXH3_64bits_withSeed(&r->serial, sizeof r->serial, ~chained);
    p->n_key = r->n_hash + ((uint64_t)r->n_hash * r->hash_tok < r->prompt_tok);
    return 0;
}

/* ---- nodes ---- */

static uint32_t *bucket_of(const struct prefixes *p, uint64_t key, uint32_t replica)
{
    return &p->bucket[(key + replica * 0x9E3779B97F4A7C15u) & (p->n_buckets - 1)];
}

/* Index + 1 of the node, 0 = not there. */
static uint32_t find(const struct prefixes *p, uint64_t key, uint32_t replica)
{
    uint32_t at = p->n_buckets ? *bucket_of(p, key, replica) : 0;
    while (at != 0 && (p->node[at - 1].key != key || p->node[at - 1].replica != replica)) {
        at = p->node[at - 1].chain;
    }
    return at;
}

static void link_newest(struct prefixes *p, uint32_t at)
{
    struct prefix_node *n = &p->node[at - 1];
    struct prefix_share *s = &p->share[n->replica];
    n->newer = 0;
    n->older = s->newest;
    if (s->newest) {
        p->node[s->newest - 1].newer = at;
    } else {
        s->oldest = at;
    }
    s->newest = at;
}

static void unlink_node(struct prefixes *p, uint32_t at)
{
    const struct prefix_node *n = &p->node[at - 1];
    struct prefix_share *s = &p->share[n->replica];
    *(n->newer ? &p->node[n->newer - 1].older : &s->newest) = n->older;
    *(n->older ? &p->node[n->older - 1].newer : &s->oldest) = n->newer;
}

static void drop_oldest(struct prefixes *p, uint32_t replica)
{
    uint32_t at = p->share[replica].oldest;
    struct prefix_node *n = &p->node[at - 1];
    uint32_t *link = bucket_of(p, n->key, replica);
    while (*link != at) {
        link = &p->node[*link - 1].chain;
    }
    *link = n->chain;
    unlink_node(p, at);
    p->share[replica].held_tok -= n->tok;
    n->chain = p->free_node;
    p->free_node = at;
}

/* Twice the buckets, every node in its new one. */
static bool rehash(struct prefixes *p, uint32_t n_buckets)
{
    uint32_t *bucket = calloc(n_buckets, sizeof *bucket);
    if (!bucket) {
        return false;
    }
    free(p->bucket);
    p->bucket = bucket;
    p->n_buckets = n_buckets;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        uint32_t *b = bucket_of(p, p->node[i].key, p->node[i].replica);
        p->node[i].chain = *b;
        *b = i + 1;
    }
    return true;
}

/* Called with no free node left, so that all nodes are in use. */
static bool grow(struct prefixes *p)
{
    uint32_t cap = p->cap_nodes ? 2 * p->cap_nodes : 256;
    struct prefix_node *node = realloc(p->node, cap * sizeof *node);
    if (!node) {
        return false;
    }
    p->node = node;
    p->cap_nodes = cap;
    return rehash(p, cap);
}

static bool add(struct prefixes *p, uint64_t key, uint32_t replica, uint32_t tok)
{
    uint32_t at = p->free_node;
    if (at == 0 && p->n_nodes == p->cap_nodes && !grow(p)) {
        return false;
    }
    if (at != 0) {
        p->free_node = p->node[at - 1].chain;
    } else {
        at = ++p->n_nodes;
    }
    uint32_t *b = bucket_of(p, key, replica);
    p->node[at - 1] = (struct prefix_node){.key = key, .replica = replica, .tok = tok, .chain = *b};
    *b = at;
    link_newest(p, at);
    p->share[replica].held_tok += tok;
    return true;
}

/* ---- the request at hand ---- */

static uint32_t upto_tok(const struct prefixes *p, uint32_t n_ids)
{
    uint64_t tok = (uint64_t)n_ids * p->id_tok;
    return n_ids <= p->n_id && tok < p->prompt_tok ? (uint32_t)tok : p->prompt_tok;
}

uint32_t prefixes_match_tok(const struct prefixes *p, uint32_t replica)
{
    uint32_t n = 0;
    while (n < p->n_id && find(p, p->key[n], replica) != 0) {
        n++;
    }
    return upto_tok(p, n);
}

/* From the deepest id up: a prefix is then never older than what continues it, and goes after it. */
int prefixes_put(struct prefixes *p, uint32_t replica, struct err *e)
{
    for (uint32_t i = p->n_key; i-- > 0;) {
        uint32_t at = find(p, p->key[i], replica);
        if (at != 0) {
            unlink_node(p, at);
            link_newest(p, at);
        } else if (!add(p, p->key[i], replica, upto_tok(p, i + 1) - upto_tok(p, i))) {
            return no_memory(e);
        }
    }
    while (p->share[replica].held_tok > p->room_tok) {
        drop_oldest(p, replica);
    }
    return 0;
}
