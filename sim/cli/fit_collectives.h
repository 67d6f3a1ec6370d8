/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard fit --from nccl-tests: what nccl-tests (or steelyard-probe) measured of a machine's collectives, as a file that the
 * fabric and the cost models take. */
#ifndef STEELYARD_FIT_COLLECTIVES_H
#define STEELYARD_FIT_COLLECTIVES_H

#include "calibrate/nccl_tests.h"

struct fit_collectives {
    struct nccl_tests said;
    const char **file; /* outputs of nccl-tests, files of steelyard-probe */
    size_t n_files;
    const char *output;
    bool json; /* the report */
};

int fit_collectives(const struct fit_collectives *q, struct arena *ar, struct err *e);

/* Times of every second size of a curve by a curve of the others (measured_thin): |predicted/measured - 1|. */
struct held_out {
    uint32_t n;
    double median, worst, worst_bytes; /* NaN when nothing is left out */
};
int held_out(const struct measured_curve *c, struct held_out *ret, struct arena *ar, struct err *e);

#endif
