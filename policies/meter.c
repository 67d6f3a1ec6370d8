/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/meter.h"

#include <math.h>
#include <stdlib.h>

#define LEAST_WEIGHT 1e-4
#define MOST_WEIGHT  1e6
#define FARTHEST     ((uint64_t)1 << 24) /* keeps the products below within 128 bits */

enum { P, Q, PQ, QQ, ONE, N_COEFFICIENTS };

const struct opt_choice meter_cost_choices[] = {
    {.name = "linear", .help = "wp*p + wq*q"},
    {.name = "profiled", .help = "the quadratic fitted to a profile of the engine"},
    {.name = NULL},
};

int meter_init(struct meter *m, const struct meter_conf *conf, struct err *e)
{
    if (conf->cost == METER_PROFILED && conf->profile.n != N_COEFFICIENTS) {
        return err_set(e, SIM_E_CONFIG, "'profile' has %zu coefficients; it takes %d",
                       conf->profile.n, N_COEFFICIENTS);
    }
    *m = (struct meter){.conf = *conf, .decode_ns = -1};
    m->accounts.row_size = sizeof(struct meter_account);
    return 0;
}

void meter_release(struct meter *m)
{
    client_table_release(&m->accounts);
    req_heap_release(&m->later);
    for (uint32_t k = 0; k < METER_ORDERS; k++) {
        req_heap_release(&m->order[k].still);
        free(m->order[k].in);
        m->order[k] = (struct meter_order){.in = NULL};
    }
    free(m->active);
    free(m->slots);
    free(m->fresh);
    m->active = NULL;
    m->slots = NULL;
    m->fresh = NULL;
    m->slots_cap = m->fresh_cap = m->n_fresh = m->active_cap = m->n_active = 0;
}

/* ---- orders ---- */

/* 128 bits as two keys that compare alike. */
static struct req_heap_item still_item(const struct meter *m, uint32_t i)
{
    sim_wide total = meter_account(m, i)->total;
    return (struct req_heap_item){.key = (int64_t)(total >> 64),
                                  .then = (int64_t)((uint64_t)total ^ (uint64_t)1 << 63),
                                  .serial = i,
                                  .r = i};
}

/* The counter of `i` has changed, or whether it stands still. */
static void place(struct meter *m, uint32_t i)
{
    bool still = meter_account(m, i)->n_summed == 0;
    for (uint32_t k = 0; k < m->n_orders; k++) {
        struct meter_order *o = &m->order[k];
        if (o->in[i]) {
            req_heap_remove(&o->still, i);
            if (still) {
                req_heap_push(&o->still, still_item(m, i));
            }
        }
    }
}

void meter_order_set(struct meter *m, uint32_t order, uint32_t i, bool in)
{
    struct meter_order *o = &m->order[order];
    if (o->in[i] == in) {
        return;
    }
    o->in[i] = in;
    if (!in) {
        req_heap_remove(&o->still, i);
    } else if (meter_account(m, i)->n_summed == 0) {
        req_heap_push(&o->still, still_item(m, i));
    }
}

static bool is_less(const struct meter *m, uint32_t i, uint32_t j)
{
    sim_wide a = meter_account(m, i)->total, b = meter_account(m, j)->total;
    return a != b ? a < b : i < j;
}

uint32_t meter_least(const struct meter *m, uint32_t order)
{
    const struct meter_order *o = &m->order[order];
    uint32_t best = o->still.n ? req_heap_top(&o->still) : CLIENT_NONE;
    for (uint32_t k = 0; k < m->n_active; k++) {
        uint32_t i = m->active[k];
        if (o->in[i] && (best == CLIENT_NONE || is_less(m, i, best))) {
            best = i;
        }
    }
    return best;
}

uint64_t meter_first_overtaking(const struct meter *m, uint32_t order, uint32_t least)
{
    const struct meter_order *o = &m->order[order];
    const struct meter_account *a = meter_account(m, least);
    uint64_t soonest = UINT64_MAX;
    /* Of those that stand still the least one is overtaken first; none overtakes another. */
    if (o->still.n && req_heap_top(&o->still) != least) {
        uint32_t top = req_heap_top(&o->still);
        soonest = meter_overtakes(a, meter_account(m, top), top < least);
    }
    for (uint32_t n = 0; n < m->n_active; n++) {
        uint32_t i = m->active[n];
        if (o->in[i] && i != least) {
            uint64_t k = meter_overtakes(a, meter_account(m, i), i < least);
            soonest = k < soonest ? k : soonest;
        }
    }
    return soonest;
}

