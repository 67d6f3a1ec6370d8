/* SPDX-License-Identifier: Apache-2.0
 *
 * Fate (arXiv 2502.12224) on an RTX 3090 behind PCI Express 3.0: experts in INT4 with two floats for each 64 weights,
 * 5 bits a weight, six copies an expert, as the repository FFFzy/Fate_open has them. Its loop over experts runs in
 * Python: the time of a call of PyTorch is put in, from one of the published speeds. */
#include <math.h>

#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"
#include "traces/routes.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Calls of PyTorch that the repository makes in Python, counted in its modeling files, which agree for both models.
 * Per layer: two norms 16, projections 9, rotary embedding 22, cache, attention and residuals 12, prediction 7, gate 14,
 * shared experts 10. Per expert: three matrices dequantised 45, its tokens picked, three products and
 * the sum 13, six copies that bring it again 8. */
#define CALLS_OF_LAYER  90
#define CALLS_OF_EXPERT 66
/* Of these a baseline that keeps 16-bit weights has no dequantisation and half of the copies. */
#define CALLS_PLAIN 17

/* A Mixtral expert of 352.3 MB in 26.7 ms over PCI Express 3.0 x16 (LayerScope); pageable memory on this
 * generation 5 to 6 GB/s (dask-cuda issue 98). */
#define PINNED   "13.2e9"
#define PAGEABLE "5.5e9"

struct model {
    const char *label, *name, *routes;
    double fate, eap, lod; /* published, tokens a second */
};
static const struct model qwen = {"Qwen1.5-MoE", "qwen1.5-moe-a2.7b", "synth", 14.0, 7.0, 3.9};
/* Experts as DeepSeek-V2-Lite has them; no statistics of its own routing are known to us. */
static const struct model deepseek = {"DeepSeekMoE-16B", "deepseek-moe-16b", "synth{preset=deepseek-v2-lite}",
                                     8.9, 4.1, 2.4};

/* Which memory the paper gives its systems is not in what we have of it. Taken: what the repository's rule
 * (utils/memory_cost.py) leaves for experts on its smaller card of 11 GB, beside a context of 1024 tokens; on the
 * 3090 nothing would have to be offloaded. */
struct system {
    const char *rate, *global, *shallow, *evict, *prefetch, *bits, *calls, *link, *spent;
    double calls_of_expert;
};
static const struct system fate_qwen = {"0.746", "off", "4", "arc", "fate", "5", "6", PINNED, "on", CALLS_OF_EXPERT};
static const struct system fate_deepseek = {"0.836", "off", "4", "arc", "fate", "5", "6", PINNED, "on", CALLS_OF_EXPERT};
/* The path of experts' activations is MoE-Infinity's; of 16-bit experts the same memory holds fewer. */
static const struct system path_qwen = {"0.233", "off", "0", "lfu", "eam", "16", "3", PINNED, "off", CALLS_PLAIN};
static const struct system path_deepseek = {"0.261", "off", "0", "lfu", "eam", "16", "3", PINNED, "off", CALLS_PLAIN};
/* Nothing is kept: the next layer takes the slots. */
static const struct system on_demand_qwen = {"0.002778", "on", "0", "lru", "none", "16", "3", PAGEABLE, "off", CALLS_PLAIN};
static const struct system on_demand_deepseek = {"0.003473", "on", "0", "lru", "none", "16", "3", PAGEABLE, "off",
                                                 CALLS_PLAIN};

struct numbers {
    double itl_ms, ttft_ms, recall;
};

static int simulate(struct repro *p, const struct model *m, const struct system *s, double call_us, const char *trace,
                    struct numbers *ret, struct err *e)
{
    const struct repro_key key[] = {
        {"trace", trace},
        {"model", m->name},
        {"gpu", "rtx-3090"},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "4096"},
        {"cost", arena_printf(&p->ar, "roofline{attn_us=%.4f}", CALLS_OF_LAYER * call_us)},
        {"executor", "layers"},
        {"experts.host", arena_printf(&p->ar, "%.9f", s->calls_of_expert * call_us * 1e-6)},
        {"experts.rate", s->rate},
        {"experts.global", s->global},
        {"experts.shallow", s->shallow},
        {"experts.evict", s->evict},
        {"experts.prefetch", s->prefetch},
        {"experts.bits", s->bits},
        {"experts.calls", s->calls},
        {"experts.link", s->link},
        {"experts.spent", s->spent},
        {"experts.routes", m->routes},
    };
    struct arena ar = {0};
    struct run_result r;
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        *ret = (struct numbers){.itl_ms = repro_metric(&r, "mean_itl_ms"), .ttft_ms = repro_metric(&r, "mean_ttft_ms"),
                                .recall = repro_metric(&r, "prefetch_recall")};
    }
    arena_release(&ar);
    return rc;
}

#define DECODE  "synth:uniform{rates=1,requests=8,prompt=128,output=256}"
#define PREFILL "synth:uniform{rates=1,requests=8,prompt=512,output=1}"

