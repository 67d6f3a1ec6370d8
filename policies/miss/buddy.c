/* SPDX-License-Identifier: Apache-2.0
 *
 * BuddyMoE (arXiv 2511.10054): a missed expert is replaced by a resident one that is often chosen together
 * with it. Three gates, in this order:
 *   TAE    a token whose gate weights are peaked (entropy / ln k <= tau) allows no replacement;
 *   delta  when more than a share beta of the experts that a layer asks for is missing, none is replaced;
 *   Psi    among the first `depth` of the missed expert's list, the resident one that the token does not
 *          use with the largest q(j|i) * (1 - kappa * hop); at most rho replacements per token.
 * The lists are those of a co-activation frequency threshold: peers by falling q until they hold a share
 * alpha of the co-activations, `list` at most. The replaced expert's gate weight stays. Left out: the term
 * of the router logit (eta = 0 is a legal default) and placements on other GPUs (hop = 0: one GPU). */
#include <math.h>
#include <stdlib.h>

#include "policies/experts.h"

struct buddy {
    double tau, gamma, temperature, beta, alpha;
    int64_t rho, list, depth;
    bool skip, fetch;
    uint16_t *peer;   /* [item][most] by falling q */
    uint16_t *n_peer; /* by item */
    uint32_t most;
    bool *taken; /* [experts] */
};

#define NUMBER(field, lo, hi, dflt, text)                                                          \
    {.name = #field, .type = OPT_DOUBLE, .offset = offsetof(struct buddy, field), .min = lo, .max = hi, \
     .def = dflt, .unit = "1", .help = text}
#define COUNT(field, hi, dflt, text)                                                               \
    {.name = #field, .type = OPT_INT, .offset = offsetof(struct buddy, field), .min = 0, .max = hi, \
     .def = dflt, .unit = "1", .help = text}
#define SWITCH(field, text)                                                                        \
    {.name = #field, .type = OPT_BOOL, .offset = offsetof(struct buddy, field), .min = 1, .max = 0, \
     .def = "off", .help = text}

static const struct opt_row buddy_options[] = {
    NUMBER(tau, 0, 1, "0.95", "tokens with an entropy (share of ln k) up to this are sensitive (the paper's best row)"),
    NUMBER(gamma, 0, 1, "1", "tokens whose two largest gate weights differ by this much are sensitive; 1 = no test"),
    NUMBER(temperature, 0.1, 10, "1", "of the softmax behind the entropy (0.8 to 1.2)"),
    NUMBER(beta, 0, 1, "0.6", "from this share of missing experts on a layer replaces none (a re-implementation's value)"),
    NUMBER(alpha, 0, 1, "0.9", "share of co-activations that a list holds (a re-implementation's value)"),
    COUNT(rho, 64, "3", "replacements per token and layer at most (the paper's best row)"),
    COUNT(list, 1024, "16", "longest list (the paper: 16)"),
    COUNT(depth, 1024, "0", "entries of a list that are looked at; 0 = all"),
    SWITCH(skip, "what no buddy replaces is left out, in place of being loaded"),
    SWITCH(fetch, "replaced experts are fetched all the same, behind everything else"),
    OPT_END,
};

static int buddy_init(void *st, const struct expert_env *env, struct err *e)
{
    struct buddy *b = st;
    size_t items = (size_t)env->layers * env->experts;
    b->most = b->list < env->experts ? (uint32_t)b->list : env->experts;
    b->peer = arena_calloc(env->arena, items * (b->most + 1), sizeof *b->peer);
    b->n_peer = arena_calloc(env->arena, items, sizeof *b->n_peer);
    b->taken = arena_calloc(env->arena, env->experts, sizeof *b->taken);
    return b->peer && b->n_peer && b->taken ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for lists of buddies");
}

/* ---- lists ---- */

/* The list of `item`: selection by falling count, ties to the lower number, until alpha is held. Kept as
 * UINT16_MAX once it has been built and is empty. */
static void build_list(struct buddy *b, const struct expert_view *v, uint32_t item)
{
    uint32_t n = v->env.experts, i = item % n;
    const float *m = &v->together[(size_t)item * n];
    uint16_t *list = &b->peer[(size_t)item * b->most];
    double all = 0, held = 0;
    uint32_t len = 0;
    for (uint32_t j = 0; j < n; j++) {
        b->taken[j] = j == i || m[j] <= 0;
        all += j == i ? 0 : (double)m[j];
    }
    while (len < b->most && held < b->alpha * all) {
        uint32_t best = EXPERT_NONE;
        for (uint32_t j = 0; j < n; j++) {
            best = !b->taken[j] && (best == EXPERT_NONE || m[j] > m[best]) ? j : best;
        }
        if (best == EXPERT_NONE) {
            break;
        }
        b->taken[best] = true;
        held += (double)m[best];
        list[len++] = (uint16_t)best;
    }
    b->n_peer[item] = len > 0 ? (uint16_t)len : UINT16_MAX;
}

