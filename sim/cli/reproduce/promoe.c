/* SPDX-License-Identifier: Apache-2.0
 *
 * ProMoE (arXiv 2410.22134), figure 11b: tokens a second of llama.cpp on an RTX 4090, one ShareGPT request at a
 * time, with experts that do not all fit. Nothing here is fitted to a published speed. */
#include "models/gpu.h"
#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The paper does not state how many experts are kept. What a card holds is taken to be full: beside the weights
 * that always stay, 4096 tokens of KV (the longest context of DeepSeekMoE) and 1 GiB for the CUDA context, cuBLAS
 * and buffers of activations. */
#define CONTEXT_TOK 4096
#define RESERVED    1073741824.0

struct model {
    const char *label, *name, *routes;
    double promoe, lru, fixed; /* published, tokens a second */
};

/* DeepSeekMoE-16B has experts as DeepSeek-V2-Lite has (64 of 1408, 6 at a time, trained by the same rules), and
 * no statistics of its own routing are known to us. */
static const struct model model[] = {
    {"DeepSeekMoE-16B", "deepseek-moe-16b", "synth{preset=deepseek-v2-lite}", 41.9, 38.9, 24.6},
    {"DeepSeek-V2-Lite", "deepseek-v2-lite", "synth", 50.2, 46.2, 28.2},
    {"Qwen1.5-MoE", "qwen1.5-moe-a2.7b", "synth", 67.5, 60.0, 47.6},
};

static int cache_rate(struct repro *p, const struct model *m, double *ret, struct err *e)
{
    const char *dir = steelyard_data_dir(NULL, &p->ar);
    struct gpu_profile g;
    struct llm_shape s;

    if (llm_load(&s, m->name, dir, NULL, NULL, &p->ar, e) < 0 || gpu_load(&g, "rtx-4090", dir, &p->ar, e) < 0) {
        return e->code;
    }
    double experts = llm_layer(&s).expert * s.experts * llm_moe_layers(&s) * dtype_bytes(s.weight_dtype);
    double always = llm_weight_bytes(&s) - experts + CONTEXT_TOK * llm_kv_bytes_per_tok(&s) + RESERVED;

    *ret = (g.mem_bytes - always) / experts;
    return 0;
}

/* ---- one system, one model ---- */

enum { PROMOE, LRU, FIXED, SYSTEMS };

/* Without ProMoE llama.cpp meets a missing expert when it comes to it: copies and kernels follow one another.
 * The fixed set of "static" is no better than any other: with half of the experts kept half of the bytes move
 * (section 2.2), so its routes are uniform. */
static const struct system {
    const char *label, *evict, *prefetch, *pieces, *overlap, *routes;
} system_of[SYSTEMS] = {
    {"ProMoE", "lru", "stride", "3", "on", NULL},
    {"LRU", "lru", "none", "1", "off", NULL},
    {"static", "static", "none", "1", "off", "uniform"},
};

#define RUNS 3
static const char *const replication[RUNS] = {"0", "1", "2"};

struct numbers {
    struct repro_estimate tok_s, good;
};

static int one(struct repro *p, const struct model *m, const char *rate, const struct system *s, const char *rep,
               struct numbers *ret, struct err *e)
{
    const struct repro_key key[] = {
        {"trace", "synth:sharegpt{requests=12}"},
        {"model", m->name},
        {"gpu", "rtx-4090"},
        {"policy", "fcfs"},
        {"batcher", "vllm-v1{async=off}"},
        {"load.concurrency", "1"},
        {"kv.tokens", "4096"},
        {"executor", "layers"},
        {"experts.rate", rate},
        {"experts.link", "23e9"}, /* achieved, section 2.2 */
        {"experts.routes", s->routes ? s->routes : m->routes},
        {"experts.evict", s->evict},
        {"experts.prefetch", s->prefetch},
        {"experts.pieces", s->pieces},
        {"experts.overlap", s->overlap},
        {"replication", rep},
    };
    struct arena ar = {0};
    struct run_result r;
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        repro_note(&ret->tok_s, 1e3 / repro_metric(&r, "mean_itl_ms"));
        repro_note(&ret->good, repro_metric(&r, "prefetch_good"));
    }
    arena_release(&ar);
    return rc;
}

