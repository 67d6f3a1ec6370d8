/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts offloaded to host memory: ProMoE's account of a token (arXiv 2410.22134) and the times of
 * MoE-Infinity's README. Roofline on the datasheet, 16-bit weights, one request at a time. */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct offload {
    const char *model, *gpu, *rate, *link, *routes, *evict, *prefetch;
    const char *dtype, *global, *host; /* NULL = as it is by default */
};

struct numbers {
    double ms, stall_ms;
};

static int simulate(struct repro *p, const struct offload *o, struct numbers *ret, struct err *e)
{
    const struct repro_key key[] = {
        {"trace", "synth:uniform{rates=1,requests=8,prompt=64,output=64}"},
        {"model", o->model},
        {"gpu", o->gpu},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "20000"},
        {"executor", "layers"},
        {"experts.rate", o->rate},
        {"experts.link", o->link},
        {"experts.routes", o->routes},
        {"experts.evict", o->evict},
        {"experts.prefetch", o->prefetch},
        {"weight_dtype", o->dtype},
        {"experts.global", o->global},
        {"experts.host", o->host},
    };
    struct arena ar = {0};
    struct run_result r;
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        ret->ms = repro_metric(&r, "mean_itl_ms");
        ret->stall_ms = ret->ms * repro_metric(&r, "expert_stall_share");
    }
    arena_release(&ar);
    return rc;
}

/* DeepSeekMoE-16B on an RTX 4090, half of the experts offloaded. Half of what a token touches is moved
 * (1.33 of 2.67 GiB), as when it does not matter which half is kept: uniform routes, a fixed cache. */
static int promoe(struct repro *p, struct err *e)
{
    struct offload half = {"deepseek-moe-16b", "rtx-4090", "0.5", "23e9", "uniform", "static", "none", NULL, NULL, NULL};
    struct numbers n = {0};

    return simulate(p, &half, &n, e) < 0 || repro_number(p, "time per token", "ms", 67.9, n.ms, 0.08, e) < 0 ||
                   repro_number(p, "of it, waiting for experts", "ms", 58.1, n.stall_ms, 0.08, e) < 0
               ? e->code
               : 0;
}

/* On an A5000 of 24 GB the library caches experts of all layers together in three quarters of the memory, less what is
 * always there: 2 of Mixtral's 8 a layer, 60 % of DeepSeek-V2-Lite's; of Switch-Large and NLLB, whose checkpoints
 * are FP32, 475 and 46, all of the decoder's while it decodes. Put in: host time per expert, by which
 * DeepSeek-V2-Lite takes what it does. */
#define HOST "0.937ms"
#define A5000(model, rate, routes, prefetch, dtype)                                                \
    {model, "a5000", rate, "24e9", routes, "activation", prefetch, dtype, "on", HOST}

/* The version of the README's table has its predictor switched off (comments in the files of models). */
static int moe_infinity(struct repro *p, struct err *e)
{
    static const struct {
        const char *row;
        double published;
        struct offload o;
    } row[] = {
        {"DeepSeek-V2-Lite (put in)", 0.155, A5000("deepseek-v2-lite", "0.6", "synth", "none", NULL)},
        {"Mixtral-8x7B", 0.735, A5000("mixtral-8x7b", "0.25", "synth", "none", NULL)},
        {"Switch-Large-128", 0.130, A5000("switch-large-128", "0.309", "uniform", "none", "fp32")},
        {"NLLB-MoE-54B", 0.119, A5000("nllb-moe-54b", "0.06", "uniform", "none", "fp32")},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        struct numbers n = {0};

        if (simulate(p, &row[i].o, &n, e) < 0 || repro_number(p, row[i].row, "s", row[i].published, n.ms / 1e3, 0.2, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* With the predictor on: the paper, and the README of the first public version. */
static int moe_infinity_eam(struct repro *p, struct err *e)
{
    struct offload with = A5000("mixtral-8x7b", "0.25", "synth", "eam", NULL);
    struct offload without = A5000("mixtral-8x7b", "0.25", "synth", "none", NULL);
    struct numbers on = {0}, off = {0};
    double s[2];

    if (simulate(p, &with, &on, e) < 0 || simulate(p, &without, &off, e) < 0 ||
        repro_number(p, "Mixtral-8x7B, paper", "s", 0.836, on.ms / 1e3, 0.2, e) < 0 ||
        repro_number(p, "Mixtral-8x7B, first README", "s", 0.895, on.ms / 1e3, 0.2, e) < 0) {
        return e->code;
    }
    s[0] = off.ms;
    s[1] = on.ms;
    return repro_order(p, "Mixtral-8x7B is faster without (0.735 s) than with (0.895 s)", s, 2, e);
}

const struct reproduction reproductions_offload[] = {
    {"promoe-fetch", "ProMoE, arXiv 2410.22134", "a token of DeepSeekMoE-16B with half of the experts offloaded", promoe},
    {"moe-infinity", "MoE-Infinity README", "seconds per token on an A5000", moe_infinity},
    {"moe-infinity-eam", "MoE-Infinity, arXiv 2401.14361", "the same with experts fetched ahead by activation matrices", moe_infinity_eam},
    {NULL, NULL, NULL, NULL},
};
