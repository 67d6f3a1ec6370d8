/* SPDX-License-Identifier: Apache-2.0
 *
 * From what was heard to named numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/observe/metrics.h"
#include "sim/observe/service.h"

#define MAX_METRICS   128
#define NEAR_CAPACITY 0.8

struct table {
    struct metric *v;
    size_t n;
    struct arena *a;
    bool failed;
};

static void put(struct table *t, const char *name, const char *unit, double value)
{
    if (t->n == MAX_METRICS) {
        t->failed = true;
        return;
    }
    t->v[t->n++] = (struct metric){.name = name, .unit = unit, .value = value};
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : (double)NAN;
}

/* mean, median, std and percentiles of a histogram of nanoseconds, in ms, as vllm bench serve names
 * them. */
static void put_hist(struct table *t, const struct hist *h, const char *what)
{
    static const struct {
        const char *prefix;
        double q;
    } quantiles[] = {{"median", 0.5}, {"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}};
    const char *name = arena_printf(t->a, "mean_%s_ms", what);

    put(t, name, "ms", hist_mean(h) / 1e6);
    for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        name = arena_printf(t->a, "%s_%s_ms", quantiles[i].prefix, what);
        put(t, name, "ms", hist_quantile(h, quantiles[i].q) / 1e6);
        t->failed |= !name;
    }
    name = arena_printf(t->a, "std_%s_ms", what);
    put(t, name, "ms", hist_stddev(h) / 1e6);
    t->failed |= !name;
}

static double horizon(const struct metrics *m)
{
    double last = (double)m->total.last_arrival_ns / 1e9;

    if (m->cfg->service_horizon_s > 0) {
        return m->cfg->service_horizon_s;
    }
    return last >= 10 ? floor(last / 10) * 10 : last;
}

static void put_service(const struct metrics *m, struct table *t)
{
    double h = horizon(m);
    struct service_summary s = {NAN, NAN, NAN, NAN, NAN, NAN};

    if (h > 0 && m->n_clients > 0) {
        s = service_summarise(m, h, m->cfg->service_window_s);
    }
    put(t, "max_service_diff", "tok/s", s.max_diff);
    put(t, "mean_service_diff", "tok/s", s.mean_diff);
    put(t, "var_service_diff", "tok2/s2", s.var_diff);
    put(t, "max_accumulated_diff", "tok", s.max_acc);
    put(t, "mean_accumulated_diff", "tok", s.mean_acc);
    put(t, "jain_index", "1", s.jain);
}

/* ---- goals by class ---- */

static void put_named(struct table *t, const char *stem, const char *class, const char *unit, double v)
{
    const char *name = class ? arena_printf(t->a, "%s_%s", stem, class) : stem;

    t->failed |= !name;
    put(t, name, unit, v);
}

static void put_goals(const struct metrics *m, struct table *t, double counted_s)
{
    static const struct {
        enum slo_class class;
        const char *name;
    } classes[] = {{SLO_LATENCY, "latency"}, {SLO_DEADLINE, "deadline"}, {SLO_COMPOUND, "compound"}};
    double all = 0, good = 0, tokens = 0;

    if (!m->attain.any) {
        return;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        const struct attain_count *n = &m->attain.of_class[classes[i].class];

        all += (double)n->all;
        good += (double)n->good;
        tokens += attain_tokens(&m->attain, classes[i].class);
    }
    put(t, "slo_attainment", "1", ratio(good, all));
    put(t, "slo_request_goodput", "1/s", ratio(good, counted_s));
    put(t, "slo_token_goodput", "tok/s", ratio(tokens, counted_s));
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        const struct attain_count *n = &m->attain.of_class[classes[i].class];
        const char *name = classes[i].name;

        if (n->all > 0) {
            put_named(t, "slo_attainment", name, "1", ratio((double)n->good, (double)n->all));
            put_named(t, "slo_request_goodput", name, "1/s", ratio((double)n->good, counted_s));
            put_named(t, "slo_token_goodput", name, "tok/s",
                      ratio(attain_tokens(&m->attain, classes[i].class), counted_s));
        }
    }
}

