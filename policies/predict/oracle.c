/* SPDX-License-Identifier: Apache-2.0
 *
 * The true length: the upper end of what prediction can buy. */
#include "policies/predict/predict.h"

struct oracle {
    struct policy_env *env;
};

static int oracle_init(void *st, struct policy_env *env, struct err *e)
{
    (void)e;
    ((struct oracle *)st)->env = env;
    env->oracle = true;
    return 0;
}

static double oracle_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    (void)v, (void)out;
    const struct policy_env *env = ((struct oracle *)st)->env;
    return env->truth_output(env->engine, r);
}

const struct predictor_ops predictor_oracle = {
    .name = "oracle",
    .summary = "the true output length",
    .source = "textbook perfect information",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct oracle),
    .init = oracle_init,
    .predict = oracle_predict,
};
