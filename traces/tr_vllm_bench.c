/* SPDX-License-Identifier: Apache-2.0
 *
 * Result file of `vllm bench serve --save-result --save-detailed`: one JSON object whose arrays
 * input_lens, output_lens, ttfts, itls, start_times and errors have one element per request. The
 * arrays are walked side by side, each by a scanner of its own. Requests that failed have an output
 * of 0 tokens. Times count from the first start; end-to-end time = ttft + the sum of its itls. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "traces/gaps.h"
#include "traces/reader.h"

enum part { PART_INPUT, PART_OUTPUT, PART_START, PART_TTFT, PART_ITL, PART_COUNT };
enum failed { FAILED_SKIP, FAILED_ONE };

struct vllm_bench {
    double rate;
    int64_t failed;
    struct jscan part[PART_COUNT];
    bool have[PART_COUNT];
    double origin_s;
    sim_ns clock_ns;
    struct rng_stream arrivals;
    uint64_t row;
};

static const struct opt_choice failed_choices[] = {
    {"skip", "leave it out: its output length is not known"},
    {"one", "count it as one output token"},
    {NULL, NULL},
};

static const struct opt_row options[] = {
    {"rate", OPT_DOUBLE, offsetof(struct vllm_bench, rate), 0, 1e9, "0", "1/s",
     "draw Poisson arrivals at this rate instead of start_times (0 = start_times)", NULL},
    {"failed", OPT_CHOICE, offsetof(struct vllm_bench, failed), 1, 0, "skip", "1",
     "what to do with a request that generated 0 tokens", failed_choices},
    OPT_END,
};

static int probe(const char *head, size_t n)
{
    (void)n;
    size_t blank = strspn(head, " \t\r\n");
    if (head[blank] != '{') {
        return 0;
    }
    bool bench = strstr(head, "\"request_throughput\"") || strstr(head, "\"num_prompts\"");
    return strstr(head, "\"input_lens\"") || (bench && strstr(head, "\"date\"")) ? 70 : 0;
}

/* The smallest start time; the scanner is a copy. */
static int find_origin(struct vllm_bench *s, struct trace *t, struct err *e)
{
    struct jscan j = s->part[PART_START];
    double v;
    s->origin_s = INFINITY;
    while (jscan_element(&j)) {
        if (!jscan_double(&j, &v)) {
            break;
        }
        s->origin_s = v < s->origin_s ? v : s->origin_s;
    }
    return j.fault ? trace_bad_json(t, &j, e) : 0;
}

static int find_parts(struct vllm_bench *s, struct trace *t, const char *text, struct err *e)
{
    static const char *const names[] = {"input_lens", "output_lens", "start_times", "ttfts", "itls"};
    struct jscan j;
    char key[32];
    jscan_init(&j, text);
    jscan_object(&j);
    while (jscan_key(&j, key, sizeof(key))) {
        for (int i = 0; i < PART_COUNT; i++) {
            if (strcmp(key, names[i]) == 0) {
                s->part[i] = j;
                s->have[i] = jscan_array(&s->part[i]);
            }
        }
        jscan_skip(&j);
    }
    if (!jscan_end(&j)) {
        return trace_bad_json(t, &j, e);
    }
    if (!s->have[PART_INPUT] || !s->have[PART_OUTPUT]) {
        return trace_bad(t, e, "no arrays input_lens and output_lens: the benchmark must be run with "
                         "--save-result --save-detailed");
    }
    if (!s->have[PART_START] && s->rate <= 0) {
        return trace_bad(t, e, "no start_times (written by newer versions of vLLM); give a rate: "
                         "trace.format=vllm-bench{rate=2}");
    }
    return 0;
}

static int open_vllm_bench(void *state, struct trace *t, struct err *e)
{
    struct vllm_bench *s = state;
    char *text;
    size_t n;
    int rc = trace_input_rest(trace_input_of(t), &text, &n, e);
    if (rc == 0) {
        rc = find_parts(s, t, text, e);
    }
    if (rc == 0 && s->rate <= 0) {
        rc = find_origin(s, t, e);
    }
    bool measured = s->rate <= 0 && s->have[PART_TTFT];
    trace_set_caps(t, TRACE_ARRIVALS | TRACE_OUTPUT | (measured ? TRACE_MEASURED : 0));
    trace_set_unsorted(t); /* order of submission, not of sending */
    s->arrivals = rng_stream(trace_seed(t), trace_replication(t), "arrivals");
    return rc;
}

