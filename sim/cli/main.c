/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard: finds the subcommand, shows help and version, and turns errors into exit statuses. */
#include "sim/cli/cli.h"

#include <errno.h>
#include <gsl/gsl_errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "sim/core/json.h"

volatile int cli_interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    cli_interrupted = 1;
}

/* The first Ctrl-C asks long work to end in order; the second one kills. A closed pipe is an error of
 * writing like any other, seen when stdout is flushed. */
static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void show_help(FILE *out)
{
    fprintf(out,
            "steelyard: simulate LLM serving on traces, and compare scheduling policies\n"
            "\n"
            "usage: steelyard COMMAND [...]\n"
            "\n");
    for (size_t i = 0; subcommands[i]; i++) {
        fprintf(out, "  %-11s %s\n", subcommands[i]->name, subcommands[i]->summary);
    }
    fprintf(out,
            "  %-11s %s\n"
            "\n"
            "  --version [--json]   what this build is\n"
            "\n"
            "Exit status: 0 ok, 1 a stated goal failed, 2 usage or configuration, 3 bad input data,\n"
            "4 internal check, 5 input/output, 130 interrupted.\n",
            "help", "help [COMMAND]");
}

static const struct subcommand *find_command(const char *name, struct err *e)
{
    const char *names[64];
    size_t n = 0;
    for (; subcommands[n] && n < 63; n++) {
        names[n] = subcommands[n]->name;
        if (strcmp(name, names[n]) == 0) {
            return subcommands[n];
        }
    }
    names[n++] = "help";
    cli_not_known("command", name, names, n, " (steelyard help)", SIM_E_USAGE, e);
    return NULL;
}

static int help(int argc, char **argv, struct err *e)
{
    if (argc < 2 || strcmp(argv[1], "help") == 0) {
        show_help(stdout);
        return 0;
    }
    const struct subcommand *cmd = find_command(argv[1], e);
    if (!cmd) {
        return e->code;
    }
    fputs(cmd->usage, stdout);
    return 0;
}

static int version(int argc, char **argv, struct err *e)
{
    if (argc > 1 && strcmp(argv[1], "--json") != 0) {
        return err_set(e, SIM_E_USAGE, "--version takes --json or nothing, not '%s'", argv[1]);
    }
    if (argc < 2) {
        printf("steelyard %s\n", steelyard_version());
        return 0;
    }
    struct json_writer w;
    json_begin(&w, stdout, true);
    json_object(&w);
    json_kv_string(&w, "name", "steelyard");
    json_kv_string(&w, "version", steelyard_version());
    json_kv_string(&w, "compiler", __VERSION__);
    json_end(&w);
    putchar('\n');
    return 0;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static int dispatch(int argc, char **argv, struct err *e)
{
    if (argc < 2) {
        show_help(stderr);
        return err_exit_status(SIM_E_USAGE);
    }
    const char *word = argv[1];
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        return help(argc - 1, argv + 1, e);
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        return version(argc - 1, argv + 1, e);
    }
    const struct subcommand *cmd = find_command(word, e);
    if (!cmd) {
        return e->code;
    }
    if (asks_for_help(argc - 1, argv + 1)) {
        fputs(cmd->usage, stdout);
        return 0;
    }
    return cmd->run(argc - 1, argv + 1, e);
}

/* "| head" has seen enough: no news to whoever asked for it. */
static bool reader_left(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* Results that did not arrive are a failure, however well they were computed. */
static int close_stdout(int status)
{
    errno = 0;
    bool failed = fflush(stdout) != 0;
    int why = errno;
    if ((!failed && !ferror(stdout)) || status == err_exit_status(SIM_E_IO)) {
        return status; /* nothing is wrong, or it has been said already */
    }
    if (!reader_left()) {
        fprintf(stderr, "steelyard: standard output: %s\n", why ? strerror(why) : "write error");
    }
    return err_exit_status(SIM_E_IO);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    gsl_set_error_handler_off(); /* it aborts by default; results are checked instead */
    catch_signals();
    int rc = dispatch(argc, argv, &e);
    if (rc < 0) {
        fflush(stdout);
        fprintf(stderr, "steelyard: %s\n", e.code ? e.msg : err_text(rc));
        rc = err_exit_status(e.code ? e.code : rc);
    }
    return close_stdout(rc);
}
