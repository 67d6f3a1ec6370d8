/* SPDX-License-Identifier: Apache-2.0
 *
 * From measurements to a profile. One file per source of measurements (fit_NAME.c); what they share is
 * here: names, kernels with their physical shape, terms, held-out errors. */
#ifndef STEELYARD_FIT_H
#define STEELYARD_FIT_H

#include <stdio.h>

#include "calibrate/grid.h"
#include "calibrate/waves.h"
#include "models/gpu.h"
#include "models/llm.h"
#include "models/profile.h"

#define FIT_TERMS    96
#define FIT_FAMILIES 16
#define FIT_FOLDS    5
#define FIT_NOTES    32
#define FIT_CURVES   8

struct fit_request {
    const char *source;      /* name of a row of fit_sources */
    const char *dir;         /* folder, or file, with the measurements */
    const char *gpu, *model; /* bundled names or paths */
    const char *weight_dtype, *kv_dtype;
    const char *data_dir;
    const char *collectives; /* folder with custom_allreduce.csv.gz; NULL = DIR, then DIR/../aiconfigurator */
    const char *version;     /* of the engine, "0.19.0": picks among tables of one GPU; NULL = the newest */
    uint32_t tp;
    const char *const *scale; /* "attention=0.7": times of a family, as an engine with other kernels has them */
    size_t n_scale;
};

/* The coefficients that a curve came out with, for the report. */
struct fit_curve {
    const char *name;
    uint32_t n;
    const char *coef[CURVE_MAX], *unit[CURVE_MAX];
    double c[CURVE_MAX];
    double spread;
};

struct fit {
    const struct fit_request *q;
    struct arena *arena;
    struct err *err;
    struct llm_shape llm;
    struct gpu_profile gpu;
    struct profile profile;
    struct profile_term term[FIT_TERMS];
    struct tally tally[FIT_FAMILIES];
    const char *family[FIT_FAMILIES];
    uint32_t n_families;
    const char *note[FIT_NOTES]; /* what was missing, and what is used instead */
    uint32_t n_notes;
    struct fit_curve curve[FIT_CURVES];
    uint32_t n_curves;
};

struct fit_source {
    const char *name, *summary;
    int (*run)(struct fit *f);
};
extern const struct fit_source fit_sources[]; /* ends with a NULL name */
const struct fit_source *fit_source_find(const char *name);
int fit_aiconfigurator(struct fit *f);
int fit_distserve(struct fit *f);
int fit_frontier(struct fit *f);
int fit_llmservingsim(struct fit *f);
int fit_probe(struct fit *f);
int fit_vidur(struct fit *f);
int fit_vtc(struct fit *f);

/* Fills f->profile. fit_release gives back what is not in the arena. */
int fit_run(struct fit *f, const struct fit_request *q, struct arena *a, struct err *e);
void fit_release(struct fit *f);

/* ---- for the sources ---- */

/* The letters and digits of `said` begin with those of `ours`, or the two name the same chip. */
bool fit_same_name(const char *said, const char *ours);
/* The spelling of ours among those that a column of a table holds; error with what there is. */
int fit_find_name(struct fit *f, const char *dir, const char *table, const char *column, const char *ours,
                  const char **ret);

/* A kernel by its physical shape, per layer and rank: trend for the fit, roofline for comparison. */
enum kernel_kind {
    KERNEL_GEMM,    /* x = tokens; a product with an n x k matrix */
    KERNEL_MEMORY,  /* x = tokens; elementwise, bytes_tok per token */
    KERNEL_MOE,     /* x = tokens; routed experts */
    KERNEL_DECODE,  /* x = decodes, context */
    KERNEL_PREFILL, /* x = chunks, tokens of each */
    KERNEL_MIXED,   /* x = chunk tokens, context before, decodes, context */
    KERNEL_LINK     /* x = tokens; bytes_tok per token over a link */
};
struct kernel {
    enum kernel_kind kind;
    double n, k, wbytes;
    double bytes_tok;
    double kv_bytes, pair_flops;                      /* of one token, of one pair */
    double experts, per_tok;
    double flops, attn_flops, mem, kv_mem, link; /* per second, as the roofline assumes */
    double latency_s;
    double l2, qkvo_bytes; /* cache; queries, keys, values and outputs of one prefill token */
};
struct kernel kernel_gemm(const struct fit *f, double n, double k);
struct kernel kernel_memory(const struct fit *f, double bytes_tok);
struct kernel kernel_attention(const struct fit *f, enum kernel_kind kind);
struct kernel kernel_moe(const struct fit *f);
struct kernel kernel_link(const struct fit *f);
double kernel_roofline_us(const void *kernel, const double *x);
struct trend kernel_trend(const struct kernel *k);