/* A number >= 0; null is NaN, not measured. */
static int read_seconds(struct vllm_bench *s, struct trace *t, enum part k, double *ret, struct err *e)
{
    static const char *const names[] = {[PART_TTFT] = "ttfts", [PART_ITL] = "itls"};
    struct jscan *j = &s->part[k];
    bool null = jscan_peek(j) == 'n';
    if (!jscan_double(j, ret)) {
        return trace_bad_json(t, j, e);
    }
    if (!null && !(*ret >= 0 && isfinite(*ret))) {
        return trace_bad(t, e, "%s of request %llu: %g is not a time", names[k], (unsigned long long)s->row, *ret);
    }
    return 0;
}

static int sum_itls(struct vllm_bench *s, struct trace *t, double *ret, struct err *e)
{
    struct jscan *j = &s->part[PART_ITL];
    double v;
    bool ok = jscan_array(j);
    while (ok && jscan_element(j)) {
        if (read_seconds(s, t, PART_ITL, &v, e) < 0) {
            return e->code;
        }
        *ret += v;
    }
    return j->fault ? trace_bad_json(t, j, e) : 0;
}

static int read_measured(struct vllm_bench *s, struct trace *t, struct arrival *a, struct err *e)
{
    double ttft = NAN, itls = 0;
    if (s->have[PART_TTFT] && read_seconds(s, t, PART_TTFT, &ttft, e) < 0) {
        return e->code;
    }
    int rc = s->have[PART_ITL] ? sum_itls(s, t, &itls, e) : 0;
    if (rc == 0 && a->output_tok > 0 && s->rate <= 0 && ttft >= 0) {
        a->measured_ttft_s = ttft;
        a->measured_e2e_s = s->have[PART_ITL] && itls >= 0 ? ttft + itls : (double)NAN;
    }
    return rc;
}

static int read_time(struct vllm_bench *s, struct trace *t, struct arrival *a, struct err *e)
{
    double v = 0;
    if (s->have[PART_START] && !jscan_double(&s->part[PART_START], &v)) {
        return trace_bad_json(t, &s->part[PART_START], e);
    }
    double at = v - s->origin_s;
    if (s->rate > 0) {
        at = (double)s->clock_ns * 1e-9 +
             gap_inverse(rng_uniform(s->arrivals, s->row, 0), 1) / s->rate;
    }
    if (!(at >= 0 && at < 3e9)) {
        return trace_bad(t, e, "request %llu: start time %g is out of range", (unsigned long long)s->row,
                         v);
    }
    a->time_ns = s->clock_ns = (sim_ns)llround(at * 1e9);
    return 0;
}

/* Step all arrays to the next request: 1, 0 at the common end. */
static int step(struct vllm_bench *s, struct trace *t, struct err *e)
{
    int more = -1;
    for (int i = 0; i < PART_COUNT; i++) {
        if (!s->have[i]) {
            continue;
        }
        int here = jscan_element(&s->part[i]);
        if (s->part[i].fault) {
            return trace_bad_json(t, &s->part[i], e);
        }
        if (more >= 0 && here != more) {
            return trace_bad(t, e, "the arrays of requests differ in length: one ends after %llu",
                             (unsigned long long)s->row);
        }
        more = here;
    }
    return more;
}

static int next_row(struct vllm_bench *s, struct trace *t, struct arrival *a, struct err *e)
{
    int rc = step(s, t, e);
    if (rc <= 0) {
        return rc;
    }
    arrival_init(a);
    rc = trace_json_u32(t, &s->part[PART_INPUT], "input_lens", &a->prompt_tok, e);
    if (rc == 0) {
        rc = trace_json_u32(t, &s->part[PART_OUTPUT], "output_lens", &a->output_tok, e);
    }
    if (rc == 0) {
        rc = read_time(s, t, a, e);
    }
    if (rc == 0) {
        rc = read_measured(s, t, a, e);
    }
    s->row++;
    return rc < 0 ? rc : 1;
}

static int next_vllm_bench(void *state, struct trace *t, struct arrival *a, struct err *e)
{
    struct vllm_bench *s = state;
    int rc;
    do {
        rc = next_row(s, t, a, e);
    } while (rc == 1 && a->output_tok == 0 && s->failed == FAILED_SKIP);
    if (rc == 1 && a->output_tok == 0) {
        a->output_tok = 1;
    }
    return rc;
}

const struct trace_ops trace_vllm_bench = {
    .name = "vllm-bench",
    .summary = "detailed result of vllm bench serve: input_lens, output_lens, start_times, ttfts, itls",
    .source = "vllm bench serve --save-result --save-detailed",
    .probe = probe,
    .state_size = sizeof(struct vllm_bench),
    .options = options,
    .open = open_vllm_bench,
    .next = next_vllm_bench,
};
