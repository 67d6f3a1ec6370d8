/* SPDX-License-Identifier: Apache-2.0
 *
 * What routes look like: how evenly the experts of a layer are used, how much a token shares with those
 * before it, how an expert cache would do, which experts work together and what a layer says about the
 * next. Every function reads one layer (or two) and stands for itself; route_stats_of puts their means
 * over layers together. */
#ifndef STEELYARD_ROUTE_STATS_H
#define STEELYARD_ROUTE_STATS_H

#include "traces/route_sample.h"

/* ---- how evenly experts are used ---- */
#define ROUTE_SHARES 5 /* of the 12.5, 25, 37.5, 50 and 75 % most used experts */
extern const double route_share_parts[ROUTE_SHARES];
struct route_popularity {
    double entropy;       /* over log(experts): 1 = all alike */
    double max_over_mean;
    double cv;            /* standard deviation over mean */
    double zipf;          /* -slope of log count over log rank, least squares; unused experts left out */
    double share[ROUTE_SHARES]; /* of all uses; parts of an expert are interpolated */
};
void route_count(const struct route_layer *l, uint32_t from_token, uint32_t to_token, uint64_t *count);
/* All NaN when nothing was counted. */
void route_popularity(const uint64_t *count, uint32_t experts, struct route_popularity *ret);
/* Mean over the sequences of `least` tokens and more; how many they are. */
uint32_t route_popularity_within(const struct route_layer *l, uint32_t least, struct route_popularity *ret);

/* ---- along a sequence ---- */
/* Share of a token's experts that the token `lag` before it in the same sequence used; NaN without any. */
double route_reuse(const struct route_layer *l, uint32_t lag);
/* Mean number of different experts of `window` tokens in a row: windows side by side over the whole
 * sample, sequences one behind the other. */
double route_distinct(const struct route_layer *l, uint32_t window);
/* Segment routing best performance (arXiv 2505.16056): F1 of a fixed set of experts for each segment of m
 * tokens, at the best threshold of use; segments begin at every token and lie inside a sequence. */
double route_segment_best(const struct route_layer *l, uint32_t m);

/* ---- caches of C experts of the layer, carried over from sequence to sequence ----
 * A token asks for all of its experts at once: what is there before it are hits, then the missing ones
 * come in, and none of the token's own experts goes out for them, but for the optimum, which keeps what is
 * needed next, be it new or old. */
enum route_cache { ROUTE_LRU, ROUTE_LFU, ROUTE_DECAYED, ROUTE_STATIC, ROUTE_BELADY };
extern const char *const route_cache_names[]; /* NULL-terminated */
/* Share of hits. LFU counts from the beginning, DECAYED halves every 128 tokens, STATIC holds the most used
 * of this sample, BELADY evicts what is needed last. `miss`, if not NULL, is [top_k + 1]: the share of tokens
 * with so many misses. < 0 when out of memory. */
double route_cache_hits(const struct route_layer *l, enum route_cache policy, uint32_t capacity, double *miss);
/* Segment cache best hit rate (arXiv 2505.16056): what is used least in the m tokens from the present one on
 * goes out, of equals the one used longest ago; m = 0: all is foreseen, what is used last goes out. As there,
 * each sequence starts with an empty cache whose filling is free, a newcomer is always let in, and another
 * expert of the same token may go out for it. < 0 when out of memory. */
double route_cache_foresight(const struct route_layer *l, uint32_t capacity, uint32_t m);

/* ---- which experts work together ---- */
/* pairs[i * experts + j] = tokens that use both i and j, i != j. */
void route_pairs(const struct route_layer *l, uint64_t *pairs);
/* BuddyMoE's list length: how many peers of an expert, most frequent first, hold alpha of its joint uses;
 * mean over experts that have peers. */
double route_list_size(const uint64_t *pairs, uint32_t experts, double alpha);
/* Share of an expert's joint uses that its `n` most frequent peers hold; mean over experts. */
double route_peer_share(const uint64_t *pairs, uint32_t experts, uint32_t n);
/* Share of all joint uses that the `part` most frequent pairs hold. */
double route_pair_share(const uint64_t *pairs, uint32_t experts, double part);

/* ---- what a layer says about the next ---- */
/* next[i * experts + j] = tokens that use i in `l` and j in `m`. */
void route_next(const struct route_layer *l, const struct route_layer *m, uint64_t *next);
/* Mutual information of (i, j), bit. */
double route_next_information(const uint64_t *next, uint32_t experts);
/* Share of uses in the next layer that the `part` most frequent successors of an expert hold; with
 * `by_popularity` the most used experts of the next layer instead. */
double route_next_share(const uint64_t *next, uint32_t experts, double part, bool by_popularity);
/* Share of a token's experts in `m` among the n most probable ones by naive Bayes from its experts in `l`,
 * for each n; counts come from the same tokens. */
void route_next_recall(const struct route_layer *l, const struct route_layer *m, const uint64_t *next,
                       const uint32_t *n, uint32_t n_n, double *recall);

/* ---- all of it ---- */
#define ROUTE_LAGS     64
#define ROUTE_WINDOWS  5 /* 8, 16, 32, 64, 128 tokens */
#define ROUTE_CACHES   6 /* 1/8, 1/4, 3/8, 1/2, 5/8, 3/4 of the experts */
#define ROUTE_POLICIES 5
#define ROUTE_ALPHAS   5 /* .25, .5, .75, .9, .95 */
#define ROUTE_RECALLS  5 /* top_k times 1, 4/3, 2, 8/3, 4 */
extern const uint32_t route_windows[ROUTE_WINDOWS];
extern const double route_cache_parts[ROUTE_CACHES], route_alphas[ROUTE_ALPHAS];

struct route_stats {
    struct routes_shape shape;
    uint32_t sequences, tokens, long_sequences; /* of 64 tokens and more */
    struct route_popularity all, within;
    double entropy_min, entropy_max, max_over_mean_max, zipf_min, zipf_max; /* over layers */
    double reuse[ROUTE_LAGS + 1];                                          /* by lag, from 1 */
    double *layer_reuse;                                                   /* lag 1, by layer */
    double distinct[ROUTE_WINDOWS];
    double segment_best; /* m = 16 */
    uint32_t capacity[ROUTE_CACHES];
    double hits[ROUTE_POLICIES][ROUTE_CACHES];
    double misses[ROUTE_POLICIES][ROUTE_CACHES][ROUTE_TOP_K_MAX + 1];
    double foresight[3], foreseen[3]; /* C = 1, 2, 3 times top_k: with m = 16, and all foreseen */
    double list_size[ROUTE_ALPHAS];
    double peers[3]; /* 4, 8, 16 */
    double pairs_top10;
    double next_bits, next_top20, next_top20_popular; /* NaN for one layer */
    uint32_t recall_n[ROUTE_RECALLS];
    double recall[ROUTE_RECALLS];
    double tae_mean, tae_above; /* NaN without scores; share above .95 */
};

/* Memory of *ret is the arena's; `progress` as in route_sample_take. */
int route_stats_of(struct route_stats *ret, const struct route_sample *s, struct arena *a,
                   int (*progress)(void *ctx, double share), void *ctx, struct err *e);

#endif
