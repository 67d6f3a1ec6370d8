/* SPDX-License-Identifier: Apache-2.0
 *
 * Expert placement: the examples of deepseek-ai/EPLB's README; what TensorRT-LLM counted on DeepSeek-R1; and what
 * imbalance cost CloudMatrix-Infer and SGLang in prefill. */
#include <math.h>

#include "policies/place.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/placement/loads.h"
#include "traces/routes.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- EPLB's README ---- */

enum { EXPERTS = 12, SLOTS = 16 };

/* Slots that hold the expert that the README prints: all of them, or it is another algorithm. */
static int layer(struct repro *p, const char *row, const double *weight, const uint32_t *printed,
                 struct err *e)
{
    struct place_spec s = {.experts = EXPERTS, .slots = SLOTS, .groups = 4, .nodes = 2, .gpus = 8};
    struct placement got;
    double same = 0;

    if (place(place_find("eplb"), &s, weight, &got, &p->ar, e) < 0) {
        return e->code;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        same += got.slot[i] == printed[i];
    }
    return repro_number(p, row, "1", SLOTS, same, 0, e);
}

static int eplb(struct repro *p, struct err *e)
{
    static const double weight[2][EXPERTS] = {{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
                                              {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    static const uint32_t printed[2][SLOTS] = {{5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1},
                                               {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}};

    return layer(p, "first layer, slots as printed", weight[0], printed[0], e) < 0 ||
                   layer(p, "second layer, slots as printed", weight[1], printed[1], e) < 0
               ? e->code
               : 0;
}

/* ---- DeepSeek-R1 over 32 GPUs: NVIDIA/TensorRT-LLM, tech blog 4, table 1 ---- */

/* The blog: decode steps of a translation set, 1024 (token, expert) pairs a rank, so 128 tokens of as many
 * sequences; each number is a mean over layers and steps. */
enum { R1_EXPERTS = 256, R1_TOP_K = 8, R1_PER_RANK = 128, R1_LAYERS = 29, R1_LEARNT = 8192 };

struct r1 {
    struct repro *p;
    struct routes *routes;
    struct place_spec spec;
    struct repro_estimate rank_sd, rank_most, slot_sd, slot_most; /* over the mean; most: above it */
};

static void note_spread(const double *v, uint32_t n, struct repro_estimate *sd, struct repro_estimate *most)
{
    double sum = 0, sq = 0, max = 0;

    for (uint32_t i = 0; i < n; i++) {
        sum += v[i];
        sq += v[i] * v[i];
        max = fmax(max, v[i]);
    }
    repro_note(sd, sqrt(fmax(0, sq / n - sum / n * (sum / n))) * n / sum);
    repro_note(most, max * n / sum - 1);
}

/* What EPLB is told: other sequences of the same text. */
static int r1_place(struct r1 *x, uint32_t l, struct replicas *ret, struct arena *a, struct err *e)
{
    double weight[R1_EXPERTS] = {0};
    struct placement p;
    struct route at;

    for (uint32_t t = 0; t < R1_LEARNT && x->spec.slots > R1_EXPERTS; t++) {
        routes_at(x->routes, ((uint64_t)1 << 41) + t, 200, l, &at);
        for (uint32_t k = 0; k < R1_TOP_K; k++) {
            weight[at.expert[k]]++;
        }
    }
    if (place(place_find(x->spec.slots > R1_EXPERTS ? "eplb" : "contiguous"), &x->spec, weight, &p, a, e) < 0 ||
        replicas_init(ret, &x->spec, a, e) < 0) {
        return e->code;
    }
    replicas_set(ret, &p);
    return 0;
}

static void r1_step(struct r1 *x, uint32_t l, const struct replicas *by, struct loads *loads)
{
    double rank[64], slot[512];
    struct route at;

    loads_begin(loads, by);
    for (uint32_t i = 0; i < R1_PER_RANK * x->spec.gpus; i++) {
        routes_at(x->routes, i, 200, l, &at);
        loads_token(loads, i / R1_PER_RANK, &at, R1_TOP_K);
    }
    for (uint32_t i = 0; i < x->spec.gpus; i++) {
        rank[i] = loads->pairs[i];
    }
    for (uint32_t i = 0; i < x->spec.slots; i++) {
        uint32_t expert = by->at.slot[i];

        slot[i] = loads->count[expert] / (double)by->at.copies[expert];
    }
    note_spread(rank, x->spec.gpus, &x->rank_sd, &x->rank_most);
    note_spread(slot, x->spec.slots, &x->slot_sd, &x->slot_most);
}

static int r1_layer(struct r1 *x, uint32_t l, struct err *e)
{
    struct arena a = {0};
    struct replicas by;
    struct loads loads;
    int rc = r1_place(x, l, &by, &a, e);

    rc = rc == 0 ? loads_init(&loads, &x->spec, REPLICA_ROUND_ROBIN, false, &a, e) : rc;
    if (rc == 0) {
        r1_step(x, l, &by, &loads);
    }
    arena_release(&a);
    return rc;
}

static int r1_count(struct repro *p, uint32_t slots, uint32_t ranks, struct r1 *x, struct err *e)
{
    struct routes_env env = {.model = "deepseek-v3", .seed = 1};
    int rc;

    *x = (struct r1){.p = p, .spec = {.experts = R1_EXPERTS, .slots = slots, .groups = 1, .nodes = 1, .gpus = ranks}};
    if (routes_open(&x->routes, "synth", &env, e) < 0) {
        return e->code;
    }
    rc = p->progress ? p->progress(p->progress_ctx, "DeepSeek-R1's loads") : 0;
    for (uint32_t i = 0; i < R1_LAYERS && rc == 0; i++) {
        rc = r1_layer(x, i * routes_shape(x->routes).layers / R1_LAYERS, e);
    }
    routes_close(x->routes);
    return rc;
}

static int r1_loads(struct repro *p, struct err *e)
{
    struct r1 plain, nine, wide;

    if (r1_count(p, 256, 32, &plain, e) < 0 || r1_count(p, 288, 32, &nine, e) < 0 || r1_count(p, 288, 36, &wide, e) < 0) {
        return e->code;
    }
    return repro_value(p, "no EPLB: standard deviation of experts over the mean (put in)", "1", 164.1 / 128, &plain.slot_sd,
                       REPRO_TOL_LATENCY, e) < 0 ||
                   repro_value(p, "no EPLB: standard deviation of ranks over the mean", "1", 491.6 / 1024, &plain.rank_sd,
                               REPRO_TOL_GAIN, e) < 0 ||
                   repro_value(p, "no EPLB: busiest rank above the mean", "1", 1.564, &plain.rank_most, REPRO_TOL_GAIN,
                               e) < 0 ||
                   repro_value(p, "no EPLB: busiest expert above the mean", "1", 10.948, &plain.slot_most,
                               REPRO_TOL_GAIN, e) < 0 ||
                   repro_between(p, "EPLB, 9 slots a rank: busiest rank above the mean", "1", 0.109,
                                 0.109 - REPRO_POINTS, 0.109 + REPRO_POINTS, &nine.rank_most, e) < 0 ||
                   repro_value(p, "EPLB, 9 slots a rank: busiest slot above the mean", "1", 1.792, &nine.slot_most,
                               REPRO_TOL_GAIN, e) < 0 ||
                   repro_between(p, "EPLB, 36 ranks: busiest rank above the mean", "1", 0.115, 0.115 - REPRO_POINTS,
                                 0.115 + REPRO_POINTS, &wide.rank_most, e) < 0
               ? e->code
               : 0;
}

/* ---- prefill that waits for the busiest rank ---- */

struct prefill {
    const char *gpu, *dtype, *cost; /* without redundant experts */
    const char *tokens;             /* of a step of one rank */
    const char *node;
};

/* One rank of 32. `policy` NULL: all ranks alike, which is what "perfect EPLB" means in both sources. */
static int prefill(struct repro *p, const struct prefill *m, const char *policy, uint32_t redundant, const char *seed,
                   double *tok_s, struct err *e)
{
    struct arena ar = {0};
    const struct repro_key key[] = {
        {"trace", "synth:uniform{rates=1000,requests=8,prompt=4096,output=1}"},
        {"model", "deepseek-v3"},
        {"gpu", m->gpu},
        {"weight_dtype", m->dtype},
        {"cost", arena_printf(&ar, "ep{ranks=32,redundant=%u,overlap=on,%s}", redundant, m->cost)},
        {"policy", "fcfs"},
        {"load.concurrency", "4"},
        {"kv.tokens", "4000000"},
        {"batcher", arena_printf(&ar, "vllm-v1{max_num_batched_tokens=%s,max_num_seqs=1024}", m->tokens)},
        {"seed", seed},
        {"placement.policy", policy},
        {"placement.groups", policy ? "8" : NULL},
        {"placement.node", policy ? m->node : NULL},
        {"placement.replica", policy ? "static" : NULL},
        {"placement.sample", policy ? "20000" : NULL},
        {"experts.calibration", policy ? "32768" : NULL},
    };
    struct run_result r;
    int rc = key[4].value && key[8].value ? repro_run(p, key, COUNT(key), &r, &ar, e)
                                          : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");

    *tok_s = rc == 0 ? repro_metric(&r, "total_token_throughput") : (double)NAN;
    arena_release(&ar);
    return rc;
}

static const char *const seeds[] = {"1", "2", "3"};

/* Share of the balanced throughput that is lost, in per cent, within five points; *placed: the mean. */
static int lost(struct repro *p, const struct prefill *m, double published, double *placed, struct err *e)
{
    struct repro_estimate v = {0};
    double perfect, tok_s;

    if (prefill(p, m, NULL, 32, "1", &perfect, e) < 0) {
        return e->code;
    }
    *placed = 0;
    for (size_t i = 0; i < COUNT(seeds); i++) {
        if (prefill(p, m, "eplb", 32, seeds[i], &tok_s, e) < 0) {
            return e->code;
        }
        *placed += tok_s / COUNT(seeds);
        repro_note(&v, 100 * (1 - tok_s / perfect));
    }
    return repro_between(p, "throughput lost to imbalance", "%", published, published - 5, published + 5, &v, e);
}

/* 16 NPUs of two dies: 32 ranks with 16,384 tokens an NPU, 8 NPUs a node. The chip as on the page expert_parallel: its
 * eff_gemm makes an NPU with perfect balance do the published 6,688 tokens a second. */
static int cloudmatrix(struct repro *p, struct err *e)
{
    static const struct prefill m = {"ascend-910c-die", "int8",
                                     "dispatch_gb_s=64.2,combine_gb_s=119.8,"
                                     "base=roofline{kernel_us=0,attn_us=0,step_us=0,seq_us=0,eff_gemm=0.397}", "8192", "16"};
    double placed;

    return lost(p, &m, 100 * (1 - 5655 / 6688.0), &placed, e);
}

/* Four nodes of 8 H100, 16,384 tokens a GPU; eff_gemm makes one with perfect balance do the published 7,417. Without
 * EPLB experts are in their order and have no copies. */
static int sglang(struct repro *p, struct err *e)
{
    static const struct prefill m = {"h100", "fp8", "kernel=normal,base=roofline{eff_gemm=0.344}", "16384", "8"};
    double plain, placed;

    if (lost(p, &m, 100 * (1 - 50302 / 59337.0), &placed, e) < 0 ||
        prefill(p, &m, "contiguous", 0, "1", &plain, e) < 0) {
        return e->code;
    }
    return repro_number(p, "EPLB faster than none", "times", 1.49, placed / plain, REPRO_TOL_GAIN, e);
}

const struct reproduction reproductions_placement[] = {
    {"eplb", "EPLB README", "which expert is in which of 16 slots on 8 GPUs", eplb},
    {"eplb-r1", "TensorRT-LLM, tech blog 4", "loads of DeepSeek-R1 over 32 ranks, with and without EPLB", r1_loads},
    {"cloudmatrix-imbalance", "CloudMatrix-Infer", "prefill at EP32: default against perfect balance", cloudmatrix},
    {"sglang-imbalance", "SGLang, large-scale EP", "prefill at EP32: default against perfect balance", sglang},
    {NULL, NULL, NULL, NULL},
};
