/* SPDX-License-Identifier: Apache-2.0
 *
 * The real engine against the slow one, step by step, over random loads for every batcher; and jumping
 * over steps against walking through them. Both run the same batchers with the same rules, so a
 * difference is a difference of engines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "history.h"
#include "policies/open.h"
#include "sim/engine/engine.h"

void history_add(struct history *h, const char *fmt, ...)
{
    va_list ap;
    if (h->cap - h->len < 256) {
        h->cap = 2 * h->cap + 4096;
        h->text = realloc(h->text, h->cap);
        assert_non_null(h->text);
    }
    va_start(ap, fmt);
    int n = vsnprintf(h->text + h->len, h->cap - h->len, fmt, ap);
    va_end(ap);
    assert_in_range(n, 0, 255);
    h->len += (size_t)n;
}

/* ---- one ms per step ---- */
static void one_ms(const void *st, const struct batch_shape *s, struct cost_affine *ret)
{
    (void)st;
    (void)s;
    *ret = (struct cost_affine){.base = cost_ticks(0.001), .slope = 0, .valid = UINT64_MAX};
}

static const struct cost_ops cost_one_ms = {.name = "one-ms", .iteration = one_ms};

/* ---- a batcher that writes down what another one plans ---- */
struct spy {
    const struct batcher_ops *ops;
    void *st;
    struct history *h;
};

static void write_plan(struct spy *p, const struct engine *e, uint64_t preempted)
{
    const struct step *s = e->building;
    uint32_t d = !s->decode ? 0 : e->one_by_one ? e->n_served : e->n_decoding;
    if (d + s->n_chunk + preempted == 0) {
        return;
    }
    history_add(p->h, "%llu: d%u", (unsigned long long)(e->now / 1000000), d);
    for (uint32_t i = 0; i < s->n_chunk; i++) {
        history_add(p->h, " p%llu:%u", (unsigned long long)s->chunks[i].serial, s->chunks[i].n_tok);
    }
    if (preempted) {
        history_add(p->h, " x%llu", (unsigned long long)preempted);
    }
    history_add(p->h, "\n");
}

static uint64_t spy_plan(void *st, struct engine *e)
{
    struct spy *p = st;
    uint64_t before = e->n.preemptions;
    uint64_t again = p->ops->plan(p->st, e);
    write_plan(p, e, e->n.preemptions - before);
    return again;
}

static void spy_skipped(void *st, struct engine *e, uint64_t k)
{
    struct spy *p = st;
    if (p->ops->skipped) {
        p->ops->skipped(p->st, e, k);
    }
}

static const char *spy_never_fits(void *st, struct engine *e, req_id r)
{
    struct spy *p = st;
    return p->ops->never_fits ? p->ops->never_fits(p->st, e, r) : NULL;
}

static const struct batcher_ops batcher_spy = {.name = "spy", .abi = BATCHER_ABI, .plan = spy_plan,
                                               .skipped = spy_skipped,
                                               .never_fits = spy_never_fits};

/* ---- the real engine ---- */
struct feed {
    const struct load *l;
    const struct engine *e;
    size_t next;
    uint64_t *hash;
    uint64_t first_ms[512], last_ms[512];
};

static int feed_next(void *ctx, struct arrival *a, struct err *e)
{
    struct feed *f = ctx;
    (void)e;
    if (f->next == f->l->n) {
        return 0;
    }
    const struct load_row *r = &f->l->row[f->next];
    uint32_t n = r->prompt_tok + r->output_tok;
    f->hash = realloc(f->hash, (n + 1) * sizeof *f->hash);
    assert_non_null(f->hash);
    for (uint32_t i = 0; i < r->prompt_tok; i++) {
        uint64_t owner = i < r->prefix_tok ? r->prefix_id : 1000 + f->next;
        f->hash[i] = owner << 32 | i;
    }
    *a = (struct arrival){.time_ns = (sim_ns)r->at_ms * 1000000, .client = r->client,
                          .prompt_tok = r->prompt_tok, .output_tok = r->output_tok,
                          .max_output_tok = r->max_output_tok, .hash = f->hash,
                          .n_hash = r->prompt_tok, .hash_tok = 1};
    f->next++;
    return 1;
}

