/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/tokens.h"

#include <stdlib.h>

static bool add(struct token_list *x, uint64_t sequence, uint32_t position, bool prefill)
{
    if (!grow_array((void **)&x->tok, &x->cap, x->n + 1, sizeof(*x->tok))) {
        return false;
    }
    x->tok[x->n++] = (struct expert_token){sequence, position, prefill};
    return true;
}

static bool add_decodes(struct token_list *x, const struct engine *g, const struct step *s)
{
    for (req_id q = g->view.running_head; s->decode && q != REQ_NONE; q = g->reqs[q].q_next) {
        uint64_t ctx = step_context(g, s, q);

        if (ctx > 0 && !add(x, g->reqs[q].serial, (uint32_t)(ctx - 1), false)) {
            return false;
        }
    }
    return true;
}

static bool add_chunk(struct token_list *x, const struct chunk *c)
{
    for (uint32_t t = 0; t < c->n_tok; t++) {
        if (!add(x, c->serial, c->start_tok + t, true)) {
            return false;
        }
    }
    return true;
}

int token_list_fill(struct token_list *x, const struct engine *g, const struct step *s, struct err *e)
{
    x->n = 0;
    bool ok = add_decodes(x, g, s);

    for (uint32_t i = 0; i < s->n_chunk && ok; i++) {
        ok = add_chunk(x, &s->chunks[i]);
    }
    return ok ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for the tokens of a step");
}

void token_list_release(struct token_list *x)
{
    free(x->tok);
    *x = (struct token_list){.tok = NULL};
}
