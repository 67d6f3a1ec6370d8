/* SPDX-License-Identifier: Apache-2.0
 *
 * A missed expert is replaced by a random resident one that the token does not use yet: the row "Random"
 * of BuddyMoE's tables (arXiv 2511.10054). Draws belong to the token and the choice. */
#include "policies/experts.h"
#include "sim/core/rng.h"

struct random_state {
    double beta;
    struct rng_stream rng;
    uint32_t layers;
    bool *taken; /* [experts] */
};

static const struct opt_row random_options[] = {
    {"beta", OPT_DOUBLE, offsetof(struct random_state, beta), 0, 2, "2", "1",
     "From this share of missing experts on a layer replaces none, as buddy's gate; above 1 = always replace.", NULL},
    OPT_END,
};

static int random_init(void *st, const struct expert_env *env, struct err *e)
{
    struct random_state *s = st;
    s->rng = rng_stream(env->seed, env->replication, "experts.random");
    s->layers = env->layers;
    s->taken = arena_calloc(env->arena, env->experts, sizeof *s->taken);
    return s->taken ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for random replacement");
}

/* The n-th resident expert that is not taken, counted round; EXPERT_NONE when there is none. */
static uint32_t nth_free(const struct random_state *s, const struct expert_view *v, uint32_t layer, uint64_t draw)
{
    uint32_t n = 0, experts = v->env.experts, seen = 0;
    for (uint32_t j = 0; j < experts; j++) {
        n += !s->taken[j] && expert_is_here(v, expert_item(v, layer, j));
    }
    uint64_t want = n > 0 ? draw % n : 0;
    for (uint32_t j = 0; j < experts && n > 0; j++) {
        if (!s->taken[j] && expert_is_here(v, expert_item(v, layer, j)) && seen++ == want) {
            return j;
        }
    }
    return EXPERT_NONE;
}

static void random_token(struct random_state *s, const struct expert_view *v, struct layer_work *w, uint32_t t)
{
    const uint16_t *chosen = &w->expert[t * w->k];
    for (uint32_t j = 0; j < v->env.experts; j++) {
        s->taken[j] = false;
    }
    for (uint32_t i = 0; i < w->k; i++) {
        s->taken[chosen[i]] = true;
    }
    for (uint32_t i = 0; i < w->k; i++) {
        if (expert_is_here(v, expert_item(v, w->layer, chosen[i]))) {
            continue;
        }
        uint64_t draw = ((uint64_t)w->tok[t].position * s->layers + w->layer) * w->k + i;
        uint32_t j = nth_free(s, v, w->layer, rng_u64(s->rng, w->tok[t].sequence, draw));
        if (j != EXPERT_NONE) {
            w->action[t * w->k + i] = PAIR_SUBSTITUTE;
            w->use[t * w->k + i] = (uint16_t)j;
            s->taken[j] = true;
        }
    }
}

static bool too_many_missing(const struct random_state *s, const struct expert_view *v, const struct layer_work *w)
{
    uint32_t asked = 0, missing = 0;
    for (uint32_t j = 0; j < v->env.experts; j++) {
        if (w->load[j] > 0) {
            asked++;
            missing += !expert_is_here(v, expert_item(v, w->layer, j));
        }
    }
    return asked > 0 && missing >= s->beta * asked;
}

static void random_decide(void *st, const struct expert_view *v, struct layer_work *w)
{
    if (too_many_missing(st, v, w)) {
        w->bypassed = true;
        return;
    }
    for (uint32_t t = 0; t < w->n_tok; t++) {
        random_token(st, v, w, t);
    }
}

const struct miss_ops miss_random = {
    .name = "random",
    .summary = "a missed expert is replaced by a random resident one",
    .source = "BuddyMoE (arXiv 2511.10054), baseline \"Random\"",
    .state_size = sizeof(struct random_state),
    .options = random_options,
    .init = random_init,
    .decide = random_decide,
};
