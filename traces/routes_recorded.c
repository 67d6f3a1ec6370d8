/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes as a real model took them. Sequence s of the run reads recorded sequence s, from its first token
 * on; where that ends, it reads on in the next one, and after the last in the first: short prompts are not
 * repeated, which would make every expert look warm. With order=random each sequence of the run starts at a
 * recorded one that is drawn.
 *
 * Recordings have no gate weights, so these are a stand-in: those that the top_k largest of as many standard
 * normal scores as there are experts would get. They go to the token's experts in the order of the file
 * where that is by weight, at random where it is by number. There are no scores. */
#include "traces/routes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "traces/route_file.h"
#include "traces/routes_noise.h"

enum { ORDER_FILE, ORDER_RANDOM };
static const struct opt_choice orders[] = {
    {"file", "the first sequence of the run is the first recorded one"},
    {"random", "each starts at a recorded one that is drawn"},
    {NULL, NULL},
};

struct recorded_routes {
    const char *file, *model;
    int64_t experts, top_k, order;
    double temperature;
    struct route_record rec;
    struct routes_shape shape;
    struct rng_stream start, weights, shuffle;
};

#define FIELD(f) offsetof(struct recorded_routes, f)

static const struct opt_row recorded_rows[] = {
    {"file", OPT_STRING, FIELD(file), 0, 0, NULL, NULL, "The recording, CSV or gzip.", NULL},
    {"model", OPT_STRING, FIELD(model), 0, 0, NULL, NULL,
     "Rows of this model alone, where the file has several.", NULL},
    {"experts", OPT_INT, FIELD(experts), 0, ROUTE_EXPERTS_MAX, "0", "1",
     "Routed experts of a layer; 0 is the model's, or the highest number in the file and one.", NULL},
    {"top_k", OPT_INT, FIELD(top_k), 0, ROUTE_TOP_K_MAX, "0", "1", "Experts of a token; 0: as the file shows.",
     NULL},
    {"order", OPT_CHOICE, FIELD(order), 0, 0, "file", NULL, "Which recorded sequence is whose.", orders},
    {"temperature", OPT_DOUBLE, FIELD(temperature), 1e-3, 1e3, "1", "1",
     "Of the softmax of the gate weights that stand in for the real ones.", NULL},
    OPT_END,
};

static int read_file(struct recorded_routes *s, struct arena *a, struct err *e)
{
    struct route_file f;
    int rc = route_file_open(&f, s->file, a, e);
    rc = rc == 0 ? route_record_read(&s->rec, &f, s->model, (uint32_t)s->top_k, a, e) : rc;
    route_file_close(&f);
    return rc;
}

static int settle(struct recorded_routes *s, struct routes *r, const struct routes_env *env, struct err *e)
{
    const struct route_record *rec = &s->rec;
    uint32_t experts = s->experts ? (uint32_t)s->experts : env->shape.experts;
    s->shape = (struct routes_shape){experts ? experts : rec->experts, rec->top_k, rec->layers};
    if (s->shape.experts < rec->experts) {
        return err_set(e, SIM_E_CONFIG, "%s: has expert %u, of %u", s->file, rec->experts - 1, s->shape.experts);
    }
    const char *from = arena_printf(routes_arena(r), "recorded: %s, %u tokens of %u sequences%s%s", s->file,
                                    rec->tokens, rec->sequences, rec->model ? ", " : "",
                                    rec->model ? rec->model : "");
    return from ? routes_set_shape(r, s->shape, from, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int open_recorded(void *state, struct routes *r, const struct routes_env *env, struct err *e)
{
    struct recorded_routes *s = state;
    if (!s->file) {
        return err_set(e, SIM_E_CONFIG, "routes recorded: file= is missing");
    }
    s->start = rng_stream(env->seed, env->replication, "route-start");
    s->weights = rng_stream(env->seed, env->replication, "route-weights");
    s->shuffle = rng_stream(env->seed, env->replication, "route-shuffle");
    int rc = read_file(s, routes_arena(r), e);
    return rc == 0 ? settle(s, r, env, e) : rc;
}

static uint32_t recorded_of(const struct recorded_routes *s, uint64_t seq)
{
    if (s->order == ORDER_RANDOM) {
        return (uint32_t)rng_range(s->start, seq, 0, 0, s->rec.sequences - 1);
    }
    return (uint32_t)(seq % s->rec.sequences);
}

/* Draw who gets which of the weights: Fisher-Yates. */
static void shuffle(const struct recorded_routes *s, uint16_t *v, uint64_t seq, uint32_t pos, uint32_t layer)
{
    for (uint32_t i = s->shape.top_k - 1; i > 0; i--) {
        uint64_t draw = (uint64_t)pos << 32 | layer << 8 | i;
        uint32_t j = (uint32_t)rng_range(s->shuffle, seq, draw, 0, i);
        uint16_t swap = v[i];
        v[i] = v[j];
        v[j] = swap;
    }
}

static void recorded_at(void *state, uint64_t seq, uint32_t pos, uint32_t layer, struct route *ret)
{
    struct recorded_routes *s = state;
    const struct route_record *rec = &s->rec;
    uint32_t k = s->shape.top_k;
    uint64_t token = ((uint64_t)rec->start[recorded_of(s, seq)] + pos) % rec->tokens;
    float score[ROUTE_EXPERTS_MAX];
    noise_normals(s->weights, seq, pos, layer, score, s->shape.experts);
    route_choose(ret, score, &s->shape, s->temperature);
    memcpy(ret->expert, rec->expert + (token * rec->layers + layer) * k, k * sizeof(*ret->expert));
    if (rec->by_number) {
        shuffle(s, ret->expert, seq, pos, layer);
    }
    ret->score = NULL;
}

static void close_recorded(void *state)
{
    struct recorded_routes *s = state;
    route_record_release(&s->rec);
}

static uint64_t recorded_sequences(const void *state)
{
    const struct recorded_routes *s = state;
    return s->rec.sequences;
}

static uint32_t recorded_length(const void *state, uint64_t seq)
{
    const struct recorded_routes *s = state;
    uint32_t i = recorded_of(s, seq);
    return s->rec.start[i + 1] - s->rec.start[i];
}

const struct routes_ops routes_recorded = {
    .name = "recorded",
    .summary = "routes that a real model took, from a file",
    .source = "CSV, plain or gzip: prompt, pos, experts; or req_id, token_idx, layer, experts",
    .state_size = sizeof(struct recorded_routes),
    .options = recorded_rows,
    .open = open_recorded,
    .at = recorded_at,
    .close = close_recorded,
    .sequences = recorded_sequences,
    .length = recorded_length,
};
