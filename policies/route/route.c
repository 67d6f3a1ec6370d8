/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/route.h"

static int unknown(const char *name, struct err *e)
{
    const char *names[64];
    size_t n = 0;
    for (; routers[n] && n < sizeof names / sizeof *names; n++) {
        names[n] = routers[n]->name;
    }
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "router: no router is called '%s'%s%s%s (steelyard list routers)", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int router_open(const char *spec, struct route_env *env, struct router_instance *ret, struct err *e)
{
    static const struct opt_row none[] = {OPT_END};
    *ret = (struct router_instance){.ops = NULL};
    const char *name = opt_spec_name(spec, env->arena);
    if (!name) {
        return err_set(e, SIM_E_NOMEM, "no memory for the name of a router");
    }
    const struct router_ops *ops = router_find(name);
    if (!ops) {
        return unknown(name, e);
    }
    void *st = arena_alloc(env->arena, ops->state_size);
    if (!st) {
        return err_set(e, SIM_E_NOMEM, "no memory for router '%s'", ops->name);
    }
    if (opt_spec_apply(spec, ops->options ? ops->options : none, st, env->arena, e) < 0) {
        return err_wrap(e, "router '%s': ", ops->name);
    }
    *ret = (struct router_instance){.ops = ops, .st = st};
    return ops->init ? ops->init(st, env, e) : 0;
}

uint32_t route_least(const struct route_view *v, uint32_t from,
                     double (*load)(const struct route_replica *x))
{
    uint32_t best = from % v->n;
    double least = load(&v->replica[best]);
    for (uint32_t k = 1; k < v->n; k++) {
        uint32_t i = (from + k) % v->n;
        double x = load(&v->replica[i]);
        if (x < least) {
            least = x;
            best = i;
        }
    }
    return best;
}

double route_outstanding(const struct route_replica *x)
{
    return (double)x->n_waiting + x->n_running;
}
