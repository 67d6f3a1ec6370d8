/* SPDX-License-Identifier: Apache-2.0
 *
 * Summaries of vLLM 0.18 on 8 x H200 (natoscott/benchmarks): closed loops against replicas behind a router,
 * one of replicas by tensor and pipeline parallelism, time to first token by load. And the plain form that
 * anybody can write. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/cli/points.h"

#define ROUNDS 20

/* N requests in flight over `replicas` of which each gets its share: the router is not simulated. */
static int share_out(struct point_row *r, struct point *p, uint32_t total, uint32_t replicas)
{
    p->concurrency = (total + replicas - 1) / replicas;
    p->requests = ROUNDS * p->concurrency;
    if (replicas > 1) {
        p->note = arena_printf(r->a, "%u requests in flight shared out evenly over %u replicas", total, replicas);
    }
    p->batcher = point_batcher("vllm", p->version, 0, 0, r->a);
    return 0;
}

/* "agg TP1 x8 replicas", "single replica TP1 (batch=b)", "disagg TP1 7P+1D" */
static bool topology(const char *text, uint32_t *tp, uint32_t *replicas)
{
    const char *at = strstr(text, "TP"), *times = strstr(text, " x");

    *replicas = 1;
    if (!at || sscanf(at, "TP%u", tp) != 1 || *tp == 0 || *tp > 1024) {
        return false;
    }
    return !times || (sscanf(times, " x%u", replicas) == 1 && *replicas > 0 && *replicas <= 1024);
}

/* ---- concurrency_sweep.csv ---- */

enum { SWEEP_MODEL, SWEEP_PRECISION, SWEEP_TOPOLOGY, SWEEP_ISL, SWEEP_OSL, SWEEP_LOAD, SWEEP_TTFT, SWEEP_ITL };
static const char *const sweep_columns[] = {
    "model", "precision", "topology", "isl", "osl", "concurrency", "ttft_ms", "itl_ms", NULL,
};

static int sweep_row(struct point_row *r, struct point *p, struct err *e)
{
    const char *shape = point_text(r, SWEEP_TOPOLOGY);
    uint32_t load, replicas;
    double ttft, itl;

    p->version = "0.18";
    p->gpu = "H200";
    p->model = point_text(r, SWEEP_MODEL);
    p->weight_dtype = point_text(r, SWEEP_PRECISION);
    if (!topology(shape, &p->tp, &replicas)) {
        return point_bad(r, e, "column 'topology': '%.60s' has no TPn", shape);
    }
    if (point_lengths(r, p, SWEEP_ISL, SWEEP_OSL, POINT_SPREAD, e) < 0 || point_count(r, SWEEP_LOAD, 1, 1u << 20, 1, &load, e) < 0 ||
        point_number(r, SWEEP_TTFT, 0, 1e9, &ttft, e) < 0 || point_number(r, SWEEP_ITL, 0, 1e9, &itl, e) < 0) {
        return e->code;
    }
    share_out(r, p, load, replicas);
    p->skip = strncmp(shape, "disagg", 6) == 0 ? "prefill and decode on separate workers" : NULL;
    point_measure(p, "mean_ttft_ms", "ms", "mean_ttft_ms", ttft, 1);
    point_measure(p, "mean_itl_ms", "ms", "mean_itl_ms", itl, 1);
    return 0;
}

const struct point_format point_sweep = {"h200_sweep", sweep_columns, sweep_row};

/* ---- pipeline_parallel.csv: prompts of 4000, answers of 1000 tokens ---- */

enum { STAGE_CONFIG, STAGE_LOAD, STAGE_TTFT, STAGE_ITL };
static const char *const stage_columns[] = {"config", "concurrency", "ttft_p50_ms", "itl_p50_ms", NULL};

/* "qwen3-32b-fp8-tp2pp4"; the smallest is written 06b */
static int stage_config(struct point_row *r, struct point *p, uint32_t *pp, struct err *e)
{
    char *text = arena_strdup(r->a, point_text(r, STAGE_CONFIG));
    char *at = text ? strstr(text, "-tp") : NULL;

    if (!at || sscanf(at, "-tp%upp%u", &p->tp, pp) != 2 || p->tp == 0 || p->tp > 1024) {
        return point_bad(r, e, "column 'config': '%.60s' does not end with -tpNppN", text ? text : "");
    }
    *at = '\0';
    p->weight_dtype = strstr(text, "fp8") ? "fp8" : "bf16";
    p->model = strstr(text, "-06b") ? "qwen3-0.6b" : text;
    return 0;
}

static int stage_row(struct point_row *r, struct point *p, struct err *e)
{
    uint32_t load, pp = 1;
    double ttft, itl;

    p->version = "0.18";
    p->gpu = "H200";
    p->prompt_low = 3600; /* 4000 and 1000, with POINT_SPREAD */
    p->prompt_high = 4400;
    p->output_low = 900;
    p->output_high = 1100;
    if (stage_config(r, p, &pp, e) < 0 || point_count(r, STAGE_LOAD, 1, 1u << 20, 1, &load, e) < 0 ||
        point_number(r, STAGE_TTFT, 0, 1e9, &ttft, e) < 0 || point_number(r, STAGE_ITL, 0, 1e9, &itl, e) < 0) {
        return e->code;
    }
    share_out(r, p, load, 1);
    p->skip = pp > 1 ? "pipeline parallelism" : NULL;
    point_measure(p, "median_ttft_ms", "ms", "median_ttft_ms", ttft, 1);
    point_measure(p, "median_itl_ms", "ms", "median_itl_ms", itl, 1);
    return 0;
}

