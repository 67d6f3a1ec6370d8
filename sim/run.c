/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts a run together from its configuration and takes it apart into results. */
#include "sim/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "policies/batcher.h"
#include "policies/offload.h"
#include "policies/open.h"
#include "sim/cluster/cluster.h"
#include "sim/engine/engine.h"
#include "sim/fabric/tier.h"
#include "sim/layers/setup.h"
#include "sim/observe/metrics.h"
#include "sim/observe/plan_file.h"
#include "sim/workload.h"

#define MOST_POLICY_STATS 32

/* What each replica has of its own. */
struct member {
    struct run *run;
    uint32_t index;
    struct policy_env policy_env;
    struct policy_instance policy;
    void *batcher_state;
    struct engine engine;
    bool engine_ready;
};

struct run {
    const struct run_config *cfg;
    const struct run_hooks *hooks;
    struct arena *arena;
    struct err *err;
    struct workload load;
    struct llm_shape llm;
    struct gpu_profile gpu;
    bool has_llm, has_gpu;
    struct cost_env cost_env;
    const struct cost_ops *cost;
    void *cost_state;
    const struct batcher_ops *batcher;
    struct batcher_traits traits;
    uint64_t blocks;
    struct member *member;
    uint32_t n; /* members */
    struct route_env route_env;
    struct router_instance router;
    struct cluster cluster;
    struct metrics metrics;
    bool metrics_ready;
    struct plan_file plan;
    struct timeline timeline;
    struct expert_run experts;
};

