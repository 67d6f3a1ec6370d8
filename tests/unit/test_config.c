/* SPDX-License-Identifier: Apache-2.0
 *
 * Resolving a configuration: precedence, places in errors, and the round trip through JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sim/cli/catalog.h"
#include "sim/cli/cli.h"
#include "sim/core/json.h"

struct fixture {
    struct arena ar;
    struct err e;
    struct config_args args;
    struct run_config c;
    char path[64];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    return f ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->path[0]) {
        unlink(f->path);
    }
    unsetenv("STEELYARD_LOAD__SCALE");
    unsetenv("STEELYARD_LOAD__SCLE");
    arena_release(&f->ar);
    free(f);
    return 0;
}

static void write_config(struct fixture *f, const char *text)
{
    strcpy(f->path, "/tmp/steelyard-config-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    f->args.file = f->path;
}

static void set(struct fixture *f, const char *key, const char *value)
{
    assert_int_equal(config_args_add(&f->args, "--set", key, value, &f->ar, &f->e), 0);
}

static int resolve(struct fixture *f)
{
    return config_resolve(&f->c, &f->args, NULL, NULL, &f->ar, &f->e);
}

static void assert_error(struct fixture *f, const char *text)
{
    assert_int_equal(resolve(f), SIM_E_CONFIG);
    const char *msg = f->path[0] && strncmp(f->e.msg, f->path, strlen(f->path)) == 0
                          ? f->e.msg + strlen(f->path)
                          : f->e.msg;
    assert_string_equal(msg, text);
}

static void defaults_hold(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(resolve(f), 0);
    assert_null(f->c.trace);
    assert_null(f->c.model);
    assert_string_equal(f->c.policy, "fcfs");
    assert_true(f->c.skip);
    assert_false(f->c.check);
    assert_true(f->c.gpu_mem_util == 0.9);
    assert_true(f->c.host_kv_bytes == 4294967296.0);
    assert_int_equal(f->c.pcie_payload, 256);
    assert_int_equal(f->c.trace_repeat, 1);
    assert_true(f->c.service_wq == 2.0);
}

static void later_sources_win(void **state)
{
    struct fixture *f = *state;
    write_config(f, "{\"load\": {\"scale\": 2}}");
    assert_int_equal(resolve(f), 0);
    assert_true(f->c.load_scale == 2.0);
    setenv("STEELYARD_LOAD__SCALE", "3", 1);
    assert_int_equal(resolve(f), 0);
    assert_true(f->c.load_scale == 3.0);
    set(f, "load.scale", "4");
    set(f, "load.scale", "5");
    assert_int_equal(resolve(f), 0);
    assert_true(f->c.load_scale == 5.0);
}

static void origins_are_told(void **state)
{
    struct fixture *f = *state;
    struct config_origin *rows = NULL;
    size_t n = 0;
    write_config(f, "{\n  \"seed\": 7,\n}");
    set(f, "tp", "2");
    assert_int_equal(config_resolve(&f->c, &f->args, &rows, &n, &f->ar, &f->e), 0);
    const char *place = arena_printf(&f->ar, "%s:2:11", f->path);
    size_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].key, "seed") == 0) {
            assert_string_equal(rows[i].origin, place);
            assert_string_equal(rows[i].value, "7");
            seen++;
        } else if (strcmp(rows[i].key, "tp") == 0) {
            assert_string_equal(rows[i].origin, "--set");
            seen++;
        } else {
            assert_string_equal(rows[i].origin, "default");
        }
    }
    assert_int_equal(seen, 2);
}

static void units_convert(void **state)
{
    struct fixture *f = *state;
    set(f, "slo.ttft", "1.5s");
    set(f, "kv.host", "2GiB");
    set(f, "kv.gpu_mem_util", "85%");
    set(f, "service.window", "2min");
    assert_int_equal(resolve(f), 0);
    assert_true(f->c.slo_ttft_ms == 1500.0);
    assert_true(f->c.host_kv_bytes == 2147483648.0);
    assert_true(f->c.gpu_mem_util == 0.85);
    assert_true(f->c.service_window_s == 120.0);
}

static void a_plugin_may_be_an_object(void **state)
{
    struct fixture *f = *state;
    write_config(f, "{\"policy\": {\"name\": \"sjf\"}, \"cost\": \"linear\",\n"
                    " \"trace\": {\"path\": \"a.csv\", \"limit\": 10},\n"
                    " \"client.weights\": [1, 2, 0.5]}");
    assert_int_equal(resolve(f), 0);
    assert_string_equal(f->c.policy, "sjf");
    assert_string_equal(f->c.trace, "a.csv");
    assert_int_equal(f->c.trace_limit, 10);
    assert_string_equal(f->c.client_weights, "1,2,0.5");
}

static void an_unknown_key_names_the_nearest(void **state)
{
    struct fixture *f = *state;
    write_config(f, "{\n  // half\n  \"load\": {\"scle\": 0.5}\n}");
    assert_error(f, ":3:20: unknown key 'load.scle'; did you mean 'load.scale'?");
}

static void an_unknown_variable_is_an_error(void **state)
{
    struct fixture *f = *state;
    setenv("STEELYARD_LOAD__SCLE", "1", 1);
    assert_error(f, "environment STEELYARD_LOAD__SCLE: unknown key 'load.scle'; did you mean "
                    "'load.scale'?");
}

static void a_key_given_twice_is_an_error(void **state)
{
    struct fixture *f = *state;
    write_config(f, "{\"load.scale\": 1,\n \"load\": {\"scale\": 2}}");
    assert_int_equal(resolve(f), SIM_E_CONFIG);
    assert_non_null(strstr(f->e.msg, "key 'load.scale': given twice in this file"));
}

static void a_policy_that_is_not_there_is_an_error(void **state)
{
    struct fixture *f = *state;
    set(f, "policy", "check(fcsf)");
    assert_error(f, "--set: policy 'fcsf' is not known; did you mean 'fcfs'? (steelyard list policies)");
}

static void big_seeds_are_exact(void **state)
{
    struct fixture *f = *state;
    set(f, "seed", "9007199254740993"); /* 2^53 + 1 */
    assert_int_equal(resolve(f), 0);
    assert_true(f->c.seed == INT64_C(9007199254740993));
    write_config(f, "{\"seed\": 9007199254740994}");
    f->args.n_set = 0;
    assert_int_equal(resolve(f), SIM_E_CONFIG);
    assert_non_null(strstr(f->e.msg, "put it in quotes"));
}

