/* SPDX-License-Identifier: Apache-2.0
 *
 * A router with latent factors. Expert e of layer l has a direction u(l,e) on the unit sphere of R^d and a
 * bias a(l,e) ~ N(0, sigma_a^2); the token at position t of sequence s has in layer l the vector
 *
 *   z = sqrt(w_q) q + sqrt(w_f) f(t) + sqrt(1 - w_q - w_f) n(t),   each = sqrt(c) common + sqrt(1-c) own
 *
 * with q constant over the sequence, f an AR(1) walk along it and n fresh for every token; "common" is the
 * same in all layers, "own" belongs to one layer. Scores are a + u.z + sigma_n N(0,1). So sigma_a makes
 * the global skew, w_q the skew inside a sequence, (w_f, rho) the reuse from token to token, small d
 * clusters of experts that work together, sigma_n loosens these, and c makes the next layer predictable.
 *
 * Directions and biases are the model's: they hang on `weights_seed`, not on the run's seed, so that what
 * was profiled offline holds in every replication. */
#include "traces/routes_synth.h"

#include <math.h>
#include <string.h>

#include "traces/routes_noise.h"

#define OF_PRESET "-1"
#define SEQUENCES 256 /* whose last positions are kept: as many as a usual batch */
#define COMMON    0    /* "layer" of the components that all layers share */

struct slot {
    bool full;
    uint64_t seq;
    uint32_t run; /* pos / NOISE_RUN */
    float *z;     /* [NOISE_RUN][dim] */
};

struct synth_router {
    /* options */
    const char *preset;
    int64_t experts, top_k, layers, dim, weights_seed, domains, domain_run, groups, top_groups;
    double sigma_a, w_q, w_f, rho, sigma_n, c, temperature, domain_share, domain_drift, drift_tok;
    /* at work */
    struct routes_shape shape;
    struct rng_stream q, q_domain, which_domain, walk, fresh, noise;
    struct noise_walk f_walk, q_walk, domain_walk;
    float *u;     /* [layers][experts][dim] */
    float *a;     /* [layers][experts] */
    float *score; /* of the last answer */
    float *open;  /* the same, without groups that are closed to it; NULL = there are none */
    struct slot *slots;
    float *slot_z;
};

#define FIELD(f) offsetof(struct synth_router, f)

static const struct opt_row synth_rows[] = {
    {"preset", OPT_STRING, FIELD(preset), 0, 0, NULL, NULL,
     "Fitted parameter set; default: the one of the model's name.", NULL},
    {"experts", OPT_INT, FIELD(experts), -1, ROUTE_EXPERTS_MAX, OF_PRESET, "1",
     "Routed experts of a layer; -1 is the model's or the preset's.", NULL},
    {"top_k", OPT_INT, FIELD(top_k), -1, ROUTE_TOP_K_MAX, OF_PRESET, "1", "Experts of a token.", NULL},
    {"layers", OPT_INT, FIELD(layers), -1, ROUTE_LAYERS_MAX, OF_PRESET, "1", "MoE layers.", NULL},
    {"d", OPT_INT, FIELD(dim), -1, NOISE_DIM_MAX, OF_PRESET, "1",
     "Latent dimensions: fewer give stronger clusters of experts; -1 here and below is the preset's.", NULL},
    {"sigma_a", OPT_DOUBLE, FIELD(sigma_a), -1, 10, OF_PRESET, "1", "Spread of the experts' biases: global skew.",
     NULL},
    {"w_q", OPT_DOUBLE, FIELD(w_q), -1, 1, OF_PRESET, "1", "Weight of what a sequence is about.", NULL},
    {"w_f", OPT_DOUBLE, FIELD(w_f), -1, 1, OF_PRESET, "1", "Weight of what carries over from token to token.",
     NULL},
    {"rho", OPT_DOUBLE, FIELD(rho), -1, 0.999, OF_PRESET, "1", "How much of it carries over.", NULL},
    {"sigma_n", OPT_DOUBLE, FIELD(sigma_n), -1, 10, OF_PRESET, "1", "Noise of each score.", NULL},
    {"c", OPT_DOUBLE, FIELD(c), -1, 1, OF_PRESET, "1", "Share that all layers have in common.", NULL},
    {"groups", OPT_INT, FIELD(groups), -1, ROUTE_EXPERTS_MAX, OF_PRESET, "1",
     "Groups of experts, of which a token uses the best by the sum of their two highest scores (DeepSeek-V3); 0: none.",
     NULL},
    {"top_groups", OPT_INT, FIELD(top_groups), -1, ROUTE_EXPERTS_MAX, OF_PRESET, "1", "Groups of a token.", NULL},
    {"temperature", OPT_DOUBLE, FIELD(temperature), 1e-3, 1e3, "1", "1",
     "Of the softmax that makes gate weights from scores.", NULL},
    {"weights_seed", OPT_INT, FIELD(weights_seed), 0, 9.2e18, "0", "1",
     "Draws the experts: another number is another model of the same statistics.", NULL},
    {"domains", OPT_INT, FIELD(domains), 0, 1e9, "0", "1",
     "Subjects that sequences are about; 0: each has its own.", NULL},
    {"domain_share", OPT_DOUBLE, FIELD(domain_share), 0, 1, "0.7", "1",
     "Of the variance of q, what comes from the subject.", NULL},
    {"domain_run", OPT_INT, FIELD(domain_run), 0, 1e12, "0", "1",
     "Sequences in a row with one subject, then it shifts; 0: drawn for each sequence.", NULL},
    {"domain_drift", OPT_DOUBLE, FIELD(domain_drift), 0, 99999, "0", "1",
     "A subject drifts: it forgets with this length in sequences, by their number; 0: it stays what it is.", NULL},
    {"drift", OPT_DOUBLE, FIELD(drift_tok), 0, 99999, "0", "tok",
     "q drifts: it forgets with this length in tokens; 0: it stays for the whole sequence.", NULL},
    OPT_END,
};

