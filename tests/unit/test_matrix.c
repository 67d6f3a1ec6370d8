/* SPDX-License-Identifier: Apache-2.0
 *
 * Every policy on every batcher, on small hostile traces: all requests are accounted for, walking each
 * step prints the same as jumping, and the summary agrees with the rows. With STEELYARD_MATRIX=full in
 * the environment all variants meet on all traces (a minute or so); otherwise each pair meets two
 * traces, each variant some. */
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "policies/batcher.h"
#include "policies/policy.h"
#include "sim/core/rng.h"
#include "sim/run.h"

#define MOST_ROWS 400

/* ---- traces ---- */

struct load {
    const char *name;
    int n, clients;
    double gap_s; /* mean; a third of the arrivals come together with the one before */
    int prompt_min, prompt_max, output_min, output_max;
    int id_tok;        /* tokens per prefix id; 0 = no ids */
    bool own_ids;      /* ids that nobody shares */
    bool declares;     /* max_output_tokens above the truth */
    const char *cost, *model, *gpu;
    double kv_tokens;
};

#define CURVED "linear{set=custom,prefill_a=7,prefill_b=0.03,prefill_c=1e-6,decode_a=9,decode_b=3e-4,"       \
               "decode_c=0.11,decode_kv=1e-4}"

static const struct load loads[] = {
    {.name = "light", .n = 30, .clients = 3, .gap_s = 0.9, .prompt_min = 1, .prompt_max = 400,
     .output_min = 1, .output_max = 150, .cost = CURVED, .kv_tokens = 40000},
    {.name = "overload", .n = 90, .clients = 4, .gap_s = 0.02, .prompt_min = 5, .prompt_max = 200,
     .output_min = 1, .output_max = 200, .declares = true, .cost = "linear{set=a10g-slora}",
     .kv_tokens = 5000},
    {.name = "tiny pool", .n = 60, .clients = 3, .gap_s = 0.05, .prompt_min = 2, .prompt_max = 120,
     .output_min = 1, .output_max = 160, .cost = "roofline", .model = "llama-3.1-8b",
     .gpu = "a100-80g", .kv_tokens = 768},
    {.name = "long prompts", .n = 30, .clients = 2, .gap_s = 0.3, .prompt_min = 500,
     .prompt_max = 5000, .output_min = 1, .output_max = 60, .cost = "roofline",
     .model = "llama-3.1-8b", .gpu = "h100", .kv_tokens = 12000},
    {.name = "shared prefixes", .n = 80, .clients = 5, .gap_s = 0.04, .prompt_min = 20,
     .prompt_max = 500, .output_min = 1, .output_max = 80, .id_tok = 24, .cost = CURVED,
     .kv_tokens = 2400},
    {.name = "many clients", .n = 120, .clients = 50, .gap_s = 0.03, .prompt_min = 1,
     .prompt_max = 60, .output_min = 1, .output_max = 60, .declares = true, .cost = CURVED,
     .kv_tokens = 3000},
};
#define N_LOADS (int)(sizeof(loads) / sizeof(loads[0]))

struct load_file {
    char path[64];
    int n;
    uint32_t output[MOST_ROWS], prompt[MOST_ROWS];
};

static void write_ids(FILE *f, const struct load *l, struct rng_stream s, int i, uint32_t prompt)
{
    uint32_t most = (prompt + (uint32_t)l->id_tok - 1) / (uint32_t)l->id_tok;

    for (uint32_t k = 0; k < most; k++) {
        uint64_t id = l->own_ids ? (uint64_t)i * 1000 + k + 1 : 1 + rng_range(s, (uint64_t)i, 10 + k, 0, 1);

        fprintf(f, "%s%" PRIu64, k ? " " : "", id);
    }
}

