/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/results/output.h"

#include <math.h>
#include <string.h>

#include "sim/core/json.h"
#include "sim/observe/metrics_glossary.h"

#define RULE_WIDTH   60
#define LABEL_WIDTH  44
#define CLIENTS_SHOWN 40

/* Keys that choose how a run is computed, not what comes out. */
static const char *const how_keys[] = {"skip", "check", NULL};

const char *verdict_name(enum run_verdict v)
{
    static const char *const names[] = {
        [RUN_STABLE] = "stable", [RUN_BACKLOGGED] = "backlogged", [RUN_OVERLOADED] = "overloaded"};
    return names[v];
}

/* ---- text ---- */

static const char *or_dash(const char *s)
{
    return s && *s ? s : "-";
}

static void write_rule(FILE *out, const char *title, char fill)
{
    int room = RULE_WIDTH - (int)strlen(title) - 2;
    int left = room > 0 ? room / 2 : 0;
    for (int i = 0; i < left; i++) {
        fputc(fill, out);
    }
    fprintf(out, " %s ", title);
    for (int i = left; i < room; i++) {
        fputc(fill, out);
    }
    fputc('\n', out);
}

static const char *number(double v, const char *unit, char buf[40])
{
    bool is_share = strcmp(unit, "1") == 0;
    if (isnan(v)) {
        return "-";
    }
    if (floor(v) == v && fabs(v) < 1e15 && (is_share || strcmp(unit, "tok") == 0 ||
                                             strcmp(unit, "byte") == 0)) {
        snprintf(buf, 40, "%.0f", v);
    } else {
        snprintf(buf, 40, is_share && fabs(v) < 10 ? "%.4f" : "%.2f", v);
    }
    return buf;
}

static void write_metric(FILE *out, const char *label, const struct metric *m)
{
    char buf[40];
    fprintf(out, "%-*s %14s\n", LABEL_WIDTH, label, number(m->value, m->unit, buf));
}

static void write_known_metrics(FILE *out, const struct run_result *r)
{
    const char *group = "";
    for (const struct metric_def *d = metric_glossary; d->name; d++) {
        const struct metric *m = run_metric(r, d->name);
        if (!m || !d->label) {
            continue;
        }
        if (strcmp(group, d->group) != 0) {
            write_rule(out, d->group, *group ? '-' : '=');
            group = d->group;
        }
        char label[80];
        snprintf(label, sizeof(label), "%s:", d->label);
        write_metric(out, label, m);
    }
}

static void write_other_metrics(FILE *out, const struct run_result *r)
{
    bool first = true;
    for (size_t i = 0; i < r->n_metrics; i++) {
        const struct metric *m = &r->metrics[i];
        if (metric_def_find(m->name)) {
            continue;
        }
        if (first) {
            write_rule(out, "Other", '-');
            first = false;
        }
        char label[80];
        snprintf(label, sizeof(label), "%s (%s):", m->name, m->unit);
        write_metric(out, label, m);
    }
}

static bool any_goals(const struct run_result *r)
{
    for (size_t i = 0; i < r->n_clients; i++) {
        if (isfinite(r->clients[i].slo_attainment)) {
            return true;
        }
    }
    return false;
}

static void write_clients(FILE *out, const struct run_result *r)
{
    char ttft[40];
    char tpot[40];
    char e2el[40];
    write_rule(out, "Clients", '-');
    bool goals = any_goals(r);
    fprintf(out, "%-16s %8s %9s %8s %10s %10s %12s %10s %10s %11s%s\n", "client", "requests",
            "completed", "rejected", "input tok", "output tok", "service", "TTFT ms", "TPOT ms",
            "E2EL ms", goals ? " in goal" : "");
    for (size_t i = 0; i < r->n_clients && i < CLIENTS_SHOWN; i++) {
        const struct client_result *c = &r->clients[i];
        fprintf(out, "%-16s %8llu %9llu %8llu %10llu %10llu %12.0f %10s %10s %11s", c->name,
                (unsigned long long)c->requests, (unsigned long long)c->completed,
                (unsigned long long)c->rejected, (unsigned long long)c->prompt_tok,
                (unsigned long long)c->output_tok, c->service, number(c->mean_ttft_ms, "ms", ttft),
                number(c->mean_tpot_ms, "ms", tpot), number(c->mean_e2e_ms, "ms", e2el));
        if (goals) {
            fprintf(out, " %7s", number(c->slo_attainment, "1", ttft));
        }
        fputc('\n', out);
    }
    if (r->n_clients > CLIENTS_SHOWN) {
        fprintf(out, "... and %zu more clients (--format json has all)\n",
                r->n_clients - CLIENTS_SHOWN);
    }
}

