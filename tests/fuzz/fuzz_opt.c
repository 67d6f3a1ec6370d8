/* SPDX-License-Identifier: Apache-2.0
 *
 * The input is a plug-in spec. What is accepted must survive opt_text and a second parse. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/opt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct box {
    bool b;
    int64_t i, c, us;
    double d, s, byte, rate;
    const char *t;
    struct opt_doubles list;
};

static const struct opt_choice choices[] = {{"one", ""}, {"two", ""}, {NULL, NULL}};

#define ROW(n, t, ...)                                                                             \
    {                                                                                              \
        .name = #n, .type = t, .offset = offsetof(struct box, n), __VA_ARGS__                      \
    }
static const struct opt_row rows[] = {
    ROW(b, OPT_BOOL, .def = "off"),
    ROW(i, OPT_INT, .min = 1, .max = -1, .def = "0"),
    ROW(c, OPT_CHOICE, .def = "one", .choices = choices),
    ROW(us, OPT_INT, .min = 0, .max = INFINITY, .def = "0", .unit = "us"),
    ROW(d, OPT_DOUBLE, .min = 1, .max = -1, .def = "0", .unit = "1"),
    ROW(s, OPT_DOUBLE, .min = 0, .max = 1e6, .def = "0", .unit = "s"),
    ROW(byte, OPT_DOUBLE, .min = 0, .max = INFINITY, .def = "0", .unit = "byte"),
    ROW(rate, OPT_DOUBLE, .min = 0, .max = INFINITY, .def = "0", .unit = "GB/s"),
    ROW(t, OPT_STRING, .def = NULL),
    ROW(list, OPT_DOUBLES, .min = 1, .max = -1, .def = NULL),
    OPT_END,
};

static void check(int ok)
{
    if (!ok) {
        abort();
    }
}

static void check_text(const struct box *first, struct arena *a)
{
    struct box second = {0};
    struct err e = {0};

    for (const struct opt_row *r = rows; r->name; r++) {
        const char *text = opt_text(r, first, a);

        check(opt_set(r, &second, text, a, &e) == 0);
        check(strcmp(text, opt_text(r, &second, a)) == 0);
    }
}

static void spec(const char *text, struct arena *a)
{
    const char *wrapper, *inner;
    struct box box;
    struct err e = {0};

    if (opt_spec_wrapper(text, &wrapper, &inner, a)) {
        check(strlen(inner) < strlen(text));
        text = inner;
    }
    if (opt_spec_apply(text, rows, &box, a, &e) == 0) {
        check_text(&box, a);
    } else {
        check(e.code == SIM_E_CONFIG && e.msg[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    char *text = arena_strndup(&a, size ? (const char *)data : "", size);

    spec(text, &a);
    arena_release(&a);
    return 0;
}
