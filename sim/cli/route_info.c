/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/route_info.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/core/json.h"
#include "sim/core/rng.h"
#include "traces/dist.h"
#include "traces/route_stats.h"
#include "traces/routes.h"

#define SEQUENCES_OTHERWISE 300

/* ---- opening ---- */

static int know_model(struct routes_env *env, const char *model, struct arena *ar, struct err *e)
{
    struct llm_shape m;
    struct err why = {0};
    env->model = model;
    if (llm_load(&m, model, steelyard_data_dir(NULL, ar), NULL, NULL, ar, &why) < 0) {
        return why.code == SIM_E_NOMEM ? err_set(e, why.code, "%s", why.msg) : 0;
    }
    if (m.experts == 0) {
        return err_set(e, SIM_E_CONFIG, "%s has no experts", model);
    }
    env->model = m.name;
    env->shape = (struct routes_shape){m.experts, m.experts_per_tok, llm_moe_layers(&m)};
    return 0;
}

int route_info_open(struct routes **ret, const char *source, const char *model, uint64_t seed,
                 uint32_t replication, struct arena *ar, struct err *e)
{
    struct routes_env env = {.seed = seed, .replication = replication};
    int rc = model ? know_model(&env, model, ar, e) : 0;
    if (rc == 0 && !strchr(source, '{') && access(source, F_OK) == 0) {
        source = arena_printf(ar, "recorded{file=%s}", source);
    }
    if (!source) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return rc < 0 ? rc : routes_open(ret, source, &env, e);
}

int route_info_lengths(uint32_t **ret, const char *dist, uint32_t n, uint64_t seed, uint32_t replication,
                    struct arena *ar, struct err *e)
{
    struct rng_stream s = rng_stream(seed, replication, "route-lengths");
    struct dist *d;
    int rc = dist_parse(&d, dist, "prompt", ar, e);
    *ret = arena_calloc(ar, n, sizeof(**ret));
    if (rc < 0 || !*ret) {
        return rc < 0 ? rc : err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        (*ret)[i] = dist_draw(d, rng_uniform(s, i, 0));
    }
    return 0;
}

/* Lengths of the sequences to look at. */
static int choose(const struct route_info_request *q, const struct routes *r, uint32_t **ret, uint32_t *ret_n,
                  struct arena *ar, struct err *e)
{
    uint64_t recorded = routes_sequences(r), n = q->sequences ? (uint64_t)q->sequences : recorded;
    n = n ? n : SEQUENCES_OTHERWISE;
    *ret_n = (uint32_t)n;
    if (n > ROUTE_SAMPLE_TOKENS_MAX) {
        return err_set(e, SIM_E_USAGE, "--sequences: at most %u", ROUTE_SAMPLE_TOKENS_MAX);
    }
    if (!recorded || q->lengths) {
        return route_info_lengths(ret, q->lengths ? q->lengths : ROUTE_SHORT_PROMPTS, *ret_n, q->seed,
                               q->replication, ar, e);
    }
    *ret = arena_calloc(ar, n, sizeof(**ret));
    for (uint32_t i = 0; *ret && i < n; i++) {
        (*ret)[i] = routes_length(r, i);
    }
    return *ret ? 0 : err_set(e, SIM_E_NOMEM, "out of memory");
}

/* ---- as text ---- */

static void line(const char *what, const char *format, const double *v, uint32_t n)
{
    printf("%-22s", what);
    for (uint32_t i = 0; i < n; i++) {
        printf(" ");
        if (isfinite(v[i])) {
            printf(format, v[i]);
        } else {
            printf("%6s", "-");
        }
    }
    printf("\n");
}

static void print_popularity(const char *what, const struct route_popularity *p)
{
    printf("%s\n", what);
    printf("  entropy              %6.3f of the most possible; max/mean %.2f, CV %.2f, Zipf slope %.2f\n",
           p->entropy, p->max_over_mean, p->cv, p->zipf);
    line("  share of top", "%5.1f%%", (double[]){12.5, 25, 37.5, 50, 75}, ROUTE_SHARES);
    line("", "%6.3f", p->share, ROUTE_SHARES);
}

static void print_locality(const struct route_stats *s)
{
    static const uint32_t lags[] = {1, 2, 4, 8, 16, 32, 64};
    double at[7], lag[7], window[ROUTE_WINDOWS];
    for (uint32_t i = 0; i < 7; i++) {
        lag[i] = lags[i];
        at[i] = s->reuse[lags[i]];
    }
    for (uint32_t i = 0; i < ROUTE_WINDOWS; i++) {
        window[i] = route_windows[i];
    }
    printf("reuse: share of a token's experts that an earlier token of the sequence used\n");
    line("  tokens before", "%6.0f", lag, 7);
    line("", "%6.3f", at, 7);
    printf("different experts of so many tokens in a row\n");
    line("  tokens", "%6.0f", window, ROUTE_WINDOWS);
    line("", "%6.1f", s->distinct, ROUTE_WINDOWS);
    if (isfinite(s->segment_best)) {
        printf("one set of experts for 16 tokens: F1 %.3f at best\n", s->segment_best);
    }
}

