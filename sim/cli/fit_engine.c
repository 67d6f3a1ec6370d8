/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/fit_engine.h"

#include <errno.h>
#include <gsl/gsl_multimin.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/cost.h"
#include "sim/cli/replay_meta.h"
#include "sim/core/json.h"
#include "sim/results/compare.h"

/* Host time of a step and of a sequence where the search begins: the defaults of the cost models. */
#define STEP_START 200e-6
#define SEQ_START  4.0
/* No engine's step takes less of the host. */
#define STEP_NONE 5e-6
/* What a change of 1 in the search's coordinates means at the start: value = scale * u^2. */
static const double scales[KNOBS] = {200e-6, 4.0, 8e-3, 0.2};
static const double most[KNOBS] = {1, 10000, 60, 60};
#define EVALUATIONS 90
/* Beyond a factor of exp(0.5) a request counts in proportion, not by the square: a queue that starts a second
 * too early is not the step's fault. */
#define HUBER 0.5
/* Fewer do not tell the terms apart. */
#define REQUESTS_MIN 20
/* Every other block of arrival times is left out to be predicted. */
#define BLOCKS 10

struct run_case {
    const char *file;
    struct replay_meta meta;
    struct run_config cfg;
    bool held;
};

struct fitting {
    const struct fit_engine *q;
    struct arena *ar;
    struct err *e;
    struct run_case *run;
    size_t n;
    bool can_seq;  /* the cost model has host times of its own to set */
    bool free_seq; /* that of a sequence is searched for */
    int parity; /* blocks that count: 0 or 1; -1 = all */
    struct engine_knobs knobs;
    size_t evaluations;
    struct progress line;
};

/* ---- configuration ---- */

const char *engine_cost(const char *spec, const char *options, struct arena *ar)
{
    size_t n = strlen(spec);
    bool braces = n > 0 && spec[n - 1] == '}';
    if (!braces) {
        return arena_printf(ar, "%s{%s}", spec, options);
    }
    return arena_printf(ar, "%.*s%s%s}", (int)(n - 1), spec, n > 1 && spec[n - 2] == '{' ? "" : ",", options);
}

const char *engine_profile(const char *path, struct arena *ar)
{
    char *full = realpath(path, NULL);
    const char *ret = full ? arena_strdup(ar, full) : path;
    free(full);
    return ret && strpbrk(ret, ",{}") ? path : ret; /* such a path cannot stand in an option */
}

bool engine_cost_has(const char *spec, const char *option, struct arena *ar)
{
    const char *name = opt_spec_name(spec, ar);
    const struct cost_ops *ops = name ? cost_find(name) : NULL;
    return ops && opt_find(ops->options, option);
}

/* As `steelyard replay` does: what the run's description implies, then what the user said. */
static int resolve(struct fitting *t, struct run_case *r)
{
    const struct config_args *user = t->q->args;
    struct config_args args = {.file = user->file};
    if (strcmp(r->file, "-") == 0 || access(r->file, R_OK) < 0) {
        return err_set(t->e, SIM_E_IO, "%s: %s", r->file, strcmp(r->file, "-") ? strerror(errno) : "a file is needed");
    }
    if (replay_meta_find(&r->meta, r->file, &args, t->ar, t->e) < 0) {
        return t->e->code;
    }
    args.n_weak = args.n_set;
    if (t->q->profile) {
        struct err *e = t->e;
        const char *cost = arena_printf(t->ar, "table{profile=%s}", engine_profile(t->q->profile, t->ar));
        if (!cost || config_args_add(&args, "--profile", "cost", cost, t->ar, e) < 0) {
            return e->code;
        }
    }
    if (config_args_add(&args, "fit", "trace", r->file, t->ar, t->e) < 0) {
        return t->e->code;
    }
    for (size_t i = 0; i < user->n_set; i++) {
        const char *eq = strchr(user->set[i], '=');
        const char *key = arena_strndup(t->ar, user->set[i], (size_t)(eq - user->set[i]));
        if (!key || config_args_add(&args, user->flag[i], key, eq + 1, t->ar, t->e) < 0) {
            return t->e->code;
        }
    }
    if (config_resolve(&r->cfg, &args, NULL, NULL, t->ar, t->e) < 0) {
        return err_wrap(t->e, "%s: ", r->file);
    }
    return config_check(&r->cfg, t->e);
}

