/* SPDX-License-Identifier: Apache-2.0
 *
 * Service of clients over time, and the differences in it as VTC's artifact computes them. */
#ifndef STEELYARD_SERVICE_H
#define STEELYARD_SERVICE_H

#include "sim/observe/metrics.h"

/* v is spread evenly over [from_s, to_s]; at one moment when they are equal. */
void service_add(struct metrics *m, struct client_stats *c, double from_s, double to_s, double v);
void service_ask(struct metrics *m, struct client_stats *c, double at_s, double v);

/* Sum of a curve over [from_s, to_s], interpolated inside the bins at the ends. */
double service_between(const struct metrics *m, const double *curve, double from_s, double to_s);

struct service_summary {
    double max_diff, mean_diff, var_diff;   /* windowed, against demand (Table 2) */
    double max_acc, mean_acc;               /* accumulated, largest minus smallest (section 6.2) */
    double jain;                            /* of service per weight in [0, horizon] */
};
struct service_summary service_summarise(const struct metrics *m, double horizon_s, double window_s);

#endif
