/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual time of an idealised server that shares its capacity among the active flows by weight
 * (generalised processor sharing: Demers et al., SIGCOMM'89; Parekh and Gallager, 1993). Flows are
 * numbered from 0 by the caller. All in integers: costs and virtual time in units of 2^-10 of the
 * caller's cost unit, weights in 2^-10. */
#ifndef STEELYARD_GPS_H
#define STEELYARD_GPS_H

#include "policies/queue.h"

struct gps {
    sim_wide rate;    /* capacity in cost units per second, times 2^20 */
    sim_ns last_ns;   /* when `now` was right */
    int64_t now;      /* virtual time */
    sim_wide left;    /* work of the time before last_ns that is less than a unit of it */
    sim_wide weights; /* of the active flows */
    struct req_heap active; /* flows with work left in the ideal server, by finish */
    struct gps_flow {
        int64_t finish; /* virtual time at which its work so far ends */
        int64_t weight;
    } * flows;
    uint32_t flows_cap;
};

void gps_init(struct gps *g, double capacity_per_s);
void gps_release(struct gps *g);
bool gps_reach(struct gps *g, uint32_t flow);
/* Let the ideal server work until `now_ns`; earlier times change nothing. O(log flows) for each that
 * finishes. */
void gps_advance(struct gps *g, sim_ns now_ns);
/* Flow gets work of `cost` units more, as of the time advanced to. Its new virtual finish. */
int64_t gps_add(struct gps *g, uint32_t flow, double cost, double weight);

#endif
