/* SPDX-License-Identifier: Apache-2.0
 *
 * A HuggingFace config.json becomes a shape. Families differ in the names of the same thing, so each
 * field is a list of keys, tried in order; what a family leaves out follows the defaults of its
 * configuration class in transformers (4.x). */
#include "models/llm.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "models/datafile.h"
#include "sim/core/json.h"
#include "sim/core/opt.h"

static const struct {
    const char *name;
    double bytes;
} dtypes[] = {
    [DTYPE_FP32] = {"fp32", 4}, [DTYPE_FP16] = {"fp16", 2}, [DTYPE_BF16] = {"bf16", 2},
    [DTYPE_FP8] = {"fp8", 1},   [DTYPE_INT8] = {"int8", 1}, [DTYPE_INT4] = {"int4", 0.5},
    [DTYPE_FP4] = {"fp4", 0.5},
};

static const struct {
    const char *name;
    enum dtype type;
} dtype_words[] = {
    {"fp32", DTYPE_FP32},     {"float32", DTYPE_FP32},       {"float", DTYPE_FP32},
    {"fp16", DTYPE_FP16},     {"float16", DTYPE_FP16},       {"half", DTYPE_FP16},
    {"bf16", DTYPE_BF16},     {"bfloat16", DTYPE_BF16},      {"fp8", DTYPE_FP8},
    {"fp8_e4m3", DTYPE_FP8},  {"fp8_e5m2", DTYPE_FP8},       {"float8_e4m3fn", DTYPE_FP8},
    {"int8", DTYPE_INT8},     {"int4", DTYPE_INT4},          {"fp4", DTYPE_FP4},
    {"nvfp4", DTYPE_FP4},     {"mxfp4", DTYPE_FP4},
};

double dtype_bytes(enum dtype d)
{
    return dtypes[d].bytes;
}

const char *dtype_name(enum dtype d)
{
    return dtypes[d].name;
}

static bool dtype_parse(const char *word, enum dtype *ret)
{
    if (strncasecmp(word, "torch.", 6) == 0) {
        word += 6;
    }
    for (size_t i = 0; i < sizeof(dtype_words) / sizeof(*dtype_words); i++) {
        if (strcasecmp(dtype_words[i].name, word) == 0) {
            *ret = dtype_words[i].type;
            return true;
        }
    }
    return false;
}

/* ---- reading keys ---- */

struct config {
    struct datafile file;
    const char *type; /* model_type */
};

