/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/layers/nested.h"

#include <math.h>
#include <string.h>

#include "sim/layers/moe.h"

/* Under --check the books are looked at every so many gates. */
#define CHECK_EVERY 61

/* ---- set-up ---- */

static void on_started(void *ctx, sim_ns now, uint64_t tag)
{
    struct nested *n = ctx;

    (void)tag;
    n->began_ns = now;
}

static int plane_came(void *ctx, sim_ns now, uint64_t tag, struct err *e);

/* Behind the planes' own link: the one that they share. */
static int go_shared(struct nested *n, struct err *e)
{
    const struct gpu_link *g = n->cfg.shared;

    if (g->in.n_path == FABRIC_MAX_PATH) {
        return err_set(e, SIM_E_CONFIG, "topology: %u links between a GPU and its memory are too many", g->in.n_path);
    }
    memcpy(&n->way.path[1], g->in.path, g->in.n_path * sizeof g->in.path[0]);
    n->way.n_path += g->in.n_path;
    n->way.weight = g->in.weight;
    n->way.latency_ns = g->in.latency_ns;
    n->engine = g->engine_in;
    return copy_take_turns(n->engine, e);
}

static int open_link(struct nested *n, struct arena *a, struct err *e)
{
    struct link_spec l = {.name = "experts.h2d", .bytes_per_s = n->cfg.h2d_bytes_per_s};

    n->client = (struct flow_client){.ended = plane_came, .started = on_started, .ctx = n};
    n->fabric = n->cfg.shared ? n->cfg.shared->fabric : fabric_new(a);
    if (!n->fabric || fabric_add_link(n->fabric, &l, &n->link, e) < 0) {
        return n->fabric ? e->code : err_set(e, SIM_E_NOMEM, "out of memory for the link of experts");
    }
    n->way = (struct topo_route){.n_path = 1, .path = {n->link}, .weight = 1, .bytes_per_s = l.bytes_per_s};
    if (n->cfg.shared) {
        return go_shared(n, e);
    }
    n->engine = copy_new(n->fabric, 1, n->cfg.call_ns, a);
    return n->engine ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for the link of experts");
}

int nested_init(struct layers *x, struct arena *a, struct err *e)
{
    struct nested *n = &x->nested;
    const struct routing *r = &x->routing;
    size_t items;

    *n = (struct nested){.cfg = *x->cfg.nested, .owner = x, .rng = rng_stream(x->cfg.seed, x->cfg.replication, "experts.bits")};
    n->cfg.planes.layers = r->layers;
    n->cfg.planes.experts = r->experts;
    items = (size_t)r->experts * n->cfg.planes.planes;
    n->demand = arena_calloc(a, items, sizeof *n->demand);
    n->todo = arena_calloc(a, items, sizeof *n->todo);
    if (!n->demand || !n->todo) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the planes of experts");
    }
    return planes_init(&n->planes, &n->cfg.planes, a, e) < 0 || open_link(n, a, e) < 0 ? e->code : 0;
}

/* ---- the gate ---- */

/* Of choice `i` of token `t`: the draw belongs to the token, the layer and the choice, so it is the same under
 * every order and budget. */
static uint32_t last_plane(const struct layers *x, uint32_t m, uint32_t t, uint32_t i)
{
    const struct nested *n = &x->nested;
    const struct routing *r = &x->routing;
    uint64_t draw = ((uint64_t)r->tok[t].position * r->layers + m) * r->k + i;
    double u = rng_uniform(n->rng, r->tok[t].sequence, draw);
    uint32_t q = 0;

    while (q + 1 < n->cfg.planes.planes && u >= n->cfg.share[q]) {
        u -= n->cfg.share[q++];
    }
    return q;
}

static void count_demand(struct layers *x, uint32_t m)
{
    struct nested *n = &x->nested;
    const struct routing *r = &x->routing;
    const uint16_t *expert = routing_experts(r, m);
    uint32_t planes = n->cfg.planes.planes;

    memset(n->demand, 0, (size_t)r->experts * planes * sizeof *n->demand);
    for (uint32_t i = 0; i < r->n_tok * r->k; i++) {
        uint32_t last = last_plane(x, m, i / r->k, i % r->k);

        for (uint32_t q = 0; q <= last; q++) {
            n->demand[expert[i] * planes + q]++;
        }
        n->n.pair_bits += n->cfg.bits[last];
    }
    x->n.pairs += (uint64_t)r->n_tok * r->k;
    memcpy(n->todo, n->demand, (size_t)r->experts * planes * sizeof *n->todo);
}

static bool is_there(const struct nested *n, uint32_t item)
{
    uint32_t planes = n->cfg.planes.planes;

    return item % planes < planes_depth(&n->planes, n->planes.layer, item / planes);
}

static void count_gate(struct layers *x)
{
    struct nested *n = &x->nested;
    bool decode = x->routing.n_prefill == 0;
    uint64_t asked = 0;

    for (uint32_t i = 0; i < x->routing.experts * n->cfg.planes.planes; i++) {
        asked += n->demand[i] > 0;
    }
    x->n.gates++;
    n->n.asked += asked;
    n->n.hits += asked - n->planes.n_line;
    n->n.decode_asked += decode ? asked : 0;
    n->n.decode_hits += decode ? asked - n->planes.n_line : 0;
}

/* ---- copies: one after the other, in the order of the line ---- */

