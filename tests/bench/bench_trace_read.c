/* SPDX-License-Identifier: Apache-2.0
 *
 * Nanoseconds of processor time a request for each way to get a million requests: packed (the yardstick of a run), native
 * CSV, gzip, generated. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "traces/write.h"

#define SPEC "synth:poisson{rates=100,requests=1000000,clients=16,prompt=1..2000,output=1..500}"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int read_trace(const char *what, const char *path)
{
    struct trace *t;
    struct arrival a;
    struct err e = {0};
    uint64_t n = 0, tok = 0;
    double start = now_s();
    int rc = trace_open(&t, path, NULL, 1, 0, &e);
    while (rc == 0 && (rc = trace_next(t, &a, &e)) == 1) {
        n++;
        tok += a.prompt_tok + a.output_tok;
        rc = 0;
        if (n == 1000000) {
            break;
        }
    }
    double seconds = now_s() - start;
    trace_close(t);
    if (rc < 0) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    printf("%-12s %8.2f M requests/s  %7.2f ns each  (%llu tokens)\n", what, (double)n / seconds * 1e-6,
           seconds / (double)n * 1e9, (unsigned long long)tok);
    return 0;
}

static int write_trace(const char *path)
{
    struct trace *t;
    struct err e = {0};
    int rc = trace_open(&t, SPEC, NULL, 1, 0, &e);
    if (rc == 0) {
        rc = trace_write(t, path, trace_form_of_path(path), NULL, &e);
    }
    trace_close(t);
    if (rc < 0) {
        fprintf(stderr, "%s\n", e.msg);
    }
    return rc;
}

int main(void)
{
    char dir[] = "/tmp/steelyard_bench_XXXXXX", path[128];
    static const char *const names[] = {"x.packed", "x.csv", "x.csv.gz"};
    int bad = !mkdtemp(dir);
    for (int i = 0; i < 3 && !bad; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        bad = write_trace(path) < 0;
        for (int round = 0; round < 3 && !bad; round++) {
            bad = read_trace(names[i], path);
        }
        unlink(path);
    }
    rmdir(dir);
    return bad || read_trace("generated", SPEC);
}
