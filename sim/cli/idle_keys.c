/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys that were set and change nothing, because another key switches off what they belong to. */
#include "sim/cli/cli.h"

#include <string.h>

/* What a run refuses itself is not here. `key` (all that begin with it where it ends with '.' or '_') does nothing while `off_key` is `off`. */
static const struct idle_rule {
    const char *key, *off_key, *off, *cure;
} rules[] = {
    {"experts.", "executor", "whole", "executor=layers"},
    {"experts.evict", "experts.rate", "1", "experts.rate below 1"},
    {"experts.prefetch", "experts.rate", "1", "experts.rate below 1"},
    {"experts.miss", "experts.rate", "1", "experts.rate below 1"},
    {"experts.global", "experts.rate", "1", "experts.rate below 1"},
    {"placement.", "placement.policy", "", "placement.policy"},
    {"placement.share", "placement.overlap", "false", "placement.overlap=on"},
    {"experts.budget", "experts.planes", "", "experts.planes"},
    {"experts.order", "experts.planes", "", "experts.planes"},
    {"experts.capacity", "experts.planes", "", "experts.planes"},
    {"experts.group", "experts.planes", "", "experts.planes"},
    {"kv.nvme", "kv.sessions", "false", "kv.sessions=on"},
    {"kv.remote", "kv.sessions", "false", "kv.sessions=on"},
    {"kv.demote", "kv.offload", "", "kv.offload"},
    {"kv.nvme_tier", "kv.nvme", "0", "kv.nvme"},
    {"kv.remote_tier", "kv.remote", "0", "kv.remote"},
    {"kv.stream", "kv.sessions", "false", "kv.sessions=on"},
    {"kv.stream", "kv.remote", "0", "kv.remote"},
    {"kv.stream_", "kv.stream", "0", "kv.stream"},
    {"kv.page_", "kv.page", "0", "kv.page"},
    {"kv.pin_time", "kv.pin", "off", "kv.pin=fixed"},
    {"topology.faults", "topology", "", "topology"},
    {"router", "replicas", "1", "replicas above 1"},
    {"routing.poll", "replicas", "1", "replicas above 1"},
};

static bool is_of(const struct idle_rule *r, const char *key)
{
    size_t n = strlen(r->key);
    bool family = r->key[n - 1] == '.' || r->key[n - 1] == '_';

    return family ? strncmp(key, r->key, n) == 0 : strcmp(key, r->key) == 0;
}

static const char *value_of(const struct config_origin *rows, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].key, key) == 0) {
            return rows[i].value ? rows[i].value : "";
        }
    }
    return "";
}

/* Placed experts are routed, too, whatever the executor. */
static bool placement_heeds(const char *key, const struct config_origin *rows, size_t n)
{
    return (strcmp(key, "experts.routes") == 0 || strcmp(key, "experts.calibration") == 0) &&
           *value_of(rows, n, "placement.policy");
}

/* Set, and to something else than what it is by itself. */
static bool is_set(const struct config_origin *row, const struct run_config *by_itself, struct arena *ar)
{
    const char *def = opt_text(opt_find(run_options, row->key), by_itself, ar);

    return strcmp(row->origin, "default") != 0 && def && row->value && strcmp(row->value, def) != 0;
}

void config_warn_idle(const struct config_origin *rows, size_t n, FILE *out, struct arena *ar)
{
    struct run_config by_itself = {0};
    struct err e = {0};

    if (opt_defaults(run_options, &by_itself, ar, &e) < 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (placement_heeds(rows[i].key, rows, n)) {
            continue;
        }
        for (size_t k = 0; k < sizeof rules / sizeof *rules && is_set(&rows[i], &by_itself, ar); k++) {
            if (is_of(&rules[k], rows[i].key) && strcmp(value_of(rows, n, rules[k].off_key), rules[k].off) == 0) {
                fprintf(out, "steelyard: %s: %s=%s changes nothing without %s\n", rows[i].origin, rows[i].key,
                        rows[i].value, rules[k].cure);
                break;
            }
        }
    }
}
