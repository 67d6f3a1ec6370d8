/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk over the layers. What happens in a MoE layer with offload is in moe.c. */
#include "sim/layers/executor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/layers/moe.h"
#include "sim/layers/split.h"

/* ---- set-up ---- */

static uint32_t predict(void *ctx, uint32_t layer, double recall, struct expert_guess *ret)
{
    return routing_predict(&((struct layers *)ctx)->routing, layer, recall, ret);
}

static void path(void *ctx, uint32_t tok, uint32_t layer, double recall, uint16_t *ret)
{
    routing_guess(&((struct layers *)ctx)->routing, layer, recall, tok, ret);
}

static uint32_t name(struct layers *x, uint32_t layer, uint32_t expert)
{
    uint32_t item = expert_item(&x->view, layer, expert);

    x->named[item] = 1;
    x->any_named[layer] = true;
    store_hold(&x->store, item);
    return item;
}

static bool want(void *ctx, uint32_t layer, uint32_t expert, bool urgent)
{
    struct layers *x = ctx;

    return store_request(&x->store, name(x, layer, expert), urgent ? STORE_SURE : STORE_GUESS);
}

static bool want_thin(void *ctx, uint32_t layer, uint32_t expert, double share)
{
    struct layers *x = ctx;

    return store_request_thin(&x->store, name(x, layer, expert), STORE_GUESS, (float)share);
}

static bool want_after(void *ctx, uint32_t layer, uint32_t expert, double seconds)
{
    struct layers *x = ctx;
    uint32_t item = name(x, layer, expert);

    if (expert_is_here(&x->view, item)) {
        return true;
    }
    store_request_later(&x->store, item, moe_now(x) + (sim_ns)llround(seconds * 1e9));
    return false;
}

static void forget(void *ctx)
{
    struct layers *x = ctx;

    memset(x->named, 0, (size_t)x->view.env.layers * x->view.env.experts);
    memset(x->any_named, 0, x->view.env.layers * sizeof *x->any_named);
    store_forget(&x->store);
}

static uint32_t copies_waiting(void *ctx)
{
    return store_waiting(&((struct layers *)ctx)->store);
}

static double arrives_s(void *ctx, uint32_t layer, uint32_t expert)
{
    const struct layers *x = ctx;

    return store_arrives_s(&x->store, expert_item(&x->view, layer, expert), moe_now(x));
}

static double link_free_s(void *ctx, bool demands)
{
    const struct layers *x = ctx;

    return store_link_free_s(&x->store, demands, moe_now(x));
}

static double gpu_s(void *ctx, uint32_t experts, uint32_t pairs)
{
    const struct layers *x = ctx;

    return cost_experts_s(&x->parts.expert, experts, pairs, x->cfg.weight_scale) + experts * x->cfg.host_s;
}

static double layer_s(void *ctx)
{
    const struct layers *x = ctx;

    return (double)(x->parts.attn + x->parts.shared) / SIM_TICKS_PER_NS / 1e9;
}

static double cpu_s(void *ctx, uint32_t load, bool first)
{
    const struct layers_config *c = &((const struct layers *)ctx)->cfg;

    return c->miss->cpu_s ? c->miss->cpu_s(c->miss_st, load, first) : HUGE_VAL;
}

/* Layers behind the one whose gate came last belong to this step, the others to the next. */
static uint64_t next_use(void *ctx, uint32_t item)
{
    struct layers *x = ctx;
    uint32_t layers = x->view.env.layers, layer = item / x->view.env.experts, now = (uint32_t)(x->view.gates % layers);
    uint64_t steps = routing_next_use(&x->routing, layer, item % x->view.env.experts, layer <= now);

    return steps * layers + layer;
}

static const struct expert_services services = {
    .predict = predict, .path = path, .want = want, .want_thin = want_thin, .want_after = want_after,
    .forget = forget, .copies_waiting = copies_waiting,
    .arrives_s = arrives_s, .link_free_s = link_free_s, .gpu_s = gpu_s, .layer_s = layer_s, .cpu_s = cpu_s, .next_use = next_use,
};

