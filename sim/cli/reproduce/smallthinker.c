/* SPDX-License-Identifier: Apache-2.0
 *
 * SmallThinker's technical report (arXiv 2507.20984): decoding on a CPU with too little memory for the experts,
 * which come from a drive. The processor is the device, its memory stands where a GPU has HBM, the drive where
 * PCI Express is. Q4_0 throughout: 4.5 bits a weight. */
#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define BITS 4.5
#define GIB  (1024.0 * 1024.0 * 1024.0)

/* One model, one way of keeping its experts. */
struct setting {
    const char *label, *model, *routes;
    double in_memory, limited; /* published, tokens a second */
    double slots;              /* experts in memory; 0 = what 8 GiB hold */
    const char *prefetch, *overlap, *read;
};

/* SmallThinker's engine (PowerInfer/smallthinker) reads whole experts past the page cache while attention runs,
 * with the cache sizes of its README: 64 x 32 experts in 8 GiB, 32 x 8 in 1 GiB. llama.cpp maps the file: a missing
 * expert is a row of page faults, 128 KiB of read-around each (Linux, mm/filemap.c, read_ahead_kb 128), and the
 * thread that needs it waits. */
static const struct setting small_21b = {
    "SmallThinker-21B", "smallthinker-21b-a3b", "synth", 30.19, 20.30, 64 * 32, "pre-attention", "on", NULL};
static const struct setting small_4b = {
    "SmallThinker-4B", "smallthinker-4b-a0.6b", "synth", 108.17, 29.99, 32 * 8, "pre-attention", "on", NULL};
static const struct setting qwen_30b = {
    "Qwen3-30B-A3B", "qwen3-30b-a3b", "synth", 33.52, 10.11, 0, "none", "off", "131072"};

/* llama.cpp's default context; KV of it is taken when the program starts. */
#define CONTEXT_TOK 4096

/* 8 GiB less the weights that are no experts and the KV. */
static double slots_in_8_gib(const struct llm_shape *m)
{
    double expert = llm_layer(m).expert, routed = expert * llm_routed_experts(m);
    double rest = (llm_params(m) - routed) * BITS / 8 + CONTEXT_TOK * llm_kv_bytes_per_tok(m);

    return (8 * GIB - rest) / (expert * BITS / 8);
}

static int share_in_memory(struct repro *p, const struct setting *s, const char **ret, struct err *e)
{
    struct llm_shape m;

    if (llm_load(&m, s->model, steelyard_data_dir(NULL, &p->ar), "int4", "fp16", &p->ar, e) < 0) {
        return e->code;
    }
    *ret = arena_printf(&p->ar, "%.6f", (s->slots > 0 ? s->slots : slots_in_8_gib(&m)) / llm_routed_experts(&m));
    return *ret ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- runs ---- */

/* A program that starts with nothing in memory, reads its prompt and writes 256 tokens (the README's command). */
static int decode_ms(struct repro *p, const struct setting *s, const char *cost, const char *share,
                     const char *start, const char *replication, double *ret, struct err *e)
{
    const struct repro_key key[] = {
        {"trace", "synth:uniform{rates=1,requests=1,prompt=48,output=256}"},
        {"model", s->model},
        {"gpu", "i9-14900k"},
        {"weight_dtype", "int4"},
        {"cost", cost},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"kv.tokens", "4096"},
        {"executor", "layers"},
        {"experts.bits", "4.5"},
        {"experts.rate", share},
        {"experts.global", "on"},
        {"experts.tier", "nvme-pcie3"},
        {"experts.read", s->read},
        {"experts.overlap", s->overlap},
        {"experts.prefetch", s->prefetch},
        {"experts.routes", s->routes},
        {"experts.start", start},
        {"experts.calibration", "16"},
        {"replication", replication},
    };
    struct arena ar = {0};
    struct run_result r;
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    *ret = rc == 0 ? repro_metric(&r, "mean_itl_ms") : 0;
    arena_release(&ar);
    return rc;
}

static const char *cost_of(struct repro *p, double eff_mem)
{
    return arena_printf(&p->ar, "roofline{eff_mem=%.4f,kernel_us=0,attn_us=0,step_us=0,seq_us=0}", eff_mem);
}

/* The speed in memory is put in: the share of the memory's bandwidth that gives it. Of all experts one is not
 * there, so that weights count with their 4.5 bits. */
static int memory_share(struct repro *p, const struct setting *s, double *ret, struct err *e)
{
    const char *cost = cost_of(p, 1);
    double ms;

    if (!cost) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    if (decode_ms(p, s, cost, "0.9998", "popular", "0", &ms, e) < 0) {
        return e->code;
    }
    *ret = ms * s->in_memory / 1e3;
    return 0;
}

/* Sequences differ much in how many experts they need: their times are averaged. */
#define SEQUENCES 40

static int limited(struct repro *p, const struct setting *s, struct repro_estimate *ms, struct err *e)
{
    const char *share;
    double eff = 1;

    if (memory_share(p, s, &eff, e) < 0 || share_in_memory(p, s, &share, e) < 0) {
        return e->code;
    }
    for (int i = 0; i < SEQUENCES; i++) {
        const char *cost = cost_of(p, eff < 1 ? eff : 1), *replication = arena_printf(&p->ar, "%d", i);
        double one;

        if (!cost || !replication) {
            return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
        }
        if (decode_ms(p, s, cost, share, "empty", replication, &one, e) < 0) {
            return e->code;
        }
        repro_note(ms, one);
    }
    return 0;
}

/* ---- rows ---- */

static const char *label(struct repro *p, const struct setting *s, const char *what)
{
    return arena_printf(&p->ar, "%s, %s", s->label, what);
}

static int rows(struct repro *p, const struct setting *s, const char *memory, struct err *e)
{
    const char *speed = label(p, s, memory), *ratio = label(p, s, "of the speed in memory");
    struct repro_estimate ms = {0};

    if (!speed || !ratio) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    if (limited(p, s, &ms, e) < 0) {
        return e->code;
    }
    double tok_s = 1e3 / repro_mean(&ms);

    return repro_number(p, speed, "tok/s", s->limited, tok_s, 0.15, e) < 0 ||
                   repro_number(p, ratio, "1", s->limited / s->in_memory, tok_s / s->in_memory, 0.15, e) < 0
               ? e->code
               : 0;
}

static int eight_gib(struct repro *p, struct err *e)
{
    return rows(p, &small_21b, "8 GiB", e) < 0 || rows(p, &qwen_30b, "8 GiB", e) < 0 ? e->code : 0;
}

static int one_gib(struct repro *p, struct err *e)
{
    return rows(p, &small_4b, "1 GiB", e);
}

const struct reproduction reproductions_smallthinker[] = {
    {"smallthinker", "SmallThinker, arXiv 2507.20984", "an i9-14900K with 8 GiB of memory", eight_gib},
    {"smallthinker-4b", "SmallThinker, arXiv 2507.20984", "an i9-14900K with 1 GiB of memory", one_gib},
    {NULL, NULL, NULL, NULL},
};
