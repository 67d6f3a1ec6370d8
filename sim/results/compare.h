/* SPDX-License-Identifier: Apache-2.0
 *
 * A measured run beside its simulation: both sides' numbers are computed from rows of the same shape by
 * the same code, with the definitions of `vllm bench serve` (engines.md 5.1) and of VTC's artifact
 * (fairness.md 2.6). */
#ifndef STEELYARD_COMPARE_H
#define STEELYARD_COMPARE_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/run.h"

enum side { REAL, SIMULATED, SIDES };
enum compare_what { COMPARE_TTFT, COMPARE_TPOT, COMPARE_E2EL };

struct compare_row {
    uint32_t client, prompt_tok, output_tok;
    double arrival_s;
    double ttft_s[SIDES], e2e_s[SIDES]; /* NaN = not served */
};

struct compare_value {
    const char *name, *unit;
    double v[SIDES];
};

/* simulated/real - 1; NaN when either is missing or the real one is 0. */
double compare_error(const struct compare_value *v);

struct compare_client {
    const char *name;
    uint64_t requests, served[SIDES];
    double mean_ttft_s[SIDES];
    double service[SIDES]; /* mean over the ticks of the windowed service, cost units per second */
};

struct compare {
    struct compare_row *row; /* malloc'd; compare_release */
    size_t n, cap;
    struct compare_value *metric; /* in the arena of compare_finish */
    size_t n_metrics;
    struct compare_client *client;
    size_t n_clients;
};

int compare_add(struct compare *c, const struct request_row *r, struct err *e);
/* service cost of a token in and out, window in seconds; names by client id (may be NULL). */
int compare_finish(struct compare *c, double wp, double wq, double window_s,
                   const struct run_result *r, struct arena *a, struct err *e);
const struct compare_value *compare_metric(const struct compare *c, const char *name);
/* Values of the served requests in ms, in rising order, into out[c->n]; how many. */
size_t compare_sorted(const struct compare *c, enum compare_what w, enum side s, double *out);
void compare_release(struct compare *c);

#endif
