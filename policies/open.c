/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/open.h"

#include <string.h>

const struct policy_wrapper policy_wrappers[] = {
    {.name = "log",
     .summary = "writes each decision of the policy inside as a line of JSON",
     .open = policy_wrap_log_open},
    {.name = "check",
     .summary = "verifies the calls to and the answers of the policy inside",
     .open = policy_wrap_check_open},
    {.name = "bound",
     .summary = "verifies VTC's bound on the service gap of clients that always wait",
     .open = policy_wrap_bound_open},
    {.name = NULL},
};

static int unknown(const char *kind, const char *name, const char *const *names, size_t n,
                   struct err *e)
{
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "no %s is called '%s'%s%s%s", kind, name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int unknown_policy(const char *name, struct policy_env *env, struct err *e)
{
    size_t n = 0;
    while (policies[n]) {
        n++;
    }
    const char **names = arena_calloc(env->arena, n, sizeof *names);
    if (!names) {
        return err_set(e, SIM_E_NOMEM, "no memory for the list of policies");
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = policies[i]->name;
    }
    return unknown("scheduler policy", name, names, n, e);
}

/* Each wrapper once: check() doubles what is inside. */
static bool wraps_again(const char *name, const char *inner, struct arena *a)
{
    const char *wrapper;
    while (opt_spec_wrapper(inner, &wrapper, &inner, a)) {
        if (strcmp(wrapper, name) == 0) {
            return true;
        }
    }
    return false;
}

static int open_wrapper(const char *name, const char *inner, struct policy_env *env,
                        struct policy_instance *ret, struct err *e)
{
    const char *names[sizeof policy_wrappers / sizeof *policy_wrappers];
    size_t n = 0;
    for (; policy_wrappers[n].name; n++) {
        names[n] = policy_wrappers[n].name;
        if (strcmp(name, names[n]) == 0) {
            if (wraps_again(name, inner, env->arena)) {
                return err_set(e, SIM_E_CONFIG, "'%s' goes around a policy once", name);
            }
            return policy_wrappers[n].open(inner, env, ret, e);
        }
    }
    return unknown("policy wrapper", name, names, n, e);
}

static int open_base(const struct policy_ops *ops, const char *spec, struct policy_env *env,
                     struct policy_instance *ret, struct err *e)
{
    static const struct opt_row none[] = {OPT_END};
    if (ops->abi != POLICY_ABI) {
        return err_set(e, SIM_E_CONFIG, "policy '%s' was built for interface %u; this is %u",
                       ops->name, ops->abi, POLICY_ABI);
    }
    void *st = arena_alloc(env->arena, ops->state_size);
    if (!st) {
        return err_set(e, SIM_E_NOMEM, "no memory for policy '%s'", ops->name);
    }
    int rc = opt_spec_apply(spec, ops->options ? ops->options : none, st, env->arena, e);
    if (rc < 0) {
        return err_wrap(e, "policy '%s': ", ops->name);
    }
    *ret = (struct policy_instance){.ops = ops, .st = st};
    return ops->init ? ops->init(st, env, e) : 0;
}

int policy_open(const char *spec, struct policy_env *env, struct policy_instance *ret,
                struct err *e)
{
    *ret = (struct policy_instance){.ops = NULL};
    const char *wrapper, *inner;
    if (opt_spec_wrapper(spec, &wrapper, &inner, env->arena)) {
        return open_wrapper(wrapper, inner, env, ret, e);
    }
    const char *name = opt_spec_name(spec, env->arena);
    if (!name) {
        return err_set(e, SIM_E_NOMEM, "no memory for the name of a policy");
    }
    const struct policy_ops *ops = NULL;
    if (!policy_is_library(name)) {
        ops = policy_find(name);
    } else if (policy_library_open(name, &ops, env->arena, e) < 0) {
        return e->code;
    }
    return ops ? open_base(ops, spec, env, ret, e) : unknown_policy(name, env, e);
}

struct policy_ops *policy_wrap_ops(const struct policy_ops *ops, const struct policy_ops *inner,
                                   struct arena *a)
{
    struct policy_ops *o = arena_alloc(a, sizeof *o);
    if (!o) {
        return NULL;
    }
    *o = *ops;
    o->name = arena_printf(a, "%s(%s)", ops->name, inner->name);
    o->summary = inner->summary;
    o->source = inner->source;
    o->caps = inner->caps;
    o->blocked = inner->blocked ? ops->blocked : NULL;
    o->victim = inner->victim ? ops->victim : NULL;
    o->horizon = inner->horizon ? ops->horizon : NULL;
    o->displace = inner->displace ? ops->displace : NULL;
    o->forecast = inner->forecast ? ops->forecast : NULL;
    o->give_up = inner->give_up ? ops->give_up : NULL;
    o->stats = inner->stats ? ops->stats : NULL;
    return o->name ? o : NULL;
}