/* Every class of goals, and programs of up to four calls. */
static void put_class(FILE *f, struct rng_stream s, uint64_t e)
{
    static const char *const names[] = {"", "latency", "latency", "deadline", "compound", "best-effort"};
    int class = (int)rng_range(s, e, 20, 0, 5);

    fprintf(f, ",%d,%d,%s,", (int)rng_range(s, e, 21, 5, 60), (int)rng_range(s, e, 22, 500, 9000),
            names[class]);
    if (class == 4) {
        fprintf(f, "%d", (int)(e / 16) + 1);
    }
}

static void load_write(const struct load *l, double time_scale, struct load_file *ret)
{
    struct rng_stream s = rng_stream(11, 0, l->name);
    double t = 0;
    FILE *f;
    int fd;

    snprintf(ret->path, sizeof(ret->path), "/tmp/steelyard-matrix-XXXXXX");
    fd = mkstemp(ret->path);
    f = fd < 0 ? NULL : fdopen(fd, "w");
    assert_non_null(f);
    ret->n = l->n;
    fprintf(f, "time_s,client,prompt_tokens,output_tokens,max_output_tokens,priority,ttft_slo_ms,tpot_slo_ms,e2e_slo_ms,slo_class,session%s\n",
            l->id_tok ? ",hash_tokens,hash_ids" : "");
    for (int i = 0; i < l->n; i++) {
        uint64_t e = (uint64_t)i;
        uint32_t prompt = ret->prompt[i] = (uint32_t)rng_range(s, e, 0, l->prompt_min, l->prompt_max);
        uint32_t output = ret->output[i] = (uint32_t)rng_range(s, e, 1, l->output_min, l->output_max);
        uint32_t most = l->declares ? output + (uint32_t)rng_range(s, e, 2, 0, 40) : 0;

        t += rng_range(s, e, 3, 0, 2) == 0 ? 0 : -log(rng_uniform(s, e, 4)) * l->gap_s * 1.5;
        fprintf(f, "%.9f,c%d,%u,%u,", floor(t * 1e6) / 1e6 * time_scale,
                (int)rng_range(s, e, 5, 0, (uint64_t)l->clients - 1), prompt, output);
        if (most) {
            fprintf(f, "%u", most);
        }
        fprintf(f, ",%d,%d", (int)rng_range(s, e, 6, 0, 3), (int)rng_range(s, e, 7, 100, 900));
        put_class(f, s, e);
        if (l->id_tok) {
            fprintf(f, ",%d,", l->id_tok);
            write_ids(f, l, s, i, prompt);
        }
        fprintf(f, "\n");
    }
    assert_int_equal(fclose(f), 0);
}

/* ---- one run ---- */

struct outcome {
    struct arena arena;
    struct err err;
    int rc;
    struct run_result result;
    struct request_row row[MOST_ROWS];
    int n;
};

static int take_row(void *ctx, const struct request_row *row, struct err *e)
{
    struct outcome *o = ctx;

    (void)e;
    assert_true(o->n < MOST_ROWS);
    o->row[o->n++] = *row;
    return 0;
}

static void config_for(struct run_config *c, const struct load *l, const char *path, struct arena *a)
{
    struct err e = {0};

    assert_int_equal(opt_defaults(run_options, c, a, &e), 0);
    c->trace = path;
    c->trace_format = "native";
    c->cost = l->cost;
    c->model = l->model;
    c->gpu = l->gpu;
    c->kv_tokens = l->kv_tokens;
    c->check = true;
    c->service_window_s = 2;
    c->client_weights = "1,2,1,3";
}

static void outcome_run(struct outcome *o, const struct run_config *c)
{
    struct run_hooks hooks = {.request = take_row, .ctx = o};

    memset(o, 0, sizeof(*o));
    o->rc = run_execute(c, &hooks, &o->result, &o->arena, &o->err);
}

static void outcome_release(struct outcome *o)
{
    arena_release(&o->arena);
}

/* ---- same bytes ---- */

static bool same_double(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof(a)) == 0;
}

