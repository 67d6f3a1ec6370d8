/* SPDX-License-Identifier: Apache-2.0
 *
 * `table`: iteration time from measured kernel times (a profile of `steelyard fit`). An iteration is the
 * sum of
 *   - terms over the scheduled tokens (matrix products, norms, all-reduces ...), which depend on the
 *     padded number of tokens where vLLM replays a CUDA graph;
 *   - terms over the sampled rows (LM head, sampler);
 *   - attention: over (decodes, mean context), over prefill chunks, or over both as measured together;
 *   - host time per step and per sequence, and the ranks' waiting for each other at every all-reduce.
 * Unequal contexts count as longer ones: mean + shift * standard deviation, with a shift measured for
 * the number of decodes. n^2 times their variance does not change while all contexts grow by one, and a
 * table between two knots is a line, so decode-only steps are affine in k; all of it is whole ticks. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "models/cost.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "models/profile.h"

/* Tables over tokens are spread out to one entry per token up to here; beyond, the last slope. */
#define TOKENS_MAX 32768
/* Rows of the decode table: one per number of sequences. Beyond, the last row in proportion. */
#define DECODES_MAX     4096
#define DECODES_DEFAULT 1024
/* vLLM 0.15 - 0.19: graphs up to min(2 * max_num_seqs, 512) tokens (config/vllm.py
 * _set_cudagraph_sizes). */
#define GRAPH_TOP 512
/* Chunks of one prompt are measured, several of them have fewer (query, key) pairs than one of the same
 * length: the slope towards fewer is that towards a context of at least this many tokens. */
#define SLOPE_CTX 512

enum { PAD_OFF, PAD_VLLM };

/* Spread-out table of whole ticks: at[0..n-1], then a line. */
struct ramp {
    uint32_t n;
    int64_t *at, slope;
};

struct knot {
    int64_t base, slope; /* time at the knot; ticks per token of context behind it */
};

struct table_state {
    /* options */
    const char *path;
    double step_us, seq_us, wait_us;
    int64_t graph_pad;
    bool anyway;
    /* from init */
    struct profile profile;
    struct ramp tokens, rows;
    uint32_t graph_top;
    int64_t step_tick, seq_tick;
    uint32_t n_decodes, n_knots; /* decode attention */
    double *context;             /* place of each knot, mean context */
    struct knot *knot;           /* [n_decodes][n_knots] */
    double *pure, *mixed;        /* shift by number of decodes */
    const struct profile_term *prefill, *chunk, *both;
    double last_context, last_decodes;
    uint32_t layers, moe_layers; /* of the run's model; 0 = none was named */
    double experts, top_k;
};

static const struct opt_choice pad_choices[] = {
    {"off", "terms over tokens see the true number"},
    {"vllm", "padded to vLLM's capture sizes 1, 2, 4, 8, 16 .. 256, 272 .. up to twice max_num_seqs or 512"},
    {NULL, NULL},
};