/* Which matrix of a layer, by rank: columns and rows; vLLM's merged products. */
enum product { PRODUCT_QKV, PRODUCT_O, PRODUCT_GATE_UP, PRODUCT_DOWN, PRODUCT_HEAD };
struct kernel fit_product(const struct fit *f, enum product p);

struct term_spec {
    const char *name, *family;
    double count;
    enum profile_when when;
    uint32_t n_axes;
    enum profile_axis axis[PROFILE_AXES];
};
/* Validate, fill and append a table of measured points (microseconds). */
int fit_term(struct fit *f, const struct term_spec *s, const struct points *p, const struct kernel *k);
/* The same with a curve over the way it is computed as the trend. */
int fit_wave_term(struct fit *f, const struct term_spec *s, const struct points *p, struct wave *w,
                  const struct kernel *k);
/* Sizes and rates of this GPU and model, for wave_gemm and its like. */
struct wave fit_wave(const struct fit *f);
/* Append a finished table. */
struct profile_term *fit_append(struct fit *f, const struct term_spec *s);
/* A term over tokens that was not measured: the roofline of its kernel. */
int fit_assume(struct fit *f, const struct term_spec *s, const struct kernel *k);
/* Matrix products of all layers and the head; the head alone; attention. */
int fit_assume_products(struct fit *f);
int fit_assume_head(struct fit *f);
int fit_assume_attention(struct fit *f);
int fit_assume_decode(struct fit *f);
int fit_assume_prefill(struct fit *f);
/* Places for a formula over (decodes, context) or (chunks, chunk_tok), and its values at them. */
int fit_decode_axes(struct fit *f, struct profile_term *t);
int fit_prefill_axes(struct fit *f, struct profile_term *t);
int fit_fill(struct fit *f, struct profile_term *t, double (*us)(const void *ctx, const double *x), const void *ctx);
/* Elementwise kernels of a layer, embedding, sampler: memory traffic at no less than 2 us each. */
int fit_small_kernels(struct fit *f);
/* Two all-reduces a layer, from custom_allreduce.csv.gz: the newest table not after q->version. */
int fit_all_reduce(struct fit *f);
struct tally *fit_family(struct fit *f, const char *family);

/* A sentence for the user. */
void fit_note(struct fit *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fit_curve_note(struct fit *f, const char *name, const struct curve *c);

/* A term by its name, or NULL; its value as the cost model reads it: multilinear, the last cell goes on. */
const struct profile_term *fit_term_named(const struct fit *f, const char *name);
double fit_term_at(const struct profile_term *t, const double *x);
/* The extra context s with time(mean + s) = ratio * time(mean), along one axis of a term. */
double fit_excess_context(const struct profile_term *t, double *x, uint32_t axis, double ratio);

/* Of one number of decodes: excess of the mean context that explains the measured time, and the standard
 * deviation, both as shares of the mean. */
#define SKEW_SIZES 64
struct fit_skew {
    uint32_t n;
    double decodes[SKEW_SIZES];
    struct points pure[SKEW_SIZES], mixed[SKEW_SIZES];
};
int fit_skew_add(struct fit_skew *k, double decodes, bool pure, double sigma, double excess, struct err *e);
/* Slopes of those with enough rows, into the profile. */
int fit_skew_keep(struct fit *f, const struct fit_skew *k);
void fit_skew_release(struct fit_skew *k);

/* The profile as JSON. */
int profile_write(const struct profile *p, FILE *out, struct err *e);

#endif
