/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files that put a run together share (run.c, run_kv.c, run_result.c). */
#ifndef STEELYARD_RUN_PARTS_H
#define STEELYARD_RUN_PARTS_H

#include <math.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "policies/batcher.h"
#include "policies/open.h"
#include "sim/cluster/cluster.h"
#include "sim/engine/engine.h"
#include "sim/layers/setup.h"
#include "sim/observe/metrics.h"
#include "sim/observe/plan_file.h"
#include "sim/placement/setup.h"
#include "sim/run.h"
#include "sim/workload.h"

/* What each replica has of its own. */
struct member {
    struct run *run;
    uint32_t index;
    struct policy_env policy_env;
    struct policy_instance policy;
    void *batcher_state;
    struct engine engine;
    bool engine_ready;
};

struct run {
    const struct run_config *cfg;
    const struct run_hooks *hooks;
    struct arena *arena;
    struct err *err;
    struct workload load;
    struct llm_shape llm;
    struct gpu_profile gpu;
    bool has_llm, has_gpu;
    struct cost_env cost_env;
    const struct cost_ops *cost;
    void *cost_state;
    const struct batcher_ops *batcher;
    struct batcher_traits traits;
    uint64_t blocks;
    struct member *member;
    uint32_t n; /* members */
    struct route_env route_env;
    struct router_instance router;
    struct cluster cluster;
    /* with a topology */
    struct topology topology;
    struct topo_map *map;
    struct fabric *fabric; /* all replicas' */
    uint32_t n_links;      /* of it, the topology's; others come behind them */
    uint32_t *gpu_node;    /* of replica i, rank k: [i * tp + k] */
    struct shared_tier {   /* a drive, or a network card with a remote store behind it: by node */
        bool open;
        link_id read, write;
    } *tier_of;
    struct metrics metrics;
    bool metrics_ready;
    struct plan_file plan;
    struct timeline timeline;
    struct expert_run experts;
    struct placement_run placement;
};

static inline int no_memory(struct run *r)
{
    return err_set(r->err, SIM_E_NOMEM, "out of memory while setting up the run");
}

static inline sim_ns to_ns(double s)
{
    return (sim_ns)llround(s * 1e9);
}

/* run.c: what sampling adds to a step for each row of logits. */
double run_sampling_s(const struct run *r);

/* run_topology.c: with the key `topology`, the machine around the GPUs: r->map and the GPUs of each replica. */
int run_load_topology(struct run *r);
/* What tensor-parallel ranks get of it, for the cost model. */
int run_find_ring(struct run *r);
/* The drive (or network card, for a remote store) next to a replica's memory, as a pair of links that all
 * replicas share for which it is the same. False: the topology has none, or *rc < 0. */
bool run_topology_tier(struct run *r, uint32_t replica, enum kv_tier t, const struct link_spec *read,
                       const struct link_spec *write, struct shared_tier *ret, int *rc);
/* How much its links were in use: metrics, and a sentence about the busiest. */
int run_add_links(struct run *r, struct run_result *ret);
/* Between a GPU, of a replica's rank, and the memory that is nearest to it. */
int run_topology_link(struct run *r, uint32_t replica, uint32_t rank, struct gpu_link *ret);

/* run_kv.c: the link to host memory of a replica's GPU, and everything that KV may do over it. Errors in
 * r->err. */
int run_add_kv(struct run *r, uint32_t gpu, struct engine_config *ec);

/* run_result.c: more metrics behind those that there are; everything that the run leaves behind. */
int run_append_metrics(struct run *r, struct run_result *ret, const struct policy_stat *stat, size_t n);
int run_fill_result(struct run *r, struct run_result *ret);

#endif
