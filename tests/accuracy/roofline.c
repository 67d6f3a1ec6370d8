/* SPDX-License-Identifier: Apache-2.0
 *
 * How far the roofline with its default options is from public measurements: prints the tables of
 * models/README.md. Usage: roofline_check MODELS_DIR DATA_DIR (the folder with groundtruth/). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "sim/core/json.h"

#define MAX_FIELDS 16
#define MAX_GROUPS 64

struct setup {
    struct arena arena;
    struct err err;
    struct llm_shape llm;
    struct gpu_profile gpu;
    const struct cost_ops *ops;
    void *state;
    uint32_t tp;
};

/* Log ratios measured/predicted of one group of rows. */
struct group {
    char key[120];
    double sum, sum_abs, low, high;
    int n;
};

struct groups {
    struct group g[MAX_GROUPS];
    int n;
};

static int setup_open(struct setup *s, const char *models, const char *llm, const char *gpu, uint32_t tp)
{
    *s = (struct setup){.ops = cost_find("roofline"), .tp = tp};
    if (llm_load(&s->llm, llm, models, NULL, NULL, &s->arena, &s->err) != 0 ||
        gpu_load(&s->gpu, gpu, models, &s->arena, &s->err) != 0) {
        return -1;
    }
    struct cost_env env = {.llm = &s->llm, .gpu = &s->gpu, .tp = tp, .arena = &s->arena};
    s->state = arena_alloc(&s->arena, s->ops->state_size);
    if (opt_spec_apply("roofline", s->ops->options, s->state, &s->arena, &s->err) != 0) {
        return -1;
    }
    return s->ops->init(s->state, &env, &s->err);
}

static double prefill_ms(const struct setup *s, uint64_t len, uint32_t batch)
{
    struct batch_shape b = {.n_prefill = batch, .prefill_tok = batch * len,
                            .prefill_ctx_tok = batch * len, .prefill_pairs = batch * len * (len + 1) / 2,
                            .prefill_sq = batch * len * len, .prefill_done = batch};
    struct cost_affine r;
    s->ops->iteration(s->state, &b, &r);
    return (double)r.base / SIM_TICKS_PER_NS / 1e6;
}

/* All decode steps of a static batch: `steps` of them, the first over len + 1 tokens each. */
static double decode_ms(const struct setup *s, uint64_t len, uint32_t batch, uint64_t steps)
{
    double sum = 0;
    for (uint64_t k = 0; k < steps; k++) {
        struct batch_shape b = {.n_decode = batch, .decode_ctx_tok = batch * (len + 1 + k)};
        struct cost_affine r;
        s->ops->iteration(s->state, &b, &r);
        sum += (double)r.base / SIM_TICKS_PER_NS / 1e6;
    }
    return sum;
}

static void note(struct groups *gs, const char *key, double measured, double predicted)
{
    int i = 0;
    while (i < gs->n && strcmp(gs->g[i].key, key) != 0) {
        i++;
    }
    if (i == MAX_GROUPS) {
        return;
    }
    struct group *g = &gs->g[i];
    double r = log(measured / predicted);
    if (i == gs->n) {
        *g = (struct group){.low = r, .high = r};
        snprintf(g->key, sizeof(g->key), "%s", key);
        gs->n++;
    }
    g->sum += r;
    g->sum_abs += fabs(r);
    g->low = fmin(g->low, r);
    g->high = fmax(g->high, r);
    g->n++;
}

static void print_groups(const struct groups *gs, const char *title)
{
    printf("\n| %s | rows | measured / predicted, geometric mean | range | mean factor off |\n", title);
    puts("|---|---|---|---|---|");
    for (int i = 0; i < gs->n; i++) {
        const struct group *g = &gs->g[i];
        printf("| %s | %d | %.2f | %.2f .. %.2f | %.2f |\n", g->key, g->n, exp(g->sum / g->n),
               exp(g->low), exp(g->high), exp(g->sum_abs / g->n));
    }
}

/* In place; plain CSV without quotes. */
static int split(char *line, char *f[MAX_FIELDS])
{
    int n = 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *p = line; p && n < MAX_FIELDS; n++) {
        f[n] = p;
        p = strchr(p, ',');
        if (p) {
            *p++ = '\0';
        }
    }
    return n;
}

static void splitwise_row(char **f, const char *models, struct groups *prompt, struct groups *token)
{
    const char *gpu = strcmp(f[1], "h100-80gb") == 0 ? "h100" : "a100-80g";
    struct setup s;
    uint32_t tp = (uint32_t)atoi(f[10]), batch = (uint32_t)atoi(f[3]);
    uint64_t len = (uint64_t)atoll(f[2]), out = (uint64_t)atoll(f[4]);
    if (strcmp(f[0], "llama2-70b") == 0 && setup_open(&s, models, "llama-2-70b", gpu, tp) == 0) {
        char key[120];
        snprintf(key, sizeof(key), "%s, TP%u, %s", f[1], tp, batch > 1 ? "batch 2 to 64" : "batch 1");
        note(prompt, key, atof(f[7]), prefill_ms(&s, len, batch));
        note(token, key, atof(f[8]), decode_ms(&s, len, batch, out) / (double)out);
        arena_release(&s.arena);
    }
}

