/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard fit: from measurements to a profile for the cost model `table`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calibrate/fit.h"
#include "calibrate/probe_file.h"
#include "sim/cli/cli.h"
#include "sim/cli/fit_check.h"
#include "sim/cli/fit_collectives.h"
#include "sim/cli/fit_engine.h"
#include "sim/cli/fit_report.h"
#include "sim/core/opt.h"

static const char usage[] =
    "usage: steelyard fit PROBE.json --gpu GPU --model MODEL [--tp N] -o PROFILE\n"
    "       steelyard fit MEASUREMENTS --from SOURCE --gpu GPU --model MODEL [--tp N] -o PROFILE\n"
    "       steelyard fit OUTPUT... --from nccl-tests [--op OP] [--ranks N] [--nodes N] -o COLLECTIVES.json\n"
    "       steelyard fit RUN... --from run [--profile HARDWARE] [--held-out RUN] [...] -o ENGINE.json\n"
    "       steelyard fit --check-replay REPLAY.json [--profile PROFILE --plan PLAN.jsonl]\n"
    "\n"
    "Turns measured kernel times into a profile for the cost model table{profile=PROFILE} and reports the\n"
    "error per family of kernels on points that were left out of the fit, beside the error of the plain\n"
    "roofline on the same points.\n"
    "\n"
    "  --from SOURCE      whose tables MEASUREMENTS (a folder) holds; a probe's file says so itself:\n"
    "                       probe           file of steelyard-probe, whole or cut short\n"
    "                       aiconfigurator  matrix products, attention, experts, all-reduces\n"
    "                       llmservingsim   layers and attention inside vLLM, unequal contexts\n"
    "                       vidur           operators of a layer, all-reduces; attention assumed\n"
    "                       frontier        attention with FlashInfer; matrix products assumed\n"
    "                       distserve       coefficients of iterations (--engine vllm: those of vLLM)\n"
    "                       vtc             request times of S-LoRA on A10G\n"
    "                       nccl-tests      collectives, see below\n"
    "                       run             a real engine's requests or steps, see below\n"
    "  --gpu GPU          bundled name or profile\n"
    "  --model MODEL      bundled name or config.json\n"
    "  --tp N             tensor-parallel degree (default 1)\n"
    "  --weight-dtype T   of the weights; default as the model's configuration says\n"
    "  --engine VERSION   of vLLM, as 0.15.1: the newest table not after it is taken (default: newest)\n"
    "  --collectives DIR  of custom_allreduce.csv.gz (default: MEASUREMENTS, or aiconfigurator beside it)\n"
    "  -o, --output FILE  the profile\n"
    "  --scale FAMILY=X   a family's times X times as long, as attention=0.7 for an engine with faster\n"
    "                     kernels than those that were measured; may repeat\n"
    "  --plots FOLDER     pictures of the residuals, one for each family of 3 points or more\n"
    "  --format FORMAT    report as text (default), json or csv\n"
    "  --data-dir DIR     folder with llms/ and gpus/\n"
    "\n"
    "With --from run the engine's own times are fitted to measured runs (files that steelyard replay\n"
    "takes), and nothing of the hardware: host time of a step and of a sequence, the way to and from the\n"
    "client, the first step of all. They are written as a configuration for run and replay. A log of\n"
    "engine steps (CSV with n_decode, decode_tok, prefill_tok, duration_s) gives the host times alone.\n"
    "  --profile HARDWARE profile of the kernels; default: the cost model of the configuration\n"
    "  --held-out RUN     a run to check with; may repeat (default: every other tenth of the time)\n"
    "  --config CONFIG    and the flags of a configuration as for steelyard replay, over what the runs\n"
    "                     say of themselves\n"
    "  --quiet            no progress line\n"
    "\n"
    "--from nccl-tests: its output (or a probe's file) becomes times by size, for roofline{collectives=FILE} and the\n"
    "fabric; --op, --ranks and --nodes where the output does not say them.\n"
    "\n"
    "  --check-replay REPLAY  steps that the probe executed against their simulation: the\n"
    "                     plan's own, or with --profile and --plan that of a profile. Status 1 when the\n"
    "                     median error is above 5 % or the 95th percentile above 10 %.\n"
    "  --plan PLAN        the plan that was executed, as steelyard run wrote it\n"
    "\n"
    "Examples:\n"
    "  steelyard fit probe.json --gpu h200 --model llama-3.1-8b -o h200-llama.json --plots residuals\n"
    "  steelyard fit ../shared/data/profiles/llmservingsim --from llmservingsim \\\n"
    "      --gpu rtx-pro-6000 --model llama-3.1-8b -o rtx-llama.json\n"
    "  steelyard fit codegen.csv.gz --from run --profile h100-llama.json \\\n"
    "      --held-out roleplay.csv.gz -o engine.json\n"
    "  steelyard fit --check-replay replay.json --profile h200-llama.json --plan plan.jsonl\n";

