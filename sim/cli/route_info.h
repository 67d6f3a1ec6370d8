/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard trace info --experts: statistics of a source of expert routes. */
#ifndef STEELYARD_CLI_ROUTE_INFO_H
#define STEELYARD_CLI_ROUTE_INFO_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct route_info_request {
    const char *source;  /* "synth{...}", or a file with recorded routes */
    const char *model;   /* NULL = none */
    const char *lengths; /* of the sequences, as in traces/dist.h; NULL = the recording's, or short prompts */
    int64_t sequences;   /* 0 = all of a recording, else 300 */
    uint64_t seed;
    uint32_t replication;
    bool json, quiet;
};

int route_info(const struct route_info_request *q, struct arena *ar, struct err *e);

/* A source by its spec; a path of a file is taken as recorded{file=PATH}. `model` may be NULL: a bundled
 * name or a config.json gives the shape; another name is passed on to the source, which may know it. */
struct routes;
int route_info_open(struct routes **ret, const char *source, const char *model, uint64_t seed,
                 uint32_t replication, struct arena *ar, struct err *e);
/* Lengths of `n` sequences, drawn by counter. */
int route_info_lengths(uint32_t **ret, const char *dist, uint32_t n, uint64_t seed, uint32_t replication,
                    struct arena *ar, struct err *e);

/* Prompt lengths of the 300 prompts of DeepSeek-V2-Lite's recording: published quantiles, longest and mean
 * (22,287 tokens); what lies between .9 and the longest is chosen to meet the mean. */
#define ROUTE_SHORT_PROMPTS                                                                                    \
    "quantiles(0:1,0.1:8,0.25:14,0.5:25,0.75:52,0.9:138,0.95:260,0.99:700,1:2068)"

#endif
