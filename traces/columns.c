/* SPDX-License-Identifier: Apache-2.0 */
#include "traces/columns.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gaps.h"

#define PROMPT_CYCLE_TOK 16

static const struct opt_choice incomplete_choices[] = {
    {"auto", "as suits the layout: failed API calls are left out, agent turns without output count 1"},
    {"error", "end with an error that names the line"},
    {"skip", "leave the request out"},
    {"one", "count a missing or zero length as one token"},
    {NULL, NULL},
};
static const struct opt_choice tri_choices[] = {
    {"auto", "on for session files, whose times start anew in each session"},
    {"on", "read everything first, then sort by time"},
    {"off", "an arrival that goes back in time is an error"},
    {NULL, NULL},
};
static const struct opt_choice scope_choices[] = {
    {"auto", "as suits the layout"},
    {"trace", "equal ids are equal blocks everywhere"},
    {"session", "ids count within one session"},
    {NULL, NULL},
};
static const struct opt_choice unit_choices[] = {
    {"auto", "from the suffix of the column's name: _ms, _us, _ns, else seconds"},
    {"s", "seconds"},
    {"ms", "milliseconds"},
    {"us", "microseconds"},
    {"ns", "nanoseconds"},
    {NULL, NULL},
};

/* In the order of enum slo_class. */
static const struct opt_choice class_choices[] = {
    {"none", NULL},
    {"latency", "TTFT and time between tokens"},
    {"deadline", "the whole answer"},
    {"compound", "the whole program"},
    {"best-effort", "nothing in particular"},
    {NULL, NULL},
};

#define AT(field) offsetof(struct columns, field)
#define ROW_RATE                                                                                     \
    {"rate", OPT_DOUBLE, AT(rate), 0, 1e9, "0", "1/s",                                               \
     "mean arrival rate; replaces the times of the file (0 = keep them)", NULL}
#define ROW_CV                                                                                       \
    {"cv", OPT_DOUBLE, AT(cv), 0, 100, "1", "1",                                                     \
     "coefficient of variation of the gaps that `rate` draws: 1 = Poisson, 0 = even", NULL}
#define ROW_UNSORTED                                                                                 \
    {"unsorted", OPT_CHOICE, AT(unsorted), 1, 0, "auto", "1", "whether rows may go back in time",    \
     tri_choices}

const struct opt_row columns_options[] = {
    ROW_RATE,
    ROW_CV,
    ROW_UNSORTED,
    {"spread", OPT_DOUBLE, AT(spread_s), 0, 86400, "0", "s",
     "spread requests with equal times evenly over this long (Mooncake's clock ticks are 3 s)", NULL},
    {"incomplete", OPT_CHOICE, AT(incomplete), 1, 0, "auto", "1",
     "what to do with a row whose prompt or output length is missing or 0", incomplete_choices},
    {"output", OPT_INT, AT(default_output), 0, 1 << 30, "0", "tok",
     "output length of rows that have none (0 = they count as incomplete)", NULL},
    {"hash_block", OPT_INT, AT(block_tok), 0, 1 << 20, "0", "tok",
     "tokens that one prefix id stands for (0 = from the layout or the column hash_tokens)", NULL},
    {"hash_scope", OPT_CHOICE, AT(scope), 1, 0, "auto", "1", "where equal prefix ids mean equal blocks",
     scope_choices},
    {"prompt_cycle", OPT_INT, AT(prompt_cycle), -1, 1 << 20, "-1", "1",
     "prompts repeat exactly after this many requests (0 = never, -1 = from the layout)", NULL},
    {"session_rate", OPT_DOUBLE, AT(session_rate), 0, 1e6, "0", "1/s",
     "start sessions at random at this rate (0 = at the times of the file)", NULL},
    {"programs", OPT_BOOL, AT(programs), 1, 0, "off", "1",
     "a session with its sub-agents is one program, of class compound: who waits for whom follows from when "
     "calls began and ended", NULL},
    {"slo_class", OPT_CHOICE, AT(slo_class), 1, 0, "none", "1", "class of requests that have none",
     class_choices},
    {"time", OPT_STRING, AT(time_name), 1, 0, NULL, "1", "name of the column with arrival times", NULL},
    {"time_unit", OPT_CHOICE, AT(time_unit), 1, 0, "auto", "1", "unit of that column", unit_choices},
    {"prompt", OPT_STRING, AT(prompt_name), 1, 0, NULL, "1", "name of the column with prompt lengths",
     NULL},
    {"output_column", OPT_STRING, AT(output_name), 1, 0, NULL, "1",
     "name of the column with output lengths", NULL},
    {"client", OPT_STRING, AT(client_name), 1, 0, NULL, "1", "name of the column with client names",
     NULL},
    {"session", OPT_STRING, AT(session_name), 1, 0, NULL, "1", "name of the column with session names",
     NULL},
    OPT_END,
};

