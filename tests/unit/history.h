/* SPDX-License-Identifier: Apache-2.0
 *
 * What an engine makes of a load, step by step, as text. A line "12: d10 p3:512 p4:20 x7 a2" is the
 * step planned at 12 ms with ten decodes, chunks of 512 and 20 tokens for requests 3 and 4, request 7
 * pushed out. At the end, for each request, when its first and last token came. Every step takes one ms.
 * Two engines write it: the slow one (batch_mock.c) and the real one. */
#ifndef STEELYARD_TEST_HISTORY_H
#define STEELYARD_TEST_HISTORY_H

#include <stddef.h>
#include <stdint.h>

struct load_row {
    uint32_t at_ms, prompt_tok, output_tok, max_output_tok, client, prefix_id, prefix_tok;
};

struct load {
    const struct load_row *row;
    size_t n;
    uint64_t kv_blk;
};

struct history {
    char *text; /* malloc'd */
    size_t len, cap;
};

void history_add(struct history *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Of the slow engine. */
struct history history_mock(const char *batcher, const char *options, const struct load *l);

#endif
