/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts on the CPU: Fiddler (arXiv 2402.07033) beside three other engines on two machines, KTransformers
 * (SOSP'25) beside two on a third. Each engine has one constant, which brings its first row to the published value:
 * the share of the DRAM's rate that its kernels reach, or of PCI Express's where it copies; or, where what it does
 * between kernels is what makes it slow, its time per layer or per expert. */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"
#include "sim/fabric/fabric.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct machine {
    const char *gpu;
    double local, mixed; /* bytes per second of both sockets: each its own memory, half of it the other's */
    uint32_t pcie;       /* generation, 16 lanes */
};

/* Two Xeon Gold 6126, 6 channels of DDR4-2666; two Xeon Platinum 8480+, 8 channels of DDR5-4800: by the datasheet.
 * Two 8452Y: 220 GB/s within a socket and 125 across, as the paper measured (Intel MLC). */
#define ACROSS (2 * 2 / (1 / 220e9 + 1 / 125e9))
static const struct machine quadro = {"quadro-rtx-6000", 2 * 6 * 21.33e9, 0, 3};
static const struct machine ada = {"rtx-6000-ada", 2 * 8 * 38.4e9, 0, 4};
static const struct machine a100 = {"a100-40g", 2 * 220e9, ACROSS, 4};
static const struct machine rtx_4080 = {"rtx-4080", 2 * 220e9, ACROSS, 4};

enum { FIDDLER, LLAMA_CPP, MIXTRAL_OFFLOADING, ZERO, KTRANSFORMERS, LLAMA_CPP_FORK, FIDDLER_THERE, ENGINES };

struct run {
    const char *row;
    int engine;
    const struct machine *on;
    const char *model, *dtype, *bits;
    double held;        /* share of the experts in GPU memory */
    const char *layers; /* llama.cpp: whole layers in GPU memory; NULL = 0 */
    double tok_s;       /* published */
};

/* How the engines work. KTransformers keeps each socket to its own memory; the others know nothing of
 * sockets, so that half of what a core reads is the other socket's. What a layer or an expert costs beside
 * reading it is 84 us a layer (measured on an A10) where no other constant is put in. */
struct manner {
    double share;               /* put in: of the DRAM's rate, or of the link's; 1 = all */
    const char *layer_us;       /* put in: per layer on the CPU */
    const char *expert_us;      /* put in: per expert on the CPU */
    bool cpu, mixed;
    const char *global, *evict, *prefetch, *writeback;
};
static const struct manner manner[ENGINES] = {
    [FIDDLER] = {0.173, "84", "0", true, false, "on", "static", "none", "off"},
    [LLAMA_CPP] = {0.13, "84", "0", true, false, "off", "static", "none", "off"},
    [MIXTRAL_OFFLOADING] = {0.47, NULL, NULL, false, false, "off", "lru", "none", "on"},
    [ZERO] = {0.89, NULL, NULL, false, false, "on", "lru", "all", "off"},
    [KTRANSFORMERS] = {0.655, "84", "0", true, false, "off", "static", "none", "off"},
    [LLAMA_CPP_FORK] = {1, "1000", "0", true, true, "off", "static", "none", "off"},
    [FIDDLER_THERE] = {1, "0", "550", true, true, "off", "static", "none", "off"},
};

static double link_bytes_per_s(const struct run *r)
{
    return pcie_read_bytes_per_s(&(struct pcie_config){r->on->pcie, 16, 256, 512});
}

static int simulate(struct repro *p, const struct run *r, const char *trace, const char *metric, double *ret,
                    struct err *e)
{
    const struct manner *m = &manner[r->engine];
    struct arena ar = {0};
    struct run_result res;
    const char *cpu = arena_printf(&ar, "cpu{dram=%.6g,first_us=%s,token_us=%s,cheaper=%s}",
                                   m->share * (m->mixed ? r->on->mixed : r->on->local), m->layer_us, m->expert_us,
                                   r->engine == FIDDLER ? "on" : "off");
    const struct repro_key key[] = {
        {"trace", trace},
        {"model", r->model},
        {"weight_dtype", r->dtype},
        {"gpu", r->on->gpu},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "20000"},
        {"executor", "layers"},
        {"experts.rate", arena_printf(&ar, "%.12g", r->held)},
        {"experts.bits", r->bits},
        {"experts.routes", r->held > 0 || r->layers ? "synth" : "uniform"}, /* no matter where all are on the CPU */
        {"experts.calibration", r->held > 0 || r->layers ? NULL : "64"},
        {"experts.shallow", r->layers},
        {"experts.gpu_layers", r->layers},
        {"experts.global", m->global},
        {"experts.evict", m->evict},
        {"experts.prefetch", m->prefetch},
        {"experts.writeback", m->writeback},
        {"experts.miss", m->cpu ? cpu : "wait"},
        {"experts.link", m->cpu ? NULL : arena_printf(&ar, "%.6g", m->share * link_bytes_per_s(r))},
    };
    int rc = repro_run(p, key, COUNT(key), &res, &ar, e);

    if (rc == 0) {
        *ret = repro_metric(&res, metric);
    }
    arena_release(&ar);
    return rc;
}