static void write_replicas(FILE *out, const struct run_result *r)
{
    char hits[40];
    write_rule(out, "By replica", '-');
    fprintf(out, "%7s %9s %9s %11s %12s %12s %10s %9s %8s\n", "replica", "requests", "completed",
            "preemptions", "prefill tok", "decode tok", "busy s", "cache hit", "KV peak");
    for (size_t i = 0; i < r->n_replicas; i++) {
        const struct replica_result *x = &r->replicas[i];
        fprintf(out, "%7zu %9llu %9llu %11llu %12llu %12llu %10.2f %9s %8.4f\n", i,
                (unsigned long long)x->requests, (unsigned long long)x->completed,
                (unsigned long long)x->preemptions, (unsigned long long)x->prefill_tok,
                (unsigned long long)x->decode_tok, x->busy_s, number(x->cache_hit_rate, "1", hits), x->kv_peak);
    }
}

static void write_head(FILE *out, const struct run_config *c, const struct run_result *r)
{
    fprintf(out, "%s\n\n", r->verdict_text ? r->verdict_text : verdict_name(r->verdict));
    fprintf(out, "policy   %s%s\n", c->policy, r->policy_oracle ? "  (oracle: sees output lengths)" : "");
    fprintf(out, "engine   %s\n", c->batcher);
    if (c->replicas > 1) {
        fprintf(out, "cluster  %lld replicas, router %s\n", (long long)c->replicas, c->router);
    }
    fprintf(out, "machine  model %s, gpu %s, tp %lld\n", or_dash(c->model), or_dash(c->gpu),
            (long long)c->tp);
    if (r->links_text) {
        fprintf(out, "links    %s\n", r->links_text);
    }
    fprintf(out, "cost     %s\n", or_dash(r->cost_provenance));
    fprintf(out, "trace    %s (%s, %llu requests)\n", or_dash(c->trace), or_dash(r->trace_format),
            (unsigned long long)r->trace_requests);
    fprintf(out, "seed     %lld, replication %lld\n\n", (long long)c->seed, (long long)c->replication);
}

void output_text(FILE *out, const struct run_config *c, const struct run_result *r)
{
    write_head(out, c, r);
    write_known_metrics(out, r);
    write_other_metrics(out, r);
    if (r->n_replicas > 1) {
        write_replicas(out, r);
    }
    if (r->n_clients > 1) {
        write_clients(out, r);
    }
    for (size_t i = 0; i < RULE_WIDTH; i++) {
        fputc('=', out);
    }
    fputc('\n', out);
    for (size_t i = 0; r->warnings && r->warnings[i]; i++) {
        fprintf(out, "warning: %s\n", r->warnings[i]);
    }
}

/* ---- json ---- */

static void write_metrics_json(struct json_writer *w, const struct run_result *r)
{
    json_key(w, "metrics");
    json_object(w);
    for (size_t i = 0; i < r->n_metrics; i++) {
        json_kv_double(w, r->metrics[i].name, r->metrics[i].value);
    }
    json_end(w);
    json_key(w, "units");
    json_object(w);
    for (size_t i = 0; i < r->n_metrics; i++) {
        json_kv_string(w, r->metrics[i].name, r->metrics[i].unit);
    }
    json_end(w);
}

static void write_client_json(struct json_writer *w, const struct client_result *c)
{
    json_object(w);
    json_kv_string(w, "client", c->name);
    json_kv_int(w, "requests", (int64_t)c->requests);
    json_kv_int(w, "completed", (int64_t)c->completed);
    json_kv_int(w, "rejected", (int64_t)c->rejected);
    json_kv_int(w, "total_input_tokens", (int64_t)c->prompt_tok);
    json_kv_int(w, "total_output_tokens", (int64_t)c->output_tok);
    json_kv_double(w, "service", c->service);
    json_kv_double(w, "mean_ttft_ms", c->mean_ttft_ms);
    json_kv_double(w, "mean_tpot_ms", c->mean_tpot_ms);
    json_kv_double(w, "mean_e2el_ms", c->mean_e2e_ms);
    json_kv_double(w, "slo_attainment", c->slo_attainment);
    json_kv_double(w, "ufc", c->ufc);
    json_kv_double(w, "rfc", c->rfc);
    json_kv_double(w, "hf", c->hf);
    json_end(w);
}

