/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "traces/columns.h"

#define NS 1
#define US 1000
#define MS 1000000
#define S  1000000000

struct alias {
    enum column column;
    const char *name;
    int64_t unit_ns;
    bool native; /* a column of the native format */
};

/* Of several names of one column the first in this order counts. */
static const struct alias aliases[] = {
    {COL_TIME, "time_s", S, true},
    {COL_TIME, "arrival_s", S, false},
    {COL_TIME, "t_s", S, false},
    {COL_TIME, "arrived_at", S, false}, /* Vidur */
    {COL_TIME, "timestamp_s", S, false},
    {COL_TIME, "t_ms", MS, false},
    {COL_TIME, "arrival_ms", MS, false},
    {COL_TIME, "time_ms", MS, false},
    {COL_TIME, "timestamp_ms", MS, false},
    {COL_TIME, "arrival_ns", NS, false},
    {COL_TIME, "arrival_time_ns", NS, false},
    {COL_CLIENT, "client", 0, true},
    {COL_CLIENT, "user", 0, false},
    {COL_CLIENT, "tenant", 0, false},
    {COL_PROMPT, "prompt_tokens", 0, true},
    {COL_PROMPT, "input_tokens", 0, false},
    {COL_PROMPT, "num_prefill_tokens", 0, false}, /* Vidur */
    {COL_PROMPT, "input_length", 0, false},
    {COL_PROMPT, "input_toks", 0, false},
    {COL_OUTPUT, "output_tokens", 0, true},
    {COL_OUTPUT, "num_decode_tokens", 0, false},
    {COL_OUTPUT, "output_length", 0, false},
    {COL_OUTPUT, "output_toks", 0, false},
    {COL_OUTPUT, "retok_output_tokens", 0, false},
    {COL_MAX_OUTPUT, "max_output_tokens", 0, true},
    {COL_MAX_OUTPUT, "max_tokens", 0, false},
    {COL_PRIORITY, "priority", 0, true},
    {COL_TTFT_SLO, "ttft_slo_ms", MS, true},
    {COL_TPOT_SLO, "tpot_slo_ms", MS, true},
    {COL_E2E_SLO, "e2e_slo_ms", MS, true},
    {COL_SLO_CLASS, "slo_class", 0, true},
    {COL_SESSION, "session", 0, true},
    {COL_SESSION, "session_id", 0, false},
    {COL_SUB, "sub", 0, false},
    {COL_TURN, "turn", 0, true},
    {COL_GAP, "gap_s", S, true},
    {COL_GAP, "think_s", S, false},
    {COL_CALL, "call", 0, true},
    {COL_AFTER, "after", 0, true},
    {COL_HASH_TOK, "hash_tokens", 0, true},
    {COL_HASH, "hash_ids", 0, true},
    {COL_TTFT, "ttft_s", S, true},
    {COL_TTFT, "ttft_client_s", S, false},
    {COL_TTFT, "ttft_ms", MS, false},
    {COL_E2E, "e2e_s", S, true},
    {COL_E2E, "e2e_client_s", S, false},
    {COL_E2E, "e2e_latency_s", S, false},
    {COL_E2E, "e2e_ms", MS, false},
    {COL_TOOK, "dur_s", S, false},
    {COL_TOOK, "api_s", S, false},
    {COL_TOOK, "llm_wall_s", S, false},
    {COL_INDEX, "i", 0, false},
    {COL_CHARS, "text_chars_total", 0, false},
};
#define N_ALIASES (sizeof(aliases) / sizeof(aliases[0]))

/* Published tables that are about requests but do not list them, by columns that only they have. */
static const struct {
    const char *columns[2];
    const char *what;
} not_requests[] = {
    {{"requests", "total_tokens"}, "counts per day"},
    {{"hour", "requests_per_hour"}, "a mean daily shape"},
    {{"minute", "tokens_per_s"}, "a token rate per minute"},
    {{"rate", "shape"}, "arrival rates per client and window (ServeGen); draw requests from them: "
                        "synth:servegen{windows=..,quantiles=..}"},
    {{"field", "n_distinct"}, "length statistics per client and window (ServeGen)"},
    {{"field", "q0500"}, "length quantiles per client (ServeGen), for synth:servegen"},
    {{"bin_lo", "bin_hi"}, "a histogram of lengths"},
    {{"tool_tokens", "system_tokens"}, "session heads; the requests are in the file without _sessions"},
    {{"tool", "result_chars"}, "tool calls, not model calls"},
    {{"tool_name", "duration_s"}, "tool calls, not model calls"},
    {{"pre_gap_s", "output_tokens"}, "gaps and output lengths without prompt lengths"},
    {{"prompt_throughput", "running"}, "a time series of an engine, not its requests"},
    {{"prompt_throughput", "num_running"}, "a time series of an engine, not its requests"},
    {{"concurrency", "isl"}, "results of closed-loop runs, not requests"},
};
#define N_NOT_REQUESTS (sizeof(not_requests) / sizeof(not_requests[0]))

static const char *explain_header(const struct csv *head)
{
    for (size_t i = 0; i < N_NOT_REQUESTS; i++) {
        if (csv_find(head, not_requests[i].columns[0]) >= 0 &&
            csv_find(head, not_requests[i].columns[1]) >= 0) {
            return not_requests[i].what;
        }
    }
    return NULL;
}

