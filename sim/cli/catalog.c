/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/catalog.h"

#include <string.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "policies/batcher.h"
#include "policies/offload.h"
#include "policies/experts.h"
#include "policies/place.h"
#include "policies/policy.h"
#include "policies/predict/predict.h"
#include "policies/route.h"
#include "sim/cli/cli.h"
#include "sim/fabric/tier.h"
#include "sim/fabric/topology.h"
#include "sim/observe/metrics_glossary.h"
#include "traces/routes_synth.h"
#include "traces/synth.h"
#include "traces/trace.h"

#define MAX_ITEMS 512

const char *catalog_singular(enum catalog_kind k)
{
    static const char *const names[] = {
#define CATALOG_NAME(constant, singular, plural) [constant] = singular,
        CATALOG_MAP(CATALOG_NAME)
#undef CATALOG_NAME
    };
    return names[k];
}

const char *catalog_plural(enum catalog_kind k)
{
    static const char *const names[] = {
#define CATALOG_NAME(constant, singular, plural) [constant] = plural,
        CATALOG_MAP(CATALOG_NAME)
#undef CATALOG_NAME
    };
    return names[k];
}

static const char *about_llm(const char *name, const char *data_dir, struct arena *ar)
{
    struct llm_shape m;
    struct err e = {0};
    if (llm_load(&m, name, data_dir, NULL, NULL, ar, &e) < 0) {
        return arena_strdup(ar, e.msg);
    }
    const char *experts =
        m.experts ? arena_printf(ar, ", %u of %u experts", m.experts_per_tok, m.experts) : "";
    return arena_printf(ar, "%.1f B parameters, %u layers, hidden %u, %s, %.0f KiB of KV per token%s",
                        1e-9 * llm_params(&m), m.layers, m.hidden, dtype_name(m.weight_dtype),
                        llm_kv_bytes_per_tok(&m) / 1024, experts);
}

static const char *about_gpu(const char *name, const char *data_dir, struct arena *ar)
{
    struct gpu_profile g;
    struct err e = {0};
    if (gpu_load(&g, name, data_dir, ar, &e) < 0) {
        return arena_strdup(ar, e.msg);
    }
    return arena_printf(ar, "%s: %.1f GiB, %.2f TB/s, %.0f TFLOPS dense fp16, PCIe %u x%u",
                        g.full_name, g.mem_bytes / (double)(1u << 30), 1e-12 * g.hbm_bytes_per_s,
                        1e-12 * g.flops_fp16, g.pcie_gen, g.pcie_lanes);
}

static const char *about_topology(const char *name, const char *data_dir, struct arena *ar)
{
    struct topology t;
    struct err e = {0};
    if (topology_load(&t, name, data_dir, ar, &e) < 0) {
        return arena_strdup(ar, e.msg);
    }
    return arena_printf(ar, "%s: %u GPUs, %u nodes, %u cables", t.full_name, t.kinds[TOPO_GPU],
                        t.n_nodes, t.n_links);
}

static const char *about_tier(const char *name, const char *data_dir, struct arena *ar)
{
    struct tier_profile t;
    struct err e = {0};
    if (tier_load(&t, name, data_dir, ar, &e) < 0) {
        return arena_strdup(ar, e.msg);
    }
    return arena_printf(ar, "%s: reads %.2f GB/s after %.2f ms, writes %.2f GB/s after %.2f ms", t.full_name,
                        1e-9 * t.read_bytes_per_s, 1e-6 * (double)t.read_latency_ns,
                        1e-9 * t.write_bytes_per_s, 1e-6 * (double)t.write_latency_ns);
}

static size_t add_bundled(struct catalog_item *items, const char *data_dir, const char *sub,
                          const char *(*about)(const char *, const char *, struct arena *),
                          struct arena *ar)
{
    const char **names = cli_bundled(data_dir, sub, ar);
    size_t n = 0;
    for (; names && names[n] && n < MAX_ITEMS; n++) {
        items[n] = (struct catalog_item){.name = names[n], .summary = about(names[n], data_dir, ar)};
    }
    return n;
}

