/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/elastic.h"

#include <math.h>

/* Experts of rank i when n of them share: the first ones have one more. */
static uint32_t share(uint32_t experts, uint32_t n, uint32_t i)
{
    return i < n ? experts / n + (i < experts % n) : 0;
}

static int check(const struct elastic_spec *s, struct err *e)
{
    uint32_t most = s->dp_from > s->dp_to ? s->dp_from : s->dp_to;

    if (s->llm->experts == 0) {
        return err_set(e, SIM_E_CONFIG, "elastic scaling: %s is no mixture of experts", s->llm->name);
    }
    if (s->tp < 1 || s->dp_from < 1 || s->dp_to < 1 || (uint64_t)s->tp * most > s->llm->experts) {
        return err_set(e, SIM_E_CONFIG, "elastic scaling: from %u to %u replicas of %u ranks is not within 1 rank and %u "
                       "experts", s->dp_from, s->dp_to, s->tp, s->llm->experts);
    }
    return 0;
}

int elastic_plan(const struct elastic_spec *s, struct elastic_plan *ret, struct err *e)
{
    double expert = llm_layer(s->llm).expert * dtype_bytes(s->llm->weight_dtype) * llm_moe_layers(s->llm);
    uint32_t from = s->tp * s->dp_from, to = s->tp * s->dp_to;

    if (check(s, e) < 0) {
        return e->code;
    }
    *ret = (struct elastic_plan){.ranks = to, .model_bytes = llm_weight_bytes(s->llm)};
    double shard = (ret->model_bytes - expert * s->llm->experts) / s->tp;

    for (uint32_t i = 0; i < to; i++) {
        uint32_t had = share(s->llm->experts, from, i), has = share(s->llm->experts, to, i);
        uint32_t comes = has > had ? has - had : 0;
        double bytes = comes * expert + (i >= from ? shard : 0);

        ret->most_experts = comes > ret->most_experts ? comes : ret->most_experts;
        ret->most_bytes = fmax(ret->most_bytes, bytes);
        ret->bytes += bytes;
    }
    return 0;
}
