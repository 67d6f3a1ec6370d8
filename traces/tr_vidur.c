/* SPDX-License-Identifier: Apache-2.0
 *
 * Processed traces of the Vidur simulator (Agrawal et al., MLSys'24): arrived_at in seconds,
 * num_prefill_tokens, num_decode_tokens. Files without arrived_at hold lengths only. */
#include <string.h>

#include "traces/columns.h"

static int probe(const char *head, size_t n)
{
    (void)n;
    size_t line = strcspn(head, "\r\n");
    const char *prefill = strstr(head, "num_prefill_tokens");
    const char *decode = strstr(head, "num_decode_tokens");
    return prefill && decode && prefill < head + line && decode < head + line ? 80 : 0;
}

const struct trace_ops trace_vidur = {
    .name = "vidur",
    .summary = "Vidur's processed traces: arrived_at,num_prefill_tokens,num_decode_tokens",
    .source = "https://github.com/microsoft/vidur data/processed_traces",
    .probe = probe,
    .state_size = sizeof(struct columns),
    .options = columns_options,
    .open = columns_open,
    .next = columns_next,
    .close = columns_close,
};
