/* SPDX-License-Identifier: Apache-2.0
 *
 * Checksum of the files that say what model and GPU are and how long its kernels take, and of a policy in
 * a shared object: names alone do not tell versions apart. */
#include "sim/cli/cli.h"

#include <string.h>
#include <xxhash.h>

#include "models/cost.h"
#include "models/datafile.h"
#include "policies/open.h"
#include "sim/core/json.h"

static int hash_file(const char *kind, const char *name, const char *data_dir, const char *folder,
                     uint64_t *hash, struct arena *ar, struct err *e)
{
    const char *path = NULL;
    size_t len = 0;
    if (!name) {
        return 0;
    }
    const char *text = datafile_find(kind, name, data_dir, folder, &path, &len, ar, e);
    if (!text) {
        return e->code;
    }
    *hash = XXH3_64bits_withSeed(text, len, *hash);
    return 0;
}

/* The shared object inside "check(./mine.so{x=1})", or NULL for a built-in policy. */
static const char *policy_file(const char *spec, struct arena *ar)
{
    const char *wrapper = NULL;
    while (opt_spec_wrapper(spec, &wrapper, &spec, ar)) {
    }
    const char *name = opt_spec_name(spec, ar);
    return name && policy_is_library(name) ? name : NULL;
}

static int hash_bytes(const char *path, uint64_t *hash, struct arena *ar, struct err *e)
{
    size_t len = 0;
    const char *bytes = path ? json_read_file(path, &len, ar, e) : NULL;
    if (bytes) {
        *hash = XXH3_64bits_withSeed(bytes, len, *hash);
    }
    return path && !bytes ? e->code : 0;
}

/* The files that options of the cost model name, as table{profile=FILE}. */
static int hash_cost(const char *spec, bool *any, uint64_t *hash, struct arena *ar, struct err *e)
{
    const char *name = opt_spec_name(spec, ar);
    const struct cost_ops *ops = name ? cost_find(name) : NULL;
    char *state = ops ? arena_alloc(ar, ops->state_size) : NULL;
    int rc = state ? opt_spec_apply(spec, ops->options, state, ar, e) : 0;
    for (const struct opt_row *row = state ? ops->options : NULL; rc == 0 && row && row->name; row++) {
        const char *path = NULL;
        if (row->type == OPT_STRING && row->unit && strcmp(row->unit, COST_FILE) == 0) {
            memcpy(&path, state + row->offset, sizeof(path));
            path = path && path[0] ? path : NULL;
            rc = hash_bytes(path, hash, ar, e);
            *any = *any || path;
        }
    }
    return rc;
}

int config_model_hash(const struct run_config *c, const char **ret, struct arena *ar, struct err *e)
{
    const char *data_dir = steelyard_data_dir(c->data_dir, ar);
    struct err own = {0};
    uint64_t hash = 0;
    int rc = hash_file("model", c->model, data_dir, "llms", &hash, ar, &own);
    rc = rc < 0 ? rc : hash_file("GPU", c->gpu, data_dir, "gpus", &hash, ar, &own);
    rc = rc < 0 ? rc : hash_file("topology", c->topology, data_dir, "topologies", &hash, ar, &own);
    const char *policy = policy_file(c->policy, ar);
    rc = rc < 0 ? rc : hash_bytes(policy, &hash, ar, &own);
    bool cost = false;
    rc = rc < 0 ? rc : hash_cost(c->cost, &cost, &hash, ar, &own);
    if (rc < 0) {
        return err_set(e, rc, "%s", own.msg);
    }
    *ret = c->model || c->gpu || policy || cost ? arena_printf(ar, "%016llx", (unsigned long long)hash) : NULL;
    return 0;
}
