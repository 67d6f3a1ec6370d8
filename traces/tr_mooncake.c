/* SPDX-License-Identifier: Apache-2.0
 *
 * Mooncake's open traces (Qin et al., FAST'25), one JSON object a line: timestamp (ms), input_length,
 * output_length, hash_ids of the prompt's 512-token blocks. The conversation and tool&agent traces
 * have a clock of 3 s ticks; `spread` undoes the bursts that this makes. The same lines with
 * timestamps in seconds and 16-token blocks are used by the Qwen-Bailian traces (chat_id,
 * parent_chat_id, turn). */
#include <math.h>
#include <string.h>

#include "traces/reader.h"

struct mooncake {
    double spread_s;
    int64_t block_tok, unit;
    struct id_list ids;
};

static const struct opt_choice unit_choices[] = {{"ms", "milliseconds"}, {"s", "seconds"}, {NULL, NULL}};

static const struct opt_row options[] = {
    {"spread", OPT_DOUBLE, offsetof(struct mooncake, spread_s), 0, 86400, "0", "s",
     "spread requests with equal times evenly over this long (3s for the traces with 3 s ticks)", NULL},
    {"hash_block", OPT_INT, offsetof(struct mooncake, block_tok), 1, 1 << 20, "512", "tok",
     "tokens of a block (Mooncake: 512)", NULL},
    {"time_unit", OPT_CHOICE, offsetof(struct mooncake, unit), 1, 0, "ms", "1", "unit of timestamp",
     unit_choices},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    size_t line = strcspn(head, "\r\n");
    const char *in = strstr(head, "\"input_length\"");
    const char *time = strstr(head, "\"timestamp\"");
    return head[0] == '{' && in && time && in < head + line && time < head + line ? 90 : 0;
}

static int open_mooncake(void *state, struct trace *t, struct err *e)
{
    struct mooncake *s = state;
    (void)e;
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | TRACE_HASHES);
    trace_set_spread(t, (sim_ns)llround(s->spread_s * 1e9));
    return 0;
}

static int read_ids(struct mooncake *s, struct trace *t, struct jscan *j, struct err *e)
{
    uint64_t id;
    const char *why;
    s->ids.n = 0;
    bool ok = jscan_array(j);
    while (ok && jscan_element(j)) {
        ok = jscan_u64(j, &id);
        if (ok && !id_list_add(&s->ids, id, id, &why)) {
            return trace_bad(t, e, "key 'hash_ids': %s", why);
        }
    }
    return j->fault ? trace_bad_json(t, j, e) : 0;
}

static int read_member(struct mooncake *s, struct trace *t, struct jscan *j, const char *key,
                       struct arrival *a, struct err *e)
{
    uint64_t chat;
    if (strcmp(key, "timestamp") == 0) {
        return trace_json_time(t, j, key, s->unit == 0 ? 1e6 : 1e9, &a->time_ns, e);
    }
    if (strcmp(key, "input_length") == 0) {
        return trace_json_u32(t, j, key, &a->prompt_tok, e);
    }
    if (strcmp(key, "output_length") == 0) {
        return trace_json_u32(t, j, key, &a->output_tok, e);
    }
    if (strcmp(key, "hash_ids") == 0) {
        return read_ids(s, t, j, e);
    }
    if (strcmp(key, "chat_id") == 0 && jscan_peek(j) != '"') {
        if (!jscan_u64(j, &chat)) {
            return trace_bad_json(t, j, e);
        }
        a->session = chat + 1;
        return 0;
    }
    return jscan_skip(j) ? 0 : trace_bad_json(t, j, e);
}

static int finish(struct mooncake *s, struct trace *t, struct arrival *a, struct err *e)
{
    if (a->time_ns < 0 || a->prompt_tok == 0 || a->output_tok == 0) {
        return trace_bad(t, e, "key '%s' is missing or 0", a->time_ns < 0       ? "timestamp"
                                                           : a->prompt_tok == 0 ? "input_length"
                                                                                : "output_length");
    }
    if (s->ids.n > 0 && (uint64_t)(s->ids.n - 1) * (uint64_t)s->block_tok >= a->prompt_tok) {
        return trace_bad(t, e, "%u hash_ids of %d tokens for a prompt of %u tokens", s->ids.n,
                         (int)s->block_tok, a->prompt_tok);
    }
    a->hash = s->ids.id;
    a->n_hash = s->ids.n;
    a->hash_tok = (uint32_t)s->block_tok;
    return 1;
}

static int next_mooncake(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct mooncake *s = state;
    struct jscan j;
    char *line, key[32];
    size_t n;
    int rc = trace_line(t, &line, &n, e);
    if (rc <= 0) {
        return rc;
    }
    arrival_init(a);
    a->time_ns = -1;
    s->ids.n = 0;
    jscan_init(&j, line);
    jscan_object(&j);
    while (jscan_key(&j, key, sizeof(key))) {
        rc = read_member(s, t, &j, key, a, e);
        if (rc < 0) {
            return rc;
        }
    }
    return jscan_end(&j) ? finish(s, t, a, e) : trace_bad_json(t, &j, e);
}

static void close_mooncake(void *state)
{
    id_list_release(&((struct mooncake *)state)->ids);
}

const struct trace_ops trace_mooncake = {
    .name = "mooncake",
    .summary = "Mooncake JSON lines: timestamp, input_length, output_length, hash_ids",
    .source = "https://github.com/kvcache-ai/Mooncake FAST25-release/traces",
    .probe = probe,
    .state_size = sizeof(struct mooncake),
    .options = options,
    .open = open_mooncake,
    .next = next_mooncake,
    .close = close_mooncake,
};