#define MICRO(field, text)                                                                         \
    {#field, OPT_DOUBLE, offsetof(struct table_state, field), -1, 1e6, "-1", "us", text, NULL}

static const struct opt_row table_options[] = {
    {"profile", OPT_STRING, offsetof(struct table_state, path), 0, -1, NULL, COST_FILE,
     "Profile written by steelyard fit.", NULL},
    MICRO(step_us, "Host time of a step that the GPU waits for; -1 = as the profile says, else 200."),
    MICRO(seq_us, "Host time per sequence of a step; -1 = as the profile says, else 4."),
    MICRO(wait_us, "Ranks waiting for each other, per all-reduce; -1 = as the profile says, else 6."),
    {"graph_pad", OPT_CHOICE, offsetof(struct table_state, graph_pad), 0, 0, "vllm", NULL,
     "CUDA-graph padding of the token count.", pad_choices},
    {"anyway", OPT_BOOL, offsetof(struct table_state, anyway), 0, -1, "off", NULL,
     "Use a profile of another model or GPU.", NULL},
    OPT_END,
};

/* ---- tables ---- */

/* Cell of x: *i with at[*i] <= x < at[*i + 1] and the share of the way. Below the first place the value
 * is held; above the last one the last cell goes on. */
static double place(const double *at, uint32_t n, double x, uint32_t *i)
{
    uint32_t low = 0, high = n - 1;
    if (n < 2 || x <= at[0]) {
        *i = 0;
        return 0;
    }
    while (high - low > 1) {
        uint32_t mid = (low + high) / 2;
        if (at[mid] <= x) {
            low = mid;
        } else {
            high = mid;
        }
    }
    *i = low;
    return (x - at[low]) / (at[high] - at[low]);
}

/* Multilinear: the corners of the cell are folded together axis by axis, the last one first. */
static double look_up(const struct profile_term *t, const double *x)
{
    const uint32_t dims = t->n_axes;
    uint32_t at = 0, stride = 1, step[PROFILE_AXES];
    double share[PROFILE_AXES], v[1u << PROFILE_AXES];
    for (uint32_t d = dims; d-- > 0;) {
        uint32_t i;
        share[d] = place(t->at[d], t->n[d], x[d], &i);
        step[d] = t->n[d] > 1 ? stride : 0;
        at += i * stride;
        stride *= t->n[d];
    }
    uint32_t offset[1u << PROFILE_AXES] = {0}, n = 1;
    for (uint32_t d = 0; d < dims; d++) {
        for (uint32_t k = n; k-- > 0;) {
            offset[2 * k + 1] = offset[k] + step[d];
            offset[2 * k] = offset[k];
        }
        n *= 2;
    }
    for (uint32_t k = 0; k < n; k++) {
        v[k] = t->us[at + offset[k]];
    }
    for (uint32_t d = dims; d-- > 0;) {
        n /= 2;
        for (uint32_t k = 0; k < n; k++) {
            v[k] = v[2 * k] + share[d] * (v[2 * k + 1] - v[2 * k]);
        }
    }
    return v[0];
}

/* ---- init: sums over terms ---- */

/* A step of `tok` tokens: what is executed, and whether as a graph. */
static uint64_t padded(const struct table_state *s, uint64_t n)
{
    if (n > s->graph_top || n <= 2) {
        return n;
    }
    if (n <= 8) {
        return n <= 4 ? 4 : 8;
    }
    return n <= 256 ? (n + 7) & ~7ull : (n + 15) & ~15ull;
}

static bool takes_part(const struct table_state *s, const struct profile_term *t, uint32_t tok)
{
    bool graph = tok <= s->graph_top;
    return t->when == WHEN_ALWAYS || (t->when == WHEN_GRAPH) == graph;
}

static double axis_sum(const struct table_state *s, enum profile_axis axis, uint32_t x)
{
    double us = 0, tok = (double)(axis == AXIS_TOKENS ? padded(s, x) : x);
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        if (t->axis[0] == axis && t->n_axes == 1 && takes_part(s, t, x)) {
            us += t->count * look_up(t, &tok);
        }
    }
    return us;
}

static double last_place(const struct table_state *s, enum profile_axis axis, double otherwise)
{
    double last = 0;
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        for (uint32_t d = 0; d < t->n_axes; d++) {
            if (t->axis[d] == axis) {
                last = fmax(last, t->at[d][t->n[d] - 1]);
            }
        }
    }
    return last > 0 ? last : otherwise;
}

static int init_ramp(const struct table_state *s, struct ramp *r, enum profile_axis axis, struct cost_env *env,
                     struct err *e)
{
    double last = fmin(last_place(s, axis, 1), TOKENS_MAX - 1);
    r->n = (uint32_t)last + 1;
    r->at = arena_calloc(env->arena, r->n, sizeof(*r->at));
    if (!r->at) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the cost model's tables");
    }
    for (uint32_t x = 1; x < r->n; x++) {
        r->at[x] = cost_coef(axis_sum(s, axis, x) * 1e-6);
    }
    /* The last knot may lie far out: take the slope over the last tenth. */
    uint32_t from = r->n - 1 - (r->n - 1) / 10;
    r->slope = from < r->n - 1 ? (r->at[r->n - 1] - r->at[from]) / (int64_t)(r->n - 1 - from) : 0;
    return 0;
}

