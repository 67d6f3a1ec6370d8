/* SPDX-License-Identifier: Apache-2.0
 *
 * steelyard completion: scripts for bash, zsh and fish, generated from the tables of this build. Words
 * that depend on data (models, gpus) are asked from `steelyard list` when Tab is pressed. */
#include "sim/cli/cli.h"

#include <string.h>

#include "sim/cli/catalog.h"

static const char usage[] =
    "usage: steelyard completion bash|zsh|fish\n"
    "\n"
    "Prints a completion script. For the shell at hand:\n"
    "  bash   source <(steelyard completion bash)\n"
    "  zsh    source <(steelyard completion zsh)\n"
    "  fish   steelyard completion fish | source\n";

extern const struct subcommand cmd_completion;

/* Flags whose value is a name of one kind. */
static const struct {
    const char *flag;
    enum catalog_kind kind;
} named[] = {
    {"--policy", CATALOG_POLICY}, {"--batcher", CATALOG_BATCHER}, {"--model", CATALOG_MODEL},
    {"--gpu", CATALOG_GPU},       {"--cost", CATALOG_COST},   {"--router", CATALOG_ROUTER},
};
#define N_NAMED (sizeof(named) / sizeof(*named))

static void print_commands(void)
{
    for (size_t i = 0; subcommands[i]; i++) {
        printf("%s ", subcommands[i]->name);
    }
    printf("help");
}

static void print_flags(const struct subcommand *cmd, struct arena *ar)
{
    const char **flags = cli_usage_flags(cmd->usage, ar);
    for (size_t i = 0; flags && flags[i]; i++) {
        printf("%s ", flags[i]);
    }
    printf("--help");
}

static void print_options(void)
{
    for (const struct opt_row *row = run_options; row->name; row++) {
        printf("%s= ", row->name);
    }
}

static void print_bash(struct arena *ar)
{
    printf("_steelyard()\n{\n"
           "    local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\"\"\n"
           "    local me=\"${COMP_WORDS[0]}\"\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        COMPREPLY=($(compgen -W \"");
    print_commands();
    printf(" --version --help\" -- \"$word\"))\n        return\n    fi\n"
           "    case \"$before\" in\n");
    for (size_t i = 0; i < N_NAMED; i++) {
        printf("    %s) words=\"$(\"$me\" list %s 2>/dev/null | cut -d' ' -f1)\" ;;\n",
               named[i].flag, catalog_plural(named[i].kind));
    }
    printf("    --set|--vary) compopt -o nospace; words=\"");
    print_options();
    printf("\" ;;\n    --format) words=\"text json csv\" ;;\n"
           "    list) words=\"");
    for (int k = 0; k < CATALOG_KINDS; k++) {
        printf("%s ", catalog_plural((enum catalog_kind)k));
    }
    printf("\" ;;\n    completion) words=\"bash zsh fish\" ;;\n"
           "    config) words=\"init expand validate diff\" ;;\n"
           "    trace) words=\"info head convert cut synth\" ;;\n"
           "    explain) words=\"$(\"$me\" list options | cut -d' ' -f1)"
           " $(\"$me\" list metrics | cut -d' ' -f1) $(\"$me\" list policies | cut -d' ' -f1)\" ;;\n"
           "    help) words=\"");
    print_commands();
    printf("\" ;;\n    esac\n"
           "    if [ -z \"$words\" ] && [[ \"$word\" == -* ]]; then\n"
           "        case \"${COMP_WORDS[1]}\" in\n");
    for (size_t i = 0; subcommands[i]; i++) {
        printf("        %s) words=\"", subcommands[i]->name);
        print_flags(subcommands[i], ar);
        printf("\" ;;\n");
    }
    printf("        esac\n    fi\n"
           "    [ -z \"$words\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n"
           "complete -o default -F _steelyard steelyard\n");
}

/* zsh runs bash completions through bashcompinit. */
static void print_zsh(struct arena *ar)
{
    printf("#compdef steelyard\n"
           "autoload -Uz compinit bashcompinit\n"
           "(( $+functions[compdef] )) || compinit\n"
           "bashcompinit\n");
    print_bash(ar);
}

/* Single quotes, for fish. */
static void print_quoted(const char *text)
{
    putchar('\'');
    for (const char *s = text; *s; s++) {
        if (*s == '\'' || *s == '\\') {
            putchar('\\');
        }
        putchar(*s);
    }
    putchar('\'');
}

static void print_fish(struct arena *ar)
{
    for (size_t i = 0; subcommands[i]; i++) {
        printf("complete -c steelyard -n __fish_use_subcommand -f -a %s -d ", subcommands[i]->name);
        print_quoted(subcommands[i]->summary);
        putchar('\n');
    }
    for (size_t i = 0; subcommands[i]; i++) {
        const char **flags = cli_usage_flags(subcommands[i]->usage, ar);
        for (size_t f = 0; flags && flags[f]; f++) {
            printf("complete -c steelyard -n '__fish_seen_subcommand_from %s' -l %s",
                   subcommands[i]->name, flags[f] + 2);
            for (size_t k = 0; k < N_NAMED; k++) {
                if (strcmp(named[k].flag, flags[f]) == 0) {
                    printf(" -x -a '(steelyard list %s | cut -d\" \" -f1)'",
                           catalog_plural(named[k].kind));
                }
            }
            putchar('\n');
        }
    }
    for (int k = 0; k < CATALOG_KINDS; k++) {
        printf("complete -c steelyard -n '__fish_seen_subcommand_from list' -f -a %s\n",
               catalog_plural((enum catalog_kind)k));
    }
    for (const struct opt_row *row = run_options; row->name; row++) {
        printf("complete -c steelyard -n '__fish_seen_subcommand_from run sweep config' -l set -x -a "
               "'%s=' -d ", row->name);
        print_quoted(row->help);
        putchar('\n');
    }
}

static int run(int argc, char **argv, struct err *e)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    static void (*const print[])(struct arena *) = {print_bash, print_zsh, print_fish};
    if (argc != 2) {
        return err_set(e, SIM_E_USAGE, "completion for which shell? bash, zsh or fish");
    }
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(argv[1], shells[i]) == 0) {
            struct arena ar = {0};
            print[i](&ar);
            arena_release(&ar);
            return 0;
        }
    }
    return cli_not_known("shell", argv[1], shells, 3, " (bash, zsh, fish)", SIM_E_USAGE, e);
}

const struct subcommand cmd_completion = {"completion", "completion script for bash, zsh or fish",
                                          usage, run};
