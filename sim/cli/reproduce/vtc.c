/* SPDX-License-Identifier: Apache-2.0
 *
 * Sheng et al., "Fairness in Serving Large Language Models" (OSDI'24, arXiv 2401.00588): its table and
 * figures. Published numbers are those of the artifact's recorded files under the artifact's own
 * definitions (fairness.md 2.10; the rows of Table 2 that were checked agree to the last digit); where a
 * recorded run is at hand, the numbers of its requests are computed from them by the same code as ours.
 * Every run uses the one set of settings of slora.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/cli/reproduce/vtc_run.h"
#include "sim/cli/slora.h"

#define A10G_POOL 10000
#define WINDOW_S  60.0
#define NONE      ((double)NAN)
#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))

static int no_memory(struct err *e)
{
    return err_set(e, SIM_E_NOMEM, "out of memory for a reproduction");
}

/* ---- tables of service differences ---- */

struct load {
    const char *name, *recorded, *trace;
};

static const struct load real_load = {"real", "FCFS_real", NULL};
static const struct load overload = {"overload", "VTC_overload", "synth:vtc-overload"};
static const struct load overload_600 = {"overload, 600 s", "FCFS_overload",
                                         "synth:vtc-overload{duration=600}"};
static const struct load overload_multi = {"overload-multi", "VTC_overload-multi",
                                           "synth:vtc-overload-multi"};

struct table_case {
    const struct load *load;
    const char *label, *scheduler; /* NULL: the limit below */
    int rpm;
    double max, mean, var, tok_s; /* published */
    double rejected;              /* recorded, NONE where the scheduler rejects nothing */
};

struct table_result {
    double mean, tok_s;
};

static const char *policy_of(const char *scheduler, int rpm, struct arena *ar)
{
    return scheduler ? slora_policy(scheduler) : slora_rpm(rpm, ar);
}

static const char *case_name(struct repro *p, const struct table_case *c, const char *what, bool with_load)
{
    return with_load ? arena_printf(&p->ar, "%s: %s, %s", c->load->name, c->label, what)
                     : arena_printf(&p->ar, "%s, %s", c->label, what);
}

/* In the order of a case's columns. */
enum { T_MAX, T_MEAN, T_VAR, T_TOK_S, T_REJECTED, T_NUMBERS };

static void table_numbers(const struct repro_run *r, enum fairness_cost cost,
                          struct repro_estimate v[T_NUMBERS])
{
    memset(v, 0, T_NUMBERS * sizeof(*v));
    for (size_t i = 0; i < r->n; i++) {
        struct fairness f = repro_side(r, i, SIMULATED, cost);
        struct fairness_table t = fairness_table(&f);

        repro_note(&v[T_MAX], t.max);
        repro_note(&v[T_MEAN], t.mean);
        repro_note(&v[T_VAR], t.var);
        repro_note(&v[T_TOK_S], fairness_throughput(&f));
        repro_note(&v[T_REJECTED], (double)fairness_unserved(&f));
    }
}

static int table_rows(struct repro *p, const struct table_case *c, const struct repro_run *r,
                      enum fairness_cost cost, bool with_load, struct table_result *ret, struct err *e)
{
    const struct {
        const char *what, *unit;
        double published, tolerance;
    } row[T_NUMBERS] = {
        [T_MAX] = {"max diff", "1/s", c->max, REPRO_TOL_DIFF},
        [T_MEAN] = {"avg diff", "1/s", c->mean, REPRO_TOL_DIFF},
        [T_VAR] = {"diff var", "1/s^2", c->var, REPRO_TOL_VARIANCE},
        [T_TOK_S] = {"throughput", "tok/s", c->tok_s, REPRO_TOL_TOTAL},
        [T_REJECTED] = {"rejections", "1", c->rejected, REPRO_TOL_COUNT},
    };
    struct repro_estimate v[T_NUMBERS];

