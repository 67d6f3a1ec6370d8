/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/fit.h"

#include <ctype.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "calibrate/sheet.h"
#include "sim/core/opt.h"

/* ---- names ---- */

/* Next letter or digit, lower case; 0 at the end. */
static int plain(const char **s)
{
    while (**s && !isalnum((unsigned char)**s)) {
        (*s)++;
    }
    return **s ? tolower((unsigned char)*(*s)++) : 0;
}

static bool begins_with(const char *said, const char *ours)
{
    for (;;) {
        int b = plain(&ours);
        if (b == 0) {
            return true;
        }
        if (plain(&said) != b) {
            return false;
        }
    }
}

bool fit_same_name(const char *said, const char *ours)
{
    static const struct {
        const char *ours, *said;
    } chips[] = {{"a100-80g", "a100_sxm"}, {"a100-80g", "a100"}, {"a100-40g", "a100"}};
    for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
        if (strcasecmp(chips[i].ours, ours) == 0 && strcasecmp(chips[i].said, said) == 0) {
            return true;
        }
    }
    if (strncasecmp(said, "meta-", 5) == 0) { /* "Meta-Llama-3-8B" */
        said += 5;
    }
    return begins_with(said, ours);
}

/* Distinct values of a column, the first ones that come. */
#define NAMES_MAX 32

static int distinct(struct sheet *s, int column, const char **names, size_t *n, struct arena *a)
{
    int rc;
    while ((rc = sheet_next(s)) > 0) {
        const char *v = sheet_text(s, column);
        size_t i = *n;
        while (i-- > 0 && strcmp(names[i], v) != 0) {
        }
        if (i == (size_t)-1 && *n < NAMES_MAX) {
            names[(*n)++] = arena_strdup(a, v);
            if (!names[*n - 1]) {
                return err_set(s->err, SIM_E_NOMEM, "out of memory");
            }
        }
    }
    return rc;
}

int fit_find_name(struct fit *f, const char *dir, const char *table, const char *column, const char *ours,
                  const char **ret)
{
    struct sheet s;
    const char *names[NAMES_MAX], *list = "";
    size_t n = 0;
    *ret = NULL;
    if (sheet_open(&s, dir, table, f->arena, f->err) < 0) {
        return f->err->code;
    }
    int c = sheet_column(&s, column);
    int rc = c < 0 ? c : distinct(&s, c, names, &n, f->arena);
    sheet_close(&s);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (fit_same_name(names[i], ours) && (!*ret || strlen(names[i]) < strlen(*ret))) {
            *ret = names[i];
        }
        list = arena_printf(f->arena, "%s%s%s", list, i ? ", " : "", names[i]);
    }
    if (rc < 0 || *ret) {
        return rc;
    }
    return err_set(f->err, SIM_E_DATA, "%s/%s: nothing about %s '%s'; there is: %s", dir, table, column, ours,
                   list ? list : "");
}

/* ---- terms ---- */

struct tally *fit_family(struct fit *f, const char *family)
{
    for (uint32_t i = 0; i < f->n_families; i++) {
        if (strcmp(f->family[i], family) == 0) {
            return &f->tally[i];
        }
    }
    if (f->n_families == FIT_FAMILIES) {
        err_set(f->err, SIM_E_CHECK, "more than %d families of kernels", FIT_FAMILIES);
        return NULL;
    }
    f->family[f->n_families] = family;
    return &f->tally[f->n_families++];
}

struct profile_term *fit_append(struct fit *f, const struct term_spec *s)
{
    struct profile_term *t = &f->term[f->profile.n_terms];
    if (f->profile.n_terms == FIT_TERMS) {
        err_set(f->err, SIM_E_CHECK, "more than %d terms", FIT_TERMS);
        return NULL;
    }
    *t = (struct profile_term){.name = s->name, .family = s->family, .count = s->count, .when = s->when,
                               .n_axes = s->n_axes};
    memcpy(t->axis, s->axis, sizeof(t->axis));
    f->profile.n_terms++;
    return t;
}

static int append_grid(struct fit *f, const struct term_spec *s, const struct grid *g)
{
    struct profile_term *t = fit_append(f, s);
    if (!t) {
        return f->err->code;
    }
    for (uint32_t d = 0; d < g->dims; d++) {
        t->n[d] = g->n[d];
        t->at[d] = g->at[d];
    }
    t->us = g->v;
    return 0;
}

