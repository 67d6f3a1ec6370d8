/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard list: what can be named, one line each. */
#include "sim/cli/cli.h"

#include <string.h>

#include "sim/cli/catalog.h"
#include "sim/core/json.h"

static const char usage[] =
    "usage: steelyard list policies|predictors|batchers|routers|models|gpus|topologies|costs|traces\n"
    "                      |metrics|options|tiers|offloads|evictions|prefetches|misses|placements\n"
    "                      |routes [--json]\n"
    "\n"
    "Prints a name and a line about each. 'steelyard explain NAME' says more.\n"
    "\n"
    "  --json             as a JSON array, with sources, units, ranges and defaults (or --format json)\n"
    "  --data-dir DIR     folder with llms/, gpus/ and topologies/\n";

extern const struct subcommand cmd_list;

static void write_row_json(struct json_writer *w, const struct opt_row *row)
{
    json_kv_string(w, "default", row->def);
    bool is_number = row->type == OPT_INT || row->type == OPT_DOUBLE || row->type == OPT_DOUBLES;
    if (is_number && row->min <= row->max) {
        json_kv_double(w, "min", row->min);
        json_kv_double(w, "max", row->max);
    }
    if (row->type == OPT_CHOICE) {
        json_key(w, "choices");
        json_array(w);
        for (const struct opt_choice *c = row->choices; c->name; c++) {
            json_string(w, c->name);
        }
        json_end(w);
    }
}

static void write_item_json(struct json_writer *w, const struct catalog_item *item)
{
    json_object(w);
    json_kv_string(w, "name", item->name);
    json_kv_string(w, "summary", item->summary);
    if (item->source) {
        json_kv_string(w, "source", item->source);
    }
    if (item->unit) {
        json_kv_string(w, "unit", item->unit);
    }
    if (item->row) {
        write_row_json(w, item->row);
    }
    if (item->options) {
        json_key(w, "options");
        json_array(w);
        for (const struct opt_row *row = item->options; row->name; row++) {
            json_object(w);
            json_kv_string(w, "name", row->name);
            json_kv_string(w, "summary", row->help);
            json_kv_string(w, "unit", row->unit);
            write_row_json(w, row);
            json_end(w);
        }
        json_end(w);
    }
    json_end(w);
}

static void print_json(const struct catalog_item *items, size_t n)
{
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_array(&w);
    for (size_t i = 0; i < n; i++) {
        write_item_json(&w, &items[i]);
    }
    json_end(&w);
    putchar('\n');
}

static void print_text(const struct catalog_item *items, size_t n)
{
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        int len = (int)strlen(items[i].name);
        width = len > width ? len : width;
    }
    for (size_t i = 0; i < n; i++) {
        const struct catalog_item *it = &items[i];
        printf("%-*s  ", width, it->name);
        if (it->row) {
            double bare; /* "4GiB" says its unit itself */
            bool has_unit = it->unit && strcmp(it->unit, "1") != 0 && it->row->def &&
                            text_to_double(it->row->def, &bare);
            printf("[%s%s%s] ", it->row->def ? it->row->def : "none", has_unit ? " " : "",
                   has_unit ? it->unit : "");
        } else if (it->unit) {
            printf("[%s] ", it->unit);
        }
        printf("%s\n", it->summary);
    }
}

static int find_kind(const char *word, enum catalog_kind *ret, struct err *e)
{
    const char *names[CATALOG_KINDS];
    for (int k = 0; k < CATALOG_KINDS; k++) {
        names[k] = catalog_plural((enum catalog_kind)k);
        if (strcmp(word, names[k]) == 0 || strcmp(word, catalog_singular((enum catalog_kind)k)) == 0) {
            *ret = (enum catalog_kind)k;
            return 0;
        }
    }
    return cli_not_known("list", word, names, CATALOG_KINDS, " (steelyard help list)", SIM_E_USAGE, e);
}

static int find_format(const char *word, bool *ret_json, struct err *e)
{
    static const char *const names[] = {"text", "json"};
    *ret_json = strcmp(word, "json") == 0;
    return *ret_json || strcmp(word, "text") == 0
               ? 0
               : cli_not_known("format", word, names, 2, " (text, json)", SIM_E_USAGE, e);
}

static int run(int argc, char **argv, struct err *e)
{
    const char *what = NULL;
    const char *data_dir = NULL, *format = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        int rc = cli_flag_value("--data-dir", argc, argv, &i, &data_dir, e);
        rc = rc == 0 ? cli_flag_value("--format", argc, argv, &i, &format, e) : rc;
        if (rc < 0 || (format && find_format(format, &json, e) < 0)) {
            return e->code;
        }
        if (rc == 0 && cli_flag("--json", argv, i)) {
            json = true;
        } else if (rc == 0 && (argv[i][0] == '-' || what)) {
            return cli_unknown(&cmd_list, argv[i], e);
        } else if (rc == 0) {
            what = argv[i];
        }
    }
    enum catalog_kind kind = CATALOG_KINDS;
    if (!what) {
        return err_set(e, SIM_E_USAGE, "list what? policies, predictors, batchers, routers, models, gpus, "
                                       "topologies, costs, tiers, offloads, evictions, prefetches, misses, "
                                       "placements, routes, traces, metrics or options");
    }
    int rc = find_kind(what, &kind, e);
    if (rc < 0) {
        return rc;
    }
    struct arena ar = {0};
    size_t n = 0;
    const struct catalog_item *items =
        catalog_items(kind, steelyard_data_dir(data_dir, &ar), &n, &ar);
    if (n == 0) {
        rc = err_set(e, SIM_E_IO, "%s: no %s are there", steelyard_data_dir(data_dir, &ar),
                     catalog_plural(kind));
    } else if (json) {
        print_json(items, n);
    } else {
        print_text(items, n);
    }
    arena_release(&ar);
    return rc;
}

const struct subcommand cmd_list = {
    "list", "policies, predictors, batchers, models, gpus, costs, traces, metrics, options, ...", usage, run};