static const uint16_t *list_of(struct buddy *b, const struct expert_view *v, uint32_t item, uint32_t *n)
{
    if (b->n_peer[item] == 0) {
        build_list(b, v, item);
    }
    *n = b->n_peer[item] == UINT16_MAX ? 0 : b->n_peer[item];
    if (b->depth > 0 && *n > b->depth) {
        *n = (uint32_t)b->depth;
    }
    return &b->peer[(size_t)item * b->most];
}

/* ---- gates ---- */

static bool is_sensitive(const struct buddy *b, const float *gate, uint32_t k)
{
    double sum = 0, entropy = 0;
    if (k < 2) {
        return true; /* one expert: its weight is all there is */
    }
    if ((double)(gate[0] - gate[1]) >= b->gamma) {
        return true;
    }
    for (uint32_t i = 0; i < k; i++) {
        sum += pow((double)gate[i], 1 / b->temperature);
    }
    for (uint32_t i = 0; i < k; i++) {
        double p = pow((double)gate[i], 1 / b->temperature) / sum;
        entropy -= p > 0 ? p * log(p) : 0;
    }
    return entropy / log(k) <= b->tau;
}

static bool is_missing(const struct expert_view *v, uint32_t layer, uint32_t expert)
{
    return !expert_is_here(v, expert_item(v, layer, expert));
}

static bool too_many_missing(const struct buddy *b, const struct expert_view *v, const struct layer_work *w)
{
    uint32_t asked = 0, missing = 0;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        if (w->load[j] > 0) {
            asked++;
            missing += is_missing(v, w->layer, j);
        }
    }
    return missing >= b->beta * asked;
}

/* The lists are by falling q and hop is 0, so the first that may be taken has the largest Psi. */
static uint32_t best_buddy(struct buddy *b, const struct expert_view *v, uint32_t layer, uint32_t expert,
                           const uint16_t *used, uint32_t n_used)
{
    uint32_t n;
    const uint16_t *list = list_of(b, v, expert_item(v, layer, expert), &n);
    for (uint32_t r = 0; r < n; r++) {
        bool free = !is_missing(v, layer, list[r]);
        for (uint32_t u = 0; u < n_used && free; u++) {
            free = used[u] != list[r];
        }
        if (free) {
            return list[r];
        }
    }
    return EXPERT_NONE;
}

static void replace_in_token(struct buddy *b, const struct expert_view *v, struct layer_work *w, uint32_t t)
{
    uint16_t used[64];
    uint32_t n_used = w->k < 32 ? w->k : 32;
    int64_t left = b->rho < 32 ? b->rho : 32;
    for (uint32_t i = 0; i < n_used; i++) {
        used[i] = w->expert[t * w->k + i];
    }
    for (uint32_t i = 0; i < w->k && left > 0; i++) {
        uint32_t at = t * w->k + i, j = EXPERT_NONE;
        if (is_missing(v, w->layer, w->expert[at])) {
            j = best_buddy(b, v, w->layer, w->expert[at], used, n_used);
        }
        if (j != EXPERT_NONE) {
            w->action[at] = PAIR_SUBSTITUTE;
            w->use[at] = (uint16_t)j;
            used[n_used++] = (uint16_t)j;
            left--;
        }
    }
}

static void skip_rest(const struct expert_view *v, struct layer_work *w)
{
    for (uint32_t at = 0; at < w->n_tok * w->k; at++) {
        if (w->action[at] == PAIR_RUN && is_missing(v, w->layer, w->expert[at])) {
            w->action[at] = PAIR_SKIP;
        }
    }
}

static bool misses_any(const struct expert_view *v, const struct layer_work *w, uint32_t t)
{
    for (uint32_t i = 0; i < w->k; i++) {
        if (is_missing(v, w->layer, w->expert[t * w->k + i])) {
            return true;
        }
    }
    return false;
}

static void buddy_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    struct buddy *b = st;
    w->bypassed = too_many_missing(b, v, w);
    w->fetch_missed = b->fetch;
    for (uint32_t t = 0; t < w->n_tok; t++) {
        if (!misses_any(v, w, t)) {
            continue;
        }
        if (is_sensitive(b, &w->gate[t * w->k], w->k)) {
            w->blocked_tok++;
        } else if (!w->bypassed) {
            replace_in_token(b, v, w, t);
        }
    }
    if (b->skip && !w->bypassed) {
        skip_rest(v, w);
    }
}

const struct miss_ops miss_buddy = {
    .name = "buddy",
    .summary = "a missed expert is replaced by one often chosen with it, where three gates allow (BuddyMoE)",
    .source = "BuddyMoE (arXiv 2511.10054)",
    .state_size = sizeof(struct buddy),
    .options = buddy_options,
    .needs = EXPERTS_PAIRS,
    .init = buddy_init,
    .decide = buddy_decide,
};
