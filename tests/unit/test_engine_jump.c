/* SPDX-License-Identifier: Apache-2.0
 *
 * Jumping against walking where both are hardest to get equal: a cost that bends every few steps and may
 * fall as contexts grow, a policy that changes its mind every seven decode steps and pushes out whom it
 * likes, dense samples, tiny pools. Every batcher, many seeds, compared by request, gap, sample and
 * counter. The same once more with the engine stepped from outside, as a cluster does it. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sim/core/hist.h"
#include "sim/core/rng.h"
#include "sim/engine/engine.h"

#define JOBS    60
#define SAMPLES 4096

/* ---- a bent cost ---- */

struct bent {
    int64_t fixed, per_seq, per_ctx, per_prompt, bend;
    uint64_t knee; /* contexts between two bends */
};

static void bent_iteration(const void *state, const struct batch_shape *s, struct cost_affine *ret)
{
    const struct bent *b = state;
    uint64_t level = s->decode_ctx_tok / b->knee;
    sim_wide base = b->fixed + b->per_seq * (int64_t)s->n_decode +
                    (sim_wide)b->per_ctx * (sim_wide)s->decode_ctx_tok +
                    (sim_wide)b->per_prompt * (sim_wide)s->prefill_tok + b->bend * (int64_t)(level % 5);
    uint64_t valid = 1;

    if (s->n_prefill == 0 && s->n_decode > 0) {
        valid = ((level + 1) * b->knee - s->decode_ctx_tok + s->n_decode - 1) / s->n_decode;
    }
    cost_finish(ret, base, (sim_wide)b->per_ctx * s->n_decode, valid);
}

static const struct cost_ops bent_ops = {.name = "bent", .iteration = bent_iteration};

static struct bent bent_draw(struct rng_stream s)
{
    const double ms = 1e6 * SIM_TICKS_PER_NS;
    bool falls = rng_range(s, 0, 0, 0, 2) == 0;

    return (struct bent){
        .fixed = (int64_t)(ms * (5 + 3 * rng_uniform(s, 0, 1))),
        .per_seq = (int64_t)(ms * 0.1 * rng_uniform(s, 0, 2)),
        .per_ctx = (int64_t)(ms * 2e-4 * rng_uniform(s, 0, 3)) * (falls ? -1 : 1),
        .per_prompt = (int64_t)(ms * 0.05 * rng_uniform(s, 0, 4)),
        .bend = (int64_t)(ms * 0.7 * rng_uniform(s, 0, 5)),
        .knee = rng_range(s, 0, 6, 20, 4000),
    };
}

/* ---- a fickle policy ---- */

#define MOOD 7u /* decode steps between two changes of mind */

struct fickle {
    req_id waiting[JOBS];
    uint32_t n;
    bool steady; /* keeps its mind: a policy that pushes out for the sake of others has to */
};

static uint64_t liking(const struct sched_view *v, req_id r, uint64_t mood)
{
    uint64_t x = (v->reqs[r].serial + 1) * 0x9E3779B97F4A7C15u ^ (mood + 1) * 0xBF58476D1CE4E5B9u;

    x ^= x >> 31;
    return x * 0x94D049BB133111EBu;
}

static const char *fickle_arrive(void *st, const struct sched_view *v, req_id r)
{
    struct fickle *f = st;

    (void)v;
    f->waiting[f->n++] = r;
    return NULL;
}

static req_id fickle_next(void *st, const struct sched_view *v)
{
    struct fickle *f = st;
    req_id best = REQ_NONE;

    for (uint32_t i = 0; i < f->n; i++) {
        uint64_t mood = f->steady ? 0 : v->decode_iter / MOOD;

        if (best == REQ_NONE || liking(v, f->waiting[i], mood) > liking(v, best, mood)) {
            best = f->waiting[i];
        }
    }
    return best;
}

static void fickle_forget(void *st, req_id r)
{
    struct fickle *f = st;
    uint32_t i = 0;

    while (f->waiting[i] != r) {
        i++;
        assert_true(i < f->n);
    }
    f->waiting[i] = f->waiting[--f->n];
}

static void fickle_admit(void *st, const struct sched_view *v, req_id r, uint32_t cached_tok)
{
    (void)v;
    (void)cached_tok;
    fickle_forget(st, r);
}

