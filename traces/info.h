/* SPDX-License-Identifier: Apache-2.0
 *
 * Statistics of a trace in one pass. */
#ifndef STEELYARD_TRACE_INFO_H
#define STEELYARD_TRACE_INFO_H

#include "sim/core/hist.h"
#include "traces/trace.h"

struct trace_client_info {
    uint64_t requests, prompt_tok, output_tok;
};

struct trace_info {
    uint64_t requests;
    double first_s, last_s;
    double rate_per_s; /* (requests - 1) / (last - first); NaN for one instant */
    double gap_cv;     /* of inter-arrival times; NaN below two gaps */
    struct hist prompt_tok, output_tok; /* mean exact, quantiles within 0.2 % */
    uint64_t total_prompt_tok, total_output_tok;
    uint32_t clients;
    struct trace_client_info *client; /* by id, in the arena */
    uint64_t sessions;                /* distinct */
    uint64_t requests_in_sessions;
    uint64_t requests_with_ids, distinct_ids;
    /* Share of all prompt tokens that a prefix cache of infinite size would serve; NaN without ids. */
    double reuse_share;
    uint64_t left_out; /* rows that are no request (trace_left_out) */
    uint64_t measured; /* requests with a measured end-to-end time */
};

/* Reads the trace to its end. Memory of *ret lives in `a`. `progress` may be NULL; nonzero from it ends
 * with SIM_E_INTR. */
int trace_info(struct trace_info *ret, struct trace *t, struct arena *a,
               int (*progress)(void *ctx, double share), void *ctx, struct err *e);

#endif
