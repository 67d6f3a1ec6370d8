/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard-probe: the command line, and the walk over the cases. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "calibrate/probe/args.h"
#include "calibrate/probe/gpu.cuh"
#include "calibrate/probe/replay.cuh"

static volatile sig_atomic_t interrupted;

static void on_signal(int)
{
    interrupted = 1;
}

bool probe_interrupted(void)
{
    return interrupted != 0;
}

static const struct {
    const char *kind;
    case_run *run;
} families[] = {
    {"limit", run_limit},   {"gemm", run_gemm},     {"moe_gemm", run_moe},       {"launch", run_launch},
    {"memory", run_memory}, {"prefill", run_prefill}, {"decode", run_decode},    {"mixed", run_mixed},
    {"norm", run_norm},     {"rope", run_rope},     {"act", run_act},            {"embed", run_embed},
    {"argmax", run_argmax}, {"topk", run_topk},     {"pcie", run_pcie},          {"blocks", run_blocks},
    {"expert_load", run_experts}, {"peer", run_peer}, {"collective", run_collective}, {"share", run_share},
    {"beside", run_beside},
};

static case_run *family_of(const char *kind)
{
    for (const auto &f : families) {
        if (strcmp(f.kind, kind) == 0) {
            return f.run;
        }
    }
    return nullptr;
}

const char *utc_now(char buf[32])
{
    time_t t = time(NULL);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}

/* ---- progress ---- */

struct progress {
    bool on;
    double begin_s, last_s;
    size_t todo, done; /* cases to be measured by this run */
};

static void show_progress(struct progress *p, const char *id)
{
    double t = now_s(), left;

    if (!p->on || (t - p->last_s < 0.2 && p->done > 0)) {
        return;
    }
    p->last_s = t;
    left = p->done > 0 ? (t - p->begin_s) / (double)p->done * (double)(p->todo - p->done) : 0;
    fprintf(stderr, "\r\033[K%zu/%zu", p->done, p->todo);
    if (p->done > 0) {
        fprintf(stderr, "  %d:%02d left", (int)left / 60, (int)left % 60);
    }
    fprintf(stderr, "  %.60s", id);
    fflush(stderr);
}

static void end_progress(const struct progress *p)
{
    if (p->on) {
        fputs("\r\033[K", stderr);
    }
}

/* ---- measuring ---- */

static int save(const struct store *s, bool complete, struct err *e)
{
    struct json_out text = {};
    char now[32];
    int rc = 0;

    store_write(s, complete, utc_now(now), &text);
    if (text.failed) {
        rc = err_set(e, SIM_E_NOMEM, "out of memory for the results");
    } else if (s->path) {
        rc = file_replace(s->path, text.text, text.n, e);
    } else if (fwrite(text.text, 1, text.n, stdout) != text.n || fflush(stdout) != 0) {
        rc = err_set(e, SIM_E_IO, "standard output: %s", strerror(errno));
    }
    json_out_release(&text);
    return rc;
}

static int run_case(struct gpu *g, struct store *s, size_t i, struct err *e)
{
    struct measurement m = {};
    const struct probe_case *c = &s->list->cases[i];
    int rc;

    slab_reset(g);
    rc = family_of(c->kind)(g, c, &m, e);
    if (rc < 0) {
        err_wrap(e, "%s", c->id);
        return rc;
    }
    store_put(s, i, rc == CASE_DONE ? OUTCOME_MEASURED : rc == CASE_SKIP ? OUTCOME_SKIPPED : OUTCOME_WRONG, &m);
    return 0;
}

static int measure_all(struct gpu *g, struct store *s, bool quiet, struct err *e)
{
    struct progress p = {!quiet && isatty(STDERR_FILENO), now_s(), 0, 0, 0};
    double saved_s = now_s();
    int rc = 0;

    for (size_t i = 0; i < s->list->n; i++) {
        p.todo += !s->entries[i].known;
    }
    for (size_t i = 0; i < s->list->n && rc == 0 && !interrupted; i++) {
        if (s->entries[i].known) {
            continue;
        }
        show_progress(&p, s->list->cases[i].id);
        rc = run_case(g, s, i, e);
        p.done++;
        if (rc == 0 && s->path && now_s() - saved_s > 2) {
            rc = save(s, false, e);
            saved_s = now_s();
        }
    }
    end_progress(&p);
    return rc == 0 && interrupted ? err_set(e, SIM_E_INTR, "interrupted") : rc;
}

