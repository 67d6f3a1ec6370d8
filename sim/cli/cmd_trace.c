/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard trace: look at traces, convert, cut and generate them. */
#include "sim/cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/cli/route_info.h"
#include "sim/core/json.h"
#include "sim/core/u64_map.h"
#include "traces/info.h"
#include "traces/trace.h"
#include "traces/write.h"

static const char usage[] =
    "usage: steelyard trace info    TRACE [--json]\n"
    "       steelyard trace info    --experts SOURCE [--model M] [--json]\n"
    "       steelyard trace head    TRACE [-n N]\n"
    "       steelyard trace convert TRACE -o OUT\n"
    "       steelyard trace cut     TRACE [--from TIME] [--to TIME] [--limit N] [--client NAME] -o OUT\n"
    "       steelyard trace synth   NAME{...} -o OUT\n"
    "       steelyard trace tlp     ...\n"
    "\n"
    "info      requests, rate, lengths, clients, sessions and shared prefixes; or how tokens are routed\n"
    "          to the experts of a mixture-of-experts model\n"
    "head      the first requests in Steelyard's own CSV\n"
    "convert   the whole trace in another form\n"
    "cut       a part of it; times count from the beginning of the part\n"
    "synth     a generated trace ('steelyard list traces' names presets), as synth:NAME{...} in a run\n"
    "tlp       not requests: the PCI Express packets of a copy (steelyard help tlp)\n"
    "\n"
    "TRACE is a file in any known format, plain or gzip, - for standard input, or synth:NAME{...}.\n"
    "\n"
    "  -o, --output OUT       .packed = binary, .gz = CSV in gzip, else CSV; default -, standard output\n"
    "  -n N                   with head: how many, default 10\n"
    "  --json                 with info: as JSON; also --format json\n"
    "  --experts SOURCE       with info: expert routes instead of a trace: synth{preset=olmoe-1b-7b},\n"
    "                         recorded{file=...}, counts{file=...,top_k=6}, uniform, or a recorded file\n"
    "  --model MODEL          with --experts: its shape, and the preset of its name\n"
    "  --sequences N          with --experts: look at so many; default all of a recording, else 300\n"
    "  --lengths DIST         with --experts: their tokens, as 512 or lognormal(...); default the\n"
    "                         recording's, else short prompts with median 25\n"
    "  --from TIME            with cut: from here on, as 90, 90s or 1.5m\n"
    "  --to TIME              with cut: up to but not including this time\n"
    "  --limit N              with cut: at most N requests\n"
    "  --client NAME          with cut: only this client; may repeat\n"
    "  --keep-times           with cut: leave times as they are\n"
    "  --trace-format FORMAT  format of TRACE with options; default: look at the content\n"
    "  --seed N, --rep N      of a generated trace, default 0\n"
    "  --quiet                no progress line\n";

extern const struct subcommand cmd_trace;
extern const struct subcommand cmd_tlp;

#define CLIENTS_SHOWN 20
#define MAX_CLIENTS   64

struct numbers {
    double from_s, to_s;
    int64_t limit, count, seed, replication, sequences;
};

#define FIELD(f) offsetof(struct numbers, f)

/* Numbers of the command line, read like configuration values. */
static const struct opt_row number_rows[] = {
    {"--from", OPT_DOUBLE, FIELD(from_s), 0, 1e12, "0", "s", "First time.", NULL},
    {"--to", OPT_DOUBLE, FIELD(to_s), 0, 1e12, "1e12", "s", "End of time.", NULL},
    {"--limit", OPT_INT, FIELD(limit), 0, 1e15, "0", "1", "At most so many; 0 is all.", NULL},
    {"-n", OPT_INT, FIELD(count), 0, 1e15, "10", "1", "How many.", NULL},
    {"--sequences", OPT_INT, FIELD(sequences), 0, 1e8, "0", "1", "Of expert routes.", NULL},
    {"--seed", OPT_INT, FIELD(seed), 0, 9.2e18, "0", "1", "Seed.", NULL},
    {"--rep", OPT_INT, FIELD(replication), 0, 4294967295.0, "0", "1", "Replication.", NULL},
    OPT_END,
};

struct request {
    const char *verb, *trace, *format, *output;
    const char *experts, *model, *lengths, *form;
    const char *clients[MAX_CLIENTS];
    size_t n_clients;
    struct numbers n;
    bool json, keep_times, quiet;
};

