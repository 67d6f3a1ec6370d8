/* SPDX-License-Identifier: Apache-2.0
 *
 * ExpertFlow (arXiv 2410.17954): Switch-Base on an A40 whose experts follow the predicted routing path. Sequences
 * of 30 tokens (a sentence of WMT16), 16 new ones each and 20 batches, as the authors' release runs it. */
#include <math.h>

#include "models/llm.h"
#include "sim/cli/cli.h"
#include "sim/cli/reproduce/reproduce.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Put in: a step of 16 sequences without what it waits for, a constant as in any eager engine that launching
 * paces, so that Switch-32 makes table 2's 854.19 tokens a second without the token scheduler. */
#define STEP "linear{set=custom,decode_a=16.8,prefill_a=16.8,prefill_b=0}"
/* Put in: share of each token's choices that are named rightly. Of the different experts of a batch 90 % are
 * named then, which is the paper's measure of accuracy (4.3.3). */
#define RECALL "recall=0.86"

#define RUNS 6
static const char *const replication[RUNS] = {"0", "1", "2", "3", "4", "5"};

struct setting {
    const char *model;
    double experts; /* of a layer */
    double slots;   /* of a layer, on the average */
    int batch;
    const char *evict, *prefetch, *global;
};

struct numbers {
    struct repro_estimate hits, named, tok_s;
};

static int one(struct repro *p, const struct setting *s, const char *rep, struct numbers *ret, struct err *e)
{
    struct arena ar = {0};
    struct run_result r;
    const struct repro_key key[] = {
        {"trace", arena_printf(&ar, "synth:uniform{rates=1000,requests=%d,prompt=30,output=16}", 20 * s->batch)},
        {"model", s->model},
        {"gpu", "a40"},
        {"cost", STEP},
        {"policy", "fcfs"},
        {"batcher", arena_printf(&ar, "static{batch_size=%d}", s->batch)},
        {"kv.tokens", "200000"},
        {"executor", "layers"},
        {"experts.rate", arena_printf(&ar, "%.12g", s->slots / s->experts)},
        {"experts.global", s->global},
        {"experts.evict", s->evict},
        {"experts.prefetch", s->prefetch},
        {"replication", rep},
    };
    int rc = repro_run(p, key, COUNT(key), &r, &ar, e);

    if (rc == 0) {
        repro_note(&ret->hits, 100 * repro_metric(&r, "expert_decode_hit_rate"));
        repro_note(&ret->named, 100 * repro_metric(&r, "prefetch_recall"));
        repro_note(&ret->tok_s, repro_metric(&r, "output_throughput"));
    }
    arena_release(&ar);
    return rc;
}

static int simulate(struct repro *p, const struct setting *s, size_t runs, struct numbers *ret, struct err *e)
{
    int rc = 0;

    *ret = (struct numbers){0};
    for (size_t i = 0; i < runs && rc == 0; i++) {
        rc = one(p, s, replication[i], ret, e);
    }
    return rc;
}

/* ---- figure 10: hit ratios on Switch-32 ---- */

#define PLEC "plec{" RECALL "}"
static const struct setting lru = {"switch-base-32", 32, 16, 4, "lru", "none", "off"};
static const struct setting plec = {"switch-base-32", 32, 16, 4, "plec", PLEC, "on"};

static int hit_row(struct repro *p, const char *row, const struct setting *of, int batch, double slots, double published,
                   struct err *e)
{
    struct setting s = *of;
    struct numbers n;

    s.batch = batch;
    s.slots = slots;
    return simulate(p, &s, RUNS, &n, e) < 0 ? e->code
                                            : repro_between(p, row, "%", published, published - 5, published + 5, &n.hits, e);
}

static int hits(struct repro *p, struct err *e)
{
    return hit_row(p, "LRU, batch 4 (put in)", &lru, 4, 16, 76.61, e) < 0 ||
                   hit_row(p, "LRU, batch 16", &lru, 16, 16, 58.37, e) < 0 ||
                   hit_row(p, "PLEC, batch 4", &plec, 4, 16, 91.90, e) < 0 ||
                   hit_row(p, "PLEC, batch 16", &plec, 16, 16, 85.91, e) < 0
               ? e->code
               : 0;
}

static int eight_slots(struct repro *p, struct err *e)
{
    struct setting s = plec;
    struct numbers n;

    s.batch = 16;
    return hit_row(p, "LRU, batch 16, 8 slots", &lru, 16, 8, 36.22, e) < 0 ||
                   hit_row(p, "PLEC, batch 16, 8 slots", &plec, 16, 8, 71.89, e) < 0 ||
                   simulate(p, &s, RUNS, &n, e) < 0 ||
                   repro_between(p, "experts of a batch named, batch 16 (put in)", "%", 90, 89, 91.5, &n.named, e) < 0
               ? e->code
               : 0;
}

/* ---- table 2: the token scheduler, two batches of 16 ---- */

#define HALVES(x) "plec{" RECALL ",halves=" x "}"
#define TS_RUNS 3

