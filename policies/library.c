/* SPDX-License-Identifier: Apache-2.0
 *
 * A policy from outside of the tree: a shared object with the symbol `steelyard_policy`. It stays loaded
 * until the program ends, since runs on other threads may use it; opening it again finds it there. */
#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>

#include "policies/open.h"

#define SYMBOL "steelyard_policy"

bool policy_is_library(const char *name)
{
    size_t n = strlen(name);

    return strchr(name, '/') != NULL || (n > 3 && strcmp(name + n - 3, ".so") == 0);
}

/* dlopen looks for a bare name where the system keeps its libraries; a policy is meant to be here. */
static const char *path_of(const char *name, struct arena *a)
{
    return strchr(name, '/') ? name : arena_printf(a, "./%s", name);
}

static int check_abi(const char *path, unsigned abi, struct err *e)
{
    if (abi == POLICY_ABI) {
        return 0;
    }
    return err_set(e, SIM_E_CONFIG,
                   "%s was built for policy interface %u; this program has %u: compile it again with this "
                   "version's headers", path, abi, POLICY_ABI);
}

static int check_contents(const char *path, const struct policy_ops *ops, struct err *e)
{
    if (!ops->name || !*ops->name || !ops->summary || !ops->source) {
        return err_set(e, SIM_E_CONFIG, "%s: " SYMBOL " has no name, summary or source", path);
    }
    if (policy_find(ops->name)) {
        return err_set(e, SIM_E_CONFIG,
                       "%s calls its policy '%s', which is the name of a built-in one: choose another", path,
                       ops->name);
    }
    if (!ops->arrive || !ops->next || !ops->waiting) {
        return err_set(e, SIM_E_CONFIG, "%s: policy '%s' does not define %s", path, ops->name,
                       !ops->arrive ? "arrive" : !ops->next ? "next" : "waiting");
    }
    return 0;
}

/* A pipe or a device would be waited for. */
static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

int policy_library_open(const char *name, const struct policy_ops **ret, struct arena *a, struct err *e)
{
    const char *path = path_of(name, a);
    bool special = path && is_special(path);
    void *library = path && !special ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    const struct policy_ops *ops = library ? dlsym(library, SYMBOL) : NULL;

    if (!path) {
        return err_set(e, SIM_E_NOMEM, "no memory for the name of a policy");
    }
    if (special) {
        return err_set(e, SIM_E_CONFIG, "policy cannot be loaded: %s is not a file", path);
    }
    if (!library) {
        return err_set(e, SIM_E_CONFIG, "policy cannot be loaded: %s", dlerror());
    }
    if (!ops) {
        return err_set(e, SIM_E_CONFIG, "%s does not define " SYMBOL " (const struct policy_ops)", path);
    }
    int rc = check_abi(path, ops->abi, e);
    rc = rc < 0 ? rc : check_contents(path, ops, e);
    *ret = rc < 0 ? NULL : ops;
    return rc;
}
