/* SPDX-License-Identifier: Apache-2.0
 *
 * The layer executor: one engine step as a walk over the layers, on four lanes - GPU, copies to the GPU,
 * copies back, CPU. Without offload it adds the layers of the cost model up to what the whole iteration
 * takes. With experts offloaded each MoE layer
 *   - computes its attention, and its gate says who is needed;
 *   - asks the miss policy what becomes of those that are not there;
 *   - loads what is to be waited for, most loaded first, behind nothing but the copy on the wire;
 *   - computes its shared experts and the experts that are there while the copies run, then the others as
 *     they come, those that have come together in one kernel;
 *   - waits for the CPU's share, and goes on.
 * More needed experts than slots go through the slots one after the other. Layers behind cfg.gpu_layers run on the
 * CPU, attention and all. Where experts are bit planes, nested.h says what happens in place of this.
 *
 * A step with offload is planned as it is walked, so no step stands for the next one. */
#ifndef STEELYARD_EXECUTOR_H
#define STEELYARD_EXECUTOR_H

#include "models/llm.h"
#include "sim/experts/store.h"
#include "sim/layers/nested.h"
#include "sim/layers/routing.h"
#include "sim/layers/timeline.h"

struct layers_config {
    const struct llm_shape *llm;
    const struct cost_ops *cost;
    const void *cost_state;
    bool check;
    struct timeline *timeline; /* NULL = none */
    /* offload; with source NULL all experts are resident and nothing below counts */
    struct routes *source;
    struct store_config store; /* without evict and copied */
    const struct nested_config *nested; /* experts are bit planes: no store and no policies; NULL = they are not */
    uint32_t calibration;      /* tokens */
    bool start_empty;          /* else with the most popular experts */
    uint32_t gpu_layers;       /* of all layers; those behind are the CPU's; 0 = none are */
    bool overlap;              /* compute what is there while the rest is copied */
    double host_s;             /* host time per expert that the GPU computes, before its kernel */
    double weight_scale;       /* bytes of an expert, as a share of those in the model's weight type */
    double expert_params;
    const struct evict_ops *evict;
    const struct prefetch_ops *prefetch;
    const struct miss_ops *miss;
    void *evict_st, *prefetch_st, *miss_st;
    uint64_t seed;
    uint32_t replication;
};

struct layers_counters {
    uint64_t steps, tokens, decode_tokens; /* decode_tokens: of steps without prefill */
    uint64_t gates;
    uint64_t asked, hits;               /* different experts that gates asked for; of them resident */
    uint64_t decode_asked, decode_hits; /* in steps without prefill */
    uint64_t missed_pairs, decode_missed_pairs; /* (token, expert) pairs whose expert was not resident */
    uint64_t pairs, cpu_pairs, replaced_pairs, skipped_pairs;
    double replaced_mass, skipped_mass; /* gate weight; a token and layer have 1 */
    uint64_t bypassed, blocked_tok;
    uint64_t named, named_right, named_asked; /* by the prefetcher; of these needed; experts asked for where
                                                 it had named any */
    uint64_t named_in_time;                   /* of `named`, there when the gate decides */
    sim_wide ticks, whole_ticks;  /* of all steps; as the cost model has them without offload */
    sim_wide gpu, wait_load, wait_cpu, cpu; /* GPU at work, waiting for copies, for the CPU; CPU at work */
    sim_wide host; /* GPU waiting for the engine's loop over experts */
};

struct layers {
    struct layers_config cfg;
    struct store store;
    struct nested nested;
    struct routing routing;
    struct expert_view view;
    struct layers_counters n;
    struct cost_parts parts; /* of the step under way */
    sim_ns base_ns;          /* its start */
    sim_tick t;              /* its GPU lane, from there */
    sim_tick cpu_free;       /* its CPU lane */
    /* of the layer under way */
    struct layer_work work;
    uint8_t *action;
    uint16_t *use;
    uint32_t cap_pairs;
    uint32_t *load, *gpu_load, *cpu_load, *order; /* [experts] */
    uint32_t *demand, n_demand; /* experts to compute on the GPU, most loaded first */
    uint8_t *named; /* by item: since its layer's last gate */
    bool *any_named; /* by layer */
    uint64_t check_count;
    /* of a step that is run as two batches */
    struct expert_token *split_tok;
    uint8_t *group;
    uint32_t cap_split;
};

int layers_init(struct layers *x, const struct layers_config *c, struct arena *a, struct err *e);
void layers_release(struct layers *x);

/* For struct engine_config: `ctx` is a struct layers. */
int layers_execute(void *ctx, const struct engine *g, const struct step *s, sim_ns start,
                   struct cost_affine *ret, struct err *e);
/* The same with the tokens given (none without offload). */
int layers_run(struct layers *x, const struct batch_shape *shape, const struct expert_token *tok, uint32_t n,
               sim_ns start, sim_tick *ret, struct err *e);

#endif
