/* SPDX-License-Identifier: Apache-2.0
 *
 * Policies of a mixture-of-experts model whose experts do not all fit into GPU memory: who is evicted,
 * what is fetched ahead, what happens to an expert that is not there. They read a view and answer; the
 * layer executor (sim/layers) acts. To add one: one file in policies/evict, prefetch or miss with a
 * `const struct KIND_ops KIND_NAME`, and one word in policies/meson.build (policies/README.md, "Experts").
 *
 * Per engine step, for each MoE layer in order:
 *   prefetch.before_attention -> (attention) -> gate: evict.routed -> miss.decide -> prefetch.routed
 *   -> loads, eviction (evict.victim, evicted, loaded), computation (evict.used)
 * prefetch.step comes once, before the first layer. Layers are MoE layers, counted from 0. */
#ifndef STEELYARD_EXPERTS_H
#define STEELYARD_EXPERTS_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/opt.h"
#include "sim/core/types.h"

#define EXPERT_NONE UINT32_MAX

/* Where an expert is: its copy in GPU memory. The host has all of them. */
enum expert_state {
    EXPERT_ABSENT,
    EXPERT_QUEUED,    /* the copy waits for its turn */
    EXPERT_IN_FLIGHT, /* the copy is on the wire, a slot is taken */
    EXPERT_RESIDENT,
    EXPERT_PINNED,    /* resident, and the layer under way needs it */
    EXPERT_EVICTING,  /* on its way back to the host (experts.writeback) */
    EXPERT_STATES
};

struct expert_view;

/* An expert that a predictor names, with the tokens it is said to get. */
struct expert_guess {
    uint32_t expert;
    uint32_t load;
};

/* What policies may ask the executor for. */
struct expert_services {
    /* Who the tokens of this step are said to need in `layer`, by falling load: each (token, choice) is
     * right with probability `recall`, else drawn by popularity; the draws belong to the token and the
     * choice, so they are the same under every other policy. recall 1 = the truth. `ret` has room for
     * `experts`; how many. */
    uint32_t (*predict)(void *ctx, uint32_t layer, double recall, struct expert_guess *ret);
    /* The top_k experts that such a predictor names for token `tok` of the step, in its own order. */
    void (*path)(void *ctx, uint32_t tok, uint32_t layer, double recall, uint16_t *ret);
    /* Fetch `expert` of `layer` ahead; true when it is there, and then it is kept until its layer's gate
     * has decided. `urgent` puts the copy into the line of demand loads. Copies begin, and evict, when the
     * callback is through: so name all that are wanted, also those that are there. */
    bool (*want)(void *ctx, uint32_t layer, uint32_t expert, bool urgent);
    /* The same, not urgent, in a precision that takes `share` of the bytes: good for the layer's next gate only. */
    bool (*want_thin)(void *ctx, uint32_t layer, uint32_t expert, double share);
    /* The same, not urgent, by a predictor that takes `seconds` to say so: the copy comes into line then, if
     * the layer's gate has not decided before. At most once per expert and gate. */
    bool (*want_after)(void *ctx, uint32_t layer, uint32_t expert, double seconds);
    /* Nothing that was named counts any more, but for copies on the wire: for those that make their list anew. */
    void (*forget)(void *ctx);
    /* Copies to the GPU that wait for their turn. */
    uint32_t (*copies_waiting)(void *ctx);
    /* Until the copy of `expert` on the wire is through, if nothing slows it down; HUGE_VAL when it is not on the
     * wire. Until the link is free of what is on the wire, and with `demands` also of the copies in line that the
     * layer under way waits for. */
    double (*arrives_s)(void *ctx, uint32_t layer, uint32_t expert);
    double (*link_free_s)(void *ctx, bool demands);
    /* Time of `experts` different experts with `pairs` (token, expert) pairs in one kernel on the GPU, with the
     * host's for them (experts.host); of one layer without its routed experts. */
    double (*gpu_s)(void *ctx, uint32_t experts, uint32_t pairs);
    double (*layer_s)(void *ctx);
    /* Time of an expert on the CPU, as the miss policy's cpu_s; HUGE_VAL when it never computes there. */
    double (*cpu_s)(void *ctx, uint32_t load, bool first);
    /* With EXPERTS_FUTURE only: gates until the next use of `item` by a sequence of this step, were each to go
     * on for ever; far ones are all alike. */
    uint64_t (*next_use)(void *ctx, uint32_t item);
};

struct expert_env {
    struct arena *arena; /* of the run */
    uint64_t seed;
    uint32_t replication;
    uint32_t layers, experts, top_k;
    uint32_t rooms, slots; /* one cache for all layers, or one per layer; slots of each on the average */
    double expert_bytes;   /* of one copy */
    double expert_params;  /* weights of one expert */
    double load_s;         /* an expert over the empty link, with its calls */
};

struct expert_view {
    struct expert_env env;
    const uint32_t *slots; /* by room */
    const uint8_t *state; /* by item: enum expert_state */
    const uint8_t *held;  /* by item: named by the prefetcher for a gate to come */
    uint64_t gates;       /* gates passed so far: a clock for recency */
    /* From a sample of other sequences (experts.calibration), by item: share of a layer's choices. */
    const float *popularity;
    /* [layer][i][j]: how often i and j were chosen by one token. NULL unless EXPERTS_PAIRS is needed. */
    const float *together;
    const struct expert_services *ops;
    void *ctx;
};

