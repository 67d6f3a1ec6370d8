/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard config: write, resolve, check and compare configuration files. */
#include "sim/cli/cli.h"

#include <string.h>

#include "sim/core/json.h"

static const char usage[] =
    "usage: steelyard config init\n"
    "       steelyard config expand [CONFIG] [--origins] [--set KEY=VALUE] [...]\n"
    "       steelyard config validate [CONFIG] [--set KEY=VALUE] [...]\n"
    "       steelyard config diff CONFIG [CONFIG] [--set KEY=VALUE] [...]\n"
    "\n"
    "init      print a commented configuration file with every key and its default\n"
    "expand    print the configuration that would run, every key of it, as JSON\n"
    "validate  say nothing and exit with 0 when the configuration is sound\n"
    "diff      print the keys that differ: of two files, or of one file and the defaults\n"
    "          (exit status 1 when there are any)\n"
    "\n"
    "  --origins          with expand: KEY, value and where it came from, one line each\n"
    "\n" CLI_CONFIG_USAGE;

extern const struct subcommand cmd_config;

struct request {
    const char *verb;
    const char *files[2];
    size_t n_files;
    bool origins;
    struct config_args args;
};

static int parse(struct request *q, int argc, char **argv, struct arena *ar, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        int rc = cli_config_flag(&q->args, argc, argv, &i, ar, e);
        if (rc < 0) {
            return rc;
        }
        if (rc > 0) {
            continue;
        }
        if (cli_flag("--origins", argv, i)) {
            q->origins = true;
        } else if (argv[i][0] == '-' || (q->verb && q->n_files == 2)) {
            return cli_unknown(&cmd_config, argv[i], e);
        } else if (!q->verb) {
            q->verb = argv[i];
        } else {
            q->files[q->n_files++] = argv[i];
        }
    }
    return 0;
}

/* ---- init ---- */

static void print_comment(const char *help)
{
    const size_t limit = 92;
    const char *s = help;
    while (*s) {
        size_t n = strlen(s);
        if (n > limit) {
            for (n = limit; n > 0 && s[n] != ' ';) {
                n--;
            }
        }
        n = n ? n : strlen(s);
        printf("    // %.*s\n", (int)n, s);
        s += n;
        s += strspn(s, " ");
    }
}

/* The default as JSON: numbers bare when they read back as they stand, else in quotes. */
static void print_default(const struct opt_row *row)
{
    double number;
    if (!row->def) {
        printf("null");
    } else if (row->type == OPT_BOOL) {
        printf("%s", strcmp(row->def, "on") == 0 ? "true" : "false");
    } else if ((row->type == OPT_INT || row->type == OPT_DOUBLE) && text_to_double(row->def, &number)) {
        printf("%s", row->def);
    } else {
        printf("\"%s\"", row->def);
    }
}

static int init(struct err *e)
{
    (void)e;
    printf("// Configuration of steelyard run: every key with its default. Keep what you change; a key\n"
           "// that is missing has its default. \"load\": {\"scale\": 2} is the same as \"load.scale\": 2.\n"
           "{\n");
    for (const struct opt_row *row = run_options; row->name; row++) {
        print_comment(row->help);
        if (row->unit && strcmp(row->unit, "1") != 0) {
            printf("    // unit: %s\n", row->unit);
        }
        printf("    \"%s\": ", row->name);
        print_default(row);
        printf(",\n");
    }
    printf("}\n");
    return 0;
}

/* ---- expand, validate, diff ---- */

static int expand(struct request *q, struct arena *ar, struct err *e)
{
    struct run_config c;
    struct config_origin *origin = NULL;
    size_t n = 0;
    q->args.file = q->files[0];
    int rc = config_resolve(&c, &q->args, &origin, &n, ar, e);
    if (rc < 0) {
        return rc;
    }
    if (!q->origins) {
        printf("%s\n", config_to_json(&c, true, ar));
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        printf("%-22s %-32s %s\n", origin[i].key, origin[i].value ? origin[i].value : "",
               origin[i].origin);
    }
    return 0;
}

static int validate(struct request *q, struct arena *ar, struct err *e)
{
    struct run_config c;
    q->args.file = q->files[0];
    int rc = config_resolve(&c, &q->args, NULL, NULL, ar, e);
    return rc == 0 ? config_check(&c, e) : rc;
}

static const char *or_none(const char *s)
{
    return s && *s ? s : "(none)";
}

/* Left: the first file alone, or the defaults when it is the only one. Right: the other file, with the
 * flags on top. */
static int diff(struct request *q, struct arena *ar, struct err *e)
{
    struct run_config left;
    struct run_config right;
    struct config_args none = {.file = q->n_files == 2 ? q->files[0] : NULL};
    q->args.file = q->n_files == 2 ? q->files[1] : q->files[0];
    if (q->n_files == 0) {
        return err_set(e, SIM_E_USAGE, "config diff needs one or two files");
    }
    int rc = config_resolve(&left, &none, NULL, NULL, ar, e);
    rc = rc == 0 ? config_resolve(&right, &q->args, NULL, NULL, ar, e) : rc;
    int status = 0;
    for (const struct opt_row *row = run_options; rc == 0 && row->name; row++) {
        const char *a = or_none(opt_text(row, &left, ar));
        const char *b = or_none(opt_text(row, &right, ar));
        if (strcmp(a, b) != 0) {
            printf("%-22s %s -> %s\n", row->name, a, b);
            status = err_exit_status(SIM_E_GOAL);
        }
    }
    return rc < 0 ? rc : status;
}

static int run_verb(struct request *q, struct arena *ar, struct err *e)
{
    static const char *const verbs[] = {"init", "expand", "validate", "diff"};
    if (!q->verb) {
        return err_set(e, SIM_E_USAGE, "config what? init, expand, validate or diff");
    }
    if (q->n_files == 2 && strcmp(q->verb, "diff") != 0) {
        return cli_unknown(&cmd_config, q->files[1], e);
    }
    if (strcmp(q->verb, "init") == 0) {
        return init(e);
    }
    if (strcmp(q->verb, "expand") == 0) {
        return expand(q, ar, e);
    }
    if (strcmp(q->verb, "validate") == 0) {
        return validate(q, ar, e);
    }
    if (strcmp(q->verb, "diff") == 0) {
        return diff(q, ar, e);
    }
    return cli_not_known("config command", q->verb, verbs, 4, " (steelyard help config)", SIM_E_USAGE,
                         e);
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    struct request q = {0};
    int rc = parse(&q, argc, argv, &ar, e);
    rc = rc == 0 ? run_verb(&q, &ar, e) : rc;
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_config = {
    "config", "init, expand, validate and diff of configuration files", usage, run};
