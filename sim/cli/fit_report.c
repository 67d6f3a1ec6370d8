/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/fit_report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/cli/gnuplot.h"
#include "sim/core/json.h"

static void print_range(const struct profile_term *t)
{
    for (uint32_t d = 0; d < t->n_axes; d++) {
        printf("%s%s %g..%g", d ? ", " : "", profile_axis_names[t->axis[d]], t->at[d][0], t->at[d][t->n[d] - 1]);
    }
    printf("\n");
}

static void print_curve(const struct fit_curve *c)
{
    printf("\n  %s, as computed (spread %.1f %%):\n   ", c->name, 100 * c->spread);
    for (uint32_t i = 0; i < c->n; i++) {
        printf(" %s %.3g%s%s%s", c->coef[i], c->c[i], strcmp(c->unit[i], "1") ? " " : "",
               strcmp(c->unit[i], "1") ? c->unit[i] : "", i + 1 < c->n ? "," : "\n");
    }
}

static void print_notes(const struct fit *f)
{
    for (uint32_t i = 0; i < f->n_curves; i++) {
        print_curve(&f->curve[i]);
    }
    for (uint32_t i = 0; i < f->n_notes; i++) {
        printf("%s  note: %s\n", i ? "" : "\n", f->note[i]);
    }
}

/* Columns as wide as their longest name, and two blanks. */
static int width_of(const struct profile *p, bool term, int least)
{
    size_t n = 0;
    for (uint32_t i = 0; i < (term ? p->n_terms : p->n_errors); i++) {
        size_t len = strlen(term ? p->term[i].name : p->error[i].family);
        n = len > n ? len : n;
    }
    return (int)n + 2 > least ? (int)n + 2 : least;
}

static bool worse_than_roofline(const struct profile_error *x)
{
    return isfinite(x->roofline_error) && x->error > x->roofline_error;
}

static void print_worse(const struct profile *p)
{
    for (uint32_t i = 0; i < p->n_errors; i++) {
        if (worse_than_roofline(&p->error[i])) {
            printf("  note: %s: the fit is worse than the roofline on the points left out\n", p->error[i].family);
        }
    }
}

static void print_text(const struct fit *f, const char *path)
{
    const struct profile *p = &f->profile;
    int family = width_of(p, false, 14), term = width_of(p, true, 22);
    printf("%s: %s, %u x %s\n  %s\n\n", path, p->model, p->tp, p->gpu, p->provenance);
    printf("  %-*s%9s%16s%12s%14s\n", family, "family", "points", "held-out error", "p90", "roofline");
    for (uint32_t i = 0; i < p->n_errors; i++) {
        const struct profile_error *x = &p->error[i];
        printf("  %-*s%9u%14.2f %%%10.2f %%", family, x->family, x->points, 100 * x->error, 100 * x->p90);
        if (isfinite(x->roofline_error)) {
            printf("%12.2f %%", 100 * x->roofline_error);
        }
        printf("\n");
    }
    printf("\n  %-*s%-12s%8s  range\n", term, "term", "family", "count");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        printf("  %-*s%-12s%8g  ", term, p->term[i].name, p->term[i].family, p->term[i].count);
        print_range(&p->term[i]);
    }
    for (uint32_t i = 0; i < p->skew.n; i++) {
        printf("%s%g: %.3f / %.3f", i ? ", " : "\n  unequal contexts, shift by number of decodes (alone / with a chunk): ",
               p->skew.decodes[i], p->skew.pure[i], p->skew.mixed[i]);
    }
    printf("%s", p->skew.n ? "\n" : "");
    print_notes(f);
    print_worse(p);
}

static void json_notes(struct json_writer *w, const struct fit *f)
{
    json_key(w, "curves");
    json_array(w);
    for (uint32_t i = 0; i < f->n_curves; i++) {
        const struct fit_curve *c = &f->curve[i];
        json_object(w);
        json_kv_string(w, "name", c->name);
        json_kv_double(w, "spread", c->spread);
        for (uint32_t k = 0; k < c->n; k++) {
            json_kv_double(w, c->coef[k], c->c[k]);
        }
        json_end(w);
    }
    json_end(w);
    json_key(w, "notes");
    json_array(w);
    for (uint32_t i = 0; i < f->n_notes; i++) {
        json_string(w, f->note[i]);
    }
    json_end(w);
}

static void print_json(const struct fit *f, const char *path)
{
    const struct profile *p = &f->profile;
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "schema", "steelyard.fit/1");
    json_kv_string(&w, "profile", path);
    json_kv_string(&w, "source", p->source);
    json_kv_string(&w, "provenance", p->provenance);
    json_kv_string(&w, "gpu", p->gpu);
    json_kv_string(&w, "model", p->model);
    json_kv_int(&w, "tp", p->tp);
    json_key(&w, "families");
    json_array(&w);
    for (uint32_t i = 0; i < p->n_errors; i++) {
        json_object(&w);
        json_kv_string(&w, "family", p->error[i].family);
        json_kv_int(&w, "points", p->error[i].points);
        json_kv_double(&w, "held_out_error", p->error[i].error);
        json_kv_double(&w, "held_out_p90", p->error[i].p90);
        json_kv_double(&w, "roofline_error", p->error[i].roofline_error);
        json_kv_bool(&w, "worse_than_roofline", worse_than_roofline(&p->error[i]));
        json_end(&w);
    }
    json_end(&w);
    json_notes(&w, f);
    json_end(&w);
    printf("\n");
}