/* Mixtral-8x7B in 16 bit, 32 tokens in and 256 out, their number over the time of all. On the GPU: of the 256
 * experts as many as Fiddler says; as many layers as the paper gives llama.cpp (ngl of 8 and 16); one and three
 * experts of a layer for Mixtral-offloading, what fits beside its 4 buffers; for ZeRO-Infinity (DeepSpeed-MII) two
 * layers at a time. */
static const struct run fiddler_runs[] = {
    {"Quadro RTX 6000, Fiddler (put in)", FIDDLER, &quadro, "mixtral-8x7b", NULL, NULL, 56 / 256.0, NULL, 2.53},
    {"Quadro RTX 6000, llama.cpp (put in)", LLAMA_CPP, &quadro, "mixtral-8x7b", NULL, NULL, 0, "8", 1.70},
    {"Quadro RTX 6000, Mixtral-offloading (put in)", MIXTRAL_OFFLOADING, &quadro, "mixtral-8x7b", NULL, NULL, 1 / 8.0, NULL, 0.32},
    {"Quadro RTX 6000, DeepSpeed-MII (put in)", ZERO, &quadro, "mixtral-8x7b", NULL, NULL, 2 / 32.0, NULL, 0.13},
    {"RTX 6000 Ada, Fiddler", FIDDLER, &ada, "mixtral-8x7b", NULL, NULL, 125 / 256.0, NULL, 8.29},
    {"RTX 6000 Ada, llama.cpp", LLAMA_CPP, &ada, "mixtral-8x7b", NULL, NULL, 0, "16", 7.07},
    {"RTX 6000 Ada, Mixtral-offloading", MIXTRAL_OFFLOADING, &ada, "mixtral-8x7b", NULL, NULL, 3 / 8.0, NULL, 0.94},
    {"RTX 6000 Ada, DeepSpeed-MII", ZERO, &ada, "mixtral-8x7b", NULL, NULL, 2 / 32.0, NULL, 0.22},
};

/* Decode alone; all routed experts on the CPU. Formats of 4 and 8 bit with their scales. */
static const struct run kt_runs[] = {
    {"A100, DeepSeek-V3, KTransformers (put in)", KTRANSFORMERS, &a100, "deepseek-v3", "bf16", NULL, 0, NULL, 5.87},
    {"A100, DeepSeek-V3, llama.cpp (put in)", LLAMA_CPP_FORK, &a100, "deepseek-v3", "bf16", NULL, 0, NULL, 4.68},
    {"A100, DeepSeek-V3, Fiddler (put in)", FIDDLER_THERE, &a100, "deepseek-v3", "bf16", NULL, 0, NULL, 2.43},
    {"A100, DeepSeek-V2.5, KTransformers", KTRANSFORMERS, &a100, "deepseek-v2.5", "bf16", NULL, 0, NULL, 11.95},
    {"A100, DeepSeek-V2.5, llama.cpp", LLAMA_CPP_FORK, &a100, "deepseek-v2.5", "bf16", NULL, 0, NULL, 7.05},
    {"A100, DeepSeek-V2.5, Fiddler", FIDDLER_THERE, &a100, "deepseek-v2.5", "bf16", NULL, 0, NULL, 3.54},
    {"A100, Qwen2-57B, KTransformers", KTRANSFORMERS, &a100, "qwen2-57b-a14b", "bf16", NULL, 0, NULL, 22.88},
    {"A100, Qwen2-57B, llama.cpp", LLAMA_CPP_FORK, &a100, "qwen2-57b-a14b", "bf16", NULL, 0, NULL, 13.01},
    {"A100, Qwen2-57B, Fiddler", FIDDLER_THERE, &a100, "qwen2-57b-a14b", "bf16", NULL, 0, NULL, 5.59},
    {"RTX 4080, DeepSeek-V3 in 4 bit, KTransformers", KTRANSFORMERS, &rtx_4080, "deepseek-v3", "int4", "4.5", 0, NULL, 16.15},
    {"RTX 4080, DeepSeek-V3 in 4 bit, llama.cpp", LLAMA_CPP_FORK, &rtx_4080, "deepseek-v3", "int4", "4.5", 0, NULL, 9.06},
    {"RTX 4080, DeepSeek-V2.5 in 8 bit, KTransformers", KTRANSFORMERS, &rtx_4080, "deepseek-v2.5", "int8", "8.5", 0, NULL, 17.61},
    {"RTX 4080, DeepSeek-V2.5 in 8 bit, llama.cpp", LLAMA_CPP_FORK, &rtx_4080, "deepseek-v2.5", "int8", "8.5", 0, NULL, 9.94},
    {"RTX 4080, Qwen2-57B in 8 bit, KTransformers", KTRANSFORMERS, &rtx_4080, "qwen2-57b-a14b", "int8", "8.5", 0, NULL, 36.99},
    {"RTX 4080, Qwen2-57B in 8 bit, llama.cpp", LLAMA_CPP_FORK, &rtx_4080, "qwen2-57b-a14b", "int8", "8.5", 0, NULL, 19.17},
};