    table_numbers(r, cost, v);
    *ret = (struct table_result){repro_mean(&v[T_MEAN]), repro_mean(&v[T_TOK_S])};
    for (size_t i = 0; i < T_NUMBERS; i++) {
        const char *name = case_name(p, c, row[i].what, with_load);

        if (!name) {
            return no_memory(e);
        }
        if (isfinite(row[i].published) && repro_value(p, name, row[i].unit, row[i].published, &v[i],
                                                      row[i].tolerance, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int table_case(struct repro *p, const struct table_case *c, enum fairness_cost cost, bool with_load,
                      struct table_result *ret, struct err *e)
{
    struct repro_setup s = {.policy = policy_of(c->scheduler, c->rpm, &p->ar), .pool_tok = A10G_POOL,
                            .recorded = c->load->recorded, .trace = c->load->trace};
    struct repro_run r;

    if (!s.policy) {
        return no_memory(e);
    }
    int rc = repro_simulate(p, &s, &r, e);
    rc = rc < 0 ? rc : table_rows(p, c, &r, cost, with_load, ret, e);
    repro_run_release(&r);
    return rc;
}

/* Published and our averages, as bars. */
static int table_figure(struct repro *p, const struct table_case *c, const struct table_result *t, size_t n,
                        bool with_load, struct err *e)
{
    struct figure f = {.name = p->id, .n = 1,
                       .panel = {{.title = "Service difference, average over the windows",
                                  .x_label = "", .y_label = "Cost units per second"}}};
    const char **bar = arena_calloc(&p->ar, n, sizeof(*bar));
    struct figure_line *published = figure_line(&f.panel[0], "published", 2, n, &p->ar);
    struct figure_line *ours = figure_line(&f.panel[0], "simulated", 3, n, &p->ar);

    if (!bar || !published || !ours) {
        return no_memory(e);
    }
    f.panel[0].bar = bar;
    for (size_t i = 0; i < n; i++) {
        bar[i] = with_load ? arena_printf(&p->ar, "%s, %s", c[i].label, c[i].load->name) : c[i].label;
        published->x[i] = ours->x[i] = (double)i;
        published->y[i] = c[i].mean;
        ours->y[i] = t[i].mean;
        if (!bar[i]) {
            return no_memory(e);
        }
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int table(struct repro *p, const struct table_case *c, size_t n, enum fairness_cost cost,
                 struct table_result *ret, struct err *e)
{
    bool with_load = c[0].load != c[n - 1].load;
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        if (table_case(p, &c[i], cost, with_load, &ret[i], e) < 0) {
            return e->code;
        }
        any = any || isfinite(ret[i].mean);
    }
    return p->figures && any ? table_figure(p, c, ret, n, with_load, e) : 0;
}

static double mean_of(const struct table_case *c, const struct table_result *t, size_t n,
                      const struct load *load, const char *label)
{
    for (size_t i = 0; i < n; i++) {
        if (c[i].load == load && strcmp(c[i].label, label) == 0) {
            return t[i].mean;
        }
    }
    return (double)NAN;
}

/* The order in which the averages of Table 2 stand. */
static int real_order(struct repro *p, const struct table_case *c, const struct table_result *t, size_t n,
                      struct err *e)
{
    static const char *const order[] = {"RPM 5", "RPM 20", "VTC oracle", "VTC predict", "VTC", "LCF",
                                        "FCFS"};
    double mean[COUNT(order)];

    for (size_t i = 0; i < COUNT(order); i++) {
        mean[i] = mean_of(c, t, n, &real_load, order[i]);
    }
    return repro_order(p, "order of avg diff: RPM 5 < RPM 20 < VTC oracle < VTC predict < VTC < LCF < FCFS",
                       mean, COUNT(order), e);
}

/* Work-conserving schedulers serve the same tokens in the same time. RPM rejects requests, so it is not
 * one of them. */
static int throughput_spread(struct repro *p, const struct table_case *c, const struct table_result *t,
                             size_t n, struct err *e)
{
    double least[2] = {INFINITY, INFINITY}, most[2] = {0, 0};

    for (size_t i = 0; i < n; i++) {
        const double v[2] = {c[i].tok_s, t[i].tok_s};

        for (int k = 0; k < 2 && c[i].scheduler; k++) {
            least[k] = fmin(least[k], v[k]);
            most[k] = fmax(most[k], v[k]);
        }
    }
    return repro_at_most(p, "throughput of the work-conserving: largest over smallest - 1, at most 0.01",
                         most[0] / least[0] - 1, most[1] > 0 ? most[1] / least[1] - 1 : NONE, 0.01, e);
}

static int run_table2(struct repro *p, struct err *e)
{
    static const struct table_case c[] = {
        {&real_load, "FCFS", "FCFS", 0, 759.97, 433.53, 32112, 777, NONE},
        {&real_load, "LCF", "LCF", 0, 750.49, 323.82, 29089, 778, NONE},
        {&real_load, "VTC", "VTC", 0, 368.40, 251.66, 6549, 779, NONE},
        {&real_load, "VTC predict", "VTC_predict", 0, 365.47, 240.33, 5322, 773, NONE},
        {&real_load, "VTC oracle", "VTC_oracle", 0, 329.46, 227.51, 4476, 781, NONE},
        {&real_load, "RPM 5", NULL, 5, 143.86, 83.58, 1020, 340, 919},
        {&real_load, "RPM 10", NULL, 10, 217.65, 128.24, 2767, 532, 600},
        {&real_load, "RPM 15", NULL, 15, 343.07, 161.06, 5189, 626, 447},
        {&real_load, "RPM 20", NULL, 20, 446.76, 195.71, 7450, 694, 342},
        {&real_load, "RPM 30", NULL, 30, 693.66, 309.45, 24221, 747, 176},
    };
    struct table_result t[COUNT(c)];

    if (table(p, c, COUNT(c), FAIRNESS_LINEAR, t, e) < 0 || real_order(p, c, t, COUNT(c), e) < 0) {
        return e->code;
    }
    return throughput_spread(p, c, t, COUNT(c), e);
}

static int run_table2_profiled(struct repro *p, struct err *e)
{
    static const struct table_case c[] = {
        {&real_load, "FCFS", "FCFS", 0, 743.23, 457.29, 26645, 777, NONE},
        {&real_load, "LCF", "LCF", 0, 709.35, 384.78, 23299, 778, NONE},
        {&real_load, "VTC", "VTC_profile", 0, 707.35, 368.74, 21919, 780, NONE},
        {&real_load, "VTC predict", "VTC_predict_profile", 0, 617.22, 337.05, 11803, 778, NONE},
        {&real_load, "VTC oracle", "VTC_oracle_profile", 0, 387.43, 277.18, 4542, 783, NONE},
        {&real_load, "RPM 5", NULL, 5, 230.78, 151.00, 823, 340, NONE},
        {&real_load, "RPM 20", NULL, 20, 445.34, 270.51, 5939, 694, NONE},
        {&real_load, "RPM 30", NULL, 30, 801.16, 377.22, 25980, 747, NONE},
        {&overload_600, "FCFS", "FCFS", 0, 323.18, 317.13, 16, 876, NONE},
        {&overload, "VTC", "VTC_profile", 0, 137.27, 74.87, 2819, 900, NONE},
        {&overload, "VTC oracle", "VTC_oracle_profile", 0, 4.28, 0.34, 1, 893, NONE},
        {&overload_multi, "FCFS", "FCFS", 0, 179.07, 166.84, 544, 875, NONE},
        {&overload_multi, "VTC", "VTC_profile", 0, 1086.33, 465.46, 45330, 896, NONE},
        {&overload_multi, "VTC pred. 50 %", "VTC_pred_50_profile", 0, 96.23, 62.43, 345, 875, NONE},
        {&overload_multi, "VTC oracle", "VTC_oracle_profile", 0, 31.14, 26.59, 28, 876, NONE},
    };
    struct table_result t[COUNT(c)];

    if (table(p, c, COUNT(c), FAIRNESS_PROFILED, t, e) < 0) {
        return e->code;
    }
    return real_order(p, c, t, COUNT(c), e);
}

static int run_predictors(struct repro *p, struct err *e)
{
    static const struct table_case c[] = {
        {&overload_600, "FCFS", "FCFS", 0, 447.37, 439.00, 31, 876, NONE},
        {&overload, "VTC", "VTC", 0, 192.88, 103.77, 6981, 893, NONE},
        {&overload, "VTC pred. 50 %", "VTC_pred_50", 0, 33.98, 12.54, 112, 904, NONE},
        {&overload, "VTC oracle", "VTC_oracle", 0, 5.87, 0.51, 2, 895, NONE},
        {&overload_multi, "FCFS", "FCFS", 0, 247.88, 230.81, 1084, 875, NONE},
        {&overload_multi, "VTC", "VTC", 0, 322.16, 162.20, 5151, 875, NONE},
        {&overload_multi, "VTC pred. 50 %", "VTC_pred_50", 0, 99.43, 66.32, 487, 875, NONE},
        {&overload_multi, "VTC oracle", "VTC_oracle", 0, 43.23, 36.34, 57, 875, NONE},
    };
    static const char *const order[] = {"VTC oracle", "VTC pred. 50 %", "VTC"};
    const struct load *const load[] = {&overload, &overload_multi};
    struct table_result t[COUNT(c)];

    if (table(p, c, COUNT(c), FAIRNESS_LINEAR, t, e) < 0) {
        return e->code;
    }
    for (size_t k = 0; k < COUNT(load); k++) {
        const char *name = arena_printf(&p->ar, "%s: order of avg diff: VTC oracle < VTC pred. 50 %% < VTC",
                                        load[k]->name);
        double mean[COUNT(order)];

        for (size_t i = 0; i < COUNT(order); i++) {
            mean[i] = mean_of(c, t, COUNT(c), load[k], order[i]);
        }
        if (!name || repro_order(p, name, mean, COUNT(order), e) < 0) {
            return name ? e->code : no_memory(e);
        }
    }
    return 0;
}

/* ---- figures: service over time ---- */

#define STEP_S 10.0 /* between points of a curve */

enum curve { CURVE_SERVICE, CURVE_RESPONSE, CURVE_GAP };

static double curve_at(const struct fairness *f, enum curve what, uint32_t client, double x, double skip_s)
{
    switch (what) {
    case CURVE_SERVICE:
        return fairness_service(f, client, x - WINDOW_S / 2, x + WINDOW_S / 2) / WINDOW_S;
    case CURVE_RESPONSE:
        return fairness_response(f, client, x - WINDOW_S / 2, x + WINDOW_S / 2);
    default:
        return fairness_gap(f, x, skip_s);
    }
}

static int add_curve(struct repro *p, struct figure_panel *panel, const char *title, int colour,
                     const struct repro_run *r, enum side side, enum curve what, uint32_t client,
                     double skip_s, struct err *e)
{
    struct fairness f = repro_side(r, REPRO_MIDDLE, side, FAIRNESS_LINEAR);
    size_t n = (size_t)(fairness_horizon(&f) / STEP_S);
    struct figure_line *l = figure_line(panel, title, colour, n, &p->ar);

    if (!l) {
        return no_memory(e);
    }
    l->recorded = side == REAL;
    for (size_t i = 0; i < n; i++) {
        l->x[i] = STEP_S * (double)(i + 1);
        l->y[i] = curve_at(&f, what, client, l->x[i], skip_s);
    }
    return 0;
}

static bool has_side(const struct repro_run *r, enum side side, bool measured)
{
    return r->n > 0 && (side == SIMULATED || (r->recorded && measured));
}

/* Ours, and the recorded run where the file was made by this scheduler. */
static int add_curves(struct repro *p, struct figure_panel *panel, const char *title, int colour,
                      const struct repro_run *r, bool measured, enum curve what, uint32_t client,
                      double skip_s, struct err *e)
{
    for (enum side s = 0; s < SIDES; s++) {
        const char *name = arena_printf(&p->ar, "%s%s", title, s == REAL ? ", recorded" : "");

        if (!name) {
            return no_memory(e);
        }
        if (has_side(r, s, measured) &&
            add_curve(p, panel, name, colour, r, s, what, client, skip_s, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

static int client_panel(struct repro *p, struct figure *f, const char *title, const char *y_label,
                        const struct repro_run *r, bool measured, enum curve what, struct err *e)
{
    struct figure_panel *panel = &f->panel[f->n++];

    *panel = (struct figure_panel){.title = title, .x_label = "Time (s)", .y_label = y_label};
    for (uint32_t c = 0; c < r->n_clients && c < FIGURE_LINES / 2; c++) {
        const char *name = arena_printf(&p->ar, "client %u", c + 1);

        if (!name || add_curves(p, panel, name, (int)c + 1, r, measured, what, c, 0, e) < 0) {
            return name ? e->code : no_memory(e);
        }
    }
    return 0;
}

/* ---- figures 3 to 10 ---- */

struct suite_run {
    const char *label, *scheduler;
    const char *recorded; /* run of this scheduler; NULL = none is at hand */
    const char *trace;    /* the same load, generated */
    double gap_max, gap_mean; /* accumulated difference, published */
    double total_s;           /* of a run whose requests are not at hand */
};

#define SUITE_RUNS 3

struct suite {
    struct suite_run run[SUITE_RUNS];
    size_t n;
    size_t vtc, fcfs; /* runs of equal length, for the order */
    bool bounded;     /* all clients are backlogged: 2U = 40000 holds for VTC and not for FCFS */
    bool by_latency;  /* client 1 asks for less than its share: VTC answers it sooner than FCFS */
};

static int suite_value(struct repro *p, const char *label, const char *what, const char *unit,
                       double published, const struct repro_estimate *ours, double tolerance, struct err *e)
{
    const char *name = arena_printf(&p->ar, "%s: %s", label, what);

    if (!isfinite(published)) {
        return 0;
    }
    return name ? repro_value(p, name, unit, published, ours, tolerance, e) : no_memory(e);
}

/* Mean over the 19 windows around T/20*i. */
static double mean_service(const struct fairness *f, uint32_t client)
{
    double horizon_s = fairness_horizon(f), sum = 0;

    for (int i = 1; i < 20; i++) {
        double x = horizon_s / 20 * i;

        sum += fairness_service(f, client, x - WINDOW_S / 2, x + WINDOW_S / 2) / WINDOW_S / 19;
    }
    return sum;
}

struct suite_numbers {
    struct repro_estimate gap_max, gap_mean, total_s;
};

static struct suite_numbers suite_numbers(const struct repro_run *r, int ticks, double skip_s)
{
    struct suite_numbers v = {0};

    for (size_t i = 0; i < r->n; i++) {
        struct fairness f = repro_side(r, i, SIMULATED, FAIRNESS_LINEAR);
        struct fairness_gaps g = fairness_gaps(&f, ticks, skip_s);

        repro_note(&v.gap_max, g.max);
        repro_note(&v.gap_mean, g.mean);
        repro_note(&v.total_s, fairness_total_s(&f));
    }
    return v;
}

static struct repro_estimate client_latency(const struct repro_run *r, uint32_t client)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < r->n; i++) {
        struct fairness f = repro_side(r, i, SIMULATED, FAIRNESS_LINEAR);

        repro_note(&v, fairness_response(&f, client, 0, INFINITY));
    }
    return v;
}

static struct repro_estimate client_service(const struct repro_run *r, uint32_t client)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < r->n; i++) {
        struct fairness f = repro_side(r, i, SIMULATED, FAIRNESS_LINEAR);

        repro_note(&v, mean_service(&f, client));
    }
    return v;
}

static int suite_clients(struct repro *p, const char *label, const struct repro_run *r, struct err *e)
{
    struct fairness real = repro_side(r, 0, REAL, FAIRNESS_LINEAR);

    for (uint32_t c = 0; c < r->n_clients; c++) {
        const char *ftl = arena_printf(&p->ar, "mean first-token latency, client %u", c + 1);
        const char *rate = arena_printf(&p->ar, "service, client %u", c + 1);
        struct repro_estimate latency = client_latency(r, c), service = client_service(r, c);

        if (!ftl || !rate) {
            return no_memory(e);
        }
        if (suite_value(p, label, ftl, "s", fairness_response(&real, c, 0, INFINITY), &latency,
                        REPRO_TOL_LATENCY, e) < 0 ||
            suite_value(p, label, rate, "1/s", mean_service(&real, c), &service, REPRO_TOL_SERVICE, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* Accumulated differences and the total time; those of a recorded run come from its own requests. */
static int gap_rows(struct repro *p, const char *label, const struct repro_run *r,
                    const struct suite_numbers *v, double gap_max, double gap_mean, double total_s,
                    struct err *e)
{
    struct fairness real = repro_side(r, 0, REAL, FAIRNESS_LINEAR);

    if (suite_value(p, label, "accumulated difference, max", "1", gap_max, &v->gap_max, REPRO_TOL_DIFF,
                    e) < 0 ||
        suite_value(p, label, "accumulated difference, mean", "1", gap_mean, &v->gap_mean, REPRO_TOL_DIFF,
                    e) < 0) {
        return e->code;
    }
    return suite_value(p, label, "total time", "s", r->recorded ? fairness_total_s(&real) : total_s,
                       &v->total_s, REPRO_TOL_TOTAL, e);
}

static int suite_orders(struct repro *p, const struct suite *s, const struct repro_run *r,
                        const struct suite_numbers *v, struct err *e)
{
    struct repro_estimate vtc_ftl = client_latency(&r[s->vtc], 0), fcfs_ftl = client_latency(&r[s->fcfs], 0);
    double vtc = repro_mean(&v[s->vtc].gap_max), fcfs = repro_mean(&v[s->fcfs].gap_max);

    if (s->by_latency) {
        return repro_order(p, "mean first-token latency, client 1: VTC < FCFS",
                           (double[]){repro_mean(&vtc_ftl), repro_mean(&fcfs_ftl)}, 2, e);
    }
    if (s->bounded) {
        return repro_order(p, "accumulated difference, max: VTC < 2U = 40000 < FCFS",
                           (double[]){vtc, 2.0 * 2 * A10G_POOL, fcfs}, 3, e);
    }
    return repro_order(p, "accumulated difference, max: VTC < FCFS", (double[]){vtc, fcfs}, 2, e);
}

static int suite_figure(struct repro *p, const struct suite *s, const struct repro_run *r, struct err *e)
{
    struct figure f = {.name = p->id, .n = 1,
                       .panel = {{.title = "Accumulated difference in service", .x_label = "Time (s)",
                                  .y_label = "Cost units"}}};
    static const char rate[] = "Service (cost units per second)";

    for (size_t i = 0; i < s->n; i++) {
        if (add_curves(p, &f.panel[0], s->run[i].label, (int)i + 1, &r[i], true, CURVE_GAP, 0, 1, e) < 0) {
            return e->code;
        }
    }
    if (client_panel(p, &f, "Received service, VTC", rate, &r[s->vtc], true, CURVE_SERVICE, e) < 0 ||
        client_panel(p, &f, "Received service, FCFS", rate, &r[s->fcfs], true, CURVE_SERVICE, e) < 0 ||
        client_panel(p, &f, "Response time, VTC", "Mean first-token latency (s)", &r[s->vtc], true,
                     CURVE_RESPONSE, e) < 0) {
        return e->code;
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int suite_runs(struct repro *p, const struct suite *s, struct repro_run *r, struct err *e)
{
    struct suite_numbers v[SUITE_RUNS];

    for (size_t i = 0; i < s->n; i++) {
        const struct suite_run *u = &s->run[i];
        struct repro_setup setup = {.policy = slora_policy(u->scheduler), .pool_tok = A10G_POOL,
                                    .recorded = u->recorded, .trace = u->trace};

        if (repro_simulate(p, &setup, &r[i], e) < 0) {
            return e->code;
        }
        v[i] = suite_numbers(&r[i], 20, 1);
        if (gap_rows(p, u->label, &r[i], &v[i], u->gap_max, u->gap_mean, u->total_s, e) < 0 ||
            (r[i].recorded && suite_clients(p, u->label, &r[i], e) < 0)) {
            return e->code;
        }
    }
    return suite_orders(p, s, r, v, e);
}

static int suite(struct repro *p, const struct suite *s, struct err *e)
{
    struct repro_run r[SUITE_RUNS] = {0};
    int rc = suite_runs(p, s, r, e);

    rc = rc < 0 || !p->figures ? rc : suite_figure(p, s, r, e);
    for (size_t i = 0; i < SUITE_RUNS; i++) {
        repro_run_release(&r[i]);
    }
    return rc;
}

#define VTC(...)       {"VTC", "VTC", __VA_ARGS__}
#define VTC_AGAIN(...) {"VTC, second recorded run", "VTC", __VA_ARGS__}
#define FCFS(...)      {"FCFS", "FCFS", __VA_ARGS__}

static int run_fig3(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC("VTC_overload", "synth:vtc-overload", 7654, 3949, NONE),
                VTC_AGAIN("root__overload", "synth:vtc-overload{duration=600}", 1674, 765, NONE),
                FCFS("FCFS_overload", "synth:vtc-overload{duration=600}", 248716, 130290, NONE)},
        .n = 3, .vtc = 1, .fcfs = 2, .bounded = true};

    return suite(p, &s, e);
}

static int run_fig4(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC("VTC_proportional", "synth:vtc-proportional", NONE, NONE, NONE),
                VTC_AGAIN("root__proportional", "synth:vtc-proportional", NONE, NONE, NONE),
                FCFS("FCFS_proportional", "synth:vtc-proportional", NONE, NONE, NONE)},
        .n = 3, .vtc = 0, .fcfs = 2, .by_latency = true};

    return suite(p, &s, e);
}

static int run_fig5(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC("VTC_on_off_less", "synth:vtc-on-off-less", NONE, NONE, NONE),
                FCFS("FCFS_on_off_less", "synth:vtc-on-off-less", NONE, NONE, NONE)},
        .n = 2, .vtc = 0, .fcfs = 1, .by_latency = true};

    return suite(p, &s, e);
}

static int run_fig6(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC(NULL, "synth:vtc-on-off-overload", 8757, 3855, NONE),
                FCFS(NULL, "synth:vtc-on-off-overload", 370598, 162526, NONE)},
        .n = 2, .vtc = 0, .fcfs = 1, .bounded = true};

    return suite(p, &s, e);
}

static int run_fig7(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC(NULL, "synth:vtc-poisson-short-long", 18099, 14760, NONE),
                FCFS(NULL, "synth:vtc-poisson-short-long", 211842, 97981, NONE)},
        .n = 2, .vtc = 0, .fcfs = 1, .bounded = true};

    return suite(p, &s, e);
}

/* The recorded FCFS run is half as long; the order compares runs of that length. */
static int run_fig8(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC(NULL, "synth:vtc-poisson-short-long-2", 41458, 40739, NONE),
                FCFS(NULL, "synth:vtc-poisson-short-long-2{duration=300}", 325196, 173602, NONE),
                {"VTC, 300 s", "VTC", NULL, "synth:vtc-poisson-short-long-2{duration=300}", NONE, NONE,
                 NONE}},
        .n = 3, .vtc = 2, .fcfs = 1};

    return suite(p, &s, e);
}