const struct opt_row native_options[] = {ROW_RATE, ROW_CV, ROW_UNSORTED, OPT_END};

/* ---- opening ---- */

static void layout_defaults(struct columns *c)
{
    static const int64_t block[] = {
        [LAYOUT_CLAUDE_CODE] = 64,
        [LAYOUT_MOONCAKE] = 512,
        [LAYOUT_LLMSERVINGSIM] = 16,
    };
    static const enum incomplete incomplete[] = {
        [LAYOUT_PLAIN] = INCOMPLETE_ERROR,     [LAYOUT_CLAUDE_CODE] = INCOMPLETE_ONE,
        [LAYOUT_SPANS] = INCOMPLETE_SKIP,      [LAYOUT_MOONCAKE] = INCOMPLETE_ERROR,
        [LAYOUT_INFERENCE_SIM] = INCOMPLETE_ERROR, [LAYOUT_LLMSERVINGSIM] = INCOMPLETE_ERROR,
    };
    bool claude = c->layout == LAYOUT_CLAUDE_CODE;
    if (c->block_tok == 0 && c->layout <= LAYOUT_LLMSERVINGSIM &&
        (c->layout == LAYOUT_CLAUDE_CODE || c->layout == LAYOUT_MOONCAKE ||
         c->layout == LAYOUT_LLMSERVINGSIM)) {
        c->block_tok = block[c->layout];
    }
    if (c->incomplete == INCOMPLETE_AUTO) {
        c->incomplete = incomplete[c->layout];
    }
    if (c->scope == SCOPE_AUTO) {
        c->scope = claude ? SCOPE_SESSION : SCOPE_TRACE;
    }
    if (c->prompt_cycle < 0) {
        c->prompt_cycle = c->layout == LAYOUT_INFERENCE_SIM ? 100 : 0;
    }
}

static int check_times(struct columns *c, struct trace *t, struct err *e)
{
    if (c->col[COL_TIME] < 0 && c->rate <= 0) {
        return trace_bad(t, e, "no column with arrival times: lengths only. Give a rate to draw Poisson "
                         "arrivals: trace.format=%s{rate=2}", trace_format_name(t));
    }
    if (c->session_rate > 0 && (c->col[COL_SESSION] < 0 || c->rate > 0)) {
        return err_set(e, SIM_E_CONFIG, "%s: session_rate needs a session column and no rate",
                       trace_path(t));
    }
    return 0;
}

static int check_programs(struct columns *c, struct trace *t, struct err *e)
{
    if (!c->programs) {
        return 0;
    }
    if (c->col[COL_SESSION] < 0 || c->col[COL_TOOK] < 0 || c->col[COL_AFTER] >= 0 || c->rate > 0 ||
        c->unsorted == TRI_OFF) {
        return trace_bad(t, e, "programs=on needs a column of sessions and one of how long calls took (dur_s, "
                         "api_s, llm_wall_s), and neither rate, unsorted=off nor a column 'after'");
    }
    c->slo_class = c->slo_class == SLO_NONE ? SLO_COMPOUND : c->slo_class;
    return 0;
}

static int check_hashes(struct columns *c, struct trace *t, struct err *e)
{
    if (c->col[COL_HASH] >= 0 && c->block_tok == 0 && c->col[COL_HASH_TOK] < 0) {
        return trace_bad(t, e, "prefix ids, but not how many tokens one stands for: add a column "
                         "hash_tokens%s", c->native ? "" : " or give columns{hash_block=N}");
    }
    if (c->scope == SCOPE_SESSION && c->col[COL_SESSION] < 0) {
        return trace_bad(t, e, "hash_scope=session needs a session column");
    }
    return 0;
}

static unsigned find_caps(const struct columns *c)
{
    bool hashes = c->col[COL_HASH] >= 0 || c->side.n > 0 || c->prompt_cycle > 0;
    unsigned caps = TRACE_ARRIVALS;
    caps |= c->col[COL_OUTPUT] >= 0 || c->requested_output ? TRACE_OUTPUT : 0;
    caps |= hashes ? TRACE_HASHES : 0;
    caps |= c->col[COL_TTFT] >= 0 || c->col[COL_E2E] >= 0 ? TRACE_MEASURED : 0;
    caps |= c->col[COL_CLIENT] >= 0 ? TRACE_CLIENTS : 0;
    caps |= c->col[COL_AFTER] >= 0 || c->programs ? TRACE_CALLS : 0;
    return caps;
}