/* ---- parameters ---- */

static int unknown_preset(const char *name, struct err *e)
{
    const char *names[64];
    size_t n = 0;
    for (; router_presets[n].name && n < 64; n++) {
        names[n] = router_presets[n].name;
    }
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "routes synth: preset '%.80s' is not known%s%s%s", name,
                   near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}

static int find_preset(const struct synth_router *s, const struct routes_env *env,
                       const struct router_preset **ret, struct err *e)
{
    const char *name = s->preset ? s->preset : env->model;
    *ret = name ? router_preset_find(name) : NULL;
    if (s->preset && !*ret) {
        return unknown_preset(s->preset, e);
    }
    return 0;
}

static void otherwise(double *v, double preset)
{
    *v = *v < 0 ? preset : *v;
}

static void take_preset(struct synth_router *s, const struct router_preset *p)
{
    s->dim = s->dim < 0 ? p->dim : s->dim;
    otherwise(&s->sigma_a, p->sigma_a);
    otherwise(&s->w_q, p->w_q);
    otherwise(&s->w_f, p->w_f);
    otherwise(&s->rho, p->rho);
    otherwise(&s->sigma_n, p->sigma_n);
    otherwise(&s->c, p->c);
    for (const struct router_limit *l = router_limits; l->preset && s->groups < 0; l++) {
        if (strcmp(l->preset, p->name) == 0) {
            s->groups = l->groups;
            s->top_groups = s->top_groups < 0 ? l->top_groups : s->top_groups;
        }
    }
}

static uint32_t first_of(int64_t option, uint32_t env, const struct router_preset *p, uint32_t preset)
{
    return option >= 0 ? (uint32_t)option : env ? env : p ? preset : 0;
}

static bool complete(const struct synth_router *s)
{
    return s->dim > 0 && s->sigma_a >= 0 && s->w_q >= 0 && s->w_f >= 0 && s->rho >= 0 && s->sigma_n >= 0 &&
           s->c >= 0 && s->shape.experts > 0 && s->shape.top_k > 0 && s->shape.layers > 0;
}

