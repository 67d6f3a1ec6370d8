/* SPDX-License-Identifier: Apache-2.0
 *
 * Equinox (arXiv 2508.16646) against VTC: its headline numbers, "up to 1.3x throughput, 60 % lower
 * TTFT, 13 % higher fairness, 94 % GPU utilisation". Only the abstract was at hand, so policy and
 * engine are stand-ins (policies/schedule/equinox.c, policies/batch/equinox.c), and this is what
 * was assumed: machine   Llama-2-7B on an A100-80G by roofline, and 5.5 ms of host time a step:
 * what a lone token takes on S-LoRA's recorded A100 (22.3 ms, VTC artifact) beyond the roofline VTC
 * on the engine of its artifact, lightllm-slora loads     ShareGPT and LMSYS lengths, 27 clients
 * with shares 1/k, a declared limit of 1024 tokens (the longest of VTC's real trace), 300 s rate
 * 1.26 times what VTC takes at most: what VTC's real trace asked for over what it got (588,695
 * tokens in 600 s, 779 tokens/s served) */
#include <math.h>

#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define RUNS      10
#define SECONDS   300
#define CLIENTS   27
#define HOST_MS   5.5
#define PUBLISHED 1.26 /* load over VTC's capacity */
#define BACKLOG   4000 /* requests, all at once, to see the capacity */

enum system { VTC, POLICY, STALL_FREE, ADAPTIVE, EQUINOX, VTC_EXACT, SYSTEMS };

static const struct {
    const char *name, *policy, *batcher;
    bool exact; /* requests declare what they will need */
} systems[SYSTEMS] = {
    [VTC] = {"VTC", "vtc", "lightllm-slora", false},
    [POLICY] = {"policy alone", "equinox", "lightllm-slora", false},
    [STALL_FREE] = {"stall-free", "equinox", "equinox{adaptive=off}", false},
    [ADAPTIVE] = {"adaptive", "equinox", "equinox{stall_free=off}", false},
    [EQUINOX] = {"Equinox", "equinox", "equinox", false},
    [VTC_EXACT] = {"VTC, exact limits", "vtc", "lightllm-slora", true},
};

enum quantity { THROUGHPUT, TTFT, JAIN_SERVICE, JAIN_DEMAND, JAIN_FELT, UTILISATION, QUANTITIES };

struct point {
    double v[QUANTITIES][RUNS];
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- one run ---- */

/* Of each client, what it asked for while requests came, what of it was served by then, and what it
 * felt of it: the later the less (UFC, with the latency term that policies/schedule/equinox.c
 * assumes). */
struct tally {
    double asked[CLIENTS], served[CLIENTS], felt[CLIENTS];
};
#define DELTA 0.1 /* per second */

/* Service is spread evenly from the first token to the end, as in VTC's artifact. */
static double served_by(const struct request_row *r, double end_s)
{
    double first_s = (double)r->first_token_ns * 1e-9, finish_s = (double)r->finish_ns * 1e-9;

    if (finish_s <= end_s) {
        return 1;
    }
    return first_s >= end_s ? 0 : (end_s - first_s) / (finish_s - first_s);
}

static int on_request(void *ctx, const struct request_row *r, struct err *e)
{
    struct tally *t = ctx;
    double tok = r->prompt_tok + 2.0 * r->output_tok;

    if (r->client >= CLIENTS) {
        return err_set(e, SIM_E_CONFIG, "more clients than a reproduction counts");
    }
    t->asked[r->client] += tok;
    if (r->status == REQUEST_OK) {
        double e2e_s = (double)(r->finish_ns - r->arrival_ns) * 1e-9;

        t->served[r->client] += tok * served_by(r, SECONDS);
        t->felt[r->client] += tok / (1 + DELTA * e2e_s);
    }
    return 0;
}

/* Over the clients' shares of what they asked for. */
static double jain(const double *got, const double *asked)
{
    double sum = 0, sum_sq = 0, n = 0;

    for (size_t i = 0; i < CLIENTS; i++) {
        double x = asked[i] > 0 ? got[i] / asked[i] : 0;

        n += asked[i] > 0;
        sum += x;
        sum_sq += x * x;
    }
    return sum * sum / (n * sum_sq);
}

static int simulate(struct repro *p, enum system s, const char *load, unsigned run,
                    struct tally *tally, struct run_result *ret, struct arena *ar, struct err *e)
{
    struct run_hooks hooks = {.request = on_request, .ctx = tally};
    const struct repro_key key[] = {
        {"model", "llama-2-7b"},
        {"gpu", "a100-80g"},
        {"engine.step_overhead", arena_printf(ar, "%gms", HOST_MS)},
        {"trace", load},
        {"policy", systems[s].policy},
        {"batcher", systems[s].batcher},
        {"replication", arena_printf(ar, "%u", run)},
    };

