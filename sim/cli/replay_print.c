/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/replay_print.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdio.h>

#include "sim/cli/cli.h"
#include "sim/core/json.h"
#include "sim/results/output.h"

static void print_number(double v, int width)
{
    if (isfinite(v)) {
        printf("%*.*f", width, fabs(v) < 10 ? 3 : fabs(v) < 1000 ? 2 : 1, v);
    } else {
        printf("%*s", width, "-");
    }
}

static void print_error(const struct compare_value *v)
{
    double x = compare_error(v);

    if (isfinite(x)) {
        printf(" %+8.2f %%", 100 * x); /* a blank before it however long it is */
    } else {
        printf("%11s", "-");
    }
}

static void print_value(const struct compare_value *v)
{
    printf("  %-24s%-6s", v->name, v->unit);
    print_number(v->v[REAL], 13);
    print_number(v->v[SIMULATED], 13);
    print_error(v);
    printf("\n");
}

static void print_clients(const struct compare *c)
{
    if (c->n_clients < 2) {
        return;
    }
    printf("\n  %-14s%9s%15s%13s%11s%14s%13s%11s\n", "client", "requests", "mean FTL real", "simulated",
           "error", "service real", "simulated", "error");
    for (size_t i = 0; i < c->n_clients; i++) {
        const struct compare_client *k = &c->client[i];
        struct compare_value ftl = {"", "", {k->mean_ttft_s[REAL], k->mean_ttft_s[SIMULATED]}};
        struct compare_value service = {"", "", {k->service[REAL], k->service[SIMULATED]}};

        printf("  %-14s%9llu", k->name, (unsigned long long)k->requests);
        print_number(ftl.v[REAL], 15);
        print_number(ftl.v[SIMULATED], 13);
        print_error(&ftl);
        print_number(service.v[REAL], 14);
        print_number(service.v[SIMULATED], 13);
        print_error(&service);
        printf("\n");
    }
    printf("  FTL in s; service in cost units per s, mean over windows\n");
}

static void print_text(const struct replay_outcome *t)
{
    printf("%s: %s, %s, policy %s%s\n", t->meta.run, t->meta.engine ? t->meta.engine : "engine not described",
           t->cfg.batcher, t->cfg.policy, t->result.policy_oracle ? " (oracle)" : "");
    if (t->meta.where) {
        printf("  settings from %s\n", t->meta.where);
    }
    if (t->meta.notes) {
        printf("  note: %s\n", t->meta.notes);
    }
    printf("  %s\n\n  %-30s%13s%13s%11s\n", t->result.verdict_text, "", "real", "simulated", "error");
    for (size_t i = 0; i < t->cmp.n_metrics; i++) {
        print_value(&t->cmp.metric[i]);
    }
    print_clients(&t->cmp);
    printf("\n");
}

static void json_value(struct json_writer *w, double real, double simulated)
{
    struct compare_value v = {"", "", {real, simulated}};

    json_object(w);
    json_kv_double(w, "real", real);
    json_kv_double(w, "simulated", simulated);
    json_kv_double(w, "error", compare_error(&v));
    json_end(w);
}

static void json_clients(struct json_writer *w, const struct compare *c)
{
    json_key(w, "clients");
    json_array(w);
    for (size_t i = 0; i < c->n_clients; i++) {
        const struct compare_client *k = &c->client[i];

        json_object(w);
        json_kv_string(w, "client", k->name);
        json_kv_int(w, "requests", (int64_t)k->requests);
        json_key(w, "served");
        json_value(w, (double)k->served[REAL], (double)k->served[SIMULATED]);
        json_key(w, "mean_ttft_s");
        json_value(w, k->mean_ttft_s[REAL], k->mean_ttft_s[SIMULATED]);
        json_key(w, "windowed_service");
        json_value(w, k->service[REAL], k->service[SIMULATED]);
        json_end(w);
    }
    json_end(w);
}

static void json_outcome(struct json_writer *w, const struct replay_outcome *t, struct arena *ar)
{
    json_object(w);
    json_kv_string(w, "schema", "steelyard.replay/1");
    json_kv_string(w, "version", steelyard_version());
    json_kv_string(w, "run", t->meta.run);
    json_kv_string(w, "described_by", t->meta.where);
    json_kv_string(w, "engine", t->meta.engine);
    json_kv_string(w, "note", t->meta.notes);
    json_kv_string(w, "batcher", t->cfg.batcher);
    json_kv_string(w, "policy", t->cfg.policy);
    json_kv_bool(w, "oracle", t->result.policy_oracle);
    json_kv_string(w, "cost", t->cfg.cost);
    json_kv_string(w, "cost_provenance", t->result.cost_provenance);
    json_kv_string(w, "config_hash", config_hash(&t->cfg, ar));
    json_kv_string(w, "verdict", verdict_name(t->result.verdict));
    json_kv_string(w, "verdict_text", t->result.verdict_text);
    json_key(w, "metrics");
    json_object(w);
    for (size_t i = 0; i < t->cmp.n_metrics; i++) {
        json_key(w, t->cmp.metric[i].name);
        json_value(w, t->cmp.metric[i].v[REAL], t->cmp.metric[i].v[SIMULATED]);
    }
    json_end(w);
    json_clients(w, &t->cmp);
    json_end(w);
}