void meter_lift(struct meter *m, uint32_t i, sim_wide to)
{
    struct meter_account *a = meter_account(m, i);
    if (a->total < to) {
        a->total = to;
        place(m, i);
    }
}

static void charge(struct meter *m, const struct meter_slot *s, sim_wide amount)
{
    meter_account(m, s->account)->total += amount;
    place(m, s->account);
}

static bool reach_account(struct meter *m, uint32_t i)
{
    void *active = m->active;
    bool ok = table_reach(&active, &m->active_cap, sizeof *m->active, i);
    m->active = active;
    for (uint32_t k = 0; k < m->n_orders && ok; k++) {
        struct meter_order *o = &m->order[k];
        void *in = o->in;
        ok = table_reach(&in, &o->in_cap, sizeof *o->in, i) && req_heap_reach(&o->still, i);
        o->in = in;
    }
    return ok;
}

static void activate(struct meter *m, uint32_t i)
{
    struct meter_account *a = meter_account(m, i);
    if (a->n_summed++ == 0) {
        m->active[m->n_active] = i;
        a->active_at = ++m->n_active;
        place(m, i);
    }
}

static void deactivate(struct meter *m, uint32_t i)
{
    struct meter_account *a = meter_account(m, i);
    if (--a->n_summed == 0) {
        uint32_t last = m->active[--m->n_active];
        m->active[a->active_at - 1] = last;
        meter_account(m, last)->active_at = a->active_at;
        a->active_at = 0;
        place(m, i);
    }
}

/* ---- charges ---- */

static bool reach(struct meter *m, req_id r)
{
    void *slots = m->slots, *fresh = m->fresh;
    bool ok = table_reach(&slots, &m->slots_cap, sizeof *m->slots, r) &&
              table_reach(&fresh, &m->fresh_cap, sizeof *m->fresh, r);
    m->slots = slots;
    m->fresh = fresh;
    return ok && req_heap_reach(&m->later, r);
}

static int64_t units(double cost, double weight)
{
    return llround(cost * METER_UNIT / weight);
}

/* The charge for one output token of `q`, and for its prompt, must be far from where integers end. */
static bool affordable(const struct meter *m, const struct req *q)
{
    const double *c = m->conf.profile.v;
    double token = m->conf.wq;
    if (m->conf.cost == METER_PROFILED) {
        token = fabs(c[Q]) + fabs(c[PQ]) * q->prompt_tok;
    }
    return token * METER_UNIT / (double)q->weight < 0x1p62;
}

static sim_wide prompt_charge(const struct meter *m, const struct req *q)
{
    double w = (double)q->weight;
    if (m->conf.cost == METER_LINEAR) {
        return (sim_wide)units(m->conf.wp, w) * q->prompt_tok;
    }
    const double *c = m->conf.profile.v;
    return (sim_wide)units(c[P], w) * q->prompt_tok + units(c[ONE], w);
}

static void set_rates(const struct meter *m, struct meter_slot *s, const struct req *q)
{
    double w = (double)q->weight;
    if (m->conf.cost == METER_LINEAR) {
        s->per_token = units(m->conf.wq, w);
        s->per_quad = 0;
        return;
    }
    const double *c = m->conf.profile.v;
    s->per_token = units(c[Q] + c[PQ] * q->prompt_tok, w);
    s->per_quad = units(c[QQ], w);
}

uint32_t meter_arrive(struct meter *m, const struct sched_view *v, req_id r,
                      const char **ret_refused)
{
    const struct req *q = &v->reqs[r];
    *ret_refused = NULL;
    if (!((double)q->weight >= LEAST_WEIGHT && (double)q->weight <= MOST_WEIGHT)) {
        *ret_refused = "the client's weight is outside 0.0001..1000000";
        return CLIENT_NONE;
    }
    if (!affordable(m, q)) {
        *ret_refused = "its tokens cost too much to be counted";
        return CLIENT_NONE;
    }
    uint32_t i = reach(m, r) ? client_table_add(&m->accounts, q->client) : CLIENT_NONE;
    if (i == CLIENT_NONE || !reach_account(m, i)) {
        *ret_refused = policy_no_memory;
        return CLIENT_NONE;
    }
    struct meter_slot *s = &m->slots[r];
    *s = (struct meter_slot){.account = i, .charged_from = 1, .fresh_ns = -1};
    s->prompt = prompt_charge(m, q);
    set_rates(m, s, q);
    return i;
}

