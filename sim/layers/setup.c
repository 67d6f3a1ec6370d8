/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/setup.h"

#include <math.h>
#include <string.h>

#include "sim/fabric/tier.h"
#include "sim/layers/nested_setup.h"

static bool offloads(const struct run_config *c)
{
    return c->experts_rate < 1 || nested_asked(c);
}

static double bits_of(const struct run_config *c, const struct llm_shape *m)
{
    return c->experts_bits > 0 ? c->experts_bits : 8 * dtype_bytes(m->weight_dtype);
}

static uint32_t slots_of(const struct run_config *c, const struct llm_shape *m)
{
    double n = c->experts_rate * m->experts * (c->experts_global ? llm_moe_layers(m) : 1);

    return (uint32_t)floor(n + 1e-9);
}

/* Of the layers that the CPU computes, without their routed experts. */
static double cpu_layer_params(const struct run_config *c, const struct llm_shape *m)
{
    struct llm_layer l = llm_layer(m);
    double params = 0;

    for (uint32_t i = (uint32_t)c->experts_gpu_layers; i > 0 && i < m->layers; i++) {
        params += l.attn + (llm_is_moe(m, i) ? l.router + m->shared_experts * l.expert : l.ffn);
    }
    return params;
}

double experts_weight_bytes(const struct run_config *c, const struct llm_shape *m)
{
    double own = dtype_bytes(m->weight_dtype), routed = llm_layer(m).expert * llm_routed_experts(m);
    double rooms = c->experts_global ? 1 : llm_moe_layers(m), slots;

    if (c->executor != EXECUTOR_LAYERS || m->experts == 0) {
        return llm_weight_bytes(m);
    }
    if (nested_asked(c)) {
        return llm_weight_bytes(m) - routed * own + nested_bytes(c, m);
    }
    if (!offloads(c)) {
        return llm_weight_bytes(m) + routed * (bits_of(c, m) / 8 - own);
    }
    slots = slots_of(c, m) > 0 ? slots_of(c, m) * rooms : (double)c->experts_shallow * m->experts;
    return llm_weight_bytes(m) - (routed + cpu_layer_params(c, m)) * own + slots * llm_layer(m).expert * bits_of(c, m) / 8;
}

/* ---- opening ---- */

/* The key that asks for it. */
static const char *what(const struct run_config *c)
{
    return nested_asked(c) ? "experts.planes" : "experts.rate";
}

/* Nothing is offloaded. */
static int check_resident(const struct run_config *c, struct err *e)
{
    if (c->experts_budget > 0) {
        return err_set(e, SIM_E_CONFIG, "experts.budget is for the planes of experts: give experts.planes");
    }
    return c->experts_gpu_layers == 0 ? 0 : err_set(e, SIM_E_CONFIG, "experts.gpu_layers: needs offloaded experts, "
                                                    "experts.rate below 1");
}

static int check(const struct run_config *c, const struct llm_shape *m, const struct gpu_profile *g, struct err *e)
{
    if (c->executor != EXECUTOR_LAYERS) {
        return offloads(c) ? err_set(e, SIM_E_CONFIG, "%s: offloading experts needs executor=layers", what(c)) : 0;
    }
    if (!m) {
        return err_set(e, SIM_E_CONFIG, "executor: layers are those of a model: give --model");
    }
    if (!offloads(c)) {
        return check_resident(c, e);
    }
    if (m->experts == 0) {
        return err_set(e, SIM_E_CONFIG, "%s: %s is no mixture of experts", what(c), m->name);
    }
    if (slots_of(c, m) == 0 && c->experts_rate > 0) {
        return err_set(e, SIM_E_CONFIG, "experts.rate: %g of the %u experts of a layer leave no slot",
                       c->experts_rate, m->experts);
    }
    if (c->experts_shallow > 0 && c->experts_global) {
        return err_set(e, SIM_E_CONFIG, "experts.shallow: one cache for all layers (experts.global) has no shares");
    }
    if (c->experts_tier && c->experts_link > 0) {
        return err_set(e, SIM_E_CONFIG, "experts.tier: %s has a rate of its own: leave experts.link out",
                       c->experts_tier);
    }
    if (!g && !(c->experts_link > 0) && !c->experts_tier) {
        return err_set(e, SIM_E_CONFIG, "experts.link: without a GPU the rate of copies is not known: give --gpu "
                       "or experts.link");
    }
    return 0;
}

/* Experts come from a drive: its rate and latency instead of the link's, and nobody to share it with. */
static int read_from_tier(struct store_config *s, const struct run_config *c, struct arena *a, struct err *e)
{
    struct tier_profile t;

    if (!c->experts_tier) {
        return 0;
    }
    if (tier_load(&t, c->experts_tier, steelyard_data_dir(c->data_dir, a), a, e) < 0) {
        return err_wrap(e, "experts.tier: ");
    }
    s->h2d_bytes_per_s = t.read_bytes_per_s;
    s->d2h_bytes_per_s = t.write_bytes_per_s;
    s->call_ns = t.read_latency_ns;
    s->shared = NULL;
    return 0;
}