static struct run_config with_knobs(const struct fitting *t, const struct run_config *c, const struct engine_knobs *k,
                                    struct arena *ar)
{
    struct run_config r = *c;
    r.step_overhead_s = k->v[KNOB_STEP];
    r.request_delay_s = k->v[KNOB_DELAY];
    r.cold_start_s = k->v[KNOB_COLD];
    if (t->can_seq) {
        r.cost = engine_cost(c->cost, arena_printf(ar, "step_us=0,seq_us=%.6g", k->v[KNOB_SEQ]), ar);
    }
    return r;
}

/* ---- simulating ---- */

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    return compare_add(ctx, row, e);
}

static int on_progress(void *ctx, double share, sim_ns now, uint64_t requests)
{
    (void)ctx;
    (void)share;
    (void)now;
    (void)requests;
    return cli_interrupted;
}

/* k NULL: as the configuration says. */
static int simulate(struct fitting *t, const struct run_case *r, const struct engine_knobs *k, struct compare *ret)
{
    struct arena ar = {0};
    struct run_result result;
    struct run_hooks hooks = {.request = on_request, .progress = on_progress, .ctx = ret};
    struct run_config c = k ? with_knobs(t, &r->cfg, k, &ar) : r->cfg;
    ret->n = 0;
    int rc = c.cost ? run_execute(&c, &hooks, &result, &ar, t->e) : err_set(t->e, SIM_E_NOMEM, "out of memory");
    arena_release(&ar);
    return rc < 0 ? err_wrap(t->e, "%s: ", r->file) : 0;
}

static double tpot(const struct compare_row *r, enum side s)
{
    return r->output_tok > 1 ? (r->e2e_s[s] - r->ttft_s[s]) / (r->output_tok - 1) : (double)NAN;
}

/* Block of the run's arrivals that each request is in: of requests that arrive together none is in both. */
struct blocks {
    double first_s, length_s;
};

static struct blocks blocks_of(const struct compare *c)
{
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (size_t i = 0; i < c->n; i++) {
        low = fmin(low, c->row[i].arrival_s);
        high = fmax(high, c->row[i].arrival_s);
    }
    return (struct blocks){low, high > low ? (high - low) / BLOCKS : 1};
}

static bool counts(const struct blocks *b, const struct compare_row *r, int parity)
{
    return parity < 0 || (int)((r->arrival_s - b->first_s) / b->length_s) % 2 == parity;
}

/* ---- how far off ---- */

static double huber(double ratio)
{
    double r = fabs(log(ratio));
    return r <= HUBER ? r * r : HUBER * (2 * r - HUBER);
}

static void add_ratio(double simulated, double real, double *sum, size_t *n)
{
    double ratio = simulated / real;
    if (real > 0 && isfinite(ratio) && ratio > 0) {
        *sum += huber(ratio);
        (*n)++;
    }
}

/* First-token times and times per token weigh the same, however many there are of each. */
static double loss_of(const struct compare *c, int parity)
{
    struct blocks b = blocks_of(c);
    double ttft = 0, per_token = 0;
    size_t n_ttft = 0, n_tpot = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct compare_row *r = &c->row[i];
        if (counts(&b, r, parity)) {
            add_ratio(r->ttft_s[SIMULATED], r->ttft_s[REAL], &ttft, &n_ttft);
            add_ratio(tpot(r, SIMULATED), tpot(r, REAL), &per_token, &n_tpot);
        }
    }
    return (n_ttft ? ttft / (double)n_ttft : 0) + (n_tpot ? per_token / (double)n_tpot : 0);
}

