/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-gated MoE (arXiv 2308.12066): Switch transformers on an A100 whose experts lie in host memory, none of them
 * kept. What the artifact's scripts say (ranggihwang/Pregated_MoE, scripts/eval_all.py): one request at a time,
 * 256 tokens in and 256 out, FP32; the throughput is output tokens over the time of encoder and decoder. */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Put in: the time of a token whose experts are all there, 1/137 s (111 tokens/s are 81 % of GPU-only) for
 * Switch-Base's twelve decoder layers; kernels are short enough for the launch to set the pace, so the encoder's
 * pass takes as much, and Switch-Large, twice as deep, twice as long. */
#define GPU_ONLY_TOK_S 137.0
#define BASE_COST  "linear{set=custom,decode_a=7.27,prefill_a=7.27,prefill_b=0}"
#define LARGE_COST "linear{set=custom,decode_a=14.54,prefill_a=14.54,prefill_b=0}"
/* Put in: of a Switch-Base token the MoE blocks take six times 0.947 ms with everything resident (raw data
 * of the artifact); the rest is not in the published block latencies. */
#define BLOCK_MS 0.947

enum { GPU_ONLY, PRE_GATED, ON_DEMAND, PREFETCH_ALL, DESIGNS };

struct design {
    const char *prefetch;
    double held_layers; /* experts kept: so many per layer held, or ... */
    bool whole;         /* ... whole layers */
};

/* Buffers as the paper counts them: those of the block at work and of the next one, one expert each; all of
 * two blocks where whole layers are fetched. Nothing survives its block. */
static const struct design design[DESIGNS] = {
    [GPU_ONLY] = {"none", 0, false},
    [PRE_GATED] = {"pre-gated", 2, false},
    [ON_DEMAND] = {"none", 1, false},
    [PREFETCH_ALL] = {"all", 2, true},
};

struct model {
    const char *name, *cost;
    uint32_t experts, moe_layers;
};
static const struct model base[] = {{"switch-base-8", BASE_COST, 8, 6},
                                    {"switch-base-64", BASE_COST, 64, 6},
                                    {"switch-base-128", BASE_COST, 128, 6}};
static const struct model large = {"switch-large-128", LARGE_COST, 128, 12};

struct numbers {
    double tok_s, block_ms;
};

/* Share of all experts that the buffers hold; 1 = resident. */
static double rate_of(const struct design *d, const struct model *m)
{
    double held = d->held_layers * (d->whole ? m->experts : 1);

    return held > 0 ? held / m->experts / m->moe_layers : 1;
}

static int simulate(struct repro *p, const struct model *m, size_t d, struct numbers *ret, struct err *e)
{
    struct arena ar = {0};
    struct run_result r;
    const struct repro_key key[] = {
        {"trace", "synth:uniform{rates=10000,requests=4,prompt=256,output=256}"},
        {"model", m->name},
        {"weight_dtype", "fp32"},
        {"gpu", "a100-80g"},
        {"cost", m->cost},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "20000"},
        {"executor", "layers"},
        {"experts.routes", "uniform"},
        {"experts.global", "on"},
        {"experts.calls", "2"},
        {"experts.rate", arena_printf(&ar, "%.12g", rate_of(&design[d], m))},
        {"experts.prefetch", design[d].prefetch},
    };
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        double token_ms = repro_metric(&r, "mean_itl_ms");
        double rest_ms = (1e3 / GPU_ONLY_TOK_S / 6 - BLOCK_MS) * m->moe_layers;

        *ret = (struct numbers){repro_metric(&r, "output_throughput"), (token_ms - rest_ms) / m->moe_layers};
    }
    arena_release(&ar);
    return rc;
}

/* [model][design]: Switch-Base's, then Switch-Large's. */
#define MODELS (COUNT(base) + 1)

static int simulate_all(struct repro *p, struct numbers n[MODELS][DESIGNS], struct err *e)
{
    for (size_t i = 0; i < MODELS; i++) {
        for (size_t d = 0; d < DESIGNS; d++) {
            if (simulate(p, i < COUNT(base) ? &base[i] : &large, d, &n[i][d], e) < 0) {
                return e->code;
            }
        }
    }
    return 0;
}

static double tok_s(const struct numbers *n)
{
    return n->tok_s;
}

static double block_ms(const struct numbers *n)
{
    return n->block_ms;
}

