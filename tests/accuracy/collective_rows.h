/* SPDX-License-Identifier: Apache-2.0
 *
 * Measured collectives (../shared/data/profiles), read into rows for the fit, the check and a test. */
#ifndef STEELYARD_COLLECTIVE_ROWS_H
#define STEELYARD_COLLECTIVE_ROWS_H

#include "sim/fabric/collective.h"

struct measured_row {
    struct collective_call call;
    double us;
    char set[48];  /* "h100_sxm", "apex H100", "4xH100 eager" ... */
    char note[32]; /* version of NCCL, or what the source calls the run */
};

struct measured_rows {
    size_t n, cap;
    struct measured_row *row;
};

/* Adds every row of every table under `profiles`; a table that is not there adds none. */
void measured_read(struct measured_rows *r, const char *profiles);
void measured_free(struct measured_rows *r);

/* What a model was fitted on: the rows of one set and note with sizes of 2^even bytes. Everything else is
 * held out. */
bool measured_was_fitted(const struct measured_row *row, const char *set, const char *note);

#endif