static int trend_term(struct fit *f, const struct term_spec *s, const struct points *p, struct trend t,
                      const struct kernel *k)
{
    struct grid g;
    struct tally *tally = fit_family(f, s->family);
    if (!tally || grid_validate(p, &t, FIT_FOLDS, 0, kernel_roofline_us, k, tally, f->err) < 0 ||
        grid_from(&g, p, f->arena, f->err) < 0 || trend_fit(&t, p, f->err) < 0 ||
        grid_fill(&g, &t, f->err) < 0) {
        return err_wrap(f->err, "%s: ", s->name);
    }
    return append_grid(f, s, &g);
}

int fit_term(struct fit *f, const struct term_spec *s, const struct points *p, const struct kernel *k)
{
    return trend_term(f, s, p, kernel_trend(k), k);
}

int fit_wave_term(struct fit *f, const struct term_spec *s, const struct points *p, struct wave *w,
                  const struct kernel *k)
{
    return trend_term(f, s, p, (struct trend){.curve = &w->curve, .like = &w->like}, k);
}

struct wave fit_wave(const struct fit *f)
{
    struct kernel a = kernel_attention(f, KERNEL_DECODE);
    double bytes = dtype_bytes(f->llm.weight_dtype), tp = f->q->tp;
    return (struct wave){
        .sms = f->gpu.sms,
        .flop_per_s = gpu_flops(&f->gpu, f->llm.weight_dtype),
        .attn_flop_per_s = gpu_flops(&f->gpu, DTYPE_FP16),
        .byte_per_s = f->gpu.hbm_bytes_per_s,
        .l2_bytes = f->gpu.l2_bytes,
        .weight_bytes = bytes,
        .act_bytes = bytes,
        .heads = fmax(f->llm.heads / tp, 1),
        .kv_heads = fmax(f->llm.kv_heads / tp, 1),
        .kv_bytes = a.kv_bytes,
        .pair_flops = a.pair_flops,
        .qo_bytes = a.qkvo_bytes - a.kv_bytes,
    };
}

struct small {
    const char *name;
    double count, bytes;
    enum profile_axis axis;
};

static int assume_small(struct fit *f, const struct small *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct kernel k = kernel_memory(f, list[i].bytes);
        struct term_spec s = {list[i].name, "small", list[i].count, WHEN_ALWAYS, 1, {list[i].axis}};
        if (list[i].count > 0 && fit_assume(f, &s, &k) < 0) {
            return f->err->code;
        }
    }
    return 0;
}

/* Elements read and written per token, 16 bit: norms with the residual (input, residual in and out,
 * output), rotary embedding in place, KV write, gated activation; sampler: three passes over fp32 logits
 * after a cast (the passes of the cost model `roofline`). */
int fit_small_kernels(struct fit *f)
{
    const struct llm_shape *m = &f->llm;
    double tp = f->q->tp, layers = m->layers, h = m->hidden;
    double q = m->heads * (double)m->head_dim / tp;
    double kv = m->kv_heads >= tp ? m->kv_heads * (double)m->head_dim / tp : m->head_dim;
    double ffn = m->experts ? (double)m->moe_ffn * m->experts_per_tok : m->ffn;
    const struct small list[] = {
        {"norms", 2 * layers, 2 * 4 * h, AXIS_TOKENS},
        {"rotary", layers, 2 * 2 * (q + kv), AXIS_TOKENS},
        {"kv_write", layers, 2 * 4 * kv, AXIS_TOKENS},
        {"activation", layers, 2 * m->ffn_matrices * ffn / tp, AXIS_TOKENS},
        {"embedding", 1, 2 * 2 * h, AXIS_TOKENS},
        {"sampler", 1, m->vocab * (2 + 3 * 4.0), AXIS_ROWS},
    };
    return assume_small(f, list, sizeof(list) / sizeof(list[0]));
}

/* ---- all-reduce ---- */

/* "vllm-0.19.0" -> 19000; 0 for another engine. */
static double version_number(const char *s)
{
    unsigned major = 0, minor = 0, patch = 0;
    if (sscanf(s, "vllm-%u.%u.%u", &major, &minor, &patch) < 2 && sscanf(s, "%u.%u.%u", &major, &minor, &patch) < 2) {
        return 0;
    }
    return 1e6 * major + 1e3 * minor + patch;
}

struct reduce_columns {
    int system, version, kernel, gpus, elements, ms;
};

static int reduce_columns(struct sheet *s, struct reduce_columns *c)
{
    c->system = sheet_column(s, "system");
    c->version = sheet_column(s, "backend_version");
    c->kernel = sheet_column(s, "kernel_source");
    c->gpus = sheet_column(s, "num_gpus");
    c->elements = sheet_column(s, "message_elements");
    c->ms = sheet_column(s, "latency_ms");
    return s->err->code;
}

