/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/moe.h"

#include <stdlib.h>
#include <string.h>

/* Under --check the whole store is looked at every so many gates. */
#define CHECK_EVERY 61

static sim_tick to_ticks(double seconds)
{
    return seconds > 0 ? cost_ticks(seconds) : 0;
}

int moe_step(struct layers *x, struct err *e)
{
    if (store_advance(&x->store, x->base_ns, e) < 0) {
        return e->code;
    }
    x->n.tokens += x->routing.n_tok;
    x->n.decode_tokens += x->routing.n_prefill == 0 ? x->routing.n_tok : 0;
    if (x->cfg.prefetch->step) {
        x->cfg.prefetch->step(x->cfg.prefetch_st, &x->view);
    }
    return store_kick(&x->store, x->base_ns, e);
}

int moe_before(struct layers *x, uint32_t m, struct err *e)
{
    if (!x->cfg.prefetch->before_attention) {
        return 0;
    }
    if (store_advance(&x->store, moe_now(x), e) < 0) {
        return e->code;
    }
    x->cfg.prefetch->before_attention(x->cfg.prefetch_st, &x->view, m);
    return store_kick(&x->store, moe_now(x), e);
}

/* ---- the gate ---- */

static bool reach_pairs(struct layers *x, uint32_t n)
{
    if (n > x->cap_pairs) {
        free(x->action);
        free(x->use);
        x->action = malloc(n);
        x->use = malloc(n * sizeof *x->use);
        x->cap_pairs = x->action && x->use ? n : 0;
    }
    return n <= x->cap_pairs;
}

static int set_out_work(struct layers *x, uint32_t m, struct err *e)
{
    const struct routing *r = &x->routing;
    uint32_t pairs = r->n_tok * r->k;

    if (!reach_pairs(x, pairs)) {
        return err_set(e, SIM_E_NOMEM, "out of memory for %u (token, expert) pairs", pairs);
    }
    x->work = (struct layer_work){.layer = m, .n_tok = r->n_tok, .k = r->k, .tok = r->tok,
                                  .expert = routing_experts(r, m), .gate = routing_gates(r, m),
                                  .score = r->scores ? &r->score[(size_t)m * r->experts] : NULL,
                                  .load = x->load, .action = x->action, .use = x->use};
    memset(x->load, 0, r->experts * sizeof *x->load);
    for (uint32_t i = 0; i < pairs; i++) {
        x->load[x->work.expert[i]]++;
        x->action[i] = PAIR_RUN;
        x->use[i] = x->work.expert[i];
    }
    return 0;
}

/* Hits and misses as the gate finds them, and how well the prefetcher had named them. */
static void count_gate(struct layers *x, uint32_t m)
{
    struct layers_counters *n = &x->n;
    bool decode = x->routing.n_prefill == 0;

    n->gates++;
    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        uint32_t item = expert_item(&x->view, m, j);
        bool asked = x->load[j] > 0, hit = asked && expert_is_here(&x->view, item);

        n->asked += asked;
        n->hits += hit;
        n->decode_asked += asked && decode;
        n->decode_hits += hit && decode;
        n->missed_pairs += asked && !hit ? x->load[j] : 0;
        n->decode_missed_pairs += asked && !hit && decode ? x->load[j] : 0;
        n->named += x->named[item];
        n->named_right += x->named[item] && asked;
        n->named_in_time += x->named[item] && expert_is_here(&x->view, item);
        n->named_asked += asked && x->any_named[m];
        x->named[item] = 0;
    }
    x->any_named[m] = false;
}

