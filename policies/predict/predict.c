/* SPDX-License-Identifier: Apache-2.0 */
#include "policies/predict/predict.h"

#include <stdlib.h>
#include <string.h>

static const struct predictor_ops *find(const char *name)
{
    for (size_t i = 0; predictors[i]; i++) {
        if (strcmp(predictors[i]->name, name) == 0) {
            return predictors[i];
        }
    }
    return NULL;
}

static int unknown(const char *name, const char *who, struct err *e)
{
    const char *names[32];
    size_t n = 0;
    for (; predictors[n] && n < 32; n++) {
        names[n] = predictors[n]->name;
    }
    const char *near = text_nearest(name, names, n);
    return err_set(e, SIM_E_CONFIG, "policy '%s': no predictor is called '%s'%s%s%s", who, name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int predictor_open(struct predictor *p, const char *spec, struct policy_env *env, const char *who,
                   struct err *e)
{
    static const struct opt_row none[] = {OPT_END};
    const char *name = opt_spec_name(spec, env->arena);
    if (!name) {
        return err_set(e, SIM_E_NOMEM, "no memory for the name of a predictor");
    }
    if (strcmp(name, "none") == 0 && strcmp(spec, name) == 0) {
        *p = (struct predictor){.ops = NULL};
        return 0;
    }
    const struct predictor_ops *ops = find(name);
    if (!ops) {
        return unknown(name, who, e);
    }
    if (ops->abi != PREDICTOR_ABI) {
        return err_set(e, SIM_E_CONFIG, "predictor '%s' was built for interface %u; this is %u",
                       ops->name, ops->abi, PREDICTOR_ABI);
    }
    void *st = arena_alloc(env->arena, ops->state_size);
    if (!st) {
        return err_set(e, SIM_E_NOMEM, "no memory for predictor '%s'", ops->name);
    }
    if (opt_spec_apply(spec, ops->options ? ops->options : none, st, env->arena, e) < 0) {
        return err_wrap(e, "policy '%s': predictor '%s': ", who, ops->name);
    }
    *p = (struct predictor){.ops = ops, .st = st};
    return ops->init ? ops->init(st, env, e) : 0;
}

void predictor_release(struct predictor *p)
{
    if (p->ops && p->ops->release) {
        p->ops->release(p->st);
    }
    free(p->first);
    p->first = NULL;
    p->first_cap = 0;
}

bool predictor_reach(struct predictor *p, req_id r)
{
    void *first = p->first;
    bool ok = table_reach(&first, &p->first_cap, sizeof *p->first, r);
    p->first = first;
    if (ok) {
        p->first[r] = 0;
    }
    return ok;
}

double predictor_predict(struct predictor *p, const struct sched_view *v, req_id r, uint32_t out)
{
    if (!p->ops) {
        return 0;
    }
    double said = p->ops->predict(p->st, v, r, out), least = (double)out + 1;
    said = said > least ? said : least;
    if (!(p->first[r] > 0)) {
        p->first[r] = said;
    }
    return said;
}

void predictor_finish(struct predictor *p, const struct sched_view *v, req_id r)
{
    uint32_t output = req_generated(v, &v->reqs[r]);
    double off = p->first[r] - output;
    if (p->first[r] > 0) {
        p->n++;
        p->n_below += off < 0;
        p->error += off;
        p->abs_error += off < 0 ? -off : off;
    }
    if (p->ops && p->ops->learn) {
        (void)p->ops->learn(p->st, v, r, output);
    }
}

uint32_t predictor_refines(const struct predictor *p)
{
    return p->ops && p->ops->refines ? p->ops->refines(p->st) : UINT32_MAX;
}

size_t predictor_stats(const struct predictor *p, struct policy_stat *ret, size_t max)
{
    double n = (double)p->n;
    const struct policy_stat all[] = {
        {"predictor_mae", "tok", p->n ? p->abs_error / n : 0},
        {"predictor_bias", "tok", p->n ? p->error / n : 0},
        {"predictor_below_share", "1", p->n ? (double)p->n_below / n : 0},
        {"predictions", "1", n},
    };
    size_t i = 0;
    for (; p->ops && i < sizeof all / sizeof all[0] && i < max; i++) {
        ret[i] = all[i];
    }
    return i;
}