void meter_scale(struct meter *m, req_id r, double share)
{
    struct meter_slot *s = &m->slots[r];
    if (share < 1) {
        s->prompt = (sim_wide)((double)s->prompt * share);
        s->per_token = llround((double)s->per_token * share);
        s->per_quad = llround((double)s->per_quad * share);
    }
}

void meter_prompt_tok(struct meter *m, const struct sched_view *v, req_id r, uint32_t prompt_tok)
{
    struct req q = v->reqs[r];
    q.prompt_tok = prompt_tok;
    m->slots[r].prompt = prompt_charge(m, &q);
}

/* Charge for the k-th output token. */
static sim_wide token_charge(const struct meter_slot *s, uint64_t k)
{
    return (sim_wide)s->per_token + (sim_wide)s->per_quad * (sim_wide)(2 * k - 1);
}

/* Charge for the first x output tokens; the sum of token_charge where x is whole. */
static sim_wide output_charge(const struct meter_slot *s, double x)
{
    double whole = floor(x), rest = x - whole;
    sim_wide n = (sim_wide)whole;
    return n * s->per_token + n * n * s->per_quad +
           llround(rest * ((double)s->per_token + (double)s->per_quad * (x + whole)));
}

static struct meter_account *account_of(const struct meter *m, const struct meter_slot *s)
{
    return meter_account(m, s->account);
}

static uint64_t gen_now(const struct meter *m, const struct meter_slot *s)
{
    return s->gen + (s->decodes ? m->iter - s->join : 0);
}

uint32_t meter_generated(const struct meter *m, req_id r)
{
    return (uint32_t)gen_now(m, &m->slots[r]);
}

static void sums_add(struct meter *m, struct meter_slot *s)
{
    struct meter_account *a = account_of(m, s);
    a->step += token_charge(s, gen_now(m, s));
    a->growth += 2 * (sim_wide)s->per_quad;
    s->summed = true;
    activate(m, s->account);
}

static void sums_remove(struct meter *m, struct meter_slot *s)
{
    struct meter_account *a = account_of(m, s);
    a->step -= token_charge(s, gen_now(m, s));
    a->growth -= 2 * (sim_wide)s->per_quad;
    s->summed = false;
    deactivate(m, s->account);
}

void meter_admit(struct meter *m, req_id r, double predicted)
{
    struct meter_slot *s = &m->slots[r];
    if (s->charged_prompt) {
        return; /* recomputation after a preemption is not the client's doing */
    }
    s->charged_prompt = true;
    s->predicted = predicted;
    s->charged_from = (uint64_t)floor(predicted) + 1;
    charge(m, s, s->prompt + output_charge(s, predicted));
}

void meter_resume(struct meter *m, req_id r)
{
    struct meter_slot *s = &m->slots[r];
    s->decodes = true;
    s->join = m->iter;
    if (s->gen >= s->charged_from) {
        sums_add(m, s);
    } else {
        req_heap_push(&m->later, (struct req_heap_item){
                                     .key = (int64_t)(m->iter + s->charged_from - s->gen),
                                     .serial = r,
                                     .r = r,
                                 });
    }
}

void meter_pause(struct meter *m, req_id r)
{
    struct meter_slot *s = &m->slots[r];
    if (!s->decodes) {
        return;
    }
    if (s->summed) {
        sums_remove(m, s);
    } else {
        req_heap_remove(&m->later, r);
    }
    s->gen = (uint32_t)gen_now(m, s);
    s->decodes = false;
}

static void note_fresh(struct meter *m, req_id r, sim_ns now)
{
    if (m->n_fresh > 0 && m->slots[m->fresh[0]].fresh_ns != now) {
        m->n_fresh = 0;
    }
    m->slots[r].fresh_ns = now;
    if (m->n_fresh < m->fresh_cap) {
        m->fresh[m->n_fresh++] = r;
    }
}

void meter_first_token(struct meter *m, const struct sched_view *v, req_id r)
{
    struct meter_slot *s = &m->slots[r];
    /* A recomputation brings a further token in place of a decode step: charge as that would have.
     */
    if (s->gen > 0 && s->gen >= s->charged_from) {
        charge(m, s, token_charge(s, s->gen));
    }
    s->gen++;
    note_fresh(m, r, v->now_ns);
    meter_resume(m, r);
}

