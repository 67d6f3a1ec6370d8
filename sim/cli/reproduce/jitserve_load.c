/* SPDX-License-Identifier: Apache-2.0
 *
 * JITServe, figures 13 and 15: more and more load. How long the runs of figure 15 were is not
 * known: it has rows for 100 s as well. */
#include "sim/cli/reproduce/jitserve_run.h"

#include <math.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static const int lengths_s[] = {100, JIT_SECONDS};
enum { SHORT, LONG, LENGTHS };

static const double rates[] = {3.5, 4.0, 4.5, 5.0, 5.5, 6.0};
#define RATES COUNT(rates)

/* Token goodput at 4 and 6 per second, figure 15; NaN = not known. */
static const struct line {
    enum jit_system system;
    int colour;
    double at_4, at_6;
} lines[] = {
    {JIT_VLLM, 8, 5700, 3300},
    {JIT_SARATHI, 4, 6700, 3800},
    {JIT_SJF, 5, 7100, 6200},
    {JIT_SERVE, 1, 7500, 7700},
    {JIT_ORACLE, 2, (double)NAN, (double)NAN},
    {JIT_AUTELLIX, 3, (double)NAN, (double)NAN},
    {JIT_EDF, 6, (double)NAN, (double)NAN},
};
#define LINES          COUNT(lines)
#define COMPARED_LINES 3 /* below JITServe's */
enum { VLLM_LINE, SARATHI_LINE, SJF_LINE, JITSERVE_LINE, ORACLE_LINE, AUTELLIX_LINE, EDF_LINE };
enum { RATE_4 = 1, RATE_5 = 3, RATE_6 = 5 };

/* JITServe's runs over those of another line, in tokens. */
static struct repro_estimate gain(struct jit_point of[LINES][RATES], size_t line, size_t rate)
{
    return jit_ratio(&of[JITSERVE_LINE][rate], &of[line][rate], JIT_TOKENS);
}