static void fickle_drop(void *st, const struct sched_view *v, req_id r)
{
    (void)v;
    fickle_forget(st, r);
}

static void fickle_preempt(void *st, const struct sched_view *v, req_id r)
{
    fickle_arrive(st, v, r);
}

static req_id fickle_victim(void *st, const struct sched_view *v)
{
    req_id worst = REQ_NONE;

    (void)st;
    for (req_id r = v->running_head; r != REQ_NONE; r = v->reqs[r].q_next) {
        if (worst == REQ_NONE || liking(v, r, 0) < liking(v, worst, 0)) {
            worst = r;
        }
    }
    return worst;
}

/* Whom it likes less than the one that waits. */
static req_id fickle_displace(void *st, const struct sched_view *v, req_id waiting)
{
    req_id r = fickle_victim(st, v);

    return r != REQ_NONE && liking(v, r, 0) < liking(v, waiting, 0) ? r : REQ_NONE;
}

/* Some lose patience, at a change of mood. */
static req_id fickle_give_up(void *st, const struct sched_view *v)
{
    struct fickle *f = st;

    for (uint32_t i = 0; i < f->n; i++) {
        uint64_t serial = v->reqs[f->waiting[i]].serial;

        if (serial % 5 == 3 && v->decode_iter / MOOD > serial) {
            return f->waiting[i];
        }
    }
    return REQ_NONE;
}

static uint64_t fickle_horizon(void *st, const struct sched_view *v)
{
    (void)st;
    return MOOD - v->decode_iter % MOOD;
}

static uint32_t fickle_waiting(const void *st)
{
    return ((const struct fickle *)st)->n;
}

static const struct policy_ops fickle_ops = {
    .name = "fickle", .abi = POLICY_ABI, .arrive = fickle_arrive, .next = fickle_next,
    .admit = fickle_admit, .preempt = fickle_preempt, .drop = fickle_drop, .victim = fickle_victim,
    .horizon = fickle_horizon, .waiting = fickle_waiting,
};

/* ---- a run, with all that can be seen of it ---- */

struct job {
    sim_ns arrival;
    uint32_t prompt, output;
    sim_ns admit, first, finish;
    uint32_t preemptions;
    bool refused;
};

struct sighting {
    sim_ns at;
    uint32_t running, waiting;
    uint64_t kv_free;
};

struct sight {
    struct job job[JOBS];
    size_t next, sent; /* handed over; known, when stepped from outside */
    struct hist gaps;
    struct sighting sample[SAMPLES];
    size_t n_samples;
    struct engine_counters n;
    struct engine e;
};

static int arrivals(void *ctx, struct arrival *a, struct err *e)
{
    struct sight *s = ctx;

    (void)e;
    if (s->next == JOBS) {
        return 0;
    }
    if (s->next == s->sent) {
        return 2;
    }
    *a = (struct arrival){.time_ns = s->job[s->next].arrival, .prompt_tok = s->job[s->next].prompt,
                          .output_tok = s->job[s->next].output, .client = (uint32_t)s->next % 3};
    s->next++;
    return 1;
}

static int left(void *o, const struct req *r, const struct live *l, bool rejected, const char *why,
                struct err *e)
{
    struct sight *s = o;
    struct job *j = &s->job[r->serial];

    (void)e;
    assert_false(rejected);
    assert_int_equal(j->finish, 0);
    j->refused = why != NULL;
    j->admit = l->admit_ns;
    j->first = r->first_token_ns;
    j->finish = s->e.now;
    j->preemptions = l->preemptions;
    return 0;
}

static void gap(void *o, sim_ns ns, uint64_t n)
{
    hist_add(&((struct sight *)o)->gaps, ns, n);
}

static void gaps(void *o, sim_tick base, sim_tick slope, uint64_t k, uint64_t n)
{
    hist_add_affine(&((struct sight *)o)->gaps, base, slope, k, n);
}

static void sample(void *o, sim_ns at)
{
    struct sight *s = o;

    if (s->n_samples < SAMPLES) {
        s->sample[s->n_samples++] = (struct sighting){.at = at, .running = s->e.n_running,
                                                      .waiting = s->e.n_waiting,
                                                      .kv_free = kv_free(s->e.kv)};
    }
}

