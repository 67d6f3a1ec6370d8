/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request can still be worth under its service levels, as JITServe counts (arXiv 2504.20068): a
 * prompt token 1, an output token 8 (weights of its artifact). */
#ifndef STEELYARD_GOODPUT_H
#define STEELYARD_GOODPUT_H

#include "policies/slo.h"

#define GOODPUT_IN  1.0
#define GOODPUT_OUT 8.0

/* Of the output tokens out .. last - 1, how many will be on the cumulative line if the next comes `unit_s`
 * from now and each further one as long after the one before. */
double goodput_tokens_on_line(const struct req *q, uint32_t out, double last, double now_s,
                              double unit_s);
/* Goodput of a request with a service level, `out` of `last` tokens out. With an end-to-end deadline, and not
 * of the latency class: all of its tokens or nothing; else its prompt if the first token will be in time, and what is on the line. */
double goodput_left(const struct req *q, uint32_t out, double last, double now_s, double unit_s);

#endif