/* Ours in `tok_s`, a row for each. */
static int speed_rows(struct repro *p, const struct run *r, size_t n, bool decode, double *tok_s, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        int rc = decode ? simulate(p, &r[i], "synth:uniform{rates=10000,requests=1,prompt=32,output=32}", "mean_itl_ms", &tok_s[i], e)
                        : simulate(p, &r[i], "synth:uniform{rates=10000,requests=2,prompt=32,output=256}",
                                   "output_throughput", &tok_s[i], e);

        tok_s[i] = decode ? 1e3 / tok_s[i] : tok_s[i];
        if (rc < 0 || repro_number(p, r[i].row, "tok/s", r[i].tok_s, tok_s[i], 0.2, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* The slowest first: from `last` of ours down to `last` - n + 1. */
static int order_row(struct repro *p, const char *row, const double *tok_s, size_t n, struct err *e)
{
    double up[4];

    for (size_t i = 0; i < n; i++) {
        up[i] = tok_s[n - 1 - i];
    }
    return repro_order(p, row, up, n, e);
}

static int fiddler(struct repro *p, struct err *e)
{
    double tok_s[COUNT(fiddler_runs)];

    return speed_rows(p, fiddler_runs, COUNT(fiddler_runs), false, tok_s, e) < 0 ||
                   order_row(p, "Quadro RTX 6000: Fiddler, llama.cpp, Mixtral-offloading, DeepSpeed-MII", tok_s, 4, e) < 0 ||
                   order_row(p, "RTX 6000 Ada: Fiddler, llama.cpp, Mixtral-offloading, DeepSpeed-MII", tok_s + 4, 4, e) < 0
               ? e->code
               : 0;
}

static int ktransformers(struct repro *p, struct err *e)
{
    double tok_s[COUNT(kt_runs)];

    return speed_rows(p, kt_runs, COUNT(kt_runs), true, tok_s, e) < 0 ||
                   order_row(p, "A100, DeepSeek-V3: KTransformers, llama.cpp, Fiddler", tok_s, 3, e) < 0 ||
                   order_row(p, "A100, DeepSeek-V2.5: KTransformers, llama.cpp, Fiddler", tok_s + 3, 3, e) < 0 ||
                   order_row(p, "A100, Qwen2-57B: KTransformers, llama.cpp, Fiddler", tok_s + 6, 3, e) < 0 ||
                   order_row(p, "RTX 4080, DeepSeek-V3: KTransformers, llama.cpp", tok_s + 9, 2, e) < 0 ||
                   order_row(p, "RTX 4080, DeepSeek-V2.5: KTransformers, llama.cpp", tok_s + 11, 2, e) < 0 ||
                   order_row(p, "RTX 4080, Qwen2-57B: KTransformers, llama.cpp", tok_s + 13, 2, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_cpu_experts[] = {
    {"cpu-experts-fiddler", "Fiddler, arXiv 2402.07033", "Mixtral-8x7B, four engines on two machines", fiddler},
    {"cpu-experts-ktransformers", "KTransformers, SOSP'25", "three models, three engines, experts on the CPU", ktransformers},
    {NULL, NULL, NULL, NULL},
};
