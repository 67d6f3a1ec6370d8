/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/placement/balancer.h"

#include <string.h>

/* Sequences of the calibration sample: numbers that no request of a run has. */
#define CALIBRATION_FIRST ((uint64_t)1 << 41)
#define CALIBRATION_TOK   16 /* of each */

/* ---- set-up ---- */

static bool take_layer(struct balancer *x, struct balancer_layer *l, struct arena *a, struct err *e)
{
    const struct place_spec *s = &x->cfg.spec;

    for (uint32_t i = 0; i < BALANCER_PARTS; i++) {
        l->part[i].slowest = arena_calloc(a, s->slots / s->gpus, sizeof(*l->part[i].slowest));
        if (!l->part[i].slowest ||
            loads_init(&l->part[i].loads, s, x->cfg.choice, x->cfg.node_copies, a, e) < 0) {
            return false;
        }
    }
    l->sum = arena_calloc(a, s->experts, sizeof(*l->sum));
    l->counted = arena_calloc(a, (size_t)x->cfg.window * s->experts, sizeof(*l->counted));
    return l->sum && l->counted && replicas_init(&l->now, s, a, e) == 0 &&
           replicas_init(&l->next, s, a, e) == 0;
}

/* How often each expert is used by other sequences; all alike without a sample. */
static void calibrate(const struct balancer *x, uint32_t layer, double *weight)
{
    struct route at;

    for (uint32_t i = 0; i < x->cfg.spec.experts; i++) {
        weight[i] = 0.5; /* so that nobody is impossible */
    }
    for (uint32_t t = 0; t < x->cfg.calibration; t++) {
        routes_at(x->cfg.source, CALIBRATION_FIRST + t / CALIBRATION_TOK, t % CALIBRATION_TOK, layer, &at);
        for (uint32_t i = 0; i < x->top_k; i++) {
            weight[at.expert[i]] += 1;
        }
    }
}

static int place_into(const struct balancer *x, struct replicas *to, const double *weight, struct err *e)
{
    struct arena scratch = {0};
    struct placement p;
    int rc = place(x->cfg.policy, &x->cfg.spec, weight, &p, &scratch, e);

    if (rc == 0) {
        replicas_set(to, &p);
    }
    arena_release(&scratch);
    return rc;
}

static int init_layers(struct balancer *x, struct arena *a, struct err *e)
{
    uint32_t all = routes_shape(x->cfg.source).layers;
    double weight[PLACE_EXPERTS_MAX];

    x->n = x->cfg.layers > 0 && x->cfg.layers < all ? x->cfg.layers : all;
    x->layer = arena_calloc(a, x->n, sizeof(*x->layer));
    for (uint32_t i = 0; x->layer && i < x->n; i++) {
        struct balancer_layer *l = &x->layer[i];

        l->layer = (uint32_t)((2 * (uint64_t)i + 1) * all / (2 * (uint64_t)x->n));
        if (!take_layer(x, l, a, e)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for the placement of experts");
        }
        calibrate(x, l->layer, weight);
        if (place_into(x, &l->now, weight, e) < 0) {
            return e->code;
        }
    }
    return x->layer ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for the placement of experts");
}

int balancer_init(struct balancer *x, const struct balancer_config *c, struct arena *a, struct err *e)
{
    *x = (struct balancer){.cfg = *c, .top_k = routes_shape(c->source).top_k};
    x->cfg.hold = c->hold > 0 ? c->hold : 1;
    x->cfg.window = c->window / x->cfg.hold > 0 ? c->window / x->cfg.hold : 1;
    return moves_init(&x->moves, &c->moves, a, e) < 0 ? e->code : init_layers(x, a, e);
}

void balancer_release(struct balancer *x)
{
    token_list_release(&x->tokens);
}

/* ---- counting ---- */

static uint32_t parts(const struct balancer *x)
{
    return x->cfg.halves ? 2 : 1;
}

/* Token i of those looked at, out of all that the ranks serve together. All layers of it: what they have in
 * common is worked out once. The first half of each rank's tokens makes the first half batch. */
static void look_at(struct balancer *x, const struct expert_token *tok, uint32_t n, uint64_t i, uint64_t looked)
{
    uint32_t ranks = x->cfg.spec.gpus;
    uint64_t of = (uint64_t)n * ranks * i / looked;
    const struct expert_token *t = &tok[of % n];
    uint32_t rank = (uint32_t)(of / n), part = (uint32_t)(of % n * parts(x) / n);
    struct route at;

    for (uint32_t l = 0; l < x->n; l++) {
        routes_at(x->cfg.source, t->sequence * ranks + rank, t->position, x->layer[l].layer, &at);
        loads_token(&x->layer[l].part[part].loads, rank, &at, x->top_k);
    }
}

