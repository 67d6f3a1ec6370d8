/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines of a request, from the service levels it asks for. */
#ifndef STEELYARD_SLO_H
#define STEELYARD_SLO_H

#include "policies/req.h"

static inline sim_ns slo_ns(float ms)
{
    return (sim_ns)((double)ms * 1e6);
}

/* When its last token is due, that of a call of a compound program with the program's; SIM_NEVER = no
 * such SLO. */
static inline sim_ns slo_end_ns(const struct req *q)
{
    sim_ns from = q->slo_class == SLO_COMPOUND ? q->began_ns : q->arrival_ns;
    return q->e2e_slo_ms > 0 ? from + slo_ns(q->e2e_slo_ms) : SIM_NEVER;
}

/* When token i = 0, 1, ... is due on the cumulative line arrival + TTFT + i * TPOT (JITServe: a late token
 * may be caught up); SIM_NEVER = no such SLO. A request without a TTFT has a line that begins with one
 * TPOT. */
static inline sim_ns slo_token_ns(const struct req *q, uint32_t i)
{
    if (q->ttft_slo_ms <= 0 && q->tpot_slo_ms <= 0) {
        return SIM_NEVER;
    }
    if (i > 0 && q->tpot_slo_ms <= 0) {
        return SIM_NEVER; /* only its first token was asked for */
    }
    sim_ns first = slo_ns(q->ttft_slo_ms > 0 ? q->ttft_slo_ms : q->tpot_slo_ms);
    return q->arrival_ns + first + (sim_ns)i * slo_ns(q->tpot_slo_ms);
}

/* The next thing that is due with `out` tokens out. */
static inline sim_ns slo_next_ns(const struct req *q, uint32_t out)
{
    sim_ns token = slo_token_ns(q, out), end = slo_end_ns(q);
    return token < end ? token : end;
}

#endif