static bool is_type(const struct config *c, const char *types)
{
    size_t n = strlen(c->type);
    for (const char *p = strstr(types, c->type); p && n; p = strstr(p + 1, c->type)) {
        if ((p == types || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Families by what their configuration class says, names as in "model_type". */
#define PLAIN_FFN                                                                                  \
    "opt gpt2 gpt_neo gpt_neox gptj gpt_bigcode bloom falcon phi starcoder2 mpt RefinedWeb "       \
    "RefinedWebModel codegen t5 switch_transformers nllb-moe"
#define TIED_DEFAULT                                                                               \
    "opt gpt2 gpt_neo gpt_bigcode bloom falcon RefinedWeb RefinedWebModel gemma gemma2 gemma3 "    \
    "gemma3_text starcoder2 cohere cohere2 mpt t5 switch_transformers nllb-moe"
#define FOUR_H_FFN "gpt2 gpt_neo gptj gpt_bigcode bloom falcon RefinedWeb RefinedWebModel mpt codegen"
#define FALCON "falcon RefinedWeb RefinedWebModel"
#define QWEN_WINDOW "qwen2 qwen2_moe qwen3 qwen3_moe"
/* Window on some layers only, which the shape cannot say: counted as full attention. */
#define MIXED_WINDOW "gemma2 gemma3 gemma3_text gpt_oss cohere2"

/* Names of the same thing. An encoder-decoder's are its decoder's. */
#define LAYERS "num_hidden_layers n_layer num_decoder_layers decoder_layers num_layers n_layers"
#define HEADS  "num_attention_heads n_head decoder_attention_heads num_heads n_heads"
#define FFN    "intermediate_size ffn_dim n_inner ffn_hidden_size decoder_ffn_dim d_ff moe_ffn_hidden_size"
/* The last of each is SmallThinker's. */
#define EXPERTS "num_local_experts n_routed_experts num_experts moe_num_primary_experts"
#define TOP_K   "num_experts_per_tok experts_per_token moe_num_active_primary_experts"
#define MOE_FFN "moe_intermediate_size moe_ffn_hidden_size"

/* `keys` separated by blanks. */
static uint32_t want(struct config *c, const char *keys)
{
    return datafile_uint(&c->file, keys, true, 1, UINT32_MAX, 0);
}

static uint32_t may(struct config *c, const char *keys, uint32_t otherwise)
{
    return datafile_uint(&c->file, keys, false, 0, UINT32_MAX, otherwise);
}

static uint32_t default_kv_heads(const struct config *c, uint32_t heads)
{
    if (is_type(c, FALCON)) {
        bool new_kind = datafile_bool(&c->file, "new_decoder_architecture", false);
        return !new_kind && datafile_bool(&c->file, "multi_query", true) ? 1 : heads;
    }
    if (is_type(c, "gpt_bigcode")) {
        return datafile_bool(&c->file, "multi_query", true) ? 1 : heads;
    }
    if (is_type(c, "mistral mixtral")) {
        return 8;
    }
    return heads;
}

static uint32_t kv_heads(struct config *c, uint32_t heads)
{
    uint32_t dflt = default_kv_heads(c, heads);
    if (is_type(c, FALCON) && !datafile_bool(&c->file, "new_decoder_architecture", false)) {
        return dflt; /* the class ignores num_kv_heads here */
    }
    return may(c, "num_key_value_heads num_kv_heads n_head_kv", dflt);
}

static void read_attention(struct config *c, struct llm_shape *m)
{
    m->layers = want(c, LAYERS);
    m->hidden = want(c, "hidden_size n_embd d_model");
    m->heads = want(c, HEADS);
    m->kv_heads = kv_heads(c, m->heads);
    uint32_t split = m->heads ? m->hidden / m->heads : 0;
    uint32_t dim = is_type(c, "gemma gemma2 gemma3 gemma3_text") ? 256
                   : is_type(c, "qwen3 qwen3_moe")               ? 128
                                                                 : split;
    m->head_dim = may(c, "head_dim d_kv", dim);
    m->vocab = want(c, "vocab_size");
    m->tied_embedding = datafile_bool(&c->file, "tie_word_embeddings", is_type(c, TIED_DEFAULT));
    m->max_context_tok = may(c, "max_position_embeddings n_positions seq_length max_seq_len", 2048);
}

static void read_window(struct config *c, struct llm_shape *m)
{
    bool on = !is_type(c, MIXED_WINDOW);
    if (is_type(c, QWEN_WINDOW)) {
        on = datafile_bool(&c->file, "use_sliding_window", false) &&
             may(c, "max_window_layers", m->layers) == 0;
    }
    m->sliding_window_tok = on ? may(c, "sliding_window", 0) : 0;
}

static void read_mla(struct config *c, struct llm_shape *m)
{
    m->kv_lora_rank = may(c, "kv_lora_rank", 0);
    if (m->kv_lora_rank == 0) {
        return;
    }
    m->q_lora_rank = may(c, "q_lora_rank", 0);
    m->rope_head_dim = may(c, "qk_rope_head_dim", 64);
    m->nope_head_dim = may(c, "qk_nope_head_dim", 128);
    m->v_head_dim = may(c, "v_head_dim", 128);
}

/* Of every `moe_every` layers behind the first dense ones the last is sparse (Qwen: (l + 1) % step == 0; Switch
 * and NLLB alike; Llama 4 steps so, too). Layers listed as dense are taken to be at the front. */
static void place_moe(struct config *c, struct llm_shape *m)
{
    uint32_t dense = may(c, "first_k_dense_replace", 0), listed = datafile_count(&c->file, "mlp_only_layers");
    uint32_t step = may(c, "decoder_sparse_step moe_layer_freq interleave_moe_layer_step", 1);
    uint64_t first;

    m->moe_every = step > 0 && step <= m->layers ? step : 1;
    first = dense + (uint64_t)(listed + 1) * m->moe_every - 1;
    m->first_moe = first < m->layers ? (uint32_t)first : m->layers;
    m->dense_layers = m->layers - (m->layers - m->first_moe + m->moe_every - 1) / m->moe_every;
}

static void read_moe(struct config *c, struct llm_shape *m)
{
    m->experts = may(c, EXPERTS, 0);
    if (m->experts <= 1) {
        m->experts = 0;
        return;
    }
    m->experts_per_tok = may(c, TOP_K, is_type(c, "switch_transformers") ? 1 : 2);
    m->moe_ffn = may(c, MOE_FFN, m->ffn);
    m->shared_experts = may(c, "n_shared_experts", 0);
    uint32_t shared_size = may(c, "shared_expert_intermediate_size", 0);
    if (shared_size && m->moe_ffn) {
        m->shared_experts = (shared_size + m->moe_ffn / 2) / m->moe_ffn;
    }
    place_moe(c, m);
}

static void read_encoder(struct config *c, struct llm_shape *m)
{
    if (datafile_bool(&c->file, "is_encoder_decoder", is_type(c, "t5 switch_transformers nllb-moe"))) {
        m->encoder_layers = want(c, "encoder_layers num_layers");
    }
}

static void read_ffn(struct config *c, struct llm_shape *m)
{
    bool four_h = is_type(c, FOUR_H_FFN) && m->hidden <= UINT32_MAX / 4;
    m->ffn = four_h ? may(c, FFN, 4 * m->hidden) : want(c, FFN);
    m->ffn_matrices = is_type(c, PLAIN_FFN) ? 2 : 3;
}

/* ---- number formats ---- */

static int dtype_option(struct config *c, const char *what, const char *word, enum dtype *ret)
{
    if (!word || strcasecmp(word, "auto") == 0 || dtype_parse(word, ret)) {
        return 0;
    }
    return err_set(c->file.err, SIM_E_CONFIG,
                   "%s '%s' is unknown: auto, fp32, fp16, bf16, fp8, int8, int4 or fp4", what, word);
}

/* Type of the activations: torch_dtype ("dtype" since transformers 4.56). */
static enum dtype activation_dtype(struct config *c)
{
    enum dtype d = DTYPE_FP16;
    const char *word = datafile_string(&c->file, "torch_dtype dtype", NULL);
    if (word && strcasecmp(word, "auto") != 0 && !dtype_parse(word, &d)) {
        datafile_fail(&c->file, "torch_dtype dtype", "'%s' is not a number format", word);
    }
    return d == DTYPE_FP32 ? DTYPE_FP16 : d;
}

static enum dtype quant_by_bits(struct config *c, const cJSON *q)
{
    const cJSON *bits = cJSON_GetObjectItemCaseSensitive(q, "bits");
    double b = cJSON_IsNumber(bits) ? bits->valuedouble : 4;
    if (b > 3.5 && b < 4.5) {
        return DTYPE_INT4;
    }
    if (b > 7.5 && b < 8.5) {
        return DTYPE_INT8;
    }
    datafile_fail(&c->file, "quantization_config", "%g-bit weights are not known here", b);
    return DTYPE_INT8;
}

static enum dtype quant_dtype(struct config *c, const cJSON *q, enum dtype plain)
{
    const cJSON *method = cJSON_GetObjectItemCaseSensitive(q, "quant_method");
    const char *name = cJSON_IsString(method) ? method->valuestring : "";
    enum dtype d = plain;
    if (strcasecmp(name, "awq") == 0 || strcasecmp(name, "gptq") == 0) {
        return quant_by_bits(c, q);
    }
    if (dtype_parse(name, &d)) { /* "fp8", "mxfp4" */
        return d;
    }
    datafile_fail(&c->file, "quantization_config",
                  "method '%s' is not known here; give the weight format explicitly", name);
    return plain;
}

static int read_dtypes(struct config *c, struct llm_shape *m, const char *weight, const char *kv)
{
    bool given = weight && strcasecmp(weight, "auto") != 0;
    const cJSON *q = datafile_object(&c->file, "quantization_config");
    enum dtype act = activation_dtype(c);
    m->weight_dtype = q && !given ? quant_dtype(c, q, act) : act;
    int rc = dtype_option(c, "weight format", weight, &m->weight_dtype);
    if (rc < 0) {
        return rc;
    }
    m->kv_dtype = m->weight_dtype <= DTYPE_BF16 ? m->weight_dtype : act;
    return dtype_option(c, "KV format", kv, &m->kv_dtype);
}

/* ---- checks ---- */

/* Sizes beyond any model would only turn into nonsense further on. */
static int check_shape(struct config *c, const struct llm_shape *m)
{
    const struct {
        const char *keys;
        uint32_t v, max;
    } lim[] = {
        {LAYERS, m->layers, 10000},
        {"hidden_size n_embd d_model", m->hidden, 1u << 20},
        {HEADS, m->heads, 1u << 16},
        {"num_key_value_heads num_kv_heads n_head_kv", m->kv_heads, m->heads},
        {"head_dim", m->head_dim, 1u << 16},
        {"vocab_size", m->vocab, 1u << 26},
        {FFN, m->ffn, 1u << 24},
        {"encoder_layers num_layers", m->encoder_layers + 1, 10001},
        {EXPERTS, m->experts ? m->experts : 1, 1u << 16},
        {TOP_K, m->experts ? m->experts_per_tok : 1,
         m->experts ? m->experts : 1},
        {MOE_FFN, m->experts ? m->moe_ffn : 1, 1u << 24},
        {"n_shared_experts", m->shared_experts + 1, 1u << 16},
        {"kv_lora_rank", m->kv_lora_rank + 1, 1u << 20},
        {"q_lora_rank", m->q_lora_rank + 1, 1u << 20},
        {"qk_rope_head_dim", m->rope_head_dim + 1, 1u << 16},
        {"qk_nope_head_dim", m->nope_head_dim + 1, 1u << 16},
        {"v_head_dim", m->v_head_dim + 1, 1u << 16},
    };
    for (size_t i = 0; i < sizeof(lim) / sizeof(*lim); i++) {
        if (lim[i].v == 0 || lim[i].v > lim[i].max) {
            return datafile_fail(&c->file, lim[i].keys, "%u is outside 1..%u", lim[i].v, lim[i].max);
        }
    }
    return 0;
}

/* Multi-modal models keep the language model one level down. */
static const char *text_prefix(const cJSON *root)
{
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "text_config");
    return cJSON_IsObject(text) && cJSON_GetObjectItemCaseSensitive(text, "hidden_size")
               ? "text_config"
               : NULL;
}

static int read_shape(struct config *c, struct llm_shape *m, const char *weight, const char *kv)
{
    datafile_enter(&c->file, text_prefix(c->file.root));
    c->type = datafile_string(&c->file, "model_type", "");
    read_attention(c, m);
    read_ffn(c, m);
    read_window(c, m);
    read_mla(c, m);
    read_moe(c, m);
    read_encoder(c, m);
    int rc = read_dtypes(c, m, weight, kv);
    if (rc < 0 || c->file.rc < 0) {
        return rc < 0 ? rc : c->file.rc;
    }
    rc = check_shape(c, m);
    datafile_enter(&c->file, NULL);
    m->provenance = datafile_string(&c->file, "_provenance", "config.json as given");
    m->provenance = arena_strdup(c->file.arena, m->provenance);
    return rc;
}

int llm_parse(struct llm_shape *ret, const char *text, size_t len, const char *file,
              const char *weight_dtype, const char *kv_dtype, struct arena *a, struct err *e)
{
    *ret = (struct llm_shape){0};
    struct config c = {0};
    int rc = datafile_open(&c.file, text, len, file, a, e);
    if (rc < 0) {
        return rc;
    }
    rc = read_shape(&c, ret, weight_dtype, kv_dtype);
    ret->name = datafile_name(file, a);
    datafile_close(&c.file);
    return rc < 0 || (ret->name && ret->provenance) ? rc : err_set(e, SIM_E_NOMEM, "out of memory");
}

int llm_load(struct llm_shape *ret, const char *name, const char *data_dir, const char *weight_dtype,
             const char *kv_dtype, struct arena *a, struct err *e)
{
    size_t len = 0;
    const char *path = NULL;
    char *text = datafile_find("model", name, data_dir, "llms", &path, &len, a, e);
    if (!text) {
        return e ? e->code : SIM_E_CONFIG;
    }
    return llm_parse(ret, text, len, path, weight_dtype, kv_dtype, a, e);
}

/* ---- sizes ---- */

/* Encoder and decoder. A decode step multiplies with the decoder's own attention and with query and output of
 * its attention to the prompt; the prompt, with the encoder's attention and the decoder's key and value for it.
 * With as many layers on both sides these are six matrices per layer either way, twelve of a pair, so a prefill
 * of the decoder costs what the encoder does. KV of the prompt is that of the attention to it. What is not
 * told apart: the encoder's experts from the decoder's, when they are offloaded. */
static double attn_params(const struct llm_shape *m)
{
    double h = m->hidden, heads = m->heads;
    if (m->kv_lora_rank == 0) {
        return h * m->head_dim * (2 * heads + 2.0 * m->kv_heads) * (m->encoder_layers ? 1.5 : 1);
    }
    double q_out = heads * (m->nope_head_dim + m->rope_head_dim);
    double q = m->q_lora_rank ? (h + q_out) * m->q_lora_rank : h * q_out;
    double kv = h * (m->kv_lora_rank + m->rope_head_dim) +
                m->kv_lora_rank * heads * (m->nope_head_dim + m->v_head_dim);
    return q + kv + heads * m->v_head_dim * h;
}

struct llm_layer llm_layer(const struct llm_shape *m)
{
    double h = m->hidden;
    return (struct llm_layer){
        .attn = attn_params(m),
        .ffn = (double)m->ffn_matrices * h * m->ffn,
        .expert = (double)m->ffn_matrices * h * m->moe_ffn,
        .router = h * m->experts,
    };
}

uint32_t llm_moe_layers(const struct llm_shape *m)
{
    return m->experts ? m->layers - m->dense_layers : 0;
}

bool llm_is_moe(const struct llm_shape *m, uint32_t layer)
{
    uint32_t every = m->moe_every ? m->moe_every : 1;
    return m->experts && layer >= m->first_moe && (layer - m->first_moe) % every == 0;
}

static double both_sides(const struct llm_shape *m)
{
    return 1 + (double)m->encoder_layers / m->layers;
}

double llm_routed_experts(const struct llm_shape *m)
{
    return both_sides(m) * llm_moe_layers(m) * m->experts;
}

static double embed_params(const struct llm_shape *m)
{
    return (m->tied_embedding ? 1.0 : 2.0) * m->vocab * m->hidden;
}

/* Everything but the embeddings, with `experts` routed experts counted per layer. */
static double body_params(const struct llm_shape *m, double experts)
{
    struct llm_layer l = llm_layer(m);
    double moe = llm_moe_layers(m);
    return both_sides(m) * (m->layers * l.attn + (m->layers - moe) * l.ffn +
                            moe * (l.router + (experts + m->shared_experts) * l.expert));
}

double llm_params(const struct llm_shape *m)
{
    return embed_params(m) + body_params(m, m->experts);
}

double llm_active_params(const struct llm_shape *m)
{
    return embed_params(m) + body_params(m, m->experts_per_tok);
}

double llm_weight_bytes(const struct llm_shape *m)
{
    double b = dtype_bytes(m->weight_dtype);
    return embed_params(m) * fmax(b, 2) + body_params(m, m->experts) * b;
}

double llm_kv_bytes_per_tok_rank(const struct llm_shape *m, uint32_t tp)
{
    double b = m->layers * dtype_bytes(m->kv_dtype);
    if (m->kv_lora_rank) {
        return b * (m->kv_lora_rank + m->rope_head_dim);
    }
    tp = tp ? tp : 1;
    double heads = m->kv_heads / tp + (m->kv_heads % tp != 0);
    return b * 2 * heads * m->head_dim;
}

double llm_kv_bytes_per_tok(const struct llm_shape *m)
{
    return llm_kv_bytes_per_tok_rank(m, 1);
}
