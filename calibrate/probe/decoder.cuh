/* SPDX-License-Identifier: Apache-2.0
 *
 * A dense Llama-like decoder with random bf16 weights, one iteration at a time. */
#ifndef STEELYARD_PROBE_DECODER_CUH
#define STEELYARD_PROBE_DECODER_CUH

#include <map>
#include <vector>

#include "calibrate/probe/attention_host.cuh"
#include "calibrate/probe/gemm.cuh"
#include "calibrate/probe/plan.h"

enum product { PRODUCT_QKV, PRODUCT_OUT, PRODUCT_GATE_UP, PRODUCT_DOWN, PRODUCT_HEAD, PRODUCTS };

struct decoder_layer {
    bf16 *norm1, *norm2, *qkv, *out, *gate_up, *down;
    bf16 *k, *v;
};

/* What the kernels of a step read besides weights, all int32 in one buffer that is uploaded at once. */
struct step_index {
    int32_t *token, *position, *seq;          /* of each row */
    int32_t *ctx, *split;                     /* of the decodes, which are the first rows */
    int32_t *row, *n, *before, *chunk_seq;    /* of the chunks */
    int32_t *sampled;                         /* rows whose next token is wanted */
    int32_t *table;                           /* [sequence][stride], decodes first */
};

struct decoder {
    struct plan_model m;
    int block_tok, block_log2, stride, max_rows, max_seqs;
    int64_t n_blocks;
    std::vector<struct decoder_layer> layers;
    bf16 *embedding, *head, *norm;
    float *turn;
    bf16 *x, *h, *residual, *qkv, *attended, *gate_up, *act, *logits;
    float *part;
    size_t part_floats;
    int32_t *sampled_token;
    int32_t *index_dev, *index_host; /* host: pinned */
    size_t index_words;
    struct step_index dev, host;
    std::vector<int32_t> order;      /* blocks in a random order */
    std::map<int64_t, struct gemm_plan> plans[PRODUCTS];
    int tile_rows;                   /* of prefill; 0 = not chosen yet */
};

/* One iteration as it is launched. */
struct decoder_step {
    int rows, n_decode, n_chunk, n_sampled, longest_chunk, n_split;
};

/* Takes weights, cache and room for the largest step of the plan from the slab. SIM_E_DATA when the device
 * is too small, with the sizes. */
int decoder_init(struct gpu *g, struct decoder *d, const struct plan *p, int graph_max, struct err *e);
void decoder_release(struct decoder *d);
/* Fills d->host for a step of the plan, padded to `padded` decodes (0 = as it is). Splits: n_split > 0 is
 * kept to, else chosen. */
void decoder_prepare(struct gpu *g, struct decoder *d, const struct plan_step *s, int padded, int n_split,
                     struct decoder_step *ret);
/* Blocks' splits of a graph for `padded` decodes. */
int decoder_graph_splits(const struct gpu *g, const struct decoder *d, int padded);
/* Makes sure that all products of such a step have their plans: not allowed while capturing. */
int decoder_plans(struct gpu *g, struct decoder *d, const struct decoder_step *s, struct err *e);
int decoder_upload(struct decoder *d, cudaStream_t s, struct err *e);
/* Queues the iteration, from the embedding to the sampled tokens. */
int decoder_run(struct gpu *g, struct decoder *d, const struct decoder_step *st, cudaStream_t s, struct err *e);

#endif
