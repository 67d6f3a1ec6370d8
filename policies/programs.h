/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests grouped into programs (agents, conversations): those of one session belong together, one
 * without a session is a program of its own. Programs are numbered from 0 and stay until the end. */
#ifndef STEELYARD_PROGRAMS_H
#define STEELYARD_PROGRAMS_H

#include "policies/queue.h"

#define PROGRAM_NONE UINT32_MAX

struct programs {
    uint64_t *key; /* open addressing; power of two */
    uint32_t *number; /* + 1; 0 = empty */
    uint32_t cap, n_keys;
    uint32_t n; /* programs so far */
};

/* The program of `q`, a new one if need be; PROGRAM_NONE = no memory. For a request without a session
 * call it once: each call makes a new one. */
uint32_t programs_of(struct programs *p, const struct req *q);
void programs_release(struct programs *p);

#endif