static void write_replica_json(struct json_writer *w, size_t i, const struct replica_result *x)
{
    json_object(w);
    json_kv_int(w, "replica", (int64_t)i);
    json_kv_int(w, "requests", (int64_t)x->requests);
    json_kv_int(w, "completed", (int64_t)x->completed);
    json_kv_int(w, "preemptions", (int64_t)x->preemptions);
    json_kv_int(w, "prefill_tokens", (int64_t)x->prefill_tok);
    json_kv_int(w, "decode_tokens", (int64_t)x->decode_tok);
    json_kv_double(w, "busy_s", x->busy_s);
    json_kv_double(w, "cache_hit_rate", x->cache_hit_rate);
    json_kv_double(w, "kv_utilization_peak", x->kv_peak);
    json_end(w);
}

static void write_series_json(struct json_writer *w, const struct series *s)
{
    json_object(w);
    json_kv_string(w, "name", s->name);
    json_kv_string(w, "unit", s->unit);
    json_key(w, "t_s");
    json_array(w);
    for (size_t i = 0; i < s->n; i++) {
        json_double(w, s->t_s[i]);
    }
    json_end(w);
    json_key(w, "value");
    json_array(w);
    for (size_t i = 0; i < s->n; i++) {
        json_double(w, s->value[i]);
    }
    json_end(w);
    json_end(w);
}

static void write_lists_json(struct json_writer *w, const struct run_result *r)
{
    if (r->n_replicas > 1) {
        json_key(w, "replicas");
        json_array(w);
        for (size_t i = 0; i < r->n_replicas; i++) {
            write_replica_json(w, i, &r->replicas[i]);
        }
        json_end(w);
    }
    json_key(w, "clients");
    json_array(w);
    for (size_t i = 0; i < r->n_clients; i++) {
        write_client_json(w, &r->clients[i]);
    }
    json_end(w);
    json_key(w, "series");
    json_array(w);
    for (size_t i = 0; i < r->n_series; i++) {
        write_series_json(w, &r->series[i]);
    }
    json_end(w);
    json_key(w, "warnings");
    json_array(w);
    for (size_t i = 0; r->warnings && r->warnings[i]; i++) {
        json_string(w, r->warnings[i]);
    }
    json_end(w);
}

void output_json(FILE *out, const struct run_config *c, const char *config_hash,
                 const struct run_result *r)
{
    struct json_writer w;
    json_begin(&w, out, true);
    json_object(&w);
    json_kv_string(&w, "schema", OUTPUT_SCHEMA);
    json_kv_string(&w, "version", steelyard_version());
    json_key(&w, "config");
    run_config_write(&w, c, how_keys);
    json_kv_string(&w, "verdict", verdict_name(r->verdict));
    json_kv_string(&w, "verdict_text", r->verdict_text);
    write_metrics_json(&w, r);
    write_lists_json(&w, r);
    json_key(&w, "provenance");
    json_object(&w);
    json_kv_string(&w, "config_hash", config_hash);
    json_kv_string(&w, "cost", r->cost_provenance);
    json_kv_string(&w, "trace_format", r->trace_format);
    json_kv_int(&w, "trace_requests", (int64_t)r->trace_requests);
    json_kv_bool(&w, "policy_oracle", r->policy_oracle);
    json_end(&w);
    json_end(&w);
    fputc('\n', out);
}

/* ---- csv ---- */

void output_csv_field(FILE *out, const char *text)
{
    if (!text || !text[strcspn(text, ",\"\r\n")]) {
        fputs(text ? text : "", out);
        return;
    }
    fputc('"', out);
    for (const char *s = text; *s; s++) {
        if (*s == '"') {
            fputc('"', out);
        }
        fputc(*s, out);
    }
    fputc('"', out);
}

void output_csv(FILE *out, const struct run_result *r)
{
    char buf[32];
    fputs("metric,value,unit\n", out);
    for (size_t i = 0; i < r->n_metrics; i++) {
        const struct metric *m = &r->metrics[i];
        output_csv_field(out, m->name);
        fprintf(out, ",%s,%s\n", isfinite(m->value) ? text_from_double(m->value, buf) : "", m->unit);
    }
}