static int check_groups(const struct synth_router *s, struct err *e)
{
    int64_t each = s->groups > 0 ? s->shape.experts / s->groups : 0;

    if (s->groups <= 0) {
        return 0;
    }
    if (s->shape.experts % s->groups != 0 || each < 2) {
        return err_set(e, SIM_E_CONFIG, "routes synth: groups: %u experts are not %lld groups of two or more",
                       s->shape.experts, (long long)s->groups);
    }
    if (s->top_groups < 1 || s->top_groups > s->groups || s->top_groups * each < s->shape.top_k) {
        return err_set(e, SIM_E_CONFIG, "routes synth: top_groups: %lld of %lld groups have no %u experts",
                       (long long)s->top_groups, (long long)s->groups, s->shape.top_k);
    }
    return 0;
}

static int settle(struct synth_router *s, struct routes *r, const struct routes_env *env, struct err *e)
{
    const struct router_preset *p;
    int rc = find_preset(s, env, &p, e);
    if (rc < 0) {
        return rc;
    }
    s->shape.experts = first_of(s->experts, env->shape.experts, p, p ? p->shape.experts : 0);
    s->shape.top_k = first_of(s->top_k, env->shape.top_k, p, p ? p->shape.top_k : 0);
    s->shape.layers = first_of(s->layers, env->shape.layers, p, p ? p->shape.layers : 0);
    if (p) {
        take_preset(s, p);
    }
    if (!complete(s)) {
        return err_set(e, SIM_E_CONFIG, "routes synth: there is no fitted parameter set for %s; name one with "
                       "preset=, or give experts, top_k, layers, d, sigma_a, w_q, w_f, rho, sigma_n and c",
                       env->model ? env->model : "no model");
    }
    if (s->w_q + s->w_f > 1) {
        return err_set(e, SIM_E_CONFIG, "routes synth: w_q %g and w_f %g are more than 1 together", s->w_q,
                       s->w_f);
    }
    if (check_groups(s, e) < 0) {
        return e->code;
    }
    const char *from = arena_printf(routes_arena(r), "latent-factor router, %s: %s", p ? p->name : "own parameters",
                                    p ? p->provenance : "not fitted");
    return from ? routes_set_shape(r, s->shape, from, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- the model ---- */

static void normalise(float *v, uint32_t n)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += (double)v[i] * (double)v[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        v[i] = (float)((double)v[i] / sqrt(sum));
    }
}

static void draw_experts(struct synth_router *s)
{
    struct rng_stream dir = rng_stream((uint64_t)s->weights_seed, 0, "route-experts");
    struct rng_stream bias = rng_stream((uint64_t)s->weights_seed, 0, "route-biases");
    uint32_t n = s->shape.experts, d = (uint32_t)s->dim;
    for (uint32_t l = 0; l < s->shape.layers; l++) {
        float *a = s->a + (size_t)l * n;
        for (uint32_t x = 0; x < n; x++) {
            float *u = s->u + ((size_t)l * n + x) * d;
            noise_normals(dir, l, x, 0, u, d);
            normalise(u, d);
        }
        noise_normals(bias, l, 0, 0, a, n);
        for (uint32_t x = 0; x < n; x++) {
            a[x] *= (float)s->sigma_a;
        }
    }
}

static int allocate(struct synth_router *s, struct arena *ar, struct err *e)
{
    size_t n = (size_t)s->shape.layers * s->shape.experts, d = (size_t)s->dim;
    s->u = arena_calloc(ar, n * d, sizeof(float));
    s->a = arena_calloc(ar, n, sizeof(float));
    s->score = arena_calloc(ar, s->shape.experts, sizeof(float));
    s->open = s->groups > 0 ? arena_calloc(ar, s->shape.experts, sizeof(float)) : s->score;
    size_t slots = SEQUENCES * ((size_t)s->shape.layers + 1);
    s->slots = arena_calloc(ar, slots, sizeof(*s->slots));
    s->slot_z = arena_calloc(ar, slots * NOISE_RUN * d, sizeof(float));
    if (!s->u || !s->a || !s->score || !s->open || !s->slots || !s->slot_z) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < slots; i++) {
        s->slots[i].z = s->slot_z + i * NOISE_RUN * d;
    }
    return 0;
}