static void put_slowdown(const struct metrics *m, struct table *t)
{
    static const char *const names[SIZE_CLASSES] = {"short", "medium", "long"};

    for (size_t i = 0; m->cfg->slowdown && i < SIZE_CLASSES; i++) {
        put_named(t, "mean_slowdown", names[i], "1", hist_mean(&m->slowdown[i]) / 1e6);
        put_named(t, "p99_slowdown", names[i], "1", hist_quantile(&m->slowdown[i], 0.99) / 1e6);
    }
}

/* ---- fairness counters ----
 * fairness.md 1.4, a stand-in for Equinox's equations, which are not public. Utilisation is that of the
 * run, and throughput is measured against the run's: both are equal for all clients. */

struct counters {
    double ufc, rfc, hf;
};

struct counter_scale {
    double rfc, top_ufc, top_rfc;
};

static double jain_of(double sum, double sum_sq, uint32_t n)
{
    return sum_sq > 0 ? sum * sum / (n * sum_sq) : (double)NAN;
}

static struct counters counters_of(const struct metrics *m, uint32_t client, const struct counter_scale *s)
{
    const struct client_stats *c = &m->clients[client];
    struct counters v = {.ufc = c->ufc / c->weight, .rfc = c->throughput * s->rfc / c->weight};

    v.hf = m->cfg->fairness_alpha * (s->top_ufc > 0 ? v.ufc / s->top_ufc : 0) +
           (1 - m->cfg->fairness_alpha) * (s->top_rfc > 0 ? v.rfc / s->top_rfc : 0);
    return v;
}

static struct counter_scale counter_scale(const struct metrics *m)
{
    double busy_s = (double)m->total.n.busy_ns / 1e9 / m->n_ears;
    double tok = (double)(m->input_tok + m->output_tok);
    struct counter_scale s = {.rfc = tok > 0 ? busy_s / tok : 0}; /* u / T_ref = busy/end / (tok/end) */

    for (uint32_t c = 0; c < m->n_clients; c++) {
        struct counters v = counters_of(m, c, &s);

        s.top_ufc = fmax(s.top_ufc, v.ufc);
        s.top_rfc = fmax(s.top_rfc, v.rfc);
    }
    return s;
}

static void put_counters(const struct metrics *m, struct table *t)
{
    struct counter_scale scale = counter_scale(m);
    struct counters sum = {0, 0, 0}, sq = {0, 0, 0};

    for (uint32_t c = 0; c < m->n_clients; c++) {
        struct counters v = counters_of(m, c, &scale);

        sum = (struct counters){sum.ufc + v.ufc, sum.rfc + v.rfc, sum.hf + v.hf};
        sq = (struct counters){sq.ufc + v.ufc * v.ufc, sq.rfc + v.rfc * v.rfc, sq.hf + v.hf * v.hf};
    }
    put(t, "jain_ufc", "1", jain_of(sum.ufc, sq.ufc, m->n_clients));
    put(t, "jain_rfc", "1", jain_of(sum.rfc, sq.rfc, m->n_clients));
    put(t, "jain_hf", "1", jain_of(sum.hf, sq.hf, m->n_clients));
}

/* ---- KV that left the GPU and came back; only in runs where it can ---- */

static double bytes_loaded(const struct swap_counters *n)
{
    double sum = 0;

    for (int tier = 0; tier < KV_TIERS; tier++) {
        sum += n->tier_in[tier];
    }
    return sum;
}

static void put_swap(const struct metrics *m, struct table *t)
{
    const struct swap_counters *n = &m->total.swap;
    double wait = (double)n->wait_ns;

    if (!m->total.swaps) {
        return;
    }
    put(t, "kv_wait_share", "1", ratio(wait, wait + (double)m->total.n.busy_ns));
    put(t, "kv_wait_share_p99", "1", m->total.wait_tail);
    put(t, "kv_conflict_wait", "s", (double)n->conflict_ns / 1e9);
    put(t, "kv_copied_out", "1", (double)n->out);
    put(t, "kv_copied_in", "1", (double)n->in);
    put(t, "kv_recomputed", "1", (double)n->recomputed);
    put(t, "kv_lost", "1", (double)n->lost);
    put(t, "kv_copy_calls", "1", (double)(n->out_copies + n->in_copies));
    put(t, "kv_blocks_out", "1", (double)n->out_blk);
    put(t, "kv_reuse_share", "1", 1 - ratio((double)n->out_blk, (double)n->held_blk));
    put(t, "kv_found_tokens", "tok", (double)n->hit_tok);
    put(t, "kv_host_peak", "byte", n->host_peak_bytes);
    if (n->streams) {
        put(t, "kv_chunks_fine", "1", (double)n->chunks[3]);
        put(t, "kv_chunks_medium", "1", (double)n->chunks[2]);
        put(t, "kv_chunks_coarse", "1", (double)n->chunks[1]);
        put(t, "kv_streams_cut", "1", (double)n->chunks[STREAM_TEXT]);
    }
    for (int tier = KV_HOST + 1; tier < KV_TIERS; tier++) {
        if (n->below[tier]) {
            put_named(t, "kv_bytes_to", kv_tier_name((enum kv_tier)tier), "byte", n->tier_out[tier]);
            put_named(t, "kv_bytes_from", kv_tier_name((enum kv_tier)tier), "byte", n->tier_in[tier]);
        }
    }
}

