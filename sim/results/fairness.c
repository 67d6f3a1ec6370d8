/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/fairness.h"

#include <math.h>

#define TABLE_TICKS    20
#define TABLE_TOTAL_S  600.0
#define TABLE_WARMUP_S 30.0
#define TABLE_WINDOW_S 60.0

double fairness_cost(enum fairness_cost cost, double p, double q)
{
    if (cost == FAIRNESS_LINEAR) {
        return p + 2 * q;
    }
    return 0.21001891 * p + 0.10075395 * q + 0.0039868 * p * q + 0.00324733 * q * q + 1.14601454;
}

static bool is_served(const struct fairness *f, const struct compare_row *r)
{
    return isfinite(r->ttft_s[f->side]) && isfinite(r->e2e_s[f->side]);
}

/* Share of a request's service that falls into [from_s, to_s). */
static double share(const struct fairness *f, const struct compare_row *r, double from_s, double to_s)
{
    double first = r->arrival_s + r->ttft_s[f->side], end = r->arrival_s + r->e2e_s[f->side];
    double common = fmin(end, to_s) - fmax(first, from_s);

    if (!(end > first)) { /* one token: all of it at one moment */
        return first >= from_s && first < to_s ? 1 : 0;
    }
    return common > 0 ? common / (end - first) : 0;
}

static double service(const struct fairness *f, uint32_t client, double from_s, double to_s, double skip_s)
{
    double sum = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct compare_row *r = &f->row[i];

        if (r->client == client && is_served(f, r) && r->arrival_s + r->e2e_s[f->side] >= skip_s) {
            sum += share(f, r, from_s, to_s) * fairness_cost(f->cost, r->prompt_tok, r->output_tok);
        }
    }
    return sum;
}

double fairness_service(const struct fairness *f, uint32_t client, double from_s, double to_s)
{
    return service(f, client, from_s, to_s, 0);
}

double fairness_demand(const struct fairness *f, uint32_t client, double from_s, double to_s)
{
    double sum = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct compare_row *r = &f->row[i];

        if (r->client == client && is_served(f, r) && r->arrival_s >= from_s && r->arrival_s < to_s) {
            sum += fairness_cost(FAIRNESS_LINEAR, r->prompt_tok, r->output_tok);
        }
    }
    return sum;
}

static double window_difference(const struct fairness *f, double from_s, double to_s)
{
    double most = 0, sum = 0, window_s = to_s - from_s;

    for (uint32_t c = 0; c < f->n_clients; c++) {
        most = fmax(most, fairness_service(f, c, from_s, to_s) / window_s);
    }
    for (uint32_t c = 0; c < f->n_clients; c++) {
        double y = fairness_service(f, c, from_s, to_s) / window_s;
        double d = fairness_demand(f, c, from_s, to_s) / window_s;

        sum += fmin(most - y, fabs(d - y));
    }
    return sum;
}

struct fairness_table fairness_table(const struct fairness *f)
{
    struct fairness_table t = {0};
    double diff[TABLE_TICKS - 1];
    int n = TABLE_TICKS - 1;

    for (int i = 0; i < n; i++) {
        double x = (TABLE_TOTAL_S - TABLE_WARMUP_S) / TABLE_TICKS * (i + 1);

        diff[i] = window_difference(f, x, x + TABLE_WINDOW_S);
        t.max = fmax(t.max, diff[i]);
        t.mean += diff[i] / n;
    }
    for (int i = 0; i < n; i++) {
        t.var += (diff[i] - t.mean) * (diff[i] - t.mean) / n;
    }
    return t;
}

double fairness_gap(const struct fairness *f, double x_s, double skip_s)
{
    double least = INFINITY, most = 0;

    for (uint32_t c = 0; c < f->n_clients; c++) {
        double v = service(f, c, 0, x_s, skip_s);

        least = fmin(least, v);
        most = fmax(most, v);
    }
    return most > least ? most - least : 0;
}

struct fairness_gaps fairness_gaps(const struct fairness *f, int ticks, double skip_s)
{
    struct fairness_gaps g = {0};
    double horizon_s = fairness_horizon(f);

    for (int i = 1; i < ticks; i++) {
        double v = fairness_gap(f, horizon_s / ticks * i, skip_s);

        g.max = fmax(g.max, v);
        g.mean += v / (ticks - 1);
    }
    return g;
}

double fairness_horizon(const struct fairness *f)
{
    double last = 0;

    for (size_t i = 0; i < f->n; i++) {
        last = fmax(last, f->row[i].arrival_s);
    }
    return floor(last / 10) * 10;
}

double fairness_response(const struct fairness *f, uint32_t client, double from_s, double to_s)
{
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        const struct compare_row *r = &f->row[i];
        double first = r->arrival_s + r->ttft_s[f->side];

        if (r->client == client && is_served(f, r) && first >= from_s && first < to_s) {
            sum += r->ttft_s[f->side];
            n++;
        }
    }
    return n ? sum / (double)n : (double)NAN;
}

double fairness_total_s(const struct fairness *f)
{
    double end = 0;

    for (size_t i = 0; i < f->n; i++) {
        if (is_served(f, &f->row[i])) {
            end = fmax(end, f->row[i].arrival_s + f->row[i].e2e_s[f->side]);
        }
    }
    return end;
}

double fairness_throughput(const struct fairness *f)
{
    double tok = 0, end = fairness_total_s(f);

    for (size_t i = 0; i < f->n; i++) {
        if (is_served(f, &f->row[i])) {
            tok += f->row[i].prompt_tok + f->row[i].output_tok;
        }
    }
    return end > 0 ? tok / end : (double)NAN;
}

uint64_t fairness_unserved(const struct fairness *f)
{
    uint64_t n = 0;

    for (size_t i = 0; i < f->n; i++) {
        n += !is_served(f, &f->row[i]);
    }
    return n;
}
