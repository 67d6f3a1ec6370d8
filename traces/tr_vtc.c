/* SPDX-License-Identifier: Apache-2.0
 *
 * Result files of the VTC artifact (Sheng et al., OSDI'24), one JSON line per run:
 * {"config":{..},"result":{..,"responses":[{adapter_dir, prompt_len, output_len, request_latency,
 * first_token_latency, req_time}]}}. Responses are in order of completion, so they are sorted by
 * req_time. A request over its client's rate limit has both latencies -1: it did arrive, so it is
 * kept, without measured times. */
#include <math.h>
#include <string.h>

#include "traces/reader.h"

struct vtc {
    int64_t run;
    struct jscan responses;
};

static const struct opt_row options[] = {
    {"run", OPT_INT, offsetof(struct vtc, run), 1, 1e6, "1", "1", "which line of the file", NULL},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    return head[0] == '{' && strstr(head, "\"responses\"") && strstr(head, "\"adapter_dir\"") ? 90 : 0;
}

/* Step to the value of `name` in the object that comes next. */
static bool find_key(struct jscan *j, const char *name)
{
    char key[32];
    jscan_object(j);
    while (jscan_key(j, key, sizeof(key))) {
        if (strcmp(key, name) == 0) {
            return true;
        }
        jscan_skip(j);
    }
    if (!j->fault) {
        j->fault = "no key 'result' with 'responses'";
    }
    return false;
}

static int open_vtc(void *state, struct trace *t, struct err *e)
{
    struct vtc *s = state;
    char *line = NULL;
    size_t n;
    for (int64_t i = 0; i < s->run; i++) {
        int rc = trace_line(t, &line, &n, e);
        if (rc <= 0) {
            return rc < 0 ? rc : trace_bad(t, e, "there is no run %d in this file", (int)s->run);
        }
    }
    struct jscan whole;
    jscan_init(&whole, line);
    if (!jscan_skip(&whole) || !jscan_end(&whole)) {
        return trace_bad_json(t, &whole, e);
    }
    jscan_init(&s->responses, line);
    if (!find_key(&s->responses, "result") || !find_key(&s->responses, "responses") ||
        !jscan_array(&s->responses)) {
        return trace_bad_json(t, &s->responses, e);
    }
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_MEASURED | TRACE_CLIENTS);
    trace_set_unsorted(t);
    return 0;
}

/* Negative and null: refused, not measured. */
static int read_latency(struct trace *t, struct jscan *j, const char *key, double *ret, struct err *e)
{
    bool null = jscan_peek(j) == 'n';
    double v;
    if (!jscan_double(j, &v)) {
        return trace_bad_json(t, j, e);
    }
    if (!null && !isfinite(v)) {
        return trace_bad(t, e, "key '%s': %g is not a time", key, v);
    }
    *ret = v >= 0 ? v : (double)NAN;
    return 0;
}

static int read_client(struct trace *t, struct jscan *j, struct arrival *a, struct err *e)
{
    char name[256];
    if (jscan_peek(j) != '"') { /* a null adapter */
        return jscan_skip(j) ? trace_client_id(t, "none", 4, &a->client, e) : trace_bad_json(t, j, e);
    }
    return jscan_string(j, name, sizeof(name))
               ? trace_client_id(t, name, strlen(name), &a->client, e)
               : trace_bad_json(t, j, e);
}

static int read_member(struct trace *t, struct jscan *j, const char *key, struct arrival *a,
                       struct err *e)
{
    if (strcmp(key, "adapter_dir") == 0) {
        return read_client(t, j, a, e);
    }
    if (strcmp(key, "prompt_len") == 0) {
        return trace_json_u32(t, j, key, &a->prompt_tok, e);
    }
    if (strcmp(key, "output_len") == 0) {
        return trace_json_u32(t, j, key, &a->output_tok, e);
    }
    if (strcmp(key, "request_latency") == 0) {
        return read_latency(t, j, key, &a->measured_e2e_s, e);
    }
    if (strcmp(key, "first_token_latency") == 0) {
        return read_latency(t, j, key, &a->measured_ttft_s, e);
    }
    if (strcmp(key, "req_time") == 0) {
        return trace_json_time(t, j, key, 1e9, &a->time_ns, e);
    }
    return jscan_skip(j) ? 0 : trace_bad_json(t, j, e);
}

static int next_vtc(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct jscan *j = &((struct vtc *)state)->responses;
    char key[32];
    if (!jscan_element(j)) {
        return j->fault ? trace_bad_json(t, j, e) : 0;
    }
    arrival_init(a);
    a->time_ns = -1;
    jscan_object(j);
    while (jscan_key(j, key, sizeof(key))) {
        int rc = read_member(t, j, key, a, e);
        if (rc < 0) {
            return rc;
        }
    }
    if (!j->fault && a->time_ns < 0) {
        j->fault = "a response without req_time";
    }
    return j->fault ? trace_bad_json(t, j, e) : 1;
}

const struct trace_ops trace_vtc = {
    .name = "vtc",
    .summary = "VTC artifact results: one line {config, result: {responses: [..]}} per run",
    .source = "https://github.com/Ying1123/VTC-artifact fair_bench",
    .probe = probe,
    .state_size = sizeof(struct vtc),
    .options = options,
    .open = open_vtc,
    .next = next_vtc,
};
