/* SPDX-License-Identifier: Apache-2.0
 *
 * How tokens are routed to experts: caches of experts over what the latent-factor router makes, beside the
 * same over real models' routes. Shares are in per cent and compared in points. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/reproduce/reproduce.h"
#include "traces/route_stats.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Sequences differ a lot in what they are about, so one draw of a few is points off the mean: so many draws at
 * least, and on until every mean is known to so many points (95 %) or so many draws have been made. */
#define DRAWS      6
#define MOST_DRAWS 48
#define KNOWN_TO   1.25

struct routed {
    const char *spec; /* NULL ends a list */
    uint32_t sequences, tokens; /* of each; 0 tokens = the recording's own */
};

static int lengths_of(const struct routed *w, struct routes *r, uint32_t **ret, struct arena *a, struct err *e)
{
    *ret = arena_calloc(a, w->sequences, sizeof(**ret));
    for (uint32_t i = 0; *ret && i < w->sequences; i++) {
        (*ret)[i] = w->tokens ? w->tokens : routes_length(r, i);
    }
    return *ret ? 0 : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int sample(struct repro *p, const struct routed *w, uint64_t seed, struct route_sample *ret, struct arena *a,
                  struct err *e)
{
    struct routes_env env = {.seed = seed};
    struct routes *r;
    uint32_t *length;
    if (p->progress && p->progress(p->progress_ctx, p->id)) {
        return err_set(e, SIM_E_INTR, "interrupted");
    }
    int rc = routes_open(&r, w->spec, &env, e);
    if (rc < 0) {
        return rc;
    }
    rc = lengths_of(w, r, &length, a, e);
    rc = rc == 0 ? route_sample_take(ret, r, length, w->sequences, a, NULL, NULL, e) : rc;
    routes_close(r);
    return rc;
}

/* Notes `measure(layer, which)` in per cent, mean over layers, into each of `n` estimates, for each draw. */
typedef double (*measure_fn)(const struct route_layer *l, uint32_t which);

static void measure_layers(const struct route_sample *s, measure_fn measure, struct repro_estimate *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        double sum = 0;
        for (uint32_t layer = 0; layer < s->shape.layers; layer++) {
            struct route_layer l = route_sample_layer(s, layer);
            sum += measure(&l, i);
        }
        repro_note(&v[i], 100 * sum / s->shape.layers);
    }
}

static bool known(const struct repro_estimate *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!(repro_half(&v[i]) <= KNOWN_TO)) {
            return false;
        }
    }
    return true;
}

/* From `draws` to `most` draws. */
static int measured(struct repro *p, const struct routed *w, uint32_t draws, uint32_t most, measure_fn measure,
                    struct repro_estimate *v, uint32_t n, struct err *e)
{
    int rc = 0;
    for (uint32_t d = 0; d < most && (d < draws || !known(v, n)) && rc == 0; d++) {
        struct arena a = {0};
        struct route_sample s;
        rc = sample(p, w, d, &s, &a, e);
        if (rc == 0) {
            measure_layers(&s, measure, v, n);
        }
        arena_release(&a);
    }
    return rc;
}

