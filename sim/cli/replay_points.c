/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/replay_points.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/replay_meta.h"
#include "sim/core/json.h"
#include "sim/results/output.h"

static const char *const cost_names[POINT_COSTS] = {"table", "roofline"};

/* ---- one point ---- */

/* What the user has set for a key; NULL = nothing. */
static const char *said(const struct point_settings *s, const char *key)
{
    size_t n = strlen(key);

    for (size_t i = s->args->n_set; i > 0; i--) {
        if (strncmp(s->args->set[i - 1], key, n) == 0 && s->args->set[i - 1][n] == '=') {
            return s->args->set[i - 1] + n + 1;
        }
    }
    return NULL;
}

static const char *dtype_said(const struct point *p)
{
    return p->weight_dtype ? p->weight_dtype : "auto";
}

/* Kernel tables are of vLLM's kernels: other engines have others. */
static const char *find_profile(const struct point_result *r, const struct point_settings *s,
                                const char **ret_why, struct arena *a)
{
    const struct point *p = r->point;
    const char *path;

    *ret_why = NULL;
    if (!s->profiles) {
        *ret_why = "no profiles are given";
        return NULL;
    }
    if (strncasecmp(p->engine, "vllm", 4) != 0 && strcmp(p->engine, "static") != 0) {
        *ret_why = "no kernel tables of this engine";
        return NULL;
    }
    path = arena_printf(a, "%s/%s_%s_tp%u_%s.json", s->profiles, r->gpu, r->model, p->tp, dtype_said(p));
    if (!path || access(path, R_OK) != 0) {
        *ret_why = "no profile of it";
        return NULL;
    }
    return path;
}

static const char *range(uint32_t low, uint32_t high, struct arena *a)
{
    return low == high ? arena_printf(a, "%u", low) : arena_printf(a, "%u..%u", low, high);
}

static int give(struct config_args *args, const char *key, const char *value, struct arena *a, struct err *e)
{
    if (!value) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return config_args_add(args, "the measured point", key, value, a, e);
}

/* A closed loop: all requests are there at once (a nanosecond apart), as many as were in flight are let in. */
static int give_load(struct config_args *args, const struct point *p, struct arena *a, struct err *e)
{
    const char *prompt = range(p->prompt_low, p->prompt_high, a), *output = range(p->output_low, p->output_high, a);
    const char *process = p->rate > 0 ? "poisson" : "uniform";
    const char *trace = prompt && output ? arena_printf(a, "synth:%s{rates=%g,requests=%u,prompt=%s,output=%s}", process,
                                                        p->rate > 0 ? p->rate : 1e9, p->requests, prompt, output) : NULL;

    if (give(args, "trace", trace, a, e) < 0) {
        return e->code;
    }
    return p->concurrency == 0 ? 0 : give(args, "load.concurrency", arena_printf(a, "%u", p->concurrency), a, e);
}

/* Host time of a step that nothing hides, beyond what the cost models count (0.2 ms): vLLM V1 without async
 * scheduling waits for about 0.9 ms (0.6 to 1.2), V0 had gaps of 4 ms (engines.md 1.8). */
static const char *bare_host_time(const struct point *p)
{
    return strncmp(p->batcher, "vllm-v1{version=0.13", 20) == 0 ? "0.7ms"
           : strncmp(p->batcher, "vllm-v0", 7) == 0             ? "3.8ms"
                                                                : NULL;
}

/* Only vLLM's own sampler sorts; the other engines have kernels without a sort, which count as plain. */
static const char *sampling(const struct point_result *r)
{
    const struct point *p = r->point;

    return p->http && !p->greedy && strcmp(p->engine, "vllm") == 0 ? replay_sampling(r->model, p->version) : NULL;
}

