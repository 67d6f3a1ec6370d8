/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard fit: from measurements to a profile for the cost model `table`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calibrate/fit.h"
#include "sim/cli/cli.h"
#include "sim/core/json.h"
#include "sim/core/opt.h"

static const char usage[] =
    "usage: steelyard fit MEASUREMENTS --from SOURCE --gpu GPU --model MODEL [--tp N] -o PROFILE\n"
    "\n"
    "Turns measured kernel times into a profile for the cost model table{profile=PROFILE} and reports the\n"
    "error per family of kernels on points that were left out of the fit, beside the error of the plain\n"
    "roofline on the same points.\n"
    "\n"
    "  --from SOURCE      whose tables MEASUREMENTS (a folder) holds:\n"
    "                       aiconfigurator  matrix products, attention, experts, all-reduces\n"
    "                       llmservingsim   layers and attention inside vLLM, unequal contexts\n"
    "                       vidur           operators of a layer, all-reduces; attention assumed\n"
    "                       frontier        attention with FlashInfer; matrix products assumed\n"
    "                       distserve       coefficients of iterations (--engine vllm: those of vLLM)\n"
    "                       vtc             request times of S-LoRA on A10G\n"
    "  --gpu GPU          bundled name or profile\n"
    "  --model MODEL      bundled name or config.json\n"
    "  --tp N             tensor-parallel degree (default 1)\n"
    "  --weight-dtype T   of the weights; default as the model's configuration says\n"
    "  --engine VERSION   of vLLM, as 0.15.1: the newest table not after it is taken (default: newest)\n"
    "  --collectives DIR  folder with custom_allreduce.csv.gz (default: MEASUREMENTS, or aiconfigurator\n"
    "                     beside it)\n"
    "  -o, --output FILE  the profile\n"
    "  --format FORMAT    report as text (default), json or csv\n"
    "  --data-dir DIR     folder with llms/ and gpus/\n"
    "\n"
    "Examples:\n"
    "  steelyard fit ../shared/data/profiles/llmservingsim --from llmservingsim \\\n"
    "      --gpu rtx-pro-6000 --model llama-3.1-8b -o rtx-llama.json\n";

extern const struct subcommand cmd_fit;

struct options {
    struct fit_request q;
    const char *output, *tp, *format;
    void (*print)(const struct profile *p, const char *path);
};

/* ---- the report ---- */

static void print_range(const struct profile_term *t)
{
    for (uint32_t d = 0; d < t->n_axes; d++) {
        printf("%s%s %g..%g", d ? ", " : "", profile_axis_names[t->axis[d]], t->at[d][0], t->at[d][t->n[d] - 1]);
    }
    printf("\n");
}

static void print_text(const struct profile *p, const char *path)
{
    printf("%s: %s, %u x %s\n  %s\n\n", path, p->model, p->tp, p->gpu, p->provenance);
    printf("  %-14s%9s%14s%12s%14s\n", "family", "points", "held-out error", "p90", "roofline");
    for (uint32_t i = 0; i < p->n_errors; i++) {
        const struct profile_error *x = &p->error[i];
        printf("  %-14s%9u%12.2f %%%10.2f %%", x->family, x->points, 100 * x->error, 100 * x->p90);
        if (isfinite(x->roofline_error)) {
            printf("%12.2f %%", 100 * x->roofline_error);
        }
        printf("\n");
    }
    printf("\n  %-22s%-12s%8s  range\n", "term", "family", "count");
    for (uint32_t i = 0; i < p->n_terms; i++) {
        printf("  %-22s%-12s%8g  ", p->term[i].name, p->term[i].family, p->term[i].count);
        print_range(&p->term[i]);
    }
    for (uint32_t i = 0; i < p->skew.n; i++) {
        printf("%s%g: %.3f / %.3f", i ? ", " : "\n  unequal contexts, shift by number of decodes (alone / with a chunk): ",
               p->skew.decodes[i], p->skew.pure[i], p->skew.mixed[i]);
    }
    printf("%s", p->skew.n ? "\n" : "");
}

static void print_json(const struct profile *p, const char *path)
{
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
        json_end(&w);
    }
    json_end(&w);
    json_end(&w);
    printf("\n");
}