static int run_fig9(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC("VTC_increase", "synth:vtc-increase", NONE, NONE, NONE),
                FCFS("FCFS_increase", "synth:vtc-increase", NONE, NONE, NONE)},
        .n = 2, .vtc = 0, .fcfs = 1, .by_latency = true};

    return suite(p, &s, e);
}

/* Total times of two recorded VTC runs (fairness.md 2.12). */
static int run_fig10(struct repro *p, struct err *e)
{
    static const struct suite s = {
        .run = {VTC(NULL, "synth:vtc-dist-shift", NONE, NONE, 1070.9),
                VTC_AGAIN(NULL, "synth:vtc-dist-shift", NONE, NONE, 1100.8),
                FCFS(NULL, "synth:vtc-dist-shift", NONE, NONE, NONE)},
        .n = 3, .vtc = 0, .fcfs = 2, .by_latency = true};

    return suite(p, &s, e);
}

/* ---- weights ---- */

/* Service relative to client 1 while all are backlogged, without the first minute. */
static struct repro_estimate relative_service(const struct repro_run *r, uint32_t client)
{
    struct repro_estimate v = {0};

    for (size_t i = 0; i < r->n; i++) {
        struct fairness f = repro_side(r, i, SIMULATED, FAIRNESS_LINEAR);
        double horizon_s = fairness_horizon(&f);

        repro_note(&v, fairness_service(&f, client, 60, horizon_s) / fairness_service(&f, 0, 60, horizon_s));
    }
    return v;
}

