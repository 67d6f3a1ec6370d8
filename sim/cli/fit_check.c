/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/fit_check.h"

#include <ctype.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "calibrate/probe/plan.h"
#include "calibrate/replay_file.h"
#include "models/profile.h"
#include "sim/cli/fit_model.h"
#include "sim/core/json.h"

#define MEDIAN_MAX 0.05
#define P95_MAX    0.10

struct check {
    const struct fit_check *c;
    struct arena *ar;
    struct err *e;
    struct replay_file file;
};

/* ---- replay, plan and profile belong together ---- */

/* Letters and digits that a name has in one piece. */
static size_t word_length(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n])) {
        n++;
    }
    return n;
}

/* `text` has the word as one of its own; "80g" of ours is "80GB" of the driver. */
static bool has_word(const char *text, const char *word, size_t n)
{
    for (; *text; text++) {
        size_t m = word_length(text);
        if (m >= n && strncasecmp(text, word, n) == 0 && (m == n || (m == n + 1 && tolower((unsigned char)text[n]) == 'b'))) {
            return true;
        }
        text += m > 0 ? m - 1 : 0;
    }
    return false;
}

/* "a100-80g" is "NVIDIA A100-SXM4-80GB": each word of ours is among the driver's. */
static bool names_device(const char *ours, const char *device)
{
    for (; *ours; ours++) {
        size_t n = word_length(ours);
        if (n > 0 && !has_word(device, ours, n)) {
            return false;
        }
        ours += n > 0 ? n - 1 : 0;
    }
    return true;
}

/* A name of the user's own says nothing of the chip; a bundled one does. */
static bool is_bundled(const struct check *k, const char *gpu)
{
    const char *path = arena_printf(k->ar, "%s/gpus/%s.json", k->c->data_dir ? k->c->data_dir : ".", gpu);
    return path && !strchr(gpu, '/') && access(path, R_OK) == 0;
}

static int check_profile(const struct check *k, const struct profile *p, const struct plan *plan)
{
    const struct fit_check *c = k->c;
    if (*p->model && strcasecmp(p->model, plan->model.name) != 0) {
        return err_set(k->e, SIM_E_CONFIG, "%s is of model %s, the plan %s of %s", c->profile, p->model, c->plan,
                       plan->model.name);
    }
    if (p->tp != (uint32_t)plan->tp) {
        return err_set(k->e, SIM_E_CONFIG, "%s is for tensor-parallel degree %u, the plan %s for %d", c->profile, p->tp,
                       c->plan, plan->tp);
    }
    if (*p->gpu && is_bundled(k, p->gpu) && !names_device(p->gpu, k->file.device)) {
        return err_set(k->e, SIM_E_CONFIG, "%s is of GPU %s, %s was executed on %s", c->profile, p->gpu, c->replay,
                       k->file.device);
    }
    return 0;
}

/* The replay keeps the first line of its plan: what both say is the same. */
static int check_header(const struct check *k, const struct plan *plan)
{
    static const char *const words[] = {"trace", "batcher", "policy"}, *const numbers[] = {"seed", "block_tok", "kv_blocks"};
    const struct json_in *a = json_in_get(k->file.doc.root, "plan"), *b = plan->head.root;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const char *ours = json_in_string(json_in_get(a, words[i]), NULL), *theirs = json_in_string(json_in_get(b, words[i]), NULL);
        if (ours && theirs && strcmp(ours, theirs) != 0) {
            return err_set(k->e, SIM_E_CONFIG, "%s executed a plan of %s '%s', %s is of '%s'", k->c->replay, words[i], ours,
                           k->c->plan, theirs);
        }
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        double ours = json_in_number(json_in_get(a, numbers[i]), (double)NAN);
        double theirs = json_in_number(json_in_get(b, numbers[i]), (double)NAN);
        if (fabs(ours - theirs) > 0) { /* not where one is not said */
            return err_set(k->e, SIM_E_CONFIG, "%s executed a plan of %s %.15g, %s is of %.15g", k->c->replay, numbers[i],
                           ours, k->c->plan, theirs);
        }
    }
    return 0;
}