const struct point_format point_stages = {"h200_parallel", stage_columns, stage_row};

/* ---- ttft_vs_concurrency.csv: all GPUs of the node, replicas of the TP that the name says ---- */

enum { TTFT_MODEL, TTFT_ISL, TTFT_OSL, TTFT_GPUS, TTFT_LOAD, TTFT_P50 };
static const char *const ttft_columns[] = {"model", "isl", "osl", "gpus", "concurrency", "ttft_p50_ms", NULL};

static int ttft_row(struct point_row *r, struct point *p, struct err *e)
{
    char *model = arena_strdup(r->a, point_text(r, TTFT_MODEL));
    char *tp = model ? strstr(model, "-TP") : NULL;
    uint32_t load, gpus;
    double ttft;

    p->version = "0.18";
    p->gpu = "H200";
    if (tp && (sscanf(tp, "-TP%u", &p->tp) != 1 || p->tp == 0 || p->tp > 1024)) {
        return point_bad(r, e, "column 'model': '%.60s' does not end with -TPn", model);
    }
    if (tp) {
        *tp = '\0';
    }
    p->model = model ? model : "";
    p->weight_dtype = strstr(p->model, "FP8") ? "fp8" : "bf16";
    if (point_lengths(r, p, TTFT_ISL, TTFT_OSL, POINT_SPREAD, e) < 0 || point_count(r, TTFT_GPUS, 1, 1024, 1, &gpus, e) < 0 ||
        point_count(r, TTFT_LOAD, 1, 1u << 20, 1, &load, e) < 0 || point_number(r, TTFT_P50, 0, 1e9, &ttft, e) < 0) {
        return e->code;
    }
    share_out(r, p, load, gpus > p->tp ? gpus / p->tp : 1);
    point_measure(p, "median_ttft_ms", "ms", "median_ttft_ms", ttft, 1);
    return 0;
}

const struct point_format point_ttft = {"h200_ttft", ttft_columns, ttft_row};

/* ---- ttft_vs_poisson_rate.csv ---- */

enum { RATE_MODEL, RATE_TTFT };
static const char *const rate_columns[] = {"model", "ttft_p50_ms", "rate_req_s", NULL};

static int rate_row(struct point_row *r, struct point *p, struct err *e)
{
    double ttft;

    p->version = "0.18";
    p->gpu = "H200";
    p->model = point_text(r, RATE_MODEL);
    p->weight_dtype = "bf16";
    p->skip = "lengths and number of replicas are not given";
    if (point_number(r, RATE_TTFT, 0, 1e9, &ttft, e) < 0) {
        return e->code;
    }
    point_measure(p, "median_ttft_ms", "ms", "median_ttft_ms", ttft, 1);
    return 0;
}

const struct point_format point_rate = {"h200_rate", rate_columns, rate_row};

/* ---- the plain form ---- */

enum {
    PLAIN_GPU, PLAIN_MODEL, PLAIN_PROMPT, PLAIN_OUTPUT, PLAIN_LOAD, PLAIN_ENGINE, PLAIN_VERSION, PLAIN_TP,
    PLAIN_DTYPE, PLAIN_REQUESTS, PLAIN_TTFT, PLAIN_TPOT, PLAIN_E2E
};
static const char *const plain_columns[] = {
    "gpu", "model", "prompt_tokens", "output_tokens", "concurrency", "?engine", "?version", "?tp",
    "?weight_dtype", "?requests", "?mean_ttft_ms", "?mean_tpot_ms", "?mean_e2el_ms", NULL,
};

static int plain_measures(struct point_row *r, struct point *p, struct err *e)
{
    static const char *const name[] = {"mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms"};

    for (int i = 0; i < 3; i++) {
        double v;

        if (point_number(r, PLAIN_TTFT + i, 0, 1e12, &v, e) < 0) {
            return e->code;
        }
        point_measure(p, name[i], "ms", name[i], v, 1);
    }
    return p->n_measures > 0 ? 0 : point_bad(r, e, "no mean_ttft_ms, mean_tpot_ms or mean_e2el_ms: nothing is measured");
}

static int plain_row(struct point_row *r, struct point *p, struct err *e)
{
    const char *engine = point_text(r, PLAIN_ENGINE), *dtype = point_text(r, PLAIN_DTYPE);

    p->set = "points";
    p->gpu = point_text(r, PLAIN_GPU);
    p->model = point_text(r, PLAIN_MODEL);
    p->engine = *engine ? engine : "vllm";
    p->version = point_text(r, PLAIN_VERSION);
    p->weight_dtype = *dtype ? dtype : NULL;
    if (point_lengths(r, p, PLAIN_PROMPT, PLAIN_OUTPUT, 0, e) < 0 || point_count(r, PLAIN_TP, 1, 1024, 1, &p->tp, e) < 0 ||
        point_count(r, PLAIN_LOAD, 1, 1u << 20, 1, &p->concurrency, e) < 0 ||
        point_count(r, PLAIN_REQUESTS, 1, 1u << 30, ROUNDS * p->concurrency, &p->requests, e) < 0 ||
        plain_measures(r, p, e) < 0) {
        return e->code;
    }
    p->batcher = point_batcher(p->engine, p->version, 0, 0, r->a);
    if (!p->batcher) {
        return point_bad(r, e, "engine '%.40s' is not known (vllm, vllm-v0, sglang, trtllm, static)", p->engine);
    }
    return 0;
}

const struct point_format point_plain = {"points", plain_columns, plain_row};