static void copied(void *ctx, uint32_t item, bool to_gpu, sim_ns from, sim_ns to)
{
    const struct layers *x = ctx;

    timeline_slice(x->cfg.timeline, to_gpu ? TRACK_H2D : TRACK_D2H, from, to, "L%u E%u",
                   item / x->view.env.experts, item % x->view.env.experts);
}

static bool take_tables(struct layers *x, struct arena *a)
{
    size_t n = x->view.env.experts, items = n * x->view.env.layers;

    x->load = arena_calloc(a, n, sizeof *x->load);
    x->gpu_load = arena_calloc(a, n, sizeof *x->gpu_load);
    x->cpu_load = arena_calloc(a, n, sizeof *x->cpu_load);
    x->order = arena_calloc(a, n, sizeof *x->order);
    x->demand = arena_calloc(a, n, sizeof *x->demand);
    x->named = arena_calloc(a, items, 1);
    x->any_named = arena_calloc(a, x->view.env.layers, sizeof *x->any_named);
    return x->load && x->gpu_load && x->cpu_load && x->order && x->demand && x->named && x->any_named;
}

static struct expert_env env_of(const struct layers_config *c, struct routes_shape s, struct arena *a)
{
    const struct store_config *t = &c->store;

    return (struct expert_env){
        .arena = a, .seed = c->seed, .replication = c->replication,
        .layers = s.layers, .experts = s.experts, .top_k = s.top_k,
        .rooms = t->global ? 1 : s.layers, .slots = t->slots,
        .expert_bytes = t->expert_bytes, .expert_params = c->expert_params,
        .load_s = t->expert_bytes / t->h2d_bytes_per_s + 1e-9 * (double)(t->calls * t->call_ns),
    };
}

static int init_policies(struct layers *x, struct err *e)
{
    const struct layers_config *c = &x->cfg;
    const struct expert_env *env = &x->view.env;

    return c->evict->init(c->evict_st, env, e) < 0 || c->prefetch->init(c->prefetch_st, env, e) < 0 ||
                   c->miss->init(c->miss_st, env, e) < 0
               ? e->code
               : 0;
}

struct ranked {
    float popularity;
    uint32_t item;
};

static int by_popularity(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->popularity < y->popularity || x->popularity > y->popularity) {
        return x->popularity < y->popularity ? 1 : -1;
    }
    return (x->item > y->item) - (x->item < y->item);
}

/* The cache starts with the most popular experts. */
static int fill_cache(struct layers *x, struct err *e)
{
    uint32_t items = x->view.env.layers * x->view.env.experts;
    struct ranked *r = calloc(items, sizeof *r);

    if (!r) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the layer executor");
    }
    for (uint32_t i = 0; i < items; i++) {
        r[i] = (struct ranked){x->view.popularity[i], i};
    }
    qsort(r, items, sizeof *r, by_popularity);
    for (uint32_t i = 0; i < items; i++) {
        store_place(&x->store, r[i].item);
    }
    free(r);
    return 0;
}

static int init_offload(struct layers *x, struct arena *a, struct err *e)
{
    struct layers_config *c = &x->cfg;
    unsigned needs = c->evict->needs | c->prefetch->needs | c->miss->needs;
    struct store_config sc = c->store;

    if (routing_init(&x->routing, c->source, c->seed, c->replication, c->calibration, needs, a, e) < 0) {
        return e->code;
    }
    x->view = (struct expert_view){.env = env_of(c, routes_shape(c->source), a),
                                   .popularity = x->routing.popularity, .together = x->routing.together,
                                   .ops = &services, .ctx = x};
    sc.layers = x->view.env.layers;
    sc.experts = x->view.env.experts;
    sc.evict = c->evict;
    sc.evict_st = c->evict_st;
    sc.copied = c->timeline ? copied : NULL;
    sc.copied_ctx = x;
    if (!take_tables(x, a)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the layer executor");
    }
    if (init_policies(x, e) < 0 || store_init(&x->store, &sc, &x->view, a, e) < 0) {
        return e->code;
    }
    return c->start_empty ? 0 : fill_cache(x, e);
}

