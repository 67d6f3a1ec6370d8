/* SPDX-License-Identifier: Apache-2.0
 *
 * Upper bound on the output length that holds with probability `quantile` (JITServe, arXiv 2504.20068:
 * a quantile regression forest asked for 0.95, asked again every 50 output tokens). Stand-in for the
 * forest: what is left of the output is known up to a log-normal factor of spread `sigma`,
 *     bound = out + left * exp(sigma * (z + z_quantile)),   z standard normal,
 * with a fresh z at each question, so each bound holds with just that probability and the bounds draw
 * near the truth as tokens come out. */
#include <gsl/gsl_cdf.h>
#include <math.h>

#include "policies/predict/predict.h"
#include "sim/core/rng.h"

struct quantile {
    double quantile, sigma;
    int64_t refine_tok;
    double z_quantile;
    struct policy_env *env;
    struct rng_stream noise;
};

static const struct opt_row quantile_options[] = {
    {.name = "quantile", .type = OPT_DOUBLE, .offset = offsetof(struct quantile, quantile),
     .min = 0.01, .max = 0.999, .def = "0.95", .unit = "1",
     .help = "probability with which the bound holds (JITServe: 0.95)"},
    {.name = "sigma", .type = OPT_DOUBLE, .offset = offsetof(struct quantile, sigma), .min = 0,
     .max = 4, .def = "0.4", .unit = "1",
     .help = "spread of the logarithm of what is left (stand-in)"},
    {.name = "refine", .type = OPT_INT, .offset = offsetof(struct quantile, refine_tok), .min = 1,
     .max = 1 << 30, .def = "50", .unit = "tok",
     .help = "output tokens after which it is asked again (JITServe: 50)"},
    OPT_END,
};

static int quantile_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    struct quantile *q = st;
    q->env = env;
    q->z_quantile = gsl_cdf_ugaussian_Pinv(q->quantile);
    q->noise = rng_stream(env->seed, env->replication, "predict.quantile");
    env->oracle = true;
    return 0;
}

static double quantile_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    const struct quantile *q = st;
    uint32_t asked = out / (uint32_t)q->refine_tok; /* how often it was asked again */
    double known = (double)asked * (double)q->refine_tok;
    double left = q->env->truth_output(q->env->engine, r) - known;
    double z = gsl_cdf_ugaussian_Pinv(rng_uniform(q->noise, v->reqs[r].serial, asked));
    return known + left * exp(q->sigma * (z + q->z_quantile));
}

static uint32_t quantile_refines(const void *st)
{
    return (uint32_t)((const struct quantile *)st)->refine_tok;
}

const struct predictor_ops predictor_quantile = {
    .name = "quantile",
    .summary = "upper bound that holds with a given probability, refined as tokens come out (oracle)",
    .source = "JITServe, arXiv 2504.20068; the forest's spread is a stand-in",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct quantile),
    .options = quantile_options,
    .init = quantile_init,
    .predict = quantile_predict,
    .refines = quantile_refines,
};
