/* SPDX-License-Identifier: Apache-2.0
 *
 * A fitted profile: what one GPU takes for the kernels of one model, as tables. Written by `steelyard
 * fit`, read by the cost model `table`. The format is documented in calibrate/README.md. */
#ifndef STEELYARD_PROFILE_H
#define STEELYARD_PROFILE_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

#define PROFILE_SCHEMA "steelyard.profile/1"
#define PROFILE_AXES   4

/* What a term's time depends on, and so which part of an iteration it stands for. */
enum profile_axis {
    AXIS_TOKENS,      /* scheduled tokens of the step, padded where a CUDA graph is replayed */
    AXIS_ROWS,        /* sequences that are sampled */
    AXIS_DECODES,     /* decoding sequences ... */
    AXIS_CONTEXT,     /* ... and their mean context */
    AXIS_CHUNKS,      /* prefill chunks without context before them ... */
    AXIS_CHUNK_TOK,   /* ... and their length */
    AXIS_PREFILL_TOK, /* tokens of one chunk ... */
    AXIS_PREFILL_CTX, /* ... and the context before it */
    AXIS_COUNT
};
extern const char *const profile_axis_names[AXIS_COUNT];

enum profile_when { WHEN_ALWAYS, WHEN_GRAPH, WHEN_EAGER, WHEN_COUNT };
extern const char *const profile_when_names[WHEN_COUNT];

/* `count` kernels of one kind; us[] is row-major, the last axis fastest. */
struct profile_term {
    const char *name, *family;
    double count;
    enum profile_when when;
    uint32_t n_axes;
    enum profile_axis axis[PROFILE_AXES];
    uint32_t n[PROFILE_AXES];
    double *at[PROFILE_AXES];
    double *us;
};

/* Held-out error of one family of kernels: mean of |predicted - measured| / measured. */
struct profile_error {
    const char *family;
    uint32_t points;
    double error, p90, roofline_error; /* NaN = not known */
};

/* Unequal contexts: n decodes of standard deviation sigma take as long as if each context were
 * shift * sigma longer (pure: only decodes in the batch; mixed: with a prefill chunk). */
struct profile_skew {
    uint32_t n;
    double *decodes, *pure, *mixed;
};

struct profile {
    const char *path, *provenance, *source, *gpu, *model, *engine;
    uint32_t tp;
    uint32_t n_terms;
    struct profile_term *term;
    struct profile_skew skew;
    uint32_t n_errors;
    struct profile_error *error;
    double step_us, seq_us, wait_us; /* host time per step and sequence, ranks waiting per all-reduce; NaN */
};

uint32_t profile_term_size(const struct profile_term *t);

int profile_load(struct profile *ret, const char *path, struct arena *a, struct err *e);
/* `name` stands for the path in messages. */
int profile_parse(struct profile *ret, const char *text, size_t len, const char *name, struct arena *a,
                  struct err *e);

#endif
