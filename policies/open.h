/* SPDX-License-Identifier: Apache-2.0
 *
 * From the text "check(vtc{lift=off})" to a policy that is ready to be called. "./mine.so{opt=1}" is a
 * policy from a shared object. */
#ifndef STEELYARD_POLICY_OPEN_H
#define STEELYARD_POLICY_OPEN_H

#include "policies/policy.h"

struct policy_instance {
    const struct policy_ops *ops; /* of the outermost wrapper; `name` spells all of it */
    void *st;
};

/* Wrappers: log(x) writes each decision as a line of JSON, check(x) verifies the contract of policy.h
 * from both sides, bound(x) verifies VTC's bound on service gaps. State lives in env->arena; call ops->release at the end where it is not NULL, also
 * after an error. `env` must stay in place for the run. */
int policy_open(const char *spec, struct policy_env *env, struct policy_instance *ret, struct err *e);

/* "./mine.so", "mine.so" (in the working folder), "/lib/x": a file and not a built-in policy. */
bool policy_is_library(const char *name);
/* The `const struct policy_ops steelyard_policy` that the shared object defines: its interface number,
 * name and callbacks have been checked. It stays loaded until the program ends. */
int policy_library_open(const char *name, const struct policy_ops **ret, struct arena *a, struct err *e);

struct policy_wrapper {
    const char *name, *summary;
    /* Build the wrapper around what `inner` spells. */
    int (*open)(const char *inner, struct policy_env *env, struct policy_instance *ret,
                struct err *e);
};

/* For `list policies`; a NULL name ends. */
extern const struct policy_wrapper policy_wrappers[];

int policy_wrap_log_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                         struct err *e);
int policy_wrap_check_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                           struct err *e);
int policy_wrap_bound_open(const char *inner, struct policy_env *env, struct policy_instance *ret,
                           struct err *e);
/* check() around two instances of one policy that were just opened. `twin_env` is the twin's own copy
 * of *env. */
int policy_wrap_check_around(struct policy_instance in, struct policy_instance twin,
                             struct policy_env *env, struct policy_env *twin_env,
                             struct policy_instance *ret, struct err *e);
/* For wrappers: a copy of `ops` for one instance around `inner`, called "wrapper(inner)". Callbacks
 * whose absence in the inner policy means something to the engine are absent here too. */
struct policy_ops *policy_wrap_ops(const struct policy_ops *ops, const struct policy_ops *inner,
                                   struct arena *a);

#endif
