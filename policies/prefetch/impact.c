/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE's impact-driven prefetch (arXiv 2504.05897, section IV-C): the gates of the next three layers on this
 * layer's hidden state say who will be needed; for each of these that is missing the layer's schedule is simulated
 * with it in GPU memory (timelines.h); the one that shortens its layer most is fetched, then the next one, as long
 * as the link is idle before the next gate. A copy that comes after its gate counts with what is left of it then. */
#include <math.h>

#include "policies/prefetch/ahead.h"
#include "policies/timelines.h"

#define MOST_LAYERS 8

/* A layer ahead, as it looks now. */
struct ahead_layer {
    struct timelines t;
    double gate_s; /* until its gate */
    double span_s; /* its experts, with what has been named so far */
};

struct impact {
    struct ahead ahead;
    struct opt_doubles recall;
    int64_t rule;
    struct ahead_layer layer[MOST_LAYERS + 1]; /* 0: the one under way */
    struct timelines trial;
    uint32_t n;
};

static const struct opt_choice rules[] = {
    [TIMELINES_PAPER] = {"paper", "as miss policy hybrid{rule=paper}"},
    [TIMELINES_CODE] = {"code", "as miss policy hybrid{rule=code}"},
    {NULL, NULL},
};

static const struct opt_row impact_options[] = {
    {.name = "recall", .type = OPT_DOUBLES, .offset = offsetof(struct impact, recall), .min = 0, .max = 1,
     .def = "0.84;0.80;0.76", .unit = "1",
     .help = "share named rightly 1, 2, ... layers ahead; as many layers as numbers, 8 at most (Fate: 0.84 one layer "
             "ahead; 5 % less per further layer, as ProMoE's predictors lose)"},
    {.name = "rule", .type = OPT_CHOICE, .offset = offsetof(struct impact, rule), .def = "paper",
     .help = "how a layer is simulated", .choices = rules},
    OPT_END,
};

static int impact_init(void *st, const struct expert_env *env, struct err *e)
{
    struct impact *m = st;

    if (m->recall.n > MOST_LAYERS) {
        return err_set(e, SIM_E_CONFIG, "impact: %zu layers ahead are more than %d", (size_t)m->recall.n, MOST_LAYERS);
    }
    for (size_t d = 0; d <= m->recall.n; d++) {
        if (timelines_init(&m->layer[d].t, env, e) < 0) {
            return e->code;
        }
    }
    return timelines_init(&m->trial, env, e) < 0 ? e->code : ahead_init(&m->ahead, env, e);
}

/* ---- how the layers look ---- */

static void see(struct timelines *t, const struct expert_view *v, uint32_t layer, uint32_t expert, uint32_t load)
{
    bool here = expert_is_here(v, expert_item(v, layer, expert));

    timelines_add(t, (struct timelines_expert){.expert = expert, .load = load,
                                               .ready_s = here ? 0 : v->ops->arrives_s(v->ctx, layer, expert)});
}

/* The layer under way, whose demands are in line. */
static void see_this(struct impact *m, const struct expert_view *v, const struct layer_work *w)
{
    struct ahead_layer *l = &m->layer[0];

    timelines_clear(&l->t);
    for (uint32_t j = 0; j < v->env.experts; j++) {
        if (w->load[j] > 0) {
            see(&l->t, v, w->layer, j, w->load[j]);
        }
    }
    l->gate_s = 0;
    l->span_s = timelines_run(&l->t, v, (enum timelines_rule)m->rule, v->ops->link_free_s(v->ctx, false));
}

/* What is there and will be needed stays. */
static void see_ahead(struct impact *m, const struct expert_view *v, uint32_t layer, uint32_t d)
{
    struct ahead_layer *l = &m->layer[d], *last = &m->layer[d - 1];
    uint32_t n = v->ops->predict(v->ctx, layer, m->recall.v[d - 1], m->ahead.guess);

    timelines_clear(&l->t);
    l->gate_s = last->gate_s + last->span_s + v->ops->layer_s(v->ctx);
    for (uint32_t i = 0; i < n; i++) {
        struct expert_guess g = m->ahead.guess[i];

        see(&l->t, v, layer, g.expert, g.load);
        if (v->state[expert_item(v, layer, g.expert)] != EXPERT_ABSENT) {
            v->ops->want(v->ctx, layer, g.expert, false);
        }
    }
    l->span_s = timelines_run(&l->t, v, (enum timelines_rule)m->rule, 0);
}

/* ---- what a copy is worth ---- */

struct choice {
    uint32_t d, at; /* layer ahead, position in its missing ones */
    double span_s;  /* of that layer then */
    double gain_s;
};

/* Into m->trial: layer d with its missing expert `at` copied until link_s. */
static double span_with(struct impact *m, const struct expert_view *v, uint32_t d, uint32_t at, double link_s)
{
    double late = fmax(0, link_s - m->layer[d].gate_s);

    timelines_fetch(&m->trial, &m->layer[d].t, at, late);
    return timelines_run(&m->trial, v, (enum timelines_rule)m->rule, late);
}

/* Of equals the nearer layer, the more loaded. Experts of one load are alike. */
static struct choice best_in(struct impact *m, const struct expert_view *v, uint32_t d, double link_s,
                             struct choice best)
{
    const struct timelines *t = &m->layer[d].t;
    uint32_t last_load = 0;

    for (uint32_t i = 0; i < t->n_missing; i++) {
        struct choice c = {.d = d, .at = i};

        if (t->missing[i].ready_s < HUGE_VAL || t->missing[i].load == last_load) {
            continue;
        }
        last_load = t->missing[i].load;
        c.span_s = span_with(m, v, d, i, link_s);
        c.gain_s = m->layer[d].span_s - c.span_s;
        best = c.gain_s > best.gain_s ? c : best;
    }
    return best;
}

static void fetch(struct impact *m, const struct expert_view *v, uint32_t layer, struct choice c, double link_s)
{
    struct ahead_layer *l = &m->layer[c.d];
    struct timelines old = l->t;

    v->ops->want(v->ctx, layer + c.d, l->t.missing[c.at].expert, false);
    span_with(m, v, c.d, c.at, link_s);
    l->t = m->trial;
    l->span_s = c.span_s;
    m->trial = old;
}

/* Gains below a nanosecond are rounding. */
#define LEAST_GAIN_S 1e-9

static void impact_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct impact *m = st;
    double link_s = v->ops->link_free_s(v->ctx, true);

    see_this(m, v, w);
    for (m->n = 0; m->n < m->recall.n && w->layer + m->n + 1 < v->env.layers; m->n++) {
        see_ahead(m, v, w->layer + m->n + 1, m->n + 1);
    }
    while (m->n > 0 && link_s < m->layer[1].gate_s) {
        struct choice best = {.gain_s = LEAST_GAIN_S};

        link_s += v->env.load_s;
        for (uint32_t d = 1; d <= m->n; d++) {
            best = best_in(m, v, d, link_s, best);
        }
        if (best.d == 0) {
            return;
        }
        fetch(m, v, w->layer, best, link_s);
    }
}

const struct prefetch_ops prefetch_impact = {
    .name = "impact",
    .summary = "of the next layers' experts those that shorten their layer most (HybriMoE)",
    .source = "HybriMoE (arXiv 2504.05897), section IV-C",
    .state_size = sizeof(struct impact),
    .options = impact_options,
    .init = impact_init,
    .routed = impact_routed,
};
