/* SPDX-License-Identifier: Apache-2.0
 *
 * What is fetched under ExpertFlow's predictive locality-aware expert caching (PLEC, arXiv 2410.17954, 3.4.1): before
 * the first MoE layer the routing-path predictor has told all of the step's experts. Each layer gets slots in
 * proportion to what it is said to need, rounded up, in the order of layers, and as many of its experts are fetched,
 * the most loaded first. The rest waits in line: a layer that is done gives its slots to those next in it. (The
 * paper's example: needs of 3 and 2 and four slots make 3 and 1, and the fifth comes when the first is through.)
 * Made for one cache over all layers (experts.global=on); with one per layer each serves itself.
 *
 * halves=on runs the decodes as two batches, one after the other, as they came; halves=routes has the token
 * scheduler divide them by the same prediction (3.3). */
#include "policies/prefetch/ahead.h"
#include "policies/regroup.h"

#define ROUNDS 16 /* "a preset iteration limit" */

struct plec {
    struct ahead ahead;
    double recall;
    uint32_t *named; /* items that the predictor names for this step, in layer order, a layer's by load */
    bool *asked;     /* by place in it */
    uint32_t *first; /* by layer and one more: its place in it */
    uint32_t *slots; /* by layer: that it has, for experts asked for */
    int64_t halves;
    struct regroup regroup;
    uint16_t *route; /* [REGROUP_MAX][layers][top_k] */
};

enum { HALVES_OFF, HALVES_ON, HALVES_ROUTES };
static const struct opt_choice halves_choices[] = {
    [HALVES_OFF] = {"off", "the decodes of a step are one batch"},
    [HALVES_ON] = {"on", "two, as they came"},
    [HALVES_ROUTES] = {"routes", "two, divided by their predicted routes"},
    {NULL, NULL},
};

static const struct opt_row plec_options[] = {
    AHEAD_RECALL(struct plec, recall, "0.9",
                 "share of a token's experts that are named rightly (ExpertFlow: over 90 % in most cases in the "
                 "domain it was trained on, 5 to 10 % less in others)"),
    {.name = "halves", .type = OPT_CHOICE, .offset = offsetof(struct plec, halves), .def = "off",
     .choices = halves_choices, .help = "run the decodes of a step as two batches, one after the other"},
    OPT_END,
};

static int init_halves(struct plec *p, const struct expert_env *env, struct err *e)
{
    if (p->halves != HALVES_ROUTES) {
        return 0;
    }
    p->route = arena_calloc(env->arena, (size_t)REGROUP_MAX * env->layers * env->top_k, sizeof *p->route);
    return p->route ? regroup_init(&p->regroup, env->arena, e) : err_set(e, SIM_E_NOMEM, "out of memory for plec");
}

static int plec_init(void *st, const struct expert_env *env, struct err *e)
{
    struct plec *p = st;
    size_t items = (size_t)env->layers * env->experts;
    p->named = arena_calloc(env->arena, items, sizeof *p->named);
    p->asked = arena_calloc(env->arena, items, sizeof *p->asked);
    p->first = arena_calloc(env->arena, env->layers + 1, sizeof *p->first);
    p->slots = arena_calloc(env->arena, env->layers, sizeof *p->slots);
    if (!p->named || !p->asked || !p->first || !p->slots) {
        return err_set(e, SIM_E_NOMEM, "out of memory for plec");
    }
    return init_halves(p, env, e) < 0 ? e->code : ahead_init(&p->ahead, env, e);
}

static void ask_for_routes(struct plec *p, const struct expert_view *v, uint32_t n_tok)
{
    uint16_t *to = p->route;
    for (uint32_t t = 0; t < n_tok && n_tok <= REGROUP_MAX; t++) {
        for (uint32_t l = 0; l < v->env.layers; l++, to += v->env.top_k) {
            v->ops->path(v->ctx, t, l, p->recall, to);
        }
    }
}

static bool plec_split(void *st, const struct expert_view *v, uint32_t n_tok, uint8_t *group)
{
    struct plec *p = st;
    for (uint32_t t = 0; t < n_tok && p->halves == HALVES_ON; t++) {
        group[t] = t >= (n_tok + 1) / 2;
    }
    if (p->halves == HALVES_ROUTES) {
        ask_for_routes(p, v, n_tok);
        regroup(&p->regroup, p->route, n_tok, v->env.layers, v->env.top_k, ROUNDS, group);
    }
    return p->halves != HALVES_OFF;
}

static uint32_t all_slots(const struct expert_view *v)
{
    uint32_t n = 0;
    for (uint32_t r = 0; r < v->env.rooms; r++) {
        n += v->slots[r];
    }
    return n;
}

/* The next `slots` of a layer that nobody has asked for; how many there were. */
static uint32_t ask(struct plec *p, const struct expert_view *v, uint32_t layer, uint32_t slots)
{
    uint32_t n = 0;
    for (uint32_t i = p->first[layer]; i < p->first[layer + 1] && n < slots; i++) {
        if (!p->asked[i]) {
            p->asked[i] = true;
            n++;
            v->ops->want(v->ctx, layer, p->named[i] % v->env.experts, false);
        }
    }
    p->slots[layer] += n;
    return n;
}

static uint32_t name_all(struct plec *p, const struct expert_view *v)
{
    uint32_t all = 0;
    for (uint32_t l = 0; l < v->env.layers; l++) {
        uint32_t n = v->ops->predict(v->ctx, l, p->recall, p->ahead.guess);
        p->first[l] = all;
        p->slots[l] = 0;
        for (uint32_t i = 0; i < n; i++) {
            p->asked[all] = false;
            p->named[all++] = expert_item(v, l, p->ahead.guess[i].expert);
        }
    }
    p->first[v->env.layers] = all;
    return all;
}

static void plec_step(void *st, const struct expert_view *v)
{
    struct plec *p = st;
    uint64_t need = name_all(p, v), all = all_slots(v), left = all;
    for (uint32_t l = 0; l < v->env.layers && need > 0; l++) {
        uint64_t own = p->first[l + 1] - p->first[l], share = (all * own + need - 1) / need;
        share = share < left ? share : left;
        left -= ask(p, v, l, (uint32_t)share);
    }
}

/* Those still in line for its layer would come too late; its slots are free when it is through. */
static void plec_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct plec *p = st;
    uint32_t free = p->slots[w->layer];
    p->slots[w->layer] = 0;
    for (uint32_t l = w->layer + 1; l < v->env.layers && free > 0; l++) {
        free -= ask(p, v, l, free);
    }
}

const struct prefetch_ops prefetch_plec = {
    .name = "plec",
    .summary = "the predicted path takes the slots in layer order, those of finished layers serve the next (ExpertFlow)",
    .source = "ExpertFlow (arXiv 2410.17954), 3.2 and 3.4",
    .state_size = sizeof(struct plec),
    .options = plec_options,
    .init = plec_init,
    .split = plec_split,
    .step = plec_step,
    .routed = plec_routed,
};