static void set_order(struct columns *c, struct trace *t)
{
    bool sessions = !c->native && c->col[COL_SESSION] >= 0;
    if (c->unsorted == TRI_ON || (c->unsorted == TRI_AUTO && (sessions || c->session_rate > 0))) {
        trace_set_unsorted(t);
    }
    trace_set_spread(t, (sim_ns)llround(c->spread_s * 1e9));
}

static int open_any(struct columns *c, struct trace *t, struct err *e)
{
    int rc = csv_reader_open(&c->csv, t, e);
    if (rc == 0) {
        rc = columns_map(c, t, e);
    }
    if (rc < 0) {
        return rc;
    }
    layout_defaults(c);
    rc = check_times(c, t, e);
    if (rc == 0) {
        rc = check_hashes(c, t, e);
    }
    if (rc == 0) {
        rc = check_programs(c, t, e);
    }
    if (rc == 0) {
        rc = columns_side(c, t, e);
    }
    c->arrivals = rng_stream(trace_seed(t), trace_replication(t), "arrivals");
    c->starts = rng_stream(trace_seed(t), trace_replication(t), "sessions");
    trace_set_caps(t, find_caps(c));
    set_order(c, t);
    return rc;
}

int columns_open(void *state, struct trace *t, struct err *e)
{
    return open_any(state, t, e);
}

int native_open(void *state, struct trace *t, struct err *e)
{
    struct columns *c = state;
    c->native = true;
    c->incomplete = INCOMPLETE_ERROR;
    c->scope = SCOPE_TRACE;
    return open_any(c, t, e);
}

/* ---- one row ---- */

static const char *text_of(const struct columns *c, enum column k)
{
    return c->col[k] < 0 ? "" : c->csv.row.field[c->col[k]];
}

static bool given(const struct columns *c, enum column k)
{
    return text_of(c, k)[0] != '\0';
}

static int read_u32(struct columns *c, struct trace *t, enum column k, uint32_t *ret, struct err *e)
{
    return given(c, k) ? csv_reader_u32(&c->csv, t, c->col[k], ret, e) : 0;
}

static int bad_field(struct columns *c, struct trace *t, enum column k, enum num_fault f, struct err *e)
{
    return trace_bad_number(t, c->csv.head.field[c->col[k]], text_of(c, k), f, e);
}

static int advance(struct columns *c, struct trace *t, sim_ns *clock, double gap_s, struct err *e)
{
    double next = (double)*clock + gap_s * 1e9;
    if (!(next < 3e18)) {
        return trace_bad(t, e, "the drawn arrivals run beyond 100 years: the rate %g/s is too small",
                         c->rate > 0 ? c->rate : c->session_rate);
    }
    *clock += (sim_ns)llround(gap_s * 1e9);
    return 0;
}

static int read_time(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    if (c->rate > 0) {
        int rc = advance(c, t, &c->clock_ns, gap_inverse(rng_uniform(c->arrivals, c->row, 0), c->cv) / c->rate, e);
        a->time_ns = c->clock_ns;
        return rc;
    }
    enum num_fault f = num_time(text_of(c, COL_TIME), c->unit_ns[COL_TIME], &a->time_ns);
    if (f == NUM_OK && a->time_ns < 0) {
        f = NUM_NEGATIVE;
    }
    return f == NUM_OK ? 0 : bad_field(c, t, COL_TIME, f, e);
}

/* Negative numbers and empty fields stand for requests that were refused or failed: not measured. What is
 * not finite is no time at all. */
static int read_measured(struct columns *c, struct trace *t, enum column k, double *ret, struct err *e)
{
    double v;
    if (!given(c, k)) {
        return 0;
    }
    enum num_fault f = num_double(text_of(c, k), &v);
    if (f != NUM_OK) {
        return bad_field(c, t, k, f, e);
    }
    if (v >= 0) {
        *ret = v * ((double)c->unit_ns[k] * 1e-9);
    }
    return 0;
}