/* Rows of vLLM on NVIDIA; those whose KV does not fit at once are left out (they run in waves). */
static void argonne_row(char **f, const char *models, struct groups *gs)
{
    bool h100 = strcmp(f[0], "Nvidia H100 GPU") == 0;
    if (strcmp(f[2], "vLLM") != 0 || (!h100 && strcmp(f[0], "Nvidia A100 GPU") != 0)) {
        return;
    }
    static const char *const names[][2] = {
        {"meta-llama/Llama-2-7b-hf", "llama-2-7b"},   {"meta-llama/Llama-2-70b-hf", "llama-2-70b"},
        {"meta-llama/Meta-Llama-3-8B", "llama-3-8b"}, {"mistralai/Mistral-7B-v0.1", "mistral-7b"},
        {"mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct setup s;
        uint32_t tp = (uint32_t)atoi(f[1]), batch = (uint32_t)atoi(f[5]);
        uint64_t len = (uint64_t)atoll(f[4]);
        int64_t room = 0;
        if (strcmp(f[3], names[i][0]) != 0 ||
            setup_open(&s, models, names[i][1], h100 ? "h100" : "a100-40g", tp) != 0) {
            continue;
        }
        if (gpu_kv_tokens(&s.gpu, &s.llm, tp, 0.9, 8192, 16, &room, &s.err) == 0 &&
            (uint64_t)room >= 2 * len * batch) {
            char key[120];
            snprintf(key, sizeof(key), "%s, %s, TP%u", h100 ? "H100" : "A100-40G", names[i][1], tp);
            note(gs, key, atof(f[6]) * 1e3, prefill_ms(&s, len, batch) + decode_ms(&s, len, batch, len - 1));
        }
        arena_release(&s.arena);
    }
}

static double num(const cJSON *o, const char *a, const char *b)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, a);
    v = b ? cJSON_GetObjectItemCaseSensitive(v, b) : v;
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

/* One load stage: by Little's law rate * latency sequences run at a time, each half through its output
 * on average; the decode step of that batch against (latency - TTFT) / (output - 1). Prompts repeat, so
 * their prefill is cached and hardly disturbs. Stages with failed requests are left out. */
static void served_stage(const cJSON *run, const cJSON *stage, const struct setup *s, struct groups *gs)
{
    double out = num(run, "requested_output_len", NULL);
    double prompt = num(run, "prefix", "system_prompt_tokens") + num(run, "prefix", "question_tokens");
    double e2e = num(stage, "e2e_s", "mean"), ttft = num(stage, "ttft_s", "mean");
    double running = num(stage, "req_per_s", NULL) * e2e;
    if (num(stage, "failed", NULL) > 0 || running < 1 || out < 2) {
        return;
    }
    char key[120];
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(run, "run");
    snprintf(key, sizeof(key), "%s, %.1f running", cJSON_IsString(name) ? name->valuestring + 16 : "?", running);
    note(gs, key, (e2e - ttft) / (out - 1) * 1e3,
         decode_ms(s, (uint64_t)(prompt + out / 2), (uint32_t)(running + 0.5), 1));
}

static int served_runs(const char *models, const char *data, struct groups *gs)
{
    char path[600];
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/groundtruth/inference_sim_h100/runs.json", data);
    cJSON *root = json_parse_file(path, &e);
    for (const cJSON *run = root ? root->child : NULL; run; run = run->next) {
        const cJSON *model = cJSON_GetObjectItemCaseSensitive(run, "model");
        const char *id = cJSON_IsString(model) ? model->valuestring : "";
        const char *llm = strstr(id, "Mixtral") ? "mixtral-8x7b" : strstr(id, "34b") ? "codellama-34b" : id;
        struct setup s;
        if (setup_open(&s, models, llm, "h100", (uint32_t)num(run, "tp", NULL)) == 0) {
            const cJSON *measured = cJSON_GetObjectItemCaseSensitive(run, "measured");
            for (const cJSON *st = measured ? measured->child : NULL; st; st = st->next) {
                if (strncmp(st->string, "stage_", 6) == 0) {
                    served_stage(run, st, &s, gs);
                }
            }
        }
        arena_release(&s.arena);
    }
    int rc = root ? 0 : -1;
    cJSON_Delete(root);
    return rc;
}

static int each_row(const char *data, const char *file, char line[512], gzFile *in)
{
    char path[600];
    if (!*in) {
        snprintf(path, sizeof(path), "%s/groundtruth/%s", data, file);
        *in = gzopen(path, "rb");
        if (!*in || !gzgets(*in, line, 512)) {
            fprintf(stderr, "%s: cannot be read\n", path);
            return 0;
        }
    }
    return gzgets(*in, line, 512) != NULL;
}

int main(int argc, char **argv)
{
    static struct groups prompt, token, argonne, served;
    char line[512];
    char *f[MAX_FIELDS];
    gzFile in = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODELS_DIR DATA_DIR\n", argv[0]);
        return 2;
    }
    while (each_row(argv[2], "splitwise_perf/perf_model.csv.gz", line, &in)) {
        if (split(line, f) == 11) {
            splitwise_row(f, argv[1], &prompt, &token);
        }
    }
    if (!in) {
        return 5;
    }
    gzclose(in);
    in = NULL;
    while (each_row(argv[2], "argonne_inference_bench/results.csv.gz", line, &in)) {
        if (split(line, f) == 8) {
            argonne_row(f, argv[1], &argonne);
        }
    }
    if (!in) {
        return 5;
    }
    gzclose(in);
    if (served_runs(argv[1], argv[2], &served) != 0) {
        return 5;
    }
    print_groups(&served, "vLLM 0.15.1 on H100, open loop: TPOT");
    print_groups(&prompt, "Splitwise, Llama-2-70B: prompt time");
    print_groups(&token, "Splitwise, Llama-2-70B: time per token");
    print_groups(&argonne, "LLM-Inference-Bench, vLLM: whole static batch");
    return 0;
}