/* What the miss policy has made of the pairs: loads of the lanes, and the books. */
static int take_decision(struct layers *x, uint32_t m, struct err *e)
{
    struct layer_work *w = &x->work;
    struct layers_counters *n = &x->n;

    memset(x->gpu_load, 0, x->view.env.experts * sizeof *x->gpu_load);
    memset(x->cpu_load, 0, x->view.env.experts * sizeof *x->cpu_load);
    n->pairs += (uint64_t)w->n_tok * w->k;
    n->bypassed += w->bypassed;
    n->blocked_tok += w->blocked_tok;
    for (uint32_t i = 0; i < w->n_tok * w->k; i++) {
        switch (w->action[i]) {
        case PAIR_CPU:
            x->cpu_load[w->expert[i]]++;
            n->cpu_pairs++;
            break;
        case PAIR_SKIP:
            n->skipped_pairs++;
            n->skipped_mass += (double)w->gate[i];
            break;
        case PAIR_SUBSTITUTE:
            if (w->use[i] >= x->view.env.experts || !expert_is_here(&x->view, expert_item(&x->view, m, w->use[i]))) {
                return err_set(e, SIM_E_CHECK, "miss policy %s puts expert %u of layer %u in place of %u, but "
                               "it is not resident", x->cfg.miss->name, w->use[i], m, w->expert[i]);
            }
            x->gpu_load[w->use[i]]++;
            n->replaced_pairs++;
            n->replaced_mass += (double)w->gate[i];
            break;
        default:
            x->gpu_load[w->expert[i]]++;
            break;
        }
    }
    if (x->cfg.miss->cpu_s == NULL && n->cpu_pairs > 0) {
        return err_set(e, SIM_E_CHECK, "miss policy %s sends experts to the CPU and does not say how long they take",
                       x->cfg.miss->name);
    }
    return 0;
}

/* ---- lanes ---- */

/* Experts with a load, most loaded first. */
static uint32_t by_load(const struct layers *x, const uint32_t *load, uint32_t *ret)
{
    uint32_t n = 0;

    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        uint32_t at;

        if (load[j] == 0) {
            continue;
        }
        for (at = n++; at > 0 && load[ret[at - 1]] < load[j]; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = j;
    }
    return n;
}

static void run_on_cpu(struct layers *x, uint32_t l)
{
    uint32_t n = by_load(x, x->cpu_load, x->order);

    x->cpu_free = x->t;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t j = x->order[i];
        sim_tick ticks = to_ticks(x->cfg.miss->cpu_s(x->cfg.miss_st, x->cpu_load[j], i == 0));
        sim_ns from = moe_at(x, x->cpu_free);

        x->cpu_free = moe_after(x->cpu_free, ticks);
        x->n.cpu += ticks;
        timeline_slice(x->cfg.timeline, TRACK_CPU, from, moe_at(x, x->cpu_free), "L%u E%u, %u tokens", l, j,
                       x->cpu_load[j]);
    }
}

/* As so many experts' weights that all tokens go through. */
void moe_cpu_work(struct layers *x, double params, const char *what, uint32_t l)
{
    double expert_s = x->cfg.miss->cpu_s(x->cfg.miss_st, x->routing.n_tok, false);
    sim_tick ticks = to_ticks(params / x->cfg.expert_params * expert_s);
    sim_ns from = moe_at(x, x->t);

    x->t = moe_after(x->t, ticks);
    x->n.cpu += ticks;
    x->n.wait_cpu += ticks;
    timeline_slice(x->cfg.timeline, TRACK_CPU, from, moe_at(x, x->t), "L%u %s", l, what);
}

/* Everything that is waited for and not there, most loaded first. */
static void ask_for_missing(struct layers *x, uint32_t m)
{
    for (uint32_t i = 0; i < x->n_demand; i++) {
        store_request(&x->store, expert_item(&x->view, m, x->demand[i]), STORE_DEMAND);
    }
}

/* Behind everything else, for gates to come. */
static void fetch_missed(struct layers *x, uint32_t m)
{
    for (uint32_t j = 0; j < x->view.env.experts && x->work.fetch_missed; j++) {
        if (x->load[j] > 0 && x->gpu_load[j] == 0) {
            store_request(&x->store, expert_item(&x->view, m, j), STORE_GUESS);
        }
    }
}

/* An eager engine goes through the experts in a loop and looks for each whether it has come: host time during
 * which the GPU has nothing to do and copies go on. */