static int token_ms(struct repro *p, double us, double *ret, struct err *e)
{
    struct numbers n = {0};
    int rc = simulate(p, &qwen, &fate_qwen, us, DECODE, &n, e);

    *ret = n.itl_ms;
    return rc;
}

/* Put in: Qwen1.5-MoE's 14.0 tokens a second. The time of a token is all but linear in that of a call: the line
 * through two of them, and once more through the point that it gives. */
static int call_us(struct repro *p, double *ret, struct err *e)
{
    double a = 5, b = 10, a_ms = 0, b_ms = 0, want_ms = 1e3 / qwen.fate;

    if (token_ms(p, a, &a_ms, e) < 0 || token_ms(p, b, &b_ms, e) < 0) {
        return e->code;
    }
    *ret = a + (want_ms - a_ms) * (b - a) / (b_ms - a_ms);
    a = *ret;
    if (token_ms(p, a, &a_ms, e) < 0) {
        return e->code;
    }
    *ret = a + (want_ms - a_ms) * (b - a) / (b_ms - a_ms);
    return 0;
}

static int speed(struct repro *p, const struct model *m, const struct system *s, const char *what, double us,
                 double published, struct err *e)
{
    const char *row = arena_printf(&p->ar, "%s, %s", m->label, what);
    struct numbers n = {0};

    if (!row) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    return simulate(p, m, s, us, DECODE, &n, e) < 0 ? e->code : repro_number(p, row, "tok/s", published, 1e3 / n.itl_ms, 0.15, e);
}

/* ---- gate inputs of neighbours ---- */

static double cosine(const float *a, const float *b, uint32_t n)
{
    double ab = 0, aa = 0, bb = 0;

    for (uint32_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Mean over tokens of ten sequences and layers, `distance` layers apart. */
static double mean_cosine(struct routes *r, uint32_t distance)
{
    uint32_t layers = routes_shape(r).layers, n = 0;
    float a[ROUTE_LATENT_MAX], b[ROUTE_LATENT_MAX];
    double sum = 0;

    for (uint32_t t = 0; t < 1000; t++) {
        for (uint32_t l = 0; l + distance < layers; l++, n++) {
            uint32_t d = routes_latent(r, t / 100, t % 100, l, a);

            routes_latent(r, t / 100, t % 100, l + distance, b);
            sum += cosine(a, b, d);
        }
    }
    return sum / n;
}

static int cosines(struct repro *p, struct err *e)
{
    static const double published[] = {.93, .89, .84};
    struct routes_env env = {.seed = 0};
    struct routes *r;
    int rc = routes_open(&r, "synth{preset=deepseek-v2-lite}", &env, e);

    for (uint32_t d = 0; d < COUNT(published) && rc == 0; d++) {
        const char *row = arena_printf(&p->ar, "cosine of gate inputs, distance %u", d + 1);

        rc = row ? repro_number(p, row, "1", published[d], mean_cosine(r, d + 1), 0.15, e)
                 : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    routes_close(r);
    return rc;
}

/* ---- rows ---- */

static int fate(struct repro *p, struct err *e)
{
    double us = 0;

    return cosines(p, e) < 0 || call_us(p, &us, e) < 0 ||
                   speed(p, &qwen, &fate_qwen, "decoding", us, qwen.fate, e) < 0 ||
                   speed(p, &deepseek, &fate_deepseek, "decoding", us, deepseek.fate, e) < 0
               ? e->code
               : 0;
}

static int baselines(struct repro *p, struct err *e)
{
    double us = 0;

    return call_us(p, &us, e) < 0 || speed(p, &qwen, &path_qwen, "EAP", us, qwen.eap, e) < 0 ||
                   speed(p, &deepseek, &path_deepseek, "EAP", us, deepseek.eap, e) < 0 ||
                   speed(p, &qwen, &on_demand_qwen, "load on demand", us, qwen.lod, e) < 0 ||
                   speed(p, &deepseek, &on_demand_deepseek, "load on demand", us, deepseek.lod, e) < 0
               ? e->code
               : 0;
}

static int prefill(struct repro *p, struct err *e)
{
    struct repro_estimate recall = {0};
    struct numbers n = {0};
    double us = 0;

    if (call_us(p, &us, e) < 0 || simulate(p, &deepseek, &fate_deepseek, us, PREFILL, &n, e) < 0) {
        return e->code;
    }
    repro_note(&recall, 100 * n.recall);
    return repro_number(p, "DeepSeekMoE-16B, prompt of 512", "tok/s", 804, 512e3 / n.ttft_ms, 0.15, e) < 0 ||
                   repro_between(p, "experts of a prompt named", "%", 99.6, 97.15, 100, &recall, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_fate[] = {
    {"fate", "Fate, arXiv 2502.12224", "gate inputs of neighbouring layers; decoding on an RTX 3090", fate},
    {"fate-prefill", "Fate, arXiv 2502.12224", "a prompt on an RTX 3090", prefill},
    {"fate-baselines", "Fate, arXiv 2502.12224", "its baselines: the path of experts' activations, load on demand", baselines},
    {NULL, NULL, NULL, NULL},
};