static const char *rate_of(struct repro *p, const struct model *m, struct err *e)
{
    double rate;

    if (cache_rate(p, m, &rate, e) < 0) {
        return NULL;
    }
    const char *text = arena_printf(&p->ar, "%.3f", rate);

    if (!text) {
        err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    return text;
}

static int all_systems(struct repro *p, const struct model *m, struct numbers n[SYSTEMS], struct err *e)
{
    const char *rate = rate_of(p, m, e);
    int rc = rate ? 0 : e->code;

    for (size_t s = 0; s < SYSTEMS && rc == 0; s++) {
        n[s] = (struct numbers){0};
        for (size_t r = 0; r < RUNS && rc == 0; r++) {
            rc = one(p, m, rate, &system_of[s], replication[r], &n[s], e);
        }
    }
    return rc;
}

/* ---- rows ---- */

static const char *label(struct repro *p, const struct model *m, const char *what)
{
    return arena_printf(&p->ar, "%s, %s", m->label, what);
}

static int speed_rows(struct repro *p, const struct model *m, const struct numbers n[SYSTEMS], struct err *e)
{
    const double published[SYSTEMS] = {m->promoe, m->lru, m->fixed};
    int rc = 0;

    for (size_t s = 0; s < SYSTEMS && rc == 0; s++) {
        const char *row = label(p, m, system_of[s].label);

        rc = row ? repro_value(p, row, "tok/s", published[s], &n[s].tok_s, 0.15, e)
                 : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    return rc;
}

static int gain_row(struct repro *p, const struct model *m, const struct numbers n[SYSTEMS], struct err *e)
{
    const char *row = label(p, m, "ProMoE over LRU");
    double published = 100 * (m->promoe / m->lru - 1);
    struct repro_estimate v = {0};

    repro_note(&v, 100 * (repro_mean(&n[PROMOE].tok_s) / repro_mean(&n[LRU].tok_s) - 1));
    return row ? repro_between(p, row, "%", published, published - 5, published + 5, &v, e)
               : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int speeds(struct repro *p, struct err *e)
{
    struct numbers n[COUNT(model)][SYSTEMS];

    for (size_t i = 0; i < COUNT(model); i++) {
        if (all_systems(p, &model[i], n[i], e) < 0 || gain_row(p, &model[i], n[i], e) < 0) {
            return e->code;
        }
    }
    for (size_t i = 0; i < COUNT(model); i++) {
        if (speed_rows(p, &model[i], n[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* GoodPred = accuracy x share fetched in time (4.1): by token id for the whole step, by the next layer's gate,
 * learned; figure 8's average accuracies. */
static int good_pred(struct repro *p, struct err *e)
{
    static const char *const predictor[] = {"path{recall=0.583}", "next-gate{recall=0.669}", "stride"};
    double good[COUNT(predictor)];
    const char *rate = rate_of(p, &model[0], e);

    if (!rate) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(predictor); i++) {
        struct system s = system_of[PROMOE];
        struct numbers n = {0};

        s.prefetch = predictor[i];
        if (one(p, &model[0], rate, &s, "0", &n, e) < 0) {
            return e->code;
        }
        good[i] = repro_mean(&n.good);
    }
    return repro_order(p, "GoodPred: by token id < by the next gate < learned", good, COUNT(good), e);
}

const struct reproduction reproductions_promoe[] = {
    {"promoe-speed", "ProMoE, arXiv 2410.22134", "figure 11b: tokens a second on an RTX 4090, ProMoE beside LRU and static", speeds},
    {"promoe-goodpred", "ProMoE, arXiv 2410.22134", "which predictor fetches the most right ones in time", good_pred},
    {NULL, NULL, NULL, NULL},
};
