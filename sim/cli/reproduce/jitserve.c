/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe: figure 17, and the list of what is made again. */
#include "sim/cli/reproduce/jitserve_run.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static const struct part {
    enum jit_system system;
    const char *name;
    double requests, tokens; /* published; NaN = not */
} parts[] = {
    {JIT_ORACLE, "oracle", 3.23, 7808},
    {JIT_SERVE, "JITServe", 3.17, 7637},
    {JIT_NO_ANALYSER, "without analyser", 2.91, 6893},
    {JIT_SJF, "without GMAX", 2.70, 6080},
    {JIT_SARATHI, "Sarathi", 1.35, (double)NAN},
    {JIT_AUTELLIX, "Autellix", (double)NAN, (double)NAN},
    {JIT_NO_GROUPS, "without groups", (double)NAN, (double)NAN},
    {JIT_DUE_FIRST, "due first", (double)NAN, (double)NAN},
    {JIT_NO_PREEMPTION, "without preemption", (double)NAN, (double)NAN},
    {JIT_NO_SHEDDING, "without shedding", (double)NAN, (double)NAN},
};
#define PUBLISHED_PARTS 5
#define WHOLE           1 /* JITServe */

static int part_row(struct repro *p, const struct part *part, const struct jit_point *ours,
                    const struct jit_point *whole, enum jit_quantity q, struct err *e)
{
    double published = q == JIT_TOKENS ? part->tokens / parts[WHOLE].tokens
                                       : part->requests / parts[WHOLE].requests;
    struct repro_estimate v = jit_ratio(ours, whole, q);
    const char *row = arena_printf(&p->ar, "%s goodput, %s over JITServe",
                                   q == JIT_TOKENS ? "token" : "request", part->name);

    if (!row) {
        return no_memory(e);
    }
    return isfinite(published) ? repro_value(p, row, "1", published, &v, REPRO_TOL_GAIN, e) : 0;
}

static int part_order(struct repro *p, const char *row, const struct jit_point *of,
                      enum jit_quantity q, size_t n, struct err *e)
{
    double v[PUBLISHED_PARTS];

    for (size_t i = 0; i < n; i++) {
        v[i] = jit_mean(&of[n - 1 - i], q);
    }
    return repro_order(p, row, v, n, e);
}

static int part_orders(struct repro *p, const struct jit_point *of, struct err *e)
{
    if (part_order(p,
                   "request goodput: Sarathi < without GMAX < without analyser < JITServe < oracle",
                   of, JIT_REQUESTS, PUBLISHED_PARTS, e) < 0 ||
        part_order(p, "token goodput: without GMAX < without analyser < JITServe < oracle", of,
                   JIT_TOKENS, PUBLISHED_PARTS - 1, e) < 0) {
        return e->code;
    }
    return part_order(
        p,
        "request goodput as the paper defines it: Sarathi < without GMAX < without analyser "
        "< JITServe < oracle",
        of, JIT_PAPER, PUBLISHED_PARTS, e);
}

/* Published and our shares of JITServe's goodput. */
static int bars(struct repro *p, struct figure_panel *panel, const char *title,
                const struct jit_point *of, enum jit_quantity q, struct err *e)
{
    size_t n = COUNT(parts);
    const char **name = arena_calloc(&p->ar, n, sizeof(*name));

    *panel = (struct figure_panel){
        .title = title, .y_label = "Over JITServe's", .x_label = "", .bar = name};
    struct figure_line *published = figure_line(panel, "published", 2, n, &p->ar);
    struct figure_line *ours = figure_line(panel, "simulated", 3, n, &p->ar);
    if (!name || !published || !ours || !figure_line_intervals(ours, &p->ar)) {
        return no_memory(e);
    }
    for (size_t i = 0; i < n; i++) {
        struct repro_estimate v = jit_ratio(&of[i], &of[WHOLE], q);

        name[i] = parts[i].name;
        repro_point(ours, i, (double)i, &v);
        published->x[i] = (double)i;
        published->y[i] = q == JIT_TOKENS ? parts[i].tokens / parts[WHOLE].tokens
                                          : parts[i].requests / parts[WHOLE].requests;
    }
    return 0;
}

static int part_figure(struct repro *p, const struct jit_point *of, struct err *e)
{
    struct figure f = {.name = p->id, .n = 2};

    if (bars(p, &f.panel[0], "Request goodput", of, JIT_REQUESTS, e) < 0 ||
        bars(p, &f.panel[1], "Token goodput", of, JIT_TOKENS, e) < 0) {
        return e->code;
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int run_ablation(struct repro *p, struct err *e)
{
    static const struct jit_load load = {JIT_RATE, NULL, JIT_SECONDS};
    struct jit_point of[COUNT(parts)];

    for (size_t i = 0; i < COUNT(parts); i++) {
        if (jit_run(p, parts[i].system, &load, &of[i], e) < 0) {
            return e->code;
        }
    }
    struct repro_estimate requests = jit_estimate(&of[WHOLE], JIT_REQUESTS),
                          tokens = jit_estimate(&of[WHOLE], JIT_TOKENS);
    if (repro_value(p, "JITServe: request goodput", "1/s", parts[WHOLE].requests, &requests,
                    REPRO_TOL_GAIN, e) < 0 ||
        repro_value(p, "JITServe: token goodput", "tok/s", parts[WHOLE].tokens, &tokens,
                    REPRO_TOL_GAIN, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < PUBLISHED_PARTS; i++) {
        if (i != WHOLE && (part_row(p, &parts[i], &of[i], &of[WHOLE], JIT_REQUESTS, e) < 0 ||
                           part_row(p, &parts[i], &of[i], &of[WHOLE], JIT_TOKENS, e) < 0)) {
            return e->code;
        }
    }
    int rc = part_orders(p, of, e);
    return rc == 0 && p->figures ? part_figure(p, of, e) : rc;
}

const struct reproduction reproductions_jitserve[] = {
    {"jitserve-ablation", "JITServe, NSDI'26", "figure 17: without its parts, and the oracle",
     run_ablation},
    {"jitserve-load", "JITServe, NSDI'26", "figures 13 and 15: token goodput against load",
     jit_run_load},
    {"jitserve-mix", "JITServe, NSDI'26", "figure 20: gain by class mix", jit_run_mix},
    {.id = NULL},
};
