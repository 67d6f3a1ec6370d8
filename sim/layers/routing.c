/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/routing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sequences of the calibration sample: numbers that no request of a run has. */
#define CALIBRATION_FIRST ((uint64_t)1 << 40)
#define CALIBRATION_TOK   16 /* of each */

/* ---- calibration ---- */

static void count_token(struct routing *r, uint32_t layer, const struct route *at)
{
    for (uint32_t i = 0; i < r->k; i++) {
        float *row = r->together ? &r->together[((size_t)layer * r->experts + at->expert[i]) * r->experts] : NULL;

        r->popularity[(size_t)layer * r->experts + at->expert[i]] += 1;
        for (uint32_t j = 0; row && j < r->k; j++) {
            row[at->expert[j]] += j != i;
        }
    }
}

static void calibrate(struct routing *r, uint32_t tokens)
{
    struct route at;
    double all = (double)tokens * r->k;

    for (uint32_t t = 0; t < tokens; t++) {
        for (uint32_t l = 0; l < r->layers; l++) {
            routes_at(r->source, CALIBRATION_FIRST + t / CALIBRATION_TOK, t % CALIBRATION_TOK, l, &at);
            count_token(r, l, &at);
        }
    }
    /* Half a visit each, so that nobody is impossible. */
    for (size_t i = 0; i < (size_t)r->layers * r->experts; i++) {
        r->popularity[i] = (float)(((double)r->popularity[i] + 0.5) / (all + 0.5 * r->experts));
    }
}

int routing_init(struct routing *r, struct routes *source, uint64_t seed, uint32_t replication,
                 uint32_t calibration, unsigned needs, struct arena *a, struct err *e)
{
    struct routes_shape s = routes_shape(source);
    size_t items = (size_t)s.layers * s.experts;
    bool pairs = needs & EXPERTS_PAIRS;

    *r = (struct routing){.source = source, .layers = s.layers, .experts = s.experts, .k = s.top_k,
                          .scores = needs & EXPERTS_SCORES, .future = needs & EXPERTS_FUTURE,
                          .rng = rng_stream(seed, replication, "experts.predict")};
    r->popularity = arena_calloc(a, items, sizeof *r->popularity);
    r->together = pairs ? arena_calloc(a, items * s.experts, sizeof *r->together) : NULL;
    r->score = arena_calloc(a, items, sizeof *r->score);
    r->count = arena_calloc(a, s.experts, sizeof *r->count);
    if ((r->future && !routing_foresee(r, a)) || !r->popularity || (pairs && !r->together) || !r->score || !r->count) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the routes of experts");
    }
    calibrate(r, calibration);
    return 0;
}

void routing_release(struct routing *r)
{
    free(r->tok);
    free(r->expert);
    free(r->gate);
    r->tok = NULL;
    r->expert = NULL;
    r->gate = NULL;
}

/* ---- a step ---- */

static bool reach(struct routing *r, uint32_t n)
{
    uint32_t cap = r->cap_tok ? r->cap_tok : 64;
    size_t pairs;

    if (n <= r->cap_tok) {
        return true;
    }
    while (cap < n) {
        cap *= 2;
    }
    pairs = (size_t)r->layers * cap * r->k;
    free(r->expert);
    free(r->gate);
    r->expert = malloc(pairs * sizeof *r->expert);
    r->gate = malloc(pairs * sizeof *r->gate);
    void *tok = realloc(r->tok, cap * sizeof *r->tok); /* those told already stay */
    r->tok = tok ? tok : r->tok;
    r->cap_tok = tok && r->expert && r->gate ? cap : 0;
    return r->cap_tok > 0;
}

/* Softmax of the scores, or the gates of the chosen where the source knows no more. */
static void add_score(struct routing *r, uint32_t layer, const struct route *at)
{
    float *mean = &r->score[(size_t)layer * r->experts];
    double sum = 0, top, share = 1.0 / r->n_tok;

    if (!at->score) {
        for (uint32_t i = 0; i < r->k; i++) {
            mean[at->expert[i]] += (float)((double)at->gate[i] * share);
        }
        return;
    }
    top = (double)at->score[at->expert[0]];
    for (uint32_t i = 0; i < r->experts; i++) {
        sum += exp((double)at->score[i] - top);
    }
    for (uint32_t i = 0; i < r->experts; i++) {
        mean[i] += (float)(exp((double)at->score[i] - top) / sum * share);
    }
}

static void route_token(struct routing *r, uint32_t t)
{
    for (uint32_t l = 0; l < r->layers; l++) {
        size_t to = ((size_t)l * r->cap_tok + t) * r->k;
        struct route at;

        routes_at(r->source, r->tok[t].sequence, r->tok[t].position, l, &at);
        memcpy(&r->expert[to], at.expert, r->k * sizeof *r->expert);
        memcpy(&r->gate[to], at.gate, r->k * sizeof *r->gate);
        if (r->scores) {
            add_score(r, l, &at);
        }
    }
}

