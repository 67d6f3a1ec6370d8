/* SPDX-License-Identifier: Apache-2.0
 *
 * Checksum of the files that say what model and GPU are: names alone do not tell versions apart. */
#include "sim/cli/cli.h"

#include <xxhash.h>

#include "models/datafile.h"

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

int config_model_hash(const struct run_config *c, const char **ret, struct arena *ar, struct err *e)
{
    const char *data_dir = steelyard_data_dir(c->data_dir, ar);
    struct err own = {0};
    uint64_t hash = 0;
    int rc = hash_file("model", c->model, data_dir, "llms", &hash, ar, &own);
    rc = rc < 0 ? rc : hash_file("GPU", c->gpu, data_dir, "gpus", &hash, ar, &own);
    if (rc < 0) {
        return err_set(e, rc, "%s", own.msg);
    }
    *ret = c->model || c->gpu ? arena_printf(ar, "%016llx", (unsigned long long)hash) : NULL;
    return 0;
}
