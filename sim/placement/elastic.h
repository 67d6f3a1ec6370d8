/* SPDX-License-Identifier: Apache-2.0
 *
 * What has to move when the ranks of a data-parallel group become more or fewer while the tensor-parallel
 * degree stays (ElasticMoE, arXiv 2510.02613, sections 4.1 and 5.2): attention and everything else that all
 * replicas hold stays where it is and goes, a shard each, to ranks that are new; experts are spread evenly over
 * all ranks of the new size, and a rank keeps what it has of them as far as it may. */
#ifndef STEELYARD_ELASTIC_H
#define STEELYARD_ELASTIC_H

#include "models/llm.h"

struct elastic_spec {
    const struct llm_shape *llm; /* with experts */
    uint32_t tp, dp_from, dp_to; /* ranks = tp * dp, at least one, not more than experts */
};

struct elastic_plan {
    uint32_t ranks;        /* afterwards */
    uint32_t most_experts; /* of a layer, that one rank receives */
    double most_bytes;     /* that one rank receives */
    double bytes;          /* that all receive; each of them different ones when dp_to <= dp_from + 1 */
    double model_bytes;    /* each weight once */
};

int elastic_plan(const struct elastic_spec *s, struct elastic_plan *ret, struct err *e);

#endif
