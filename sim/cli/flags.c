/* SPDX-License-Identifier: Apache-2.0
 *
 * Words of the command line that several subcommands share. */
#include "sim/cli/cli.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

int cli_flag_value(const char *name, int argc, char **argv, int *i, const char **ret_value,
                   struct err *e)
{
    size_t n = strlen(name);
    const char *word = argv[*i];
    if (strncmp(word, name, n) != 0 || (word[n] != '\0' && word[n] != '=')) {
        return 0;
    }
    if (word[n] == '=') {
        *ret_value = word + n + 1;
        return 1;
    }
    if (*i + 1 >= argc) {
        return err_set(e, SIM_E_USAGE, "option '%s' needs a value", name);
    }
    *ret_value = argv[++*i];
    return 1;
}

bool cli_flag(const char *name, char **argv, int i)
{
    return strcmp(argv[i], name) == 0;
}

static const struct {
    const char *flag, *key;
    const char *value; /* NULL: the next word */
} config_flags[] = {
    {"--trace", "trace", NULL},      {"--model", "model", NULL},   {"--gpu", "gpu", NULL},
    {"--tp", "tp", NULL},            {"--policy", "policy", NULL}, {"--batcher", "batcher", NULL},
    {"--router", "router", NULL},    {"--replicas", "replicas", NULL},
    {"--cost", "cost", NULL},        {"--seed", "seed", NULL},     {"--rep", "replication", NULL},
    {"--data-dir", "data_dir", NULL}, {"--label", "label", NULL},  {"--no-skip", "skip", "off"},
    {"--check", "check", "on"},
};

static int set_flag(struct config_args *a, const char *value, struct arena *ar, struct err *e)
{
    const char *equal = strchr(value, '=');
    if (!equal || equal == value) {
        return err_set(e, SIM_E_USAGE, "--set '%s': KEY=VALUE is wanted", value);
    }
    const char *key = arena_strndup(ar, value, (size_t)(equal - value));
    if (!key) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    return config_args_add(a, "--set", key, equal + 1, ar, e);
}

int cli_config_flag(struct config_args *a, int argc, char **argv, int *i, struct arena *ar,
                    struct err *e)
{
    const char *value = NULL;
    int rc = cli_flag_value("--set", argc, argv, i, &value, e);
    if (rc != 0) {
        rc = rc < 0 ? rc : set_flag(a, value, ar, e);
        return rc < 0 ? rc : 1;
    }
    for (size_t f = 0; f < sizeof(config_flags) / sizeof(*config_flags); f++) {
        value = config_flags[f].value;
        if (value) {
            rc = cli_flag(config_flags[f].flag, argv, *i);
        } else {
            rc = cli_flag_value(config_flags[f].flag, argc, argv, i, &value, e);
        }
        if (rc > 0) {
            rc = config_args_add(a, config_flags[f].flag, config_flags[f].key, value, ar, e);
            return rc < 0 ? rc : 1;
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static size_t flag_length(const char *s)
{
    size_t n = 0;
    if (s[0] == '-' && s[1] == '-' && s[2] >= 'a' && s[2] <= 'z') {
        for (n = 3; (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9') || s[n] == '-';) {
            n++;
        }
    }
    return n;
}

const char **cli_usage_flags(const char *usage, struct arena *ar)
{
    size_t n = 0;
    const char **flags = arena_calloc(ar, strlen(usage) / 3 + 2, sizeof(*flags));
    for (const char *s = usage; flags && *s; s++) {
        size_t len = flag_length(s);
        if (len == 0) {
            continue;
        }
        bool seen = false;
        for (size_t i = 0; i < n; i++) {
            seen = seen || (strncmp(flags[i], s, len) == 0 && flags[i][len] == '\0');
        }
        if (!seen) {
            flags[n++] = arena_strndup(ar, s, len);
        }
        s += len - 1;
    }
    return flags;
}

int cli_not_known(const char *what, const char *word, const char *const *names, size_t n,
                  const char *hint, int code, struct err *e)
{
    const char *near = text_nearest(word, names, n);
    if (near) {
        return err_set(e, code, "%s '%s' is not known; did you mean '%s'?%s", what, word, near, hint);
    }
    return err_set(e, code, "%s '%s' is not known%s", what, word, hint);
}

int cli_unknown(const struct subcommand *cmd, const char *word, struct err *e)
{
    struct arena ar = {0};
    if (word[0] != '-' || word[1] == '\0') {
        return err_set(e, SIM_E_USAGE, "'%s' is one word too many (steelyard help %s)", word,
                       cmd->name);
    }
    size_t n = 0;
    const char **flags = cli_usage_flags(cmd->usage, &ar);
    while (flags && flags[n]) {
        n++;
    }
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word, "="), word);
    char hint[64];
    snprintf(hint, sizeof(hint), " (steelyard help %s)", cmd->name);
    int rc = cli_not_known("option", name, flags, n, hint, SIM_E_USAGE, e);
    arena_release(&ar);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **cli_bundled(const char *data_dir, const char *sub, struct arena *ar)
{
    const char *path = arena_printf(ar, "%s/%s", data_dir, sub);
    DIR *d = path ? opendir(path) : NULL;
    size_t n = 0;
    size_t cap = 16;
    const char **names = arena_calloc(ar, cap + 1, sizeof(*names));
    for (struct dirent *entry = NULL; d && names && (entry = readdir(d)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len <= 5 || strcmp(entry->d_name + len - 5, ".json") != 0) {
            continue;
        }
        if (n == cap) {
            const char **more = arena_calloc(ar, 2 * cap + 1, sizeof(*more));
            if (!more) {
                break;
            }
            memcpy(more, names, n * sizeof(*names));
            names = more;
            cap *= 2;
        }
        names[n++] = arena_strndup(ar, entry->d_name, len - 5);
    }
    if (d) {
        closedir(d);
    }
    if (names && n > 1) {
        qsort(names, n, sizeof(*names), by_name);
    }
    return names;
}
