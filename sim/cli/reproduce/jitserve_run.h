/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe (arXiv 2504.20068, NSDI'26) and what it is compared with, on Llama-3.1-8B. Numbers are
 * those that third-party notes on the paper and the artifact's plotting code give
 * (UIUC-MLSys/JITServe a94f40dd); the paper's text was not at hand.
 *
 * One machine for all: an A100 by roofline, 32 sequences, 512 tokens a step, and 11 ms of host time
 * a step, with which a token takes 21.4 ms at 16 sequences (22 ms measured: artifact's plotting
 * code, RPS 2.3, batch 16). Loads are as its scripts send them (synth:jitserve-mix).
 *
 * Request goodput is counted as the artifact does (benchmark_scheduler.py, calculate_metrics):
 * calls of a compound program one by one, and a request of the latency class also if its whole
 * answer is within the deadline of the other classes. The paper's own definition (a program is one,
 * TTFT and every TBT) is a quantity of its own. Token goodput: 1 per prompt token, 8 per output
 * token. */
#ifndef STEELYARD_REPRODUCE_JITSERVE_RUN_H
#define STEELYARD_REPRODUCE_JITSERVE_RUN_H

#include "sim/cli/reproduce/reproduce.h"

enum jit_system {
    JIT_ORACLE,
    JIT_SERVE,
    JIT_NO_ANALYSER,
    JIT_SJF,
    JIT_SARATHI,
    JIT_VLLM,
    JIT_AUTELLIX,
    JIT_EDF,
    JIT_NO_GROUPS,
    JIT_DUE_FIRST,
    JIT_NO_PREEMPTION,
    JIT_NO_SHEDDING,
    JIT_SYSTEMS
};
extern const char *const jit_system_names[JIT_SYSTEMS];

struct jit_load {
    double rate;     /* programs per second */
    const char *mix; /* weights of the classes; NULL = 1:1:1 of calls */
    int seconds;
};
#define JIT_SECONDS 500 /* 2000 prompts at 4 per second, as its script for figure 13 */
#define JIT_RATE    4.0 /* where no load is known: the first of figure 15 */

enum jit_quantity { JIT_REQUESTS, JIT_TOKENS, JIT_PAPER, JIT_THROUGHPUT, JIT_QUANTITIES };

#define JIT_RUNS 10

/* All runs of one system under one load. */
struct jit_point {
    double v[JIT_QUANTITIES][JIT_RUNS];
};

int jit_run(struct repro *p, enum jit_system s, const struct jit_load *l, struct jit_point *ret,
            struct err *e);
/* Programs per second that leave a backlogged Sarathi. */
int jit_capacity(struct repro *p, const char *mix, double *ret, struct err *e);

struct repro_estimate jit_estimate(const struct jit_point *a, enum jit_quantity q);
double jit_mean(const struct jit_point *a, enum jit_quantity q);
/* a over b, run by run: runs of a number are under the same requests. */
struct repro_estimate jit_ratio(const struct jit_point *a, const struct jit_point *b,
                                enum jit_quantity q);

/* The other files of this list. */
int jit_run_load(struct repro *p, struct err *e);
int jit_run_mix(struct repro *p, struct err *e);

#endif
