/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests grouped into programs (agents, conversations): those of one session belong together, one
 * without a session is a program of its own. Programs are numbered from 0 and stay until the end. */
#ifndef STEELYARD_PROGRAMS_H
#define STEELYARD_PROGRAMS_H

#include "policies/queue.h"
#include "sim/core/u64_map.h"

#define PROGRAM_NONE UINT32_MAX

struct programs {
    struct u64_map number; /* by session: + 1 */
    uint32_t n;            /* programs so far */
};

/* The program of `q`, a new one if need be; PROGRAM_NONE = no memory. For a request without a session
 * call it once: each call makes a new one. */
uint32_t programs_of(struct programs *p, const struct req *q);
void programs_release(struct programs *p);

#endif