static void host_loop(struct layers *x, uint32_t l, uint32_t experts)
{
    sim_tick ticks = to_ticks(experts * x->cfg.host_s);
    sim_ns from = moe_at(x, x->t);

    x->t = moe_after(x->t, ticks);
    x->n.host += ticks;
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u host, %u experts", l, experts);
}

/* One kernel with all needed experts that are there; 0 when there is none. */
static uint32_t compute_ready(struct layers *x, uint32_t m, uint32_t l)
{
    uint32_t experts = 0;
    uint64_t pairs = 0;

    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        uint32_t item = expert_item(&x->view, m, j);

        if (x->gpu_load[j] > 0 && expert_is_here(&x->view, item)) {
            experts++;
            pairs += x->gpu_load[j];
            x->gpu_load[j] = 0;
            if (x->cfg.evict->used) {
                x->cfg.evict->used(x->cfg.evict_st, &x->view, item);
            }
            x->order[experts - 1] = item;
        }
    }
    if (experts > 0) {
        sim_tick ticks = to_ticks(cost_experts_s(&x->parts.expert, experts, (double)pairs, x->cfg.weight_scale));
        sim_ns from;

        host_loop(x, l, experts);
        from = moe_at(x, x->t);
        x->t = moe_after(x->t, ticks);
        x->n.gpu += ticks;
        timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u %u experts, %llu pairs", l,
                       experts, (unsigned long long)pairs);
    }
    return experts;
}

/* compute_ready has left the items in `order`: from now on they may go. */
static void release_ready(struct layers *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        store_need(&x->store, x->order[i], false);
    }
}

static bool anything_left(const struct layers *x)
{
    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        if (x->gpu_load[j] > 0) {
            return true;
        }
    }
    return false;
}

/* The GPU has nothing to do until something arrives. */
static int wait_for_copy(struct layers *x, uint32_t m, struct err *e)
{
    sim_ns next = store_next(&x->store);
    sim_tick to;

    if (next == SIM_NEVER && x->view.slots[expert_room_of(&x->view, expert_item(&x->view, m, 0))] == 0) {
        return err_set(e, SIM_E_CONFIG, "experts.%s leaves MoE layer %u no slot, and experts.miss=%s waits for its "
                       "experts: take one that computes them on the CPU", x->cfg.store.shallow > 0 ? "shallow" : "rate", m,
                       x->cfg.miss->name);
    }
    if (next == SIM_NEVER) {
        return err_set(e, SIM_E_CHECK, "MoE layer %u waits for experts, and none is on its way", m);
    }
    if (next - x->base_ns > COST_TICK_MAX >> SIM_TICKS_PER_NS_LOG2) {
        return err_set(e, SIM_E_CONFIG, "a step waits for experts for more than 73 minutes at %g bytes a second: "
                       "are experts.link or experts.tier, experts.calls or experts.read what was meant?", x->cfg.store.h2d_bytes_per_s);
    }
    to = (next - x->base_ns) << SIM_TICKS_PER_NS_LOG2;
    if (to > x->t) {
        x->n.wait_load += to - x->t;
        x->t = to;
    }
    return 0;
}

static bool anything_coming(const struct layers *x, uint32_t m)
{
    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        uint8_t state = x->view.state[expert_item(&x->view, m, j)];
        bool queued = state == EXPERT_QUEUED && store_copies(&x->store); /* else it lacks a slot */

        if (x->gpu_load[j] > 0 && (queued || state == EXPERT_IN_FLIGHT)) {
            return true;
        }
    }
    return false;
}

