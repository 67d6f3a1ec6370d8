/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/reproduce/equinox_run.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SECONDS  300
#define CLIENTS  27
#define HOST_MS  5.5
#define BACKLOG  4000 /* requests, all at once, to see the capacity */

static const struct {
    const char *policy, *batcher;
    bool exact; /* requests declare what they will need */
} systems[EQ_SYSTEMS] = {
    [EQ_VTC] = {"vtc", "lightllm-slora", false},
    [EQ_POLICY] = {"equinox", "lightllm-slora", false},
    [EQ_STALL_FREE] = {"equinox", "equinox{adaptive=off}", false},
    [EQ_ADAPTIVE] = {"equinox", "equinox{stall_free=off}", false},
    [EQ_EQUINOX] = {"equinox", "equinox", false},
    [EQ_VTC_EXACT] = {"vtc", "lightllm-slora", true},
};

const char *const eq_system_names[EQ_SYSTEMS] = {
    [EQ_VTC] = "VTC",           [EQ_POLICY] = "policy alone", [EQ_STALL_FREE] = "stall-free",
    [EQ_ADAPTIVE] = "adaptive", [EQ_EQUINOX] = "Equinox",     [EQ_VTC_EXACT] = "VTC, exact limits",
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

static int simulate(struct repro *p, enum eq_system s, const char *load, unsigned run,
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
    return rc < 0 ? err_wrap(e, "%s: ", eq_system_names[s]) : 0;
}

static int run_once(struct repro *p, enum eq_system s, const char *load, unsigned run,
                    struct eq_point *ret, struct arena *ar, struct err *e)
{
    struct tally tally;
    struct run_result r;

    if (simulate(p, s, load, run, &tally, &r, ar, e) < 0) {
        return e->code;
    }
    double host_s = repro_metric(&r, "iterations") * HOST_MS * 1e-3;
    ret->v[EQ_THROUGHPUT][run] = repro_metric(&r, "total_token_throughput");
    ret->v[EQ_TTFT][run] = repro_metric(&r, "mean_ttft_ms") * 1e-3;
    ret->v[EQ_JAIN_SERVICE][run] = repro_metric(&r, "jain_index");
    ret->v[EQ_JAIN_DEMAND][run] = jain(tally.served, tally.asked);
    ret->v[EQ_JAIN_FELT][run] = jain(tally.felt, tally.asked);
    ret->v[EQ_UTILISATION][run] =
        repro_metric(&r, "gpu_utilization") - host_s / repro_metric(&r, "duration");
    return 0;
}

int eq_run(struct repro *p, enum eq_system s, const char *lengths, double rate,
           struct eq_point *ret, struct err *e)
{
    const char *load = arena_printf(&p->ar, "synth:%s{rates=%.9g,duration=%d%s}", lengths, rate,
                                    SECONDS, systems[s].exact ? ",max_output=0" : "");

    for (unsigned run = 0; run < EQ_RUNS; run++) {
        struct arena ar = {0};
        int rc = run_once(p, s, load, run, ret, &ar, e);

        arena_release(&ar);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int eq_capacity(struct repro *p, const char *lengths, double *ret, struct err *e)
{
    struct arena ar = {0};
    struct tally tally;
    struct run_result r;
    const char *load =
        arena_printf(&ar, "synth:%s{rates=1000,duration=0,requests=%d}", lengths, BACKLOG);
    int rc = simulate(p, EQ_VTC, load, 0, &tally, &r, &ar, e);

    if (rc == 0) {
        *ret = repro_metric(&r, "request_throughput");
    }
    arena_release(&ar);
    return rc;
}

struct repro_estimate eq_estimate(const struct eq_point *a, enum eq_quantity q)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < EQ_RUNS; i++) {
        repro_note(&v, a->v[q][i]);
    }
    return v;
}

struct repro_estimate eq_ratio(const struct eq_point *a, const struct eq_point *b,
                               enum eq_quantity q, double less)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < EQ_RUNS; i++) {
        repro_note(&v, a->v[q][i] / b->v[q][i] - less);
    }
    return v;
}

double eq_mean(const struct eq_point *a, enum eq_quantity q)
{
    struct repro_estimate v = eq_estimate(a, q);

    return repro_mean(&v);
}