static int settings_of(struct config_args *args, const struct point_result *r, const struct point_settings *s,
                       const char *cost, struct arena *a, struct err *e)
{
    const struct point *p = r->point;

    if (give_load(args, p, a, e) < 0 || give(args, "gpu", r->gpu, a, e) < 0 ||
        give(args, "model", r->model, a, e) < 0 || give(args, "tp", arena_printf(a, "%u", p->tp), a, e) < 0 ||
        give(args, "batcher", p->batcher, a, e) < 0 || give(args, "cost", cost, a, e) < 0 ||
        (p->weight_dtype && give(args, "weight_dtype", p->weight_dtype, a, e) < 0) ||
        (bare_host_time(p) && give(args, "engine.step_overhead", bare_host_time(p), a, e) < 0) ||
        (sampling(r) && give(args, "engine.sampling", sampling(r), a, e) < 0) ||
        (p->http && replay_http(args, "the measured point", a, e) < 0)) {
        return e->code;
    }
    for (size_t i = 0; i < s->args->n_set; i++) {
        const char *eq = strchr(s->args->set[i], '=');

        if (strncmp(s->args->set[i], "cost=", 5) == 0) {
            continue; /* stands beside the roofline, not for it */
        }
        if (config_args_add(args, s->args->flag[i], arena_strndup(a, s->args->set[i], (size_t)(eq - s->args->set[i])),
                            eq + 1, a, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static double metric_of(const struct run_result *res, const char *name)
{
    const struct metric *m = run_metric(res, name);

    return m ? m->value : (double)NAN;
}

static double measured_like(const struct run_result *res, const struct measure *m)
{
    if (strcmp(m->metric, "e2el_per_token") == 0) {
        return metric_of(res, "mean_e2el_ms") * metric_of(res, "completed") / metric_of(res, "total_output_tokens") *
               m->factor;
    }
    return metric_of(res, m->metric) * m->factor;
}

/* Simulated values into *r; SIM_E_CONFIG and SIM_E_DATA are the point's own trouble. */
static int simulate(struct point_result *r, const struct point_settings *s, enum point_cost c, const char *cost,
                    struct arena *a, struct err *e)
{
    struct config_args args = {.file = s->args->file};
    struct run_hooks hooks = {.progress = s->progress};
    struct run_config cfg;
    struct run_result res;

    if (settings_of(&args, r, s, cost, a, e) < 0 || config_resolve(&cfg, &args, NULL, NULL, a, e) < 0 ||
        config_check(&cfg, e) < 0 || run_execute(&cfg, &hooks, &res, a, e) < 0) {
        return e->code;
    }
    if (metric_of(&res, "failed") > 0) {
        return err_set(e, SIM_E_DATA, "%.0f of %u requests can never run on this machine", metric_of(&res, "failed"),
                       r->point->requests);
    }
    r->done[c] = true;
    for (uint32_t i = 0; i < r->point->n_measures; i++) {
        r->simulated[c][i] = measured_like(&res, &r->point->measure[i]);
    }
    return 0;
}

/* The arena of a run is given back at once: there may be thousands of points. */
static int try_cost(struct point_result *r, const struct point_settings *s, enum point_cost c, const char *cost,
                    const char **why, struct arena *keep, struct err *e)
{
    struct arena a = {0};
    int rc = simulate(r, s, c, cost, &a, e);

    if (rc == SIM_E_CONFIG || rc == SIM_E_DATA || rc == SIM_E_USAGE) {
        *why = arena_strdup(keep, e->msg);
        *e = (struct err){0};
        rc = 0;
    }
    arena_release(&a);
    return rc;
}

static bool bundled(const char *model, struct arena *a)
{
    const char *path = arena_printf(a, "%s/llms/%s.json", steelyard_data_dir(NULL, a), model);

    return path && access(path, R_OK) == 0;
}

int replay_point(const struct point *p, const struct point_settings *s, struct point_result *ret,
                 struct arena *a, struct err *e)
{
    const char *profile, *why = NULL;
    const char *table;

    const char *gpu = said(s, "gpu"), *model = said(s, "model");

    *ret = (struct point_result){.point = p, .gpu = gpu ? gpu : replay_gpu_name(p->gpu),
                                 .model = model ? model : replay_model_name(p->model, a)};
    ret->why = p->skip;
    if (!gpu && *p->gpu == '\0') {
        return err_set(e, SIM_E_USAGE, "%s: the file does not name the GPU: give --gpu (and --tp where it was not 1)", p->id);
    }
    if (!ret->gpu) {
        ret->gpu = p->gpu;
        ret->why = ret->why ? ret->why : "no data of this GPU";
    }
    if (!ret->model) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (!ret->why && !model && !bundled(ret->model, a)) {
        ret->why = replay_model_trouble(ret->model);
    }
    if (!p->batcher && !ret->why) {
        ret->why = "no batcher imitates this engine";
    }
    if (ret->why) {
        return 0;
    }
    table = said(s, "cost");
    profile = table ? NULL : find_profile(ret, s, &ret->why_no_table, a);
    if (s->dry_run) {
        return 0;
    }
    if (try_cost(ret, s, POINT_ROOFLINE, "roofline", &ret->why, a, e) < 0 || ret->why ||
        (!profile && !table)) {
        return e->code;
    }
    table = table ? table : arena_printf(a, "table{profile=%s}", profile);
    if (!table || try_cost(ret, s, POINT_TABLE, table, &why, a, e) < 0) {
        return table ? e->code : err_set(e, SIM_E_NOMEM, "out of memory");
    }
    ret->why_no_table = why;
    return 0;
}

/* ---- medians per system and model ---- */

static bool same_group(const struct point_result *a, const struct point_result *b)
{
    return strcmp(a->gpu, b->gpu) == 0 && strcmp(a->model, b->model) == 0 &&
           strcmp(a->point->engine, b->point->engine) == 0 && strcmp(dtype_said(a->point), dtype_said(b->point)) == 0 &&
           strcmp(a->point->set, b->point->set) == 0;
}

static double error_of(const struct point_result *r, enum point_cost c, uint32_t m)
{
    return r->done[c] ? r->simulated[c][m] / r->point->measure[m].real - 1 : (double)NAN;
}

struct medians {
    double real, error[POINT_COSTS], size[POINT_COSTS]; /* NaN = none */
    size_t n[POINT_COSTS];
};

static double median(double *v, size_t n)
{
    gsl_sort(v, 1, n);
    return n > 0 ? gsl_stats_median_from_sorted_data(v, 1, n) : (double)NAN;
}

/* Over the group of r[first], of the measure that is named; real over the simulated rows. */
static struct medians medians_of(const struct point_result *r, size_t n, size_t first, const char *name, double *v)
{
    struct medians m = {NAN, {NAN, NAN}, {NAN, NAN}, {0, 0}};

    for (int pass = 0; pass < 1 + 2 * POINT_COSTS; pass++) {
        enum point_cost c = pass == 0 ? POINT_ROOFLINE : (enum point_cost)((pass - 1) / 2);
        size_t k = 0;

        for (size_t i = first; i < n; i++) {
            for (uint32_t j = 0; same_group(&r[i], &r[first]) && j < r[i].point->n_measures; j++) {
                if (r[i].done[c] && strcmp(r[i].point->measure[j].name, name) == 0) {
                    double x = error_of(&r[i], c, j);

                    v[k++] = pass == 0 ? r[i].point->measure[j].real : pass % 2 ? x : fabs(x);
                }
            }
        }
        if (pass == 0) {
            m.real = median(v, k);
        } else if (pass % 2) {
            m.error[c] = median(v, k);
            m.n[c] = k;
        } else {
            m.size[c] = median(v, k);
        }
    }
    return m;
}

/* A blank before it however long it is. */
static void print_share(double x, int width)
{
    if (isfinite(x)) {
        printf(" %+*.1f %%", width - 3, 100 * x);
    } else {
        printf("%*s", width, "-");
    }
}

static void print_size(double x, int width)
{
    if (isfinite(x)) {
        printf(" %*.1f %%", width - 3, 100 * x);
    } else {
        printf("%*s", width, "-");
    }
}

static bool first_of_group(const struct point_result *r, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (same_group(&r[k], &r[i])) {
            return false;
        }
    }
    return true;
}

static void print_group(const struct point_result *r, size_t n, size_t first, double *v)
{
    const struct point *p = r[first].point;
    bool named = false;

    for (uint32_t j = 0; j < p->n_measures; j++) {
        struct medians m = medians_of(r, n, first, p->measure[j].name, v);

        if (m.n[POINT_ROOFLINE] == 0) {
            continue;
        }
        printf("  %-14s %-20s %-6s %-14s", named ? "" : r[first].gpu, named ? "" : r[first].model,
               named ? "" : dtype_said(p), named ? "" : p->engine);
        printf(" %-17s %5zu %11.*f %-3s", p->measure[j].name, m.n[POINT_ROOFLINE], m.real < 100 ? 2 : 0, m.real,
               p->measure[j].unit);
        for (enum point_cost c = 0; c < POINT_COSTS; c++) {
            print_share(m.error[c], 11);
            print_size(m.size[c], 10);
        }
        printf("\n");
        named = true;
    }
}

/* Reasons with the number of rows that they hold for. */
static void print_reasons(const struct point_result *r, size_t n, bool no_table)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        const char *why = no_table ? (r[i].done[POINT_ROOFLINE] ? r[i].why_no_table : NULL) : r[i].why;
        size_t k = 0;
        bool seen = !why;

        for (size_t j = 0; j < n && !seen; j++) {
            const char *other = no_table ? (r[j].done[POINT_ROOFLINE] ? r[j].why_no_table : NULL) : r[j].why;

            if (other && strcmp(other, why) == 0 && strcmp(r[i].model, r[j].model) == 0 && strcmp(r[i].gpu, r[j].gpu) == 0) {
                seen = j < i;
                k++;
            }
        }
        if (!seen) {
            printf(any ? "" : no_table ? "\n  only the roofline:\n" : "\n  not simulated:\n");
            printf("  %6zu  %s on %s: %s\n", k, r[i].model, r[i].gpu, why);
            any = true;
        }
    }
}

void replay_points_text(const struct point_result *r, size_t n, struct arena *a)
{
    double *v = arena_calloc(a, n * POINT_MEASURES + 1, sizeof(*v));
    size_t done = 0;

    for (size_t i = 0; i < n; i++) {
        done += r[i].done[POINT_ROOFLINE];
    }
    printf("%s: %zu of %zu measured points simulated; medians over the rows of a system and model\n", n ? r[0].point->set : "",
           done, n);
    if (n > 0 && r[0].point->note) {
        printf("  note: %s\n", r[0].point->note);
    }
    printf("\n  %-14s %-20s %-6s %-14s %-17s %5s %15s%11s%10s%11s%10s\n", "GPU", "model", "type", "engine", "metric", "rows",
           "real", "table", "|error|", "roofline", "|error|");
    for (size_t i = 0; v && i < n; i++) {
        if (first_of_group(r, i)) {
            print_group(r, n, i, v);
        }
    }
    print_reasons(r, n, true);
    print_reasons(r, n, false);
    printf("\n");
}

/* ---- every row ---- */

static void csv_number(double v)
{
    char buf[32];

    printf(",%s", isfinite(v) ? text_from_double(v, buf) : "");
}

static void csv_start(const struct point_result *r)
{
    const struct point *p = r->point;

    output_csv_field(stdout, p->set);
    printf(",");
    output_csv_field(stdout, p->id);
    printf(",");
    output_csv_field(stdout, p->engine);
    printf(",");
    output_csv_field(stdout, p->version);
    printf(",");
    output_csv_field(stdout, r->gpu);
    printf(",%u,", p->tp);
    output_csv_field(stdout, r->model);
    printf(",");
    output_csv_field(stdout, dtype_said(p));
    printf(",%u,%u,%u", p->prompt_high, p->output_high, p->concurrency);
}

void replay_points_csv(const struct point_result *r, size_t n)
{
    printf("set,id,engine,version,gpu,tp,model,weight_dtype,prompt_tokens,output_tokens,concurrency,metric,unit,"
           "real,table,table_error,roofline,roofline_error,note\n");
    for (size_t i = 0; i < n; i++) {
        const struct point *p = r[i].point;
        const char *why = r[i].why ? r[i].why : r[i].why_no_table ? r[i].why_no_table : "";

        for (uint32_t j = 0; j < p->n_measures || (j == 0 && p->n_measures == 0); j++) {
            csv_start(&r[i]);
            printf(",%s,%s", p->n_measures ? p->measure[j].name : "", p->n_measures ? p->measure[j].unit : "");
            csv_number(p->n_measures ? p->measure[j].real : (double)NAN);
            for (enum point_cost c = 0; c < POINT_COSTS; c++) {
                csv_number(r[i].done[c] ? r[i].simulated[c][j] : (double)NAN);
                csv_number(error_of(&r[i], c, j));
            }
            printf(",");
            output_csv_field(stdout, why);
            printf("\n");
        }
    }
}

static void json_measure(struct json_writer *w, const struct point_result *r, uint32_t j)
{
    json_key(w, r->point->measure[j].name);
    json_object(w);
    json_kv_string(w, "unit", r->point->measure[j].unit);
    json_kv_double(w, "real", r->point->measure[j].real);
    for (enum point_cost c = 0; c < POINT_COSTS; c++) {
        if (r->done[c]) {
            json_key(w, cost_names[c]);
            json_object(w);
            json_kv_double(w, "simulated", r->simulated[c][j]);
            json_kv_double(w, "error", error_of(r, c, j));
            json_end(w);
        }
    }
    json_end(w);
}

static void json_point(struct json_writer *w, const struct point_result *r)
{
    const struct point *p = r->point;

    json_object(w);
    json_kv_string(w, "set", p->set);
    json_kv_string(w, "id", p->id);
    json_kv_string(w, "engine", p->engine);
    json_kv_string(w, "version", p->version);
    json_kv_string(w, "gpu", r->gpu);
    json_kv_int(w, "tp", p->tp);
    json_kv_string(w, "model", r->model);
    json_kv_string(w, "weight_dtype", dtype_said(p));
    json_kv_int(w, "prompt_tokens", p->prompt_high);
    json_kv_int(w, "output_tokens", p->output_high);
    json_kv_int(w, "concurrency", p->concurrency);
    json_kv_string(w, "batcher", p->batcher);
    json_kv_string(w, "note", p->note);
    json_kv_string(w, "not_simulated", r->why);
    json_kv_string(w, "no_table", r->why_no_table);
    json_key(w, "metrics");
    json_object(w);
    for (uint32_t j = 0; j < p->n_measures; j++) {
        json_measure(w, r, j);
    }
    json_end(w);
    json_end(w);
}

void replay_points_json(const struct point_result *r, size_t n)
{
    struct json_writer w;

    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.replay-points/1");
    json_kv_string(&w, "version", steelyard_version());
    json_key(&w, "points");
    json_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_point(&w, &r[i]);
    }
    json_end(&w);
    json_end(&w);
    printf("\n");
}
