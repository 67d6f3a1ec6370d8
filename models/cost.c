/* SPDX-License-Identifier: Apache-2.0
 *
 * What every cost model needs: seconds to ticks, and the last step of an affine answer. */
#include "models/cost.h"

#include <math.h>

sim_tick cost_ticks(double seconds)
{
    double t = seconds * 1e9 * SIM_TICKS_PER_NS;
    if (!(t >= 1)) { /* also NaN */
        return 1;
    }
    return t < (double)COST_TICK_MAX ? (sim_tick)llround(t) : COST_TICK_MAX;
}

int64_t cost_coef(double seconds)
{
    double t = seconds * 1e9 * SIM_TICKS_PER_NS;
    double lim = (double)COST_TICK_MAX;
    return isnan(t) ? 0 : (int64_t)llround(fmin(fmax(t, -lim), lim));
}

/* Largest count v >= 1 with base + slope*(v-1) <= COST_TICK_MAX, for base <= COST_TICK_MAX. */
static uint64_t below_max(int64_t base, int64_t slope)
{
    return slope > 0 ? (uint64_t)((COST_TICK_MAX - base) / slope) + 1 : UINT64_MAX;
}

void cost_finish(struct cost_affine *ret, sim_wide base, sim_wide slope, uint64_t valid)
{
    sim_wide floor_tick = 1;
    slope = slope > COST_TICK_MAX ? COST_TICK_MAX : slope;
    slope = slope < -COST_TICK_MAX ? -COST_TICK_MAX : slope;
    if (base > COST_TICK_MAX || base < floor_tick) {
        /* Held at a bound until the line comes back inside (for ever if it never does). */
        sim_wide bound = base < floor_tick ? floor_tick : COST_TICK_MAX;
        sim_wide gap = bound - base;
        bool returns = (gap > 0 && slope > 0) || (gap < 0 && slope < 0);
        sim_wide held = returns ? (gap + slope - (slope > 0 ? 1 : -1)) / slope : (sim_wide)INT64_MAX;
        uint64_t n = held < INT64_MAX ? (uint64_t)held : UINT64_MAX;
        *ret = (struct cost_affine){(sim_tick)bound, 0, n < valid ? n : valid};
        return;
    }
    uint64_t n = slope < 0 ? (uint64_t)((base - floor_tick) / -slope) + 1
                           : below_max((int64_t)base, (int64_t)slope);
    *ret = (struct cost_affine){(sim_tick)base, (sim_tick)slope, n < valid ? n : valid};
}