/* Over the runs that are fitted to; infinite after an error. */
static double loss_at(struct fitting *t, const struct engine_knobs *k)
{
    double sum = 0;
    struct compare c = {0};
    for (size_t i = 0; i < t->n && t->e->code == 0; i++) {
        if (!t->run[i].held && simulate(t, &t->run[i], k, &c) == 0) {
            sum += loss_of(&c, t->parity);
        }
    }
    compare_release(&c);
    progress_update(&t->line, (double)(t->evaluations++ % EVALUATIONS) / EVALUATIONS, t->parity < 0 ? "all" : "half");
    return t->e->code == 0 ? sum : (double)NAN;
}

/* ---- the search ---- */

/* Cold start is told by the first few requests alone: a search of its own, behind the others. */
static const enum engine_knob searched[] = {KNOB_STEP, KNOB_DELAY, KNOB_SEQ};

static uint32_t dimensions(const struct fitting *t)
{
    return t->free_seq ? 3 : 2;
}

static struct engine_knobs knobs_at(const struct fitting *t, const gsl_vector *u)
{
    struct engine_knobs k = t->knobs;
    for (uint32_t i = 0; i < dimensions(t); i++) {
        double x = gsl_vector_get(u, i);
        enum engine_knob which = searched[i];
        k.v[which] = fmin(scales[which] * x * x, most[which]);
    }
    return k;
}

static double objective(const gsl_vector *u, void *params)
{
    struct fitting *t = params;
    struct engine_knobs k = knobs_at(t, u);
    return loss_at(t, &k);
}

static int search(struct fitting *t)
{
    uint32_t n = dimensions(t);
    gsl_multimin_fminimizer *m = gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, n);
    gsl_vector *u = gsl_vector_alloc(n), *step = gsl_vector_alloc(n);
    gsl_multimin_function f = {objective, n, t};
    int rc = m && u && step ? 0 : err_set(t->e, SIM_E_NOMEM, "out of memory");
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        gsl_vector_set(u, i, sqrt(fmax(t->knobs.v[searched[i]], 0.01 * scales[searched[i]]) / scales[searched[i]]));
    }
    if (rc == 0) {
        gsl_vector_set_all(step, 0.4);
        rc = gsl_multimin_fminimizer_set(m, &f, u, step) == GSL_SUCCESS ? 0 : -1;
    }
    for (size_t i = 0; rc == 0 && t->e->code == 0 && i < EVALUATIONS; i++) {
        if (gsl_multimin_fminimizer_iterate(m) != GSL_SUCCESS ||
            gsl_multimin_test_size(gsl_multimin_fminimizer_size(m), 0.005) == GSL_SUCCESS) {
            break;
        }
    }
    if (rc == 0 && t->e->code == 0) {
        t->knobs = knobs_at(t, gsl_multimin_fminimizer_x(m));
    }
    if (m) {
        gsl_multimin_fminimizer_free(m);
    }
    gsl_vector_free(u);
    gsl_vector_free(step);
    return t->e->code;
}

/* A first step that takes so much longer has to make the whole better by this share to be believed. */
#define COLD_GAIN 0.005

static int search_cold(struct fitting *t)
{
    static const double tries[] = {0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8};
    struct engine_knobs k = t->knobs;
    double none = 0, least = HUGE_VAL;
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && t->e->code == 0; i++) {
        k.v[KNOB_COLD] = tries[i];
        double loss = loss_at(t, &k);
        none = i == 0 ? loss : none;
        if (loss < least && (i == 0 || loss < none * (1 - COLD_GAIN))) {
            least = loss;
            t->knobs = k;
        }
    }
    return t->e->code;
}

static int fit_knobs(struct fitting *t, int parity)
{
    t->parity = parity;
    t->knobs = (struct engine_knobs){{STEP_START, SEQ_START, fmax(t->run[0].cfg.request_delay_s, 1e-3), 0}};
    t->evaluations = 0;
    progress_begin(&t->line, "fitting", !t->q->quiet);
    if (search(t) == 0) {
        search_cold(t);
    }
    progress_end(&t->line);
    return t->e->code;
}

/* ---- the report ---- */

