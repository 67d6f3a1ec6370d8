/* SPDX-License-Identifier: Apache-2.0
 *
 * Offload policies: what becomes of the KV of a request that is pushed out. They answer with a
 * number of tokens: that much, from the front, is copied out of the GPU and loaded again later; the
 * rest is computed again. 0 = recompute all of it, content_tok = swap all of it, in between =
 * partial eviction. To add one: policies/offload/NAME.c with a `const struct offload_ops
 * offload_NAME`, and one word in policies/meson.build (a '-' in the public name is a '_' there). */
#ifndef STEELYARD_OFFLOAD_H
#define STEELYARD_OFFLOAD_H

#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

#define OFFLOAD_ABI 1

/* One request that is about to lose its place, and what its ways back would cost by the run's own
 * cost model and links (predictions of a quiet machine: queueing is not in them). */
struct offload_view {
    uint32_t content_tok; /* tokens whose KV is on the GPU */
    uint32_t kept_tok;    /* of these, so many are outside already (a copy that is still good) */
    uint32_t room_tok;    /* so many could lie outside */
    uint32_t block_tok;
    bool overlapped;      /* copies run beside the steps instead of before them */
    /* Seconds to copy tokens [from, to) out, to load them, and to compute them again. */
    double (*out_s)(const void *ctx, uint32_t from_tok, uint32_t to_tok);
    double (*in_s)(const void *ctx, uint32_t from_tok, uint32_t to_tok);
    double (*compute_s)(const void *ctx, uint32_t from_tok, uint32_t to_tok);
    const void *ctx;
};

struct offload_ops {
    const char *name, *summary;
    const char *source;
    unsigned abi;      /* OFFLOAD_ABI */
    size_t state_size; /* zeroed */
    const struct opt_row *options;
    /* Tokens to keep, 0..content_tok; more than room_tok is cut to what fits, and what does not end
     * at a block is rounded down to one. */
    uint32_t (*keep)(const void *st, const struct offload_view *v);
};

extern const struct offload_ops *const offload_policies[]; /* generated, NULL-terminated */
const struct offload_ops *offload_find(const char *name);

#endif