struct weighted_run {
    const char *label, *scheduler, *weights;
    double relative[4]; /* what the weights (or, for FCFS, the rates) ask for */
};

static int weighted_rows(struct repro *p, const struct weighted_run *w, const struct repro_run *r,
                         struct err *e)
{
    for (uint32_t c = 1; c < r->n_clients; c++) {
        const char *what = arena_printf(&p->ar, "service of client %u over client 1's", c + 1);
        struct repro_estimate v = relative_service(r, c);

        if (!what || suite_value(p, w->label, what, "1", w->relative[c], &v, REPRO_TOL_SERVICE, e) < 0) {
            return what ? e->code : no_memory(e);
        }
    }
    return 0;
}

static int weighted_figure(struct repro *p, const struct weighted_run *w, const struct repro_run *r,
                           size_t n, struct err *e)
{
    struct figure f = {.name = p->id};

    for (size_t i = 0; i < n; i++) {
        if (client_panel(p, &f, w[i].label, "Service (cost units per second)", &r[i], false,
                         CURVE_SERVICE, e) < 0) {
            return e->code;
        }
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

/* Appendix: weighted VTC. The recorded run sent in proportion to the weights, so that FCFS would have
 * passed as well (fairness.md 2.8, trap 4); here the rates are those of the suite's own list. */
static int run_weighted(struct repro *p, struct err *e)
{
    static const struct weighted_run w[] = {
        {"VTC, weights 1 2 3 4", "VTC", "1,2,3,4", {1, 2, 3, 4}},
        {"VTC, equal weights", "VTC", NULL, {1, 1, 1, 1}},
        {"FCFS", "FCFS", "1,2,3,4", {1, 0.8 / 0.8, 1.2 / 0.8, 1.6 / 0.8}},
    };
    struct repro_run r[COUNT(w)] = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < COUNT(w); i++) {
        struct repro_setup s = {.policy = slora_policy(w[i].scheduler), .pool_tok = A10G_POOL,
                                .trace = "synth:vtc-overload-weighted", .weights = w[i].weights};

        rc = repro_simulate(p, &s, &r[i], e);
        rc = rc < 0 ? rc : weighted_rows(p, &w[i], &r[i], e);
    }
    rc = rc < 0 || !p->figures ? rc : weighted_figure(p, w, r, COUNT(w), e);
    for (size_t i = 0; i < COUNT(w); i++) {
        repro_run_release(&r[i]);
    }
    return rc;
}

/* ---- size of the pool ---- */

struct pool_run {
    const char *label, *scheduler, *recorded, *trace;
    double pool_tok, gap_max, gap_mean;
};

#define POOL_TICKS  100
#define POOL_SKIP_S 120

static int pool_figure(struct repro *p, const struct pool_run *s, const struct repro_run *r, size_t n,
                       struct err *e)
{
    struct figure f = {.name = p->id, .n = 2};
    int colour[2] = {0, 0};

    for (size_t i = 0; i < 2; i++) {
        f.panel[i] = (struct figure_panel){.title = i ? "Accumulated difference, pool of 65 000 tokens"
                                                      : "Accumulated difference, pool of 35 000 tokens",
                                           .x_label = "Time (s)", .y_label = "Cost units"};
    }
    for (size_t i = 0; i < n; i++) {
        int k = s[i].pool_tok > 50000;

        if (strcmp(s[i].scheduler, "VTC") == 0 &&
            add_curves(p, &f.panel[k], s[i].label, ++colour[k], &r[i], true, CURVE_GAP, 0, POOL_SKIP_S,
                       e) < 0) {
            return e->code;
        }
    }
    return figure_draw(&f, p->figures, &p->ar, e);
}

static int pool_runs(struct repro *p, const struct pool_run *s, struct repro_run *r, double *max, size_t n,
                     struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        struct repro_setup setup = {.policy = slora_policy(s[i].scheduler), .pool_tok = s[i].pool_tok,
                                    .a100 = true, .recorded = s[i].recorded, .trace = s[i].trace};

        if (repro_simulate(p, &setup, &r[i], e) < 0) {
            return e->code;
        }
        struct suite_numbers v = suite_numbers(&r[i], POOL_TICKS, POOL_SKIP_S);

        max[i] = repro_mean(&v.gap_max);
        if (gap_rows(p, s[i].label, &r[i], &v, s[i].gap_max, s[i].gap_mean, NONE, e) < 0) {
            return e->code;
        }
    }
    return 0;
}

