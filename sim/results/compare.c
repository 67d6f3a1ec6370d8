/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/compare.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICKS 20 /* fairness.md 2.6: windows at T/20 * i */

static double seconds_since(sim_ns t, sim_ns from)
{
    return t == SIM_NEVER ? (double)NAN : (double)(t - from) / 1e9;
}

int compare_add(struct compare *c, const struct request_row *r, struct err *e)
{
    if (c->n == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 1024;
        struct compare_row *row = realloc(c->row, cap * sizeof(*row));

        if (!row) {
            return err_set(e, SIM_E_NOMEM, "out of memory for %zu measured requests", cap);
        }
        c->row = row;
        c->cap = cap;
    }
    c->row[c->n++] = (struct compare_row){
        .client = r->client,
        .prompt_tok = r->prompt_tok,
        .output_tok = r->output_tok,
        .arrival_s = (double)r->arrival_ns / 1e9,
        .ttft_s = {r->measured_ttft_s, seconds_since(r->first_token_ns, r->arrival_ns)},
        .e2e_s = {r->measured_e2e_s, seconds_since(r->finish_ns, r->arrival_ns)},
    };
    return 0;
}

void compare_release(struct compare *c)
{
    free(c->row);
    c->row = NULL;
    c->n = c->cap = 0;
}

double compare_error(const struct compare_value *v)
{
    return v->v[REAL] > 0 ? v->v[SIMULATED] / v->v[REAL] - 1 : (double)NAN;
}

/* ---- one number per request ---- */

static double value_of(const struct compare_row *r, enum compare_what w, enum side s)
{
    switch (w) {
    case COMPARE_TTFT:
        return r->ttft_s[s];
    case COMPARE_E2EL:
        return r->e2e_s[s];
    case COMPARE_TPOT:
        return r->output_tok > 1 ? (r->e2e_s[s] - r->ttft_s[s]) / (r->output_tok - 1) : (double)NAN;
    }
    return (double)NAN;
}

size_t compare_sorted(const struct compare *c, enum compare_what w, enum side s, double *out)
{
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++) {
        double v = value_of(&c->row[i], w, s);

        if (isfinite(v)) {
            out[n++] = v * 1e3;
        }
    }
    gsl_sort(out, 1, n);
    return n;
}

static struct compare_value *add(struct compare *c, const char *name, const char *unit)
{
    struct compare_value *v = &c->metric[c->n_metrics++];

    *v = (struct compare_value){.name = name, .unit = unit, .v = {NAN, NAN}};
    return v;
}

static int add_distribution(struct compare *c, enum compare_what w, const char *name, double *scratch,
                            struct arena *a)
{
    static const struct {
        const char *prefix;
        double q; /* < 0: the mean */
    } stats[] = {{"mean", -1}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}};

    for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++) {
        const char *key = arena_printf(a, "%s_%s_ms", stats[i].prefix, name);
        struct compare_value *v;

        if (!key) {
            return SIM_E_NOMEM;
        }
        v = add(c, key, "ms");
        for (enum side s = 0; s < SIDES; s++) {
            size_t n = compare_sorted(c, w, s, scratch);

            if (n > 0) {
                v->v[s] = stats[i].q < 0 ? gsl_stats_mean(scratch, 1, n)
                                         : gsl_stats_quantile_from_sorted_data(scratch, 1, n, stats[i].q);
            }
        }
    }
    return 0;
}

