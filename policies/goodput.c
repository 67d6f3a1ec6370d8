/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/goodput.h"

#include <math.h>

static double seconds(sim_ns t)
{
    return (double)t * 1e-9;
}

double goodput_tokens_on_line(const struct req *q, uint32_t out, double last, double now_s,
                              double unit_s)
{
    double n = last - out;
    if (q->tpot_slo_ms <= 0) {
        return n; /* at most the first one was asked for in time */
    }
    /* Line and deliveries are straight: those on time are a first or a last part. */
    double ahead_s = seconds(slo_token_ns(q, out)) - (now_s + unit_s);
    double gain_s = (double)q->tpot_slo_ms * 1e-3 - unit_s;
    if (ahead_s >= 0) {
        return gain_s >= 0 ? n : fmin(n, floor(ahead_s / -gain_s) + 1);
    }
    return gain_s <= 0 ? 0 : fmax(0, n - ceil(-ahead_s / gain_s));
}

double goodput_left(const struct req *q, uint32_t out, double last, double now_s, double unit_s)
{
    if (q->e2e_slo_ms > 0 && q->slo_class != SLO_LATENCY) {
        bool in_time = now_s + unit_s * (last - out) <= seconds(slo_end_ns(q));
        return in_time ? GOODPUT_IN * q->prompt_tok + GOODPUT_OUT * last : 0;
    }
    bool first = out == 0 && now_s + unit_s <= seconds(slo_token_ns(q, 0));
    return (first ? GOODPUT_IN * q->prompt_tok : 0) +
           GOODPUT_OUT * goodput_tokens_on_line(q, out, last, now_s, unit_s);
}