static int parse_number(struct request *q, int argc, char **argv, int *i, struct arena *ar,
                        struct err *e)
{
    for (const struct opt_row *row = number_rows; row->name; row++) {
        const char *value = NULL;
        int rc = cli_flag_value(row->name, argc, argv, i, &value, e);
        if (rc != 0) {
            struct err why = {0};
            if (rc > 0 && opt_set(row, &q->n, value, ar, &why) < 0) {
                return err_set(e, SIM_E_USAGE, "%s", why.msg);
            }
            return rc;
        }
    }
    return 0;
}

static int set_form(struct request *q, struct err *e)
{
    q->json = strcmp(q->form, "json") == 0;
    if (!q->json && strcmp(q->form, "text") != 0) {
        return err_set(e, SIM_E_USAGE, "--format %s: text or json", q->form);
    }
    return 1;
}

static int parse_flag(struct request *q, int argc, char **argv, int *i, struct arena *ar,
                      struct err *e)
{
    const char *client = NULL;
    int rc = parse_number(q, argc, argv, i, ar, e);
    rc = rc == 0 ? cli_flag_value("--output", argc, argv, i, &q->output, e) : rc;
    rc = rc == 0 ? cli_flag_value("-o", argc, argv, i, &q->output, e) : rc;
    rc = rc == 0 ? cli_flag_value("--trace-format", argc, argv, i, &q->format, e) : rc;
    rc = rc == 0 ? cli_flag_value("--experts", argc, argv, i, &q->experts, e) : rc;
    rc = rc == 0 ? cli_flag_value("--model", argc, argv, i, &q->model, e) : rc;
    rc = rc == 0 ? cli_flag_value("--lengths", argc, argv, i, &q->lengths, e) : rc;
    if (rc != 0) {
        return rc;
    }
    rc = cli_flag_value("--format", argc, argv, i, &q->form, e);
    if (rc > 0) {
        return set_form(q, e);
    }
    rc = rc == 0 ? cli_flag_value("--client", argc, argv, i, &client, e) : rc;
    if (rc > 0 && q->n_clients == MAX_CLIENTS) {
        return err_set(e, SIM_E_USAGE, "--client: at most %d clients", MAX_CLIENTS);
    }
    if (rc > 0) {
        q->clients[q->n_clients++] = client;
    }
    if (rc != 0) {
        return rc;
    }
    if (cli_flag("--json", argv, *i)) {
        q->json = true;
    } else if (cli_flag("--keep-times", argv, *i)) {
        q->keep_times = true;
    } else if (cli_flag("--quiet", argv, *i) || cli_flag("-q", argv, *i)) {
        q->quiet = true;
    } else {
        return 0;
    }
    return 1;
}

static int parse(struct request *q, int argc, char **argv, struct arena *ar, struct err *e)
{
    int rc = opt_defaults(number_rows, &q->n, ar, e);
    for (int i = 1; i < argc && rc >= 0; i++) {
        rc = parse_flag(q, argc, argv, &i, ar, e);
        if (rc != 0) {
            continue;
        }
        if ((argv[i][0] == '-' && argv[i][1]) || q->trace) {
            return cli_unknown(&cmd_trace, argv[i], e);
        }
        if (!q->verb) {
            q->verb = argv[i];
        } else {
            q->trace = argv[i];
        }
    }
    return rc < 0 ? rc : 0;
}

static int open_trace(const struct request *q, struct trace **ret, struct err *e)
{
    return trace_open(ret, q->trace, q->format, (uint64_t)q->n.seed, (uint32_t)q->n.replication, e);
}

/* ---- info ---- */

static int on_progress(void *ctx, double share)
{
    progress_update(ctx, share, "");
    return cli_interrupted;
}

static void print_lengths(const char *what, const struct hist *h)
{
    printf("%-16s mean %.1f, median %.0f, p90 %.0f, p95 %.0f, p99 %.0f, max %lld\n", what,
           hist_mean(h), hist_quantile(h, 0.5), hist_quantile(h, 0.9), hist_quantile(h, 0.95),
           hist_quantile(h, 0.99), (long long)h->max);
}

static void print_clients(const struct trace_info *info, const struct trace *t)
{
    printf("clients          %u\n", info->clients);
    if (info->clients < 2) {
        return;
    }
    printf("  %-16s %10s %14s %14s\n", "client", "requests", "prompt tok", "output tok");
    for (uint32_t c = 0; c < info->clients && c < CLIENTS_SHOWN; c++) {
        printf("  %-16s %10llu %14llu %14llu\n", trace_client_name(t, c),
               (unsigned long long)info->client[c].requests,
               (unsigned long long)info->client[c].prompt_tok,
               (unsigned long long)info->client[c].output_tok);
    }
    if (info->clients > CLIENTS_SHOWN) {
        printf("  ... and %u more (--json has all)\n", info->clients - CLIENTS_SHOWN);
    }
}