static void put_machine(const struct metrics *m, struct table *t, double end_s)
{
    const struct engine_counters *n = &m->total.n;
    double samples = (double)m->n_samples;

    put(t, "gpu_utilization", "1", ratio((double)n->busy_ns / 1e9 / m->n_ears, end_s));
    put(t, "kv_utilization_mean", "1", ratio(m->sum_kv, samples));
    put(t, "kv_utilization_peak", "1", m->total.peak_kv);
    put(t, "kv_pool_tokens", "tok", m->total.pool_tok / m->n_ears);
    put(t, "mean_running", "1", ratio(m->sum_running, samples));
    put(t, "mean_waiting", "1", ratio(m->sum_waiting, samples));
    put(t, "max_concurrent_requests", "1", m->peak_in_system);
    put(t, "mean_batch_size", "1", ratio((double)n->decode_tok, (double)n->decode_steps));
    put(t, "iterations", "1", (double)n->steps);
    put(t, "preemptions", "1", (double)n->preemptions);
    put(t, "swaps_out", "1", (double)n->swaps_out);
    put(t, "swaps_in", "1", (double)n->swaps_in);
    put(t, "pcie_bytes_up", "byte", n->swap_out_bytes + m->total.swap.tier_out[KV_HOST]);
    put(t, "pcie_bytes_down", "byte", n->swap_in_bytes + bytes_loaded(&m->total.swap));
    put(t, "cache_hit_rate", "1", ratio((double)n->hit_tok, (double)n->lookup_tok));
    put_swap(m, t);
    if (m->cfg->kv_page_bytes > 0) {
        put(t, "kv_pages_mapped", "1", (double)n->pages);
        put(t, "kv_map_wait", "s", n->map_ticks / SIM_TICKS_PER_NS / 1e9);
    }
    if (m->total.pins) {
        put(t, "kv_pins", "1", (double)m->total.pin.made);
        put(t, "kv_pins_found", "1", (double)m->total.pin.found);
        put(t, "kv_pins_expired", "1", (double)m->total.pin.expired);
        put(t, "kv_pins_broken", "1", (double)m->total.pin.broken);
        put(t, "kv_pinned_share", "1", ratio(m->total.pin.blk_ns, m->total.pin.all_blk_ns));
    }
}

/* How unevenly the router has loaded the replicas. */
static void put_replicas(const struct metrics *m, struct table *t)
{
    const struct metrics_total *g = &m->total;
    double n = m->n_ears;

    if (m->n_ears > 1) {
        put(t, "replicas", "1", n);
        put(t, "replica_request_spread", "1", ratio(g->most_arrived * n, (double)g->n.arrived));
        put(t, "replica_busy_spread", "1", ratio(g->busiest_ns * n, (double)g->n.busy_ns));
    }
}

/* ---- offered load ---- */

/* The queue at the last arrival is a good part of all requests. */
static bool left_behind(const struct metrics *m)
{
    uint32_t left = m->total.waiting_at_last_arrival;

    return left > 10 && left * 20.0 > (double)m->arrivals;
}

/* Requests per second that the machine can take: the estimate, but no more than it did take while a
 * queue built up before it (an engine that reserves memory, say, stays far below the estimate). What
 * ran at the last arrival counts as half done. */