/* Without overlap copies and kernels share a stream: all that found a slot comes first. */
static int copy_first(struct layers *x, uint32_t m, struct err *e)
{
    while (!x->cfg.overlap && anything_coming(x, m)) {
        if (wait_for_copy(x, m, e) < 0 || store_advance(&x->store, moe_now(x), e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* What a prefetcher named for the layer and has not come yet; what lacks a slot is not waited for. */
static bool named_coming(const struct layers *x, uint32_t m)
{
    for (uint32_t j = 0; j < x->view.env.experts; j++) {
        uint32_t item = expert_item(&x->view, m, j);
        uint8_t state = x->view.state[item];

        if (x->named[item] && (state == EXPERT_IN_FLIGHT ||
                               (state == EXPERT_QUEUED && store_copies(&x->store)))) {
            return true;
        }
    }
    return false;
}

static int await_named(struct layers *x, uint32_t m, struct err *e)
{
    while (x->cfg.prefetch->complete && named_coming(x, m)) {
        if (wait_for_copy(x, m, e) < 0 || store_advance(&x->store, moe_now(x), e) < 0 ||
            store_kick(&x->store, moe_now(x), e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int run_on_gpu(struct layers *x, uint32_t m, uint32_t l, struct err *e)
{
    while (anything_left(x)) {
        uint32_t n;

        if (store_advance(&x->store, moe_now(x), e) < 0) {
            return e->code;
        }
        n = compute_ready(x, m, l);
        if (n > 0 && store_advance(&x->store, moe_now(x), e) < 0) {
            return e->code;
        }
        release_ready(x, n);
        if (store_kick(&x->store, moe_now(x), e) < 0 || (n == 0 && wait_for_copy(x, m, e) < 0)) {
            return e->code;
        }
    }
    return 0;
}

static void join_cpu(struct layers *x)
{
    if (x->cpu_free > x->t) {
        x->n.wait_cpu += x->cpu_free - x->t;
        x->t = x->cpu_free;
    }
}

/* ---- the layer ---- */

static int open_gate(struct layers *x, uint32_t m, uint32_t l, struct err *e)
{
    if (store_advance(&x->store, moe_now(x), e) < 0 || set_out_work(x, m, e) < 0) {
        return e->code;
    }
    count_gate(x, m);
    if (x->cfg.evict->routed) {
        x->cfg.evict->routed(x->cfg.evict_st, &x->view, &x->work);
    }
    if (moe_on_cpu(x, l)) {
        memset(x->action, PAIR_CPU, (size_t)x->work.n_tok * x->work.k);
    } else {
        x->cfg.miss->decide(x->cfg.miss_st, &x->view, &x->work);
    }
    if (take_decision(x, m, e) < 0) {
        return e->code;
    }
    x->n_demand = by_load(x, x->gpu_load, x->demand);
    for (uint32_t i = 0; i < x->n_demand; i++) {
        store_need(&x->store, expert_item(&x->view, m, x->demand[i]), true);
    }
    store_gate(&x->store, m);
    ask_for_missing(x, m);
    fetch_missed(x, m);
    return store_kick(&x->store, moe_now(x), e);
}

static void compute_shared(struct layers *x, uint32_t l)
{
    const struct llm_shape *m = x->cfg.llm;
    sim_ns from = moe_at(x, x->t);

    if (moe_on_cpu(x, l)) {
        moe_cpu_work(x, llm_layer(m).router + m->shared_experts * llm_layer(m).expert, "router, shared", l);
        return;
    }
    x->t = moe_after(x->t, x->parts.shared);
    x->n.gpu += x->parts.shared;
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u router, shared", l);
}

static int check_layer(struct layers *x, struct err *e)
{
    if (!x->cfg.check || x->check_count++ % CHECK_EVERY != 0) {
        return 0;
    }
    return store_check(&x->store, e);
}

int moe_layer(struct layers *x, uint32_t m, uint32_t l, struct err *e)
{
    if (await_named(x, m, e) < 0 || open_gate(x, m, l, e) < 0) {
        return e->code;
    }
    if (x->cfg.prefetch->routed) {
        x->cfg.prefetch->routed(x->cfg.prefetch_st, &x->view, &x->work);
    }
    if (store_kick(&x->store, moe_now(x), e) < 0) {
        return e->code;
    }
    if (moe_on_cpu(x, l)) {
        compute_shared(x, l);
    }
    run_on_cpu(x, l);
    if (copy_first(x, m, e) < 0) {
        return e->code;
    }
    if (!moe_on_cpu(x, l)) {
        compute_shared(x, l);
    }
    if (run_on_gpu(x, m, l, e) < 0) {
        return e->code;
    }
    join_cpu(x);
    x->view.gates++;
    return check_layer(x, e);
}