/* Requests whose next charge fell due within the last iterations: charge them for their part of it.
 */
static void join_due(struct meter *m)
{
    while (m->later.n > 0 && (uint64_t)m->later.items[0].key <= m->iter) {
        struct req_heap_item due = m->later.items[0];
        struct meter_slot *s = &m->slots[due.r];
        sim_wide n = (sim_wide)(m->iter - (uint64_t)due.key);
        req_heap_remove(&m->later, due.r);
        charge(m, s, n * token_charge(s, s->charged_from) + s->per_quad * n * (n - 1));
        sums_add(m, s);
    }
}

void meter_decode(struct meter *m, const struct sched_view *v, uint64_t k)
{
    sim_wide n = (sim_wide)k;
    for (uint32_t i = 0; i < m->n_active; i++) { /* all others have no next charge */
        struct meter_account *a = meter_account(m, m->active[i]);
        a->total += n * a->step + a->growth * (n * (n - 1) / 2);
        a->step += n * a->growth;
    }
    m->iter += k;
    m->decode_ns = v->now_ns;
    join_due(m);
}

/* The artifact charges the batch of the step: everybody after a decode, else only the prefilled. */
void meter_finishing(struct meter *m, const struct sched_view *v)
{
    if (!m->conf.extra_charge) {
        return;
    }
    if (m->decode_ns == v->now_ns) {
        for (uint32_t i = 0; i < m->n_active; i++) {
            struct meter_account *a = meter_account(m, m->active[i]);
            a->total += a->step;
        }
        return;
    }
    for (uint32_t i = 0; i < m->n_fresh; i++) {
        struct meter_slot *s = &m->slots[m->fresh[i]];
        if (s->summed && s->fresh_ns == v->now_ns) {
            charge(m, s, token_charge(s, gen_now(m, s)));
        }
    }
}

/* Charge tokens from..to that were not charged in advance. */
static void charge_rest(struct meter *m, struct meter_slot *s, uint64_t from, uint64_t to)
{
    from = from > s->charged_from ? from : s->charged_from;
    if (from <= to) {
        charge(m, s, output_charge(s, (double)to) - output_charge(s, (double)(from - 1)));
    }
}

void meter_finish(struct meter *m, const struct sched_view *v, req_id r)
{
    struct meter_slot *s = &m->slots[r];
    uint32_t output = req_generated(v, &v->reqs[r]);
    meter_pause(m, r);
    /* The last token is due, unless meter_finishing has charged it. A token that was under way when
     * its request was pushed out came unseen: it is due as well. */
    charge_rest(m, s, s->gen + m->conf.extra_charge, output);
    s->gen = output;
    if (output < s->predicted) {
        charge(m, s, output_charge(s, output) - output_charge(s, s->predicted));
    }
}

uint64_t meter_next_join(const struct meter *m)
{
    return m->later.n ? (uint64_t)m->later.items[0].key - m->iter : UINT64_MAX;
}

/* ---- when does one account fall below another ---- */

struct gap {
    sim_wide now, step, growth; /* after k iterations: now + step*k + growth*k*(k-1)/2 */
};

static sim_wide gap_after(const struct gap *g, uint64_t k)
{
    sim_wide n = (sim_wide)k;
    return g->now + g->step * n + g->growth * (n * (n - 1) / 2);
}

/* Smallest k in (lo, hi] with a negative gap, which is not negative at lo and is at hi and changes
 * sign once between. */
static uint64_t gap_root(const struct gap *g, uint64_t lo, uint64_t hi)
{
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (gap_after(g, mid) < 0) {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    return hi;
}

uint64_t meter_overtakes(const struct meter_account *a, const struct meter_account *b,
                         bool b_wins_ties)
{
    struct gap g = {b->total - a->total - b_wins_ties, b->step - a->step, b->growth - a->growth};
    if (g.step >= 0 && g.growth >= 0) {
        return UINT64_MAX;
    }
    uint64_t hi = FARTHEST;
    if (g.growth > 0) { /* convex: look no further than its lowest point */
        sim_wide lowest = (-g.step + g.growth - 1) / g.growth;
        hi = lowest < (sim_wide)hi ? (uint64_t)lowest : hi;
    }
    if (gap_after(&g, hi) < 0) {
        return gap_root(&g, 0, hi);
    }
    return hi == FARTHEST ? FARTHEST : UINT64_MAX;
}