static void print_caches(const struct route_stats *s)
{
    double c[ROUTE_CACHES];
    for (uint32_t i = 0; i < ROUTE_CACHES; i++) {
        c[i] = s->capacity[i];
    }
    printf("hit rate of a cache per layer, by experts in it\n");
    line("  experts", "%6.0f", c, ROUTE_CACHES);
    for (uint32_t p = 0; p < ROUTE_POLICIES; p++) {
        char name[24];
        snprintf(name, sizeof(name), "  %s", route_cache_names[p]);
        line(name, "%6.3f", s->hits[p], ROUTE_CACHES);
    }
    printf("  who foresees 16 tokens reaches %.3f %.3f %.3f with %u, %u, %u experts; all of a sequence: %.3f %.3f "
           "%.3f\n", s->foresight[0], s->foresight[1], s->foresight[2], s->shape.top_k, 2 * s->shape.top_k,
           3 * s->shape.top_k, s->foreseen[0], s->foreseen[1], s->foreseen[2]);
    printf("misses of a token in a layer: share of tokens\n");
    for (uint32_t p = ROUTE_LRU; p <= ROUTE_STATIC; p += ROUTE_STATIC - ROUTE_LRU) {
        for (uint32_t i = 1; i < ROUTE_CACHES; i += 1 + (i == 3)) {
            char name[32];
            snprintf(name, sizeof(name), "  %s, %u experts", route_cache_names[p], s->capacity[i]);
            line(name, "%6.3f", s->misses[p][i], s->shape.top_k + 1);
        }
    }
}

static void print_pairs(const struct route_stats *s)
{
    double recall_n[ROUTE_RECALLS];
    for (uint32_t i = 0; i < ROUTE_RECALLS; i++) {
        recall_n[i] = s->recall_n[i];
    }
    printf("experts that work together\n");
    line("  share of joint uses", "%6.2f", route_alphas, ROUTE_ALPHAS);
    line("  held by peers", "%6.1f", s->list_size, ROUTE_ALPHAS);
    printf("  4, 8, 16 peers hold    %.3f %.3f %.3f; a tenth of the pairs holds %.3f\n", s->peers[0], s->peers[1],
           s->peers[2], s->pairs_top10);
    if (s->shape.layers < 2) {
        return;
    }
    printf("next layer\n");
    printf("  mutual information   %6.3f bit; the 20 %% likeliest successors hold %.3f, the 20 %% most used %.3f\n",
           s->next_bits, s->next_top20, s->next_top20_popular);
    line("  naive Bayes names", "%6.0f", recall_n, ROUTE_RECALLS);
    line("  of the experts", "%6.3f", s->recall, ROUTE_RECALLS);
}

static void print_stats(const struct route_info_request *q, const struct routes *r, const struct route_stats *s)
{
    char within[64];
    printf("routes                 %s\n", q->source);
    printf("from                   %s\n", routes_provenance(r));
    printf("experts                %u of %u in each of %u MoE layers\n", s->shape.top_k, s->shape.experts,
           s->shape.layers);
    printf("sample                 %u tokens of %u sequences\n", s->tokens, s->sequences);
    print_popularity("use of experts, mean over layers", &s->all);
    printf("  over layers          entropy %.3f to %.3f, max/mean at most %.2f, Zipf slope %.2f to %.2f\n",
           s->entropy_min, s->entropy_max, s->max_over_mean_max, s->zipf_min, s->zipf_max);
    if (s->long_sequences > 0) {
        snprintf(within, sizeof(within), "inside a sequence of 64 tokens or more (%u)", s->long_sequences);
        print_popularity(within, &s->within);
    }
    print_locality(s);
    print_caches(s);
    print_pairs(s);
    if (isfinite(s->tae_mean)) {
        printf("gate weights: token activating entropy %.3f in the mean, above .95 for %.1f %%\n", s->tae_mean,
               100 * s->tae_above);
    }
}

/* ---- as JSON ---- */

static void write_list(struct json_writer *w, const char *key, const double *v, uint32_t n)
{
    json_key(w, key);
    json_array(w);
    for (uint32_t i = 0; i < n; i++) {
        json_double(w, v[i]);
    }
    json_end(w);
}

static void write_counts(struct json_writer *w, const char *key, const uint32_t *v, uint32_t n)
{
    json_key(w, key);
    json_array(w);
    for (uint32_t i = 0; i < n; i++) {
        json_int(w, v[i]);
    }
    json_end(w);
}

