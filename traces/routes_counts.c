/* SPDX-License-Identifier: Apache-2.0
 *
 * Independent draws by how often experts are used. A token takes top_k experts without replacement such
 * that each is in with the probability that its count asks for: scores are logit(probability) plus logistic
 * noise and the highest are taken (Pareto sampling; Rosen 1997), which meets the probabilities to within a
 * percent or so. A single one is drawn by log(probability) plus Gumbel noise, which meets them exactly.
 *
 * With counts of pairs the first expert is drawn by count and the others by their joint counts with it, so
 * that both kinds of counts come out. */
#include "traces/routes.h"

#include <math.h>
#include <string.h>

#include "sim/core/rng.h"
#include "traces/route_file.h"

struct counted_routes {
    const char *file;
    int64_t experts, top_k;
    double cv, temperature;
    struct route_counts counts;
    struct routes_shape shape;
    float *logit;    /* [layer][expert]; with pairs [layer][first][expert] */
    double *chances; /* [layer][expert], summed up: of being first, with pairs */
    struct rng_stream noise, first;
    float score[ROUTE_EXPERTS_MAX];
};

#define FIELD(f) offsetof(struct counted_routes, f)

static const struct opt_row counted_rows[] = {
    {"file", OPT_STRING, FIELD(file), 0, 0, NULL, NULL,
     "Counts, CSV or gzip: layer, expert, count; or layer, expert, rank; or layer, expert, peer, count.", NULL},
    {"experts", OPT_INT, FIELD(experts), 0, ROUTE_EXPERTS_MAX, "0", "1",
     "Routed experts of a layer; 0 is the model's, or the highest number in the file and one.", NULL},
    {"top_k", OPT_INT, FIELD(top_k), 0, ROUTE_TOP_K_MAX, "0", "1", "Experts of a token; 0 is the model's.", NULL},
    {"cv", OPT_DOUBLE, FIELD(cv), 0, 1, "0.15", "1",
     "Spread of the counts where the file only has an order; Mixtral's is .04 to .25 (OLMoE's counts of it).",
     NULL},
    {"temperature", OPT_DOUBLE, FIELD(temperature), 1e-3, 1e3, "1", "1",
     "Of the softmax that makes gate weights from scores.", NULL},
    OPT_END,
};

#define CHANCE_MIN 1e-9
#define CHANCE_MAX (1 - 1e-6)

/* Chances proportional to `v` that sum to k and are at most 1: those above are cut, the others scaled up. */
static void chances_of(const double *v, uint32_t n, uint32_t k, double *chance)
{
    double scale = 0;
    for (uint32_t round = 0; round <= n; round++) {
        double rest = 0, cut = 0;
        for (uint32_t i = 0; i < n; i++) {
            bool full = round > 0 && v[i] * scale >= 1;
            cut += full;
            rest += full ? 0 : v[i];
        }
        double next = rest > 0 ? (k - cut) / rest : scale;
        if (next <= scale) {
            break;
        }
        scale = next;
    }
    for (uint32_t i = 0; i < n; i++) {
        chance[i] = fmin(fmax(v[i] * scale, CHANCE_MIN), CHANCE_MAX);
    }
}

static void logits_of(const double *v, uint32_t n, uint32_t k, float *logit)
{
    double chance[ROUTE_EXPERTS_MAX];
    chances_of(v, n, k, chance);
    for (uint32_t i = 0; i < n; i++) {
        logit[i] = (float)(k == 1 ? log(chance[i]) : log(chance[i] / (1 - chance[i])));
    }
}

/* Of the file's row, as wide as the model is. */
static void widened(const double *from, uint32_t n, double *to, uint32_t wide)
{
    memset(to, 0, wide * sizeof(*to));
    memcpy(to, from, n * sizeof(*to));
}

static void prepare_layer(struct counted_routes *s, uint32_t layer)
{
    const struct route_counts *c = &s->counts;
    double v[ROUTE_EXPERTS_MAX], sum = 0;
    size_t n = s->shape.experts, from = (size_t)layer * c->experts;
    widened(c->count + from, c->experts, v, s->shape.experts);
    if (!c->paired) {
        logits_of(v, s->shape.experts, s->shape.top_k, s->logit + layer * n);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += v[i];
        s->chances[layer * n + i] = sum;
    }
    for (uint32_t i = 0; i < c->experts; i++) {
        widened(c->pair + (from + i) * c->experts, c->experts, v, s->shape.experts);
        logits_of(v, s->shape.experts, s->shape.top_k - 1, s->logit + (layer * n + i) * n);
    }
}

