/* SPDX-License-Identifier: Apache-2.0
 *
 * `linear`: published coefficients of linear iteration-time models. They were fitted by their authors
 * on engines that run prefill and decode in separate iterations. Where a batch mixes both, this model
 * charges the prefill formula plus what the decodes add at the margin (their per-token and
 * per-sequence terms, without the decode constant): the weights are read once. `niyama` was fitted on
 * mixed batches and needs no such rule.
 *
 * All coefficients become whole ticks at init, so an evaluation is a short integer sum and the affine
 * contract holds to the last tick. */
#include <math.h>

#include "models/cost.h"

/* Milliseconds. Iteration with prefill: a + b*tokens + c*squares; the published sum of squared prompt
 * lengths is taken as 2*pairs - tokens, which is the same for a whole prompt and adds up to the same
 * over the chunks of one. Decode: a + b*context + c*sequences + kv*resident KV tokens. */
struct linear_part {
    double a, b, c, kv;
};

struct linear_set {
    struct linear_part prefill, decode, decode_large;
    double step, step_per_ctx; /* host overhead of any iteration */
    const char *source;
};

/* DistServe takes other decode coefficients from this batch size on (simdistserve). */
#define LARGE_BATCH 95
/* Niyama's two segments meet at this number of tokens. */
#define NIYAMA_KNEE 512

#define DISTSERVE_SRC                                                                              \
    "DistServe simulator (OSDI'24 artifact, simdistserve/estimators/time_estimator.py), "          \
    "A100-80GB: "
/* prefill: the artifact adds 1 ms per pipeline stage; any iteration: 2 ms + 0.0001 ms per token. */
#define DISTSERVE(what, pa, pb, pc, da, db, dc, la, lb, lc)                                        \
    {{(pa) + 1.0, pb, pc, 0}, {da, db, dc, 0}, {la, lb, lc, 0}, 2.0, 1e-4,                         \
     DISTSERVE_SRC what}

enum { SET_CUSTOM, SET_NIYAMA };

