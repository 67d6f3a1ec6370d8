/* SPDX-License-Identifier: Apache-2.0
 *
 * The input is what follows --vary. What is accepted has a key and values, none empty; written out again
 * with commas it means the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/results/vary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct box {
    double scale;
    const char *policy;
};

static const struct opt_row rows[] = {
    {.name = "load.scale", .type = OPT_DOUBLE, .offset = offsetof(struct box, scale)},
    {.name = "policy", .type = OPT_STRING, .offset = offsetof(struct box, policy)},
    OPT_END,
};

static void expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

static const char *written(const struct vary *v, struct arena *a)
{
    size_t len = strlen(v->key) + 2;
    for (size_t i = 0; i < v->n; i++) {
        len += strlen(v->value[i]) + 1;
    }
    char *text = arena_alloc(a, len);
    char *p = stpcpy(text, v->key);
    for (size_t i = 0; i < v->n; i++) {
        *p++ = i ? ',' : '=';
        p = stpcpy(p, v->value[i]);
    }
    return text;
}

static void round_trip(const struct vary *v, const struct opt_row *table, struct arena *a)
{
    struct vary again;
    expect(v->n > 0 && v->n <= VARY_MAX_VALUES && v->key[0]);
    expect(vary_parse(&again, written(v, a), table, a, NULL) == 0);
    expect(again.n == v->n && strcmp(again.key, v->key) == 0);
    for (size_t i = 0; i < v->n; i++) {
        expect(v->value[i][0] != '\0' && strcmp(v->value[i], again.value[i]) == 0);
    }
    expect(vary_combinations(v, 1) == v->n);
    expect(vary_label(v, 1, v->n - 1, a) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct opt_row *const tables[] = {rows, NULL};
    for (size_t t = 0; t < 2; t++) {
        struct arena a = {0};
        struct vary v;
        struct err e = {0};
        char *text = arena_strndup(&a, (const char *)data, size);
        int rc = vary_parse(&v, text, tables[t], &a, &e);
        expect(rc == 0 || (rc == SIM_E_CONFIG && e.msg[0]));
        if (rc == 0) {
            round_trip(&v, tables[t], &a);
        }
        arena_release(&a);
    }
    return 0;
}