static int64_t ramp_at(const struct ramp *r, uint64_t x)
{
    if (x < r->n) {
        return r->at[x];
    }
    return r->at[r->n - 1] + r->slope * (int64_t)(x - (r->n - 1));
}

static bool is_decode(const struct profile_term *t)
{
    return t->axis[0] == AXIS_DECODES;
}

/* Knots of all decode terms together, rising. */
static int collect_contexts(struct table_state *s, struct cost_env *env, struct err *e)
{
    size_t most = 1;
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        most += is_decode(&s->profile.term[i]) ? s->profile.term[i].n[1] : 0;
    }
    s->context = arena_calloc(env->arena, most, sizeof(double));
    if (!s->context) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the cost model's tables");
    }
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        for (uint32_t k = 0; is_decode(t) && k < t->n[1]; k++) {
            uint32_t at = s->n_knots;
            while (at > 0 && s->context[at - 1] > t->at[1][k]) {
                at--;
            }
            if (at > 0 && !(s->context[at - 1] < t->at[1][k])) {
                continue;
            }
            memmove(&s->context[at + 1], &s->context[at], (s->n_knots - at) * sizeof(double));
            s->context[at] = t->at[1][k];
            s->n_knots++;
        }
    }
    if (s->n_knots == 0) {
        s->n_knots = 1;
    }
    return 0;
}

static double decode_us(const struct table_state *s, double n, double context)
{
    double us = 0, x[] = {n, context};
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        us += is_decode(t) ? t->count * look_up(t, x) : 0;
    }
    return us;
}

/* First total context of knot j for n decodes. */
static uint64_t knot_ctx(const struct table_state *s, uint64_t n, uint32_t j)
{
    return (uint64_t)(int64_t)(s->context[j] * (double)(int64_t)n);
}

static void fill_row(struct table_state *s, uint32_t n)
{
    struct knot *row = &s->knot[(size_t)n * s->n_knots];
    for (uint32_t j = 0; j < s->n_knots; j++) {
        row[j].base = cost_coef(decode_us(s, n, s->context[j]) * 1e-6);
    }
    for (uint32_t j = 0; j + 1 < s->n_knots; j++) {
        double run = (double)(knot_ctx(s, n, j + 1) - knot_ctx(s, n, j));
        row[j].slope = run > 0 ? llround((double)(row[j + 1].base - row[j].base) / run) : 0;
    }
    if (s->n_knots > 1) {
        row[s->n_knots - 1].slope = row[s->n_knots - 2].slope;
    }
}

static double shift_at(const struct profile_skew *k, const double *shift, double n)
{
    uint32_t i = 0;
    if (k->n == 0) {
        return 0;
    }
    double share = fmin(place(k->decodes, k->n, n, &i), 1);
    return k->n == 1 ? shift[0] : shift[i] + share * (shift[i + 1] - shift[i]);
}

static int init_decode(struct table_state *s, struct cost_env *env, struct err *e)
{
    uint32_t most = env->max_seqs ? env->max_seqs : DECODES_DEFAULT;
    s->n_decodes = (most < DECODES_MAX ? most : DECODES_MAX) + 1;
    if (collect_contexts(s, env, e) < 0) {
        return e->code;
    }
    s->knot = arena_calloc(env->arena, (size_t)s->n_decodes * s->n_knots, sizeof(*s->knot));
    s->pure = arena_calloc(env->arena, s->n_decodes, sizeof(double));
    s->mixed = arena_calloc(env->arena, s->n_decodes, sizeof(double));
    if (!s->knot || !s->pure || !s->mixed) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the cost model's tables");
    }
    for (uint32_t n = 1; n < s->n_decodes; n++) {
        fill_row(s, n);
        s->pure[n] = shift_at(&s->profile.skew, s->profile.skew.pure, n);
        s->mixed[n] = shift_at(&s->profile.skew, s->profile.skew.mixed, n);
    }
    return 0;
}

/* ---- init: the rest ---- */

