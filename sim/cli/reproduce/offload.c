/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts offloaded to host memory: ProMoE's account of a token (arXiv 2410.22134) and the times of
 * MoE-Infinity's README. Roofline on the datasheet, 16-bit weights, one request at a time. */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct offload {
    const char *model, *gpu, *rate, *link, *routes, *evict, *prefetch;
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
    struct offload half = {"deepseek-moe-16b", "rtx-4090", "0.5", "23e9", "uniform", "static", "none"};
    struct numbers n = {0};

    return simulate(p, &half, &n, e) < 0 || repro_number(p, "time per token", "ms", 67.9, n.ms, 0.08, e) < 0 ||
                   repro_number(p, "of it, waiting for experts", "ms", 58.1, n.stall_ms, 0.08, e) < 0
               ? e->code
               : 0;
}

/* On an A5000 of 24 GB what is left beside everything else holds 2 of Mixtral's 8 experts a layer, and 60 %
 * of DeepSeek-V2-Lite's. */
static int moe_infinity(struct repro *p, struct err *e)
{
    struct offload mixtral = {"mixtral-8x7b", "a5000", "0.25", "24e9", "synth", "activation", "next-gate"};
    struct offload lite = {"deepseek-v2-lite", "a5000", "0.6", "24e9", "synth", "activation", "next-gate"};
    struct numbers m = {0}, d = {0};

    return simulate(p, &mixtral, &m, e) < 0 || simulate(p, &lite, &d, e) < 0 ||
                   repro_number(p, "Mixtral-8x7B", "s", 0.735, m.ms / 1e3, 0.2, e) < 0 ||
                   repro_number(p, "DeepSeek-V2-Lite", "s", 0.155, d.ms / 1e3, 0.2, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_offload[] = {
    {"promoe-fetch", "ProMoE, arXiv 2410.22134", "a token of DeepSeekMoE-16B with half of the experts offloaded", promoe},
    {"moe-infinity", "MoE-Infinity README", "seconds per token on an A5000", moe_infinity},
    {NULL, NULL, NULL, NULL},
};