static void print_info(const struct request *q, const struct trace_info *info, const struct trace *t)
{
    printf("trace            %s (%s)\n", q->trace, trace_format_name(t));
    printf("requests         %llu\n", (unsigned long long)info->requests);
    if (info->left_out > 0) {
        printf("left out         %llu rows that are no requests (failed calls without token counts)\n",
               (unsigned long long)info->left_out);
    }
    printf("time             %.3f to %.3f s\n", info->first_s, info->last_s);
    if (isfinite(info->rate_per_s)) {
        printf("rate             %.4g requests/s", info->rate_per_s);
        printf(isfinite(info->gap_cv) ? ", gaps vary by %.3f (CV)\n" : "\n", info->gap_cv);
    }
    print_lengths("prompt tokens", &info->prompt_tok);
    print_lengths("output tokens", &info->output_tok);
    printf("total tokens     %llu in, %llu out\n", (unsigned long long)info->total_prompt_tok,
           (unsigned long long)info->total_output_tok);
    if (info->sessions > 0) {
        printf("sessions         %llu, with %llu requests\n", (unsigned long long)info->sessions,
               (unsigned long long)info->requests_in_sessions);
    }
    if (info->requests_with_ids > 0) {
        printf("prefix ids       %llu distinct, in %llu requests; an endless cache serves %.1f %% of the "
               "prompt tokens\n",
               (unsigned long long)info->distinct_ids, (unsigned long long)info->requests_with_ids,
               100 * info->reuse_share);
    }
    if (info->measured > 0) {
        printf("measured         %llu requests carry measured latencies\n",
               (unsigned long long)info->measured);
    }
    print_clients(info, t);
}

static void write_lengths(struct json_writer *w, const char *key, const struct hist *h,
                          uint64_t total)
{
    json_key(w, key);
    json_object(w);
    json_kv_int(w, "total", (int64_t)total);
    json_kv_double(w, "mean", hist_mean(h));
    json_kv_double(w, "std", hist_stddev(h));
    json_kv_int(w, "min", h->min);
    json_kv_double(w, "p50", hist_quantile(h, 0.5));
    json_kv_double(w, "p90", hist_quantile(h, 0.9));
    json_kv_double(w, "p95", hist_quantile(h, 0.95));
    json_kv_double(w, "p99", hist_quantile(h, 0.99));
    json_kv_int(w, "max", h->max);
    json_end(w);
}

static void write_client_rows(struct json_writer *w, const struct trace_info *info,
                              const struct trace *t)
{
    json_key(w, "clients");
    json_array(w);
    for (uint32_t c = 0; c < info->clients; c++) {
        json_object(w);
        json_kv_string(w, "client", trace_client_name(t, c));
        json_kv_int(w, "requests", (int64_t)info->client[c].requests);
        json_kv_int(w, "prompt_tokens", (int64_t)info->client[c].prompt_tok);
        json_kv_int(w, "output_tokens", (int64_t)info->client[c].output_tok);
        json_end(w);
    }
    json_end(w);
}

static void write_info(const struct request *q, const struct trace_info *info, const struct trace *t)
{
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.trace/1");
    json_kv_string(&w, "trace", q->trace);
    json_kv_string(&w, "format", trace_format_name(t));
    json_kv_int(&w, "requests", (int64_t)info->requests);
    json_kv_int(&w, "left_out", (int64_t)info->left_out);
    json_kv_double(&w, "first_s", info->first_s);
    json_kv_double(&w, "last_s", info->last_s);
    json_kv_double(&w, "rate_per_s", info->rate_per_s);
    json_kv_double(&w, "gap_cv", info->gap_cv);
    write_lengths(&w, "prompt_tokens", &info->prompt_tok, info->total_prompt_tok);
    write_lengths(&w, "output_tokens", &info->output_tok, info->total_output_tok);
    json_kv_int(&w, "sessions", (int64_t)info->sessions);
    json_kv_int(&w, "requests_in_sessions", (int64_t)info->requests_in_sessions);
    json_kv_int(&w, "requests_with_ids", (int64_t)info->requests_with_ids);
    json_kv_int(&w, "distinct_ids", (int64_t)info->distinct_ids);
    json_kv_double(&w, "reuse_share", info->reuse_share);
    json_kv_int(&w, "measured_requests", (int64_t)info->measured);
    write_client_rows(&w, info, t);
    json_end(&w);
    putchar('\n');
}

