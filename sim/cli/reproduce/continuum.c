/* SPDX-License-Identifier: Apache-2.0
 *
 * Continuum (arXiv 2511.02230): KV of agents that stays while their tools run. The rule for how
 * long has a worked example with one right answer (serving.md, regression vectors). Its runs are
 * known by ranges and a shape: as programs make more and shorter turns at 0.13 programs per second,
 * its job delay stays flat while that of the baselines grows. Stand-ins: 150 programs on
 * Llama-3.1-8B and one A100-80G, 11 turns (10.9 as published) times 1, 3 and 5; tools of 0.925 s in
 * the mean, log-normal with the slowest tenth taking 52.5 % of the time, both as published; lengths
 * of public SWE-bench sessions, which are not Continuum's: a first prompt of 14600 tokens, and 900
 * more in each turn of the 11, shared among more turns where there are more. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/core/u64_map.h"
#include "sim/kv/ttl.h"
#include "sim/run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define EXACT 1e-9
#define PROGRAMS 150

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int example(struct repro *p, struct err *e)
{
    static const double seen[] = {0.5, 1, 1, 2, 10};
    static const double tau[] = {0, 0.5, 1, 2, 10}, gain[] = {0, 0.1, 0.8, 0.4, -7};
    const struct ttl_case c = {.tool_s = seen, .n = COUNT(seen), .wait_s = 4, .eta = 0.5, .reload_s = 1};

    for (size_t i = 0; i < COUNT(tau); i++) {
        const char *row = arena_printf(&p->ar, "gain of keeping KV for %g s", tau[i]);
        double ours = ttl_gain_s(&c, tau[i]);

        if (!row) {
            return no_memory(e);
        }
        /* 0 has no relative tolerance. */
        if (fabs(gain[i]) < EXACT) {
            struct repro_estimate v = {0};

            repro_note(&v, ours);
            if (repro_between(p, row, "s", 0, -EXACT, EXACT, &v, e) < 0) {
                return e->code;
            }
        } else if (repro_number(p, row, "s", gain[i], ours, EXACT, e) < 0) {
            return e->code;
        }
    }
    return repro_number(p, "time to live", "s", 1, ttl_best_s(&c), EXACT, e);
}

/* ---- job delays ---- */

/* From a program's first arrival to its last answer. */
struct jobs {
    struct u64_map number; /* by session: + 1 */
    uint32_t n;
    struct job {
        sim_ns from, to;
    } job[PROGRAMS];
};

static int on_request(void *ctx, const struct request_row *row, struct err *e)
{
    struct jobs *j = ctx;
    uint32_t *no = u64_map_add(&j->number, row->session);

    if (!no || (*no == 0 && j->n == PROGRAMS)) {
        return no_memory(e);
    }
    if (*no == 0) {
        *no = ++j->n;
        j->job[*no - 1] = (struct job){.from = row->arrival_ns, .to = row->finish_ns};
    }
    struct job *job = &j->job[*no - 1];

    job->from = row->arrival_ns < job->from ? row->arrival_ns : job->from;
    job->to = row->finish_ns > job->to ? row->finish_ns : job->to;
    return 0;
}

static int configure(struct run_config *c, const char *id, bool continuum, unsigned times, struct arena *ar,
                     struct err *e)
{
    struct config_args args = {.no_environment = true};
    const char *trace = arena_printf(
        ar, "synth:programs{rate=0.13,mix=1,programs=%d,turns=%u,context=200000,prompt=14600,message=%u,output=%u,"
        "think_mu=-0.9815,think_sigma=1.344,ttft=0,tbt=0}", PROGRAMS, 11 * times, 642 / times, 258 / times);
    const struct {
        const char *key, *value;
    } set[] = {{"trace", trace}, {"model", "llama-3.1-8b"}, {"gpu", "a100-80g"},
               {"batcher", "vllm-v1{max_num_batched_tokens=2048}"}, {"load.sessions", "on"},
               {"policy", continuum ? "continuum" : "fcfs"}, {"kv.pin", continuum ? "ttl" : "off"}};

    for (size_t i = 0; i < COUNT(set); i++) {
        if (!set[i].value || config_args_add(&args, id, set[i].key, set[i].value, ar, e) < 0) {
            return e->code ? e->code : no_memory(e);
        }
    }
    return config_resolve(c, &args, NULL, NULL, ar, e);
}

static int mean_delay(struct repro *p, bool continuum, unsigned times, double *ret_s, struct err *e)
{
    struct arena ar = {0};
    struct jobs *j = arena_alloc(&ar, sizeof(*j));
    struct run_hooks hooks = {.request = on_request, .ctx = j};
    struct run_config c;
    struct run_result r;
    int rc = 0;

    if (p->progress && p->progress(p->progress_ctx, p->id)) {
        return err_set(e, SIM_E_INTR, "interrupted");
    }
    if (!j || configure(&c, p->id, continuum, times, &ar, e) < 0 || run_execute(&c, &hooks, &r, &ar, e) < 0) {
        rc = e->code ? e->code : no_memory(e);
    }
    *ret_s = 0;
    for (uint32_t i = 0; rc == 0 && i < j->n; i++) {
        *ret_s += (double)(j->job[i].to - j->job[i].from) / 1e9 / j->n;
    }
    if (j) {
        u64_map_release(&j->number);
    }
    arena_release(&ar);
    return rc;
}

static int turns(struct repro *p, struct err *e)
{
    static const unsigned times[] = {1, 3, 5};
    double ours[COUNT(times)], base[COUNT(times)];
    struct repro_estimate gain = {0}, flat = {0};

    for (size_t i = 0; i < COUNT(times); i++) {
        if (mean_delay(p, true, times[i], &ours[i], e) < 0 || mean_delay(p, false, times[i], &base[i], e) < 0) {
            return e->code;
        }
    }
    repro_note(&gain, base[0] / ours[0]);
    repro_note(&flat, ours[2] / ours[0]);
    const double growth[] = {ours[2] / ours[0], base[2] / base[0]};

    if (repro_between(p, "job delay, first come first served over Continuum", "1", (double)NAN, 1.12, 3.66, &gain,
                      e) < 0 ||
        repro_order(p, "first come first served: job delay grows with 1, 3, 5 times the turns", base, 3, e) < 0 ||
        repro_between(p, "Continuum: job delay with 5 times the turns over that with 1", "1", 1, 0.8, 1.2, &flat,
                      e) < 0) {
        return e->code;
    }
    return repro_order(p, "job delay with 5 times the turns grows less for Continuum", growth, 2, e);
}

const struct reproduction reproductions_continuum[] = {
    {"continuum-ttl", "Continuum (2511.02230)", "time to live of a program's KV, the worked example", example},
    {"continuum-turns", "Continuum (2511.02230)", "job delay as programs make more and shorter turns", turns},
    {NULL, NULL, NULL, NULL},
};