static int check_names(const struct table_state *s, const struct cost_env *env, struct err *e)
{
    const struct profile *p = &s->profile;
    if (p->tp != env->tp) {
        return err_set(e, SIM_E_CONFIG, "%s is for tensor-parallel degree %u, the run has %u", p->path, p->tp,
                       env->tp);
    }
    if (s->anyway) {
        return 0;
    }
    if (env->llm && *p->model && strcasecmp(p->model, env->llm->name) != 0) {
        return err_set(e, SIM_E_CONFIG, "%s is of model %s, the run's is %s (anyway=on uses it all the same)",
                       p->path, p->model, env->llm->name);
    }
    if (env->gpu && *p->gpu && strcasecmp(p->gpu, env->gpu->name) != 0) {
        return err_set(e, SIM_E_CONFIG, "%s is of GPU %s, the run's is %s (anyway=on uses it all the same)",
                       p->path, p->gpu, env->gpu->name);
    }
    return 0;
}

/* All-reduces of a step: those of one kind, since a step uses one kind. */
static double all_reduces(const struct profile *p)
{
    double n = 0;
    for (uint32_t i = 0; i < p->n_terms; i++) {
        n = strcmp(p->term[i].family, "collective") == 0 ? fmax(n, p->term[i].count) : n;
    }
    return n;
}

static double first_of(double option, double profile, double otherwise)
{
    return option >= 0 ? option : isfinite(profile) ? profile : otherwise;
}

static void init_overheads(struct table_state *s)
{
    const struct profile *p = &s->profile;
    s->step_us = first_of(s->step_us, p->step_us, 200);
    s->seq_us = first_of(s->seq_us, p->seq_us, 4);
    s->wait_us = first_of(s->wait_us, p->wait_us, 6);
    s->step_tick = cost_coef((s->step_us + s->wait_us * all_reduces(p)) * 1e-6);
    s->seq_tick = cost_coef(s->seq_us * 1e-6);
}

static void find_terms(struct table_state *s)
{
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        s->prefill = t->axis[0] == AXIS_CHUNKS ? t : s->prefill;
        if (t->axis[0] == AXIS_PREFILL_TOK) {
            *(t->n_axes == 2 ? &s->chunk : &s->both) = t;
        }
    }
    s->last_context = last_place(s, AXIS_CONTEXT, HUGE_VAL);
    s->last_decodes = last_place(s, AXIS_DECODES, HUGE_VAL);
}

static const char *describe(const struct table_state *s, struct arena *a)
{
    const struct profile *p = &s->profile;
    const char *text = arena_printf(a, "table: %s, %s on %u x %s (%s); %g us a step, %g a sequence, %g an "
                                    "all-reduce", p->path, p->model, p->tp, p->gpu, p->provenance, s->step_us,
                                    s->seq_us, s->wait_us);
    for (uint32_t i = 0; text && i < p->n_errors; i++) {
        text = arena_printf(a, "%s%s%s %.1f %%", text, i ? ", " : "; held-out error ", p->error[i].family,
                            100 * p->error[i].error);
    }
    return text;
}

