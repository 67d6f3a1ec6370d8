/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv/pages.h"

#include <math.h>

uint64_t pages_tok(const struct pages_shape *s)
{
    return (uint64_t)(s->page_byte / s->tensor_byte_per_tok);
}

uint64_t pages_held(const struct pages_shape *s, uint64_t tok)
{
    return 2 * (uint64_t)s->layers * (uint64_t)ceil((double)tok * s->tensor_byte_per_tok / s->page_byte);
}

uint64_t pages_grown(const struct pages_shape *s, uint64_t from_tok, uint64_t to_tok)
{
    uint64_t from = pages_held(s, from_tok), to = pages_held(s, to_tok);

    return to > from ? to - from : 0;
}
