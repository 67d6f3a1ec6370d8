/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/pattern.h"

#include <math.h>
#include <stdlib.h>

/* Weights of a node's lengths, and up to how many nodes all assignments are tried (JITServe's artifact). */
#define WEIGHT_IN  0.3
#define WEIGHT_OUT 0.7
#define MOST_EXACT 6

/* ---- one program ---- */

static bool room(void **items, uint32_t *cap, uint32_t n, size_t size)
{
    if (n < *cap) {
        return true;
    }
    uint32_t more = *cap ? 2 * *cap : 4;
    void *p = realloc(*items, more * size);
    if (p) {
        *items = p;
        *cap = more;
    }
    return p != NULL;
}

bool pattern_add_stage(struct pattern *p)
{
    void *stages = p->stages;
    bool ok = room(&stages, &p->cap_stages, p->n_stages, sizeof *p->stages);
    p->stages = stages;
    if (ok) {
        p->stages[p->n_stages++] = (struct pattern_stage){.first = p->n_nodes, .from_ns = -1};
    }
    return ok;
}

bool pattern_add_node(struct pattern *p, uint32_t in_tok)
{
    void *nodes = p->nodes;
    bool ok = room(&nodes, &p->cap_nodes, p->n_nodes, sizeof *p->nodes);
    p->nodes = nodes;
    if (ok) {
        p->nodes[p->n_nodes++] = (struct pattern_node){.in_tok = in_tok};
        p->stages[p->n_stages - 1].n++;
    }
    return ok;
}

void pattern_release(struct pattern *p)
{
    free(p->stages);
    free(p->nodes);
    *p = (struct pattern){0};
}

double pattern_share(const struct pattern *p, uint32_t stage)
{
    double until = 0, all = 0;
    for (uint32_t i = 0; i < p->n_stages; i++) {
        all += p->stages[i].cost;
        until += i <= stage ? p->stages[i].cost : 0;
    }
    return stage + 1 < p->n_stages && all > 0 ? until / all : 1;
}

double pattern_default_share(const struct pattern *seen, uint32_t stage)
{
    double stages = seen->n_stages > 0 && seen->stages[0].n > 1 ? 4 : 6;
    return fmin(1, (stage + 1) / stages);
}

/* ---- similarity ---- */

static double kernel(double apart, double spread)
{
    return exp(-apart * apart / (2 * spread * spread));
}

static double node_similarity(const struct pattern_node *a, const struct pattern_node *b, double spread)
{
    double in = kernel((double)a->in_tok - b->in_tok, spread);
    double out = a->out_tok ? kernel((double)a->out_tok - b->out_tok, spread) : 0;
    return WEIGHT_IN * in + WEIGHT_OUT * out;
}

/* The best assignment of n nodes to m >= n: best[set] is that of the first |set| nodes to those of `set`. */
static double assign_exactly(const struct pattern_node *a, uint32_t n, const struct pattern_node *b,
                             uint32_t m, double spread)
{
    double best[1 << MOST_EXACT] = {0}, most = 0;
    for (uint32_t set = 1; set < 1u << m; set++) {
        uint32_t row = (uint32_t)__builtin_popcount(set) - 1;
        for (uint32_t j = 0; row < n && j < m; j++) {
            if (set >> j & 1) {
                best[set] = fmax(best[set], best[set & ~(1u << j)] + node_similarity(&a[row], &b[j], spread));
            }
        }
        most = row < n ? fmax(most, best[set]) : most;
    }
    return most;
}

/* Each node in turn takes the nearest of those that are left. */
static double assign_greedily(const struct pattern_node *a, uint32_t n, const struct pattern_node *b,
                              uint32_t m, double spread)
{
    bool *taken = calloc(m, sizeof *taken);
    double sum = 0;
    for (uint32_t i = 0; taken && i < n; i++) {
        uint32_t nearest = m;
        double most = -1;
        for (uint32_t j = 0; j < m; j++) {
            double s = taken[j] ? -1 : node_similarity(&a[i], &b[j], spread);
            nearest = s > most ? j : nearest;
            most = fmax(most, s);
        }
        taken[nearest] = true;
        sum += most;
    }
    free(taken);
    return sum;
}

double pattern_similarity(const struct pattern *seen, const struct pattern *known, double spread)
{
    double sum = 0;
    if (known->n_stages < seen->n_stages) {
        return -1;
    }
    for (uint32_t i = 0; i < seen->n_stages; i++) {
        const struct pattern_stage *a = &seen->stages[i], *b = &known->stages[i];
        bool fills = i + 1 == seen->n_stages;
        if (fills ? a->n > b->n : a->n != b->n) {
            return -1;
        }
        sum += (b->n <= MOST_EXACT ? assign_exactly : assign_greedily)(
            seen->nodes + a->first, a->n, known->nodes + b->first, b->n, spread);
    }
    return sum;
}

/* ---- what is known ---- */

bool pattern_store_init(struct pattern_store *s, uint32_t cap)
{
    *s = (struct pattern_store){.at = calloc(cap, sizeof *s->at), .cap = cap, .newest = cap - 1};
    return s->at != NULL;
}

void pattern_store_release(struct pattern_store *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        pattern_release(&s->at[i]);
    }
    free(s->at);
    *s = (struct pattern_store){0};
}

void pattern_store_add(struct pattern_store *s, struct pattern *p)
{
    s->newest = (s->newest + 1) % s->cap;
    if (s->n == s->cap) {
        pattern_release(&s->at[s->newest]);
    } else {
        s->n++;
    }
    s->at[s->newest] = *p;
    *p = (struct pattern){0};
}

uint32_t pattern_store_match(const struct pattern_store *s, const struct pattern *seen, double spread)
{
    uint32_t match = PATTERN_NONE;
    double most = -1;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t at = (s->newest + s->cap - i) % s->cap;
        double alike = pattern_similarity(seen, &s->at[at], spread);
        match = alike > most ? at : match;
        most = fmax(most, alike);
    }
    return match;
}