static void count(struct balancer *x, struct balancer_layer *l)
{
    uint32_t experts = x->cfg.spec.experts, *row = &l->counted[(size_t)x->ring * experts];

    for (uint32_t i = 0; i < experts; i++) {
        uint32_t now = l->part[0].loads.count[i] + (parts(x) > 1 ? l->part[1].loads.count[i] : 0);

        l->sum[i] += (double)now - (double)row[i];
        row[i] = now;
    }
}

static void sum_up(struct balancer *x, struct balancer_layer *l, double *load, double *unplaced)
{
    for (uint32_t i = 0; i < parts(x); i++) {
        struct balancer_part *p = &l->part[i];

        p->arrive = loads_arrive(&p->loads);
        p->active = loads_mean_active(&p->loads);
        p->n_slowest = loads_slowest(&p->loads, p->slowest);
        *load += loads_busiest(&p->loads) / (x->n * parts(x));
        *unplaced += loads_unplaced(&p->loads) / (x->n * parts(x));
    }
    count(x, l);
}

static void look(struct balancer *x, const struct expert_token *tok, uint32_t n)
{
    uint64_t all = (uint64_t)n * x->cfg.spec.gpus;
    uint64_t looked = x->cfg.sample > 0 && x->cfg.sample < all ? x->cfg.sample : all;
    double load = 0, unplaced = 0;

    for (uint32_t i = 0; i < x->n; i++) {
        for (uint32_t k = 0; k < parts(x); k++) {
            loads_begin(&x->layer[i].part[k].loads, &x->layer[i].now);
        }
    }
    for (uint64_t i = 0; i < looked; i++) {
        look_at(x, tok, n, i, looked);
    }
    for (uint32_t i = 0; i < x->n; i++) {
        sum_up(x, &x->layer[i], &load, &unplaced);
    }
    x->ring = (x->ring + 1) % x->cfg.window;
    x->count.looks++;
    x->count.load += load;
    x->count.unplaced += unplaced;
    x->count.worst = load > x->count.worst ? load : x->count.worst;
}

/* ---- time ---- */

static sim_tick ticks_of(const struct balancer *x, const struct batch_shape *shape, struct batch_spread spread)
{
    struct batch_shape s = *shape;
    struct cost_affine c;

    s.spread = spread;
    s.spread.link = x->moving ? 1 - x->cfg.share : 1;
    x->cfg.cost->iteration(x->cfg.cost_state, &s, &c);
    return c.base;
}

static sim_tick balanced_ticks(const struct balancer *x, const struct balancer_part *p,
                               const struct batch_shape *shape)
{
    return ticks_of(x, shape, (struct batch_spread){.load = 1, .arrive = 1, .active = p->active});
}

/* As if all of the batch, and all of the layers, were as this part of this layer. */
static sim_tick part_ticks(const struct balancer *x, const struct balancer_part *p, const struct batch_shape *shape)
{
    sim_tick most = 0;

    for (uint32_t i = 0; i < p->n_slowest; i++) {
        sim_tick t = ticks_of(x, shape, (struct batch_spread){.load = p->slowest[i].load, .arrive = p->arrive,
                                                              .active = p->slowest[i].active});

        most = t > most ? t : most;
    }
    return most > 0 ? most : balanced_ticks(x, p, shape);
}

static sim_tick step_ticks(struct balancer *x, const struct batch_shape *shape)
{
    sim_wide sum = 0, balanced = 0, n = (sim_wide)x->n * parts(x);

    for (uint32_t i = 0; i < n; i++) {
        const struct balancer_part *p = &x->layer[i / parts(x)].part[i % parts(x)];

        balanced += balanced_ticks(x, p, shape);
        sum += part_ticks(x, p, shape);
    }
    x->count.ticks += sum / n;
    x->count.balanced_ticks += balanced / n;
    return (sim_tick)(sum / n);
}

/* ---- a new placement ---- */

/* Busiest rank over the mean, of what the window has counted. */
static double window_imbalance(const struct balancer *x)
{
    double sum = 0;

    for (uint32_t i = 0; i < x->n; i++) {
        sum += placement_imbalance(&x->layer[i].now.at, x->layer[i].sum) / x->n;
    }
    return sum;
}

static bool is_due(const struct balancer *x)
{
    return x->cfg.every > 0 && x->count.steps % x->cfg.every == 0 && !x->moving && x->count.looks > 0 &&
           (x->cfg.threshold >= 1 || 1 / window_imbalance(x) < x->cfg.threshold);
}

