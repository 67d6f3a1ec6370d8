/* SPDX-License-Identifier: Apache-2.0
 *
 * Any CSV file with a header line that names a prompt length. */
#include "traces/columns.h"

static int probe(const char *head, size_t n)
{
    (void)n;
    return columns_know_header(head) ? 30 : 0;
}

const struct trace_ops trace_columns = {
    .name = "columns",
    .summary = "CSV with named columns: t_s, t_ms or arrival_s, prompt_tokens, output_tokens, ...",
    .source = "tables of requests, also of lengths alone (then with a rate)",
    .probe = probe,
    .state_size = sizeof(struct columns),
    .options = columns_options,
    .open = columns_open,
    .next = columns_next,
    .close = columns_close,
    .sorted = columns_link_programs,
};
