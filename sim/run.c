/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts a run together from its configuration and takes it apart into results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/run_parts.h"

/* ---- parts ---- */

static int load_machine(struct run *r)
{
    const struct run_config *c = r->cfg;
    const char *dir = steelyard_data_dir(c->data_dir, r->arena);

    if (c->model && llm_load(&r->llm, c->model, dir, c->weight_dtype, c->kv_dtype, r->arena, r->err) < 0) {
        return r->err->code;
    }
    if (c->gpu && gpu_load(&r->gpu, c->gpu, dir, r->arena, r->err) < 0) {
        return r->err->code;
    }
    r->has_llm = c->model != NULL;
    r->has_gpu = c->gpu != NULL;
    if (((uint64_t)c->pcie_payload & ((uint64_t)c->pcie_payload - 1)) != 0) {
        return err_set(r->err, SIM_E_CONFIG, "pcie.payload: %g is no size of packets: 128, 256, 512, 1024, 2048 and 4096 are",
                       (double)c->pcie_payload);
    }
    return 0;
}

static int load_cost(struct run *r)
{
    const char *name = opt_spec_name(r->cfg->cost, r->arena);

    r->cost = name ? cost_find(name) : NULL;
    if (!r->cost) {
        const char *names[32];
        size_t n = 0;
        const char *near;

        while (n < 32 && cost_models[n]) {
            names[n] = cost_models[n]->name;
            n++;
        }
        near = name ? text_nearest(name, names, n) : NULL;
        return err_set(r->err, SIM_E_CONFIG, "cost: no cost model '%s'%s%s%s (steelyard list costs)",
                       name ? name : "", near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    r->cost_state = arena_alloc(r->arena, r->cost->state_size);
    if (!r->cost_state) {
        return no_memory(r);
    }
    if (opt_spec_apply(r->cfg->cost, r->cost->options, r->cost_state, r->arena, r->err) < 0) {
        return err_wrap(r->err, "cost: ");
    }
    r->cost_env = (struct cost_env){.llm = r->has_llm ? &r->llm : NULL,
                                    .gpu = r->has_gpu ? &r->gpu : NULL,
                                    .tp = (uint32_t)r->cfg->tp,
                                    .max_seqs = r->traits.max_seqs,
                                    .arena = r->arena};
    if (run_find_ring(r) < 0) {
        return r->err->code;
    }
    return r->cost->init(r->cost_state, &r->cost_env, r->err);
}

/* All replicas are alike: each writes the same traits. */
static int init_batcher(struct run *r, struct member *m)
{
    struct batcher_env env = {.arena = r->arena,
                              .gpu_mem_bytes = r->has_gpu ? r->gpu.mem_bytes : 0,
                              .gpu_name = r->has_gpu ? r->gpu.name : NULL,
                              .max_context_tok = r->has_llm ? r->llm.max_context_tok : 0,
                              .kv_tok = (int64_t)r->cfg->kv_tokens,
                              .traits = &r->traits};

    m->batcher_state = arena_alloc(r->arena, r->batcher->state_size);
    if (!m->batcher_state) {
        return no_memory(r);
    }
    if (r->batcher->options &&
        opt_spec_apply(r->cfg->batcher, r->batcher->options, m->batcher_state, r->arena, r->err) < 0) {
        return err_wrap(r->err, "batcher: ");
    }
    return r->batcher->init(m->batcher_state, &env, r->err);
}

static int load_batcher(struct run *r)
{
    const char *name = opt_spec_name(r->cfg->batcher, r->arena);

    r->batcher = name ? batcher_find(name) : NULL;
    if (!r->batcher) {
        const char *names[32];
        size_t n = 0;
        const char *near;

        while (n < 32 && batchers[n]) {
            names[n] = batchers[n]->name;
            n++;
        }
        near = name ? text_nearest(name, names, n) : NULL;
        return err_set(r->err, SIM_E_CONFIG,
                       "batcher: no batcher '%s'%s%s%s (steelyard list batchers)", name ? name : "",
                       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    r->traits.block_tok = 1;
    for (uint32_t i = 0; i < r->n; i++) {
        if (init_batcher(r, &r->member[i]) < 0) {
            return r->err->code;
        }
    }
    return 0;
}

/* Weights on a rank: of experts that are spread over ranks only those that are here, copies included. */
static double rank_weight_bytes(const struct run *r)
{
    const struct llm_shape *m = &r->llm;
    double all = experts_weight_bytes(r->cfg, m), layer = llm_layer(m).expert * dtype_bytes(m->weight_dtype), here;
    struct cost_spread s;

    if (!r->cost->spread) {
        return all;
    }
    r->cost->spread(r->cost_state, &s);
    here = ((double)m->experts + s.redundant) / s.ranks;
    return all - layer * llm_moe_layers(m) * (m->experts - here + (s.shared_apart ? m->shared_experts : 0));
}

/* Usable blocks of the pool: as logged, as given in tokens, or by the memory rule. */
static int size_pool(struct run *r)
{
    const struct run_config *c = r->cfg;
    uint32_t block = r->traits.block_tok;
    int64_t tok;

    if (c->kv_blocks > 0 && c->kv_tokens > 0) {
        return err_set(r->err, SIM_E_CONFIG, "kv.blocks and kv.tokens say the same thing: give one");
    }
    if (c->kv_blocks > 0) {
        r->blocks = (uint64_t)c->kv_blocks;
    } else if (c->kv_tokens > 0) {
        r->blocks = (uint64_t)c->kv_tokens / block;
    } else if (r->has_gpu && r->has_llm) {
        if (gpu_kv_tokens_beside(&r->gpu, &r->llm, rank_weight_bytes(r), (uint32_t)c->tp,
                                 c->gpu_mem_util, r->traits.max_batched_tok, block, &tok, r->err) < 0) {
            return r->err->code;
        }
        r->blocks = (uint64_t)tok / block;
    } else {
        return err_set(r->err, SIM_E_CONFIG,
                       "size of the KV pool unknown: name a model and a GPU, or set kv.tokens");
    }
    if (r->traits.null_block && r->blocks > 0) {
        r->blocks--;
    }
    return r->blocks > 0 ? 0
                         : err_set(r->err, SIM_E_CONFIG,
                                   "the KV pool is smaller than one block of %u tokens%s", block,
                                   r->traits.null_block ? ", apart from the one the engine keeps" : "");
}

static uint32_t truth_output(const void *engine, req_id q)
{
    return live_of(engine, q)->output_tok;
}

static uint32_t cached_tok(const void *engine, req_id q)
{
    return eng_hit((struct engine *)engine, q); /* remembers the answer, changes nothing else */
}

static int on_violation(void *ctx, const char *text)
{
    struct run *r = ctx;
    bool first = r->err->code == 0;

    err_set(r->err, SIM_E_CHECK, "policy %s: %s", r->cfg->policy, text);
    return first ? 0 : 1;
}

/* Lines of several replicas say which one speaks. */
static void on_log(void *ctx, const char *line)
{
    const struct member *m = ctx;
    const struct run_hooks *h = m->run->hooks;
    char *named = NULL;

    if (!h || !h->log) {
        return;
    }
    if (m->run->n > 1 && line[0] == '{' && asprintf(&named, "{\"replica\":%u,%s", m->index, line + 1) > 0) {
        h->log(h->ctx, named);
        free(named);
        return;
    }
    h->log(h->ctx, line);
}

static int open_policy(struct run *r, struct member *m)
{
    m->policy_env = (struct policy_env){
        .arena = r->arena,
        .seed = (uint64_t)r->cfg->seed,
        .replication = (uint32_t)r->cfg->replication,
        .kv_tok = (int64_t)(r->blocks * r->traits.block_tok),
        .data_dir = r->cfg->data_dir,
        .engine = &m->engine,
        .cached_tok = cached_tok,
        .log = on_log,
        .log_ctx = m,
        .violation = on_violation,
        .violation_ctx = r,
    };
    if (policy_open(r->cfg->policy, &m->policy_env, &m->policy, r->err) < 0) {
        return r->err->code;
    }
    if (m->policy_env.oracle) {
        m->policy_env.truth_output = truth_output;
    }
    return 0;
}

static int load_policy(struct run *r)
{
    for (uint32_t i = 0; i < r->n; i++) {
        if (open_policy(r, &r->member[i]) < 0) {
            return r->err->code;
        }
    }
    return 0;
}

/* One replica needs no router. */
static int load_router(struct run *r)
{
    r->route_env = (struct route_env){.arena = r->arena,
                                      .seed = (uint64_t)r->cfg->seed,
                                      .replication = (uint32_t)r->cfg->replication,
                                      .n = r->n,
                                      .kv_tok = (int64_t)(r->blocks * r->traits.block_tok)};
    return r->n > 1 ? router_open(r->cfg->router, &r->route_env, &r->router, r->err) : 0;
}

static int load_members(struct run *r)
{
    r->n = (uint32_t)r->cfg->replicas;
    r->member = arena_calloc(r->arena, r->n, sizeof(*r->member));
    if (!r->member) {
        return no_memory(r);
    }
    for (uint32_t i = 0; i < r->n; i++) {
        r->member[i] = (struct member){.run = r, .index = i};
    }
    return 0;
}

/* ---- host time of a step ---- */

/* Filtering the logits of a row by top-p and top-k, per word of the vocabulary: benchmarks in vLLM's pull
 * request 40376, 131072 words: 64 rows 1.00 to 1.07 ms with PyTorch's sort and 0.31 to 0.46 ms without,
 * 128 rows 2.27 to 2.40 and 0.35 to 0.53. The GPU is not named there; it is taken for every one. */
double run_sampling_s(const struct run *r)
{
    static const double per_word[] = {[SAMPLING_SORT] = 17e-6 / 131072, [SAMPLING_SELECT] = 5e-6 / 131072};

    return r->has_llm ? per_word[r->cfg->sampling] * r->llm.vocab : 0;
}

static sim_tick sampling_ticks(const struct run *r)
{
    return (sim_tick)llround(run_sampling_s(r) * 1e9 * SIM_TICKS_PER_NS);
}

static sim_tick step_overhead(const struct run_config *c)
{
    return (sim_tick)llround(c->step_overhead_s * 1e9 * SIM_TICKS_PER_NS);
}

/* ---- callbacks of the engine ---- */

static int next_arrival(void *ctx, struct arrival *a, struct err *e)
{
    return workload_next(&((struct run *)ctx)->load, a, e);
}

static void request_left(void *ctx, const struct req *q, uint32_t output_tok, sim_ns now,
                         struct arrival *pending)
{
    (void)output_tok;
    workload_left(&((struct run *)ctx)->load, q->serial, now, pending);
}

static float client_weight(void *ctx, uint32_t client)
{
    return workload_weight(&((struct run *)ctx)->load, client);
}

static int poll_progress(void *ctx)
{
    struct run *r = ctx;

    if (!r->hooks || !r->hooks->progress) {
        return 0;
    }
    return r->hooks->progress(r->hooks->ctx, workload_progress(&r->load),
                              r->n > 1 ? r->cluster.now : r->member[0].engine.now,
                              r->n > 1 ? r->cluster.routed : r->member[0].engine.n.arrived);
}

static const char *client_name(void *ctx, uint32_t client)
{
    const char *name = trace_client_name(((struct run *)ctx)->load.trace, client);

    return name ? name : "?";
}

/* ---- executor, and files that hear of every step ---- */

static int add_executor(struct run *r, struct engine_config *ec)
{
    if (r->hooks && r->hooks->timeline && !r->timeline.out &&
        timeline_open(&r->timeline, r->hooks->timeline, r->n, r->err) < 0) {
        return r->err->code;
    }
    if (experts_open(&r->experts, r->cfg, r->has_llm ? &r->llm : NULL, r->has_gpu ? &r->gpu : NULL, r->cost,
                     r->cost_state, ec->way ? ec->way[0].link : NULL, r->timeline.out ? &r->timeline : NULL, r->arena, r->err) < 0) {
        return r->err->code;
    }
    if (r->cfg->executor == EXECUTOR_LAYERS) {
        ec->execute = layers_execute;
        ec->execute_ctx = &r->experts.layers;
    }
    if (placement_open(&r->placement, r->cfg, r->has_llm ? &r->llm : NULL, r->cost, r->cost_state,
                       r->timeline.out ? &r->timeline : NULL, r->arena, r->err) < 0) {
        return r->err->code;
    }
    if (r->placement.open) {
        ec->execute = balancer_execute;
        ec->execute_ctx = &r->placement.balancer;
    }
    return 0;
}

static void name_work(char *to, size_t size, const struct batch_shape *b)
{
    const char *s = b->n_prefill == 1 ? "" : "s";
    unsigned long long tok = (unsigned long long)b->prefill_tok;

    if (b->n_prefill == 0) {
        snprintf(to, size, "decode %u", b->n_decode);
    } else if (b->n_decode == 0) {
        snprintf(to, size, "prefill %llu tokens, %u chunk%s", tok, b->n_prefill, s);
    } else {
        snprintf(to, size, "decode %u, prefill %llu tokens, %u chunk%s", b->n_decode, tok, b->n_prefill, s);
    }
}

/* The engine's own time comes last in a step. */
static void draw_step(struct member *m, const struct engine *e, const struct step *s)
{
    struct timeline *t = &m->run->timeline;
    sim_ns own = e->cfg.step_overhead >> SIM_TICKS_PER_NS_LOG2;
    char work[96];

    timeline_slice_of(t, m->index, TRACK_HOST, e->now, e->cur_start_ns, "waits for KV");
    name_work(work, sizeof work, &s->shape);
    timeline_slice_of(t, m->index, TRACK_STEP, e->cur_start_ns, e->cur_end_ns, "step %llu: %s",
                      (unsigned long long)e->n.steps, work);
    timeline_slice_of(t, m->index, TRACK_HOST, e->cur_end_ns - own, e->cur_end_ns, "overhead");
}

static void on_step(void *ctx, const struct engine *e, const struct step *s)
{
    struct member *m = ctx;

    if (m->run->plan.out) {
        plan_file_step(&m->run->plan, e, s);
    }
    draw_step(m, e, s);
}

static void on_copied(void *ctx, const struct engine *e, const struct kv_copy *c)
{
    struct member *m = ctx;
    enum timeline_track track = c->tier != KV_HOST ? TRACK_KV_BELOW : c->in ? TRACK_KV_IN : TRACK_KV_OUT;
    unsigned long long blk = (unsigned long long)llround(c->bytes / e->cfg.kv_block_bytes);
    unsigned long long whose = (unsigned long long)(c->session ? c->session : c->serial);
    const char *kind = c->session ? "session" : "request";

    if (c->waited) {
        timeline_slice_of(&m->run->timeline, m->index, track, c->from_ns, c->to_ns, "%llu blocks", blk);
    } else if (c->tier == KV_HOST) {
        timeline_slice_of(&m->run->timeline, m->index, track, c->from_ns, c->to_ns, "%s %llu: %llu blocks", kind, whose,
                          blk);
    } else {
        timeline_slice_of(&m->run->timeline, m->index, track, c->from_ns, c->to_ns, "%s %llu: %.3g MB %s %s", kind, whose,
                          c->bytes / 1e6, c->in ? "from" : "to", kv_tier_name(c->tier));
    }
}

static int add_step_files(struct run *r, struct member *m, struct engine_config *ec)
{
    const struct run_hooks *h = r->hooks;

    if (h && h->plan_out &&
        plan_file_open(&r->plan, h->plan_out, r->cfg, r->has_llm ? &r->llm : NULL, ec, r->err) < 0) {
        return r->err->code;
    }
    if (r->plan.out || r->timeline.out) {
        ec->obs.step = on_step;
        ec->obs.copied = r->timeline.out ? on_copied : NULL;
        ec->obs.step_o = m;
        ec->skip = false;
    }
    return 0;
}

static bool is_closed_loop(const struct run_config *c)
{
    return c->load_sessions || c->load_concurrency > 0;
}

static void describe_engine(struct run *r, struct member *m, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;

    *ec = (struct engine_config){
        .kv = {.blocks = r->blocks, .block_tok = r->traits.block_tok,
               .prefix_cache = r->traits.prefix_cache,
               .group_blk = (uint32_t)c->kv_group_blk,
               .identity = r->traits.prefix_cache && (trace_caps(r->load.trace) & TRACE_HASHES)},
        .traits = r->traits,
        .cost = r->cost,
        .cost_state = r->cost_state,
        .batcher = r->batcher,
        .batcher_state = m->batcher_state,
        .policy = m->policy.ops,
        .policy_state = m->policy.st,
        .request_delay_ns = to_ns(c->request_delay_s),
        .request_serial_ns = to_ns(c->request_serial_s),
        .step_overhead = step_overhead(c),
        .row_overhead = sampling_ticks(r),
        .cold_start = (sim_tick)llround(c->cold_start_s * 1e9 * SIM_TICKS_PER_NS),
        .skip = c->skip,
        .check = c->check,
        .batcher_name = c->batcher,
        .policy_name = c->policy,
        .arrivals = next_arrival,
        .left = is_closed_loop(c) ? request_left : NULL,
        .arrivals_ctx = r,
        .client_weight = client_weight,
        .poll = poll_progress,
    };
}

static int build_engine(struct run *r, struct member *m)
{
    struct engine_config ec;

    describe_engine(r, m, &ec);
    if (run_add_kv(r, m->index, &ec) < 0) {
        return r->err->code;
    }
    ec.obs = metrics_observer(&r->metrics, m->index, &m->engine);
    m->engine_ready = true;
    if (r->n > 1) {
        cluster_feed(&r->cluster, m->index, &ec);
        cluster_seat(&r->cluster, m->index, &m->engine);
    }
    if (add_executor(r, &ec) < 0 || add_step_files(r, m, &ec) < 0) {
        return r->err->code;
    }
    return engine_init(&m->engine, &ec, r->arena, r->err);
}

static int listen(struct run *r)
{
    const struct run_config *c = r->cfg;

    if (metrics_init(&r->metrics, c, r->hooks, r->n, r->arena, r->err) < 0) {
        return r->err->code;
    }
    r->metrics_ready = true;
    if (alone_init(&r->metrics.alone, r->cost, r->cost_state, r->arena) < 0) {
        return no_memory(r);
    }
    r->metrics.alone.overhead = step_overhead(c) + sampling_ticks(r);
    r->metrics.alone.delay_ns = to_ns(c->request_delay_s) + to_ns(c->request_serial_s) + to_ns(c->output_delay_s);
    r->metrics.alone.chunk_tok = r->traits.max_batched_tok;
    r->metrics.client_name = client_name;
    r->metrics.client_name_ctx = r;
    return 0;
}

static void sample_all(void *ctx, sim_ns at)
{
    metrics_sample(&((struct run *)ctx)->metrics, at);
}

static void answered(void *ctx, uint64_t serial, sim_ns now, struct arrival *pending)
{
    workload_left(&((struct run *)ctx)->load, serial, now, pending);
}

/* What is of one engine by its nature, or has only been built for one. */
static int check_single(struct run *r)
{
    const struct run_hooks *h = r->hooks;

    if (h && h->plan_out) {
        return err_set(r->err, SIM_E_CONFIG, "a plan file holds the steps of one engine: set replicas to 1");
    }
    if (r->cfg->executor == EXECUTOR_LAYERS) {
        return err_set(r->err, SIM_E_CONFIG, "executor=layers plays the memory of one engine: set replicas to 1");
    }
    if (r->cfg->placement_policy) {
        return err_set(r->err, SIM_E_CONFIG, "placement.policy plays the ranks of one engine: set replicas to 1");
    }
    return 0;
}

static int build_cluster(struct run *r)
{
    const struct run_config *c = r->cfg;
    const struct cluster_config cc = {
        .router = r->router,
        .arrivals = next_arrival,
        .left = is_closed_loop(c) ? answered : NULL,
        .client_weight = client_weight,
        .poll = poll_progress,
        .sample = sample_all,
        .ctx = r,
        .tick_ns = metrics_tick_ns(&r->metrics),
        .request_delay_ns = to_ns(c->request_delay_s),
        .glance_ns = to_ns(c->routing_poll_s),
        .echo_ns = to_ns(c->request_delay_s) + to_ns(c->output_delay_s),
        .router_name = c->router,
        .fabric = r->fabric,
        .check = c->check,
    };

    if (check_single(r) < 0) {
        return r->err->code;
    }
    return cluster_init(&r->cluster, &cc, r->n, r->arena, r->err);
}

static int build(struct run *r)
{
    if (listen(r) < 0 || (r->n > 1 && build_cluster(r) < 0)) {
        return r->err->code;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        if (build_engine(r, &r->member[i]) < 0) {
            return r->err->code;
        }
    }
    return 0;
}

static int play(struct run *r)
{
    return r->n > 1 ? cluster_run(&r->cluster, r->err) : engine_run(&r->member[0].engine, r->err);
}

static void tear_down(struct run *r)
{
    if (r->metrics_ready) {
        metrics_release(&r->metrics);
    }
    for (uint32_t i = 0; i < r->n; i++) {
        struct member *m = &r->member[i];

        if (m->engine_ready) {
            engine_release(&m->engine);
        }
        if (m->policy.ops && m->policy.ops->release) {
            m->policy.ops->release(m->policy.st);
        }
    }
    cluster_release(&r->cluster);
    if (r->router.ops && r->router.ops->release) {
        r->router.ops->release(r->router.st);
    }
    workload_close(&r->load);
    experts_close(&r->experts);
    placement_close(&r->placement);
}

int run_execute(const struct run_config *c, const struct run_hooks *h, struct run_result *ret,
                struct arena *a, struct err *e)
{
    struct run *r = arena_alloc(a, sizeof(*r));
    int rc = 0;

    memset(ret, 0, sizeof(*ret));
    if (!r) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a run");
    }
    r->cfg = c;
    r->hooks = h;
    r->arena = a;
    r->err = e;
    if (load_members(r) < 0 || load_machine(r) < 0 || run_load_topology(r) < 0 || load_batcher(r) < 0 || load_cost(r) < 0 ||
        size_pool(r) < 0 || load_policy(r) < 0 || load_router(r) < 0 || workload_open(&r->load, c, a, e) < 0 ||
        build(r) < 0 || play(r) < 0 || run_fill_result(r, ret) < 0) {
        rc = e->code;
    }
    if (plan_file_close(&r->plan, e) < 0 && rc == 0) {
        rc = e->code;
    }
    if (timeline_close(&r->timeline, e) < 0 && rc == 0) {
        rc = e->code;
    }
    tear_down(r);
    return rc;
}