/* Calls of an expert's copy: as many as said, or as reads of the given size are needed. */
static uint32_t calls_of(const struct run_config *c, double expert_bytes)
{
    double reads = c->experts_read_bytes > 0 ? ceil(expert_bytes / c->experts_read_bytes) : 0;

    return (uint32_t)fmin(fmax(reads, (double)c->experts_calls), 1e6);
}

static int store_settings(struct store_config *s, const struct run_config *c, const struct llm_shape *m,
                          const struct gpu_profile *g, struct arena *a, struct err *e)
{
    const struct gpu_link *shared = s->shared;
    struct pcie_config pc = {.gen = g ? g->pcie_gen : 0, .lanes = g ? g->pcie_lanes : 0,
                             .max_payload_byte = (uint32_t)c->pcie_payload, .read_request_byte = 512};
    double down = c->experts_link > 0 ? c->experts_link : pcie_read_bytes_per_s(&pc);
    double back = pcie_write_bytes_per_s(&pc);
    double bytes = llm_layer(m).expert * bits_of(c, m) / 8 / (double)c->tp;

    if (!(down > 0) && !c->experts_tier) {
        return err_set(e, SIM_E_CONFIG, "experts.link: the PCI Express of %s is not known: give experts.link",
                       g ? g->name : "this GPU");
    }
    *s = (struct store_config){
        .global = c->experts_global, .slots = slots_of(c, m),
        .shallow = (uint32_t)c->experts_shallow,
        .expert_bytes = bytes, .calls = calls_of(c, bytes), .pieces = (uint32_t)c->experts_pieces,
        .writeback = c->experts_writeback, .spent = c->experts_spent, .h2d_bytes_per_s = down,
        .d2h_bytes_per_s = back > 0 ? back : down, .call_ns = (sim_ns)llround(c->pcie_copy_s * 1e9),
        .shared = shared,
    };
    return read_from_tier(s, c, a, e);
}

static int open_routes(struct expert_run *x, const struct run_config *c, const struct llm_shape *m, struct err *e)
{
    struct routes_env env = {.model = m->name,
                             .shape = {m->experts, m->experts_per_tok, llm_moe_layers(m)},
                             .seed = (uint64_t)c->seed, .replication = (uint32_t)c->replication};

    return routes_open(&x->routes, c->experts_routes, &env, e) < 0 ? err_wrap(e, "experts.routes: ") : 0;
}

static int open_store(struct layers_config *lc, const struct run_config *c, struct arena *a, struct err *e)
{
    const struct llm_shape *m = lc->llm;

    if (evict_open(c->experts_evict, &lc->evict, &lc->evict_st, a, e) < 0 ||
        prefetch_open(c->experts_prefetch, &lc->prefetch, &lc->prefetch_st, a, e) < 0 ||
        miss_open(c->experts_miss, &lc->miss, &lc->miss_st, a, e) < 0) {
        return e->code;
    }
    if (c->experts_gpu_layers > 0 && !lc->miss->cpu_s) {
        return err_set(e, SIM_E_CONFIG, "experts.gpu_layers: experts.miss=%s does not say how fast the CPU is; cpu and hybrid do",
                       lc->miss->name);
    }
    lc->gpu_layers = (uint32_t)c->experts_gpu_layers;
    lc->weight_scale = bits_of(c, m) / 8 / dtype_bytes(m->weight_dtype);
    lc->expert_params = llm_layer(m).expert;
    return 0;
}

static int open_nested(struct expert_run *x, struct layers_config *lc, const struct run_config *c, struct err *e)
{
    if (nested_settings(&x->nested, c, lc->llm, e) < 0) {
        return e->code;
    }
    x->nested.h2d_bytes_per_s = lc->store.h2d_bytes_per_s;
    x->nested.call_ns = lc->store.call_ns;
    x->nested.shared = lc->store.shared;
    for (uint32_t i = 0; i < x->nested.planes.planes; i++) {
        x->nested.calls[i] = calls_of(c, x->nested.planes.bytes[i]);
    }
    lc->nested = &x->nested;
    return 0;
}

static int open_offload(struct expert_run *x, struct layers_config *lc, const struct run_config *c,
                        const struct gpu_profile *g, struct arena *a, struct err *e)
{
    if (open_routes(x, c, lc->llm, e) < 0 || store_settings(&lc->store, c, lc->llm, g, a, e) < 0) {
        return e->code;
    }
    lc->source = x->routes;
    lc->calibration = (uint32_t)c->experts_calibration;
    lc->overlap = c->experts_overlap;
    lc->host_s = c->experts_host_s;
    lc->start_empty = c->experts_start == EXPERTS_START_EMPTY;
    lc->seed = (uint64_t)c->seed;
    lc->replication = (uint32_t)c->replication;
    return nested_asked(c) ? open_nested(x, lc, c, e) : open_store(lc, c, a, e);
}