static int prepare(struct counted_routes *s, struct arena *a, struct err *e)
{
    size_t n = s->shape.experts, layers = s->shape.layers;
    s->logit = arena_calloc(a, layers * n * (s->counts.paired ? n : 1), sizeof(float));
    s->chances = arena_calloc(a, layers * n, sizeof(double));
    if (!s->logit || !s->chances) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t l = 0; l < layers; l++) {
        prepare_layer(s, l);
    }
    return 0;
}

static int empty_layer(const struct counted_routes *s, struct err *e)
{
    const struct route_counts *c = &s->counts;
    for (size_t l = 0; l < c->layers; l++) {
        double sum = 0;
        for (size_t i = 0; i < c->experts; i++) {
            sum += c->count[l * c->experts + i];
        }
        if (!(sum > 0)) {
            return err_set(e, SIM_E_DATA, "%s: the %zu. of %u layers has no counts", s->file, l + 1, c->layers);
        }
    }
    return 0;
}

static int settle(struct counted_routes *s, struct routes *r, const struct routes_env *env, struct err *e)
{
    const struct route_counts *c = &s->counts;
    uint32_t experts = s->experts ? (uint32_t)s->experts : env->shape.experts;
    uint32_t k = s->top_k ? (uint32_t)s->top_k : env->shape.top_k;
    s->shape = (struct routes_shape){experts ? experts : c->experts, k, c->layers};
    if (k == 0) {
        return err_set(e, SIM_E_CONFIG, "routes counts: top_k is missing");
    }
    if (s->shape.experts < c->experts) {
        return err_set(e, SIM_E_CONFIG, "%s: has expert %u, of %u", s->file, c->experts - 1, s->shape.experts);
    }
    const char *from = arena_printf(routes_arena(r), "independent draws by %s, %s",
                                    c->paired ? "joint counts" : c->ranked ? "order" : "counts", s->file);
    return from ? routes_set_shape(r, s->shape, from, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int open_counts(void *state, struct routes *r, const struct routes_env *env, struct err *e)
{
    struct counted_routes *s = state;
    struct route_file f;
    if (!s->file) {
        return err_set(e, SIM_E_CONFIG, "routes counts: file= is missing");
    }
    int rc = route_file_open(&f, s->file, routes_arena(r), e);
    rc = rc == 0 ? route_counts_read(&s->counts, &f, s->cv, routes_arena(r), e) : rc;
    route_file_close(&f);
    rc = rc == 0 ? empty_layer(s, e) : rc;
    rc = rc == 0 ? settle(s, r, env, e) : rc;
    s->noise = rng_stream(env->seed, env->replication, "route-noise");
    s->first = rng_stream(env->seed, env->replication, "route-first");
    return rc == 0 ? prepare(s, routes_arena(r), e) : rc;
}

/* ---- a token ---- */

static uint64_t draw_of(uint32_t pos, uint32_t layer, uint32_t i)
{
    return (uint64_t)pos << 32 | layer << 16 | i;
}

static uint32_t draw_first(const struct counted_routes *s, uint64_t seq, uint32_t pos, uint32_t layer)
{
    uint32_t n = s->shape.experts, lo = 0, hi = n - 1;
    const double *sum = s->chances + (size_t)layer * n;
    double u = rng_uniform(s->first, seq, draw_of(pos, layer, 0)) * sum[n - 1];
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (sum[mid] > u) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static void counts_at(void *state, uint64_t seq, uint32_t pos, uint32_t layer, struct route *ret)
{
    struct counted_routes *s = state;
    uint32_t n = s->shape.experts, first = s->counts.paired ? draw_first(s, seq, pos, layer) : 0;
    uint32_t draws = s->shape.top_k - s->counts.paired;
    size_t row = s->counts.paired ? (size_t)layer * n + first : layer;
    float top = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        double u = rng_uniform(s->noise, seq, draw_of(pos, layer, i));
        s->score[i] = s->logit[row * n + i] + (float)(draws == 1 ? -log(-log(u)) : log(u / (1 - u)));
        top = fmaxf(top, s->score[i]);
    }
    if (s->counts.paired) {
        s->score[first] = top + 0.5f; /* it leads; by how much the file does not say */
    }
    route_choose(ret, s->score, &s->shape, s->temperature);
}

const struct routes_ops routes_counts = {
    .name = "counts",
    .summary = "independent draws by the popularity of experts, or of pairs of them, from a file",
    .source = "CSV, plain or gzip: layer, expert, count; layer, expert, rank; layer, expert, peer, count",
    .state_size = sizeof(struct counted_routes),
    .options = counted_rows,
    .open = open_counts,
    .at = counts_at,
};