static double capacity_seen(const struct metrics *m, double estimate_req_s)
{
    uint32_t left = m->total.waiting_at_last_arrival;
    double inside = (double)m->in_system_at_last_arrival;
    double taken = ratio((double)m->arrivals - (inside + fmin(left, inside)) / 2,
                         (double)m->total.last_arrival_ns / 1e9);

    return left_behind(m) && taken > 0 ? fmin(estimate_req_s, taken) : estimate_req_s;
}

static void put_all(const struct metrics *m, struct table *t, double capacity_req_s)
{
    const struct metrics_total *g = &m->total;
    double end_s = (double)m->last_leave_ns / 1e9;
    double duration_s = fmax(0, end_s - (double)m->warmup_ns / 1e9); /* what is counted came in it */
    double span_s = (double)g->last_arrival_ns / 1e9;
    double rate = m->arrivals > 1 ? ratio((double)m->arrivals, span_s) : (double)NAN;

    put(t, "duration", "s", duration_s);
    put(t, "completed", "1", (double)m->completed);
    put(t, "failed", "1", (double)(g->n.rejected + g->n.refused));
    put(t, "rejected", "1", (double)g->n.rejected);
    put(t, "refused", "1", (double)g->n.refused);
    put(t, "total_input_tokens", "tok", (double)m->input_tok);
    put(t, "total_output_tokens", "tok", (double)m->output_tok);
    put(t, "request_throughput", "1/s", ratio((double)m->completed, duration_s));
    put(t, "request_goodput", "1/s", ratio((double)m->good, duration_s));
    put(t, "output_throughput", "tok/s", ratio((double)m->output_tok, duration_s));
    put(t, "total_token_throughput", "tok/s",
        ratio((double)(m->input_tok + m->output_tok), duration_s));
    put(t, "request_rate", "1/s", rate);
    put(t, "offered_load", "1", rate / capacity_req_s);
    put_hist(t, &m->ttft, "ttft");
    put_hist(t, &m->tpot, "tpot");
    put_hist(t, &m->itl, "itl");
    put_hist(t, &m->e2el, "e2el");
    put_hist(t, &m->queue, "queue");
    put(t, "longest_wait_ms", "ms", (double)m->longest_wait_ns / 1e6);
    put_goals(m, t, duration_s);
    put_slowdown(m, t);
    put_service(m, t);
    put_counters(m, t);
    put_machine(m, t, end_s);
    put_replicas(m, t);
}

/* ---- verdict ----
 * Overloaded: more is asked than the machine can give, or the queue at the last arrival is a good part
 * of all requests. Backlogged: the queue comes back down, but somebody waits for a slot or for memory in
 * more than a tenth of the time, or the load is so close to capacity that a small error in the time of
 * a step decides how it ends. */
static void judge(const struct metrics *m, double capacity_req_s, struct run_result *ret)
{
    const struct metrics_total *g = &m->total;
    double rate = m->arrivals > 1
                      ? ratio((double)m->arrivals, (double)g->last_arrival_ns / 1e9)
                      : (double)NAN;
    double load = rate / capacity_req_s;
    double waiting = ratio((double)m->n_waiting_samples, (double)m->n_samples * m->n_ears);
    const char *word = "stable", *how;

    ret->verdict = RUN_STABLE;
    if (load >= 1 || left_behind(m)) {
        ret->verdict = RUN_OVERLOADED;
        word = "overloaded";
    } else if (waiting > 0.1 || load > NEAR_CAPACITY) {
        ret->verdict = RUN_BACKLOGGED;
        word = "backlogged";
    }
    how = isfinite(load) ? arena_printf(m->arena, "offered load is %.0f %% of capacity (%.3g of about "
                                                  "%.3g requests/s)", 100 * load, rate, capacity_req_s)
                         : "offered load is not defined for this trace";
    ret->verdict_text = arena_printf(
        m->arena, "%s: %s, requests waited in %.0f %% of the time, %u %s waiting at the last arrival", word,
        how ? how : "", isfinite(waiting) ? 100 * waiting : 0.0, g->waiting_at_last_arrival,
        g->waiting_at_last_arrival == 1 ? "was" : "were");
}

