/* SPDX-License-Identifier: Apache-2.0
 *
 * One line per request. Times are seconds with all nine digits, so that nothing of the simulated clock
 * is lost; what did not happen is empty (csv) or null (jsonl). */
#include "sim/results/output.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "sim/core/json.h"

static const char *const columns[] = {
    "request",      "client",      "status",        "input_tokens", "output_tokens", "cached_tokens",
    "preemptions",  "arrival_s",   "admit_s",       "first_token_s", "finish_s",     "ttft_ms",
    "tpot_ms",      "e2el_ms",     "measured_ttft_ms", "measured_e2el_ms", "reason", "replica", NULL};

const char *status_name(enum request_status s)
{
    static const char *const names[] = {[REQUEST_OK] = "ok",
                                        [REQUEST_REJECTED] = "rejected",
                                        [REQUEST_REFUSED] = "refused",
                                        [REQUEST_UNFINISHED] = "unfinished"};
    return names[s];
}

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path);
    size_t m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

static void write_header(const struct requests_file *f)
{
    for (size_t i = 0; columns[i]; i++) {
        if (f->by_replica || strcmp(columns[i], "replica") != 0) {
            fprintf(f->out, "%s%s", i > 0 ? "," : "", columns[i]);
        }
    }
    fputc('\n', f->out);
}

int requests_file_open(struct requests_file *f, const char *path, bool by_replica, struct err *e)
{
    f->path = path;
    f->jsonl = ends_in(path, ".jsonl");
    if (!f->jsonl && !ends_in(path, ".csv")) {
        return err_set(e, SIM_E_USAGE, "--requests '%s': the name has to end in .csv or .jsonl", path);
    }
    f->out = fopen(path, "w");
    if (!f->out) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    f->by_replica = by_replica;
    if (!f->jsonl) {
        write_header(f);
    }
    return 0;
}

struct row_writer {
    FILE *out;
    bool jsonl;
    size_t column;
};

static void begin_field(struct row_writer *w)
{
    fputs(w->column == 0 ? (w->jsonl ? "{" : "") : ",", w->out);
    if (w->jsonl) {
        fprintf(w->out, "\"%s\":", columns[w->column]);
    }
    w->column++;
}

static void write_count(struct row_writer *w, uint64_t v)
{
    begin_field(w);
    fprintf(w->out, "%llu", (unsigned long long)v);
}

static void write_missing(struct row_writer *w)
{
    fputs(w->jsonl ? "null" : "", w->out);
}

static void write_word(struct row_writer *w, const char *text)
{
    begin_field(w);
    if (!text) {
        write_missing(w);
    } else if (w->jsonl) {
        struct json_writer j;
        json_begin(&j, w->out, false);
        json_string(&j, text);
    } else {
        output_csv_field(w->out, text);
    }
}

static void write_time(struct row_writer *w, sim_ns t)
{
    begin_field(w);
    if (t == SIM_NEVER) {
        write_missing(w);
    } else {
        fprintf(w->out, "%lld.%09lld", (long long)(t / 1000000000), (long long)(t % 1000000000));
    }
}

static void write_ms(struct row_writer *w, double ms)
{
    begin_field(w);
    if (isfinite(ms)) {
        fprintf(w->out, "%.6f", ms);
    } else {
        write_missing(w);
    }
}

static double span_ms(sim_ns from, sim_ns to)
{
    return to == SIM_NEVER ? (double)NAN : 1e-6 * (double)(to - from);
}

static double tpot_ms(const struct request_row *r)
{
    if (r->first_token_ns == SIM_NEVER || r->output_tok < 2) {
        return (double)NAN;
    }
    return span_ms(r->first_token_ns, r->finish_ns) / (r->output_tok - 1);
}

int requests_file_add(void *ctx, const struct request_row *row, struct err *e)
{
    struct requests_file *f = ctx;
    struct row_writer w = {.out = f->out, .jsonl = f->jsonl};
    write_count(&w, row->serial);
    write_word(&w, row->client_name);
    write_word(&w, status_name(row->status));
    write_count(&w, row->prompt_tok);
    write_count(&w, row->output_tok);
    write_count(&w, row->cached_tok);
    write_count(&w, row->preemptions);
    write_time(&w, row->arrival_ns);
    write_time(&w, row->admit_ns);
    write_time(&w, row->first_token_ns);
    write_time(&w, row->finish_ns);
    write_ms(&w, span_ms(row->arrival_ns, row->first_token_ns));
    write_ms(&w, tpot_ms(row));
    write_ms(&w, span_ms(row->arrival_ns, row->finish_ns));
    write_ms(&w, 1e3 * row->measured_ttft_s);
    write_ms(&w, 1e3 * row->measured_e2e_s);
    write_word(&w, row->reason);
    if (f->by_replica) {
        write_count(&w, row->replica);
    }
    fputs(f->jsonl ? "}\n" : "\n", f->out);
    if (ferror(f->out)) {
        return err_set(e, SIM_E_IO, "%s: %s", f->path, strerror(errno));
    }
    return 0;
}

int requests_file_close(struct requests_file *f, struct err *e)
{
    if (!f->out) {
        return 0;
    }
    errno = 0;
    bool failed = ferror(f->out) != 0;
    failed = fclose(f->out) != 0 || failed;
    f->out = NULL;
    return failed ? err_set(e, SIM_E_IO, "%s: %s", f->path, strerror(errno ? errno : EIO)) : 0;
}
