/* SPDX-License-Identifier: Apache-2.0
 *
 * What dispatch and combine of a token take, for cost model `ep`: bandwidths as given, or DeepEP's on H800. */
#ifndef STEELYARD_EP_TRANSFERS_H
#define STEELYARD_EP_TRANSFERS_H

#include <stdbool.h>

#define EP_PER_NODE 8

struct ep_transfers {
    bool normal;                        /* DeepEP's normal kernels; else its low-latency ones */
    double ranks, experts, copies;      /* copies of a token: one per expert that it goes to */
    double hidden;
    double dispatch_gb_s, combine_gb_s; /* 0 = DeepEP's */
    /* from ep_transfers_init */
    double dispatch_s, combine_s; /* per token and layer */
    double bytes_per_s;           /* that a rank receives in dispatch */
};

void ep_transfers_init(struct ep_transfers *t);

#endif