static void route_all(struct routing *r)
{
    r->step++;
    memset(r->score, 0, (size_t)r->layers * r->experts * sizeof *r->score);
    for (uint32_t t = 0; t < r->n_tok; t++) {
        route_token(r, t);
    }
}

int routing_tokens(struct routing *r, const struct expert_token *tok, uint32_t n, struct err *e)
{
    r->n_tok = r->n_prefill = 0;
    if (!reach(r, n)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the routes of %u tokens", n);
    }
    for (uint32_t i = 0; i < n; i++) {
        r->tok[r->n_tok++] = tok[i];
        r->n_prefill += tok[i].prefill;
    }
    route_all(r);
    return 0;
}

static bool add_decodes(struct routing *r, const struct engine *g, const struct step *s)
{
    for (req_id q = g->view.running_head; s->decode && q != REQ_NONE; q = g->reqs[q].q_next) {
        uint64_t ctx = step_context(g, s, q);

        if (ctx > 0 && !reach(r, r->n_tok + 1)) {
            return false;
        }
        if (ctx > 0) {
            r->tok[r->n_tok++] = (struct expert_token){g->reqs[q].serial, (uint32_t)(ctx - 1), false};
        }
    }
    return true;
}

int routing_step(struct routing *r, const struct engine *g, const struct step *s, struct err *e)
{
    bool ok;

    r->n_tok = r->n_prefill = 0;
    ok = add_decodes(r, g, s);
    for (uint32_t i = 0; i < s->n_chunk && ok; i++) {
        const struct chunk *c = &s->chunks[i];

        ok = reach(r, r->n_tok + c->n_tok);
        for (uint32_t t = 0; t < c->n_tok && ok; t++) {
            r->tok[r->n_tok++] = (struct expert_token){c->serial, c->start_tok + t, true};
        }
        r->n_prefill += c->n_tok;
    }
    if (!ok) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the routes of a step");
    }
    route_all(r);
    return 0;
}

/* ---- prediction ---- */

static bool chosen(const uint16_t *expert, uint32_t k, uint32_t e)
{
    for (uint32_t i = 0; i < k; i++) {
        if (expert[i] == e) {
            return true;
        }
    }
    return false;
}

/* Drawn by popularity among those that the token does not use; its own first one when it uses all. */
static uint32_t wrong_one(const struct routing *r, uint32_t layer, const uint16_t *expert, double u)
{
    const float *p = &r->popularity[(size_t)layer * r->experts];
    double left = 1;
    uint32_t last = expert[0];

    for (uint32_t i = 0; i < r->k; i++) {
        left -= (double)p[expert[i]];
    }
    u *= left;
    for (uint32_t j = 0; j < r->experts; j++) {
        if (!chosen(expert, r->k, j)) {
            last = j;
            u -= (double)p[j];
            if (u < 0) {
                break;
            }
        }
    }
    return last;
}

void routing_guess(struct routing *r, uint32_t layer, double recall, uint32_t t, uint16_t *ret)
{
    const uint16_t *expert = &routing_experts(r, layer)[(size_t)t * r->k];
    uint64_t first = ((uint64_t)r->tok[t].position * r->layers + layer) * r->k;

    for (uint32_t i = 0; i < r->k; i++) {
        bool right = recall >= 1 || rng_uniform(r->rng, r->tok[t].sequence, 2 * (first + i)) < recall;
        double u = right ? 0 : rng_uniform(r->rng, r->tok[t].sequence, 2 * (first + i) + 1);

        ret[i] = right ? expert[i] : (uint16_t)wrong_one(r, layer, expert, u);
    }
}

static void guess_token(struct routing *r, uint32_t layer, double recall, uint32_t t)
{
    uint16_t named[ROUTE_TOP_K_MAX];

    routing_guess(r, layer, recall, t, named);
    for (uint32_t i = 0; i < r->k; i++) {
        r->count[named[i]]++;
    }
}

static int by_load(const void *a, const void *b)
{
    const struct expert_guess *x = a, *y = b;

    if (x->load != y->load) {
        return x->load < y->load ? 1 : -1;
    }
    return (x->expert > y->expert) - (x->expert < y->expert);
}

uint32_t routing_predict(struct routing *r, uint32_t layer, double recall, struct expert_guess *ret)
{
    uint32_t n = 0;

    memset(r->count, 0, r->experts * sizeof *r->count);
    for (uint32_t t = 0; t < r->n_tok; t++) {
        guess_token(r, layer, recall, t);
    }
    for (uint32_t j = 0; j < r->experts; j++) {
        if (r->count[j] > 0) {
            ret[n++] = (struct expert_guess){j, r->count[j]};
        }
    }
    qsort(ret, n, sizeof *ret, by_load);
    return n;
}