static int init_nested(struct layers *x, struct arena *a, struct err *e)
{
    const struct layers_config *c = &x->cfg;

    return routing_init(&x->routing, c->source, c->seed, c->replication, c->calibration, 0, a, e) < 0 ||
                   nested_init(x, a, e) < 0
               ? e->code
               : 0;
}

int layers_init(struct layers *x, const struct layers_config *c, struct arena *a, struct err *e)
{
    *x = (struct layers){.cfg = *c};
    if (!c->source) {
        return 0;
    }
    return c->nested ? init_nested(x, a, e) : init_offload(x, a, e);
}

void layers_release(struct layers *x)
{
    routing_release(&x->routing);
    free(x->action);
    free(x->use);
    free(x->split_tok);
    free(x->group);
    x->action = NULL;
    x->use = NULL;
    x->split_tok = NULL;
    x->group = NULL;
}

/* ---- a step ---- */

/* Work on the GPU lane, named for the timeline. */
static void gpu_work(struct layers *x, sim_tick ticks, const char *what, uint32_t layer)
{
    sim_ns from = moe_at(x, x->t);

    x->t = moe_after(x->t, ticks);
    x->n.gpu += ticks;
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u %s", layer, what);
}

/* Both all-reduces of a layer, which the cost model counts with its attention. */
static void exchange(struct layers *x, sim_tick ticks, uint32_t layer)
{
    sim_ns from = moe_at(x, x->t);

    x->t = moe_after(x->t, ticks);
    x->n.gpu += ticks;
    timeline_slice(x->cfg.timeline, TRACK_COLLECTIVE, from, moe_at(x, x->t), "L%u all-reduce", layer);
}

static void attention(struct layers *x, uint32_t l)
{
    if (moe_on_cpu(x, l)) {
        moe_cpu_work(x, llm_layer(x->cfg.llm).attn, "attention", l);
    } else {
        gpu_work(x, x->parts.attn - x->parts.comm, "attention", l);
        exchange(x, x->parts.comm, l);
    }
}

static void dense_ffn(struct layers *x, uint32_t l)
{
    if (moe_on_cpu(x, l)) {
        moe_cpu_work(x, llm_layer(x->cfg.llm).ffn, "feed-forward", l);
    } else {
        gpu_work(x, x->parts.dense, "feed-forward", l);
    }
}

/* What precedes a step, the attention of MoE layer `m`, and what follows it, when experts are offloaded. */
static int before_step(struct layers *x, struct err *e)
{
    if (x->cfg.nested) {
        nested_step(x);
        return 0;
    }
    return x->cfg.source ? moe_step(x, e) : 0;
}

static int before_attention(struct layers *x, uint32_t m, struct err *e)
{
    return x->cfg.source && !x->cfg.nested ? moe_before(x, m, e) : 0;
}

static int offloaded_layer(struct layers *x, uint32_t m, uint32_t l, struct err *e)
{
    return x->cfg.nested ? nested_layer(x, m, l, e) : moe_layer(x, m, l, e);
}

static int walk(struct layers *x, struct err *e)
{
    const struct llm_shape *m = x->cfg.llm;
    const struct cost_parts *p = &x->parts;

    for (uint32_t l = 0, n = 0; l < m->layers; l++) {
        bool moe = llm_is_moe(m, l);

        if (moe && before_attention(x, n, e) < 0) {
            return e->code;
        }
        attention(x, l);
        if (!moe) {
            dense_ffn(x, l);
        } else if (!x->cfg.source) {
            gpu_work(x, p->shared + p->experts, "experts", l);
        } else if (offloaded_layer(x, n, l, e) < 0) {
            return e->code;
        }
        n += moe;
    }
    return 0;
}

static sim_tick whole_ticks(const struct layers *x, const struct batch_shape *shape)
{
    struct cost_affine whole;

    x->cfg.cost->iteration(x->cfg.cost_state, shape, &whole);
    return whole.base;
}

