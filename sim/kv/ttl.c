/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/kv/ttl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double ttl_gain_s(const struct ttl_case *c, double tau_s)
{
    size_t within = 0;

    for (size_t i = 0; i < c->n; i++) {
        within += c->tool_s[i] <= tau_s;
    }
    return (c->n ? (double)within / (double)c->n : 0) * (c->wait_s * c->eta + c->reload_s) - tau_s;
}

double ttl_best_s(const struct ttl_case *c)
{
    double best = 0, most = ttl_gain_s(c, 0);

    for (size_t i = 0; i < c->n; i++) {
        double tau = c->tool_s[i], gain = ttl_gain_s(c, tau);

        if (gain > most || (gain >= most && tau < best)) {
            best = tau;
            most = gain;
        }
    }
    return best;
}

/* (1 - exp(-tau)) * A - tau is largest at tau = ln A. */
double ttl_unknown_s(double wait_s, double reload_s)
{
    double a = wait_s + reload_s;

    return a > 1 ? log(a) : 0;
}

/* ---- eta ---- */

struct moments {
    double n, d, l, dd, ll, dl;
};

static void add_program(struct moments *m, uint32_t turns)
{
    for (uint32_t k = 1; k <= turns; k++) {
        double left = turns - k;

        m->n++;
        m->d += k;
        m->l += left;
        m->dd += (double)k * k;
        m->ll += left * left;
        m->dl += k * left;
    }
}

static double eta_of(const struct moments *m)
{
    double var_d = m->n * m->dd - m->d * m->d, var_l = m->n * m->ll - m->l * m->l;

    return var_d > 0 && var_l > 0 ? -(m->n * m->dl - m->d * m->l) / sqrt(var_d * var_l) : 0;
}

double ttl_eta(const uint32_t *turns, size_t n)
{
    struct moments m = {0};

    for (size_t i = 0; i < n; i++) {
        add_program(&m, turns[i]);
    }
    return eta_of(&m);
}

/* ---- learning ---- */

static int samples_init(struct ttl_samples *s)
{
    s->v = malloc(TTL_WINDOW * sizeof(*s->v));
    return s->v ? 0 : SIM_E_NOMEM;
}

int ttl_learner_init(struct ttl_learner *l)
{
    int rc;

    memset(l, 0, sizeof(*l));
    rc = samples_init(&l->all) < 0 || samples_init(&l->waits) < 0 ? SIM_E_NOMEM : 0;
    for (size_t i = 0; rc == 0 && i < TTL_TOOLS; i++) {
        rc = samples_init(&l->tool[i]);
    }
    return rc;
}

void ttl_learner_release(struct ttl_learner *l)
{
    free(l->all.v);
    free(l->waits.v);
    for (size_t i = 0; i < TTL_TOOLS; i++) {
        free(l->tool[i].v);
    }
}

static void note(struct ttl_samples *s, double v)
{
    s->v[s->n++ % TTL_WINDOW] = v;
}

static size_t held(const struct ttl_samples *s)
{
    return s->n < TTL_WINDOW ? (size_t)s->n : TTL_WINDOW;
}

void ttl_learn_tool(struct ttl_learner *l, uint32_t tool, double seconds)
{
    note(&l->tool[tool < TTL_TOOLS ? tool : TTL_TOOLS - 1], seconds);
    note(&l->all, seconds);
}

void ttl_learn_wait(struct ttl_learner *l, double seconds)
{
    note(&l->waits, seconds);
}

void ttl_learn_program(struct ttl_learner *l, uint32_t turns)
{
    struct moments m = {0};

    add_program(&m, turns);
    l->n_turn += turns;
    l->sum_done += (uint64_t)m.d;
    l->sum_left += (uint64_t)m.l;
    l->sum_dd += m.dd;
    l->sum_ll += m.ll;
    l->sum_dl += m.dl;
}

static double mean(const struct ttl_samples *s)
{
    double sum = 0;
    size_t n = held(s);

    for (size_t i = 0; i < n; i++) {
        sum += s->v[i];
    }
    return n ? sum / (double)n : 0; /* initially 0 */
}

double ttl_decide_s(const struct ttl_learner *l, uint32_t tool, double reload_s)
{
    const struct ttl_samples *own = &l->tool[tool < TTL_TOOLS ? tool : TTL_TOOLS - 1];
    const struct ttl_samples *s = own->n > TTL_COLD ? own : &l->all;
    struct moments m = {(double)l->n_turn, (double)l->sum_done, (double)l->sum_left,
                        l->sum_dd, l->sum_ll, l->sum_dl};
    struct ttl_case c = {.tool_s = s->v, .n = held(s), .wait_s = mean(&l->waits), .eta = eta_of(&m),
                         .reload_s = reload_s};

    return l->all.n > TTL_COLD ? ttl_best_s(&c) : ttl_unknown_s(c.wait_s, reload_s);
}