static void on_first(void *o, const struct req *r, const struct live *l)
{
    struct feed *f = o;
    (void)l;
    f->first_ms[r->serial] = (uint64_t)r->first_token_ns / 1000000;
}

static int on_left(void *o, const struct req *r, const struct live *l, bool rejected, const char *why,
                   struct err *e)
{
    struct feed *f = o;
    (void)rejected;
    (void)l;
    (void)e;
    if (why) {
        fail_msg("request %llu: %s", (unsigned long long)r->serial, why);
    }
    f->last_ms[r->serial] = (uint64_t)f->e->now / 1000000;
    return 0;
}

static int set_options(const struct opt_row *rows, void *st, const char *options, struct arena *a,
                       struct err *e)
{
    char text[512];
    if (opt_defaults(rows, st, a, e) < 0) {
        return e->code;
    }
    snprintf(text, sizeof text, "%s", options);
    for (char *save = NULL, *p = strtok_r(text, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        char *value = strchr(p, '=');
        assert_non_null(value);
        *value++ = '\0';
        if (opt_set_by_name(rows, st, "", p, value, a, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static void open_batcher(struct spy *spy, const char *name, const char *options, struct arena *a,
                         struct batcher_traits *traits)
{
    struct err e = {0};
    struct batcher_env env = {.arena = a, .traits = traits};
    spy->ops = batcher_find(name);
    assert_non_null(spy->ops);
    spy->st = arena_alloc(a, spy->ops->state_size);
    if (set_options(spy->ops->options, spy->st, options, a, &e) < 0 ||
        spy->ops->init(spy->st, &env, &e) < 0) {
        fail_msg("%s", e.msg);
    }
    traits->idle_poll_ns = 0; /* the slow engine has no polling */
}

struct manner {
    const char *policy;
    bool skip, identity;
};

static struct history history_real(const char *batcher, const char *options, const struct load *l,
                                   struct manner how)
{
    struct arena a = {0};
    struct err e = {0};
    struct history h = {0};
    struct feed feed = {.l = l};
    struct spy spy = {.h = &h};
    struct batcher_traits traits = {0};
    struct policy_instance policy = {0};
    struct engine *eng = arena_alloc(&a, sizeof *eng);
    open_batcher(&spy, batcher, options, &a, &traits);
    struct policy_env penv = {.arena = &a, .kv_tok = (int64_t)(l->kv_blk * traits.block_tok)};
    assert_int_equal(policy_open(how.policy, &penv, &policy, &e), 0);
    struct engine_config c = {
        .kv = {.blocks = l->kv_blk, .block_tok = traits.block_tok,
               .prefix_cache = traits.prefix_cache, .identity = how.identity},
        .traits = traits, .cost = &cost_one_ms, .batcher = &batcher_spy, .batcher_state = &spy,
        .policy = policy.ops, .policy_state = policy.st, .skip = how.skip, .check = true,
        .batcher_name = batcher, .policy_name = how.policy, .arrivals = feed_next,
        .arrivals_ctx = &feed,
        .obs = {.first_token = on_first, .left = on_left, .o = &feed},
    };
    feed.e = eng;
    if (engine_init(eng, &c, &a, &e) < 0 || engine_run(eng, &e) < 0) {
        fail_msg("%s{%s}: %s\n%s", batcher, options, e.msg, h.text ? h.text : "");
    }
    for (size_t r = 0; r < l->n; r++) {
        history_add(&h, "r%zu %llu %llu\n", r, (unsigned long long)feed.first_ms[r],
                    (unsigned long long)feed.last_ms[r]);
    }
    engine_release(eng);
    if (policy.ops->release) {
        policy.ops->release(policy.st);
    }
    arena_release(&a);
    free(feed.hash);
    return h;
}

/* ---- comparing ---- */
static const char *line_at(const char *text, size_t at)
{
    while (at > 0 && text[at - 1] != '\n') {
        at--;
    }
    return text + at;
}

static void expect_same(const struct history *want, const struct history *got, const char *what)
{
    size_t i = 0;
    while (want->text[i] && want->text[i] == got->text[i]) {
        i++;
    }
    if (want->text[i] || got->text[i]) {
        const char *a = line_at(want->text, i), *b = line_at(got->text, i);
        fail_msg("%s: expected '%.*s', got '%.*s'", what, (int)strcspn(a, "\n"), a,
                 (int)strcspn(b, "\n"), b);
    }
}

/* The requests' lines, behind the steps. */
static struct history tail_of(const struct history *h)
{
    char *p = strstr(h->text, "r0 ");
    assert_non_null(p);
    return (struct history){.text = p};
}

static void compare(const char *batcher, const char *options, const struct load *l, bool identity)
{
    char what[300];
    struct history slow = history_mock(batcher, options, l);
    struct manner how = {.policy = "fcfs", .identity = identity};
    struct history walked = history_real(batcher, options, l, how);
    how.skip = true;
    struct history jumped = history_real(batcher, options, l, how);
    struct history w = tail_of(&walked), j = tail_of(&jumped);
    snprintf(what, sizeof what, "%s{%s} %zu requests, %llu blocks", batcher, options, l->n,
             (unsigned long long)l->kv_blk);
    expect_same(&slow, &walked, what);
    strcat(what, ", jumping");
    expect_same(&w, &j, what);
    free(slow.text);
    free(walked.text);
    free(jumped.text);
}

enum { ROWS = 60 };

static void random_load(struct load_row *row, unsigned seed, uint32_t gap, bool prefixes)
{
    uint32_t at = 0;
    srand(seed);
    for (int i = 0; i < ROWS; i++) {
        uint32_t out = 1 + (uint32_t)rand() % 80;
        at += (uint32_t)rand() % (2 * gap + 1);
        row[i] = (struct load_row){.at_ms = at, .prompt_tok = 1 + (uint32_t)rand() % 300,
                                   .output_tok = out, .client = (uint32_t)i % 3,
                                   .prefix_id = (uint32_t)rand() % 3,
                                   .prefix_tok = prefixes ? (uint32_t)rand() % 200 : 0};
    }
}

struct pairing {
    const char *batcher, *options;
    uint64_t kv_blk;
    bool identity;
};

static void compare_all(const struct pairing *p, size_t n)
{
    struct load_row row[ROWS];
    const uint32_t gaps[] = {0, 3, 20};
    for (size_t i = 0; i < n; i++) {
        for (unsigned seed = 0; seed < 3; seed++) {
            struct load l = {.row = row, .n = ROWS, .kv_blk = p[i].kv_blk};
            random_load(row, seed + 10 * (unsigned)i, gaps[seed], p[i].identity);
            compare(p[i].batcher, p[i].options, &l, p[i].identity);
        }
    }
}
#define COMPARE_ALL(rows) compare_all(rows, sizeof(rows) / sizeof *(rows))

static void vllm_v1(void **state)
{
    (void)state;
    const struct pairing rows[] = {
        {"vllm-v1", "prefix_caching=off", 60, false},
        {"vllm-v1", "async=off,prefix_caching=off", 2000, false},
        {"vllm-v1", "async=off,prefix_caching=off", 60, false},
        {"vllm-v1", "prefix_caching=off", 60, false},
        {"vllm-v1", "version=0.18,prefix_caching=off", 40, false},
        {"vllm-v1", "version=0.18,prefix_caching=off,async=off,max_num_batched_tokens=50,"
                    "long_prefill_token_threshold=30", 60, false},
        {"vllm-v1", "prefix_caching=off,max_num_seqs=3", 60, false},
    };
    COMPARE_ALL(rows);
}

static void vllm_v1_cache(void **state)
{
    (void)state;
    const struct pairing rows[] = {
        {"vllm-v1", "async=off", 60, true},
        {"vllm-v1", "async=off", 500, true},
        {"vllm-v1", "", 60, true},
        {"vllm-v1", "version=0.18,max_num_batched_tokens=100", 60, true},
        {"vllm-v1", "async=off,block_size=4", 240, true},
    };
    COMPARE_ALL(rows);
}

/* Without prefix ids a sequence can still find its own blocks after a preemption. */
static void vllm_v1_runs(void **state)
{
    (void)state;
    const struct pairing rows[] = {
        {"vllm-v1", "async=off", 60, false},
        {"vllm-v1", "", 40, false},
        {"vllm-v1", "version=0.18", 40, false},
    };
    COMPARE_ALL(rows);
}

static void others(void **state)
{
    (void)state;
    const struct pairing rows[] = {
        {"lightllm-slora", "", 900, false},
        {"lightllm-slora", "adapter_tok=0", 3000, false},
        {"orca", "max_model_len=400", 60, false},
        {"orca", "max_model_len=400,reserve=pow2,max_num_seqs=4", 60, false},
        {"sarathi", "", 60, false},
        {"sarathi", "chunk_size=64,max_num_seqs=64", 40, false},
        {"static", "", 900, false},
        {"trtllm", "block_reuse=off", 30, false},
        {"trtllm", "block_reuse=off,capacity=max-utilization", 30, false},
        {"trtllm", "overlap=off,capacity=max-utilization,chunked_context=on,max_num_tokens=70", 30, true},
        {"vllm-v0", "", 60, false},
        {"vllm-v0", "version=0.3,max_num_seqs=5", 60, false},
        {"vllm-v0", "num_scheduler_steps=8", 60, false},
        {"vllm-v0", "chunked_prefill=on,max_num_batched_tokens=64", 60, false},
        {"sglang", "radix_cache=off,overlap=off", 900, false},
        {"sglang", "radix_cache=off", 900, false},
        {"sglang", "radix_cache=off,chunked_prefill_size=40,mixed_chunk=on", 900, false},
        {"sglang", "overlap=off,schedule_conservativeness=0", 900, true},
        {"sglang", "page_size=16,schedule_conservativeness=0.1", 60, true},
    };
    COMPARE_ALL(rows);
}

/* Under other policies there is no slow engine to compare with, but jumping must still equal walking. */
static void jumps_under_policies(void **state)
{
    (void)state;
    const char *names[] = {"vtc", "mdrr", "lcf", "priority"};
    const struct pairing rows[] = {
        {"lightllm-slora", "", 900, false},  {"vllm-v1", "", 60, false},
        {"vllm-v1", "async=off", 60, true},  {"vllm-v0", "", 60, false},
        {"sglang", "radix_cache=off", 900, false}, {"sarathi", "", 60, false},
        {"orca", "max_model_len=400", 60, false},
    };
    struct load_row row[ROWS];
    for (size_t i = 0; i < 4 * sizeof rows / sizeof *rows; i++) {
        const struct pairing *p = &rows[i / 4];
        struct load l = {.row = row, .n = ROWS, .kv_blk = p->kv_blk};
        struct manner how = {.policy = names[i % 4], .identity = p->identity};
        char what[200];
        random_load(row, (unsigned)i, (uint32_t)i % 8, p->identity);
        struct history walked = history_real(p->batcher, p->options, &l, how);
        how.skip = true;
        struct history jumped = history_real(p->batcher, p->options, &l, how);
        struct history w = tail_of(&walked), j = tail_of(&jumped);
        snprintf(what, sizeof what, "%s{%s} under %s", p->batcher, p->options, how.policy);
        expect_same(&w, &j, what);
        free(walked.text);
        free(jumped.text);
    }
}

/* The hand-worked vectors of the engines' notes, by the lines that they must leave. */
static void expect_lines(const char *batcher, const char *options, const struct load *l,
                         const char *const *line)
{
    struct history h = history_real(batcher, options, l, (struct manner){.policy = "fcfs"});
    for (; *line; line++) {
        if (!strstr(h.text, *line)) {
            fail_msg("%s{%s}: no line '%s' in\n%s", batcher, options, *line, h.text);
        }
    }
    free(h.text);
}

/* Budget 2048, ten decodes, a prompt of 5000. */
static void vector_budget_split(void **state)
{
    (void)state;
    struct load_row row[11];
    for (int i = 0; i < 10; i++) {
        row[i] = (struct load_row){.prompt_tok = 20, .output_tok = 100};
    }
    row[10] = (struct load_row){.at_ms = 1, .prompt_tok = 5000, .output_tok = 3};
    struct load l = {.row = row, .n = 11, .kv_blk = 1000};
    const char *const plain[] = {"\n1: d10 p10:2038\n", "\n2: d10 p10:2038\n", "\n3: d10 p10:924\n",
                                 "\n4: d11\n", "\nr10 4 6\n", NULL};
    /* a step later: that of the second ms was planned when the first began */
    const char *const async[] = {"\n1: d10 p10:2038\n", "\n3: d10 p10:924\n", "\n4: d11\n",
                                 "\nr10 5 7\n", NULL};
    expect_lines("vllm-v1", "max_num_batched_tokens=2048,async=off", &l, plain);
    expect_lines("vllm-v1", "max_num_batched_tokens=2048,async=on", &l, async);
}

/* Ten blocks, A and B of 64 tokens: in the 17th decode step B goes; it comes back after A. */
static void vector_preempt(void **state)
{
    (void)state;
    const struct load_row row[] = {{.prompt_tok = 64, .output_tok = 60},
                                   {.prompt_tok = 64, .output_tok = 40}};
    struct load l = {.row = row, .n = 2, .kv_blk = 10};
    /* A's last token at 60. By then A has taken B's fourth block (at 33) and its third (at 49), so B
     * finds two and prefills 81 - 32 tokens. */
    const char *const lines[] = {"\n16: d2\n", "\n17: d1 x1\n", "\n18: d1\n", "\n60: d0 p1:49\n",
                                 "\nr0 1 60\nr1 1 83\n", NULL};
    expect_lines("vllm-v1", "async=off", &l, lines);
}

/* Pool 1000 or 501, one running (100 held, 50 to come), one new (301, 99): 501 must be less. */
static void vector_slora(void **state)
{
    (void)state;
    const struct load_row row[] = {{.prompt_tok = 89, .output_tok = 62},
                                   {.at_ms = 1, .prompt_tok = 300, .output_tok = 100}};
    struct load l = {.row = row, .n = 2, .kv_blk = 1000};
    const char *const roomy[] = {"\n10: d1\n11: d0 p1:300\n12: d2\n", NULL};
    const char *const short_of_one[] = {"\n11: d1\n12: d0 p1:300\n13: d2\n", NULL};
    expect_lines("lightllm-slora", "adapter_tok=0", &l, roomy);
    l.kv_blk = 501;
    expect_lines("lightllm-slora", "adapter_tok=0", &l, short_of_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_budget_split),
        cmocka_unit_test(vector_preempt),
        cmocka_unit_test(vector_slora),
        cmocka_unit_test(vllm_v1),
        cmocka_unit_test(vllm_v1_cache),
        cmocka_unit_test(vllm_v1_runs),
        cmocka_unit_test(others),
        cmocka_unit_test(jumps_under_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
