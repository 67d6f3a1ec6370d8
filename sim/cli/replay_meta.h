/* SPDX-License-Identifier: Apache-2.0
 *
 * What a measured run says about itself: engine, model, GPU, limits, scheduler. Found beside the file of
 * its requests - runs.json (a list of runs by name) or NAME__meta.json - and turned into configuration
 * keys. */
#ifndef STEELYARD_REPLAY_META_H
#define STEELYARD_REPLAY_META_H

#include "sim/cli/cli.h"

/* From the client to the engine and back over HTTP: parsing, tokenisation, two hops between processes,
 * first event of the stream: 8 ms at low load (4 to 8, engines.md 1.8), of which the front end's one process
 * works about 2 ms on each request alone, so that a burst reaches the queue spread out. */
int replay_http(struct config_args *args, const char *origin, struct arena *ar, struct err *e);

/* Bundled name of a GPU as recorded runs spell it ("H100-SXM-80GB"); NULL = none. */
const char *replay_gpu_name(const char *said);
/* Bundled name of a model by its hub id: without the organisation and what does not change the shape. NULL
 * = no memory. */
const char *replay_model_name(const char *said, struct arena *ar);
/* Value of engine.sampling for a model behind vLLM's server whose clients set nothing: the server takes the
 * model's generation_config.json, and for many that asks for top-p or top-k. NULL = plain. `version` as in
 * "0.15.1"; "" = the newest. */
const char *replay_sampling(const char *model, const char *version);
/* Why a model that is not bundled cannot be simulated. */
const char *replay_model_trouble(const char *name);

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
