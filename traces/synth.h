/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated traces, opened by the path "synth:NAME{k=v,...}". NAME is a preset or an arrival process:
 *   poisson, gamma (cv), uniform (even gaps), modulated (Poisson whose rate is drawn anew from a gamma
 *   distribution every period, as in BurstGPT).
 * Options refine it (synth_options). Lists are separated by ';'. Everything is drawn by counter, keyed
 * by client and request: the lengths of request 17 of client 2 are the same whatever the others do. */
#ifndef STEELYARD_TRACE_SYNTH_H
#define STEELYARD_TRACE_SYNTH_H

#include "sim/core/opt.h"

struct synth_preset {
    const char *name;
    const char *options; /* that it stands for */
    const char *summary; /* with the published figure and its source */
};

/* Ends with a NULL name. */
extern const struct synth_preset synth_presets[];
extern const struct opt_row synth_options[];

#endif
