/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/setup.h"

#include <math.h>
#include <string.h>

/* ---- opening ---- */

static int unknown_policy(const char *name, struct err *e)
{
    const char *names[32], *near;
    size_t n = 0;

    for (; n < 32 && place_policies[n]; n++) {
        names[n] = place_policies[n]->name;
    }
    near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "placement.policy: no placement '%.80s'%s%s%s (steelyard list placements)", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int check(const struct run_config *c, const struct llm_shape *m, const struct cost_ops *cost,
                 const void *cost_state, struct cost_spread *s, struct err *e)
{
    if (!cost->spread) {
        return err_set(e, SIM_E_CONFIG, "placement.policy: cost model %s has all experts on every rank; ep spreads them",
                       cost->name);
    }
    if (c->executor != EXECUTOR_WHOLE) {
        return err_set(e, SIM_E_CONFIG, "placement.policy: placed experts and executor=layers do not go together");
    }
    if (!m || m->experts == 0) {
        return err_set(e, SIM_E_CONFIG, "placement.policy: %s is no mixture of experts", m ? m->name : "no model");
    }
    cost->spread(cost_state, s);
    if (s->imbalance > 1) {
        return err_set(e, SIM_E_CONFIG, "placement.policy: the imbalance comes from the tokens then; leave that of "
                       "cost model %s at 1, not %g", cost->name, s->imbalance);
    }
    return 0;
}

static struct place_spec spec_of(const struct run_config *c, const struct llm_shape *m, const struct cost_spread *s)
{
    uint32_t node = c->placement_node > 0 ? (uint32_t)c->placement_node : s->per_node;

    return (struct place_spec){.experts = m->experts, .slots = m->experts + s->redundant,
                               .groups = (uint32_t)c->placement_groups, .gpus = s->ranks,
                               .nodes = s->ranks % node == 0 ? s->ranks / node : 1};
}

static struct moves_config moves_of(const struct run_config *c, const struct llm_shape *m, const struct cost_spread *s,
                                    struct place_spec spec)
{
    double share = c->placement_overlap ? c->placement_share : 1, layers = llm_moe_layers(m);
    double looked = c->placement_layers > 0 ? fmin((double)c->placement_layers, layers) : layers;
    double link = c->placement_link > 0 ? c->placement_link : s->bytes_per_s;

    return (struct moves_config){.ranks = spec.gpus, .per_node = spec.gpus / spec.nodes,
                                 .bytes_per_s = share * link, .node_bytes_per_s = share * c->placement_node_link,
                                 .expert_bytes = llm_layer(m).expert * dtype_bytes(m->weight_dtype) * layers / looked,
                                 .calls = (uint32_t)ceil(layers / looked),
                                 .call_ns = (sim_ns)llround(c->pcie_copy_s * 1e9)};
}

static int open_routes(struct placement_run *x, const struct run_config *c, const struct llm_shape *m, struct err *e)
{
    struct routes_env env = {.model = m->name,
                             .shape = {m->experts, m->experts_per_tok, llm_moe_layers(m)},
                             .seed = (uint64_t)c->seed, .replication = (uint32_t)c->replication};

    return routes_open(&x->routes, c->experts_routes, &env, e) < 0 ? err_wrap(e, "experts.routes: ") : 0;
}

static struct balancer_config config_of(const struct run_config *c, const struct llm_shape *m,
                                        const struct cost_spread *s)
{
    struct place_spec spec = spec_of(c, m, s);

    return (struct balancer_config){
        .spec = spec,
        .node_copies = s->node_copies,
        .halves = s->halves,
        .choice = (enum replica_choice)c->placement_replica,
        .layers = (uint32_t)c->placement_layers,
        .sample = (uint32_t)c->placement_sample,
        .calibration = (uint32_t)c->experts_calibration,
        .every = (uint32_t)c->placement_every,
        .window = (uint32_t)c->placement_window,
        .hold = (uint32_t)c->placement_hold,
        .threshold = c->placement_threshold,
        .overlap = c->placement_overlap,
        .share = c->placement_share,
        .moves = moves_of(c, m, s, spec),
        .check = c->check,
    };
}

int placement_open(struct placement_run *x, const struct run_config *c, const struct llm_shape *m,
                   const struct cost_ops *cost, const void *cost_state, struct timeline *t, struct arena *a,
                   struct err *e)
{
    const struct place_ops *policy = c->placement_policy ? place_find(c->placement_policy) : NULL;
    struct cost_spread s;

    if (!c->placement_policy) {
        return 0;
    }
    if (!policy) {
        return unknown_policy(c->placement_policy, e);
    }
    if (check(c, m, cost, cost_state, &s, e) < 0 || open_routes(x, c, m, e) < 0) {
        return e->code;
    }
    struct balancer_config b = config_of(c, m, &s);

    b.cost = cost;
    b.cost_state = cost_state;
    b.source = x->routes;
    b.policy = policy;
    b.timeline = t;
    x->open = true;
    return balancer_init(&x->balancer, &b, a, e);
}

void placement_close(struct placement_run *x)
{
    if (x->open) {
        balancer_release(&x->balancer);
    }
    routes_close(x->routes);
    *x = (struct placement_run){.open = false};
}

/* ---- results ---- */

double placement_slowdown(const struct placement_run *x)
{
    const struct balancer_counters *n = &x->balancer.count;

    return x->open && n->balanced_ticks > 0 ? (double)(n->ticks + n->wait_ticks) / (double)n->balanced_ticks : 1;
}

static double seconds(sim_wide ticks)
{
    return (double)ticks / SIM_TICKS_PER_NS / 1e9;
}

static size_t list_metrics(const struct placement_run *x, struct metric *m)
{
    const struct balancer *b = &x->balancer;
    const struct balancer_counters *n = &b->count;
    double looks = (double)n->looks, plans = (double)n->rebalances, stands = routes_shape(x->routes).layers / (double)b->n;
    const struct metric all[] = {
        {"ep_imbalance", "1", metric_share(n->load, looks)},
        {"ep_imbalance_unplaced", "1", metric_share(n->unplaced, looks)},
        {"ep_imbalance_worst", "1", looks > 0 ? n->worst : (double)NAN},
        {"ep_imbalance_cost", "1", n->ticks > 0 ? 1 - (double)n->balanced_ticks / (double)n->ticks : (double)NAN},
        {"ep_rebalances", "1", plans},
        {"ep_window_before", "1", metric_share(n->before, plans)},
        {"ep_window_after", "1", metric_share(n->after, plans)},
        {"ep_experts_moved", "1", (double)b->moves.copies * stands},
        {"ep_moved_bytes", "byte", b->moves.bytes},
        {"ep_move_s", "s", (double)b->moves.busy_ns * 1e-9},
        {"ep_move_wait_s", "s", seconds(n->wait_ticks)},
        {"ep_move_buffer_bytes", "byte", b->moves.most_received * b->moves.cfg.expert_bytes / stands},
    };

    memcpy(m, all, sizeof(all));
    return sizeof(all) / sizeof(*all);
}

#define MOST_METRICS 16

int placement_metrics(const struct placement_run *x, struct run_result *ret, struct arena *a, struct err *e)
{
    struct metric *m;

    if (!x->open) {
        return 0;
    }
    m = arena_calloc(a, ret->n_metrics + MOST_METRICS, sizeof(*m));
    if (!m) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the metrics of placement");
    }
    memcpy(m, ret->metrics, ret->n_metrics * sizeof(*m));
    ret->n_metrics += list_metrics(x, m + ret->n_metrics);
    ret->metrics = m;
    return 0;
}
