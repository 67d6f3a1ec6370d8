/* SPDX-License-Identifier: Apache-2.0
 *
 * Steelyard's own CSV: every field of struct arrival (traces/README.md). */
#include <string.h>

#include "traces/columns.h"

static int probe(const char *head, size_t n)
{
    (void)n;
    return strncmp(head, "time_s,", 7) == 0 && columns_know_header(head) ? 90 : 0;
}

const struct trace_ops trace_native = {
    .name = "native",
    .summary = "Steelyard's CSV: time_s,client,prompt_tokens,output_tokens,... (all fields)",
    .source = "steelyard trace convert",
    .probe = probe,
    .state_size = sizeof(struct columns),
    .options = native_options,
    .open = native_open,
    .next = columns_next,
    .close = columns_close,
};
