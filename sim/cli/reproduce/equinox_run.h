/* SPDX-License-Identifier: Apache-2.0
 *
 * Equinox (arXiv 2508.16646) against VTC: its headline numbers, "up to 1.3x throughput, 60 % lower
 * TTFT, 13 % higher fairness, 94 % GPU utilisation". Only the abstract was at hand, so policy and
 * engine are stand-ins (policies/schedule/equinox.c, policies/batch/equinox.c), and this is what
 * was assumed: machine   Llama-2-7B on an A100-80G by roofline, and 5.5 ms of host time a step:
 * what a lone token takes on S-LoRA's recorded A100 (22.3 ms, VTC artifact) beyond the roofline VTC
 * on the engine of its artifact, lightllm-slora loads     ShareGPT and LMSYS lengths, 27 clients
 * with shares 1/k, a declared limit of 1024 tokens (the longest of VTC's real trace), 300 s rate
 * 1.26 times what VTC takes at most: what VTC's real trace asked for over what it got (588,695
 * tokens in 600 s, 779 tokens/s served) */
#ifndef STEELYARD_REPRODUCE_EQUINOX_RUN_H
#define STEELYARD_REPRODUCE_EQUINOX_RUN_H

#include "sim/cli/reproduce/reproduce.h"

#define EQ_LOAD 1.26 /* over VTC's capacity */
#define EQ_RUNS 10

enum eq_system {
    EQ_VTC,
    EQ_POLICY,
    EQ_STALL_FREE,
    EQ_ADAPTIVE,
    EQ_EQUINOX,
    EQ_VTC_EXACT,
    EQ_SYSTEMS
};
extern const char *const eq_system_names[EQ_SYSTEMS];

enum eq_quantity {
    EQ_THROUGHPUT,
    EQ_TTFT,
    EQ_JAIN_SERVICE,
    EQ_JAIN_DEMAND,
    EQ_JAIN_FELT,
    EQ_UTILISATION,
    EQ_QUANTITIES
};

/* All runs of one system under one load. */
struct eq_point {
    double v[EQ_QUANTITIES][EQ_RUNS];
};

/* `lengths` is a preset of synth; `rate` in requests per second. */
int eq_run(struct repro *p, enum eq_system s, const char *lengths, double rate,
           struct eq_point *ret, struct err *e);
/* Requests per second that leave a backlogged VTC. */
int eq_capacity(struct repro *p, const char *lengths, double *ret, struct err *e);

struct repro_estimate eq_estimate(const struct eq_point *a, enum eq_quantity q);
double eq_mean(const struct eq_point *a, enum eq_quantity q);
/* a over b, less `less`; runs of a number are under the same requests. */
struct repro_estimate eq_ratio(const struct eq_point *a, const struct eq_point *b,
                               enum eq_quantity q, double less);

#endif