/* Rows of this GPU and number of GPUs: the version to use (ret_version), or with `take` the points of it. */
static int read_reduce(struct fit *f, const char *dir, const char *system, double want, double *ret_version,
                       struct points *graph, struct points *eager)
{
    struct sheet s;
    struct reduce_columns c;
    bool ok = true;
    int rc = sheet_open(&s, dir, "custom_allreduce", f->arena, f->err);
    if (rc < 0) {
        return rc;
    }
    rc = reduce_columns(&s, &c);
    while (rc == 0 && sheet_next(&s) > 0) {
        double v = version_number(sheet_text(&s, c.version));
        if (strcmp(sheet_text(&s, c.system), system) != 0 ||
            (uint32_t)sheet_number(&s, c.gpus, &ok) != f->q->tp || v <= 0) {
            continue;
        }
        if (!graph) {
            bool better = v <= want ? v > *ret_version || *ret_version > want : *ret_version <= 0 || (*ret_version > want && v < *ret_version);
            *ret_version = better ? v : *ret_version;
        } else if (fabs(v - *ret_version) < 0.5) {
            double tok = sheet_number(&s, c.elements, &ok) / f->llm.hidden;
            bool in_graph = strstr(sheet_text(&s, c.kernel), "graph") != NULL;
            rc = points_add(in_graph ? graph : eager, &tok, 1e3 * sheet_number(&s, c.ms, &ok), f->err);
        }
    }
    sheet_close(&s);
    return f->err->code;
}

static const char *reduce_dir(const struct fit *f)
{
    if (f->q->collectives) {
        return f->q->collectives;
    }
    if (sheet_exists(f->q->dir, "custom_allreduce")) {
        return f->q->dir;
    }
    return arena_printf(f->arena, "%s/../aiconfigurator", f->q->dir);
}

/* Places of the table are message sizes; the first is far below one token. */
static int reduce_terms(struct fit *f, const struct points *graph, const struct points *eager)
{
    struct kernel k = kernel_link(f);
    struct term_spec s = {"all_reduce_graph", "collective", 2 * (double)f->llm.layers, WHEN_GRAPH, 1, {AXIS_TOKENS}};
    if (fit_term(f, &s, graph, &k) < 0) {
        return f->err->code;
    }
    s.name = "all_reduce_eager";
    s.when = WHEN_EAGER;
    return fit_term(f, &s, eager, &k);
}

int fit_all_reduce(struct fit *f)
{
    const char *dir = reduce_dir(f), *system;
    double want = f->q->version ? version_number(f->q->version) : 1e9, version = 0;
    struct points graph = {.dims = 1}, eager = {.dims = 1};
    if (f->q->tp < 2) {
        return 0;
    }
    if (!dir || fit_find_name(f, dir, "custom_allreduce", "system", f->gpu.name, &system) < 0 ||
        read_reduce(f, dir, system, want, &version, NULL, NULL) < 0) {
        return f->err->code;
    }
    if (version <= 0) {
        return err_set(f->err, SIM_E_DATA, "%s/custom_allreduce: no table of vLLM for %u x %s", dir, f->q->tp, system);
    }
    if (read_reduce(f, dir, system, want, &version, &graph, &eager) == 0) {
        reduce_terms(f, &graph, &eager);
    }
    points_release(&graph);
    points_release(&eager);
    f->profile.provenance = arena_printf(f->arena, "%s; all-reduces as in vLLM 0.%.0f on %s", f->profile.provenance,
                                         fmod(floor(version / 1e3), 1000), system);
    return f->err->code;
}

/* ---- notes ---- */

void fit_note(struct fit *f, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (f->n_notes < FIT_NOTES && (f->note[f->n_notes] = arena_strdup(f->arena, text))) {
        f->n_notes++;
    }
}

int fit_curve_note(struct fit *f, const char *name, const struct curve *c)
{
    if (f->n_curves < FIT_CURVES && f->err->code == 0) {
        struct fit_curve *k = &f->curve[f->n_curves++];
        *k = (struct fit_curve){.name = name, .n = c->n, .spread = c->spread};
        for (uint32_t i = 0; i < c->n; i++) {
            k->coef[i] = c->coef[i].name;
            k->unit[i] = c->coef[i].unit;
            k->c[i] = c->c[i];
        }
    }
    return f->err->code;
}

/* ---- the whole ---- */

