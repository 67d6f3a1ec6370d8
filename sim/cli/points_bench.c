/* SPDX-License-Identifier: Apache-2.0
 *
 * Result of `vllm bench serve --save-result`: settings of the load and means (engines.md 5.1). With
 * --save-detailed the file holds every request and is a trace; without, it is one measured point. */
#include <math.h>
#include <string.h>

#include "sim/cli/points.h"
#include "sim/core/json.h"

static double number_of(const cJSON *o, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

    return cJSON_IsNumber(v) ? v->valuedouble : (double)NAN;
}

static const char *text_of(const cJSON *o, const char *key, struct arena *a)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    const char *s = cJSON_IsString(v) ? arena_strdup(a, v->valuestring) : NULL;

    return s ? s : "";
}

static bool within(double v, double low, double high)
{
    return v >= low && v <= high; /* false for NaN */
}

/* Lengths: only sums are known. */
static int lengths(struct point *p, const cJSON *o, double n, const char *name, struct err *e)
{
    double in = number_of(o, "total_input_tokens") / n, out = number_of(o, "total_output_tokens") / n;

    if (!within(in, 0.5, 1e7) || !within(out, 0.5, 1e7)) {
        return err_set(e, SIM_E_DATA, "%s: no mean lengths: total_input_tokens and total_output_tokens over completed "
                       "give %g and %g", name, in, out);
    }
    p->prompt_low = (uint32_t)fmax(1, round((1 - POINT_SPREAD) * in));
    p->prompt_high = (uint32_t)fmax(1, round((1 + POINT_SPREAD) * in));
    p->output_low = (uint32_t)fmax(1, round((1 - POINT_SPREAD) * out));
    p->output_high = (uint32_t)fmax(1, round((1 + POINT_SPREAD) * out));
    return 0;
}

static void load(struct point *p, const cJSON *o)
{
    double rate = number_of(o, "request_rate"), flight = number_of(o, "max_concurrency");

    p->concurrency = within(flight, 1, 1u << 20) ? (uint32_t)flight : 0;
    p->rate = within(rate, 1e-6, 1e9) ? rate : 0; /* "inf" is a text */
}

static void measures(struct point *p, const cJSON *o)
{
    static const char *const names[] = {"mean_ttft_ms", "mean_tpot_ms", "median_ttft_ms", "p99_ttft_ms",
                                        "median_tpot_ms", "p99_tpot_ms", "mean_e2el_ms", "p99_e2el_ms"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        point_measure(p, names[i], "ms", names[i], number_of(o, names[i]), 1);
    }
    point_measure(p, "output_throughput", "tok/s", "output_throughput", number_of(o, "output_throughput"), 1);
}

static int read_object(struct point_list *ret, const cJSON *o, const char *name, struct arena *a, struct err *e)
{
    double n = number_of(o, "completed");
    struct point p = {.set = "vllm bench serve", .id = name, .engine = "vllm", .version = "", .gpu = "", .tp = 1,
                      .http = true, .greedy = true};

    if (!within(n, 1, 1e9)) {
        return err_set(e, SIM_E_DATA, "%s: no request was completed", name);
    }
    p.requests = (uint32_t)n;
    p.model = text_of(o, "model_id", a);
    p.batcher = point_batcher("vllm", "0.19", 0, 0, a);
    p.note = "no --save-detailed: lengths are drawn within a tenth of their means; vLLM's newest rules, greedy "
             "(--batcher, --set engine.sampling=... say otherwise)";
    if (lengths(&p, o, n, name, e) < 0) {
        return e->code;
    }
    load(&p, o);
    measures(&p, o);
    if (p.n_measures == 0) {
        return err_set(e, SIM_E_DATA, "%s: holds no mean_ttft_ms or mean_tpot_ms: nothing to compare with", name);
    }
    return point_add(ret, &p, e);
}

int point_list_bench(struct point_list *ret, const char *text, size_t len, const char *name, struct arena *a,
                     struct err *e)
{
    cJSON *o = json_parse(text, len, name, e);
    int rc = 0;

    memset(ret, 0, sizeof(*ret));
    if (!o) {
        *e = (struct err){0}; /* the trace's reader says what is wrong with it */
        return 0;
    }
    if (cJSON_IsObject(o) && cJSON_GetObjectItemCaseSensitive(o, "total_input_tokens") &&
        !cJSON_GetObjectItemCaseSensitive(o, "input_lens")) {
        ret->format = "vllm bench serve";
        rc = read_object(ret, o, name, a, e) < 0 ? e->code : 1;
    }
    cJSON_Delete(o);
    if (rc < 0) {
        point_list_release(ret);
    }
    return rc;
}
