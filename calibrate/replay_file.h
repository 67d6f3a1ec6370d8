/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of steelyard-probe --replay (calibrate/probe/README.md): steps of a plan as a GPU executed them. */
#ifndef STEELYARD_REPLAY_FILE_H
#define STEELYARD_REPLAY_FILE_H

#include "calibrate/probe/json_in.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

struct replay_step {
    int64_t step, chunks, prefill_tok, n_decode, decode_tok;
    int64_t graph; /* size of the graph that was replayed; 0 = none */
    double measured_s, simulated_s;
};

struct replay_file {
    const char *name, *device, *model; /* model "" = not said */
    double tp;      /* of the plan; NaN = not said */
    bool complete;
    bool limited;   /* only the first steps of the plan were asked for */
    size_t n;
    struct replay_step *step; /* in the arena */
    struct json_in_doc doc;   /* texts live here */
};

int replay_file_load(struct replay_file *ret, const char *path, struct arena *a, struct err *e);
/* `name` stands for the path in messages. */
int replay_file_parse(struct replay_file *ret, const char *text, size_t len, const char *name, struct arena *a,
                      struct err *e);
void replay_file_release(struct replay_file *f);

#endif
