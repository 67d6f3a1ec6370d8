/* SPDX-License-Identifier: Apache-2.0
 *
 * Predictors of output lengths, for policies that plan with them: an option such as
 * predictor="mope{route=0.8}" names one. Those that draw their error around the true length are oracles
 * with noise and declare themselves (env->oracle); their draws are keyed by the request's number, so a
 * request is predicted alike under every policy and order of events.
 * To add one: policies/predict/NAME.c with a `const struct predictor_ops predictor_NAME`, and one word
 * in policies/meson.build. */
#ifndef STEELYARD_PREDICT_H
#define STEELYARD_PREDICT_H

#include "policies/policy.h"
#include "policies/queue.h"

#define PREDICTOR_ABI 1

struct predictor_ops {
    const char *name, *summary;
    const char *source;
    unsigned abi;      /* PREDICTOR_ABI */
    size_t state_size; /* zeroed, from the run's arena */
    const struct opt_row *options;
    int (*init)(void *st, struct policy_env *env, struct err *e);
    void (*release)(void *st);
    /* Output tokens of `r` in all, as told with `out` of them out: a function of what was learnt, of the
     * request's number and of `out`. */
    double (*predict)(void *st, const struct sched_view *v, req_id r, uint32_t out);
    /* `r` had `output` tokens. False = no memory; it then goes unlearnt. NULL = learns nothing. */
    bool (*learn)(void *st, const struct sched_view *v, req_id r, uint32_t output);
    /* Output tokens after which a prediction is worth asking again; NULL = never. */
    uint32_t (*refines)(const void *st);
};

extern const struct predictor_ops *const predictors[]; /* generated, NULL-terminated */

/* A predictor at work, with its book on how well it did. */
struct predictor {
    const struct predictor_ops *ops;
    void *st;
    double *first; /* by req_id: what was said first; 0 = nothing yet */
    uint32_t first_cap;
    uint64_t n, n_below; /* predictions judged; of these too short */
    double abs_error, error; /* sums of |said - true| and of said - true */
};

/* `spec` as "noisy{mae=80}", or "none": it then says 0 to everything and learns nothing. `who` prefixes
 * messages. Always release, also after an error. */
int predictor_open(struct predictor *p, const char *spec, struct policy_env *env, const char *who,
                   struct err *e);
void predictor_release(struct predictor *p);
/* Room for slot `r`; a new request sits there. Must precede the first predict of that request. */
bool predictor_reach(struct predictor *p, req_id r);
/* At least `out` + 1: it is known to go on. */
double predictor_predict(struct predictor *p, const struct sched_view *v, req_id r, uint32_t out);
/* At finish of `r`: learn from it, and judge what was said of it first. */
void predictor_finish(struct predictor *p, const struct sched_view *v, req_id r);
/* Output tokens after which to ask again; UINT32_MAX = never. */
uint32_t predictor_refines(const struct predictor *p);
/* Rows "predictor_mae" and so on; how many. For a policy's stats(). */
size_t predictor_stats(const struct predictor *p, struct policy_stat *ret, size_t max);

/* The option row of a policy for it. */
#define PREDICTOR_ROW(S, field, default_spec)                                                      \
    {.name = "predictor", .type = OPT_STRING, .offset = offsetof(S, field), .def = default_spec,   \
     .help = "who tells output lengths: oracle, constant, mean, noisy, mope, quantile with options; or none"}

#endif