static int plan(struct balancer *x, struct err *e)
{
    x->count.before += window_imbalance(x);
    for (uint32_t i = 0; i < x->n; i++) {
        struct balancer_layer *l = &x->layer[i];

        if (place_into(x, &l->next, l->sum, e) < 0) {
            return e->code;
        }
        x->count.after += placement_imbalance(&l->next.at, l->sum) / x->n;
    }
    x->count.rebalances++;
    return 0;
}

static int start_layer(struct balancer *x, sim_ns now, struct err *e)
{
    const struct balancer_layer *l = &x->layer[x->moved];

    return moves_start(&x->moves, now, &l->now, &l->next, e);
}

/* A placement of one layer looked at, as a slice. */
static void show_move(const struct balancer *x, uint32_t layer)
{
    const struct moves *m = &x->moves;
    uint32_t copies = 0;

    for (uint32_t i = 0; i < m->cfg.ranks; i++) {
        copies += m->receiving[i];
    }
    timeline_slice(x->cfg.timeline, TRACK_MOVES, m->began_ns, m->ended_ns, "L%u, %u experts", layer, copies);
}

static int switch_layer(struct balancer *x, struct err *e)
{
    struct balancer_layer *l = &x->layer[x->moved++];

    replicas_set(&l->now, &l->next.at);
    x->moving = x->moved < x->n;
    return !x->cfg.check || (replicas_verify(&l->now, e) == 0 && moves_verify(&x->moves, e) == 0) ? 0 : e->code;
}

/* What has come by `now`: a layer's new placement holds once all of it has, and then the next layer goes. */
static int go_on(struct balancer *x, sim_ns now, struct err *e)
{
    while (x->moving && moves_done(&x->moves, now)) {
        sim_ns at = x->moves.ended_ns > x->moves.began_ns ? x->moves.ended_ns : x->moves.began_ns;

        if (x->cfg.timeline) {
            show_move(x, x->layer[x->moved].layer);
        }
        if (switch_layer(x, e) < 0 || (x->moving && start_layer(x, at, e) < 0)) {
            return e->code;
        }
    }
    return 0;
}

/* The copies begin behind the step that ends at `now`. *wait: how long the next one waits for them, until `last` at the
 * latest. */
static int rebalance(struct balancer *x, sim_ns now, sim_ns last, sim_ns *wait, struct err *e)
{
    x->moving = true;
    x->moved = 0;
    *wait = 0;
    if (plan(x, e) < 0 || start_layer(x, now, e) < 0) {
        return e->code;
    }
    if (x->cfg.overlap) {
        return go_on(x, now, e);
    }
    for (sim_ns at = now; x->moving; at = moves_next(&x->moves)) {
        if (at > last) {
            return err_set(e, SIM_E_CONFIG, "a step waits for experts on their way for more than 73 minutes: is placement.link, "
                           "%g bytes a second, what was meant?", x->cfg.moves.bytes_per_s);
        }
        if (go_on(x, at, e) < 0) {
            return e->code;
        }
    }
    *wait = x->moves.ended_ns > now ? x->moves.ended_ns - now : 0;
    return 0;
}

/* ---- a step ---- */

static int verify(const struct balancer *x, struct err *e)
{
    for (uint32_t i = 0; x->cfg.check && i < x->n; i++) {
        if (replicas_verify(&x->layer[i].now, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

int balancer_run(struct balancer *x, const struct batch_shape *shape, const struct expert_token *tok, uint32_t n,
                 sim_ns start, sim_tick *ret, struct err *e)
{
    sim_ns wait = 0;

    if (go_on(x, start, e) < 0 || verify(x, e) < 0) {
        return e->code;
    }
    if (n > 0 && x->count.steps % x->cfg.hold == 0) {
        look(x, tok, n);
    }
    *ret = step_ticks(x, shape);
    x->count.steps++;
    if (is_due(x) && rebalance(x, start + (*ret >> SIM_TICKS_PER_NS_LOG2), start + (COST_TICK_MAX >> SIM_TICKS_PER_NS_LOG2), &wait, e) < 0) {
        return e->code;
    }
    x->count.wait_ticks += (sim_wide)wait << SIM_TICKS_PER_NS_LOG2;
    *ret += (sim_tick)wait << SIM_TICKS_PER_NS_LOG2;
    return 0;
}

int balancer_execute(void *ctx, const struct engine *g, const struct step *s, sim_ns start, struct cost_affine *ret,
                     struct err *e)
{
    struct balancer *x = ctx;
    sim_tick ticks = 1;

    if (token_list_fill(&x->tokens, g, s, e) < 0 ||
        balancer_run(x, &s->shape, x->tokens.tok, x->tokens.n, start, &ticks, e) < 0) {
        return e->code;
    }
    *ret = (struct cost_affine){.base = ticks > 0 ? ticks : 1, .slope = 0, .valid = 1};
    return 0;
}
