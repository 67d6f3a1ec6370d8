/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe, figure 20: what it gains, by class mix. Which load the figure had is not known: each
 * mix gets the share of what Sarathi takes at most that 4 programs per second are of the 1:1:1 mix.
 */
#include "sim/cli/reproduce/jitserve_run.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static const struct mix {
    const char *name, *weights;
    double gain; /* published */
} mixes[] = {
    {"latency only", "1;0;0;0", 1.72},
    {"latency : deadline 66 : 33", "2;1;0;0", 1.67},
    {"latency : deadline 33 : 66", "1;2;0;0", 1.81},
    {"deadline only", "0;1;0;0", 1.76},
    {"1 : 1 : 1", "1;1;0.142857;0", 2.08},
    {"compound only", "0;0;1;0", 1.19},
};
#define MIXES    COUNT(mixes)
#define EQUAL    4
#define COMPOUND 5

static int mix_rows(struct repro *p, struct jit_point of[MIXES][2], struct err *e)
{
    double gain[MIXES];

    for (size_t i = 0; i < MIXES; i++) {
        struct repro_estimate v = jit_ratio(&of[i][0], &of[i][1], JIT_TOKENS);
        const char *row = arena_printf(&p->ar, "token goodput over Sarathi's, %s", mixes[i].name);

        gain[i] = repro_mean(&v);
        if (!row || repro_value(p, row, "1", mixes[i].gain, &v, REPRO_TOL_GAIN, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    for (size_t i = 0; i < MIXES; i++) {
        double v[] = {gain[COMPOUND], gain[i]};
        const char *row = arena_printf(&p->ar, "gain: compound only < %s", mixes[i].name);

        if (i != COMPOUND && (!row || repro_order(p, row, v, 2, e) < 0)) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

static int mix_figure(struct repro *p, struct jit_point of[MIXES][2], struct err *e)
{
    const char **name = arena_calloc(&p->ar, MIXES, sizeof(*name));
    struct figure f = {.name = p->id,
                       .n = 1,
                       .panel = {{.title = "Token goodput over Sarathi's, by class mix",
                                  .x_label = "",
                                  .y_label = "Gain",
                                  .bar = name}}};
    struct figure_line *published = figure_line(&f.panel[0], "published", 2, MIXES, &p->ar);
    struct figure_line *ours = figure_line(&f.panel[0], "simulated", 3, MIXES, &p->ar);

    if (!name || !published || !ours || !figure_line_intervals(ours, &p->ar)) {
        return no_memory(e);
    }
    for (size_t i = 0; i < MIXES; i++) {
        struct repro_estimate v = jit_ratio(&of[i][0], &of[i][1], JIT_TOKENS);

        name[i] = mixes[i].name;
        repro_point(ours, i, (double)i, &v);
        published->x[i] = (double)i;
        published->y[i] = mixes[i].gain;
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

int jit_run_mix(struct repro *p, struct err *e)
{
    struct jit_point of[MIXES][2];
    double share = NAN;

    if (jit_capacity(p, mixes[EQUAL].weights, &share, e) < 0) {
        return e->code;
    }
    share = JIT_RATE / share;
    for (size_t i = 0; i < MIXES; i++) {
        double most;

        if (jit_capacity(p, mixes[i].weights, &most, e) < 0) {
            return e->code;
        }
        const struct jit_load load = {share * most, mixes[i].weights, JIT_SECONDS};
        if (jit_run(p, JIT_SERVE, &load, &of[i][0], e) < 0 ||
            jit_run(p, JIT_SARATHI, &load, &of[i][1], e) < 0) {
            return e->code;
        }
    }
    int rc = mix_rows(p, of, e);
    return rc == 0 && p->figures ? mix_figure(p, of, e) : rc;
}
