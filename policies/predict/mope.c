/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixture of Prediction Experts (Equinox, arXiv 2508.16646): a router puts a request into a class of
 * output lengths, and the expert of that class tells the length. The error model is a stand-in, since
 * the paper's experts are not public: the router finds the true class with probability `route`, else it
 * takes a neighbouring one; the expert of class c is off by Laplace noise of mean absolute value
 * error[c]. The class borders are about those of the paper. */
#include <gsl/gsl_cdf.h>

#include "policies/predict/predict.h"
#include "sim/core/rng.h"

struct mope {
    struct opt_doubles border_tok, error_tok;
    double route;
    struct policy_env *env;
    struct rng_stream router, expert;
};

static const struct opt_row mope_options[] = {
    {.name = "borders", .type = OPT_DOUBLES, .offset = offsetof(struct mope, border_tok), .min = 1,
     .max = 1e7, .def = "53;210", .unit = "tok",
     .help = "ascending lengths at which the next class of outputs begins"},
    {.name = "errors", .type = OPT_DOUBLES, .offset = offsetof(struct mope, error_tok), .min = 0,
     .max = 1e6, .def = "10;30;60", .unit = "tok",
     .help = "mean absolute error of the expert of each class (stand-in)"},
    {.name = "route", .type = OPT_DOUBLE, .offset = offsetof(struct mope, route), .min = 0, .max = 1,
     .def = "0.9", .unit = "1", .help = "share of requests that reach their own expert (stand-in)"},
    OPT_END,
};

static int mope_init(void *st, struct policy_env *env, struct err *e)
{
    struct mope *m = st;
    if (m->error_tok.n != m->border_tok.n + 1) {
        return err_set(e, SIM_E_CONFIG,
                       "predictor 'mope': %zu borders make %zu classes; 'errors' has %zu numbers",
                       m->border_tok.n, m->border_tok.n + 1, m->error_tok.n);
    }
    for (size_t i = 1; i < m->border_tok.n; i++) {
        if (m->border_tok.v[i] <= m->border_tok.v[i - 1]) {
            return err_set(e, SIM_E_CONFIG, "predictor 'mope': 'borders' must ascend; %g follows %g",
                           m->border_tok.v[i], m->border_tok.v[i - 1]);
        }
    }
    m->env = env;
    m->router = rng_stream(env->seed, env->replication, "predict.mope.router");
    m->expert = rng_stream(env->seed, env->replication, "predict.mope.expert");
    env->oracle = true;
    return 0;
}

static size_t true_class(const struct mope *m, double truth)
{
    size_t c = 0;
    while (c < m->border_tok.n && truth >= m->border_tok.v[c]) {
        c++;
    }
    return c;
}

static size_t routed_class(const struct mope *m, size_t truth, uint64_t serial)
{
    if (m->border_tok.n == 0 || rng_uniform(m->router, serial, 0) <= m->route) {
        return truth;
    }
    bool up = truth == 0 || (truth < m->border_tok.n && rng_uniform(m->router, serial, 1) < 0.5);
    return up ? truth + 1 : truth - 1;
}

static double mope_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    (void)out;
    const struct mope *m = st;
    uint64_t serial = v->reqs[r].serial;
    double truth = m->env->truth_output(m->env->engine, r);
    size_t c = routed_class(m, true_class(m, truth), serial);
    double scale = m->error_tok.v[c], u = rng_uniform(m->expert, serial, 0);
    return scale > 0 ? truth + gsl_cdf_laplace_Pinv(u, scale) : truth;
}

const struct predictor_ops predictor_mope = {
    .name = "mope",
    .summary = "mixture of prediction experts behind a router (oracle with noise)",
    .source = "Equinox, arXiv 2508.16646; error model is a stand-in",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct mope),
    .options = mope_options,
    .init = mope_init,
    .predict = mope_predict,
};
