/* SPDX-License-Identifier: Apache-2.0
 *
 * MoE-Infinity's activation-aware prefetch (arXiv 2401.14361; its repository, memory/expert_tracer.py and
 * expert_predictor.py). Every running sequence counts how often it activated each expert of each layer: its
 * expert activation matrix. Those of sequences that have ended are kept, up to a capacity, the least looked-up one
 * giving way. Behind each gate the kept matrix most like the sequence's own - mean cosine over the layers in
 * which it has been active - says what comes:
 *   priority of (l, e) seen from layer x = share of e in row l * (1 - (l - x) / (layers + 1))
 * The line of guesses is made anew from it each time; demands come first anyway. Of a layer no more are named
 * than it has slots. With several sequences in a step their priorities add up.
 *
 * A policy is not told when a sequence ends: one that is not in a step any more has ended. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/experts.h"

struct running {
    uint64_t sequence;
    bool used, seen;
    float *count;   /* [layers][experts] */
    float *cosine;  /* [capacity][layers] with the kept matrices */
    uint64_t learnt; /* as of which change of the collection */
};

struct rank {
    float priority;
    uint32_t item;
};

struct eam {
    int64_t capacity, sequences, width;
    struct arena *arena;
    uint32_t layers, experts, slots;
    struct running *run; /* [sequences] */
    /* the collection */
    uint32_t kept;
    uint64_t changes;
    float *matrix;    /* [capacity][layers][experts]: shares, a row adds up to 1 or is empty */
    uint64_t *looked; /* [capacity] */
    /* of a gate */
    float *priority; /* [layers * experts] */
    struct rank *rank;
    uint32_t *named; /* [layers] */
};

static const struct opt_row eam_options[] = {
    {.name = "capacity", .type = OPT_INT, .offset = offsetof(struct eam, capacity), .min = 1, .max = 1e4,
     .def = "120", .unit = "1", .help = "matrices of past sequences that are kept"},
    {.name = "sequences", .type = OPT_INT, .offset = offsetof(struct eam, sequences), .min = 1, .max = 1e4,
     .def = "256", .unit = "1", .help = "running sequences that are followed; further ones are not"},
    {.name = "width", .type = OPT_INT, .offset = offsetof(struct eam, width), .min = 0, .max = 1e6, .def = "0",
     .unit = "1", .help = "experts named behind a gate at most; 0 = all that were ever active"},
    OPT_END,
};

static int eam_init(void *st, const struct expert_env *env, struct err *e)
{
    struct eam *m = st;
    size_t items = (size_t)env->layers * env->experts, p = (size_t)m->capacity;

    m->arena = env->arena;
    m->layers = env->layers;
    m->experts = env->experts;
    m->slots = env->rooms == 1 ? env->experts : env->slots;
    m->run = arena_calloc(env->arena, (size_t)m->sequences, sizeof *m->run);
    m->matrix = arena_calloc(env->arena, p * items, sizeof *m->matrix);
    m->looked = arena_calloc(env->arena, p, sizeof *m->looked);
    m->priority = arena_calloc(env->arena, items, sizeof *m->priority);
    m->rank = arena_calloc(env->arena, items, sizeof *m->rank);
    m->named = arena_calloc(env->arena, env->layers, sizeof *m->named);
    return m->run && m->matrix && m->looked && m->priority && m->rank && m->named
               ? 0
               : err_set(e, SIM_E_NOMEM, "out of memory for eam");
}

/* ---- running sequences ---- */

static struct running *find(struct eam *m, uint64_t sequence)
{
    for (int64_t i = 0; i < m->sequences; i++) {
        if (m->run[i].used && m->run[i].sequence == sequence) {
            return &m->run[i];
        }
    }
    return NULL;
}

/* NULL when there is no room, or no memory: the sequence is not followed then. */
static struct running *begin(struct eam *m, uint64_t sequence)
{
    size_t items = (size_t)m->layers * m->experts;
    struct running *r = NULL;

    for (int64_t i = 0; i < m->sequences && !r; i++) {
        r = m->run[i].used ? NULL : &m->run[i];
    }
    if (!r) {
        return NULL;
    }
    if (!r->count) {
        r->count = arena_calloc(m->arena, items, sizeof *r->count);
        r->cosine = arena_calloc(m->arena, (size_t)m->capacity * m->layers, sizeof *r->cosine);
    }
    if (!r->count || !r->cosine) {
        return NULL;
    }
    memset(r->count, 0, items * sizeof *r->count);
    r->used = true;
    r->sequence = sequence;
    r->learnt = UINT64_MAX;
    return r;
}

/* Where a new matrix goes: the first free place, else that of the least looked-up one. */
static uint32_t place(struct eam *m)
{
    uint32_t least = 0;

    if (m->kept < m->capacity) {
        return m->kept++;
    }
    for (uint32_t p = 1; p < m->kept; p++) {
        least = m->looked[p] < m->looked[least] ? p : least;
    }
    return least;
}

static void keep(struct eam *m, const struct running *r)
{
    uint32_t p = place(m);
    float *to = &m->matrix[(size_t)p * m->layers * m->experts];

    for (uint32_t l = 0; l < m->layers; l++) {
        const float *row = &r->count[(size_t)l * m->experts];
        float sum = 0;

        for (uint32_t j = 0; j < m->experts; j++) {
            sum += row[j];
        }
        for (uint32_t j = 0; j < m->experts; j++) {
            to[(size_t)l * m->experts + j] = sum > 0 ? row[j] / sum : 0;
        }
    }
    m->looked[p] = 1;
    m->changes++;
}