static void add_totals(struct compare *c)
{
    double end[SIDES] = {0}, in[SIDES] = {0}, out[SIDES] = {0}, served[SIDES] = {0};

    for (size_t i = 0; i < c->n; i++) {
        const struct compare_row *r = &c->row[i];

        for (enum side s = 0; s < SIDES; s++) {
            if (isfinite(r->e2e_s[s])) {
                end[s] = fmax(end[s], r->arrival_s + r->e2e_s[s]);
                in[s] += r->prompt_tok;
                out[s] += r->output_tok;
                served[s]++;
            }
        }
    }
    struct compare_value *duration = add(c, "duration", "s"), *ok = add(c, "completed", "1"),
                         *lost = add(c, "failed", "1"), *req = add(c, "request_throughput", "1/s"),
                         *tok = add(c, "output_throughput", "tok/s"),
                         *all = add(c, "total_token_throughput", "tok/s");

    for (enum side s = 0; s < SIDES; s++) {
        if (s == REAL && served[s] == 0) {
            continue; /* ends are not measured at all: that says nothing of failures */
        }
        duration->v[s] = end[s];
        ok->v[s] = served[s];
        lost->v[s] = (double)c->n - served[s];
        req->v[s] = served[s] / end[s];
        tok->v[s] = out[s] / end[s];
        all->v[s] = (in[s] + out[s]) / end[s];
    }
}

/* ---- clients ---- */

static double overlap(double a, double b, double from, double to)
{
    double lo = fmax(a, from), hi = fmin(b, to);

    return hi > lo ? hi - lo : 0;
}

/* Mean over the ticks of the service that falls into the window around each, spread evenly from first
 * token to end (fairness.md 2.6). */
static void add_service(const struct compare_row *r, struct compare_client *k, double v,
                        double horizon_s, double window_s)
{
    for (enum side s = 0; s < SIDES; s++) {
        double from = r->arrival_s + r->ttft_s[s], to = r->arrival_s + r->e2e_s[s];

        if (!(to > from)) {
            continue;
        }
        for (int i = 1; i < TICKS; i++) {
            double x = horizon_s / TICKS * i;

            k->service[s] += v * overlap(from, to, x - window_s / 2, x + window_s / 2) / (to - from) /
                             window_s / (TICKS - 1);
        }
    }
}

static int add_clients(struct compare *c, double wp, double wq, double window_s,
                       const struct run_result *r, struct arena *a)
{
    double horizon_s = 0;

    c->n_clients = r->n_clients;
    c->client = arena_calloc(a, r->n_clients, sizeof(*c->client));
    if (!c->client) {
        return SIM_E_NOMEM;
    }
    for (size_t i = 0; i < c->n; i++) {
        horizon_s = fmax(horizon_s, c->row[i].arrival_s);
    }
    horizon_s = floor(horizon_s / 10) * 10;
    for (size_t i = 0; i < c->n; i++) {
        const struct compare_row *row = &c->row[i];
        struct compare_client *k = &c->client[row->client];

        k->requests++;
        for (enum side s = 0; s < SIDES; s++) {
            if (isfinite(row->ttft_s[s])) {
                k->served[s]++;
                k->mean_ttft_s[s] += row->ttft_s[s];
            }
        }
        add_service(row, k, wp * row->prompt_tok + wq * row->output_tok, horizon_s, window_s);
    }
    for (size_t i = 0; i < c->n_clients; i++) {
        c->client[i].name = r->clients[i].name;
        for (enum side s = 0; s < SIDES; s++) {
            c->client[i].mean_ttft_s[s] /= (double)c->client[i].served[s];
        }
    }
    return 0;
}

int compare_finish(struct compare *c, double wp, double wq, double window_s,
                   const struct run_result *r, struct arena *a, struct err *e)
{
    double *scratch = malloc((c->n + 1) * sizeof(*scratch));
    int rc = 0;

    c->metric = arena_calloc(a, 32, sizeof(*c->metric));
    if (!scratch || !c->metric || add_distribution(c, COMPARE_TTFT, "ttft", scratch, a) < 0 ||
        add_distribution(c, COMPARE_TPOT, "tpot", scratch, a) < 0 ||
        add_distribution(c, COMPARE_E2EL, "e2el", scratch, a) < 0 ||
        add_clients(c, wp, wq, window_s, r, a) < 0) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for the comparison");
    } else {
        add_totals(c);
    }
    free(scratch);
    return rc;
}

const struct compare_value *compare_metric(const struct compare *c, const char *name)
{
    for (size_t i = 0; i < c->n_metrics; i++) {
        if (strcmp(c->metric[i].name, name) == 0) {
            return &c->metric[i];
        }
    }
    return NULL;
}
