/* SPDX-License-Identifier: Apache-2.0
 *
 * What a router is shown of the replicas: what they are, or were when it looked last, and what it has sent
 * since. */
#ifndef STEELYARD_CLUSTER_VIEW_H
#define STEELYARD_CLUSTER_VIEW_H

#include "sim/cluster/cluster.h"

/* Look at all replicas, unless it is too early for that. */
void view_glance(struct cluster *c);
/* Until the next look the router adds up what it sends. */
void view_note_sent(struct cluster *c, uint32_t replica, uint32_t prompt_tok);

#endif
