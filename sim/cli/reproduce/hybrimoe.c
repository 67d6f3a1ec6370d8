/* SPDX-License-Identifier: Apache-2.0
 *
 * HybriMoE (arXiv 2504.05897) on an RTX A6000 with ten cores of a Xeon Gold 5220R: its ablation, and figure 8
 * against llama.cpp, kTransformers and AdapMoE. Times come from the released code (github.com/PKU-SEC-Lab/HybriMoE),
 * which says for each model what an expert takes on the CPU and on the GPU and what a copy takes, in a unit
 * that it does not name: here, what makes the copy last as long as the link takes. */
#include <math.h>

#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/fabric/fabric.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the machine ---- */

/* The repository's constants: a copy; an expert on the GPU, whatever its load; the first expert of a layer on the
 * CPU, beyond what each one takes there. */
#define MOVE_UNITS  0.418
#define GPU_UNITS   0.5
#define FIRST_UNITS 0.79
/* Marlin's packed weights, without scales, are what it copies: gate, up and down in a call each. */
#define EXPERT_BITS 4.0
#define COPY_CALLS  3
#define COPY_CALL_S 2.3e-6 /* pcie.copy */
/* Ten cores at 2.2 GHz, 64 8-bit multiply-adds a cycle (AVX-512 VNNI). */
#define CPU_FLOPS "2.8e12"
/* Put in: a kernel that Python launches, from HybriMoE's 14.49 tokens a second of DeepSeek-V2-Lite at 25 %. */
#define EAGER "roofline{kernel_us=128,attn_us=128}"

struct model {
    const char *name, *routes;
    double cpu_units;      /* an expert with one token, on the CPU */
    uint32_t whole;        /* MoE layers whose experts kTransformers' rule file for 25 % keeps */
    uint32_t gpu_layers;   /* those and the dense ones before them */
};
enum { DEEPSEEK, MIXTRAL, QWEN2, MODELS };
static const struct model model[MODELS] = {
    [DEEPSEEK] = {"deepseek-v2-lite", "synth{preset=deepseek-v2-lite-long}", 1, 7, 8},
    [MIXTRAL] = {"mixtral-8x7b", "synth{preset=mixtral-8x7b}", 0.2, 8, 8},
    [QWEN2] = {"qwen2-57b-a14b", "synth{preset=qwen2-57b-a14b}", 0.8, 7, 7},
};

struct machine {
    double link;
    const char *cpu;     /* options of a miss policy */
    const char *host_us; /* experts.host: what the kernel of an expert leaves of the GPU's time */
};