static int read_slo(struct columns *c, struct trace *t, enum column k, float *ret, struct err *e)
{
    double v;
    if (!given(c, k)) {
        return 0;
    }
    enum num_fault f = num_double(text_of(c, k), &v);
    if (f == NUM_OK && v < 0) {
        f = NUM_NEGATIVE;
    }
    if (f == NUM_OK && v > 1e12) {
        f = NUM_RANGE;
    }
    *ret = (float)v;
    return f == NUM_OK ? 0 : bad_field(c, t, k, f, e);
}

static int read_slo_class(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    const char *text = text_of(c, COL_SLO_CLASS);
    if (*text == '\0') {
        a->slo_class = (uint8_t)c->slo_class;
        return 0;
    }
    int class = slo_class_find(text, strlen(text));
    if (class < 0) {
        const char *near = text_nearest(text, slo_class_names, SLO_CLASSES);
        return trace_bad(t, e, "column 'slo_class': '%.40s' is no class of goals%s%s%s", text,
                         near ? "; did you mean '" : " (none, latency, deadline, compound, best-effort)",
                         near ? near : "", near ? "'?" : "");
    }
    a->slo_class = (uint8_t)class;
    return 0;
}

static int read_priority(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    int64_t v;
    if (!given(c, COL_PRIORITY)) {
        return 0;
    }
    if (!text_to_int64(text_of(c, COL_PRIORITY), &v)) {
        return bad_field(c, t, COL_PRIORITY, NUM_TEXT, e);
    }
    if (v < INT32_MIN || v > INT32_MAX) {
        return bad_field(c, t, COL_PRIORITY, NUM_RANGE, e);
    }
    a->priority = (int32_t)v;
    return 0;
}

/* Negative gaps are calls that overlap: no pause. */
static int read_gap(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    if (!given(c, COL_GAP)) {
        return 0;
    }
    enum num_fault f = num_time(text_of(c, COL_GAP), c->unit_ns[COL_GAP], &a->gap_ns);
    if (f == NUM_OK && a->gap_ns < 0 && c->native) {
        f = NUM_NEGATIVE;
    }
    if (a->gap_ns < 0) {
        a->gap_ns = 0;
    }
    return f == NUM_OK ? 0 : bad_field(c, t, COL_GAP, f, e);
}

static int read_client(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    if (c->col[COL_CLIENT] < 0) {
        return 0;
    }
    const char *name = text_of(c, COL_CLIENT);
    return trace_client_id(t, name, strlen(name), &a->client, e);
}

/* Native files number their sessions; elsewhere a session is any text and sub-agents of a session are
 * conversations of their own. *ret_scope is the number of the session as a whole. */
static int read_session(struct columns *c, struct trace *t, struct arrival *a, uint64_t *ret_scope,
                        struct err *e)
{
    char name[256];
    const char *text = text_of(c, COL_SESSION);
    *ret_scope = 0;
    if (c->native) {
        enum num_fault f = *text ? num_uint(text, UINT64_MAX, &a->session) : NUM_OK;
        return f == NUM_OK ? 0 : bad_field(c, t, COL_SESSION, f, e);
    }
    int rc = trace_session_id(t, text, strlen(text), ret_scope, e);
    a->session = *ret_scope;
    uint64_t conversation = *ret_scope;
    if (rc == 0 && *text && given(c, COL_SUB) && strcmp(text_of(c, COL_SUB), "0") != 0) {
        int n = snprintf(name, sizeof(name), "%.100s/%.100s", text, text_of(c, COL_SUB));
        rc = trace_session_id(t, name, (size_t)n, &conversation, e);
    }
    if (c->programs) {
        a->call = (uint32_t)conversation;
        return rc == 0 ? read_measured(c, t, COL_TOOK, &a->measured_e2e_s, e) : rc;
    }
    a->session = conversation;
    return rc;
}

static int shift_session(struct columns *c, struct trace *t, uint64_t scope, struct arrival *a,
                         struct err *e)
{
    if (c->session_rate <= 0 || scope == 0) {
        return 0;
    }
    while (c->n_start <= scope) {
        if (c->n_start == c->cap_start) {
            size_t cap = c->cap_start ? c->cap_start * 2 : 256;
            sim_ns *start = realloc(c->start_ns, cap * sizeof(*start));
            if (!start) {
                return err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
            }
            c->start_ns = start;
            c->cap_start = cap;
        }
        double gap = gap_inverse(rng_uniform(c->starts, c->n_start, 0), 1);
        int rc = advance(c, t, &c->clock_ns, gap / c->session_rate, e);
        if (rc < 0) {
            return rc;
        }
        c->start_ns[c->n_start++] = c->clock_ns;
    }
    a->time_ns += c->start_ns[scope];
    return 0;
}

