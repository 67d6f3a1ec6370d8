/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/reproduce/jitserve_run.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define MOST      (1 << 14) /* programs of a run */
#define DEADLINES 10        /* in its scripts TTLT is ten times TTFT: (0.8, 0.08, 8) s */

/* As the artifact runs them: 32 sequences, prompts in chunks of what is left of 512 tokens but for
 * vLLM; penalty 100 as in its scripts. vllm-v1 is the batcher that lets a policy push running
 * requests out. */
#define CHUNKED "vllm-v1{max_num_seqs=32,max_num_batched_tokens=512}"
#define JIT     "jitserve{batch=32,penalty=100"

/* Without GMAX: shortest predicted first, as LTR is in the artifact and "Concord+SJF" in its early
 * tables. */
static const struct system {
    const char *policy, *batcher;
} systems[JIT_SYSTEMS] = {
    [JIT_ORACLE] = {JIT ",predictor=oracle}", CHUNKED},
    [JIT_SERVE] = {JIT "}", CHUNKED},
    [JIT_NO_ANALYSER] = {JIT ",predictor=constant,stages=off}", CHUNKED},
    [JIT_SJF] = {"ltr{predictor=quantile}", CHUNKED},
    [JIT_SARATHI] = {"fcfs", "sarathi{max_num_seqs=32,chunk_size=512}"},
    [JIT_VLLM] = {"fcfs", "vllm-v0{max_num_seqs=32,chunked_prefill=off,max_model_len=8192}"},
    [JIT_AUTELLIX] = {"autellix", CHUNKED},
    [JIT_EDF] = {"edf", CHUNKED},
    [JIT_NO_GROUPS] = {JIT ",select=priority}", CHUNKED},
    [JIT_DUE_FIRST] = {JIT ",select=deadline}", CHUNKED},
    [JIT_NO_PREEMPTION] = {JIT ",displaced=0}", CHUNKED},
    [JIT_NO_SHEDDING] = {JIT ",wait_limit=1000000}", CHUNKED},
};

const char *const jit_system_names[JIT_SYSTEMS] = {
    [JIT_ORACLE] = "oracle",
    [JIT_SERVE] = "JITServe",
    [JIT_NO_ANALYSER] = "without analyser",
    [JIT_SJF] = "LTR",
    [JIT_SARATHI] = "Sarathi",
    [JIT_VLLM] = "vLLM",
    [JIT_AUTELLIX] = "Autellix",
    [JIT_EDF] = "EDF",
    [JIT_NO_GROUPS] = "without groups",
    [JIT_DUE_FIRST] = "due first",
    [JIT_NO_PREEMPTION] = "without preemption",
    [JIT_NO_SHEDDING] = "without shedding",
};

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- one run ---- */

struct program {
    sim_ns from_ns, to_ns;
    float limit_ms;
    uint32_t calls;
    bool failed;
};

struct tally {
    double n, good;          /* requests of the latency and the deadline class */
    struct program *program; /* by session */
};

static bool latency_is_good(const struct request_row *r)
{
    double took_ms = (double)(r->finish_ns - r->arrival_ns) * 1e-6;

    return r->met_goals ||
           (r->status == REQUEST_OK && took_ms <= DEADLINES * (double)r->ttft_slo_ms);
}

static void count_call(struct program *p, const struct request_row *r)
{
    p->from_ns = p->calls == 0 || r->arrival_ns < p->from_ns ? r->arrival_ns : p->from_ns;
    p->calls++;
    p->failed |= r->status != REQUEST_OK;
    p->to_ns = r->status == REQUEST_OK && r->finish_ns > p->to_ns ? r->finish_ns : p->to_ns;
    p->limit_ms = r->e2e_slo_ms;
}

static int on_request(void *ctx, const struct request_row *r, struct err *e)
{
    struct tally *t = ctx;

    if (r->slo_class == SLO_COMPOUND && r->session >= MOST) {
        return err_set(e, SIM_E_CONFIG, "more programs than a reproduction counts");
    }
    if (r->slo_class == SLO_COMPOUND) {
        count_call(&t->program[r->session], r);
        return 0;
    }
    t->n++;
    t->good += r->slo_class == SLO_LATENCY ? latency_is_good(r) : r->met_goals;
    return 0;
}