/* What was wrong or left out, on stderr; the number of wrong ones. */
static size_t tell(const struct store *s)
{
    size_t n_measured = 0, n_skipped = 0, n_wrong = 0;

    for (size_t i = 0; i < s->list->n; i++) {
        const struct store_entry *x = &s->entries[i];

        n_measured += x->known && x->outcome == OUTCOME_MEASURED;
        n_skipped += x->known && x->outcome == OUTCOME_SKIPPED;
        n_wrong += x->known && x->outcome == OUTCOME_WRONG;
        if (x->known && x->outcome != OUTCOME_MEASURED) {
            fprintf(stderr, "%s: %s: %s\n", x->outcome == OUTCOME_WRONG ? "WRONG" : "skipped", x->c->id, x->m.why);
        }
    }
    fprintf(stderr, "%zu measured, %zu skipped, %zu wrong\n", n_measured, n_skipped, n_wrong);
    return n_wrong;
}

static int measure(const struct probe_args *a, struct gpu *g, struct store *s, struct err *e)
{
    char uuid[48], started[32];
    int rc, saved;

    s->path = a->out;
    s->mode = a->quick ? "quick" : "full";
    s->started = utc_now(started);
    TRY(gpu_describe(g, &s->head, e));
    if (a->go_on) {
        TRY(store_continue(s, a->out, gpu_uuid(g, uuid), e));
    }
    if (s->path) {
        TRY(save(s, false, e)); /* a path that cannot be written shows now, not after a quarter of an hour */
    }
    rc = measure_all(g, s, a->quiet, e);
    struct err late = {};
    saved = save(s, rc == 0, rc < 0 ? &late : e); /* what there is is kept, whatever ended the run */
    s->started = NULL;
    if (gpu_count() < 2) {
        fputs("one GPU: copies between GPUs and collectives are left out\n", stderr);
    }
    return tell(s) > 0 && rc == 0 && saved == 0 ? err_set(e, SIM_E_GOAL, "some results were wrong") : rc < 0 ? rc : saved;
}

static int list_cases(const struct case_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        puts(l->cases[i].id);
    }
    return 0;
}

static int with_gpu(const struct probe_args *a, int argc, char **argv, struct err *e)
{
    struct gpu g = {};
    struct case_list list = {};
    struct store store = {};
    int rc = gpu_open(&g, a->device, a->quick, false, e);

    if (rc == 0) {
        rc = cases_build(&list, a->quick, a->only, gpu_count(), e);
        rc = rc == 0 ? probe_store_init(&store, &list, e) : rc;
        store.argc = argc;
        store.argv = argv;
        rc = rc == 0 ? measure(a, &g, &store, e) : rc;
    }
    probe_store_release(&store);
    cases_release(&list);
    gpu_close(&g);
    return rc;
}

static int run(const struct probe_args *a, int argc, char **argv, struct err *e)
{
    if (a->help) {
        fputs(probe_usage, stdout);
        return 0;
    }
    if (a->version) {
        puts("steelyard-probe " PROBE_VERSION);
        return 0;
    }
    if (a->list) {
        struct case_list list;
        int gpus = gpu_count(), rc = cases_build(&list, a->quick, a->only, gpus, e);

        rc = rc == 0 ? list_cases(&list) : rc;
        cases_release(&list);
        return rc;
    }
    return a->replay ? replay_plan(a, argc, argv, e) : with_gpu(a, argc, argv, e);
}

int main(int argc, char **argv)
{
    struct probe_args a;
    struct err e = {};
    struct sigaction action = {};
    int rc = probe_args_parse(&a, argc, argv, &e);

    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    rc = rc == 0 ? run(&a, argc, argv, &e) : rc;
    if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
        rc = err_set(&e, SIM_E_IO, "standard output: %s", strerror(errno));
    }
    if (rc != 0) {
        fprintf(stderr, "steelyard-probe: %s\n", e.msg);
    }
    return rc > 0 ? rc : err_exit_status(rc);
}
