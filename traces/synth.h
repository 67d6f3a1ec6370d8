/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated traces, opened by the path "synth:NAME{k=v,...}". NAME is a preset or an arrival process:
 *   poisson, gamma (cv), uniform (even gaps), modulated (Poisson whose rate is drawn anew from a gamma
 *   distribution every period, as in BurstGPT).
 * or a generator of another kind: servegen (many clients from ServeGen's tables), programs
 * (conversations, deadlines and compound programs with goals). Options refine it (synth_options). Lists are separated by ';'. Everything is drawn by counter, keyed
 * by client and request: the lengths of request 17 of client 2 are the same whatever the others do. */
#ifndef STEELYARD_TRACE_SYNTH_H
#define STEELYARD_TRACE_SYNTH_H

#include "sim/core/opt.h"
#include "traces/trace.h"

/* A generator that is more than an arrival process. The calls are those of struct trace_ops. */
struct synth_kind {
    const char *name;
    size_t state_size; /* zeroed */
    const struct opt_row *options;
    int (*open)(void *state, struct trace *t, struct err *e);
    int (*next)(void *state, struct trace *t, struct arrival *a, struct err *e);
    void (*close)(void *state);
};
extern const struct synth_kind synth_servegen, synth_programs;

struct synth_preset {
    const char *name;
    const char *options; /* that it stands for */
    const struct synth_kind *kind; /* NULL = an arrival process */
    const char *summary; /* with the published figure and its source */
};

/* Ends with a NULL name. */
extern const struct synth_preset synth_presets[];
extern const struct opt_row synth_options[];

#endif