static double good_calls(const struct tally *t)
{
    double good = t->good;

    for (size_t i = 0; i < MOST; i++) {
        const struct program *p = &t->program[i];
        double took_ms = (double)(p->to_ns - p->from_ns) * 1e-6;

        good += !p->failed && took_ms <= (double)p->limit_ms ? p->calls : 0;
    }
    return good;
}

static const char *load_text(const struct jit_load *l, struct arena *ar)
{
    return arena_printf(ar, "synth:jitserve-mix{programs=0,duration=%d,rate=%.9g%s%s}", l->seconds,
                        l->rate, l->mix ? ",mix=" : "", l->mix ? l->mix : "");
}

static int execute(struct repro *p, enum jit_system s, const struct jit_load *l, unsigned run,
                   struct tally *tally, struct run_result *ret, struct arena *ar, struct err *e)
{
    const char *trace = load_text(l, ar), *number = arena_printf(ar, "%u", run);
    const struct repro_key key[] = {
        {"model", "llama-3.1-8b"},        {"gpu", "a100-80g"},
        {"engine.step_overhead", "11ms"}, {"load.sessions", "on"},
        {"slo.tokens", "artifact"},       {"trace", trace},
        {"policy", systems[s].policy},    {"batcher", systems[s].batcher},
        {"replication", number}};
    struct run_hooks hooks = {.request = on_request, .ctx = tally};

    *tally = (struct tally){.program = arena_calloc(ar, MOST, sizeof(*tally->program))};
    if (!trace || !number || !tally->program) {
        return no_memory(e);
    }
    int rc = repro_run_hooked(p, key, COUNT(key), &hooks, ret, ar, e);
    return rc < 0 ? err_wrap(e, "%s: ", jit_system_names[s]) : 0;
}

static int run_once(struct repro *p, enum jit_system s, const struct jit_load *l, unsigned run,
                    struct jit_point *ret, struct arena *ar, struct err *e)
{
    struct tally tally;
    struct run_result result;

    if (execute(p, s, l, run, &tally, &result, ar, e) < 0) {
        return e->code;
    }
    ret->v[JIT_REQUESTS][run] = good_calls(&tally) / repro_metric(&result, "duration");
    ret->v[JIT_TOKENS][run] = repro_metric(&result, "slo_token_goodput");
    ret->v[JIT_PAPER][run] = repro_metric(&result, "slo_request_goodput");
    ret->v[JIT_THROUGHPUT][run] = repro_metric(&result, "request_throughput");
    return 0;
}

int jit_run(struct repro *p, enum jit_system s, const struct jit_load *l, struct jit_point *ret,
            struct err *e)
{
    for (unsigned run = 0; run < JIT_RUNS; run++) {
        struct arena ar = {0};
        int rc = run_once(p, s, l, run, ret, &ar, e);

        arena_release(&ar);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

struct repro_estimate jit_estimate(const struct jit_point *a, enum jit_quantity q)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < JIT_RUNS; i++) {
        repro_note(&v, a->v[q][i]);
    }
    return v;
}

struct repro_estimate jit_ratio(const struct jit_point *a, const struct jit_point *b,
                                enum jit_quantity q)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < JIT_RUNS; i++) {
        repro_note(&v, a->v[q][i] / b->v[q][i]);
    }
    return v;
}

double jit_mean(const struct jit_point *a, enum jit_quantity q)
{
    struct repro_estimate v = jit_estimate(a, q);

    return repro_mean(&v);
}

#define BACKLOG_RATE 50.0
#define BACKLOG_S    80

static double programs_of(const struct tally *t)
{
    double n = t->n;

    for (size_t i = 0; i < MOST; i++) {
        n += t->program[i].calls > 0;
    }
    return n;
}

int jit_capacity(struct repro *p, const char *mix, double *ret, struct err *e)
{
    struct arena ar = {0};
    struct tally tally;
    struct run_result result;
    const struct jit_load load = {BACKLOG_RATE, mix, BACKLOG_S};
    int rc = execute(p, JIT_SARATHI, &load, 0, &tally, &result, &ar, e);

    if (rc == 0) {
        *ret = programs_of(&tally) / repro_metric(&result, "duration");
    }
    arena_release(&ar);
    return rc;
}