static const struct linear_set sets[] = {
    [SET_CUSTOM] = {.source = "coefficients given by options"},
    [SET_NIYAMA] = {.source = "Sarathi-Serve repository, branch niyama_asplos2026: two-segment model "
                              "of its deadline scheduler; model and GPU are not named there"},
    {{70.2, 1 / 4.691, 0, 0},
     {35.37, 0, 0.1287, 0.0002},
     {35.37, 0, 0.1287, 0.0002},
     0, 0,
     "Five constants fitted on five recorded runs of the VTC artifact (OSDI'24): S-LoRA, Llama-7B, "
     "A10G, pool of 10000 tokens"},
    {{0, 1 / 6.5, 0, 0},
     {22, 0, 0.06, 0.0006},
     {22, 0, 0.06, 0.0006},
     0, 0,
     "VTC artifact (OSDI'24) runs: S-LoRA, Llama-13B, A100. Approximate, +-10 %: middle of the "
     "fitted ranges 0.03..0.09 ms per sequence and 6..7 prompt tokens per ms"},
    DISTSERVE("DistServe engine, OPT-13B, TP1", 18.1025, 0.101912, 7.1223e-6, 19.9347, 6.2694e-4,
              0.038507, 7.16619, 5.7980e-4, 0.158311),
    DISTSERVE("DistServe engine, OPT-13B, TP2", 14.7430, 0.0685772, 2.44957e-6, 13.2948, 3.41092e-4,
              0.0629640, 10.6387, 3.11834e-4, 0.0856291),
    DISTSERVE("DistServe engine, OPT-13B, TP4", 12.0623, 0.0380814, 5.22625e-7, 10.2562, 1.87867e-4,
              0.0326927, 10.4835, 1.71209e-4, 0.0456665),
    DISTSERVE("DistServe engine, OPT-66B, TP2", 43.0588, 0.274229, 2.24780e-5, 48.2880, 9.42434e-4,
              0.127550, 28.7277, 4.74485e-4, 0.296178),
    DISTSERVE("DistServe engine, OPT-66B, TP3", 32.9982, 0.195683, 1.22052e-5, 35.8015, 5.84500e-4,
              0.0952670, 22.6539, 5.35849e-4, 0.208514),
    DISTSERVE("DistServe engine, OPT-66B, TP4", 29.4416, 0.151352, 8.31745e-6, 30.7603, 4.51948e-4,
              0.0632842, 27.4708, 4.04685e-4, 0.124807),
    DISTSERVE("DistServe engine, OPT-66B, TP8", 25.4907, 0.106592, 3.39105e-6, 23.1551, 2.26915e-4,
              0.0480064, 21.7177, 3.75809e-4, 0.0897861),
    DISTSERVE("vLLM, OPT-13B, TP1", 22.0522, 0.140509, 8.07658e-6, 23.4750, 5.92934e-4, 0.0607269,
              20.2064, 4.90773e-4, 0.120003),
    DISTSERVE("vLLM, OPT-13B, TP2", 27.4408, 0.0905453, 8.45205e-6, 24.5406, 2.24401e-4, 0.0871579,
              17.9478, 4.57085e-4, 0.111791),
    DISTSERVE("vLLM, OPT-13B, TP4", 30.5363, 0.0515064, 4.23247e-7, 25.9011, 7.75363e-5, 0.0552809,
              23.8839, 2.84002e-4, 0.0627652),
    DISTSERVE("vLLM, OPT-66B, TP2", 58.3822, 0.382641, -7.114e-6, 57.0734, 3.64611e-3, 0.224937,
              26.9838, 6.20013e-3, 0.448257),
    DISTSERVE("vLLM, OPT-66B, TP3", 45.7445, 0.277813, 3.64625e-5, 44.9396, 8.09615e-4, 0.212880,
              43.6960, 8.40257e-4, 0.240065),
    DISTSERVE("vLLM, OPT-66B, TP4", 42.9655, 0.212866, 4.60102e-5, 39.5818, 6.94572e-4, 0.135809,
              40.8597, 4.26487e-4, 0.195084),
    DISTSERVE("vLLM, OPT-66B, TP8", 38.9312, 0.157368, 4.53168e-6, 31.1760, 2.75565e-4, 0.0679770,
              29.0878, 6.02772e-4, 0.138961),
};

/* In the order of sets[]. */
static const struct opt_choice set_choices[] = {
    {"custom", "the coefficients prefill_* and decode_*"},
    {"niyama", "Sarathi-Serve's two-segment model of a mixed batch (GPU and model unnamed)"},
    {"a10g-slora", "S-LoRA, Llama-7B on A10G, fitted on the VTC runs"},
    {"a100-slora-13b", "S-LoRA, Llama-13B on A100, approximate (+-10 %)"},
    {"distserve-opt-13b-tp1", "DistServe engine, OPT-13B on 1 A100"},
    {"distserve-opt-13b-tp2", "DistServe engine, OPT-13B on 2 A100"},
    {"distserve-opt-13b-tp4", "DistServe engine, OPT-13B on 4 A100"},
    {"distserve-opt-66b-tp2", "DistServe engine, OPT-66B on 2 A100"},
    {"distserve-opt-66b-tp3", "DistServe engine, OPT-66B on 3 A100"},
    {"distserve-opt-66b-tp4", "DistServe engine, OPT-66B on 4 A100"},
    {"distserve-opt-66b-tp8", "DistServe engine, OPT-66B on 8 A100"},
    {"vllm-opt-13b-tp1", "vLLM as measured by DistServe, OPT-13B on 1 A100"},
    {"vllm-opt-13b-tp2", "vLLM as measured by DistServe, OPT-13B on 2 A100"},
    {"vllm-opt-13b-tp4", "vLLM as measured by DistServe, OPT-13B on 4 A100"},
    {"vllm-opt-66b-tp2", "vLLM as measured by DistServe, OPT-66B on 2 A100"},
    {"vllm-opt-66b-tp3", "vLLM as measured by DistServe, OPT-66B on 3 A100"},
    {"vllm-opt-66b-tp4", "vLLM as measured by DistServe, OPT-66B on 4 A100"},
    {"vllm-opt-66b-tp8", "vLLM as measured by DistServe, OPT-66B on 8 A100"},
    {NULL, NULL},
};
_Static_assert(sizeof(sets) / sizeof(*sets) + 1 == sizeof(set_choices) / sizeof(*set_choices),
               "one name per set");

