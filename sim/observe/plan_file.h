/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes every step of a run as one line of JSON, for the probe to execute on a real GPU. The format is
 * described in calibrate/probe/README.md, "Plans". */
#ifndef STEELYARD_PLAN_FILE_H
#define STEELYARD_PLAN_FILE_H

#include <stdio.h>

#include "models/llm.h"
#include "sim/core/err.h"
#include "sim/engine/engine.h"
#include "sim/run.h"

struct plan_file {
    const char *path;
    FILE *out; /* NULL = not open */
    uint64_t steps;
};

/* `llm` may be NULL. The first line is written here. */
int plan_file_open(struct plan_file *f, const char *path, const struct run_config *c,
                   const struct llm_shape *llm, const struct engine_config *ec, struct err *e);
/* The step that starts now: struct engine_observer's `step`, with the plan_file as its context. */
void plan_file_step(void *plan_file, const struct engine *e, const struct step *s);
/* Closes; an error of writing shows here. Nothing on a file that is not open. */
int plan_file_close(struct plan_file *f, struct err *e);

#endif
