/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/slo_plan.h"

#include <math.h>
#include <string.h>

#define NONE (-1.0)
#define TOOK 128u /* in `came`, beside a number of units below SLO_PLAN_LEVELS */

/* Prompt tokens that fit between two times beside `decoding` requests. */
static double gained(const struct slo_plan_load *l, sim_ns from, sim_ns to, uint32_t decoding)
{
    double room = (double)l->token_budget - decoding;
    return to > from && room > 0 ? room * (double)((to - from) / l->step_ns) : 0;
}

static sim_ns before(const struct slo_plan_item *items, uint32_t i, const struct slo_plan_load *l)
{
    return i > 0 && items[i - 1].due_ns > l->now_ns ? items[i - 1].due_ns : l->now_ns;
}

/* Tokens per unit, so that all there can be fits the table. More than all prompts is never needed. */
static double unit_tok(const struct slo_plan_item *items, uint32_t n, const struct slo_plan_load *l)
{
    double all = 0, prompts = 0;
    for (uint32_t i = 0; i < n; i++) {
        all += gained(l, before(items, i, l), items[i].due_ns, l->n_decoding);
        prompts += items[i].prompt_tok;
    }
    all = fmin(all, prompts);
    return all < SLO_PLAN_LEVELS ? 1 : ceil(all / (SLO_PLAN_LEVELS - 1));
}

static void clear(double table[][SLO_PLAN_LEVELS], uint32_t n)
{
    for (uint32_t i = 0; i <= n; i++) {
        for (uint32_t b = 0; b < SLO_PLAN_LEVELS; b++) {
            table[i][b] = NONE;
        }
    }
}

static void reach(struct slo_planner *p, uint32_t i, uint32_t n, uint32_t left, double value, uint32_t came)
{
    if (value > p->next[n][left]) {
        p->next[n][left] = value;
        p->came[i][n][left] = (uint8_t)came;
    }
}

static void consider(struct slo_planner *p, const struct slo_plan_item *items, uint32_t i,
                     const struct slo_plan_load *l, double unit)
{
    uint32_t needs = (uint32_t)fmin(ceil(items[i].prompt_tok / unit), SLO_PLAN_LEVELS);
    clear(p->next, i + 1);
    for (uint32_t n = 0; n <= i; n++) {
        double more = floor(gained(l, before(items, i, l), items[i].due_ns, l->n_decoding + n) / unit);
        for (uint32_t b = 0; b < SLO_PLAN_LEVELS; b++) {
            double value = p->best[n][b];
            uint32_t has = (uint32_t)fmin(b + more, SLO_PLAN_LEVELS - 1);
            if (value < 0) {
                continue;
            }
            reach(p, i, n, has, value, b);
            if (has >= needs) {
                reach(p, i, n + 1, has - needs, value + items[i].value, b | TOOK);
            }
        }
    }
    memcpy(p->best, p->next, (size_t)(i + 2) * sizeof(p->best[0]));
}

static void walk_back(const struct slo_planner *p, struct slo_plan_item *items, uint32_t n)
{
    uint32_t taken = 0, left = 0;
    for (uint32_t k = 0; k <= n; k++) {
        for (uint32_t b = 0; b < SLO_PLAN_LEVELS; b++) {
            if (p->best[k][b] > p->best[taken][left]) {
                taken = k;
                left = b;
            }
        }
    }
    for (uint32_t i = n; i-- > 0;) {
        uint32_t came = p->came[i][taken][left];
        items[i].promised = came & TOOK;
        taken -= items[i].promised;
        left = came & (TOOK - 1);
    }
}

void slo_plan(struct slo_planner *p, struct slo_plan_item *items, uint32_t n,
              const struct slo_plan_load *load)
{
    double unit = unit_tok(items, n, load);
    clear(p->best, 0);
    p->best[0][0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        consider(p, items, i, load, unit);
    }
    walk_back(p, items, n);
}
