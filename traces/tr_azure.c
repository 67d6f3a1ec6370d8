/* SPDX-License-Identifier: Apache-2.0
 *
 * Azure LLM inference traces of 2023 and 2024: TIMESTAMP,ContextTokens,GeneratedTokens with absolute
 * times ("2023-11-16 18:15:46.6805900"; 2024: "2024-05-10 00:00:00.009930+00:00"). Times are counted
 * from the first request. Patel et al., "Splitwise", ISCA'24; Stojkovic et al., "DynamoLLM". */
#include <string.h>

#include "traces/reader.h"

struct azure {
    struct csv_reader csv;
    int col_time, col_prompt, col_output;
    bool started;
    sim_ns origin_ns;
    int64_t zero_output; /* enum zero_output */
};

enum zero_output { ZERO_ERROR, ZERO_SKIP, ZERO_ONE };

static const struct opt_choice zero_choices[] = {
    {"error", "end with an error that names the line"},
    {"skip", "leave the request out"},
    {"one", "count it as one token: the prompt was processed"},
    {NULL, NULL},
};

static const struct opt_row options[] = {
    {"zero", OPT_CHOICE, offsetof(struct azure, zero_output), 1, 0, "one", "1",
     "what to do with a request that generated 0 tokens (some rows of the 2024 traces)", zero_choices},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    return strncmp(head, "TIMESTAMP,ContextTokens,GeneratedTokens", 39) == 0 ? 100 : 0;
}

static int open_azure(void *state, struct trace *t, struct err *e)
{
    struct azure *s = state;
    int rc = csv_reader_open(&s->csv, t, e);
    if (rc == 0) {
        rc = csv_reader_need(&s->csv, t, "TIMESTAMP", &s->col_time, e);
    }
    if (rc == 0) {
        rc = csv_reader_need(&s->csv, t, "ContextTokens", &s->col_prompt, e);
    }
    return rc == 0 ? csv_reader_need(&s->csv, t, "GeneratedTokens", &s->col_output, e) : rc;
}

static int read_time(struct azure *s, struct trace *t, sim_ns *ret, struct err *e)
{
    sim_ns at;
    const char *text = s->csv.row.field[s->col_time];
    enum num_fault f = num_iso_time(text, &at);
    if (f == NUM_EMPTY) {
        return trace_bad_number(t, "TIMESTAMP", text, f, e);
    }
    if (f != NUM_OK) {
        return trace_bad(t, e, "column 'TIMESTAMP': '%.60s' is not a time like 2023-11-16 18:15:46.68",
                         text);
    }
    if (!s->started) {
        s->started = true;
        s->origin_ns = at;
    }
    *ret = at - s->origin_ns;
    return 0;
}

static int next_row(struct azure *s, struct trace *t, struct arrival *a, struct err *e)
{
    int rc = csv_reader_next(&s->csv, t, e);
    if (rc <= 0) {
        return rc;
    }
    arrival_init(a);
    rc = read_time(s, t, &a->time_ns, e);
    if (rc == 0) {
        rc = csv_reader_u32(&s->csv, t, s->col_prompt, &a->prompt_tok, e);
    }
    if (rc == 0) {
        rc = csv_reader_u32(&s->csv, t, s->col_output, &a->output_tok, e);
    }
    return rc < 0 ? rc : 1;
}

static int next_azure(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct azure *s = state;
    int rc;
    do {
        rc = next_row(s, t, a, e);
    } while (rc == 1 && a->output_tok == 0 && s->zero_output == ZERO_SKIP);
    if (rc == 1 && a->output_tok == 0 && s->zero_output == ZERO_ONE) {
        a->output_tok = 1;
    }
    return rc;
}

static void close_azure(void *state)
{
    csv_reader_close(&((struct azure *)state)->csv);
}

const struct trace_ops trace_azure = {
    .name = "azure",
    .summary = "Azure LLM inference traces: TIMESTAMP,ContextTokens,GeneratedTokens",
    .source = "https://github.com/Azure/AzurePublicDataset",
    .probe = probe,
    .state_size = sizeof(struct azure),
    .options = options,
    .open = open_azure,
    .next = next_azure,
    .close = close_azure,
};
