/* SPDX-License-Identifier: Apache-2.0
 *
 * LLMServingSim's JSON lines (Cho et al., IISWC'24). A request: input_toks, output_toks,
 * arrival_time_ns and optionally input_tok_ids. A session: session_id, arrival_time_ns and
 * sub_requests, each with its tokens and tool_duration_ns, the pause behind it; the k-th of them is
 * given the earliest time it could come: the session's arrival and the pauses before it.
 * Prefix identity comes from the token ids: the id of a block is the hash of all tokens up to its
 * end. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "traces/reader.h"

struct llmservingsim {
    int64_t block_tok;
    char *sub; /* next sub-request of the line, NULL when the line is done */
    struct jscan scan;
    struct arrival session; /* what its requests share */
    struct id_list ids;
    uint32_t *token; /* of a block */
    uint32_t n_token;
    uint64_t chain;
};

static const struct opt_row options[] = {
    {"hash_block", OPT_INT, offsetof(struct llmservingsim, block_tok), 1, 4096, "16", "tok",
     "tokens of a prefix block (vLLM: 16)", NULL},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    bool tokens = strstr(head, "\"input_toks\"") && strstr(head, "\"output_toks\"");
    return head[0] == '{' && strstr(head, "\"arrival_time_ns\"") && tokens ? 85
           : head[0] == '{' && tokens                                      ? 60
                                                                           : 0;
}

static int open_llmservingsim(void *state, struct trace *t, struct err *e)
{
    struct llmservingsim *s = state;
    s->token = arena_calloc(trace_arena(t), (size_t)s->block_tok, sizeof(*s->token));
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_HASHES);
    trace_set_unsorted(t); /* turns of sessions run side by side */
    return s->token ? 0 : err_set(e, SIM_E_NOMEM, "%s: out of memory", trace_path(t));
}

static bool add_token(struct llmservingsim *s, uint64_t id, const char **why)
{
    s->token[s->n_token++] = (uint32_t)id;
    if (s->n_token < (uint32_t)s->block_tok) {
        return true;
    }
    s->chain = XXH3_64bits_withSeed(s->token, s->n_token * sizeof(*s->token), s->chain);
    s->n_token = 0;
    return id_list_add(&s->ids, s->chain, s->chain, why);
}

static int read_tokens(struct llmservingsim *s, struct trace *t, struct jscan *j, struct err *e)
{
    uint64_t id;
    const char *why;
    s->ids.n = 0;
    s->n_token = 0;
    s->chain = 0;
    bool ok = jscan_array(j);
    while (ok && jscan_element(j)) {
        ok = jscan_u64(j, &id);
        if (ok && !add_token(s, id, &why)) {
            return trace_bad(t, e, "key 'input_tok_ids': %s", why);
        }
    }
    return j->fault ? trace_bad_json(t, j, e) : 0;
}

/* Members of a request, of a session and of a sub-request. */
static int read_member(struct llmservingsim *s, struct trace *t, struct jscan *j, const char *key,
                       struct arrival *a, sim_ns *ret_pause, struct err *e)
{
    char name[128];
    if (strcmp(key, "input_toks") == 0) {
        return trace_json_u32(t, j, key, &a->prompt_tok, e);
    }
    if (strcmp(key, "output_toks") == 0) {
        return trace_json_u32(t, j, key, &a->output_tok, e);
    }
    if (strcmp(key, "arrival_time_ns") == 0) {
        return trace_json_time(t, j, key, 1, &a->time_ns, e);
    }
    if (strcmp(key, "tool_duration_ns") == 0) {
        return trace_json_time(t, j, key, 1, ret_pause, e);
    }
    if (strcmp(key, "input_tok_ids") == 0) {
        return read_tokens(s, t, j, e);
    }
    if (strcmp(key, "session_id") == 0 && jscan_peek(j) == '"') {
        return jscan_string(j, name, sizeof(name))
                   ? trace_session_id(t, name, strlen(name), &a->session, e)
                   : trace_bad_json(t, j, e);
    }
    if (strcmp(key, "session_id") == 0) {
        if (!jscan_u64(j, &a->session)) {
            return trace_bad_json(t, j, e);
        }
        a->session++;
        return 0;
    }
    return jscan_skip(j) ? 0 : trace_bad_json(t, j, e);
}