/* Figure 15, A100-80GB and Llama-13B: section 6.4's 100 ticks, requests that end before 120 s left out. */
static int run_pool(struct repro *p, struct err *e)
{
    static const struct pool_run s[] = {
        {"pool 35000, 256 tokens", "VTC", "A100_pool35000__VTC_overload_s4_256",
         "synth:vtc-overload-s4-256", 35000, 31952, 12160},
        {"pool 35000, 512 tokens", "VTC", "A100_pool35000__VTC_overload_s4_512",
         "synth:vtc-overload-s4-512", 35000, 51713, 21962},
        {"pool 35000, 768 tokens", "VTC", "A100_pool35000__VTC_overload_s4_768",
         "synth:vtc-overload-s4-768", 35000, 51660, 21897},
        {"pool 65000, 256 tokens", "VTC", NULL,
         "synth:uniform{rates=4;8,duration=600,prompt=256,output=256}", 65000, 47117, 15199},
        {"pool 65000, 512 tokens", "VTC", NULL,
         "synth:uniform{rates=2;4,duration=600,prompt=512,output=512}", 65000, 95641, 40471},
        {"pool 65000, 768 tokens", "VTC", NULL,
         "synth:uniform{rates=1.5;3,duration=600,prompt=768,output=768}", 65000, 91056, 35742},
        {"pool 65000, 256 tokens, FCFS", "FCFS", NULL,
         "synth:uniform{rates=4;8,duration=600,prompt=256,output=256}", 65000, 743296, 306287},
    };
    struct repro_run r[COUNT(s)] = {0};
    double max[COUNT(s)];
    int rc = pool_runs(p, s, r, max, COUNT(s), e);

    for (size_t i = 0; rc == 0 && i < 3; i++) {
        const char *name = arena_printf(&p->ar, "accumulated difference, max: %s < pool 65000 < 2U = 260000",
                                        s[i].label);
        const double value[] = {max[i], max[i + 3], 4 * s[i + 3].pool_tok};

        rc = name ? repro_order(p, name, value, 3, e) : no_memory(e);
    }
    rc = rc < 0 || !p->figures ? rc : pool_figure(p, s, r, COUNT(s), e);
    for (size_t i = 0; i < COUNT(s); i++) {
        repro_run_release(&r[i]);
    }
    return rc;
}

