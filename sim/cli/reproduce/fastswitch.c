/* SPDX-License-Identifier: Apache-2.0
 *
 * FastSwitch (arXiv 2411.18424): priorities that change by themselves push requests out all the
 * time, and what a switch costs shows in the tail. Its code and figures are not public; what is
 * known of its results are ranges over both machines. Stand-ins: conversations as ShareGPT's
 * lengths have them (medians 36 and 280 tokens, means 108 and 317), 1 to 10 turns, so 5.5 in the
 * mean as published; thinking times of a public chat service; Qwen3-32B for Qwen-32B (both 64
 * layers with 8 KV heads of 128); an A10G for the A10; 5 us for a copy call (moe-pcie.md 4.5). "One
 * conversation request per second" can be read in two ways, both of which are shown: one
 * conversation begins per second, which is several times what these machines can take, or one
 * request per second in all, which is about what they can. */
#include <math.h>
#include <string.h>

#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"
#include "sim/run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define REPETITIONS 5

#define CONVERSATIONS                                                                                \
    "synth:programs{rate=%s,mix=1,programs=1000,turns=1..10,context=7000,ttft=0,tbt=0,"        \
    "prompt=lognormal(median=36,mean=108),message=lognormal(median=36,mean=108),"                    \
    "output=lognormal(median=280,mean=317)}"

static const struct machine {
    const char *name, *model, *gpu, *frequency;
} machines[] = {
    {"8B on A10", "llama-3-8b", "a10g", "0.04"},
    {"32B on A100", "qwen3-32b", "a100-80g", "0.02"},
};

static const struct load {
    const char *name, *rate;
} loads[] = {{"1 request/s", "0.181818"}, {"1 conversation/s", "1"}};

static const char *const patterns[] = {"markov", "random"};

struct setting {
    const struct machine *m;
    const struct load *load;
    const char *pattern;
};

/* Each on top of those before it. */
enum variant { VLLM, GROUPS, REUSE, ASYNC, VARIANTS };
static const struct {
    const char *key, *value;
} adds[VARIANTS] = {[GROUPS] = {"kv.groups", "60"}, [REUSE] = {"kv.reuse", "on"}, [ASYNC] = {"kv.swap", "async"}};

struct tail {
    double ttft_p95, ttft_p99, ttft_p999, tbt_p999, throughput, wait_share, tail_share;
};

static int configure(struct run_config *c, const char *id, const struct setting *s, enum variant v,
                     unsigned rep, struct arena *ar, struct err *e)
{
    struct config_args args = {.no_environment = true};
    const char *policy = arena_printf(ar, "fastswitch{pattern=%s,frequency=%s}", s->pattern,
                                      s->m->frequency);
    const char *trace = arena_printf(ar, CONVERSATIONS, s->load->rate);
    const char *number = arena_printf(ar, "%u", rep);
    const struct {
        const char *key, *value;
    } set[] = {{"trace", trace}, {"model", s->m->model}, {"gpu", s->m->gpu}, {"policy", policy},
               {"batcher", "vllm-v0{version=0.3,max_model_len=8192,max_num_batched_tokens=8192}"},
               {"load.sessions", "on"}, {"kv.host", "60GB"}, {"kv.offload", "swap"}, {"kv.sessions", "on"},
               {"pcie.copy", "5us"}, {"replication", number}};

    for (size_t i = 0; i < COUNT(set); i++) {
        if (!set[i].value || config_args_add(&args, id, set[i].key, set[i].value, ar, e) < 0) {
            return e->code ? e->code : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
        }
    }
    for (int k = GROUPS; k <= (int)v; k++) {
        if (config_args_add(&args, id, adds[k].key, adds[k].value, ar, e) < 0) {
            return e->code;
        }
    }
    return config_resolve(c, &args, NULL, NULL, ar, e);
}

static double quantile(const struct run_result *r, const char *hist, double q)
{
    for (size_t i = 0; i < r->n_hists; i++) {
        if (strcmp(r->hists[i].name, hist) == 0) {
            return hist_quantile(r->hists[i].h, q) / 1e9;
        }
    }
    return (double)NAN;
}

static double metric(const struct run_result *r, const char *name)
{
    const struct metric *m = run_metric(r, name);

    return m ? m->value : (double)NAN;
}

static int simulate(struct repro *p, const struct setting *s, enum variant v, unsigned rep, struct tail *ret,
                    struct err *e)
{
    struct arena ar = {0};
    struct run_config c;
    struct run_result r;
    int rc = 0;

    if (p->progress && p->progress(p->progress_ctx, s->m->name)) {
        return err_set(e, SIM_E_INTR, "interrupted");
    }
    if (configure(&c, p->id, s, v, rep, &ar, e) < 0 || run_execute(&c, NULL, &r, &ar, e) < 0) {
        rc = e->code;
    } else {
        *ret = (struct tail){.ttft_p95 = quantile(&r, "ttft", 0.95), .ttft_p99 = quantile(&r, "ttft", 0.99),
                             .ttft_p999 = quantile(&r, "ttft", 0.999), .tbt_p999 = quantile(&r, "itl", 0.999),
                             .throughput = metric(&r, "output_throughput"),
                             .wait_share = metric(&r, "kv_wait_share"),
                             .tail_share = metric(&r, "kv_wait_share_p99")};
    }
    arena_release(&ar);
    return rc;
}

