/* SPDX-License-Identifier: Apache-2.0
 *
 * ExpertFlow's token scheduler (arXiv 2410.17954, 3.3): the tokens of two batches are divided anew so that each
 * batch needs fewer experts. Exact division is intractable; the paper's heuristic is a k-means whose centroids are
 * tokens, over the similarity 1 - d / (L E) with d the Hamming distance of two routing paths as L x E bits. */
#ifndef STEELYARD_REGROUP_H
#define STEELYARD_REGROUP_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

#define REGROUP_MAX 512 /* tokens; more are left as they are */

struct regroup {
    uint32_t *distance; /* [REGROUP_MAX][REGROUP_MAX], halved: experts of one that are not the other's */
};

int regroup_init(struct regroup *r, struct arena *a, struct err *e);
/* `route`: [n][layers * k], the experts of each token, those of a layer side by side. group[i] becomes 0 for
 * (n + 1) / 2 tokens and 1 for the others. The first centroids are the two tokens farthest apart; ties go to the
 * lower number. Ends when nothing changes, at the latest after `rounds`. Beyond REGROUP_MAX: as they came. */
void regroup(struct regroup *r, const uint16_t *route, uint32_t n, uint32_t layers, uint32_t k, uint32_t rounds,
             uint8_t *group);

#endif