static int open_synth(void *state, struct routes *r, const struct routes_env *env, struct err *e)
{
    struct synth_router *s = state;
    int rc = settle(s, r, env, e);
    rc = rc == 0 ? allocate(s, routes_arena(r), e) : rc;
    if (rc < 0) {
        return rc;
    }
    s->q = rng_stream(env->seed, env->replication, "route-sequence");
    s->q_domain = rng_stream((uint64_t)s->weights_seed, 0, "route-domain");
    s->which_domain = rng_stream(env->seed, env->replication, "route-which-domain");
    s->walk = rng_stream(env->seed, env->replication, "route-walk");
    s->fresh = rng_stream(env->seed, env->replication, "route-token");
    s->noise = rng_stream(env->seed, env->replication, "route-noise");
    s->f_walk = noise_walk(s->rho);
    s->domain_walk = noise_walk(s->domain_drift > 0 ? exp(-1 / s->domain_drift) : 0);
    s->q_walk = noise_walk(s->drift_tok > 0 ? exp(-1 / s->drift_tok) : 0);
    draw_experts(s);
    return 0;
}

/* ---- the components of a token ---- */

static void add_scaled(float *to, const float *v, double scale, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        to[i] += (float)scale * v[i];
    }
}

static uint64_t domain_of(const struct synth_router *s, uint64_t seq)
{
    uint64_t last = (uint64_t)s->domains - 1;
    if (s->domain_run > 0) {
        return seq / (uint64_t)s->domain_run % (uint64_t)s->domains;
    }
    return rng_range(s->which_domain, seq, 0, 0, last);
}

/* What the sequence's subject contributes to q. A subject that drifts walks along the numbers of the
 * sequences, which are taken as their order in time. */
static void domain_q(const struct synth_router *s, uint64_t seq, uint32_t layer, float *q)
{
    float run[NOISE_RUN * NOISE_DIM_MAX];
    uint32_t d = (uint32_t)s->dim, at = (uint32_t)(seq & 0x7fffffff);

    if (s->domain_drift > 0) {
        noise_walk_run(&s->domain_walk, s->q_domain, domain_of(s, seq), at - at % NOISE_RUN, layer, run, d);
        memcpy(q, run + at % NOISE_RUN * d, d * sizeof(*q));
    } else {
        noise_normals(s->q_domain, domain_of(s, seq), 0, layer, q, d);
    }
}

/* q of the sequence at the positions of a run, times `scale`. */
static void add_q(const struct synth_router *s, float *z, uint64_t seq, uint32_t from, uint32_t layer,
                  double scale)
{
    float q[NOISE_RUN * NOISE_DIM_MAX], of_domain[NOISE_DIM_MAX];
    uint32_t d = (uint32_t)s->dim;
    double share = s->domains > 0 ? s->domain_share : 0;
    bool drifts = s->drift_tok > 0;
    if (drifts) {
        noise_walk_run(&s->q_walk, s->q, seq, from, layer, q, d);
    } else {
        noise_normals(s->q, seq, 0, layer, q, d);
    }
    if (share > 0) {
        domain_q(s, seq, layer, of_domain);
    }
    for (uint32_t i = 0; i < NOISE_RUN; i++) {
        add_scaled(z + i * d, q + (drifts ? i * d : 0), scale * sqrt(1 - share), d);
        if (share > 0) {
            add_scaled(z + i * d, of_domain, scale * sqrt(share), d);
        }
    }
}

/* z, without what other layers contribute, at the positions of a run; layer COMMON or 1 + MoE layer. */
static void fill_run(const struct synth_router *s, float *z, uint64_t seq, uint32_t from, uint32_t layer)
{
    float v[NOISE_RUN * NOISE_DIM_MAX];
    uint32_t d = (uint32_t)s->dim;
    double share = layer == COMMON ? s->c : 1 - s->c;
    memset(z, 0, NOISE_RUN * d * sizeof(*z));
    if (s->w_q > 0) {
        add_q(s, z, seq, from, layer, sqrt(s->w_q * share));
    }
    if (s->w_f > 0) {
        noise_walk_run(&s->f_walk, s->walk, seq, from, layer, v, d);
        add_scaled(z, v, sqrt(s->w_f * share), NOISE_RUN * d);
    }
    for (uint32_t i = 0; i < NOISE_RUN; i++) {
        noise_normals(s->fresh, seq, from + i, layer, v, d);
        add_scaled(z + i * d, v, sqrt((1 - s->w_q - s->w_f) * share), d);
    }
}

