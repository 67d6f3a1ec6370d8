/* SPDX-License-Identifier: Apache-2.0
 *
 * The few types that every room shares. */
#ifndef STEELYARD_TYPES_H
#define STEELYARD_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Simulated time: integer nanoseconds since the start of the run (292 years). */
typedef int64_t sim_ns;
#define SIM_NEVER INT64_MAX

/* Durations inside an epoch of identical iterations are kept in ticks of 2^-20 ns (about a
 * femtosecond): one decode token's attention costs tens of picoseconds, so nanoseconds would round
 * away exactly what grows from iteration to iteration. */
typedef int64_t sim_tick;
#define SIM_TICKS_PER_NS_LOG2 20
#define SIM_TICKS_PER_NS      ((double)(1 << SIM_TICKS_PER_NS_LOG2))
__extension__ typedef __int128 sim_wide;

/* Slot of a live request. Slots are reused after a request leaves; `serial` in struct req is not. */
typedef uint32_t req_id;
#define REQ_NONE UINT32_MAX

#endif