static const char *differ_hist(const struct hist *a, const struct hist *b)
{
    if (a->count != b->count) {
        return "count of a histogram";
    }
    if (a->min != b->min || a->max != b->max) {
        return "extremes of a histogram";
    }
    if (memcmp(a->bin, b->bin, HIST_BINS * sizeof(*a->bin)) != 0) {
        return "bins of a histogram";
    }
    return a->sum_ticks == b->sum_ticks ? NULL : "sum of a histogram";
}

static bool same_row(const struct request_row *a, const struct request_row *b)
{
    return a->serial == b->serial && a->client == b->client && a->output_tok == b->output_tok &&
           a->cached_tok == b->cached_tok && a->preemptions == b->preemptions &&
           a->arrival_ns == b->arrival_ns && a->admit_ns == b->admit_ns &&
           a->first_token_ns == b->first_token_ns && a->finish_ns == b->finish_ns &&
           a->status == b->status;
}

/* What differs first, or NULL. */
static const char *differ(const struct outcome *a, const struct outcome *b, char *room, size_t size)
{
    if (a->rc != b->rc || strcmp(a->err.msg, b->err.msg) != 0) {
        snprintf(room, size, "outcome: '%s' and '%s'", a->err.msg, b->err.msg);
        return room;
    }
    for (int i = 0; i < a->n && i < b->n; i++) {
        if (!same_row(&a->row[i], &b->row[i])) {
            snprintf(room, size,
                     "row %d: request %" PRIu64 " at %" PRId64 " %" PRId64 " %" PRId64 " and %" PRIu64
                     " at %" PRId64 " %" PRId64 " %" PRId64, i, a->row[i].serial, a->row[i].admit_ns,
                     a->row[i].first_token_ns, a->row[i].finish_ns, b->row[i].serial,
                     b->row[i].admit_ns, b->row[i].first_token_ns, b->row[i].finish_ns);
            return room;
        }
    }
    if (a->n != b->n || a->result.iterations != b->result.iterations) {
        return "number of rows or iterations";
    }
    for (size_t i = 0; i < a->result.n_hists; i++) {
        const char *what = differ_hist(a->result.hists[i].h, b->result.hists[i].h);

        if (what) {
            snprintf(room, size, "%s: %s", a->result.hists[i].name, what);
            return room;
        }
    }
    for (size_t i = 0; i < a->result.n_metrics; i++) {
        if (!same_double(a->result.metrics[i].value, b->result.metrics[i].value)) {
            snprintf(room, size, "%s: %.17g and %.17g", a->result.metrics[i].name,
                     a->result.metrics[i].value, b->result.metrics[i].value);
            return room;
        }
    }
    return a->rc == 0 && strcmp(a->result.verdict_text, b->result.verdict_text) ? "verdict" : NULL;
}

/* ---- what must hold of one run ---- */

static double metric(const struct outcome *o, const char *name)
{
    const struct metric *m = run_metric(&o->result, name);

    assert_non_null(m);
    return m->value;
}

static const struct hist *histogram(const struct outcome *o, const char *name)
{
    for (size_t i = 0; i < o->result.n_hists; i++) {
        if (strcmp(o->result.hists[i].name, name) == 0) {
            return o->result.hists[i].h;
        }
    }
    fail_msg("no histogram %s", name);
    return NULL;
}

static void expect(bool ok, const char *where, const char *what)
{
    if (!ok) {
        fail_msg("%s: %s", where, what);
    }
}

static bool in_order(const struct request_row *r)
{
    return r->arrival_ns <= r->admit_ns && r->admit_ns < r->first_token_ns &&
           r->first_token_ns <= r->finish_ns && (r->output_tok == 1) == (r->first_token_ns == r->finish_ns);
}

