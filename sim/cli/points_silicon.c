/* SPDX-License-Identifier: Apache-2.0
 *
 * Closed-loop runs of many engines that AIConfigurator collects (ai-dynamo/aiconfigurator, silicon_sample.csv). Most
 * come from InferenceMAX, whose client is public: benchmark_serving.py with random lengths in
 * [0.8 L, L], ten times as many prompts as requests in flight, no prefix caching, a budget of 8192 tokens
 * for vLLM. The others (the collector's own runs) have lengths as given. */
#include <math.h>
#include <string.h>

#include "sim/cli/points.h"

enum {
    ID, ORIGIN, BACKEND, VERSION, MODEL, SYSTEM, PRECISION, MODE, ISL, OSL, CONCURRENCY, GEMM, TP, PP, DP,
    EP, TTFT, TPOT
};
static const char *const columns[] = {
    "id", "origin", "backend", "backend_version", "model_path", "system", "precision", "mode", "isl", "osl",
    "concurrency", "gemm_quant_mode", "tp_size", "pp_size", "attention_dp_size", "moe_ep_size",
    "silicon_ttft_ms", "silicon_tpot_ms", NULL,
};

#define LOW_SHARE 0.8 /* InferenceMAX: --random-range-ratio */
#define ROUNDS    10  /* and --num-prompts = 10 * --max-concurrency */
#define BUDGET    8192

/* Weights: the precision of the matrix products where the table names it. */
static const char *dtype_of(const char *gemm, const char *precision)
{
    const char *said = *gemm ? gemm : precision;

    return strstr(said, "fp8") ? "fp8" : strstr(said, "fp4") ? "fp4" : strstr(said, "int4") ? "int4" : "bf16";
}

/* InferenceMAX: shares LOW_SHARE to 1 of the nominal lengths. */
static int lengths(struct point_row *r, struct point *p, bool inferencemax, struct err *e)
{
    if (point_lengths(r, p, ISL, OSL, inferencemax ? 0 : POINT_SPREAD, e) < 0) {
        return e->code;
    }
    if (inferencemax) {
        p->prompt_low = (uint32_t)fmax(1, LOW_SHARE * p->prompt_high);
        p->output_low = (uint32_t)fmax(1, LOW_SHARE * p->output_high);
    }
    return 0;
}

static const char *left_out(struct point_row *r, const struct point *p, uint32_t pp, uint32_t dp)
{
    if (strcmp(point_text(r, MODE), "agg") != 0) {
        return "prefill and decode on separate workers";
    }
    if (pp > 1) {
        return "pipeline parallelism";
    }
    if (dp > 1) {
        return "data-parallel attention";
    }
    if (p->concurrency == 0) {
        return "number of requests in flight is not given";
    }
    return p->tp == 0 ? "tensor-parallel degree is not given" : NULL;
}

static int read_row(struct point_row *r, struct point *p, struct err *e)
{
    bool inferencemax = strncmp(point_text(r, ORIGIN), "InferenceMAX", 12) == 0;
    bool vllm = strcmp(point_text(r, BACKEND), "vllm") == 0;
    double ttft, tpot;
    uint32_t pp, dp;

    p->id = arena_printf(r->a, "silicon:%s", point_text(r, ID));
    p->engine = point_text(r, BACKEND);
    p->version = point_text(r, VERSION);
    p->gpu = point_text(r, SYSTEM);
    p->model = point_text(r, MODEL);
    p->weight_dtype = dtype_of(point_text(r, GEMM), point_text(r, PRECISION));
    if (lengths(r, p, inferencemax, e) < 0 || point_count(r, TP, 0, 1024, 0, &p->tp, e) < 0 ||
        point_count(r, PP, 0, 1024, 1, &pp, e) < 0 || point_count(r, DP, 0, 1024, 1, &dp, e) < 0 ||
        point_count(r, CONCURRENCY, 1, 1u << 20, 0, &p->concurrency, e) < 0 ||
        point_number(r, TTFT, 0, 1e9, &ttft, e) < 0 || point_number(r, TPOT, 0, 1e9, &tpot, e) < 0) {
        return e->code;
    }
    p->requests = ROUNDS * p->concurrency;
    p->greedy = inferencemax; /* its client sends temperature 0 */
    p->skip = left_out(r, p, pp, dp);
    p->batcher = point_batcher(p->engine, p->version, inferencemax && vllm ? BUDGET : 0, 0, r->a);
    point_measure(p, "mean_ttft_ms", "ms", "mean_ttft_ms", ttft, 1);
    point_measure(p, "mean_tpot_ms", "ms", "mean_tpot_ms", tpot, 1);
    return 0;
}

const struct point_format point_silicon = {"silicon", columns, read_row};
