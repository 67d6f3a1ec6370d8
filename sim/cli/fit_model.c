/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/fit_model.h"

#include "models/profile.h"

/* Sequences of a step, at most. */
#define SEQS 1024

int fit_model_open(struct fit_model *m, const char *profile, const char *const (*options)[2], struct arena *ar,
                   struct err *e)
{
    struct profile p;
    *m = (struct fit_model){.ops = cost_find("table")};
    if (profile_load(&p, profile, ar, e) < 0) {
        return e->code;
    }
    struct cost_env env = {.tp = p.tp, .max_seqs = SEQS, .arena = ar};
    m->state = m->ops ? arena_alloc(ar, m->ops->state_size) : NULL;
    if (!m->state) {
        return err_set(e, SIM_E_NOMEM, "out of memory");
    }
    if (opt_defaults(m->ops->options, m->state, ar, e) < 0 ||
        opt_set_by_name(m->ops->options, m->state, "", "profile", profile, ar, e) < 0) {
        return e->code;
    }
    for (; (*options)[0]; options++) {
        if (opt_set_by_name(m->ops->options, m->state, "", (*options)[0], (*options)[1], ar, e) < 0) {
            return e->code;
        }
    }
    return m->ops->init(m->state, &env, e);
}

double fit_model_s(const struct fit_model *m, const struct batch_shape *b)
{
    struct cost_affine r;
    m->ops->iteration(m->state, b, &r);
    return (double)r.base / SIM_TICKS_PER_NS * 1e-9;
}