/* Every request of the trace leaves once, with what it asked for. */
static void check_rows(const struct outcome *o, const struct load_file *f, const char *where)
{
    bool seen[MOST_ROWS] = {false};
    double ok = 0, rejected = 0;

    expect(o->n == f->n, where, "requests are missing");
    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];

        expect(r->serial < (uint64_t)f->n && !seen[r->serial], where, "a request left twice");
        seen[r->serial] = true;
        expect(r->prompt_tok == f->prompt[r->serial], where, "a prompt changed its length");
        rejected += r->status == REQUEST_REJECTED;
        if (r->status != REQUEST_OK) {
            expect(r->reason != NULL, where, "a refusal without a reason");
            continue;
        }
        ok++;
        expect(r->output_tok == f->output[r->serial], where, "a request ended with another length");
        expect(in_order(r), where, "times of a request are out of order");
    }
    expect(metric(o, "completed") == ok && metric(o, "rejected") == rejected &&
           metric(o, "failed") == o->n - ok, where, "counts are not those of the rows");
}

/* Gaps between tokens: as many as tokens after the first, and they add up to the time between first
 * and last token, but for a nanosecond each (and only where every request ran to its end). */
static void check_gaps(const struct outcome *o, const char *where)
{
    const struct hist *itl = histogram(o, "itl");
    double sum_ns = (double)itl->sum_ticks / SIM_TICKS_PER_NS, span_ns = 0;
    uint64_t n = 0;

    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];

        if (r->status == REQUEST_REFUSED && r->first_token_ns != SIM_NEVER) {
            return;
        }
        n += r->output_tok > 1 ? r->output_tok - 1 : 0;
        span_ns += r->status == REQUEST_OK ? (double)(r->finish_ns - r->first_token_ns) : 0;
    }
    if (itl->count != n) {
        fail_msg("%s: %" PRIu64 " gaps between tokens, %" PRIu64 " expected", where, itl->count, n);
    }
    expect(fabs(sum_ns - span_ns) <= (double)n + 1e-9 * span_ns, where, "gaps do not add up");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* numpy.percentile, linear. */
static double percentile(double *v, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)floor(at);

    qsort(v, (size_t)n, sizeof(*v), by_value);
    return i + 1 < n ? v[i] + (at - i) * (v[i + 1] - v[i]) : v[n - 1];
}

static void check_summary(const struct outcome *o, const char *what, double *v, int n, const char *where)
{
    static const struct {
        const char *name;
        double q;
    } points[] = {{"median", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}};
    char name[64];
    double sum = 0;

    if (n == 0) {
        return;
    }
    for (int i = 0; i < n; i++) {
        sum += v[i];
    }
    snprintf(name, sizeof(name), "mean_%s_ms", what);
    expect(fabs(metric(o, name) - sum / n) <= 1e-6 + 1e-12 * sum, where, name);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        double want = percentile(v, n, points[i].q);

        snprintf(name, sizeof(name), "%s_%s_ms", points[i].name, what);
        /* bins are 2^-9 wide */
        expect(fabs(metric(o, name) - want) <= want / 512 + 1e-6, where, name);
    }
}

/* The summary against a sum over the rows, as vllm bench serve defines it (engines.md 5.1). */
static void check_metrics(const struct outcome *o, const char *where)
{
    double ttft[MOST_ROWS], e2el[MOST_ROWS], tpot[MOST_ROWS], tok = 0, last = 0;
    int n = 0, n_tpot = 0;

    for (int i = 0; i < o->n; i++) {
        const struct request_row *r = &o->row[i];

        if (r->status != REQUEST_OK) {
            continue;
        }
        ttft[n] = (double)(r->first_token_ns - r->arrival_ns) / 1e6;
        e2el[n] = (double)(r->finish_ns - r->arrival_ns) / 1e6;
        if (r->output_tok > 1) {
            tpot[n_tpot++] = (e2el[n] - ttft[n]) / (r->output_tok - 1);
        }
        tok += r->output_tok;
        last = fmax(last, (double)r->finish_ns / 1e9);
        n++;
    }
    check_summary(o, "ttft", ttft, n, where);
    check_summary(o, "e2el", e2el, n, where);
    check_summary(o, "tpot", tpot, n_tpot, where);
    expect(metric(o, "total_output_tokens") == tok, where, "total_output_tokens");
    if (metric(o, "failed") == 0) {
        expect(fabs(metric(o, "output_throughput") * last / tok - 1) < 1e-9, where, "output_throughput");
    }
}