    *tally = (struct tally){.asked = {0}};
    if (!load || !key[2].value || !key[6].value) {
        return no_memory(e);
    }
    int rc = repro_run_hooked(p, key, COUNT(key), &hooks, ret, ar, e);
    return rc < 0 ? err_wrap(e, "%s: ", systems[s].name) : 0;
}

static int run_once(struct repro *p, enum system s, const char *load, unsigned run,
                    struct point *ret, struct arena *ar, struct err *e)
{
    struct tally tally;
    struct run_result r;

    if (simulate(p, s, load, run, &tally, &r, ar, e) < 0) {
        return e->code;
    }
    double host_s = repro_metric(&r, "iterations") * HOST_MS * 1e-3;
    ret->v[THROUGHPUT][run] = repro_metric(&r, "total_token_throughput");
    ret->v[TTFT][run] = repro_metric(&r, "mean_ttft_ms") * 1e-3;
    ret->v[JAIN_SERVICE][run] = repro_metric(&r, "jain_index");
    ret->v[JAIN_DEMAND][run] = jain(tally.served, tally.asked);
    ret->v[JAIN_FELT][run] = jain(tally.felt, tally.asked);
    ret->v[UTILISATION][run] =
        repro_metric(&r, "gpu_utilization") - host_s / repro_metric(&r, "duration");
    return 0;
}

static int run_all(struct repro *p, enum system s, const char *lengths, double rate,
                   struct point *ret, struct err *e)
{
    const char *load = arena_printf(&p->ar, "synth:%s{rates=%.9g,duration=%d%s}", lengths, rate,
                                    SECONDS, systems[s].exact ? ",max_output=0" : "");

    for (unsigned run = 0; run < RUNS; run++) {
        struct arena ar = {0};
        int rc = run_once(p, s, load, run, ret, &ar, e);

        arena_release(&ar);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* Requests per second that leave a backlogged VTC. */
static int capacity(struct repro *p, const char *lengths, double *ret, struct err *e)
{
    struct arena ar = {0};
    struct tally tally;
    struct run_result r;
    const char *load =
        arena_printf(&ar, "synth:%s{rates=1000,duration=0,requests=%d}", lengths, BACKLOG);
    int rc = simulate(p, VTC, load, 0, &tally, &r, &ar, e);

    if (rc == 0) {
        *ret = repro_metric(&r, "request_throughput");
    }
    arena_release(&ar);
    return rc;
}

static struct repro_estimate estimate(const struct point *a, enum quantity q)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < RUNS; i++) {
        repro_note(&v, a->v[q][i]);
    }
    return v;
}

/* a over b, less `less`; runs of a number are under the same requests. */
static struct repro_estimate ratio(const struct point *a, const struct point *b, enum quantity q,
                                   double less)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < RUNS; i++) {
        repro_note(&v, a->v[q][i] / b->v[q][i] - less);
    }
    return v;
}

static double mean(const struct point *a, enum quantity q)
{
    struct repro_estimate v = estimate(a, q);

    return repro_mean(&v);
}

/* ---- rows ---- */

static const double shares[] = {0.8, 1.0, PUBLISHED, 1.6, 2.0};
#define SHARES COUNT(shares)
#define AT     2 /* PUBLISHED */