static int points(struct repro *p, const char *model, const char *what, double published, double within,
                  const struct repro_estimate *ours, struct err *e)
{
    const char *row = arena_printf(&p->ar, "%s, %s", model, what);
    return row ? repro_between(p, row, "%", published, published - within, published + within, ours, e)
               : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* A recording in the data folder as a spec, or NULL. */
static const char *recording(struct repro *p, const char *file)
{
    const char *path = p->data ? arena_printf(&p->ar, "%s/moe/%s", p->data, file) : NULL;
    return path && access(path, R_OK) == 0 ? arena_printf(&p->ar, "recorded{file=%s}", path) : NULL;
}

/* ---- the policy study of nine models (moe-speed-of-light): LRU and Belady at an eighth, a quarter and three
 * eighths of the experts, for Mixtral 2, 3 and 4; samples as the routers were fitted ---- */

struct study_row {
    const char *model, *spec;
    double lru[3], belady[3];
};

static const struct study_row study[] = {
    {"OLMoE", "synth{preset=olmoe-1b-7b,layers=2}", {47, 65, 76}, {63, 80, 88}},
    {"gpt-oss-20b", "synth{preset=gpt-oss-20b,layers=2}", {46, 68, 81}, {63, 82, 91}},
    {"Qwen3-30B-A3B", "synth{preset=qwen3-30b-a3b,layers=2}", {61, 81, 91}, {77, 91, 96}},
    {"gpt-oss-120b", "synth{preset=gpt-oss-120b,layers=2}", {63, 80, 89}, {79, 90, 95}},
    {"Mixtral-8x7B", "synth{preset=mixtral-8x7b,layers=2}", {37, 50, 62}, {56, 69, 79}},
    {"DeepSeek-V2-Lite", "synth{preset=deepseek-v2-lite-long,layers=2}", {30, 47, 60}, {52, 70, 80}},
    {"Qwen1.5-MoE", "synth{preset=qwen1.5-moe-a2.7b,layers=2}", {25, 40, 55}, {50, 67, 79}},
    {"Qwen2-57B-A14B", "synth{preset=qwen2-57b-a14b,layers=2}", {31, 46, 58}, {51, 68, 79}},
    {"Phi-3.5-MoE", "synth{preset=phi-3.5-moe,layers=2}", {44, 63, 75}, {59, 77, 87}},
};

#define LRU_WITHIN    3
#define BELADY_WITHIN 5

static double study_hits(const struct route_layer *l, uint32_t which)
{
    uint32_t eighths = which % 3 + (l->experts == 8 ? 2 : 1);
    return route_cache_hits(l, which < 3 ? ROUTE_LRU : ROUTE_BELADY, l->experts * eighths / 8, NULL);
}

static int study_model(struct repro *p, const struct study_row *s, struct err *e)
{
    static const char *const size[] = {"1/8", "1/4", "3/8"}, *const mixtral[] = {"2 of 8", "3 of 8", "4 of 8"};
    struct routed w = {s->spec, 10, 768};
    struct repro_estimate v[6] = {{0}};
    int rc = measured(p, &w, DRAWS, MOST_DRAWS, study_hits, v, 6, e);
    for (uint32_t i = 0; i < 6 && rc == 0; i++) {
        const char *part = (strstr(s->spec, "mixtral") ? mixtral : size)[i % 3];
        const char *what = arena_printf(&p->ar, "%s, %s", i < 3 ? "LRU" : "Belady", part);
        rc = what ? points(p, s->model, what, i < 3 ? s->lru[i] : s->belady[i - 3],
                           i < 3 ? LRU_WITHIN : BELADY_WITHIN, &v[i], e)
                  : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    return rc;
}

static int policy_study(struct repro *p, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < COUNT(study) && rc == 0; i++) {
        rc = study_model(p, &study[i], e);
    }
    return rc;
}

/* ---- local routing consistency (arXiv 2505.16056): 512-token sequences, segments of 16 ---- */

#define CONSISTENCY_WITHIN 4

static double segment_best(const struct route_layer *l, uint32_t which)
{
    (void)which;
    return route_segment_best(l, 16);
}

static int segment_rows(struct repro *p, struct err *e)
{
    static const struct {
        const char *model, *spec;
        double published;
    } rows[] = {
        {"Qwen3-30B-A3B", "synth{preset=qwen3-30b-a3b,layers=2}", 54.1},
        {"OLMoE", "synth{preset=olmoe-1b-7b,layers=2}", 50.9},
        {"Mixtral-8x7B", "synth{preset=mixtral-8x7b,layers=2}", 49},
        {"DeepSeek-V2-Lite", "synth{preset=deepseek-v2-lite-long,layers=2}", 37.9},
    };
    int rc = 0;
    for (size_t i = 0; i < COUNT(rows) && rc == 0; i++) {
        struct routed w = {rows[i].spec, 20, 512};
        struct repro_estimate v = {0};
        rc = measured(p, &w, DRAWS, MOST_DRAWS, segment_best, &v, 1, e);
        rc = rc == 0 ? points(p, rows[i].model, "fixed set", rows[i].published, CONSISTENCY_WITHIN, &v, e) : rc;
    }
    return rc;
}

static int recorded_segment(struct repro *p, struct err *e)
{
    struct routed w = {recording(p, "deepseek_v2_lite_routes.csv.gz"), 400, 0};
    struct repro_estimate v = {0};
    int rc = w.spec ? measured(p, &w, 1, 1, segment_best, &v, 1, e) : 0;
    return rc == 0 ? points(p, "DeepSeek-V2-Lite, its recording", "fixed set", 37.9, CONSISTENCY_WITHIN, &v, e) : rc;
}

/* Hits of a cache that foresees 16 tokens, over those of one that foresees all. */
static double of_optimum(const struct route_layer *l, uint32_t which)
{
    uint32_t capacity = (which + 1) * l->top_k;
    return route_cache_foresight(l, capacity, 16) / route_cache_foresight(l, capacity, 0);
}

static int consistency(struct repro *p, struct err *e)
{
    static const double published[] = {81.0, 90.6, 96.2};
    static const char *const rows[] = {"cache of k", "cache of 2k", "cache of 3k"};
    struct repro_estimate v[3] = {{0}};
    int rc = segment_rows(p, e);
    rc = rc == 0 ? recorded_segment(p, e) : rc;
    for (size_t i = 0; i < COUNT(study) && rc == 0; i++) {
        struct routed w = {study[i].spec, 10, 512};
        rc = measured(p, &w, 2, 2, of_optimum, v, 3, e);
    }
    for (uint32_t i = 0; i < 3 && rc == 0; i++) {
        rc = points(p, "mean over models", rows[i], published[i], CONSISTENCY_WITHIN, &v[i], e);
    }
    return rc;
}

/* ---- HybriMoE: LRU hit rates with a quarter of the experts cached ---- */

#define HYBRIMOE_WITHIN 7

static double quarter_lru(const struct route_layer *l, uint32_t which)
{
    (void)which;
    return route_cache_hits(l, ROUTE_LRU, l->experts / 4, NULL);
}

static int hybrimoe_lru(struct repro *p, struct err *e)
{
    const struct {
        const char *model, *spec;
        double published;
        uint32_t draws, sequences, tokens;
    } rows[] = {
        {"Mixtral-8x7B", "synth{preset=mixtral-8x7b,layers=2}", 30.2, DRAWS, 10, 768},
        {"DeepSeek-V2-Lite", "synth{preset=deepseek-v2-lite-long,layers=2}", 47.7, DRAWS, 10, 768},
        {"Qwen2-57B-A14B", "synth{preset=qwen2-57b-a14b,layers=2}", 45.0, DRAWS, 10, 768},
        {"DeepSeek-V2-Lite, its recording", recording(p, "deepseek_v2_lite_routes.csv.gz"), 47.7, 1, 400, 0},
    };
    int rc = 0;
    for (size_t i = 0; i < COUNT(rows) && rc == 0; i++) {
        struct routed w = {rows[i].spec, rows[i].sequences, rows[i].tokens};
        struct repro_estimate v = {0};
        rc = w.spec ? measured(p, &w, rows[i].draws, rows[i].draws == 1 ? 1 : MOST_DRAWS, quarter_lru, &v, 1, e) : 0;
        rc = rc == 0 ? points(p, rows[i].model, "LRU, a quarter", rows[i].published, HYBRIMOE_WITHIN, &v, e) : rc;
    }
    return rc;
}

const struct reproduction reproductions_routing[] = {
    {"routing-policy-study", "moe-speed-of-light", "hit rates of expert caches, nine models", policy_study},
    {"routing-consistency", "arXiv 2505.16056", "how long experts stay the same", consistency},
    {"hybrimoe-lru", "HybriMoE, DAC'25", "LRU hit rates with a quarter of the experts", hybrimoe_lru},
    {NULL, NULL, NULL, NULL},
};
