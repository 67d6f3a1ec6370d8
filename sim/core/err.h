/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors. Library code returns 0 or a negative enum sim_err and fills a struct err; it never prints,
 * exits or aborts. The command line turns the code into the documented exit status. */
#ifndef STEELYARD_ERR_H
#define STEELYARD_ERR_H

/*   name         value  exit  meaning */
#define SIM_ERR_MAP(X)                                                                             \
    X(SIM_E_GOAL, -1, 1, "a stated goal or assertion failed")                                      \
    X(SIM_E_USAGE, -2, 2, "wrong usage")                                                           \
    X(SIM_E_CONFIG, -3, 2, "wrong configuration")                                                  \
    X(SIM_E_DATA, -4, 3, "bad input data")                                                         \
    X(SIM_E_CHECK, -5, 4, "internal check failed")                                                 \
    X(SIM_E_NOMEM, -6, 4, "out of memory")                                                         \
    X(SIM_E_IO, -7, 5, "input or output failed")                                                   \
    X(SIM_E_INTR, -8, 130, "interrupted")

enum sim_err {
#define SIM_ERR_ENUM(name, value, status, text) name = value,
    SIM_ERR_MAP(SIM_ERR_ENUM)
#undef SIM_ERR_ENUM
};

struct err {
    int code; /* 0 = nothing went wrong yet */
    char msg[1000];
};

/* Record an error and return `code`, so that `return err_set(e, SIM_E_DATA, ...)` works.
 * The first error wins: a second call changes nothing but still returns its own code.
 * `e` may be NULL. A message that is too long is cut and ends in "...". */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Put context before the message: "trace x.csv: line 3: ..."; ": " goes in between unless the context
 * ends in a blank. Returns e->code; without an error to wrap the context becomes a SIM_E_CHECK. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Exit status of the command line for a code (0 for 0, 4 for an unknown one). */
int err_exit_status(int code);

/* One-line meaning of a code, static storage. */
const char *err_text(int code);

#endif
