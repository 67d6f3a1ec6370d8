/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts in the order of their numbers, whatever their load: what engines do without a balancer. Redundant
 * slots take experts 0, 1, ... once more. */
#include "policies/place.h"

static int fill(const struct place_spec *s, const double *weight, uint32_t *slot, struct arena *a,
                struct err *e)
{
    (void)weight;
    (void)a;
    (void)e;
    for (uint32_t i = 0; i < s->slots; i++) {
        slot[i] = i % s->experts;
    }
    return 0;
}

const struct place_ops place_contiguous = {
    "contiguous", "experts in the order of their numbers, whatever their load", "vLLM and SGLang without EPLB", fill};
