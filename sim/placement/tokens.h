/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokens that one engine step computes: decodes, then prefill chunks. */
#ifndef STEELYARD_PLACEMENT_TOKENS_H
#define STEELYARD_PLACEMENT_TOKENS_H

#include "policies/experts.h"
#include "sim/engine/engine.h"

struct token_list {
    struct expert_token *tok;
    uint32_t n, cap;
};

int token_list_fill(struct token_list *x, const struct engine *g, const struct step *s, struct err *e);
void token_list_release(struct token_list *x);

#endif