extern const struct subcommand cmd_fit;

struct options {
    struct fit_request q;
    const char *output, *tp, *format, *plots, *one_scale;
    const char *scale[FIT_FAMILIES];
    struct fit_check replay;
    fit_printer *print;
};

/* ---- words of the command line ---- */

static int add_scale(struct options *o, struct err *e)
{
    if (o->q.n_scale == FIT_FAMILIES) {
        return err_set(e, SIM_E_USAGE, "--scale: given more than %d times", FIT_FAMILIES);
    }
    o->scale[o->q.n_scale++] = o->one_scale;
    o->q.scale = o->scale;
    return 1;
}

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
        {"--data-dir", &o->q.data_dir}, {"--plots", &o->plots},
        {"--scale", &o->one_scale},
        {"--check-replay", &o->replay.replay},  {"--plan", &o->replay.plan},
        {"--profile", &o->replay.profile},
    };
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        int rc = cli_flag_value(known[k].name, argc, argv, i, known[k].value, e);
        if (rc > 0 && known[k].value == &o->one_scale) {
            return add_scale(o, e);
        }
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
    while (n < 30 && fit_sources[n].name) {
        names[n] = fit_sources[n].name;
        n++;
    }
    if (!fit_source_find(o->q.source)) {
        names[n++] = "run";
        names[n++] = "nccl-tests";
        return cli_not_known("source", o->q.source, names, n, " (steelyard fit --help)", SIM_E_USAGE, e);
    }
    return 0;
}

/* A file that does not say what it is: missing, empty, or of another kind. */
static int check_file(const char *path, struct err *e)
{
    struct stat st;
    FILE *in = stat(path, &st) == 0 ? fopen(path, "r") : NULL;
    if (!in) {
        return err_set(e, SIM_E_IO, "%s: %s", path, strerror(errno));
    }
    fclose(in);
    if (S_ISREG(st.st_mode) && st.st_size == 0) {
        return err_set(e, SIM_E_DATA, "%s: is empty", path);
    }
    return err_set(e, SIM_E_DATA, "%s is %s; --from SOURCE says what it is (%s, ...; steelyard fit --help)", path,
                   S_ISDIR(st.st_mode) ? "a folder" : "no steelyard-probe file",
                   "run, aiconfigurator, llmservingsim");
}

static int check(struct options *o, struct err *e)
{
    const struct {
        const char *what, *value;
    } needed[] = {{"measurements", o->q.dir}, {"--from SOURCE", o->q.source}, {"--gpu GPU", o->q.gpu},
                  {"--model MODEL", o->q.model}, {"-o PROFILE", o->output}};
    int64_t tp = 1;
    if (o->q.dir && !o->q.source) {
        return check_file(o->q.dir, e);
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!needed[i].value) {
            return err_set(e, SIM_E_USAGE, "fit: no %s given (see steelyard fit --help)", needed[i].what);
        }
    }
    if (o->tp && (!text_to_int64(o->tp, &tp) || tp < 1 || tp > 1024)) {
        return err_set(e, SIM_E_USAGE, "--tp: '%s' is no degree from 1 to 1024", o->tp);
    }
    o->q.tp = (uint32_t)tp;
    o->print = fit_printer_find(o->format ? o->format : "text");
    if (!o->print) {
        return cli_not_known("format", o->format, fit_formats, 3, " (text, json, csv)", SIM_E_USAGE, e);
    }
    return check_source(o, e);
}

static int check_replay(struct options *o, struct err *e)
{
    if (o->q.dir || o->q.source || o->output) {
        return err_set(e, SIM_E_USAGE, "--check-replay goes with --profile, --plan and --format alone");
    }
    o->replay.json = o->format && strcmp(o->format, "json") == 0;
    if (o->format && !o->replay.json && strcmp(o->format, "text") != 0) {
        return cli_not_known("format", o->format, fit_formats, 2, " (text, json)", SIM_E_USAGE, e);
    }
    return 0;
}