/* The paper's averages are geometric means over models (its artifact's raw data give 41 for the "42" of block
 * latencies and 27 for the "27" of throughputs that way, 67 and 37 as plain means). */
struct ratio {
    double mean, most;
};

static struct ratio compare(struct numbers n[MODELS][DESIGNS], double (*of)(const struct numbers *), size_t models,
                            size_t d, size_t with)
{
    struct ratio r = {0, 0};

    for (size_t i = 0; i < models; i++) {
        double x = of(&n[i][d]) / of(&n[i][with]);

        r.mean += log(x) / (double)models;
        r.most = fmax(r.most, x);
    }
    r.mean = exp(r.mean);
    return r;
}

static double base_tok_s(struct numbers n[MODELS][DESIGNS], size_t d)
{
    double sum = 0;

    for (size_t i = 0; i < COUNT(base); i++) {
        sum += log(n[i][d].tok_s);
    }
    return exp(sum / COUNT(base));
}

/* The means for Switch-Base on demand and with prefetch all follow from the ratios as the paper has them, over
 * all four models: 111 over 1.5 and over 27 or 28. */
static int throughput(struct repro *p, struct err *e)
{
    struct numbers n[MODELS][DESIGNS], *large_n = n[COUNT(base)];

    if (simulate_all(p, n, e) < 0) {
        return e->code;
    }
    double gpu = base_tok_s(n, GPU_ONLY), pre = base_tok_s(n, PRE_GATED);
    struct ratio demand = compare(n, tok_s, MODELS, PRE_GATED, ON_DEMAND);
    struct ratio all = compare(n, tok_s, MODELS, PRE_GATED, PREFETCH_ALL);
    const struct {
        const char *row, *unit;
        double published, ours;
    } row[] = {
        {"Switch-Base, GPU-only (put in)", "tok/s", 137, gpu},
        {"Switch-Base, pre-gated", "tok/s", 111, pre},
        {"Switch-Base, on demand, by the mean ratio", "tok/s", 74, pre / demand.mean},
        {"Switch-Base, prefetch all, by the mean ratio", "tok/s", 4, pre / all.mean},
        {"GPU-only over pre-gated", "1", 1.23, gpu / pre},
        {"pre-gated over on demand, mean", "1", 1.5, demand.mean},
        {"pre-gated over on demand, most", "1", 1.6, demand.most},
        {"pre-gated over prefetch all, mean", "1", 28, all.mean},
        {"pre-gated over prefetch all, most", "1", 55, all.most},
        {"Switch-Large, pre-gated", "tok/s", 42, large_n[PRE_GATED].tok_s},
        {"Switch-Large, on demand", "tok/s", 26, large_n[ON_DEMAND].tok_s},
        {"Switch-Large, prefetch all", "tok/s", 0.8, large_n[PREFETCH_ALL].tok_s},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        if (repro_number(p, row[i].row, row[i].unit, row[i].published, row[i].ours, 0.1, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int blocks(struct repro *p, struct err *e)
{
    struct numbers n[MODELS][DESIGNS];

    if (simulate_all(p, n, e) < 0) {
        return e->code;
    }
    struct ratio over_gpu = compare(n, block_ms, COUNT(base), PRE_GATED, GPU_ONLY);
    struct ratio demand = compare(n, block_ms, MODELS, ON_DEMAND, PRE_GATED);
    struct ratio all = compare(n, block_ms, MODELS, PREFETCH_ALL, PRE_GATED);
    return repro_number(p, "pre-gated over GPU-only, Switch-Base", "1", 1.19, over_gpu.mean, 0.1, e) < 0 ||
                   repro_number(p, "on demand over pre-gated, mean", "1", 1.7, demand.mean, 0.1, e) < 0 ||
                   repro_number(p, "on demand over pre-gated, most", "1", 1.9, demand.most, 0.1, e) < 0 ||
                   repro_number(p, "prefetch all over pre-gated, mean", "1", 42, all.mean, 0.1, e) < 0 ||
                   repro_number(p, "prefetch all over pre-gated, most", "1", 125, all.most, 0.1, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_pre_gated[] = {
    {"pre-gated-throughput", "Pre-gated MoE, arXiv 2308.12066", "Switch transformers on an A100, experts in host memory", throughput},
    {"pre-gated-blocks", "Pre-gated MoE, arXiv 2308.12066", "latency of a MoE block, four models", blocks},
    {NULL, NULL, NULL, NULL},
};