static void check_run(const struct outcome *o, const struct load_file *f, const char *where)
{
    if (o->rc < 0) {
        fail_msg("%s: %s", where, o->err.msg);
        return;
    }
    check_rows(o, f, where);
    check_gaps(o, where);
    check_metrics(o, where);
}

/* ---- the matrix ---- */

/* Options without which a batcher does not work on a machine without a model. */
static const char *batcher_spec(const char *name)
{
    return strcmp(name, "orca") == 0 ? "orca{max_model_len=900}" : name;
}

static const char *const policy_variants[] = {
    "vtc{predict=oracle}", "vtc{predict=mean}", "vtc{predict=oracle,predict_range=0.5}",
    "vtc{lift=off}", "vtc{lift=paper}", "vtc{lift=max}", "vtc{extra_charge=on}", "sjf{key=total}",
    "srpt{key=total}", "mdrr{quantum=64}", "rpm{limit=5,window=1}",
    "srpt{preemptive=on}", "ltr{starve=20}", "equinox{predictor=none}", "dlpm{quantum=50}",
    "autellix{rule=atlas}", "bound(vtc{lift=paper})",
    "jitserve{frame=4,batch=3,wait_limit=0.1,displaced=100}", "fastswitch{pattern=random,frequency=0.2}",
    "edf{preemptive=on}", "autellix{bucket=60,preemptive=on}",
    "autellix{rule=atlas,bucket=60,preemptive=on}", "slos-serve{frame=3,window=4,token_budget=64}",
};

static const char *const batcher_variants[] = {
    "vllm-v1{version=0.13}", "vllm-v1{version=0.15}", "vllm-v1{version=0.18,max_num_batched_tokens=64}",
    "vllm-v1{max_num_batched_tokens=100,max_num_seqs=7,block_size=1}",
    "vllm-v1{version=0.13,prefix_caching=off,long_prefill_token_threshold=33}",
    "vllm-v1{chunked_prefill=off,max_model_len=6000}", "vllm-v0{version=0.2}",
    "vllm-v0{preemption_mode=swap}", "vllm-v0{chunked_prefill=on}", "vllm-v0{num_scheduler_steps=8,chunked_prefill=off}",
    "vllm-v0{prefix_caching=on}", "lightllm-slora{max_wait_tokens=3,adapter_tok=0}",
    "sglang{page_size=16}", "sglang{overlap=off,chunked_prefill_size=128}", "sglang{mixed_chunk=on}",
    "sglang{radix_cache=off}", "sarathi{chunk_size=100,max_num_seqs=60}", "orca{reserve=exact,max_model_len=6000}", "static{batch_size=3}",
    "trtllm{capacity=max-utilization}", "trtllm{chunked_context=on,max_num_tokens=96}",
    "trtllm{overlap=off,block_reuse=off}", "equinox{adaptive=off}",
    "equinox{stall_free=off,prefill_tokens=300}", "equinox{block_size=16,chunk_size=90}",
};

#define N_OF(a) (int)(sizeof(a) / sizeof((a)[0]))

static void matrix_cell(const char *policy, const char *batcher, const struct load *l,
                        const struct load_file *f)
{
    struct arena a = {0};
    struct run_config c = {0};
    struct outcome *jump = malloc(sizeof(*jump)), *walk = malloc(sizeof(*walk));
    char where[400], room[2200];
    const char *what;

    assert_true(jump && walk);
    config_for(&c, l, f->path, &a);
    c.batcher = batcher;
    snprintf(where, sizeof(where), "%s on %s, %s", policy, batcher, l->name);
    c.policy = arena_printf(&a, "check(%s)", policy);
    outcome_run(jump, &c);
    check_run(jump, f, where);
    c.policy = policy;
    c.skip = false;
    outcome_run(walk, &c);
    what = differ(jump, walk, room, sizeof(room));
    if (what) {
        fail_msg("%s: checked and jumping differs from walking: %s", where, what);
    }
    outcome_release(jump);
    c.skip = true;
    c.check = false;
    outcome_run(jump, &c);
    what = differ(jump, walk, room, sizeof(room));
    if (what) {
        fail_msg("%s: jumping and walking differ: %s", where, what);
    }
    expect(jump->result.boundaries <= walk->result.boundaries, where, "jumping walked more");
    outcome_release(jump);
    outcome_release(walk);
    free(jump);
    free(walk);
    arena_release(&a);
}