#define PAPER "VTC, OSDI'24"

const struct reproduction reproductions_vtc[] = {
    {"vtc-table2", PAPER, "table 2: service difference on the real trace", run_table2},
    {"vtc-table2-profiled", PAPER, "appendix: service difference under the profiled cost",
     run_table2_profiled},
    {"vtc-fig3", PAPER, "figure 3: two backlogged clients", run_fig3},
    {"vtc-fig4", PAPER, "figure 4: two clients below their share, one above", run_fig4},
    {"vtc-fig5", PAPER, "figure 5: a client on and off, below its share", run_fig5},
    {"vtc-fig6", PAPER, "figure 6: a client on and off, above its share", run_fig6},
    {"vtc-fig7", PAPER, "figure 7: many short against few long requests", run_fig7},
    {"vtc-fig8", PAPER, "figure 8: long prompts against long outputs", run_fig8},
    {"vtc-fig9", PAPER, "figure 9: a client that asks for more and more", run_fig9},
    {"vtc-fig10", PAPER, "figure 10: three phases of load", run_fig10},
    {"vtc-weighted", PAPER, "appendix: clients with weights", run_weighted},
    {"vtc-pool", PAPER, "figure 15: size of the KV pool and length of requests", run_pool},
    {"vtc-predictors", PAPER, "appendix: output lengths predicted or known", run_predictors},
    {.id = NULL},
};
