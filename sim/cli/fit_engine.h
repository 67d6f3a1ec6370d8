/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard fit --from run: what a real engine adds to the times of its kernels (host time of a step and of a
 * sequence, the way to and from the client, the first step of all), fitted to measured runs with the hardware
 * as its profile says. Hardware is never touched: only the keys below are. */
#ifndef STEELYARD_FIT_ENGINE_H
#define STEELYARD_FIT_ENGINE_H

#include <stdio.h>

#include "sim/cli/cli.h"

/* engine.step_overhead, seq_us of the cost model, engine.request_delay, engine.cold_start. */
enum engine_knob { KNOB_STEP, KNOB_SEQ, KNOB_DELAY, KNOB_COLD, KNOBS };
struct engine_knobs {
    double v[KNOBS]; /* seconds; seq in microseconds */
};

struct fit_engine {
    const struct config_args *args; /* what the user set */
    const char *profile;            /* of the hardware; NULL = the cost model of the configuration */
    const char **run;               /* files to fit to */
    const char **held;              /* files to check with; none: half of the blocks of time */
    size_t n_runs, n_held;
    const char *output;             /* the keys, as a configuration */
    bool json, quiet;
};

int fit_engine(const struct fit_engine *q, struct arena *ar, struct err *e);

/* The file is a log of engine steps: CSV with n_decode, decode_tok, prefill_tok and duration_s (or _ms),
 * and if it has them chunks, prefill_ctx_tok (tokens in KV before the chunks), prefill_pairs. */
bool fit_steps_is(const char *path);
/* The same from such a log; needs a profile. Step and sequence only. */
int fit_steps(const struct fit_engine *q, struct arena *ar, struct err *e);

/* ---- for both ---- */

/* A cost model with options added: "table{profile=p}" + "step_us=0" -> "table{profile=p,step_us=0}". */
const char *engine_cost(const char *spec, const char *options, struct arena *ar);
/* The profile's path as it holds from any folder; a file that is not there as it was given. */
const char *engine_profile(const char *path, struct arena *ar);
/* The cost model has an option of this name. */
bool engine_cost_has(const char *spec, const char *option, struct arena *ar);
/* The fitted keys as a configuration that run and replay take; a comment says where they come from. `fitted`
 * tells which knobs are. */
int engine_write(const char *path, const char *cost, const struct engine_knobs *k, const bool *fitted,
                 const char *comment, struct arena *ar, struct err *e);

#endif
