/* SPDX-License-Identifier: Apache-2.0
 *
 * The cheapest of swapping, recomputing and all that lies between, by predicted seconds: for a
 * split at k tokens, copying [kept, k) out, loading [0, k) and computing [k, n). Copies that
 * overlap with steps hold nobody up on the way out and are weighed less. Attention makes the last
 * tokens of a context the dearest to compute, a prefill has a floor below which fewer tokens save
 * nothing, and each copy has a fixed cost, so the best split is often an end, and not always the
 * same one. */
#include "policies/offload.h"

struct by_cost {
    double overlapped_weight;
    int64_t splits;
    bool partial;
};

static const struct opt_row by_cost_options[] = {
    {.name = "overlapped", .type = OPT_DOUBLE, .offset = offsetof(struct by_cost, overlapped_weight), .min = 0,
     .max = 1, .def = "0", .unit = "1",
     .help = "what a second of copying out counts when copies overlap with steps"},
    {.name = "partial", .type = OPT_BOOL, .offset = offsetof(struct by_cost, partial), .min = 0, .max = -1,
     .def = "on", .help = "may keep a part; off = all or nothing"},
    {.name = "splits", .type = OPT_INT, .offset = offsetof(struct by_cost, splits), .min = 1, .max = 4096,
     .def = "16", .unit = "1", .help = "places between all and nothing that are tried"},
    OPT_END,
};

static double cost_s(const struct by_cost *b, const struct offload_view *v, uint32_t keep)
{
    double out = keep > v->kept_tok ? v->out_s(v->ctx, v->kept_tok, keep) : 0;
    double in = keep > 0 ? v->in_s(v->ctx, 0, keep) : 0;
    double compute = keep < v->content_tok ? v->compute_s(v->ctx, keep, v->content_tok) : 0;
    return out * (v->overlapped ? b->overlapped_weight : 1) + in + compute;
}

static uint32_t by_cost_keep(const void *st, const struct offload_view *v)
{
    const struct by_cost *b = st;
    uint32_t most = v->room_tok < v->content_tok ? v->room_tok : v->content_tok;
    uint32_t best = 0, n = b->partial ? (uint32_t)b->splits : 1;
    double least = cost_s(b, v, 0);
    for (uint32_t i = 1; i <= n; i++) {
        uint32_t k = (uint32_t)((uint64_t)most * i / n);
        k -= k < v->content_tok ? k % v->block_tok : 0;
        double c = k > 0 ? cost_s(b, v, k) : least;
        if (c < least) {
            least = c;
            best = k;
        }
    }
    return best;
}

const struct offload_ops offload_by_cost = {
    .name = "by-cost",
    .summary = "the split between swapping and recomputing with the least predicted time",
    .source = "Steelyard; vLLM's choice between the two made by cost",
    .abi = OFFLOAD_ABI,
    .state_size = sizeof(struct by_cost),
    .options = by_cost_options,
    .keep = by_cost_keep,
};