static int info(const struct request *q, struct arena *ar, struct err *e)
{
    struct trace *t = NULL;
    struct trace_info found;
    struct progress p;
    int rc = open_trace(q, &t, e);
    if (rc < 0) {
        return rc;
    }
    progress_begin(&p, "reading", !q->quiet);
    rc = trace_info(&found, t, ar, on_progress, &p, e);
    progress_end(&p);
    if (rc >= 0 && q->json) {
        write_info(q, &found, t);
    } else if (rc >= 0) {
        print_info(q, &found, t);
    }
    trace_close(t);
    return rc < 0 ? rc : 0;
}

/* ---- head, convert, cut, synth: copy what passes ---- */

/* What of the trace to copy. */
struct part {
    sim_ns from_ns, to_ns, shift_ns;
    int64_t limit; /* 0 = no limit */
    const char *const *clients;
    size_t n_clients;
};

static bool wanted(const struct part *p, const struct trace *t, const struct arrival *a)
{
    if (a->time_ns < p->from_ns) {
        return false;
    }
    for (size_t i = 0; i < p->n_clients; i++) {
        if (strcmp(trace_client_name(t, a->client), p->clients[i]) == 0) {
            return true;
        }
    }
    return p->n_clients == 0;
}

/* Calls of programs that were copied: nobody can wait for one that was cut away. */
struct copied_calls {
    struct u64_map session, call; /* session -> number; number and call -> 1 */
    uint64_t *after;              /* of the present call */
    uint32_t cap;
};

static bool grow_after(struct copied_calls *c, uint32_t n)
{
    uint64_t *after = realloc(c->after, n * sizeof(*after));
    c->after = after ? after : c->after;
    c->cap = after ? n : c->cap;
    return after != NULL;
}

static uint64_t call_key(uint32_t session, uint64_t call)
{
    return (uint64_t)session << 32 | call;
}

static bool keep_calls(struct copied_calls *c, struct arrival *a)
{
    uint32_t *session, *call, n = 0;
    if (a->session == 0 || (a->call == 0 && a->n_after == 0)) {
        return true;
    }
    session = u64_map_add(&c->session, a->session);
    if (!session || (a->n_after > c->cap && !grow_after(c, a->n_after))) {
        return false;
    }
    *session = *session ? *session : c->session.n;
    for (uint32_t i = 0; i < a->n_after; i++) {
        if (u64_map_find(&c->call, call_key(*session, a->after[i]))) {
            c->after[n++] = a->after[i];
        }
    }
    a->after = c->after;
    a->n_after = n;
    call = a->call ? u64_map_add(&c->call, call_key(*session, a->call)) : session;
    return call != NULL;
}