static int table_init(void *state, struct cost_env *env, struct err *e)
{
    struct table_state *s = state;
    if (!s->path) {
        return err_set(e, SIM_E_CONFIG, "table: no profile is given: table{profile=FILE}");
    }
    if (profile_load(&s->profile, s->path, env->arena, e) < 0) {
        err_wrap(e, "table: ");
        return e->code;
    }
    if (check_names(s, env, e) < 0) {
        return e->code;
    }
    if (s->graph_pad == PAD_VLLM) {
        s->graph_top = env->max_seqs && env->max_seqs < GRAPH_TOP / 2 ? 2 * env->max_seqs : GRAPH_TOP;
    }
    init_overheads(s);
    find_terms(s);
    if (env->llm) {
        s->layers = env->llm->layers;
        s->moe_layers = llm_moe_layers(env->llm);
        s->experts = env->llm->experts;
        s->top_k = env->llm->experts_per_tok;
    }
    if (init_ramp(s, &s->tokens, AXIS_TOKENS, env, e) < 0 || init_ramp(s, &s->rows, AXIS_ROWS, env, e) < 0 ||
        init_decode(s, env, e) < 0) {
        return e->code;
    }
    env->provenance = describe(s, env->arena);
    return env->provenance ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- an iteration ---- */

/* n * n times the variance of the contexts, which stays while all of them grow by one. */
static double spread(const struct batch_shape *b)
{
    sim_wide v = (sim_wide)b->n_decode * b->decode_ctx_sq - (sim_wide)b->decode_ctx_tok * b->decode_ctx_tok;
    if (b->decode_ctx_sq == 0 || v <= 0) {
        return 0;
    }
    return sqrt(v <= INT64_MAX ? (double)(int64_t)v : (double)v); /* the wide conversion is a slow call */
}

static const double *by_decodes(const struct table_state *s, const double *shift, uint32_t n)
{
    return &shift[n < s->n_decodes ? n : s->n_decodes - 1];
}

struct line {
    sim_wide base, slope;
    uint64_t valid;
};

/* The last knot at or below `ctx`, or the first one. */
static uint32_t knot_below(const struct table_state *s, uint64_t n, int64_t ctx)
{
    uint32_t low = 0, high = s->n_knots;
    while (high - low > 1) {
        uint32_t mid = (low + high) / 2;
        if ((int64_t)knot_ctx(s, n, mid) <= ctx) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return low;
}

/* Decode attention as a line in k, the sum of contexts growing by n. */
static struct line decode_line(const struct table_state *s, const struct batch_shape *b)
{
    uint64_t n = b->n_decode;
    if (n == 0) {
        return (struct line){0, 0, UINT64_MAX};
    }
    uint32_t row = n < s->n_decodes ? (uint32_t)n : s->n_decodes - 1;
    const struct knot *k = &s->knot[(size_t)row * s->n_knots];
    int64_t ctx = (int64_t)b->decode_ctx_tok + (int64_t)(*by_decodes(s, s->pure, b->n_decode) * spread(b));
    ctx = ctx > 0 ? ctx : 0;
    uint32_t j = knot_below(s, n, ctx);
    /* A row beyond the last stands in for more sequences, in proportion. */
    sim_wide base = row == n ? k[j].base : (sim_wide)k[j].base * (sim_wide)n / row;
    int64_t from = (int64_t)knot_ctx(s, n, j);
    struct line l = {base, 0, UINT64_MAX};
    if (ctx < from) {
        l.valid = (uint64_t)(from - 1 - ctx) / n + 1;
        return l;
    }
    l.base += (sim_wide)k[j].slope * (ctx - from);
    l.slope = (sim_wide)k[j].slope * (sim_wide)n;
    if (j + 1 < s->n_knots) {
        l.valid = (uint64_t)((int64_t)knot_ctx(s, n, j + 1) - 1 - ctx) / n + 1;
    }
    return l;
}

/* Chunks of a step as chunks of one length without context, of the same number of pairs. */
static double fresh_us(const struct profile_term *t, const struct batch_shape *b)
{
    double chunks = b->n_prefill;
    double x[] = {chunks, sqrt(2 * (double)b->prefill_pairs / chunks)};
    return t->count * look_up(t, x);
}

/* The chunks count as one with as many tokens and pairs. x[2] and x[3] are the decodes, where t has them. */
static double chunk_us(const struct profile_term *t, const struct batch_shape *b, double *x)
{
    double q = (double)b->prefill_tok;
    double ctx = ((double)b->prefill_pairs - q * (q + 1) / 2) / q;
    x[0] = q;
    x[1] = ctx > 0 ? ctx : 0;
    double us = look_up(t, x);
    if (ctx < 0) {
        uint32_t i = 0;
        while (i + 1 < t->n[1] && t->at[1][i] < SLOPE_CTX) {
            i++;
        }
        x[1] = t->at[1][i];
        double slope = x[1] > 0 ? (look_up(t, x) - us) / x[1] : 0;
        us = fmax(us + ctx * slope, us / 2);
    }
    return t->count * us;
}

/* Chunks and decodes in one kernel, as measured with one chunk. */
static double both_us(const struct table_state *s, const struct batch_shape *b)
{
    double n = b->n_decode;
    double mean = n > 0 ? ((double)b->decode_ctx_tok +
                           *by_decodes(s, s->mixed, b->n_decode) * spread(b)) / n : 0;
    return chunk_us(s->both, b, (double[]){0, 0, n, mean > 0 ? mean : 0});
}

/* A kernel for the chunks, beside that of the decodes. */
static double prefill_us(const struct table_state *s, const struct batch_shape *b)
{
    double us = s->chunk ? chunk_us(s->chunk, b, (double[]){0, 0}) : 0;
    return us + (s->prefill ? fresh_us(s->prefill, b) : 0);
}

static sim_wide fixed_ticks(const struct table_state *s, const struct batch_shape *b)
{
    return (sim_wide)ramp_at(&s->tokens, b->prefill_tok + b->n_decode) +
           ramp_at(&s->rows, (uint64_t)b->n_decode + b->prefill_done) + s->step_tick +
           (sim_wide)s->seq_tick * ((sim_wide)b->n_decode + b->n_prefill);
}

static void table_iteration(const void *state, const struct batch_shape *b, struct cost_affine *ret)
{
    const struct table_state *s = state;
    if (b->prefill_tok > 0 && s->both) {
        cost_finish(ret, fixed_ticks(s, b) + cost_coef(both_us(s, b) * 1e-6), 0, 1);
        return;
    }
    struct line l = decode_line(s, b);
    if (b->prefill_tok > 0) {
        cost_finish(ret, l.base + fixed_ticks(s, b) + cost_coef(prefill_us(s, b) * 1e-6), 0, 1);
        return;
    }
    cost_finish(ret, l.base + fixed_ticks(s, b), l.slope, l.valid);
}

/* ---- layer by layer ---- */

/* Terms of the routed experts (family "moe") at `tok` tokens. */
static double moe_s(const struct table_state *s, uint64_t tok)
{
    double us = 0, x = (double)padded(s, tok);
    for (uint32_t i = 0; i < s->profile.n_terms; i++) {
        const struct profile_term *t = &s->profile.term[i];
        bool counts = t->axis[0] == AXIS_TOKENS && t->n_axes == 1 && takes_part(s, t, (uint32_t)tok);
        us += counts && strcmp(t->family, "moe") == 0 ? t->count * look_up(t, &x) : 0;
    }
    return us * 1e-6;
}

/* Host time in front, sampled rows behind, the experts' own tables in the MoE layers, all else in even parts.
 * The tables know a layer's experts together, so one costs its part of those that the tokens should hit. */
static void table_parts(const void *state, const struct batch_shape *b, struct cost_parts *ret)
{
    const struct table_state *s = state;
    struct cost_affine whole;
    uint64_t tok = b->prefill_tok + b->n_decode;
    table_iteration(state, b, &whole);
    ret->front = (sim_tick)(s->step_tick + s->seq_tick * ((int64_t)b->n_decode + b->n_prefill));
    ret->back = (sim_tick)ramp_at(&s->rows, (uint64_t)b->n_decode + b->prefill_done);
    if (s->moe_layers > 0) {
        double one = moe_s(s, tok) / s->moe_layers;
        double hit = s->top_k < s->experts ? s->experts * -expm1((double)tok * log1p(-s->top_k / s->experts))
                                           : s->experts;
        ret->experts = cost_coef(one);
        ret->expert.read = hit > 0 ? one / hit : 0;
    }
    ret->attn = (whole.base - ret->front - ret->back - ret->experts * s->moe_layers) / s->layers;
}

static int table_outside(const void *state, const struct batch_shape *b)
{
    const struct table_state *s = state;
    return b->prefill_tok + b->n_decode >= s->tokens.n || b->n_decode > s->last_decodes ||
           (double)b->decode_ctx_tok > s->last_context * b->n_decode;
}

const struct cost_ops cost_table = {
    .name = "table",
    .summary = "measured kernel times: a profile written by steelyard fit",
    .source = "tables of the profile, see its provenance; overheads of vLLM V1",
    .state_size = sizeof(struct table_state),
    .options = table_options,
    .init = table_init,
    .iteration = table_iteration,
    .parts = table_parts,
    .outside = table_outside,
};