static void clip_ids(struct arrival *a, const uint64_t *id, uint32_t n, uint32_t tok)
{
    a->hash = id;
    a->n_hash = n;
    a->hash_tok = tok;
}

/* Ids of one session are moved into a range of their own: runs stay runs. */
static int scope_ids(struct columns *c, struct trace *t, uint64_t scope, struct err *e)
{
    for (uint32_t i = 0; c->scope == SCOPE_SESSION && i < c->ids.n; i++) {
        if (c->ids.id[i] >> 40 || scope >> 24) {
            return trace_bad(t, e, "column 'hash_ids': an id or session beyond the range of "
                             "session-local ids");
        }
        c->ids.id[i] |= scope << 40;
    }
    return 0;
}

static int read_ids(struct columns *c, struct trace *t, uint64_t scope, struct arrival *a,
                    struct err *e)
{
    const char *why;
    uint32_t tok = (uint32_t)c->block_tok;
    int rc = read_u32(c, t, COL_HASH_TOK, &tok, e);
    c->ids.n = 0;
    if (rc < 0) {
        return rc;
    }
    if (!id_list_parse(&c->ids, text_of(c, COL_HASH), &why)) {
        return trace_bad(t, e, "column 'hash_ids': %s", why);
    }
    if (c->ids.n > 0 && tok == 0) {
        return trace_bad(t, e, "column 'hash_tokens': 0 tokens per prefix id");
    }
    if (c->ids.n > 0 && (uint64_t)(c->ids.n - 1) * tok >= a->prompt_tok) {
        return trace_bad(t, e, "%u prefix ids of %u tokens for a prompt of %u tokens", c->ids.n, tok,
                         a->prompt_tok);
    }
    clip_ids(a, c->ids.id, c->ids.n, tok);
    return scope_ids(c, t, scope, e);
}

static int side_ids(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    uint32_t i = 0;
    int rc = read_u32(c, t, COL_INDEX, &i, e);
    if (rc < 0 || i >= c->side.n) {
        return rc;
    }
    const struct side_row *r = &c->side.row[i];
    clip_ids(a, c->side.all.id + r->first, r->n, (uint32_t)c->block_tok);
    return 0;
}

/* Prompts that repeat exactly: a request's prompt is that of its place in the cycle, which also gives
 * the length of a request whose own was lost because it failed. */
static int cycle_ids(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    uint64_t k = (c->row - 1) % (uint64_t)c->prompt_cycle;
    if (a->prompt_tok == 0) {
        a->prompt_tok = c->cycle_prompt[k];
    }
    c->cycle_prompt[k] = a->prompt_tok;
    c->ids.n = 0;
    uint32_t n = a->prompt_tok / PROMPT_CYCLE_TOK;
    const char *why = "";
    if (n > 0 && !id_list_add(&c->ids, (k + 1) << 32, ((k + 1) << 32) + n - 1, &why)) {
        return trace_bad(t, e, "%s", why);
    }
    clip_ids(a, c->ids.id, n, PROMPT_CYCLE_TOK);
    return 0;
}

static int read_lengths(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    uint32_t chars = 0;
    int rc = read_u32(c, t, COL_PROMPT, &a->prompt_tok, e);
    if (rc == 0) {
        rc = read_u32(c, t, COL_OUTPUT, &a->output_tok, e);
    }
    if (rc == 0) {
        rc = read_u32(c, t, COL_MAX_OUTPUT, &a->max_output_tok, e);
    }
    if (rc == 0 && a->output_tok == 0) {
        rc = read_u32(c, t, COL_CHARS, &chars, e);
    }
    if (chars > 0) { /* about four characters a token in English text */
        a->output_tok = chars < 4 ? 1 : chars / 4;
    }
    if (chars > 0 && a->max_output_tok && a->output_tok > a->max_output_tok) {
        a->output_tok = a->max_output_tok;
    }
    if (c->requested_output) {
        a->output_tok = c->requested_output;
    }
    if (a->output_tok == 0) {
        a->output_tok = (uint32_t)c->default_output;
    }
    return rc;
}