/* What is written can be read back, and reading it back writes the same. */
static void json_round_trips(void **state)
{
    struct fixture *f = *state;
    set(f, "load.scale", "0.1");
    set(f, "policy", "sjf");
    set(f, "label", "a \"b\" \\ c");
    set(f, "seed", "12");
    set(f, "check", "on");
    assert_int_equal(resolve(f), 0);
    char *first = config_to_json(&f->c, true, &f->ar);
    assert_non_null(strstr(first, "\"load.scale\": 0.1"));
    f->args.n_set = 0;
    write_config(f, first);
    assert_int_equal(resolve(f), 0);
    assert_string_equal(f->c.label, "a \"b\" \\ c");
    assert_string_equal(config_to_json(&f->c, true, &f->ar), first);
}

static const char *hash_with(struct fixture *f, const char *key, const char *value)
{
    f->args.n_set = 0;
    if (key) {
        set(f, key, value);
    }
    assert_int_equal(resolve(f), 0);
    return config_hash(&f->c, &f->ar);
}

/* Seed, replication and how the run is computed are not part of what is compared. */
static void the_hash_ignores_what_cannot_matter(void **state)
{
    struct fixture *f = *state;
    const char *base = hash_with(f, NULL, NULL);
    assert_int_equal(strlen(base), 16);
    assert_string_equal(base, hash_with(f, "seed", "3"));
    assert_string_equal(base, hash_with(f, "replication", "3"));
    assert_string_equal(base, hash_with(f, "skip", "off"));
    assert_string_equal(base, hash_with(f, "label", "x"));
    assert_string_not_equal(base, hash_with(f, "load.scale", "2"));
    assert_string_not_equal(base, hash_with(f, "policy", "sjf"));
}

static void each_row_is_sound(void **state)
{
    struct fixture *f = *state;
    for (const struct opt_row *row = run_options; row->name; row++) {
        assert_true(strlen(row->help) > 20);
        assert_true(row->help[strlen(row->help) - 1] == '.');
        assert_ptr_equal(opt_find(run_options, row->name), row); /* no name twice */
        assert_true(row->offset < sizeof(struct run_config));
    }
    assert_int_equal(resolve(f), 0);
}

static void each_metric_is_sound(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    const struct catalog_item *items = catalog_items(CATALOG_METRIC, NULL, &n, &f->ar);
    assert_true(n >= 60);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(items[i].name);
        assert_ptr_equal(catalog_find(CATALOG_METRIC, items[i].name, NULL, &f->ar)->summary,
                         items[i].summary);
        if (len > 3 && strcmp(items[i].name + len - 3, "_ms") == 0) {
            assert_string_equal(items[i].unit, "ms");
        }
    }
}

static void usage_flags_are_found(void **state)
{
    struct fixture *f = *state;
    const char **flags = cli_usage_flags("usage: x [--ab] [--c-d N]\n  --ab   text --c-d, -- x", &f->ar);
    assert_string_equal(flags[0], "--ab");
    assert_string_equal(flags[1], "--c-d");
    assert_null(flags[2]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_hold),
        TEST(later_sources_win),
        TEST(origins_are_told),
        TEST(units_convert),
        TEST(a_plugin_may_be_an_object),
        TEST(an_unknown_key_names_the_nearest),
        TEST(an_unknown_variable_is_an_error),
        TEST(a_key_given_twice_is_an_error),
        TEST(a_policy_that_is_not_there_is_an_error),
        TEST(big_seeds_are_exact),
        TEST(json_round_trips),
        TEST(the_hash_ignores_what_cannot_matter),
        TEST(each_row_is_sound),
        TEST(each_metric_is_sound),
        TEST(usage_flags_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
