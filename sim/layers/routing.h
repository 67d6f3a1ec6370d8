/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokens of one engine step and the experts that each MoE layer sends them to; what is known of other
 * sequences (popularity, pairs); and what a predictor of a given recall would say. */
#ifndef STEELYARD_ROUTING_H
#define STEELYARD_ROUTING_H

#include "policies/experts.h"
#include "sim/core/rng.h"
#include "sim/engine/engine.h"
#include "traces/routes.h"

struct routing {
    struct routes *source; /* owned by whoever opened it */
    uint32_t layers, experts, k;
    bool scores; /* keep mean router probabilities */
    struct rng_stream rng;
    /* of other sequences */
    float *popularity; /* [layers][experts], adds up to 1 per layer */
    float *together;   /* [layers][experts][experts], or NULL */
    /* of the step under way */
    uint32_t n_tok, cap_tok, n_prefill;
    struct expert_token *tok;
    uint16_t *expert; /* [layers][cap_tok][k] */
    float *gate;      /* [layers][cap_tok][k] */
    float *score;     /* [layers][experts]: mean over the tokens */
    uint32_t *count;  /* [experts], scratch */
    /* for oracles */
    bool future;
    uint32_t *next;      /* [layers][experts]: positions until the next use, as of next_of[layer] */
    uint64_t *next_of;   /* [layers]: step, twice, + 1 once its gate is past */
    struct routing_ahead *ahead; /* routes of positions to come, by sequence */
    uint64_t step;
};

/* Room for what oracles ask; false when there is no memory. */
bool routing_foresee(struct routing *r, struct arena *a);

/* How far an oracle sees, in positions of a sequence. */
#define ROUTING_HORIZON 128

/* `calibration` tokens of other sequences are looked at; `needs`: enum expert_needs. */
int routing_init(struct routing *r, struct routes *source, uint64_t seed, uint32_t replication,
                 uint32_t calibration, unsigned needs, struct arena *a, struct err *e);
void routing_release(struct routing *r);

/* The tokens of `s`: decodes, then prefill chunks; and where they go. */
int routing_step(struct routing *r, const struct engine *g, const struct step *s, struct err *e);
/* The same for tokens that are given. */
int routing_tokens(struct routing *r, const struct expert_token *tok, uint32_t n, struct err *e);

static inline const uint16_t *routing_experts(const struct routing *r, uint32_t layer)
{
    return &r->expert[(size_t)layer * r->cap_tok * r->k];
}

static inline const float *routing_gates(const struct routing *r, uint32_t layer)
{
    return &r->gate[(size_t)layer * r->cap_tok * r->k];
}

/* See struct expert_services. */
uint32_t routing_predict(struct routing *r, uint32_t layer, double recall, struct expert_guess *ret);

/* Of one token: k experts, as its own are ordered. */
void routing_guess(struct routing *r, uint32_t layer, double recall, uint32_t t, uint16_t *ret);

/* Steps until one of the step's sequences uses the expert, when each makes a token a step: 0 = in this one
 * (with `past`: its gate has been), ROUTING_HORIZON = not soon. */
uint32_t routing_next_use(struct routing *r, uint32_t layer, uint32_t expert, bool past);

#endif
