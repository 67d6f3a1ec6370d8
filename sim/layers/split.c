/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/split.h"

#include <stdlib.h>
#include <string.h>

static bool reach(struct layers *x, uint32_t n)
{
    if (n > x->cap_split) {
        free(x->split_tok);
        free(x->group);
        x->split_tok = malloc(n * sizeof *x->split_tok);
        x->group = malloc(n);
        x->cap_split = x->split_tok && x->group ? n : 0;
    }
    return n <= x->cap_split;
}

int split_wanted(struct layers *x, const struct batch_shape *shape, struct err *e)
{
    const struct routing *r = &x->routing;

    if (!x->cfg.source || x->cfg.nested || !x->cfg.prefetch->split || r->n_prefill > 0 || r->n_tok < 2 ||
        r->n_tok != shape->n_decode) {
        return 0;
    }
    if (!reach(x, r->n_tok)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a step of %u tokens", r->n_tok);
    }
    memcpy(x->split_tok, r->tok, r->n_tok * sizeof *x->split_tok);
    return x->cfg.prefetch->split(x->cfg.prefetch_st, &x->view, r->n_tok, x->group);
}

uint32_t split_take(const struct layers *x, const struct batch_shape *whole, uint8_t group,
                    struct expert_token *tok, struct batch_shape *ret)
{
    uint32_t n = 0;

    *ret = *whole;
    ret->decode_ctx_tok = ret->decode_ctx_sq = 0;
    for (uint32_t t = 0; t < whole->n_decode; t++) {
        if (x->group[t] == group) {
            uint64_t ctx = (uint64_t)x->split_tok[t].position + 1;

            tok[n++] = x->split_tok[t];
            ret->decode_ctx_tok += ctx;
            ret->decode_ctx_sq += ctx * ctx;
        }
    }
    ret->n_decode = n;
    return n;
}