enum what { TTFT, TPOT, E2EL, WHATS };
static const char *const what_names[WHATS] = {"ttft", "tpot", "e2el"};

struct off {
    double mean, each; /* error of the mean; median of the requests' own errors */
    size_t n;
};

static double value_of(const struct compare_row *r, enum what w, enum side s)
{
    return w == TTFT ? r->ttft_s[s] : w == E2EL ? r->e2e_s[s] : tpot(r, s);
}

static int off_of(const struct compare *c, enum what w, int parity, struct off *ret, struct err *e)
{
    struct blocks b = blocks_of(c);
    double sum[SIDES] = {0, 0}, *each = malloc((c->n + 1) * sizeof(double));
    *ret = (struct off){(double)NAN, (double)NAN, 0};
    if (!each) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < c->n; i++) {
        double real = value_of(&c->row[i], w, REAL), simulated = value_of(&c->row[i], w, SIMULATED);
        if (counts(&b, &c->row[i], parity) && isfinite(real) && isfinite(simulated) && real > 0) {
            sum[REAL] += real;
            sum[SIMULATED] += simulated;
            each[ret->n++] = fabs(simulated / real - 1);
        }
    }
    if (ret->n > 0) {
        gsl_sort(each, 1, ret->n);
        ret->mean = sum[SIMULATED] / sum[REAL] - 1;
        ret->each = gsl_stats_median_from_sorted_data(each, 1, ret->n);
    }
    free(each);
    return 0;
}

/* Of one set of requests, before and after. */
struct row {
    const char *run, *set;
    struct off before[WHATS], after[WHATS];
};

static int fill_row(struct fitting *t, const struct run_case *r, const struct engine_knobs *k, int parity,
                    const char *set, struct row *ret)
{
    struct compare c = {0};
    *ret = (struct row){.run = r->meta.run ? r->meta.run : r->file, .set = set};
    for (int side = 0; side < 2 && t->e->code == 0; side++) {
        if (simulate(t, r, side ? k : NULL, &c) == 0) {
            for (int w = 0; w < WHATS; w++) {
                off_of(&c, (enum what)w, parity, side ? &ret->after[w] : &ret->before[w], t->e);
            }
        }
    }
    compare_release(&c);
    return t->e->code;
}

/* A share in percent; "-" where nothing was measured. */
static void print_share(bool sign, double v)
{
    if (!isfinite(v)) {
        printf("%16s", "-");
    } else {
        printf(sign ? "%+14.2f %%" : "%14.2f %%", 100 * v);
    }
}

static void print_row(const struct row *r)
{
    printf("\n  %s: %s\n  %-8s%10s%16s%16s%16s%16s\n", r->run, r->set, "", "requests", "mean before", "after",
           "each before", "after");
    for (int w = 0; w < WHATS; w++) {
        printf("  %-8s%10zu", what_names[w], r->after[w].n);
        print_share(true, r->before[w].mean);
        print_share(true, r->after[w].mean);
        print_share(false, r->before[w].each);
        print_share(false, r->after[w].each);
        printf("\n");
    }
}

static void print_text(const struct fitting *t, const struct row *row, size_t n)
{
    const struct engine_knobs *k = &t->knobs;
    printf("%s: the engine's own times, hardware as in %s\n\n", t->q->output, t->run[0].cfg.cost);
    printf("  %-24s%12.1f us   host time of a step\n", "engine.step_overhead", 1e6 * k->v[KNOB_STEP]);
    if (t->can_seq) {
        printf("  %-24s%12.2f us   host time of a sequence of a step%s\n", "seq_us", k->v[KNOB_SEQ],
               t->free_seq ? "" : " (default: nothing better was found)");
    }
    printf("  %-24s%12.2f ms   client to queue, and back: the two cannot be told apart\n", "engine.request_delay",
           1e3 * k->v[KNOB_DELAY]);
    printf("  %-24s%12.2f s    added to the first step\n", "engine.cold_start", k->v[KNOB_COLD]);
    if (k->v[KNOB_STEP] < STEP_NONE) {
        printf("  note: no host time is left to take away: the kernels of the profile are slower than the engine's own\n");
    }
    for (size_t i = 0; i < n; i++) {
        print_row(&row[i]);
    }
    printf("\n  mean: error of the mean; each: median of the requests' own errors\n");
}

