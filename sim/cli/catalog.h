/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that can be named on the command line, kind by kind, as one kind of row: `list`,
 * `explain`, completion and error hints read it. */
#ifndef STEELYARD_CATALOG_H
#define STEELYARD_CATALOG_H

#include "sim/core/arena.h"
#include "sim/core/opt.h"

/*   constant          singular   plural */
#define CATALOG_MAP(X)                                                                             \
    X(CATALOG_POLICY, "policy", "policies")                                                        \
    X(CATALOG_PREDICTOR, "predictor", "predictors")                                                \
    X(CATALOG_BATCHER, "batcher", "batchers")                                                      \
    X(CATALOG_ROUTER, "router", "routers")                                                         \
    X(CATALOG_MODEL, "model", "models")                                                            \
    X(CATALOG_GPU, "gpu", "gpus")                                                                  \
    X(CATALOG_TOPOLOGY, "topology", "topologies")                                                  \
    X(CATALOG_TIER, "tier", "tiers")                                                               \
    X(CATALOG_OFFLOAD, "offload", "offloads")                                                      \
    X(CATALOG_COST, "cost", "costs")                                                               \
    X(CATALOG_EVICT, "eviction", "evictions")                                                      \
    X(CATALOG_PREFETCH, "prefetch", "prefetches")                                                  \
    X(CATALOG_MISS, "miss", "misses")                                                              \
    X(CATALOG_PLACEMENT, "placement", "placements")                                                \
    X(CATALOG_ROUTES, "route", "routes")                                                           \
    X(CATALOG_TRACE, "trace", "traces")                                                            \
    X(CATALOG_METRIC, "metric", "metrics")                                                         \
    X(CATALOG_OPTION, "option", "options")

enum catalog_kind {
#define CATALOG_ENUM(constant, singular, plural) constant,
    CATALOG_MAP(CATALOG_ENUM)
#undef CATALOG_ENUM
    CATALOG_KINDS
};

struct catalog_item {
    const char *name, *summary;
    const char *source; /* or NULL */
    const char *unit;   /* metrics and options, or NULL */
    const struct opt_row *options; /* of a plug-in, or NULL */
    size_t state_size;             /* of the object that `options` describe */
    const struct opt_row *row;     /* an option's own row, or NULL */
    const char *stands_for;        /* of a generator's preset: the options behind it, or NULL */
};

const char *catalog_singular(enum catalog_kind k);
const char *catalog_plural(enum catalog_kind k);

/* All of one kind, in the order of their tables (models, gpus and topologies: by name, from data_dir).
 * NULL when out of memory. */
const struct catalog_item *catalog_items(enum catalog_kind k, const char *data_dir, size_t *ret_n,
                                         struct arena *ar);
const struct catalog_item *catalog_find(enum catalog_kind k, const char *name, const char *data_dir,
                                        struct arena *ar);
/* Only the names, for text_nearest. */
const char **catalog_names(enum catalog_kind k, const char *data_dir, size_t *ret_n,
                           struct arena *ar);

#endif