const struct fit_source *fit_source_find(const char *name)
{
    for (const struct fit_source *s = fit_sources; s->name; s++) {
        if (strcmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

static int report_errors(struct fit *f)
{
    f->profile.error = arena_calloc(f->arena, f->n_families, sizeof(*f->profile.error));
    if (!f->profile.error) {
        return err_set(f->err, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < f->n_families; i++) {
        struct tally *t = &f->tally[i];
        if (t->n == 0) {
            continue;
        }
        struct profile_error *x = &f->profile.error[f->profile.n_errors++];
        x->family = f->family[i];
        x->points = (uint32_t)t->n;
        x->error = gsl_stats_mean(t->error, 1, t->n);
        x->roofline_error = gsl_stats_mean(t->roofline, 1, t->n);
        gsl_sort(t->error, 1, t->n);
        x->p90 = gsl_stats_quantile_from_sorted_data(t->error, 1, t->n, 0.9);
    }
    return 0;
}

static int unknown_family(struct fit *f, const char *word)
{
    const char *list = "";
    for (uint32_t i = 0; list && i < f->profile.n_terms; i++) {
        const char *name = f->term[i].family;
        bool seen = false;
        for (uint32_t k = 0; k < i; k++) {
            seen = seen || strcmp(f->term[k].family, name) == 0;
        }
        list = seen ? list : arena_printf(f->arena, "%s%s%s", list, *list ? ", " : "", name);
    }
    return err_set(f->err, SIM_E_USAGE, "--scale: no family '%s' in the profile (there are: %s)", word, list ? list : "");
}

/* Counts are multiplied, so that what was measured stays to be seen. */
static int scale_family(struct fit *f, const char *word)
{
    const char *eq = strchr(word, '=');
    const char *family = eq ? arena_strndup(f->arena, word, (size_t)(eq - word)) : NULL;
    double by = 0;
    bool any = false;
    if (!eq || !text_to_double(eq + 1, &by) || !(by > 0 && by <= 100)) {
        return err_set(f->err, SIM_E_USAGE, "--scale: '%s' is not FAMILY=FACTOR with a factor above 0, up to 100", word);
    }
    for (uint32_t i = 0; family && i < f->profile.n_terms; i++) {
        bool is = strcmp(f->term[i].family, family) == 0;
        f->term[i].count *= is ? by : 1;
        any = any || is;
    }
    if (!any) {
        return unknown_family(f, family ? family : word);
    }
    fit_note(f, "%s: all times taken %g times, as asked for; errors are those of the times as measured", family, by);
    f->profile.provenance = arena_printf(f->arena, "%s; %s times %g", f->profile.provenance, family, by);
    return f->profile.provenance ? 0 : err_set(f->err, SIM_E_NOMEM, "out of memory");
}

static int scale_all(struct fit *f)
{
    for (size_t i = 0; i < f->q->n_scale; i++) {
        if (scale_family(f, f->q->scale[i]) < 0) {
            return f->err->code;
        }
    }
    return 0;
}

/* Measurements of any kind may be nonsense; a profile is not. */
static int check_terms(struct fit *f)
{
    for (uint32_t i = 0; i < f->profile.n_terms; i++) {
        const struct profile_term *t = &f->term[i];
        for (uint32_t k = 0; k < profile_term_size(t); k++) {
            if (!(t->us[k] >= 0 && t->us[k] < 1e12)) {
                return err_set(f->err, SIM_E_DATA, "%s: %s: no time came out at place %u of the table: these measurements "
                               "cannot be fitted", f->q->dir, t->name, k);
            }
        }
    }
    return 0;
}

int fit_run(struct fit *f, const struct fit_request *q, struct arena *a, struct err *e)
{
    const struct fit_source *s = fit_source_find(q->source);
    *f = (struct fit){.q = q, .arena = a, .err = e};
    if (!s) {
        return err_set(e, SIM_E_USAGE, "no source of measurements '%s'", q->source);
    }
    if (llm_load(&f->llm, q->model, q->data_dir, q->weight_dtype, q->kv_dtype, a, e) < 0 ||
        gpu_load(&f->gpu, q->gpu, q->data_dir, a, e) < 0) {
        return e->code;
    }
    if (q->tp == 0 || f->llm.heads % q->tp != 0) {
        return err_set(e, SIM_E_CONFIG, "tensor-parallel degree %u does not divide the %u attention heads of %s",
                       q->tp, f->llm.heads, f->llm.name);
    }
    f->profile = (struct profile){.source = q->source, .gpu = f->gpu.name, .model = f->llm.name, .engine = "",
                                  .tp = q->tp, .term = f->term, .step_us = (double)NAN, .seq_us = (double)NAN,
                                  .wait_us = (double)NAN, .provenance = q->dir};
    if (s->run(f) < 0 || report_errors(f) < 0 || check_terms(f) < 0 || scale_all(f) < 0) {
        return e->code;
    }
    return 0;
}

void fit_release(struct fit *f)
{
    for (uint32_t i = 0; i < f->n_families; i++) {
        tally_release(&f->tally[i]);
    }
}