/* The first gate of a step shows who is still there. */
static void follow(struct eam *m, const struct layer_work *w)
{
    for (int64_t i = 0; i < m->sequences; i++) {
        m->run[i].seen = false;
    }
    for (uint32_t t = 0; t < w->n_tok; t++) {
        struct running *r = find(m, w->tok[t].sequence);

        if (r) {
            r->seen = true;
        }
    }
    for (int64_t i = 0; i < m->sequences; i++) {
        if (m->run[i].used && !m->run[i].seen) {
            keep(m, &m->run[i]);
            m->run[i].used = false;
        }
    }
    for (uint32_t t = 0; t < w->n_tok; t++) {
        if (!find(m, w->tok[t].sequence)) {
            begin(m, w->tok[t].sequence);
        }
    }
}

static void count(struct eam *m, const struct layer_work *w)
{
    for (uint32_t t = 0; t < w->n_tok; t++) {
        struct running *r = find(m, w->tok[t].sequence);

        for (uint32_t i = 0; r && i < w->k; i++) {
            r->count[(size_t)w->layer * m->experts + w->expert[t * w->k + i]]++;
            r->seen = true;
        }
    }
}

/* ---- looking up ---- */

static float cosine(const float *a, const float *b, uint32_t n)
{
    float ab = 0, aa = 0, bb = 0;

    for (uint32_t j = 0; j < n; j++) {
        ab += a[j] * b[j];
        aa += a[j] * a[j];
        bb += b[j] * b[j];
    }
    return aa > 0 && bb > 0 ? ab / sqrtf(aa * bb) : 0;
}

static void compare_row(struct eam *m, struct running *r, uint32_t l)
{
    for (uint32_t p = 0; p < m->kept; p++) {
        size_t row = ((size_t)p * m->layers + l) * m->experts;

        r->cosine[(size_t)p * m->layers + l] = cosine(&r->count[(size_t)l * m->experts], &m->matrix[row], m->experts);
    }
}

/* Only the row of this gate is new, unless the collection is. */
static void compare(struct eam *m, struct running *r, uint32_t layer)
{
    if (r->learnt == m->changes) {
        compare_row(m, r, layer);
        return;
    }
    for (uint32_t l = 0; l < m->layers; l++) {
        compare_row(m, r, l);
    }
    r->learnt = m->changes;
}

/* The rows of activity are the same for all, so the sum decides as the mean does; ties to the older place. */
static uint32_t most_alike(const struct eam *m, const struct running *r)
{
    uint32_t best = 0;
    float most = -1;

    for (uint32_t p = 0; p < m->kept; p++) {
        float sum = 0;

        for (uint32_t l = 0; l < m->layers; l++) {
            sum += r->cosine[(size_t)p * m->layers + l];
        }
        if (sum > most) {
            most = sum;
            best = p;
        }
    }
    return best;
}

static void foretell(struct eam *m, struct running *r, uint32_t layer)
{
    uint32_t p;

    compare(m, r, layer);
    p = most_alike(m, r);
    m->looked[p]++;
    for (uint32_t l = layer + 1; l < m->layers; l++) {
        float decay = 1 - (float)(l - layer) / (float)(m->layers + 1);

        for (uint32_t j = 0; j < m->experts; j++) {
            size_t item = (size_t)l * m->experts + j;

            m->priority[item] += m->matrix[(size_t)p * m->layers * m->experts + item] * decay;
        }
    }
}

/* ---- fetching ---- */

static int by_priority(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->priority < y->priority || x->priority > y->priority) {
        return x->priority < y->priority ? 1 : -1;
    }
    return (x->item > y->item) - (x->item < y->item);
}

static void fetch(struct eam *m, const struct expert_view *v, uint32_t layer)
{
    uint32_t n = 0, named = 0;

    for (uint32_t i = (layer + 1) * m->experts; i < m->layers * m->experts; i++) {
        if (m->priority[i] > 0) {
            m->rank[n++] = (struct rank){m->priority[i], i};
        }
    }
    qsort(m->rank, n, sizeof *m->rank, by_priority);
    memset(m->named, 0, m->layers * sizeof *m->named);
    v->ops->forget(v->ctx);
    for (uint32_t i = 0; i < n && (m->width == 0 || named < m->width); i++) {
        uint32_t l = m->rank[i].item / m->experts;

        if (m->named[l] < m->slots) {
            v->ops->want(v->ctx, l, m->rank[i].item % m->experts, false);
            m->named[l]++;
            named++;
        }
    }
}

static void eam_routed(void *st, const struct expert_view *v, const struct layer_work *w)
{
    struct eam *m = st;

    if (w->layer == 0) {
        follow(m, w);
    }
    count(m, w);
    if (m->kept == 0 || w->layer + 1 == m->layers) {
        return;
    }
    memset(m->priority, 0, (size_t)m->layers * m->experts * sizeof *m->priority);
    for (int64_t i = 0; i < m->sequences; i++) {
        if (m->run[i].used) {
            foretell(m, &m->run[i], w->layer);
        }
    }
    fetch(m, v, w->layer);
}

const struct prefetch_ops prefetch_eam = {
    .name = "eam",
    .summary = "what the past sequence most like this one activated, near layers first (MoE-Infinity)",
    .source = "MoE-Infinity (arXiv 2401.14361): collection of expert activation matrices",
    .state_size = sizeof(struct eam),
    .options = eam_options,
    .init = eam_init,
    .routed = eam_routed,
};