static int machine_of(const struct model *m, struct machine *ret, struct arena *a, struct err *e)
{
    const char *dir = steelyard_data_dir(NULL, a);
    const struct pcie_config pcie = {.gen = 4, .lanes = 16, .max_payload_byte = 256, .read_request_byte = 512};
    struct llm_shape shape;
    struct gpu_profile gpu;

    if (llm_load(&shape, m->name, dir, NULL, NULL, a, e) < 0 || gpu_load(&gpu, "a6000", dir, a, e) < 0) {
        return e->code;
    }
    double bytes = llm_layer(&shape).expert * EXPERT_BITS / 8, link = pcie_read_bytes_per_s(&pcie);
    double unit = (bytes / link + COPY_CALLS * COPY_CALL_S) / MOVE_UNITS;
    *ret = (struct machine){
        .link = link,
        .cpu = arena_printf(a, "dram=%.6g,flops=" CPU_FLOPS ",first_us=%.6g", bytes / (m->cpu_units * unit),
                            1e6 * FIRST_UNITS * unit),
        .host_us = arena_printf(a, "%.6gus", 1e6 * (GPU_UNITS * unit - bytes / gpu.hbm_bytes_per_s)),
    };
    return ret->cpu && ret->host_us ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- the systems ---- */

struct work {
    uint32_t requests, prompt, output;
};
/* Figure 3d's prompt for Qwen2; a short one, where only decode counts. */
static const struct work chat = {4, 128, 64}, short_chat = {4, 32, 64};

enum system_id {
    KTRANSFORMERS, /* the rule files of the repository: whole layers' experts on the GPU, the others' on the CPU */
    SCHEDULE,      /* a cache per layer, and the schedule */
    PREFETCH,      /* a cache per layer, fetched ahead; misses on the CPU */
    CACHE,         /* the score cache; misses are loaded */
    CACHE_LRU,     /* the same with LRU */
    HYBRIMOE,
    HYBRIMOE_PAPER, /* by the paper's rules, not the code's */
    LLAMA_CPP,     /* the CPU computes whole layers */
    ADAPMOE,       /* no CPU; an expert in and another one out in the stream that computes */
    SYSTEMS
};

/* In `miss` the options of the CPU come first, where it is used. */
struct system {
    const char *evict, *prefetch, *miss, *miss_options;
    bool whole_layers; /* in GPU memory: kTransformers' for this share, or llama.cpp's */
    bool one_stream;   /* copies both ways and kernels follow one another */
};
static const struct system system_of[SYSTEMS] = {
    [KTRANSFORMERS] = {"static", "none", "cpu", "", true, false},
    [SCHEDULE] = {"lru", "none", "hybrid", ",rule=code,prefill_gpu=on", false, false},
    [PREFETCH] = {"lru", "top-score", "cpu", "", false, false},
    [CACHE] = {"mrs{p=12}", "none", "wait", NULL, false, false},
    [CACHE_LRU] = {"lru", "none", "wait", NULL, false, false},
    [HYBRIMOE] = {"mrs{p=12}", "top-score{p=12}", "hybrid", ",rule=code,prefill_gpu=on", false, false},
    [HYBRIMOE_PAPER] = {"mrs", "impact", "hybrid", "", false, false},
    [LLAMA_CPP] = {"static", "none", "cpu", "", true, false},
    [ADAPMOE] = {"lru", "next-gate{width=1}", "wait", NULL, false, true},
};

struct numbers {
    struct repro_estimate prefill_s, token_s, hit;
};

static const char *number(struct arena *a, double x)
{
    return arena_printf(a, "%.9g", x);
}

static int run_once(struct repro *p, const struct model *m, enum system_id id, double rate, struct work w,
                    unsigned replication, struct numbers *ret, struct arena *a, struct err *e)
{
    const struct system *s = &system_of[id];
    bool llama = id == LLAMA_CPP;
    double whole = s->whole_layers ? round(m->whole * rate / 0.25) : 0;
    struct machine mc = {0};
    struct run_result r;

    if (machine_of(m, &mc, a, e) < 0) {
        return e->code;
    }
    const struct repro_key key[] = {
        {"trace", arena_printf(a, "synth:uniform{rates=1,requests=%u,prompt=%u,output=%u}", w.requests, w.prompt, w.output)},
        {"replication", number(a, replication)},
        {"model", m->name},
        {"gpu", "a6000"},
        {"cost", llama ? "roofline" : EAGER},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "8000"},
        {"executor", "layers"},
        {"experts.rate", number(a, s->whole_layers ? 0 : rate)},
        {"experts.shallow", number(a, whole)},
        {"experts.gpu_layers", number(a, llama ? whole + m->gpu_layers - m->whole : 0)},
        {"experts.bits", number(a, EXPERT_BITS)},
        {"experts.calls", number(a, COPY_CALLS)},
        {"pcie.copy", number(a, COPY_CALL_S)},
        {"experts.link", number(a, s->one_stream ? mc.link / 2 : mc.link)},
        {"experts.overlap", s->one_stream ? "off" : "on"},
        {"experts.host", llama ? "0" : mc.host_us},
        {"experts.routes", m->routes},
        {"experts.evict", s->evict},
        {"experts.prefetch", s->prefetch},
        {"experts.miss", s->miss_options ? arena_printf(a, "%s{%s%s}", s->miss, mc.cpu, s->miss_options) : s->miss},
    };
    if (repro_run(p, key, COUNT(key), &r, a, e) < 0) {
        return e->code;
    }
    repro_note(&ret->prefill_s, 1e-3 * repro_metric(&r, "mean_ttft_ms"));
    repro_note(&ret->token_s, 1e-3 * repro_metric(&r, "mean_itl_ms"));
    repro_note(&ret->hit, 100 * repro_metric(&r, "expert_decode_hit_rate"));
    return 0;
}

#define RUNS 3

static int simulate(struct repro *p, const struct model *m, enum system_id id, double rate, struct work w,
                    unsigned runs, struct numbers *ret, struct err *e)
{
    int rc = 0;

    *ret = (struct numbers){.hit = {.n = 0}};
    for (unsigned i = 0; i < runs && rc == 0; i++) {
        struct arena ar = {0};

        rc = run_once(p, m, id, rate, w, i, ret, &ar, e);
        arena_release(&ar);
    }
    return rc;
}

/* ---- the ablation: Qwen2-57B-A14B, a quarter cached ---- */

#define TABLE_TOL 0.1

