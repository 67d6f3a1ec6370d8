/* SPDX-License-Identifier: Apache-2.0
 *
 * What oracles ask: when an expert is used next. A sequence moves on by a token a step, so the routes that were
 * looked up for the step before serve again, all but one. */
#include "sim/layers/routing.h"

#define SEQUENCES 64 /* whose routes are remembered; more take one another's place */

struct routing_ahead {
    bool used;
    uint64_t sequence;
    uint32_t *from, *to; /* [layers]: positions that are known, [from, to) */
    uint16_t *expert;    /* [layers][ROUTING_HORIZON][k], position p at p % ROUTING_HORIZON */
};

bool routing_foresee(struct routing *r, struct arena *a)
{
    r->next = arena_calloc(a, (size_t)r->layers * r->experts, sizeof *r->next);
    r->next_of = arena_calloc(a, r->layers, sizeof *r->next_of);
    r->ahead = arena_calloc(a, SEQUENCES, sizeof *r->ahead);
    for (uint32_t i = 0; r->ahead && i < SEQUENCES; i++) {
        struct routing_ahead *h = &r->ahead[i];

        h->from = arena_calloc(a, r->layers, sizeof *h->from);
        h->to = arena_calloc(a, r->layers, sizeof *h->to);
        h->expert = arena_calloc(a, (size_t)r->layers * ROUTING_HORIZON * r->k, sizeof *h->expert);
        if (!h->from || !h->to || !h->expert) {
            return false;
        }
    }
    return r->next && r->next_of && r->ahead;
}

static struct routing_ahead *ahead_of(struct routing *r, uint64_t sequence)
{
    struct routing_ahead *h = &r->ahead[sequence % SEQUENCES];

    if (!h->used || h->sequence != sequence) {
        for (uint32_t l = 0; l < r->layers; l++) {
            h->from[l] = h->to[l] = 0;
        }
        h->used = true;
        h->sequence = sequence;
    }
    return h;
}

/* Routes of [first, first + ROUTING_HORIZON) of a layer, as in struct routing_ahead. */
static const uint16_t *routes_ahead(struct routing *r, uint64_t sequence, uint32_t layer, uint32_t first)
{
    struct routing_ahead *h = ahead_of(r, sequence);
    uint16_t *ring = &h->expert[(size_t)layer * ROUTING_HORIZON * r->k];
    struct route at;

    if (first < h->from[layer] || first > h->to[layer]) {
        h->to[layer] = first;
    }
    for (h->from[layer] = first; h->to[layer] < first + ROUTING_HORIZON; h->to[layer]++) {
        routes_at(r->source, sequence, h->to[layer], layer, &at);
        for (uint32_t i = 0; i < r->k; i++) {
            ring[h->to[layer] % ROUTING_HORIZON * r->k + i] = at.expert[i];
        }
    }
    return ring;
}

static void see(struct routing *r, uint32_t layer, const struct expert_token *tok, uint32_t *next)
{
    const uint16_t *ring = routes_ahead(r, tok->sequence, layer, tok->position + 1);

    for (uint32_t d = 1; d < ROUTING_HORIZON; d++) {
        const uint16_t *expert = &ring[(tok->position + d) % ROUTING_HORIZON * r->k];

        for (uint32_t i = 0; i < r->k; i++) {
            next[expert[i]] = d < next[expert[i]] ? d : next[expert[i]];
        }
    }
}

/* The last token of each sequence of the step is where it goes on: those of a prompt follow one another. */
static bool goes_on(const struct routing *r, uint32_t t)
{
    return t + 1 == r->n_tok || r->tok[t + 1].sequence != r->tok[t].sequence;
}

static void look_ahead(struct routing *r, uint32_t layer, bool past, uint32_t *next)
{
    const uint16_t *now = routing_experts(r, layer);

    for (uint32_t j = 0; j < r->experts; j++) {
        next[j] = ROUTING_HORIZON;
    }
    for (uint32_t t = 0; t < r->n_tok; t++) {
        if (goes_on(r, t)) {
            see(r, layer, &r->tok[t], next);
        }
        for (uint32_t i = 0; i < r->k && !past; i++) {
            next[now[(size_t)t * r->k + i]] = 0;
        }
    }
}

uint32_t routing_next_use(struct routing *r, uint32_t layer, uint32_t expert, bool past)
{
    uint32_t *next = &r->next[(size_t)layer * r->experts];
    uint64_t of = 2 * r->step + past;

    if (r->next_of[layer] != of) {
        r->next_of[layer] = of;
        look_ahead(r, layer, past, next);
    }
    return next[expert];
}
