/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line: one file per subcommand (cmd_NAME.c), each with a struct subcommand that main.c
 * lists. Only this room decides exit codes and knows every other room. */
#ifndef STEELYARD_CLI_H
#define STEELYARD_CLI_H

#include <stdbool.h>
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

/* All of them, in the order of help; generated from cmd_names in sim/cli/meson.build,
 * NULL-terminated. A file cmd_NAME.c defines `const struct subcommand cmd_NAME`. */
extern const struct subcommand *const subcommands[];

/* ---- words of the command line ---- */
/* argv[*i] is `--name value` or `--name=value`: 1, *ret_value set and *i moved to the last word taken.
 * 0 = it is something else; < 0 = the value is missing. */
int cli_flag_value(const char *name, int argc, char **argv, int *i, const char **ret_value,
                   struct err *e);
/* argv[i] is exactly `name`. */
bool cli_flag(const char *name, char **argv, int i);
/* Error for a word that no option matched; names the nearest flag of the command's usage text. Also
 * for a plain word too many. */
int cli_unknown(const struct subcommand *cmd, const char *word, struct err *e);
/* Unknown `what` ("gpu"): SIM_E_CONFIG "gpu 'x' is not known; did you mean 'y'?" + `hint`. `code` is the
 * error code. */
int cli_not_known(const char *what, const char *word, const char *const *names, size_t n,
                  const char *hint, int code, struct err *e);
/* The distinct --flags that a usage text mentions, in order; NULL-terminated. */
const char **cli_usage_flags(const char *usage, struct arena *ar);
/* NULL-terminated list of the bundled names in data_dir/SUB ("llms", "gpus"), sorted, without .json. */
const char **cli_bundled(const char *data_dir, const char *sub, struct arena *ar);

/* ---- resolving a configuration: default < file < environment (STEELYARD_KEY__SUB) < flags/--set ---- */
struct config_origin {
    const char *key, *value, *origin; /* "default", "sched.json:3:7", "--set" */
};

/* Collects what the command line said before the configuration is resolved. */
struct config_args {
    const char *file; /* CONFIG or NULL */
    size_t n_set, cap_set;
    size_t n_weak;       /* of those set, the first ones yield to the file: what a measured run says of itself */
    const char **set; /* "key=value" with the flag it came from: "--gpu" ... */
    const char **flag;
    bool no_environment; /* leave STEELYARD_* alone: the flags say everything */
};
int config_args_add(struct config_args *a, const char *flag, const char *key, const char *value,
                    struct arena *ar, struct err *e);
/* The flags that stand for configuration keys (--trace, --model, --gpu, --tp, --policy, --batcher,
 * --cost, --seed, --rep, --set, --no-skip, --check ...), shared by run, sweep, replay, search. Result as
 * cli_flag_value. */
int cli_config_flag(struct config_args *a, int argc, char **argv, int *i, struct arena *ar,
                    struct err *e);
#define CLI_CONFIG_USAGE                                                                           \
    "Configuration (default < CONFIG < STEELYARD_* environment < flags):\n"                         \
    "  --trace TRACE      file, - or synth:KIND{...}      key trace\n"                              \
    "  --model MODEL      bundled name or config.json     key model\n"                              \
    "  --gpu GPU          bundled name or profile         key gpu\n"                                \
    "  --tp N             tensor-parallel degree          key tp\n"                                 \
    "  --policy POLICY    as vtc or vtc{lift=off}         key policy\n"                             \
    "  --batcher BATCHER  manners of which engine         key batcher\n"                            \
    "  --replicas N       engines behind a router         key replicas\n"                           \
    "  --router ROUTER    which of them gets a request    key router\n"                             \
    "  --cost COST        cost model                      key cost\n"                               \
    "  --seed N           seed of everything random       key seed\n"                               \
    "  --rep N            number of the replication       key replication\n"                        \
    "  --label TEXT       stored with the results         key label\n"                              \
    "  --data-dir DIR     folder with llms/ and gpus/     key data_dir\n"                           \
    "  --no-skip          walk every engine step          key skip=off\n"                           \
    "  --check            verify invariants               key check=on\n"                           \
    "  --set KEY=VALUE    any key of 'steelyard list options'; may repeat, the last one counts\n"

/* Fills *ret (memory in ar) and, when ret_origin is not NULL, one row per key in table order. Unknown
 * keys are errors with place and nearest name. */
int config_resolve(struct run_config *ret, const struct config_args *a,
                   struct config_origin **ret_origin, size_t *ret_n, struct arena *ar, struct err *e);
/* What has to hold before a run starts and one row alone cannot say: a trace is named, the pool is given
 * once. config_resolve has looked at names and options of policy, batcher and cost already. */
int config_check(const struct run_config *c, struct err *e);
/* One line into `out` for each key that was set and changes nothing, as experts.evict with executor=whole. */
void config_warn_idle(const struct config_origin *rows, size_t n, FILE *out, struct arena *ar);
/* The fully resolved configuration as one JSON object (keys in table order): what a database stores,
 * what `config expand` prints and what can be fed back. */
char *config_to_json(const struct run_config *c, bool pretty, struct arena *ar);
/* XXH3-64 over config_to_json without seed and replication, and without skip, check and label, which
 * cannot change a result; as 16 hex digits. */
const char *config_hash(const struct run_config *c, struct arena *ar);
/* XXH3-64 over the files that describe model, GPU and kernel times and over a policy in a shared object, as
 * 16 hex digits; NULL when none is named. */
int config_model_hash(const struct run_config *c, const char **ret, struct arena *ar, struct err *e);

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
