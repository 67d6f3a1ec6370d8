/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans that `steelyard run --plan-out` wrote (README.md, "Plans"), read line by line. */
#ifndef STEELYARD_PROBE_PLAN_H
#define STEELYARD_PROBE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "calibrate/probe/c_begin.h"
#include "calibrate/probe/json_in.h"
#include "calibrate/probe/json_out.h"
#include "sim/core/err.h"

struct plan_model {
    char name[96];
    int layers, hidden, heads, kv_heads, head_dim, ffn, vocab;
    bool tied_embedding;
};

struct plan_chunk {
    int start_tok, n_tok;
    bool last; /* a row of it is sampled */
};

struct plan_step {
    int64_t step;
    int64_t start_ns, dur_ns;
    struct plan_chunk *chunks;
    int n_chunk;
    int32_t *ctx; /* of each decode, its new token included */
    int n_decode;
    int64_t prefill_tok, decode_tok;
};

struct plan {
    struct plan_model model;
    int block_tok, tp;
    int64_t n_step, cap_step;
    struct plan_step *steps;
    struct json_in_doc head; /* the first line */
    /* over all steps, for sizing */
    int64_t max_rows;        /* new tokens of a step */
    int64_t max_kv_tok;      /* tokens of KV that a step reads or writes */
    int64_t max_blocks;      /* the same in blocks of block_tok, whole ones */
    int max_seqs, max_decode, max_ctx;
};

/* The first `limit` steps (0 = all). SIM_E_DATA names file and line. A plan that cannot be executed (no
 * model, not a dense gated decoder with head_dim 64 or 128, tp above 1) is refused with the reason. */
int plan_read(struct plan *ret, const char *path, int limit, struct err *e);
/* The same from text. */
int plan_parse(struct plan *ret, const char *text, size_t len, const char *name, int limit, struct err *e);
void plan_release(struct plan *p);

#include "calibrate/probe/c_end.h"
#endif
