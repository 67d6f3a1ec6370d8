/* SPDX-License-Identifier: Apache-2.0
 *
 * Exponential mean of the client's own past outputs: (w-1)/w of the old and 1/w of the new, the first
 * one as it is. Window 5 is vtc_pred_len_req_queue.py of the VTC artifact. A client without a past
 * gets `initial`, which is 0 tokens in that artifact. */
#include "policies/predict/predict.h"

struct mean {
    double window, initial_tok;
    struct client_table clients; /* of double; 0 = no past */
};

static const struct opt_row mean_options[] = {
    {.name = "window", .type = OPT_DOUBLE, .offset = offsetof(struct mean, window), .min = 1,
     .max = 1e6, .def = "5", .unit = "1", .help = "a new output counts 1/window (VTC artifact: 5)"},
    {.name = "initial", .type = OPT_DOUBLE, .offset = offsetof(struct mean, initial_tok), .min = 0,
     .max = 1e7, .def = "1", .unit = "tok", .help = "output tokens of a client without a past"},
    OPT_END,
};

static int mean_init(void *st, struct policy_env *env, struct err *e)
{
    (void)env, (void)e;
    ((struct mean *)st)->clients.row_size = sizeof(double);
    return 0;
}

static void mean_release(void *st)
{
    client_table_release(&((struct mean *)st)->clients);
}

static double mean_predict(void *st, const struct sched_view *v, req_id r, uint32_t out)
{
    (void)out;
    struct mean *m = st;
    uint32_t i = client_table_find(&m->clients, v->reqs[r].client);
    return i == CLIENT_NONE ? m->initial_tok : *(double *)client_table_row(&m->clients, i);
}

static bool mean_learn(void *st, const struct sched_view *v, req_id r, uint32_t output)
{
    struct mean *m = st;
    uint32_t i = client_table_add(&m->clients, v->reqs[r].client);
    if (i == CLIENT_NONE) {
        return false;
    }
    double *mean = client_table_row(&m->clients, i);
    *mean = *mean > 0 ? (*mean * (m->window - 1) + output) / m->window : output;
    return true;
}

const struct predictor_ops predictor_mean = {
    .name = "mean",
    .summary = "moving mean of the client's past outputs",
    .source = "Sheng et al., OSDI'24; vtc_pred_len_req_queue.py in the VTC artifact",
    .abi = PREDICTOR_ABI,
    .state_size = sizeof(struct mean),
    .options = mean_options,
    .init = mean_init,
    .release = mean_release,
    .predict = mean_predict,
    .learn = mean_learn,
};
