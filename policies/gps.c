/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/gps.h"

#include <math.h>
#include <stdlib.h>

#define UNIT      1024.0
#define NS_PER_S  1000000000
#define MOST_CAPACITY 1e14
#define MOST_COST 1e15 /* of one piece of work, in units: virtual time lasts for thousands of these */

void gps_init(struct gps *g, double capacity_per_s)
{
    double c = capacity_per_s < MOST_CAPACITY ? capacity_per_s : MOST_CAPACITY;
    *g = (struct gps){.rate = (sim_wide)llround(c * UNIT) * (sim_wide)UNIT};
}

void gps_release(struct gps *g)
{
    req_heap_release(&g->active);
    free(g->flows);
    g->flows = NULL;
    g->flows_cap = 0;
}

bool gps_reach(struct gps *g, uint32_t flow)
{
    void *flows = g->flows;
    bool ok = table_reach(&flows, &g->flows_cap, sizeof *g->flows, flow);
    g->flows = flows;
    return ok && req_heap_reach(&g->active, flow);
}

static void deactivate(struct gps *g, uint32_t flow)
{
    req_heap_remove(&g->active, flow);
    g->weights -= g->flows[flow].weight;
}

void gps_advance(struct gps *g, sim_ns now_ns)
{
    if (now_ns <= g->last_ns) {
        return;
    }
    sim_wide work = g->left + (sim_wide)(now_ns - g->last_ns) * g->rate;
    g->last_ns = now_ns;
    g->left = 0; /* work that nobody is there for is lost */
    while (g->active.n > 0) {
        struct req_heap_item first = g->active.items[0];
        sim_wide per_unit = g->weights * NS_PER_S; /* work for one unit of virtual time */
        if (first.key - g->now > work / per_unit) {
            g->now += (int64_t)(work / per_unit);
            g->left = work % per_unit;
            return;
        }
        work -= (first.key - g->now) * per_unit;
        g->now = first.key;
        deactivate(g, first.r);
    }
}

int64_t gps_add(struct gps *g, uint32_t flow, double cost, double weight)
{
    struct gps_flow *f = &g->flows[flow];
    double share = cost * UNIT / weight;
    if (req_heap_has(&g->active, flow)) {
        deactivate(g, flow);
    }
    f->weight = llround(weight * UNIT);
    f->weight = f->weight > 0 ? f->weight : 1;
    f->finish = (f->finish > g->now ? f->finish : g->now) +
                llround(share < MOST_COST ? share : MOST_COST);
    g->weights += f->weight;
    req_heap_push(&g->active,
                  (struct req_heap_item){.key = f->finish, .serial = flow, .r = flow});
    return f->finish;
}
