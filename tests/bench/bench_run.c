/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests a second of CPU time: a run that jumps, the same run walking every step, and reading the
 * trace alone, which is the most that any run could reach. One million requests (or BENCH_REQUESTS in
 * the environment) of the Azure conversation trace where the shared data are there, else of its
 * generator; first come, first served on vLLM V1 with KV blocks and chunked prefill; Llama-3.1-8B on an
 * A100 by the roofline, at 50 % of the estimated capacity. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sim/run.h"
#include "sim/workload.h"
#include "traces/write.h"

#define LOAD    0.5
#define PROBE_N 3000

struct bench {
    char path[64];
    struct run_config c;
    struct arena arena;
    struct err e;
    uint64_t n;
};

struct timing {
    double read_s, jump_s, walk_s;
    struct run_result jump, walk;
};

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *source(struct bench *b)
{
    const char *shared = getenv("STEELYARD_SHARED");
    const char *path = shared ? arena_printf(&b->arena, "%s/data/traces/azure2023_conv.csv.gz", shared)
                              : NULL;

    return path && access(path, R_OK) == 0 ? path : "synth:azure-conv{requests=20000}";
}

/* The source again and again, into one packed file. */
static int pack(struct bench *b)
{
    struct workload w;
    struct trace_writer *out = NULL;
    struct arrival a;
    struct run_config c = b->c;
    int rc;

    c.trace = source(b);
    c.trace_repeat = (int64_t)b->n;
    rc = workload_open(&w, &c, &b->arena, &b->e);
    rc = rc < 0 ? rc : trace_writer_open(&out, b->path, TRACE_PACKED, w.trace, &b->e);
    for (uint64_t i = 0; rc >= 0 && i < b->n; i++) {
        rc = workload_next(&w, &a, &b->e);
        rc = rc < 0 ? rc : trace_writer_put(out, &a, &b->e);
    }
    rc = out && trace_writer_close(out, &b->e) < 0 ? b->e.code : rc;
    workload_close(&w);
    return rc < 0 ? rc : 0;
}

static int read_only(struct bench *b, double *ret_s)
{
    struct trace *t;
    struct arrival a;
    uint64_t sum = 0;
    double start = cpu_s();
    int rc = trace_open(&t, b->path, "auto", 0, 0, &b->e);

    if (rc < 0) {
        return rc;
    }
    while ((rc = trace_next(t, &a, &b->e)) > 0) {
        sum += a.prompt_tok + a.output_tok;
    }
    trace_close(t);
    *ret_s = cpu_s() - start;
    return rc < 0 ? rc : sum > 0 ? 0 : SIM_E_DATA;
}

static double value(const struct run_result *r, const char *name)
{
    const struct metric *m = run_metric(r, name);

    return m ? m->value : (double)NAN;
}

/* Scale the arrivals so that LOAD of the estimated capacity is asked for. */
static int find_scale(struct bench *b)
{
    struct run_config c = b->c;
    struct run_result r;

    c.trace_limit = PROBE_N;
    if (run_execute(&c, NULL, &r, &b->arena, &b->e) < 0) {
        return b->e.code;
    }
    b->c.load_scale = LOAD / value(&r, "offered_load");
    return isfinite(b->c.load_scale) ? 0 : err_set(&b->e, SIM_E_CHECK, "no capacity estimate");
}

static int timed_run(struct bench *b, bool skip, struct run_result *r, double *ret_s)
{
    struct run_config c = b->c;
    double start = cpu_s();

    c.skip = skip;
    if (run_execute(&c, NULL, r, &b->arena, &b->e) < 0) {
        return b->e.code;
    }
    *ret_s = cpu_s() - start;
    return 0;
}

static void print_row(const char *what, const struct bench *b, double s, uint64_t steps)
{
    printf("%-22s %8.2f s  %10.0f requests/s  %6.0f ns/request", what, s, (double)b->n / s,
           s / (double)b->n * 1e9);
    if (steps) {
        printf("  %9.2f M boundaries  %5.0f ns each", (double)steps / 1e6, s / (double)steps * 1e9);
    }
    printf("\n");
}

static void report(const struct bench *b, const struct timing *t)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    printf("%" PRIu64 " requests at %.0f %% of capacity (load.scale %.3f), %s\n", b->n,
           100 * value(&t->jump, "offered_load"), b->c.load_scale, t->jump.verdict_text);
    print_row("read packed", b, t->read_s, 0);
    print_row("run, jumping", b, t->jump_s, t->jump.boundaries);
    print_row("run, every step", b, t->walk_s, t->walk.boundaries);
    printf("jumping is %.1f times as fast as walking, and takes %.1f times as long as reading\n",
           t->walk_s / t->jump_s, t->jump_s / t->read_s);
    printf("peak memory %.1f MiB (with the mapped trace, %.1f MiB)\n", (double)u.ru_maxrss / 1024,
           (double)b->n * 32 / 1048576);
    printf("{\"bench\":\"run\",\"requests\":%" PRIu64 ",\"read_req_per_s\":%.0f,\"jump_req_per_s\":%.0f,"
           "\"walk_req_per_s\":%.0f,\"jump_over_walk\":%.3f,\"jump_over_read\":%.4f,"
           "\"iterations\":%" PRIu64 ",\"boundaries\":%" PRIu64 ",\"max_rss_kib\":%ld}\n",
           b->n, (double)b->n / t->read_s, (double)b->n / t->jump_s, (double)b->n / t->walk_s,
           t->walk_s / t->jump_s, t->read_s / t->jump_s, t->jump.iterations, t->jump.boundaries,
           u.ru_maxrss);
}

static int same(const struct bench *b, const struct timing *t)
{
    (void)b;
    for (size_t i = 0; i < t->jump.n_metrics; i++) {
        double x = t->jump.metrics[i].value, y = t->walk.metrics[i].value;

        if (memcmp(&x, &y, sizeof(x)) != 0 && !(isnan(x) && isnan(y))) {
            fprintf(stderr, "jumping and walking differ: %s %.17g and %.17g\n", t->jump.metrics[i].name, x, y);
            return 1;
        }
    }
    return 0;
}

int main(void)
{
    struct bench b = {.path = "/tmp/steelyard-bench-XXXXXX"};
    struct timing t = {0};
    const char *n = getenv("BENCH_REQUESTS");
    int fd = mkstemp(b.path), bad;

    b.n = n ? strtoull(n, NULL, 10) : 1000000;
    bad = fd < 0 || opt_defaults(run_options, &b.c, &b.arena, &b.e) < 0;
    b.c.model = "llama-3.1-8b";
    b.c.gpu = "a100-80g";
    b.c.trace_format = "auto";
    bad = bad || pack(&b) < 0;
    b.c.trace = b.path;
    bad = bad || find_scale(&b) < 0 || read_only(&b, &t.read_s) < 0 ||
          timed_run(&b, true, &t.jump, &t.jump_s) < 0 || timed_run(&b, false, &t.walk, &t.walk_s) < 0;
    if (bad) {
        fprintf(stderr, "%s\n", b.e.msg);
    } else {
        report(&b, &t);
        bad = same(&b, &t);
    }
    unlink(b.path);
    arena_release(&b.arena);
    return bad;
}
