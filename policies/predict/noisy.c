/* SPDX-License-Identifier: Apache-2.0
 *
 * An oracle off by a declared error: Laplace noise whose mean absolute value is `mae` tokens, and a
 * uniform error of up to `range` of the length (the VTC artifact's --predict-range). A prediction is at
 * least one token, so short outputs come out nearer to the truth than declared. Which real predictor
 * errs like this is not known; the mean absolute error is what papers publish. */
#include <gsl/gsl_cdf.h>

#include "policies/predict/predict.h"
#include "sim/core/rng.h"

struct noisy {
    double mae_tok, range;
    struct policy_env *env;
    struct rng_stream noise;
};

static const struct opt_row noisy_options[] = {
    {.name = "mae", .type = OPT_DOUBLE, .offset = offsetof(struct noisy, mae_tok), .min = 0,
     .max = 1e6, .def = "80", .unit = "tok",
     .help = "mean absolute error, Laplace (a single predictor beside a mixture of experts: about 80)"},
    {.name = "range", .type = OPT_DOUBLE, .offset = offsetof(struct noisy, range), .min = 0,
     .max = 1, .def = "0", .unit = "1",
     .help = "further error of up to this share of the length, uniform (VTC: 0.5)"},
    OPT_END,
};

static int noisy_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    struct noisy *n = st;
    n->env = env;
    n->noise = rng_stream(env->seed, env->replication, "predict.noisy");
    env->oracle = true;
    return 0;
}

static double noisy_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    (void)out;
    const struct noisy *n = st;
    uint64_t serial = v->reqs[r].serial;
    double truth = n->env->truth_output(n->env->engine, r);
    double said = truth + truth * n->range * (2 * rng_uniform(n->noise, serial, 0) - 1);
    if (n->mae_tok > 0) {
        said += gsl_cdf_laplace_Pinv(rng_uniform(n->noise, serial, 1), n->mae_tok);
    }
    return said;
}

const struct predictor_ops predictor_noisy = {
    .name = "noisy",
    .summary = "the true output length, off by a declared error (oracle)",
    .source = "stand-in for a predictor of known mean absolute error",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct noisy),
    .options = noisy_options,
    .init = noisy_init,
    .predict = noisy_predict,
};
