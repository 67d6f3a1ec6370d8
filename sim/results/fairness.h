/* SPDX-License-Identifier: Apache-2.0
 *
 * Fairness of service between clients, computed from requests with the definitions of the VTC artifact
 * (fair_bench/plot, commit 192c2e2; Sheng et al., OSDI'24). The same code works on measured and on
 * simulated times, so a published number and ours differ in the run alone.
 *
 * The service of a request is spread evenly from its first token to its end. Requests that were never
 * served (rejected by a limit) neither receive service nor count as demand. */
#ifndef STEELYARD_FAIRNESS_H
#define STEELYARD_FAIRNESS_H

#include "sim/results/compare.h"

enum fairness_cost {
    FAIRNESS_LINEAR,  /* p + 2q */
    FAIRNESS_PROFILED /* quadratic, ms on an A10G (appendix B.2) */
};

struct fairness {
    const struct compare_row *row;
    size_t n;
    uint32_t n_clients;
    enum side side;
    enum fairness_cost cost; /* of service; demand is always linear, as in the artifact */
};

/* Cost of a whole request. */
double fairness_cost(enum fairness_cost cost, double prompt_tok, double output_tok);

/* Service that `client` received in [from_s, to_s), and the cost of what it asked for then. */
double fairness_service(const struct fairness *f, uint32_t client, double from_s, double to_s);
double fairness_demand(const struct fairness *f, uint32_t client, double from_s, double to_s);

/* Service difference (Table 2): windows [x, x + 60] at x = 28.5 * i, i = 1..19, whatever the length of
 * the run (T = 600 and 30 s of warm-up are fixed in plot_revision.py). Per window, with service y and
 * demand d per second and Y = max y: the sum over clients of min(Y - y, |d - y|). Population variance. */
struct fairness_table {
    double max, mean, var;
};
struct fairness_table fairness_table(const struct fairness *f);

/* Absolute difference in service: largest minus smallest service in [0, x]. Requests that end before
 * `skip_s` are left out (1 s in section 6.2, 120 s in section 6.4). */
double fairness_gap(const struct fairness *f, double x_s, double skip_s);
struct fairness_gaps {
    double max, mean;
};
/* At x = T / ticks * i, i = 1 .. ticks - 1. */
struct fairness_gaps fairness_gaps(const struct fairness *f, int ticks, double skip_s);

/* T: the last arrival, rounded down to 10 s. */
double fairness_horizon(const struct fairness *f);

/* Mean first-token latency of a client's requests whose first token falls into [from_s, to_s); NaN when
 * there is none. */
double fairness_response(const struct fairness *f, uint32_t client, double from_s, double to_s);

/* End of the last request, and tokens in and out per second until then. */
double fairness_total_s(const struct fairness *f);
double fairness_throughput(const struct fairness *f);
uint64_t fairness_unserved(const struct fairness *f);

#endif