static void print_csv(const struct fit *f, const char *path)
{
    const struct profile *p = &f->profile;
    (void)path;
    printf("gpu,model,tp,source,family,points,held_out_error,held_out_p90,roofline_error\n");
    for (uint32_t i = 0; i < p->n_errors; i++) {
        const struct profile_error *x = &p->error[i];
        printf("%s,%s,%u,%s,%s,%u,%.4f,%.4f,", p->gpu, p->model, p->tp, p->source, x->family, x->points, x->error,
               x->p90);
        if (isfinite(x->roofline_error)) {
            printf("%.4f", x->roofline_error);
        }
        printf("\n");
    }
}

const char *const fit_formats[] = {"text", "json", "csv", NULL};

fit_printer *fit_printer_find(const char *format)
{
    fit_printer *const printers[] = {print_text, print_json, print_csv};
    for (size_t i = 0; fit_formats[i]; i++) {
        if (strcmp(format, fit_formats[i]) == 0) {
            return printers[i];
        }
    }
    return NULL;
}

/* ---- pictures ---- */

/* Fewer make no picture. */
#define DOTS_LEAST 3
/* More would make a picture of megabytes that shows no more. */
#define DOTS 3000

static FILE *open_in(const char *folder, const char *name, const char *ending, struct arena *ar, struct err *e)
{
    const char *path = arena_printf(ar, "%s/%s.%s", folder, name, ending);
    FILE *out = path ? fopen(path, "w") : NULL;
    if (!out) {
        err_set(e, SIM_E_IO, "%s/%s.%s: %s", folder, name, ending, strerror(errno));
    }
    return out;
}

static int close_in(FILE *out, const char *name, struct err *e)
{
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    return failed ? err_set(e, SIM_E_IO, "%s: not all of it was written", name) : 0;
}

static int write_dots(const struct tally *t, const char *folder, const char *name, struct arena *ar, struct err *e)
{
    FILE *dat = open_in(folder, name, "dat", ar, e);
    if (!dat) {
        return e->code;
    }
    fputs("# measured us, fit % off (held out), roofline % off\n", dat);
    for (size_t i = 0; i < t->n; i += t->n / DOTS + 1) {
        fprintf(dat, "%.6g %.4g ", t->measured[i], 100 * t->off[i]);
        fprintf(dat, isfinite(t->roofline_off[i]) ? "%.4g\n" : "NaN\n", 100 * t->roofline_off[i]);
    }
    return close_in(dat, name, e);
}

static int write_script(const struct fit *f, const char *family, const char *folder, const char *name,
                        struct arena *ar, struct err *e)
{
    FILE *gp = open_in(folder, name, "gp", ar, e);
    if (!gp) {
        return e->code;
    }
    gnuplot_style(gp);
    for (int svg = 1; svg >= 0; svg--) {
        gnuplot_terminal(gp, name, svg, 1100, 520);
        fputs("set multiplot layout 1,2 title ", gp);
        gnuplot_quoted(gp, arena_printf(ar, "%s of %s on %u x %s", family, f->profile.model, f->profile.tp, f->profile.gpu));
        fputs("\nset logscale x\nset xlabel 'measured, us'\nset ylabel 'predicted / measured - 1, %'\n"
              "set yrange [-60:60]\nset format x '%.0s%c'\nset key off\n", gp);
        fprintf(gp, "set title 'fit, points left out'\nplot '%s.dat' using 1:2 with points pt 7 ps 0.3 lt 3, 0 lt 1\n", name);
        fprintf(gp, "set title 'roofline, the same points'\nplot '%s.dat' using 1:3 with points pt 7 ps 0.3 lt 2, 0 lt 1\n", name);
        fputs("unset multiplot\n", gp);
    }
    return close_in(gp, name, e);
}

int fit_plot(const struct fit *f, const char *folder, struct arena *ar, struct err *e)
{
    if (gnuplot_folder(folder, e) < 0) {
        return e->code;
    }
    for (uint32_t i = 0; i < f->n_families; i++) {
        const char *name = arena_printf(ar, "residuals-%s", f->family[i]);
        if (f->tally[i].n < DOTS_LEAST) {
            continue;
        }
        if (!name) {
            return err_set(e, SIM_E_NOMEM, "out of memory");
        }
        if (write_dots(&f->tally[i], folder, name, ar, e) < 0 ||
            write_script(f, f->family[i], folder, name, ar, e) < 0 || gnuplot_run(folder, name, ar, e) < 0) {
            return e->code;
        }
    }
    return 0;
}