int experts_open(struct expert_run *x, const struct run_config *c, const struct llm_shape *m,
                 const struct gpu_profile *g, const struct cost_ops *cost, const void *cost_state,
                 const struct gpu_link *link, struct timeline *t, struct arena *a, struct err *e)
{
    struct layers_config lc = {.llm = m, .cost = cost, .cost_state = cost_state, .check = c->check, .timeline = t,
                               .store.shared = link};

    if (check(c, m, g, e) < 0) {
        return e->code;
    }
    if (offloads(c) && cost->spread) {
        return err_set(e, SIM_E_CONFIG, "%s: cost model %s spreads experts over ranks; offloaded they are on one", what(c), cost->name);
    }
    if (c->executor != EXECUTOR_LAYERS) {
        return 0;
    }
    if (offloads(c) && open_offload(x, &lc, c, g, a, e) < 0) {
        return e->code;
    }
    x->open = true;
    return layers_init(&x->layers, &lc, a, e);
}

void experts_close(struct expert_run *x)
{
    if (x->open) {
        layers_release(&x->layers);
    }
    routes_close(x->routes);
    *x = (struct expert_run){.open = false};
}

/* ---- results ---- */

double experts_slowdown(const struct expert_run *x)
{
    const struct layers_counters *n = &x->layers.n;

    return x->open && n->whole_ticks > 0 ? (double)n->ticks / (double)n->whole_ticks : 1;
}

bool experts_oracle(const struct expert_run *x)
{
    const struct layers_config *c = &x->layers.cfg;

    return x->open && x->routes && !c->nested && ((c->evict->needs | c->prefetch->needs | c->miss->needs) & EXPERTS_FUTURE);
}

static size_t list_metrics(const struct expert_run *x, struct metric *m)
{
    const struct layers_counters *n = &x->layers.n;
    const struct store_counters *s = &x->layers.store.n;
    double tokens = (double)n->tokens, rows = tokens * x->layers.view.env.layers, ticks = (double)n->ticks;
    const struct metric all[] = {
        {"expert_hit_rate", "1", metric_share((double)n->hits, (double)n->asked)},
        {"expert_decode_hit_rate", "1", metric_share((double)n->decode_hits, (double)n->decode_asked)},
        {"expert_misses_per_token", "1", metric_share((double)n->missed_pairs, tokens)},
        {"expert_decode_misses_per_token", "1", metric_share((double)n->decode_missed_pairs, (double)n->decode_tokens)},
        {"expert_loads_per_token", "1", metric_share((double)s->loads, tokens)},
        {"expert_h2d_bytes", "byte", s->h2d_bytes},
        {"expert_d2h_bytes", "byte", s->d2h_bytes},
        {"expert_stall_share", "1", metric_share((double)n->wait_load, ticks)},
        {"expert_cpu_wait_share", "1", metric_share((double)n->wait_cpu, ticks)},
        {"expert_host_share", "1", metric_share((double)n->host, ticks)},
        {"expert_cpu_share", "1", metric_share((double)n->cpu_pairs, (double)n->pairs)},
        {"expert_replaced_per_token", "1", metric_share((double)n->replaced_pairs, tokens)},
        {"expert_replaced_mass", "1", metric_share(n->replaced_mass, rows)},
        {"expert_skipped_mass", "1", metric_share(n->skipped_mass, rows)},
        {"expert_bypassed_layers", "1", metric_share((double)n->bypassed, (double)n->gates)},
        {"expert_blocked_tokens", "1", metric_share((double)n->blocked_tok, rows)},
        {"prefetch_recall", "1", metric_share((double)n->named_right, (double)n->named_asked)},
        {"prefetch_precision", "1", metric_share((double)n->named_right, (double)n->named)},
        {"prefetch_in_time", "1", metric_share((double)n->named_in_time, (double)n->named)},
        /* GoodPred = accuracy x fetch rate (ProMoE, arXiv 2410.22134, 4.1) */
        {"prefetch_good", "1", metric_share((double)n->named_right, (double)n->named) *
                                   metric_share((double)n->named_in_time, (double)n->named)},
    };

    memcpy(m, all, sizeof all);
    return sizeof all / sizeof *all;
}

#define MOST_METRICS 32

int experts_metrics(const struct expert_run *x, struct run_result *ret, struct arena *a, struct err *e)
{
    struct metric *m;

    if (!x->open || !x->routes) {
        return 0;
    }
    m = arena_calloc(a, ret->n_metrics + MOST_METRICS, sizeof *m);
    if (!m) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the metrics of experts");
    }
    memcpy(m, ret->metrics, ret->n_metrics * sizeof *m);
    ret->n_metrics += x->layers.cfg.nested ? nested_metrics(&x->layers, m + ret->n_metrics)
                                           : list_metrics(x, m + ret->n_metrics);
    ret->metrics = m;
    return 0;
}
