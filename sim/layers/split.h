/* SPDX-License-Identifier: Apache-2.0
 *
 * A step of decodes that a prefetcher has run as two batches (struct prefetch_ops, split): inside of the layer
 * executor only. */
#ifndef STEELYARD_SPLIT_H
#define STEELYARD_SPLIT_H

#include "sim/layers/executor.h"

/* 1 when the prefetcher wants two batches and has said who goes where; 0; < 0 on an error. */
int split_wanted(struct layers *x, const struct batch_shape *shape, struct err *e);
/* The tokens of a group, and the shape that they make alone; how many. `tok` has room for all of the step. */
uint32_t split_take(const struct layers *x, const struct batch_shape *whole, uint8_t group,
                    struct expert_token *tok, struct batch_shape *ret);

#endif