/* Ticks. */
struct tick_part {
    int64_t a, b, c, kv;
};

struct tick_seg { /* niyama: per token of any kind, prefill token, decode, contexts */
    int64_t a, tok, ptok, dec, ctx_d, ctx_p;
};

struct linear_state {
    /* options */
    int64_t set;
    bool overhead;
    double prefill_a, prefill_b, prefill_c, decode_a, decode_b, decode_c, decode_kv;
    double step_a, step_b;
    /* from init */
    struct tick_part prefill, decode, decode_large;
    int64_t step, step_per_ctx;
    struct tick_seg seg[2];
};

#define COEF(field, dflt, text)                                                                    \
    {#field, OPT_DOUBLE, offsetof(struct linear_state, field), -1e6, 1e6, dflt, "ms", text, NULL}

static const struct opt_row linear_options[] = {
    {"set", OPT_CHOICE, offsetof(struct linear_state, set), 0, 0, "a10g-slora", NULL,
     "Published coefficients to use, or custom.", set_choices},
    {"overhead", OPT_BOOL, offsetof(struct linear_state, overhead), 1, 0, "on", NULL,
     "Host overhead that a set defines for any iteration (DistServe: 2 ms + 0.0001 ms per context "
     "token).", NULL},
    COEF(prefill_a, "0", "custom: constant of an iteration with prefill."),
    COEF(prefill_b, "0", "custom: per prompt token."),
    COEF(prefill_c, "0", "custom: per squared prompt length (a chunk counts 2*pairs - tokens)."),
    COEF(decode_a, "0", "custom: constant of a pure decode iteration."),
    COEF(decode_b, "0", "custom: per context token of the decodes."),
    COEF(decode_c, "0", "custom: per decode."),
    COEF(decode_kv, "0", "custom: per token resident in KV, of any running sequence."),
    COEF(step_a, "0", "custom: host overhead of any iteration."),
    COEF(step_b, "0", "custom: host overhead per context token, prompt or decode."),
    OPT_END,
};

static int64_t ms_ticks(double ms)
{
    return cost_coef(ms * 1e-3);
}

static struct tick_part part_ticks(const struct linear_part *p)
{
    return (struct tick_part){ms_ticks(p->a), ms_ticks(p->b), ms_ticks(p->c), ms_ticks(p->kv)};
}

/* Seconds, as in the source: a, per token, per prefill token, per decode, contexts. */
static struct tick_seg seg_ticks(double a, double n, double np, double nd, double ctx_d, double ctx_p)
{
    return (struct tick_seg){cost_coef(a),  cost_coef(n),     cost_coef(np),
                             cost_coef(nd), cost_coef(ctx_d), cost_coef(ctx_p)};
}

static bool custom_given(const struct linear_state *s)
{
    const double v[] = {s->prefill_a, s->prefill_b, s->prefill_c, s->decode_a, s->decode_b,
                        s->decode_c,  s->decode_kv, s->step_a,    s->step_b};
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        if (fabs(v[i]) > 0) {
            return true;
        }
    }
    return false;
}

static int check_custom(const struct linear_state *s, struct err *e)
{
    bool custom = s->set == SET_CUSTOM;
    if (custom && !custom_given(s)) {
        return err_set(e, SIM_E_CONFIG,
                       "linear: set=custom needs at least one of prefill_a, prefill_b, prefill_c, "
                       "decode_a, decode_b, decode_c, decode_kv, step_a, step_b");
    }
    if (!custom && custom_given(s)) {
        return err_set(e, SIM_E_CONFIG,
                       "linear: prefill_*, decode_* and step_* go with set=custom, not with set=%s",
                       set_choices[s->set].name);
    }
    return 0;
}

