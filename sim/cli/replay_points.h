/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured points simulated: with the fitted profile where there is one for GPU, model and engine, and
 * with the plain roofline; the error of both, per row and as medians per system and model. */
#ifndef STEELYARD_REPLAY_POINTS_H
#define STEELYARD_REPLAY_POINTS_H

#include "sim/cli/cli.h"
#include "sim/cli/points.h"

enum point_cost { POINT_TABLE, POINT_ROOFLINE, POINT_COSTS };

struct point_result {
    const struct point *point;
    const char *gpu, *model;    /* bundled names */
    bool done[POINT_COSTS];
    double simulated[POINT_COSTS][POINT_MEASURES];
    const char *why;            /* not simulated: the reason */
    const char *why_no_table;   /* only the roofline: the reason; NULL = there is a table */
};

struct point_settings {
    const struct config_args *args; /* what the user has set wins; a cost model stands beside the roofline */
    const char *profiles;           /* folder with GPU_MODEL_tpN_DTYPE.json; NULL = none */
    int (*progress)(void *ctx, double share, sim_ns now, uint64_t requests); /* as in run_hooks; NULL = none */
    bool dry_run;                   /* names and reasons only */
};

/* Of one point. What is wrong with the point itself is in the result; < 0 = the whole replay ends. */
int replay_point(const struct point *p, const struct point_settings *s, struct point_result *ret,
                 struct arena *a, struct err *e);

void replay_points_text(const struct point_result *r, size_t n, struct arena *a);
void replay_points_csv(const struct point_result *r, size_t n);
void replay_points_json(const struct point_result *r, size_t n);

#endif