static int fill_clients(struct metrics *m, struct run_result *ret)
{
    struct client_result *out = arena_calloc(m->arena, m->n_clients, sizeof(*out));
    struct counter_scale scale = counter_scale(m);

    if (!out) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < m->n_clients; i++) {
        const struct client_stats *c = &m->clients[i];
        struct counters v = counters_of(m, i, &scale);
        double n = (double)c->completed;

        out[i] = (struct client_result){
            .name = arena_strdup(m->arena, m->client_name(m->client_name_ctx, i)),
            .requests = c->requests,
            .completed = c->completed,
            .rejected = c->rejected,
            .prompt_tok = c->prompt_tok,
            .output_tok = c->output_tok,
            .service = c->service,
            .mean_ttft_ms = ratio((double)c->ttft_ns / 1e6, n),
            .mean_e2e_ms = ratio((double)c->e2e_ns / 1e6, n),
            .mean_tpot_ms = ratio(c->tpot_sum_ns / 1e6, (double)c->tpot_n),
            .slo_attainment = ratio((double)c->slo_met, (double)c->slo_all),
            .ufc = v.ufc,
            .rfc = v.rfc,
            .hf = v.hf,
        };
        if (!out[i].name) {
            return SIM_E_NOMEM;
        }
    }
    ret->clients = out;
    ret->n_clients = m->n_clients;
    return 0;
}

static int fill_replicas(struct metrics *m, struct run_result *ret)
{
    struct replica_result *out = arena_calloc(m->arena, m->n_ears, sizeof(*out));

    if (!out) {
        return SIM_E_NOMEM;
    }
    for (uint32_t i = 0; i < m->n_ears; i++) {
        const struct engine *g = m->ear[i].engine;

        out[i] = (struct replica_result){
            .requests = g->n.arrived,
            .completed = g->n.finished,
            .preemptions = g->n.preemptions,
            .prefill_tok = g->n.prefill_tok,
            .decode_tok = g->n.decode_tok,
            .busy_s = (double)g->n.busy_ns / 1e9,
            .cache_hit_rate = ratio((double)g->n.hit_tok, (double)g->n.lookup_tok),
            .kv_peak = ratio((double)kv_peak_used(g->kv), (double)kv_total(g->kv)),
        };
    }
    ret->replicas = out;
    ret->n_replicas = m->n_ears;
    return 0;
}

static struct series curve_of(struct metrics *m, uint32_t client, const char *name)
{
    size_t n = (size_t)ceil((double)m->last_leave_ns / 1e9 / m->bin_s);
    double *t, *v, sum = 0;

    n = n > SERVICE_BINS ? SERVICE_BINS : n;
    t = arena_calloc(m->arena, n, sizeof(*t));
    v = arena_calloc(m->arena, n, sizeof(*v));
    if (!t || !v) {
        return (struct series){.name = NULL};
    }
    for (size_t i = 0; i < n; i++) {
        sum += m->clients[client].served[i];
        t[i] = (double)(i + 1) * m->bin_s;
        v[i] = sum;
    }
    return (struct series){.name = arena_printf(m->arena, "service/%s", name), .unit = "tok", .n = n,
                           .t_s = t, .value = v};
}

/* Utilisation and queue over time, and the accumulated service of each client. */
static int fill_series(struct metrics *m, struct run_result *ret)
{
    const struct {
        const char *name;
        const double *v;
    } points[] = {{"kv_used_share", m->point_kv}, {"running", m->point_running},
                  {"waiting", m->point_waiting}};
    uint32_t curves = m->n_clients < SERVICE_CLIENTS ? m->n_clients : SERVICE_CLIENTS;
    struct series *s;

    if (!m->keep_series) {
        return 0;
    }
    s = arena_calloc(m->arena, 3 + curves, sizeof(*s));
    if (!s) {
        return SIM_E_NOMEM;
    }
    for (size_t i = 0; i < 3; i++) {
        s[i] = (struct series){.name = points[i].name, .unit = "1", .n = m->n_points,
                               .t_s = m->point_t, .value = points[i].v};
    }
    for (uint32_t c = 0; c < curves; c++) {
        s[3 + c] = curve_of(m, c, ret->clients[c].name);
        if (!s[3 + c].name) {
            return SIM_E_NOMEM;
        }
    }
    ret->series = s;
    ret->n_series = 3 + curves;
    return 0;
}