static void print_csv(const struct profile *p, const char *path)
{
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

/* ---- words of the command line ---- */

static int flags(struct options *o, int argc, char **argv, int *i, struct err *e)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {
        {"--from", &o->q.source},       {"--gpu", &o->q.gpu},
        {"--model", &o->q.model},       {"--tp", &o->tp},
        {"--weight-dtype", &o->q.weight_dtype}, {"--engine", &o->q.version},
        {"--collectives", &o->q.collectives},   {"--output", &o->output},
        {"-o", &o->output},             {"--format", &o->format},
        {"--data-dir", &o->q.data_dir},
    };
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        int rc = cli_flag_value(known[k].name, argc, argv, i, known[k].value, e);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int check_source(const struct options *o, struct err *e)
{
    const char *names[32];
    size_t n = 0;
    while (n < 32 && fit_sources[n].name) {
        names[n] = fit_sources[n].name;
        n++;
    }
    if (!fit_source_find(o->q.source)) {
        return cli_not_known("source", o->q.source, names, n, " (steelyard fit --help)", SIM_E_USAGE, e);
    }
    return 0;
}

static int check(struct options *o, struct err *e)
{
    const struct {
        const char *what, *value;
    } needed[] = {{"measurements", o->q.dir}, {"--from SOURCE", o->q.source}, {"--gpu GPU", o->q.gpu},
                  {"--model MODEL", o->q.model}, {"-o PROFILE", o->output}};
    static const char *const formats[] = {"text", "json", "csv"};
    void (*const printers[])(const struct profile *, const char *) = {print_text, print_json, print_csv};
    int64_t tp = 1;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!needed[i].value) {
            return err_set(e, SIM_E_USAGE, "fit: no %s given (see steelyard fit --help)", needed[i].what);
        }
    }
    if (o->tp && (!text_to_int64(o->tp, &tp) || tp < 1 || tp > 1024)) {
        return err_set(e, SIM_E_USAGE, "--tp: '%s' is no degree from 1 to 1024", o->tp);
    }
    o->q.tp = (uint32_t)tp;
    for (size_t i = 0; i < 3 && !o->print; i++) {
        o->print = strcmp(o->format ? o->format : "text", formats[i]) == 0 ? printers[i] : NULL;
    }
    if (!o->print) {
        return cli_not_known("format", o->format, formats, 3, " (text, json, csv)", SIM_E_USAGE, e);
    }
    return check_source(o, e);
}

static int parse(struct options *o, int argc, char **argv, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        int rc = flags(o, argc, argv, &i, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && (argv[i][0] == '-' || o->q.dir)) {
            return cli_unknown(&cmd_fit, argv[i], e);
        }
        if (rc == 0) {
            o->q.dir = argv[i];
        }
    }
    return check(o, e);
}

/* Written beside and moved over, so that a reader never sees half a profile. */
static int save(const struct profile *p, const char *path, struct arena *ar, struct err *e)
{
    const char *part = arena_printf(ar, "%s.part", path);
    FILE *out = part ? fopen(part, "w") : NULL;
    if (!out) {
        return err_set(e, SIM_E_IO, "%s: cannot be written", path);
    }
    int rc = profile_write(p, out, e);
    if ((fclose(out) != 0 || rc < 0 || rename(part, path) != 0) && rc == 0) {
        rc = err_set(e, SIM_E_IO, "%s: cannot be written", path);
    }
    if (rc < 0) {
        unlink(part);
    }
    return rc;
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct options o = {0};
    struct fit *f = arena_alloc(&ar, sizeof(*f));
    int rc = f ? parse(&o, argc, argv, e) : err_set(e, SIM_E_NOMEM, "out of memory");
    if (rc == 0) {
        o.q.data_dir = steelyard_data_dir(o.q.data_dir, &ar);
        rc = fit_run(f, &o.q, &ar, e);
        if (rc == 0 && save(&f->profile, o.output, &ar, e) == 0) {
            o.print(&f->profile, o.output);
        }
        fit_release(f);
    }
    arena_release(&ar);
    return e->code;
}

const struct subcommand cmd_fit = {"fit", "turn measured kernel times into a profile", usage, run};
