/* SPDX-License-Identifier: Apache-2.0
 *
 * Classes of service-level objectives (JITServe, arXiv 2504.20068): what a request's user waits for.
 *   latency      the first token by TTFT and every further one within TBT of the one before
 *   deadline     the whole answer by a time after arrival
 *   compound     the last call of a program (all requests of a session) by a time after its first arrival
 *   best-effort  nothing in particular
 * The goals themselves are ttft_slo_ms, tpot_slo_ms (the TBT of the latency class) and e2e_slo_ms. */
#ifndef STEELYARD_SLO_CLASS_H
#define STEELYARD_SLO_CLASS_H

#include <stddef.h>

enum slo_class { SLO_NONE, SLO_LATENCY, SLO_DEADLINE, SLO_COMPOUND, SLO_BEST_EFFORT, SLO_CLASSES };

/* Names by class; SLO_NONE is "none". */
extern const char *const slo_class_names[SLO_CLASSES];
/* Class by name (n characters), -1 when there is none of that name. */
int slo_class_find(const char *name, size_t n);

#endif