static void must(int rc, const struct err *e, const char *where)
{
    if (rc < 0) {
        fail_msg("%s: %s", where, e->msg);
    }
}

static void draw_jobs(struct sight *s, struct rng_stream r)
{
    sim_ns t = 0;

    for (uint64_t i = 0; i < JOBS; i++) {
        t += rng_range(r, i, 0, 0, 2) ? (sim_ns)rng_range(r, i, 1, 0, 200000000) : 0;
        s->job[i] = (struct job){.arrival = t, .prompt = (uint32_t)rng_range(r, i, 2, 1, 150),
                                 .output = (uint32_t)rng_range(r, i, 3, 1, 120)};
    }
}

enum drive { WALK, JUMP, STEP };

/* One event at a time; each arrival is told when it is there, after the steps that end with it and before
 * the boundary that comes with it. Jumps are cut at random, too. */
static int step_through(struct sight *s, struct rng_stream r, struct err *e)
{
    uint64_t n = 0;

    if (engine_begin(&s->e, e) < 0) {
        return e->code;
    }
    for (;;) {
        enum engine_event what;
        sim_ns at = engine_next_ns(&s->e, &what), later = (sim_ns)rng_range(r, ++n, 9, 0, 300000000);
        sim_ns cut = at < SIM_NEVER - later ? at + later : SIM_NEVER;
        sim_ns next = s->sent < JOBS ? s->job[s->sent].arrival : SIM_NEVER;

        if (at == SIM_NEVER && next == SIM_NEVER) {
            return 0;
        }
        if (next < at || (next == at && what == ENGINE_BOUNDARY)) {
            s->sent++;
            if (engine_look(&s->e) < 0) {
                return e->code;
            }
        } else if (engine_advance(&s->e, next < cut ? next : cut) < 0) {
            return e->code;
        }
    }
}

static struct sight *see(uint64_t seed, const char *spec, uint64_t kv_tok, enum drive drive,
                         const char *where)
{
    struct sight *s = calloc(1, sizeof(*s));
    struct rng_stream r = rng_stream(seed, 0, "jump");
    struct arena a = {0};
    struct err e = {0};
    char name[64];
    struct batcher_traits traits = {.block_tok = 1};
    struct batcher_env env = {.arena = &a, .traits = &traits, .kv_tok = (int64_t)kv_tok};
    const struct batcher_ops *batcher;
    struct bent bent = bent_draw(r);
    struct fickle fickle = {.steady = seed % 3 == 1};
    struct policy_ops policy = fickle_ops;
    struct engine_config c = {
        .cost = &bent_ops, .cost_state = &bent, .policy = &policy, .policy_state = &fickle,
        .skip = drive != WALK, .check = true, .fed = drive == STEP, .batcher_name = spec, .policy_name = "fickle",
        .arrivals = arrivals, .arrivals_ctx = s,
        .obs = {.left = left, .gap = gap, .gaps = gaps, .sample = sample, .o = s,
                .tick_ns = 17000000 + (sim_ns)(seed % 5) * 70000000},
    };

    assert_non_null(s);
    policy.displace = seed % 3 == 1 ? fickle_displace : NULL;
    policy.give_up = seed % 4 >= 2 ? fickle_give_up : NULL;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(spec, "{"), spec);
    c.batcher = batcher = batcher_find(name);
    assert_non_null(batcher);
    c.batcher_state = arena_alloc(&a, batcher->state_size);
    must(opt_spec_apply(spec, batcher->options, c.batcher_state, &a, &e), &e, where);
    must(batcher->init(c.batcher_state, &env, &e), &e, where);
    draw_jobs(s, r);
    must(hist_init(&s->gaps, &a), &e, where);
    c.traits = traits;
    c.kv = (struct kv_config){.blocks = kv_tok / traits.block_tok, .block_tok = traits.block_tok,
                              .prefix_cache = traits.prefix_cache, .identity = seed % 2 == 0};
    must(engine_init(&s->e, &c, &a, &e), &e, where);
    s->sent = drive == STEP ? 0 : JOBS;
    must(drive == STEP ? step_through(s, r, &e) : engine_run(&s->e, &e), &e, where);
    s->n = s->e.n;
    assert_int_equal(fickle.n, 0);
    engine_release(&s->e);
    s->e.arena = NULL;
    /* keep the bins */
    {
        uint64_t *bins = malloc(HIST_BINS * sizeof(*bins));

        assert_non_null(bins);
        memcpy(bins, s->gaps.bin, HIST_BINS * sizeof(*bins));
        s->gaps.bin = bins;
    }
    arena_release(&a);
    return s;
}

