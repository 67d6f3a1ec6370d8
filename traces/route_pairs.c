/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts that work together, and what a layer says about the next. */
#include "traces/route_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* The first `part * n` of sorted numbers, the last of them in part. */
static double first_sum(const uint64_t *v, size_t n, double part)
{
    double whole, rest = modf(part, &whole), sum = 0;
    size_t k = (size_t)whole;
    for (size_t i = 0; i < k && i < n; i++) {
        sum += (double)v[i];
    }
    return k < n ? sum + rest * (double)v[k] : sum;
}

static double total_of(const uint64_t *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)v[i];
    }
    return sum;
}

/* ---- pairs of a token ---- */

void route_pairs(const struct route_layer *l, uint64_t *pairs)
{
    size_t k = l->top_k, n = l->experts;
    memset(pairs, 0, n * n * sizeof(*pairs));
    for (size_t t = 0; t < route_layer_tokens(l); t++) {
        const uint16_t *e = l->expert + t * k;
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < k; j++) {
                pairs[e[i] * n + e[j]] += i != j;
            }
        }
    }
}

static uint32_t peers_needed(const uint64_t *sorted, uint32_t n, double alpha)
{
    double want = alpha * total_of(sorted, n), have = 0;
    uint32_t t = 0;
    while (t < n && have < want) {
        have += (double)sorted[t++];
    }
    return t;
}

/* Row i in descending order; false when it is all zero. */
static bool sorted_row(const uint64_t *pairs, uint32_t n, uint32_t i, uint64_t *row)
{
    memcpy(row, pairs + (size_t)i * n, n * sizeof(*row));
    qsort(row, n, sizeof(*row), descending);
    return row[0] > 0;
}

double route_list_size(const uint64_t *pairs, uint32_t experts, double alpha)
{
    uint64_t row[ROUTE_EXPERTS_MAX];
    double sum = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < experts; i++) {
        if (sorted_row(pairs, experts, i, row)) {
            sum += peers_needed(row, experts, alpha);
            used++;
        }
    }
    return sum / used;
}

double route_peer_share(const uint64_t *pairs, uint32_t experts, uint32_t n)
{
    uint64_t row[ROUTE_EXPERTS_MAX];
    double sum = 0;
    uint32_t used = 0;
    for (uint32_t i = 0; i < experts; i++) {
        if (sorted_row(pairs, experts, i, row)) {
            sum += first_sum(row, experts, n) / total_of(row, experts);
            used++;
        }
    }
    return sum / used;
}

double route_pair_share(const uint64_t *pairs, uint32_t experts, double part)
{
    size_t n = (size_t)experts * (experts - 1) / 2, at = 0;
    uint64_t *v = malloc((n ? n : 1) * sizeof(*v));
    if (!v) {
        return NAN;
    }
    for (uint32_t i = 0; i < experts; i++) {
        for (uint32_t j = 0; j < i; j++) {
            v[at++] = pairs[(size_t)i * experts + j];
        }
    }
    qsort(v, n, sizeof(*v), descending);
    double share = first_sum(v, n, part * (double)n) / total_of(v, n);
    free(v);
    return share;
}

/* ---- two layers ---- */

void route_next(const struct route_layer *l, const struct route_layer *m, uint64_t *next)
{
    size_t k = l->top_k, n = l->experts;
    memset(next, 0, n * n * sizeof(*next));
    for (size_t t = 0; t < route_layer_tokens(l); t++) {
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < k; j++) {
                next[l->expert[t * k + i] * n + m->expert[t * k + j]]++;
            }
        }
    }
}

static void margins(const uint64_t *next, uint32_t n, double *row, double *column)
{
    memset(row, 0, n * sizeof(*row));
    memset(column, 0, n * sizeof(*column));
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) {
            row[i] += (double)next[(size_t)i * n + j];
            column[j] += (double)next[(size_t)i * n + j];
        }
    }
}

double route_next_information(const uint64_t *next, uint32_t experts)
{
    double row[ROUTE_EXPERTS_MAX], column[ROUTE_EXPERTS_MAX], bits = 0;
    double total = total_of(next, (size_t)experts * experts);
    margins(next, experts, row, column);
    for (uint32_t i = 0; i < experts; i++) {
        for (uint32_t j = 0; j < experts; j++) {
            double c = (double)next[(size_t)i * experts + j];
            bits += c > 0 ? c / total * log2(c * total / (row[i] * column[j])) : 0;
        }
    }
    return bits;
}

double route_next_share(const uint64_t *next, uint32_t experts, double part, bool by_popularity)
{
    uint64_t row[ROUTE_EXPERTS_MAX], all[ROUTE_EXPERTS_MAX] = {0};
    double held = 0, total = total_of(next, (size_t)experts * experts);
    for (uint32_t i = 0; i < experts; i++) {
        for (uint32_t j = 0; j < experts; j++) {
            all[j] += next[(size_t)i * experts + j];
        }
        sorted_row(next, experts, i, row);
        held += first_sum(row, experts, part * experts);
    }
    qsort(all, experts, sizeof(*all), descending);
    return (by_popularity ? first_sum(all, experts, part * experts) : held) / total;
}

/* ---- naive Bayes ---- */

/* log P(i in l | j in m) with one use added everywhere, and log P(j). */
struct bayes {
    float *given; /* [i][j] */
    double prior[ROUTE_EXPERTS_MAX];
};

static bool learn(struct bayes *b, const uint64_t *next, uint32_t n)
{
    double row[ROUTE_EXPERTS_MAX], column[ROUTE_EXPERTS_MAX];
    double total = total_of(next, (size_t)n * n);
    b->given = malloc((size_t)n * n * sizeof(*b->given));
    margins(next, n, row, column);
    for (uint32_t j = 0; j < n && b->given; j++) {
        b->prior[j] = log((column[j] + 1) / (total + n));
        for (uint32_t i = 0; i < n; i++) {
            size_t at = (size_t)i * n + j;
            b->given[at] = (float)log(((double)next[at] + 1) / (column[j] + n));
        }
    }
    return b->given != NULL;
}

/* How many experts are more probable than `expert`. */
static uint32_t rank_of(const double *score, uint32_t n, uint32_t expert)
{
    uint32_t rank = 0;
    for (uint32_t j = 0; j < n; j++) {
        rank += score[j] > score[expert] || (score[j] == score[expert] && j < expert);
    }
    return rank;
}

void route_next_recall(const struct route_layer *l, const struct route_layer *m, const uint64_t *next,
                       const uint32_t *n, uint32_t n_n, double *recall)
{
    struct bayes b;
    size_t k = l->top_k, tokens = route_layer_tokens(l);
    uint64_t at[ROUTE_EXPERTS_MAX] = {0};
    bool ok = learn(&b, next, l->experts);
    for (size_t t = 0; t < tokens && ok; t++) {
        double score[ROUTE_EXPERTS_MAX];
        memcpy(score, b.prior, l->experts * sizeof(*score));
        for (size_t i = 0; i < k; i++) {
            const float *g = b.given + (size_t)l->expert[t * k + i] * l->experts;
            for (uint32_t j = 0; j < l->experts; j++) {
                score[j] += (double)g[j];
            }
        }
        for (size_t i = 0; i < k; i++) {
            at[rank_of(score, l->experts, m->expert[t * k + i])]++;
        }
    }
    for (uint32_t i = 0; i < n_n; i++) {
        uint64_t hits = 0;
        for (uint32_t r = 0; r < n[i] && r < l->experts; r++) {
            hits += at[r];
        }
        recall[i] = ok ? (double)hits / (double)(tokens * k) : (double)NAN;
    }
    free(b.given);
}