static struct linear_set custom_set(const struct linear_state *s)
{
    struct linear_part decode = {s->decode_a, s->decode_b, s->decode_c, s->decode_kv};
    return (struct linear_set){
        .prefill = {s->prefill_a, s->prefill_b, s->prefill_c, 0},
        .decode = decode,
        .decode_large = decode,
        .step = s->step_a,
        .step_per_ctx = s->step_b,
        .source = sets[SET_CUSTOM].source,
    };
}

static int linear_init(void *state, struct cost_env *env, struct err *e)
{
    struct linear_state *s = state;
    int rc = check_custom(s, e);
    if (rc < 0) {
        return rc;
    }
    struct linear_set set = s->set == SET_CUSTOM ? custom_set(s) : sets[s->set];
    s->prefill = part_ticks(&set.prefill);
    s->decode = part_ticks(&set.decode);
    s->decode_large = part_ticks(&set.decode_large);
    s->step = s->overhead ? ms_ticks(set.step) : 0;
    s->step_per_ctx = s->overhead ? ms_ticks(set.step_per_ctx) : 0;
    s->seg[0] = seg_ticks(0.014936, 5.8825e-5, 2.2480e-5, 3.6345e-5, 1.1113e-7, 7.5548e-7);
    s->seg[1] = seg_ticks(0.005004, 2.7191e-5, 6.8630e-5, -4.1440e-5, 1.6634e-7, 2.7272e-6);
    env->provenance = set.source;
    return 0;
}

static void niyama_iteration(const struct linear_state *s, const struct batch_shape *b,
                             struct cost_affine *ret)
{
    uint64_t tok = b->prefill_tok + b->n_decode;
    const struct tick_seg *g = &s->seg[tok > NIYAMA_KNEE];
    sim_wide base = (sim_wide)g->a + (sim_wide)g->tok * tok + (sim_wide)g->ptok * b->prefill_tok +
                    (sim_wide)g->dec * b->n_decode + (sim_wide)g->ctx_d * b->decode_ctx_tok +
                    (sim_wide)g->ctx_p * b->prefill_ctx_tok;
    cost_finish(ret, base, (sim_wide)g->ctx_d * b->n_decode, b->n_prefill ? 1 : UINT64_MAX);
}

static void linear_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct linear_state *s = state;
    if (s->set == SET_NIYAMA) {
        niyama_iteration(s, b, ret);
        return;
    }
    const struct tick_part *p = &s->prefill;
    const struct tick_part *d = b->n_decode >= LARGE_BATCH ? &s->decode_large : &s->decode;
    sim_wide base = s->step;
    if (b->n_prefill) {
        sim_wide sq = 2 * (sim_wide)b->prefill_pairs - b->prefill_tok;
        base += p->a + (sim_wide)(p->b + s->step_per_ctx) * b->prefill_tok + p->c * sq;
    }
    if (b->n_decode) {
        base += (b->n_prefill ? 0 : d->a) + (sim_wide)(d->b + s->step_per_ctx) * b->decode_ctx_tok +
                (sim_wide)d->c * b->n_decode + (sim_wide)d->kv * b->kv_resident_tok;
    }
    sim_wide slope = (sim_wide)(d->b + d->kv + s->step_per_ctx) * b->n_decode;
    cost_finish(ret, base, slope, b->n_prefill ? 1 : UINT64_MAX);
}

const struct cost_ops cost_linear = {
    .name = "linear",
    .summary = "published coefficients of linear iteration-time models",
    .source = "VTC artifact (OSDI'24), DistServe artifact (OSDI'24), Sarathi-Serve repository",
    .state_size = sizeof(struct linear_state),
    .options = linear_options,
    .init = linear_init,
    .iteration = linear_iteration,
};
