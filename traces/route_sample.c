/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/route_sample.h"

#include <math.h>
#include <string.h>

double route_tae(const struct route *r, uint32_t top_k)
{
    double h = 0;
    for (uint32_t i = 0; i < top_k; i++) {
        double p = (double)r->gate[i];
        h -= p > 0 ? p * log(p) : 0;
    }
    return top_k > 1 ? h / log(top_k) : 0;
}

struct route_layer route_sample_layer(const struct route_sample *s, uint32_t layer)
{
    size_t tokens = s->start[s->sequences];
    return (struct route_layer){.expert = s->expert + layer * tokens * s->shape.top_k, .start = s->start,
                                .sequences = s->sequences, .top_k = s->shape.top_k,
                                .experts = s->shape.experts};
}

uint32_t route_layer_tokens(const struct route_layer *l)
{
    return l->start[l->sequences];
}

static int lay_out(struct route_sample *s, const uint32_t *length, struct arena *a, struct err *e)
{
    uint64_t tokens = 0;
    s->start = arena_calloc(a, (size_t)s->sequences + 1, sizeof(*s->start));
    if (!s->start) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < s->sequences; i++) {
        tokens += length[i];
        if (tokens > ROUTE_SAMPLE_TOKENS_MAX) {
            return err_set(e, SIM_E_USAGE, "a sample of routes has at most %u tokens", ROUTE_SAMPLE_TOKENS_MAX);
        }
        s->start[i + 1] = (uint32_t)tokens;
    }
    if (tokens == 0) {
        return err_set(e, SIM_E_USAGE, "a sample of routes without any token");
    }
    s->expert = arena_calloc(a, tokens * s->shape.layers, s->shape.top_k * sizeof(*s->expert));
    s->tae = arena_calloc(a, tokens * s->shape.layers, sizeof(*s->tae));
    return s->expert && s->tae ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

static void take_token(struct route_sample *s, struct routes *r, uint32_t seq, uint32_t pos, bool *ret_scores)
{
    size_t tokens = s->start[s->sequences], k = s->shape.top_k;
    struct route a;
    for (uint32_t l = 0; l < s->shape.layers; l++) {
        size_t at = l * tokens + s->start[seq] + pos;
        routes_at(r, seq, pos, l, &a);
        memcpy(s->expert + at * k, a.expert, k * sizeof(*a.expert));
        s->tae[at] = (float)route_tae(&a, (uint32_t)k);
        *ret_scores = a.score != NULL;
    }
}

int route_sample_take(struct route_sample *ret, struct routes *r, const uint32_t *length, uint32_t sequences,
                      struct arena *a, int (*progress)(void *ctx, double share), void *ctx, struct err *e)
{
    bool scores = false;
    *ret = (struct route_sample){.shape = routes_shape(r), .sequences = sequences};
    int rc = lay_out(ret, length, a, e);
    if (rc < 0) {
        return rc;
    }
    double tokens = ret->start[sequences];
    for (uint32_t seq = 0; seq < sequences; seq++) {
        if (progress && progress(ctx, ret->start[seq] / tokens)) {
            return err_set(e, SIM_E_INTR, "interrupted");
        }
        for (uint32_t pos = 0; pos < length[seq]; pos++) {
            take_token(ret, r, seq, pos, &scores);
        }
    }
    ret->tae = scores ? ret->tae : NULL;
    return 0;
}
