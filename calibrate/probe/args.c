/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate/probe/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate/probe/cases.h"

const char probe_usage[] =
    "usage: steelyard-probe [--quick] [--only LIST] [-o FILE] [--continue] [--device N]\n"
    "       steelyard-probe --replay PLAN [-o FILE] [--repeat N] [--limit N] [--eager]\n"
    "       steelyard-probe --list [--quick] [--only LIST]\n"
    "\n"
    "Measures what LLM serving is made of on a real GPU, or executes the steps that\n"
    "`steelyard run --plan-out PLAN` wrote. Formats: calibrate/probe/README.md.\n"
    "\n"
    "  --quick          fewer shapes and samples, under a minute\n"
    "  --only LIST      kinds (gemm,decode) or beginnings of ids ('gemm dtype=fp8'), separated by commas\n"
    "  --list           print the cases and stop; needs no GPU\n"
    "  -o, --out FILE   the results; written while measuring (default: standard output, at the end)\n"
    "  --continue       keep what FILE has and measure what it lacks\n"
    "  --device N       which GPU, default 0\n"
    "  --replay PLAN    execute the plan on a transformer of its shape with random weights\n"
    "  --repeat N       replay: how often each step runs, default 3\n"
    "  --limit N        replay: the first N steps only\n"
    "  --graph-max N    replay: decodes of up to N sequences use CUDA graphs, default 512\n"
    "  --eager          replay: no CUDA graphs\n"
    "  --quiet          no progress line\n"
    "  --help, --version\n";

static bool is(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || (b && strcmp(word, b) == 0);
}

/* argv[*i] is `name VALUE` or `name=VALUE`. 1 = it is, 0 = something else, < 0 = no value. */
static int value_of(const char *name, const char *brief, int argc, char **argv, int *i, const char **ret,
                    struct err *e)
{
    size_t n = strlen(name);

    if (strncmp(argv[*i], name, n) == 0 && argv[*i][n] == '=') {
        *ret = argv[*i] + n + 1;
    } else if (!is(argv[*i], name, brief)) {
        return 0;
    } else if (*i + 1 >= argc) {
        return err_set(e, SIM_E_USAGE, "option '%s' needs a value", argv[*i]);
    } else {
        *ret = argv[++*i];
    }
    return **ret ? 1 : err_set(e, SIM_E_USAGE, "option '%s' has an empty value", name);
}

static int number_of(const char *name, int lo, int hi, int argc, char **argv, int *i, int *ret,
                     struct err *e)
{
    const char *text = NULL;
    char *end;
    long v;
    int rc = value_of(name, NULL, argc, argv, i, &text, e);

    if (rc <= 0) {
        return rc;
    }
    errno = 0;
    v = strtol(text, &end, 10);
    if (errno || end == text || *end || v < lo || v > hi) {
        return err_set(e, SIM_E_USAGE, "%s: '%s' is no whole number in %d..%d", name, text, lo, hi);
    }
    *ret = (int)v;
    return 1;
}

static bool flag_of(struct probe_args *a, const char *word)
{
    const struct {
        const char *name, *brief;
        bool *to;
    } flags[] = {
        {"--help", "-h", &a->help},    {"--version", "-V", &a->version}, {"--list", NULL, &a->list},
        {"--quick", NULL, &a->quick},  {"--continue", NULL, &a->go_on},  {"--eager", NULL, &a->eager},
        {"--quiet", "-q", &a->quiet},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
        if (is(word, flags[i].name, flags[i].brief)) {
            *flags[i].to = true;
            return true;
        }
    }
    return false;
}

static int parse_word(struct probe_args *a, int argc, char **argv, int *i, struct err *e)
{
    int rc = flag_of(a, argv[*i]);

    rc = rc ? rc : value_of("--only", NULL, argc, argv, i, &a->only, e);
    rc = rc ? rc : value_of("--out", "-o", argc, argv, i, &a->out, e);
    rc = rc ? rc : value_of("--replay", NULL, argc, argv, i, &a->replay, e);
    rc = rc ? rc : number_of("--device", 0, 255, argc, argv, i, &a->device, e);
    rc = rc ? rc : number_of("--repeat", 1, 1000, argc, argv, i, &a->repeat, e);
    rc = rc ? rc : number_of("--limit", 1, 1000000000, argc, argv, i, &a->limit, e);
    rc = rc ? rc : number_of("--graph-max", 1, 4096, argc, argv, i, &a->graph_max, e);
    return rc;
}

/* What cannot be said together. */
static int check(const struct probe_args *a, struct err *e)
{
    if (a->replay && (a->list || a->quick || a->only || a->go_on)) {
        return err_set(e, SIM_E_USAGE, "--replay goes with none of --list, --quick, --only, --continue");
    }
    if (!a->replay && (a->eager || a->limit)) {
        return err_set(e, SIM_E_USAGE, "--eager and --limit belong to --replay");
    }
    if (a->go_on && !a->out) {
        return err_set(e, SIM_E_USAGE, "--continue needs -o FILE");
    }
    return a->only ? cases_check_only(a->only, e) : 0;
}

int probe_args_parse(struct probe_args *ret, int argc, char **argv, struct err *e)
{
    *ret = (struct probe_args){.repeat = 3, .graph_max = 512};
    for (int i = 1; i < argc; i++) {
        int rc = parse_word(ret, argc, argv, &i, e);

        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            return err_set(e, SIM_E_USAGE, "%s '%s' is not known (steelyard-probe --help)",
                           argv[i][0] == '-' ? "option" : "word", argv[i]);
        }
    }
    return ret->help || ret->version ? 0 : check(ret, e);
}

bool only_matches(const char *only, const char *kind, const char *id)
{
    while (only && *only) {
        size_t n = strcspn(only, ",");

        /* A comma inside an id cannot be named; ids separate their parameters with blanks. */
        if ((strlen(kind) == n && strncmp(kind, only, n) == 0) ||
            (memchr(only, ' ', n) && strncmp(id, only, n) == 0)) {
            return true;
        }
        only += n + (only[n] == ',');
    }
    return only == NULL;
}