static int load_next(struct nested *n, sim_ns now, struct err *e)
{
    const struct planes_load *next = &n->planes.line[n->planes.n_came];
    struct copy_job j = {.route = &n->way, .urgency = COPY_URGENT, .client = &n->client};

    if (n->planes.n_came == n->planes.n_line) {
        return 0;
    }
    j.bytes = n->cfg.planes.bytes[next->plane];
    j.calls = n->cfg.calls[next->plane];
    return copy_submit(n->engine, now, &j, e);
}

static int plane_came(void *ctx, sim_ns now, uint64_t tag, struct err *e)
{
    struct nested *n = ctx;
    const struct planes_load *load = &n->planes.line[n->planes.n_came];

    (void)tag;
    timeline_slice(n->owner->cfg.timeline, TRACK_H2D, n->began_ns, now, "L%u E%u plane %u", n->planes.layer,
                   load->expert, load->plane);
    n->n.loads++;
    n->n.h2d_bytes += n->cfg.planes.bytes[load->plane];
    planes_came(&n->planes);
    return copy_ended(n->engine, now, e) < 0 ? e->code : load_next(n, now, e);
}

/* ---- the GPU ---- */

static void work(struct layers *x, sim_tick ticks)
{
    x->t = moe_after(x->t, ticks);
    x->n.gpu += ticks;
}

/* An eager engine's loop over what it computes (experts.host). */
static void host_loop(struct layers *x, uint32_t l, uint32_t planes)
{
    sim_tick ticks = cost_ticks(planes * x->cfg.host_s);
    sim_ns from = moe_at(x, x->t);

    if (x->cfg.host_s > 0) {
        x->t = moe_after(x->t, ticks);
        x->n.host += ticks;
        timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u host, %u planes", l, planes);
    }
}

/* One kernel with all planes that are there and not computed yet; false when there is none. */
static bool compute_ready(struct layers *x, uint32_t l)
{
    struct nested *n = &x->nested;
    uint32_t planes = n->cfg.planes.planes, elements = 0;
    double scale = 0;
    uint64_t pairs = 0;
    sim_ns from;

    for (uint32_t i = 0; i < x->routing.experts * planes; i++) {
        if (n->todo[i] > 0 && is_there(n, i)) {
            elements++;
            scale += n->cfg.scale[i % planes];
            pairs += n->todo[i];
            n->todo[i] = 0;
        }
    }
    if (elements == 0) {
        return false;
    }
    n->n.computed += pairs;
    host_loop(x, l, elements);
    from = moe_at(x, x->t);
    work(x, cost_ticks(cost_experts_s(&x->parts.expert, 1, (double)pairs, scale)));
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u %u planes, %llu pairs", l, elements,
                   (unsigned long long)pairs);
    return true;
}

static int wait_for_copy(struct layers *x, struct err *e)
{
    sim_ns next = fabric_next(x->nested.fabric);
    sim_tick to;

    if (next - x->base_ns > COST_TICK_MAX >> SIM_TICKS_PER_NS_LOG2) {
        return err_set(e, SIM_E_CONFIG, "a step waits for experts for more than 73 minutes at %g bytes a second: "
                       "are experts.link or experts.tier, experts.calls or experts.read what was meant?", x->nested.cfg.h2d_bytes_per_s);
    }
    to = (next - x->base_ns) << SIM_TICKS_PER_NS_LOG2;
    if (to > x->t) {
        x->n.wait_load += to - x->t;
        x->t = to;
    }
    return fabric_deliver(x->nested.fabric, next, e);
}

static bool coming(const struct nested *n)
{
    return n->planes.n_came < n->planes.n_line;
}

static int run_planes(struct layers *x, uint32_t l, struct err *e)
{
    for (;;) {
        if (fabric_deliver(x->nested.fabric, moe_now(x), e) < 0) {
            return e->code;
        }
        if ((x->cfg.overlap || !coming(&x->nested)) && compute_ready(x, l)) {
            continue;
        }
        if (!coming(&x->nested)) {
            return 0;
        }
        if (wait_for_copy(x, e) < 0) {
            return e->code;
        }
    }
}

/* ---- the layer ---- */

void nested_step(struct layers *x)
{
    x->n.tokens += x->routing.n_tok;
    x->n.decode_tokens += x->routing.n_prefill == 0 ? x->routing.n_tok : 0;
}

int nested_layer(struct layers *x, uint32_t m, uint32_t l, struct err *e)
{
    sim_ns from;

    count_demand(x, m);
    planes_plan(&x->nested.planes, m, x->nested.demand);
    count_gate(x);
    if (load_next(&x->nested, moe_now(x), e) < 0) {
        return e->code;
    }
    from = moe_at(x, x->t);
    work(x, x->parts.shared);
    timeline_slice(x->cfg.timeline, TRACK_GPU, from, moe_at(x, x->t), "L%u router, shared", l);
    if (run_planes(x, l, e) < 0) {
        return e->code;
    }
    return x->cfg.check && x->check_count++ % CHECK_EVERY == 0 ? nested_check(&x->nested, e) : 0;
}

int nested_check(const struct nested *n, struct err *e)
{
    double carried = fabric_link_bytes(n->fabric, n->link), slack = 1 + 1e-9 * carried;
    uint32_t left = 0;

    for (uint32_t i = 0; i < n->cfg.planes.experts * n->cfg.planes.planes; i++) {
        left += n->todo[i];
    }
    if (left > 0 || fabs(carried - n->n.h2d_bytes) > slack) {
        return err_set(e, SIM_E_CHECK, "behind a layer of planes: %u pairs not computed; the link carried %.0f bytes for "
                       "%.0f of planes", left, carried, n->n.h2d_bytes);
    }
    return planes_check(&n->planes, e);
}
