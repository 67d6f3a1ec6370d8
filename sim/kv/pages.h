/* SPDX-License-Identifier: Apache-2.0
 *
 * KV as virtual memory: each layer has one contiguous range for keys and one for values, and pages
 * are mapped into them as a sequence grows (vAttention, ASPLOS'25, arXiv 2405.04437; serving.md
 * 11). */
#ifndef STEELYARD_KV_PAGES_H
#define STEELYARD_KV_PAGES_H

#include <stdint.h>

struct pages_shape {
    uint32_t layers;
    double tensor_byte_per_tok; /* of keys, or of values, of one layer */
    double page_byte;
};

/* Tokens that one page holds of one tensor. */
uint64_t pages_tok(const struct pages_shape *s);
/* Pages that a sequence of `tok` tokens has mapped, over all layers, keys and values. */
uint64_t pages_held(const struct pages_shape *s, uint64_t tok);
/* Pages to map when it grows from one length to another. */
uint64_t pages_grown(const struct pages_shape *s, uint64_t from_tok, uint64_t to_tok);

#endif
