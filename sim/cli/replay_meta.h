/* SPDX-License-Identifier: Apache-2.0
 *
 * What a measured run says about itself: engine, model, GPU, limits, scheduler. Found beside the file of
 * its requests - runs.json (a list of runs by name) or NAME__meta.json - and turned into configuration
 * keys. */
#ifndef STEELYARD_REPLAY_META_H
#define STEELYARD_REPLAY_META_H

#include "sim/cli/cli.h"

struct replay_meta {
    const char *run;        /* name of the run */
    const char *where;      /* file that describes it, NULL = none found */
    const char *engine, *gpu, *model, *scheduler; /* as the file spells them; may be NULL */
    double measured_total_s; /* wall time of the run; NaN = not recorded */
    double aborted;          /* requests that were not served; NaN = not recorded */
    const char *notes;       /* what was assumed, one sentence; NULL = nothing */
};

/* Fill *m and append the keys that the metadata imply to `args`, before anything the user has set.
 * A file without metadata is fine: the configuration then has to say everything. A description that
 * cannot be read, or an engine that no batcher imitates, is an error. */
int replay_meta_find(struct replay_meta *m, const char *path, struct config_args *args,
                     struct arena *ar, struct err *e);

#endif
