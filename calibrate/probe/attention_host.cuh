/* SPDX-License-Identifier: Apache-2.0
 *
 * Launching the attention kernels. */
#ifndef STEELYARD_PROBE_ATTENTION_HOST_CUH
#define STEELYARD_PROBE_ATTENTION_HOST_CUH

#include "calibrate/probe/attention.cuh"
#include "calibrate/probe/gpu.cuh"

#define DECODE_SPLITS_MAX 64

/* head_dim 64 or 128; tile_rows 64 or 128; `longest` chunk of `chunks`. */
int launch_prefill(const struct prefill_args *a, int hd, int tile_rows, int longest, int chunks, cudaStream_t s,
                   struct err *e);
int launch_decode(const struct decode_args *a, int hd, int seqs, cudaStream_t s, struct err *e);
/* Keys of a split for these contexts: a multiple of 64, no more than DECODE_SPLITS_MAX splits. */
int decode_split(const struct gpu *g, const int32_t *ctx, int n, int kv_heads);
/* Room that struct decode_args.part needs. */
size_t decode_part_floats(int seqs, int heads, int n_split, int hd);
float softmax_scale_log2(int hd);

#endif
