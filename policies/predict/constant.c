/* SPDX-License-Identifier: Apache-2.0
 *
 * The same length for everybody: what a server assumes that has no predictor. */
#include "policies/predict/predict.h"

struct constant {
    double tok;
};

static const struct opt_row constant_options[] = {
    {.name = "tokens", .type = OPT_DOUBLE, .offset = offsetof(struct constant, tok), .min = 1,
     .max = 1e7, .def = "1024", .unit = "tok",
     .help = "output tokens of every request (JITServe's artifact, until its predictor answers: 1024)"},
    OPT_END,
};

static double constant_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    (void)v, (void)r, (void)out;
    return ((struct constant *)st)->tok;
}

const struct predictor_ops predictor_constant = {
    .name = "constant",
    .summary = "the same output length for every request",
    .source = "JITServe, artifact: default length before the predictor answers",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct constant),
    .options = constant_options,
    .predict = constant_predict,
};