/* A slot is only a memory of a pure function: who was there before changes the time, not the answer. */
static const float *run_of(struct synth_router *s, uint64_t seq, uint32_t pos, uint32_t layer)
{
    uint32_t run = pos / NOISE_RUN;
    struct slot *k = &s->slots[seq % SEQUENCES * (s->shape.layers + 1) + layer];
    if (!k->full || k->seq != seq || k->run != run) {
        fill_run(s, k->z, seq, run * NOISE_RUN, layer);
        *k = (struct slot){.full = true, .seq = seq, .run = run, .z = k->z};
    }
    return k->z + (size_t)(pos % NOISE_RUN) * (size_t)s->dim;
}

static void token_vector(struct synth_router *s, uint64_t seq, uint32_t pos, uint32_t layer, float *z)
{
    uint32_t d = (uint32_t)s->dim;
    memset(z, 0, d * sizeof(*z));
    if (s->c > 0) {
        add_scaled(z, run_of(s, seq, pos, COMMON), 1, d);
    }
    if (s->c < 1) {
        add_scaled(z, run_of(s, seq, pos, layer + 1), 1, d);
    }
}

/* ---- groups ---- */

#define CLOSED (-1e30f)

static float two_highest(const float *v, uint32_t n)
{
    float a = v[0] > v[1] ? v[0] : v[1], b = v[0] > v[1] ? v[1] : v[0];
    for (uint32_t i = 2; i < n; i++) {
        b = v[i] > a ? a : v[i] > b ? v[i] : b;
        a = v[i] > a ? v[i] : a;
    }
    return a + b;
}

/* A token may use the top_groups best groups (DeepSeek-V3 report, 2.1.2: node-limited routing). */
static void close_groups(const struct synth_router *s)
{
    uint32_t n = (uint32_t)s->groups, each = s->shape.experts / n;
    float sum[ROUTE_EXPERTS_MAX];
    for (uint32_t g = 0; g < n; g++) {
        sum[g] = two_highest(s->score + g * each, each);
    }
    for (uint32_t g = 0; g < n; g++) {
        uint32_t better = 0;
        for (uint32_t h = 0; h < n; h++) {
            better += sum[h] > sum[g] || (sum[h] == sum[g] && h < g);
        }
        for (uint32_t i = g * each; i < (g + 1) * each; i++) {
            s->open[i] = better < s->top_groups ? s->score[i] : CLOSED;
        }
    }
}

static void synth_at(void *state, uint64_t seq, uint32_t pos, uint32_t layer, struct route *ret)
{
    struct synth_router *s = state;
    uint32_t n = s->shape.experts, d = (uint32_t)s->dim;
    const float *u = s->u + (size_t)layer * n * d, *a = s->a + (size_t)layer * n;
    float z[NOISE_DIM_MAX], noise[ROUTE_EXPERTS_MAX];
    token_vector(s, seq, pos, layer, z);
    noise_normals(s->noise, seq, pos, layer, noise, s->sigma_n > 0 ? n : 0);
    for (uint32_t x = 0; x < n; x++, u += d) {
        float dot = s->sigma_n > 0 ? a[x] + (float)s->sigma_n * noise[x] : a[x];
        for (uint32_t i = 0; i < d; i++) {
            dot += u[i] * z[i];
        }
        s->score[x] = dot;
    }
    if (s->groups > 0) {
        close_groups(s);
    }
    route_choose(ret, s->open, &s->shape, s->temperature);
    ret->score = s->score;
}

_Static_assert(NOISE_DIM_MAX <= ROUTE_LATENT_MAX, "a latent vector has room");

static uint32_t synth_latent(void *state, uint64_t seq, uint32_t pos, uint32_t layer, float *ret)
{
    struct synth_router *s = state;
    token_vector(s, seq, pos, layer, ret);
    return (uint32_t)s->dim;
}

const struct routes_ops routes_synth = {
    .name = "synth",
    .summary = "latent-factor router with parameter sets fitted to real models",
    .source = "generated",
    .state_size = sizeof(struct synth_router),
    .options = synth_rows,
    .open = open_synth,
    .at = synth_at,
    .latent = synth_latent,
};