static void sight_free(struct sight *s)
{
    free(s->gaps.bin);
    free(s);
}

/* ---- comparison ---- */

static bool same_counters(const struct engine_counters *a, const struct engine_counters *b)
{
    struct engine_counters x = *a, y = *b;

    x.walked = y.walked = 0;
    return x.steps == y.steps && x.decode_steps == y.decode_steps && x.prefill_steps == y.prefill_steps &&
           x.decode_tok == y.decode_tok && x.prefill_tok == y.prefill_tok && x.hit_tok == y.hit_tok &&
           x.lookup_tok == y.lookup_tok && x.preemptions == y.preemptions && x.busy_ns == y.busy_ns &&
           x.finished == y.finished && x.refused == y.refused && x.peak_running == y.peak_running;
}

static void compare(const struct sight *a, const struct sight *b, const char *where)
{
    for (int i = 0; i < JOBS; i++) {
        const struct job *x = &a->job[i], *y = &b->job[i];

        if (x->admit != y->admit || x->first != y->first || x->finish != y->finish ||
            x->preemptions != y->preemptions || x->refused != y->refused) {
            fail_msg("%s: request %d: %" PRId64 " %" PRId64 " %" PRId64 " jumping, %" PRId64 " %" PRId64
                     " %" PRId64 " walking", where, i, x->admit, x->first, x->finish, y->admit, y->first,
                     y->finish);
        }
    }
    assert_int_equal(a->n_samples, b->n_samples);
    for (size_t i = 0; i < a->n_samples; i++) {
        if (memcmp(&a->sample[i], &b->sample[i], sizeof(a->sample[i])) != 0) {
            fail_msg("%s: sample at %" PRId64 ": %u %u %" PRIu64 " jumping, %u %u %" PRIu64 " walking", where,
                     a->sample[i].at, a->sample[i].running, a->sample[i].waiting, a->sample[i].kv_free,
                     b->sample[i].running, b->sample[i].waiting, b->sample[i].kv_free);
        }
    }
    if (memcmp(a->gaps.bin, b->gaps.bin, HIST_BINS * sizeof(*a->gaps.bin)) != 0 ||
        a->gaps.sum_ticks != b->gaps.sum_ticks) {
        fail_msg("%s: gaps differ", where);
    }
    if (!same_counters(&a->n, &b->n)) {
        fail_msg("%s: counters differ", where);
    }
}

/* As many gaps as tokens after the first, where nobody was refused half-way. */
static void check_gaps(const struct sight *s, const char *where)
{
    uint64_t want = 0;

    for (int i = 0; i < JOBS; i++) {
        if (s->job[i].refused && s->job[i].first != SIM_NEVER) {
            return;
        }
        want += s->job[i].refused ? 0 : s->job[i].output - 1;
    }
    if (s->gaps.count != want) {
        fail_msg("%s: %" PRIu64 " gaps, %" PRIu64 " expected", where, s->gaps.count, want);
    }
}