static int check_plan(const struct check *k, const struct plan *plan)
{
    const struct fit_check *c = k->c;
    if (*k->file.model && strcasecmp(k->file.model, plan->model.name) != 0) {
        return err_set(k->e, SIM_E_CONFIG, "%s executed a plan of model %s, %s is of %s", c->replay, k->file.model,
                       c->plan, plan->model.name);
    }
    if (isfinite(k->file.tp) && fabs(k->file.tp - plan->tp) > 0.5) {
        return err_set(k->e, SIM_E_CONFIG, "%s executed a plan of tensor-parallel degree %g, %s is of %d", c->replay,
                       k->file.tp, c->plan, plan->tp);
    }
    if (check_header(k, plan) < 0) {
        return k->e->code;
    }
    if ((int64_t)k->file.n < plan->n_step && k->file.complete && !k->file.limited) {
        return err_set(k->e, SIM_E_CONFIG, "%s executed all of a plan of %zu steps, %s has %lld: another plan was executed",
                       c->replay, k->file.n, c->plan, (long long)plan->n_step);
    }
    return 0;
}

/* ---- simulating with a profile ---- */

static struct batch_shape shape_of(const struct plan_step *s, int64_t graph)
{
    /* A graph is replayed at its own size: the sequences that fill it up are sampled, and attend to nothing. */
    uint32_t n = (uint32_t)(graph > s->n_decode ? graph : s->n_decode);
    struct batch_shape b = {.n_decode = n, .n_prefill = (uint32_t)s->n_chunk, .decode_ctx_tok = (uint64_t)s->decode_tok,
                            .prefill_tok = (uint64_t)s->prefill_tok};
    for (int i = 0; i < s->n_decode; i++) {
        b.decode_ctx_sq += (uint64_t)s->ctx[i] * (uint64_t)s->ctx[i];
    }
    for (int i = 0; i < s->n_chunk; i++) {
        uint64_t q = (uint64_t)s->chunks[i].n_tok, before = (uint64_t)s->chunks[i].start_tok;
        b.prefill_ctx_tok += before + q;
        b.prefill_pairs += q * before + q * (q + 1) / 2;
        b.prefill_sq += q * q;
        b.prefill_done += s->chunks[i].last;
    }
    return b;
}

static int simulate(struct check *k, const struct fit_model *m, const struct plan *p)
{
    for (size_t i = 0; i < k->file.n; i++) {
        struct replay_step *it = &k->file.step[i];
        const struct plan_step *s = i < (size_t)p->n_step ? &p->steps[i] : NULL;
        if (!s || s->step != it->step || s->n_chunk != it->chunks || s->prefill_tok != it->prefill_tok ||
            s->n_decode != it->n_decode || s->decode_tok != it->decode_tok) {
            return err_set(k->e, SIM_E_CONFIG, "%s: iterations[%zu] is not step %zu of %s: another plan was executed",
                           k->c->replay, i, i, k->c->plan);
        }
        struct batch_shape b = shape_of(s, it->graph);
        it->simulated_s = fit_model_s(m, &b);
    }
    return 0;
}

/* Device time alone: the probe's clock runs from the first kernel to the last. Padding is the replay's own. */
static int use_profile(struct check *k)
{
    static const char *const options[][2] = {{"step_us", "0"},      {"seq_us", "0"}, {"wait_us", "0"},
                                             {"graph_pad", "off"}, {"anyway", "on"}, {NULL, NULL}};
    struct fit_model m;
    struct profile profile;
    struct plan p;
    if (!k->c->profile) {
        return 0;
    }
    if (profile_load(&profile, k->c->profile, k->ar, k->e) < 0 ||
        fit_model_open(&m, k->c->profile, options, k->ar, k->e) < 0 || plan_read(&p, k->c->plan, 0, k->e) < 0) {
        return k->e->code;
    }
    int rc = check_plan(k, &p) < 0 || check_profile(k, &profile, &p) < 0 ? k->e->code : simulate(k, &m, &p);
    plan_release(&p);
    return rc;
}

/* ---- the verdict ---- */

struct sum {
    const char *name;
    size_t n;
    double measured_s, simulated_s, median, p95, largest;
    double *error;
};

enum { ALL, DECODES, PREFILL, SUMS };

static void add(struct sum *s, const struct replay_step *it)
{
    s->measured_s += it->measured_s;
    s->simulated_s += it->simulated_s;
    s->error[s->n++] = fabs(it->simulated_s / it->measured_s - 1);
}

