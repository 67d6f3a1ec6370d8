/* SPDX-License-Identifier: Apache-2.0
 *
 * policies/README.md has a row for every scheduler policy, every predictor and every policy of experts, with its source and all of its
 * options; and no row for anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policies/experts.h"
#include "policies/policy.h"
#include "policies/predict/predict.h"
#include "policies/route.h"

static char page[200000];

static int read_page(void **state)
{
    (void)state;
    const char *models = getenv("STEELYARD_DATA");
    char path[4096];
    snprintf(path, sizeof path, "%s/../policies/README.md", models ? models : "models");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = '\0';
    fclose(f);
    return 0;
}

/* The four cells of the row that begins with | `name` |, the first behind `from`; each is NUL-terminated in
 * `room`. */
static bool row_of(const char *from, const char *name, char *room, size_t cap, char *cell[4])
{
    char begin[80];
    snprintf(begin, sizeof begin, "\n| `%s`", name);
    const char *at = strstr(from, begin);
    if (!at) {
        return false;
    }
    snprintf(room, cap, "%.*s", (int)strcspn(at + 1, "\n"), at + 1);
    int n = 0;
    for (char *p = room; *p && n < 4; p++) {
        if (*p == '|' && (p == room || p[-1] != '\\') && p[1]) { /* \| is a bar inside of a cell */
            *p = '\0';
            cell[n++] = p + 1;
        }
    }
    return n == 4;
}

static bool names_option(const char *cell, const char *option)
{
    char with_value[80];
    snprintf(with_value, sizeof with_value, "`%s=", option);
    return strstr(cell, with_value) != NULL;
}

static void expect_row_behind(const char *from, const char *name, const struct opt_row *options)
{
    char room[8000], *cell[4];
    if (!row_of(from, name, room, sizeof room, cell)) {
        fail_msg("'%s' has no row of four cells", name);
    }
    assert_true(strlen(cell[1]) > 8); /* its source */
    bool as_another = strstr(cell[2], "as `") != NULL; /* "as `vtc`, with ..." */
    for (const struct opt_row *o = options; o && o->name && !as_another; o++) {
        if (!names_option(cell[2], o->name)) {
            fail_msg("the row of '%s' does not name its option '%s'", name, o->name);
        }
    }
}

static void expect_row(const char *name, const struct opt_row *options)
{
    expect_row_behind(page, name, options);
}

static void test_policies(void **state)
{
    (void)state;
    for (size_t i = 0; policies[i]; i++) {
        expect_row(policies[i]->name, policies[i]->options);
    }
}

static void test_predictors(void **state)
{
    (void)state;
    for (size_t i = 0; predictors[i]; i++) {
        expect_row(predictors[i]->name, predictors[i]->options);
    }
}

/* Names of different kinds may be the same, so each kind has its table. */
static void test_experts(void **state)
{
    (void)state;
    const char *evict = strstr(page, "| `experts.evict`:"), *prefetch = strstr(page, "| `experts.prefetch`:");
    const char *miss = strstr(page, "| `experts.miss`:");
    assert_true(evict && prefetch && miss);
    for (size_t i = 0; evict_policies[i]; i++) {
        expect_row_behind(evict, evict_policies[i]->name, evict_policies[i]->options);
    }
    for (size_t i = 0; prefetch_policies[i]; i++) {
        expect_row_behind(prefetch, prefetch_policies[i]->name, prefetch_policies[i]->options);
    }
    for (size_t i = 0; miss_policies[i]; i++) {
        expect_row_behind(miss, miss_policies[i]->name, miss_policies[i]->options);
    }
}

static bool is_expert_policy(const char *name)
{
    bool found = false;
    for (size_t i = 0; evict_policies[i]; i++) {
        found = found || strcmp(evict_policies[i]->name, name) == 0;
    }
    for (size_t i = 0; prefetch_policies[i]; i++) {
        found = found || strcmp(prefetch_policies[i]->name, name) == 0;
    }
    for (size_t i = 0; miss_policies[i]; i++) {
        found = found || strcmp(miss_policies[i]->name, name) == 0;
    }
    return found;
}

static bool is_registered(const char *name)
{
    for (size_t i = 0; policies[i]; i++) {
        if (strcmp(policies[i]->name, name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; predictors[i]; i++) {
        if (strcmp(predictors[i]->name, name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; routers[i]; i++) {
        if (strcmp(routers[i]->name, name) == 0) {
            return true;
        }
    }
    return is_expert_policy(name);
}

/* The tables of policies and of predictors are those whose header says "not from the source". */
static void test_no_other_rows(void **state)
{
    (void)state;
    unsigned rows = 0;
    const char *at = page;
    while ((at = strstr(at, "what is not from the source |\n"))) {
        at = strchr(strchr(at, '\n') + 1, '\n') + 1; /* behind the line of dashes */
        for (; strncmp(at, "| `", 3) == 0; at = strchr(at, '\n') + 1) {
            char name[80];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 3, "`"), at + 3);
            if (!is_registered(name)) {
                fail_msg("'%s' has a row and is no policy, predictor or router", name);
            }
            rows++;
        }
    }
    assert_true(rows > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_predictors),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_no_other_rows),
    };
    return cmocka_run_group_tests(tests, read_page, NULL);
}