static size_t add_policies(struct catalog_item *items)
{
    size_t n = 0;
    for (; policies[n] && n < MAX_ITEMS; n++) {
        const struct policy_ops *p = policies[n];
        items[n] = (struct catalog_item){p->name, p->summary, p->source, NULL, p->options,
                                         p->state_size, NULL, NULL};
    }
    return n;
}

static size_t add_batchers(struct catalog_item *items)
{
    size_t n = 0;
    for (; batchers[n] && n < MAX_ITEMS; n++) {
        const struct batcher_ops *b = batchers[n];
        items[n] = (struct catalog_item){b->name, b->summary, b->source, NULL, b->options,
                                         b->state_size, NULL, NULL};
    }
    return n;
}

static size_t add_routers(struct catalog_item *items)
{
    size_t n = 0;
    for (; routers[n] && n < MAX_ITEMS; n++) {
        const struct router_ops *r = routers[n];
        items[n] = (struct catalog_item){r->name, r->summary, r->source, NULL, r->options,
                                         r->state_size, NULL, NULL};
    }
    return n;
}

static size_t add_offloads(struct catalog_item *items)
{
    size_t n = 0;
    for (; offload_policies[n] && n < MAX_ITEMS; n++) {
        const struct offload_ops *v = offload_policies[n];
        items[n] = (struct catalog_item){v->name, v->summary, v->source, NULL, v->options,
                                         v->state_size, NULL, NULL};
    }
    return n;
}

static size_t add_costs(struct catalog_item *items)
{
    size_t n = 0;
    for (; cost_models[n] && n < MAX_ITEMS; n++) {
        const struct cost_ops *c = cost_models[n];
        items[n] = (struct catalog_item){c->name, c->summary, c->source, NULL, c->options,
                                         c->state_size, NULL, NULL};
    }
    return n;
}

/* All kinds of plug-in begin with the same fields. */
#define ADD_PLUGINS(function, list, type)                                                          \
    static size_t function(struct catalog_item *items)                                             \
    {                                                                                              \
        size_t n = 0;                                                                              \
        for (; list[n] && n < MAX_ITEMS; n++) {                                                    \
            const struct type *p = list[n];                                                        \
            items[n] = (struct catalog_item){p->name, p->summary, p->source, NULL, p->options,     \
                                             p->state_size, NULL, NULL};                           \
        }                                                                                          \
        return n;                                                                                  \
    }
ADD_PLUGINS(add_predictors, predictors, predictor_ops)
ADD_PLUGINS(add_evictions, evict_policies, evict_ops)
ADD_PLUGINS(add_prefetches, prefetch_policies, prefetch_ops)
ADD_PLUGINS(add_misses, miss_policies, miss_ops)
ADD_PLUGINS(add_route_sources, routes_sources, routes_ops)

static size_t add_placements(struct catalog_item *items)
{
    size_t n = 0;
    for (; place_policies[n] && n < MAX_ITEMS; n++) {
        const struct place_ops *p = place_policies[n];
        items[n] = (struct catalog_item){.name = p->name, .summary = p->summary, .source = p->source};
    }
    return n;
}

static size_t add_routes(struct catalog_item *items, struct arena *ar)
{
    size_t n = add_route_sources(items);
    for (const struct router_preset *p = router_presets; p->name && n < MAX_ITEMS; p++) {
        items[n++] = (struct catalog_item){
            .name = arena_printf(ar, "synth{preset=%s}", p->name),
            .summary = arena_printf(ar, "%u of %u experts in %u layers; %s", p->shape.top_k, p->shape.experts,
                                    p->shape.layers, p->provenance)};
    }
    return n;
}

static size_t add_traces(struct catalog_item *items, struct arena *ar)
{
    size_t n = 0;
    for (; trace_formats[n] && n < MAX_ITEMS; n++) {
        const struct trace_ops *t = trace_formats[n];
        items[n] = (struct catalog_item){t->name, t->summary, t->source, NULL, t->options,
                                         t->state_size, NULL, NULL};
    }
    items[n++] = (struct catalog_item){.name = "synth:servegen",
                                       .summary = "many clients from ServeGen's tables of windows and "
                                                  "length quantiles",
                                       .options = synth_servegen.options,
                                       .state_size = synth_servegen.state_size};
    items[n++] = (struct catalog_item){.name = "synth:programs",
                                       .summary = "conversations, deadlines and compound programs, with goals",
                                       .options = synth_programs.options,
                                       .state_size = synth_programs.state_size};
    for (const struct synth_preset *p = synth_presets; p->name && n < MAX_ITEMS; p++) {
        items[n++] = (struct catalog_item){.name = arena_printf(ar, "synth:%s", p->name),
                                           .summary = p->summary,
                                           .stands_for = arena_printf(ar, p->kind ? "synth:%s{%s}" : "synth%s{%s}",
                                                                      p->kind ? p->kind->name : "", p->options)};
    }
    return n;
}

