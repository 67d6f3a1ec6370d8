/* SPDX-License-Identifier: Apache-2.0
 *
 * What this build is, and where its data lies. */
#include "sim/run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/cli/build_paths.h"       /* generated: release, place of installation */
#include "sim/cli/steelyard_version.h" /* generated from git describe */

const char *steelyard_version(void)
{
    return STEELYARD_RELEASE "+" STEELYARD_COMMIT;
}

/* Folder of the running program, without a slash at its end; NULL when it cannot be found out. */
static char *program_dir(struct arena *a)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0) {
        return NULL;
    }
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    return slash ? arena_strndup(a, path, (size_t)(slash - path)) : NULL;
}

static bool holds_data(const char *dir, struct arena *a)
{
    const char *gpus = arena_printf(a, "%s/gpus", dir);
    return gpus && access(gpus, R_OK | X_OK) == 0;
}

const char *steelyard_data_dir(const char *configured, struct arena *a)
{
    static const char *const beside[] = {"../models", "../share/steelyard"};
    if (configured && *configured) {
        return configured;
    }
    const char *named = getenv("STEELYARD_DATA");
    if (named && *named) {
        return named;
    }
    const char *dir = program_dir(a);
    for (size_t i = 0; dir && i < sizeof(beside) / sizeof(*beside); i++) {
        const char *path = arena_printf(a, "%s/%s", dir, beside[i]);
        if (path && holds_data(path, a)) {
            return path;
        }
    }
    return STEELYARD_DATADIR;
}
