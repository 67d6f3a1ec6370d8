/* SPDX-License-Identifier: Apache-2.0
 *
 * DeepSeek's expert parallelism load balancer (deepseek-ai/EPLB, README and rules): hot experts get
 * copies, then everything is packed so that GPUs carry alike. Where groups of experts can be spread evenly
 * over nodes they are, so that a token that is limited to few groups goes to few nodes. */
#include <stdbool.h>
#include <stdlib.h>

#include "policies/place.h"

struct item {
    double weight;
    uint32_t id;
};

static int heavier_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->weight != y->weight) {
        return x->weight < y->weight ? 1 : -1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

struct pack {
    double load;
    uint32_t n;
};

static uint32_t lightest_open(const struct pack *p, uint32_t n_packs, uint32_t room)
{
    uint32_t best = n_packs;

    for (uint32_t i = 0; i < n_packs; i++) {
        if (p[i].n < room && (best == n_packs || p[i].load < p[best].load)) {
            best = i;
        }
    }
    return best;
}

/* n items into packs of n/n_packs each, heaviest first, each into the lightest pack with room. order[k] is
 * the item at place k: packs one after the other, within a pack in order of arrival. */
static int balance(const double *weight, uint32_t n, uint32_t n_packs, uint32_t *order, struct arena *a)
{
    uint32_t room = n / n_packs;
    struct item *item = arena_calloc(a, n, sizeof(*item));
    struct pack *pack = arena_calloc(a, n_packs, sizeof(*pack));

    if (!item || !pack) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        item[i] = (struct item){weight[i], i};
    }
    if (room > 1) { /* with one item each there is nothing to balance: they stay where they are */
        qsort(item, n, sizeof(*item), heavier_first);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t to = room > 1 ? lightest_open(pack, n_packs, room) : i;

        order[to * room + pack[to].n++] = item[i].id;
        pack[to].load += item[i].weight;
    }
    return 0;
}

/* The first n slots hold the n experts; each further one a copy of the expert that is heaviest per copy. */
static void replicate(const double *weight, uint32_t n, uint32_t n_slots, uint32_t *slot, uint32_t *copies)
{
    for (uint32_t i = 0; i < n_slots; i++) {
        uint32_t best = i;

        for (uint32_t k = 0; i >= n && k < n; k++) {
            if (k == 0 || weight[k] / copies[k] > weight[best] / copies[best]) {
                best = k;
            }
        }
        slot[i] = best;
        copies[best] = i < n ? 1 : copies[best] + 1;
    }
}

/* One node: `expert` lists the n experts that it holds. */
struct node {
    const uint32_t *expert;
    uint32_t n, n_slots, n_gpus;
};

static int fill_node(const struct node *at, const double *weight, uint32_t *slot, struct arena *a)
{
    double *mine = arena_calloc(a, at->n, sizeof(*mine));
    double *share = arena_calloc(a, at->n_slots, sizeof(*share));
    uint32_t *place = arena_calloc(a, at->n_slots, sizeof(*place));
    uint32_t *order = arena_calloc(a, at->n_slots, sizeof(*order));
    uint32_t *copies = arena_calloc(a, at->n, sizeof(*copies));

    if (!mine || !share || !place || !order || !copies) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < at->n; i++) {
        mine[i] = weight[at->expert[i]];
    }
    replicate(mine, at->n, at->n_slots, place, copies);
    for (uint32_t i = 0; i < at->n_slots; i++) {
        share[i] = mine[place[i]] / copies[place[i]];
    }
    if (balance(share, at->n_slots, at->n_gpus, order, a) < 0) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < at->n_slots; i++) {
        slot[i] = at->expert[place[order[i]]];
    }
    return 0;
}

/* Experts in the order in which nodes hold them: groups packed onto nodes. */
static int spread_groups(const struct place_spec *s, const double *weight, uint32_t *expert, struct arena *a)
{
    uint32_t size = s->experts / s->groups;
    double *load = arena_calloc(a, s->groups, sizeof(*load));
    uint32_t *order = arena_calloc(a, s->groups, sizeof(*order));

    if (!load || !order) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        load[i / size] += weight[i];
    }
    if (balance(load, s->groups, s->nodes, order, a) < 0) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < s->experts; i++) {
        expert[i] = order[i / size] * size + i % size;
    }
    return 0;
}

static int fill(const struct place_spec *s, const double *weight, uint32_t *slot, struct arena *a,
                struct err *e)
{
    struct place_spec flat = *s;
    uint32_t *expert = arena_calloc(a, s->experts, sizeof(*expert));
    int rc = expert ? 0 : SIM_E_NOMEM;

    if (s->groups % s->nodes != 0 || s->slots % s->nodes != 0) { /* everywhere at once, as one node */
        flat.groups = flat.nodes = 1;
    }
    rc = rc < 0 ? rc : spread_groups(&flat, weight, expert, a);
    for (uint32_t i = 0; rc == 0 && i < flat.nodes; i++) {
        struct node at = {expert + i * (s->experts / flat.nodes), s->experts / flat.nodes,
                          s->slots / flat.nodes, s->gpus / flat.nodes};

        rc = fill_node(&at, weight, slot + i * at.n_slots, a);
    }
    return rc < 0 ? err_set(e, rc, "out of memory for an expert placement") : 0;
}

const struct place_ops place_eplb = {
    "eplb", "hot experts get copies, then GPUs are loaded alike; groups stay on a node", "deepseek-ai/EPLB", fill};
