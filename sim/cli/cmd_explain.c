/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard explain: all that is known about one name, from the tables that the program itself uses. */
#include "sim/cli/cli.h"

#include <ctype.h>
#include <string.h>

#include "sim/cli/catalog.h"
#include "sim/core/json.h"

static const char usage[] =
    "usage: steelyard explain NAME...\n"
    "\n"
    "Says what a configuration key (load.scale), a policy, batcher, cost model or trace format (vtc),\n"
    "one of its options (vtc.lift) or a metric (mean_ttft_ms) means, with unit, range, default, source.\n"
    "\n"
    "  --data-dir DIR     folder with llms/ and gpus/\n";

extern const struct subcommand cmd_explain;

#define WRAP_COLUMN 96

/* A paragraph, indented and broken at blanks. */
static void print_wrapped(const char *text, int indent)
{
    int column = 0;
    for (const char *s = text; *s;) {
        size_t n = strcspn(s, " ");
        n = n > (size_t)(WRAP_COLUMN - indent) ? (size_t)(WRAP_COLUMN - indent) : n;
        if (column > 0 && column + 1 + (int)n > WRAP_COLUMN) {
            putchar('\n');
            column = 0;
        }
        column += column == 0 ? printf("%*s", indent, "") : printf(" ");
        column += printf("%.*s", (int)n, s);
        s += n;
        s += strspn(s, " ");
    }
    putchar('\n');
}

static bool has_range(const struct opt_row *row)
{
    bool is_number = row->type == OPT_INT || row->type == OPT_DOUBLE || row->type == OPT_DOUBLES;
    return is_number && row->min <= row->max;
}

static const char *type_text(enum opt_type t)
{
    static const char *const names[] = {
        [OPT_BOOL] = "on or off",    [OPT_INT] = "whole number", [OPT_DOUBLE] = "number",
        [OPT_STRING] = "text",       [OPT_CHOICE] = "one word",  [OPT_DOUBLES] = "list of numbers"};
    return names[t];
}

static void print_row(const char *full_name, const struct opt_row *row)
{
    char low[32];
    char high[32];
    printf("%s: %s", full_name, type_text(row->type));
    if (row->unit && strcmp(row->unit, "1") != 0) {
        printf(", unit %s", row->unit);
    }
    if (has_range(row)) {
        printf(", %s to %s", text_from_double(row->min, low), text_from_double(row->max, high));
    }
    printf(", default %s\n", row->def && *row->def ? row->def : "none");
    print_wrapped(row->help, 2);
    for (const struct opt_choice *c = row->choices; row->type == OPT_CHOICE && c->name; c++) {
        printf("    %-14s %s\n", c->name, c->help ? c->help : "");
    }
}

static void print_how_to_set(const char *key)
{
    printf("  set: --set %s=...   or STEELYARD_", key);
    for (const char *s = key; *s; s++) {
        if (*s == '.') {
            printf("__");
        } else {
            putchar(toupper((unsigned char)*s));
        }
    }
    printf("=...   or \"%s\": ... in a config file\n", key);
}

static void print_item(enum catalog_kind kind, const struct catalog_item *it, struct arena *ar)
{
    if (it->row) {
        print_row(it->name, it->row);
        print_how_to_set(it->name);
        return;
    }
    printf("%s: %s%s%s\n", it->name, catalog_singular(kind), it->unit ? ", unit " : "",
           it->unit ? it->unit : "");
    print_wrapped(it->summary, 2);
    if (it->source) {
        print_wrapped(arena_printf(ar, "source: %s", it->source), 2);
    }
    if (it->stands_for) {
        print_wrapped(arena_printf(ar, "stands for %s", it->stands_for), 2);
    }
    for (const struct opt_row *row = it->options; row && row->name; row++) {
        putchar('\n');
        print_row(arena_printf(ar, "%s.%s", it->name, row->name), row);
    }
}

/* "vtc.lift" in any kind of plug-in. */
static bool print_plugin_option(const char *name, const char *data_dir, struct arena *ar)
{
    const char *dot = strrchr(name, '.');
    const char *plugin = dot ? arena_strndup(ar, name, (size_t)(dot - name)) : NULL;
    bool found = false;
    for (int k = 0; plugin && k < CATALOG_KINDS; k++) {
        const struct catalog_item *it = catalog_find((enum catalog_kind)k, plugin, data_dir, ar);
        const struct opt_row *row = it && it->options ? opt_find(it->options, dot + 1) : NULL;
        if (row) {
            print_row(name, row);
            printf("  set: %s as %s{%s=...}\n", catalog_singular((enum catalog_kind)k), plugin,
                   row->name);
            found = true;
        }
    }
    return found;
}

#define MAX_WORDS 4096

/* Every name that explain understands. */
static size_t all_words(const char **words, const char *data_dir, struct arena *ar)
{
    size_t n = 0;
    for (int k = 0; k < CATALOG_KINDS; k++) {
        size_t n_items = 0;
        const struct catalog_item *items = catalog_items((enum catalog_kind)k, data_dir, &n_items, ar);
        for (size_t i = 0; i < n_items && n < MAX_WORDS; i++) {
            words[n++] = items[i].name;
            for (const struct opt_row *row = items[i].options; row && row->name && n < MAX_WORDS;
                 row++) {
                words[n++] = arena_printf(ar, "%s.%s", items[i].name, row->name);
            }
        }
    }
    return n;
}

static int explain(const char *name, const char *data_dir, struct arena *ar, struct err *e)
{
    bool found = false;
    for (int k = 0; k < CATALOG_KINDS; k++) {
        const struct catalog_item *it = catalog_find((enum catalog_kind)k, name, data_dir, ar);
        if (it) {
            print_item((enum catalog_kind)k, it, ar);
            found = true;
        }
    }
    if (found || print_plugin_option(name, data_dir, ar)) {
        return 0;
    }
    const char **words = arena_calloc(ar, MAX_WORDS, sizeof(*words));
    if (!words) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return cli_not_known("name", name, words, all_words(words, data_dir, ar), " (steelyard list)",
                         SIM_E_USAGE, e);
}

static int run(int argc, char **argv, struct err *e)
{
    struct arena ar = {0};
    const char *data_dir = NULL;
    int explained = 0;
    int rc = 0;
    for (int i = 1; i < argc && rc >= 0; i++) {
        rc = cli_flag_value("--data-dir", argc, argv, &i, &data_dir, e);
        if (rc == 0 && argv[i][0] == '-') {
            rc = cli_unknown(&cmd_explain, argv[i], e);
        } else if (rc == 0) {
            if (explained++ > 0) {
                putchar('\n');
            }
            rc = explain(argv[i], steelyard_data_dir(data_dir, &ar), &ar, e);
        }
    }
    if (rc >= 0 && explained == 0) {
        rc = err_set(e, SIM_E_USAGE, "explain what? A key, a policy, a metric (steelyard help explain)");
    }
    arena_release(&ar);
    return rc < 0 ? rc : 0;
}

const struct subcommand cmd_explain = {"explain", "what a key, policy, option or metric means", usage,
                                       run};