/* One layer of one step after its gate. */
struct expert_token {
    uint64_t sequence;
    uint32_t position;
    bool prefill;
};
enum pair_action { PAIR_RUN, PAIR_CPU, PAIR_SUBSTITUTE, PAIR_SKIP };
struct layer_work {
    uint32_t layer, n_tok, k;
    const struct expert_token *tok;
    const uint16_t *expert; /* [n_tok][k], heaviest first */
    const float *gate;      /* [n_tok][k], adds up to 1 per token */
    const float *score;     /* [experts]: mean router probability over the tokens; with EXPERTS_SCORES only */
    const uint32_t *load;   /* [experts]: tokens */
    /* For miss.decide to change; preset to PAIR_RUN and the routed expert. A pair with PAIR_RUN waits for
     * its expert; one with PAIR_SUBSTITUTE goes to `use`, which must be resident. */
    uint8_t *action; /* [n_tok][k], enum pair_action */
    uint16_t *use;   /* [n_tok][k] */
    /* For the metrics: no replacement in this layer (BuddyMoE's delta), tokens that allow none (TAE). */
    bool bypassed;
    uint32_t blocked_tok;
    /* Missed experts to fetch all the same, in the line of prefetches, although nobody waits. */
    bool fetch_missed;
};

/* What a policy needs of the executor; costs time, so only those that need it say so. */
enum expert_needs {
    EXPERTS_PAIRS = 1u << 0,
    EXPERTS_SCORES = 1u << 1,
    EXPERTS_FUTURE = 1u << 2 /* an oracle: it knows what no real system can know, and tables mark it */
};

struct evict_ops {
    const char *name, *summary, *source;
    size_t state_size; /* zeroed, from the run's arena */
    const struct opt_row *options;
    unsigned needs;
    int (*init)(void *st, const struct expert_env *env, struct err *e);
    /* All of these but `victim` may be NULL. */
    void (*routed)(void *st, const struct expert_view *v, const struct layer_work *w);
    void (*used)(void *st, const struct expert_view *v, uint32_t item); /* its layer computes with it */
    void (*loaded)(void *st, const struct expert_view *v, uint32_t item);
    void (*evicted)(void *st, const struct expert_view *v, uint32_t item);
    /* Who leaves `room` so that `incoming` may come: an item that expert_evictable() accepts, or
     * EXPERT_NONE when there is none. */
    uint32_t (*victim)(void *st, const struct expert_view *v, uint32_t room, uint32_t incoming);
};

struct prefetch_ops {
    const char *name, *summary, *source;
    size_t state_size;
    const struct opt_row *options;
    unsigned needs;
    bool complete; /* a layer does not begin before all that was named for it is there, needed or not */
    int (*init)(void *st, const struct expert_env *env, struct err *e);
    /* NULL where a policy has nothing to do. */
    /* A step of `n_tok` decodes alone: run it as two batches, one after the other, and which of them each token
     * goes to? false = as one. Everything below is then called for each of the two. */
    bool (*split)(void *st, const struct expert_view *v, uint32_t n_tok, uint8_t *group);
    void (*step)(void *st, const struct expert_view *v);
    void (*before_attention)(void *st, const struct expert_view *v, uint32_t layer);
    void (*routed)(void *st, const struct expert_view *v, const struct layer_work *w);
};

struct miss_ops {
    const char *name, *summary, *source;
    size_t state_size;
    const struct opt_row *options;
    unsigned needs;
    int (*init)(void *st, const struct expert_env *env, struct err *e);
    void (*decide)(void *st, const struct expert_view *v, struct layer_work *w);
    /* Time on the CPU of an expert with `load` tokens; `first` of its layer. For those that use PAIR_CPU. */
    double (*cpu_s)(const void *st, uint32_t load, bool first);
};

/* ---- reading the view ---- */
static inline uint32_t expert_item(const struct expert_view *v, uint32_t layer, uint32_t expert)
{
    return layer * v->env.experts + expert;
}

static inline bool expert_is_here(const struct expert_view *v, uint32_t item)
{
    return v->state[item] == EXPERT_RESIDENT || v->state[item] == EXPERT_PINNED;
}

/* Resident, not needed by the layer under way, and not named for a gate to come. */
static inline bool expert_evictable(const struct expert_view *v, uint32_t item)
{
    return v->state[item] == EXPERT_RESIDENT && !v->held[item];
}

/* Items of a room: [*from, *to). */
static inline void expert_room(const struct expert_view *v, uint32_t room, uint32_t *from, uint32_t *to)
{
    uint32_t n = v->env.rooms == 1 ? v->env.layers * v->env.experts : v->env.experts;
    *from = room * n;
    *to = *from + n;
}

static inline uint32_t expert_room_of(const struct expert_view *v, uint32_t item)
{
    return v->env.rooms == 1 ? 0 : item / v->env.experts;
}

/* The evictable item of `room` with the lowest key, ties to the lower number. */
uint32_t expert_lowest(const struct expert_view *v, uint32_t room,
                       double (*key)(const void *st, const struct expert_view *v, uint32_t item),
                       const void *st);

/* ---- registries, generated, NULL-terminated ---- */
extern const struct evict_ops *const evict_policies[];
extern const struct prefetch_ops *const prefetch_policies[];
extern const struct miss_ops *const miss_policies[];

/* "mrs{a=0.5}" -> ops and a state with its options set; init is still to be called. */
int evict_open(const char *spec, const struct evict_ops **ret, void **ret_st, struct arena *a, struct err *e);
int prefetch_open(const char *spec, const struct prefetch_ops **ret, void **ret_st, struct arena *a,
                  struct err *e);
int miss_open(const char *spec, const struct miss_ops **ret, void **ret_st, struct arena *a, struct err *e);

#endif