static size_t add_metrics(struct catalog_item *items)
{
    size_t n = 0;
    for (; metric_glossary[n].name && n < MAX_ITEMS; n++) {
        const struct metric_def *d = &metric_glossary[n];
        items[n] = (struct catalog_item){
            .name = d->name, .summary = d->definition, .source = d->source, .unit = d->unit};
    }
    return n;
}

static size_t add_options(struct catalog_item *items)
{
    size_t n = 0;
    for (; run_options[n].name && n < MAX_ITEMS; n++) {
        const struct opt_row *row = &run_options[n];
        items[n] = (struct catalog_item){
            .name = row->name, .summary = row->help, .unit = row->unit, .row = row};
    }
    return n;
}

/* Where the items of a kind come from: one of the three. */
static const struct kind_source {
    size_t (*registered)(struct catalog_item *items);
    size_t (*made)(struct catalog_item *items, struct arena *ar);
    const char *folder; /* of data files */
    const char *(*about)(const char *name, const char *data_dir, struct arena *ar);
} sources[CATALOG_KINDS] = {
    [CATALOG_POLICY] = {.registered = add_policies},
    [CATALOG_PREDICTOR] = {.registered = add_predictors},
    [CATALOG_BATCHER] = {.registered = add_batchers},
    [CATALOG_ROUTER] = {.registered = add_routers},
    [CATALOG_MODEL] = {.folder = "llms", .about = about_llm},
    [CATALOG_GPU] = {.folder = "gpus", .about = about_gpu},
    [CATALOG_TOPOLOGY] = {.folder = "topologies", .about = about_topology},
    [CATALOG_TIER] = {.folder = "tiers", .about = about_tier},
    [CATALOG_OFFLOAD] = {.registered = add_offloads},
    [CATALOG_COST] = {.registered = add_costs},
    [CATALOG_EVICT] = {.registered = add_evictions},
    [CATALOG_PREFETCH] = {.registered = add_prefetches},
    [CATALOG_MISS] = {.registered = add_misses},
    [CATALOG_PLACEMENT] = {.registered = add_placements},
    [CATALOG_ROUTES] = {.made = add_routes},
    [CATALOG_TRACE] = {.made = add_traces},
    [CATALOG_METRIC] = {.registered = add_metrics},
    [CATALOG_OPTION] = {.registered = add_options},
};

const struct catalog_item *catalog_items(enum catalog_kind k, const char *data_dir, size_t *ret_n,
                                         struct arena *ar)
{
    struct catalog_item *items = arena_calloc(ar, MAX_ITEMS, sizeof(*items));
    const struct kind_source *from = &sources[k];

    *ret_n = 0;
    if (items) {
        *ret_n = from->registered ? from->registered(items)
                 : from->made     ? from->made(items, ar)
                                  : add_bundled(items, data_dir, from->folder, from->about, ar);
    }
    return items;
}

const struct catalog_item *catalog_find(enum catalog_kind k, const char *name, const char *data_dir,
                                        struct arena *ar)
{
    size_t n = 0;
    const struct catalog_item *items = catalog_items(k, data_dir, &n, ar);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(items[i].name, name) == 0) {
            return &items[i];
        }
    }
    return NULL;
}

const char **catalog_names(enum catalog_kind k, const char *data_dir, size_t *ret_n,
                           struct arena *ar)
{
    size_t n = 0;
    const struct catalog_item *items = catalog_items(k, data_dir, &n, ar);
    const char **names = arena_calloc(ar, n + 1, sizeof(*names));
    for (size_t i = 0; names && i < n; i++) {
        names[i] = items[i].name;
    }
    *ret_n = names ? n : 0;
    return names;
}
