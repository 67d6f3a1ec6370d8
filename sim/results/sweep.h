/* SPDX-License-Identifier: Apache-2.0
 *
 * Many runs on a few threads. Each run has an arena of its own; the caller's thread alone receives
 * results, in order of job number, whatever order the threads finish in. */
#ifndef STEELYARD_RESULTS_SWEEP_H
#define STEELYARD_RESULTS_SWEEP_H

#include "sim/results/db.h"
#include "sim/run.h"

/* run_execute, or what a test puts in its place. */
typedef int sweep_execute_fn(const struct run_config *c, const struct run_hooks *h,
                             struct run_result *ret, struct arena *a, struct err *e);

struct sweep_done {
    size_t job;
    const struct run_result *result; /* NULL when the run failed; borrowed until the call returns */
    const struct err *error;
    const struct request_list *requests; /* empty unless sweep_ops.requests */
    double wall_s;
};

struct sweep_ops {
    sweep_execute_fn *execute;
    /* Configuration of a job, valid until the job is done; called from any thread, one at a time. */
    const struct run_config *(*config)(void *ctx, size_t job);
    /* One job is through, in order of job number. < 0 ends the sweep with that code. */
    int (*done)(void *ctx, const struct sweep_done *d, struct err *e);
    /* About five times a second: share of all work done so far. */
    void (*tick)(void *ctx, double share, size_t n_done);
    void *ctx;
    bool requests;            /* collect one row per request */
    const volatile int *stop; /* becomes nonzero: begin nothing more, end what runs */
};

/* Run jobs 0..n-1 on `threads` threads. 0 when all were run (also when some failed: done() was told),
 * SIM_E_INTR when *stop ended it; whole runs were then still handed to done(). */
int sweep_run(const struct sweep_ops *ops, size_t n, unsigned threads, struct err *e);

#endif