static void write_popularity(struct json_writer *w, const char *key, const struct route_popularity *p)
{
    json_key(w, key);
    json_object(w);
    json_kv_double(w, "entropy", p->entropy);
    json_kv_double(w, "max_over_mean", p->max_over_mean);
    json_kv_double(w, "cv", p->cv);
    json_kv_double(w, "zipf", p->zipf);
    write_list(w, "top_parts", route_share_parts, ROUTE_SHARES);
    write_list(w, "top_shares", p->share, ROUTE_SHARES);
    json_end(w);
}

static void write_caches(struct json_writer *w, const struct route_stats *s)
{
    json_key(w, "caches");
    json_object(w);
    write_counts(w, "experts", s->capacity, ROUTE_CACHES);
    for (uint32_t p = 0; p < ROUTE_POLICIES; p++) {
        json_key(w, route_cache_names[p]);
        json_object(w);
        write_list(w, "hits", s->hits[p], ROUTE_CACHES);
        json_key(w, "misses_per_token");
        json_array(w);
        for (uint32_t i = 0; i < ROUTE_CACHES; i++) {
            json_array(w);
            for (uint32_t m = 0; m <= s->shape.top_k; m++) {
                json_double(w, s->misses[p][i][m]);
            }
            json_end(w);
        }
        json_end(w);
        json_end(w);
    }
    write_list(w, "foresight_16_at_1_2_3_top_k", s->foresight, 3);
    write_list(w, "foresight_all_at_1_2_3_top_k", s->foreseen, 3);
    json_end(w);
}

static void write_pairs(struct json_writer *w, const struct route_stats *s)
{
    json_key(w, "pairs");
    json_object(w);
    write_list(w, "alpha", route_alphas, ROUTE_ALPHAS);
    write_list(w, "list_size", s->list_size, ROUTE_ALPHAS);
    write_list(w, "share_of_4_8_16_peers", s->peers, 3);
    json_kv_double(w, "share_of_top_tenth", s->pairs_top10);
    json_end(w);
    json_key(w, "next_layer");
    json_object(w);
    json_kv_double(w, "bits", s->next_bits);
    json_kv_double(w, "top20_share", s->next_top20);
    json_kv_double(w, "top20_popular_share", s->next_top20_popular);
    write_counts(w, "recall_n", s->recall_n, ROUTE_RECALLS);
    write_list(w, "recall", s->recall, ROUTE_RECALLS);
    json_end(w);
}

static void write_stats(const struct route_info_request *q, const struct routes *r, const struct route_stats *s)
{
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.routes/1");
    json_kv_string(&w, "routes", q->source);
    json_kv_string(&w, "provenance", routes_provenance(r));
    json_kv_int(&w, "experts", s->shape.experts);
    json_kv_int(&w, "top_k", s->shape.top_k);
    json_kv_int(&w, "layers", s->shape.layers);
    json_kv_int(&w, "tokens", s->tokens);
    json_kv_int(&w, "sequences", s->sequences);
    write_popularity(&w, "popularity", &s->all);
    write_popularity(&w, "popularity_within_sequences", &s->within);
    json_kv_int(&w, "sequences_of_64_tokens", s->long_sequences);
    write_list(&w, "reuse_by_lag", s->reuse + 1, ROUTE_LAGS);
    write_list(&w, "reuse_by_layer", s->layer_reuse, s->shape.layers);
    write_counts(&w, "windows", route_windows, ROUTE_WINDOWS);
    write_list(&w, "distinct_experts", s->distinct, ROUTE_WINDOWS);
    json_kv_double(&w, "segment_best_f1_16", s->segment_best);
    write_caches(&w, s);
    write_pairs(&w, s);
    json_kv_double(&w, "tae_mean", s->tae_mean);
    json_kv_double(&w, "tae_above_0.95", s->tae_above);
    json_end(&w);
    printf("\n");
}

/* ---- */

static int on_progress(void *ctx, double share)
{
    progress_update(ctx, share, "");
    return cli_interrupted;
}

static int look(const struct route_info_request *q, struct routes *r, struct arena *ar, struct err *e)
{
    struct route_sample sample;
    struct route_stats stats;
    struct progress p;
    uint32_t *length, n;
    int rc = choose(q, r, &length, &n, ar, e);
    if (rc < 0) {
        return rc;
    }
    progress_begin(&p, "routing", !q->quiet);
    rc = route_sample_take(&sample, r, length, n, ar, on_progress, &p, e);
    progress_end(&p);
    progress_begin(&p, "counting", !q->quiet);
    rc = rc == 0 ? route_stats_of(&stats, &sample, ar, on_progress, &p, e) : rc;
    progress_end(&p);
    if (rc == 0 && q->json) {
        write_stats(q, r, &stats);
    } else if (rc == 0) {
        print_stats(q, r, &stats);
    }
    return rc;
}

int route_info(const struct route_info_request *q, struct arena *ar, struct err *e)
{
    struct routes *r;
    int rc = route_info_open(&r, q->source, q->model, q->seed, q->replication, ar, e);
    if (rc < 0) {
        return rc;
    }
    rc = look(q, r, ar, e);
    routes_close(r);
    return rc;
}
