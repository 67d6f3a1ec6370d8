/* SPDX-License-Identifier: Apache-2.0
 *
 * Option rows. One row describes one setting once; from it come parsing, range check, defaults,
 * `--set`, config keys, help, `list options`, `explain` and shell completion. */
#ifndef STEELYARD_OPT_H
#define STEELYARD_OPT_H

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/core/types.h"

enum opt_type {
    OPT_BOOL,   /* bool      true|false|on|off|yes|no|1|0 */
    OPT_INT,    /* int64_t   with size suffixes k M G Ki Mi Gi */
    OPT_DOUBLE, /* double    finite; takes units, below */
    OPT_STRING, /* const char *, in the arena */
    OPT_CHOICE, /* int64_t   index into `choices` */
    OPT_DOUBLES /* struct opt_doubles: numbers separated by , ; : or blanks, or a JSON array */
};

struct opt_doubles {
    size_t n;
    const double *v;
};

struct opt_choice {
    const char *name; /* a NULL name ends the list */
    const char *help;
};

/* `unit` names the unit of the stored number: "s", "ms", "us", "ns", "byte", "GB", "tok", "1" ...
 * A value may carry another unit of the same kind ("500ms" for "s", "16Ki", "35%" for a share) and is
 * converted; a wrong one is an error. min > max means no range check; infinite ends are open. A list
 * checks each of its numbers. */
struct opt_row {
    const char *name; /* NULL ends a table */
    enum opt_type type;
    size_t offset; /* of the field in the struct that the table describes */
    double min, max;
    const char *def; /* default as text; NULL for OPT_STRING means NULL */
    const char *unit;
    const char *help; /* one sentence; source of the default where it has one */
    const struct opt_choice *choices;
};

#define OPT_END {.name = NULL}

/* Fill `obj` with every row's default. A default that does not parse is SIM_E_CHECK. */
int opt_defaults(const struct opt_row *rows, void *obj, struct arena *a, struct err *e);

/* Parse `text` into the row's field. Errors name the row, the value, the range or the choices, and
 * leave the field as it was. */
int opt_set(const struct opt_row *row, void *obj, const char *text, struct arena *a, struct err *e);

/* Row by name, or NULL. */
const struct opt_row *opt_find(const struct opt_row *rows, const char *name);

/* Find + set; an unknown name is SIM_E_CONFIG with the nearest known one. `where` prefixes messages
 * ("sched.json:3:7: " or "--set "). */
int opt_set_by_name(const struct opt_row *rows, void *obj, const char *where, const char *name,
                    const char *text, struct arena *a, struct err *e);

/* The field's present value as text that opt_set accepts again (shortest that round-trips); a NULL
 * string is "", which opt_set turns back into NULL where the default is NULL. */
const char *opt_text(const struct opt_row *row, const void *obj, struct arena *a);

/* Plug-in spec: "vtc{weights=1;2, lift=off}" -> name "vtc" and options. Braces may nest, so that
 * wrappers work: "check(vtc{lift=off})" -> wrapper "check", inner "vtc{lift=off}".
 * opt_spec_name: the name before '{' (in the arena). opt_spec_apply: defaults, then each k=v inside
 * the braces, separated by commas outside of nested braces, brackets and parentheses. */
const char *opt_spec_name(const char *spec, struct arena *a);
int opt_spec_apply(const char *spec, const struct opt_row *rows, void *obj, struct arena *a,
                   struct err *e);
/* "check(x)" -> true, *ret_wrapper = "check", *ret_inner = "x". */
bool opt_spec_wrapper(const char *spec, const char **ret_wrapper, const char **ret_inner,
                      struct arena *a);

/* The first of `names[0..n)` that has `word` as a whole part ("a100" of "a100-80g"), else the nearest
 * by edit distance (Damerau-Levenshtein, at most 3 and under half the length), or NULL. */
const char *text_nearest(const char *word, const char *const *names, size_t n);

/* Whole-string number parsing: false on trailing characters, overflow, NaN or infinity. */
bool text_to_double(const char *s, double *ret);
bool text_to_int64(const char *s, int64_t *ret);

#endif