static bool of_run(char **argv, int i)
{
    return cli_flag("--held-out", argv, i) || cli_flag("--config", argv, i) || cli_flag("--quiet", argv, i);
}

static bool of_nccl(char **argv, int i)
{
    return cli_flag("--op", argv, i) || cli_flag("--ranks", argv, i) || cli_flag("--nodes", argv, i);
}

static int parse(struct options *o, int argc, char **argv, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        int rc = flags(o, argc, argv, &i, e);
        if (rc < 0) {
            return rc;
        }
        if (rc == 0 && (of_run(argv, i) || of_nccl(argv, i))) {
            if (o->q.source && check_source(o, e) < 0) {
                return e->code;
            }
            return err_set(e, SIM_E_USAGE, "option '%s' goes with --from %s", argv[i], of_run(argv, i) ? "run" : "nccl-tests");
        }
        if (rc == 0 && (argv[i][0] == '-' || o->q.dir)) {
            return cli_unknown(&cmd_fit, argv[i], e);
        }
        if (rc == 0) {
            o->q.dir = argv[i];
        }
    }
    if (o->q.dir && !o->q.source && probe_file_is(o->q.dir)) {
        o->q.source = "probe";
    }
    return o->replay.replay ? check_replay(o, e) : check(o, e);
}

/* ---- the words of --from run: those of a configuration, too ---- */

struct run_words {
    struct fit_engine q;
    struct config_args args;
    const char *format, *from;
};

static int run_word(struct run_words *o, int argc, char **argv, int *i, struct arena *ar, struct err *e)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {{"--from", &o->from},      {"--profile", &o->q.profile}, {"--output", &o->q.output},
                 {"-o", &o->q.output},      {"--format", &o->format},     {"--config", &o->args.file},
                 {"--held-out", &o->q.held[o->q.n_held]}};
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        int rc = cli_flag_value(known[k].name, argc, argv, i, known[k].value, e);
        if (rc != 0) {
            o->q.n_held += rc > 0 && known[k].value == &o->q.held[o->q.n_held];
            return rc;
        }
    }
    if (cli_flag("--quiet", argv, *i) || cli_flag("-q", argv, *i)) {
        o->q.quiet = true;
        return 1;
    }
    int rc = cli_config_flag(&o->args, argc, argv, i, ar, e);
    if (rc == 0 && argv[*i][0] == '-') {
        return cli_unknown(&cmd_fit, argv[*i], e);
    }
    if (rc == 0) {
        o->q.run[o->q.n_runs++] = argv[*i];
    }
    return rc < 0 ? rc : 1;
}

static int check_run(struct run_words *o, struct err *e)
{
    if (o->q.n_runs == 0 || !o->q.output) {
        return err_set(e, SIM_E_USAGE, "fit --from run: no %s given (see steelyard fit --help)",
                       o->q.output ? "measured run" : "-o FILE");
    }
    o->q.json = o->format && strcmp(o->format, "json") == 0;
    if (o->format && !o->q.json && strcmp(o->format, "text") != 0) {
        return cli_not_known("format", o->format, fit_formats, 2, " (text, json)", SIM_E_USAGE, e);
    }
    return 0;
}

static int fit_from_run(int argc, char **argv, struct arena *ar, struct err *e)
{
    struct run_words o = {.q = {.args = &o.args}};
    o.q.run = arena_calloc(ar, (size_t)argc + 1, sizeof(*o.q.run));
    o.q.held = arena_calloc(ar, (size_t)argc + 1, sizeof(*o.q.held));
    if (!o.q.run || !o.q.held) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (int i = 1; i < argc; i++) {
        if (run_word(&o, argc, argv, &i, ar, e) < 0) {
            return e->code;
        }
    }
    if (check_run(&o, e) < 0) {
        return e->code;
    }
    return fit_steps_is(o.q.run[0]) ? fit_steps(&o.q, ar, e) : fit_engine(&o.q, ar, e);
}

/* ---- the words of --from nccl-tests ---- */

struct collective_words {
    struct fit_collectives q;
    const char *format, *from, *ranks, *nodes;
};