static bool full_matrix(void)
{
    const char *s = getenv("STEELYARD_MATRIX");

    return s && strcmp(s, "full") == 0;
}

static int names(const char **ret, bool of_policies)
{
    int n = 0;

    for (; of_policies ? policies[n] != NULL : batchers[n] != NULL; n++) {
        ret[n] = of_policies ? policies[n]->name : batcher_spec(batchers[n]->name);
    }
    for (int i = 0; i < (of_policies ? N_OF(policy_variants) : N_OF(batcher_variants)); i++) {
        ret[n++] = of_policies ? policy_variants[i] : batcher_variants[i];
    }
    return n;
}

static void test_matrix(void **state)
{
    struct load_file file[N_OF(loads)];
    const char *p[64], *b[64];
    int n_p = names(p, true), n_b = names(b, false);
    int base_p = n_p - N_OF(policy_variants), base_b = n_b - N_OF(batcher_variants);

    (void)state;
    for (int l = 0; l < N_LOADS; l++) {
        load_write(&loads[l], 1, &file[l]);
    }
    for (int i = 0; i < n_p; i++) {
        for (int j = 0; j < n_b; j++) {
            for (int l = 0; l < N_LOADS; l++) {
                bool base = i < base_p && j < base_b;
                int turn = (i + j + l) % N_LOADS;

                if (full_matrix() || turn == 0 || (base && turn == 3)) {
                    matrix_cell(p[i], b[j], &loads[l], &file[l]);
                }
            }
        }
    }
    for (int l = 0; l < N_LOADS; l++) {
        unlink(file[l].path);
    }
}

/* ---- properties ---- */

/* A run of `l` with the given settings; the caller checks rc. */
static struct outcome *run_with(const struct load *l, const char *policy, const char *batcher,
                                const char *path)
{
    struct outcome *o = malloc(sizeof(*o));
    struct arena a = {0};
    struct run_config c = {0};

    assert_non_null(o);
    config_for(&c, l, path, &a);
    c.policy = policy;
    c.batcher = batcher;
    outcome_run(o, &c);
    if (o->rc < 0) {
        fail_msg("%s on %s, %s: %s", policy, batcher, l->name, o->err.msg);
    }
    arena_release(&a);
    return o;
}

static void outcome_free(struct outcome *o)
{
    outcome_release(o);
    free(o);
}

static void expect_same_rows(const struct outcome *a, const struct outcome *b, const char *where)
{
    expect(a->n == b->n, where, "number of rows");
    for (int i = 0; i < a->n; i++) {
        if (!same_row(&a->row[i], &b->row[i])) {
            fail_msg("%s: row %d: request %" PRIu64 " ends at %" PRId64 ", and %" PRIu64 " at %" PRId64,
                     where, i, a->row[i].serial, a->row[i].finish_ns, b->row[i].serial,
                     b->row[i].finish_ns);
        }
    }
}

/* Blocks with numbers and blocks that are only counted: prefix ids that no two prompts share must not
 * change anything. */
static void test_identity(void **state)
{
    static const char *const engines[] = {"vllm-v1", "vllm-v1{version=0.13}", "vllm-v0{prefix_caching=on}",
                                          "sglang{page_size=16}", "trtllm{capacity=max-utilization}"};

    (void)state;
    for (int l = 0; l < N_LOADS; l++) {
        struct load own = loads[l], none = loads[l];
        struct load_file f[2];

        own.id_tok = 16;
        own.own_ids = true;
        none.id_tok = 0;
        load_write(&own, 1, &f[0]);
        load_write(&none, 1, &f[1]);
        for (int i = 0; i < N_OF(engines); i++) {
            struct outcome *a = run_with(&own, "fcfs", engines[i], f[0].path);
            struct outcome *b = run_with(&none, "fcfs", engines[i], f[1].path);
            char where[200];

            snprintf(where, sizeof(where), "numbered and counted blocks, %s, %s", engines[i], own.name);
            expect_same_rows(a, b, where);
            outcome_free(a);
            outcome_free(b);
        }
        unlink(f[0].path);
        unlink(f[1].path);
    }
}