static int ablation(struct repro *p, struct err *e)
{
    struct numbers base, all;

    if (simulate(p, &model[QWEN2], KTRANSFORMERS, 0.25, chat, RUNS, &base, e) < 0 ||
        simulate(p, &model[QWEN2], HYBRIMOE, 0.25, chat, RUNS, &all, e) < 0) {
        return e->code;
    }
    double prefill = repro_mean(&base.prefill_s) / repro_mean(&all.prefill_s);
    double decode = repro_mean(&base.token_s) / repro_mean(&all.token_s);
    return repro_number(p, "prefill, everything over kTransformers", "1", 1.31, prefill, TABLE_TOL, e) < 0 ||
                   repro_number(p, "decode, everything over kTransformers", "1", 1.86, decode, TABLE_TOL, e) < 0
               ? e->code
               : 0;
}

static int table_row(struct repro *p, const char *system, const char *stage, double published,
                     const struct repro_estimate *ours, struct err *e)
{
    const char *row = arena_printf(&p->ar, "%s, %s", stage, system);

    if (isnan(published)) {
        return 0;
    }
    return row ? repro_value(p, row, "s", published, ours, TABLE_TOL, e)
               : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int table_3(struct repro *p, struct err *e)
{
    static const struct {
        enum system_id id;
        const char *label;
        double prefill_s, token_s;
    } row[] = {
        {KTRANSFORMERS, "kTransformers", 1.47, 0.21}, {SCHEDULE, "schedule", 1.17, 0.14},
        {PREFETCH, "prefetch", 1.39, 0.18},           {CACHE, "cache", NAN, 0.15},
        {HYBRIMOE, "everything", 1.13, 0.11},         {HYBRIMOE_PAPER, "everything, the paper's rules", 1.13, 0.11},
    };
    int rc = 0;

    for (size_t i = 0; i < COUNT(row) && rc == 0; i++) {
        struct numbers n;

        rc = simulate(p, &model[QWEN2], row[i].id, 0.25, chat, RUNS, &n, e);
        rc = rc == 0 ? table_row(p, row[i].label, "prefill", row[i].prefill_s, &n.prefill_s, e) : rc;
        rc = rc == 0 ? table_row(p, row[i].label, "decode", row[i].token_s, &n.token_s, e) : rc;
    }
    return rc;
}

/* ---- figure 8: tokens a second ---- */

struct bar {
    enum system_id id;
    const char *label;
    double tok_s[MODELS][2]; /* a quarter and three quarters cached */
};
static const struct bar figure_8[] = {
    {HYBRIMOE, "HybriMoE", {{14.49, 15.29}, {4.36, 7.34}, {9.62, 8.98}}},
    {LLAMA_CPP, "llama.cpp", {{11.72, 8.91}, {3.54, 7.00}, {7.36, 7.18}}},
    {KTRANSFORMERS, "kTransformers", {{8.12, 9.40}, {3.26, 4.88}, {4.33, 4.95}}},
    {ADAPMOE, "AdapMoE", {{7.59, 8.35}, {2.13, 4.23}, {4.97, 5.17}}},
};

static int bars(struct repro *p, int of, double rate, double token_s[COUNT(figure_8)], struct err *e)
{
    for (size_t i = 0; i < COUNT(figure_8); i++) {
        struct numbers n;

        if (simulate(p, &model[of], figure_8[i].id, rate, short_chat, 1, &n, e) < 0) {
            return e->code;
        }
        token_s[i] = repro_mean(&n.token_s);
    }
    return 0;
}

static int decode_order(struct repro *p, struct err *e)
{
    double s[COUNT(figure_8)];

    if (bars(p, DEEPSEEK, 0.25, s, e) < 0) {
        return e->code;
    }
    const double kt[] = {s[0], s[1], s[2]}, adapmoe[] = {s[0], s[1], s[3]};
    return repro_order(p, "DeepSeek-V2-Lite, a quarter: HybriMoE, llama.cpp, kTransformers", kt, 3, e) < 0 ||
                   repro_order(p, "DeepSeek-V2-Lite, a quarter: HybriMoE, llama.cpp, AdapMoE", adapmoe, 3, e) < 0
               ? e->code
               : 0;
}

#define BAR_TOL 0.2

static int figure_rows(struct repro *p, struct err *e)
{
    static const char *const share[] = {"a quarter", "three quarters"};
    int rc = 0;

    for (int m = 0; m < MODELS; m++) {
        for (int r = 0; r < 2 && rc == 0; r++) {
            double s[COUNT(figure_8)] = {0};

            rc = bars(p, m, r == 0 ? 0.25 : 0.75, s, e);
            for (size_t i = 0; i < COUNT(figure_8) && rc == 0; i++) {
                const char *put_in = m == DEEPSEEK && r == 0 && i == 0 ? " (put in)" : "";
                const char *row = arena_printf(&p->ar, "%s, %s, %s%s", model[m].name, share[r], figure_8[i].label, put_in);

                rc = row ? repro_number(p, row, "tok/s", figure_8[i].tok_s[m][r], 1 / s[i], BAR_TOL, e)
                         : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
            }
        }
    }
    return rc;
}

/* ---- the means over models, cached shares and, in prefill, lengths of the prompt ---- */

static int gain(struct repro *p, const struct model *m, double rate, struct work w, struct repro_estimate *prefill,
                struct repro_estimate *decode, struct err *e)
{
    struct numbers base, all;

    if (simulate(p, m, KTRANSFORMERS, rate, w, 1, &base, e) < 0 || simulate(p, m, HYBRIMOE, rate, w, 1, &all, e) < 0) {
        return e->code;
    }
    repro_note(prefill, repro_mean(&base.prefill_s) / repro_mean(&all.prefill_s));
    if (w.output > 1) {
        repro_note(decode, repro_mean(&base.token_s) / repro_mean(&all.token_s));
    }
    return 0;
}

static int means(struct repro *p, struct err *e)
{
    static const double share[] = {0.25, 0.5, 0.75};
    static const struct work work[] = {{2, 32, 32}, {1, 128, 1}, {1, 512, 1}, {1, 1024, 1}};
    struct repro_estimate prefill = {.n = 0}, decode = {.n = 0};

    for (size_t i = 0; i < MODELS * COUNT(share) * COUNT(work); i++) {
        const struct model *m = &model[i / COUNT(work) / COUNT(share)];

        if (gain(p, m, share[i / COUNT(work) % COUNT(share)], work[i % COUNT(work)], &prefill, &decode, e) < 0) {
            return e->code;
        }
    }
    return repro_number(p, "prefill over kTransformers", "1", 1.33, repro_mean(&prefill), REPRO_TOL_GAIN, e) < 0 ||
                   repro_number(p, "decode over kTransformers", "1", 1.70, repro_mean(&decode), REPRO_TOL_GAIN, e) < 0
               ? e->code
               : 0;
}

/* ---- figure 9: hit rates with a quarter of the experts, in points ---- */

#define HIT_POINTS 7

static int hit_rows(struct repro *p, struct err *e)
{
    static const double lru[MODELS] = {47.7, 30.2, 45.0}, mrs[MODELS] = {52.7, 36.2, 52.8};
    int rc = 0;

    for (int m = 0; m < MODELS && rc == 0; m++) {
        struct numbers a, b;
        const char *row_a = arena_printf(&p->ar, "%s, LRU", model[m].name);
        const char *row_b = arena_printf(&p->ar, "%s, score cache", model[m].name);

        rc = simulate(p, &model[m], CACHE_LRU, 0.25, short_chat, RUNS, &a, e);
        rc = rc == 0 ? simulate(p, &model[m], CACHE, 0.25, short_chat, RUNS, &b, e) : rc;
        rc = rc == 0 ? repro_between(p, row_a, "%", lru[m], lru[m] - HIT_POINTS, lru[m] + HIT_POINTS, &a.hit, e) : rc;
        rc = rc == 0 ? repro_between(p, row_b, "%", mrs[m], mrs[m] - HIT_POINTS, mrs[m] + HIT_POINTS, &b.hit, e) : rc;
    }
    return rc;
}

const struct reproduction reproductions_hybrimoe[] = {
    {"hybrimoe-ablation", "HybriMoE, arXiv 2504.05897", "gains on Qwen2-57B-A14B with a quarter of the experts cached", ablation},
    {"hybrimoe-table3", "HybriMoE, arXiv 2504.05897", "the same, each technique alone, in seconds", table_3},
    {"hybrimoe-decode", "HybriMoE, arXiv 2504.05897", "figure 8, order of the systems", decode_order},
    {"hybrimoe-figure8", "HybriMoE, arXiv 2504.05897", "figure 8, tokens a second", figure_rows},
    {"hybrimoe-means", "HybriMoE, arXiv 2504.05897", "figures 7 and 8, gains in the mean", means},
    {"hybrimoe-hits", "HybriMoE, arXiv 2504.05897", "figure 9, hit rates with a quarter of the experts", hit_rows},
    {NULL, NULL, NULL, NULL},
};