static int collective_word(struct collective_words *o, int argc, char **argv, int *i, struct err *e)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {{"--from", &o->from},    {"--op", &o->q.said.op},    {"--ranks", &o->ranks},  {"--nodes", &o->nodes},
                 {"-o", &o->q.output},    {"--output", &o->q.output}, {"--format", &o->format}};
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        int rc = cli_flag_value(known[k].name, argc, argv, i, known[k].value, e);
        if (rc != 0) {
            return rc;
        }
    }
    if (argv[*i][0] == '-') {
        return cli_unknown(&cmd_fit, argv[*i], e);
    }
    o->q.file[o->q.n_files++] = argv[*i];
    return 1;
}

static int count(const char *flag, const char *text, int64_t least, uint32_t *ret, struct err *e)
{
    int64_t v = 0;
    if (text && (!text_to_int64(text, &v) || v < least || v > 1000000)) {
        return err_set(e, SIM_E_USAGE, "%s: '%s' is no number from %lld to 1000000", flag, text, (long long)least);
    }
    *ret = (uint32_t)v;
    return 0;
}

static int check_collectives(struct collective_words *o, struct err *e)
{
    static const char *const ops[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"};
    bool known = !o->q.said.op;
    if (o->q.n_files == 0 || !o->q.output) {
        return err_set(e, SIM_E_USAGE, "fit --from nccl-tests: no %s given (see steelyard fit --help)",
                       o->q.n_files ? "-o COLLECTIVES.json" : "output of nccl-tests");
    }
    for (size_t k = 0; k < 4; k++) {
        known = known || strcmp(o->q.said.op, ops[k]) == 0;
    }
    if (!known) {
        return cli_not_known("collective", o->q.said.op, ops, 4, " (all_reduce, all_gather, reduce_scatter, all_to_all)", SIM_E_USAGE, e);
    }
    o->q.json = o->format && strcmp(o->format, "json") == 0;
    if (o->format && !o->q.json && strcmp(o->format, "text") != 0) {
        return cli_not_known("format", o->format, fit_formats, 2, " (text, json)", SIM_E_USAGE, e);
    }
    return count("--ranks", o->ranks, 2, &o->q.said.ranks, e) < 0 || count("--nodes", o->nodes, 1, &o->q.said.nodes, e) < 0 ? e->code : 0;
}

static int fit_from_nccl(int argc, char **argv, struct arena *ar, struct err *e)
{
    struct collective_words o = {.q.file = arena_calloc(ar, (size_t)argc + 1, sizeof(*o.q.file))};
    if (!o.q.file) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    for (int i = 1; i < argc; i++) {
        if (collective_word(&o, argc, argv, &i, e) < 0) {
            return e->code;
        }
    }
    return check_collectives(&o, e) < 0 ? e->code : fit_collectives(&o.q, ar, e);
}

static bool says_from(int argc, char **argv, const char *source)
{
    for (int i = 1; i < argc; i++) {
        const char *word = strncmp(argv[i], "--from=", 7) == 0                        ? argv[i] + 7
                           : strcmp(argv[i], "--from") == 0 && i + 1 < argc ? argv[i + 1]
                                                                                      : "";
        if (strcmp(word, source) == 0) {
            return true;
        }
    }
    return false;
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

static int fit(struct options *o, struct arena *ar, struct err *e)
{
    struct fit *f = arena_alloc(ar, sizeof(*f));
    if (!f) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    o->q.data_dir = steelyard_data_dir(o->q.data_dir, ar);
    if (fit_run(f, &o->q, ar, e) == 0 && save(&f->profile, o->output, ar, e) == 0) {
        o->print(f, o->output);
        if (o->plots) {
            fit_plot(f, o->plots, ar, e);
        }
    }
    fit_release(f);
    return e->code;
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct options o = {0};
    if (says_from(argc, argv, "run")) {
        fit_from_run(argc, argv, &ar, e);
    } else if (says_from(argc, argv, "nccl-tests")) {
        fit_from_nccl(argc, argv, &ar, e);
    } else if (parse(&o, argc, argv, e) == 0) {
        if (o.replay.replay) {
            o.replay.data_dir = steelyard_data_dir(o.q.data_dir, &ar);
            fit_check_replay(&o.replay, &ar, e);
        } else {
            fit(&o, &ar, e);
        }
    }
    arena_release(&ar);
    return e->code;
}

const struct subcommand cmd_fit = {"fit", "turn measured kernel times into a profile", usage, run};