/* One client: whoever shares out service between clients is first come, first served. */
static void test_one_client(void **state)
{
    static const char *const fair[] = {"vtc", "vtc{lift=max}", "vtc{predict=oracle}", "lcf", "mdrr"};

    (void)state;
    for (int l = 0; l < N_LOADS; l++) {
        struct load one = loads[l];
        struct load_file f;

        one.clients = 1;
        load_write(&one, 1, &f);
        for (int b = 0; batchers[b]; b++) {
            const char *batcher = batcher_spec(batchers[b]->name);
            struct outcome *fcfs = run_with(&one, "fcfs", batcher, f.path);

            for (int i = 0; i < N_OF(fair); i++) {
                struct outcome *o = run_with(&one, fair[i], batcher, f.path);
                char where[200];

                snprintf(where, sizeof(where), "%s as fcfs on %s, %s", fair[i], batcher, one.name);
                expect_same_rows(fcfs, o, where);
                outcome_free(o);
            }
            outcome_free(fcfs);
        }
        unlink(f.path);
    }
}

static void expect_twice(sim_ns once, sim_ns twice, const char *where)
{
    if (once != SIM_NEVER && llabs(twice - 2 * once) > 2000) {
        fail_msg("%s: %" PRId64 " ns became %" PRId64, where, once, twice);
    }
}

/* Everything twice as slow, and twice as far apart: all times double, but for rounding. */
static void test_time_scales(void **state)
{
    static const char *const pairs[][2] = {{"fcfs", "vllm-v1"}, {"vtc", "vllm-v1{version=0.13}"},
                                           {"srpt", "sarathi"}, {"fcfs", "vllm-v0"},
                                           {"mdrr", "trtllm"},  {"lcf", "sglang"}};
    struct load one = loads[1], two = loads[1];
    struct load_file f[2];

    (void)state;
    one.cost = "linear{set=custom,prefill_a=7,prefill_b=0.03,decode_a=9,decode_b=3e-4,decode_c=0.11}";
    two.cost = "linear{set=custom,prefill_a=14,prefill_b=0.06,decode_a=18,decode_b=6e-4,decode_c=0.22}";
    load_write(&one, 1, &f[0]);
    load_write(&two, 2, &f[1]);
    for (int i = 0; i < N_OF(pairs); i++) {
        struct outcome *a = run_with(&one, pairs[i][0], pairs[i][1], f[0].path);
        struct outcome *b = run_with(&two, pairs[i][0], pairs[i][1], f[1].path);

        expect(a->n == b->n, pairs[i][1], "number of rows");
        for (int r = 0; r < a->n; r++) {
            expect(a->row[r].serial == b->row[r].serial, pairs[i][1], "order of leaving");
            expect_twice(a->row[r].admit_ns, b->row[r].admit_ns, pairs[i][1]);
            expect_twice(a->row[r].first_token_ns, b->row[r].first_token_ns, pairs[i][1]);
            expect_twice(a->row[r].finish_ns, b->row[r].finish_ns, pairs[i][1]);
        }
        outcome_free(a);
        outcome_free(b);
    }
    unlink(f[0].path);
    unlink(f[1].path);
}

