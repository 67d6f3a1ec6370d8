/* SPDX-License-Identifier: Apache-2.0 */
#include "models/ep_transfers.h"

#include <math.h>
#include <stddef.h>

#include "models/reach.h"

/* DeepEP README, GB/s of its low-latency kernels by ranks, dispatch and combine of 128 tokens a rank. */
struct bandwidth {
    double ranks, dispatch, combine;
};
static const struct bandwidth low_latency[] = {{8, 98, 127}, {16, 63, 74},  {32, 48, 53},
                                               {64, 43, 46}, {128, 39, 39}, {256, 39, 40}};
/* The same of its normal kernels, 4096 tokens a rank: NVLink from EP8; the network from EP32, where 58 and 57 GB/s are
 * printed and a quarter of what is counted stays on its node. EP64 follows within 4 %, EP16 is 9 to 13 % slower. */
static const struct reach_rates normal_dispatch = {43.5e9, 153e9}, normal_combine = {42.75e9, 158e9};

/* Between two sizes by the logarithm of the ranks, beyond the ends as at the end. */
static struct bandwidth bandwidth_at(const struct bandwidth *b, size_t n, double ranks)
{
    size_t i = 0;

    if (ranks <= b[0].ranks) {
        return b[0];
    }
    while (i + 1 < n && b[i + 1].ranks <= ranks) {
        i++;
    }
    if (i + 1 == n) {
        return b[i];
    }
    double w = log(ranks / b[i].ranks) / log(b[i + 1].ranks / b[i].ranks);
    return (struct bandwidth){ranks, b[i].dispatch + w * (b[i + 1].dispatch - b[i].dispatch),
                              b[i].combine + w * (b[i + 1].combine - b[i].combine)};
}

static double or_else(double known, double assumed)
{
    return known > 0 ? known : assumed;
}

/* At a bandwidth that was given: as DeepEP counts, nodes over the network, GPUs inside of one node. */
static void init_normal(struct ep_transfers *t, double dispatch, double combine)
{
    struct reach r = {.experts = t->experts, .per_tok = t->copies, .ranks = t->ranks, .per_node = EP_PER_NODE, .node_limit = 4};
    struct reach_mean m = reach_mean(&r);
    double copies = t->ranks > EP_PER_NODE ? m.nodes : m.gpus;

    t->dispatch_s = t->dispatch_gb_s > 0 ? copies * dispatch / (1e9 * t->dispatch_gb_s)
                                         : reach_normal_s(&r, &normal_dispatch, dispatch);
    t->combine_s = t->combine_gb_s > 0 ? copies * combine / (1e9 * t->combine_gb_s)
                                       : reach_normal_s(&r, &normal_combine, combine);
    t->bytes_per_s = copies * dispatch / t->dispatch_s;
}

static void init_low_latency(struct ep_transfers *t, double dispatch, double combine)
{
    struct bandwidth b = bandwidth_at(low_latency, sizeof(low_latency) / sizeof(low_latency[0]), t->ranks);

    t->bytes_per_s = 1e9 * or_else(t->dispatch_gb_s, b.dispatch);
    t->dispatch_s = t->copies * dispatch / t->bytes_per_s;
    t->combine_s = t->copies * combine / (1e9 * or_else(t->combine_gb_s, b.combine));
}

/* Bytes of one copy: fp8 with a 4-byte scale per 128 values; 16 bit. */
void ep_transfers_init(struct ep_transfers *t)
{
    (t->normal ? init_normal : init_low_latency)(t, t->hidden * (1 + 4.0 / 128), t->hidden * 2);
}