static int read_limits(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    int rc = read_priority(c, t, a, e);
    if (rc == 0) {
        rc = read_slo(c, t, COL_TTFT_SLO, &a->ttft_slo_ms, e);
    }
    if (rc == 0) {
        rc = read_slo(c, t, COL_TPOT_SLO, &a->tpot_slo_ms, e);
    }
    if (rc == 0) {
        rc = read_slo(c, t, COL_E2E_SLO, &a->e2e_slo_ms, e);
    }
    if (rc == 0) {
        rc = read_slo_class(c, t, a, e);
    }
    if (rc == 0) {
        rc = read_measured(c, t, COL_TTFT, &a->measured_ttft_s, e);
    }
    return rc == 0 ? read_measured(c, t, COL_E2E, &a->measured_e2e_s, e) : rc;
}

/* Whose answers it waits for, by their numbers in the session. */
static int read_after(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    const char *why;
    int rc = read_u32(c, t, COL_CALL, &a->call, e);
    c->after.n = 0;
    if (rc < 0 || !given(c, COL_AFTER)) {
        return rc;
    }
    if (!id_list_parse(&c->after, text_of(c, COL_AFTER), &why)) {
        return trace_bad(t, e, "column 'after': %s", why);
    }
    for (uint32_t i = 0; i < c->after.n; i++) {
        if (c->after.id[i] == 0 || c->after.id[i] > UINT32_MAX || c->after.id[i] == a->call) {
            return trace_bad(t, e, "column 'after': call %llu cannot be waited for here (calls have numbers "
                             "from 1, and none waits for itself)", (unsigned long long)c->after.id[i]);
        }
    }
    if (c->after.n > 0 && a->session == 0) {
        return trace_bad(t, e, "column 'after': the request belongs to no session");
    }
    a->after = c->after.id;
    a->n_after = c->after.n;
    return 0;
}

static int read_place(struct columns *c, struct trace *t, struct arrival *a, uint64_t *ret_scope,
                      struct err *e)
{
    int rc = read_client(c, t, a, e);
    if (rc == 0) {
        rc = read_session(c, t, a, ret_scope, e);
    }
    if (rc == 0) {
        rc = read_u32(c, t, COL_TURN, &a->turn, e);
    }
    if (rc == 0) {
        rc = read_gap(c, t, a, e);
    }
    if (rc == 0) {
        rc = read_after(c, t, a, e);
    }
    return rc == 0 ? shift_session(c, t, *ret_scope, a, e) : rc;
}

static int read_prefix(struct columns *c, struct trace *t, uint64_t scope, struct arrival *a,
                       struct err *e)
{
    if (c->prompt_cycle > 0) {
        return cycle_ids(c, t, a, e);
    }
    if (c->side.n > 0) {
        return side_ids(c, t, a, e);
    }
    return c->col[COL_HASH] >= 0 ? read_ids(c, t, scope, a, e) : 0;
}

/* 1 = use the row, 0 = leave it out, < 0 = error. */
static int complete(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    if (a->prompt_tok > 0 && a->output_tok > 0) {
        return 1;
    }
    if (c->incomplete == INCOMPLETE_SKIP) {
        trace_leave_out(t);
        return 0;
    }
    if (c->incomplete == INCOMPLETE_ONE) {
        a->prompt_tok += a->prompt_tok == 0;
        a->output_tok += a->output_tok == 0;
        return 1;
    }
    bool no_prompt = a->prompt_tok == 0;
    return trace_bad(t, e, "a request with 0 or unknown %s tokens%s%s", no_prompt ? "prompt" : "output",
                     c->native ? "" : "; choose with columns{incomplete=skip} or {incomplete=one}",
                     c->native || no_prompt ? "" : ", or give a length with {output=N}");
}

static int read_row(struct columns *c, struct trace *t, struct arrival *a, struct err *e)
{
    uint64_t scope;
    arrival_init(a);
    int rc = read_time(c, t, a, e);
    if (rc == 0) {
        rc = read_lengths(c, t, a, e);
    }
    if (rc == 0) {
        rc = read_limits(c, t, a, e);
    }
    if (rc == 0) {
        rc = read_place(c, t, a, &scope, e);
    }
    if (rc == 0) {
        rc = read_prefix(c, t, scope, a, e);
    }
    return rc == 0 ? complete(c, t, a, e) : rc;
}

int columns_next(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct columns *c = state;
    int rc;
    do {
        rc = csv_reader_next(&c->csv, t, e);
        if (rc <= 0) {
            return rc;
        }
        c->row++;
        rc = read_row(c, t, a, e);
    } while (rc == 0);
    return rc;
}

void columns_close(void *state)
{
    struct columns *c = state;
    csv_reader_close(&c->csv);
    id_list_release(&c->ids);
    id_list_release(&c->after);
    id_list_release(&c->side.all);
    free(c->side.row);
    free(c->start_ns);
}