static int no_memory(struct run *r)
{
    return err_set(r->err, SIM_E_NOMEM, "out of memory while setting up the run");
}

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
        if (gpu_kv_tokens_beside(&r->gpu, &r->llm, experts_weight_bytes(c, &r->llm), (uint32_t)c->tp,
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

static sim_ns to_ns(double s)
{
    return (sim_ns)llround(s * 1e9);
}

/* ---- fabric: PCIe of one GPU for swapped KV ---- */

/* Filtering the logits of a row by top-p and top-k, per word of the vocabulary: benchmarks in vLLM's pull
 * request 40376, 131072 words: 64 rows 1.00 to 1.07 ms with PyTorch's sort and 0.31 to 0.46 ms without,
 * 128 rows 2.27 to 2.40 and 0.35 to 0.53. The GPU is not named there; it is taken for every one. */
static double sampling_s(const struct run *r)
{
    static const double per_word[] = {[SAMPLING_SORT] = 17e-6 / 131072, [SAMPLING_SELECT] = 5e-6 / 131072};

    return r->has_llm ? per_word[r->cfg->sampling] * r->llm.vocab : 0;
}

static sim_tick sampling_ticks(const struct run *r)
{
    return (sim_tick)llround(sampling_s(r) * 1e9 * SIM_TICKS_PER_NS);
}

static sim_tick step_overhead(const struct run_config *c)
{
    return (sim_tick)llround(c->step_overhead_s * 1e9 * SIM_TICKS_PER_NS);
}

static int add_fabric(struct run *r, uint32_t gpu, struct engine_config *ec)
{
    struct pcie_config pc = {.gen = r->gpu.pcie_gen, .lanes = r->gpu.pcie_lanes,
                             .max_payload_byte = (uint32_t)r->cfg->pcie_payload,
                             .read_request_byte = 512};
    struct link_spec in = {.name = arena_printf(r->arena, "gpu%u.pcie.in", gpu)};
    struct link_spec out = {.name = arena_printf(r->arena, "gpu%u.pcie.out", gpu)};

    if (!r->has_gpu || !r->has_llm || r->gpu.pcie_gen == 0) {
        return 0; /* nothing to swap over: batchers recompute */
    }
    in.overhead_ns = out.overhead_ns = to_ns(r->cfg->pcie_copy_s);
    in.bytes_per_s = pcie_read_bytes_per_s(&pc);
    out.bytes_per_s = pcie_write_bytes_per_s(&pc);
    ec->fabric = fabric_new(r->arena);
    if (!ec->fabric || !in.name || !out.name) {
        return no_memory(r);
    }
    if (fabric_add_link(ec->fabric, &in, &ec->link_in, r->err) < 0 ||
        fabric_add_link(ec->fabric, &out, &ec->link_out, r->err) < 0) {
        return r->err->code;
    }
    /* One copy per layer for keys and one for values (vLLM V0's swap_blocks). */
    ec->copies_per_block = 2 * r->llm.layers;
    ec->kv_block_bytes = llm_kv_bytes_per_tok_rank(&r->llm, (uint32_t)r->cfg->tp) * r->traits.block_tok;
    ec->host_kv_bytes = r->cfg->host_kv_bytes;
    return 0;
}

/* ---- KV that outlives its place on the GPU ---- */

static int load_offload(struct run *r, struct swap_config *s)
{
    const char *name = opt_spec_name(r->cfg->kv_offload, r->arena);
    const char *names[32];
    size_t n = 0;
    void *st;

    while (n < 32 && offload_policies[n]) {
        names[n] = offload_policies[n]->name;
        n++;
    }
    s->offload = name ? offload_find(name) : NULL;
    if (!s->offload) {
        const char *near = name ? text_nearest(name, names, n) : NULL;

        return err_set(r->err, SIM_E_CONFIG, "kv.offload: no offload policy '%s'%s%s%s (steelyard list "
                       "offloads)", name ? name : "", near ? "; did you mean '" : "", near ? near : "",
                       near ? "'?" : "");
    }
    s->offload_state = st = arena_alloc(r->arena, s->offload->state_size + 1);
    if (!st) {
        return no_memory(r);
    }
    return opt_spec_apply(r->cfg->kv_offload, s->offload->options, st, r->arena, r->err) < 0
               ? err_wrap(r->err, "kv.offload: ")
               : 0;
}

static void one_link(struct topo_route *way, const struct fabric *f, link_id l)
{
    *way = (struct topo_route){.n_path = 1, .path = {l}, .hops = 1, .weight = 1,
                               .bytes_per_s = fabric_link(f, l)->bytes_per_s,
                               .latency_ns = fabric_link(f, l)->latency_ns};
}

static int check_swap(const struct run *r, const struct engine_config *ec)
{
    const struct run_config *c = r->cfg;

    if (!c->kv_offload) {
        return c->kv_reuse || c->kv_sessions || c->kv_group_blk || c->kv_swap || c->kv_nvme_bytes > 0 ||
                       c->kv_remote_bytes > 0
                   ? err_set(r->err, SIM_E_CONFIG, "kv.swap, kv.reuse, kv.sessions, kv.groups, kv.nvme and "
                             "kv.remote are about KV that leaves the GPU: set kv.offload too (swap, recompute, "
                             "by-cost)")
                   : 0;
    }
    if (!ec->fabric) {
        return err_set(r->err, SIM_E_CONFIG, "kv.offload: nothing to copy over: name a model and a GPU with PCIe");
    }
    if ((c->kv_swap || c->kv_nvme_bytes > 0 || c->kv_remote_bytes > 0) && !r->traits.late_chunks) {
        return err_set(r->err, SIM_E_CONFIG, "kv.swap=async, kv.nvme, kv.remote: batcher %s computes a prompt when it lets it in, "
                       "or never; vllm-v0, vllm-v1 and sarathi can wait for KV", c->batcher);
    }
    if (c->kv_group_blk && r->traits.prefix_cache) {
        return err_set(r->err, SIM_E_CONFIG, "kv.groups: a prefix cache hands out single blocks; turn it off "
                       "(batcher=%s{prefix_caching=off})", r->batcher->name);
    }
    return 0;
}

/* Reads go through the tier's own link and then into the GPU as copies from host memory do. */
static int add_tier(struct run *r, struct engine_config *ec, enum kv_tier t, double bytes, const char *profile)
{
    struct swap_config *s = &ec->swap;
    struct tier_profile p;
    struct link_spec read = {.name = arena_printf(r->arena, "%s.read", kv_tier_name(t))};
    struct link_spec write = {.name = arena_printf(r->arena, "%s.write", kv_tier_name(t))};
    link_id in, out;

    s->tier_bytes[t] = bytes;
    if (bytes <= 0) {
        return 0;
    }
    if (tier_load(&p, profile, steelyard_data_dir(r->cfg->data_dir, r->arena), r->arena, r->err) < 0) {
        return err_wrap(r->err, "kv.%s_tier: ", kv_tier_name(t));
    }
    read.bytes_per_s = p.read_bytes_per_s;
    read.latency_ns = p.read_latency_ns;
    write.bytes_per_s = p.write_bytes_per_s;
    write.latency_ns = p.write_latency_ns;
    if (!read.name || !write.name) {
        return no_memory(r);
    }
    if (fabric_add_link(ec->fabric, &read, &in, r->err) < 0 ||
        fabric_add_link(ec->fabric, &write, &out, r->err) < 0) {
        return r->err->code;
    }
    one_link(&s->out[t], ec->fabric, out);
    one_link(&s->in[t], ec->fabric, in);
    s->in[t].path[s->in[t].n_path++] = ec->link_in;
    s->in[t].bytes_per_s = fmin(s->in[t].bytes_per_s, fabric_link(ec->fabric, ec->link_in)->bytes_per_s);
    return 0;
}

static int add_swap(struct run *r, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;
    struct swap_config *s = &ec->swap;

    if (check_swap(r, ec) < 0 || !c->kv_offload) {
        return r->err->code;
    }
    s->async = c->kv_swap;
    s->reuse = c->kv_reuse;
    s->sessions = c->kv_sessions;
    s->group_blk = (uint32_t)c->kv_group_blk;
    s->call_ns = to_ns(c->pcie_copy_s);
    s->demote_share = c->kv_demote;
    s->tier_bytes[KV_HOST] = c->host_kv_bytes;
    one_link(&s->in[KV_HOST], ec->fabric, ec->link_in);
    one_link(&s->out[KV_HOST], ec->fabric, ec->link_out);
    if (c->kv_stream_tok > 0 && (c->kv_remote_bytes <= 0 || c->kv_stream_levels.n != STREAM_LEVELS)) {
        return err_set(r->err, SIM_E_CONFIG, "kv.stream: set kv.remote, and three numbers in kv.stream_levels, for "
                       "levels 1, 2 and 3");
    }
    s->stream_tok = (uint32_t)c->kv_stream_tok;
    s->stream_ttft_s = c->kv_stream_ttft_s;
    for (size_t i = 0; c->kv_stream_tok > 0 && i < STREAM_LEVELS; i++) {
        s->stream_share[i + 1] = c->kv_stream_levels.v[i];
    }
    if (add_tier(r, ec, KV_NVME, c->kv_nvme_bytes, c->kv_nvme_tier) < 0 ||
        add_tier(r, ec, KV_REMOTE, c->kv_remote_bytes, c->kv_remote_tier) < 0) {
        return r->err->code;
    }
    return load_offload(r, s);
}

/* ---- KV that stays for programs ---- */

static bool program_goes_on(void *ctx, uint64_t serial)
{
    return sessions_go_on(&((struct run *)ctx)->load.sessions, serial);
}

static int add_pins(struct run *r, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;

    if (!c->kv_pin) {
        return 0;
    }
    if (!c->load_sessions) {
        return err_set(r->err, SIM_E_CONFIG, "kv.pin: which turn follows which is known with load.sessions=on "
                       "only");
    }
    ec->pin = (struct pin_config){.manner = (enum pin_manner)c->kv_pin, .fixed_ns = to_ns(c->kv_pin_time_s),
                                  .goes_on = program_goes_on, .ctx = r};
    return 0;
}

/* ---- KV as virtual memory ---- */

static int add_pages(struct run *r, struct engine_config *ec)
{
    const struct run_config *c = r->cfg;
    double block;

    if (c->kv_page_bytes <= 0) {
        return 0;
    }
    if (!r->has_llm) {
        return err_set(r->err, SIM_E_CONFIG, "kv.page: name a model: how much KV a token has decides");
    }
    /* Of one layer's keys; pages do not span layers. */
    block = llm_kv_bytes_per_tok_rank(&r->llm, (uint32_t)c->tp) * r->traits.block_tok / (2 * r->llm.layers);
    if (fmod(block, c->kv_page_bytes) != 0) {
        return err_set(r->err, SIM_E_CONFIG, "kv.page: a block of %u tokens has %.0f bytes of a layer's keys, which "
                       "are no whole pages of %.0f; %.0f tokens are one page: give the batcher another block_size", r->traits.block_tok, block,
                       c->kv_page_bytes, c->kv_page_bytes / (block / r->traits.block_tok));
    }
    ec->pages = (struct page_config){.per_blk = (uint64_t)(2 * r->llm.layers * (block / c->kv_page_bytes)),
                                     .map = (sim_tick)llround(c->kv_page_map_s * 1e9 * SIM_TICKS_PER_NS),
                                     .ahead = c->kv_page_ahead, .keep = c->kv_page_keep};
    return 0;
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
    if (r->hooks && r->hooks->timeline && timeline_open(&r->timeline, r->hooks->timeline, r->err) < 0) {
        return r->err->code;
    }
    if (experts_open(&r->experts, r->cfg, r->has_llm ? &r->llm : NULL, r->has_gpu ? &r->gpu : NULL, r->cost,
                     r->cost_state, r->timeline.out ? &r->timeline : NULL, r->arena, r->err) < 0) {
        return r->err->code;
    }
    if (r->cfg->executor == EXECUTOR_LAYERS) {
        ec->execute = layers_execute;
        ec->execute_ctx = &r->experts.layers;
    }
    return 0;
}

static void on_step(void *ctx, const struct engine *e, const struct step *s)
{
    struct run *r = ctx;

    if (r->plan.out) {
        plan_file_step(&r->plan, e, s);
    }
    timeline_slice(&r->timeline, TRACK_STEP, e->cur_start_ns, e->cur_end_ns,
                   "step %llu: %u decodes, %u chunks of %llu tokens", (unsigned long long)e->n.steps,
                   s->shape.n_decode, s->shape.n_prefill, (unsigned long long)s->shape.prefill_tok);
}

static int add_step_files(struct run *r, struct engine_config *ec)
{
    const struct run_hooks *h = r->hooks;

    if (h && h->plan_out &&
        plan_file_open(&r->plan, h->plan_out, r->cfg, r->has_llm ? &r->llm : NULL, ec, r->err) < 0) {
        return r->err->code;
    }
    if (r->plan.out || r->timeline.out) {
        ec->obs.step = on_step;
        ec->obs.step_o = r;
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
    if (add_fabric(r, m->index, &ec) < 0 || add_swap(r, &ec) < 0 ||
        add_pins(r, &ec) < 0 || add_pages(r, &ec) < 0) {
        return r->err->code;
    }
    ec.obs = metrics_observer(&r->metrics, m->index, &m->engine);
    m->engine_ready = true;
    if (r->n > 1) {
        cluster_feed(&r->cluster, m->index, &ec);
        cluster_seat(&r->cluster, m->index, &m->engine);
    }
    if (add_executor(r, &ec) < 0 || add_step_files(r, &ec) < 0) {
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

    if (h && (h->plan_out || h->timeline)) {
        return err_set(r->err, SIM_E_CONFIG, "%s holds the steps of one engine: set replicas to 1",
                       h->plan_out ? "a plan file" : "a timeline");
    }
    if (r->cfg->executor == EXECUTOR_LAYERS) {
        return err_set(r->err, SIM_E_CONFIG, "executor=layers plays the memory of one engine: set replicas to 1");
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

/* ---- capacity ----
 * A fluid estimate of the requests per second that the machine can take, all its replicas together, for the mean request of the
 * run: the pool filled with such requests at half of their output, one decode step for all of them, and
 * prompts prefilled as many at a time as one step takes. The cheaper of a step of its own and a step
 * shared with the decodes is charged for a prompt. */
static double step_seconds(const struct run *r, const struct batch_shape *s)
{
    struct cost_affine a;

    r->cost->iteration(r->cost_state, s, &a);
    return (double)a.base / SIM_TICKS_PER_NS / 1e9 + r->cfg->step_overhead_s +
           sampling_s(r) * ((double)s->n_decode + s->prefill_done);
}

static double capacity_req_s(const struct run *r)
{
    const struct metrics *m = &r->metrics;
    double n = (double)m->arrivals;
    const struct engine_counters *all = &m->total.n;
    double cached = all->lookup_tok ? (double)all->hit_tok / (double)all->lookup_tok : 0;
    double p = (double)m->asked_prompt / n, q = (double)m->asked_output / n;
    double pool = (double)(r->blocks * r->traits.block_tok);
    double batch = fmax(1, floor(pool / (p * (1 - cached) + q / 2)));
    double fresh = fmax(1, p * (1 - cached)), prompts = 1, alone, mixed, decode;
    struct batch_shape d = {0}, f = {0}, both;

    if (m->arrivals == 0) {
        return (double)NAN;
    }
    if (r->traits.max_seqs && batch > r->traits.max_seqs) {
        batch = r->traits.max_seqs;
    }
    if (r->traits.max_batched_tok) {
        prompts = fmin(batch, fmax(1, floor(r->traits.max_batched_tok / fresh)));
    }
    d.n_decode = d.n_resident = (uint32_t)batch;
    d.decode_ctx_tok = d.kv_resident_tok = (uint64_t)(batch * (p + q / 2));
    f.n_prefill = f.prefill_done = f.n_resident = (uint32_t)prompts;
    f.prefill_tok = (uint64_t)(prompts * fresh);
    f.prefill_ctx_tok = f.kv_resident_tok = (uint64_t)(prompts * p);
    f.prefill_pairs = (uint64_t)(prompts * fresh * (p - fresh / 2 + 0.5));
    f.prefill_sq = (uint64_t)(prompts * fresh * fresh);
    both = f;
    both.n_decode = d.n_decode;
    both.decode_ctx_tok = d.decode_ctx_tok;
    both.n_resident += d.n_resident;
    both.kv_resident_tok += d.kv_resident_tok;
    decode = step_seconds(r, &d);
    alone = step_seconds(r, &f);
    mixed = step_seconds(r, &both) - decode;
    return r->n / (fmin(alone, fmax(mixed, 0)) / prompts + q * decode / batch);
}

/* ---- results ---- */

/* One sentence for each reason: how many, why, and which was the first. */
static size_t add_refusals(struct run *r, const char **w)
{
    for (uint32_t i = 0; i < r->metrics.n_refusals; i++) {
        const struct refusals *f = &r->metrics.refused[i];

        w[i] = arena_printf(r->arena, "%llu of %llu requests can never run here: %s (first: request %u at "
                            "%.6g s, %u prompt and %u output tokens; the KV pool holds %llu tokens)",
                            (unsigned long long)f->n, (unsigned long long)r->metrics.arrivals, f->why,
                            (unsigned)f->first.serial, (double)f->first.arrival_ns / 1e9,
                            (unsigned)f->first.prompt_tok, (unsigned)f->first_output_tok,
                            (unsigned long long)(r->blocks * r->traits.block_tok));
    }
    return r->metrics.n_refusals;
}

static int fill_warnings(struct run *r, struct run_result *ret)
{
    const char **w = arena_calloc(r->arena, 4 + REFUSAL_REASONS, sizeof(*w));
    size_t n = 0;

    if (!w) {
        return no_memory(r);
    }
    n = add_refusals(r, w);
    if (r->metrics.total.n.outside_range > 0) {
        w[n++] = arena_printf(r->arena, "the cost model was asked %llu times outside the range it was "
                              "fitted on", (unsigned long long)r->metrics.total.n.outside_range);
    }
    if (r->metrics.n_clients > SERVICE_CLIENTS) {
        w[n++] = arena_printf(r->arena, "service differences and Jain's index look at the first %d of %u "
                              "clients", SERVICE_CLIENTS, r->metrics.n_clients);
    }
    if (trace_left_out(r->load.trace) > 0) {
        w[n++] = arena_printf(r->arena, "%llu rows of the trace are no requests and were left out: failed "
                              "calls without token counts (see the options of format %s)",
                              (unsigned long long)trace_left_out(r->load.trace),
                              trace_format_name(r->load.trace));
    }
    ret->warnings = w;
    return 0;
}

static int append_stats(struct run *r, struct run_result *ret, const struct policy_stat *stat, size_t n)
{
    struct metric *m;

    if (n == 0) {
        return 0;
    }
    m = arena_calloc(r->arena, ret->n_metrics + n, sizeof(*m));
    if (!m) {
        return no_memory(r);
    }
    memcpy(m, ret->metrics, ret->n_metrics * sizeof(*m));
    for (size_t i = 0; i < n; i++) {
        m[ret->n_metrics++] =
            (struct metric){.name = stat[i].name, .unit = stat[i].unit, .value = stat[i].value};
    }
    ret->metrics = m;
    return 0;
}

/* What the policy tells about itself goes behind the metrics of the run: of several replicas the mean. */
static int add_policy_stats(struct run *r, struct run_result *ret)
{
    struct policy_stat sum[MOST_POLICY_STATS], stat[MOST_POLICY_STATS];
    size_t n = 0;

    for (uint32_t i = 0; i < r->n; i++) {
        const struct policy_instance *p = &r->member[i].policy;

        n = p->ops->stats ? p->ops->stats(p->st, stat, MOST_POLICY_STATS) : 0;
        for (size_t k = 0; k < n; k++) {
            double before = i > 0 ? sum[k].value : 0;

            sum[k] = stat[k];
            sum[k].value = before + stat[k].value / r->n;
        }
    }
    return append_stats(r, ret, sum, n);
}

static int add_router_stats(struct run *r, struct run_result *ret)
{
    struct policy_stat stat[MOST_POLICY_STATS];
    const struct router_ops *ops = r->router.ops;

    return append_stats(r, ret, stat, ops && ops->stats ? ops->stats(r->router.st, stat, MOST_POLICY_STATS) : 0);
}

static int fill_result(struct run *r, struct run_result *ret)
{
    metrics_add_up(&r->metrics);
    if (metrics_finish(&r->metrics, capacity_req_s(r) / experts_slowdown(&r->experts), ret, r->err) < 0 ||
        add_policy_stats(r, ret) < 0 || experts_metrics(&r->experts, ret, r->arena, r->err) < 0 ||
        add_router_stats(r, ret) < 0) {
        return r->err->code;
    }
    ret->policy_oracle = r->member[0].policy_env.oracle;
    ret->cost_provenance = r->cost_env.provenance;
    ret->trace_format = arena_strdup(r->arena, trace_format_name(r->load.trace));
    ret->trace_requests = r->load.given;
    ret->iterations = r->metrics.total.n.steps;
    ret->boundaries = r->metrics.total.n.walked;
    return fill_warnings(r, ret);
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
    if (load_members(r) < 0 || load_machine(r) < 0 || load_batcher(r) < 0 || load_cost(r) < 0 ||
        size_pool(r) < 0 || load_policy(r) < 0 || load_router(r) < 0 || workload_open(&r->load, c, a, e) < 0 ||
        build(r) < 0 || play(r) < 0 || fill_result(r, ret) < 0) {
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
