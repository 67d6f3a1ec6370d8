/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/routes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct routes {
    struct arena arena;
    const struct routes_ops *ops;
    void *state;
    struct routes_shape shape;
    const char *provenance;
};

struct arena *routes_arena(struct routes *r)
{
    return &r->arena;
}

struct routes_shape routes_shape(const struct routes *r)
{
    return r->shape;
}

const char *routes_name(const struct routes *r)
{
    return r->ops->name;
}

const char *routes_provenance(const struct routes *r)
{
    return r->provenance;
}

int routes_set_shape(struct routes *r, struct routes_shape s, const char *provenance, struct err *e)
{
    if (s.experts < 1 || s.experts > ROUTE_EXPERTS_MAX || s.layers < 1 || s.layers > ROUTE_LAYERS_MAX) {
        return err_set(e, SIM_E_CONFIG, "routes %s: %u experts in %u MoE layers: 1 to %d and 1 to %d are possible",
                       r->ops->name, s.experts, s.layers, ROUTE_EXPERTS_MAX, ROUTE_LAYERS_MAX);
    }
    if (s.top_k < 1 || s.top_k > ROUTE_TOP_K_MAX || s.top_k > s.experts) {
        return err_set(e, SIM_E_CONFIG, "routes %s: top_k %u of %u experts: 1 to %u are possible", r->ops->name,
                       s.top_k, s.experts, s.experts < ROUTE_TOP_K_MAX ? s.experts : ROUTE_TOP_K_MAX);
    }
    r->shape = s;
    r->provenance = provenance;
    return 0;
}

/* ---- opening ---- */

static int unknown_source(const char *name, struct err *e)
{
    const char *names[32], *near;
    size_t n = 0;
    while (routes_sources[n] && n < 32) {
        names[n] = routes_sources[n]->name;
        n++;
    }
    if (strchr(name, '/') || strstr(name, ".csv")) {
        return err_set(e, SIM_E_IO, "cannot read '%.200s': %s", name, strerror(ENOENT));
    }
    near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "routes '%.80s' are not known%s%s%s", name, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : "");
}

static bool differs(uint32_t have, uint32_t want)
{
    return want != 0 && have != want;
}

static int check_shape(const struct routes *r, const struct routes_env *env, struct err *e)
{
    const struct routes_shape *h = &r->shape, *w = &env->shape;
    if (differs(h->experts, w->experts) || differs(h->top_k, w->top_k) || differs(h->layers, w->layers)) {
        return err_set(e, SIM_E_CONFIG, "routes %s have %u of %u experts in %u MoE layers, the model%s%s has %u of "
                       "%u in %u", r->ops->name, h->top_k, h->experts, h->layers, env->model ? " " : "",
                       env->model ? env->model : "", w->top_k ? w->top_k : h->top_k,
                       w->experts ? w->experts : h->experts, w->layers ? w->layers : h->layers);
    }
    return 0;
}

static int open_source(struct routes *r, const char *spec, const struct routes_env *env, struct err *e)
{
    const char *name = opt_spec_name(spec, &r->arena);
    if (!name) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    const struct routes_ops *ops = routes_find(name);
    if (!ops) {
        return unknown_source(name, e);
    }
    void *state = arena_alloc(&r->arena, ops->state_size);
    if (!state) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    r->ops = ops;
    r->state = state;
    int rc = opt_spec_apply(spec, ops->options, state, &r->arena, e);
    rc = rc == 0 ? ops->open(state, r, env, e) : rc;
    return rc == 0 ? check_shape(r, env, e) : rc;
}

int routes_open(struct routes **ret, const char *spec, const struct routes_env *env, struct err *e)
{
    struct routes *r = calloc(1, sizeof(*r));
    *ret = NULL;
    if (!r) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    int rc = open_source(r, spec, env, e);
    if (rc < 0) {
        routes_close(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void routes_close(struct routes *r)
{
    if (!r) {
        return;
    }
    if (r->state && r->ops->close) {
        r->ops->close(r->state);
    }
    arena_release(&r->arena);
    free(r);
}

/* ---- asking ---- */

void routes_at(struct routes *r, uint64_t seq, uint32_t pos, uint32_t layer, struct route *ret)
{
    r->ops->at(r->state, seq, pos, layer, ret);
}

uint32_t routes_latent(struct routes *r, uint64_t seq, uint32_t pos, uint32_t layer, float *ret)
{
    return r->ops->latent ? r->ops->latent(r->state, seq, pos, layer, ret) : 0;
}

uint64_t routes_sequences(const struct routes *r)
{
    return r->ops->sequences ? r->ops->sequences(r->state) : 0;
}

uint32_t routes_length(const struct routes *r, uint64_t seq)
{
    return r->ops->length ? r->ops->length(r->state, seq) : 0;
}

/* ---- choosing ---- */

/* `i` stands behind the ones it is compared with; the one at i is overwritten. */
static void insert_expert(struct route *ret, const float *score, uint32_t i, uint16_t expert)
{
    while (i > 0 && score[ret->expert[i - 1]] < score[expert]) {
        ret->expert[i] = ret->expert[i - 1];
        i--;
    }
    ret->expert[i] = expert;
}

void route_choose(struct route *ret, const float *score, const struct routes_shape *s, double temperature)
{
    uint32_t k = s->top_k;
    double sum = 0, top;
    ret->expert[0] = 0;
    for (uint32_t i = 1; i < s->experts; i++) {
        if (i < k || score[i] > score[ret->expert[k - 1]]) {
            insert_expert(ret, score, i < k ? i : k - 1, (uint16_t)i);
        }
    }
    top = (double)score[ret->expert[0]];
    for (uint32_t i = 0; i < k; i++) {
        double w = exp(((double)score[ret->expert[i]] - top) / temperature);
        ret->gate[i] = (float)w;
        sum += w;
    }
    for (uint32_t i = 0; i < k; i++) {
        ret->gate[i] = (float)((double)ret->gate[i] / sum);
    }
    ret->score = score;
}