static void test_jump(void **state)
{
    static const char *const batcher[] = {
        "vllm-v1", "vllm-v1{version=0.13}", "vllm-v1{max_num_batched_tokens=70,max_num_seqs=12}",
        "vllm-v1{version=0.13,block_size=1,max_num_batched_tokens=50}", "vllm-v0",
        "vllm-v0{chunked_prefill=on}", "vllm-v0{num_scheduler_steps=5,chunked_prefill=off}",
        "sglang", "sglang{mixed_chunk=on,chunked_prefill_size=40}", "sglang{overlap=off}", "sarathi",
        "orca{max_model_len=300}", "static", "trtllm", "trtllm{capacity=max-utilization}",
        "lightllm-slora{adapter_tok=0}", "equinox", "equinox{adaptive=off,stall_free=off}",
    };
    static const uint64_t kv[] = {320, 640, 1600, 9600};
    uint64_t jumped = 0, pushed = 0;

    (void)state;
    for (size_t b = 0; b < sizeof(batcher) / sizeof(batcher[0]); b++) {
        for (uint64_t seed = 0; seed < 12; seed++) {
            char where[200];
            struct sight *jump, *walk, *step;

            snprintf(where, sizeof(where), "%s, seed %" PRIu64, batcher[b], seed);
            jump = see(seed, batcher[b], kv[seed % 4], JUMP, where);
            walk = see(seed, batcher[b], kv[seed % 4], WALK, where);
            compare(jump, walk, where);
            check_gaps(jump, where);
            snprintf(where, sizeof(where), "%s, seed %" PRIu64 ", stepped", batcher[b], seed);
            step = see(seed, batcher[b], kv[seed % 4], STEP, where);
            compare(step, walk, where);
            sight_free(step);
            jumped += walk->n.walked - jump->n.walked;
            pushed += jump->n.preemptions;
            sight_free(jump);
            sight_free(walk);
        }
    }
    assert_true(jumped > 10000 && pushed > 100);
}

/* ---- nothing spins ---- */

static req_id first_come(void *st, const struct sched_view *v)
{
    const struct fickle *f = st;
    req_id best = REQ_NONE;

    for (uint32_t i = 0; i < f->n; i++) {
        if (best == REQ_NONE || v->reqs[f->waiting[i]].serial < v->reqs[best].serial) {
            best = f->waiting[i];
        }
    }
    return best;
}

/* Whoever has come furthest. */
static req_id spiteful_victim(void *st, const struct sched_view *v)
{
    req_id most = v->running_head;

    (void)st;
    for (req_id r = most; r != REQ_NONE; r = v->reqs[r].q_next) {
        most = v->reqs[r].computed_tok > v->reqs[most].computed_tok ? r : most;
    }
    return most;
}

static int two_long(void *ctx, struct arrival *a, struct err *e)
{
    int *n = ctx;

    (void)e;
    *a = (struct arrival){.time_ns = 0, .prompt_tok = 300, .output_tok = 5};
    return (*n)++ < 3;
}

/* Prompts that fit alone, admitted together, and a policy that always pushes out the one that has come
 * furthest: no token would ever come out. The run ends and says who is to blame. */
static void test_livelock(void **state)
{
    struct arena a = {0};
    struct err e = {0};
    struct batcher_traits traits = {.block_tok = 1};
    struct batcher_env env = {.arena = &a, .traits = &traits};
    const struct batcher_ops *batcher = batcher_find("vllm-v1");
    struct bent bent = bent_draw(rng_stream(1, 0, "livelock"));
    struct fickle fickle = {.n = 0};
    struct policy_ops policy = fickle_ops;
    int n = 0;
    struct engine_config c = {
        .cost = &bent_ops, .cost_state = &bent, .policy = &policy, .policy_state = &fickle, .skip = true,
        .batcher = batcher, .batcher_state = arena_alloc(&a, batcher->state_size),
        .batcher_name = "vllm-v1", .policy_name = "spiteful", .arrivals = two_long, .arrivals_ctx = &n,
        .kv = {.blocks = 21, .block_tok = 16},
    };
    struct engine engine;

    (void)state;
    policy.next = first_come;
    policy.horizon = NULL;
    policy.victim = spiteful_victim;
    must(opt_spec_apply("vllm-v1{version=0.13,prefix_caching=off,long_prefill_token_threshold=33}",
                        batcher->options, c.batcher_state, &a, &e), &e, "livelock");
    must(batcher->init(c.batcher_state, &env, &e), &e, "livelock");
    c.traits = traits;
    must(engine_init(&engine, &c, &a, &e), &e, "livelock");
    assert_int_equal(engine_run(&engine, &e), SIM_E_CHECK);
    assert_non_null(strstr(e.msg, "no progress"));
    assert_non_null(strstr(e.msg, "spiteful"));
    engine_release(&engine);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jump),
        cmocka_unit_test(test_livelock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