/* What the GPU did, or waited for, so far. */
static sim_wide accounted(const struct layers *x)
{
    return x->n.gpu + x->n.host + x->n.wait_load + x->n.wait_cpu;
}

static int run_step(struct layers *x, const struct batch_shape *shape, sim_ns start, sim_tick *ret, struct err *e)
{
    sim_wide before = accounted(x);
    sim_ns from;

    cost_take_apart(x->cfg.cost, x->cfg.cost_state, x->cfg.llm, shape, &x->parts);
    x->base_ns = start;
    x->t = 0;
    x->cpu_free = 0;
    if (before_step(x, e) < 0) {
        return e->code;
    }
    x->t = moe_after(x->t, x->parts.front);
    timeline_slice(x->cfg.timeline, TRACK_HOST, moe_at(x, 0), moe_at(x, x->t), "before the layers");
    if (walk(x, e) < 0) {
        return e->code;
    }
    from = moe_at(x, x->t);
    x->t = moe_after(x->t, x->parts.back);
    x->n.gpu += x->parts.back;
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "head");
    if (x->t == COST_TICK_MAX) {
        return err_set(e, SIM_E_CONFIG, "a step of %u tokens takes more than 73 minutes layer by layer: are experts.host and "
                       "the speed of the CPU (experts.miss) what was meant?", shape->n_decode + (uint32_t)shape->prefill_tok);
    }
    *ret = x->t > 0 ? x->t : 1;
    x->n.steps++;
    x->n.ticks += *ret;
    x->n.whole_ticks += whole_ticks(x, shape);
    if (x->cfg.check && accounted(x) - before + x->parts.front != x->t) {
        return err_set(e, SIM_E_CHECK, "a step of %lld ticks has %lld of work and of waiting", (long long)x->t,
                       (long long)(accounted(x) - before + x->parts.front));
    }
    return 0;
}

/* ---- a step as two batches ---- */

static int run_split(struct layers *x, const struct batch_shape *shape, sim_ns start, sim_tick *ret, struct err *e)
{
    struct expert_token *tok = malloc(shape->n_decode * sizeof *tok);
    int rc = tok ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for a step of %u tokens", shape->n_decode);

    *ret = 0;
    for (uint8_t g = 0; g < 2 && rc == 0; g++) {
        struct batch_shape part;
        uint32_t n = split_take(x, shape, g, tok, &part);
        sim_tick ticks = 0;

        if (n > 0 && routing_tokens(&x->routing, tok, n, e) == 0) {
            rc = run_step(x, &part, start + (*ret >> SIM_TICKS_PER_NS_LOG2), &ticks, e);
        } else if (n > 0) {
            rc = e->code;
        }
        *ret += ticks;
    }
    free(tok);
    return rc;
}

static int run_any(struct layers *x, const struct batch_shape *shape, sim_ns start, sim_tick *ret, struct err *e)
{
    int split = split_wanted(x, shape, e);

    if (split < 0) {
        return split;
    }
    return split ? run_split(x, shape, start, ret, e) : run_step(x, shape, start, ret, e);
}

int layers_run(struct layers *x, const struct batch_shape *shape, const struct expert_token *tok, uint32_t n,
               sim_ns start, sim_tick *ret, struct err *e)
{
    if (x->cfg.source && routing_tokens(&x->routing, tok, n, e) < 0) {
        return e->code;
    }
    return run_any(x, shape, start, ret, e);
}

int layers_execute(void *ctx, const struct engine *g, const struct step *s, sim_ns start,
                   struct cost_affine *ret, struct err *e)
{
    struct layers *x = ctx;
    sim_tick ticks = 1;

    if (x->cfg.source && routing_step(&x->routing, g, s, e) < 0) {
        return e->code;
    }
    if (run_any(x, &s->shape, start, &ticks, e) < 0) {
        return e->code;
    }
    *ret = (struct cost_affine){.base = ticks, .slope = 0, .valid = 1};
    return 0;
}
