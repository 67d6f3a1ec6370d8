/* SPDX-License-Identifier: Apache-2.0
 *
 * The packed binary form of a trace, made to be mapped: reading it is the yardstick of what a run can
 * do at best. Little-endian, all sections 8-byte aligned, in this order:
 *   header   struct packed_header
 *   records  count x struct packed_record, in order of time
 *   extras   n_extras x struct packed_extra: what most requests do not have
 *   ids      n_ids x uint64_t: prefix ids, as they are in struct arrival; calls waited for behind them
 *   names    n_clients names, each ended by a NUL, padded with NULs to 8 bytes
 * Version 2 is for programs that are graphs of calls: a struct packed_call follows each extra. All other
 * traces are written as version 1. The file can always be made again from its source. */
#ifndef STEELYARD_TRACE_PACKED_H
#define STEELYARD_TRACE_PACKED_H

#include "sim/core/types.h"

#define PACKED_MAGIC      "STYDTRC\n"
#define PACKED_VERSION    1u
#define PACKED_CALLS      2u /* version with calls */
#define PACKED_BYTE_ORDER 0x01020304u
#define PACKED_NO_EXTRA   UINT32_MAX

struct packed_header {
    char magic[8];
    uint32_t version;
    uint32_t byte_order;
    uint32_t header_size, record_size, extra_size;
    uint32_t caps; /* enum trace_caps */
    uint64_t count;
    uint64_t n_extras;
    uint64_t n_ids;
    uint64_t names_size;
    uint32_t n_clients;
    uint32_t reserved; /* 0 */
    uint64_t file_size;
    uint64_t checksum; /* XXH3-64 of the header with this field 0 */
};

struct packed_record {
    int64_t time_ns;
    uint32_t client;
    uint32_t prompt_tok;
    uint32_t output_tok;
    uint32_t max_output_tok;
    uint32_t extra; /* index, or PACKED_NO_EXTRA */
    uint32_t reserved; /* 0 */
};

struct packed_extra {
    uint64_t session;
    int64_t gap_ns;
    uint64_t first_id;
    double measured_ttft_s, measured_e2e_s; /* NaN = missing */
    uint32_t n_ids, hash_tok;
    uint32_t turn;
    int32_t priority;
    float ttft_slo_ms, tpot_slo_ms, e2e_slo_ms;
    uint32_t slo_class;
};

struct packed_call {
    uint32_t call, n_after;
};

_Static_assert(sizeof(struct packed_header) == 88, "the header has no holes");
_Static_assert(sizeof(struct packed_record) == 32, "two records a cache line");
_Static_assert(sizeof(struct packed_extra) == 72, "an extra has no holes");

#endif