static int gain_rows(struct repro *p, struct jit_point of[LINES][RATES], int seconds, struct err *e)
{
    static const size_t at[] = {RATE_4, RATE_6};

    for (size_t i = 0; i < COMPARED_LINES * COUNT(at); i++) {
        const struct line *l = &lines[i / COUNT(at)], *jit = &lines[JITSERVE_LINE];
        size_t r = at[i % COUNT(at)];
        struct repro_estimate v = gain(of, i / COUNT(at), r);
        const char *row = arena_printf(&p->ar, "%d s: token goodput over %s's at %g/s", seconds,
                                       jit_system_names[l->system], rates[r]);

        if (!row ||
            repro_value(p, row, "1", r == RATE_4 ? jit->at_4 / l->at_4 : jit->at_6 / l->at_6, &v,
                        REPRO_TOL_GAIN, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

static int order_rows(struct repro *p, struct jit_point of[LINES][RATES], int seconds,
                      struct err *e)
{
    static const size_t at[] = {RATE_4, RATE_6};

    for (size_t k = 0; k < COUNT(at); k++) {
        const char *row =
            arena_printf(&p->ar, "%d s: token goodput at %g/s: vLLM < Sarathi < LTR < JITServe",
                         seconds, rates[at[k]]);
        double v[COMPARED_LINES + 1];

        for (size_t i = 0; i <= COMPARED_LINES; i++) {
            v[i] = jit_mean(&of[i][at[k]], JIT_TOKENS);
        }
        if (!row || repro_order(p, row, v, COMPARED_LINES + 1, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

/* 1.4 to 6.3 over the baselines, all models and loads taken together. */
static int headline_rows(struct repro *p, struct jit_point of[LINES][RATES], struct err *e)
{
    static const size_t of_line[] = {VLLM_LINE, SARATHI_LINE, AUTELLIX_LINE},
                        at[] = {RATE_4, RATE_5, RATE_6};

    for (size_t i = 0; i < COUNT(of_line) * COUNT(at); i++) {
        size_t line = of_line[i / COUNT(at)], r = at[i % COUNT(at)];
        struct repro_estimate v = gain(of, line, r);
        const char *row = arena_printf(&p->ar, "500 s, headline range: over %s's at %g/s",
                                       jit_system_names[lines[line].system], rates[r]);

        if (!row || repro_between(p, row, "1", (double)NAN, 1.4, 6.3, &v, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

/* "Within 3-9 % of the oracle", and figure 13's numbers, as far as they are known. */
static int oracle_rows(struct repro *p, struct jit_point of[LINES][RATES], struct err *e)
{
    static const double published[RATES] = {7350.0 / 7542, 7533.0 / 7808, 7737.0 / 7782,
                                            7637.0 / 7890, (double)NAN,   (double)NAN};

    for (size_t r = 0; r < RATES; r++) {
        struct repro_estimate v = gain(of, ORACLE_LINE, r);
        const char *row =
            arena_printf(&p->ar, "500 s: token goodput over the oracle's at %g/s", rates[r]);

        if (!row || repro_between(p, row, "1", published[r], 0.91, 1.0, &v, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

/* 96 to 98 % of Sarathi's raw throughput, at the loads of that script. */
static int throughput_rows(struct repro *p, struct jit_point of[LINES][RATES], struct err *e)
{
    for (size_t r = 0; r < 3; r++) {
        struct repro_estimate v =
            jit_ratio(&of[JITSERVE_LINE][r], &of[SARATHI_LINE][r], JIT_THROUGHPUT);
        const char *row =
            arena_printf(&p->ar, "500 s: requests completed over Sarathi's at %g/s", rates[r]);

        if (!row || repro_value(p, row, "1", 0.97, &v, REPRO_TOL_TOTAL, e) < 0) {
            return row ? e->code : no_memory(e);
        }
    }
    return 0;
}

static int load_lines(struct repro *p, struct figure_panel *panel,
                      struct jit_point of[LINES][RATES], enum jit_quantity q, struct err *e)
{
    for (size_t i = 0; i < LINES; i++) {
        struct figure_line *l =
            figure_line(panel, jit_system_names[lines[i].system], lines[i].colour, RATES, &p->ar);

        if (!l || !figure_line_intervals(l, &p->ar)) {
            return no_memory(e);
        }
        for (size_t r = 0; r < RATES; r++) {
            struct repro_estimate v = jit_estimate(&of[i][r], q);

            repro_point(l, r, rates[r], &v);
        }
    }
    return 0;
}

static int published_lines(struct repro *p, struct figure_panel *panel, struct err *e)
{
    for (size_t i = 0; i <= COMPARED_LINES; i++) {
        const char *name = arena_printf(&p->ar, "%s, published", jit_system_names[lines[i].system]);
        struct figure_line *l = name ? figure_line(panel, name, lines[i].colour, 2, &p->ar) : NULL;

        if (!l) {
            return no_memory(e);
        }
        l->recorded = true;
        l->x[0] = 4;
        l->x[1] = 6;
        l->y[0] = lines[i].at_4;
        l->y[1] = lines[i].at_6;
    }
    return 0;
}

static int load_figure(struct repro *p, struct jit_point of[LENGTHS][LINES][RATES], struct err *e)
{
    struct figure f = {.name = p->id, .n = 2 * LENGTHS};

    for (size_t i = 0; i < f.n; i++) {
        bool tokens = i < LENGTHS;
        const char *title = arena_printf(&p->ar, "%s goodput, runs of %d s",
                                         tokens ? "Token" : "Request", lengths_s[i % LENGTHS]);

        f.panel[i] = (struct figure_panel){.title = title,
                                           .x_label = "Programs per second",
                                           .y_label = tokens ? "Tokens (1 in, 8 out) per second"
                                                             : "Calls per second",
                                           .x_from = 3};
        if (!title ||
            load_lines(p, &f.panel[i], of[i % LENGTHS], tokens ? JIT_TOKENS : JIT_REQUESTS, e) <
                0 ||
            (tokens && published_lines(p, &f.panel[i], e) < 0)) {
            return title ? e->code : no_memory(e);
        }
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int run_lines(struct repro *p, int seconds, struct jit_point of[LINES][RATES], struct err *e)
{
    for (size_t i = 0; i < LINES * RATES; i++) {
        const struct jit_load load = {rates[i % RATES], NULL, seconds};

        if (jit_run(p, lines[i / RATES].system, &load, &of[i / RATES][i % RATES], e) < 0) {
            return e->code;
        }
    }
    return gain_rows(p, of, seconds, e) < 0 ? e->code : order_rows(p, of, seconds, e);
}

int jit_run_load(struct repro *p, struct err *e)
{
    struct jit_point(*of)[LINES][RATES] = arena_calloc(&p->ar, LENGTHS, sizeof(*of));

    if (!of) {
        return no_memory(e);
    }
    for (size_t i = 0; i < LENGTHS; i++) {
        if (run_lines(p, lengths_s[i], of[i], e) < 0) {
            return e->code;
        }
    }
    if (headline_rows(p, of[LONG], e) < 0 || oracle_rows(p, of[LONG], e) < 0 ||
        throughput_rows(p, of[LONG], e) < 0) {
        return e->code;
    }
    return p->figures ? load_figure(p, of, e) : 0;
}
