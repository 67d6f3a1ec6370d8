/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape of a language model, read from a HuggingFace config.json as it is, or by name from the bundled
 * ones (models/llms/NAME.json: the config plus "_provenance"). */
#ifndef STEELYARD_LLM_H
#define STEELYARD_LLM_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

enum dtype { DTYPE_FP32, DTYPE_FP16, DTYPE_BF16, DTYPE_FP8, DTYPE_INT8, DTYPE_INT4, DTYPE_FP4 };

struct llm_shape {
    const char *name;
    const char *provenance;
    uint32_t layers, hidden, heads, kv_heads, head_dim, vocab;
    uint32_t ffn;               /* intermediate size of a dense layer */
    uint32_t ffn_matrices;      /* 3 for gated (SwiGLU), 2 for plain (OPT) */
    bool tied_embedding;
    uint32_t max_context_tok;
    uint32_t sliding_window_tok; /* 0 = none */
    /* MoE; experts == 0 for a dense model */
    uint32_t experts, experts_per_tok, shared_experts, moe_ffn, dense_layers;
    uint32_t first_moe, moe_every; /* MoE layers: first_moe, first_moe + moe_every (0 = 1), ... */
    /* 0 = decoder only. With an encoder (T5, Switch, NLLB) `layers` are the decoder's and a prefill stands for
     * the encoder, whose layers are as many and of the same kind: see llm.c, "encoder and decoder". */
    uint32_t encoder_layers;
    /* MLA (DeepSeek); kv_lora_rank == 0 otherwise */
    uint32_t kv_lora_rank, q_lora_rank, rope_head_dim, nope_head_dim, v_head_dim;
    enum dtype weight_dtype, kv_dtype;
};

/* `name` = path of a config.json, or a bundled name in any case ("llama-3.1-8b"). Unknown names are
 * SIM_E_CONFIG with the nearest one. `data_dir` = folder that holds llms/ and gpus/. weight_dtype and
 * kv_dtype override the file's ("auto" or NULL = as in the file, where float32 or nothing means float16;
 * KV: the type of the activations, which is the file's torch_dtype also when the weights are quantised:
 * both are vLLM's rules for "auto"). A path may also name a folder that holds a config.json; of a hub id
 * ("meta-llama/Llama-3.1-8B") the last part is looked up. */
int llm_load(struct llm_shape *ret, const char *name, const char *data_dir, const char *weight_dtype,
             const char *kv_dtype, struct arena *a, struct err *e);

/* The text of a config.json; `file` is used in messages and, without its path, as the name. */
int llm_parse(struct llm_shape *ret, const char *text, size_t len, const char *file,
              const char *weight_dtype, const char *kv_dtype, struct arena *a, struct err *e);

/* INT4 and FP4 count half a byte: the scales of their groups (3 to 6 %) are left out. */
double dtype_bytes(enum dtype d);
const char *dtype_name(enum dtype d);

/* Parameters of one layer, by where they are used. Norms and biases are left out (under 0.05 %). */
struct llm_layer {
    double attn;    /* all projections of the attention block */
    double ffn;     /* one dense feed-forward block */
    double expert;  /* one expert; shared experts have the same size */
    double router;
};
struct llm_layer llm_layer(const struct llm_shape *m);
uint32_t llm_moe_layers(const struct llm_shape *m);
bool llm_is_moe(const struct llm_shape *m, uint32_t layer);
/* Routed experts over all layers, the encoder's among them. */
double llm_routed_experts(const struct llm_shape *m);

/* Bytes over all ranks. Weights count embedding and LM head, which stay at 16 bit when the rest is
 * quantised below; active = the experts of one token only, everything else in full (so model cards
 * count). KV: 2 * layers * kv_heads * head_dim * bytes; MLA: layers * (rank + rope) * bytes. */
double llm_weight_bytes(const struct llm_shape *m);
double llm_active_params(const struct llm_shape *m);
double llm_params(const struct llm_shape *m);
double llm_kv_bytes_per_tok(const struct llm_shape *m);
/* KV bytes per token on one of `tp` ranks: heads are split, and replicated when tp > kv_heads; the MLA
 * latent is replicated on every rank. */
double llm_kv_bytes_per_tok_rank(const struct llm_shape *m, uint32_t tp);

#endif