static int copy(struct trace *t, struct trace_writer *w, const struct part *p, struct copied_calls *calls,
                struct progress *line, struct err *e)
{
    struct arrival a;
    int64_t n = 0;
    int rc;
    while ((p->limit == 0 || n < p->limit) && (rc = trace_next(t, &a, e)) != 0) {
        if (rc < 0) {
            return rc;
        }
        if (cli_interrupted) {
            return err_set(e, SIM_E_INTR, "interrupted; the trace is not complete");
        }
        if (a.time_ns >= p->to_ns) {
            break; /* times never decrease */
        }
        if (!wanted(p, t, &a)) {
            continue;
        }
        a.time_ns -= p->shift_ns;
        if (!keep_calls(calls, &a)) {
            return err_set(e, SIM_E_NOMEM, "out of memory for calls of programs");
        }
        rc = trace_writer_put(w, &a, e);
        if (rc < 0) {
            return rc;
        }
        n++;
        progress_update(line, trace_progress(t), "");
    }
    return n > 0 ? 0 : err_set(e, SIM_E_DATA, "no request of the trace is in this part");
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x;
    struct stat y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Half a trace must not pass for a whole one. */
static void remove_half(const char *path)
{
    struct stat s;
    if (lstat(path, &s) == 0 && S_ISREG(s.st_mode)) {
        unlink(path);
    }
}

static int copy_part(const struct request *q, const struct part *p, struct err *e)
{
    struct trace *t = NULL;
    struct trace_writer *w = NULL;
    struct progress line;
    const char *path = q->output ? q->output : "-";
    if (is_same_file(q->trace, path)) {
        return err_set(e, SIM_E_USAGE, "%s: a trace cannot be written over itself", path);
    }
    int rc = open_trace(q, &t, e);
    if (rc < 0) {
        return rc;
    }
    rc = trace_writer_open(&w, path, trace_form_of_path(path), t, e);
    if (rc >= 0) {
        progress_begin(&line, "writing", !q->quiet && strcmp(path, "-") != 0);
        struct copied_calls calls = {.cap = 0};
        rc = copy(t, w, p, &calls, &line, e);
        u64_map_release(&calls.session);
        u64_map_release(&calls.call);
        free(calls.after);
        progress_end(&line);
        int closed = trace_writer_close(w, e);
        rc = rc < 0 ? rc : closed;
        if (rc < 0) {
            remove_half(path);
        }
    }
    trace_close(t);
    return rc < 0 ? rc : 0;
}

static sim_ns to_ns(double seconds)
{
    return seconds >= 9e9 ? SIM_NEVER : (sim_ns)llround(seconds * 1e9);
}

static int head(const struct request *q, struct arena *ar, struct err *e)
{
    (void)ar;
    struct part p = {.to_ns = SIM_NEVER, .limit = q->n.count};
    if (q->n.count == 0) {
        return err_set(e, SIM_E_USAGE, "-n 0 shows nothing");
    }
    return copy_part(q, &p, e);
}

static int convert(const struct request *q, struct arena *ar, struct err *e)
{
    (void)ar;
    struct part p = {.to_ns = SIM_NEVER};
    return copy_part(q, &p, e);
}

static int cut(const struct request *q, struct arena *ar, struct err *e)
{
    (void)ar;
    struct part p = {.from_ns = to_ns(q->n.from_s),
                     .to_ns = to_ns(q->n.to_s),
                     .limit = q->n.limit,
                     .clients = q->clients,
                     .n_clients = q->n_clients};
    if (p.from_ns >= p.to_ns) {
        return err_set(e, SIM_E_USAGE, "cut: --from has to lie before --to");
    }
    p.shift_ns = q->keep_times ? 0 : p.from_ns;
    return copy_part(q, &p, e);
}

static int synth(const struct request *q, struct arena *ar, struct err *e)
{
    struct request generated = *q;
    if (strncmp(q->trace, "synth:", 6) != 0) {
        generated.trace = arena_printf(ar, "synth:%s", q->trace);
    }
    return generated.trace ? convert(&generated, ar, e) : err_set(e, SIM_E_NOMEM, "out of memory");
}

static int info_experts(const struct request *q, struct arena *ar, struct err *e)
{
    struct route_info_request x = {.source = q->experts, .model = q->model, .lengths = q->lengths,
                                .sequences = q->n.sequences, .seed = (uint64_t)q->n.seed,
                                .replication = (uint32_t)q->n.replication, .json = q->json, .quiet = q->quiet};
    if (q->trace) {
        return err_set(e, SIM_E_USAGE, "trace info --experts SOURCE: there is no trace '%s' beside it", q->trace);
    }
    return route_info(&x, ar, e);
}

static int run_verb(const struct request *q, struct arena *ar, struct err *e)
{
    static const char *const verbs[] = {"info", "head", "convert", "cut", "synth", "tlp"};
    static int (*const call[])(const struct request *, struct arena *, struct err *) = {
        info, head, convert, cut, synth};
    if (!q->verb) {
        return err_set(e, SIM_E_USAGE, "trace what? info, head, convert, cut, synth or tlp");
    }
    if (q->experts || q->model || q->lengths || q->n.sequences) {
        return q->experts && strcmp(q->verb, "info") == 0
                   ? info_experts(q, ar, e)
                   : err_set(e, SIM_E_USAGE, "--experts goes with trace info, and --model, --lengths and "
                             "--sequences with --experts");
    }
    for (size_t i = 0; i < 5; i++) {
        if (strcmp(q->verb, verbs[i]) == 0) {
            return q->trace ? call[i](q, ar, e)
                            : err_set(e, SIM_E_USAGE, "trace %s needs a trace (steelyard help trace)",
                                      q->verb);
        }
    }
    return cli_not_known("trace command", q->verb, verbs, 6, " (steelyard help trace)", SIM_E_USAGE,
                         e);
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct request q = {0};
    if (argc > 1 && strcmp(argv[1], "tlp") == 0) {
        return cmd_tlp.run(argc - 1, argv + 1, e);
    }
    int rc = parse(&q, argc, argv, &ar, e);
    rc = rc == 0 ? run_verb(&q, &ar, e) : rc;
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_trace = {"trace", "info, head, convert, cut and synth of traces", usage,
                                     run};
