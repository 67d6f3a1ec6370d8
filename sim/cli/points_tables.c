/* SPDX-License-Identifier: Apache-2.0
 *
 * Published tables of steady states and static batches: ML.ENERGY's leaderboard, Splitwise's measurements,
 * Argonne's LLM-Inference-Bench. */
#include <math.h>
#include <string.h>

#include "sim/cli/points.h"

/* ---- ML.ENERGY v3: steady state of vLLM with max_num_seqs requests in flight ---- */

enum { ML_TASK, ML_MODEL, ML_DTYPE, ML_GPU, ML_GPUS, ML_SEQS, ML_BATCH, ML_OUTPUT, ML_ITL, ML_RATE };
static const char *const ml_columns[] = {
    "task", "model_id", "weight_precision", "gpu_model", "num_gpus", "max_num_seqs", "avg_batch_size",
    "avg_output_len", "median_itl_ms", "output_throughput_tokens_per_sec", NULL,
};

/* Lengths of prompts are not published. These are guesses from what the tasks are; contexts are mostly
 * output (600 to 30,000 tokens), so the guess moves decode attention by a few per cent. */
static uint32_t ml_prompt(const char *task)
{
    return strcmp(task, "gpqa") == 0 ? 256 : strcmp(task, "lm-arena-chat") == 0 ? 128 : 512;
}

#define ML_ROUNDS 4 /* the first and the last round ramp up and down */

static int ml_row(struct point_row *r, struct point *p, struct err *e)
{
    double itl, rate, batch, output;
    const char *task = point_text(r, ML_TASK), *dtype = point_text(r, ML_DTYPE);

    p->id = arena_printf(r->a, "%s:%s", p->id, task);
    p->model = point_text(r, ML_MODEL);
    p->gpu = point_text(r, ML_GPU);
    p->weight_dtype = strcmp(dtype, "mxfp4") == 0 ? "fp4" : strcmp(dtype, "fp8") == 0 ? "fp8" : "bf16";
    /* Expert parallel without data parallel: attention is split over all GPUs as for TP. */
    if (point_count(r, ML_GPUS, 1, 1024, 1, &p->tp, e) < 0 ||
        point_count(r, ML_SEQS, 1, 1u << 20, 1, &p->concurrency, e) < 0 ||
        point_number(r, ML_BATCH, 0, 1e6, &batch, e) < 0 || point_number(r, ML_OUTPUT, 1, 1e6, &output, e) < 0 ||
        point_number(r, ML_ITL, 0, 1e6, &itl, e) < 0 || point_number(r, ML_RATE, 0, 1e9, &rate, e) < 0) {
        return e->code;
    }
    p->prompt_low = p->prompt_high = ml_prompt(task);
    /* Unequal answers, so that they do not end and start together: the mean is what is published. */
    p->output_low = (uint32_t)fmax(output / 2, 2);
    p->output_high = (uint32_t)fmax(1.5 * output, 2);
    p->requests = ML_ROUNDS * p->concurrency;
    p->note = "prompt lengths are not published: guessed by task; answers spread evenly around the mean";
    p->version = "0.11"; /* ML.ENERGY v3, late 2025 */
    p->batcher = point_batcher("vllm", p->version, 0, p->concurrency, r->a);
    if (strcmp(task, "image-chat") == 0 || strcmp(task, "video-chat") == 0) {
        p->skip = "image and video input";
    }
    point_measure(p, "median_itl_ms", "ms", "median_itl_ms", itl, 1);
    point_measure(p, "ms_per_token", "ms", "e2el_per_token", 1e3 * batch / rate, 1);
    return 0;
}

const struct point_format point_mlenergy = {"ml_energy", ml_columns, ml_row};

/* ---- Splitwise (Mutinifni/splitwise-sim, data/perf_model.csv): static batches ---- */

enum { SW_MODEL, SW_HARDWARE, SW_PROMPT, SW_BATCH, SW_OUTPUT, SW_TTFT, SW_TOKEN, SW_TP };
static const char *const sw_columns[] = {
    "model", "hardware", "prompt_tokens", "batch_size", "output_tokens", "prompt_ms", "token_ms", "tp", NULL,
};

static int sw_row(struct point_row *r, struct point *p, struct err *e)
{
    double prompt, token;

    p->engine = "static";
    p->model = point_text(r, SW_MODEL);
    p->gpu = point_text(r, SW_HARDWARE);
    if (point_lengths(r, p, SW_PROMPT, SW_OUTPUT, 0, e) < 0 ||
        point_count(r, SW_BATCH, 1, 1u << 20, 1, &p->concurrency, e) < 0 ||
        point_count(r, SW_TP, 1, 1024, 1, &p->tp, e) < 0 || point_number(r, SW_TTFT, 0, 1e9, &prompt, e) < 0 ||
        point_number(r, SW_TOKEN, 0, 1e9, &token, e) < 0) {
        return e->code;
    }
    p->requests = p->concurrency;
    p->http = false;
    p->batcher = point_batcher("static", "", 0, p->concurrency, r->a);
    point_measure(p, "prompt_ms", "ms", "mean_ttft_ms", prompt, 1);
    point_measure(p, "token_ms", "ms", "mean_tpot_ms", token, 1);
    return 0;
}

const struct point_format point_splitwise = {"splitwise", sw_columns, sw_row};

/* ---- Argonne: one batch of requests, all sent at once, inputs as long as outputs ---- */

enum { AR_HARDWARE, AR_DEVICES, AR_FRAMEWORK, AR_MODEL, AR_LENGTH, AR_BATCH, AR_LATENCY };
static const char *const ar_columns[] = {
    "hardware", "num_devices", "framework", "model", "in_out_len", "batch", "latency_s", NULL,
};

/* 2024: vLLM V0 with whole prompts first. DeepSpeed runs a batch to its end. */
static const char *ar_engine(const char *framework)
{
    return strcmp(framework, "vLLM") == 0 ? "vllm-v0" : strncmp(framework, "TensorRT", 8) == 0 ? "trtllm" : "static";
}

static int ar_row(struct point_row *r, struct point *p, struct err *e)
{
    double latency;
    uint32_t length;
    const char *gpu = point_text(r, AR_HARDWARE), *engine = ar_engine(point_text(r, AR_FRAMEWORK));

    p->engine = point_text(r, AR_FRAMEWORK);
    p->model = point_text(r, AR_MODEL);
    p->gpu = strstr(gpu, "A100") ? "A100-40GB" : gpu; /* Polaris has those with 40 GB (arXiv 2411.00136) */
    p->weight_dtype = "fp16";
    if (point_count(r, AR_DEVICES, 1, 1024, 1, &p->tp, e) < 0 ||
        point_count(r, AR_LENGTH, 1, 1u << 24, 1, &length, e) < 0 ||
        point_count(r, AR_BATCH, 1, 1u << 20, 1, &p->concurrency, e) < 0 ||
        point_number(r, AR_LATENCY, 0, 1e9, &latency, e) < 0) {
        return e->code;
    }
    p->prompt_low = p->prompt_high = p->output_low = p->output_high = length;
    p->requests = p->concurrency;
    p->http = false;
    p->batcher = point_batcher(engine, "", 0, strcmp(engine, "static") == 0 ? p->concurrency : 0, r->a);
    point_measure(p, "batch_latency_s", "s", "duration", latency, 1);
    return 0;
}

const struct point_format point_argonne = {"argonne", ar_columns, ar_row};
