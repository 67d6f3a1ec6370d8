/* SPDX-License-Identifier: Apache-2.0
 *
 * What a place below host memory can do (models/tiers/NAME.json): bytes per second and the time
 * before the first byte, for reads and for writes, as measured with blocks of KV. */
#ifndef STEELYARD_TIER_H
#define STEELYARD_TIER_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct tier_profile {
    const char *name, *full_name, *provenance;
    double read_bytes_per_s, write_bytes_per_s;
    sim_ns read_latency_ns, write_latency_ns;
};

/* The text of a profile; `file` is used in messages and, without its path, as the name.
 * SIM_E_CONFIG with place and key for what is wrong. */
int tier_parse(struct tier_profile *ret, const char *text, size_t len, const char *file, struct arena *a,
               struct err *e);
/* `name`: a bundled profile (data_dir/tiers/NAME.json) or a path. */
int tier_load(struct tier_profile *ret, const char *name, const char *data_dir, struct arena *a,
              struct err *e);

#endif
