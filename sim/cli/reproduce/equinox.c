/* SPDX-License-Identifier: Apache-2.0
 *
 * Equinox against VTC: rows and figure for each of the two loads. */
#include <math.h>

#include "sim/cli/reproduce/equinox_run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

static const double shares[] = {0.8, 1.0, EQ_LOAD, 1.6, 2.0};
#define SHARES COUNT(shares)
#define AT     2 /* EQ_LOAD */

/* What is published as a factor has the tolerance of gains, per cents have points. */
static int headline_rows(struct repro *p, struct eq_point of[EQ_SYSTEMS][SHARES], struct err *e)
{
    static const struct {
        const char *row;
        enum eq_quantity q;
        double published;
    } rows[] = {
        {"mean TTFT over VTC's, less 1", EQ_TTFT, -0.60},
        {"Jain index of service over VTC's, less 1", EQ_JAIN_SERVICE, 0.13},
        {"Jain index of demand met over VTC's, less 1", EQ_JAIN_DEMAND, 0.13},
        {"Jain index of service as felt over VTC's, less 1", EQ_JAIN_FELT, 0.13},
    };
    struct repro_estimate v = eq_ratio(&of[EQ_EQUINOX][AT], &of[EQ_VTC][AT], EQ_THROUGHPUT, 0);

    if (repro_value(p, "throughput over VTC's", "1", 1.3, &v, REPRO_TOL_GAIN, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < COUNT(rows); i++) {
        v = eq_ratio(&of[EQ_EQUINOX][AT], &of[EQ_VTC][AT], rows[i].q, 1);
        if (repro_between(p, rows[i].row, "1", rows[i].published, rows[i].published - REPRO_POINTS,
                          rows[i].published + REPRO_POINTS, &v, e) < 0) {
            return e->code;
        }
    }
    v = eq_estimate(&of[EQ_EQUINOX][AT], EQ_UTILISATION);
    return repro_between(p, "GPU utilisation", "1", 0.94, 0.94 - REPRO_POINTS, 1, &v, e);
}

/* Adaptive batching and stall-free chunks make the difference, each of them and both together. */
static int part_rows(struct repro *p, struct eq_point of[EQ_SYSTEMS][SHARES], struct err *e)
{
    static const struct {
        const char *row;
        enum eq_quantity q;
        enum eq_system least, middle, most;
    } rows[] = {
        {"throughput: VTC < stall-free alone < Equinox", EQ_THROUGHPUT, EQ_VTC, EQ_STALL_FREE,
         EQ_EQUINOX},
        {"throughput: VTC < adaptive alone < Equinox", EQ_THROUGHPUT, EQ_VTC, EQ_ADAPTIVE,
         EQ_EQUINOX},
        {"mean TTFT: Equinox < stall-free alone < VTC", EQ_TTFT, EQ_EQUINOX, EQ_STALL_FREE,
         EQ_VTC},
        {"mean TTFT: Equinox < adaptive alone < VTC", EQ_TTFT, EQ_EQUINOX, EQ_ADAPTIVE, EQ_VTC},
    };
    struct repro_estimate alone = eq_ratio(&of[EQ_POLICY][AT], &of[EQ_VTC][AT], EQ_THROUGHPUT, 0);

    for (size_t i = 0; i < COUNT(rows); i++) {
        const double v[] = {eq_mean(&of[rows[i].least][AT], rows[i].q),
                            eq_mean(&of[rows[i].middle][AT], rows[i].q),
                            eq_mean(&of[rows[i].most][AT], rows[i].q)};

        if (repro_order(p, rows[i].row, v, COUNT(v), e) < 0) {
            return e->code;
        }
    }
    return repro_between(p, "policy alone: throughput over VTC's", "1", (double)NAN,
                         1 - REPRO_TOL_TOTAL, 1 + REPRO_TOL_TOTAL, &alone, e);
}

/* The gain hangs on limits that are declared and not used. */
static int limit_row(struct repro *p, struct eq_point of[EQ_SYSTEMS][SHARES], struct err *e)
{
    struct repro_estimate v =
        eq_ratio(&of[EQ_EQUINOX][AT], &of[EQ_VTC_EXACT][AT], EQ_THROUGHPUT, 0);

    return repro_between(p, "throughput over that of VTC with exact limits", "1", (double)NAN,
                         1 - REPRO_TOL_TOTAL, 1 + REPRO_TOL_TOTAL, &v, e);
}

/* ---- figure ---- */

static int panel(struct repro *p, struct figure *f, const char *title, const char *y_label,
                 struct eq_point of[EQ_SYSTEMS][SHARES], enum eq_quantity q, struct err *e)
{
    struct figure_panel *panel = &f->panel[f->n++];

    *panel = (struct figure_panel){
        .title = title, .x_label = "Load over VTC's capacity", .y_label = y_label, .x_from = 0.5};
    for (size_t s = 0; s < EQ_SYSTEMS; s++) {
        struct figure_line *l = figure_line(panel, eq_system_names[s], (int)s + 1, SHARES, &p->ar);

        if (!l || !figure_line_intervals(l, &p->ar)) {
            return no_memory(e);
        }
        for (size_t i = 0; i < SHARES; i++) {
            struct repro_estimate v = eq_estimate(&of[s][i], q);

            repro_point(l, i, shares[i], &v);
        }
    }
    return 0;
}

static int draw(struct repro *p, struct eq_point of[EQ_SYSTEMS][SHARES], struct err *e)
{
    struct figure f = {.name = p->id};

    if (panel(p, &f, "Throughput", "Tokens per second", of, EQ_THROUGHPUT, e) < 0 ||
        panel(p, &f, "Mean TTFT", "Seconds", of, EQ_TTFT, e) < 0 ||
        panel(p, &f, "Jain index of service as felt", "Index", of, EQ_JAIN_FELT, e) < 0 ||
        panel(p, &f, "GPU utilisation", "Share of the time", of, EQ_UTILISATION, e) < 0) {
        return e->code;
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int compare(struct repro *p, const char *lengths, struct err *e)
{
    struct eq_point(*of)[SHARES] = arena_calloc(&p->ar, EQ_SYSTEMS, sizeof(*of));
    double most;

    if (!of) {
        return no_memory(e);
    }
    if (eq_capacity(p, lengths, &most, e) < 0) {
        return e->code;
    }
    for (size_t i = 0; i < EQ_SYSTEMS * SHARES; i++) {
        if (eq_run(p, (enum eq_system)(i / SHARES), lengths, most * shares[i % SHARES],
                   &of[i / SHARES][i % SHARES], e) < 0) {
            return e->code;
        }
    }
    if (headline_rows(p, of, e) < 0 || part_rows(p, of, e) < 0 || limit_row(p, of, e) < 0) {
        return e->code;
    }
    return p->figures ? draw(p, of, e) : 0;
}

static int run_sharegpt(struct repro *p, struct err *e)
{
    return compare(p, "sharegpt", e);
}

static int run_lmsys(struct repro *p, struct err *e)
{
    return compare(p, "lmsys", e);
}

const struct reproduction reproductions_equinox[] = {
    {"equinox-sharegpt", "Equinox, arXiv 2508.16646",
     "abstract: against VTC on ShareGPT's lengths", run_sharegpt},
    {"equinox-lmsys", "Equinox, arXiv 2508.16646", "abstract: against VTC on LMSYS's lengths",
     run_lmsys},
    {.id = NULL},
};
