/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: one file per subcommand (cmd_NAME.c), each with a struct subcommand that main.c
 * lists. Only this room decides exit codes and knows every other room. */
#ifndef STEELYARD_CLI_H
#define STEELYARD_CLI_H

#include <stdio.h>

#include "sim/core/arena.h"
#include "sim/core/err.h"
#include "sim/run.h"

struct subcommand {
    const char *name, *summary;
    const char *usage; /* full help text, shown by `steelyard NAME --help` and `steelyard help NAME` */
    /* argv[0] is the subcommand's name. Returns the exit status; prints its own results to stdout. An
     * error is put into *e and its code returned negative: main prints "steelyard: ..." to stderr. */
    int (*run)(int argc, char **argv, struct err *e);
};

extern const struct subcommand cmd_run, cmd_sweep, cmd_replay, cmd_trace, cmd_list, cmd_explain,
    cmd_config, cmd_db, cmd_plot, cmd_completion;
/* All of them, in the order of help; NULL-terminated. */
extern const struct subcommand *const subcommands[];

/* ---- resolving a configuration: default < file < environment (STEELYARD_KEY__SUB) < flags/--set ---- */
struct config_origin {
    const char *key, *value, *origin; /* "default", "sched.json:3:7", "--set" */
};

/* Collects what the command line said before the configuration is resolved. */
struct config_args {
    const char *file; /* CONFIG or NULL */
    size_t n_set, cap_set;
    const char **set; /* "key=value" with the flag it came from: "--gpu" ... */
    const char **flag;
};
int config_args_add(struct config_args *a, const char *flag, const char *key, const char *value,
                    struct arena *ar, struct err *e);
/* Fills *ret (memory in ar) and, when ret_origin is not NULL, one row per key in table order. Unknown
 * keys are errors with place and nearest name. */
int config_resolve(struct run_config *ret, const struct config_args *a,
                   struct config_origin **ret_origin, size_t *ret_n, struct arena *ar, struct err *e);
/* The fully resolved configuration as one JSON object (keys in table order): what a database stores,
 * what `config expand` prints and what can be fed back. */
char *config_to_json(const struct run_config *c, bool pretty, struct arena *ar);
/* XXH3-64 over config_to_json without seed and replication, as 16 hex digits. */
const char *config_hash(const struct run_config *c, struct arena *ar);

/* ---- progress: one line on stderr, only on a terminal, at most 5 Hz, with ETA ---- */
struct progress {
    bool on;
    double started_s, last_s;
    const char *what;
};
void progress_begin(struct progress *p, const char *what, bool allow);
void progress_update(struct progress *p, double share, const char *detail);
void progress_end(struct progress *p);

/* Set by SIGINT; long work looks at it and ends with SIM_E_INTR (130). */
extern volatile int cli_interrupted;

#endif
