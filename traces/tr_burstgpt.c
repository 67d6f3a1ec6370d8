/* SPDX-License-Identifier: Apache-2.0
 *
 * BurstGPT (Wang et al., KDD'25, arXiv 2401.17644). Releases 1 and 2 have the columns
 * Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type; release 3 puts Session ID and
 * Elapsed time (until the response, of a hosted service) in between. A response of 0 tokens is a
 * request that failed. */
#include <stdlib.h>
#include <string.h>

#include "traces/reader.h"

enum client_by { BY_NONE, BY_MODEL, BY_LOG };
enum failed { FAILED_SKIP, FAILED_ONE, FAILED_ERROR };

struct burstgpt {
    struct csv_reader csv;
    int64_t client_by, failed, origin_file;
    int col_time, col_model, col_prompt, col_output, col_log, col_session, col_elapsed;
    sim_ns origin_ns;
    bool started;
    uint32_t *turns; /* requests seen of each session */
    size_t cap_turns;
};

static const struct opt_choice client_choices[] = {
    {"none", "all requests belong to one client"},
    {"model", "ChatGPT and GPT-4 are two clients"},
    {"log", "conversations and API calls are two clients"},
    {NULL, NULL},
};
static const struct opt_choice failed_choices[] = {
    {"skip", "leave it out"},
    {"one", "count it as one output token: the prompt was sent"},
    {"error", "end with an error"},
    {NULL, NULL},
};
static const struct opt_choice origin_choices[] = {
    {"first", "times count from the first request"},
    {"file", "times as in the file: from the midnight before the first day"},
    {NULL, NULL},
};

static const struct opt_row options[] = {
    {"client", OPT_CHOICE, offsetof(struct burstgpt, client_by), 1, 0, "none", "1",
     "what a client is: the data set names no users", client_choices},
    {"failed", OPT_CHOICE, offsetof(struct burstgpt, failed), 1, 0, "skip", "1",
     "what to do with a request whose response has 0 tokens", failed_choices},
    {"origin", OPT_CHOICE, offsetof(struct burstgpt, origin_file), 1, 0, "first", "1", "time zero",
     origin_choices},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    size_t line = strcspn(head, "\r\n");
    const char *tokens = strstr(head, ",Request tokens,Response tokens,");
    return strncmp(head, "Timestamp,", 10) == 0 && tokens && tokens < head + line ? 95 : 0;
}

static int open_burstgpt(void *state, struct trace *t, struct err *e)
{
    struct burstgpt *s = state;
    const struct {
        const char *name;
        int *col;
    } need[] = {{"Timestamp", &s->col_time},
                {"Model", &s->col_model},
                {"Request tokens", &s->col_prompt},
                {"Response tokens", &s->col_output},
                {"Log Type", &s->col_log}};
    int rc = csv_reader_open(&s->csv, t, e);
    for (size_t i = 0; rc == 0 && i < sizeof(need) / sizeof(need[0]); i++) {
        rc = csv_reader_need(&s->csv, t, need[i].name, need[i].col, e);
    }
    s->col_session = csv_reader_column(&s->csv, "Session ID");
    s->col_elapsed = csv_reader_column(&s->csv, "Elapsed time");
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | (s->col_elapsed >= 0 ? TRACE_MEASURED : 0) |
                          (s->client_by != BY_NONE ? TRACE_CLIENTS : 0));
    return rc;
}

static int read_client(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    if (s->client_by == BY_NONE) {
        return 0;
    }
    const char *name = s->csv.row.field[s->client_by == BY_MODEL ? s->col_model : s->col_log];
    return trace_client_id(t, name, strlen(name), &a->client, e);
}

static int count_turn(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    if (a->session >= s->cap_turns) {
        size_t cap = s->cap_turns ? s->cap_turns : 1024;
        while (cap <= a->session) {
            cap *= 2;
        }
        uint32_t *turns = realloc(s->turns, cap * sizeof(*turns));
        if (!turns) {
            return err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
        }
        memset(turns + s->cap_turns, 0, (cap - s->cap_turns) * sizeof(*turns));
        s->turns = turns;
        s->cap_turns = cap;
    }
    a->turn = a->session ? s->turns[a->session]++ : 0;
    return 0;
}

static int read_session(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    if (s->col_session < 0) {
        return 0;
    }
    const char *name = s->csv.row.field[s->col_session];
    int rc = trace_session_id(t, name, strlen(name), &a->session, e);
    return rc == 0 ? count_turn(s, t, a, e) : rc;
}

static int read_elapsed(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    const char *text = s->col_elapsed < 0 ? "" : s->csv.row.field[s->col_elapsed];
    double v = 0;
    enum num_fault f = *text ? num_double(text, &v) : NUM_EMPTY;
    if (f != NUM_OK && f != NUM_EMPTY) {
        return trace_bad_number(t, "Elapsed time", text, f, e);
    }
    if (f == NUM_OK && v >= 0) {
        a->measured_e2e_s = v;
    }
    return 0;
}

static int read_time(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    int rc = csv_reader_time(&s->csv, t, s->col_time, 1000000000, &a->time_ns, e);
    if (rc == 0 && !s->started) {
        s->started = true;
        s->origin_ns = s->origin_file ? 0 : a->time_ns;
    }
    a->time_ns -= s->origin_ns;
    return rc;
}

static int next_row(struct burstgpt *s, struct trace *t, struct arrival *a, struct err *e)
{
    int rc = csv_reader_next(&s->csv, t, e);
    if (rc <= 0) {
        return rc;
    }
    arrival_init(a);
    rc = read_time(s, t, a, e);
    if (rc == 0) {
        rc = csv_reader_u32(&s->csv, t, s->col_prompt, &a->prompt_tok, e);
    }
    if (rc == 0) {
        rc = csv_reader_u32(&s->csv, t, s->col_output, &a->output_tok, e);
    }
    return rc < 0 ? rc : 1;
}

static int next_burstgpt(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct burstgpt *s = state;
    int rc = next_row(s, t, a, e);
    while (rc == 1 && (a->output_tok == 0 || a->prompt_tok == 0) && s->failed == FAILED_SKIP) {
        trace_leave_out(t);
        rc = next_row(s, t, a, e);
    }
    if (rc == 1 && s->failed == FAILED_ONE) {
        a->output_tok += a->output_tok == 0;
        a->prompt_tok += a->prompt_tok == 0;
    }
    if (rc == 1 && (rc = read_client(s, t, a, e)) == 0 && (rc = read_session(s, t, a, e)) == 0) {
        rc = read_elapsed(s, t, a, e);
        return rc < 0 ? rc : 1;
    }
    return rc;
}

static void close_burstgpt(void *state)
{
    struct burstgpt *s = state;
    csv_reader_close(&s->csv);
    free(s->turns);
}

const struct trace_ops trace_burstgpt = {
    .name = "burstgpt",
    .summary = "BurstGPT releases 1 to 3: Timestamp,Model,Request tokens,Response tokens,...",
    .source = "https://github.com/HPMLL/BurstGPT",
    .probe = probe,
    .state_size = sizeof(struct burstgpt),
    .options = options,
    .open = open_burstgpt,
    .next = next_burstgpt,
    .close = close_burstgpt,
};
