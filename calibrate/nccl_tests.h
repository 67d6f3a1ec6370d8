/* SPDX-License-Identifier: Apache-2.0
 *
 * What NVIDIA's nccl-tests print (and AMD's rccl-tests), read into curves. A file may hold the output of several tests, one
 * after the other, between lines of any other program and behind mpirun's "[1,0]<stdout>:". The columns are found by their
 * header; times are those out of place. The operation is what the test says of itself ("# Collective test starting: ..."), the
 * command line in front of it ("./build/all_reduce_perf -b 8 ..."), or what the caller says. Ranks and nodes are counted from
 * the lines "#  Rank  0 ... on HOST device ...". */
#ifndef STEELYARD_NCCL_TESTS_H
#define STEELYARD_NCCL_TESTS_H

#include "models/measured.h"
#include "sim/core/arena.h"
#include "sim/core/err.h"

struct nccl_tests {
    const char *op;        /* where the output does not say it; NULL = it has to */
    uint32_t ranks, nodes; /* likewise; 0 = it has to */
};

/* Adds a curve a test to *ret (all zero at first), as measured. `file` is for messages. SIM_E_DATA with file and line. */
int nccl_tests_parse(struct measured *ret, const struct nccl_tests *said, const char *text, size_t len, const char *file,
                     struct arena *a, struct err *e);

#endif