static void fill_hists(struct metrics *m, struct run_result *ret)
{
    const struct {
        const char *name;
        const struct hist *h;
    } all[] = {{"ttft", &m->ttft}, {"tpot", &m->tpot}, {"itl", &m->itl}, {"e2el", &m->e2el},
               {"queue", &m->queue}};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        ret->hists[i].name = all[i].name;
        ret->hists[i].unit = "ns";
        ret->hists[i].h = all[i].h;
    }
    ret->n_hists = sizeof(all) / sizeof(all[0]);
}

static void add_program(void *ctx, uint32_t client, bool met)
{
    struct metrics *m = ctx;

    m->clients[client].slo_all++;
    m->clients[client].slo_met += met;
}

/* ---- all engines together ---- */

static void add_counters(struct engine_counters *to, const struct engine_counters *n)
{
    to->steps += n->steps;
    to->decode_steps += n->decode_steps;
    to->prefill_steps += n->prefill_steps;
    to->walked += n->walked;
    to->pages += n->pages;
    to->map_ticks += n->map_ticks;
    to->decode_tok += n->decode_tok;
    to->prefill_tok += n->prefill_tok;
    to->hit_tok += n->hit_tok;
    to->lookup_tok += n->lookup_tok;
    to->preemptions += n->preemptions;
    to->swaps_out += n->swaps_out;
    to->swaps_in += n->swaps_in;
    to->busy_ns += n->busy_ns;
    to->arrived += n->arrived;
    to->finished += n->finished;
    to->rejected += n->rejected;
    to->refused += n->refused;
    to->outside_range += n->outside_range;
    to->swap_out_bytes += n->swap_out_bytes;
    to->swap_in_bytes += n->swap_in_bytes;
}

static void add_engine(struct metrics_total *t, const struct engine *g)
{
    add_counters(&t->n, &g->n);
    if (g->last_arrival_ns > t->last_arrival_ns) {
        t->last_arrival_ns = g->last_arrival_ns;
    }
    if (g->swap) {
        t->swaps = true;
        swap_add_up(&t->swap, g);
        t->wait_tail = fmax(t->wait_tail, swap_tail_share(g));
    }
    if (g->pins) {
        t->pins = true;
        pins_add_up(&t->pin, g);
    }
    t->pool_tok += (double)kv_total(g->kv) * kv_block_tok(g->kv);
    t->peak_kv = fmax(t->peak_kv, ratio((double)kv_peak_used(g->kv), (double)kv_total(g->kv)));
    t->busiest_ns = fmax(t->busiest_ns, (double)g->n.busy_ns);
    t->most_arrived = fmax(t->most_arrived, (double)g->n.arrived);
}

void metrics_add_up(struct metrics *m)
{
    m->total = (struct metrics_total){.last_arrival_ns = 0};
    for (uint32_t i = 0; i < m->n_ears; i++) {
        add_engine(&m->total, m->ear[i].engine);
    }
    if (m->last_arrival_ear) {
        m->total.waiting_at_last_arrival =
            m->last_arrival_ear->engine->waiting_at_last_arrival + m->waiting_elsewhere;
    }
}

int metrics_finish(struct metrics *m, double capacity_req_s, struct run_result *ret, struct err *e)
{
    struct table t = {.a = m->arena};

    t.v = arena_calloc(m->arena, MAX_METRICS, sizeof(*t.v));
    if (!t.v) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the results");
    }
    capacity_req_s = capacity_seen(m, capacity_req_s);
    attain_programs(&m->attain, add_program, m);
    put_all(m, &t, capacity_req_s);
    judge(m, capacity_req_s, ret);
    fill_hists(m, ret);
    if (t.failed || !ret->verdict_text || fill_clients(m, ret) < 0 || fill_replicas(m, ret) < 0 ||
        fill_series(m, ret) < 0) {
        return err_set(e, SIM_E_NOMEM, "out of memory for the results");
    }
    ret->metrics = t.v;
    ret->n_metrics = t.n;
    return 0;
}

const struct metric *run_metric(const struct run_result *r, const char *name)
{
    for (size_t i = 0; i < r->n_metrics; i++) {
        if (strcmp(r->metrics[i].name, name) == 0) {
            return &r->metrics[i];
        }
    }
    return NULL;
}