/* ---- over several runs ---- */

struct spread {
    double median, largest;
    size_t n;
};

static struct spread spread_of(double *v, size_t n)
{
    struct spread s = {NAN, NAN, n};

    if (n > 0) {
        gsl_sort(v, 1, n);
        s.median = gsl_stats_median_from_sorted_data(v, 1, n);
        s.largest = v[n - 1];
    }
    return s;
}

static struct spread metric_spread(const struct replay_outcome *t, size_t n, size_t metric, double *scratch)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        double x = fabs(compare_error(&t[i].cmp.metric[metric]));

        if (isfinite(x)) {
            scratch[m++] = x;
        }
    }
    return spread_of(scratch, m);
}

/* Mean first-token latency of each client of each run, as one population. */
static struct spread client_spread(const struct replay_outcome *t, size_t n, double *scratch)
{
    size_t m = 0;

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < t[i].cmp.n_clients; k++) {
            const struct compare_client *c = &t[i].cmp.client[k];
            struct compare_value v = {"", "", {c->mean_ttft_s[REAL], c->mean_ttft_s[SIMULATED]}};
            double x = fabs(compare_error(&v));

            if (isfinite(x)) {
                scratch[m++] = x;
            }
        }
    }
    return spread_of(scratch, m);
}

static void print_spread(const char *name, struct spread s)
{
    if (s.n > 0) {
        printf("  %-36s%10.2f %%%10.2f %%%8zu\n", name, 100 * s.median, 100 * s.largest, s.n);
    } else {
        printf("  %-36s%12s%12s%8zu\n", name, "-", "-", s.n);
    }
}

static void summary_text(const struct replay_outcome *t, size_t n, double *scratch)
{
    printf("summary of %zu runs: absolute error\n  %-36s%12s%12s%8s\n", n, "", "median", "largest", "n");
    for (size_t i = 0; i < t[0].cmp.n_metrics; i++) {
        print_spread(t[0].cmp.metric[i].name, metric_spread(t, n, i, scratch));
    }
    print_spread("mean first-token latency per client", client_spread(t, n, scratch));
}

static void json_spread(struct json_writer *w, const char *name, struct spread s)
{
    json_key(w, name);
    json_object(w);
    json_kv_double(w, "median_error", s.median);
    json_kv_double(w, "max_error", s.largest);
    json_kv_int(w, "n", (int64_t)s.n);
    json_end(w);
}

static void summary_json(struct json_writer *w, const struct replay_outcome *t, size_t n, double *scratch)
{
    json_key(w, "summary");
    json_object(w);
    for (size_t i = 0; i < t[0].cmp.n_metrics; i++) {
        json_spread(w, t[0].cmp.metric[i].name, metric_spread(t, n, i, scratch));
    }
    json_spread(w, "client_mean_ttft", client_spread(t, n, scratch));
    json_end(w);
}

static void print_json(const struct replay_outcome *t, size_t n, double *scratch, struct arena *ar)
{
    struct json_writer w;

    json_begin(&w, stdout, true);
    if (n == 1) {
        json_outcome(&w, &t[0], ar);
    } else {
        json_object(&w);
        json_key(&w, "runs");
        json_array(&w);
        for (size_t i = 0; i < n; i++) {
            json_outcome(&w, &t[i], ar);
        }
        json_end(&w);
        summary_json(&w, t, n, scratch);
        json_end(&w);
    }
    printf("\n");
}

static void print_csv(const struct replay_outcome *t, size_t n)
{
    printf("run,metric,unit,real,simulated,error\n");
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < t[i].cmp.n_metrics; k++) {
            const struct compare_value *v = &t[i].cmp.metric[k];
            const double cell[] = {v->v[REAL], v->v[SIMULATED], compare_error(v)};

            output_csv_field(stdout, t[i].meta.run);
            printf(",%s,%s", v->name, v->unit);
            for (size_t j = 0; j < 3; j++) {
                char buf[32];

                printf(",%s", isfinite(cell[j]) ? text_from_double(cell[j], buf) : "");
            }
            printf("\n");
        }
    }
}

int replay_print(enum replay_format format, const struct replay_outcome *t, size_t n, struct arena *ar, struct err *e)
{
    size_t most = n;
    double *scratch;

    for (size_t i = 0; i < n; i++) {
        most += t[i].cmp.n_clients;
    }
    scratch = arena_calloc(ar, most, sizeof(*scratch));
    if (!scratch) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (format == REPLAY_JSON) {
        print_json(t, n, scratch, ar);
    } else if (format == REPLAY_CSV) {
        print_csv(t, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            print_text(&t[i]);
        }
        if (n > 1) {
            summary_text(t, n, scratch);
        }
    }
    return 0;
}