/* What is published as a factor has the tolerance of gains, per cents have points. */
static int headline_rows(struct repro *p, struct point of[SYSTEMS][SHARES], struct err *e)
{
    static const struct {
        const char *row;
        enum quantity q;
        double published;
    } rows[] = {
        {"mean TTFT over VTC's, less 1", TTFT, -0.60},
        {"Jain index of service over VTC's, less 1", JAIN_SERVICE, 0.13},
        {"Jain index of demand met over VTC's, less 1", JAIN_DEMAND, 0.13},
        {"Jain index of service as felt over VTC's, less 1", JAIN_FELT, 0.13},
    };
    struct repro_estimate v = ratio(&of[EQUINOX][AT], &of[VTC][AT], THROUGHPUT, 0);

    if (repro_value(p, "throughput over VTC's", "1", 1.3, &v, REPRO_TOL_GAIN, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        v = ratio(&of[EQUINOX][AT], &of[VTC][AT], rows[i].q, 1);
        if (repro_between(p, rows[i].row, "1", rows[i].published, rows[i].published - REPRO_POINTS,
                          rows[i].published + REPRO_POINTS, &v, e) < 0) {
            return e->code;
        }
    }
    v = estimate(&of[EQUINOX][AT], UTILISATION);
    return repro_between(p, "GPU utilisation", "1", 0.94, 0.94 - REPRO_POINTS, 1, &v, e);
}

/* Adaptive batching and stall-free chunks make the difference, each of them and both together. */
static int part_rows(struct repro *p, struct point of[SYSTEMS][SHARES], struct err *e)
{
    static const struct {
        const char *row;
        enum quantity q;
        enum system least, middle, most;
    } rows[] = {
        {"throughput: VTC < stall-free alone < Equinox", THROUGHPUT, VTC, STALL_FREE, EQUINOX},
        {"throughput: VTC < adaptive alone < Equinox", THROUGHPUT, VTC, ADAPTIVE, EQUINOX},
        {"mean TTFT: Equinox < stall-free alone < VTC", TTFT, EQUINOX, STALL_FREE, VTC},
        {"mean TTFT: Equinox < adaptive alone < VTC", TTFT, EQUINOX, ADAPTIVE, VTC},
    };
    struct repro_estimate alone = ratio(&of[POLICY][AT], &of[VTC][AT], THROUGHPUT, 0);

    for (size_t i = 0; i < COUNT(rows); i++) {
        const double v[] = {mean(&of[rows[i].least][AT], rows[i].q),
                            mean(&of[rows[i].middle][AT], rows[i].q),
                            mean(&of[rows[i].most][AT], rows[i].q)};

        if (repro_order(p, rows[i].row, v, COUNT(v), e) < 0) {
            return e->code;
        }
    }
    return repro_between(p, "policy alone: throughput over VTC's", "1", (double)NAN,
                         1 - REPRO_TOL_TOTAL, 1 + REPRO_TOL_TOTAL, &alone, e);
}

/* The gain hangs on limits that are declared and not used. */
static int limit_row(struct repro *p, struct point of[SYSTEMS][SHARES], struct err *e)
{
    struct repro_estimate v = ratio(&of[EQUINOX][AT], &of[VTC_EXACT][AT], THROUGHPUT, 0);

    return repro_between(p, "throughput over that of VTC with exact limits", "1", (double)NAN,
                         1 - REPRO_TOL_TOTAL, 1 + REPRO_TOL_TOTAL, &v, e);
}

/* ---- figure ---- */

static int panel(struct repro *p, struct figure *f, const char *title, const char *y_label,
                 struct point of[SYSTEMS][SHARES], enum quantity q, struct err *e)
{
    struct figure_panel *panel = &f->panel[f->n++];

    *panel = (struct figure_panel){
        .title = title, .x_label = "Load over VTC's capacity", .y_label = y_label, .x_from = 0.5};
    for (size_t s = 0; s < SYSTEMS; s++) {
        struct figure_line *l = figure_line(panel, systems[s].name, (int)s + 1, SHARES, &p->ar);

        if (!l || !figure_line_intervals(l, &p->ar)) {
            return no_memory(e);
        }
        for (size_t i = 0; i < SHARES; i++) {
            struct repro_estimate v = estimate(&of[s][i], q);

            repro_point(l, i, shares[i], &v);
        }
    }
    return 0;
}

static int draw(struct repro *p, struct point of[SYSTEMS][SHARES], struct err *e)
{
    struct figure f = {.name = p->id};

    if (panel(p, &f, "Throughput", "Tokens per second", of, THROUGHPUT, e) < 0 ||
        panel(p, &f, "Mean TTFT", "Seconds", of, TTFT, e) < 0 ||
        panel(p, &f, "Jain index of service as felt", "Index", of, JAIN_FELT, e) < 0 ||
        panel(p, &f, "GPU utilisation", "Share of the time", of, UTILISATION, e) < 0) {
        return e->code;
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int compare(struct repro *p, const char *lengths, struct err *e)
{
    struct point(*of)[SHARES] = arena_calloc(&p->ar, SYSTEMS, sizeof(*of));
    double most;

    if (!of) {
        return no_memory(e);
    }
    if (capacity(p, lengths, &most, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < SYSTEMS * SHARES; i++) {
        if (run_all(p, (enum system)(i / SHARES), lengths, most * shares[i % SHARES],
                    &of[i / SHARES][i % SHARES], e) < 0) {
            return e->code;
        }
    }
    if (headline_rows(p, of, e) < 0 || part_rows(p, of, e) < 0 || limit_row(p, of, e) < 0) {
        return e->code;
    }
    return p->figures ? draw(p, of, e) : 0;
}

static int run_sharegpt(struct repro *p, struct err *e)
{
    return compare(p, "sharegpt", e);
}

static int run_lmsys(struct repro *p, struct err *e)
{
    return compare(p, "lmsys", e);
}

const struct reproduction reproductions_equinox[] = {
    {"equinox-sharegpt", "Equinox, arXiv 2508.16646", "abstract: against VTC on ShareGPT's lengths",
     run_sharegpt},
    {"equinox-lmsys", "Equinox, arXiv 2508.16646", "abstract: against VTC on LMSYS's lengths",
     run_lmsys},
    {.id = NULL},
};