/* A larger pool refuses no request that a smaller one served, and pushes nobody out in the end. */
static void test_more_memory(void **state)
{
    static const double kv[] = {96, 160, 320, 768, 3072, 40000};
    struct load l = loads[2];
    struct load_file f;

    (void)state;
    load_write(&l, 1, &f);
    for (int b = 0; batchers[b]; b++) {
        const char *batcher = batcher_spec(batchers[b]->name);
        double before = 0;

        for (int i = 0; i < N_OF(kv); i++) {
            struct outcome *o;

            l.kv_tokens = kv[i];
            o = run_with(&l, "check(fcfs)", batcher, f.path);
            check_rows(o, &f, batcher);
            expect(metric(o, "completed") >= before, batcher, "more memory, fewer requests");
            before = metric(o, "completed");
            expect(i < N_OF(kv) - 1 || metric(o, "preemptions") == 0, batcher, "pushed out for nothing");
            outcome_free(o);
        }
        expect(before == f.n, batcher, "an ample pool refuses requests");
    }
    unlink(f.path);
}

struct thread_run {
    struct run_config c;
    struct outcome *o;
};

static void *thread_main(void *arg)
{
    struct thread_run *t = arg;

    outcome_run(t->o, &t->c);
    return NULL;
}

/* The same run four times at once is the same run. */
static void test_threads(void **state)
{
    struct thread_run t[4];
    pthread_t id[4];
    struct load_file f;
    struct arena a = {0};
    struct outcome *alone = malloc(sizeof(*alone));
    char room[2200];

    (void)state;
    assert_non_null(alone);
    load_write(&loads[2], 1, &f);
    for (int i = 0; i < 4; i++) {
        config_for(&t[i].c, &loads[2], f.path, &a);
        t[i].c.policy = "check(vtc{predict=oracle,predict_range=0.3})";
        t[i].c.batcher = "vllm-v1";
        t[i].o = malloc(sizeof(*t[i].o));
        assert_non_null(t[i].o);
    }
    outcome_run(alone, &t[0].c);
    assert_int_equal(alone->rc, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&id[i], NULL, thread_main, &t[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(id[i], NULL), 0);
        assert_null(differ(alone, t[i].o, room, sizeof(room)));
        outcome_free(t[i].o);
    }
    outcome_free(alone);
    arena_release(&a);
    unlink(f.path);
}

/* A pair that cannot work says why. */
static void test_wrong_pairs(void **state)
{
    static const struct {
        const char *policy, *batcher, *says;
    } wrong[] = {
        {"vtcc", "vllm-v1", "vtc"},
        {"fcfs", "vllm-v3", "did you mean"},
        {"check(lfc)", "vllm-v1", "lcf"},
        {"fcfs", "orca", "max_model_len"},
        {"fcfs", "vllm-v1{max_num_seq=3}", "max_num_seqs"},
        {"fcfs", "vllm-v1{block_size=8192}", "4096"},
        {"fcfs", "vllm-v1{block_size=4096}", "smaller than one block"},
        {"fcfs", "sarathi{chunk_size=16}", "max_num_seqs"},
        {"fcfs", "vllm-v0{chunked_prefill=on,num_scheduler_steps=4}", "num_scheduler_steps"},
        {"mdrr{quantum=0.5}", "vllm-v1", "quantum"},
    };
    struct load_file f;

    (void)state;
    load_write(&loads[5], 1, &f);
    for (int i = 0; i < N_OF(wrong); i++) {
        struct outcome *o = malloc(sizeof(*o));
        struct arena a = {0};
        struct run_config c = {0};

        assert_non_null(o);
        config_for(&c, &loads[5], f.path, &a);
        c.policy = wrong[i].policy;
        c.batcher = wrong[i].batcher;
        outcome_run(o, &c);
        if (o->rc >= 0 || !strstr(o->err.msg, wrong[i].says)) {
            fail_msg("%s on %s: '%s' does not name '%s'", c.policy, c.batcher, o->err.msg, wrong[i].says);
        }
        outcome_free(o);
        arena_release(&a);
    }
    unlink(f.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix),      cmocka_unit_test(test_identity),
        cmocka_unit_test(test_one_client),  cmocka_unit_test(test_time_scales),
        cmocka_unit_test(test_more_memory), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_wrong_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