struct scheduled {
    const char *label, *model;
    double experts, came, routes; /* published, tokens a second */
};
static const struct scheduled scheduled[] = {
    {"Switch-32", "switch-base-32", 32, 854.19, 881.91},
    {"Switch-64", "switch-base-64", 64, 680.72, 788.30},
    {"Switch-128", "switch-base-128", 128, 628.36, 735.35},
};

static int scheduler_rows(struct repro *p, const struct scheduled *m, struct err *e)
{
    struct setting s = {m->model, m->experts, 16, 32, "plec", HALVES("on"), "on"};
    struct numbers came, routes;
    struct repro_estimate gain = {0};
    const char *row = arena_printf(&p->ar, "%s, as they came%s", m->label, m == scheduled ? " (put in)" : "");
    const char *gained = arena_printf(&p->ar, "%s, gain of the token scheduler", m->label);
    double published = 100 * (m->routes / m->came - 1);

    if (!row || !gained) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    if (simulate(p, &s, TS_RUNS, &came, e) < 0) {
        return e->code;
    }
    s.prefetch = HALVES("routes");
    if (simulate(p, &s, TS_RUNS, &routes, e) < 0) {
        return e->code;
    }
    repro_note(&gain, 100 * (repro_mean(&routes.tok_s) / repro_mean(&came.tok_s) - 1));
    return repro_value(p, row, "tok/s", m->came, &came.tok_s, 0.15, e) < 0 ||
                   repro_between(p, gained, "%", published, published - 5, published + 5, &gain, e) < 0
               ? e->code
               : 0;
}

static int scheduler(struct repro *p, struct err *e)
{
    for (size_t i = 0; i < COUNT(scheduled); i++) {
        if (scheduler_rows(p, &scheduled[i], e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- section 4.2.2: over SE-MoE, which keeps two layers and fetches whole ones ahead; batches of 32 ---- */

#define SWITCH_LAYERS 6 /* MoE layers of the decoder */

static int speed_row(struct repro *p, const struct scheduled *m, double slots, double published, struct err *e)
{
    struct setting flow = {m->model, m->experts, slots, 32, "plec", HALVES("routes"), "on"};
    struct setting se = {m->model, m->experts, 2 * m->experts / SWITCH_LAYERS, 32, "lru", "all", "on"};
    const char *row = arena_printf(&p->ar, "%s, %g slots, over SE-MoE", m->label, slots);
    struct numbers n, with;

    if (!row) {
        return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
    }
    return simulate(p, &flow, 1, &n, e) < 0 || simulate(p, &se, 1, &with, e) < 0 ||
                   repro_number(p, row, "1", published, repro_mean(&n.tok_s) / repro_mean(&with.tok_s), REPRO_TOL_GAIN,
                                e) < 0
               ? e->code
               : 0;
}

static int speed(struct repro *p, struct err *e)
{
    return speed_row(p, &scheduled[0], 16, 2.01, e) < 0 || speed_row(p, &scheduled[1], 16, 3.19, e) < 0 ||
                   speed_row(p, &scheduled[2], 16, 5.86, e) < 0 || speed_row(p, &scheduled[2], 4, 9.99, e) < 0
               ? e->code
               : 0;
}

/* ---- figure 8: memory, with the smallest of the paper's caches ---- */

#define SMALLEST 4

static int memory_row(struct repro *p, const char *name, double all_gb, double flow_gb, struct err *e)
{
    struct repro_estimate saved = {0};
    struct llm_shape m;
    double published = 100 * (1 - flow_gb / all_gb);

    if (llm_load(&m, name, steelyard_data_dir(NULL, &p->ar), NULL, NULL, &p->ar, e) < 0) {
        return e->code;
    }
    double routed = llm_routed_experts(&m) * llm_layer(&m).expert * dtype_bytes(m.weight_dtype);

    repro_note(&saved, 100 * routed * (1 - (double)SMALLEST / m.experts) / llm_weight_bytes(&m));
    return repro_between(p, name, "%", published, published - 5, published + 5, &saved, e);
}

static int memory(struct repro *p, struct err *e)
{
    return memory_row(p, "switch-base-128", 15.26, 1.03, e) < 0 || memory_row(p, "deepseek-moe-16b", 31.35, 6.38, e) < 0 ||
                   memory_row(p, "qwen1.5-moe-a2.7b", 35.21, 6.52, e) < 0
               ? e->code
               : 0;
}

const struct reproduction reproductions_expertflow[] = {
    {"expertflow-hits", "ExpertFlow, arXiv 2410.17954", "figure 10: hit ratios on Switch-32 with 16 slots a layer", hits},
    {"expertflow-hits-8", "ExpertFlow, arXiv 2410.17954", "hit ratios with 8 slots; the predictor's accuracy", eight_slots},
    {"expertflow-scheduler", "ExpertFlow, arXiv 2410.17954", "table 2: tokens a second without and with the token scheduler",
     scheduler},
    {"expertflow-speed", "ExpertFlow, arXiv 2410.17954", "speed over SE-MoE", speed},
    {"expertflow-memory", "ExpertFlow, arXiv 2410.17954", "figure 8: memory saved over all in the GPU", memory},
    {NULL, NULL, NULL, NULL},
};