static void json_off(struct json_writer *w, const char *key, const struct off *o)
{
    json_key(w, key);
    json_object(w);
    json_kv_double(w, "mean_error", o->mean);
    json_kv_double(w, "median_request_error", o->each);
    json_end(w);
}

static void print_json(const struct fitting *t, const struct row *row, size_t n)
{
    static const char *const keys[KNOBS] = {"step_overhead_s", "seq_us", "request_delay_s", "cold_start_s"};
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.fit-run/1");
    json_kv_string(&w, "cost", t->run[0].cfg.cost);
    for (int i = 0; i < KNOBS; i++) {
        json_kv_double(&w, keys[i], i == KNOB_SEQ && !t->can_seq ? (double)NAN : t->knobs.v[i]);
    }
    json_key(&w, "runs");
    json_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_object(&w);
        json_kv_string(&w, "run", row[i].run);
        json_kv_string(&w, "set", row[i].set);
        for (int k = 0; k < WHATS; k++) {
            json_key(&w, what_names[k]);
            json_object(&w);
            json_kv_int(&w, "requests", (int64_t)row[i].after[k].n);
            json_off(&w, "before", &row[i].before[k]);
            json_off(&w, "after", &row[i].after[k]);
            json_end(&w);
        }
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    printf("\n");
}

/* ---- writing ---- */

static void write_seconds(struct json_writer *w, const char *key, double v)
{
    char text[40];
    snprintf(text, sizeof(text), "%.6gs", v);
    json_kv_string(w, key, text);
}

static void write_keys(FILE *out, const char *cost, const struct engine_knobs *k, const bool *fitted,
                       const char *comment)
{
    static const char *const keys[KNOBS] = {"engine.step_overhead", NULL, "engine.request_delay", "engine.cold_start"};
    struct json_writer w;
    fprintf(out, "// %s\n", comment);
    json_begin(&w, out, true);
    json_object(&w);
    json_kv_string(&w, "cost", cost);
    for (int i = 0; i < KNOBS; i++) {
        if (keys[i] && fitted[i]) {
            write_seconds(&w, keys[i], k->v[i]);
        }
    }
    json_end(&w);
    fputc('\n', out);
}

int engine_write(const char *path, const char *cost, const struct engine_knobs *k, const bool *fitted,
                 const char *comment, struct arena *ar, struct err *e)
{
    const char *part = arena_printf(ar, "%s.part", path);
    if (fitted[KNOB_SEQ]) {
        cost = engine_cost(cost, arena_printf(ar, "step_us=0,seq_us=%.4g", k->v[KNOB_SEQ]), ar);
    }
    FILE *out = part && cost ? fopen(part, "w") : NULL;
    if (!out) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    write_keys(out, cost, k, fitted, comment);
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (failed || rename(part, path) != 0) {
        unlink(part);
        return err_set(e, SIM_E_IO, "%s: not all of it was written", path);
    }
    return 0;
}

/* ---- the whole ---- */