/* ---- gains of the whole over vLLM ---- */

struct gains {
    struct repro_estimate ttft_p95, ttft_p99, ttft_p999, tbt, throughput, tail_share;
};

static int gains_of(struct repro *p, const struct setting *s, struct gains *g, struct err *e)
{
    for (unsigned rep = 0; rep < REPETITIONS; rep++) {
        struct tail base, fast;

        if (simulate(p, s, VLLM, rep, &base, e) < 0 || simulate(p, s, ASYNC, rep, &fast, e) < 0) {
            return e->code;
        }
        repro_note(&g->ttft_p95, base.ttft_p95 / fast.ttft_p95);
        repro_note(&g->ttft_p99, base.ttft_p99 / fast.ttft_p99);
        repro_note(&g->ttft_p999, base.ttft_p999 / fast.ttft_p999);
        repro_note(&g->tbt, base.tbt_p999 / fast.tbt_p999);
        repro_note(&g->throughput, fast.throughput / base.throughput);
        repro_note(&g->tail_share, base.tail_share);
    }
    return 0;
}

static int put_gains(struct repro *p, const struct setting *s, const struct gains *g, struct err *e)
{
    const struct {
        const char *what;
        double published, lo, hi;
        const struct repro_estimate *ours;
    } row[] = {
        {"P95 TTFT, gain", (double)NAN, 1.4, 5.8, &g->ttft_p95},
        {"P99 TTFT, gain", (double)NAN, 1.4, 5.8, &g->ttft_p99},
        {"P99.9 TTFT, gain", (double)NAN, 1.4, 5.8, &g->ttft_p999},
        {"P99.9 TBT, gain", (double)NAN, 1, 11.2, &g->tbt},
        {"throughput, gain", (double)NAN, 1, 1.44, &g->throughput},
        {"vLLM's waiting in the longest 1 % of steps", 0.599, 0.599 - REPRO_POINTS, 0.599 + REPRO_POINTS,
         &g->tail_share},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        const char *name = arena_printf(&p->ar, "%s, %s, %s: %s", s->m->name, s->load->name, s->pattern,
                                        row[i].what);

        if (!name) {
            return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
        }
        if (repro_between(p, name, "1", row[i].published, row[i].lo, row[i].hi, row[i].ours, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int gains(struct repro *p, struct err *e)
{
    for (size_t i = 0; i < COUNT(machines) * COUNT(loads) * COUNT(patterns); i++) {
        struct setting s = {&machines[i / (COUNT(loads) * COUNT(patterns))],
                            &loads[i / COUNT(patterns) % COUNT(loads)], patterns[i % COUNT(patterns)]};
        struct gains g = {0};

        if (gains_of(p, &s, &g, e) < 0 || put_gains(p, &s, &g, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- ablation ---- */

static int ablation_of(struct repro *p, const struct machine *m, struct tail *mean, struct err *e)
{
    const struct setting s = {m, &loads[0], patterns[0]};

    memset(mean, 0, VARIANTS * sizeof(*mean));
    for (int v = VLLM; v < VARIANTS; v++) {
        for (unsigned rep = 0; rep < REPETITIONS; rep++) {
            struct tail t;

            if (simulate(p, &s, (enum variant)v, rep, &t, e) < 0) {
                return e->code;
            }
            mean[v].ttft_p99 += t.ttft_p99 / REPETITIONS;
            mean[v].tbt_p999 += t.tbt_p999 / REPETITIONS;
            mean[v].wait_share += t.wait_share / REPETITIONS;
        }
    }
    return 0;
}

static int put_order(struct repro *p, const struct machine *m, const char *what, const struct tail *t,
                     size_t offset, struct err *e)
{
    double value[VARIANTS];
    const char *name = arena_printf(&p->ar, "%s: %s falls with groups, with reuse, with asynchronous copies",
                                    m->name, what);

    for (int v = VLLM; v < VARIANTS; v++) {
        value[VARIANTS - 1 - v] = *(const double *)((const char *)&t[v] + offset);
    }
    return name ? repro_order(p, name, value, VARIANTS, e)
                : err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static int ablation(struct repro *p, struct err *e)
{
    for (size_t i = 0; i < COUNT(machines); i++) {
        const struct machine *m = &machines[i];
        struct tail t[VARIANTS];

        if (ablation_of(p, m, t, e) < 0 ||
            put_order(p, m, "P99 TTFT", t, offsetof(struct tail, ttft_p99), e) < 0 ||
            put_order(p, m, "P99.9 TBT", t, offsetof(struct tail, tbt_p999), e) < 0 ||
            put_order(p, m, "waiting for copies", t, offsetof(struct tail, wait_share), e) < 0) {
            return e->code;
        }
    }
    return 0;
}

const struct reproduction reproductions_fastswitch[] = {
    {"fastswitch-tails", "FastSwitch (2411.18424)", "tails against vLLM under changing priorities", gains},
    {"fastswitch-ablation", "FastSwitch (2411.18424)", "block groups, reuse, asynchronous copies, one by one",
     ablation},
    {NULL, NULL, NULL, NULL},
};