static bool has_alias(const struct csv *head, enum column column)
{
    for (size_t i = 0; i < N_ALIASES; i++) {
        if (aliases[i].column == column && csv_find(head, aliases[i].name) >= 0) {
            return true;
        }
    }
    return false;
}

bool columns_know_header(const char *head)
{
    size_t n = strcspn(head, "\r\n");
    char *line = strndup(head, n);
    struct csv csv = {0};
    bool known = line && csv_split(&csv, line) > 1 && (has_alias(&csv, COL_PROMPT) || explain_header(&csv));
    csv_release(&csv);
    free(line);
    return known;
}

static bool has(const struct columns *c, const char *name)
{
    return csv_find(&c->csv.head, name) >= 0;
}

static enum layout find_layout(const struct columns *c)
{
    if (has(c, "lcp_blocks") && has(c, "hash_ids")) {
        return LAYOUT_CLAUDE_CODE;
    }
    if (has(c, "dur_s") && has(c, "finish")) {
        return LAYOUT_SPANS;
    }
    if (has(c, "t_ms") && has(c, "hash_ids")) {
        return LAYOUT_MOONCAKE;
    }
    if (has(c, "retok_output_tokens") && has(c, "error")) {
        return LAYOUT_INFERENCE_SIM;
    }
    return has(c, "planned_arrival_s") && has(c, "queue_admit_delay_s") ? LAYOUT_LLMSERVINGSIM
                                                                        : LAYOUT_PLAIN;
}

static void map_aliases(struct columns *c)
{
    for (size_t i = 0; i < N_ALIASES; i++) {
        const struct alias *al = &aliases[i];
        int at = c->native && !al->native ? -1 : csv_find(&c->csv.head, al->name);
        if (at >= 0 && c->col[al->column] < 0) {
            c->col[al->column] = at;
            c->unit_ns[al->column] = al->unit_ns;
        }
    }
    /* The index inside a conversation, where there are conversations; else just a row number. */
    if (!c->native && c->col[COL_TURN] < 0 && c->col[COL_SESSION] >= 0) {
        c->col[COL_TURN] = csv_find(&c->csv.head, "i");
    }
}

static int map_override(struct columns *c, struct trace *t, enum column column, const char *name,
                        struct err *e)
{
    return name ? csv_reader_need(&c->csv, t, name, &c->col[column], e) : 0;
}

static int64_t unit_of_name(const char *name)
{
    static const struct {
        const char *suffix;
        int64_t unit_ns;
    } units[] = {{"_ms", MS}, {"_us", US}, {"_ns", NS}};
    size_t n = strlen(name);
    for (size_t i = 0; i < 3; i++) {
        if (n > 3 && strcmp(name + n - 3, units[i].suffix) == 0) {
            return units[i].unit_ns;
        }
    }
    return S;
}

static int map_overrides(struct columns *c, struct trace *t, struct err *e)
{
    static const int64_t unit[] = {0, S, MS, US, NS};
    int rc = map_override(c, t, COL_TIME, c->time_name, e);
    if (rc == 0) {
        rc = map_override(c, t, COL_PROMPT, c->prompt_name, e);
    }
    if (rc == 0) {
        rc = map_override(c, t, COL_OUTPUT, c->output_name, e);
    }
    if (rc == 0) {
        rc = map_override(c, t, COL_CLIENT, c->client_name, e);
    }
    if (rc == 0) {
        rc = map_override(c, t, COL_SESSION, c->session_name, e);
    }
    if (c->time_name) {
        c->unit_ns[COL_TIME] = unit_of_name(c->time_name);
    }
    if (c->time_unit > 0) {
        c->unit_ns[COL_TIME] = unit[c->time_unit];
    }
    return rc;
}

/* Native files are ours: a column that we do not know is a mistake. */
static int refuse_unknown(const struct columns *c, struct trace *t, struct err *e)
{
    const char *names[N_ALIASES];
    size_t n = 0;
    for (size_t i = 0; i < N_ALIASES; i++) {
        if (aliases[i].native) {
            names[n++] = aliases[i].name;
        }
    }
    for (size_t i = 0; i < c->csv.head.n; i++) {
        bool known = false;
        for (size_t k = 0; k < n && !known; k++) {
            known = csv_find(&c->csv.head, names[k]) == (int)i;
        }
        if (!known) {
            const char *near = text_nearest(c->csv.head.field[i], names, n);
            return trace_bad(t, e, "unknown column '%.60s'%s%s%s", c->csv.head.field[i],
                             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
    }
    return 0;
}

int columns_map(struct columns *c, struct trace *t, struct err *e)
{
    for (int i = 0; i < COL_COUNT; i++) {
        c->col[i] = -1;
    }
    map_aliases(c);
    int rc = c->native ? refuse_unknown(c, t, e) : map_overrides(c, t, e);
    if (rc < 0) {
        return rc;
    }
    c->layout = c->native ? LAYOUT_PLAIN : find_layout(c);
    const char *what = c->native ? NULL : explain_header(&c->csv.head);
    if (c->col[COL_PROMPT] < 0 && what) {
        return trace_bad(t, e, "not a request trace: these are %s", what);
    }
    if (c->col[COL_PROMPT] < 0) {
        return trace_bad(t, e, "no column with prompt lengths (prompt_tokens, input_tokens, "
                         "num_prefill_tokens ...; or name it: columns{prompt=NAME})");
    }
    return 0;
}