static int finish(struct llmservingsim *s, struct trace *t, struct arrival *a, struct err *e)
{
    if (a->prompt_tok == 0 || a->output_tok == 0 || a->time_ns < 0) {
        return trace_bad(t, e, "key '%s' is missing or 0", a->prompt_tok == 0   ? "input_toks"
                                                           : a->output_tok == 0 ? "output_toks"
                                                                                : "arrival_time_ns");
    }
    if ((uint64_t)s->ids.n * (uint64_t)s->block_tok > a->prompt_tok) {
        return trace_bad(t, e, "more input_tok_ids than input_toks (%u)", a->prompt_tok);
    }
    a->hash = s->ids.id;
    a->n_hash = s->ids.n;
    a->hash_tok = (uint32_t)s->block_tok;
    return 1;
}

/* The next object of the array sub_requests: 1, or 0 when the array is at its end. */
static int next_sub(struct llmservingsim *s, struct trace *t, struct arrival *a, struct err *e)
{
    char key[32];
    sim_ns pause = 0;
    if (!jscan_element(&s->scan)) {
        s->sub = NULL;
        return s->scan.fault ? trace_bad_json(t, &s->scan, e) : 0;
    }
    *a = s->session;
    s->ids.n = 0;
    jscan_object(&s->scan);
    while (jscan_key(&s->scan, key, sizeof(key))) {
        int rc = read_member(s, t, &s->scan, key, a, &pause, e);
        if (rc < 0) {
            return rc;
        }
    }
    if (s->scan.fault) {
        return trace_bad_json(t, &s->scan, e);
    }
    if (pause > INT64_MAX / 4 || s->session.time_ns > INT64_MAX / 4) {
        return trace_bad(t, e, "key 'tool_duration_ns' is too large");
    }
    s->session.turn++;
    s->session.gap_ns = pause;
    s->session.time_ns += pause;
    return finish(s, t, a, e);
}

static int next_line(struct llmservingsim *s, struct trace *t, struct arrival *a, struct err *e)
{
    char *line, key[32];
    size_t n;
    sim_ns pause;
    int rc = trace_line(t, &line, &n, e);
    if (rc <= 0) {
        return rc;
    }
    struct jscan j, sub = {0};
    arrival_init(a);
    a->time_ns = -1;
    s->ids.n = 0;
    jscan_init(&j, line);
    jscan_object(&j);
    while (jscan_key(&j, key, sizeof(key))) {
        if (strcmp(key, "sub_requests") == 0) {
            sub = j; /* come back when the whole line is known */
        }
        rc = read_member(s, t, &j, key, a, &pause, e);
        if (rc < 0) {
            return rc;
        }
    }
    if (!jscan_end(&j)) {
        return trace_bad_json(t, &j, e);
    }
    if (!sub.begin) {
        return finish(s, t, a, e);
    }
    if (a->time_ns < 0) {
        return trace_bad(t, e, "key 'arrival_time_ns' is missing");
    }
    s->scan = sub;
    s->session = *a;
    s->sub = line;
    return jscan_array(&s->scan) ? 2 : trace_bad_json(t, &s->scan, e);
}

static int next_llmservingsim(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct llmservingsim *s = state;
    int rc;
    do {
        rc = s->sub ? next_sub(s, t, a, e) : 0;
        if (rc == 0 && !s->sub) {
            rc = next_line(s, t, a, e);
        }
    } while (rc == 2);
    return rc;
}

static void close_llmservingsim(void *state)
{
    id_list_release(&((struct llmservingsim *)state)->ids);
}

const struct trace_ops trace_llmservingsim = {
    .name = "llmservingsim",
    .summary = "LLMServingSim JSON lines: input_toks, output_toks, arrival_time_ns, sessions",
    .source = "https://github.com/casys-kaist/LLMServingSim workloads",
    .probe = probe,
    .state_size = sizeof(struct llmservingsim),
    .options = options,
    .open = open_llmservingsim,
    .next = next_llmservingsim,
    .close = close_llmservingsim,
};