static int open_runs(struct fitting *t)
{
    const struct fit_engine *q = t->q;
    t->n = q->n_runs + q->n_held;
    t->run = arena_calloc(t->ar, t->n, sizeof(*t->run));
    if (!t->run) {
        return err_set(t->e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < t->n; i++) {
        t->run[i] = (struct run_case){.file = i < q->n_runs ? q->run[i] : q->held[i - q->n_runs], .held = i >= q->n_runs};
        if (resolve(t, &t->run[i]) < 0) {
            return t->e->code;
        }
    }
    t->can_seq = engine_cost_has(t->run[0].cfg.cost, "seq_us", t->ar) &&
                 engine_cost_has(t->run[0].cfg.cost, "step_us", t->ar);
    return 0;
}

/* Steps of much the same batch tell a step's time and a sequence's apart by the errors of the profile alone.
 * So the latter stays at its default unless searching for it makes the half that is left out this much
 * better. */
#define SEQ_GAIN 0.1

static double loss_of_rest(struct fitting *t)
{
    t->parity = 1;
    return loss_at(t, &t->knobs);
}

static int choose_seq(struct fitting *t)
{
    double fixed, freed;
    if (!t->can_seq || fit_knobs(t, 0) < 0) {
        return t->e->code;
    }
    fixed = loss_of_rest(t);
    t->free_seq = true;
    if (fit_knobs(t, 0) < 0) {
        return t->e->code;
    }
    freed = loss_of_rest(t);
    t->free_seq = freed < (1 - SEQ_GAIN) * fixed;
    return t->e->code;
}

/* Without runs of their own to check with, half of the blocks are predicted by the fit to the other half. */
static int check_halves(struct fitting *t, struct row *row, size_t *n)
{
    if (fit_knobs(t, 0) < 0) {
        return t->e->code;
    }
    for (size_t i = 0; i < t->n && t->e->code == 0; i++) {
        fill_row(t, &t->run[i], &t->knobs, 1, "held out (every other tenth of the time, fitted to the rest)", &row[(*n)++]);
    }
    return t->e->code;
}

static const char *comment_of(const struct fitting *t)
{
    const char *text = "Engine times fitted by steelyard fit --from run to";
    for (size_t i = 0; text && i < t->n; i++) {
        if (!t->run[i].held) {
            text = arena_printf(t->ar, "%s%s %s", text, i ? "," : "", t->run[i].meta.run ? t->run[i].meta.run : t->run[i].file);
        }
    }
    return text ? text : "";
}

static int report(struct fitting *t, struct row *row, size_t n)
{
    const bool fitted[KNOBS] = {true, t->can_seq, true, true};
    for (size_t i = 0; i < t->n && t->e->code == 0; i++) {
        fill_row(t, &t->run[i], &t->knobs, -1, t->run[i].held ? "held out" : "fitted to", &row[n++]);
    }
    if (t->e->code == 0 &&
        engine_write(t->q->output, t->run[0].cfg.cost, &t->knobs, fitted, comment_of(t), t->ar, t->e) == 0) {
        (t->q->json ? print_json : print_text)(t, row, n);
    }
    return t->e->code;
}

static bool is_measured(const struct compare_row *r)
{
    return isfinite(r->ttft_s[REAL]) || isfinite(r->e2e_s[REAL]);
}

static bool any_measured(struct fitting *t)
{
    struct compare c = {0};
    bool any = false;
    size_t n = 0;
    for (size_t i = 0; i < t->n && t->e->code == 0; i++) {
        if (simulate(t, &t->run[i], NULL, &c) < 0) {
            break;
        }
        any = false;
        for (size_t k = 0; k < c.n; k++) {
            any = any || is_measured(&c.row[k]);
            n += is_measured(&c.row[k]) && !t->run[i].held;
        }
        if (!any) {
            err_set(t->e, SIM_E_DATA, "%s: holds no measured times (ttft, e2e): nothing to fit to", t->run[i].file);
        }
    }
    compare_release(&c);
    if (t->e->code == 0 && n < REQUESTS_MIN) {
        err_set(t->e, SIM_E_DATA, "%s: %zu requests with times are too few to tell the engine's times apart (from %d on)",
                t->run[0].file, n, REQUESTS_MIN);
    }
    return t->e->code == 0;
}

int fit_engine(const struct fit_engine *q, struct arena *ar, struct err *e)
{
    struct fitting t = {.q = q, .ar = ar, .e = e};
    size_t n = 0;
    if (open_runs(&t) < 0 || !any_measured(&t)) {
        return e->code;
    }
    struct row *row = arena_calloc(ar, 2 * t.n, sizeof(*row));
    if (!row) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (choose_seq(&t) == 0 && (q->n_held > 0 || check_halves(&t, row, &n) == 0) && fit_knobs(&t, -1) == 0) {
        report(&t, row, n);
    }
    return e->code;
}