static int sum_up(struct check *k, struct sum *s)
{
    static const char *const names[SUMS] = {"all", "decodes alone", "with prefill"};
    for (int i = 0; i < SUMS; i++) {
        s[i] = (struct sum){.name = names[i], .error = arena_calloc(k->ar, k->file.n, sizeof(double))};
        if (!s[i].error) {
            return err_set(k->e, SIM_E_NOMEM, "out of memory");
        }
    }
    for (size_t i = 0; i < k->file.n; i++) {
        add(&s[ALL], &k->file.step[i]);
        add(&s[k->file.step[i].chunks > 0 ? PREFILL : DECODES], &k->file.step[i]);
    }
    for (int i = 0; i < SUMS; i++) {
        gsl_sort(s[i].error, 1, s[i].n);
        s[i].median = s[i].n ? gsl_stats_median_from_sorted_data(s[i].error, 1, s[i].n) : (double)NAN;
        s[i].p95 = s[i].n ? gsl_stats_quantile_from_sorted_data(s[i].error, 1, s[i].n, 0.95) : (double)NAN;
        s[i].largest = s[i].n ? s[i].error[s[i].n - 1] : (double)NAN;
    }
    return 0;
}

static bool met(const struct sum *s)
{
    return s->median <= MEDIAN_MAX && s->p95 <= P95_MAX;
}

static void print_text(const struct check *k, const struct sum *s)
{
    printf("%s: %zu steps of %s on %s\n  simulated %s%s\n\n", k->c->replay, k->file.n,
           *k->file.model ? k->file.model : "a model without a name", k->file.device,
           k->c->profile ? "with " : "as the plan says", k->c->profile ? k->c->profile : "");
    printf("  %-16s%8s%14s%14s%10s%14s%10s%10s\n", "steps", "n", "measured s", "simulated s", "total", "median error",
           "p95", "largest");
    for (int i = 0; i < SUMS; i++) {
        if (s[i].n > 0) {
            printf("  %-16s%8zu%14.4f%14.4f%+8.2f %%%12.2f %%%8.2f %%%8.2f %%\n", s[i].name, s[i].n, s[i].measured_s,
                   s[i].simulated_s, 100 * (s[i].simulated_s / s[i].measured_s - 1), 100 * s[i].median, 100 * s[i].p95,
                   100 * s[i].largest);
        }
    }
    if (!k->file.complete) {
        printf("\n  note: the replay was cut short\n");
    }
    printf("\n  median at most 5 %% and p95 at most 10 %%: %s\n", met(&s[ALL]) ? "met" : "not met");
}

static void print_json(const struct check *k, const struct sum *s)
{
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.check-replay/1");
    json_kv_string(&w, "replay", k->c->replay);
    json_kv_string(&w, "profile", k->c->profile);
    json_kv_string(&w, "device", k->file.device);
    json_kv_string(&w, "model", k->file.model);
    for (int i = 0; i < SUMS; i++) {
        json_key(&w, s[i].name);
        json_object(&w);
        json_kv_int(&w, "steps", (int64_t)s[i].n);
        json_kv_double(&w, "measured_s", s[i].measured_s);
        json_kv_double(&w, "simulated_s", s[i].simulated_s);
        json_kv_double(&w, "median_error", s[i].median);
        json_kv_double(&w, "p95_error", s[i].p95);
        json_kv_double(&w, "max_error", s[i].largest);
        json_end(&w);
    }
    json_kv_bool(&w, "met", met(&s[ALL]));
    json_end(&w);
    printf("\n");
}

int fit_check_replay(const struct fit_check *c, struct arena *ar, struct err *e)
{
    struct check k = {.c = c, .ar = ar, .e = e};
    struct sum s[SUMS];
    if (!c->profile != !c->plan) {
        return err_set(e, SIM_E_USAGE, "--check-replay: --profile and --plan go together");
    }
    if (replay_file_load(&k.file, c->replay, ar, e) == 0 && use_profile(&k) == 0 && sum_up(&k, s) == 0) {
        (c->json ? print_json : print_text)(&k, s);
        if (!met(&s[ALL])) {
            err_set(e, SIM_E_GOAL, "%s: median error %.1f %%, p95 %.1f %%: more than 5 and 10 %%", c->replay,
                    100 * s[ALL].median, 100 * s[ALL].p95);
        }
    }
    replay_file_release(&k.file);
    return e->code;
}
